//! The files of the dagflow package fit together: options → Marathon app → service file, by the rules of DC/OS.

use dagpkg::package::{marathon, options};
use dagpkg::runtime::load;
use dagpkg::spec::{self, Goal, PodSpec, Service};
use dagpkg::template::Template;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse(file: &str) -> Value {
    serde_json::from_str(&read(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The Marathon app for these options.
fn app(user: &Value) -> Value {
    let merged = options::resolve(Some(&parse("universe/config.json")), user.as_object().expect("options"));
    let merged = merged.expect("options that the package takes");
    let template = Template::parse(&read("universe/marathon.json.mustache")).expect("a template");
    // what building the package does
    let resource = read("universe/resource.json").replace("{{artifact-dir}}", "http://127.0.0.1:1/dagflow");
    let resource: Value = serde_json::from_str(&resource).expect("JSON");
    let (app, rendered) = marathon::render(&template, &merged, Some(&resource)).expect("an app");
    // {{package-…}} is replaced when the package is built
    let missing: Vec<_> = rendered.missing.iter().filter(|m| !m.name.starts_with("package-")).collect();
    assert!(missing.is_empty(), "the Marathon template names what is no option: {missing:?}");
    Value::Object(app)
}

fn environment(app: &Value) -> BTreeMap<String, String> {
    let text = |(name, value): (&String, &Value)| (name.clone(), value.as_str().expect("text").to_owned());
    app["env"].as_object().expect("an environment").iter().map(text).collect()
}

/// The service that the app's scheduler runs.
fn service(app: &Value) -> Service {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("svc/svc.yml");
    let loaded = load::service(&file, &environment(app)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.findings, []);
    loaded.service
}

fn pods(service: &Service) -> impl Iterator<Item = (&str, &PodSpec)> {
    service.spec.pods.iter().map(|pod| (pod.pod_type.as_str(), pod))
}

#[test]
fn the_defaults_give_a_service_whose_parts_come_up_one_after_the_other() {
    let service = service(&app(&json!({})));
    assert_eq!(service.spec.name, "dagflow");
    let phases: Vec<_> = service.plans[0].phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["postgresql", "initdb", "scheduler", "webserver"]);
    for (name, pod) in pods(&service) {
        for task in &pod.tasks {
            // a step is complete when its task has ended, or when its readiness check has passed
            let ready = task.goal == Goal::Once || task.readiness_check.is_some();
            assert!(ready, "{name}: the plan goes on before {} is ready", task.name);
        }
    }
}

#[test]
fn options_reach_the_tasks_that_they_are_about_and_no_others() {
    let before = service(&app(&json!({})));
    for (options, changed) in [
        (json!({"airflow": {"webserver": {"workers": 3}}}), &["webserver"][..]),
        (json!({"airflow": {"parallelism": 3}}), &["scheduler"]),
        (json!({"airflow": {"admin_user": "root"}}), &["webserver"]),
        (json!({"airflow": {"scheduler": {"mem": 4096}}}), &["scheduler"]),
        (json!({"postgresql": {"max_connections": 500}}), &["postgresql"]),
        (json!({"service": {"log_level": "debug"}}), &[]),
        (json!({"airflow": {"venv": "/srv/airflow"}}), &["postgresql", "initdb", "scheduler", "webserver"]),
        (json!({"airflow": {"image": "r.example/a:1"}}), &["postgresql", "initdb", "scheduler", "webserver"]),
    ] {
        let after = service(&app(&options));
        let pairs = pods(&before).zip(pods(&after));
        let differ: Vec<_> = pairs.filter(|(old, new)| old != new).map(|((name, _), _)| name).collect();
        assert_eq!(differ, changed, "{options}");
    }
}

#[test]
fn an_image_takes_the_place_of_the_folder_on_the_agents() {
    for (options, image, venv) in [
        (json!({}), None, Some("/opt/dagflow/airflow")),
        (json!({"airflow": {"image": "r.example/a:1"}}), Some("r.example/a:1"), None),
    ] {
        for (name, pod) in pods(&service(&app(&options))) {
            assert_eq!(pod.image.as_deref(), image, "{name}");
            for task in &pod.tasks {
                assert_eq!(task.env.get("AIRFLOW_VENV").map(String::as_str), venv, "{name}");
            }
        }
    }
}

#[test]
fn every_address_that_the_scripts_use_is_a_virtual_address_of_the_service() {
    let service = service(&app(&json!({})));
    let vips: BTreeSet<_> = pods(&service)
        .flat_map(|(_, pod)| &pod.tasks)
        .flat_map(|task| &task.resource_set.ports)
        .filter(|port| port.vip.is_some())
        .map(|port| spec::env_name(&port.name))
        .collect();
    let script = read("svc/airflow.sh");
    let used: BTreeSet<_> = script
        .split("$ENDPOINT_")
        .skip(1)
        .filter_map(|rest| rest.split_once('_'))
        .map(|(n, _)| n.to_owned())
        .collect();
    assert_eq!(used, vips);
}

#[test]
fn no_secret_is_an_option_or_a_variable_of_the_app() {
    let service = service(&app(&json!({})));
    let secrets: BTreeSet<_> =
        pods(&service).flat_map(|(_, pod)| &pod.secrets).map(|secret| secret.secret.as_str()).collect();
    assert_eq!(secrets.len(), 7, "{secrets:?}");
    for name in environment(&app(&json!({}))).keys() {
        assert!(!["PASSWORD", "_KEY", "SECRET_"].iter().any(|word| name.contains(word)), "{name}");
    }
}

#[test]
fn options_that_cannot_work_are_refused() {
    let config = parse("universe/config.json");
    for wrong in [
        json!({"service": {"name": "With Spaces"}}),
        json!({"service": {"mesos_master": "leader.mesos"}}),
        json!({"service": {"state_dir": "relative"}}),
        json!({"service": {"nmae": "typing-mistake"}}),
        json!({"airflow": {"admin_user": "a\"b"}}),
        json!({"airflow": {"scheduler": {"mem": "much"}}}),
        json!({"postgresql": {"disk_type": "SSD"}}),
    ] {
        assert!(options::resolve(Some(&config), wrong.as_object().unwrap()).is_err(), "{wrong} is taken");
    }
}
