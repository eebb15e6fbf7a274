//! Findings as data: JSON for scripts, and SARIF for code hosts and editors. Used by `cli`.

use super::{Code, Finding, Severity, Source, page};
use crate::template::Place;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;

/// A finding as a JSON object. Lines and columns count from 1, columns in characters; `end` is just behind it.
pub fn json(finding: &Finding) -> Value {
    let (start, end) = places(&finding.source, finding.span.as_ref());
    let related = finding.related.as_ref().map(|other| {
        let place = Place::of(&other.source.text, other.span.start);
        json!({"file": &*other.source.file, "line": place.line, "column": place.column, "label": other.label})
    });
    json!({
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "file": &*finding.source.file,
        "line": start.map(|place| place.line),
        "column": start.map(|place| place.column),
        "end": end.map(|place| json!({"line": place.line, "column": place.column})),
        "expected": finding.expected,
        "help": finding.help,
        "notes": finding.note.iter().collect::<Vec<_>>(),
        "related": related,
    })
}

/// First and last place of a span; none without one.
fn places(source: &Source, span: Option<&Range<usize>>) -> (Option<Place>, Option<Place>) {
    let place = |at| Place::of(&source.text, at);
    (span.map(|span| place(span.start)), span.map(|span| place(span.end)))
}

/// The schema that [`sarif`] follows.
const SARIF_SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Findings as a log in the Static Analysis Results Interchange Format, version 2.1.0. Files below `folder`, which is the
/// current one, have relative URIs.
pub fn sarif(findings: &[Finding], folder: &Path) -> Value {
    let mut codes: Vec<Code> = Vec::new();
    for finding in findings {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    let rules: Vec<Value> = codes.iter().map(|&code| rule(code)).collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| result(finding, codes.iter().position(|code| *code == finding.code), folder))
        .collect();
    json!({
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "dagpkg",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn rule(code: Code) -> Value {
    let (summary, page) = (code.summary(), page(code));
    json!({
        "id": code,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": page.meaning},
        "help": {"text": page.text(), "markdown": page.markdown()},
        "defaultConfiguration": {"level": level(code.severity())},
    })
}

fn result(finding: &Finding, rule: Option<usize>, folder: &Path) -> Value {
    let mut text = finding.message.clone();
    for (word, more) in [("expected", &finding.expected), ("note", &finding.note), ("help", &finding.help)] {
        if let Some(more) = more {
            text = format!("{text}\n{word}: {more}");
        }
    }
    let mut result = json!({
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": {"text": text},
    });
    // what is about an argument has no place in a file
    if !finding.source.file.starts_with("--") {
        result["locations"] = json!([location(&finding.source, finding.span.as_ref(), folder)]);
    }
    if let Some(other) = &finding.related {
        let mut place = location(&other.source, Some(&other.span), folder);
        place["message"] = json!({"text": other.label});
        result["relatedLocations"] = json!([place]);
    }
    result
}

fn location(source: &Source, span: Option<&Range<usize>>, folder: &Path) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(&source.file, folder)}});
    if let (Some(start), Some(end)) = places(source, span) {
        physical["region"] = json!({
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        });
    }
    json!({"physicalLocation": physical})
}

/// What must be encoded in the path of a URI (RFC 3986), slashes aside. A colon could be taken for the end of a scheme.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

fn uri(file: &str, folder: &Path) -> String {
    let path = Path::new(file);
    let path = path.strip_prefix(folder).unwrap_or(path);
    let text = path.strip_prefix(".").unwrap_or(path).to_string_lossy();
    let encoded = utf8_percent_encode(&text, IN_PATH).to_string();
    if path.is_absolute() { format!("file://{encoded}") } else { encoded }
}
