//! Checks of a package's files that need neither a build nor a cluster.
//!
//! The rules for package.json and resource.json are those of the public catalog, per packaging version; config.json must
//! be a JSON Schema of draft 4; the template must parse, and where the defaults alone are allowed options, it must render
//! to an app with them.

use super::Sources;
use super::marathon;
use super::options::{self, Object, OptionsError};
use crate::finding::{Code, Finding, Report, Source};
use crate::template::Template;
use serde_json::{Value, json};

/// Everything that is wrong with a package. Parameters of the build must be replaced already.
pub fn universe(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    let package = parsed(&sources.package, &mut findings);
    let version = package.as_ref().and_then(|package| package["packagingVersion"].as_str());
    // without a valid version, which is reported, the newest rules help best
    let version = match version {
        Some("2.0") => 2,
        Some("3.0") => 3,
        Some("5.0") => 5,
        _ => 4,
    };
    if let Some(package) = &package {
        findings.extend(broken_rules(&sources.package, package, &package_rules(version)));
    }
    let mut resource = None;
    if let Some(source) = &sources.resource {
        resource = parsed(source, &mut findings);
        if let Some(resource) = &resource {
            findings.extend(broken_rules(source, resource, &resource_rules(version)));
        }
    }
    let mut config = None;
    if let Some(source) = &sources.config {
        config = parsed(source, &mut findings);
        if let Some(config) = &config {
            findings.extend(config_findings(source, config));
        }
    }
    if let Some(source) = &sources.marathon {
        let sound = findings.is_empty();
        match Template::parse(&source.text) {
            Err(error) => findings.push(marathon::template_finding(source, &error)),
            Ok(template) if sound => {
                findings.extend(app_finding(source, &template, config.as_ref(), resource.as_ref()));
            }
            Ok(_) => {}
        }
    }
    findings
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
    violations.iter().flat_map(|violation| broken_rule(source, violation)).collect()
}

fn broken_rule(source: &Source, violation: &options::Violation) -> Vec<Finding> {
    let dotted = |pointer: &str| pointer.trim_start_matches('/').replace('/', ".");
    let code = match violation.keyword.as_str() {
        "additionalProperties" => {
            let unknown = |pointer: String| {
                let message = format!("`{}` is not a field of packages of this version", dotted(&pointer));
                source.at_pointer(Code::UnknownField, &pointer, message)
            };
            return violation.unwanted().map(unknown).collect();
        }
        "required" => Code::MissingField,
        "type" => Code::FieldType,
        _ => Code::FieldValue,
    };
    let name = dotted(&violation.pointer);
    let name = if name.is_empty() { String::new() } else { format!("`{name}`: ") };
    vec![source.at_pointer(code, &violation.pointer, format!("{name}{}", violation.message))]
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

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

/// The rules for package.json as a JSON Schema.
pub(super) fn package_rules(version: u8) -> Value {
    let text = json!({"type": "string"});
    let flag = json!({"type": "boolean"});
    let mut properties = json!({
        "packagingVersion": {"enum": ["2.0", "3.0", "4.0", "5.0"]},
        "name": text, "version": text, "maintainer": text, "description": text,
        "tags": {"type": "array", "items": {"type": "string", "pattern": r"^[^\s]+$"}},
        "scm": text, "website": text, "framework": flag, "selected": flag,
        "preInstallNotes": text, "postInstallNotes": text, "postUninstallNotes": text,
        "licenses": {"type": "array", "items": {
            "type": "object",
            "properties": {"name": text, "url": {"type": "string", "pattern": "^https?://"}},
            "required": ["name", "url"],
            "additionalProperties": false,
        }},
    });
    if version >= 3 {
        properties["name"] = json!({"type": "string", "pattern": "^[a-z][a-z0-9-]*[a-z0-9]$"});
        properties["version"] = json!({"type": "string", "pattern": "^[-a-zA-Z0-9.]+$"});
        properties["minDcosReleaseVersion"] =
            json!({"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$"});
        properties["hasKnownIssues"] = flag;
        properties["lastUpdated"] = json!({"type": "number"});
    }
    if version >= 4 {
        properties["upgradesFrom"] = texts();
        properties["downgradesTo"] = texts();
    }
    if version >= 5 {
        properties["manager"] = json!({
            "type": "object",
            "properties": {"packageName": text, "minPackageVersion": text},
            "required": ["packageName"],
            "additionalProperties": false,
        });
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["packagingVersion", "name", "version", "maintainer", "description", "tags"],
        "additionalProperties": false,
    })
}

/// The rules for resource.json as a JSON Schema.
pub(super) fn resource_rules(version: u8) -> Value {
    let named_texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let text = json!({"type": "string"});
    let mut properties = json!({
        "assets": {
            "type": "object",
            "properties": {
                "uris": named_texts,
                "container": {
                    "type": "object",
                    "properties": {"docker": named_texts},
                    "additionalProperties": false,
                },
            },
            "additionalProperties": false,
        },
        "images": {
            "type": "object",
            "properties": {
                "icon-small": text, "icon-medium": text, "icon-large": text, "screenshots": texts(),
            },
            "additionalProperties": false,
        },
    });
    if version >= 3 {
        let platform = json!({
            "type": "object",
            "properties": {"x86-64": {
                "type": "object",
                "properties": {
                    "kind": {"enum": ["executable", "zip"]},
                    "url": {"type": "string", "pattern": "^https?://"},
                    "contentHash": {"type": "array", "minItems": 1, "items": {
                        "type": "object",
                        "properties": {"algo": {"enum": ["sha256"]}, "value": text},
                        "required": ["algo", "value"],
                        "additionalProperties": false,
                    }},
                },
                "required": ["kind", "url", "contentHash"],
                "additionalProperties": false,
            }},
            "required": ["x86-64"],
            "additionalProperties": false,
        });
        properties["cli"] = json!({
            "type": "object",
            "properties": {"binaries": {
                "type": "object",
                "properties": {"linux": platform, "darwin": platform, "windows": platform},
                "minProperties": 1,
                "additionalProperties": false,
            }},
            "required": ["binaries"],
            "additionalProperties": false,
        });
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(package: &Value, resource: &Value, config: &str, template: &str) -> Sources {
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
