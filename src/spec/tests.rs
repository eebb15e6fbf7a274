//! The rules of the service language, each shown by a file that breaks it.

use super::*;

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<(Service, Vec<Diagnostic>), Vec<Diagnostic>> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let template = |name: &str| match name {
        "there.conf" => Ok("port={{PORT}}\n".to_owned()),
        "empty.conf" => Ok(String::new()),
        _ => Err("no such file".to_owned()),
    };
    parse("svc.yml", text, &Context { template: &template, env: &env })
}

fn service(text: &str) -> Service {
    match parse_with(text, &[]) {
        Ok((service, _)) => service,
        Err(found) => panic!("{}", found.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")),
    }
}

const SMALL: &str = "
name: weather
pods:
  station:
    count: 2
    tasks:
      sensor: {goal: RUNNING, cmd: ./sensor, cpus: 0.5, memory: 64}
";

#[test]
fn a_small_service_gets_the_defaults_of_the_language() {
    let Service { spec, plans } = service(SMALL);
    assert_eq!((spec.name.as_str(), spec.principal.as_str()), ("weather", "weather-principal"));
    assert_eq!((spec.user.as_str(), spec.zookeeper.as_str()), ("root", "master.mesos:2181"));
    assert_eq!(plans, []);
    let pod = &spec.pods[0];
    assert_eq!((pod.pod_type.as_str(), pod.count, pod.pre_reserved_role.as_str()), ("station", 2, "*"));
    let task = &pod.tasks[0];
    assert_eq!((task.goal, task.essential, task.cmd.as_str()), (Goal::Running, true, "./sensor"));
    assert_eq!(task.resource_set.id, "sensor-resource-set");
    assert_eq!((task.resource_set.cpus, task.resource_set.memory), (Some(0.5), Some(64.0)));
}
