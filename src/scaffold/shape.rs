//! The structure of a text that is JSON and a Mustache template at the same time: its objects, lists and strings, with
//! their places, and the sections around them.
//!
//! Such a text is JSON only after it is rendered, with other members for other options, so no JSON parser can read it.
//! This reads it as it stands, keeps every byte's place, and goes past lines that are no JSON, for they may stand in a
//! section that nobody has ever switched on. Plain JSON is the simplest case. Used only by the rest of `scaffold`.

use crate::template::Place;
use std::ops::Range;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its bytes.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `{…}`
    Object(Vec<Part>),
    /// `[…]`
    List(Vec<Part>),
    /// `"…"`, which may hold tags.
    Text,
    /// A number, a word, a tag, or several of them with sections.
    Other,
}

/// A part of an object or a list, in the order of the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A member or an item.
    Entry(Entry),
    /// `,`
    Comma(Range<usize>),
    /// `{{#name}}` or `{{^name}}`
    Open(Range<usize>),
    /// `{{/name}}`
    Close(Range<usize>),
    /// A line that is not JSON.
    Junk(Range<usize>),
}

/// A member of an object, or an item of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name of a member; nothing for items.
    pub name: String,
    /// The whole: for members from the name's quote to the end of the value.
    pub span: Range<usize>,
    /// The value.
    pub value: Node,
    /// It is not in a section of this object or list.
    pub always: bool,
}

/// A tag of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag<'t> {
    /// `#`, `^`, `/`, `!`, or a blank for tags that print a value.
    pub sigil: char,
    /// What it names.
    pub name: &'t str,
    /// Its bytes.
    pub span: Range<usize>,
}

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShapeError {
    /// Byte offset.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

/// How deep values may lie in each other.
const MAX_DEPTH: usize = 100;
/// Bytes of a tag's name and of a comment: what is longer is taken for text, so that a text full of open tags is not
/// looked through again for each of them.
const MAX_NAME: usize = 1000;
const MAX_COMMENT: usize = 10_000;

/// Reads a text whose value is an object.
pub fn parse(text: &str) -> Result<Node, ShapeError> {
    if let Some(at) = text.find("{{=") {
        return Err(error(at, "tags with other delimiters than {{ and }} are not understood here"));
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.blanks()?;
    if reader.peek() != Some(b'{') || reader.text[reader.at..].starts_with("{{") {
        return Err(error(reader.at, "expected the `{` of an object"));
    }
    reader.node()
}

/// All tags of a template in order; what is not closed is no tag.
pub fn tags(text: &str) -> Vec<Tag<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("{{").map(|offset| at + offset) {
        match tag_at(text, start) {
            Some(tag) => {
                at = tag.span.end;
                found.push(tag);
            }
            None => at = start + 2,
        }
    }
    found
}

/// The tag that begins here.
fn tag_at(text: &str, start: usize) -> Option<Tag<'_>> {
    let rest = text.get(start..)?.strip_prefix("{{")?;
    let (sigil, close, skip) = match rest.chars().next()? {
        '{' => (' ', "}}}", 1),
        '&' => (' ', "}}", 1),
        sigil @ ('#' | '^' | '/' | '!') => (sigil, "}}", 1),
        _ => (' ', "}}", 0),
    };
    let content = &rest[skip..];
    let most = if sigil == '!' { MAX_COMMENT } else { MAX_NAME };
    let length = content[..content.floor_char_boundary(most)].find(close)?;
    let name = content[..length].trim();
    // without an end on its line it is text
    if sigil != '!' && (name.is_empty() || name.contains(['\n', '{', '"'])) {
        return None;
    }
    let end = start + 2 + skip + length + close.len();
    Some(Tag { sigil, name, span: start..end })
}

fn error(at: usize, message: impl Into<String>) -> ShapeError {
    ShapeError { at, message: message.into() }
}

impl Node {
    /// The parts of an object or a list; none of other values.
    pub fn parts(&self) -> &[Part] {
        match &self.kind {
            Kind::Object(parts) | Kind::List(parts) => parts,
            Kind::Text | Kind::Other => &[],
        }
    }

