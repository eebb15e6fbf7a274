//! Whether the names in marathon.json.mustache stand for something, and the options of config.json are used.
//!
//! A name is looked up as the package service does, in the schema of the options in place of their values. Where the schema
//! leaves open what there may be, every name is taken.

use crate::finding::{Code, Finding, Source, nearest};
use crate::template::{Name, NameUse, Template};
use serde_json::Value;
use std::collections::HashSet;

/// So many findings are enough to see what is wrong.
const MAX_FOUND: usize = 100;

/// What a name can stand for.
#[derive(Clone, Copy, Debug)]
enum Meaning<'a> {
    /// All options, and the resources.
    Root(&'a Names<'a>),
    /// The option that this part of config.json describes.
    Option(&'a Value),
    /// A value of resource.json, or of a default.
    Value(&'a Value),
    /// Nobody can say what it holds.
    Open,
}

/// What names are looked up in.
#[derive(Debug)]
struct Names<'a> {
    config: Option<&'a Value>,
    resource: Option<&'a Value>,
}

/// Names in the template that stand for nothing, and options that it does not use.
pub fn check(
    source: &Source,
    template: &Template,
    config: Option<(&Source, &Value)>,
    resource: Option<&Value>,
) -> Vec<Finding> {
    let names = Names { config: config.map(|(_, value)| value), resource };
    let mut uses = Uses::default();
    let (mut findings, mut seen) = (Vec::new(), HashSet::new());
    for name in template.names() {
        let Some(meaning) = names.meaning_of(&name, &mut uses) else {
            if seen.insert(name.text) && findings.len() < MAX_FOUND {
                findings.push(unknown(source, &name, &names));
            }
            continue;
        };
        uses.add(meaning, name.use_);
    }
    if let Some((source, value)) = config {
        let mut unused = Vec::new();
        uses.unused(value, &mut String::new(), &mut String::new(), &mut unused);
        findings.extend(unused.into_iter().take(MAX_FOUND).map(|(pointer, name)| {
            let message = format!("the template does not use the option `{name}`: to set it changes nothing");
            let help = format!("use {{{{{name}}}}} in marathon.json.mustache, or remove the option");
            source.at_pointer(Code::UnusedOption, &pointer, message).help(help)
        }));
    }
    findings
}

fn unknown(source: &Source, name: &Name, names: &Names) -> Finding {
    let what = match name.use_ {
        NameUse::Section => "a section of it is never rendered",
        NameUse::Printed | NameUse::AsJson => "it prints nothing",
    };
    let file = if name.text.starts_with("resource.") { "resource.json" } else { "config.json" };
    let message = format!("`{}` is not in {file}: {what}", name.text);
    let mut all = Vec::new();
    if let Some(config) = names.config {
        paths(&config["properties"], Some("properties"), "", &mut all);
    }
    if let Some(resource) = names.resource {
        paths(resource, None, "resource.", &mut all);
    }
    let help = match meant(name.text, &all) {
        Some(like) => format!("did you mean `{like}`?"),
        None => format!("declare it in {file}, or correct the name"),
    };
    source.finding(Code::UnknownName, &name.span, message).help(help)
}

/// What a name was probably meant to be: the only one that ends like it, or a similar one in the same group.
fn meant<'n>(name: &str, all: &'n [String]) -> Option<&'n str> {
    let (group, last) = name.rsplit_once('.').unwrap_or(("", name));
    let mut alike = all.iter().filter(|other| other.rsplit('.').next() == Some(last));
    if let (Some(only), None) = (alike.next(), alike.next()) {
        return Some(only);
    }
    let beside = all
        .iter()
        .map(String::as_str)
        .filter(|other| other.rsplit_once('.').unwrap_or(("", other)).0 == group);
    let like = nearest(last, beside.clone().map(|other| other.rsplit('.').next().unwrap_or_default()))?;
    beside.clone().find(|other| other.rsplit('.').next() == Some(like))
}

/// The dotted names below a value; with `through`, only what is in members of that name counts.
fn paths(value: &Value, through: Option<&str>, prefix: &str, all: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}{key}");
        let below = through.map_or(Some(value), |through| value.get(through));
        if let Some(below) = below {
            paths(below, through, &format!("{name}."), all);
        }
        all.push(name);
    }
}

impl<'a> Names<'a> {
    /// What a name means where it stands.
    fn meaning_of(&'a self, name: &Name, uses: &mut Uses) -> Option<Meaning<'a>> {
        let root = Meaning::Root(self);
        if name.use_ == NameUse::AsJson {
            return root.member(name.text);
        }
        let mut scopes = vec![root];
        for section in &name.within {
            // a section of an unknown name is reported itself, and never rendered
            let scope = look_up(section, &scopes, uses).map_or(Meaning::Open, Meaning::scope);
            scopes.push(scope);
        }
        look_up(name.text, &scopes, uses)
    }
}

/// The innermost scope first; once the first part of a dotted name is found, the rest must be in it.
fn look_up<'a>(name: &str, scopes: &[Meaning<'a>], uses: &mut Uses) -> Option<Meaning<'a>> {
    if name == "." {
        return scopes.last().copied();
    }
    for scope in scopes.iter().rev() {
        if let Some(meaning) = scope.member(name) {
            return Some(meaning);
        }
        let mut parts = name.split('.');
        if let Some(first) = parts.next().and_then(|part| scope.member(part)) {
            return parts.try_fold(first, |meaning, part| {
                let member = meaning.member(part);
                if matches!(member, Some(Meaning::Open)) {
                    // a part of what is open, or the size of a list: the option itself is used
                    uses.add(meaning, NameUse::Printed);
                }
                member
            });
        }
    }
    None
}

