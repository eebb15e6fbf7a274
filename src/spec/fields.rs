//! Reading one mapping of a service file by the table of its keys (`language`): each key is asked for by name, and its
//! value checked by what the table says of it; what the table does not have is unknown. Used only by the rest of
//! `spec`.
//!
//! A reader answers `None` both for an absent key and for a wrong value; the latter has added a finding. So a walk
//! goes on with a default, and the result is thrown away in the end if there was any error.

use super::findings::Findings;
use super::language::{self, Form, Kind, Mapping, Need};
use super::yaml::{Key, Node, Span, Value};
use crate::finding::Code;
use std::collections::HashSet;
use std::fmt::Display;

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
    mapping: &'static Mapping,
    entries: &'n [(Key, Node)],
    asked: HashSet<&'static str>,
}

/// A mapping of names that the author chose, each to a mapping.
pub(super) struct Named<'n, 'f> {
    /// The key that holds it.
    pub span: Span,
    /// Each name and what is below; what is no mapping is left out.
    pub entries: Vec<(&'n Key, Fields<'n, 'f>)>,
    /// Whether there is no name at all.
    pub is_empty: bool,
}

impl<'n, 'f> Fields<'n, 'f> {
    /// The keys of `node`, which `span` names as `path`. Nothing at all counts as no keys.
    pub fn new(
        mapping: &'static Mapping,
        node: &'n Node,
        path: String,
        span: &Span,
        findings: &'f Findings<'f>,
    ) -> Option<Self> {
        let entries = entries(node, &path, findings)?;
        Some(Self { findings, path, span: span.clone(), mapping, entries, asked: HashSet::new() })
    }

