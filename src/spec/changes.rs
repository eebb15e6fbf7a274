//! What differs between two services, field by field, under the names that an author writes.
//!
//! For people who ask what an update changes. Whether it makes tasks start anew is for `scheduler` to say.

use super::model::{PodSpec, ServiceSpec};
use serde_json::{Map, Value};

/// A field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where it is, below the pod or the service: `tasks.server.cmd`.
    pub field: String,
    /// What it was; none if it was not there.
    pub before: Option<Value>,
    /// What it is; none if it is not there any more.
    pub after: Option<Value>,
}

/// What differs between two pods.
pub fn pod_changes(before: &PodSpec, after: &PodSpec) -> Vec<Change> {
    changes(&written(before), &written(after))
}

/// What differs between two services beside their pods.
pub fn service_changes(before: &ServiceSpec, after: &ServiceSpec) -> Vec<Change> {
    let without_pods = |spec: &ServiceSpec| ServiceSpec { pods: Vec::new(), ..spec.clone() };
    changes(&written(&without_pods(before)), &written(&without_pods(after)))
}

fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    collect(Some(before), Some(after), "", &mut found);
    found
}

/// The stored form, with what an author calls otherwise under the author's name.
fn written(spec: &impl serde::Serialize) -> Value {
    // Plain data with text keys can't fail.
    as_written(serde_json::to_value(spec).unwrap_or_default())
}

/// What is stored under another name than it is written with.
const NAMES: [(&str, &str); 8] = [
    ("pod-specs", "pods"),
    ("task-specs", "tasks"),
    ("config-files", "configs"),
    ("relative-path", "dest"),
    ("template-content", "template"),
    ("command", "cmd"),
    ("limits", "resource-limits"),
    ("kind", "type"),
];

fn as_written(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields = fields;
            inline_resources(&mut fields);
            let renamed = fields.into_iter().map(|(key, value)| {
                let name = NAMES.iter().find(|(stored, _)| *stored == key).map_or(key, |n| n.1.to_owned());
                (name, as_written(value))
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => by_name(items.into_iter().map(as_written).collect()),
        value => value,
    }
}

/// Resources of a task without a set are written beside its other keys.
fn inline_resources(task: &mut Map<String, Value>) {
    let own = task.get("name").and_then(Value::as_str).map(|name| format!("{name}-resource-set"));
    let inline = task.get("resource-set").and_then(|set| set.get("id")?.as_str());
    if own.is_none() || inline != own.as_deref() {
        return;
    }
    if let Some(Value::Object(mut set)) = task.remove("resource-set") {
        set.remove("id");
        task.extend(set);
    }
}

/// The keys by which items of a list are told apart, the first that all have.
const IDENTITIES: [&str; 6] = ["name", "type", "path", "secret", "container-path", "id"];

/// A list whose items have names becomes a mapping of those, so that another order changes nothing.
fn by_name(items: Vec<Value>) -> Value {
    let identity = IDENTITIES.iter().find_map(|key| {
        let names: Option<Vec<String>> =
            items.iter().map(|item| Some(item.get(key)?.as_str()?.to_owned())).collect();
        let names = names.filter(|names| !names.is_empty())?;
        let unique = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
        unique.then_some((*key, names))
    });
    let Some((key, names)) = identity else { return Value::Array(items) };
    let nameless = |mut item: Value| {
        if let Value::Object(fields) = &mut item {
            fields.remove(key);
        }
        item
    };
    Value::Object(names.into_iter().zip(items.into_iter().map(nameless)).collect())
}

fn collect(before: Option<&Value>, after: Option<&Value>, field: &str, found: &mut Vec<Change>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let field = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
                collect(old.get(key), new.get(key), &field, found);
            }
        }
        (before, after) if before == after => {}
        (before, after) => {
            found.push(Change { field: field.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}
