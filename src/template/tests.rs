use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn rendered(profile: Profile, template: &str, values: &Value) -> Rendered {
    Template::parse(template)
        .and_then(|parsed| parsed.render(profile, values))
        .unwrap_or_else(|error| panic!("{template:?}: {error}"))
}

fn text(profile: Profile, template: &str, values: &Value) -> String {
    rendered(profile, template, values).text
}

fn refusal(profile: Profile, template: &str, values: &Value) -> TemplateError {
    Template::parse(template)
        .and_then(|parsed| parsed.render(profile, values))
        .expect_err("this template should be refused")
}

#[test]
fn tags_print_what_their_names_stand_for() {
    let values = json!({
        "name": "hello", "no": false, "yes": true, "zero": 0, "empty": "", "nothing": null, "map": {}, "list": [],
        "people": [{"name": "Ada"}, {"name": "Bob"}], "nested": [[1, 2], [3]], "a": {"b": {"c": "deep"}},
    });
    let cases = [
        ("{{name}} {{{name}}} {{& name }}", "hello hello hello"),
        ("{{nothing}}|{{missing}}", "|"),
        ("{{#people}}{{name}},{{/people}} {{name}}", "Ada,Bob, hello"),
        ("{{#nested}}<{{#.}}{{.}}{{/.}}>{{/nested}}", "<12><3>"),
        ("{{a.b.c}}{{#a}}{{b.c}}{{/a}}", "deepdeep"),
        (
            "{{#yes}}1{{/yes}}{{#no}}2{{/no}}{{#nothing}}3{{/nothing}}{{#empty}}4{{/empty}}{{#list}}5{{/list}}",
            "1",
        ),
        (
            "{{^yes}}1{{/yes}}{{^no}}2{{/no}}{{^nothing}}3{{/nothing}}{{^empty}}4{{/empty}}{{^list}}5{{/list}}",
            "2345",
        ),
        (
            "{{#zero}}zero is true{{/zero}}{{#map}}, so is an empty map{{/map}}",
            "zero is true, so is an empty map",
        ),
        ("a{{! no\n one sees this }}b", "ab"),
        ("{{=<% %>=}}<%name%> {{name}}<%={{ }}=%> {{name}}", "hello {{name}} hello"),
        ("{ {{name}} } {{{name}}}}", "{ hello } hello}"),
    ];
    for profile in [Profile::Plain, Profile::Package, Profile::Service, Profile::Config] {
        for (template, expected) in cases {
            assert_eq!(text(profile, template, &values), expected, "{template} as {profile:?}");
        }
    }
}

#[test]
fn lines_that_hold_only_a_silent_tag_disappear() {
    let values = json!({"x": true});
    let cases = [
        ("a\n  {{#x}}  \nb\n{{/x}}\nc", "a\nb\nc"),
        ("a\r\n{{! note }}\r\nb", "a\r\nb"),
        ("{{#x}}\nb{{/x}}", "b"),
        ("b\n  {{/x}}", "b\n"),
        (" {{x}} \n", " true \n"),
        ("{{#x}} {{/x}}\n", " \n"),
        ("a\n{{=| |=}}\nb", "a\nb"),
    ];
    for (template, expected) in cases {
        let template = if template.contains("{{/x}}") && !template.contains("{{#x}}") {
            format!("{{{{#x}}}}{template}")
        } else {
            template.to_owned()
        };
        assert_eq!(text(Profile::Plain, &template, &values), expected, "{template:?}");
    }
}

#[test]
fn every_profile_escapes_by_its_own_table() {
    let values = json!({"v": "& \" ' < > = ` \n\0é"});
    assert_eq!(text(Profile::Plain, "{{v}}", &values), "&amp; &quot; ' &lt; &gt; = ` \n\0é");
    assert_eq!(
        text(Profile::Service, "{{v}}", &values),
        "&amp; &quot; &#39; &lt; &gt; &#61; &#96; &#10;&#0;é"
    );
    assert_eq!(text(Profile::Config, "{{v}}", &values), "&amp; &#34; &#39; &lt; &gt; = ` \n\u{fffd}é");
    assert_eq!(text(Profile::Package, "{{v}}", &values), "& \\\" ' < > = ` \\n\\u0000é");
    for profile in [Profile::Plain, Profile::Service, Profile::Config] {
        assert_eq!(text(profile, "{{{v}}}{{&v}}", &values), "& \" ' < > = ` \n\0é".repeat(2), "{profile:?}");
    }
}

