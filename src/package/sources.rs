//! The files that a package is made of, and their form in a repository.

use super::options::Object;
use super::parameters::Parameters;
use crate::finding::{Code, Report, Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// The files of a package as its author keeps them, in a folder that is usually called `universe`.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `package.json`: name, version, texts.
    pub package: Source,
    /// `config.json`: the options, as a JSON Schema.
    pub config: Option<Source>,
    /// `marathon.json.mustache`: the app.
    pub marathon: Option<Source>,
    /// `resource.json`: what the package downloads.
    pub resource: Option<Source>,
}

impl Sources {
    /// All files that there are.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        [Some(&self.package), self.config.as_ref(), self.marathon.as_ref(), self.resource.as_ref()]
            .into_iter()
            .flatten()
    }

    /// The files with the parameters of this build in place of their names.
    pub fn substitute(&self, parameters: &Parameters) -> Result<Self, Report> {
        let mut findings = Vec::new();
        let mut substitute = |source: &Source| {
            parameters.substitute(source).unwrap_or_else(|Report(found)| {
                findings.extend(found);
                source.clone()
            })
        };
        let built = Self {
            package: substitute(&self.package),
            config: self.config.as_ref().map(&mut substitute),
            marathon: self.marathon.as_ref().map(&mut substitute),
            resource: self.resource.as_ref().map(&mut substitute),
        };
        if findings.is_empty() { Ok(built) } else { Err(Report(findings)) }
    }

    /// The files that a stub universe was built from, with parameters replaced. Their names begin with its name.
    pub fn from_stub_universe(stub: &Source) -> Result<Self, Report> {
        let repository = stub.json()?;
        if repository["packages"].as_array().is_none_or(|packages| packages.len() != 1) {
            let message = "a stub universe has one package: {\"packages\": [{…}]}";
            return Err(stub.at_pointer(Code::StubShape, "/packages", message).into());
        }
        Self::from_repository(stub, &repository, 0)
    }

    /// The files that a package of a repository was built from. `repository` is what is in `source`.
    pub fn from_repository(source: &Source, repository: &Value, index: usize) -> Result<Self, Report> {
        let pointer = format!("/packages/{index}");
        let wrong =
            |pointer: &str, message: &str| Report::from(source.at_pointer(Code::StubShape, pointer, message));
        let Some(Value::Object(package)) = repository.pointer(&pointer) else {
            return Err(wrong(&pointer, "a package must be a JSON object"));
        };
        let mut package = package.clone();
        let mut part = |key: &str, name: &str| {
            let value = package.shift_remove(key)?;
            Some(Source::new(format!("{}!{name}", source.file), format!("{value:#}")))
        };
        let config = part("config", "config.json");
        let resource = part("resource", "resource.json");
        let marathon = match package.shift_remove("marathon") {
            None => None,
            Some(marathon) => {
                let encoded = marathon["v2AppMustacheTemplate"].as_str().unwrap_or_default();
                let text = String::from_utf8(BASE64.decode(encoded).unwrap_or_default()).unwrap_or_default();
                if text.is_empty() {
                    let pointer = format!("{pointer}/marathon/v2AppMustacheTemplate");
                    return Err(wrong(&pointer, "the template must be base64 of UTF-8"));
                }
                Some(Source::new(format!("{}!marathon.json.mustache", source.file), text))
            }
        };
        // these are of the repository, not of package.json
        for key in ["releaseVersion", "command"] {
            package.shift_remove(key);
        }
        let package =
            Source::new(format!("{}!package.json", source.file), format!("{:#}", Value::Object(package)));
        Ok(Self { package, config, marathon, resource })
    }

    /// The package as it stands in a repository. `last_updated` is in seconds since 1970.
    pub fn repository_entry(&self, last_updated: i64) -> Result<Object, Report> {
        let Value::Object(mut entry) = self.package.json()? else {
            return Err(self.package.at_pointer(Code::NotObject, "", "this must be a JSON object").into());
        };
        entry.insert("releaseVersion".to_owned(), json!(0));
        // repositories of version 2.0 packages know no such field
        if entry.get("packagingVersion") != Some(&json!("2.0")) {
            entry.insert("lastUpdated".to_owned(), json!(last_updated));
        }
        if let Some(config) = &self.config {
            entry.insert("config".to_owned(), config.json()?);
        }
        if let Some(marathon) = &self.marathon {
            let template = BASE64.encode(&*marathon.text);
            entry.insert("marathon".to_owned(), json!({ "v2AppMustacheTemplate": template }));
        }
        if let Some(resource) = &self.resource {
            entry.insert("resource".to_owned(), resource.json()?);
        }
        Ok(entry)
    }
}

/// A repository that holds one package, as it is served: a "stub universe".
pub fn stub_universe(entry: &Object) -> String {
    let repository = json!({ "packages": [entry] });
    format!("{repository:#}\n")
}

/// The name of the file of a package's stub universe.
pub fn stub_file_name(package: &str) -> String {
    format!("stub-universe-{package}.json")
}

/// Whether a file is, by its name, a stub universe.
pub fn is_stub_file_name(name: &str) -> bool {
    name.strip_prefix("stub-universe-").is_some_and(|rest| rest.strip_suffix(".json").is_some())
}
