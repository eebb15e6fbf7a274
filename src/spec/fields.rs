//! Reading one mapping of a service file: each key is asked for with the rule that its value must follow; whatever
//! was not asked for is unknown. Used only by the rest of `spec`.
//!
//! A reader answers `None` both for an absent key and for a wrong value; the latter has added a finding. So a walk
//! goes on with a default, and the result is thrown away in the end if there was any error.

use super::diagnostic::{Code, Findings};
use super::yaml::{Key, Node, Span, Value, nearest};
use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// A text and its place.
#[derive(Clone, Debug)]
pub(super) struct Text<'n> {
    /// The text.
    pub text: &'n str,
    /// Its place.
    pub span: Span,
}

/// The keys of one mapping.
pub(super) struct Fields<'n, 'f> {
    /// Collects what is wrong.
    pub findings: &'f Findings<'f>,
    /// Names the mapping in messages: `pods.hello.tasks.server`; empty for the root.
    pub path: String,
    /// The place to point at for what is missing: the key that holds the mapping.
    pub span: Span,
    entries: &'n [(Key, Node)],
    asked: HashSet<&'static str>,
}

impl<'n, 'f> Fields<'n, 'f> {
    /// The keys of `node`, which `span` names as `path`. Nothing at all counts as no keys.
    pub fn new(node: &'n Node, path: String, span: &Span, findings: &'f Findings<'f>) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                let message = format!("{} must be a mapping, and this is {}", quoted(&path), node.kind());
                findings.add(findings.error(&node.span, Code::Shape, message).expected("`key: value` lines"));
                return None;
            }
        };
        Some(Self { findings, path, span: span.clone(), entries, asked: HashSet::new() })
    }

    /// The path of a key in this mapping, for messages.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key`; `None` when it is absent or null.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// `key` and its value, which may be null.
    pub fn entry(&mut self, key: &'static str) -> Option<(&'n Key, &'n Node)> {
        self.asked.insert(key);
        self.entries.iter().find(|(k, _)| k.text == key).map(|(k, node)| (k, node))
    }

    /// Whether `key` has a value.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// All keys and their values, of a mapping whose keys are names that the author chose.
    pub fn names(&self) -> &'n [(Key, Node)] {
        self.entries
    }

    /// The mapping below `key`.
    pub fn map(&mut self, key: &'static str) -> Option<Fields<'n, 'f>> {
        let (at, node) = self.entry(key).filter(|(_, node)| !node.is_null())?;
        Fields::new(node, self.path_of(key), &at.span, self.findings)
    }

    /// The mapping below one of the author's own names.
    pub fn named(&self, key: &Key, node: &'n Node) -> Option<Fields<'n, 'f>> {
        Fields::new(node, self.path_of(&key.text), &key.span, self.findings)
    }

    /// The items of the list below `key`; none when it is absent.
    pub fn list(&mut self, key: &'static str) -> &'n [Node] {
        match self.get(key) {
            None => &[],
            Some(Node { value: Value::List(items), .. }) => items,
            Some(node) => {
                self.wrong(
                    node,
                    Code::Shape,
                    key,
                    format!("must be a list, and this is {}", node.kind()),
                    "`[a, b]`",
                );
                &[]
            }
        }
    }

    /// The text below `key`; any scalar is one.
    pub fn text(&mut self, key: &'static str) -> Option<Text<'n>> {
        let node = self.get(key)?;
        self.scalar(key, node)
    }

    /// The text of the value of `key`.
    pub fn scalar(&self, key: &str, node: &'n Node) -> Option<Text<'n>> {
        if let Value::Scalar { text, .. } = &node.value {
            return Some(Text { text, span: node.span.clone() });
        }
        let what = format!("must be a text, and this is {}", node.kind());
        self.wrong(node, Code::Shape, key, what, "a text");
        None
    }

    /// The text below `key`, which must be there and not empty.
    pub fn required_text(&mut self, key: &'static str) -> Option<Text<'n>> {
        if !self.has(key) {
            self.missing(key);
        }
        let text = self.text(key)?;
        if text.text.trim().is_empty() {
            self.findings.add(self.findings.error(
                &text.span,
                Code::Empty,
                format!("`{}` is empty", self.path_of(key)),
            ));
            return None;
        }
        Some(text)
    }

    /// The text below `key`, unless it is empty.
    pub fn nonempty_text(&mut self, key: &'static str) -> Option<Text<'n>> {
        self.text(key).filter(|text| !text.text.is_empty())
    }

    /// The boolean below `key`, in any of YAML's spellings.
    pub fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let Some(text) = self.text(key) else { return default };
        match text.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => true,
            "false" | "no" | "off" => false,
            _ => {
                let message =
                    format!("`{}` must be a boolean, and this is `{}`", self.path_of(key), brief(text.text));
                self.findings.add(
                    self.findings.error(&text.span, Code::ScalarType, message).expected("`true` or `false`"),
                );
                default
            }
        }
    }

    /// The integer below `key`, within `range`.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(key)?;
        self.integer_of(key, &text, range)
    }

    /// The integer below `key`, within `range`, which must be there.
    pub fn required_integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        if !self.has(key) {
            self.missing(key);
        }
        self.integer(key, range)
    }

    /// The integer that a text at `key` is, within `range`. `2.0` is one: templates are rendered from JSON numbers.
    pub fn integer_of(&self, key: &str, text: &Text, range: RangeInclusive<i64>) -> Option<i64> {
        let digits = text.text.trim().replace('_', "");
        let whole = digits.strip_suffix(".0").unwrap_or(&digits);
        let Ok(number) = whole.parse::<i64>() else {
            let message =
                format!("`{}` must be an integer, and this is `{}`", self.path_of(key), brief(text.text));
            self.findings
                .add(self.findings.error(&text.span, Code::ScalarType, message).expected(between(&range)));
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        let message = format!("`{}` is out of range: {number}", self.path_of(key));
        self.findings
            .add(self.findings.error(&text.span, Code::OutOfRange, message).expected(between(&range)));
        None
    }

    /// The amount below `key`, more than nothing.
    pub fn amount(&mut self, key: &'static str) -> Option<f64> {
        let text = self.text(key)?;
        match text.text.trim().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => return Some(number),
            Ok(number) if number.is_finite() => {
                let message = format!("`{}` must be more than 0, and this is {number}", self.path_of(key));
                let found = self.findings.error(&text.span, Code::OutOfRange, message);
                self.findings
                    .add(found.expected("more than 0").help("leave the key out to reserve none of it"));
            }
            _ => {
                let message =
                    format!("`{}` must be a number, and this is `{}`", self.path_of(key), brief(text.text));
                self.findings.add(
                    self.findings.error(&text.span, Code::ScalarType, message).expected("a number above 0"),
                );
            }
        }
        None
    }

    /// What the word below `key` stands for.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.nonempty_text(key)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text.text) {
            return Some(*meaning);
        }
        let message = format!("`{}` cannot be `{}`", self.path_of(key), brief(text.text));
        let found = self.findings.error(&text.span, Code::NotOneOf, message);
        self.findings.add(
            found
                .expected(format!("one of {}", words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", "))),
        );
        None
    }

    /// Says that `key` is missing, or has no value.
    pub fn missing(&self, key: &str) {
        if let Some((at, _)) = self.entries.iter().find(|(k, _)| k.text == key) {
            let message = format!("`{}` has no value", self.path_of(key));
            self.findings
                .add(self.findings.error(&at.span, Code::Missing, message).expected("a value for this key"));
            return;
        }
        let owner = if self.path.is_empty() { "the service".to_owned() } else { format!("`{}`", self.path) };
        let found = self.findings.error(&self.span, Code::Missing, format!("{owner} needs `{key}`"));
        self.findings.add(found.expected(format!("`{key}` in here")));
    }

    /// Says what is wrong with the value of `key`.
    pub fn wrong(&self, node: &Node, code: Code, key: &str, what: impl Display, expected: &str) {
        let message = format!("`{}` {what}", self.path_of(key));
        self.findings.add(self.findings.error(&node.span, code, message).expected(expected));
    }

    /// Adds an error at a place.
    pub fn error(&self, span: &Span, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.findings.add(self.findings.error(span, code, message).help(help));
    }

    /// Adds a warning at a place.
    pub fn warning(&self, span: &Span, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.findings.add(self.findings.warning(span, code, message).help(help));
    }

    /// The keys that nobody asked for, each with the known key that it is most like.
    pub fn unknown(&self) -> Vec<(&'n Key, Option<&'static str>)> {
        let unasked = self.entries.iter().filter(|(key, _)| !self.asked.contains(key.text.as_str()));
        unasked.map(|(key, _)| (key, nearest(&key.text, self.asked.iter().copied()))).collect()
    }

    /// Ends the reading: every key that nobody asked for is an error.
    pub fn finish(self) {
        for (key, like) in self.unknown() {
            let place =
                if self.path.is_empty() { "a service".to_owned() } else { format!("`{}`", self.path) };
            let message = format!("`{}` is not a key of {place}", brief(&key.text));
            let mut keys: Vec<_> = self.asked.iter().copied().collect();
            keys.sort_unstable();
            let help = match like {
                Some(like) => format!("did you mean `{like}`?"),
                None => format!("known keys here: {}", keys.join(", ")),
            };
            self.error(&key.span, Code::UnknownKey, message, help);
        }
    }
}

/// A path as it appears in messages.
fn quoted(path: &str) -> String {
    if path.is_empty() { "a service file".to_owned() } else { format!("`{path}`") }
}

/// A text that is short enough for a message.
pub(super) fn brief(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn between(range: &RangeInclusive<i64>) -> String {
    match (*range.start(), *range.end()) {
        // such a bound is not the language's, but the type's
        (least, most) if most >= i64::from(u32::MAX) => format!("an integer, {least} or more"),
        (least, most) => format!("an integer from {least} to {most}"),
    }
}
