//! The answers about plans, with the statuses and texts that clients of the SDK rely on.

use super::*;
use crate::finding::Source;
use crate::scheduler::{Config, Event, Stored};
use crate::spec::{Context, parse};
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Query, State};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SERVICE: &str = "
name: hello
pods:
  hello: {count: 2, tasks: {server: {goal: RUNNING, cmd: c, cpus: 0.1}}}
plans:
  deploy: {phases: {hello: {pod: hello}}}
  later: {phases: {hello: {pod: hello}}}
";

/// A handle on a service that is not connected, or waits for offers, and whose commands are carried out.
fn handle(service: &str, connected: bool) -> Handle {
    let (template, env) = (|_: &str| Err(String::new()), BTreeMap::new());
    let source = Source::new("svc.yml", service);
    let (service, _) = parse(&source, &Context { template: &template, env: &env }).expect("a service");
    let config = Config::from_env(&env, &service.spec, 0).expect("a configuration");
    let (mut scheduler, _) = Scheduler::start(config, service, &Stored::new(), [0; 16]).expect("a scheduler");
    if connected {
        scheduler.handle(0.0, Event::Subscribed { framework_id: "F".to_owned() });
    }
    let scheduler = Arc::new(Mutex::new(scheduler));
    let (commands, mut asked) = mpsc::channel::<CommandRequest>(1);
    let handle = Handle { scheduler, commands, now: Arc::new(|| 1.0) };
    let own = handle.clone();
    tokio::spawn(async move {
        while let Some(CommandRequest { command, answer }) = asked.recv().await {
            let done = own.scheduler().command(1.0, &command);
            let _ = answer.send(done.map(|(outcome, tasks, _)| (outcome, tasks)));
        }
    });
    handle
}

async fn read(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, String::from_utf8(body.to_vec()).expect("a text"))
}

async fn show(handle: &Handle, plan: &str) -> (u16, String) {
    read(plans::show(State(handle.clone()), Path(plan.to_owned())).await).await
}

/// `POST /v1/plans/<command>`; what follows `?` is its query.
async fn post(handle: &Handle, command: &str, body: &str) -> (u16, String) {
    let (path, query) = command.split_once('?').unwrap_or((command, ""));
    let (plan, command) = path.split_once('/').expect("a plan and a command");
    let query: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let path = Path((plan.to_owned(), command.to_owned()));
    let body = Bytes::from(body.to_owned());
    read(plans::command(State(handle.clone()), path, Query(query), body).await).await
}

fn said(message: &str) -> (u16, String) {
    (200, format!("{{\n  \"message\": \"{message}\"\n}}"))
}

fn already() -> (u16, String) {
    (208, "Command has already been reported or completed".to_owned())
}

#[tokio::test]
async fn a_plan_is_shown_with_a_status_that_says_how_far_it_is() {
    let service = handle(SERVICE, false);
    let (status, names) = read(plans::list(State(service.clone())).await).await;
    assert_eq!((status, names.as_str()), (200, "[\n  \"deploy\",\n  \"recovery\",\n  \"later\"\n]"));
    let (status, body) = show(&service, "deploy").await;
    let plan: Value = serde_json::from_str(&body).expect("JSON");
    let step = &plan["phases"][0]["steps"][0];
    let message = format!(
        "DeploymentStep: hello-0:[server] [{}] with status: PENDING",
        step["id"].as_str().expect("an id")
    );
    assert_eq!((status, &step["message"], &step["name"]), (202, &json!(message), &json!("hello-0:[server]")));
    assert_eq!(
        (&plan["status"], &plan["strategy"], &plan["errors"]),
        (&json!("PENDING"), &json!("serial"), &json!([]))
    );
    assert_eq!(show(&service, "nix").await, (404, "Plan nix not found".to_owned()));
    let (status, body) = show(&service, "later").await;
    assert!(status == 202 && body.contains("\"status\": \"WAITING\""), "{body}");
    assert_eq!(show(&service, "recovery").await.0, 200, "nothing is to be done");
    let conflict = "
name: hello
pods:
  hello:
    count: 1
    resource-sets: {one: {cpus: 1}}
    tasks:
      a: {goal: RUNNING, cmd: c, resource-set: one}
      b: {goal: RUNNING, cmd: c, resource-set: one}
";
    let (status, body) = show(&handle(conflict, false), "deploy").await;
    assert!(status == 417 && body.contains("share the resource set one"), "{status} {body}");
}

