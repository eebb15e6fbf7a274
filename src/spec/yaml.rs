//! YAML text → a tree of nodes that know their places.
//!
//! Scalars keep their text: whether `0755` is a number is for the rule that reads it to say. Duplicate keys are
//! errors and merge keys (`<<`) are ordinary keys, as in the SDK's reader. Time and memory are bounded: by the file's
//! size, by nesting, and by the number of nodes after aliases are resolved. Used by the rest of `spec` and by readers of other YAML files.

use super::findings::Findings;
use crate::finding::{Code, Finding};
use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use std::collections::HashMap;
use std::ops::Range;

/// Largest service file, bytes; the largest that are known have some 40 kB.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and mappings; the language itself needs 9.
const MAX_DEPTH: usize = 64;
/// Most nodes, each alias counted as what it stands for.
const MAX_NODES: usize = 250_000;

/// Bytes of the text.
pub(crate) type Span = Range<usize>;

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it is.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A text, and whether it was written without quotes.
    Scalar { text: String, plain: bool },
    /// `[a, b]` or `- a`.
    List(Vec<Node>),
    /// `a: b`, in file order.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Its text.
    pub text: String,
    /// Where it is.
    pub span: Span,
}

impl Node {
    /// Whether it is null: nothing, `~` or `null` without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The node as JSON. Recursion is bounded by the reader's limit of nesting.
    pub fn data(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => serde_json::Value::Null,
            Value::Scalar { text, plain } => typed(text, *plain).unwrap_or_else(|| text.as_str().into()),
            Value::List(items) => items.iter().map(Node::data).collect(),
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.text.clone(), node.data()));
                entries.collect::<serde_json::Map<_, _>>().into()
            }
        }
    }
}

/// The number or boolean of JSON that a scalar without quotes is; none for an integer that would not stay the same.
fn typed(text: &str, plain: bool) -> Option<serde_json::Value> {
    let value: serde_json::Value = plain.then(|| serde_json::from_str(text).ok())??;
    let rounded = value.is_f64() && !text.contains(['.', 'e', 'E']);
    (!rounded && (value.is_number() || value.is_boolean())).then_some(value)
}

/// The root of the only document in `source`; what is wrong is added to `findings`, and there is no root when it is
/// not YAML.
pub(crate) fn read(source: &str, findings: &Findings) -> Option<Node> {
    if source.len() > MAX_BYTES {
        let message = format!(
            "the file has {} bytes, more than the {MAX_BYTES} that a service file may have",
            source.len()
        );
        let help = "move long texts into config templates, or split the service";
        findings.add(findings.at(&(0..0), Code::Limit, message).help(help));
        return None;
    }
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_comments: false,
    };
    let parser = Parser::new_from_str_with_options(source, options);
    let mut builder = Builder { parser, findings, anchors: HashMap::new(), nodes: 0, last: 0..0 };
    builder.document().map_err(|stop| findings.add(*stop)).ok()
}

/// Why reading ended early; boxed, because it travels through every result.
type Stop = Box<Finding>;

struct Builder<'s, 'f> {
    parser: Parser<'s, StrInput<'s>>,
    findings: &'f Findings<'f>,
    /// Anchored nodes and how many nodes each stands for.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    /// Where the last event was, for an end that came too early.
    last: Span,
}

impl<'s> Builder<'s, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    let found = self.findings.at(&span, Code::Document, "a second YAML document begins here");
                    return Err(Box::new(
                        found.help("a service is one document: remove the `---` and what follows"),
                    ));
                }
                event => root = Some(self.node(event, span)?),
            }
        }
        root.ok_or_else(|| {
            let found = self.findings.at(&(0..0), Code::Document, "the file is empty");
            Box::new(found.help("a service file needs at least `name` and `pods`"))
        })
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let span = span.byte_range().unwrap_or(self.last.clone());
                self.last = span.clone();
                Ok((event, span))
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(self.last.end);
                let nested = matches!(error.kind(), granit_parser::ErrorKind::RecursionLimitExceeded);
                let code = if nested { Code::Limit } else { Code::Syntax };
                let found = self.findings.at(&(at..at), code, format!("not YAML: {}", error.info()));
                Err(Box::new(found.help("check indentation, quotes and brackets here and in the line above")))
            }
            None => {
                let found = self.findings.at(&self.last, Code::Syntax, "not YAML: the text ends too early");
                Err(Box::new(found.help("close what is open: quotes, brackets, braces")))
            }
        }
    }

    /// The node that begins with `event`. Recursion is bounded by the parser's own limit of nesting.
    fn node(&mut self, event: Event<'s>, span: Span) -> Result<Node, Stop> {
        let before = self.nodes;
        self.count(1, &span)?;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                // a tag such as !!str makes a text of what would be nothing or a number
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (anchor, Node { span, value: Value::Scalar { text: text.into_owned(), plain } })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.list(span)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.map(span)?),
            Event::Alias(id) => return self.alias(id, &span),
            _ => {
                let found = self.findings.at(&span, Code::Syntax, "not YAML: a value is missing here");
                return Err(Box::new(found.help("write a value, or remove the key")));
            }
        };
        if anchor != 0 {
            let size = self.nodes - before;
            // the copy takes memory, too, and anchors may be nested
            self.count(size, &node.span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn list(&mut self, start: Span) -> Result<Node, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    return Ok(Node { span: whole(&start, &end), value: Value::List(items) });
                }
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self, start: Span) -> Result<Node, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, end) => {
                    return Ok(Node { span: whole(&start, &end), value: Value::Map(entries) });
                }
                (event, span) => self.node(event, span)?,
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            let Value::Scalar { text, .. } = key.value else {
                let message = format!("a key must be a name, and this is {}", key.kind());
                self.findings.add(self.findings.at(&key.span, Code::Shape, message).expected("a name"));
                continue;
            };
            if let Some(first) = seen.get(&text) {
                let found =
                    self.findings.at(&key.span, Code::DuplicateKey, format!("`{text}` is there twice"));
                self.findings.add(
                    found
                        .related(self.findings.source, first, "first here")
                        .help("rename or remove one of the two"),
                );
                continue;
            }
            seen.insert(text.clone(), key.span.clone());
            entries.push((Key { text, span: key.span }, value));
        }
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, Stop> {
        let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
            let found =
                self.findings.at(span, Code::Syntax, "this alias stands for something that contains it");
            return Err(Box::new(found.help("write the value out")));
        };
        // before it is copied: a refusal must not cost what it saves
        self.count(size, span)?;
        let value = self.anchors.get(&id).map(|(node, _)| node.value.clone());
        let nothing = || Value::Scalar { text: String::new(), plain: true };
        Ok(Node { span: span.clone(), value: value.unwrap_or_else(nothing) })
    }

    fn count(&mut self, more: usize, span: &Span) -> Result<(), Stop> {
        self.nodes += more;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("the file has more than {MAX_NODES} values, with aliases resolved");
        Err(Box::new(
            self.findings.at(span, Code::Limit, message).help("write fewer aliases of large values"),
        ))
    }
}

/// From the start of one span to the end of another.
fn whole(start: &Span, end: &Span) -> Span {
    start.start..end.end.max(start.end)
}
