//! The Marathon app that a package becomes when it is installed with some options.

use super::json;
use super::options::{self, Object, OptionsError};
use crate::finding::{Code, Finding, Source};
use crate::template::{Place, Profile, Rendered, Template, TemplateError, tag_length};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::io::Write as _;
use std::ops::Range;

/// Why a package cannot be rendered. The messages speak of the package's files by their usual names.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// The package is only a subcommand for the DC/OS command line.
    #[error("the package has no marathon.json.mustache, so there is no app")]
    NoTemplate,
    /// The template in the definition is not base64 of UTF-8.
    #[error("marathon.v2AppMustacheTemplate: {0}")]
    Encoding(String),
    /// The options are not allowed.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The template cannot be parsed or rendered.
    #[error("marathon.json.mustache:{0}")]
    Template(#[from] TemplateError),
    /// What was rendered is no JSON.
    #[error(
        "marathon.json.mustache:{origin}: the rendered text is not JSON: {message}\n  rendered line {line}: {text}\n  help: {NOT_JSON_HELP}"
    )]
    NotJson {
        /// Where in the template the text comes from that is wrong.
        origin: Place,
        /// What the JSON parser says.
        message: String,
        /// Line of the rendered text, from 1.
        line: usize,
        /// That line.
        text: String,
    },
    /// What was rendered is JSON, but no object.
    #[error("marathon.json.mustache:1:1: the rendered text must be a JSON object, but is {0}")]
    NotObject(String),
    /// A label of the template is no text.
    #[error("marathon.json.mustache: label `{name}` must be a string, but is {value}")]
    Label {
        /// The label, or `labels` as a whole.
        name: String,
        /// What it is.
        value: String,
    },
}

impl RenderError {
    /// The error as a finding in the template's file.
    pub fn finding(&self, template: &Source) -> Finding {
        match self {
            Self::NoTemplate => Finding::new(Code::NoTemplate, template, self.to_string()),
            Self::Template(error) => template_finding(template, error),
            Self::NotJson { origin, message, line, text } => {
                let span = tag(&template.text, *origin);
                template
                    .finding(Code::AppNotJson, &span, format!("the rendered text is not JSON: {message}"))
                    .note(format!("rendered line {line}: {text}"))
                    .help(NOT_JSON_HELP)
            }
            Self::NotObject(_) => template.finding(Code::AppShape, &(0..0), self.to_string()),
            Self::Options(_) | Self::Encoding(_) | Self::Label { .. } => {
                Finding::new(Code::AppShape, template, self.to_string())
            }
        }
    }
}

/// A finding about a template that cannot be parsed or rendered.
pub fn template_finding(template: &Source, error: &TemplateError) -> Finding {
    let span = tag(&template.text, Place { line: error.line, column: error.column });
    template.finding(Code::TemplateSyntax, &span, &*error.message).help(&*error.help)
}

/// The bytes of the tag at a place, or of the character if there is none.
pub(super) fn tag(text: &str, place: Place) -> Range<usize> {
    let start = place.offset(text);
    match tag_length(&text[start..]) {
        Some(length) => start..start + length,
        None => json::character(text, start),
    }
}

const NOT_JSON_HELP: &str = "an option that is missing or of another type than the template expects prints nothing, \
    and commas belong inside of the section that they separate";

/// Renders a Marathon template with options that are merged and validated already. `resource` is resource.json, with
/// the URLs as published.
pub fn render(
    template: &Template,
    options: &Object,
    resource: Option<&Value>,
) -> Result<(Object, Rendered), RenderError> {
    let mut context = options.clone();
    if let Some(resource) = resource {
        let resource = json!({ "resource": resource });
        options::merge(&mut context, resource.as_object().unwrap_or(&Object::new()));
    }
    let rendered = template.render(Profile::Package, &Value::Object(context))?;
    match serde_json::from_str(&rendered.text) {
        Ok(Value::Object(app)) => Ok((app, rendered)),
        Ok(other) => Err(RenderError::NotObject(shorten(&other.to_string()))),
        Err(error) => Err(not_json(template, &rendered, &error)),
    }
}

fn not_json(template: &Template, rendered: &Rendered, error: &serde_json::Error) -> RenderError {
    let offset = json::error_offset(&rendered.text, error);
    let line = error.line().max(1);
    RenderError::NotJson {
        origin: template.origin(rendered, offset),
        message: json::reason(&rendered.text, error),
        line,
        text: shorten(rendered.text.lines().nth(line - 1).unwrap_or_default().trim()),
    }
}

