//! The keys of the service language as data: what they are called, what their values must be, what they do.
//!
//! The parser takes names, bounds, words, forms and defaults from here; the schema for editors and the tables of the
//! reference page are made of the same. What depends on more than one key (a VIP with ranges, two volumes with one path) is
//! the parser's own. Used only by the rest of `spec`.

mod keys;

pub(super) use keys::*;

use fancy_regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A mapping with keys that the language knows.
#[derive(Debug)]
pub(super) struct Mapping {
    /// What it is called in the schema and on the reference page; unique.
    pub name: &'static str,
    /// What it describes.
    pub about: &'static str,
    /// Its keys, in the order in which they are explained.
    pub keys: &'static [Key],
    /// A mapping whose keys it may hold as well.
    pub also: Option<&'static Mapping>,
    /// Keys that it does not know have no effect, instead of being errors.
    pub ignores_others: bool,
}

/// One key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// Whether it must be there, and what it is when it isn't.
    pub need: Need,
    /// What it does: one sentence, or two.
    pub about: &'static str,
    /// The first release of DC/OS that can do it, where that isn't every one.
    pub since: Option<&'static str>,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// It must.
    Required,
    /// It is this when it is absent.
    Default(&'static str),
    /// It may be absent; in words, what then.
    Optional(&'static str),
}

/// What a value must be.
#[derive(Debug)]
pub(super) enum Kind {
    /// Any scalar.
    Text,
    /// A scalar of a certain form.
    Formed(&'static Form),
    /// One of these words.
    Word(&'static Words),
    /// An integer, from the first to the second.
    Integer(i64, i64),
    /// A number above 0.
    Amount,
    /// A number, or `unlimited`.
    Limit,
    /// `true` or `false`.
    Boolean,
    /// A list of such values.
    List(&'static Kind),
    /// A mapping with these keys.
    Block(&'static Mapping),
    /// A mapping of names that the author chooses, of this form, each to a mapping with these keys.
    Named(&'static Form, &'static Mapping),
    /// A mapping of names that the author chooses to texts; no value is an empty text.
    Texts,
    /// The steps of a phase: a list of mappings with one entry each, an instance or `default` to a list of lists of tasks.
    Steps,
}

/// Words that a value is one of.
#[derive(Debug)]
pub(super) struct Words {
    /// The words.
    pub now: &'static [&'static str],
    /// Words of older releases, which are still read.
    pub old: &'static [&'static str],
    /// Whether they may be written in any case.
    pub any_case: bool,
}

/// What a text must look like.
#[derive(Debug)]
pub(super) struct Form {
    /// An expression that both Rust and ECMAScript understand; it is found in what has the form.
    pub pattern: &'static str,
    /// The form in words.
    pub expected: &'static str,
}

/// The forms' expressions, compiled; a test compiles each.
static COMPILED: LazyLock<HashMap<&str, Regex>> = LazyLock::new(|| {
    let compiled = FORMS.iter().filter_map(|form| Some((form.pattern, Regex::new(form.pattern).ok()?)));
    compiled.collect()
});

impl Form {
    /// Whether a text has the form.
    pub fn fits(&self, text: &str) -> bool {
        // an error is too much going back and forth, which a text of the form does not need
        COMPILED.get(self.pattern).is_some_and(|regex| regex.is_match(text).unwrap_or(false))
    }
}

impl Words {
    /// The word that `text` is.
    pub fn find(&self, text: &str) -> Option<&'static str> {
        let same = |word: &str| word == text || self.any_case && word.eq_ignore_ascii_case(text);
        self.now.iter().chain(self.old).copied().find(|word| same(word))
    }
}

impl Mapping {
    /// All keys that it may hold.
    pub fn all_keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().chain(self.also.into_iter().flat_map(|also| also.keys))
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.all_keys().find(|key| key.name == name)
    }
}

/// Stands for a key that a table does not have, which a test would have seen.
pub(super) static NO_KEY: Key =
    Key { name: "", kind: Kind::Text, need: Need::Optional(""), about: "", since: None };

/// All mappings, each before those below it.
pub(super) fn mappings() -> Vec<&'static Mapping> {
    let mut found = vec![&SERVICE];
    let mut at = 0;
    while let Some(mapping) = found.get(at).copied() {
        for key in mapping.all_keys() {
            if let Some(below) = below(&key.kind)
                && !found.iter().any(|m| m.name == below.name)
            {
                found.push(below);
            }
        }
        at += 1;
    }
    found
}

/// The mapping that a kind of value holds.
fn below(kind: &Kind) -> Option<&'static Mapping> {
    match kind {
        Kind::Block(mapping) | Kind::Named(_, mapping) => Some(mapping),
        Kind::List(kind) => below(kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_an_expression() {
        assert_eq!(COMPILED.len(), FORMS.len(), "each compiles, and no two are the same");
    }

    #[test]
    fn names_of_mappings_and_of_their_keys_are_unique() {
        let unique = |names: Vec<&str>| {
            let mut seen = std::collections::HashSet::new();
            names.iter().find(|name| !seen.insert(**name)).map(|name| (*name).to_owned())
        };
        assert_eq!(unique(mappings().iter().map(|m| m.name).collect()), None);
        for mapping in mappings() {
            assert_eq!(unique(mapping.all_keys().map(|k| k.name).collect()), None, "in {}", mapping.name);
        }
    }

    #[test]
    fn words_are_found_in_any_case_only_where_they_may_be() {
        let goals = Words { now: &["ONCE"], old: &["FINISHED"], any_case: true };
        assert_eq!(
            (goals.find("once"), goals.find("Finished"), goals.find("twice")),
            (Some("ONCE"), Some("FINISHED"), None)
        );
        let exact = Words { any_case: false, ..goals };
        assert_eq!((exact.find("once"), exact.find("ONCE")), (None, Some("ONCE")));
    }
}
