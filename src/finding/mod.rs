//! What is wrong with a file that a person wrote: where, why, and how to mend it.
//!
//! Every rule about service files (`spec`) and packages (`package`) answers with a [`Finding`], and all of them are shown
//! by the one renderer here. What the rules are is not decided here. Used by every room that reads what people wrote, and
//! by `cli`, which prints findings.

mod code;
mod collect;
mod data;
mod explain;
mod nearest;
mod render;
mod source;
#[cfg(test)]
mod tests;

pub use code::{Code, Severity};
pub use collect::Findings;
pub use data::{json, sarif};
pub use explain::{Example, Page, page};
pub use nearest::nearest;
pub use source::Source;

use crate::template::Place;
use std::fmt;
use std::ops::Range;

/// One thing that is wrong. `Display` is one or a few plain lines that begin with `file:line:column`;
/// [`Finding::render`] shows the lines of the file as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of finding.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The file, as its author wrote it.
    pub source: Source,
    /// Bytes of the file; none when the file itself is meant, or a command line.
    pub span: Option<Range<usize>>,
    /// What would be right there.
    pub expected: Option<String>,
    /// How to mend it.
    pub help: Option<String>,
    /// What else helps to understand it.
    pub note: Option<String>,
    /// Another place that has to do with it.
    pub related: Option<Related>,
}

/// Another place that has to do with a finding, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The file, as its author wrote it.
    pub source: Source,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// What is there.
    pub label: String,
}

impl Finding {
    /// A finding about a file as a whole, or about something that is no file, such as an argument.
    pub fn new(code: Code, source: &Source, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            source: source.as_written(),
            span: None,
            expected: None,
            help: None,
            note: None,
            related: None,
        }
    }

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

    /// What else helps to understand it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Another place that has to do with it: bytes of `source`'s text.
    #[must_use]
    pub fn related(mut self, source: &Source, span: &Range<usize>, label: impl Into<String>) -> Self {
        let span = source.span_as_written(span);
        self.related = Some(Related { source: source.as_written(), span, label: label.into() });
        self
    }

    /// The same with another severity than its code's.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Where it begins in the file.
    pub fn place(&self) -> Option<Place> {
        Some(Place::of(&self.source.text, self.span.as_ref()?.start))
    }
}

/// How many errors and warnings there are, in words.
pub fn counted(findings: &[Finding]) -> String {
    let words = |severity: Severity| {
        let n = findings.iter().filter(|finding| finding.severity == severity).count();
        (n > 0).then(|| format!("{n} {severity}{}", if n == 1 { "" } else { "s" }))
    };
    let counts: Vec<_> = [Severity::Error, Severity::Warning].into_iter().filter_map(words).collect();
    if counts.is_empty() { "no findings".to_owned() } else { counts.join(", ") }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(expected) = &self.expected {
            write!(f, "\n  expected: {expected}")?;
        }
        for (word, text) in [("note", &self.note), ("help", &self.help)] {
            if let Some(text) = text {
                write!(f, "\n  {word}: {text}")?;
            }
        }
        if let Some(Related { source, span, label }) = &self.related {
            write!(f, "\n  {}:{}: {label}", source.file, Place::of(&source.text, span.start))?;
        }
        Ok(())
    }
}

/// Findings that end what was to be done; there is at least one. `Display` is all of them, without lines of files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Report(pub Vec<Finding>);

impl From<Finding> for Report {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

impl Report {
    /// All findings with the lines that they are about; `styled` adds colours for a terminal.
    pub fn render(&self, styled: bool) -> String {
        self.0.iter().map(|finding| finding.render(styled)).collect::<Vec<_>>().join("\n\n")
    }

    /// How many of them are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|finding| finding.severity == severity).count()
    }
}
