//! What a converted package downloads: `resource.json`.

use super::super::edit::Edits;
use super::super::shape::{Node, tags};
use super::marathon::{App, Started};
use super::service::Files;
use super::{Document, Note, NoteKind};
use std::collections::BTreeSet;

/// `resource.json` of a framework that has none.
pub const NONE: &str = "{\n  \"assets\": {\n    \"uris\": {}\n  }\n}\n";

/// In front of the name of an asset in a template.
const PREFIX: &str = "resource.assets.uris.";
/// The assets that every converted package has, and the artifacts behind them.
pub const SCHEDULER: (&str, &str) = ("dagpkg-scheduler", "dagpkg-scheduler");
/// The folder `svc`.
pub const SERVICE: (&str, &str) = ("svc-zip", "svc.zip");
/// The artifact with the helper of tasks.
const BOOTSTRAP: &str = "bootstrap.zip";

/// What a file that is downloaded is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Java.
    Jre,
    /// libmesos, with the modules of DC/OS.
    Libmesos,
    /// The scheduler.
    Scheduler,
    /// The executor of early SDKs.
    Executor,
    /// The helper of tasks.
    Bootstrap,
    /// Something of the author's.
    Own,
}

/// An entry of `assets.uris`.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its name.
    pub key: String,
    /// Its URL, as written.
    pub url: String,
    /// What it is for.
    pub class: Class,
    at: usize,
    value: std::ops::Range<usize>,
}

/// The assets of a framework.
pub struct Assets {
    all: Vec<Asset>,
    /// The asset with the helper of tasks: the framework's, or a new one.
    pub bootstrap: String,
}

impl Assets {
    /// Reads what the framework downloads.
    pub fn read(resource: &Document, command: &Started) -> Self {
        let uris = resource.root.at(&["assets", "uris"]);
        let all: Vec<Asset> = uris
            .into_iter()
            .flat_map(Node::entries)
            .map(|entry| {
                let url = entry.value.written(resource.text()).unwrap_or_default().to_owned();
                let class = classify(&entry.name, &url, &command.program_folders());
                let (at, value) = (entry.span.start, entry.value.span.clone());
                Asset { key: entry.name.clone(), url, class, at, value }
            })
            .collect();
        let bootstrap = all.iter().find(|asset| asset.class == Class::Bootstrap);
        let bootstrap = bootstrap.map_or_else(|| "bootstrap-zip".to_owned(), |asset| asset.key.clone());
        Self { all, bootstrap }
    }

    /// The asset that a text with tags is about, if it is about one.
    pub fn named_in(&self, text: &str) -> Option<&Asset> {
        keys(text).into_iter().next().and_then(|key| self.all.iter().find(|asset| asset.key == key))
    }

