use super::*;
use crate::finding::{Code, Finding, Source};
use proptest::prelude::*;

fn object(value: &Value) -> Object {
    value.as_object().unwrap().clone()
}

fn config() -> Value {
    json!({
        "properties": {
            "service": {
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z]+$", "default": "demo"},
                    "count": {"type": "integer", "minimum": 1, "default": 1},
                    "mode": {"enum": ["a", "b"]},
                },
                "additionalProperties": false,
            },
            "whole": {"default": {"kept": true}, "properties": {"nested": {"default": 1}}},
            "bare": {"properties": {"no_default": {"type": "string"}}},
            "list": {"default": [1, 2]},
        },
        "required": ["needed"],
    })
}

#[test]
fn defaults_are_found_as_cosmos_finds_them() {
    let expected = json!({"service": {"name": "demo", "count": 1}, "whole": {"kept": true}, "list": [1, 2]});
    assert_eq!(Value::Object(defaults(&config())), expected);
    assert_eq!(defaults(&json!({"properties": 7})), Object::new());
    assert_eq!(defaults(&json!({"allOf": [{"properties": {"x": {"default": 1}}}]})), Object::new());
}

#[test]
fn objects_merge_and_everything_else_is_replaced() {
    let mut base = object(&json!({"a": {"x": 1, "y": {"z": 1}}, "l": [1, 2], "n": 1, "o": {"k": 1}}));
    merge(&mut base, &object(&json!({"a": {"y": {"w": 2}}, "l": [3], "n": null, "o": 5, "new": {}})));
    let expected = json!({"a": {"x": 1, "y": {"z": 1, "w": 2}}, "l": [3], "n": null, "o": 5, "new": {}});
    assert_eq!(Value::Object(base), expected);
}

#[test]
fn the_merged_options_are_validated() {
    let resolve = |user: Value| resolve(Some(&config()), &object(&user));
    assert_eq!(resolve(json!({"needed": 1})).unwrap()["service"]["name"], "demo");
    let Err(OptionsError::Invalid(violations)) = resolve(json!({"service": {"count": 0}})) else {
        panic!("an invalid count and a missing option are refused")
    };
    let found: Vec<_> = violations.iter().map(|v| (v.pointer.as_str(), v.keyword.as_str())).collect();
    assert_eq!(found, [("", "required"), ("/service/count", "minimum")]);
    assert_eq!(violations[1].value, 0);
    assert_eq!(violations[1].rule, "/properties/service/properties/count/minimum");
}

#[test]
fn options_need_a_config_and_a_config_must_be_a_schema() {
    assert_eq!(resolve(None, &Object::new()), Ok(Object::new()));
    assert_eq!(resolve(None, &object(&json!({"a": 1}))), Err(OptionsError::NotAllowed));
    // nothing to validate: Cosmos doesn't look at the rules
    assert_eq!(resolve(Some(&json!({"required": ["a"]})), &Object::new()), Ok(Object::new()));
    let broken = resolve(Some(&json!({"type": 5})), &object(&json!({"a": 1})));
    assert!(matches!(&broken, Err(OptionsError::Schema(why)) if why.starts_with("`/type`: ")), "{broken:?}");
    let remote = resolve(Some(&json!({"$ref": "http://example.org/s"})), &object(&json!({"a": 1})));
    assert!(matches!(remote, Err(OptionsError::Schema(_))), "nothing is fetched: {remote:?}");
}

