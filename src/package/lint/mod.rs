//! Checks of a package's files, and of its service, that need neither a build nor a cluster.
//!
//! [`universe`], and [`files`] in it, is what no package may break: the rules for package.json and resource.json are those of the public catalog,
//! per packaging version; config.json must be a JSON Schema of draft 4; the template must parse, and where the defaults alone
//! are allowed options, it must render to an app with them. The other checks are for an author to see: [`catalog`] what else
//! the catalog refuses, [`package`] what options and template have to do with each other, [`app`] what Marathon says of the
//! rendered app, [`labels`] what DC/OS needs to know of it, [`service`] what a scheduler says of the service.

pub mod app;
pub mod catalog;
pub mod hosts;
pub mod labels;
mod names;
pub mod schema;
pub mod service;

use super::options::{self, Object, OptionsError};
use super::{Sources, json, marathon};
use crate::finding::{Code, Finding, Report, Severity, Source, nearest};
use crate::template::Template;
use schema::{package_rules, resource_rules};
use serde_json::Value;

/// Everything that is wrong with a package. Parameters of the build must be replaced already.
pub fn universe(sources: &Sources) -> Vec<Finding> {
    let mut findings = files(sources);
    if let (true, Some(source)) = (findings.is_empty(), &sources.marathon)
        && let Ok(template) = Template::parse(&source.text)
    {
        let json = |source: &Option<Source>| source.as_ref().and_then(|source| source.json().ok());
        let (config, resource) = (json(&sources.config), json(&sources.resource));
        findings.extend(app_finding(source, &template, config.as_ref(), resource.as_ref()));
    }
    findings
}

/// Everything that is wrong with the files of a package, without rendering the app.
pub fn files(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    let package = parsed(&sources.package, &mut findings);
    let version = package.as_ref().map_or(4, version);
    if let Some(package) = &package {
        findings.extend(broken_rules(&sources.package, package, &package_rules(version)));
    }
    if let Some(source) = &sources.resource
        && let Some(resource) = parsed(source, &mut findings)
    {
        findings.extend(broken_rules(source, &resource, &resource_rules(version)));
    }
    if let Some(source) = &sources.config
        && let Some(config) = parsed(source, &mut findings)
    {
        findings.extend(config_findings(source, &config));
    }
    if let Some(source) = &sources.marathon
        && let Err(error) = Template::parse(&source.text)
    {
        findings.push(marathon::template_finding(source, &error));
    }
    findings
}

/// The packaging version, 2 to 5. Without a valid one, which is reported, the rules of 4.0 help best.
fn version(package: &Value) -> u8 {
    match package["packagingVersion"].as_str() {
        Some("2.0") => 2,
        Some("3.0") => 3,
        Some("5.0") => 5,
        _ => 4,
    }
}

/// What an author should know of a package whose files can be read: what its options and its template have to do with each
/// other, and what keeps it from closed networks.
pub fn package(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in [Some(&sources.package), sources.config.as_ref(), sources.resource.as_ref()] {
        findings.extend(source.into_iter().flat_map(duplicates));
    }
    let json = |source: &Option<Source>| source.as_ref().and_then(|source| parsed(source, &mut Vec::new()));
    let (config, resource) = (json(&sources.config), json(&sources.resource));
    let config = sources.config.as_ref().zip(config.as_ref());
    if let Some((source, config)) = config {
        findings.extend(refused_defaults(source, config));
        findings.extend(hosts::in_defaults(source, config));
    }
    if let Some(source) = &sources.marathon {
        findings.extend(hosts::in_text(source));
        if let Ok(template) = Template::parse(&source.text) {
            findings.extend(names::check(source, &template, config, resource.as_ref()));
        }
    }
    findings
}

/// Keys that are there twice in a JSON file.
pub fn duplicates(source: &Source) -> Vec<Finding> {
    if source.json().is_err() {
        return Vec::new();
    }
    let found = json::duplicates(&source.text).into_iter();
    found
        .map(|(key, before)| {
            let message = format!(
                "{} is there twice in this object, and only the last one counts",
                &source.text[key.clone()]
            );
            let found = source.finding(Code::DuplicateField, &key, message);
            found.related(source, &before, "the one before").help("remove one of them")
        })
        .collect()
}

/// Defaults that the package service refuses when somebody installs the package without options.
fn refused_defaults(source: &Source, config: &Value) -> Vec<Finding> {
    let Err(OptionsError::Invalid(broken)) = options::resolve(Some(config), &Object::new()) else {
        return Vec::new();
    };
    // what is required and has no default is the user's to set
    let broken = broken.iter().filter(|violation| violation.keyword != "required");
    broken
        .map(|violation| {
            let pointer = violation.unwanted().next().unwrap_or_else(|| violation.pointer.clone());
            let found =
                source.at_pointer(Code::DefaultRefused, &default_at(config, &pointer), violation.to_string());
            let found = match json::locate(&source.text, &violation.rule) {
                Some(rule) => found.related(source, &rule, "the rule"),
                None => found,
            };
            // such a default only says what kind of value is wanted
            if is_empty(&violation.value) {
                let help = "remove the default and make the option `required`, if everybody has to set it";
                return found.with_severity(Severity::Warning).help(help);
            }
            found.help("change the default or the rule: without this option nobody can install the package")
        })
        .collect()
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
}

