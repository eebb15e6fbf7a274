//! Template text → tree of tags.

use super::{MAX_NESTING, Place, TemplateError};
use std::ops::Range;

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    pub(super) source: String,
    pub(super) nodes: Vec<Node>,
}

/// A part of a template. Ranges are bytes of the template's source.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Text that is printed as it is.
    Text(Range<usize>),
    /// `{{name}}`, or without escaping `{{{name}}}` and `{{&name}}`.
    Variable { name: Range<usize>, escaped: bool, at: usize },
    /// `{{#name}}…{{/name}}` or, inverted, `{{^name}}…{{/name}}`.
    Section { name: Range<usize>, inverted: bool, at: usize, inner: Range<usize>, body: Vec<Node> },
}

impl Template {
    /// Parses a template by the Mustache specification; partials, parents and blocks are refused.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser =
            Parser { text, position: 0, open: "{{", close: "}}", nodes: Vec::new(), sections: Vec::new() };
        while parser.step()? {}
        if let Some(section) = parser.sections.last() {
            let name = &text[section.name.clone()];
            return Err(error(
                text,
                section.at,
                format!("section `{name}` is never closed"),
                format!("add {}/{name}{}", parser.open, parser.close),
            ));
        }
        let nodes = parser.nodes;
        Ok(Self { source: text.to_owned(), nodes })
    }

    /// An error at a byte offset of this template.
    pub(super) fn error(
        &self,
        at: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> TemplateError {
        error(&self.source, at, message, help)
    }
}

fn error(text: &str, at: usize, message: impl Into<String>, help: impl Into<String>) -> TemplateError {
    let Place { line, column } = Place::of(text, at);
    TemplateError { line, column, message: message.into(), help: help.into() }
}

/// A section whose closing tag has not been seen yet.
struct OpenSection {
    name: Range<usize>,
    inverted: bool,
    at: usize,
    inner_start: usize,
    /// The nodes around the section.
    outer: Vec<Node>,
}

struct Parser<'t> {
    text: &'t str,
    /// Everything before it has become nodes.
    position: usize,
    open: &'t str,
    close: &'t str,
    /// Nodes of the innermost open section.
    nodes: Vec<Node>,
    sections: Vec<OpenSection>,
}

impl<'t> Parser<'t> {
    /// Parses up to and including the next tag; false at the end of the text.
    fn step(&mut self) -> Result<bool, TemplateError> {
        let Some(found) = self.text[self.position..].find(self.open) else {
            self.push_text(self.text.len());
            return Ok(false);
        };
        let at = self.position + found;
        let start = at + self.open.len();
        let sigil = self.text[start..].chars().next();
        let (content_start, terminator) = match sigil {
            Some('{') => (start + 1, format!("}}{}", self.close)),
            Some('=') => (start + 1, format!("={}", self.close)),
            Some('#' | '^' | '/' | '!' | '&' | '>' | '<' | '$') => (start + 1, self.close.to_owned()),
            _ => (start, self.close.to_owned()),
        };
        let Some(length) = self.text[content_start..].find(&terminator) else {
            return Err(self.error(
                at,
                format!("this tag is not closed: `{terminator}` is missing"),
                format!("write {terminator} after the tag, or {{{{=<% %>=}}}} if {} is text", self.open),
            ));
        };
        let content = content_start..content_start + length;
        let end = content.end + terminator.len();

        match sigil {
            Some('!') => self.skip_tag(at, end),
            Some('=') => {
                self.skip_tag(at, end);
                self.set_delimiters(at, &self.text[content])?;
            }
            Some('#' | '^') => {
                let name = self.name(at, content)?;
                self.skip_tag(at, end);
                self.open_section(name, sigil == Some('^'), at, end)?;
            }
            Some('/') => {
                let name = self.name(at, content)?;
                self.skip_tag(at, end);
                self.close_section(&name, at)?;
            }
            Some('>' | '<' | '$') => {
                return Err(self.error(
                    at,
                    "partials, parents and blocks are not part of DC/OS templates",
                    "write the text of the partial in its place",
                ));
            }
            _ => {
                let name = self.name(at, content)?;
                self.push_text(at);
                self.position = end;
                let escaped = !matches!(sigil, Some('{' | '&'));
                self.nodes.push(Node::Variable { name, escaped, at });
            }
        }
        Ok(true)
    }

