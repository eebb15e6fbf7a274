//! What a config update may not change.

use crate::spec::{Limit, PodSpec, Service, ServiceSpec, TaskSpec, VolumeSpec};
use std::collections::BTreeMap;

/// A reason why a service can't be run, or not be changed to this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationError {
    /// What it is about.
    pub field: String,
    /// Its value before, when it may not change.
    pub before: Option<String>,
    /// Its value.
    pub value: String,
    /// What is wrong.
    pub message: String,
    /// The scheduler must not even go on with the old configuration.
    pub fatal: bool,
}

// The SDK's form, which operators' tools show.
impl std::fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, before, value, message, fatal } = self;
        match before {
            Some(before) => write!(f, "Field: '{field}'; Transition: '{before}' => '{value}'; ")?,
            None => write!(f, "Field: '{field}'; Value: '{value}'; ")?,
        }
        write!(f, "Message: '{message}'; Fatal: {fatal}")
    }
}

/// All reasons why `new` can't be run, or (with `old`) can't replace what runs.
/// `deployed` is whether the deploy plan has been complete. What the cluster's release of DC/OS can't do is
/// [`unsupported`](super::release::unsupported)'s to say.
pub fn update(old: Option<&ServiceSpec>, new: &ServiceSpec, deployed: bool) -> Vec<ConfigurationError> {
    let mut errors = service_name(old, new);
    errors.extend(limits(new));
    errors.extend(new.pods.iter().filter_map(placement));
    if let Some(old) = old {
        errors.extend(user(old, new));
        errors.extend(region(old, new));
        let moves = role_changes(old, new);
        errors.extend(moves.filter(|_| !deployed).map(|(before, after)| ConfigurationError {
            fatal: true,
            ..error(
                "role".into(),
                Some(before.to_owned()),
                after.to_owned(),
                "the role can't be changed before the deployment of before is complete",
            )
        }));
        for before in &old.pods {
            let after = new.pod(&before.pod_type);
            errors.extend(pod(before, after));
            // As in the SDK: what moves to another role gets new volumes anyway.
            if let Some(after) = after.filter(|_| moves.is_none()) {
                errors.extend(pod_volumes(before, after));
            }
        }
    }
    errors
}

/// Why `new` can't be run by a service without an account: it could not read certificates from the secret store.
pub fn without_account(new: &ServiceSpec) -> Vec<ConfigurationError> {
    let tasks = new.pods.iter().flat_map(|p| p.tasks.iter().map(move |t| (p, t)));
    let encrypted = tasks.filter(|(_, t)| !t.transport_encryption.is_empty());
    let errors = encrypted.map(|(pod, task)| {
        let field = format!("pods.{}.tasks.{}.transport-encryption", pod.pod_type, task.name);
        let names: Vec<&str> = task.transport_encryption.iter().map(|e| e.name.as_str()).collect();
        let message = "transport encryption needs a service account (DCOS_SERVICE_ACCOUNT_CREDENTIAL)";
        error(field, None, names.join(", "), message)
    });
    errors.collect()
}

/// The largest value that can be stored, bytes: what ZooKeeper accepts.
pub(super) const MAX_VALUE: usize = 1_000_000;

/// Why `new` can't be stored. Refused here, what runs goes on; refused by the store, the scheduler would end.
pub fn too_large(new: &Service) -> Vec<ConfigurationError> {
    // plain data, whose serialization can't fail
    let bytes = |json: serde_json::Result<Vec<u8>>| json.map_or(0, |json| json.len());
    let parts =
        [("pods", bytes(serde_json::to_vec(&new.spec))), ("plans", bytes(serde_json::to_vec(&new.plans)))];
    let large = parts.into_iter().filter(|(_, bytes)| *bytes > MAX_VALUE);
    let errors = large.map(|(field, bytes)| {
        let message = format!(
            "stored, this takes {bytes} bytes, and at most {MAX_VALUE} can be stored: fetch large files with `uris` instead \
             of config templates, or split the service"
        );
        error(field.to_owned(), None, format!("{bytes} bytes"), &message)
    });
    errors.collect()
}

/// Whether the tasks of both are the same, so that none has to be launched again. How many instances there are and
/// where they may be is not about a task that runs.
pub fn same_tasks(a: &PodSpec, b: &PodSpec) -> bool {
    for_tasks(a) == for_tasks(b)
}

/// A pod without what is not about a task that runs.
pub fn for_tasks(pod: &PodSpec) -> PodSpec {
    PodSpec { count: 0, placement: None, allow_decommission: false, ..pod.clone() }
}

pub(super) fn error(
    field: String,
    before: Option<String>,
    value: String,
    message: &str,
) -> ConfigurationError {
    ConfigurationError { field, before, value, message: message.to_owned(), fatal: false }
}

fn service_name(old: Option<&ServiceSpec>, new: &ServiceSpec) -> Vec<ConfigurationError> {
    let mut errors = Vec::new();
    if new.name.contains("__") {
        errors.push(error(
            "service.name".into(),
            None,
            new.name.clone(),
            "a service name must not contain two underscores in a row: they stand for slashes in stored names",
        ));
    }
    if old.is_none() && new.name.replace('/', "").len() > 63 {
        let message =
            "without slashes, a service name may have at most 63 characters: it becomes part of DNS names";
        errors.push(error("service.name".into(), None, new.name.clone(), message));
    }
    errors
}

