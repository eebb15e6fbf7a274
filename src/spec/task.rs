//! Reading one task of a pod. Used only by the rest of `spec`.

use super::container::labels;
use super::fields::{Fields, brief};
use super::model::{
    ConfigFileSpec, DiscoverySpec, Goal, HealthCheckSpec, PodType, ReadinessCheckSpec, ResourceSet, TaskName,
    TaskSpec, TransportEncryptionSpec,
};
use super::pod::Shared;
use super::resources::{self, ParsedSet};
use super::yaml::Key;
use crate::finding::{Code, Severity};
use crate::template::Template;
use crate::wire::Visibility;
use std::collections::{BTreeMap, HashMap};

/// Reads one task; `sets` are the resource sets of its pod.
pub(super) fn read(
    pod: &PodType,
    key: &Key,
    mut fields: Fields,
    sets: &HashMap<&str, &ParsedSet>,
    shared: &mut Shared,
) -> TaskSpec {
    let fields_mut = &mut fields;
    let task = TaskSpec {
        name: TaskName(key.text.clone()),
        goal: goal(fields_mut),
        essential: fields_mut.boolean("essential"),
        cmd: fields_mut.string("cmd"),
        env: env(pod, fields_mut, shared),
        resource_set: resource_set(key, fields_mut, sets, shared),
        config_files: config_files(fields_mut, shared),
        health_check: health_check(fields_mut),
        readiness_check: readiness_check(fields_mut),
        discovery: discovery(pod, fields_mut, shared),
        labels: labels(fields_mut, "labels", false),
        kill_grace_period: fields_mut.integer("kill-grace-period").unwrap_or_default(),
        transport_encryption: transport_encryption(fields_mut),
        ipc_mode: fields_mut.word("ipc-mode").map(str::to_owned),
        shm_size: fields_mut.integer("shm-size"),
    };
    if task.ipc_mode.as_deref() == Some("SHARE_PARENT") && task.shm_size.is_some() {
        let message = "`shm-size` cannot be given with `ipc-mode: SHARE_PARENT`";
        let help = "the pod's own `shm-size` is what the task shares; remove it here";
        fields.report(&fields.span, Code::Conflict, message, help);
    }
    fields.finish();
    task
}

fn goal(fields: &mut Fields) -> Goal {
    match fields.word_at("goal") {
        Some(("FINISH", _)) => Goal::Finish,
        Some(("ONCE", _)) => Goal::Once,
        Some(("FINISHED", place)) => {
            let help = "write ONCE, or FINISH to run again on each change";
            let place = place.unwrap_or_else(|| fields.span.clone());
            fields.report(&place, Code::OldSpelling, "`goal: FINISHED` is read as ONCE", help);
            Goal::Once
        }
        _ => Goal::Running,
    }
}