#[test]
fn values_print_in_the_forms_of_java() {
    let values = json!({
        "whole": 1.0, "minus_zero": -0.0, "half": 0.5, "tiny": 0.00001, "small": 0.0015, "large": 12_345_678.5,
        "huge": 1e20, "list": ["a \"b\"", 1, 2.0, true, null, ["c"]], "objects": [{"k": "v", "n": 1}], "map": {"k": {"l": "v"}},
    });
    let cases = [
        ("{{whole}} {{minus_zero}} {{half}} {{small}}", "1 0 0.5 0.0015"),
        ("{{tiny}} {{large}} {{huge}}", "1.0E-5 1.23456785E7 100000000000000000000"),
        ("{{list}}", r#"["a \"b\"", 1, 2, true, null, ["c"]]"#),
        ("{{objects}} {{map}}", "[{k=v, n=1}] {k={l=v}}"),
        ("{{#list}}<{{.}}>{{/list}}", r#"<"a \"b\""><1><2><true><>"#),
    ];
    for (template, expected) in cases {
        let text = text(Profile::Package, template, &values);
        assert!(text.starts_with(expected), "{template}: {text}");
    }
}

#[test]
fn java_profiles_try_a_dotted_name_as_one_key_first() {
    let values = json!({"a.b": "whole", "a": {"b": "path"}});
    assert_eq!(text(Profile::Package, "{{a.b}}", &values), "whole");
    assert_eq!(text(Profile::Service, "{{a.b}}", &values), "whole");
    assert_eq!(text(Profile::Plain, "{{a.b}}", &values), "path");
}

#[test]
fn a_found_first_part_hides_outer_scopes() {
    let values = json!({"x": {"b": "outer"}, "inner": {"x": {}}});
    assert_eq!(text(Profile::Package, "{{#inner}}[{{x.b}}]{{/inner}}", &values), "[]");
}

#[test]
fn java_profiles_answer_is_empty_and_size_on_lists() {
    let values = json!({"none": [], "two": ["a", "b"], "s": "é😀", "map": {"size": "key"}});
    let template = "{{#none.isEmpty}}1{{/none.isEmpty}}{{^two.isEmpty}}2{{/two.isEmpty}} {{two.size}} {{s.length}} {{map.size}}{{map.isEmpty}}";
    assert_eq!(text(Profile::Service, template, &values), "12 2 3 key");
    assert_eq!(text(Profile::Plain, "[{{two.size}}]", &values), "[]");
}

#[test]
fn as_json_brings_in_the_text_of_a_top_level_string() {
    let values = json!({"raw": "{\"a\": \"{{name}}\"}", "name": "n", "number": 1, "in": {"deep": "[]"}});
    let package = |template| text(Profile::Package, template, &values);
    assert_eq!(package("{{#asJson}}raw{{/asJson}}"), "{\"a\": \"n\"}");
    assert_eq!(package("{{#asJson}}number{{/asJson}},{{#asJson}}nowhere{{/asJson}}"), "null,null");
    assert_eq!(package("{{#asJson}}in.deep{{/asJson}}{{^asJson}}never{{/asJson}}"), "null");
    assert_eq!(text(Profile::Service, "{{#asJson}}raw{{/asJson}}", &values), "");
}

#[test]
fn environments_become_booleans_where_their_renderer_does_so() {
    let env = [("A", "TRUE"), ("B", "False"), ("C", "yes"), ("D", "")];
    assert_eq!(service_context(env), json!({"A": true, "B": false, "C": "yes", "D": ""}));
    assert_eq!(config_context(env), json!({"A": "TRUE", "B": false, "C": "yes", "D": ""}));
}

#[test]
fn printed_names_without_a_value_are_reported_with_their_places() {
    let template = "a: {{A}}\nb: é {{B.c}}{{{A}}}\n{{#NO}}{{UNSEEN}}{{/NO}}{{^NO}}{{SEEN}}{{/NO}}{{EMPTY}}";
    let missing = rendered(Profile::Service, template, &json!({"EMPTY": ""})).missing;
    let found: Vec<_> = missing.iter().map(|m| (m.name.as_str(), m.line, m.column)).collect();
    assert_eq!(found, [("A", 1, 4), ("B.c", 2, 6), ("A", 2, 13), ("SEEN", 3, 32)]);
}

#[test]
fn a_name_missing_in_each_item_of_a_list_is_reported_once() {
    let values = json!({"list": [1, 2, 3]});
    assert_eq!(rendered(Profile::Plain, "{{#list}}{{x}}{{/list}}", &values).missing.len(), 1);
}

#[test]
fn every_rendered_character_leads_back_to_its_place_in_the_template() {
    let template = Template::parse("{{! note }}\na{{x}}b\n{{#list}}\n  é{{.}}\n{{/list}}\nend").unwrap();
    let values = json!({"x": "1\n2", "list": [3, 4]});
    let rendered = template.render(Profile::Plain, &values).unwrap();
    assert_eq!(rendered.text, "a1\n2b\n  é3\n  é4\nend");
    let cases = [("a", 2, 1), ("1", 2, 2), ("2", 2, 2), ("b", 2, 7), ("é", 4, 3), ("4", 4, 4), ("end", 6, 1)];
    for (text, line, column) in cases {
        let offset = rendered.text.find(text).unwrap();
        assert_eq!(template.origin(&rendered, offset), Place { line, column }, "{text}");
    }
    assert_eq!(template.origin(&rendered, usize::MAX), Place { line: 6, column: 4 });
}

#[test]
fn broken_templates_are_refused_with_the_place() {
    let deep = "{{#a}}".repeat(MAX_NESTING + 1);
    let cases = [
        ("a\n  {{name", 2, 3, "not closed"),
        ("{{name\n}} {{/x\n y}}", 2, 4, "not closed"),
        ("{{a {{b}}", 1, 1, "not closed"),
        ("{{{a}}", 1, 1, "`}}}` is missing"),
        ("{{ }}", 1, 1, "no name"),
        ("é{{#a}}\n", 1, 2, "`a` is never closed"),
        ("{{#a}}{{#b}}{{/a}}", 1, 13, "open section is `b` (1:7)"),
        ("x{{/a}}", 1, 2, "never opened"),
        ("{{>p}}", 1, 1, "partials"),
        ("{{=a=}}", 1, 1, "two words"),
        ("{{= a b c =}}", 1, 1, "two words"),
        (&deep, 1, 6 * MAX_NESTING + 1, "nested deeper"),
    ];
    for (template, line, column, message) in cases {
        let error = refusal(Profile::Plain, template, &json!({}));
        assert_eq!((error.line, error.column), (line, column), "{template:?}: {error}");
        assert!(error.message.contains(message), "{template:?}: {error}");
        assert!(!error.help.is_empty());
    }
}

#[test]
fn endless_renderings_are_refused() {
    let long = "x".repeat(1 << 16);
    let list = vec![0; 1000];
    let values = json!({"long": long, "list": list, "loop": "{{#asJson}}loop{{/asJson}}", "broken": "{{"});
    let cases = [
        ("{{#list}}{{#list}}{{#list}}{{#list}}{{/list}}{{/list}}{{/list}}{{/list}}", "steps"),
        ("{{#list}}{{long}}{{/list}}", "bytes"),
        ("{{#asJson}}loop{{/asJson}}", "again and again"),
        ("{{#asJson}}broken{{/asJson}}", "not a template"),
    ];
    for (template, message) in cases {
        let error = refusal(Profile::Package, template, &values);
        assert!(error.message.contains(message), "{template}: {error}");
        assert_eq!(error.line, 1);
    }
}

/// JSON values with keys that the templates below are likely to name.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("{{#asJson}}a{{/asJson}}")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abx.]{1,3}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn no_template_and_no_values_make_it_panic(
        template in prop_oneof![
            any::<String>(),
            "((\\{\\{[#^/!&={> ]?)|[ab.é\n\r= ]|(\\}\\}\\}?)|(=\\}\\})|asJson){0,40}",
            "((\\{\\{[#^&]?[ab](\\.[ab])?\\}\\})|(\\{\\{/[ab]\\}\\})|\n| ){0,20}",
        ],
        values in any_value(),
    ) {
        for profile in [Profile::Plain, Profile::Package, Profile::Service, Profile::Config] {
            if let Ok(template) = Template::parse(&template) {
                let _ = template.render(profile, &values);
            }
        }
    }

    #[test]
    fn text_without_delimiters_comes_out_unchanged(text in "[^{]*") {
        prop_assert_eq!(rendered(Profile::Package, &text, &json!({})).text, text);
    }

    #[test]
    fn any_string_printed_between_quotes_is_a_json_string_again(value in any::<String>()) {
        let json = text(Profile::Package, "\"{{v}}\"", &json!({"v": value}));
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
    }
}

