//! The formats of repositories: which of them can hold a package, what it looks like there, and the rules it must keep.
//!
//! A repository of format v3 holds packages of packaging version 2.0 and 3.0, v4 also 4.0, v5 also 5.0. Clusters before
//! DC/OS 1.10 ask for v3 only, those before 1.12 for v3 and v4. The conversions are those of the public catalog, which
//! serves one set of packages to all of them. Called by `publish`.

use super::lint::schema::{package_rules, resource_rules};
use super::options::{self, Object};
use super::sources::{stub_file_name, stub_universe};
use crate::finding::{Code, Finding, Report, Source};
use serde_json::{Value, json};

/// A format of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// From DC/OS 1.8.
    V3,
    /// From DC/OS 1.10.
    V4,
    /// From DC/OS 1.12.
    V5,
}

impl Format {
    /// All, oldest first.
    pub const ALL: [Self; 3] = [Self::V3, Self::V4, Self::V5];

    /// The oldest format that holds packages of a packaging version; none if there is no such version.
    pub fn of_packaging(version: &str) -> Option<Self> {
        match version {
            "2.0" | "3.0" => Some(Self::V3),
            "4.0" => Some(Self::V4),
            "5.0" => Some(Self::V5),
            _ => None,
        }
    }

    /// The media type of a repository in this format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::V3 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v3",
            Self::V4 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4",
            Self::V5 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v5",
        }
    }

    /// `v3`, `v4` or `v5`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::V5 => "v5",
        }
    }

    /// The format that is in the name of a stub universe's file; the main one has none.
    pub fn of_stub_file_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("stub-universe-")?.strip_suffix(".json")?;
        Self::ALL.into_iter().find(|format| name.ends_with(&format!(".{}", format.name())))
    }

    /// The oldest format that holds all packages of a repository; none for a text that is no repository, or an empty one.
    pub fn of_repository(text: &[u8]) -> Option<Self> {
        let Repository { packages } = serde_json::from_slice(text).ok()?;
        let formats = packages.iter().map(|package| Self::of_packaging(&package.packaging));
        formats.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The name of the file of a stub universe in this format, beside the main one: `stub-universe-demo.v3.json`.
    pub fn stub_file_name(self, package: &str) -> String {
        format!("stub-universe-{package}.{}.json", self.name())
    }

    /// The newest packaging version that this format holds.
    fn newest_packaging(self) -> &'static str {
        match self {
            Self::V3 => "3.0",
            Self::V4 => "4.0",
            Self::V5 => "5.0",
        }
    }
}

/// What decides about the format of a repository.
#[derive(serde::Deserialize)]
struct Repository {
    packages: Vec<Packaged>,
}

#[derive(serde::Deserialize)]
struct Packaged {
    #[serde(rename = "packagingVersion")]
    packaging: String,
}

/// A stub universe: a repository with one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Its format.
    pub format: Format,
    /// The name of its file.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The stub universes of a package, one per format that can express it. The last one is the main one, in the oldest
/// format that holds the package as it was written. Findings are about what no format can take.
pub fn stubs(entry: &Object) -> Result<Vec<Stub>, Report> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = text("name");
    // a version that there is not breaks the rules below
    let main = Format::of_packaging(text("packagingVersion")).unwrap_or(Format::V5);
    let others = Format::ALL.into_iter().filter(|format| *format != main);
    let mut stubs = Vec::new();
    for format in others.chain([main]) {
        let Some(converted) = in_format(entry, format) else { continue };
        let name = if format == main { stub_file_name(name) } else { format.stub_file_name(name) };
        let stub = Stub { format, name, text: stub_universe(&converted) };
        let findings = check(format, &Source::new(&*stub.name, &*stub.text));
        if !findings.is_empty() {
            return Err(Report(findings));
        }
        stubs.push(stub);
    }
    Ok(stubs)
}

/// The package as it stands in a repository of this format; none if it has something that the format cannot express.
fn in_format(entry: &Object, format: Format) -> Option<Object> {
    let mut entry = entry.clone();
    let packaging = entry.get("packagingVersion").and_then(Value::as_str).unwrap_or_default();
    // an unknown version stays, and breaks the rules
    if Format::of_packaging(packaging).is_none_or(|needed| needed <= format) {
        return Some(entry);
    }
    // who manages a package decides how it is installed: it cannot be left out
    if entry.contains_key("manager") {
        return None;
    }
    entry.insert("packagingVersion".to_owned(), json!(format.newest_packaging()));
    if format == Format::V3 {
        entry.shift_remove("upgradesFrom");
        entry.shift_remove("downgradesTo");
        if let Some(properties) = entry.get_mut("config").and_then(|config| config.get_mut("properties")) {
            escape_quotes(properties);
        }
    }
    Some(entry)
}