fn user(old: &ServiceSpec, new: &ServiceSpec) -> Option<ConfigurationError> {
    let changed = old.user != new.user;
    changed.then(|| ConfigurationError {
        fatal: true,
        ..error(
            "user".into(),
            Some(old.user.clone()),
            new.user.clone(),
            "the user can't be changed: files of the old one would not be readable",
        )
    })
}

fn region(old: &ServiceSpec, new: &ServiceSpec) -> Option<ConfigurationError> {
    let shown = |spec: &ServiceSpec| spec.region.clone().unwrap_or_else(|| "the master's".to_owned());
    (old.region != new.region).then(|| {
        let message = "the service's region can't be changed: its volumes would stay behind";
        error("region".into(), Some(shown(old)), shown(new), message)
    })
}

/// The roles before and after, where both are known and differ.
fn role_changes<'a>(old: &'a ServiceSpec, new: &'a ServiceSpec) -> Option<(&'a str, &'a str)> {
    let roles = old.role.as_deref().zip(new.role.as_deref());
    roles.filter(|(before, after)| before != after)
}

fn placement(pod: &PodSpec) -> Option<ConfigurationError> {
    let placement = pod.placement.as_ref()?;
    let why = placement.error.as_ref()?;
    Some(error(format!("pods.{}.placement", pod.pod_type), None, placement.text.clone(), why))
}

fn limits(new: &ServiceSpec) -> Vec<ConfigurationError> {
    let below = |limit: Option<Limit>, request: Option<f64>| match (limit, request) {
        (Some(Limit::Value(limit)), Some(request)) if limit < request => Some((limit, request)),
        _ => None,
    };
    let mut errors = Vec::new();
    for (pod, task) in new.pods.iter().flat_map(|p| p.tasks.iter().map(move |t| (p, t))) {
        let set = &task.resource_set;
        let pairs = [("cpus", set.limits.cpus, set.cpus), ("memory", set.limits.memory, set.memory)];
        for (name, limit, request) in pairs {
            if let Some((limit, request)) = below(limit, request) {
                let field = format!("{}.{}.resource-limits.{name}", pod.pod_type, task.name);
                let message = format!("the limit must not be below the request of {request}");
                errors.push(error(field, None, limit.to_string(), &message));
            }
        }
    }
    errors
}

fn pod(before: &PodSpec, after: Option<&PodSpec>) -> Vec<ConfigurationError> {
    let name = &before.pod_type;
    let Some(after) = after else {
        let refused = (!before.allow_decommission).then(|| {
            let message = "the pod can't be removed, unless it was deployed with allow-decommission: true";
            error(format!("pods.{name}"), Some("present".into()), "absent".into(), message)
        });
        return refused.into_iter().collect();
    };
    let mut errors = Vec::new();
    if after.count < before.count && !after.allow_decommission {
        let message = "the count can't be lowered, unless the pod has allow-decommission: true";
        let (old, new) = (before.count.to_string(), after.count.to_string());
        errors.push(error(format!("pods.{name}.count"), Some(old), new, message));
    }
    if before.pre_reserved_role != after.pre_reserved_role {
        let (old, new) = (before.pre_reserved_role.clone(), after.pre_reserved_role.clone());
        let message = "the pre-reserved role can't be changed";
        errors.push(error(format!("pods.{name}.pre-reserved-role"), Some(old), new, message));
    }
    if before.uses_host_ports() != after.uses_host_ports() {
        let shown =
            |p: &PodSpec| if p.uses_host_ports() { "ports of the agent" } else { "ports of the container" };
        let message = "a pod can't move between networks that use the agent's ports and ones that don't";
        errors.push(error(
            format!("pods.{name}.networks"),
            Some(shown(before).into()),
            shown(after).into(),
            message,
        ));
    }
    errors
}

fn pod_volumes(before: &PodSpec, after: &PodSpec) -> Vec<ConfigurationError> {
    let name = &before.pod_type;
    let mut errors = Vec::new();
    let (old, new) = (volumes(&before.volumes), volumes(&after.volumes));
    if old != new {
        errors.push(error(format!("pods.{name}.volumes"), Some(old), new, VOLUMES));
    }
    let tasks: BTreeMap<&str, &TaskSpec> = after.tasks.iter().map(|t| (t.name.as_str(), t)).collect();
    for (task, kept) in before.tasks.iter().filter_map(|t| Some((t, tasks.get(t.name.as_str())?))) {
        let (old, new) = (volumes(&task.resource_set.volumes), volumes(&kept.resource_set.volumes));
        if old != new {
            errors.push(error(format!("pods.{name}.tasks.{}.volumes", task.name), Some(old), new, VOLUMES));
        }
    }
    errors
}

const VOLUMES: &str = "volumes can't be changed: their data would be lost";

/// Volumes in a form in which order does not matter.
fn volumes(volumes: &[VolumeSpec]) -> String {
    let text = |v: &VolumeSpec| format!("{} {:?} {} MB {}", v.path, v.kind, v.size, v.profiles.join(","));
    let mut texts: Vec<String> = volumes.iter().map(text).collect();
    texts.sort();
    texts.join("; ")
}