/// Where the default of an option is in config.json.
fn default_at(config: &Value, option: &str) -> String {
    let (mut schema, mut pointer) = (config, String::new());
    let mut parts = option.split('/').skip(1);
    loop {
        if schema.get("default").is_some() {
            pointer.push_str("/default");
            parts.for_each(|part| pointer.extend(["/", part]));
            return pointer;
        }
        let Some(part) = parts.next() else { return pointer };
        pointer.extend(["/properties/", part]);
        schema = &schema["properties"][part.replace("~1", "/").replace("~0", "~")];
    }
}

/// What to say of options that cannot be checked at all. `source` is config.json, or package.json where there is none.
pub fn options_refused(source: &Source, error: &OptionsError) -> Report {
    Finding::new(Code::OptionRefused, source, error.to_string()).into()
}

fn parsed(source: &Source, findings: &mut Vec<Finding>) -> Option<Value> {
    match source.json() {
        Ok(value) if value.is_object() => return Some(value),
        Ok(_) => findings.push(source.at_pointer(Code::NotObject, "", "this must be a JSON object")),
        Err(Report(found)) => findings.extend(found),
    }
    None
}

fn broken_rules(source: &Source, value: &Value, rules: &Value) -> Vec<Finding> {
    // the rules are ours, and they are a schema
    let violations = options::violations(rules, value).unwrap_or_default();
    violations.iter().flat_map(|violation| broken_rule(source, violation, rules)).collect()
}

fn broken_rule(source: &Source, violation: &options::Violation, rules: &Value) -> Vec<Finding> {
    let dotted = |pointer: &str| pointer.trim_start_matches('/').replace('/', ".");
    let code = match violation.keyword.as_str() {
        "additionalProperties" => {
            let unknown = |pointer: String| {
                let message = format!("`{}` is not a field of packages of this version", dotted(&pointer));
                let name = pointer.rsplit('/').next().unwrap_or_default();
                let around = violation.rule.strip_suffix("/additionalProperties").unwrap_or_default();
                let known = rules.pointer(&format!("{around}/properties")).and_then(Value::as_object);
                let help = match nearest(name, known.into_iter().flat_map(Object::keys).map(String::as_str)) {
                    Some(like) => format!("did you mean `{like}`?"),
                    None => "remove it, or set another `packagingVersion`".to_owned(),
                };
                source.at_pointer(Code::UnknownField, &pointer, message).help(help)
            };
            return violation.unwanted().map(unknown).collect();
        }
        "required" => Code::MissingField,
        "type" => Code::FieldType,
        _ => Code::FieldValue,
    };
    let help = match code {
        Code::MissingField => "add it",
        Code::FieldType => "write a value of the type that is named",
        _ => "write a value that the rule allows",
    };
    let name = dotted(&violation.pointer);
    let name = if name.is_empty() { String::new() } else { format!("`{name}`: ") };
    vec![source.at_pointer(code, &violation.pointer, format!("{name}{}", violation.message)).help(help)]
}

fn config_findings(source: &Source, config: &Value) -> Vec<Finding> {
    let broken: Vec<Finding> = jsonschema::draft4::meta::validator()
        .iter_errors(config)
        .map(|error| {
            let pointer = error.instance_path().to_string();
            let message = format!("`{pointer}`: {error}");
            source.at_pointer(Code::ConfigSchema, &pointer, message).help("see JSON Schema, draft 4")
        })
        .collect();
    if broken.is_empty()
        && let Err(error) = jsonschema::draft4::new(config)
    {
        let pointer = error.instance_path().to_string();
        return vec![source.at_pointer(Code::ConfigSchema, &pointer, error.to_string())];
    }
    broken
}