/// A part of a template, to be written down and to be rendered by a second, simpler reading of the specification.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Tag { name: &'static str, raw: bool },
    Section { name: &'static str, inverted: bool, body: Vec<Part> },
}

const NAMES: [&str; 7] = ["a", "b", "x", "a.b", "b.x.a", ".", "nowhere"];

impl Part {
    fn write(&self, open: &str, close: &str) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Tag { name, raw } => format!("{open}{}{name}{close}", if *raw { "&" } else { " " }),
            Self::Section { name, inverted, body } => {
                let sign = if *inverted { '^' } else { '#' };
                let body: String = body.iter().map(|part| part.write(open, close)).collect();
                format!("{open}{sign}{name}{close}{body}{open}/ {name} {close}")
            }
        }
    }

    /// What it prints; `around` are the values that names are looked for in, the innermost first.
    fn print(&self, around: &[&Value]) -> String {
        let find = |name: &str| {
            if name == "." {
                return Some(around[0].clone());
            }
            let (first, rest) = name.split_once('.').unwrap_or((name, ""));
            let found = around.iter().find_map(|value| value.get(first))?;
            rest.split('.')
                .filter(|part| !part.is_empty())
                .try_fold(found.clone(), |value, part| value.get(part).cloned())
        };
        match self {
            Self::Text(text) => text.clone(),
            Self::Tag { name, raw } => {
                let text = match find(name) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text,
                    Some(Value::Array(_) | Value::Object(_)) => "collection".to_owned(),
                    Some(other) => other.to_string(),
                };
                let escaped = || text.replace('&', "&amp;").replace('<', "&lt;");
                if *raw { text } else { escaped() }
            }
            Self::Section { name, inverted, body } => {
                let items = match find(name) {
                    None | Some(Value::Null | Value::Bool(false)) => Vec::new(),
                    Some(Value::String(text)) if text.is_empty() => Vec::new(),
                    Some(Value::Array(items)) => items,
                    Some(other) => vec![other],
                };
                let inside = |item: &Value| -> String {
                    let around: Vec<_> = [item].into_iter().chain(around.iter().copied()).collect();
                    body.iter().map(|part| part.print(&around)).collect()
                };
                match (inverted, items.is_empty()) {
                    (true, true) => body.iter().map(|part| part.print(around)).collect(),
                    (true, false) => String::new(),
                    (false, _) => items.iter().map(inside).collect(),
                }
            }
        }
    }
}