    /// The new `resource.json`: what the app does not name is not downloaded.
    pub fn convert(&self, resource: &Document, app: &App, service: &Files, notes: &mut Vec<Note>) -> String {
        let mut edits = Edits::default();
        let used = keys(&app.text);
        let mut add: Vec<String> = Vec::new();
        for (key, file) in [SCHEDULER, SERVICE, (self.bootstrap.as_str(), BOOTSTRAP)] {
            let is_there = self.all.iter().any(|asset| asset.key == key && asset.class == Class::Bootstrap);
            if used.contains(key) && !is_there {
                add.push(format!("\"{key}\": \"{{{{artifact-dir}}}}/{file}\""));
            }
        }
        let replaced = |key: &str| key == SCHEDULER.0 || key == SERVICE.0;
        let dropped = |key: &str| !used.contains(key) || replaced(key);
        for asset in &self.all {
            let Asset { key, url, class, at, value } = asset;
            if dropped(key) {
                let why = match class {
                    Class::Jre => "dagpkg-scheduler needs no Java",
                    Class::Libmesos => "dagpkg-scheduler needs no libmesos",
                    Class::Scheduler => "dagpkg-scheduler takes its place",
                    Class::Executor => "Mesos' own executor takes its place",
                    Class::Bootstrap | Class::Own => "nothing uses it",
                };
                notes.push(resource.note(
                    NoteKind::Dropped,
                    *at,
                    format!("`{key}` is not downloaded any more: {why}"),
                ));
                continue;
            }
            let ours = format!("{{{{artifact-dir}}}}/{BOOTSTRAP}");
            if *class == Class::Bootstrap {
                if *url != ours {
                    edits.replace(value.clone(), format!("\"{ours}\""));
                }
                let text = format!(
                    "`{key}` is {BOOTSTRAP} of this package, which dagpkg build makes of dagpkg-bootstrap"
                );
                notes.push(resource.note(NoteKind::Changed, *at, text));
                continue;
            }
            asset.keep(resource, service, &mut edits, notes);
        }
        let at = match resource.root.at(&["assets", "uris"]) {
            Some(uris) => {
                // plain JSON has no sections, so there is a place
                let _ = edits.rewrite(resource.text(), uris, |entry| dropped(&entry.name), &add);
                uris.span.start
            }
            None => insert(resource, &mut edits, &add),
        };
        let text = format!("artifacts that dagpkg build brings: {}", add.join(", ").replace('"', "`"));
        notes.push(resource.note(NoteKind::Changed, at, text));
        convert_subcommand(resource, &mut edits, notes);
        edits.apply(resource.text())
    }
}

impl Asset {
    /// Something of the author's that stays: is it a part of the package?
    fn keep(&self, resource: &Document, service: &Files, edits: &mut Edits, notes: &mut Vec<Note>) {
        let Self { key, url, at, value, .. } = self;
        let mut left = |text: String| notes.push(resource.note(NoteKind::Left, *at, text));
        let parameter = tags(url)
            .into_iter()
            .find(|tag| ["jre-url", "scheduler-jre-url", "libmesos-bundle-url"].contains(&tag.name));
        if let Some(parameter) = parameter {
            let file = format!("{}.tar.gz", parameter.name.trim_end_matches("-url"));
            edits.replace(value.clone(), format!("\"{{{{artifact-dir}}}}/{file}\""));
            left(format!(
                "`{key}` was what the SDK's build put there, which is gone; tasks use it, so it is an artifact of this package \
                 now: put it at artifacts/{file} before you build"
            ));
        } else if let Some(file) = url.strip_prefix("{{artifact-dir}}/") {
            if !service.has(file) && file != SCHEDULER.1 {
                left(format!(
                    "`{key}` is an artifact of this package: put it at artifacts/{file}, or build with --artifact …/{file}"
                ));
            }
        } else {
            let file = url.rsplit('/').next().unwrap_or_default();
            left(format!(
                "`{key}` is downloaded from elsewhere; to be independent of that host, put it at artifacts/{file} and write \
                 `{{{{artifact-dir}}}}/{file}`"
            ));
        }
    }
}

/// The names of assets in the tags of a text.
fn keys(text: &str) -> BTreeSet<String> {
    let names = tags(text).into_iter().filter(|tag| tag.sigil != '!').map(|tag| tag.name);
    names.filter_map(|name| name.strip_prefix(PREFIX)).map(str::to_owned).collect()
}

/// What a download is for: by the parameter that it stands for, its file's name and its own.
fn classify(key: &str, url: &str, programs: &[&str]) -> Class {
    let file = url.rsplit('/').next().unwrap_or_default().to_lowercase();
    let key = key.to_lowercase();
    let parameter = |names: &[&str]| tags(url).iter().any(|tag| names.contains(&tag.name));
    let words =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect::<Vec<_>>();
    let is_java = |word: &String| {
        let word = word.trim_start_matches("open").trim_end_matches(|c: char| c.is_ascii_digit());
        word == "jre" || word == "jdk"
    };
    let stem = ["zip", "tgz", "tar.gz", "tar"].iter().find_map(|end| file.strip_suffix(&format!(".{end}")));
    if parameter(&["libmesos-bundle-url"]) || file.contains("libmesos") || key.contains("libmesos") {
        Class::Libmesos
    } else if parameter(&["jre-url", "scheduler-jre-url"])
        || words(&key).iter().chain(&words(&file)).any(is_java)
    {
        Class::Jre
    } else if stem == Some("bootstrap") {
        Class::Bootstrap
    } else if stem == Some("executor") {
        Class::Executor
    } else if stem
        .is_some_and(|stem| programs.contains(&stem) || stem.ends_with("-scheduler") || stem == "scheduler")
    {
        Class::Scheduler
    } else {
        Class::Own
    }
}

