//! The options of a package: defaults of config.json, what the user says instead, and whether that is allowed.

use super::json;
use crate::finding::{Code, Finding, Report, Source};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::{Map, Value, json};

/// A JSON object.
pub type Object = Map<String, Value>;

/// The defaults in a config.json, as Cosmos finds them: for each property its own `default`, else the defaults of its
/// own `properties`; properties without any are left out. `$ref`, `allOf` and the like are not followed.
pub fn defaults(config: &Value) -> Object {
    let mut found = Object::new();
    for (name, property) in config.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = property.get("default") {
            found.insert(name.clone(), default.clone());
        } else {
            let inner = defaults(property);
            if !inner.is_empty() {
                found.insert(name.clone(), Value::Object(inner));
            }
        }
    }
    found
}

/// Puts `over` on top of `base`: objects are merged key by key, everything else (lists, null) is replaced.
pub fn merge(base: &mut Object, over: &Object) {
    for (name, value) in over {
        match (base.get_mut(name), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            _ => {
                base.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A rule of config.json that the options break.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// JSON pointer into the options.
    pub pointer: String,
    /// JSON pointer into config.json: the rule.
    pub rule: String,
    /// The rule's JSON Schema keyword.
    pub keyword: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The value that breaks the rule.
    pub value: Value,
    /// What the keyword reports beside: `found`, `expected`, `missing`, `unwanted` and so on.
    details: Object,
}

/// Why options cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// There are options, but the package has no config.json.
    #[error("the package has no config.json, so it takes no options")]
    NotAllowed,
    /// config.json cannot be used as a JSON Schema.
    #[error("config.json is not a JSON Schema (draft 4): {0}")]
    Schema(String),
    /// Rules are broken; there is at least one.
    #[error("{}", .0.iter().map(Violation::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Violation>),
}

/// Defaults with the user's options on top, validated against config.json as Cosmos does: the whole, and only if there
/// is anything.
pub fn resolve(config: Option<&Value>, user: &Object) -> Result<Object, OptionsError> {
    let Some(config) = config else {
        return if user.is_empty() { Ok(Object::new()) } else { Err(OptionsError::NotAllowed) };
    };
    let mut merged = defaults(config);
    merge(&mut merged, user);
    if merged.is_empty() {
        return Ok(merged);
    }
    let merged = Value::Object(merged);
    let violations = violations(config, &merged)?;
    match merged {
        Value::Object(merged) if violations.is_empty() => Ok(merged),
        _ => Err(OptionsError::Invalid(violations)),
    }
}

/// All rules of a draft-4 schema that a value breaks.
pub fn violations(schema: &Value, value: &Value) -> Result<Vec<Violation>, OptionsError> {
    let validator =
        jsonschema::draft4::new(schema).map_err(|error| OptionsError::Schema(error.to_string()))?;
    Ok(validator.iter_errors(value).map(|error| Violation::new(&error)).collect())
}

impl Violation {
    fn new(error: &jsonschema::ValidationError) -> Self {
        let value = error.instance().as_ref().clone();
        let details = match error.kind() {
            ValidationErrorKind::Type { kind } => {
                let expected: Vec<String> = match kind {
                    TypeKind::Single(one) => vec![one.to_string()],
                    TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect(),
                };
                json!({"found": type_of(&value), "expected": expected})
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => json!({"unwanted": unexpected}),
            ValidationErrorKind::Required { property } => {
                json!({"required": [property], "missing": [property]})
            }
            ValidationErrorKind::Enum { options } => json!({"value": value, "enum": **options}),
            ValidationErrorKind::Minimum { limit } | ValidationErrorKind::ExclusiveMinimum { limit } => {
                json!({"minimum": limit, "found": value})
            }
            ValidationErrorKind::Maximum { limit } | ValidationErrorKind::ExclusiveMaximum { limit } => {
                json!({"maximum": limit, "found": value})
            }
            ValidationErrorKind::Pattern { pattern } => json!({"regex": pattern, "string": value}),
            _ => Value::Null,
        };
        Self {
            pointer: error.instance_path().to_string(),
            rule: error.schema_path().to_string(),
            keyword: error.kind().keyword().to_owned(),
            message: error.to_string(),
            value,
            details: details.as_object().cloned().unwrap_or_default(),
        }
    }

    /// JSON pointers to the members that are not allowed, of the keyword `additionalProperties`.
    pub fn unwanted(&self) -> impl Iterator<Item = String> {
        let names = self.details.get("unwanted").and_then(Value::as_array).into_iter().flatten();
        let pointer = |name: &str| format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"));
        names.filter_map(Value::as_str).map(pointer)
    }

    /// The violation as the package service reports it, for `data.errors` of a `JsonSchemaMismatch`.
    pub fn report(&self) -> Value {
        // the rule's pointer without the keyword, which stands on its own
        let schema = self.rule.rfind('/').map_or("", |end| &self.rule[..end]);
        let mut report = json!({
            "level": "error",
            "schema": {"loadingURI": "#", "pointer": schema},
            "instance": {"pointer": self.pointer},
            "domain": "validation",
            "keyword": self.keyword,
            "message": self.message,
        });
        for (name, value) in &self.details {
            report[name] = value.clone();
        }
        report
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut name = self.pointer.trim_start_matches('/').replace('/', ".");
        if let Some(missing) = self.details.get("missing").and_then(|names| names[0].as_str()) {
            name = if name.is_empty() { missing.to_owned() } else { format!("{name}.{missing}") };
            return write!(f, "option `{name}` is required");
        }
        let name = if name.is_empty() { "the options".to_owned() } else { format!("option `{name}`") };
        write!(f, "{name}: {} (rule `{}`)", self.message, self.keyword)
    }
}

/// The type of a JSON value by the words of JSON Schema.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Options as a user gives them: files and `name=value` settings, the later on top of the earlier.
#[derive(Clone, Debug, Default)]
pub struct UserOptions {
    layers: Vec<(Origin, Object)>,
}

#[derive(Clone, Debug)]
enum Origin {
    File(Source),
    Setting(String),
}

impl UserOptions {
    /// Puts a JSON file of options on top.
    pub fn add_file(&mut self, source: Source) -> Result<(), Report> {
        let Value::Object(options) = source.json()? else {
            let message = "options must be a JSON object, for instance {\"service\": {\"name\": \"x\"}}";
            return Err(source.at_pointer(Code::NotObject, "", message).into());
        };
        self.layers.push((Origin::File(source), options));
        Ok(())
    }

    /// Puts one option on top: `service.name=x`. The value is JSON where it can be read as JSON, else text.
    pub fn add_setting(&mut self, setting: &str) -> Result<(), Report> {
        let place = format!("--set {setting}");
        let finding = |message: &str| {
            let finding = Finding::new(Code::OptionSyntax, &Source::new(&*place, ""), message);
            Report::from(finding.help("write NAME=VALUE, for instance service.name=dagflow"))
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| finding("there is no `=`"))?;
        if name.split('.').any(str::is_empty) {
            return Err(finding("a part of the name is empty"));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        let nested = name.rsplit('.').fold(value, |inner, part| json!({ part: inner }));
        let options = nested.as_object().cloned().unwrap_or_default();
        self.layers.push((Origin::Setting(place), options));
        Ok(())
    }

    /// All of them merged.
    pub fn merged(&self) -> Object {
        let mut merged = Object::new();
        for (_, options) in &self.layers {
            merge(&mut merged, options);
        }
        merged
    }

    /// Violations with their places: first those of what the user gave, then those of what must be given beside.
    ///
    /// A value that the user gave is placed where it was given last. Where the defaults break a rule, or something is
    /// missing, the place is that of the rule in config.json.
    pub fn place(&self, violations: &[Violation], config: &Source) -> (Vec<Finding>, Vec<Finding>) {
        let (mut wrong, mut unset) = (Vec::new(), Vec::new());
        for violation in violations {
            if let Some(finding) = self.place_given(violation, config) {
                wrong.push(finding);
                continue;
            }
            let code = match violation.keyword.as_str() {
                "required" => Code::RequiredOption,
                _ => Code::DefaultRefused,
            };
            let finding = config.at_pointer(code, &violation.rule, violation.to_string());
            unset.push(finding.help("set the option: --set NAME=VALUE, or --options FILE"));
        }
        (wrong, unset)
    }

    fn place_given(&self, violation: &Violation, config: &Source) -> Option<Finding> {
        if violation.keyword == "required" {
            return None;
        }
        let pointer = violation.unwanted().next().unwrap_or_else(|| violation.pointer.clone());
        let (origin, _) =
            self.layers.iter().rev().find(|(_, options)| value_at(options, &pointer).is_some())?;
        let message = violation.to_string();
        let finding = match origin {
            Origin::File(source) => source.at_pointer(Code::OptionRefused, &pointer, message),
            Origin::Setting(setting) => {
                Finding::new(Code::OptionRefused, &Source::new(&**setting, ""), message)
            }
        };
        Some(match json::locate(&config.text, &violation.rule) {
            Some(rule) => finding.related(config, &rule, "the rule"),
            None => finding,
        })
    }
}

fn value_at<'o>(options: &'o Object, pointer: &str) -> Option<&'o Value> {
    let path = pointer.strip_prefix('/')?;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let value = options.get(&first.replace("~1", "/").replace("~0", "~"))?;
    if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn config() -> Value {
        json!({
            "properties": {
                "service": {
                    "properties": {
                        "name": {"type": "string", "pattern": "^[a-z]+$", "default": "demo"},
                        "count": {"type": "integer", "minimum": 1, "default": 1},
                        "mode": {"enum": ["a", "b"]},
                    },
                    "additionalProperties": false,
                },
                "whole": {"default": {"kept": true}, "properties": {"nested": {"default": 1}}},
                "bare": {"properties": {"no_default": {"type": "string"}}},
                "list": {"default": [1, 2]},
            },
            "required": ["needed"],
        })
    }

    #[test]
    fn defaults_are_found_as_cosmos_finds_them() {
        let expected =
            json!({"service": {"name": "demo", "count": 1}, "whole": {"kept": true}, "list": [1, 2]});
        assert_eq!(Value::Object(defaults(&config())), expected);
        assert_eq!(defaults(&json!({"properties": 7})), Object::new());
        assert_eq!(defaults(&json!({"allOf": [{"properties": {"x": {"default": 1}}}]})), Object::new());
    }

    #[test]
    fn objects_merge_and_everything_else_is_replaced() {
        let mut base = object(&json!({"a": {"x": 1, "y": {"z": 1}}, "l": [1, 2], "n": 1, "o": {"k": 1}}));
        merge(&mut base, &object(&json!({"a": {"y": {"w": 2}}, "l": [3], "n": null, "o": 5, "new": {}})));
        let expected = json!({"a": {"x": 1, "y": {"z": 1, "w": 2}}, "l": [3], "n": null, "o": 5, "new": {}});
        assert_eq!(Value::Object(base), expected);
    }

    #[test]
    fn the_merged_options_are_validated() {
        let resolve = |user: Value| resolve(Some(&config()), &object(&user));
        assert_eq!(resolve(json!({"needed": 1})).unwrap()["service"]["name"], "demo");
        let Err(OptionsError::Invalid(violations)) = resolve(json!({"service": {"count": 0}})) else {
            panic!("an invalid count and a missing option are refused")
        };
        let found: Vec<_> = violations.iter().map(|v| (v.pointer.as_str(), v.keyword.as_str())).collect();
        assert_eq!(found, [("", "required"), ("/service/count", "minimum")]);
        assert_eq!(violations[1].value, 0);
        assert_eq!(violations[1].rule, "/properties/service/properties/count/minimum");
    }

    #[test]
    fn options_need_a_config_and_a_config_must_be_a_schema() {
        assert_eq!(resolve(None, &Object::new()), Ok(Object::new()));
        assert_eq!(resolve(None, &object(&json!({"a": 1}))), Err(OptionsError::NotAllowed));
        // nothing to validate: Cosmos doesn't look at the rules
        assert_eq!(resolve(Some(&json!({"required": ["a"]})), &Object::new()), Ok(Object::new()));
        let broken = resolve(Some(&json!({"type": 5})), &object(&json!({"a": 1})));
        assert!(matches!(broken, Err(OptionsError::Schema(_))), "{broken:?}");
        let remote = resolve(Some(&json!({"$ref": "http://example.org/s"})), &object(&json!({"a": 1})));
        assert!(matches!(remote, Err(OptionsError::Schema(_))), "nothing is fetched: {remote:?}");
    }

    #[test]
    fn violations_are_reported_in_the_form_of_the_package_service() {
        let cases = [
            (
                json!({"service": {"name": 5}}),
                json!({"keyword": "type", "found": "integer", "expected": ["string"]}),
            ),
            (
                json!({"service": {"name": "A"}}),
                json!({"keyword": "pattern", "regex": "^[a-z]+$", "string": "A"}),
            ),
            (json!({"service": {"mode": "c"}}), json!({"keyword": "enum", "value": "c", "enum": ["a", "b"]})),
            (json!({"service": {"x": 1}}), json!({"keyword": "additionalProperties", "unwanted": ["x"]})),
            (json!({"service": {"count": 0}}), json!({"keyword": "minimum", "minimum": 1, "found": 0})),
            (json!({}), json!({"keyword": "required", "missing": ["needed"]})),
        ];
        for (options, expected) in cases {
            let report = violations(&config(), &options).unwrap().pop().unwrap().report();
            for (key, value) in expected.as_object().unwrap() {
                assert_eq!(&report[key], value, "{key} in {report}");
            }
            assert_eq!((&report["level"], &report["domain"]), (&json!("error"), &json!("validation")));
            assert!(report["instance"]["pointer"].is_string() && report["message"].is_string());
        }
    }

    #[test]
    fn a_violation_is_placed_where_the_value_was_said_last() {
        let config = Source::new("config.json", config().to_string());
        let mut user = UserOptions::default();
        user.add_file(Source::new("a.json", "{\"service\":\n {\"count\": 0}}")).unwrap();
        let place = |user: &UserOptions| {
            let Err(OptionsError::Invalid(found)) = resolve(Some(&config.json().unwrap()), &user.merged())
            else {
                panic!("should be refused")
            };
            let (wrong, unset) = user.place(&found, &config);
            let texts = |findings: Vec<Finding>| findings.iter().map(Finding::to_string).collect::<Vec<_>>();
            (texts(wrong), texts(unset))
        };
        let (wrong, unset) = place(&user);
        assert!(
            wrong[0].starts_with("a.json:2:3: error[P024]: option `service.count`: 0 is less than"),
            "{wrong:?}"
        );
        assert!(wrong[0].contains("\n  config.json:1:130: the rule"), "{wrong:?}");
        assert_eq!((wrong.len(), unset.len()), (1, 1));
        assert!(unset[0].starts_with("config.json:1:"), "{unset:?}");
        assert!(unset[0].contains("option `needed` is required"), "{unset:?}");

        user.add_setting("service.count=-1").unwrap();
        user.add_setting("service.typo=x").unwrap();
        let (wrong, _) = place(&user);
        assert!(
            wrong[0].starts_with("--set service.count=-1: error[P024]: option `service.count`: -1"),
            "{wrong:?}"
        );
        assert!(wrong[1].starts_with("--set service.typo=x: error[P024]: "), "{wrong:?}");
    }

    #[test]
    fn settings_are_json_or_text() {
        let mut user = UserOptions::default();
        for setting in ["a.b=1", "a.c=x=y", "d=[1]", "e=", "f=\"1\"", "a.b=2"] {
            user.add_setting(setting).unwrap();
        }
        let expected = json!({"a": {"b": 2, "c": "x=y"}, "d": [1], "e": "", "f": "1"});
        assert_eq!(Value::Object(user.merged()), expected);
        for wrong in ["a", "=1", "a..b=1", ".a=1"] {
            assert!(user.add_setting(wrong).unwrap_err().to_string().starts_with("--set "), "{wrong}");
        }
    }

    #[test]
    fn files_of_options_must_be_objects() {
        let add = |text: &str| UserOptions::default().add_file(Source::new("o.json", text));
        assert!(
            add("[1]")
                .unwrap_err()
                .to_string()
                .starts_with("o.json:1:1: error[P004]: options must be a JSON object")
        );
        assert!(
            add("{\n\"a\" 1}")
                .unwrap_err()
                .to_string()
                .starts_with("o.json:2:5: error[P003]: this is not JSON")
        );
    }
}
