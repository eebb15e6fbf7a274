//! The variables of the scheduler's app: which stay, which go, which lead to something else.

use super::super::edit::NoPlace;
use super::super::shape::{self, Entry};
use super::assets::Class;
use super::command::is_for_java;
use super::marathon::{Change, no_place};
use super::options::Options;
use super::{ConvertError, Note, NoteKind};
use crate::scheduler;
use std::collections::BTreeMap;

/// What `dagpkg-scheduler` reads for its command line; what the service reads is [`scheduler::VARIABLES`].
pub const PROGRAM_VARIABLES: [&str; 9] = [
    "FRAMEWORK_LOG_LEVEL",
    "LIBPROCESS_IP",
    "MESOS_CREDENTIALS",
    "MESOS_MASTER",
    "PORT_API",
    "RUST_LOG",
    "SECRETS",
    "STATE_DIR",
    "SVC_FILE",
];

/// What becomes of a variable.
enum Fate {
    Kept,
    Dropped(&'static str),
    /// Leads to the helper of tasks.
    Bootstrap,
    /// Has another value.
    Becomes(String),
}

impl Change<'_> {
    /// The environment.
    pub(super) fn env(&mut self, options: &Options) -> Result<(), ConvertError> {
        let (template, text) = (self.template, self.template.text());
        let mut ours: Vec<(&str, String)> = options.variables.clone();
        ours.push(("SVC_FILE", self.started.commands[0].file.clone()));
        let add: Vec<String> = ours.iter().map(|(name, value)| format!("\"{name}\": \"{value}\"")).collect();
        let mut any = false;
        for env in template.root.members("env") {
            any = true;
            let mut fates: BTreeMap<usize, bool> = BTreeMap::new();
            for entry in env.value.entries() {
                let is_ours = ours.iter().any(|(name, _)| *name == entry.name);
                fates.insert(entry.span.start, self.variable(entry, is_ours));
            }
            let drop = |entry: &Entry| fates.get(&entry.span.start) == Some(&true);
            let stay = self.edits.rewrite(text, &env.value, drop, &add);
            for entry in stay.map_err(|NoPlace| no_place(template, "`env`"))? {
                self.stays(&entry);
            }
            self.tell_unread();
            let names: Vec<_> = ours.iter().map(|(name, _)| *name).collect();
            self.note(
                NoteKind::Changed,
                env.span.start,
                format!("variables of dagpkg-scheduler are added: {}", names.join(", ")),
            );
        }
        if !any {
            self.added.push(format!("\"env\": {{ {} }}", add.join(", ")));
        }
        Ok(())
    }

    /// Decides about a variable; true if it goes.
    fn variable(&mut self, entry: &Entry, is_ours: bool) -> bool {
        let (name, at) = (entry.name.as_str(), entry.span.start);
        let mentions = self.service.mentions.get(name).cloned().unwrap_or_default();
        match self.fate(entry, is_ours, !mentions.is_empty()) {
            Fate::Dropped(why) => {
                self.note(NoteKind::Dropped, at, format!("the variable {name}: {why}"));
                if is_ours && !mentions.is_empty() {
                    self.note(
                        NoteKind::Left,
                        at,
                        format!("service files use {name}, which is the scheduler's own now: rename it"),
                    );
                }
                true
            }
            Fate::Bootstrap => {
                let value = format!("\"{{{{resource.assets.uris.{}}}}}\"", self.assets.bootstrap);
                self.edits.replace(entry.value.span.clone(), value);
                if name == "BOOTSTRAP_URI" {
                    self.note(
                        NoteKind::Changed,
                        at,
                        format!("{name} leads to bootstrap.zip of this package"),
                    );
                    return false;
                }
                self.note(
                    NoteKind::Changed,
                    at,
                    format!("{name} leads to bootstrap.zip, for service files fetch it"),
                );
                for (file, line) in mentions {
                    let text = format!(
                        "`{{{{{name}}}}}` brings bootstrap.zip, so that this file needs no change; see whether the task can do \
                         without, and remove it"
                    );
                    self.notes.push(Note { kind: NoteKind::Left, file, line: Some(line), text });
                }
                false
            }
            Fate::Becomes(value) => {
                self.edits.replace(entry.value.span.clone(), format!("\"{value}\""));
                let text = format!(
                    "{name} is `{value}`: what lay in the folder of the Java scheduler lies beside the service file now"
                );
                self.note(NoteKind::Changed, at, text);
                false
            }
            Fate::Kept => {
                self.kept(entry, mentions);
                false
            }
        }
    }

