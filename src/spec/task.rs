//! Reading one task of a pod. Used only by the rest of `spec`.

use super::diagnostic::Code;
use super::fields::{Fields, brief};
use super::model::{
    ConfigFileSpec, DiscoverySpec, Goal, HealthCheckSpec, PodType, ReadinessCheckSpec, ResourceSet, TaskName,
    TaskSpec, TransportEncryptionSpec,
};
use super::pod::{Shared, labels};
use super::resources::{self, ParsedSet};
use super::yaml::{Key, nearest};
use crate::wire::Visibility;
use std::collections::BTreeMap;

/// The longest time between SIGTERM and SIGKILL, seconds.
const MAX_KILL_GRACE: i64 = 3600;

/// Reads one task; `sets` are the resource sets of its pod.
pub(super) fn read(
    pod: &PodType,
    key: &Key,
    mut fields: Fields,
    sets: &[ParsedSet],
    shared: &mut Shared,
) -> TaskSpec {
    let fields_mut = &mut fields;
    let task = TaskSpec {
        name: TaskName(key.text.clone()),
        goal: goal(fields_mut),
        essential: fields_mut.boolean("essential", true),
        cmd: fields_mut.required_text("cmd").map(|t| t.text.to_owned()).unwrap_or_default(),
        env: env(pod, fields_mut, shared),
        resource_set: resource_set(key, fields_mut, sets, shared),
        config_files: config_files(fields_mut, shared),
        health_check: health_check(fields_mut),
        readiness_check: readiness_check(fields_mut),
        discovery: discovery(pod, fields_mut, shared),
        labels: labels(fields_mut, "labels"),
        kill_grace_period: seconds(fields_mut, "kill-grace-period", false, MAX_KILL_GRACE),
        transport_encryption: transport_encryption(fields_mut),
        ipc_mode: fields_mut
            .word("ipc-mode", &[("PRIVATE", "PRIVATE"), ("SHARE_PARENT", "SHARE_PARENT")])
            .map(str::to_owned),
        shm_size: shm_size(fields_mut),
    };
    if task.ipc_mode.as_deref() == Some("SHARE_PARENT") && task.shm_size.is_some() {
        let message = "`shm-size` cannot be given with `ipc-mode: SHARE_PARENT`";
        fields.error(
            &fields.span,
            Code::Conflict,
            message,
            "the pod's own `shm-size` is what the task shares; remove it here",
        );
    }
    fields.finish();
    task
}

/// The size of /dev/shm below `shm-size`, MB.
pub(super) fn shm_size(fields: &mut Fields) -> Option<u32> {
    fields.integer("shm-size", 1..=i64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok())
}

/// Seconds at `key`; 0 when absent, unless they are `required`.
fn seconds(fields: &mut Fields, key: &'static str, required: bool, most: i64) -> u32 {
    let read = if required { fields.required_integer(key, 0..=most) } else { fields.integer(key, 0..=most) };
    read.and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
}

fn goal(fields: &mut Fields) -> Goal {
    let Some(text) = fields.required_text("goal") else { return Goal::Running };
    match text.text.to_ascii_uppercase().as_str() {
        "RUNNING" => Goal::Running,
        "FINISH" => Goal::Finish,
        "ONCE" => Goal::Once,
        "FINISHED" => {
            let message = "`goal: FINISHED` is read as ONCE";
            fields.warning(
                &text.span,
                Code::OldSpelling,
                message,
                "write ONCE, or FINISH to run again on each change",
            );
            Goal::Once
        }
        _ => {
            let message = format!("`{}` cannot be `{}`", fields.path_of("goal"), brief(text.text));
            let found = fields.findings.error(&text.span, Code::NotOneOf, message);
            fields.findings.add(found.expected("RUNNING, FINISH or ONCE"));
            Goal::Running
        }
    }
}

fn env(pod: &PodType, fields: &mut Fields, shared: &Shared) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if let Some(map) = fields.map("env") {
        for (key, node) in map.names() {
            let value = if node.is_null() { Some("") } else { map.scalar(&key.text, node).map(|t| t.text) };
            env.insert(key.text.clone(), value.unwrap_or_default().to_owned());
        }
    }
    // variables of one pod win over those of all
    for prefix in ["TASKCFG_ALL_".to_owned(), format!("TASKCFG_{}_", env_name(&pod.0))] {
        for (name, value) in shared.context.env.range(prefix.clone()..) {
            match name.strip_prefix(&prefix) {
                Some("") => {}
                Some(name) => drop(env.insert(name.to_owned(), value.clone())),
                None => break,
            }
        }
    }
    env
}

/// A name as a part of an environment variable's name: upper case, and `_` for what may not be there.
pub fn env_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}