/// At most 160 characters.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The app that DC/OS runs for a package of a repository: options over defaults, validated; the template rendered; the
/// id, if another is wanted; and the labels by which the package service finds again what it installed.
///
/// `definition` is the package as in the repository, `source` the repository's URI, `user_options` what the user gave.
pub fn app(
    definition: &Object,
    source: &str,
    user_options: &Object,
    app_id: Option<&str>,
) -> Result<Object, RenderError> {
    let template = template_of(definition)?;
    let merged = options::resolve(definition.get("config"), user_options)?;
    let (mut app, _) = render(&template, &merged, definition.get("resource"))?;
    if let Some(id) = app_id {
        app.insert("id".to_owned(), id.into());
    }
    let mut all_labels = own_labels(&app)?;
    options::merge(&mut all_labels, &labels(definition, source, user_options));
    app.insert("labels".to_owned(), Value::Object(all_labels));
    Ok(app)
}

/// The Marathon template of a package of a repository.
pub fn template_of(definition: &Object) -> Result<Template, RenderError> {
    let encoded = definition
        .get("marathon")
        .and_then(|marathon| marathon.get("v2AppMustacheTemplate"))
        .ok_or(RenderError::NoTemplate)?;
    let bytes = BASE64
        .decode(encoded.as_str().unwrap_or_default())
        .map_err(|error| RenderError::Encoding(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| RenderError::Encoding(error.to_string()))?;
    Ok(Template::parse(&text)?)
}

fn own_labels(app: &Object) -> Result<Object, RenderError> {
    let wrong =
        |name: &str, value: &Value| RenderError::Label { name: name.to_owned(), value: value.to_string() };
    match app.get("labels") {
        None => Ok(Object::new()),
        Some(Value::Object(labels)) => match labels.iter().find(|(_, value)| !value.is_string()) {
            None => Ok(labels.clone()),
            Some((name, value)) => Err(wrong(name, value)),
        },
        Some(other) => Err(wrong("labels", other)),
    }
}

/// The labels that Cosmos puts on the app of a package, in place of any that the template sets.
pub fn labels(definition: &Object, source: &str, user_options: &Object) -> Object {
    let text = |key: &str| definition.get(key).and_then(Value::as_str).unwrap_or_default();
    let labels = json!({
        "DCOS_PACKAGE_NAME": text("name"),
        "DCOS_PACKAGE_VERSION": text("version"),
        "DCOS_PACKAGE_SOURCE": source,
        "DCOS_PACKAGE_OPTIONS": BASE64.encode(Value::Object(user_options.clone()).to_string()),
        "DCOS_PACKAGE_DEFINITION": definition_label(definition),
    });
    labels.as_object().cloned().unwrap_or_default()
}

/// The whole definition: base64 of JSON with base64 of gzip of JSON, without nulls.
fn definition_label(definition: &Object) -> String {
    let package = without_nulls(&Value::Object(definition.clone())).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // writing to memory does not fail
    let data = gzip.write_all(package.as_bytes()).and_then(|()| gzip.finish()).unwrap_or_default();
    let version = match definition.get("packagingVersion").and_then(Value::as_str) {
        Some("2.0") => 2,
        Some("3.0") => 3,
        Some("5.0") => 5,
        _ => 4,
    };
    let label = json!({
        "metadata": {
            "Content-Type":
                format!("application/vnd.dcos.universe.package+json;charset=utf-8;version=v{version}"),
            "Content-Encoding": "gzip",
        },
        "data": BASE64.encode(data),
    });
    BASE64.encode(label.to_string())
}

pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<Object>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(template: &str) -> Object {
        let value = json!({
            "packagingVersion": "3.0", "name": "demo", "version": "1.0", "scm": null,
            "marathon": {"v2AppMustacheTemplate": BASE64.encode(template)},
            "config": {"properties": {"name": {"type": "string", "default": "demo"}, "flag": {"type": "boolean"}}},
            "resource": {"assets": {"uris": {"x": "http://example.org/x"}, "none": null}},
        });
        value.as_object().unwrap().clone()
    }

    fn options(value: &Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn decoded(label: &Value) -> Vec<u8> {
        BASE64.decode(label.as_str().unwrap()).unwrap()
    }

    #[test]
    fn a_package_becomes_an_app_with_the_labels_of_the_package_service() {
        let definition = definition(
            r#"{"id": "{{name}}", "cmd": "fetch {{resource.assets.uris.x}}",
                "labels": {"OWN": "1", "DCOS_PACKAGE_NAME": "overridden"}}"#,
        );
        let user = options(&json!({"name": "a\"b"}));
        let app = app(&definition, "http://example.org/repo", &user, None).unwrap();
        assert_eq!((&app["id"], &app["cmd"]), (&json!("a\"b"), &json!("fetch http://example.org/x")));
        let labels = &app["labels"];
        assert_eq!((&labels["OWN"], &labels["DCOS_PACKAGE_NAME"]), (&json!("1"), &json!("demo")));
        assert_eq!(labels["DCOS_PACKAGE_VERSION"], "1.0");
        assert_eq!(labels["DCOS_PACKAGE_SOURCE"], "http://example.org/repo");
        assert_eq!(decoded(&labels["DCOS_PACKAGE_OPTIONS"]), br#"{"name":"a\"b"}"#);
    }

    #[test]
    fn the_definition_label_holds_the_whole_package_without_nulls() {
        let definition = definition("{}");
        let label: Value = serde_json::from_slice(&decoded(
            &labels(&definition, "", &Object::new())["DCOS_PACKAGE_DEFINITION"],
        ))
        .unwrap();
        assert_eq!(
            label["metadata"],
            json!({
                "Content-Type": "application/vnd.dcos.universe.package+json;charset=utf-8;version=v3",
                "Content-Encoding": "gzip",
            })
        );
        let data = decoded(&label["data"]);
        let package: Value = serde_json::from_reader(flate2::read::GzDecoder::new(data.as_slice())).unwrap();
        assert_eq!(package["marathon"], definition["marathon"]);
        assert_eq!(package.get("scm"), None);
        assert_eq!(package["resource"]["assets"], json!({"uris": {"x": "http://example.org/x"}}));
    }

    #[test]
    fn the_wanted_id_replaces_the_one_of_the_template() {
        let app = app(&definition(r#"{"id": "{{name}}"}"#), "", &Object::new(), Some("/other")).unwrap();
        assert_eq!(app["id"], "/other");
    }

    #[test]
    fn what_cannot_become_an_app_is_refused_with_the_reason() {
        let cases = [
            ("{\n  \"id\": {{name}}\n}", "marathon.json.mustache:2:9: the rendered text is not JSON"),
            ("{\n  {{#flag}}\n  \"a\": 1,\n  {{/flag}}\n}", "marathon.json.mustache:5:1: the rendered"),
            ("[\"{{name}}\"]", "must be a JSON object, but is [\"demo\"]"),
            ("{\"labels\": {\"a\": 1}}", "label `a` must be a string, but is 1"),
            ("{\"labels\": 1}", "label `labels` must be a string, but is 1"),
            ("\n{{#a}}", "marathon.json.mustache:2:1: section `a` is never closed"),
        ];
        for (template, message) in cases {
            let user = options(&json!({"flag": true}));
            let error = app(&definition(template), "", &user, None).unwrap_err().to_string();
            assert!(error.contains(message), "{template}: {error}");
        }
        let user = options(&json!({"flag": 1}));
        let error = app(&definition("{}"), "", &user, None).unwrap_err();
        assert!(matches!(error, RenderError::Options(OptionsError::Invalid(_))), "{error}");
        assert_eq!(app(&Object::new(), "", &Object::new(), None).unwrap_err(), RenderError::NoTemplate);
        let broken = options(&json!({"marathon": {"v2AppMustacheTemplate": "%"}}));
        let error = app(&broken, "", &Object::new(), None).unwrap_err();
        assert!(matches!(error, RenderError::Encoding(_)), "{error}");
    }

    #[test]
    fn the_rendered_line_that_is_no_json_is_shown() {
        let template = Template::parse("{\n  \"id\": {{name}}\n}").unwrap();
        let error = render(&template, &options(&json!({"name": "demo"})), None).unwrap_err();
        assert!(error.to_string().contains("rendered line 2: \"id\": demo"), "{error}");
    }

    #[test]
    fn an_option_called_resource_is_merged_under_the_resources() {
        let template = Template::parse(r#"{"id": "{{resource.own}} {{resource.x}}"}"#).unwrap();
        let user = options(&json!({"resource": {"own": 1, "x": 2}}));
        let (app, _) = render(&template, &user, Some(&json!({"x": 3}))).unwrap();
        assert_eq!(app["id"], "1 3");
    }
}
