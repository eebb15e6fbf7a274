//! The rules of Marathon for an app that a package becomes.
//!
//! Types and values of single fields are a schema, in app.schema.json; what fields have to do with each other is here. Places
//! are those in the template.

use super::marathon::without_nulls;
use super::options::{self, Object, Violation};
use crate::finding::{Code, Finding, Severity, Source, nearest};
use crate::template::{Name, NameUse, Template};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Types and values of fields.
const RULES: &str = include_str!("app.schema.json");

/// Fields that Marathon takes beside those that have rules here: it answers them itself, or no package sets them.
const OTHER_FIELDS: [&str; 12] = [
    "deployments",
    "lastTaskFailure",
    "readinessCheckResults",
    "taskStats",
    "tasks",
    "tasksHealthy",
    "tasksRunning",
    "tasksStaged",
    "tasksUnhealthy",
    "upgradeFrom",
    "version",
    "versionInfo",
];

/// The options that an app was rendered with, and their schema.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// All options.
    pub values: &'a Object,
    /// config.json.
    pub config: Option<&'a Value>,
}

/// What Marathon would say of an app. `text` is what `app` was read from.
///
/// Where an option that is in a value still has to be set, it is only a warning: no user sees this value.
pub fn check(text: &Source, app: &Object, options: Options) -> Vec<Finding> {
    let template = text.as_written();
    let template = Template::parse(&template.text);
    let names = template.as_ref().map(Template::names).unwrap_or_default();
    let unset: Vec<_> = names.into_iter().filter(|name| options.lack(name)).collect();
    let found = broken_rules(text, app).into_iter();
    found
        .map(|finding| {
            let span = finding.span.clone().unwrap_or_default();
            match unset.iter().find(|name| span.contains(&name.span.start)) {
                Some(name) => {
                    let note = format!("the option `{}` is not set: --set {0}=VALUE", name.text);
                    finding.with_severity(Severity::Warning).note(note)
                }
                None => finding,
            }
        })
        .collect()
}

impl Options<'_> {
    /// Whether a name is that of an option without a value, or with an empty one.
    fn lack(&self, name: &Name) -> bool {
        let mut parts = name.text.split('.');
        let declared = |config| name.text.split('.').try_fold(config, part_of);
        let first = parts.next().and_then(|part| self.values.get(part));
        let value = first.and_then(|first| parts.try_fold(first, |value, part| value.get(part)));
        let empty = value.is_none_or(|value| value.is_null() || value == "");
        name.use_ != NameUse::Section && self.config.and_then(declared).is_some() && empty
    }
}

fn part_of<'a>(schema: &'a Value, part: &str) -> Option<&'a Value> {
    schema["properties"].get(part)
}

fn broken_rules(text: &Source, app: &Object) -> Vec<Finding> {
    let app = without_nulls(&Value::Object(app.clone()));
    // the rules are ours, and they are a schema
    let rules: Value = serde_json::from_str(RULES).unwrap_or_default();
    let violations = options::violations(&rules, &app).unwrap_or_default();
    let mut findings =
        Findings { text, found: violations.iter().map(|broken| field(text, broken)).collect() };
    findings.unknown(&app, &rules);
    findings.command(&app);
    findings.constraints(&app);
    findings.ports(&app);
    findings.networks(&app);
    findings.health_checks(&app);
    findings.secrets(&app);
    findings.single_instance(&app);
    findings.found
}

/// A rule of one field that is broken.
fn field(text: &Source, broken: &Violation) -> Finding {
    let name = broken.pointer.trim_start_matches('/').replace('/', ".");
    let name = if name.is_empty() { "the app".to_owned() } else { format!("`{name}`") };
    let found = |code| text.at_pointer(code, &broken.pointer, format!("{name}: {}", broken.message));
    match broken.keyword.as_str() {
        "type" => {
            let help = if broken.value.is_string() {
                "Marathon takes no text here: write the tag in the template without quotes around it"
            } else {
                "write the tag in the template with quotes around it, if this should be text"
            };
            found(Code::AppType).help(help)
        }
        "required" => found(Code::AppValue).help("Marathon takes no app without it: add it to the template"),
        _ => found(Code::AppValue).help("set the option that it comes from, or change the template"),
    }
}