fn env(pod: &PodType, fields: &mut Fields, shared: &Shared) -> BTreeMap<String, String> {
    let texts = fields.texts_by_name("env").into_iter();
    let mut env: BTreeMap<String, String> =
        texts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // variables of one pod win over those of all
    for prefix in ["TASKCFG_ALL_".to_owned(), routing_prefix(pod)] {
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

/// What the names of the scheduler's variables begin with that are for the tasks of one pod.
pub(super) fn routing_prefix(pod: &PodType) -> String {
    format!("TASKCFG_{}_", env_name(&pod.0))
}

/// A name as a part of an environment variable's name: upper case, and `_` for what may not be there.
pub fn env_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}

fn resource_set(
    key: &Key,
    fields: &mut Fields,
    sets: &HashMap<&str, &ParsedSet>,
    shared: &mut Shared,
) -> ResourceSet {
    let Some(name) = fields.text("resource-set") else {
        let parsed = resources::read(&format!("{}-resource-set", key.text), fields);
        shared.advertise(&parsed, fields.findings);
        return parsed.set;
    };
    for key in resources::keys() {
        let Some((at, node)) = fields.entry(key) else { continue };
        if !node.is_null() {
            let message = format!("`{key}` has no effect beside `resource-set`");
            let help = format!("move it to the resource set `{}`", brief(name.text));
            fields.report(&at.span, Code::NoEffect, message, help);
        }
    }
    let Some(parsed) = sets.get(name.text) else {
        let help = match fields.findings.nearest(name.text, sets.keys().copied()) {
            Some(like) => format!("did you mean `{like}`?"),
            None => "declare it in the pod's `resource-sets`".to_owned(),
        };
        let message = format!("the pod has no resource set `{}`", brief(name.text));
        fields.report(&name.span, Code::NoSuch, message, help);
        return ResourceSet::default();
    };
    if shared.may_copy(parsed) {
        return parsed.set.clone();
    }
    let message = "the tasks of this file have more ports and volumes than any cluster could give them";
    fields.report(&name.span, Code::Limit, message, "let fewer tasks use large resource sets");
    ResourceSet::default()
}

fn config_files(fields: &mut Fields, shared: &Shared) -> Vec<ConfigFileSpec> {
    let mut files: Vec<ConfigFileSpec> = Vec::new();
    let mut destinations = HashMap::new();
    for (key, mut fields) in fields.named("configs").into_iter().flat_map(|map| map.entries) {
        let content = config_template(&mut fields, shared);
        let dest = fields.text("dest");
        if let Some(dest) = &dest
            && let Some(first) = destinations.insert(dest.text, dest.span.clone())
        {
            let message =
                format!("two config templates of the task have the destination `{}`", brief(dest.text));
            let found = fields.findings.at(&dest.span, Code::NotUnique, message);
            let found = found.related(fields.findings.source, &first, "the other one");
            fields.findings.add(found.help("give each its own `dest`"));
        }
        let dest = dest.map(|t| t.text.to_owned()).unwrap_or_default();
        files.push(ConfigFileSpec { name: key.text.clone(), dest, content });
        fields.finish();
    }
    files
}

/// The content of the config template that `template` names.
fn config_template(fields: &mut Fields, shared: &Shared) -> String {
    let Some(template) = fields.text("template") else { return String::new() };
    let name = brief(template.text);
    let content = match (shared.context.template)(template.text) {
        Ok(content) => content,
        Err(why) => {
            let message = format!("cannot read the config template `{name}`: {why}");
            let help = "templates are found beside the service file";
            fields.report(&template.span, Code::ConfigTemplate, message, help);
            return String::new();
        }
    };
    if content.is_empty() {
        let message = format!("the config template `{name}` is empty");
        let help = "an empty file needs no template: use `touch` in `cmd`";
        fields.report(&template.span, Code::ConfigTemplate, message, help);
    } else if let Err(error) = Template::parse(&content) {
        // a task that does not call `bootstrap` never sees it rendered
        let message = format!("`bootstrap` cannot render the config template `{name}`: {error}");
        let found = fields.findings.at(&template.span, Code::ConfigTemplate, message);
        fields.findings.add(found.with_severity(Severity::Warning).help(error.help));
    }
    content
}

fn health_check(fields: &mut Fields) -> Option<HealthCheckSpec> {
    let mut check = fields.block("health-check")?;
    let mut number = |key| check.integer(key).unwrap_or_default();
    let interval = number("interval");
    let grace_period = number("grace-period");
    let max_consecutive_failures = number("max-consecutive-failures");
    let delay = number("delay");
    let timeout = number("timeout");
    let cmd = check.string("cmd");
    check.finish();
    Some(HealthCheckSpec { cmd, interval, grace_period, max_consecutive_failures, delay, timeout })
}

fn readiness_check(fields: &mut Fields) -> Option<ReadinessCheckSpec> {
    let mut check = fields.block("readiness-check")?;
    let read = ReadinessCheckSpec {
        cmd: check.string("cmd"),
        interval: check.integer("interval").unwrap_or_default(),
        delay: check.integer("delay").unwrap_or_default(),
        timeout: check.integer("timeout").unwrap_or_default(),
    };
    check.finish();
    Some(read)
}

fn discovery(pod: &PodType, fields: &mut Fields, shared: &mut Shared) -> Option<DiscoverySpec> {
    let mut discovery = fields.block("discovery")?;
    let visibility = match discovery.word("visibility") {
        Some("FRAMEWORK") => Visibility::Framework,
        Some("EXTERNAL") => Visibility::External,
        _ => Visibility::Cluster,
    };
    let prefix = discovery.text("prefix");
    if let Some(prefix) = &prefix {
        shared.discover(pod, prefix, fields.findings);
    }
    discovery.finish();
    Some(DiscoverySpec { prefix: prefix.map(|t| t.text.to_owned()), visibility })
}

fn transport_encryption(fields: &mut Fields) -> Vec<TransportEncryptionSpec> {
    let read = |mut item: Fields| {
        let name = item.string("name");
        let kind = item.word("type").unwrap_or("TLS").to_owned();
        item.finish();
        TransportEncryptionSpec { name, kind }
    };
    fields.blocks("transport-encryption").into_iter().map(read).collect()
}
