//! Whether the app is still JSON with other options: each option that a section of the template depends on is switched.
//!
//! The default options render half of a template. What is in the other half, authors see when the first user needs it.

use crate::finding::{Code, Finding, Severity, Source};
use crate::package::marathon::{self, RenderError};
use crate::package::options::{self, Object};
use crate::template::{NameUse, Template};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// So many options are switched, and the template is rendered once for each.
const MAX_SWITCHED: usize = 200;

/// The options whose switching makes the app something that is not JSON. Nothing is said of an option that others have to be
/// set with.
pub fn check(
    source: &Source,
    template: &Template,
    config: &Value,
    options: &Object,
    resource: Option<&Value>,
) -> Vec<Finding> {
    let render = |options: &Object| marathon::render(template, options, resource);
    let (Ok((_, usual)), Ok(validator)) = (render(options), jsonschema::draft4::new(config)) else {
        return Vec::new();
    };
    let broken = validator.iter_errors(&Value::Object(options.clone())).count();
    let rules = Rules { config, validator, broken };
    let known: BTreeSet<&str> = usual.missing.iter().map(|missing| missing.name.as_str()).collect();
    let sections = template.names().into_iter().filter(|name| name.use_ == NameUse::Section);
    let names: BTreeSet<&str> = sections.map(|name| name.text).collect();
    let mut findings: Vec<Finding> = Vec::new();
    for name in names.into_iter().take(MAX_SWITCHED) {
        let Some((value, switched)) = switched(&rules, options, name) else { continue };
        let Err(error @ RenderError::NotJson { .. }) = render(&switched) else { continue };
        // a name that prints nothing only now is that of an option that goes with this one
        let rendered = marathon::context(&switched, resource);
        let lacks = template.render(crate::template::Profile::Package, &rendered);
        if lacks.is_ok_and(|lacks| lacks.missing.iter().any(|missing| !known.contains(missing.name.as_str())))
        {
            continue;
        }
        let found = error.finding(source).with_severity(Severity::Warning);
        if findings.iter().all(|other| (other.code, &other.span) != (Code::AppNotJson, &found.span)) {
            let message = format!("with the option `{name}` as {value}, {}", found.message);
            findings.push(Finding { message, ..found });
        }
    }
    findings
}

/// What options must keep to.
struct Rules<'a> {
    config: &'a Value,
    validator: jsonschema::Validator,
    /// So many rules are broken already: an empty default says that an option has to be set.
    broken: usize,
}

/// The options with one of them switched, if the schema allows it, and what it then is.
fn switched(rules: &Rules, options: &Object, name: &str) -> Option<(Value, Object)> {
    let Rules { config, validator, broken: before } = rules;
    let schema = name.split('.').try_fold(*config, |schema, part| schema["properties"].get(part))?;
    let now = name.split('.').try_fold(None, |value: Option<&Value>, part| match value {
        None => Some(options.get(part)),
        Some(value) => value.get(part).map(Some),
    });
    let now = now.flatten().unwrap_or(&Value::Null);
    let empty = now.is_null() || now == "";
    let value = match (schema["type"].as_str()?, &schema["enum"]) {
        ("boolean", _) => json!(now != &json!(true)),
        ("string", Value::Array(words)) if empty => words.iter().find(|word| *word != "")?.clone(),
        ("string", Value::Null) if empty => json!("example"),
        ("string", _) => json!(""),
        _ => return None,
    };
    let user = name.rsplit('.').fold(value.clone(), |value, part| json!({part: value}));
    let mut all = options.clone();
    options::merge(&mut all, user.as_object()?);
    let pointer = format!("/{}", name.replace('.', "/"));
    let value_of_all = Value::Object(all.clone());
    let broken: Vec<_> =
        validator.iter_errors(&value_of_all).map(|error| error.instance_path().to_string()).collect();
    let allowed = broken.len() <= *before && !broken.contains(&pointer);
    allowed.then_some((value, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: &str) -> Vec<String> {
        let config = json!({"properties": {
            "a": {"properties": {"on": {"type": "boolean", "default": false}, "port": {"type": "integer"}}},
            "word": {"type": "string", "enum": ["", "x"], "default": ""},
            "strict": {"type": "string", "pattern": "^s3$", "default": ""},
        }});
        let source = Source::new("t", template);
        let parsed = Template::parse(template).expect("a template");
        let findings = check(&source, &parsed, &config, &options::defaults(&config), None);
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn the_half_of_a_template_that_defaults_do_not_render_is_tried() {
        let broken = found("{\"id\": \"x\"{{#a.on}}\n \"cmd\": \"c\"{{/a.on}}}");
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(
            broken[0].starts_with("t:2:2: warning[P033]: with the option `a.on` as true, "),
            "{broken:?}"
        );
        let word = found(r#"{"id": "x" {{#word}}, "w: "{{word}}"{{/word}}}"#);
        assert!(word[0].contains("with the option `word` as \"x\", "), "{word:?}");
    }

    #[test]
    fn what_is_sound_or_needs_more_options_is_not_told() {
        for template in [
            r#"{"id": "x" {{#a.on}}, "cmd": "c"{{/a.on}} {{^a.on}}, "cmd": "d"{{/a.on}}}"#,
            // the port has to be set with it
            r#"{"id": "x" {{#a.on}}, "port": {{a.port}}{{/a.on}}}"#,
            // no value is known that its rule allows
            r#"{"id": "x" {{#strict}} "s": {{/strict}}}"#,
            r#"{"id": "x" {{#gone}} "s": {{/gone}}}"#,
        ] {
            assert_eq!(found(template), Vec::<String>::new(), "{template}");
        }
    }
}
