//! `dagpkg lint`: says what is wrong with the files that a package author writes, before a cluster does.
//!
//! Which files, and with which options, is `subject`'s; the rules are those of `package::lint` and of the service language.

use super::subject::{App, Subject, SubjectArgs};
use crate::finding::{self, Code, Finding, Report, Severity, Source};
use crate::package::lint;
use crate::publish::files;
use crate::runtime::load::{LoadError, Loaded};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Check the files of a package and of its service: every mistake with its place, and how to mend it.
///
/// The package is checked as the catalog, the package service and Marathon check it, with its default options or with
/// those that are given; the service file as its scheduler reads it, with the environment that the package gives the
/// scheduler. What they would refuse is an error, what is probably not meant a warning.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each finding names FILE:LINE:COLUMN and has a code that stays the same over releases; `dagpkg explain CODE` says more.
Exit codes: 0 no errors (there may be warnings), 1 errors, 2 wrong usage.

Examples:
  dagpkg lint
  dagpkg lint frameworks/kafka --set brokers.count=5
  dagpkg lint --universe universe --svc svc/svc.yml --output sarif > lint.sarif
  dagpkg lint --svc svc.yml --env FRAMEWORK_NAME=weather --env STATION_COUNT=3")]
pub struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    /// How to print what was found.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    /// The findings with the lines that they are about, for people.
    Text,
    /// One JSON object.
    Json,
    /// A log in the Static Analysis Results Interchange Format 2.1.0, for code hosts and editors.
    Sarif,
}

