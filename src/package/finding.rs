//! Where in a package's files something is wrong.

use crate::template::Place;
use serde_json::Value;
use std::fmt;

/// One of a package's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name for messages: the path that the user gave.
    pub file: String,
    /// Its content.
    pub text: String,
}

impl Source {
    /// Parses the file as JSON.
    pub fn json(&self) -> Result<Value, Finding> {
        serde_json::from_str(&self.text).map_err(|error| {
            // serde_json counts lines from 1 and columns in bytes from 1, or 0 at the very beginning
            let line_start: usize =
                self.text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            let mut message = error.to_string();
            if let Some(end) = message.rfind(" at line ") {
                message.truncate(end);
            }
            self.at(line_start + error.column().saturating_sub(1), format!("this is not JSON: {message}"))
        })
    }

    /// A finding at a byte offset.
    pub fn at(&self, offset: usize, message: impl Into<String>) -> Finding {
        Finding {
            file: self.file.clone(),
            place: Some(Place::of(&self.text, offset)),
            message: message.into(),
            help: None,
        }
    }

    /// A finding at the value that a JSON pointer names, or, where there is none, at the nearest value around it.
    pub fn at_pointer(&self, pointer: &str, message: impl Into<String>) -> Finding {
        let mut pointer = pointer;
        loop {
            if let Some(offset) = locate(&self.text, pointer) {
                return self.at(offset, message);
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return self.at(0, message),
            }
        }
    }
}

/// Something that is wrong with a package, its options or its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as its reader named it.
    pub file: String,
    /// Where in the file; none when the file itself is meant, or a command line.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Finding {
    /// The finding with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = self.place {
            write!(f, ":{place}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The byte offset of the value that a JSON pointer names, in a text that is JSON. For a member of an object it is the
/// offset of its key; of keys that are there twice the last counts, as it does for parsers.
pub fn locate(text: &str, pointer: &str) -> Option<usize> {
    let tokens: Vec<String> =
        pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    let mut scanner = Scanner { bytes: text.as_bytes(), position: 0 };
    scanner.blanks();
    let mut found = scanner.position;
    for token in &tokens {
        (found, scanner.position) = match scanner.peek()? {
            b'{' => scanner.member(token)?,
            b'[' => scanner.item(token.parse().ok()?)?,
            _ => return None,
        };
    }
    Some(found)
}

/// Goes over JSON without building anything. All methods stop, with `None`, where the text is no JSON.
struct Scanner<'t> {
    bytes: &'t [u8],
    position: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.position += 1;
        }
    }

    /// Goes past `byte` and blanks around it, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        if found {
            self.position += 1;
            self.blanks();
        }
        found
    }

    /// The offsets of a member's key and value in the object that begins here.
    fn member(&mut self, name: &str) -> Option<(usize, usize)> {
        let mut found = None;
        self.take(b'{');
        while self.peek()? != b'}' {
            let key = self.position;
            self.skip()?;
            let text = std::str::from_utf8(&self.bytes[key..self.position]).ok()?;
            let is_it = serde_json::from_str::<String>(text).ok()? == name;
            if !self.take(b':') {
                return None;
            }
            if is_it {
                found = Some((key, self.position));
            }
            self.skip()?;
            self.take(b',');
        }
        found
    }

    /// The offset, twice, of an item in the list that begins here.
    fn item(&mut self, index: usize) -> Option<(usize, usize)> {
        self.take(b'[');
        for _ in 0..index {
            self.skip()?;
            self.take(b',');
        }
        (self.peek()? != b']').then_some((self.position, self.position))
    }

    /// Goes past the value, or key, that begins here.
    fn skip(&mut self) -> Option<()> {
        let start = self.position;
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.position += 1;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.position += 1;
                }
                Some(b'}' | b']' | b',' | b':') | None if depth == 0 => break,
                Some(_) => self.position += 1,
                None => return None,
            }
        }
        (self.position > start).then_some(())
    }

    fn skip_string(&mut self) -> Option<()> {
        self.position += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.position += 2,
                _ => self.position += 1,
            }
        }
        self.position += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pointers_lead_to_keys_and_items() {
        let text = r#" {"a": {"b~/\u0063": [1, {"x": "}"}, 3]}, "d" : null, "e": 1, "e": 2}"#;
        let cases = [
            ("", Some("{\"a\"")),
            ("/a", Some("\"a\": {")),
            ("/a/b~0~1c", Some("\"b~/")),
            ("/a/b~0~1c/0", Some("1, {")),
            ("/a/b~0~1c/1/x", Some("\"x\"")),
            ("/a/b~0~1c/2", Some("3]")),
            ("/a/b~0~1c/3", None),
            ("/d", Some("\"d\"")),
            ("/d/x", None),
            ("/e", Some("\"e\": 2")),
            ("/missing", None),
        ];
        for (pointer, expected) in cases {
            let found = locate(text, pointer).map(|offset| &text[offset..]);
            match (found, expected) {
                (Some(found), Some(expected)) => assert!(found.starts_with(expected), "{pointer}: {found}"),
                _ => assert_eq!(found, expected, "{pointer}"),
            }
        }
    }

    #[test]
    fn a_missing_value_is_placed_at_what_is_around_it() {
        let source = Source { file: "o.json".into(), text: "{\n  \"a\": {\"é\": 1}}".into() };
        assert_eq!(source.at_pointer("/a/é/deep", "m").to_string(), "o.json:2:9: m");
        assert_eq!(source.at_pointer("/b", "m").help("h").to_string(), "o.json:1:1: m\n  help: h");
    }

    #[test]
    fn text_that_is_not_json_is_placed() {
        let source = Source { file: "o.json".into(), text: "{\n  \"a\": é}".into() };
        let finding = source.json().unwrap_err().to_string();
        assert_eq!(finding, "o.json:2:8: this is not JSON: expected value");
    }

    proptest! {
        #[test]
        fn scanning_never_panics(text in "[\\[\\]{},:\"\\\\a1 é]{0,30}", pointer in "(/[a1])*") {
            let _ = locate(&text, &pointer);
        }
    }
}
