//! What a code means, with an example: the pages of `dagpkg explain`, and the help of rules in SARIF.
//!
//! The texts are in `explain/*.md`, a heading for each code. Below it: a paragraph that says what it means, one that says why it
//! matters, and fenced examples. The fence's first line says the language, for files the path, and whether the example is
//! `wrong`, `mended` or part of `both`. `tests/explain.rs` runs them.

use super::Code;
use serde_json::{Value, json};
use std::fmt::Write as _;

const FILES: [&str; 4] = [
    include_str!("explain/air_gap.md"),
    include_str!("explain/package.md"),
    include_str!("explain/service.md"),
    include_str!("explain/verify.md"),
];

/// What is said about a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Which code.
    pub code: Code,
    /// What it means.
    pub meaning: String,
    /// Why it matters.
    pub why: String,
    /// Examples, in their order.
    pub examples: Vec<Example>,
}

/// A file, a command or a line of an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// `sh` for commands, `text` without a file for what is only to be read, else the language of the file.
    pub language: &'static str,
    /// The path of the file; none for commands and lines.
    pub file: Option<&'static str>,
    /// Whether it is wrong.
    pub wrong: bool,
    /// Whether it is mended, or right from the beginning. What is both stands in both examples.
    pub mended: bool,
    /// The text.
    pub text: &'static str,
}

/// The page of a code. None is missing; tests see to it.
pub fn page(code: Code) -> Page {
    let heading = format!("# {code}\n");
    let start = |file: &&'static str| file.find(&heading).map(|at| at + heading.len());
    let text = FILES.iter().find_map(|file| Some(&file[start(file)?..])).unwrap_or_default();
    let text = text.find("\n# ").map_or(text, |end| &text[..end]);
    let (words, mut fences) =
        text.split_once("\n```").map_or((text, None), |(words, rest)| (words, Some(rest)));
    let mut paragraphs = words.trim().split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    let (meaning, why) = (paragraphs.next().unwrap_or_default(), paragraphs.next().unwrap_or_default());
    let mut examples = Vec::new();
    while let Some((info, rest)) = fences.and_then(|fence| fence.split_once('\n')) {
        let (body, rest) = rest.split_once("```").unwrap_or((rest, ""));
        examples.extend(example(info, body));
        fences = rest.split_once("```").map(|(_, next)| next);
    }
    Page { code, meaning, why, examples }
}

fn example(info: &'static str, text: &'static str) -> Option<Example> {
    let words: Vec<&str> = info.split_whitespace().collect();
    let (&language, &kind) = (words.first()?, words.last()?);
    let file = words.get(1).copied().filter(|_| words.len() == 3);
    let (wrong, mended) = (kind != "mended", kind != "wrong");
    Some(Example { language, file, wrong, mended, text })
}

impl Page {
    /// The examples of one kind.
    pub fn examples(&self, wrong: bool) -> impl Iterator<Item = &Example> {
        self.examples.iter().filter(move |example| if wrong { example.wrong } else { example.mended })
    }

    /// The page for people.
    pub fn text(&self) -> String {
        let Self { code, meaning, why, .. } = self;
        let mut text = format!("{}[{code}]: {}\n\n", code.severity(), code.summary());
        for paragraph in [meaning, why] {
            text.push_str(&wrapped(paragraph));
            text.push('\n');
        }
        for (title, wrong) in [("Wrong", true), ("Mended", false)] {
            let _ = writeln!(text, "{title}:");
            for example in self.examples(wrong) {
                if let Some(file) = example.file {
                    let _ = writeln!(text, "\n  {file}");
                } else {
                    text.push('\n');
                }
                let mark = if example.language == "sh" { "$ " } else { "" };
                for line in example.text.lines() {
                    let _ = writeln!(text, "    {mark}{line}");
                }
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    /// The page in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n{}\n", self.meaning, self.why);
        for (title, wrong) in [("Wrong", true), ("Mended", false)] {
            let _ = write!(text, "\n{title}:\n");
            for Example { language, file, text: body, .. } in self.examples(wrong) {
                let file = file.map(|file| format!("`{file}`:\n\n")).unwrap_or_default();
                let _ = write!(text, "\n{file}```{language}\n{body}```\n");
            }
        }
        text
    }

    /// The page as data.
    pub fn json(&self) -> Value {
        let examples = |wrong| {
            let all = self.examples(wrong);
            let each = all.map(
                |example| json!({"file": example.file, "language": example.language, "text": example.text}),
            );
            each.collect::<Value>()
        };
        json!({
            "code": self.code,
            "severity": self.code.severity(),
            "summary": self.code.summary(),
            "meaning": self.meaning,
            "why": self.why,
            "wrong": examples(true),
            "mended": examples(false),
        })
    }
}

/// A paragraph in lines of at most 100 characters.
fn wrapped(paragraph: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > 100 {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_whole_page_and_every_page_a_code() {
        for &code in Code::ALL {
            let page = page(code);
            assert!(!page.meaning.is_empty() && !page.why.is_empty(), "{code}");
            assert!(page.examples(true).count() > 0 && page.examples(false).count() > 0, "{code}");
            let differs =
                |wrong| page.examples(wrong).map(|example| (example.file, example.text)).collect::<Vec<_>>();
            assert_ne!(differs(true), differs(false), "{code}");
            for example in &page.examples {
                assert!(example.text.ends_with('\n') && !example.text.contains("```"), "{code}: {example:?}");
                assert!(
                    example.file.is_some() || matches!(example.language, "sh" | "text"),
                    "{code}: {example:?}"
                );
            }
        }
        let headings = FILES.iter().flat_map(|file| file.lines()).filter_map(|line| line.strip_prefix("# "));
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(headings.collect::<Vec<_>>(), codes);
    }

    #[test]
    fn a_page_shows_its_parts_in_order() {
        let text = page(Code::PlainHttp).text();
        let parts = [
            "warning[A001]: ",
            "In a closed network",
            "Wrong:\n\n  svc.yml\n    name: weather\n",
            "Mended:\n",
        ];
        let places: Vec<_> = parts.iter().map(|part| text.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
        assert!(text.lines().take(8).all(|line| line.chars().count() <= 100), "{text}");
    }
}
