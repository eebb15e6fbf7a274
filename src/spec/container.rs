//! What a pod's containers are given: limits of the operating system, secrets, directories and labels. Used only by the
//! rest of `spec`.

use super::fields::{Fields, brief};
use super::language;
use super::model::{ExternalVolumeSpec, HostVolumeSpec, RlimitSpec, SecretSpec};
use super::yaml::Span;
use crate::finding::Code;
use std::collections::HashSet;

/// The limits of the operating system.
pub(super) fn rlimits(fields: &mut Fields) -> Vec<RlimitSpec> {
    let mut rlimits = Vec::new();
    for (key, mut fields) in fields.named("rlimits").into_iter().flat_map(|map| map.entries) {
        let bounds = bounds(&key.text, &key.span, &mut fields);
        rlimits.push(RlimitSpec { name: key.text.clone(), bounds });
        fields.finish();
    }
    rlimits
}

/// Soft and hard limit; none for unlimited.
fn bounds(name: &str, place: &Span, fields: &mut Fields) -> Option<(u64, u64)> {
    match (fields.integer::<i64>("soft"), fields.integer::<i64>("hard")) {
        (None, None) | (Some(-1), Some(-1)) => None,
        (Some(soft @ 0..), Some(hard)) if soft <= hard => Some((soft.unsigned_abs(), hard.unsigned_abs())),
        // a value that is there and wrong has been reported already
        (None, _) if fields.has("soft") => None,
        (_, None) if fields.has("hard") => None,
        _ => {
            let message = format!("the bounds of {} do not fit", brief(name));
            let found = fields.findings.at(place, Code::Form, message);
            let expected = "both `soft` and `hard`, soft not above hard; -1 on both for unlimited";
            fields.findings.add(found.expected(expected));
            None
        }
    }
}

/// The secrets.
pub(super) fn secrets(fields: &mut Fields) -> Vec<SecretSpec> {
    let mut secrets = Vec::new();
    for (_, mut fields) in fields.named("secrets").into_iter().flat_map(|map| map.entries) {
        let secret = fields.text("secret");
        let env_key = fields.optional("env-key");
        let file = fields.optional("file");
        // the secret's path is the file's where nothing else says where it goes
        let own_path = secret.as_ref().filter(|_| env_key.is_none() && file.is_none());
        if let Some(path) = own_path.filter(|path| !language::SECRET_FILE.fits(path.text)) {
            let message = format!("a secret's file cannot be `{}`", brief(path.text));
            let found = fields.findings.at(&path.span, Code::Form, message);
            let help = "name the file with `file`, or a variable with `env-key`";
            fields.findings.add(found.expected(language::SECRET_FILE.expected).help(help));
        }
        let file = file.or_else(|| own_path.map(|path| path.text.to_owned()));
        secrets.push(SecretSpec {
            secret: secret.map(|t| t.text.to_owned()).unwrap_or_default(),
            env_key,
            file,
        });
        fields.finish();
    }
    secrets
}

/// The directories of the agent.
pub(super) fn host_volumes(fields: &mut Fields) -> Vec<HostVolumeSpec> {
    let mut volumes = Vec::new();
    for (_, mut fields) in fields.named("host-volumes").into_iter().flat_map(|map| map.entries) {
        volumes.push(HostVolumeSpec {
            host_path: fields.string("host-path"),
            container_path: fields.string("container-path"),
            read_only: fields.word("mode") == Some("RO"),
        });
        fields.finish();
    }
    volumes
}

/// The volumes of Docker volume drivers.
pub(super) fn external_volumes(fields: &mut Fields) -> Vec<ExternalVolumeSpec> {
    let mut volumes = Vec::new();
    for (_, mut fields) in fields.named("external-volumes").into_iter().flat_map(|map| map.entries) {
        fields.word("type");
        volumes.push(ExternalVolumeSpec {
            driver_name: fields.string("driver-name"),
            driver_options: driver_options(&mut fields),
            volume_name: fields.optional("volume-name"),
            container_path: fields.string("container-path"),
            read_only: fields.word("volume-mode") == Some("RO"),
        });
        fields.finish();
    }
    volumes
}

fn driver_options(fields: &mut Fields) -> Vec<(String, String)> {
    let Some(node) = fields.get("driver-options") else { return Vec::new() };
    let Some(text) = fields.scalar("driver-options", node) else { return Vec::new() };
    let mut options = Vec::new();
    for item in text.text.split(';').filter(|item| !item.trim().is_empty()) {
        let parts: Vec<&str> = item.split('=').collect();
        match parts[..] {
            [name, _] if name.trim() == "name" => {
                let message = "the volume's name cannot be a driver option";
                fields.report(&text.span, Code::Conflict, message, "use `volume-name`");
            }
            [key, value] if !key.is_empty() && !value.is_empty() => {
                options.push((key.to_owned(), value.to_owned()));
            }
            _ => {
                let message = format!("`{}` is not a driver option", brief(item));
                let found = fields.findings.at(&text.span, Code::Form, message);
                fields.findings.add(found.expected(language::DRIVER_OPTIONS.expected));
            }
        }
    }
    options
}

/// The labels below `key`, `name:value` with commas between; a value may hold colons. An empty text stands for none only
/// where it `may_be_empty`.
pub(super) fn labels(fields: &mut Fields, key: &'static str, may_be_empty: bool) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut names = HashSet::new();
    let Some(node) = fields.get(key) else { return labels };
    let Some(text) = fields.scalar(key, node) else { return labels };
    if text.text.is_empty() && may_be_empty {
        return labels;
    }
    // nothing after a last comma is no label, but nothing between two is a wrong one
    let items = text.text.trim_end_matches(',');
    for item in items.split(',') {
        match item.trim_start().split_once(':') {
            Some((name, value)) if !name.trim().is_empty() && !value.is_empty() => {
                if !names.insert(name) {
                    let message = format!("the label `{}` is there twice", brief(name));
                    fields.report(&text.span, Code::NotUnique, message, "remove one of the two");
                }
                labels.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                let message = format!("`{}` is not a label", brief(item));
                let found = fields.findings.at(&text.span, Code::Form, message);
                let found = found.expected(language::LABELS.expected).help("remove the key for no labels");
                fields.findings.add(found);
            }
        }
    }
    labels
}