fn any_part() -> impl Strategy<Value = Part> {
    let name = || prop::sample::select(&NAMES[..]);
    let leaf = prop_oneof![
        "[a-z é:,.\"]{0,5}".prop_map(Part::Text),
        (name(), any::<bool>()).prop_map(|(name, raw)| Part::Tag { name, raw }),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        (name(), any::<bool>(), prop::collection::vec(inner, 0..5))
            .prop_map(|(name, inverted, body)| Part::Section { name, inverted, body })
    })
}

/// Values whose texts every profile but the package's prints alike.
fn simple_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9..9).prop_map(Value::from),
        "[a&<é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abx]", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// The same with a text in the place of each collection that is printed, of which the specification says nothing.
fn without_printed_collections(text: &str) -> String {
    let mut depth = 0;
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '[' | '{' if depth == 0 => {
                out.push_str("collection");
                depth = 1;
            }
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

proptest! {
    #[test]
    fn any_template_prints_what_the_specification_says(
        parts in prop::collection::vec(any_part(), 0..6),
        values in prop::collection::btree_map("[abx]", simple_value(), 0..4),
    ) {
        let values = Value::from(values.into_iter().collect::<serde_json::Map<_, _>>());
        let expected: String = parts.iter().map(|part| part.print(&[&values])).collect();
        let written = |open, close| parts.iter().map(|part| part.write(open, close)).collect::<String>();
        let usual = rendered(Profile::Plain, &written("{{", "}}"), &values);
        prop_assert_eq!(without_printed_collections(&usual.text), &*expected, "{}", written("{{", "}}"));
        let other = format!("{{{{=<% %>=}}}}{}", written("<%", "%>"));
        prop_assert_eq!(&text(Profile::Plain, &other, &values), &usual.text, "with other delimiters: {}", other);
        let template = Template::parse(&written("{{", "}}")).unwrap();
        for offset in 0..=usual.text.len() {
            prop_assert_eq!(template.origin(&usual, offset).line, 1, "all is of one line");
        }
    }
}
