//! What is wrong with one service file, or another YAML file. Used by the readers of those.

use crate::finding::{self, Code, Finding, Severity, Source};
use std::ops::Range;

/// Collects the findings of one file.
pub(crate) struct Findings<'a> {
    /// The file.
    pub source: &'a Source,
    found: finding::Findings,
}

impl<'a> Findings<'a> {
    /// Nothing found yet in `source`.
    pub fn new(source: &'a Source) -> Self {
        Self { source, found: finding::Findings::new(Code::TooMany) }
    }

    /// A finding at `span`, not yet added.
    pub fn at(&self, span: &Range<usize>, code: Code, message: impl Into<String>) -> Finding {
        self.source.finding(code, span, message)
    }

    /// The one of `names` that is nearest to `wanted`, if any is near; not looked for when nobody would see it.
    pub fn nearest<'n>(&self, wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        if self.found.is_full(Severity::Error) { None } else { finding::nearest(wanted, names) }
    }

    /// Whether there is no error so far.
    pub fn no_errors(&self) -> bool {
        self.found.count(Severity::Error) == 0
    }

    /// Adds a finding.
    pub fn add(&self, finding: Finding) {
        self.found.add(finding);
    }

    /// All findings, in the order of their places.
    pub fn into_vec(self) -> Vec<Finding> {
        self.found.into_vec()
    }
}
