//! A framework of the Mesosphere SDK as a package that needs neither Java nor libmesos.
//!
//! Service files and config templates stay as they are. The rest is changed at the places that are about the Java
//! scheduler, and nowhere else, so that an author finds the own file again; every change is a [`Note`]. What only the
//! author can decide is a note, too. No I/O. Called by `dagpkg new --from`.

mod assets;
mod check;
mod command;
mod java;
mod marathon;
mod options;
mod service;
#[cfg(test)]
mod tests;
mod variables;

pub use variables::PROGRAM_VARIABLES;

use super::framework::Framework;
use super::shape::{self, Node};
use super::{BadName, Files, GITIGNORE, check_name};
use crate::finding::{Report, Source};
use crate::package::Sources;
use crate::package::marathon::template_finding;
use crate::template::{Place, Template};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A package that was made of a framework, and what was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// The package's name.
    pub name: String,
    /// Its files.
    pub files: Files,
    /// What is different from the framework: by kind, file and line.
    pub notes: Vec<Note>,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteKind {
    /// It is there in another form.
    Changed,
    /// It is not there any more.
    Dropped,
    /// The author has to look at it.
    Left,
}

/// Something that an author should know about a conversion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// The file of the framework.
    pub file: String,
    /// Line in that file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What was done, or is to be done, and why.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Why a framework is not converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// Its name is no name for a package.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A file is wrong in itself.
    #[error(transparent)]
    Files(#[from] Report),
    /// A file cannot be understood well enough to change it.
    #[error("{file}:{place}: {why}")]
    NotUnderstood {
        /// The file.
        file: String,
        /// Where.
        place: Place,
        /// What is not understood, and what to do.
        why: String,
    },
    /// There is no service file.
    #[error(
        "{folder}: no file says what pods there are\n  help: a service file has a key `pods` at its root"
    )]
    NoService {
        /// Where it was looked for.
        folder: String,
    },
    /// The result would not be JSON, or lack something: the framework is written in a way that is not foreseen.
    #[error(
        "{file}: this template cannot be converted: {why}\n  help: write it by hand, after the template that \
         `dagpkg new` makes"
    )]
    NotSound {
        /// The template.
        file: String,
        /// What would be wrong.
        why: String,
    },
}

/// A JSON text, or a template of one, with its structure.
struct Document<'s> {
    source: &'s Source,
    root: Node,
}

impl<'s> Document<'s> {
    fn read(source: &'s Source) -> Result<Self, ConvertError> {
        let root =
            shape::parse(&source.text).map_err(|error| not_understood(source, error.at, error.message))?;
        Ok(Self { source, root })
    }

    fn text(&self) -> &'s str {
        &self.source.text
    }

    /// The text as JSON, which it is if the framework has been looked at before.
    fn json(&self) -> Value {
        self.source.json().unwrap_or_default()
    }

    /// A note about a place.
    fn note(&self, kind: NoteKind, at: usize, text: impl Into<String>) -> Note {
        let line = Some(shape::line(self.text(), at));
        Note { kind, file: self.source.file.to_string(), line, text: text.into() }
    }
}

fn not_understood(source: &Source, at: usize, why: impl Into<String>) -> ConvertError {
    let place = Place::of(&source.text, at.min(source.text.len()));
    ConvertError::NotUnderstood { file: source.file.to_string(), place, why: why.into() }
}

/// Makes a package of a framework, with another name if one is given.
pub fn convert(framework: &Framework, name: Option<&str>) -> Result<Conversion, ConvertError> {
    let own_name = framework.package.json()?["name"].as_str().unwrap_or_default().to_owned();
    let name = name.map_or_else(|| own_name.clone(), str::to_owned);
    check_name(&name)?;

    let empty = |name: &str, text: &str| Source::new(framework.beside_package(name), text);
    let config = framework.config.clone().unwrap_or_else(|| empty("config.json", options::NONE));
    let resource = framework.resource.clone().unwrap_or_else(|| empty("resource.json", assets::NONE));
    // what must be JSON before anything is done to it
    for source in [&config, &resource] {
        source.json()?;
    }
    if let Err(error) = Template::parse(&framework.marathon.text) {
        return Err(Report::from(template_finding(&framework.marathon, &error)).into());
    }
    let config = Document::read(&config)?;
    let resource = Document::read(&resource)?;
    let template = Document::read(&framework.marathon)?;

    let mut notes = Vec::new();
    let service = service::Files::read(framework)?;
    let values = check::values(&config, &resource);
    let command = marathon::command(&template, &service, &values)?;
    let assets = assets::Assets::read(&resource, &command);
    let options = options::convert(&config, &own_name, &name, &mut notes);
    let app = marathon::convert(&template, &command, &assets, &service, &options, &mut notes)?;
    let resource_text = assets.convert(&resource, &app, &service, &mut notes);
    let package = rename(&framework.package, &own_name, &name, &mut notes)?;

    check::sound(&template, &app.text, &config, &resource, &resource_text)?;
    notes.extend(options::unread(&config, &framework.marathon.text, &app.text));
    notes.extend(options::parameters(framework, &config));
    notes.extend(java::notes(framework));
    notes.extend(command.notes(&template, &service, &config));

    let with = |old: &Source, text: String| Source::new(Arc::clone(&old.file), text);
    let package = Sources {
        package: with(&framework.package, package),
        config: Some(with(config.source, options.text)),
        marathon: Some(with(template.source, app.text)),
        resource: Some(with(resource.source, resource_text)),
    };
    notes.extend(service.findings(&package, &command.default)?);
    let mut files = Files::from([
        (".gitignore".to_owned(), GITIGNORE.to_owned().into()),
        ("README.md".to_owned(), readme(&name, &framework.package).into()),
    ]);
    let names = ["package.json", "config.json", "marathon.json.mustache", "resource.json"];
    // all four are there
    for (name, source) in names.into_iter().zip(package.all()) {
        files.insert(format!("universe/{name}"), source.text.to_string().into());
    }
    files.extend(framework.service.iter().map(|(path, file)| (format!("svc/{path}"), file.clone())));
    notes.sort();
    notes.dedup();
    Ok(Conversion { name, files, notes })
}

/// `package.json` with the new name, if it is another.
fn rename(package: &Source, old: &str, new: &str, notes: &mut Vec<Note>) -> Result<String, ConvertError> {
    let document = Document::read(package)?;
    let Some(name) = document.root.at(&["name"]).filter(|_| old != new) else {
        return Ok(package.text.to_string());
    };
    notes.push(document.note(
        NoteKind::Changed,
        name.span.start,
        format!("the package's name is `{new}` now"),
    ));
    let mut edits = super::edit::Edits::default();
    edits.replace(name.span.clone(), format!("\"{new}\""));
    Ok(edits.apply(&package.text))
}

fn readme(name: &str, package: &Source) -> String {
    let package = package.json().unwrap_or_default();
    let description = package["description"].as_str().unwrap_or_default();
    include_str!("../files/converted.md").replace("@NAME@", name).replace("@DESCRIPTION@", description)
}

/// Where names stand in tags: name → (file, line) of each.
type Mentions = BTreeMap<String, Vec<(String, usize)>>;
