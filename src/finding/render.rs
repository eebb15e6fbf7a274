//! Findings with the lines that they are about, in the manner of a compiler.

use super::{Finding, Related, Severity};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;

/// More bytes of a line than these, before and after what is shown, are left out.
const MAX_BESIDE: usize = 400;

/// The lines of a text that a picture shows. A whole file is not laid out for each of its findings.
struct Lines<'t> {
    text: &'t str,
    /// Where they begin in the whole text.
    start: usize,
    /// The number of the first.
    number: usize,
}

impl<'t> Lines<'t> {
    /// The lines that these bytes are in, and all between.
    fn around(text: &'t str, span: &Range<usize>, other: Option<&Range<usize>>) -> Self {
        let spans = || std::iter::once(span).chain(other);
        let first = spans().map(|span| span.start).min().unwrap_or(span.start);
        let last = spans().map(|span| span.end).max().unwrap_or(span.end);
        let line = text[..first].rfind('\n').map_or(0, |end| end + 1);
        let start = text.floor_char_boundary(line.max(first.saturating_sub(MAX_BESIDE)));
        let end = text[last..].find('\n').map_or(text.len(), |length| last + length);
        let end = text.ceil_char_boundary(end.min(last.saturating_add(MAX_BESIDE)));
        Self { text: &text[start..end], start, number: text[..start].matches('\n').count() + 1 }
    }

    fn inside(&self, span: &Range<usize>) -> Range<usize> {
        span.start - self.start..span.end - self.start
    }

    fn snippet<A: Clone>(&self) -> Snippet<'t, A> {
        Snippet::source(self.text).line_start(self.number)
    }
}

impl Finding {
    /// The finding with the lines of its file. The first line is `file:line:column: severity[code]: message`, which
    /// editors and scripts find. `styled` adds colours.
    pub fn render(&self, styled: bool) -> String {
        let mut group = Group::with_level(match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        });
        if let Some(span) = &self.span {
            let here = self.related_here();
            let lines = Lines::around(&self.source.text, span, here.map(|other| &other.span));
            let primary = AnnotationKind::Primary.span(lines.inside(span)).label(self.expected.as_deref());
            let mut snippet = lines.snippet().annotation(primary);
            if let Some(Related { span, label, .. }) = here {
                snippet = snippet.annotation(AnnotationKind::Context.span(lines.inside(span)).label(label));
            }
            group = group.element(snippet);
        }
        if let Some(Related { source, span, label }) = self.related_elsewhere() {
            let lines = Lines::around(&source.text, span, None);
            let context = AnnotationKind::Context.span(lines.inside(span)).label(label);
            group = group.element(lines.snippet().path(&*source.file).annotation(context));
        }
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        if group.is_empty() {
            return self.headline();
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        format!("{}\n{}", self.headline(), renderer.render(&[group]))
    }

    /// Place, code and message in one line.
    pub(super) fn headline(&self) -> String {
        let Self { code, severity, message, source, .. } = self;
        let place = self.place().map(|place| format!(":{place}")).unwrap_or_default();
        format!("{}{place}: {severity}[{code}]: {message}", source.file)
    }

    /// The other place, if both can be in one picture.
    fn related_here(&self) -> Option<&Related> {
        self.related.as_ref().filter(|other| self.span.is_some() && other.source == self.source)
    }

    fn related_elsewhere(&self) -> Option<&Related> {
        self.related.as_ref().filter(|_| self.related_here().is_none())
    }
}
