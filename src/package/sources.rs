//! The files that a package is made of, and their form in a repository.

use super::options::Object;
use super::parameters::Parameters;
use super::{Finding, Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Where in a stub universe the template is.
const TEMPLATE: &str = "/packages/0/marathon/v2AppMustacheTemplate";

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
    pub fn substitute(&self, parameters: &Parameters) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut substitute = |source: &Source| {
            let text = parameters.substitute(source).unwrap_or_else(|finding| {
                findings.push(finding);
                String::new()
            });
            Source { file: source.file.clone(), text }
        };
        let built = Self {
            package: substitute(&self.package),
            config: self.config.as_ref().map(&mut substitute),
            marathon: self.marathon.as_ref().map(&mut substitute),
            resource: self.resource.as_ref().map(&mut substitute),
        };
        if findings.is_empty() { Ok(built) } else { Err(findings) }
    }

    /// The files that a stub universe was built from, with parameters replaced. Their names begin with its name.
    pub fn from_stub_universe(stub: &Source) -> Result<Self, Finding> {
        let repository = stub.json()?;
        let wrong = |pointer: &str, message: &str| stub.at_pointer(pointer, message);
        let packages = repository["packages"].as_array();
        let [Value::Object(package)] = packages.map(Vec::as_slice).unwrap_or_default() else {
            return Err(wrong("/packages", "a stub universe has one package: {\"packages\": [{…}]}"));
        };
        let mut package = package.clone();
        let mut part = |key: &str, name: &str| {
            let value = package.shift_remove(key)?;
            Some(Source { file: format!("{}!{name}", stub.file), text: format!("{value:#}") })
        };
        let config = part("config", "config.json");
        let resource = part("resource", "resource.json");
        package.shift_remove("marathon");
        let marathon = match repository.pointer(TEMPLATE) {
            None => None,
            Some(encoded) => {
                let bytes = BASE64.decode(encoded.as_str().unwrap_or_default()).unwrap_or_default();
                let text = String::from_utf8(bytes).unwrap_or_default();
                if text.is_empty() {
                    return Err(wrong(TEMPLATE, "the template must be base64 of UTF-8"));
                }
                Some(Source { file: format!("{}!marathon.json.mustache", stub.file), text })
            }
        };
        let text = format!("{:#}", Value::Object(package));
        let package = Source { file: format!("{}!package.json", stub.file), text };
        Ok(Self { package, config, marathon, resource })
    }

    /// The package as it stands in a repository. `last_updated` is in seconds since 1970.
    pub fn repository_entry(&self, last_updated: i64) -> Result<Object, Finding> {
        let Value::Object(mut entry) = self.package.json()? else {
            return Err(self.package.at(0, "package.json must be a JSON object"));
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
            let template = BASE64.encode(&marathon.text);
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
