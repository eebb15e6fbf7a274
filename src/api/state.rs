//! Configurations, stored state, config templates, and what operators ask when something does not go on.

use super::{Handle, json, pods, text};
use crate::offer::Reason;
use crate::scheduler::Task;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json as value};
use std::collections::{BTreeMap, BTreeSet};

pub async fn configurations(State(handle): State<Handle>) -> Response {
    let ids: Vec<String> = handle.scheduler().configurations().keys().cloned().collect();
    json(StatusCode::OK, &ids)
}

pub async fn target_id(State(handle): State<Handle>) -> Response {
    json(StatusCode::OK, &[handle.scheduler().target().0])
}

pub async fn target(State(handle): State<Handle>) -> Response {
    json(StatusCode::OK, handle.scheduler().target().1)
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

pub async fn configuration(State(handle): State<Handle>, Path(id): Path<String>) -> Response {
    if !is_uuid(&id) {
        return text(StatusCode::BAD_REQUEST, format!("{id:?} is not the id of a configuration (a UUID)"));
    }
    match handle.scheduler().configurations().get(&id) {
        Some(spec) => json(StatusCode::OK, spec),
        None => text(StatusCode::NOT_FOUND, ""),
    }
}

pub async fn framework_id(State(handle): State<Handle>) -> Response {
    match handle.scheduler().framework_id() {
        Some(id) => json(StatusCode::OK, &[id]),
        None => text(StatusCode::NOT_FOUND, ""),
    }
}

/// The names of what is stored about the service as a whole.
pub async fn properties(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    json(StatusCode::OK, &scheduler.properties().keys().collect::<Vec<_>>())
}

/// One of those values, as it is stored.
pub async fn property(State(handle): State<Handle>, Path(key): Path<String>) -> Response {
    match handle.scheduler().properties().get(&key) {
        // As the SDK does: the text is called JSON, whatever it is.
        Some(value) => {
            let body = String::from_utf8_lossy(value).into_owned();
            ([(axum::http::header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        None => text(StatusCode::NOT_FOUND, ""),
    }
}

/// There is no cache that could be out of date: nobody else may write the state while the scheduler runs.
pub async fn refresh() -> Response {
    text(StatusCode::CONFLICT, "the state is not cached: nobody else writes it while the scheduler runs")
}

fn zone(task: &Task) -> Option<String> {
    crate::offer::located(&task.info).zone
}

/// The zones of tasks, for services that place replicas by them.
pub async fn zones(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let zones: BTreeMap<String, String> =
        scheduler.tasks().values().filter_map(|t| Some((t.instance(), zone(t)?))).collect();
    json(StatusCode::OK, &zones)
}

/// The zone of one task.
pub async fn zone_of_task(State(handle): State<Handle>, Path(task): Path<String>) -> Response {
    match handle.scheduler().tasks().get(&task).and_then(zone) {
        Some(zone) => text(StatusCode::OK, zone),
        None => text(StatusCode::NOT_FOUND, ""),
    }
}

/// The zone of a pod's task that has this address.
pub async fn zone_of_address(
    State(handle): State<Handle>,
    Path((pod, ip)): Path<(String, String)>,
) -> Response {
    let scheduler = handle.scheduler();
    let mut there = scheduler.tasks().values().filter(|t| t.pod.as_str() == pod && pods::host(t) == ip);
    match there.find_map(zone) {
        Some(zone) => text(StatusCode::OK, zone),
        None => text(StatusCode::NOT_FOUND, ""),
    }
}

/// A config template as it was when the configuration was made; fetched by agents for tasks.
pub async fn template(
    State(handle): State<Handle>,
    Path((config, pod, task, name)): Path<(String, String, String, String)>,
) -> Response {
    if !is_uuid(&config) {
        return text(
            StatusCode::BAD_REQUEST,
            format!("{config:?} is not the id of a configuration (a UUID)"),
        );
    }
    let scheduler = handle.scheduler();
    let spec = scheduler.configurations().get(&config).and_then(|c| c.pod(&pod.as_str().into()));
    let task = spec.and_then(|p| p.task(&task.as_str().into()));
    match task.and_then(|t| t.config_files.iter().find(|c| c.name == name)) {
        Some(template) => text(StatusCode::OK, template.content.clone()),
        None => text(StatusCode::NOT_FOUND, ""),
    }
}

/// The ids of reservations by agent.
pub async fn reservations(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let mut by_host = BTreeMap::<String, BTreeSet<String>>::new();
    for task in scheduler.tasks().values() {
        let executor = task.info.executor.iter().flat_map(|e| &e.resources);
        let ids = task.info.resources.iter().chain(executor).filter_map(|r| r.resource_id());
        by_host.entry(crate::offer::located(&task.info).hostname).or_default().extend(ids.map(str::to_owned));
    }
    json(StatusCode::OK, &by_host)
}

/// The last evaluations of offers, each with what every stage found.
pub async fn offers(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let mut failures = BTreeMap::<&str, u64>::new();
    let mut rejected_agents = BTreeMap::<&str, u64>::new();
    let (mut accepted, mut rejected) = (0_u64, 0_u64);
    for outcome in scheduler.outcomes() {
        if outcome.passed {
            accepted += 1;
            continue;
        }
        rejected += 1;
        *rejected_agents.entry(&outcome.agent_id).or_default() += 1;
        for reason in outcome.reasons.iter().flat_map(Reason::failures) {
            *failures.entry(reason.stage).or_default() += 1;
        }
    }
    let offers = scheduler.outcomes().iter().rev().map(|o| {
        let explanation: Vec<String> = o.reasons.iter().flat_map(Reason::lines).collect();
        value!({
            "timestamp": o.timestamp,
            "pod-instance-name": o.pod_instance,
            "outcome": if o.passed { "pass" } else { "fail" },
            "explanation": explanation,
            "offer": format!("{} ({})", o.hostname, o.agent_id),
        })
    });
    let offers: Vec<Value> = offers.collect();
    let shown = value!({
        "acceptedCount": accepted,
        "rejectedCount": rejected,
        "failureReasons": failures,
        "rejectedAgents": rejected_agents,
        "offers": offers,
    });
    json(StatusCode::OK, &shown)
}
