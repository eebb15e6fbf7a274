//! Changes of a text at places of it: everything else stays as it is, byte for byte.
//!
//! Used only by the rest of `scaffold`.

use super::shape::{Entry, Kind, Node, Part};
use std::ops::Range;

/// Replacements that are still to be made.
#[derive(Clone, Debug, Default)]
pub struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Puts `new` in the place of these bytes.
    pub fn replace(&mut self, span: Range<usize>, new: impl Into<String>) {
        self.0.push((span, new.into()));
    }

    /// Takes these bytes out; and the whole line, if nothing else is on it.
    pub fn remove(&mut self, span: Range<usize>) {
        self.replace(span, "");
    }

    /// The text after all changes. What lies in something that is replaced goes with it.
    pub fn apply(mut self, text: &str) -> String {
        // what is put in at a place comes before what replaces the text there
        self.0.sort_by_key(|(span, _)| (span.start, !span.is_empty(), std::cmp::Reverse(span.end)));
        let mut kept: Vec<(Range<usize>, String)> = Vec::new();
        for (span, new) in self.0 {
            match kept.last_mut() {
                Some((before, _)) if span.start < before.end => {}
                // removals side by side are one: together they may be all that is on a line
                Some((before, old))
                    if old.is_empty() && new.is_empty() && is_blank(text, before.end, span.start) =>
                {
                    before.end = span.end;
                }
                _ => kept.push((span, new)),
            }
        }
        let mut result = String::with_capacity(text.len());
        let mut at = 0;
        for (span, new) in kept {
            let span = if new.is_empty() { whole_lines(text, span) } else { span };
            result.push_str(&text[at..span.start.max(at)]);
            result.push_str(&new);
            at = span.end.max(at);
        }
        result.push_str(&text[at..]);
        result
    }

    /// Takes entries out of an object or a list and puts others in, with the commas that both need.
    ///
    /// `add` are entries as they are to be written. Answers the entries that could not be taken out without leaving a
    /// comma where none may be, for some options: they stay. With `add`, there must be a place that is in no section.
    pub fn rewrite(
        &mut self,
        text: &str,
        node: &Node,
        drop: impl Fn(&Entry) -> bool,
        add: &[String],
    ) -> Result<Vec<Entry>, NoPlace> {
        let parts = node.parts();
        let mut gone = vec![false; parts.len()];
        let is_always = |part: &Part| matches!(part, Part::Entry(entry) if entry.always);
        let anchor = parts.iter().rposition(is_always).filter(|_| !add.is_empty());
        if let Some(Part::Entry(entry)) = anchor.map(|index| &parts[index]) {
            let new = add.join(&format!(",{}", separator(text, entry)));
            if drop(entry) {
                self.replace(entry.span.clone(), new);
            } else {
                // in front of an entry that is always there, a comma is always right
                let at = entry.span.start;
                self.replace(at..at, format!("{new},{}", separator(text, entry)));
            }
        } else if !add.is_empty() {
            if node.entries().next().is_some() {
                return Err(NoPlace);
            }
            let close = if matches!(node.kind, Kind::Object(_)) { "}" } else { "]" };
            let inner = node.span.start + 1..node.span.end - close.len();
            self.replace(inner.end..inner.end, add.join(", "));
        }

        let mut stay = Vec::new();
        for index in 0..parts.len() {
            let Part::Entry(entry) = &parts[index] else { continue };
            if !drop(entry) || Some(index) == anchor {
                continue;
            }
            let next = (index + 1..parts.len()).find(|&i| !gone[i]);
            let previous = (0..index).rev().find(|&i| !gone[i]);
            let comma = |i: Option<usize>| i.filter(|&i| matches!(parts[i], Part::Comma(_)));
            let span = match (comma(next), comma(previous)) {
                (Some(next), _) => {
                    gone[next] = true;
                    entry.span.start..part_span(&parts[next]).end
                }
                (None, Some(previous)) => {
                    gone[previous] = true;
                    part_span(&parts[previous]).start..entry.span.end
                }
                (None, None) if next.is_none() && previous.is_none() => entry.span.clone(),
                (None, None) => {
                    stay.push(entry.clone());
                    continue;
                }
            };
            gone[index] = true;
            self.remove(span);
        }
        self.remove_empty_sections(parts, &mut gone);
        Ok(stay)
    }

    /// Takes out the tags of sections that nothing is left in.
    fn remove_empty_sections(&mut self, parts: &[Part], gone: &mut [bool]) {
        loop {
            let left: Vec<usize> = (0..parts.len()).filter(|&i| !gone[i]).collect();
            let empty = left.windows(2).find(|pair| {
                matches!((&parts[pair[0]], &parts[pair[1]]), (Part::Open(_), Part::Close(_)))
                    // a section that was empty before is none of ours
                    && pair[1] > pair[0] + 1
            });
            let Some(&[open, close]) = empty else { return };
            for index in [open, close] {
                gone[index] = true;
                self.remove(part_span(&parts[index]));
            }
        }
    }
}

/// Everything that is there is in sections, so there is no place where a comma is right with all options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace;

fn part_span(part: &Part) -> Range<usize> {
    match part {
        Part::Entry(entry) => entry.span.clone(),
        Part::Comma(span) | Part::Open(span) | Part::Close(span) | Part::Junk(span) => span.clone(),
    }
}

