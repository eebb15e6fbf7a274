use super::*;
use crate::template::Origins;
use std::collections::BTreeSet;

#[test]
fn the_first_line_is_what_editors_find_and_the_source_is_shown_below() {
    let source = Source::new("a.json", "{\n  \"é\": 1,\n  \"b\": 2\n}\n");
    let finding =
        source.finding(Code::FieldType, &(5..12), "must be a text").expected("a text").help("mend it");
    let expected = "\
a.json:2:4: error[P012]: must be a text
  |
2 |   \"é\": 1,
  |    ^^^^^^ a text
  |
  = help: mend it";
    assert_eq!(finding.render(false), expected);
    assert!(finding.render(true).contains("\u{1b}["), "colours");
    let plain = "a.json:2:4: error[P012]: must be a text\n  expected: a text\n  help: mend it";
    assert_eq!(finding.to_string(), plain);
}

#[test]
fn a_finding_without_a_place_is_its_first_line_and_its_advice() {
    let finding = Finding::new(Code::Unreadable, &Source::new("a.json", "text"), "not there");
    assert_eq!(finding.render(false), "a.json: error[P001]: not there");
    let rendered = finding.help("make it").with_severity(Severity::Warning).render(false);
    assert!(rendered.starts_with("a.json: warning[P001]: not there\n") && rendered.contains("help: make it"));
}

#[test]
fn another_place_is_shown_in_the_same_picture_or_with_its_file() {
    let source = Source::new("a.json", "one\ntwo\n");
    let other = Source::new("b.json", "rule\n");
    let finding = source.finding(Code::FieldType, &(4..7), "wrong");
    let here = finding.clone().related(&source, &(0..3), "first").render(false);
    assert!(here.contains("1 | one\n  | --- first"), "{here}");
    let elsewhere = finding.related(&other, &(0..4), "the rule");
    let rendered = elsewhere.render(false);
    assert!(
        rendered.contains("b.json:1:1") && rendered.contains("1 | rule\n  | ---- the rule"),
        "{rendered}"
    );
    assert!(elsewhere.to_string().ends_with("\n  b.json:1:1: the rule"), "{elsewhere}");
}

#[test]
fn codes_are_unique_and_in_order() {
    let texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(texts.is_sorted(), "{texts:?}");
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), texts.len());
}

#[test]
fn what_is_collected_is_bounded_and_in_the_order_of_places() {
    let (a, b) = (Source::new("a", "x".repeat(200)), Source::new("b", "y"));
    let findings = Findings::new(Code::TooMany);
    findings.add(b.finding(Code::NotJson, &(0..1), "b"));
    for at in (0..150).rev() {
        findings.add(a.finding(Code::NoEffect, &(at..at + 1), "w"));
    }
    assert!(findings.is_full(Severity::Warning) && !findings.is_full(Severity::Error));
    findings.add(a.finding(Code::NotJson, &(7..8), "a"));
    let found = findings.into_vec();
    assert_eq!(found.len(), 1 + 1 + 100 + 1);
    assert_eq!((&*found[0].source.file, &*found[1].source.file), ("b", "a"));
    assert!(found[1..102].is_sorted_by_key(|finding| finding.span.clone().map(|span| span.start)));
    let last = &found[102];
    // only warnings were left out
    assert_eq!((last.code, last.severity), (Code::TooMany, Severity::Warning));
}

#[test]
fn what_was_made_of_what_was_made_leads_back_to_what_was_written() {
    // "ab{{x}}cd" → "ab{{y}}cd" → "abZZcd", as parameters and then options are put in
    let written = Source::new("t", "ab{{x}}cd");
    let origins = |pieces: [(usize, usize); 2]| {
        let mut origins = Origins::default();
        origins.copied(0, 0);
        origins.replaced(pieces[0].0, pieces[0].1);
        origins.copied(pieces[1].0, pieces[1].1);
        origins
    };
    let built = written.made_into("ab{{y}}cd", origins([(2, 2), (7, 7)]));
    let rendered = built.made_into("abZZcd", origins([(2, 2), (4, 7)]));
    for (span, expected) in [(0..2, "ab"), (2..4, "{{x}}"), (3..5, "{{x}}c"), (5..6, "d"), (1..5, "b{{x}}c")]
    {
        let finding = rendered.finding(Code::NotJson, &span, "m");
        let shown = finding.span.map(|span| finding.source.text[span].to_owned());
        assert_eq!(shown.as_deref(), Some(expected), "{span:?}");
        let note = (span.start..span.end).contains(&2) || span.contains(&3);
        assert_eq!(finding.note.is_some(), note, "{span:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_span_makes_a_finding_panic(
        text in "[a-é\n{}]{0,20}", start in 0_usize..30, length in 0_usize..30,
        pieces in proptest::collection::vec((0_usize..30, 0_usize..30, proptest::bool::ANY), 0..5),
    ) {
        let source = Source::new("f", text.as_str());
        let mut origins = Origins::default();
        let mut pieces = pieces;
        pieces.sort_unstable();
        for (made, origin, copied) in pieces {
            if copied { origins.copied(made, origin) } else { origins.replaced(made, origin) }
        }
        let made = source.made_into("é".repeat(15), origins.clone());
        let again = made.made_into("x".repeat(30), origins);
        for source in [&source, &made, &again] {
            let finding = source.finding(Code::NotJson, &(start..start + length), "m");
            let _ = (finding.render(false), finding.to_string(), finding.place());
        }
    }
}
