//! The tables of the reference page: each key of the service language with what its value must be. Made of the tables that
//! the parser reads by. Used by the test that keeps the page up to date.

use super::language::{self, ANY_NAME, Key, Kind, Mapping, Need};

/// The names of the mappings of the service language, and the table of keys of each, in Markdown.
pub fn key_tables() -> Vec<(&'static str, String)> {
    language::mappings().into_iter().map(|mapping| (mapping.name, table(mapping))).collect()
}

fn table(mapping: &Mapping) -> String {
    let mut text =
        format!("{}\n\n| key | value | without it | what it does |\n|---|---|---|---|\n", mapping.about);
    text.extend(mapping.keys.iter().map(row));
    text.extend(mapping.also.map(|also| format!("\nIt may also have the keys of a {}.\n", link(also))));
    text.extend(mapping.ignores_others.then_some("\nOther keys have no effect.\n"));
    text
}

fn row(key: &Key) -> String {
    let without = match key.need {
        Need::Required => "**required**".to_owned(),
        Need::Default(default) => format!("`{default}`"),
        Need::Optional(text) => text.to_owned(),
    };
    let release = key.since.map(|since| format!(" *DC/OS {since}*")).unwrap_or_default();
    // a bar would end the cell
    let value = value(&key.kind).replace('|', "\\|");
    format!("| `{}` | {value} | {without} | {}{release} |\n", key.name, key.about)
}

fn link(mapping: &Mapping) -> String {
    format!("[{}](#{})", mapping.name, mapping.name.replace(' ', "-"))
}

/// What a value must be, in words.
fn value(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Formed(form) => format!("text: {}", form.expected),
        Kind::Word(words) => {
            let all: Vec<String> = words.now.iter().map(|word| format!("`{word}`")).collect();
            let case = if words.any_case { ", in any case" } else { "" };
            let old: Vec<String> = words.old.iter().map(|word| format!("; formerly `{word}`")).collect();
            format!("{}{case}{}", all.join(", "), old.concat())
        }
        // such a bound is not the language's, but the type's
        Kind::Integer(least, most) if *most >= i64::from(u32::MAX) => format!("integer, {least} or more"),
        Kind::Integer(least, most) => format!("integer, {least} to {most}"),
        Kind::Amount => "number above 0".to_owned(),
        Kind::Limit => "number above 0, or `unlimited`".to_owned(),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::List(Kind::Block(mapping)) => format!("list of {}", link(mapping)),
        Kind::List(items) => format!("list, each {}", value(items)),
        Kind::Block(mapping) => link(mapping),
        Kind::Named(form, mapping) if form.pattern == ANY_NAME.pattern => {
            format!("{} by name", link(mapping))
        }
        Kind::Named(form, mapping) => format!("{} by name: {}", link(mapping), form.expected),
        Kind::Texts => "texts by name".to_owned(),
        Kind::Steps => "[steps](#steps)".to_owned(),
    }
}