    fn fate(&self, entry: &Entry, is_ours: bool, is_mentioned: bool) -> Fate {
        let name = entry.name.as_str();
        let value = entry.value.written(self.template.text()).unwrap_or_default();
        let is_asset = value.starts_with("{{") && value.matches("{{").count() == 1 && value.ends_with("}}");
        let asset = self.assets.named_in(value).filter(|_| is_asset);
        let is_needed = is_mentioned || name.starts_with("TASKCFG_");
        let file = value.rsplit('/').next().unwrap_or_default();
        match asset.map(|asset| asset.class) {
            _ if is_ours => {
                Fate::Dropped("dagpkg-scheduler reads one of this name, with a value of this package")
            }
            Some(Class::Libmesos | Class::Scheduler | Class::Executor) if is_mentioned => Fate::Bootstrap,
            Some(Class::Libmesos | Class::Scheduler | Class::Executor) => {
                Fate::Dropped("what it leads to is gone")
            }
            Some(Class::Jre | Class::Own) if !is_needed => Fate::Dropped("no service file uses it"),
            None if name == "BOOTSTRAP_URI" || file == "bootstrap.zip" => Fate::Bootstrap,
            _ if !is_needed && is_for_java(name, value) => Fate::Dropped("only Java and libmesos read it"),
            _ if !is_needed && name == "CONFIG_TEMPLATE_PATH" => {
                Fate::Dropped("config templates are looked for beside the service file")
            }
            _ if is_mentioned && self.beside_service(value).is_some() => {
                Fate::Becomes(self.beside_service(value).unwrap_or_default())
            }
            _ => Fate::Kept,
        }
    }

    /// A path in the folder that the archive of the Java scheduler was unpacked to, as one beside the service file.
    fn beside_service(&self, value: &str) -> Option<String> {
        let path = value.trim_start_matches("$MESOS_SANDBOX/").trim_start_matches("./").trim_end_matches('/');
        let rest = self.started.program_folders().into_iter().find_map(|folder| path.strip_prefix(folder))?;
        match rest.strip_prefix('/') {
            Some(inner) => Some(inner.to_owned()),
            None => rest.is_empty().then(|| ".".to_owned()),
        }
    }

    /// What an author should know about a variable that stays.
    fn kept(&mut self, entry: &Entry, mentions: Vec<(String, usize)>) {
        let (name, at) = (entry.name.as_str(), entry.span.start);
        let value = entry.value.written(self.template.text()).unwrap_or_default();
        if self.assets.named_in(value).is_some_and(|asset| asset.class == Class::Jre) {
            for (file, line) in mentions {
                let text = format!(
                    "tasks fetch Java by `{{{{{name}}}}}`: it must be an artifact of this package, or in an image that the pod names"
                );
                self.notes.push(Note { kind: NoteKind::Left, file, line: Some(line), text });
            }
            return;
        }
        if name == "DCOS_SERVICE_ACCOUNT_CREDENTIAL" {
            let text =
                "the service account is kept as it is, but dagpkg-scheduler does not log in with it yet";
            return self.note(NoteKind::Left, at, text);
        }
        let prefixes = ["TASKCFG_", "PACKAGE_", "CONTAINER_LOGGER_", "LIBPROCESS_", "GLOG_", "TZ"];
        let is_read = PROGRAM_VARIABLES.contains(&name)
            || scheduler::VARIABLES.contains(&name)
            || prefixes.iter().any(|prefix| name.starts_with(prefix));
        if mentions.is_empty() && !is_read {
            self.unread.push((name.to_owned(), at));
        }
    }

    /// One note for all variables that nothing reads: there may be many.
    fn tell_unread(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let Some((_, first)) = unread.first() else { return };
        let line = |at: usize| shape::line(self.template.text(), at);
        let names: Vec<_> = unread.iter().map(|(name, at)| format!("{name} (line {})", line(*at))).collect();
        let text = format!(
            "neither dagpkg-scheduler nor a service file reads these variables; Java code may have: {}",
            names.join(", ")
        );
        self.note(NoteKind::Left, *first, text);
    }
}
