//! What the names in a template stand for.

use super::Profile;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The values that svc.yml is rendered with: the scheduler's environment, in which `true` and `false` (in any case)
/// are booleans and all else is text.
pub fn service_context<K, V>(environment: impl IntoIterator<Item = (K, V)>) -> Value
where
    K: Into<String>,
    V: Into<String>,
{
    context(environment, &["true", "false"])
}

/// The values that a task's config templates are rendered with: its environment, in which `false` (in any case) is a
/// boolean and all else is text.
pub fn config_context<K, V>(environment: impl IntoIterator<Item = (K, V)>) -> Value
where
    K: Into<String>,
    V: Into<String>,
{
    context(environment, &["false"])
}

fn context<K: Into<String>, V: Into<String>>(
    environment: impl IntoIterator<Item = (K, V)>,
    booleans: &[&str],
) -> Value {
    let typed = |text: String| match booleans.iter().find(|word| word.eq_ignore_ascii_case(&text)) {
        Some(&word) => Value::Bool(word == "true"),
        None => Value::String(text),
    };
    environment
        .into_iter()
        .map(|(name, value)| (name.into(), typed(value.into())))
        .collect::<Map<_, _>>()
        .into()
}

/// The values as a profile sees them.
pub(super) fn prepare(profile: Profile, values: &Value) -> Cow<'_, Value> {
    match profile {
        Profile::Package => Cow::Owned(json_escaped(values, false)),
        Profile::Plain | Profile::Service | Profile::Config => Cow::Borrowed(values),
    }
}

/// Strings become their JSON text, so that `"{{name}}"` in a template is always a JSON string; outside of arrays the
/// quotes, which the template writes, are left out.
fn json_escaped(value: &Value, in_array: bool) -> Value {
    match value {
        Value::String(_) => {
            let quoted = value.to_string();
            let inside = |text: &str| text[1..text.len() - 1].to_owned();
            Value::String(if in_array { quoted } else { inside(&quoted) })
        }
        Value::Array(items) => items.iter().map(|item| json_escaped(item, true)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), json_escaped(value, false)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Whether a section of this value is rendered. Zero and `{}` count as true, as in mustache.java.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Number(_) | Value::Object(_) => true,
    }
}

/// The text that a tag prints for a value: lists and objects have Java's forms `[a, b]` and `{k=v}`.
pub(super) fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        _ => {
            let mut text = String::new();
            write_text(value, &mut text);
            Cow::Owned(text)
        }
    }
}

fn write_text(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_text(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(key);
                out.push('=');
                write_text(value, out);
            }
            out.push('}');
        }
    }
}

/// A whole number is printed without a fraction (`1.0` → `1`), any other as Java prints a double.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => double_text(float),
        _ => number.to_string(),
    }
}

/// Java's `Double.toString`, and for whole numbers all their digits.
fn double_text(float: f64) -> String {
    if float.fract() == 0.0 {
        // also turns -0.0 into 0, which has no sign as a whole number
        return if float == 0.0 { "0".to_owned() } else { format!("{float}") };
    }
    if (1e-3..1e7).contains(&float.abs()) {
        return format!("{float}");
    }
    // `1e-5` → `1.0E-5`, `1.5e-5` → `1.5E-5`
    let scientific = format!("{float:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => scientific,
    }
}