impl Meaning<'_> {
    /// What a name means inside of a section of this.
    fn scope(self) -> Self {
        match self {
            Self::Option(schema) => match &schema["items"] {
                items @ Value::Object(_) => Self::Option(items),
                Value::Null if !has_type(schema, "array") => self,
                _ => Self::Open,
            },
            Self::Value(Value::Array(_)) => Self::Open,
            other => other,
        }
    }

    fn member(self, key: &str) -> Option<Self> {
        match self {
            Self::Open => Some(Self::Open),
            Self::Value(value) => value.get(key).map(Self::Value).or_else(|| {
                let sized = value.is_array() || value.is_string();
                (sized && matches!(key, "isEmpty" | "size" | "length")).then_some(Self::Open)
            }),
            Self::Option(schema) => option_member(schema, key),
            Self::Root(names) => match names.resource {
                Some(resource) if key == "resource" => Some(Self::Value(resource)),
                _ => names.config.and_then(|config| option_member(config, key)),
            },
        }
    }
}

fn has_type(schema: &Value, name: &str) -> bool {
    let kind = &schema["type"];
    kind == name || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == name))
}

/// What a schema says about a member of the value that it describes.
fn option_member<'a>(schema: &'a Value, key: &str) -> Option<Meaning<'a>> {
    if let Some(member) = schema["properties"].get(key) {
        return Some(Meaning::Option(member));
    }
    if schema.get("$ref").is_some() || schema.get("patternProperties").is_some() {
        return Some(Meaning::Open);
    }
    if let Some(member) = alternatives(schema).find_map(|part| declared(part, key)) {
        return Some(member);
    }
    match &schema["additionalProperties"] {
        Value::Object(_) => return Some(Meaning::Open),
        Value::Null | Value::Bool(true) if is_free(schema) => return Some(Meaning::Open),
        _ => {}
    }
    let sized = ["array", "string"].iter().any(|kind| has_type(schema, kind));
    if sized && matches!(key, "isEmpty" | "size" | "length") {
        return Some(Meaning::Open);
    }
    schema["default"].get(key).map(Meaning::Value)
}

/// The schemas that hold for the same value, always or sometimes.
fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"].map(|name| schema[name].as_array().into_iter().flatten());
    let dependent = schema["dependencies"].as_object().into_iter().flat_map(|all| all.values());
    lists.into_iter().flatten().chain(dependent)
}

/// What one of several schemas declares; one that declares nothing says nothing.
fn declared<'a>(schema: &'a Value, key: &str) -> Option<Meaning<'a>> {
    let own = schema["properties"].get(key).map(Meaning::Option);
    own.or_else(|| alternatives(schema).find_map(|part| declared(part, key)))
}

/// Whether a schema is for objects of which nothing is said.
fn is_free(schema: &Value) -> bool {
    let named = schema["properties"].as_object().is_some_and(|properties| !properties.is_empty());
    let typed = schema.get("type").is_some() || schema.get("enum").is_some();
    !named && (has_type(schema, "object") || !typed)
}

/// The parts of config.json that the template uses, by their addresses.
#[derive(Default)]
struct Uses {
    named: HashSet<*const Value>,
    /// With everything in them.
    whole: HashSet<*const Value>,
}

impl Uses {
    fn add(&mut self, meaning: Meaning, use_: NameUse) {
        if let Meaning::Option(schema) = meaning {
            self.named.insert(std::ptr::from_ref(schema));
            if use_ != NameUse::Section {
                self.whole.insert(std::ptr::from_ref(schema));
            }
        }
    }

