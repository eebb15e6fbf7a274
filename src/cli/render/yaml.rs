//! Data as YAML: only what JSON has, written so that readers of YAML 1.1 and of 1.2 find the same in it.

use serde_json::{Map, Number, Value};

/// Words that some reader takes for something else than a text.
const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
/// Readers look no further than 1024 characters for the colon after a key; an escape has up to 6 per character.
const LONGEST_KEY: usize = 1000;

/// A document of one value.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(map, 0, false, &mut out),
        Value::Array(items) if !items.is_empty() => write_list(items, 0, false, &mut out),
        other => {
            write_scalar(other, None, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Writes a mapping with its keys at `indent`. The first key goes on in a line that was begun, if `inline`.
fn write_map(map: &Map<String, Value>, indent: usize, inline: bool, out: &mut String) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 || !inline {
            push_blanks(indent, out);
        }
        let key = word(key);
        if key.chars().count() > LONGEST_KEY {
            out.push_str("? ");
            out.push_str(&key);
            out.push('\n');
            push_blanks(indent, out);
        } else {
            out.push_str(&key);
        }
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write_map(inner, indent + 2, false, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                write_list(items, indent + 2, false, out);
            }
            other => {
                out.push(' ');
                write_scalar(other, Some(indent + 2), out);
                out.push('\n');
            }
        }
    }
}

/// Writes a list with its dashes at `indent`. The first dash goes on in a line that was begun, if `inline`.
fn write_list(items: &[Value], indent: usize, inline: bool, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || !inline {
            push_blanks(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => write_map(map, indent + 2, true, out),
            Value::Array(items) if !items.is_empty() => write_list(items, indent + 2, true, out),
            other => {
                write_scalar(other, Some(indent + 2), out);
                out.push('\n');
            }
        }
    }
}

/// Writes what is no collection, or an empty one. A text of several lines becomes a block at `block`, if it may.
fn write_scalar(value: &Value, block: Option<usize>, out: &mut String) {
    match (value, block) {
        (Value::String(text), Some(indent)) if is_block(text) => {
            out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
            for line in text.lines() {
                out.push('\n');
                push_blanks(if line.is_empty() { 0 } else { indent }, out);
                out.push_str(line);
            }
        }
        (Value::String(text), _) => out.push_str(&word(text)),
        (Value::Number(number), _) => out.push_str(&number_text(number)),
        // null, true, false, [] and {} are the same in both languages
        (other, _) => out.push_str(&other.to_string()),
    }
}

fn push_blanks(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// Whether a text can be written line by line: several lines, at most one end of line at its end, and nothing invisible
/// that an editor or a reader might lose.
fn is_block(text: &str) -> bool {
    let inside = text.strip_suffix('\n').unwrap_or(text);
    inside.contains('\n')
        && !inside.ends_with('\n')
        && !inside.starts_with([' ', '\n'])
        && inside.split('\n').all(|line| !line.ends_with(' ') && line.chars().all(is_visible))
}

/// A key or a text of one line: as it is where no reader can mistake it, else between double quotes.
fn word(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '/';
    let plain = text.starts_with(first)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./+@,=- :".contains(c))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    // a string of JSON is one of YAML; what JSON leaves as it is and YAML does not allow is escaped beside
    let json = Value::from(text).to_string();
    if json.chars().all(is_visible) {
        return json;
    }
    let escaped = |c: char| match c {
        c if is_visible(c) => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    json.chars().map(escaped).collect()
}

/// Whether readers take a character as it is, wherever it stands.
fn is_visible(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A number; those with an exponent also have a dot and a sign, without which readers of YAML 1.1 take them for texts.
fn number_text(number: &Number) -> String {
    let text = number.to_string();
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let dot = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{dot}e{sign}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Source;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn collections_are_indented_and_texts_are_quoted_where_they_must_be() {
        let value = json!({
            "id": "/team/demo", "cpus": 0.5, "none": null, "empty": [{}, [], ""], "uris": ["http://h:80/x#y", "http://h:80/x"],
            "cmd": "export A=1\n\n./run --now", "file": "a\nb\n", "nested": [[1, {"a": {"b": true}, "c": 2}]],
            "odd key:": "no", "date": "2001-01-01", "huge": 1e20,
        });
        let expected = "\
id: /team/demo
cpus: 0.5
none: null
empty:
  - {}
  - []
  - \"\"
uris:
  - \"http://h:80/x#y\"
  - http://h:80/x
cmd: |-
  export A=1

  ./run --now
file: |
  a
  b
nested:
  - - 1
    - a:
        b: true
      c: 2
\"odd key:\": \"no\"
date: \"2001-01-01\"
huge: 1.0e+20
";
        assert_eq!(text(&value), expected);
        assert_eq!(text(&json!([])), "[]\n");
        assert_eq!(text(&json!("a\nb")), "\"a\\nb\"\n");
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[ -~\n]{0,12}",
            "[a-z\n ]{0,12}",
            "[ \t\n\r#:|>\u{85}\u{a0}\u{2028}\u{feff}\u{7f}💥-]{0,6}",
            prop::sample::select(
                &[
                    "yes", "NO", "~", "null", "0x1F", "1e3", "1_000", ".inf", "<<", "=", "---", "- a",
                    "a: b", "12:30:45"
                ][..]
            )
            .prop_map(str::to_owned),
            "[a\u{1}]{1020}",
        ]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any_text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any_text(), inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            let text = text(&value);
            let read = crate::spec::data(&Source::new("written", &*text));
            prop_assert!(read.as_ref() == Ok(&value), "{text}\n{read:?}");
        }
    }
}