fn resource_set(key: &Key, fields: &mut Fields, sets: &[ParsedSet], shared: &mut Shared) -> ResourceSet {
    let Some(name) = fields.text("resource-set") else {
        let parsed = resources::read(&format!("{}-resource-set", key.text), fields);
        shared.advertise(&parsed, fields.findings);
        return parsed.set;
    };
    for key in resources::KEYS {
        let Some((at, node)) = fields.entry(key) else { continue };
        if !node.is_null() {
            let message = format!("`{key}` has no effect beside `resource-set`");
            fields.warning(
                &at.span,
                Code::NoEffect,
                message,
                format!("move it to the resource set `{}`", name.text),
            );
        }
    }
    if let Some(parsed) = sets.iter().find(|parsed| parsed.set.id == name.text) {
        return parsed.set.clone();
    }
    let help = match nearest(name.text, sets.iter().map(|s| s.set.id.as_str())) {
        Some(like) => format!("did you mean `{like}`?"),
        None => "declare it in the pod's `resource-sets`".to_owned(),
    };
    fields.error(
        &name.span,
        Code::NoSuch,
        format!("the pod has no resource set `{}`", brief(name.text)),
        help,
    );
    ResourceSet::default()
}

fn config_files(fields: &mut Fields, shared: &Shared) -> Vec<ConfigFileSpec> {
    let mut files: Vec<ConfigFileSpec> = Vec::new();
    let Some(map) = fields.map("configs") else { return files };
    for (key, node) in map.names() {
        let Some(mut fields) = map.named(key, node) else { continue };
        let template = fields.required_text("template");
        let dest = fields.required_text("dest").map(|t| (t.text.to_owned(), t.span));
        let mut content = String::new();
        if let Some(template) = template {
            match (shared.context.template)(template.text) {
                Ok(text) if text.is_empty() => {
                    let message = format!("the config template `{}` is empty", template.text);
                    fields.error(
                        &template.span,
                        Code::ConfigTemplate,
                        message,
                        "an empty file needs no template: use `touch` in `cmd`",
                    );
                }
                Ok(text) => content = text,
                Err(why) => {
                    let message = format!("cannot read the config template `{}`: {why}", template.text);
                    fields.error(
                        &template.span,
                        Code::ConfigTemplate,
                        message,
                        "templates are found beside the service file",
                    );
                }
            }
        }
        let (dest, place) = dest.unwrap_or_default();
        if files.iter().any(|f| f.dest == dest && !dest.is_empty()) {
            let message = format!("two config templates of the task have the destination `{dest}`");
            fields.error(&place, Code::NotUnique, message, "give each its own `dest`");
        }
        files.push(ConfigFileSpec { name: key.text.clone(), dest, content });
        fields.finish();
    }
    files
}

fn health_check(fields: &mut Fields) -> Option<HealthCheckSpec> {
    let mut check = fields.map("health-check")?;
    let most = i64::from(u32::MAX);
    let read = HealthCheckSpec {
        cmd: check.required_text("cmd").map(|t| t.text.to_owned()).unwrap_or_default(),
        interval: seconds(&mut check, "interval", true, most),
        grace_period: seconds(&mut check, "grace-period", true, most),
        max_consecutive_failures: check
            .required_integer("max-consecutive-failures", 1..=most)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or_default(),
        delay: seconds(&mut check, "delay", true, most),
        timeout: seconds(&mut check, "timeout", true, most),
    };
    check.finish();
    Some(read)
}

fn readiness_check(fields: &mut Fields) -> Option<ReadinessCheckSpec> {
    let mut check = fields.map("readiness-check")?;
    let most = i64::from(u32::MAX);
    let read = ReadinessCheckSpec {
        cmd: check.required_text("cmd").map(|t| t.text.to_owned()).unwrap_or_default(),
        interval: seconds(&mut check, "interval", true, most),
        delay: seconds(&mut check, "delay", false, most),
        timeout: seconds(&mut check, "timeout", true, most),
    };
    check.finish();
    Some(read)
}

fn discovery(pod: &PodType, fields: &mut Fields, shared: &mut Shared) -> Option<DiscoverySpec> {
    let mut discovery = fields.map("discovery")?;
    let words = [
        ("FRAMEWORK", Visibility::Framework),
        ("CLUSTER", Visibility::Cluster),
        ("EXTERNAL", Visibility::External),
    ];
    let visibility = discovery.word("visibility", &words).unwrap_or(Visibility::Cluster);
    let prefix = discovery.nonempty_text("prefix");
    if let Some(prefix) = &prefix {
        shared.discover(pod, prefix, fields.findings);
    }
    discovery.finish();
    Some(DiscoverySpec { prefix: prefix.map(|t| t.text.to_owned()), visibility })
}

fn transport_encryption(fields: &mut Fields) -> Vec<TransportEncryptionSpec> {
    let mut list = Vec::new();
    for node in fields.list("transport-encryption") {
        let path = fields.path_of("transport-encryption");
        let Some(mut item) = Fields::new(node, path, &node.span, fields.findings) else { continue };
        let name = item.required_text("name").map(|t| t.text.to_owned()).unwrap_or_default();
        if !item.has("type") {
            item.missing("type");
        }
        let kind = item.word("type", &[("TLS", "TLS"), ("KEYSTORE", "KEYSTORE")]).unwrap_or("TLS").to_owned();
        list.push(TransportEncryptionSpec { name, kind });
        item.finish();
    }
    list
}
