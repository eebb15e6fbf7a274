//! A JSON Schema of the service language, for editors: made of the tables that the parser reads by. Used by `cli`.
//!
//! Draft 7, which the YAML language servers of editors know best. A service file is a Mustache template, so every scalar may be a
//! tag as well. What depends on more than one value is not in the schema; `dagpkg lint` checks all.

use super::language::{self, Form, Key, Kind, Mapping, Need, Words};
use serde_json::{Map, Value, json};

/// The schema of a service file as its author writes it.
pub fn schema() -> Value {
    let mappings = language::mappings();
    let mut definitions: Map<String, Value> =
        mappings.iter().map(|mapping| (id(mapping), block(mapping))).collect();
    definitions.insert("tag".to_owned(), tag());
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Service file of dagpkg",
        "description": "svc.yml: what a service runs, and in what order.",
        "allOf": [reference(&language::SERVICE)],
        "definitions": definitions,
    })
}

/// A Mustache tag: a text, or, without quotes, what YAML makes of two braces, a mapping whose only key is a mapping
/// (which editors' parsers write as a text).
fn tag() -> Value {
    json!({
        "description": "A Mustache tag, {{NAME}}. In quotes it is YAML for every tool.",
        "anyOf": [
            {"type": "string", "pattern": r"\{\{"},
            {"type": "object", "minProperties": 1, "maxProperties": 1, "propertyNames": {"pattern": r"^\{"}},
        ],
    })
}

fn id(mapping: &Mapping) -> String {
    mapping.name.replace(' ', "-")
}

fn reference(mapping: &Mapping) -> Value {
    json!({"$ref": format!("#/definitions/{}", id(mapping))})
}

fn block(mapping: &Mapping) -> Value {
    let properties: Map<String, Value> =
        mapping.all_keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        mapping.all_keys().filter(|key| matches!(key.need, Need::Required)).map(|key| key.name).collect();
    let mut block = json!({
        "description": mapping.about,
        "type": "object",
        "properties": properties,
        "additionalProperties": mapping.ignores_others,
    });
    if !required.is_empty() {
        block["required"] = json!(required);
    }
    block
}

fn property(key: &Key) -> Value {
    let mut values = values(&key.kind);
    match (key.need, &key.kind) {
        (Need::Required, Kind::Text) => {
            values[0] = json!({"type": ["string", "number", "boolean"], "pattern": r"\S"});
        }
        (Need::Required, Kind::Named(..)) => values[0]["minProperties"] = json!(1),
        (Need::Required, _) => {}
        (_, Kind::Formed(_)) => values.insert(0, json!({"type": "null"})),
        // a key that may be absent may be there without a value, or with an empty one
        _ => values.insert(0, json!({"enum": [null, ""]})),
    }
    let mut value = any_of(values);
    let release = key.since.map(|since| format!(" Needs DC/OS {since}.")).unwrap_or_default();
    value["description"] = json!(format!("{}{release}", key.about));
    if let Need::Default(default) = key.need {
        value["default"] = default_value(&key.kind, default);
    }
    value
}

/// A default as a value of its kind.
fn default_value(kind: &Kind, default: &str) -> Value {
    let parsed = match kind {
        Kind::Integer(..) | Kind::Boolean => serde_json::from_str(default).ok(),
        _ => None,
    };
    parsed.unwrap_or_else(|| json!(default))
}

fn any_of(values: Vec<Value>) -> Value {
    match <[Value; 1]>::try_from(values) {
        // what is beside a reference is not read in draft 7
        Ok([value]) if value.get("$ref").is_some() => json!({"allOf": [value]}),
        Ok([value]) => value,
        Err(values) => json!({"anyOf": values}),
    }
}

