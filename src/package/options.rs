//! The options of a package: defaults of config.json, what the user says instead, and whether that is allowed.

mod given;
#[cfg(test)]
mod tests;

pub use given::UserOptions;

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
        jsonschema::draft4::new(schema).map_err(|error| match error.instance_path().as_str() {
            "" => OptionsError::Schema(error.to_string()),
            pointer => OptionsError::Schema(format!("`{pointer}`: {error}")),
        })?;
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
            message: error.masked_with(brief(&value)).to_string(),
            value,
            details: details.as_object().cloned().unwrap_or_default(),
        }
    }

    /// JSON pointers to the members that are not allowed, of the keyword `additionalProperties`.
    pub fn unwanted(&self) -> impl Iterator<Item = String> {
        self.unwanted_names().map(|name| member(&self.pointer, name))
    }

    fn unwanted_names(&self) -> impl Iterator<Item = &str> {
        let names = self.details.get("unwanted").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str)
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
        if let Some(missing) = self.details.get("missing").and_then(|names| names[0].as_str()) {
            return write!(f, "{} is required", option_at(&member(&self.pointer, missing)));
        }
        write!(f, "{}: {} (rule `{}`)", option_at(&self.pointer), self.message, self.keyword)
    }
}

/// What people call the option at a JSON pointer.
fn option_at(pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(path) => format!("option `{}`", path.split('/').map(unescaped).collect::<Vec<_>>().join(".")),
        None => "the options".to_owned(),
    }
}

/// The JSON pointer to a member of the object at a pointer.
fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A part of a JSON pointer as the name of a member.
fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// A value for messages: at most 120 characters.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
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