    /// JSON pointers and dotted names of the options below a schema that are not used.
    fn unused(
        &self,
        schema: &Value,
        pointer: &mut String,
        name: &mut String,
        all: &mut Vec<(String, String)>,
    ) {
        for (key, option) in schema["properties"].as_object().into_iter().flatten() {
            if self.whole.contains(&std::ptr::from_ref(option)) {
                continue;
            }
            let (pointer_before, name_before) = (pointer.len(), name.len());
            pointer.push_str("/properties/");
            pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            name.push_str(if name.is_empty() { "" } else { "." });
            name.push_str(key);
            let is_group = option["properties"].as_object().is_some_and(|below| !below.is_empty());
            if is_group {
                self.unused(option, pointer, name, all);
            } else if !self.named.contains(&std::ptr::from_ref(option)) {
                all.push((pointer.clone(), name.clone()));
            }
            pointer.truncate(pointer_before);
            name.truncate(name_before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(template: &str, config: &Value) -> Vec<String> {
        let resource = json!({"assets": {"uris": {"x": "u"}}, "list": [{"a": 1}]});
        let config_source = Source::new("config.json", config.to_string());
        let source = Source::new("t", template);
        let parsed = Template::parse(template).expect("a template");
        let findings = check(&source, &parsed, Some((&config_source, config)), Some(&resource));
        let text = |finding: &Finding| {
            let span = finding.span.clone().unwrap_or_default();
            format!("{} {}", finding.code, &finding.source.text[span])
        };
        findings.iter().map(text).collect()
    }

    fn option(schema: &Value) -> Value {
        json!({"properties": {"o": schema}})
    }

    #[test]
    fn names_are_known_as_far_as_the_schema_tells() {
        let text = json!({"type": "string"});
        let service = json!({"type": "object", "properties": {"name": text, "a-b.c": text}});
        let objects = json!({"type": "array", "items": {"properties": {"x": text}}});
        let cases = [
            ("{{o}}", option(&text), true),
            ("{{o.name}}{{#o}}{{a-b.c}}{{/o}}", option(&service), true),
            ("{{#o}}{{name}}{{a-b.c}}{{/o}}", option(&service), true),
            ("{{o.nam}}", option(&service), false),
            ("{{#o}}{{nam}}{{/o}}", option(&service), false),
            ("{{#o.name}}{{o.name}}{{/o.name}}", option(&service), true),
            ("{{^o.nam}}x{{/o.nam}}", option(&service), false),
            ("{{#o}}{{x}}{{.}}{{/o}}{{o.size}}", option(&objects), true),
            ("{{#o}}{{y}}{{/o}}", option(&objects), false),
            ("{{#o}}{{.}}{{/o}}", option(&json!({"type": "array", "items": text})), true),
            ("{{#o}}{{y}}{{/o}}", option(&json!({"type": "array"})), true),
            ("{{o.any.thing}}", option(&json!({"type": "object"})), true),
            ("{{o.any}}", option(&json!({"type": "object", "additionalProperties": false})), false),
            ("{{o.any}}", option(&json!({"properties": {"x": text}, "additionalProperties": text})), true),
            ("{{o.any}}", option(&json!({"$ref": "#/x"})), true),
            ("{{o.x}}", option(&json!({"anyOf": [{"properties": {"x": text}}]})), true),
            (
                "{{o.x}}{{o.z}}",
                option(
                    &json!({"properties": {"y": text}, "dependencies": {"y": {"oneOf": [{}, {"properties": {"x": text}}]}}}),
                ),
                false,
            ),
            (
                "{{o.x}}",
                option(
                    &json!({"properties": {"y": text}, "dependencies": {"y": {"oneOf": [{}, {"properties": {"x": text}}]}}}),
                ),
                true,
            ),
            ("{{o.d}}", option(&json!({"properties": {"x": text}, "default": {"d": 1, "x": ""}})), true),
            ("{{o}}{{resource.assets.uris.x}}{{#resource.list}}{{a}}{{/resource.list}}", option(&text), true),
            ("{{o}}{{resource.assets.uris.y}}", option(&text), false),
            ("{{#asJson}}o{{/asJson}}", option(&text), true),
            ("{{#asJson}}p{{/asJson}}", option(&text), false),
            ("{{o.length}}{{o.isEmpty}}", option(&text), true),
            ("{{anything}}", json!({}), true),
        ];
        for (template, config, known) in cases {
            let found = found(template, &config);
            let unknown: Vec<_> = found.iter().filter(|text| text.starts_with("P031")).collect();
            assert_eq!(unknown.is_empty(), known, "{template} {config}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_reported_once_at_its_place_with_what_was_probably_meant() {
        let config = option(&json!({"properties": {"name": {"type": "string"}}}));
        assert_eq!(found("{{o.name}} {{#gone}}{{x}}{{/gone}} {{gone}}", &config), ["P031 gone"]);
        let source = Source::new("t", "{{o.nam}}");
        let parsed = Template::parse(&source.text).expect("a template");
        let findings = check(&source, &parsed, Some((&source, &config)), None);
        assert_eq!(findings[0].help.as_deref(), Some("did you mean `o.name`?"));
    }

    #[test]
    fn options_that_nothing_uses_are_found_at_their_names() {
        let text = json!({"type": "string"});
        let config = json!({"properties": {
            "a": {"properties": {"b": text, "c": text, "e": {"type": "array"}}}, "d/x": text,
        }});
        let cases = [
            ("{{a.b}}{{a.c}}{{a.e}}{{d/x}}", vec![]),
            ("{{a}}{{d/x}}", vec![]),
            ("{{#a}}{{b}}{{/a}}", vec!["P023 \"c\"", "P023 \"e\"", "P023 \"d/x\""]),
            ("{{#a.b}}{{/a.b}}{{^a.c}}{{/a.c}}{{#d/x}}{{a.e.size}}{{/d/x}}", vec![]),
        ];
        for (template, expected) in cases {
            assert_eq!(found(template, &config), expected, "{template}");
        }
    }
}