/// What a value may be.
fn values(kind: &Kind) -> Vec<Value> {
    let tag = || json!({"$ref": "#/definitions/tag"});
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let number = || {
        let amount = text(r"^\+?[0-9_]*\.?[0-9_]+([eE][-+]?[0-9]+)?$");
        vec![json!({"type": "number", "exclusiveMinimum": 0}), amount, tag()]
    };
    // an empty text stands for no value, as where a template has rendered to one
    match kind {
        Kind::Text => vec![scalar(), tag()],
        Kind::Formed(form) => vec![formed(form), tag()],
        Kind::Word(words) => word(words).into_iter().chain([tag()]).collect(),
        Kind::Integer(least, most) => {
            let number = json!({"type": "integer", "minimum": least, "maximum": most});
            vec![number, text(r"^[-+]?[0-9_]+(\.0)?$"), tag()]
        }
        Kind::Amount => number(),
        Kind::Limit => [vec![json!({"const": "unlimited"})], number()].concat(),
        Kind::Boolean => {
            let words = any_case(&["true", "false", "yes", "no", "on", "off"]);
            vec![json!({"type": "boolean"}), text(&words), tag()]
        }
        Kind::List(items) => vec![json!({"type": "array", "items": any_of(values(items))})],
        Kind::Block(mapping) => vec![reference(mapping)],
        Kind::Named(form, mapping) => {
            // a mapping that needs nothing may be left out altogether, such as a network
            let needs = mapping.all_keys().any(|key| matches!(key.need, Need::Required));
            let nothing = (!needs).then(|| json!({"enum": [null, ""]}));
            let below = any_of(nothing.into_iter().chain([reference(mapping)]).collect());
            let names = json!({"pattern": form.pattern});
            vec![json!({"type": "object", "propertyNames": names, "additionalProperties": below})]
        }
        Kind::Texts => {
            let value = any_of(vec![json!({"type": "null"}), scalar(), tag()]);
            vec![json!({"type": "object", "additionalProperties": value})]
        }
        Kind::Steps => {
            let tasks = json!({"type": "array", "items": any_of(vec![scalar(), tag()])});
            let lists = json!({"type": "array", "items": tasks});
            let names = json!({"pattern": "^([0-9]+|default)$"});
            let instance = json!({
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "propertyNames": names,
                "additionalProperties": lists,
            });
            vec![json!({"type": "array", "items": instance})]
        }
    }
}

/// Any scalar: numbers and booleans are texts, too.
fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn formed(form: &Form) -> Value {
    json!({"type": ["string", "number", "boolean"], "pattern": form.pattern})
}

fn word(words: &Words) -> Vec<Value> {
    let mut values = vec![json!({"enum": words.now})];
    if words.any_case || !words.old.is_empty() {
        let all: Vec<&str> = words.now.iter().chain(words.old).copied().collect();
        values.push(json!({"type": "string", "pattern": any_case(&all)}));
    }
    values
}

/// An expression for words in any case; ECMAScript has no flag for it within an expression.
fn any_case(words: &[&str]) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphabetic() {
            format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase())
        } else {
            c.to_string()
        }
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_a_schema_with_the_keys_that_the_parser_knows() {
        let schema = schema();
        assert!(jsonschema::draft7::meta::is_valid(&schema));
        for mapping in language::mappings() {
            let definition = &schema["definitions"][id(mapping)];
            let properties: Vec<&str> = definition["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.as_str())
                .collect();
            let known: Vec<&str> = mapping.all_keys().map(|key| key.name).collect();
            assert_eq!(properties, known, "{}", mapping.name);
            let required: Vec<&str> =
                definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let needed = mapping.all_keys().filter(|key| matches!(key.need, Need::Required));
            assert_eq!(required, needed.map(|key| key.name).collect::<Vec<_>>(), "{}", mapping.name);
        }
    }

    #[test]
    fn tags_may_stand_for_any_scalar_and_defaults_have_their_types() {
        let schema = schema();
        let pod = &schema["definitions"]["pod"]["properties"];
        assert_eq!(pod["share-pid-namespace"]["default"], json!(false));
        assert_eq!(schema["definitions"]["range"]["properties"]["end"]["default"], json!(65535));
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let service = |count: Value| {
            json!({"name": "{{NAME}}", "pods": {"p": {"count": count, "tasks": {"t": {
                "goal": "{{GOAL}}", "cmd": "{{{CMD}}}", "cpus": "{{CPUS}}", "essential": "{{E}}"}}}}})
        };
        assert!(validator.is_valid(&service(json!("{{COUNT}}"))));
        // what YAML makes of {{COUNT}} without quotes, as editors' parsers write it
        assert!(validator.is_valid(&service(json!({"{ COUNT }": null}))));
        assert!(validator.is_valid(&service(json!("2"))));
        assert!(!validator.is_valid(&service(json!("many"))));
        assert!(!validator.is_valid(&service(json!({"COUNT": null}))));
    }
}
