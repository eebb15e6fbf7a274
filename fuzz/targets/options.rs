//! Options against a schema, both hostile: `config.json NUL options NUL setting`.

#![no_main]

use dagpkg::finding::Source;
use dagpkg::package::options::{self, OptionsError, UserOptions};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &str| {
    let mut parts = input.splitn(3, '\0');
    let mut source =
        |file: &str| Source::new(file, parts.next().unwrap_or_default());
    let (config_source, options_source) = (source("config.json"), source("options.json"));
    let setting = source("").text;

    let mut user = UserOptions::default();
    let _ = user.add_file(options_source);
    let _ = user.add_setting(&setting);
    let given = user.merged();
    let Ok(config) = config_source.json() else { return };

    let mut merged = options::defaults(&config);
    options::merge(&mut merged, &given);
    let mut again = merged.clone();
    options::merge(&mut again, &given);
    assert_eq!(again, merged, "merging the same options twice changes nothing more");
    for (name, value) in &given {
        assert!(value.is_object() || merged[name] == *value, "what the user says at the top is what holds");
    }

    match options::resolve(Some(&config), &given) {
        Ok(resolved) => {
            assert_eq!(resolved, merged);
            let left = options::violations(&config, &Value::Object(resolved));
            assert!(merged.is_empty() || left == Ok(Vec::new()), "what is accepted breaks no rule");
        }
        Err(OptionsError::Invalid(violations)) => {
            let (wrong, unset) = user.place(&violations, &config_source);
            let told = wrong.len() + unset.len();
            let names: usize = violations.iter().map(|violation| violation.unwanted().count().max(1)).sum();
            assert!((violations.len()..=names).contains(&told), "each violation, or each name that it is about");
            for violation in &violations {
                violation.report();
            }
            for finding in wrong.iter().chain(&unset) {
                assert!(finding.span.is_some() || finding.source.file.starts_with("--set"), "{finding}");
            }
        }
        Err(OptionsError::Schema(_) | OptionsError::NotAllowed) => {}
    }
});
