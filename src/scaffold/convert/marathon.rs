//! The app of the scheduler: `marathon.json.mustache`, with another program in it.

use super::super::edit::{Edits, NoPlace};
use super::super::shape::{Entry, Kind, Node};
use super::assets::{Assets, Class, SCHEDULER, SERVICE};
use super::command::Command;
use super::options::{Options, pointer};
use super::service::Files;
use super::{ConvertError, Document, Note, NoteKind, not_understood};
use crate::package::json::locate;
use crate::template::{Profile, Template};
use serde_json::Value;
use std::collections::BTreeMap;

/// The converted template.
pub struct App {
    /// `marathon.json.mustache`
    pub text: String,
}

/// How the framework starts its scheduler, by what its template says.
pub struct Started {
    /// One for each `cmd` or `args`; there may be several in different sections.
    pub(super) commands: Vec<Start>,
    /// The service file that runs with default options, by its path among the service files.
    pub default: String,
}

pub(super) struct Start {
    entry: Entry,
    command: Command,
    /// The service file below the scheduler's sandbox; may hold tags.
    pub(super) file: String,
}

/// Finds how the scheduler is started.
pub fn command(template: &Document, service: &Files, values: &Value) -> Result<Started, ConvertError> {
    let mut commands = Vec::new();
    let mut default = None;
    for entry in template.root.members("cmd").chain(template.root.members("args")) {
        let written = |node: &Node| node.written(template.text()).map(str::to_owned);
        let line = match entry.value.kind {
            Kind::List(_) => {
                entry.value.entries().filter_map(|item| written(&item.value)).collect::<Vec<_>>().join(" ")
            }
            _ => written(&entry.value).ok_or_else(|| {
                let why = format!("`{}` must be one text in quotes to be converted", entry.name);
                not_understood(template.source, entry.value.span.start, why)
            })?,
        };
        let command = Command::read(&line);
        let (file, path) = service_file(&command, service, values)
            .map_err(|why| not_understood(template.source, entry.span.start, why))?;
        default.get_or_insert(path);
        commands.push(Start { entry: entry.clone(), command, file: format!("svc/{file}") });
    }
    let missing = || {
        let why = "there is no `cmd`, so there is no scheduler whose place could be taken\n  help: --from takes frameworks of \
                   the SDK; other apps can stay as they are";
        not_understood(template.source, 0, why)
    };
    Ok(Started { commands, default: default.ok_or_else(missing)? })
}

/// The service file that a command names: as it is to be written, and the one with default options.
fn service_file(command: &Command, service: &Files, values: &Value) -> Result<(String, String), String> {
    let Some(argument) = &command.service else { return unnamed(service) };
    let plain = |path: &str| {
        path.trim_matches('"').trim_start_matches("$MESOS_SANDBOX/").trim_start_matches("./").to_owned()
    };
    let mut written = plain(&argument.replace("\\\"", "").replace("\\/", "/"));
    let program = plain(&command.program);
    // the archive with the scheduler is unpacked to a folder of its own
    if let Some((folder, rest)) = written.split_once('/')
        && program.split('/').next() == Some(folder)
    {
        written = rest.to_owned();
    }
    let rendered = Template::parse(&written).and_then(|template| template.render(Profile::Package, values));
    let rendered = rendered.map(|rendered| rendered.text).unwrap_or_default();
    for end in ["", ".yml", ".yaml"] {
        let path = format!("{rendered}{end}");
        if service.services.contains_key(&path) {
            return Ok((format!("{written}{end}"), path));
        }
    }
    // it may come from somewhere else in the framework's build, but its name stays
    let name = written.rsplit('/').next().unwrap_or_default().to_owned();
    if name != written && service.services.contains_key(&name) {
        return Ok((name.clone(), name));
    }
    if rendered.is_empty() {
        return unnamed(service);
    }
    Err(format!(
        "the scheduler runs `{rendered}`, which is not among the service files: {}",
        service.services.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    ))
}

/// The service file of a command that names none.
fn unnamed(service: &Files) -> Result<(String, String), String> {
    let all: Vec<&str> = service.services.keys().map(String::as_str).collect();
    let usual = all.iter().find(|path| ["svc.yml", "svc.yaml"].contains(path));
    match (usual, all.as_slice()) {
        (Some(path), _) | (None, [path]) => Ok(((*path).to_owned(), (*path).to_owned())),
        (None, several) => Err(format!(
            "the command names no service file, and there are several: {}\n  help: call the one to run svc.yml",
            several.join(", ")
        )),
    }
}

impl Started {
    /// The folders that the programs are in.
    pub fn program_folders(&self) -> Vec<&str> {
        let folder =
            |start: &'_ Start| -> Option<usize> { start.command.program.trim_start_matches("./").find('/') };
        self.commands
            .iter()
            .filter_map(|start| Some(&start.command.program.trim_start_matches("./")[..folder(start)?]))
            .collect()
    }

