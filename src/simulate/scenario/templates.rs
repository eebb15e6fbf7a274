//! Whether every config template of a service has a value for each of its names, before any task is launched.

use super::offers::suited;
use crate::offer::{Peers, PodRequest, Reason, ServiceContext, evaluate};
use crate::spec::{PodSpec, ServiceSpec, TaskName};
use crate::template::{Profile, Template, config_context};
use crate::wire::TaskInfo;
use std::collections::BTreeMap;

/// Variables of a task's container beside those that it is launched with.
const OF_AGENT: [(&str, &str); 4] = [
    ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
    ("MESOS_CONTAINER_IP", "192.0.2.2"),
    ("STATSD_UDP_HOST", "192.0.2.1"),
    ("STATSD_UDP_PORT", "8125"),
];

/// What is wrong with the config templates of a service.
pub fn problems(spec: &ServiceSpec, context: &ServiceContext) -> Vec<String> {
    spec.pods.iter().flat_map(|pod| of_pod(pod, context)).collect()
}

fn of_pod(pod: &PodSpec, context: &ServiceContext) -> Vec<String> {
    if pod.tasks.iter().all(|t| t.config_files.is_empty()) {
        return Vec::new();
    }
    let launched = match launched(pod, context) {
        Ok(launched) => launched,
        Err(why) => return vec![format!("config templates of {} cannot be checked: {why}", pod.pod_type)],
    };
    let mut problems = Vec::new();
    for task in &pod.tasks {
        let Some(info) = launched.get(&task.name) else { continue };
        let env = config_context(environment(info));
        for config in &task.config_files {
            let where_ = format!("config template {} of {}.{}", config.name, pod.pod_type, task.name);
            let rendered = Template::parse(&config.content).and_then(|t| t.render(Profile::Config, &env));
            match rendered {
                Err(error) => problems.push(format!("{where_}: {error}")),
                Ok(rendered) => problems.extend(rendered.missing.iter().map(|missing| {
                    format!("{where_}, line {}: `{}` has no value", missing.line, missing.name)
                })),
            }
        }
    }
    problems
}

/// The messages by which the tasks of a pod are launched on an agent that suits it, or why they can't be.
fn launched(pod: &PodSpec, context: &ServiceContext) -> Result<BTreeMap<TaskName, TaskInfo>, String> {
    // Where it may be is another question.
    let anywhere = PodSpec { placement: None, ..pod.clone() };
    let tasks: Vec<TaskName> = pod.tasks.iter().map(|t| t.name.clone()).collect();
    let env = BTreeMap::new();
    let request = PodRequest {
        pod: &anywhere,
        index: 0,
        tasks: &tasks,
        new_footprint: true,
        stored: Vec::new(),
        peers: Peers::new(None, []),
        config_id: "",
        env: &env,
    };
    let evaluation = evaluate(context, &request, &suited(pod, context), &mut || "0".to_owned());
    let Some(launch) = evaluation.launch else {
        let failed = evaluation.reasons.iter().flat_map(Reason::failures);
        return Err(failed.map(|r| format!("{}: {}", r.stage, r.text)).collect::<Vec<_>>().join("; "));
    };
    Ok(launch.tasks.into_iter().map(|planned| (planned.name, planned.info)).collect())
}

fn environment(info: &TaskInfo) -> BTreeMap<String, String> {
    let variables = info.command.iter().flat_map(|c| &c.environment).flat_map(|e| &e.variables);
    // A secret has some value.
    let given = variables.map(|v| (v.name.clone(), v.value.clone().unwrap_or_else(|| "secret".to_owned())));
    let of_agent = OF_AGENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    of_agent.into_iter().chain(given).collect()
}
