//! What is wrong with a service file, where, and how to mend it.
//!
//! Every rule of `spec` answers with a [`Diagnostic`]; `cli` and `runtime` print them. Codes are stable: they may be
//! searched for, and a test or a script may rely on them.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// More findings than this are not collected: a broken file says enough with the first ones.
const MAX_FINDINGS: usize = 100;

/// Declares the codes of diagnostics and their texts.
macro_rules! codes {
    ($( $(#[$meta:meta])* $name:ident = $text:literal ),* $(,)?) => {
        /// The kind of a finding; stable over releases.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $( $(#[$meta])* $name ),* }
        impl Code {
            /// The code as it is printed, `S001` and so on.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$name => $text ),* }
            }
        }
    };
}

codes! {
    /// The file is not YAML.
    Syntax = "S001",
    /// A key is there twice.
    DuplicateKey = "S002",
    /// The file is too large, too deep, or grows too much by aliases.
    Limit = "S003",
    /// The file holds more than one YAML document, or none.
    Document = "S004",
    /// A list, a mapping or a scalar is where another of them is expected.
    Shape = "S005",
    /// The service language has no such key.
    UnknownKey = "S006",
    /// A key in a pod that has no effect.
    IgnoredKey = "S007",
    /// A required key is missing.
    Missing = "S008",
    /// Not a number, not an integer or not a boolean.
    ScalarType = "S009",
    /// A number outside of its range.
    OutOfRange = "S010",
    /// Not one of the words that are allowed.
    NotOneOf = "S011",
    /// A text that has not the form that is required.
    Form = "S012",
    /// Keys that exclude each other.
    Conflict = "S013",
    /// A name of something that does not exist.
    NoSuch = "S014",
    /// A value that must be unique and is not.
    NotUnique = "S015",
    /// An empty text, list or mapping.
    Empty = "S016",
    /// A config template that cannot be read.
    ConfigTemplate = "S017",
    /// A placement constraint that means nothing.
    Placement = "S018",
    /// A plan or a step that could never be carried out.
    Plan = "S019",
    /// A part of the file that has no effect.
    NoEffect = "S020",
    /// A spelling of older releases.
    OldSpelling = "S021",
    /// A dynamic port that its task cannot learn.
    UnseenPort = "S022",
    /// A resource limit below the request.
    LimitBelowRequest = "S023",
    /// A name in the template that no value was given for.
    MissingValue = "S024",
    /// A value that is not what it was after it was rendered.
    EscapedValue = "S025",
    /// More findings than are worth a look.
    TooMany = "S099",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Whether a finding makes the file unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not say what its author meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding. `Display` is one or a few plain lines that begin with `file:line:column`; [`Diagnostic::render`]
/// shows the source as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What kind of finding.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The file, as its caller named it.
    pub file: String,
    /// Line of the rendered text, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the rendered text.
    pub span: Range<usize>,
    /// What would be right there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What else helps to understand it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Another place that has to do with it, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<(Range<usize>, String)>,
}

impl Diagnostic {
    /// What would be right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// How to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Another place that has to do with it.
    #[must_use]
    pub fn related(mut self, span: &Range<usize>, label: impl Into<String>) -> Self {
        self.related = Some((span.clone(), label.into()));
        self
    }

    /// The finding with the lines of `source`, the text that was parsed, in the manner of a compiler. The first line
    /// is `file:line:column: severity[code]: message`, which editors and scripts find. `styled` adds colours.
    pub fn render(&self, source: &str, styled: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut snippet = Snippet::source(source).annotation(
            AnnotationKind::Primary.span(visible(&self.span, source)).label(self.expected.as_deref()),
        );
        if let Some((span, label)) = &self.related {
            snippet =
                snippet.annotation(AnnotationKind::Context.span(visible(span, source)).label(label.as_str()));
        }
        let mut group = Group::with_level(level).element(snippet);
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        format!("{}\n{}", self.headline(), renderer.render(&[group]))
    }

    /// Place, code and message in one line.
    fn headline(&self) -> String {
        let Self { code, severity, message, file, line, column, .. } = self;
        format!("{file}:{line}:{column}: {severity}[{code}]: {message}")
    }
}

/// A span that is within `source`, on boundaries of characters; the source may be another one than was parsed.
fn visible(span: &Range<usize>, source: &str) -> Range<usize> {
    let clamp = |at: usize| source.floor_char_boundary(at.min(source.len()));
    clamp(span.start)..clamp(span.end.max(span.start))
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(expected) = &self.expected {
            write!(f, "\n  expected: {expected}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Collects the findings of one file.
pub(super) struct Findings<'a> {
    file: &'a str,
    source: &'a str,
    line_starts: Vec<usize>,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'a> Findings<'a> {
    /// Nothing found yet in `source`.
    pub fn new(file: &'a str, source: &'a str) -> Self {
        let line_starts =
            std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, source, line_starts, found: RefCell::default() }
    }

    /// A finding at `span`, not yet added.
    pub fn at(
        &self,
        span: &Range<usize>,
        severity: Severity,
        code: Code,
        message: impl Into<String>,
    ) -> Diagnostic {
        let start = self.source.floor_char_boundary(span.start);
        let line = self.line_starts.partition_point(|&begin| begin <= start);
        let column = self.source[self.line_starts[line - 1]..start].chars().count() + 1;
        Diagnostic {
            code,
            severity,
            message: message.into(),
            file: self.file.to_owned(),
            line,
            column,
            span: span.clone(),
            expected: None,
            help: None,
            note: None,
            related: None,
        }
    }

    /// An error at `span`, not yet added.
    pub fn error(&self, span: &Range<usize>, code: Code, message: impl Into<String>) -> Diagnostic {
        self.at(span, Severity::Error, code, message)
    }

    /// A warning at `span`, not yet added.
    pub fn warning(&self, span: &Range<usize>, code: Code, message: impl Into<String>) -> Diagnostic {
        self.at(span, Severity::Warning, code, message)
    }

    /// Adds a finding; beyond [`MAX_FINDINGS`] only that there are more.
    pub fn add(&self, diagnostic: Diagnostic) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_FINDINGS {
            found.push(diagnostic);
        } else if found.len() == MAX_FINDINGS {
            // an error even if only warnings came before: what follows is unknown
            let more = Diagnostic { expected: None, related: None, ..diagnostic };
            found.push(Diagnostic {
                code: Code::TooMany,
                severity: Severity::Error,
                message: format!("more than {MAX_FINDINGS} findings, and the rest is not shown"),
                help: Some("mend the first ones and run again".to_owned()),
                ..more
            });
        }
    }

    /// All findings, in order of their places.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|d| (d.code == Code::TooMany, d.span.start));
        found
    }
}