    /// What an author should know about the old command.
    pub fn notes(&self, template: &Document, service: &Files, config: &Document) -> Vec<Note> {
        let mut notes = Vec::new();
        for Start { entry, command, file } in &self.commands {
            let mut note = |kind, text: String| notes.push(template.note(kind, entry.span.start, text));
            note(NoteKind::Changed, format!("the command starts dagpkg-scheduler, which runs {file}"));
            for step in &command.steps {
                note(NoteKind::Left, format!("the old command also ran `{step}`; the new one does not"));
            }
            for argument in &command.others {
                note(NoteKind::Left, format!("the argument `{argument}` of the Java scheduler is gone"));
            }
            let option = file.trim_start_matches("svc/{{").split("}}").next().unwrap_or_default();
            let pointer = pointer(option);
            let config_json = config.json();
            let values = config_json.pointer(&format!("{pointer}/enum")).and_then(Value::as_array);
            let end = file.rsplit("}}").next().unwrap_or_default();
            let missing: Vec<&str> = values
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .filter(|value| file.starts_with("svc/{{") && !service.has(&format!("{value}{end}")))
                .collect();
            if !missing.is_empty() {
                let missing: Vec<_> = missing.iter().map(|value| format!("\"{value}\"")).collect();
                let text = format!(
                    "the option `{option}` allows values for which there is no service file: {}",
                    missing.join(", ")
                );
                let at = locate(config.text(), &pointer).map_or(0, |span| span.start);
                notes.push(config.note(NoteKind::Left, at, text));
            }
        }
        for name in ["cpus", "mem"] {
            for entry in template.root.members(name) {
                let value = &template.text()[entry.value.span.clone()];
                let least = if name == "cpus" { 0.1 } else { 64.0 };
                if value.parse::<f64>().is_ok_and(|value| value > least) {
                    let text = format!("{name} {value} was for Java; {least} is enough for dagpkg-scheduler");
                    notes.push(template.note(NoteKind::Left, entry.span.start, text));
                }
            }
        }
        notes
    }
}

/// Changes the template.
pub fn convert(
    template: &Document,
    started: &Started,
    assets: &Assets,
    service: &Files,
    options: &Options,
    notes: &mut Vec<Note>,
) -> Result<App, ConvertError> {
    let mut change = Change {
        template,
        started,
        assets,
        service,
        edits: Edits::default(),
        notes,
        added: Vec::new(),
        unread: Vec::new(),
    };
    for span in template.root.junk() {
        let text = "this line is not JSON: whoever sets the option of its section cannot install the package";
        change.notes.push(template.note(NoteKind::Left, span.start, text));
    }
    change.start();
    change.env(options)?;
    change.fetch()?;
    change.container();
    let no_place = |NoPlace| no_place(template, "the app");
    let added = std::mem::take(&mut change.added);
    change.edits.rewrite(template.text(), &template.root, |_| false, &added).map_err(no_place)?;
    Ok(App { text: change.edits.apply(template.text()) })
}

pub(super) fn no_place(template: &Document, what: &str) -> ConvertError {
    let why = format!("everything in {what} is in sections, so nothing can be added that is always there");
    ConvertError::NotSound { file: template.source.file.to_string(), why }
}

pub(super) struct Change<'c> {
    pub(super) template: &'c Document<'c>,
    pub(super) started: &'c Started,
    pub(super) assets: &'c Assets,
    pub(super) service: &'c Files<'c>,
    pub(super) edits: Edits,
    pub(super) notes: &'c mut Vec<Note>,
    /// Members of the app that it has not had.
    pub(super) added: Vec<String>,
    /// Variables that nothing reads, and where they stand.
    pub(super) unread: Vec<(String, usize)>,
}