/// A list of an app, empty where there is none.
fn list<'a>(app: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    app.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The lists of ports that an app can have, the first that is there; none if Marathon chooses.
pub(super) fn ports(app: &Value) -> Option<(&'static str, &Vec<Value>)> {
    ["/container/portMappings", "/container/docker/portMappings", "/portDefinitions", "/ports"]
        .into_iter()
        .find_map(|pointer| Some((pointer, app.pointer(pointer)?.as_array()?)))
}

struct Findings<'a> {
    text: &'a Source,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, code: Code, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        self.found.push(self.text.at_pointer(code, pointer, message).help(help));
    }

    fn unknown(&mut self, app: &Value, rules: &Value) {
        let known = rules["properties"].as_object();
        let known = || known.into_iter().flat_map(Object::keys).map(String::as_str);
        for key in app.as_object().into_iter().flat_map(Object::keys) {
            if OTHER_FIELDS.contains(&key.as_str()) || known().any(|name| name == key) {
                continue;
            }
            let help = match nearest(key, known()) {
                Some(like) => format!("did you mean `{like}`?"),
                None => "remove it".to_owned(),
            };
            let message = format!("Marathon knows no field `{key}` of apps and ignores it");
            self.add(Code::UnknownAppField, &pointer(&["", key]), message, help);
        }
    }

    fn command(&mut self, app: &Value) {
        let image = app.pointer("/container/docker/image").or(app.pointer("/container/appc/image"));
        let (cmd, args) = (app.get("cmd"), app["args"].as_array().filter(|args| !args.is_empty()));
        if cmd.is_some() && args.is_some() {
            self.add(Code::AppConflict, "/args", "an app has either `cmd` or `args`", "remove one of them");
        } else if cmd.is_none() && args.is_none() && image.is_none() {
            let help = "add a `cmd`, `args`, or a container with an image";
            self.add(Code::AppConflict, "", "there is nothing that the app could run", help);
        }
        let both = ["uris", "fetch"].iter().all(|key| list(app, &format!("/{key}")).next().is_some());
        if both {
            let help = "move the URIs to `fetch`: {\"uri\": …}";
            self.add(Code::AppConflict, "/uris", "an app has either `uris` or `fetch`", help);
        }
        let needs_gpus = app["gpus"].as_u64().is_some_and(|gpus| gpus > 0);
        // DOCKER is the default
        let in_docker = app.get("container").is_some_and(|container| container["type"] != "MESOS");
        if needs_gpus && in_docker {
            let help = "set the container's `type` to MESOS";
            self.add(Code::AppConflict, "/gpus", "containers of type DOCKER get no GPUs", help);
        }
    }

    fn constraints(&mut self, app: &Value) {
        for (index, constraint) in list(app, "/constraints").enumerate() {
            let texts: Vec<&str> =
                constraint.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            // another length is an error by itself
            let (Some(operator), value) = (texts.get(1), texts.get(2)) else { continue };
            let number = value.is_none_or(|value| value.parse::<u32>().is_ok());
            let (good, expected) = match *operator {
                "UNIQUE" => (value.is_none(), "no value"),
                "CLUSTER" => (true, ""),
                "GROUP_BY" => (number, "a number, or no value"),
                "MAX_PER" => (value.is_some() && number, "a number"),
                "LIKE" | "UNLIKE" => (
                    value.is_some_and(|value| fancy_regex::Regex::new(value).is_ok()),
                    "a regular expression",
                ),
                "IS" => (value.is_some(), "a value"),
                _ => {
                    let message = format!("`{operator}` is no operator of constraints");
                    let help = "UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER and IS are";
                    self.add(Code::AppValue, &format!("/constraints/{index}/1"), message, help);
                    continue;
                }
            };
            if !good {
                let message = format!("a constraint with {operator} takes {expected}");
                let help = format!("for instance {}", example(operator));
                self.add(Code::AppValue, &format!("/constraints/{index}"), message, help);
            }
        }
    }

    fn ports(&mut self, app: &Value) {
        let both =
            ["ports", "portDefinitions"].iter().all(|key| list(app, &format!("/{key}")).next().is_some());
        if both {
            let help = "remove `ports`, which is the old form";
            self.add(Code::AppConflict, "/ports", "an app has either `ports` or `portDefinitions`", help);
        }
        let Some((place, ports)) = ports(app) else { return };
        let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
        for (index, port) in ports.iter().enumerate() {
            let number = ["port", "hostPort"].iter().find_map(|key| port.get(key)).unwrap_or(port);
            let protocol = port["protocol"].as_str().unwrap_or("tcp");
            let taken = number.as_u64().filter(|&number| number != 0);
            if taken.is_some_and(|number| !numbers.insert((number, protocol))) {
                let help = "give each port another number, or 0 to let the cluster choose";
                self.add(Code::AppConflict, &format!("{place}/{index}"), "this port is there twice", help);
            }
            if port["name"].as_str().is_some_and(|name| !names.insert(name)) {
                let help = "give each port a name of its own";
                self.add(
                    Code::AppConflict,
                    &format!("{place}/{index}/name"),
                    "this name of a port is there twice",
                    help,
                );
            }
        }
    }

    fn networks(&mut self, app: &Value) {
        let networks: Vec<&Value> = list(app, "/networks").collect();
        let alone = |network: &&&Value| matches!(network["mode"].as_str(), Some("host" | "container/bridge"));
        if networks.len() > 1 && networks.iter().any(|network| alone(&network)) {
            let help = "keep one network, or several of mode `container`";
            let message = "networks of mode `host` and `container/bridge` must be the only one";
            self.add(Code::AppConflict, "/networks", message, help);
        }
        let mut names = HashSet::new();
        for (index, network) in networks.iter().enumerate() {
            if network["name"].as_str().is_some_and(|name| !names.insert(name)) {
                let place = format!("/networks/{index}/name");
                self.add(Code::AppConflict, &place, "this network is there twice", "remove one of them");
            }
        }
    }

    fn health_checks(&mut self, app: &Value) {
        for (index, check) in list(app, "/healthChecks").enumerate() {
            let place = format!("/healthChecks/{index}");
            let is_command = check["protocol"] == "COMMAND";
            if is_command != check.get("command").is_some() {
                let message = "a health check has a `command` if its protocol is COMMAND, and only then";
                self.add(Code::AppConflict, &place, message, "add `command`, or change `protocol`");
            }
            if check.get("port").is_some() && check.get("portIndex").is_some() {
                let help = "keep `portIndex`, which is known before the port is";
                let message = "a health check has either `port` or `portIndex`";
                self.add(Code::AppConflict, &place, message, help);
            }
            let Some((list, ports)) = ports(app).filter(|_| !is_command) else { continue };
            let index = check["portIndex"].as_u64().unwrap_or_default();
            if check.get("port").is_none() && index >= ports.len() as u64 {
                let message = format!("the app has no port with the index {index}");
                let help =
                    format!("indices count from 0; `{}` has {}", &list[1..].replace('/', "."), ports.len());
                self.add(Code::AppReference, &format!("{place}/portIndex"), message, help);
            }
        }
    }

    /// Secrets that are used and not declared.
    fn secrets(&mut self, app: &Value) {
        let env = app["env"].as_object().into_iter().flatten();
        let env = env.filter(|(_, value)| value.is_object());
        let mut used: Vec<(String, Option<&str>)> =
            env.map(|(name, value)| (pointer(&["", "env", name]), value["secret"].as_str())).collect();
        let volumes = list(app, "/container/volumes").enumerate();
        used.extend(volumes.filter_map(|(index, volume)| {
            Some((format!("/container/volumes/{index}/secret"), Some(volume.get("secret")?.as_str()?)))
        }));
        let pull = app.pointer("/container/docker/pullConfig/secret").and_then(Value::as_str);
        used.extend(pull.map(|secret| ("/container/docker/pullConfig/secret".to_owned(), Some(secret))));
        for (place, secret) in used {
            match secret {
                None => {
                    let help = "write {\"secret\": \"<a name of `secrets`>\"}, or a text";
                    self.add(Code::AppType, &place, "a variable is a text, or names a secret", help);
                }
                Some(secret) if app["secrets"].get(secret).is_none() => {
                    let message = format!("the app has no secret `{secret}`");
                    let help = format!("add it: \"secrets\": {{\"{secret}\": {{\"source\": \"<path>\"}}}}");
                    self.add(Code::AppReference, &place, message, help);
                }
                Some(_) => {}
            }
        }
    }

    fn single_instance(&mut self, app: &Value) {
        let single = app.pointer("/labels/MARATHON_SINGLE_INSTANCE_APP") == Some(&json!("true"));
        if single && app["instances"].as_u64().is_some_and(|instances| instances > 1) {
            let message = "an app with the label MARATHON_SINGLE_INSTANCE_APP has one instance at most";
            self.add(Code::AppConflict, "/instances", message, "set `instances` to 1");
        }
    }
}

