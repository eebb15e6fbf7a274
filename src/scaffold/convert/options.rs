//! The options of a converted package: those of the framework, and those that its scheduler needs beside.

use super::super::edit::Edits;
use super::super::framework::Framework;
use super::super::shape::{Node, line, tags};
use super::{Document, Note, NoteKind};
use crate::package::json::locate;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;

/// `config.json` of a framework that has none.
pub const NONE: &str = "{\n  \"type\": \"object\",\n  \"properties\": {}\n}\n";

/// The converted options.
pub struct Options {
    /// `config.json`
    pub text: String,
    /// The scheduler's variables and what the template gives them.
    pub variables: Vec<(&'static str, String)>,
}

/// The options that a package of ours has, with the variables that they fill.
fn needed(name: &str) -> [(&'static str, &'static str, Value); 3] {
    [
        (
            "mesos_master",
            "MESOS_MASTER",
            json!({
                "description": "Where the Mesos master is.",
                "type": "string",
                "default": "http://leader.mesos:5050",
            }),
        ),
        (
            "state_dir",
            "STATE_DIR",
            json!({
                "description": "The folder that keeps the scheduler's state, on the agent that runs it: put it on storage that \
                                all agents share, or pin the app to one agent. Must be writable for the service's user.",
                "type": "string",
                "default": format!("/var/lib/{name}"),
            }),
        ),
        (
            "secrets",
            "SECRETS",
            json!({
                "description": "Who keeps the secrets that the service file names: `cluster`, the secret store of DC/OS \
                                Enterprise, or `local`, the scheduler, which generates them and keeps them in its state folder.",
                "type": "string",
                "enum": ["cluster", "local"],
                "default": "cluster",
            }),
        ),
    ]
}

/// Adds what is needed.
pub fn convert(config: &Document, old: &str, name: &str, notes: &mut Vec<Note>) -> Options {
    let mut edits = Edits::default();
    let mut variables = Vec::new();
    let mut add: Vec<(&str, Value)> = Vec::new();
    let service = config.root.at(&["properties", "service", "properties"]);
    for (option, variable, schema) in needed(name) {
        let declared = config.json().pointer(&pointer(&format!("service.{option}"))).cloned();
        match declared {
            None => add.push((option, schema)),
            // the package has such an option already
            Some(declared) if declared["type"] == "string" => {}
            Some(_) => {
                let value = schema["default"].as_str().unwrap_or_default().to_owned();
                let text = format!(
                    "the option `service.{option}` is of another kind than the one that dagpkg-scheduler needs; {variable} is \
                     `{value}` in marathon.json.mustache until you lead another option to it"
                );
                let at = service.and_then(|node| Some(node.at(&[option])?.span.start)).unwrap_or(0);
                notes.push(config.note(NoteKind::Left, at, text));
                variables.push((variable, value));
                continue;
            }
        }
        variables.push((variable, format!("{{{{service.{option}}}}}")));
    }
    let names: Vec<String> = add.iter().map(|(option, _)| format!("`service.{option}`")).collect();
    if !names.is_empty() {
        let at = insert(config, &mut edits, &add);
        let text = format!(
            "options that dagpkg-scheduler needs are added: {}; its state is in a folder, not in ZooKeeper",
            names.join(", ")
        );
        notes.push(config.note(NoteKind::Changed, at, text));
    }
    let default = service.and_then(|service| service.at(&["name", "default"]));
    if let Some(default) = default.filter(|node| old != name && node.written(config.text()) == Some(old)) {
        edits.replace(default.span.clone(), format!("\"{name}\""));
        notes.push(config.note(
            NoteKind::Changed,
            default.span.start,
            format!("the service is called `{name}` by default"),
        ));
    }
    Options { text: edits.apply(config.text()), variables }
}

/// Puts options into the section `service`, which is made if there is none; answers where.
fn insert(config: &Document, edits: &mut Edits, add: &[(&str, Value)]) -> usize {
    let mut node = &config.root;
    let mut missing: Vec<&str> = ["properties", "service", "properties"].into();
    while let Some(inner) = missing.first().and_then(|name| node.at(&[name])) {
        node = inner;
        missing.remove(0);
    }
    let mut entries: Vec<(String, Value)> =
        add.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    for name in missing.iter().rev() {
        let inner: Value = Value::Object(entries.into_iter().collect());
        entries = vec![((*name).to_owned(), inner)];
        if *name == "service" {
            let object = json!({"type": "object", "description": "The service and its scheduler."});
            let mut object = object.as_object().cloned().unwrap_or_default();
            object.extend(entries.remove(0).1.as_object().cloned().unwrap_or_default());
            entries = vec![((*name).to_owned(), Value::Object(object))];
        }
    }
    let indent = indent_of(config.text(), node);
    let entries: Vec<String> =
        entries.iter().map(|(name, schema)| format!("\"{name}\": {}", indented(schema, &indent))).collect();
    // plain JSON has no sections, so there is a place
    let _ = edits.rewrite(config.text(), node, |_| false, &entries);
    node.span.start
}

/// What stands before the members of an object.
fn indent_of(text: &str, node: &Node) -> String {
    let Some(entry) = node.entries().last() else { return String::new() };
    let before = &text[..entry.span.start];
    let indent = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
    if indent.trim().is_empty() { indent.to_owned() } else { String::new() }
}

/// JSON over several lines, the second and later ones with this before them.
fn indented(value: &Value, indent: &str) -> String {
    format!("{value:#}").replace('\n', &format!("\n{indent}"))
}

/// Where config.json declares a dotted option.
pub fn pointer(option: &str) -> String {
    format!("/properties/{}", option.replace('.', "/properties/"))
}

/// Options that the old template used and the new one does not.
pub fn unread(config: &Document, old: &str, new: &str) -> Vec<Note> {
    let names = |text| {
        tags(text).into_iter().filter(|tag| tag.sigil != '!').map(|tag| tag.name).collect::<BTreeSet<_>>()
    };
    let (old, new) = (names(old), names(new));
    let mut notes = Vec::new();
    for name in old.difference(&new) {
        let Some(Range { start: at, .. }) = locate(config.text(), &pointer(name)) else { continue };
        let text = format!(
            "the option `{name}` is kept, so that options that users have stay valid, but it means nothing now"
        );
        notes.push(config.note(NoteKind::Left, at, text));
    }
    notes
}

/// Parameters of the build that must be given from outside.
pub fn parameters(framework: &Framework, config: &Document) -> Vec<Note> {
    let mut notes = Vec::new();
    let declared = config.json();
    let is_option =
        |name: &str| declared.pointer(&pointer(name)).is_some() || declared["properties"].get(name).is_some();
    let known = [
        "package-name",
        "package-version",
        "package-build-time-epoch-ms",
        "package-build-time-str",
        "upgrades-from",
        "downgrades-to",
        "artifact-dir",
    ];
    let is_plain = |name: &str| {
        name.contains('-') && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let sources = [Some(&framework.package), framework.config.as_ref(), Some(&framework.marathon)];
    let mut seen = BTreeSet::new();
    for source in sources.into_iter().flatten() {
        for tag in tags(&source.text) {
            let name = tag.name;
            if tag.sigil != ' '
                || !is_plain(name)
                || known.contains(&name)
                || is_option(name)
                || !seen.insert(name)
            {
                continue;
            }
            let variable = format!("TEMPLATE_{}", name.to_uppercase().replace('-', "_"));
            let text = format!(
                "`{{{{{name}}}}}` is no parameter that dagpkg has a value for: build with {variable}=… in the environment"
            );
            let line = Some(line(&source.text, tag.span.start));
            notes.push(Note { kind: NoteKind::Left, file: source.file.to_string(), line, text });
        }
    }
    notes
}
