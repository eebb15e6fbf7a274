//! `/v1/pod` and `/v1/endpoints`: pod instances, and where their ports are.

use super::{Handle, json, not_found, text};
use crate::scheduler::{Command, PodCommand, Scheduler, Task};
use crate::spec::pod_instance_name;
use crate::wire::Visibility;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json as value};
use std::collections::{BTreeMap, BTreeSet};

pub async fn list(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let names: BTreeSet<String> = scheduler.tasks().values().map(instance).collect();
    json(StatusCode::OK, &names)
}

fn instance(task: &Task) -> String {
    pod_instance_name(&task.pod, task.index)
}

pub async fn status(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let mut pods: BTreeMap<&str, BTreeMap<u32, Vec<Value>>> = BTreeMap::new();
    for task in scheduler.tasks().values() {
        let tasks = pods.entry(task.pod.as_str()).or_default().entry(task.index).or_default();
        tasks.push(task_value(&scheduler, task));
    }
    let pods: Vec<Value> = pods
        .into_iter()
        .map(|(name, instances)| {
            let instances: Vec<Value> = instances
                .into_iter()
                .map(|(index, tasks)| value!({ "name": format!("{name}-{index}"), "tasks": tasks }))
                .collect();
            value!({ "name": name, "instances": instances })
        })
        .collect();
    json(StatusCode::OK, &value!({ "service": scheduler.service_name(), "pods": pods }))
}

fn task_value(scheduler: &Scheduler, task: &Task) -> Value {
    let mut shown = value!({ "id": task.info.task_id.value, "name": task.instance() });
    if let Some(status) = scheduler.task_status(task) {
        shown["status"] = value!(status);
    }
    shown
}

fn tasks_of<'a>(scheduler: &'a Scheduler, pod: &str) -> Vec<&'a Task> {
    scheduler.tasks().values().filter(|t| instance(t) == pod).collect()
}

pub async fn pod_status(State(handle): State<Handle>, Path(pod): Path<String>) -> Response {
    let scheduler = handle.scheduler();
    let tasks = tasks_of(&scheduler, &pod);
    if tasks.is_empty() {
        return not_found("Pod", &pod);
    }
    let tasks: Vec<Value> = tasks.into_iter().map(|task| task_value(&scheduler, task)).collect();
    json(StatusCode::OK, &value!({ "name": pod, "tasks": tasks }))
}

pub async fn info(State(handle): State<Handle>, Path(pod): Path<String>) -> Response {
    let scheduler = handle.scheduler();
    let tasks = tasks_of(&scheduler, &pod);
    if tasks.is_empty() {
        return not_found("Pod", &pod);
    }
    let shown: Vec<Value> = tasks.iter().map(|t| value!({ "info": t.info, "status": t.status })).collect();
    json(StatusCode::OK, &shown)
}

pub async fn restart(handle: State<Handle>, pod: Path<String>) -> Response {
    command(handle, pod, PodCommand::Restart).await
}

pub async fn replace(handle: State<Handle>, pod: Path<String>) -> Response {
    command(handle, pod, PodCommand::Replace).await
}

pub async fn pause(handle: State<Handle>, pod: Path<String>, body: Bytes) -> Response {
    match task_names(&body) {
        Some(tasks) => command(handle, pod, PodCommand::Pause(tasks)).await,
        None => text(StatusCode::BAD_REQUEST, ""),
    }
}

pub async fn resume(handle: State<Handle>, pod: Path<String>, body: Bytes) -> Response {
    match task_names(&body) {
        Some(tasks) => command(handle, pod, PodCommand::Resume(tasks)).await,
        None => text(StatusCode::BAD_REQUEST, ""),
    }
}

/// The tasks that a body names: a JSON list, or nothing at all for all of them.
fn task_names(body: &[u8]) -> Option<Vec<String>> {
    if body.trim_ascii().is_empty() { Some(Vec::new()) } else { serde_json::from_slice(body).ok() }
}

async fn command(State(handle): State<Handle>, Path(pod): Path<String>, command: PodCommand) -> Response {
    match handle.command(Command::Pod { pod: pod.clone(), command }).await {
        Ok((_, tasks)) => json(StatusCode::OK, &value!({ "pod": pod, "tasks": tasks })),
        Err(answer) => answer,
    }
}

/// The addresses of one advertised port, over all tasks that have it.
#[derive(Default)]
struct Endpoint {
    address: Vec<String>,
    dns: Vec<String>,
    vip: Option<String>,
}

fn all_endpoints(scheduler: &Scheduler) -> BTreeMap<String, Endpoint> {
    let context = scheduler.context();
    let mut endpoints = BTreeMap::<String, Endpoint>::new();
    for task in scheduler.tasks().values().filter(|t| t.was_launched()) {
        let Some(discovery) = &task.info.discovery else { continue };
        for port in discovery.ports.iter().flat_map(|p| &p.ports) {
            let Some(name) = port.name.as_ref().filter(|_| port.visibility == Some(Visibility::External))
            else {
                continue;
            };
            let endpoint = endpoints.entry(name.clone()).or_default();
            let dns = discovery.name.clone().unwrap_or_else(|| task.instance());
            endpoint.address.push(format!("{}:{}", host(task), port.number));
            endpoint.dns.push(format!("{dns}.{}:{}", context.framework_host(), port.number));
            let labels = port.labels.iter().flat_map(|l| &l.labels);
            let vip =
                labels.filter(|l| l.key.starts_with("VIP_")).find_map(|l| l.value.as_ref()?.split_once(':'));
            if let Some((prefix, number)) = vip {
                endpoint.vip = Some(format!("{prefix}.{}:{number}", context.vip_host()));
            }
        }
    }
    endpoints
}

/// The address that the task's last status gave, or its agent's name.
pub(super) fn host(task: &Task) -> String {
    let container = task.status.as_ref().and_then(|s| s.container_status.as_ref());
    let networks = container.into_iter().flat_map(|c| &c.network_infos);
    let addresses: Vec<&String> =
        networks.flat_map(|n| &n.ip_addresses).filter_map(|a| a.ip_address.as_ref()).collect();
    match addresses.as_slice() {
        [] => crate::offer::located(&task.info).hostname,
        [one] => (*one).clone(),
        many => format!("[{}]", many.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(", ")),
    }
}

pub async fn endpoints(State(handle): State<Handle>) -> Response {
    let names: Vec<String> = all_endpoints(&handle.scheduler()).into_keys().collect();
    json(StatusCode::OK, &names)
}

pub async fn endpoint(State(handle): State<Handle>, Path(name): Path<String>) -> Response {
    let mut all = all_endpoints(&handle.scheduler());
    let Some(Endpoint { address, dns, vip }) = all.remove(&name) else {
        return text(StatusCode::NOT_FOUND, "");
    };
    let mut shown = value!({ "address": address, "dns": dns });
    if let Some(vip) = vip {
        shown["vip"] = value!(vip);
    }
    json(StatusCode::OK, &shown)
}
