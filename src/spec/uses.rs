//! What is in a service file without being used, or cannot be used together: found when all of it has been read. Used only
//! by the rest of `spec`.

use super::fields::{Fields, brief};
use super::model::{PlanSpec, PodSpec, PodType, ResourceSet};
use super::pod::Places;
use super::task::routing_prefix;
use crate::finding::{Code, Severity};
use std::collections::{HashMap, HashSet};

/// The parts of DNS names have at most this many characters.
const MAX_LABEL: usize = 63;
/// What the names of the scheduler's variables begin with that are for all tasks.
const ROUTED_TO_ALL: &str = "TASKCFG_ALL_";

/// Checks the whole service.
pub(super) fn check(root: &Fields, pods: &[PodSpec], places: &[Places], plans: &[PlanSpec]) {
    for (pod, places) in pods.iter().zip(places) {
        names(root, pod, places);
        ports(root, pod, places);
    }
    routing(root, pods, places);
    // what could not be read of a plan may be what launches something
    if !plans.is_empty() && root.findings.no_errors() {
        launches(root, pods, places, plans);
    }
}

/// Names in service discovery that are cut.
fn names(root: &Fields, pod: &PodSpec, places: &Places) {
    for (task, place) in pod.tasks.iter().zip(&places.tasks) {
        let last = pod.count.saturating_sub(1);
        let prefix = task.discovery.as_ref().and_then(|d| d.prefix.as_ref());
        let name = match prefix {
            Some(prefix) => format!("{prefix}-{last}"),
            None => super::task_instance_name(&pod.pod_type, last, &task.name),
        };
        if name.chars().count() > MAX_LABEL {
            let message = format!(
                "the task's DNS name `{}` has a part with more than {MAX_LABEL} characters",
                brief(&name)
            );
            let found = root.findings.at(place, Code::LongName, message).with_severity(Severity::Warning);
            let help = "shorten the names of pod and task, or give it a `discovery: {prefix: …}`";
            root.findings.add(found.help(help));
        }
    }
}

/// Ports of the agent that two sets of a pod instance want: all its sets are reserved on one agent.
fn ports(root: &Fields, pod: &PodSpec, places: &Places) {
    if !pod.uses_host_ports() {
        return;
    }
    let mut wanted: HashMap<u16, &ResourceSet> = HashMap::new();
    let mut seen = HashSet::new();
    for (task, place) in pod.tasks.iter().zip(&places.tasks) {
        let set = &task.resource_set;
        if !seen.insert(&set.id) {
            continue;
        }
        for port in set.ports.iter().filter(|port| port.port != 0) {
            let Some(other) = wanted.insert(port.port, set).filter(|other| other.id != set.id) else {
                continue;
            };
            let message = format!(
                "no agent has port {} twice, for `{}` and `{}`: the pod is never placed",
                port.port,
                brief(&other.id),
                brief(&set.id)
            );
            let help = "let the tasks share a resource set, give them other ports, or join a virtual network";
            root.report(place, Code::NeverPlaced, message, help);
        }
    }
}

/// Variables of the scheduler that are meant for one pod and reach another as well.
fn routing(root: &Fields, pods: &[PodSpec], places: &[Places]) {
    let mut by_prefix: HashMap<String, &PodType> = HashMap::new();
    let mut prefixes = Vec::with_capacity(pods.len());
    for pod in pods {
        let prefix = routing_prefix(&pod.pod_type);
        by_prefix.entry(prefix.clone()).or_insert(&pod.pod_type);
        prefixes.push(prefix);
    }
    for ((pod, prefix), place) in pods.iter().zip(&prefixes).zip(places) {
        // a name that is too long is an error by itself
        if prefix.len() > 2 * MAX_LABEL {
            continue;
        }
        // every shorter prefix that ends where a name could end
        let ends = prefix.match_indices('_').map(|(at, _)| &prefix[..=at]);
        let shorter = ends.filter_map(|end| by_prefix.get(end)).find(|other| ***other != pod.pod_type);
        let also = if prefix.starts_with(ROUTED_TO_ALL) {
            "all tasks".to_owned()
        } else if let Some(other) = shorter {
            format!("tasks of the pod `{}`", brief(&other.0))
        } else {
            continue;
        };
        let message = format!(
            "a variable `{prefix}…` of the scheduler reaches {also}, besides those of the pod `{}`",
            brief(&pod.pod_type.0)
        );
        root.report(
            &place.pod,
            Code::SharedPrefix,
            message,
            "rename one of the two pods to be able to tell them apart",
        );
    }
}

/// Pods and tasks that no plan launches.
fn launches(root: &Fields, pods: &[PodSpec], places: &[Places], plans: &[PlanSpec]) {
    let mut whole: HashSet<&PodType> = HashSet::new();
    let mut pods_used: HashSet<&PodType> = HashSet::new();
    let mut tasks_used = HashSet::new();
    for phase in plans.iter().flat_map(|plan| &plan.phases) {
        pods_used.insert(&phase.pod);
        match &phase.steps {
            None => drop(whole.insert(&phase.pod)),
            Some(steps) => {
                let lists = steps.by_index.values().chain(&steps.default).flatten().flatten();
                tasks_used.extend(lists.map(|task| (&phase.pod, task)));
            }
        }
    }
    for (pod, places) in pods.iter().zip(places) {
        if !pods_used.contains(&pod.pod_type) {
            let message = format!("no plan launches the pod `{}`", brief(&pod.pod_type.0));
            root.report(&places.pod, Code::NoEffect, message, "add a phase for it to a plan");
            continue;
        }
        for (task, place) in pod.tasks.iter().zip(&places.tasks) {
            if !whole.contains(&pod.pod_type) && !tasks_used.contains(&(&pod.pod_type, &task.name)) {
                let message = format!("no plan launches the task `{}`", brief(&task.name.0));
                root.report(place, Code::NoEffect, message, "add it to the steps of a phase");
            }
        }
    }
}
