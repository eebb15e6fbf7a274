//! Options as a user gives them, and where in what was given a rule is broken.

use super::{Object, Violation, brief, defaults, member, merge, option_at, unescaped, violations};
use crate::finding::{Code, Finding, Report, Source, nearest};
use crate::package::json;
use serde_json::{Value, json};

/// Options as a user gives them: files and `name=value` settings, the later on top of the earlier.
#[derive(Clone, Debug, Default)]
pub struct UserOptions {
    layers: Vec<(Origin, Object)>,
}

#[derive(Clone, Debug)]
enum Origin {
    File(Source),
    Setting(String),
}

impl UserOptions {
    /// Puts a JSON file of options on top.
    pub fn add_file(&mut self, source: Source) -> Result<(), Report> {
        let Value::Object(options) = source.json()? else {
            let message = "options must be a JSON object, for instance {\"service\": {\"name\": \"x\"}}";
            return Err(source.at_pointer(Code::NotObject, "", message).into());
        };
        self.layers.push((Origin::File(source), options));
        Ok(())
    }

    /// Puts one option on top: `service.name=x`. The value is JSON where it can be read as JSON, else text.
    pub fn add_setting(&mut self, setting: &str) -> Result<(), Report> {
        let place = format!("--set {setting}");
        let finding = |message: &str| {
            let finding = Finding::new(Code::OptionSyntax, &Source::new(&*place, ""), message);
            Report::from(finding.help("write NAME=VALUE, for instance service.name=dagflow"))
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| finding("there is no `=`"))?;
        if name.split('.').any(str::is_empty) {
            return Err(finding("a part of the name is empty"));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        let nested = name.rsplit('.').fold(value, |inner, part| json!({ part: inner }));
        let options = nested.as_object().cloned().unwrap_or_default();
        self.layers.push((Origin::Setting(place), options));
        Ok(())
    }

    /// All of them merged.
    pub fn merged(&self) -> Object {
        let mut merged = Object::new();
        for (_, options) in &self.layers {
            merge(&mut merged, options);
        }
        merged
    }

    /// Violations with their places: first those that come of what the user gave, then those of what must be given beside.
    ///
    /// A value that the user gave is placed where it was given last. Where the defaults break a rule by themselves, or
    /// something is missing, the place is that of the rule in config.json.
    pub fn place(&self, found: &[Violation], config: &Source) -> (Vec<Finding>, Vec<Finding>) {
        let schema = config.json().unwrap_or_default();
        let by_default = violations(&schema, &Value::Object(defaults(&schema))).unwrap_or_default();
        let (mut wrong, mut unset) = (Vec::new(), Vec::new());
        for violation in found {
            let is_default = by_default
                .iter()
                .any(|other| (&other.pointer, &other.rule) == (&violation.pointer, &violation.rule));
            let given = self.given(violation, is_default, config, &schema);
            if !given.is_empty() {
                wrong.extend(given);
                continue;
            }
            let code = match violation.keyword.as_str() {
                "required" => Code::RequiredOption,
                _ => Code::DefaultRefused,
            };
            let finding = config.at_pointer(code, &violation.rule, violation.to_string());
            unset.push(finding.help("set the option: --set NAME=VALUE, or --options FILE"));
        }
        (wrong, unset)
    }

    /// What the user gave that breaks a rule, where it was given; nothing if no option of the user's does.
    fn given(
        &self,
        violation: &Violation,
        is_default: bool,
        config: &Source,
        schema: &Value,
    ) -> Vec<Finding> {
        let Violation { pointer, rule, keyword, value, .. } = violation;
        if keyword == "additionalProperties" {
            let names = violation.unwanted_names();
            return names.filter_map(|name| self.unwanted(violation, name, config, schema)).collect();
        }
        let Some((origin, is_object)) = self.last_at(pointer) else { return Vec::new() };
        // what is missing can be given beside, but not into a list: lists are replaced as a whole
        let may_be_completed = keyword == "required" && !self.is_in_list(pointer);
        if may_be_completed || (is_default && is_object) {
            return Vec::new();
        }
        let place = if pointer.is_empty() { "all options together" } else { &format!("`{pointer}`") };
        let note = format!("{place}: {}; the rule: `{rule}`", brief(value));
        let finding = origin.finding(pointer, violation.to_string()).note(note);
        vec![at_rule(finding, config, rule)]
    }

    /// A name that is not allowed, if the user gave it.
    fn unwanted(
        &self,
        violation: &Violation,
        name: &str,
        config: &Source,
        schema: &Value,
    ) -> Option<Finding> {
        let (pointer, rule) = (member(&violation.pointer, name), &violation.rule);
        let (origin, _) = self.last_at(&pointer)?;
        let value = violation.value.get(name).map(brief).unwrap_or_default();
        let finding = origin
            .finding(&pointer, format!("there is no {} (rule `{}`)", option_at(&pointer), violation.keyword))
            .note(format!("`{pointer}`: {value}; the rule: `{rule}`"));
        // they stand beside the rule
        let object = rule.rsplit_once('/').and_then(|(object, _)| schema.pointer(object));
        let known = object.and_then(|object| object.get("properties")?.as_object());
        let meant = known.and_then(|known| nearest(name, known.keys().map(String::as_str)));
        let finding = match meant {
            Some(meant) => finding.help(format!("did you mean `{meant}`?")),
            None => finding,
        };
        Some(at_rule(finding, config, rule))
    }

    /// Who gave the value at a JSON pointer last, and whether it is an object, which others may have added to.
    fn last_at(&self, pointer: &str) -> Option<(&Origin, bool)> {
        self.layers.iter().rev().find_map(|(origin, options)| {
            let is_object = if pointer.is_empty() {
                !options.is_empty()
            } else {
                value_at(options, pointer)?.is_object()
            };
            (is_object || !pointer.is_empty()).then_some((origin, is_object))
        })
    }

    /// Whether the way to a JSON pointer goes through a list that the user gave.
    fn is_in_list(&self, pointer: &str) -> bool {
        let around = pointer.match_indices('/').map(|(end, _)| &pointer[..end]).chain([pointer]);
        let is_list = |pointer: &str| {
            let given = self.layers.iter().rev().find_map(|(_, options)| value_at(options, pointer));
            given.is_some_and(Value::is_array)
        };
        around.into_iter().any(is_list)
    }
}

impl Origin {
    /// A finding at the value with this JSON pointer.
    fn finding(&self, pointer: &str, message: String) -> Finding {
        match self {
            Self::File(source) => source.at_pointer(Code::OptionRefused, pointer, message),
            Self::Setting(setting) => {
                Finding::new(Code::OptionRefused, &Source::new(&**setting, ""), message)
            }
        }
    }
}

/// With the place of the rule.
fn at_rule(finding: Finding, config: &Source, rule: &str) -> Finding {
    match json::locate(&config.text, rule) {
        Some(place) => finding.related(config, &place, "the rule"),
        None => finding,
    }
}

/// The value at a JSON pointer to something inside of the options.
fn value_at<'o>(options: &'o Object, pointer: &str) -> Option<&'o Value> {
    let path = pointer.strip_prefix('/')?;
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = options.get(&unescaped(first))?;
    rest.map_or(Some(value), |rest| value.pointer(&format!("/{rest}")))
}
