//! Java code of a scheduler: it cannot be taken over, but an author must know what it did.

use super::super::framework::Framework;
use super::super::shape;
use super::{Note, NoteKind};
use crate::finding::Source;

/// Names of the SDK's interface, and what code that uses them does.
const MEANINGS: [(&str, &str); 14] = [
    (
        "RecoveryPlanOverrider",
        "it recovers tasks in its own way; dagpkg-scheduler starts a failed task again where its data is",
    ),
    (
        "ConfigValidator",
        "it refuses some changes of the configuration; dagpkg-scheduler has the SDK's own rules only",
    ),
    ("PlanCustomizer", "it changes plans; write them out under `plans` in the service file"),
    ("setPlansFrom", "it makes plans; write them out under `plans` in the service file"),
    (
        "setEndpointProducer",
        "it adds endpoints to /v1/endpoints; give the port `advertise: true`, or do without",
    ),
    (
        "EndpointProducer",
        "it adds endpoints to /v1/endpoints; give the port `advertise: true`, or do without",
    ),
    ("setCustomResources", "it adds HTTP paths to the scheduler's API; they are gone"),
    (
        "setPodEnv",
        "it sets variables of tasks; write TASKCFG_<POD>_… in marathon.json.mustache, or `env` in the service file",
    ),
    (
        "setAllPodsEnv",
        "it sets variables of tasks; write TASKCFG_ALL_… in marathon.json.mustache, or `env` in the service file",
    ),
    ("MultiServiceEventClient", "it runs several services in one scheduler; here each service has its own"),
    ("MultiServiceRunner", "it runs several services in one scheduler; here each service has its own"),
    (
        "ReplacementFailurePolicy",
        "it replaces pods by itself after a time; here an operator does: `dcos … pod replace`",
    ),
    ("PlacementRule", "it decides where tasks run; write `placement` in the service file"),
    ("toBuilder()", "it changes what the service file says before it is run; write that in the service file"),
];

/// A note for every use of the SDK's interface, and one for every other file.
pub fn notes(framework: &Framework) -> Vec<Note> {
    let mut notes: Vec<Note> = framework.java.iter().flat_map(in_file).collect();
    if let Some(folder) = &framework.subcommand {
        let text =
            "the package brings dcos-service-cli as its subcommand; commands that only this one has are gone";
        notes.push(Note { kind: NoteKind::Left, file: folder.clone(), line: None, text: text.to_owned() });
    }
    for name in &framework.others {
        let file = framework.beside_package(name);
        let text = "not a file of a package; not taken over".to_owned();
        notes.push(Note { kind: NoteKind::Dropped, file, line: None, text });
    }
    notes
}

fn in_file(source: &Source) -> Vec<Note> {
    let is_code = |at: usize| {
        let line = source.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = source.text[line..].trim_start();
        !["import ", "package ", "//", "*", "/*"].iter().any(|start| line.starts_with(start))
    };
    let mut notes: Vec<Note> = Vec::new();
    for (word, meaning) in MEANINGS {
        let Some((at, _)) = source.text.match_indices(word).find(|(at, _)| is_code(*at)) else { continue };
        let line = Some(shape::line(&source.text, at));
        let text = format!("Java code is not taken over: {meaning}");
        // a class and its setter say the same
        if !notes.iter().any(|note| note.text == text) {
            notes.push(Note { kind: NoteKind::Left, file: source.file.to_string(), line, text });
        }
    }
    if notes.is_empty() {
        let text = if source.text.contains("void main(") {
            "Java code is not taken over: it starts the scheduler, and changes nothing that is known here"
                .to_owned()
        } else {
            "Java code is not taken over: see whether the service needs what it does".to_owned()
        };
        notes.push(Note { kind: NoteKind::Left, file: source.file.to_string(), line: None, text });
    }
    notes
}