/// Before DC/OS 1.10 strings were put into the app without being escaped, so that a default that is JSON text itself must
/// bring its own backslashes.
fn escape_quotes(properties: &mut Value) {
    for property in properties.as_object_mut().into_iter().flat_map(Object::values_mut) {
        let kind = property["type"].as_str().unwrap_or_default();
        match kind {
            "string" => {
                if let Some(Value::String(text)) = property.get_mut("default") {
                    *text = with_escaped_quotes(text);
                }
            }
            "object" => {
                if let Some(nested) = property.get_mut("properties") {
                    escape_quotes(nested);
                }
            }
            _ => {}
        }
    }
}

fn with_escaped_quotes(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '"' && !escaped.ends_with('\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What in a repository breaks the rules of a format.
pub fn check(format: Format, source: &Source) -> Vec<Finding> {
    let repository = match source.json() {
        Ok(repository) => repository,
        Err(Report(findings)) => return findings,
    };
    let mut findings = broken_rules(source, "", &repository, &repository_rules());
    for (index, package) in repository["packages"].as_array().into_iter().flatten().enumerate() {
        let packaging = package["packagingVersion"].as_str().unwrap_or_default();
        let rules = rules(format, packaging);
        findings.extend(broken_rules(source, &format!("/packages/{index}"), package, &rules));
    }
    findings
}

/// What in the value at a pointer breaks rules.
fn broken_rules(source: &Source, pointer: &str, value: &Value, rules: &Value) -> Vec<Finding> {
    match options::violations(rules, value) {
        Ok(violations) => violations
            .iter()
            .map(|broken| {
                let pointer = format!("{pointer}{}", broken.pointer);
                source.at_pointer(Code::StubShape, &pointer, format!("`{pointer}`: {}", broken.message))
            })
            .collect(),
        Err(error) => vec![Finding::new(Code::StubShape, source, error.to_string())],
    }
}

/// The rules for a repository without those for its packages, as a JSON Schema.
fn repository_rules() -> Value {
    json!({
        "type": "object",
        "properties": {"packages": {"type": "array"}},
        "required": ["packages"],
        "additionalProperties": false,
    })
}

/// The rules for packages of one packaging version in a repository, as a JSON Schema.
fn rules(format: Format, packaging: &str) -> Value {
    let held = ["2.0", "3.0", "4.0", "5.0"];
    let held: Vec<_> = held
        .into_iter()
        .filter(|version| Format::of_packaging(version).is_some_and(|f| f <= format))
        .collect();
    let version = packaging.chars().next().and_then(|c| c.to_digit(10)).and_then(|v| u8::try_from(v).ok());
    let version = version.unwrap_or(5);
    let mut package = package_rules(version);
    package["properties"]["packagingVersion"] = json!({"enum": held});
    package["properties"]["releaseVersion"] = json!({"type": "integer", "minimum": 0});
    package["properties"]["config"] = json!({"type": "object"});
    package["properties"]["resource"] = resource_rules(version);
    package["properties"]["marathon"] = json!({
        "type": "object",
        "properties": {"v2AppMustacheTemplate": {
            "type": "string",
            "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        }},
        "required": ["v2AppMustacheTemplate"],
        "additionalProperties": false,
    });
    if version < 4 {
        package["properties"]["command"] = json!({
            "type": "object",
            "properties": {"pip": {"type": "array", "items": {"type": "string"}}},
            "required": ["pip"],
            "additionalProperties": false,
        });
    }
    if let Some(required) = package["required"].as_array_mut() {
        required.push(json!("releaseVersion"));
    }
    package
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(packaging: &str) -> Object {
        let entry = json!({
            "packagingVersion": packaging, "name": "demo", "version": "1.0", "maintainer": "m", "description": "d",
            "tags": ["t"], "releaseVersion": 0,
            "config": {"properties": {
                "json": {"type": "string", "default": "{\"a\": \"\", \\\"b\\\": 1}"},
                "list": {"type": "array", "default": ["\""]},
                "deep": {"type": "object", "properties": {"quote": {"type": "string", "default": "\""}}},
            }},
            "marathon": {"v2AppMustacheTemplate": "e30="},
            "resource": {"assets": {"uris": {"a": "https://h/a"}}},
        });
        entry.as_object().unwrap().clone()
    }

    /// The packages in the stubs of a package, by the names of their files.
    fn packages(entry: &Object) -> Vec<(String, Value)> {
        let parsed = |stub: Stub| {
            let repository: Value = serde_json::from_str(&stub.text).unwrap();
            (stub.name, repository["packages"][0].clone())
        };
        stubs(entry).unwrap().into_iter().map(parsed).collect()
    }

    #[test]
    fn the_format_of_a_repository_is_known_by_its_packages_and_that_of_a_file_by_its_name() {
        let cases = [
            (r#"{"packages": [{"packagingVersion": "3.0", "name": "a"}]}"#, Some(Format::V3)),
            (r#"{"packages": [{"packagingVersion": "5.0"}, {"packagingVersion": "2.0"}]}"#, Some(Format::V5)),
            (r#"{"packages": [{"packagingVersion": "4.0"}, {"packagingVersion": "9.0"}]}"#, None),
            (r#"{"packages": []}"#, None),
            ("no JSON", None),
        ];
        for (text, format) in cases {
            assert_eq!(Format::of_repository(text.as_bytes()), format, "{text}");
        }
        for format in Format::ALL {
            assert_eq!(Format::of_stub_file_name(&format.stub_file_name("demo")), Some(format));
        }
        for name in
            ["stub-universe-demo.json", "stub-universe-v3.json", "x.v3.json", "stub-universe-a.v9.json"]
        {
            assert_eq!(Format::of_stub_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_package_is_in_every_format_that_can_express_it_and_its_own_comes_last() {
        let manager = json!({"packageName": "m"});
        let with = |mut entry: Object, key: &str, value: &Value| {
            entry.insert(key.to_owned(), value.clone());
            entry
        };
        let cases = [
            (entry("2.0"), vec!["v4 2.0", "v5 2.0", "main 2.0"]),
            (entry("3.0"), vec!["v4 3.0", "v5 3.0", "main 3.0"]),
            (entry("4.0"), vec!["v3 3.0", "v5 4.0", "main 4.0"]),
            (entry("5.0"), vec!["v3 3.0", "v4 4.0", "main 5.0"]),
            (with(entry("5.0"), "manager", &manager), vec!["main 5.0"]),
        ];
        for (entry, expected) in cases {
            let found: Vec<_> = packages(&entry)
                .iter()
                .map(|(name, package)| {
                    let middle =
                        name.strip_prefix("stub-universe-demo").unwrap().strip_suffix(".json").unwrap();
                    let format = if middle.is_empty() { "main" } else { &middle[1..] };
                    format!("{format} {}", package["packagingVersion"].as_str().unwrap())
                })
                .collect();
            assert_eq!(found, expected);
        }
        let formats: Vec<_> = stubs(&entry("4.0")).unwrap().iter().map(|stub| stub.format).collect();
        assert_eq!(formats, [Format::V3, Format::V5, Format::V4]);
    }

    #[test]
    fn the_oldest_form_leaves_out_what_is_newer_and_escapes_quotes_once_more() {
        let mut entry = entry("4.0");
        entry.insert("upgradesFrom".into(), json!(["*"]));
        entry.insert("downgradesTo".into(), json!([]));
        let packages: std::collections::BTreeMap<_, _> = packages(&entry).into_iter().collect();
        let (old, main) = (&packages["stub-universe-demo.v3.json"], &packages["stub-universe-demo.json"]);
        assert_eq!(main, &Value::Object(entry.clone()));
        assert_eq!(&packages["stub-universe-demo.v5.json"], main);
        assert_eq!((old.get("upgradesFrom"), old.get("downgradesTo")), (None, None));
        let defaults = |package: &Value| {
            let properties = &package["config"]["properties"];
            let nested = &properties["deep"]["properties"]["quote"]["default"];
            [&properties["json"]["default"], &properties["list"]["default"], nested].map(Value::clone)
        };
        let escaped = r#"{\"a\": \"\", \"b\": 1}"#;
        assert_eq!(defaults(old), [json!(escaped), json!(["\""]), json!("\\\"")]);
        assert_eq!(defaults(main)[2], json!("\""));
        // all else is the same
        let mut rest = old.clone();
        rest["packagingVersion"] = json!("4.0");
        rest["upgradesFrom"] = json!(["*"]);
        rest["downgradesTo"] = json!([]);
        rest["config"] = main["config"].clone();
        assert_eq!(&rest, main);
    }

    #[test]
    fn what_breaks_the_rules_of_a_format_is_found_with_its_place() {
        let cases = [
            ("packagingVersion", json!("6.0"), "/packages/0/packagingVersion"),
            ("releaseVersion", json!(-1), "/packages/0/releaseVersion"),
            ("releaseVersion", json!(0.5), "/packages/0/releaseVersion"),
            ("name", json!("Demo"), "/packages/0/name"),
            ("unknown", json!(1), "Additional properties"),
            ("config", json!([]), "/packages/0/config"),
            ("marathon", json!({}), "/packages/0/marathon"),
            (
                "marathon",
                json!({"v2AppMustacheTemplate": "e3"}),
                "/packages/0/marathon/v2AppMustacheTemplate",
            ),
            ("resource", json!({"typo": {}}), "/packages/0/resource"),
        ];
        for (key, value, expected) in cases {
            let mut entry = entry("4.0");
            entry.insert(key.to_owned(), value);
            let text = stubs(&entry).unwrap_err().to_string();
            assert!(text.contains(expected), "{key}: {text}");
        }
        let mut entry = entry("4.0");
        entry.shift_remove("releaseVersion");
        assert!(stubs(&entry).unwrap_err().to_string().contains("releaseVersion"));
    }
}