impl Change<'_> {
    pub(super) fn note(&mut self, kind: NoteKind, at: usize, text: impl Into<String>) {
        self.notes.push(self.template.note(kind, at, text));
    }

    /// The command.
    fn start(&mut self) {
        let started = self.started;
        let named = |list: &str| {
            let ports = self.template.root.members(list).flat_map(|entry| entry.value.entries());
            ports
                .filter_map(|port| port.value.at(&["name"]))
                .any(|name| name.written(self.template.text()) == Some("api"))
        };
        let mappings = self
            .template
            .root
            .at(&["container"])
            .into_iter()
            .flat_map(|container| container.members("portMappings"));
        let mapped = mappings
            .flat_map(|entry| entry.value.entries())
            .filter_map(|port| port.value.at(&["name"]))
            .any(|name| name.written(self.template.text()) == Some("api"));
        let port = if named("portDefinitions") || mapped { "" } else { " --api-port $PORT0" };
        let one = started.commands.windows(2).all(|pair| pair[0].file == pair[1].file);
        for Start { entry, command, file } in &started.commands {
            let mut line = command.variables.join(" && ");
            if !line.is_empty() {
                line.push_str(" && ");
            }
            let svc = if one { String::new() } else { format!(" --svc {file}") };
            self.edits.replace(
                entry.span.clone(),
                format!("\"cmd\": \"{line}exec ./dagpkg-scheduler{port}{svc}\""),
            );
        }
    }

    /// Something that would leave a comma behind, with some options.
    pub(super) fn stays(&mut self, entry: &Entry) {
        let what = if entry.name.is_empty() { "this".to_owned() } else { format!("`{}`", entry.name) };
        let text = format!(
            "{what} means nothing now; it stays because of the commas around it: take it out by hand"
        );
        self.note(NoteKind::Left, entry.span.start, text);
    }

    /// What is downloaded for the scheduler.
    fn fetch(&mut self) -> Result<(), ConvertError> {
        let (template, text) = (self.template, self.template.text());
        let uri = |key: &str| format!("{{{{resource.assets.uris.{key}}}}}");
        let ours = [
            format!("{{ \"uri\": \"{}\", \"executable\": true }}", uri(SCHEDULER.0)),
            format!("{{ \"uri\": \"{}\" }}", uri(SERVICE.0)),
        ];
        let has_fetch = template.root.members("fetch").next().is_some();
        let lists: Vec<&Entry> =
            template.root.members("fetch").chain(template.root.members("uris")).collect();
        for list in &lists {
            let becomes_fetch = list.name == "uris" && !has_fetch;
            let mut gone = BTreeMap::new();
            for item in list.value.entries() {
                let node = if list.name == "uris" { Some(&item.value) } else { item.value.at(&["uri"]) };
                let written = node.and_then(|node| node.written(text)).unwrap_or_default();
                gone.insert(item.span.start, self.is_dropped(item, written));
            }
            let drop = |entry: &Entry| gone.get(&entry.span.start) == Some(&true);
            let add: &[String] = if list.name == "fetch" || becomes_fetch { &ours } else { &[] };
            let stay = self.edits.rewrite(text, &list.value, drop, add);
            let stay = stay.map_err(|NoPlace| no_place(template, &format!("`{}`", list.name)))?;
            if becomes_fetch {
                self.edits.replace(list.span.start..list.span.start + "\"uris\"".len(), "\"fetch\"");
                for item in list.value.entries().filter(|item| !drop(item) || stay.contains(item)) {
                    self.edits.replace(item.span.start..item.span.start, "{ \"uri\": ");
                    self.edits.replace(item.span.end..item.span.end, " }");
                }
            }
            for entry in &stay {
                self.stays(entry);
            }
            let text = "what is downloaded for the scheduler is the scheduler itself, and svc.zip with the service files";
            self.note(NoteKind::Changed, list.span.start, text);
        }
        if lists.is_empty() {
            self.added.push(format!("\"fetch\": [{}]", ours.join(", ")));
        }
        Ok(())
    }

    /// Whether something need not be downloaded for the scheduler.
    fn is_dropped(&mut self, item: &Entry, written: &str) -> bool {
        let Some(asset) = self.assets.named_in(written) else {
            let file = written.rsplit('/').next().unwrap_or_default();
            if ["bootstrap.zip", "executor.zip"].contains(&file) || file.contains("libmesos") {
                return true;
            }
            self.note(
                NoteKind::Left,
                item.span.start,
                "this is still downloaded for the scheduler; dagpkg-scheduler needs nothing more",
            );
            return false;
        };
        let (class, key) = (asset.class, asset.key.clone());
        if class != Class::Own {
            return true;
        }
        let text =
            format!("`{key}` is still downloaded for the scheduler; dagpkg-scheduler needs nothing more");
        self.note(NoteKind::Left, item.span.start, text);
        false
    }

    /// An image for the scheduler: it is a static program and needs none.
    fn container(&mut self) {
        for container in self.template.root.members("container") {
            let Some(docker) = container.value.members("docker").next() else { continue };
            if docker
                .value
                .entries()
                .any(|entry| ["portMappings", "network", "parameters"].contains(&entry.name.as_str()))
            {
                let text = "the scheduler runs in an image, which dagpkg-scheduler does not need: it is a static program. It stays, because \
                            ports or a network hang on it: see whether it can go";
                self.note(NoteKind::Left, docker.span.start, text);
                continue;
            }
            let is_docker = |entry: &Entry| entry.name == "docker";
            let stay = self
                .edits
                .rewrite(self.template.text(), &container.value, is_docker, &[])
                .unwrap_or_default();
            if stay.is_empty() {
                self.note(
                    NoteKind::Dropped,
                    docker.span.start,
                    "the scheduler's image: dagpkg-scheduler is a static program",
                );
                if let Some(kind) = container.value.at(&["type"]) {
                    self.edits.replace(kind.span.clone(), "\"MESOS\"");
                }
            }
            for entry in &stay {
                self.stays(entry);
            }
        }
    }
}
