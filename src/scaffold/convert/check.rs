//! Whether a converted template is as sound as the one that it was made of: rendered with the default options, and with
//! every section switched the other way.

use super::super::shape::tags;
use super::{ConvertError, Document};
use crate::package::marathon;
use crate::package::options::{self, Object};
use crate::template::Template;
use serde_json::{Value, json};

/// The default options with the resources beside them: what a template is rendered with.
pub fn values(config: &Document, resource: &Document) -> Value {
    let mut values = options::defaults(&config.json());
    let resource = json!({ "resource": resource.json() });
    options::merge(&mut values, resource.as_object().unwrap_or(&Object::new()));
    Value::Object(values)
}

/// So many sections are switched, and the template is rendered once for each.
const MAX_SECTIONS: usize = 1000;

/// A template with its values.
struct Side<'t> {
    template: &'t Template,
    resource: &'t Value,
}

impl Side<'_> {
    fn app(&self, options: &Object) -> Result<Object, String> {
        let rendered = marathon::render(self.template, options, Some(self.resource));
        rendered.map(|(app, _)| app).map_err(|error| error.to_string())
    }
}

/// Renders both templates with all kinds of options: wherever the old one gives an app, the new one must, with all that
/// the scheduler needs, and with nothing else missing.
pub fn sound(
    old: &Document,
    new: &str,
    config: &Document,
    resource: &Document,
    new_resource: &str,
) -> Result<(), ConvertError> {
    let not_sound = |why: String| ConvertError::NotSound { file: old.source.file.to_string(), why };
    let parse = |text: &str| Template::parse(text).map_err(|error| not_sound(error.to_string()));
    let (old_template, new_template) = (parse(old.text())?, parse(new)?);
    let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| not_sound(error.to_string()));
    let (old_resource, new_resource) = (json(resource.text())?, json(new_resource)?);
    let before = Side { template: &old_template, resource: &old_resource };
    let after = Side { template: &new_template, resource: &new_resource };

    let defaults = options::defaults(&config.json());
    let mut names: Vec<&str> =
        tags(old.text()).iter().filter(|tag| "#^".contains(tag.sigil)).map(|tag| tag.name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_SECTIONS {
        return Err(not_sound(format!("it has sections of more than {MAX_SECTIONS} names")));
    }
    let switched = names.into_iter().map(|name| (format!("with `{name}` switched"), switch(&defaults, name)));
    for (which, options) in
        [("with default options".to_owned(), defaults.clone())].into_iter().chain(switched)
    {
        let Ok(old_app) = before.app(&options) else { continue };
        let app = after.app(&options).map_err(|why| not_sound(format!("{which}: {why}")))?;
        compare(&old_app, &app).map_err(|why| not_sound(format!("{which}, {why}")))?;
    }
    Ok(())
}

/// What is missing in the new app.
fn compare(old: &Object, new: &Object) -> Result<(), String> {
    const CHANGED: [&str; 6] = ["cmd", "args", "env", "fetch", "uris", "container"];
    if let Some((name, _)) =
        old.iter().find(|(name, value)| !CHANGED.contains(&name.as_str()) && new.get(*name) != Some(value))
    {
        return Err(format!("`{name}` is not what it was"));
    }
    let cmd = new.get("cmd").and_then(Value::as_str).unwrap_or_default();
    if !cmd.contains("./dagpkg-scheduler") {
        return Err("the command does not start the scheduler".to_owned());
    }
    for name in ["MESOS_MASTER", "STATE_DIR", "SECRETS"] {
        if new.get("env").and_then(|env| env.get(name)).is_none() {
            return Err(format!("the variable {name} is missing"));
        }
    }
    let uris = |key: &str| new.get(key).and_then(Value::as_array).into_iter().flatten();
    for artifact in ["/dagpkg-scheduler", "/svc.zip"] {
        let has = |item: &Value| item["uri"].as_str().is_some_and(|uri| uri.ends_with(artifact));
        if uris("fetch").filter(|item| has(item)).count() != 1 {
            return Err(format!("`fetch` does not bring {}", &artifact[1..]));
        }
    }
    Ok(())
}

/// The options with this one on if it was off, and off if it was on.
fn switch(options: &Object, name: &str) -> Object {
    let mut options = Value::Object(options.clone());
    let mut at = &mut options;
    let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
    for part in path.split('.').filter(|part| !part.is_empty()) {
        if !at[part].is_object() {
            at[part] = json!({});
        }
        at = &mut at[part];
    }
    let on = !matches!(&at[last], Value::Null | Value::Bool(false))
        && at[last] != json!("")
        && at[last] != json!([]);
    at[last] = if on { json!(false) } else { json!("switched-on") };
    match options {
        Value::Object(options) => options,
        // it was one above, and stays one
        _ => Object::new(),
    }
}
