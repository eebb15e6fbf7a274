//! A file that a finding is about.

use super::{Code, Finding};
use crate::template::Origins;
use std::ops::Range;
use std::sync::Arc;

/// A text file. Copies share the text.
///
/// The text may have been made of what the author wrote: a template that was rendered, or parameters that were replaced.
/// Findings are then placed in what the author wrote, for that is what can be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name for messages: the path that the user gave.
    pub file: Arc<str>,
    /// Its content.
    pub text: Arc<str>,
    /// What the author wrote, if it is another text.
    written: Option<Arc<Written>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Written {
    text: Arc<str>,
    origins: Origins,
}

impl Source {
    /// A file as its author wrote it.
    pub fn new(file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), text: text.into(), written: None }
    }

    /// The text that was made of this one.
    #[must_use]
    pub fn made_into(&self, text: impl Into<Arc<str>>, origins: Origins) -> Self {
        let text = text.into();
        let written = match &self.written {
            None => Written { text: Arc::clone(&self.text), origins },
            Some(before) => Written {
                text: Arc::clone(&before.text),
                origins: origins.through(&before.origins, text.len()),
            },
        };
        Self { file: Arc::clone(&self.file), text, written: Some(Arc::new(written)) }
    }

    /// The file as its author wrote it.
    #[must_use]
    pub fn as_written(&self) -> Self {
        match &self.written {
            Some(written) => Self::new(Arc::clone(&self.file), Arc::clone(&written.text)),
            None => self.clone(),
        }
    }

    /// Where these bytes are in the file as its author wrote it: on boundaries of characters, within the text.
    pub fn span_as_written(&self, span: &Range<usize>) -> Range<usize> {
        if let Some(written) = &self.written {
            return written.origins.span(&written.text, span);
        }
        let clamp = |at: usize| self.text.floor_char_boundary(at);
        clamp(span.start)..clamp(span.end.max(span.start))
    }

    /// A finding about these bytes of the text.
    pub fn finding(&self, code: Code, span: &Range<usize>, message: impl Into<String>) -> Finding {
        let mut finding = Finding::new(code, self, message);
        let written = self.span_as_written(span);
        if self.written.is_some() {
            // only what it is about: the rest of the line may hold a secret
            let made = self.text.get(span.clone()).unwrap_or_default();
            if !made.is_empty() && !made.contains('\n') && made != &finding.source.text[written.clone()] {
                finding.note = Some(format!("here this is `{}`", brief(made)));
            }
        }
        finding.span = Some(written);
        finding
    }
}

/// At most 160 characters.
fn brief(text: &str) -> String {
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