#[tokio::test]
async fn commands_on_plans_answer_as_the_sdk_does() {
    let service = handle(SERVICE, false);
    let all_three = |command: &str, phase: &str, step: &str| {
        said(&format!("Received cmd: {command} for Plan: deploy, Phase: {phase}, Step: {step}"))
    };
    // pending is not running
    assert_eq!(post(&service, "deploy/continue", "").await, said("Received cmd: continue"));
    assert_eq!(post(&service, "deploy/restart", "").await, already());
    assert_eq!(post(&service, "deploy/interrupt", "").await, said("Received cmd: interrupt"));
    assert_eq!(post(&service, "deploy/interrupt", "").await, already());
    assert_eq!(post(&service, "deploy/interrupt?phase=hello", "").await, said("Received cmd: interrupt"));
    assert_eq!(post(&service, "deploy/interrupt?phase=hello", "").await, already());
    assert_eq!(post(&service, "deploy/forceComplete?step=x", "").await, (400, "Missing phase".to_owned()));
    assert_eq!(
        post(&service, "deploy/forceComplete?phase=x", "").await,
        (404, "Phase x not found".to_owned())
    );
    let missing = post(&service, "deploy/forceComplete?phase=hello&step=x", "").await;
    assert_eq!(missing, (404, "Step x not found".to_owned()));
    let step = "deploy/forceComplete?phase=hello&step=hello-0:[server]";
    assert_eq!(post(&service, step, "").await, all_three("forceComplete", "hello", "hello-0:[server]"));
    assert_eq!(post(&service, step, "").await, already());
    // what is blank counts as absent
    let blank = post(&service, "deploy/forceComplete?phase= &step=", "").await;
    assert_eq!(blank, all_three("forceComplete", "null", "null"));
    assert_eq!(show(&service, "deploy").await.0, 200);
    for command in ["forceComplete", "continue", "interrupt", "continue?phase=hello", "interrupt?phase=hello"]
    {
        assert_eq!(post(&service, &format!("deploy/{command}"), "").await, already(), "{command}");
    }
    assert_eq!(post(&service, "deploy/restart?phase=hello", "").await, all_three("restart", "hello", "null"));
    assert_eq!(show(&service, "deploy").await.0, 202);
    assert_eq!(post(&service, "nix/continue", "").await, (404, "Plan nix not found".to_owned()));
    assert_eq!(post(&service, "deploy/nix", "").await, (404, String::new()));
    let looking = handle(SERVICE, true);
    looking.scheduler().handle(1.0, Event::Tick);
    assert_eq!(post(&looking, "deploy/continue", "").await, already(), "it is on its way");
}

#[tokio::test]
async fn a_plan_is_started_with_parameters_that_can_be_variables() {
    let service = handle(SERVICE, false);
    for body in ["", "[]", "{", r#"{"A": {}}"#, r#"{"1A": ""}"#, r#"{"A-B": ""}"#, r#"{"": ""}"#] {
        let (status, text) = post(&service, "later/start", body).await;
        assert!(status == 400 && text.starts_with("Couldn't parse parameters: "), "{body} {status} {text}");
    }
    assert!(show(&service, "later").await.1.contains("WAITING"));
    let started = post(&service, "later/start", r#"{"_a1": "x", "B": "y"}"#).await;
    assert_eq!(started, said("Received cmd: start later with parameters: {B=y, _a1=x}"));
    assert!(!show(&service, "later").await.1.contains("WAITING"));
    assert_eq!(post(&service, "later/stop", "").await, said("Received cmd: stop"));
    assert!(show(&service, "later").await.1.contains("WAITING"));
}

#[tokio::test]
async fn a_service_that_is_being_removed_refuses_commands_on_its_pods() {
    let service = handle(SERVICE, false);
    {
        let (template, mut env) = (|_: &str| Err(String::new()), BTreeMap::new());
        let source = Source::new("svc.yml", SERVICE);
        let (parsed, _) = parse(&source, &Context { template: &template, env: &env }).expect("a service");
        env.insert("SDK_UNINSTALL".to_owned(), String::new());
        let config = Config::from_env(&env, &parsed.spec, 0).expect("a configuration");
        let (removed, _) = Scheduler::start(config, parsed, &Stored::new(), [0; 16]).expect("a scheduler");
        *service.scheduler() = removed;
    }
    assert_eq!(show(&service, "deploy").await.0, 200, "nothing was ever registered");
    let (status, text) = read(pods::restart(State(service.clone()), Path("hello-0".to_owned())).await).await;
    assert!(status == 409 && text.contains("being removed"), "{status} {text}");
}