#[test]
fn violations_are_reported_in_the_form_of_the_package_service() {
    let cases = [
        (
            json!({"service": {"name": 5}}),
            json!({"keyword": "type", "found": "integer", "expected": ["string"]}),
        ),
        (
            json!({"service": {"name": "A"}}),
            json!({"keyword": "pattern", "regex": "^[a-z]+$", "string": "A"}),
        ),
        (json!({"service": {"mode": "c"}}), json!({"keyword": "enum", "value": "c", "enum": ["a", "b"]})),
        (json!({"service": {"x": 1}}), json!({"keyword": "additionalProperties", "unwanted": ["x"]})),
        (json!({"service": {"count": 0}}), json!({"keyword": "minimum", "minimum": 1, "found": 0})),
        (json!({}), json!({"keyword": "required", "missing": ["needed"]})),
    ];
    for (options, expected) in cases {
        let report = violations(&config(), &options).unwrap().pop().unwrap().report();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&report[key], value, "{key} in {report}");
        }
        assert_eq!((&report["level"], &report["domain"]), (&json!("error"), &json!("validation")));
        assert!(report["instance"]["pointer"].is_string() && report["message"].is_string());
    }
}

#[test]
fn a_violation_is_placed_where_the_value_was_said_last() {
    let config = Source::new("config.json", config().to_string());
    let mut user = UserOptions::default();
    user.add_file(Source::new("a.json", "{\"service\":\n {\"count\": 0}}")).unwrap();
    let place = |user: &UserOptions| {
        let Err(OptionsError::Invalid(found)) = resolve(Some(&config.json().unwrap()), &user.merged()) else {
            panic!("should be refused")
        };
        let (wrong, unset) = user.place(&found, &config);
        let texts = |findings: Vec<Finding>| findings.iter().map(Finding::to_string).collect::<Vec<_>>();
        (texts(wrong), texts(unset))
    };
    let (wrong, unset) = place(&user);
    assert!(
        wrong[0].starts_with("a.json:2:3: error[P024]: option `service.count`: 0 is less than"),
        "{wrong:?}"
    );
    assert!(wrong[0].contains("\n  config.json:1:130: the rule"), "{wrong:?}");
    assert_eq!((wrong.len(), unset.len()), (1, 1));
    assert!(unset[0].starts_with("config.json:1:"), "{unset:?}");
    assert!(unset[0].contains("option `needed` is required"), "{unset:?}");

    user.add_setting("service.count=-1").unwrap();
    user.add_setting("service.typo=x").unwrap();
    let (wrong, _) = place(&user);
    assert!(
        wrong[0].starts_with("--set service.count=-1: error[P024]: option `service.count`: -1"),
        "{wrong:?}"
    );
    assert!(wrong[1].starts_with("--set service.typo=x: error[P024]: "), "{wrong:?}");
}

/// Rules of every kind that config.json files have.
const RULES: &str = r##"{
  "definitions": {"port": {"type": "integer", "maximum": 65535}, "deep": {"$ref": "#/definitions/port"}},
  "properties": {
"service": {
  "type": "object",
  "properties": {
    "name": {"type": "string", "pattern": "^[a-z]+$", "default": "demo", "maxLength": 8},
    "mode": {"enum": ["a", "b"], "default": "a"},
    "count": {"type": "integer", "minimum": 1},
    "port": {"$ref": "#/definitions/deep"},
    "size": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "G$"}]},
    "one": {"oneOf": [{"minimum": 1}, {"minimum": 2}]},
    "a/b": {"type": "object", "properties": {"c.d": {"type": "boolean"}}}
  },
  "additionalProperties": false
},
"nodes": {"type": "array", "maxItems": 2, "items": {"type": "object", "required": ["host"], "properties": {"host": {"type": "string"}}}}
  },
  "not": {"required": ["forbidden"]}
}"##;

