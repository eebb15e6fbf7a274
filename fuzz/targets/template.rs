//! Templates and values that are both hostile: `template NUL values`, in every profile.

#![no_main]

use dagpkg::template::{Profile, Template};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|input: &str| {
    let (template, values) = input.split_once('\0').unwrap_or((input, ""));
    let Ok(parsed) = Template::parse(template) else { return };
    let values = serde_json::from_str(values).unwrap_or_else(|_| some_values());
    for profile in [Profile::Plain, Profile::Package, Profile::Service, Profile::Config] {
        let Ok(rendered) = parsed.render(profile, &values) else { continue };
        if !template.contains("{{") {
            assert_eq!(rendered.text, template, "text without tags is printed as it is");
        }
        let lines = template.split('\n').count();
        for missing in &rendered.missing {
            assert!((1..=lines).contains(&missing.line) && missing.column >= 1, "{missing:?}");
        }
        for offset in [0, rendered.text.len() / 2, rendered.text.len(), usize::MAX] {
            let origin = parsed.origin(&rendered, offset);
            assert!((1..=lines).contains(&origin.line) && origin.column >= 1, "{offset}: {origin}");
        }
    }
});

/// Every kind of value, under names that are quickly found.
fn some_values() -> Value {
    json!({
        "a": "<text> & \"more\"", "b": [1, "x", null, {"a": 0.1, "c": []}], "c": {"a": {"b": -1e300}, "a.b": false},
        "d": true, "e": null, "t": "{{#asJson}}t{{/asJson}}", "u": "{{a}}{{#b}}{{.}}{{/b}}",
    })
}