/// What goes wrong when the package is installed with default options; nothing if it needs options to be installed.
fn app_finding(
    source: &Source,
    template: &Template,
    config: Option<&Value>,
    resource: Option<&Value>,
) -> Option<Finding> {
    match options::resolve(config, &Object::new()) {
        Ok(defaults) => {
            let rendered = marathon::render(template, &defaults, resource);
            rendered.err().map(|error| error.finding(source))
        }
        Err(OptionsError::Invalid(_) | OptionsError::NotAllowed | OptionsError::Schema(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn sources(package: &Value, resource: &Value, config: &str, template: &str) -> Sources {
        let source = |file: &str, text: String| Source::new(file, text);
        Sources {
            package: source("package.json", package.to_string()),
            config: Some(source("config.json", config.to_owned())),
            marathon: Some(source("marathon.json.mustache", template.to_owned())),
            resource: Some(source("resource.json", resource.to_string())),
        }
    }

    fn package(version: &str) -> Value {
        json!({
            "packagingVersion": version, "name": "demo", "version": "1.0-a.B", "maintainer": "m", "description": "d",
            "tags": ["t"], "licenses": [{"name": "l", "url": "https://l"}], "framework": true,
        })
    }

    fn cli(url: &str) -> Value {
        let hash = json!({"algo": "sha256", "value": "0"});
        let binary = json!({"kind": "zip", "url": url, "contentHash": [hash]});
        json!({"cli": {"binaries": {"darwin": {"x86-64": binary}}}})
    }

    /// The findings of a package that differs from a good one in one field of package.json.
    fn with_field(version: &str, name: &str, value: Value) -> Vec<String> {
        let mut package = package(version);
        package[name] = value;
        universe(&sources(&package, &json!({}), "{}", "{}")).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn good_packages_of_every_version_pass() {
        for version in ["2.0", "3.0", "4.0", "5.0"] {
            assert_eq!(with_field(version, "selected", json!(true)), Vec::<String>::new(), "{version}");
        }
        let good = sources(&package("3.0"), &cli("https://h/x"), "{}", "{}");
        assert_eq!(universe(&good), []);
    }

    #[test]
    fn each_field_follows_the_rules_of_its_packaging_version() {
        let cases = [
            ("4.0", "packagingVersion", json!("6.0"), false),
            ("4.0", "name", json!("Demo"), false),
            ("4.0", "name", json!("d"), false),
            ("2.0", "name", json!("Demo"), true),
            ("4.0", "version", json!("1.0+1"), false),
            ("4.0", "version", json!("{{package-version}}"), false),
            ("4.0", "tags", json!(["two words"]), false),
            ("4.0", "tags", json!("t"), false),
            ("4.0", "licenses", json!([{"name": "l"}]), false),
            ("4.0", "licenses", json!([{"name": "l", "url": "ftp://l"}]), false),
            ("4.0", "unknown", json!(1), false),
            ("4.0", "selected", json!("yes"), false),
            ("3.0", "minDcosReleaseVersion", json!("1.10"), true),
            ("3.0", "minDcosReleaseVersion", json!("1.10-beta"), false),
            ("2.0", "minDcosReleaseVersion", json!("1.10"), false),
            ("3.0", "upgradesFrom", json!(["*"]), false),
            ("4.0", "upgradesFrom", json!(["*"]), true),
            ("4.0", "manager", json!({"packageName": "m"}), false),
            ("5.0", "manager", json!({"packageName": "m"}), true),
            ("5.0", "manager", json!({}), false),
        ];
        for (version, name, value, good) in cases {
            let findings = with_field(version, name, value.clone());
            assert_eq!(findings.is_empty(), good, "{version} {name} {value}: {findings:?}");
            assert!(findings.iter().all(|finding| finding.starts_with("package.json:1:")), "{findings:?}");
        }
    }

    #[test]
    fn resources_follow_the_rules_of_the_packaging_version() {
        let cases = [
            ("4.0", cli("ftp://h/x"), false),
            ("2.0", cli("https://h/x"), false),
            ("4.0", json!({"cli": {"binaries": {}}}), false),
            ("4.0", json!({"cli": {"binaries": {"beos": {}}}}), false),
            ("4.0", json!({"assets": {"uris": {"a": 1}}}), false),
            ("4.0", json!({"assets": {"container": {"docker": {"a": "b"}}}}), true),
            ("4.0", json!({"images": {"icon-small": "u", "screenshots": ["u"]}}), true),
            ("4.0", json!({"images": {"icon-tiny": "u"}}), false),
        ];
        for (version, resource, good) in cases {
            let findings = universe(&sources(&package(version), &resource, "{}", "{}"));
            assert_eq!(findings.is_empty(), good, "{version} {resource}: {findings:?}");
        }
    }

    #[test]
    fn config_and_template_are_checked_with_each_other() {
        let cases = [
            (r#"{"properties": {"a": {"type": "text"}}}"#, "{}", "config.json:1:23: error[P020]: "),
            (r#"{"properties": {"a": {"pattern": "("}}}"#, "{}", "config.json:1:"),
            ("{}", "{{", "marathon.json.mustache:1:1: error[P030]: this tag is not closed"),
            (
                r#"{"properties": {"a": {"default": "x"}}}"#,
                r#"{"a": {{a}}}"#,
                "marathon.json.mustache:1:7: error[P033]: ",
            ),
        ];
        for (config, template, expected) in cases {
            let findings = universe(&sources(&package("4.0"), &json!({}), config, template));
            let text = findings.first().map(Finding::to_string).unwrap_or_default();
            assert!(text.starts_with(expected), "{config} {template}: {findings:?}");
        }
        // what must be set by the user may leave a hole in the app
        let needs = r#"{"properties": {"a": {"type": "integer"}, "b": {"default": 1}}, "required": ["a"]}"#;
        assert_eq!(universe(&sources(&package("4.0"), &json!({}), needs, r#"{"a": {{a}}}"#)), []);
    }
}