/// Options that break a rule; line and column of the place; what is said, in a sentence and in a note; the rule's line.
const REFUSED: [(&str, &str, &str, &str, usize); 14] = [
    (
        "{\"service\":\n  {\"name\": 5}}",
        "2:4",
        "option `service.name`: 5 is not of type \"string\" (rule `type`)",
        "`/service/name`: 5; the rule: `/properties/service/properties/name/type`",
        7,
    ),
    (
        "{\"service\": {\"name\": \"A\"}}",
        "1:14",
        "option `service.name`: \"A\" does not match \"^[a-z]+$\" (rule `pattern`)",
        "`/service/name`: \"A\"; the rule: `/properties/service/properties/name/pattern`",
        7,
    ),
    (
        "{\"service\": {\"name\": \"abcdefghi\"}}",
        "1:14",
        "option `service.name`: \"abcdefghi\" is longer than 8 characters (rule `maxLength`)",
        "`/service/name`: \"abcdefghi\"; the rule: `/properties/service/properties/name/maxLength`",
        7,
    ),
    (
        "{\"service\": {\"mode\": \"c\"}}",
        "1:14",
        "option `service.mode`: \"c\" is not one of \"a\" or \"b\" (rule `enum`)",
        "`/service/mode`: \"c\"; the rule: `/properties/service/properties/mode/enum`",
        8,
    ),
    (
        "{\n\n\"service\": {\n\"count\": 0}}",
        "4:1",
        "option `service.count`: 0 is less than the minimum of 1 (rule `minimum`)",
        "`/service/count`: 0; the rule: `/properties/service/properties/count/minimum`",
        9,
    ),
    (
        "{\"service\": {\"port\": 70000}}",
        "1:14",
        "option `service.port`: 70000 is greater than the maximum of 65535 (rule `maximum`)",
        "`/service/port`: 70000; the rule: `/definitions/port/maximum`",
        2,
    ),
    (
        "{\"service\": {\"size\": \"3\"}}",
        "1:14",
        "option `service.size`: \"3\" is not valid under any of the schemas listed in the 'anyOf' keyword (rule `anyOf`)",
        "`/service/size`: \"3\"; the rule: `/properties/service/properties/size/anyOf`",
        11,
    ),
    (
        "{\"service\": {\"one\": 3}}",
        "1:14",
        "option `service.one`: 3 is valid under more than one of the schemas listed in the 'oneOf' keyword (rule `oneOf`)",
        "`/service/one`: 3; the rule: `/properties/service/properties/one/oneOf`",
        12,
    ),
    (
        "{\"service\": {\"a/b\": {\"c.d\": 1}}}",
        "1:22",
        "option `service.a/b.c.d`: 1 is not of type \"boolean\" (rule `type`)",
        "`/service/a~1b/c.d`: 1; the rule: `/properties/service/properties/a~1b/properties/c.d/type`",
        13,
    ),
    (
        "{\"service\": {\"cuont\": 3}}",
        "1:14",
        "there is no option `service.cuont` (rule `additionalProperties`)",
        "`/service/cuont`: 3; the rule: `/properties/service/additionalProperties`",
        15,
    ),
    (
        "{\"nodes\": [{\"host\": \"h\"}, {}]}",
        "1:27",
        "option `nodes.1.host` is required",
        "`/nodes/1`: {}; the rule: `/properties/nodes/items/required`",
        17,
    ),
    (
        "{\"nodes\": [{\"host\": \"h\"},\n {\"host\": 1}]}",
        "2:3",
        "option `nodes.1.host`: 1 is not of type \"string\" (rule `type`)",
        "`/nodes/1/host`: 1; the rule: `/properties/nodes/items/properties/host/type`",
        17,
    ),
    (
        "{\"service\": 5}",
        "1:2",
        "option `service`: 5 is not of type \"object\" (rule `type`)",
        "`/service`: 5; the rule: `/properties/service/type`",
        5,
    ),
    (
        " {\"forbidden\": 5}",
        "1:2",
        "the options: {\"required\":[\"forbidden\"]} is not allowed for \
            {\"service\":{\"name\":\"demo\",\"mode\":\"a\"},\"forbidden\":5} (rule `not`)",
        "all options together: {\"service\":{\"name\":\"demo\",\"mode\":\"a\"},\"forbidden\":5}; the rule: `/not`",
        19,
    ),
];