    /// The members or items, in sections or not.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.parts().iter().filter_map(|part| match part {
            Part::Entry(entry) => Some(entry),
            _ => None,
        })
    }

    /// The members with this name, which may be several in different sections.
    pub fn members<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n Entry> {
        let is_object = matches!(self.kind, Kind::Object(_));
        self.entries().filter(move |entry| is_object && entry.name == name)
    }

    /// The value at a path of names; the first where there are several.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| {
            let is_object = matches!(node.kind, Kind::Object(_));
            node.entries().find(|entry| is_object && entry.name == *name).map(|entry| &entry.value)
        })
    }

    /// What stands between the quotes of a text, as it is written.
    pub fn written<'t>(&self, text: &'t str) -> Option<&'t str> {
        (self.kind == Kind::Text).then(|| &text[self.span.start + 1..self.span.end - 1])
    }

    /// Lines that are no JSON, here or deeper.
    pub fn junk(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for part in self.parts() {
            match part {
                Part::Junk(span) => found.push(span.clone()),
                Part::Entry(entry) => found.extend(entry.value.junk()),
                _ => {}
            }
        }
        found
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn tag(&self) -> Option<Tag<'t>> {
        tag_at(self.text, self.at)
    }

    /// Goes past blanks and comments.
    fn blanks(&mut self) -> Result<(), ShapeError> {
        loop {
            while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
                self.at += 1;
            }
            match self.tag() {
                Some(tag) if tag.sigil == '!' => self.at = tag.span.end,
                None if self.text.get(self.at..).is_some_and(|rest| rest.starts_with("{{")) => {
                    return Err(error(self.at, "this tag is not closed, or has no name"));
                }
                _ => return Ok(()),
            }
        }
    }

    /// Reads a value; blanks before it are behind us.
    fn node(&mut self) -> Result<Node, ShapeError> {
        let start = self.at;
        let is_tag = self.tag().is_some();
        let kind = match self.peek() {
            Some(open @ (b'{' | b'[')) if !is_tag => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(error(
                        start,
                        format!("values lie in each other deeper than {MAX_DEPTH} times"),
                    ));
                }
                self.at += 1;
                let parts = self.parts(start, open == b'{')?;
                self.depth -= 1;
                if open == b'{' { Kind::Object(parts) } else { Kind::List(parts) }
            }
            Some(b'"') => {
                self.string()?;
                Kind::Text
            }
            _ => {
                self.run()?;
                Kind::Other
            }
        };
        Ok(Node { span: start..self.at, kind })
    }

    /// Reads what is in an object or a list, up to and including its end.
    fn parts(&mut self, start: usize, named: bool) -> Result<Vec<Part>, ShapeError> {
        let end = if named { b'}' } else { b']' };
        let mut parts = Vec::new();
        let mut sections = 0_usize;
        loop {
            self.blanks()?;
            let at = self.at;
            if let Some(tag) = self.tag().filter(|tag| "#^/".contains(tag.sigil)) {
                self.at = tag.span.end;
                if tag.sigil == '/' {
                    sections = sections.checked_sub(1).ok_or_else(|| {
                        error(
                            at,
                            format!(
                                "the section `{}` begins outside of the braces that it ends in",
                                tag.name
                            ),
                        )
                    })?;
                    parts.push(Part::Close(tag.span));
                } else {
                    sections += 1;
                    parts.push(Part::Open(tag.span));
                }
                continue;
            }
            match self.peek() {
                None => return Err(error(start, "this is never closed")),
                Some(byte) if byte == end => {
                    if sections > 0 {
                        return Err(error(
                            at,
                            "a section that begins inside of these braces ends outside of them",
                        ));
                    }
                    self.at += 1;
                    return Ok(parts);
                }
                Some(b',') => {
                    self.at += 1;
                    parts.push(Part::Comma(at..self.at));
                }
                Some(_) => parts.push(self.entry(named, sections == 0)?),
            }
        }
    }

    /// Reads a member or an item, or goes past the rest of the line.
    fn entry(&mut self, named: bool, always: bool) -> Result<Part, ShapeError> {
        let start = self.at;
        let depth = self.depth;
        match self.try_entry(named, always) {
            Ok(entry) => Ok(Part::Entry(entry)),
            // what is wrong in a section may never be rendered
            Err(_) if !always => {
                (self.at, self.depth) = (start, depth);
                self.rest_of_line();
                Ok(Part::Junk(start..self.at))
            }
            Err(error) => Err(error),
        }
    }

    fn try_entry(&mut self, named: bool, always: bool) -> Result<Entry, ShapeError> {
        let start = self.at;
        let mut name = String::new();
        if named {
            if self.peek() != Some(b'"') {
                return Err(error(start, "expected the name of a member, in quotes"));
            }
            self.string()?;
            let quoted = &self.text[start..self.at];
            name = serde_json::from_str(quoted).unwrap_or_else(|_| quoted[1..quoted.len() - 1].to_owned());
            self.blanks()?;
            if self.peek() != Some(b':') {
                return Err(error(self.at, format!("expected `:` after \"{name}\"")));
            }
            self.at += 1;
            self.blanks()?;
        }
        let value = self.node()?;
        self.blanks()?;
        let follows = self.peek().is_none_or(|byte| b",}]".contains(&byte));
        if !follows && !self.tag().is_some_and(|tag| "#^/".contains(tag.sigil)) {
            return Err(error(self.at, "expected `,` or the end of what this is in"));
        }
        Ok(Entry { name, span: start..value.span.end, value, always })
    }

    /// Goes to the end of the line, or to the next tag of a section.
    fn rest_of_line(&mut self) {
        while let Some(byte) = self.peek() {
            match self.tag() {
                Some(tag) if "#^/".contains(tag.sigil) => break,
                Some(tag) => self.at = tag.span.end,
                None if byte == b'\n' => break,
                None => self.at += 1,
            }
        }
    }

    /// Goes past a string. It ends on its line, as JSON has it.
    fn string(&mut self) -> Result<(), ShapeError> {
        let start = self.at;
        self.at += 1;
        loop {
            if let Some(tag) = self.tag() {
                self.at = tag.span.end;
                continue;
            }
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                None | Some(b'\n') => return Err(error(start, "this text is not closed on its line")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Goes past a value that is neither object, list nor text alone.
    fn run(&mut self) -> Result<(), ShapeError> {
        let start = self.at;
        let mut end = start;
        let (mut depth, mut sections) = (0_usize, 0_usize);
        loop {
            if let Some(tag) = self.tag() {
                match tag.sigil {
                    '/' if sections == 0 => break,
                    '/' => sections -= 1,
                    '#' | '^' if end > start && sections == 0 && depth == 0 && self.separates(&tag) => break,
                    '#' | '^' => sections += 1,
                    _ => {}
                }
                self.at = tag.span.end;
                end = self.at;
                continue;
            }
            match self.peek() {
                None => break,
                Some(b',') if depth == 0 && sections == 0 => break,
                Some(b'}' | b']') if depth == 0 => break,
                Some(b'"') => {
                    self.string()?;
                    end = self.at;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(_) => {}
            }
            if !self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
                end = self.at + 1;
            }
            self.at += 1;
        }
        self.at = end;
        if end == start { Err(error(start, "expected a value")) } else { Ok(()) }
    }

    /// Whether a section that follows a value holds what comes after the value, and not a part of it.
    fn separates(&self, tag: &Tag) -> bool {
        self.text[tag.span.end..].trim_start().starts_with([',', '"'])
    }
}

/// Line of a byte, from 1.
pub fn line(text: &str, at: usize) -> usize {
    Place::of(text, at.min(text.len())).line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The structure in short: sections as `<…>`, names and values as they are written.
    fn outline(text: &str) -> String {
        fn walk(node: &Node, text: &str, out: &mut String) {
            let (open, close) = match node.kind {
                Kind::Object(_) => ("{", "}"),
                Kind::List(_) => ("[", "]"),
                Kind::Text | Kind::Other => return out.push_str(&text[node.span.clone()]),
            };
            out.push_str(open);
            for part in node.parts() {
                match part {
                    Part::Entry(entry) => {
                        if !entry.name.is_empty() {
                            out.extend([entry.name.as_str(), if entry.always { "" } else { "?" }, ":"]);
                        }
                        walk(&entry.value, text, out);
                    }
                    Part::Comma(_) => out.push(','),
                    Part::Open(_) => out.push('<'),
                    Part::Close(_) => out.push('>'),
                    Part::Junk(_) => out.push('!'),
                }
            }
            out.push_str(close);
        }
        match parse(text) {
            Ok(node) => {
                let mut out = String::new();
                walk(&node, text, &mut out);
                out
            }
            Err(error) => format!("{}: {error}", error.at),
        }
    }

    #[test]
    fn templates_of_json_are_read_with_their_sections() {
        let cases = [
            (r#"{"a": 1, "b": [true, "x\"y"], "c": {}}"#, r#"{a:1,b:[true,"x\"y"],c:{}}"#),
            ("\n {{! c }} { {{! \"x\": { }} \"a\": {{b}} }", "{a:{{b}}}"),
            (r#"{"a": 1, {{#s}} "b": 2, {{/s}} "c": 3}"#, "{a:1,<b?:2,>c:3}"),
            (r#"{"a": 1{{#s}}, "b": 2{{/s}}}"#, "{a:1<,b?:2>}"),
            (r#"{"a": {{#s}}1{{/s}}{{^s}}[2, 3]{{/s}}, "c": 3}"#, "{a:{{#s}}1{{/s}}{{^s}}[2, 3]{{/s}},c:3}"),
            (r#"{"a": 1{{#s}}0{{/s}}, "c": 3}"#, "{a:1{{#s}}0{{/s}},c:3}"),
            (r#"{"a": "x {{#s}}y{{/s}} {{{z}}}"}"#, r#"{a:"x {{#s}}y{{/s}} {{{z}}}"}"#),
            (r#"{"a": [{{#s}}{"u": 1},{{/s}} {"u": 2}]}"#, "{a:[<{u:1},>{u:2}]}"),
            (r#"{"a": {{{l}}}, "b": {"c": {{d}}}}"#, "{a:{{{l}}},b:{c:{{d}}}}"),
            ("{{{#s}}\"a\": 1{{/s}}}", "0: this tag is not closed, or has no name"),
            ("{\"a\": 1,\n{{#s}}\n\"B: \"{{x}}\",\n{{/s}}\n\"c\": 2}", "{a:1,<!>c:2}"),
            ("{\"B: \"{{x}}\"}", "6: expected `:` after \"B: \""),
            (
                r#"{"a": { {{#s}} "b": 1 }, {{/s}} "c": 2}"#,
                "22: a section that begins inside of these braces ends outside of them",
            ),
            (
                r#"{"a": {{=<% %>=}} 1}"#,
                "6: tags with other delimiters than {{ and }} are not understood here",
            ),
            (r#"{"a": 1"#, "0: this is never closed"),
            (r#"{"a": , "b": 1}"#, "6: expected a value"),
            ("[1]", "0: expected the `{` of an object"),
        ];
        for (text, expected) in cases {
            assert_eq!(outline(text), expected, "{text}");
        }
    }

    #[test]
    fn tags_are_found_with_their_names() {
        let found: Vec<_> = tags("a {{b.c}} {{{ d }}} {{#e}}{{/e}}{{^f}} {{! g }} {{ {{h}} {{&i}} }}")
            .into_iter()
            .map(|t| (t.sigil, t.name))
            .collect();
        assert_eq!(
            found,
            [
                (' ', "b.c"),
                (' ', "d"),
                ('#', "e"),
                ('/', "e"),
                ('^', "f"),
                ('!', "g"),
                (' ', "h"),
                (' ', "i")
            ]
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(\\{\\{|\\}\\}|[{}\\[\\]\",:#^/!= \n\\\\aé]){0,40}") {
            let _ = parse(&text);
            let _ = parse(&format!("{{{text}}}"));
            let _ = tags(&text);
        }
    }
}
