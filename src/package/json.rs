//! JSON files: reading them, and finding the place of a value.

use crate::finding::{Code, Finding, Report, Source};
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;

impl Source {
    /// Parses the file as JSON.
    pub fn json(&self) -> Result<Value, Report> {
        serde_json::from_str(&self.text).map_err(|error| {
            let at = error_offset(&self.text, &error);
            let message = format!("this is not JSON: {}", reason(&self.text, &error));
            self.finding(Code::NotJson, &character(&self.text, at), message).into()
        })
    }

    /// A finding at the value that a JSON pointer names, or, where there is none, at the nearest value around it.
    pub fn at_pointer(&self, code: Code, pointer: &str, message: impl Into<String>) -> Finding {
        let mut pointer = pointer;
        loop {
            if let Some(span) = locate(&self.text, pointer) {
                return self.finding(code, &span, message);
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return self.finding(code, &(0..0), message),
            }
        }
    }
}

/// Where a parser stopped, bytes. serde_json counts lines from 1 and columns in bytes from 1, or 0 at the beginning.
pub fn error_offset(text: &str, error: &serde_json::Error) -> usize {
    let before = error.line().saturating_sub(1);
    let line: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    (line + error.column().saturating_sub(1)).min(text.len())
}

/// Why a text is not JSON: what the parser says, without the place.
pub fn reason(text: &str, error: &serde_json::Error) -> String {
    // nobody sees it
    if text.starts_with('\u{feff}') {
        return "it begins with a byte order mark; save it as UTF-8 without one".to_owned();
    }
    let mut message = error.to_string();
    if let Some(end) = message.rfind(" at line ") {
        message.truncate(end);
    }
    message
}

/// The bytes of the character at an offset.
pub fn character(text: &str, at: usize) -> Range<usize> {
    let at = text.floor_char_boundary(at);
    at..at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// Where the value is that a JSON pointer names, in a text that is JSON: a member of an object with its key, of a list or
/// an object only the bracket. Of keys that are there twice the last counts, as it does for parsers.
pub fn locate(text: &str, pointer: &str) -> Option<Range<usize>> {
    let tokens: Vec<String> =
        pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    let mut scanner = Scanner { bytes: text.as_bytes(), position: 0 };
    scanner.blanks();
    let mut found = scanner.position..scanner.position;
    for token in &tokens {
        (found, scanner.position) = match scanner.peek()? {
            b'{' => scanner.member(token)?,
            b'[' => scanner.item(token.parse().ok()?)?,
            _ => return None,
        };
    }
    match scanner.peek()? {
        b'{' | b'[' if found.is_empty() => found.end = scanner.position + 1,
        b'{' | b'[' => {}
        _ => {
            scanner.skip()?;
            found.end = text[..scanner.position].trim_end().len();
        }
    }
    Some(found)
}

/// The keys that an object of the text, which is JSON, has more than once: the later one, and the one before.
pub fn duplicates(text: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let mut found = Vec::new();
    let mut scanner = Scanner { bytes: text.as_bytes(), position: 0 };
    scanner.blanks();
    scanner.duplicates(&mut found);
    found
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

    /// The key of a member, and the offset of its value, in the object that begins here.
    fn member(&mut self, name: &str) -> Option<(Range<usize>, usize)> {
        let mut found = None;
        self.take(b'{');
        while self.peek()? != b'}' {
            let key = self.position;
            self.skip()?;
            let key = key..self.position;
            let text = std::str::from_utf8(&self.bytes[key.clone()]).ok()?;
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

    /// Goes over the value that begins here, and the blanks behind it. Parsers bound how deep it is.
    fn duplicates(&mut self, found: &mut Vec<(Range<usize>, Range<usize>)>) -> Option<()> {
        match self.peek()? {
            b'{' => {
                self.take(b'{');
                let mut seen = HashMap::new();
                while self.peek()? != b'}' {
                    let start = self.position;
                    self.skip_string()?;
                    let key = start..self.position;
                    let name: String = serde_json::from_slice(&self.bytes[key.clone()]).ok()?;
                    if let Some(before) = seen.insert(name, key.clone()) {
                        found.push((key, before));
                    }
                    self.take(b':');
                    self.duplicates(found)?;
                    self.take(b',');
                }
                self.take(b'}');
            }
            b'[' => {
                self.take(b'[');
                while self.peek()? != b']' {
                    self.duplicates(found)?;
                    self.take(b',');
                }
                self.take(b']');
            }
            _ => self.skip()?,
        }
        Some(())
    }

    /// Where an item begins in the list that begins here: nothing of it yet, and the offset of its value.
    fn item(&mut self, index: usize) -> Option<(Range<usize>, usize)> {
        self.take(b'[');
        for _ in 0..index {
            self.skip()?;
            self.take(b',');
        }
        (self.peek()? != b']').then_some((self.position..self.position, self.position))
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
    fn pointers_lead_to_members_and_items() {
        let text = r#" {"a": {"b~/\u0063": [1, {"x": "}"}, 3]}, "d" : null , "e": 1, "e": 2}"#;
        let cases = [
            ("", Some("{")),
            ("/a", Some("\"a\"")),
            ("/a/b~0~1c", Some("\"b~/\\u0063\"")),
            ("/a/b~0~1c/0", Some("1")),
            ("/a/b~0~1c/1", Some("{")),
            ("/a/b~0~1c/1/x", Some("\"x\": \"}\"")),
            ("/a/b~0~1c/2", Some("3")),
            ("/a/b~0~1c/3", None),
            ("/d", Some("\"d\" : null")),
            ("/d/x", None),
            ("/e", Some("\"e\": 2")),
            ("/missing", None),
        ];
        for (pointer, expected) in cases {
            assert_eq!(locate(text, pointer).map(|span| &text[span]), expected, "{pointer}");
        }
    }

    #[test]
    fn a_missing_value_is_placed_at_what_is_around_it() {
        let source = Source::new("o.json", "{\n  \"a\": {\"é\": 1}}");
        let text = |pointer: &str| source.at_pointer(Code::FieldType, pointer, "m").to_string();
        assert_eq!(text("/a/é/deep"), "o.json:2:9: error[P012]: m");
        assert_eq!(text("/b"), "o.json:1:1: error[P012]: m");
    }

    #[test]
    fn text_that_is_not_json_is_placed() {
        let source = Source::new("o.json", "{\n  \"a\": é}");
        let finding = source.json().unwrap_err().to_string();
        assert_eq!(finding, "o.json:2:8: error[P003]: this is not JSON: expected value");
        let finding = Source::new("o.json", "\u{feff}{}").json().unwrap_err().to_string();
        assert!(
            finding
                .starts_with("o.json:1:1: error[P003]: this is not JSON: it begins with a byte order mark")
        );
    }

    #[test]
    fn keys_that_are_there_twice_are_found_where_they_are() {
        let text = r#"{"a": 1, "b": [{"x": {}, "\u0078": [2 ]} , "a"], "a" : {"a": "a"}}"#;
        let found = duplicates(text);
        let texts: Vec<_> = found.iter().map(|(key, _)| &text[key.clone()]).collect();
        assert_eq!(texts, [r#""\u0078""#, r#""a""#]);
        assert_eq!(found[1].1, 1..4);
        assert_eq!(duplicates(r#"{"a": {"b": 1}, "b": [1, {"a": "}"}]}"#), []);
    }

    proptest! {
        #[test]
        fn scanning_never_panics(text in "[\\[\\]{},:\"\\\\a1 é]{0,30}", pointer in "(/[a1])*") {
            let _ = (locate(&text, &pointer), duplicates(&text));
        }
    }
}