#[test]
fn every_rule_is_told_with_pointer_value_rule_and_place() {
    let config = Source::new("config.json", RULES);
    for (options, place, message, note, line) in REFUSED {
        let mut user = UserOptions::default();
        user.add_file(Source::new("o.json", options)).unwrap();
        let (wrong, unset) = refused(&user, &config);
        assert_eq!((wrong.len(), unset.len()), (1, 0), "{options}: {wrong:?} {unset:?}");
        assert_eq!(wrong[0].message, message, "{options}");
        assert_eq!(wrong[0].note.as_deref(), Some(note), "{options}");
        assert!(wrong[0].to_string().starts_with(&format!("o.json:{place}: error[P024]: ")), "{}", wrong[0]);
        let rule = wrong[0].related.as_ref().expect("the place of the rule");
        let place = crate::template::Place::of(&rule.source.text, rule.span.start);
        assert_eq!((&*rule.source.file, place.line), ("config.json", line), "{options}");
    }
}

fn refused(user: &UserOptions, config: &Source) -> (Vec<Finding>, Vec<Finding>) {
    match resolve(Some(&config.json().unwrap()), &user.merged()) {
        Err(OptionsError::Invalid(found)) => user.place(&found, config),
        other => panic!("should be refused: {other:?}"),
    }
}

#[test]
fn each_unwanted_option_is_told_where_it_is_and_what_was_probably_meant() {
    let mut user = UserOptions::default();
    user.add_file(Source::new("a.json", "{\"service\": {\"cont\": 1, \"mode\": \"x\"}}")).unwrap();
    user.add_setting("service.nam=y").unwrap();
    user.add_setting("service.mode=b").unwrap();
    let (wrong, _) = refused(&user, &Source::new("config.json", RULES));
    let found: Vec<_> = wrong.iter().map(|f| (&*f.source.file, f.help.as_deref())).collect();
    let expected =
        [("a.json", Some("did you mean `count`?")), ("--set service.nam=y", Some("did you mean `name`?"))];
    assert_eq!(found, expected, "a value that another goes over does no harm");
}

#[test]
fn what_defaults_break_by_themselves_is_not_laid_on_the_user() {
    let rules = r#"{"properties": {"a": {"default": 1}, "b": {"properties": {"c": {"default": 0, "minimum": 1}}}},
        "anyOf": [{"required": ["x"]}, {"required": ["y"]}]}"#;
    let config = Source::new("config.json", rules);
    let mut user = UserOptions::default();
    user.add_setting("a=2").unwrap();
    let (wrong, unset) = refused(&user, &config);
    assert_eq!(wrong, []);
    assert_eq!(unset.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::DefaultRefused; 2]);
    user.add_setting("b.c=0").unwrap();
    user.add_setting("x=1").unwrap();
    let (wrong, unset) = refused(&user, &config);
    assert_eq!(
        (&*wrong[0].source.file, wrong.len(), unset.len()),
        ("--set b.c=0", 1, 0),
        "given, if the same"
    );
}

#[test]
fn long_values_are_shortened() {
    let mut user = UserOptions::default();
    user.add_setting(&format!("service.name={}", "A".repeat(5000))).unwrap();
    let (wrong, _) = refused(&user, &Source::new("config.json", RULES));
    assert!(wrong.iter().all(|f| f.message.len() < 300 && f.note.as_ref().is_some_and(|n| n.len() < 300)));
}

#[test]
fn settings_are_json_or_text() {
    let mut user = UserOptions::default();
    for setting in ["a.b=1", "a.c=x=y", "d=[1]", "e=", "f=\"1\"", "a.b=2"] {
        user.add_setting(setting).unwrap();
    }
    let expected = json!({"a": {"b": 2, "c": "x=y"}, "d": [1], "e": "", "f": "1"});
    assert_eq!(Value::Object(user.merged()), expected);
    for wrong in ["a", "=1", "a..b=1", ".a=1"] {
        assert!(user.add_setting(wrong).unwrap_err().to_string().starts_with("--set "), "{wrong}");
    }
}