    /// The path of a key in this mapping, for messages.
    pub fn path_of(&self, key: &str) -> String {
        let key = brief(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// What the table says of a key.
    fn rule(&mut self, key: &'static str) -> &'static language::Key {
        self.asked.insert(key);
        let rule = self.mapping.key(key);
        debug_assert!(rule.is_some(), "the table of {} has no `{key}`", self.mapping.name);
        rule.unwrap_or(&language::NO_KEY)
    }

    /// `key` and its value, which may be null.
    pub fn entry(&mut self, key: &'static str) -> Option<(&'n Key, &'n Node)> {
        self.rule(key);
        self.entries.iter().find(|(k, _)| k.text == key).map(|(k, node)| (k, node))
    }

    /// The value of `key`; `None` when it is absent or null.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// Whether `key` has a value.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// The value of `key`; when there is none and the key is required, that is an error.
    fn wanted(&mut self, key: &'static str) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() && matches!(self.rule(key).need, Need::Required) {
            self.missing(key);
        }
        found
    }

    /// The mapping below `key`.
    pub fn block(&mut self, key: &'static str) -> Option<Fields<'n, 'f>> {
        self.wanted(key)?;
        let (at, node) = self.entry(key)?;
        let Kind::Block(mapping) = self.rule(key).kind else { return self.mismatch(key) };
        Fields::new(mapping, node, self.path_of(key), &at.span, self.findings)
    }

    /// The mapping below `key`; without keys when there is none.
    pub fn block_or_empty(&mut self, key: &'static str) -> Option<Fields<'n, 'f>> {
        if self.has(key) {
            return self.block(key);
        }
        let Kind::Block(mapping) = self.rule(key).kind else { return self.mismatch(key) };
        let (path, span) = (self.path_of(key), self.span.clone());
        Some(Fields { findings: self.findings, path, span, mapping, entries: &[], asked: HashSet::new() })
    }

    /// The names below `key` and their mappings.
    pub fn named(&mut self, key: &'static str) -> Option<Named<'n, 'f>> {
        self.wanted(key)?;
        let (at, node) = self.entry(key)?;
        let Kind::Named(form, mapping) = self.rule(key).kind else { return self.mismatch(key) };
        let path = self.path_of(key);
        let all = entries(node, &path, self.findings)?;
        let mut found = Vec::with_capacity(all.len());
        for (name, node) in all {
            if !form.fits(&name.text) {
                let message = format!("there can be no `{}` in `{path}`", brief(&name.text));
                self.findings.add(self.findings.at(&name.span, Code::Form, message).expected(form.expected));
            }
            let path = format!("{path}.{}", brief(&name.text));
            found.extend(
                Fields::new(mapping, node, path, &name.span, self.findings).map(|fields| (name, fields)),
            );
        }
        Some(Named { span: at.span.clone(), entries: found, is_empty: all.is_empty() })
    }

    /// The names below `key` and their texts.
    pub fn texts_by_name(&mut self, key: &'static str) -> Vec<(&'n str, &'n str)> {
        let Some(node) = self.wanted(key) else { return Vec::new() };
        let path = self.path_of(key);
        let all = entries(node, &path, self.findings).unwrap_or_default();
        let text = |(name, node): &'n (Key, Node)| {
            let path = format!("{key}.{}", brief(&name.text));
            let text = if node.is_null() { Some("") } else { self.scalar(&path, node).map(|t| t.text) };
            Some((name.text.as_str(), text?))
        };
        all.iter().filter_map(text).collect()
    }

    /// The items of the list below `key`; none when it is absent.
    pub fn list(&mut self, key: &'static str) -> &'n [Node] {
        match self.wanted(key) {
            None => &[],
            Some(Node { value: Value::List(items), .. }) => items,
            Some(node) => {
                let what = format!("must be a list, and this is {}", node.kind());
                self.wrong(node, Code::Shape, key, what, "`[a, b]`");
                &[]
            }
        }
    }

    /// The kind of the items of the list below `key`.
    fn item_kind(&mut self, key: &'static str) -> Option<&'static Kind> {
        match self.rule(key).kind {
            Kind::List(kind) => Some(kind),
            _ => self.mismatch(key),
        }
    }

    /// The texts in the list below `key`.
    pub fn texts(&mut self, key: &'static str) -> Vec<Text<'n>> {
        let kind = self.item_kind(key);
        let mut texts = Vec::new();
        for node in self.list(key) {
            let Some(text) = self.item(key, node) else { continue };
            if let Some(Kind::Formed(form)) = kind {
                self.check_form(key, &text, form);
            }
            texts.push(text);
        }
        texts
    }

    /// The integers in the list below `key`.
    pub fn integers<T: TryFrom<i64>>(&mut self, key: &'static str) -> Vec<T> {
        let Some(&Kind::Integer(least, most)) = self.item_kind(key) else { return Vec::new() };
        let items = self.list(key).iter();
        let number = |node| {
            let text = self.item(key, node)?;
            T::try_from(self.integer_of(key, &text, least, most)?).ok()
        };
        items.filter_map(number).collect()
    }

    /// The mappings in the list below `key`.
    pub fn blocks(&mut self, key: &'static str) -> Vec<Fields<'n, 'f>> {
        let Some(&Kind::Block(mapping)) = self.item_kind(key) else { return Vec::new() };
        let path = self.path_of(key);
        let items = self.list(key).iter();
        items.filter_map(|node| Fields::new(mapping, node, path.clone(), &node.span, self.findings)).collect()
    }

    /// The text of an item of the list at `key`.
    fn item(&self, key: &str, node: &'n Node) -> Option<Text<'n>> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(Text { text, span: node.span.clone() }),
            _ => {
                let what = format!("must hold texts only, and holds {}", node.kind());
                self.wrong(node, Code::Shape, key, what, "a text");
                None
            }
        }
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

    /// The text below `key`. One that is empty counts as absent, unless its form is asked for; it is an error where the key
    /// is required.
    pub fn text(&mut self, key: &'static str) -> Option<Text<'n>> {
        let node = self.wanted(key)?;
        let text = self.scalar(key, node)?;
        let rule = self.rule(key);
        let is_empty = text.text.trim().is_empty();
        match (&rule.kind, rule.need) {
            (_, Need::Required) if is_empty => {
                let message = format!("`{}` is empty", self.path_of(key));
                let found = self.findings.at(&text.span, Code::Empty, message);
                self.findings.add(found.expected("a text that is not empty"));
            }
            (Kind::Formed(form), _) => self.check_form(key, &text, form),
            _ => {}
        }
        (!is_empty).then_some(text)
    }

    /// The text below `key`, or its default; empty when it is missing or wrong.
    pub fn string(&mut self, key: &'static str) -> String {
        match (self.text(key), self.rule(key).need) {
            (Some(text), _) => text.text.to_owned(),
            (None, Need::Default(default)) => default.to_owned(),
            (None, _) => String::new(),
        }
    }

    /// The text below `key`, if there is one.
    pub fn optional(&mut self, key: &'static str) -> Option<String> {
        self.text(key).map(|text| text.text.to_owned())
    }

    fn check_form(&self, key: &str, text: &Text, form: &Form) {
        if !form.fits(text.text) {
            let message = format!("`{}` cannot be `{}`", self.path_of(key), brief(text.text));
            self.findings.add(self.findings.at(&text.span, Code::Form, message).expected(form.expected));
        }
    }

    /// The boolean below `key`, in any of YAML's spellings, or its default.
    pub fn boolean(&mut self, key: &'static str) -> bool {
        let default = matches!(self.rule(key).need, Need::Default("true"));
        let Some(text) = self.text(key) else { return default };
        match text.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => true,
            "false" | "no" | "off" => false,
            _ => {
                let message =
                    format!("`{}` must be a boolean, and this is `{}`", self.path_of(key), brief(text.text));
                let found = self.findings.at(&text.span, Code::ScalarType, message);
                self.findings.add(found.expected("`true` or `false`"));
                default
            }
        }
    }

    /// The integer below `key`, or its default.
    pub fn integer<T: TryFrom<i64>>(&mut self, key: &'static str) -> Option<T> {
        let rule = self.rule(key);
        let Kind::Integer(least, most) = rule.kind else { return self.mismatch(key) };
        let number = match (self.text(key), rule.need) {
            (Some(text), _) => self.integer_of(key, &text, least, most),
            (None, Need::Default(default)) => default.parse().ok(),
            (None, _) => None,
        };
        number.and_then(|number| T::try_from(number).ok())
    }

    /// The integer that a text at `key` is, within bounds. `2.0` is one: templates are rendered from JSON numbers.
    fn integer_of(&self, key: &str, text: &Text, least: i64, most: i64) -> Option<i64> {
        let digits = text.text.trim().replace('_', "");
        let whole = digits.strip_suffix(".0").unwrap_or(&digits);
        let Ok(number) = whole.parse::<i64>() else {
            let message =
                format!("`{}` must be an integer, and this is `{}`", self.path_of(key), brief(text.text));
            let found = self.findings.at(&text.span, Code::ScalarType, message);
            self.findings.add(found.expected(between(least, most)));
            return None;
        };
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let message = format!("`{}` is out of range: {number}", self.path_of(key));
        let found = self.findings.at(&text.span, Code::OutOfRange, message);
        self.findings.add(found.expected(between(least, most)));
        None
    }

    /// The amount below `key`, more than nothing.
    pub fn amount(&mut self, key: &'static str) -> Option<f64> {
        let text = self.text(key)?;
        match text.text.trim().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => return Some(number),
            Ok(number) if number.is_finite() => {
                let message = format!("`{}` must be more than 0, and this is {number}", self.path_of(key));
                let found = self.findings.at(&text.span, Code::OutOfRange, message);
                self.findings
                    .add(found.expected("more than 0").help("leave the key out to reserve none of it"));
            }
            _ => {
                let message =
                    format!("`{}` must be a number, and this is `{}`", self.path_of(key), brief(text.text));
                let found = self.findings.at(&text.span, Code::ScalarType, message);
                self.findings.add(found.expected("a number above 0"));
            }
        }
        None
    }

    /// The word below `key`, or its default, and where it is.
    pub fn word_at(&mut self, key: &'static str) -> Option<(&'static str, Option<Span>)> {
        let rule = self.rule(key);
        let Kind::Word(words) = rule.kind else { return self.mismatch(key) };
        let Some(text) = self.text(key) else {
            return if let Need::Default(default) = rule.need { Some((default, None)) } else { None };
        };
        if let Some(word) = words.find(text.text) {
            return Some((word, Some(text.span)));
        }
        let message = format!("`{}` cannot be `{}`", self.path_of(key), brief(text.text));
        let found = self.findings.at(&text.span, Code::NotOneOf, message);
        let found = match self.findings.nearest(text.text, words.now.iter().copied()) {
            Some(like) => found.help(format!("did you mean `{like}`?")),
            None => found,
        };
        self.findings.add(found.expected(format!("one of {}", words.now.join(", "))));
        None
    }

    /// The word below `key`, or its default.
    pub fn word(&mut self, key: &'static str) -> Option<&'static str> {
        self.word_at(key).map(|(word, _)| word)
    }

    /// The table says that `key` is something else than its reader thinks; a test would have seen it.
    fn mismatch<T>(&self, key: &str) -> Option<T> {
        debug_assert!(false, "the table has another kind of `{key}` in {}", self.mapping.name);
        None
    }

    /// Says that `key` is missing, or has no value.
    fn missing(&self, key: &str) {
        if let Some((at, _)) = self.entries.iter().find(|(k, _)| k.text == key) {
            let message = format!("`{}` has no value", self.path_of(key));
            self.findings
                .add(self.findings.at(&at.span, Code::Missing, message).expected("a value for this key"));
            return;
        }
        let owner = if self.path.is_empty() { "the service".to_owned() } else { format!("`{}`", self.path) };
        let found = self.findings.at(&self.span, Code::Missing, format!("{owner} needs `{key}`"));
        self.findings.add(found.expected(format!("`{key}` in here")));
    }

    /// Says what is wrong with the value of `key`.
    pub fn wrong(&self, node: &Node, code: Code, key: &str, what: impl Display, expected: &str) {
        let message = format!("`{}` {what}", self.path_of(key));
        self.findings.add(self.findings.at(&node.span, code, message).expected(expected));
    }

    /// Adds a finding at a place.
    pub fn report(&self, span: &Span, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.findings.add(self.findings.at(span, code, message).help(help));
    }

    /// Ends the reading: every key that the table does not have is an error, or has no effect.
    pub fn finish(self) {
        let unread = self.mapping.all_keys().find(|key| !self.asked.contains(key.name));
        debug_assert!(unread.is_none(), "`{:?}` of {} is never read", unread, self.mapping.name);
        let place = if self.path.is_empty() { "a service".to_owned() } else { format!("`{}`", self.path) };
        for (key, _) in self.entries.iter().filter(|(key, _)| self.mapping.key(&key.text).is_none()) {
            let names = || self.mapping.all_keys().map(|key| key.name);
            let like =
                self.findings.nearest(&key.text, names()).map(|like| format!("did you mean `{like}`?"));
            let name = brief(&key.text);
            if self.mapping.ignores_others {
                let message = format!("`{name}` has no meaning in {place} and is ignored");
                let help = like.unwrap_or_else(|| "remove it".to_owned());
                self.report(&key.span, Code::IgnoredKey, message, help);
                continue;
            }
            let help = like
                .unwrap_or_else(|| format!("known keys here: {}", names().collect::<Vec<_>>().join(", ")));
            self.report(&key.span, Code::UnknownKey, format!("`{name}` is not a key of {place}"), help);
        }
    }
}

/// The keys and values of a node; an empty text counts as nothing, as in templates that have rendered to one.
fn entries<'n>(node: &'n Node, path: &str, findings: &Findings) -> Option<&'n [(Key, Node)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Scalar { text, .. } if node.is_null() || text.is_empty() => Some(&[]),
        _ => {
            let owner = if path.is_empty() { "a service file".to_owned() } else { format!("`{path}`") };
            let message = format!("{owner} must be a mapping, and this is {}", node.kind());
            findings.add(findings.at(&node.span, Code::Shape, message).expected("`key: value` lines"));
            None
        }
    }
}

/// A text that is short enough for a message.
pub(super) fn brief(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn between(least: i64, most: i64) -> String {
    // such a bound is not the language's, but the type's
    if most >= i64::from(u32::MAX) {
        return format!("an integer, {least} or more");
    }
    format!("an integer from {least} to {most}")
}