/// A JSON pointer; the first part is empty.
fn pointer(parts: &[&str]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| part.replace('~', "~0").replace('/', "~1")).collect();
    parts.join("/")
}

/// A constraint as it should be.
fn example(operator: &str) -> &'static str {
    match operator {
        "UNIQUE" => "[\"hostname\", \"UNIQUE\"]",
        "GROUP_BY" => "[\"@zone\", \"GROUP_BY\", \"3\"]",
        "MAX_PER" => "[\"hostname\", \"MAX_PER\", \"2\"]",
        "IS" => "[\"@region\", \"IS\", \"eu\"]",
        _ => "[\"hostname\", \"LIKE\", \"db-.*\"]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of the findings of an app that differs from a good one in some fields, with the text at their places.
    fn found(change: &Value) -> Vec<String> {
        let mut app = json!({"id": "/a/b", "cmd": "c", "cpus": 0.5, "mem": 32, "instances": 1});
        for (key, value) in change.as_object().into_iter().flatten() {
            app[key] = value.clone();
        }
        let text = Source::new("app.json", app.to_string());
        let findings = broken_rules(&text, app.as_object().expect("an object"));
        let shown = |finding: &Finding| {
            assert!(finding.help.is_some(), "{finding}");
            let span = finding.span.clone().unwrap_or_default();
            format!("{} {}", finding.code, &finding.source.text[span])
        };
        findings.iter().map(shown).collect()
    }

    #[test]
    fn apps_that_marathon_takes_have_no_findings() {
        let check = json!({"protocol": "MESOS_HTTP", "path": "/", "portIndex": 1});
        let command = json!({"protocol": "COMMAND", "command": {"value": "true"}});
        for change in [
            json!({"id": "a-b.c"}),
            json!({"cmd": null, "args": ["a"]}),
            json!({"cmd": null, "container": {"type": "MESOS", "docker": {"image": "i"}}, "gpus": 1}),
            json!({"env": {"A": "1", "B": {"secret": "s"}}, "secrets": {"s": {"source": "x"}}}),
            json!({"portDefinitions": [{"port": 0}, {"port": 0, "name": "b"}], "healthChecks": [check, command]}),
            json!({"healthChecks": [{"portIndex": 0}], "uris": [], "fetch": [{"uri": "u"}]}),
            json!({"constraints": [["hostname", "UNIQUE"], ["r", "GROUP_BY"], ["r", "LIKE", "a(?!b)"], ["r", "MAX_PER", "2"]]}),
            json!({"networks": [{"mode": "container", "name": "a"}, {"mode": "container", "name": "b"}]}),
            json!({"unreachableStrategy": "disabled", "resourceLimits": {"cpus": "unlimited", "mem": 1}}),
            json!({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "version": "x", "ports": [0, 0, 80]}),
        ] {
            assert_eq!(found(&change), Vec::<String>::new(), "{change}");
        }
    }

    #[test]
    fn what_marathon_refuses_is_found_at_its_place() {
        let two = json!([{"port": 1, "name": "a"}, {"port": 1, "name": "a"}]);
        let cases = [
            (json!({"id": "A_b"}), "P041 \"id\":\"A_b\""),
            (json!({"id": null}), "P041 {"),
            (json!({"cpus": "0.5"}), "P040 \"cpus\":\"0.5\""),
            (json!({"cpus": 0}), "P041 \"cpus\":0"),
            (json!({"instances": 1.5}), "P040 \"instances\":1.5"),
            (json!({"mem": -1}), "P041 \"mem\":-1"),
            (json!({"cmd": null}), "P042 {"),
            (json!({"args": ["a"]}), "P042 \"args\""),
            (json!({"env": {"A": 1}}), "P040 \"A\":1"),
            (json!({"env": {"A": {"secret": "s"}}}), "P043 \"A\""),
            (json!({"env": {"A": {"x": "s"}}}), "P040 \"A\""),
            (json!({"secrets": {"s": {}}}), "P041 \"s\""),
            (json!({"labels": {"L": true}}), "P040 \"L\":true"),
            (json!({"uris": ["u"], "fetch": [{"uri": "u"}]}), "P042 \"uris\""),
            (json!({"fetch": [{}]}), "P041 {"),
            (json!({"constraints": [["hostname", "NEAR"]]}), "P041 \"NEAR\""),
            (json!({"constraints": [["hostname", "UNIQUE", "x"]]}), "P041 ["),
            (json!({"constraints": [["hostname", "LIKE", "("]]}), "P041 ["),
            (json!({"constraints": [["hostname", "MAX_PER"]]}), "P041 ["),
            (json!({"constraints": [["hostname"]]}), "P041 ["),
            (json!({"ports": [1], "portDefinitions": [{"port": 1}]}), "P042 \"ports\""),
            (json!({"ports": [70000]}), "P041 70000"),
            (json!({"portDefinitions": two}), "P042 {"),
            (json!({"networks": [{"mode": "host"}, {"mode": "container"}]}), "P042 \"networks\""),
            (json!({"networks": [{"mode": "bridge"}]}), "P041 \"mode\":\"bridge\""),
            (json!({"healthChecks": [{"protocol": "GRPC"}]}), "P041 \"protocol\":\"GRPC\""),
            (json!({"healthChecks": [{"protocol": "COMMAND"}]}), "P042 {"),
            (json!({"healthChecks": [{"port": 1, "portIndex": 0}]}), "P042 {"),
            (json!({"portDefinitions": [], "healthChecks": [{"portIndex": 0}]}), "P043 \"portIndex\":0"),
            (json!({"upgradeStrategy": {"maximumOverCapacity": 2}}), "P041 \"maximumOverCapacity\":2"),
            (json!({"unreachableStrategy": "off"}), "P041 \"unreachableStrategy\":\"off\""),
            (json!({"gpus": 1, "container": {"docker": {"image": "i"}}}), "P042 \"gpus\":1"),
            (
                json!({"container": {"volumes": [{"containerPath": "p", "secret": "s"}]}}),
                "P043 \"secret\":\"s\"",
            ),
            (
                json!({"instances": 2, "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}}),
                "P042 \"instances\":2",
            ),
            (json!({"instance": 2}), "P044 \"instance\":2"),
        ];
        for (change, expected) in cases {
            let found = found(&change);
            assert_eq!(found.first().map(String::as_str), Some(expected), "{change}: {found:?}");
        }
    }

    #[test]
    fn values_that_wait_for_an_option_are_only_warned_of() {
        let config = json!({"properties": {"a": {"properties": {"name": {}}}}});
        let text = r#"{"id": "-{{a.name}}", "cmd": "c"}"#;
        let severity = |values: Value| {
            let template = Template::parse(text).expect("a template");
            let values = values.as_object().cloned().expect("options");
            let (app, rendered) = crate::package::marathon::render(&template, &values, None).expect("an app");
            let rendered = Source::new("t", text).made_into(rendered.text, rendered.origins);
            let found = check(&rendered, &app, Options { values: &values, config: Some(&config) });
            found.first().map(|finding| finding.severity)
        };
        assert_eq!(severity(json!({})), Some(Severity::Warning));
        assert_eq!(severity(json!({"a": {"name": ""}})), Some(Severity::Warning));
        assert_eq!(severity(json!({"a": {"name": "B"}})), Some(Severity::Error));
    }
}
