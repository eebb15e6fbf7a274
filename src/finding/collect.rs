//! Collecting findings, so many and no more.

use super::{Code, Finding, Severity};
use std::cell::RefCell;

/// More errors than this are not collected, nor more warnings: a broken file says enough with the first ones.
const MAX: usize = 100;

/// Collects findings. What is beyond the first hundred errors, or warnings, is answered with one more that says so.
#[derive(Debug)]
pub struct Findings {
    /// The code of that one.
    too_many: Code,
    found: RefCell<Vec<Finding>>,
}

impl Findings {
    /// Nothing found yet; `too_many` is the code for what is not collected.
    pub fn new(too_many: Code) -> Self {
        Self { too_many, found: RefCell::default() }
    }

    /// Adds a finding.
    pub fn add(&self, finding: Finding) {
        let mut found = self.found.borrow_mut();
        let severity = finding.severity;
        match found.iter().filter(|other| other.severity == severity).count() {
            MAX => found.push(Finding {
                code: self.too_many,
                message: format!("more than {MAX} {severity}s, and the rest is not shown"),
                help: Some("mend the first ones and run again".to_owned()),
                ..Finding { expected: None, note: None, related: None, ..finding }
            }),
            many if many > MAX => {}
            _ => found.push(finding),
        }
    }

    /// Whether no further finding of this severity is collected.
    pub fn is_full(&self, severity: Severity) -> bool {
        self.count(severity) > MAX
    }

    /// How many findings of this severity are collected.
    pub fn count(&self, severity: Severity) -> usize {
        self.found.borrow().iter().filter(|other| other.severity == severity).count()
    }

    /// All findings: file by file in the order in which they came, in each in the order of their places.
    pub fn into_vec(self) -> Vec<Finding> {
        let found = self.found.into_inner();
        let mut files = Vec::new();
        for finding in &found {
            if !files.contains(&finding.source.file) {
                files.push(finding.source.file.clone());
            }
        }
        let mut found = found;
        found.sort_by_key(|finding| {
            let file = files.iter().position(|file| *file == finding.source.file);
            (finding.code == self.too_many, file, finding.span.as_ref().map(|span| (span.start, span.end)))
        });
        found
    }
}