/// What came out.
#[derive(Default)]
struct Checked {
    /// What was looked at.
    files: Vec<String>,
    /// What was not, and why.
    unchecked: Option<(String, &'static str)>,
    findings: Vec<Finding>,
}

/// Runs `dagpkg lint`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut checked = Checked::default();
    match args.subject.read_without_downloads() {
        Ok(subject) => checked.check(&subject)?,
        // a file that cannot be read is a finding like others
        Err(error) => match super::report(&error) {
            Some(Report(findings)) => checked.add(findings.clone()),
            None => return Err(error),
        },
    }
    checked.sort();
    match args.output {
        Output::Text => {
            super::show(&checked.findings);
            super::print(&checked.summary())?;
        }
        Output::Json => super::print(&format!("{:#}\n", checked.json()))?,
        Output::Sarif => {
            let folder = std::env::current_dir().unwrap_or_default();
            super::print(&format!("{:#}\n", finding::sarif(&checked.findings, &folder)))?;
        }
    }
    Ok(if checked.count(Severity::Error) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Checked {
    fn check(&mut self, subject: &Subject) -> anyhow::Result<()> {
        let mut app = None;
        if let (Some(package), Some(universe)) = (&subject.package, &subject.universe) {
            let here = Path::new(".");
            let universe = if universe.as_os_str().is_empty() { here } else { universe };
            self.files.push(universe.display().to_string());
            self.add(lint::files(package));
            self.add(subject.downloads.clone());
            // a stub universe has no such file
            let command =
                if universe.is_dir() { files::read_source(&universe.join("command.json")) } else { Ok(None) };
            self.add(command.as_ref().err().into_iter().flat_map(|Report(findings)| findings.clone()));
            self.add(lint::catalog::files(package, command.ok().flatten().as_ref()));
            if let Ok(path) = universe.canonicalize() {
                self.add(lint::catalog::folder(package, &path));
            }
            self.add(lint::package(package));
            match subject.app() {
                Ok(found) => app = found,
                Err(Report(findings)) => self.no_app(subject, findings),
            }
        }
        let service = self.service(subject, app.as_ref())?;
        if let (Some(app), Some(package)) = (&app, &subject.package) {
            let is_framework = package.package.json().is_ok_and(|package| package["framework"] == true);
            let labels = app.app.get("labels").and_then(Value::as_object);
            let is_service = ["DCOS_COMMONS_API_VERSION", "DCOS_COMMONS_UNINSTALL"];
            let is_service =
                is_service.iter().any(|name| labels.is_some_and(|labels| labels.contains_key(*name)));
            // its name is known to its file; else it is not compared
            let name = service.or_else(|| {
                let label = labels.and_then(|labels| labels.get("DCOS_PACKAGE_FRAMEWORK_NAME"));
                is_service.then(|| label.and_then(Value::as_str).unwrap_or_default().to_owned())
            });
            self.add(lint::duplicates(&app.text));
            let config = package.config.as_ref().and_then(|config| config.json().ok());
            let options = lint::app::Options { values: &app.options, config: config.as_ref() };
            self.add(lint::app::check(&app.text, &app.app, options));
            self.add(lint::hosts::in_app(&app.text, &app.app));
            let who = lint::labels::Who { is_framework, service: name.as_deref() };
            self.add(lint::labels::check(&app.text, &app.app, who));
        }
        Ok(())
    }

    /// Without an app much cannot be checked. If it is for options that everybody has to set, the package is not to blame.
    fn no_app(&mut self, subject: &Subject, mut why: Vec<Finding>) {
        // no options can be checked by a schema that is none
        if self.findings.iter().any(|finding| finding.code == Code::ConfigSchema) {
            why.retain(|finding| finding.code != Code::OptionRefused);
        }
        let unset = subject.unset();
        let needs_options = why.iter().all(|finding| finding.code == Code::AppNotJson) && !unset.is_empty();
        if needs_options {
            self.add(unset.into_iter().map(|finding| {
                let note = "without it the app is not JSON, and is not checked";
                finding.with_severity(Severity::Warning).note(note)
            }));
        } else {
            self.add(why);
        }
    }

    /// Checks the service, if there is one; answers its name.
    fn service(&mut self, subject: &Subject, app: Option<&App>) -> anyhow::Result<Option<String>> {
        let Some(file) = subject.service_file(app.map(|app| &app.app)) else { return Ok(None) };
        let file = file.display().to_string();
        if app.is_none() && subject.package.as_ref().is_some_and(|package| package.marathon.is_some()) {
            self.unchecked =
                Some((file, "it is rendered with the environment of the app, and there is none"));
            return Ok(None);
        }
        let mut name = None;
        match subject.service(app.map(|app| &app.app)) {
            Ok(Loaded { service, findings, text, templates }) => {
                self.add(findings);
                let env = subject.environment(app.map(|app| &app.app));
                let (text, templates, app) = (&text, &*templates, app.map(|app| &app.text));
                self.add(lint::service::check(&lint::service::Read {
                    service: &service,
                    text,
                    templates,
                    env: &env,
                    app,
                }));
                name = Some(service.spec.name);
            }
            Err(error) => match (super::report(&error), error.downcast_ref()) {
                (Some(Report(findings)), _) => self.add(findings.clone()),
                (None, Some(LoadError::Read { why, .. })) => {
                    let source = Source::new(&*file, "");
                    self.add([Finding::new(Code::Unreadable, &source, why.to_string())]);
                }
                _ => return Err(error),
            },
        }
        self.files.push(file);
        Ok(name)
    }

    /// Adds what was not found already: an app that cannot be rendered is found in more than one way.
    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }

    /// File by file in the order in which they came, in each in the order of places.
    fn sort(&mut self) {
        let mut files = BTreeMap::new();
        for finding in &self.findings {
            let next = files.len();
            files.entry(finding.source.file.clone()).or_insert(next);
        }
        self.findings.sort_by_key(|finding| {
            let span = finding.span.as_ref().map(|span| (span.start, span.end));
            (files.get(&finding.source.file).copied(), span)
        });
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    fn summary(&self) -> String {
        let counts = finding::counted(&self.findings);
        let files = self.files.join(", ");
        let files = if files.is_empty() { files } else { format!("{files}: ") };
        let unchecked = self.unchecked.as_ref();
        let unchecked = unchecked.map(|(file, why)| format!("{file}: not checked, because {why}\n"));
        format!("{files}{counts}\n{}", unchecked.unwrap_or_default())
    }

    fn json(&self) -> Value {
        let unchecked = self.unchecked.as_ref().map(|(file, why)| json!({"file": file, "why": why}));
        json!({
            "checked": self.files,
            "unchecked": unchecked.iter().collect::<Vec<_>>(),
            "findings": self.findings.iter().map(finding::json).collect::<Vec<_>>(),
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
        })
    }
}