/// Makes `assets.uris`, with these in it; answers where.
fn insert(resource: &Document, edits: &mut Edits, add: &[String]) -> usize {
    let uris = format!("\"uris\": {{ {} }}", add.join(", "));
    let (node, entry) = match resource.root.at(&["assets"]) {
        Some(assets) => (assets, uris),
        None => (&resource.root, format!("\"assets\": {{ {uris} }}")),
    };
    // plain JSON has no sections, so there is a place
    let _ = edits.rewrite(resource.text(), node, |_| false, &[entry]);
    node.span.start
}

/// The subcommand for the command line of DC/OS is ours.
fn convert_subcommand(resource: &Document, edits: &mut Edits, notes: &mut Vec<Note>) {
    let Some(binaries) = resource.root.at(&["cli", "binaries"]) else { return };
    for entry in binaries.entries() {
        let note = if entry.name == "linux" {
            let url = entry
                .value
                .at(&["x86-64", "url"])
                .and_then(|url| url.written(resource.text()))
                .unwrap_or_default();
            if !url.rsplit('/').next().unwrap_or_default().starts_with("dcos-service-cli") {
                let text = "the subcommand was the framework's own; commands that only that one has are gone";
                notes.push(resource.note(NoteKind::Left, entry.span.start, text));
            }
            resource.note(
                NoteKind::Changed,
                entry.span.start,
                "the subcommand for Linux is dcos-service-cli of this package",
            )
        } else {
            let text = format!("no subcommand for {}: dcos-service-cli is built for Linux only", entry.name);
            resource.note(NoteKind::Dropped, entry.span.start, text)
        };
        notes.push(note);
    }
    let linux = "\"linux\": { \"x86-64\": { \"kind\": \"executable\", \"url\": \"{{artifact-dir}}/dcos-service-cli\", \
                 \"contentHash\": [{ \"algo\": \"sha256\", \"value\": \"{{sha256:dcos-service-cli}}\" }] } }";
    // plain JSON has no sections, so there is a place
    let _ = edits.rewrite(resource.text(), binaries, |_| true, &[linux.to_owned()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_told_apart_by_what_they_are() {
        for (key, url, expected) in [
            ("jre-tar-gz", "{{jre-url}}", Class::Jre),
            ("java", "https://h/a/jre-8u131-linux-x64.tar.gz", Class::Jre),
            ("runtime", "https://h/OpenJDK11-jdk_x64.tgz", Class::Jre),
            ("tide-jdk11", "https://h/x.tgz", Class::Jre),
            ("statsd-java-client", "https://h/statsd.jar", Class::Own),
            ("libmesos-bundle-tar-gz", "{{libmesos-bundle-url}}", Class::Libmesos),
            ("mesos", "https://h/libmesos-bundle-1.9.tar.gz", Class::Libmesos),
            ("scheduler-zip", "{{artifact-dir}}/tide-scheduler.zip", Class::Scheduler),
            ("app", "{{artifact-dir}}/operator.zip", Class::Scheduler),
            ("executor-zip", "https://h/dcos-commons/executor.zip", Class::Executor),
            ("bootstrap-zip", "https://h/0.40.2/bootstrap.zip", Class::Bootstrap),
            ("bootstrap-css", "https://h/bootstrap.css", Class::Own),
            ("tide-zip", "https://h/tide-1.0.zip", Class::Own),
        ] {
            assert_eq!(classify(key, url, &["operator"]), expected, "{key} {url}");
        }
    }
}