/// What stands between entries: a new line that is indented as this entry is, or a blank.
fn separator(text: &str, entry: &Entry) -> String {
    let before = &text[..entry.span.start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let indent = &before[line_start..];
    if line_start > 0 && indent.trim().is_empty() { format!("\n{indent}") } else { " ".to_owned() }
}

fn is_blank(text: &str, from: usize, to: usize) -> bool {
    text.get(from..to).is_some_and(|between| between.trim().is_empty() && !between.contains('\n'))
}

/// The bytes, with the rest of their lines if that is blank.
fn whole_lines(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline + 1);
    let alone = text[start..span.start].trim().is_empty() && text[span.end..end].trim().is_empty();
    if alone { start..end } else { span }
}

#[cfg(test)]
mod tests {
    use super::super::shape;
    use super::*;
    use proptest::prelude::*;

    /// The text with members whose names begin with `x` taken out, and `add` put in.
    fn rewritten(text: &str, add: &[&str]) -> Option<String> {
        let node = shape::parse(text).unwrap();
        let mut edits = Edits::default();
        let add: Vec<String> = add.iter().map(|&entry| entry.to_owned()).collect();
        edits.rewrite(text, &node, |entry| entry.name.starts_with('x'), &add).ok()?;
        Some(edits.apply(text))
    }

    #[test]
    fn entries_go_and_come_with_their_commas() {
        let new = [r#""n": 0"#, r#""m": 1"#];
        let cases = [
            ("{\n  \"a\": 1,\n  \"x\": 2,\n  \"c\": 3\n}", &[][..], "{\n  \"a\": 1,\n  \"c\": 3\n}"),
            ("{\n  \"a\": 1,\n  \"x\": 2\n}", &[], "{\n  \"a\": 1\n}"),
            (r#"{"a": 1, "x1": 2, "x2": 3}"#, &[], r#"{"a": 1}"#),
            (r#"{"x": 1}"#, &[], "{}"),
            (r#"{"a": 1{{#s}}, "x": 2{{/s}}}"#, &[], r#"{"a": 1}"#),
            ("{\n{{#s}}\n\"x\": 2,\n{{/s}}\n\"a\": 1}", &[], "{\n\"a\": 1}"),
            ("{\n{{#s}}\n{{#t}}\n\"x\": 2,\n{{/t}}\n\"x2\": 2,\n{{/s}}\n\"a\": 1}", &[], "{\n\"a\": 1}"),
            ("{{{! c }}\n \"a\": 1,\n \"x\": 2\n}", &new, "{{{! c }}\n \"a\": 1,\n \"n\": 0,\n \"m\": 1\n}"),
            ("{\n  \"a\": 1\n}", &new, "{\n  \"n\": 0,\n  \"m\": 1,\n  \"a\": 1\n}"),
            ("{}", &new, r#"{"n": 0, "m": 1}"#),
            // what is last in a section without a comma stays: with and without it the rest must be JSON
            (
                r#"{"a": 1, {{#s}}"x": 2{{/s}}{{^s}}"x": 3{{/s}}}"#,
                &new,
                r#"{"n": 0, "m": 1, "a": 1, {{#s}}"x": 2{{/s}}{{^s}}"x": 3{{/s}}}"#,
            ),
        ];
        for (text, add, expected) in cases {
            let text = text.replace("{{{! c }}", "{ {{! c }}");
            let expected = expected.replace("{{{! c }}", "{ {{! c }}");
            assert_eq!(rewritten(&text, add).as_deref(), Some(expected.as_str()), "{text}");
        }
        assert_eq!(rewritten(r#"{ {{#s}}"a": 1{{/s}} }"#, &new), None, "no place in a section");
    }

    #[test]
    fn what_lies_in_something_that_is_replaced_goes_with_it() {
        let mut edits = Edits::default();
        edits.remove(3..4);
        edits.replace(2..6, "X");
        edits.replace(8..8, "Y");
        edits.replace(9..10, "Z");
        edits.replace(9..9, "z");
        assert_eq!(edits.apply("0123456789"), "01X67Y8zZ");
    }

    proptest! {
        /// Any object with members in any sections, written with commas behind all but the last, which is always there.
        #[test]
        fn what_is_json_with_all_options_stays_so(names in proptest::collection::vec("[axb]", 0..6), sections in proptest::collection::vec(0..3_u8, 6), last in "[ax]", add in 0..3_usize) {
            let mut text = String::from("{ ");
            for (name, section) in names.iter().zip(&sections) {
                let (open, close) = [("", ""), ("{{#s}}", "{{/s}}"), ("{{^s}}", "{{/s}}")][usize::from(*section)];
                text.extend([open, "\"", name, "\": 1,", close, " "]);
            }
            text.extend(["\"", last.as_str(), "\": 1 }"]);
            let new: Vec<String> = (0..add).map(|n| format!("\"n{n}\": 1")).collect();
            let new: Vec<&str> = new.iter().map(String::as_str).collect();
            let result = rewritten(&text, &new).unwrap();
            for on in [true, false] {
                let template = crate::template::Template::parse(&result).unwrap();
                let rendered = template.render(crate::template::Profile::Package, &serde_json::json!({"s": on})).unwrap();
                let object: Result<serde_json::Value, _> = serde_json::from_str(&rendered.text);
                prop_assert!(object.is_ok(), "{result}\n{}", rendered.text);
                let object = object.unwrap();
                prop_assert_eq!((0..add).filter(|n| object.get(format!("n{n}")).is_none()).count(), 0);
                // with nothing new, what is before the last member keeps its comma, and so the last may have to stay
                prop_assert!((last == "x" && add == 0) || object.get("x").is_none(), "{}", object);
            }
        }
    }
}