#[test]
fn files_of_options_must_be_objects() {
    let add = |text: &str| UserOptions::default().add_file(Source::new("o.json", text));
    assert!(
        add("[1]")
            .unwrap_err()
            .to_string()
            .starts_with("o.json:1:1: error[P004]: options must be a JSON object")
    );
    assert!(
        add("{\n\"a\" 1}").unwrap_err().to_string().starts_with("o.json:2:5: error[P003]: this is not JSON")
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..70000_i64).prop_map(Value::from),
        "[aG]{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            any_object_of(inner).prop_map(Value::from),
        ]
    })
}

/// Objects with the names that the rules above have, and others.
fn any_object_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Object> {
    let name = prop_oneof![
        prop::sample::select(
            &["service", "name", "count", "port", "size", "one", "a/b", "c.d", "nodes", "host"][..]
        )
        .prop_map(str::to_owned),
        "[a~/.]{0,2}",
    ];
    prop::collection::vec((name, values), 0..4).prop_map(|members| members.into_iter().collect())
}

fn any_object() -> impl Strategy<Value = Object> {
    any_object_of(any_value())
}

/// What a value is that is put over another one, said in another way than by `merge`.
fn put_over(base: Option<&Value>, over: Option<&Value>) -> Option<Value> {
    let (Some(Value::Object(base)), Some(Value::Object(over))) = (base, over) else {
        return over.or(base).cloned();
    };
    let mut names: Vec<_> = base.keys().chain(over.keys()).collect();
    names.sort();
    names.dedup();
    let member = |name: &String| Some((name.clone(), put_over(base.get(name), over.get(name))?));
    Some(names.into_iter().filter_map(member).collect::<Object>().into())
}

proptest! {
    #[test]
    fn merging_keeps_what_is_not_said_again(base in any_object(), over in any_object()) {
        let mut merged = base.clone();
        merge(&mut merged, &over);
        let expected = put_over(Some(&Value::Object(base.clone())), Some(&Value::Object(over.clone())));
        prop_assert_eq!(Some(Value::Object(merged.clone())), expected);
        let kept: Vec<_> = merged.keys().take(base.len()).collect();
        prop_assert_eq!(kept, base.keys().collect::<Vec<_>>(), "in the order that they had");
        let once = merged.clone();
        merge(&mut merged, &over);
        prop_assert_eq!(&merged, &once, "twice is once");
    }

    #[test]
    fn defaults_are_what_the_schema_says(schema in any_object()) {
        let schema = json!({"properties": {"x": {"default": schema}, "y": {"properties": {"z": {"default": 1}}}, "n": schema}});
        let found = defaults(&schema);
        prop_assert_eq!(&found["x"], &schema["properties"]["x"]["default"]);
        prop_assert_eq!(&found["y"], &json!({"z": 1}));
        prop_assert_eq!(found.get("n").is_some_and(|n| n == &json!({})), false, "nothing without a default");
    }

    #[test]
    fn every_broken_rule_is_told_of_once_and_where_it_was_given(
        layers in prop::collection::vec(any_object(), 0..4),
        setting in prop::option::of("[a-z]{1,8}(\\.[a-z]{1,5})?=[0-9a-z\\[\\]{}\"]{0,5}"),
    ) {
        let config = Source::new("config.json", RULES);
        let mut user = UserOptions::default();
        for layer in layers {
            user.add_file(Source::new("o.json", Value::Object(layer).to_string())).unwrap();
        }
        if let Some(setting) = setting {
            user.add_setting(&setting).unwrap();
        }
        match resolve(Some(&config.json().unwrap()), &user.merged()) {
            Ok(all) => prop_assert_eq!(put_over(Some(&Value::Object(all.clone())), Some(&Value::Object(user.merged()))), put_over(None, Some(&Value::Object(all)))),
            Err(OptionsError::Invalid(found)) => {
                let (wrong, unset) = user.place(&found, &config);
                let told: usize = found.iter().map(|violation| violation.unwanted().count().max(1)).sum();
                prop_assert_eq!(wrong.len() + unset.len(), told);
                for finding in &wrong {
                    let file = &*finding.source.file;
                    prop_assert!(file.starts_with("--set ") || (file == "o.json" && finding.place().is_some()), "{}", finding);
                }
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