    fn push_text(&mut self, end: usize) {
        if self.position < end {
            self.nodes.push(Node::Text(self.position..end));
            self.position = end;
        }
    }

    /// Goes past a tag that prints nothing; if it stands alone on its line, the whole line goes.
    fn skip_tag(&mut self, at: usize, end: usize) {
        let blank = |c: char| c == ' ' || c == '\t';
        let before = self.text[..at].trim_end_matches(blank);
        let after = self.text[end..].trim_start_matches(blank);
        let begins_line = before.is_empty() || before.ends_with('\n');
        let rest = after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n'));
        let rest = rest.or_else(|| after.is_empty().then_some(""));
        match rest {
            Some(rest) if begins_line => {
                self.push_text(before.len());
                self.position = self.text.len() - rest.len();
            }
            _ => {
                self.push_text(at);
                self.position = end;
            }
        }
    }

    fn set_delimiters(&mut self, at: usize, content: &'t str) -> Result<(), TemplateError> {
        let mut words = content.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(open), Some(close), None) if !open.contains('=') && !close.contains('=') => {
                self.open = open;
                self.close = close;
                Ok(())
            }
            _ => Err(self.error(
                at,
                "new delimiters must be two words without `=`",
                "for instance {{=<% %>=}}; the tag before changes them for all that follows",
            )),
        }
    }

    fn open_section(
        &mut self,
        name: Range<usize>,
        inverted: bool,
        at: usize,
        inner_start: usize,
    ) -> Result<(), TemplateError> {
        if self.sections.len() == MAX_NESTING {
            return Err(self.error(
                at,
                format!("sections are nested deeper than {MAX_NESTING} levels"),
                "split the template or close sections earlier",
            ));
        }
        let outer = std::mem::take(&mut self.nodes);
        self.sections.push(OpenSection { name, inverted, at, inner_start, outer });
        Ok(())
    }

    fn close_section(&mut self, name: &Range<usize>, at: usize) -> Result<(), TemplateError> {
        let closed = &self.text[name.clone()];
        let Some(OpenSection { name, inverted, at: opened_at, inner_start, outer }) = self.sections.pop()
        else {
            return Err(self.error(
                at,
                format!("`{closed}` is closed here but was never opened"),
                format!("remove this tag, or open the section with {}#{closed}{}", self.open, self.close),
            ));
        };
        let opened = &self.text[name.clone()];
        if opened != closed {
            let place = Place::of(self.text, opened_at);
            return Err(self.error(
                at,
                format!("`{closed}` is closed here, but the open section is `{opened}` ({place})"),
                format!("close it with {}/{opened}{} first", self.open, self.close),
            ));
        }
        let body = std::mem::replace(&mut self.nodes, outer);
        self.nodes.push(Node::Section { name, inverted, at: opened_at, inner: inner_start..at, body });
        Ok(())
    }

    /// The name inside a tag, without the blanks around it.
    fn name(&self, at: usize, content: Range<usize>) -> Result<Range<usize>, TemplateError> {
        let raw = &self.text[content.clone()];
        let name = raw.trim();
        if name.is_empty() {
            return Err(self.error(at, "this tag has no name", "write a name between the delimiters"));
        }
        if name.contains('\n') || name.contains(self.open) {
            let close = self.close;
            return Err(self.error(
                at,
                format!("this tag is not closed: `{close}` does not follow its name"),
                format!("write {close} after the name"),
            ));
        }
        let start = content.start + (raw.len() - raw.trim_start().len());
        Ok(start..start + name.len())
    }

    fn error(&self, at: usize, message: impl Into<String>, help: impl Into<String>) -> TemplateError {
        error(self.text, at, message, help)
    }
}
