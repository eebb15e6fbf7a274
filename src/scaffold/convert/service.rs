//! The service files of a framework: which there are, what they need of the scheduler's environment, and whether they can
//! be used.

use super::super::framework::{Framework, is_yaml};
use super::super::shape::{self, tags};
use super::{ConvertError, Mentions, Note, NoteKind};
use crate::finding::{Code, Report, Severity, Source};
use crate::package::parameters::Parameters;
use crate::package::{Sources, marathon, options};
use crate::runtime::load;
use crate::template::Template;
use serde_json::Value;
use std::collections::BTreeMap;

/// The service files, and what lies beside them.
pub struct Files<'f> {
    framework: &'f Framework,
    /// Those that say what pods there are, by their path below the folder of all; the others are config templates.
    pub services: BTreeMap<String, Source>,
    /// The names in their tags.
    pub mentions: Mentions,
}

impl<'f> Files<'f> {
    /// Looks at all files. What is no template is an error: nothing could ever run it.
    pub fn read(framework: &'f Framework) -> Result<Self, ConvertError> {
        let mut files = Self { framework, services: BTreeMap::new(), mentions: Mentions::new() };
        for (path, file) in framework.service.iter().filter(|(path, _)| is_yaml(path)) {
            let source = Source::new(files.shown(path), String::from_utf8_lossy(&file.bytes));
            if let Err(error) = std::str::from_utf8(&file.bytes) {
                let at = error.valid_up_to();
                let finding = source.finding(Code::NotUtf8, &(at..at), "the file is not UTF-8 from here on");
                return Err(Report::from(finding).into());
            }
            if !source.text.lines().any(|line| line.trim_end() == "pods:" || line.starts_with("pods: ")) {
                continue;
            }
            // what is no template is wrong with any environment
            let no_template =
                |report: &Report| report.0.iter().any(|found| found.code == Code::ServiceTemplate);
            if let Some(report) = files.errors(path, &source, &BTreeMap::new()).filter(no_template) {
                return Err(report.into());
            }
            for tag in tags(&source.text).iter().filter(|tag| tag.sigil != '!' && tag.sigil != '/') {
                let place = (source.file.to_string(), shape::line(&source.text, tag.span.start));
                files.mentions.entry(tag.name.to_owned()).or_default().push(place);
            }
            files.services.insert(path.clone(), source);
        }
        if files.services.is_empty() {
            return Err(ConvertError::NoService { folder: framework.dist.display().to_string() });
        }
        Ok(files)
    }

    /// A file as messages name it.
    pub fn shown(&self, path: &str) -> String {
        self.framework.dist.join(path).display().to_string()
    }

    /// Whether there is such a file, service file or not.
    pub fn has(&self, path: &str) -> bool {
        self.framework.service.contains_key(path)
    }

    /// What is wrong with the service files when they are rendered with the package's default options. The one that runs
    /// then must be good, but for what options do that have no default.
    pub fn findings(&self, package: &Sources, default: &str) -> Result<Vec<Note>, ConvertError> {
        let env = environment(package);
        let mut notes = Vec::new();
        for (path, source) in &self.services {
            let Some(report) = self.errors(path, source, &env) else { continue };
            if path == default && self.is_broken(path, source, &env) {
                return Err(report.into());
            }
            let errors = report.0.iter().filter(|found| found.severity == Severity::Error);
            notes.extend(errors.map(|found| Note {
                kind: NoteKind::Left,
                file: source.file.to_string(),
                line: found.place().map(|place| place.line),
                text: format!("with default options: {}", found.message),
            }));
        }
        Ok(notes)
    }

    /// All that is wrong with a file, if there are errors.
    fn errors(&self, path: &str, source: &Source, env: &BTreeMap<String, String>) -> Option<Report> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let config_template = |name: &str| {
            let parts = folder.split('/').chain(name.split('/')).filter(|part| !["", "."].contains(part));
            let path = parts.collect::<Vec<_>>().join("/");
            let file = self.framework.service.get(&path).ok_or_else(|| "there is no such file".to_owned())?;
            String::from_utf8(file.bytes.clone()).map_err(|error| error.to_string())
        };
        load::from_source(source, env, &config_template).err()
    }

    /// Whether a file that has errors has them whatever the options are that have no default.
    fn is_broken(&self, path: &str, source: &Source, env: &BTreeMap<String, String>) -> bool {
        let here =
            |(_, places): &(_, &Vec<(String, usize)>)| places.iter().any(|(file, _)| **file == *source.file);
        let names = self.mentions.iter().filter(here).map(|(name, _)| name.clone());
        let open: Vec<_> = names.filter(|name| env.get(name).is_none_or(String::is_empty)).collect();
        if open.is_empty() {
            return true;
        }
        let mut filled = env.clone();
        filled.extend(open.into_iter().map(|name| (name, "1".to_owned())));
        let structure = [Code::Syntax, Code::DuplicateKey, Code::Limit, Code::Document];
        let report = self.errors(path, source, &filled);
        report.is_some_and(|report| report.0.iter().any(|found| structure.contains(&found.code)))
    }
}

/// The environment that the package's app gives the scheduler with default options.
fn environment(package: &Sources) -> BTreeMap<String, String> {
    // what is wrong with the package is for others to say
    let Ok(package) = package.substitute(&Parameters::for_checks(&package.package)) else {
        return BTreeMap::new();
    };
    let json =
        |source: &Option<Source>| source.as_ref().and_then(|source| source.json().ok()).unwrap_or_default();
    let defaults = options::defaults(&json(&package.config));
    let template = package.marathon.as_ref().and_then(|source| Template::parse(&source.text).ok());
    let app = template
        .and_then(|template| marathon::render(&template, &defaults, Some(&json(&package.resource))).ok());
    let env = app.as_ref().and_then(|(app, _)| app.get("env")?.as_object());
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    env.into_iter().flatten().filter_map(text).collect()
}
