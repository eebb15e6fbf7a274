//! An app definition: reading what a client sent, Marathon's defaults, and the rules that it must keep.
//!
//! Pure data: nothing is run or stored here. The definition is kept as the JSON that clients get back; the typed
//! fields beside it are those that this cluster acts upon. Keys that it does not act upon (`constraints`,
//! `upgradeStrategy`, `user`, …) are kept and answered, and that is all: there is one machine and one user.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys that Marathon adds to its answers and that are no part of a definition.
const READ_ONLY: [&str; 14] = [
    "version",
    "versionInfo",
    "tasksStaged",
    "tasksRunning",
    "tasksHealthy",
    "tasksUnhealthy",
    "deployments",
    "tasks",
    "lastTaskFailure",
    "taskStats",
    "readinessCheckResults",
    "uris",
    "ports",
    "executor",
];

/// What is wrong with a definition: JSON pointers of fields, each with the complaints about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {}", .message, list(.details))]
pub struct Invalid {
    /// `Invalid JSON` for wrong types, `Object is not valid` for broken rules.
    pub message: &'static str,
    /// The fields at fault.
    pub details: Vec<Detail>,
}

/// One field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// JSON pointer of the field, `/cpus`.
    pub path: String,
    /// What was expected.
    pub errors: Vec<String>,
}

fn list(details: &[Detail]) -> String {
    details.iter().map(|d| format!("{} {}", d.path, d.errors.join(", "))).collect::<Vec<_>>().join("; ")
}

/// A definition that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// The absolute path, `/dagflow`.
    pub id: String,
    /// What to run.
    pub command: Command,
    /// How many processes.
    pub instances: u32,
    /// Environment, over what Marathon sets.
    pub env: BTreeMap<String, String>,
    /// Labels; the DC/OS ones say where the service's HTTP API is.
    pub labels: BTreeMap<String, String>,
    /// Put into the sandbox first.
    pub fetch: Vec<Fetch>,
    /// The ports that each instance is given.
    pub ports: Vec<PortDefinition>,
    /// The numbers in `ports` are meant; otherwise they are ignored and numbers are chosen.
    pub require_ports: bool,
    /// Checks that kill an instance when they fail too often.
    pub health_checks: Vec<HealthCheck>,
    /// First pause before a restart.
    pub backoff: Duration,
    /// Growth of the pause.
    pub backoff_factor: f64,
    /// Longest pause.
    pub max_launch_delay: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_grace: Duration,
    /// The definition as clients get it.
    pub definition: Map<String, Value>,
}

/// What an app runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A shell command.
    Shell(String),
    /// A program and its arguments.
    Args(Vec<String>),
}

/// A file for the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// Where it is.
    pub uri: String,
    /// Unpack archives.
    #[serde(default = "yes")]
    pub extract: bool,
    /// Make it executable.
    #[serde(default)]
    pub executable: bool,
    /// Keep a copy for later tasks; this cluster always fetches anew.
    #[serde(default)]
    pub cache: bool,
    /// Name below the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_path: Option<String>,
}

/// A port of an app on the host's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDefinition {
    /// The number; 0 for one that the cluster chooses.
    #[serde(default)]
    pub port: u16,
    /// `tcp`, `udp` or `udp,tcp`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// Its name, for `PORT_<NAME>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `VIP_*` labels name the virtual addresses that lead here.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A health check of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// What to look at.
    #[serde(default)]
    pub protocol: Protocol,
    /// Path for HTTP.
    #[serde(default = "root")]
    pub path: String,
    /// A fixed port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Or the index of one of the app's ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_index: Option<usize>,
    /// Failures before the first success do not count for so long after the start.
    #[serde(default = "grace")]
    pub grace_period_seconds: u64,
    /// Between two checks.
    #[serde(default = "interval")]
    pub interval_seconds: u64,
    /// A check that takes longer has failed.
    #[serde(default = "timeout")]
    pub timeout_seconds: u64,
    /// So many failures kill the instance; 0 never kills.
    #[serde(default = "failures")]
    pub max_consecutive_failures: u32,
    /// From the start to the first check.
    #[serde(default = "delay")]
    pub delay_seconds: u64,
}

/// What a health check looks at. The other protocols of Marathon (HTTPS, COMMAND) are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Protocol {
    /// Status 200 to 399, asked by Marathon.
    #[default]
    Http,
    /// The same, asked by the agent.
    MesosHttp,
    /// A connection, opened by Marathon.
    Tcp,
    /// The same, opened by the agent.
    MesosTcp,
}

fn yes() -> bool {
    true
}
fn tcp() -> String {
    "tcp".into()
}
fn root() -> String {
    "/".into()
}
fn grace() -> u64 {
    300
}
fn interval() -> u64 {
    60
}
fn timeout() -> u64 {
    20
}
fn failures() -> u32 {
    3
}
fn delay() -> u64 {
    15
}

/// An id with its leading slash and without a trailing one, as Marathon stores it.
pub fn canonical_id(id: &str) -> String {
    format!("/{}", id.trim_matches('/'))
}

/// Takes typed fields out of a definition and collects what is wrong with them.
struct Fields<'a> {
    body: &'a Map<String, Value>,
    details: Vec<Detail>,
}

impl Fields<'_> {
    /// The field's value; `default` where it is absent, null or wrong (then with a complaint).
    fn get<T: DeserializeOwned>(&mut self, key: &str, default: T) -> T {
        match self.body.get(key) {
            None | Some(Value::Null) => default,
            Some(value) => T::deserialize(value).unwrap_or_else(|error| {
                self.complain(&format!("/{key}"), error.to_string());
                default
            }),
        }
    }

    /// A number that must not be below `least`.
    fn number(&mut self, key: &str, default: f64, least: f64) -> f64 {
        let number = self.get(key, default);
        if number < least {
            self.complain(&format!("/{key}"), format!("error.min: must be at least {least}"));
        }
        number
    }

    /// A duration in seconds.
    fn seconds(&mut self, key: &str, default: f64) -> Duration {
        let seconds = self.number(key, default, 0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    fn complain(&mut self, path: &str, error: String) {
        self.details.push(Detail { path: path.to_owned(), errors: vec![error] });
    }
}

impl App {
    /// Reads a definition. With `id` (from the request's path) the body's own id is ignored.
    pub fn parse(body: &Value, id: Option<&str>) -> Result<App, Invalid> {
        let Some(body) = body.as_object() else {
            let detail = Detail { path: "/".into(), errors: vec!["error.expected.jsobject".into()] };
            return Err(Invalid { message: "Invalid JSON", details: vec![detail] });
        };
        let mut fields = Fields { body, details: Vec::new() };
        let own_id: String = fields.get("id", String::new());
        let app = App {
            id: canonical_id(id.unwrap_or(&own_id)),
            command: command(&mut fields),
            instances: fields.get("instances", 1),
            env: environment(&mut fields),
            labels: fields.get("labels", BTreeMap::new()),
            fetch: fetches(&mut fields),
            ports: ports(&mut fields),
            require_ports: fields.get("requirePorts", false),
            health_checks: fields.get("healthChecks", Vec::new()),
            backoff: fields.seconds("backoffSeconds", 1.0),
            backoff_factor: fields.number("backoffFactor", 1.15, 1.0),
            max_launch_delay: fields.seconds("maxLaunchDelaySeconds", 300.0),
            kill_grace: fields.seconds("taskKillGracePeriodSeconds", 3.0),
            definition: Map::new(),
        };
        let numbers = [("cpus", 1.0, 0.001), ("mem", 128.0, 0.0), ("disk", 0.0, 0.0), ("gpus", 0.0, 0.0)];
        let numbers = numbers.map(|(key, default, least)| (key, fields.number(key, default, least)));
        if !fields.details.is_empty() {
            return Err(Invalid { message: "Invalid JSON", details: fields.details });
        }
        app.check_rules(&mut fields);
        if !fields.details.is_empty() {
            return Err(Invalid { message: "Object is not valid", details: fields.details });
        }
        let definition = app.definition(body, &numbers);
        Ok(App { definition, ..app })
    }

    /// The rules of Marathon, and what this cluster cannot do and must not pretend to.
    fn check_rules(&self, fields: &mut Fields) {
        let segments_ok = self.id[1..].split('/').all(|segment| {
            !segment.is_empty()
                && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
                && !segment.starts_with('-')
                && !segment.ends_with('-')
        });
        if !segments_ok {
            fields.complain("/id", "must be segments of a-z, 0-9, - and . between slashes".into());
        }
        let docker = fields.body.get("container").and_then(|c| c.pointer("/docker/image")).is_some();
        if docker {
            let text = "this cluster runs commands on the machine itself: remove the image, and bring what the \
                        command needs by `fetch`";
            fields.complain("/container/docker/image", text.into());
        }
        for (i, check) in self.health_checks.iter().enumerate() {
            let index = check.port_index.unwrap_or(0);
            if check.port.is_none() && index >= self.ports.len() {
                let text = format!("the app has no port with index {index}");
                fields.complain(&format!("/healthChecks({i})/portIndex"), text);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for port in self.ports.iter().filter(|p| p.port != 0) {
            if !seen.insert(port.port) {
                fields.complain("/portDefinitions", format!("port {} is listed twice", port.port));
            }
        }
    }

    /// The definition as clients get it: what they sent, the id, and Marathon's defaults.
    fn definition(&self, body: &Map<String, Value>, numbers: &[(&str, f64)]) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("id".into(), json!(self.id));
        for (key, value) in body {
            if !READ_ONLY.contains(&key.as_str()) && key != "id" && !value.is_null() {
                all.insert(key.clone(), value.clone());
            }
        }
        let mut default = |key: &str, value: Value| {
            all.entry(key).or_insert(value);
        };
        for (key, number) in numbers {
            // whole amounts are written as integers, as Marathon does
            #[allow(clippy::cast_possible_truncation)]
            default(key, if number.fract() == 0.0 { json!(*number as i64) } else { json!(number) });
        }
        for (key, value) in [
            ("instances", json!(1)),
            ("env", json!({})),
            ("labels", json!({})),
            ("constraints", json!([])),
            ("requirePorts", json!(false)),
            ("backoffSeconds", json!(1)),
            ("backoffFactor", json!(1.15)),
            ("maxLaunchDelaySeconds", json!(300)),
            ("upgradeStrategy", json!({"minimumHealthCapacity": 1, "maximumOverCapacity": 1})),
            ("killSelection", json!("YOUNGEST_FIRST")),
            ("unreachableStrategy", json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0})),
            ("networks", json!([{"mode": "host"}])),
        ] {
            default(key, value);
        }
        all.insert("fetch".into(), json!(self.fetch));
        all.insert("portDefinitions".into(), json!(self.ports));
        all.insert("healthChecks".into(), json!(self.health_checks));
        all
    }

    /// This app with the top-level keys of `change` in place of its own.
    pub fn with(&self, change: &Value) -> Result<App, Invalid> {
        let mut body = self.definition.clone();
        for (key, value) in change.as_object().into_iter().flatten() {
            // the old spelling of a list replaces the list, and does not add to it
            match key.as_str() {
                "uris" if !change["fetch"].is_array() => _ = body.remove("fetch"),
                "ports" => _ = body.remove("portDefinitions"),
                _ => {}
            }
            body.insert(key.clone(), value.clone());
        }
        if !change.is_object() {
            return App::parse(change, Some(&self.id));
        }
        App::parse(&Value::Object(body), Some(&self.id))
    }
}

fn command(fields: &mut Fields) -> Command {
    let cmd: Option<String> = fields.get("cmd", None);
    let args: Option<Vec<String>> = fields.get("args", None);
    match (cmd.filter(|c| !c.is_empty()), args.filter(|a| !a.is_empty())) {
        (Some(cmd), None) => Command::Shell(cmd),
        (None, Some(args)) => Command::Args(args),
        _ => {
            fields.complain(
                "/",
                "AppDefinition must either contain one of 'cmd' or 'args', and not both".into(),
            );
            Command::Args(Vec::new())
        }
    }
}

fn environment(fields: &mut Fields) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in fields.get("env", Map::new()) {
        match value {
            Value::String(text) => _ = env.insert(name, text),
            Value::Object(_) => {
                let text = "this cluster has no secret store; secrets of a service belong into its svc.yml";
                fields.complain(&format!("/env/{name}"), text.into());
            }
            _ => fields.complain(&format!("/env/{name}"), "error.expected.jsstring".into()),
        }
    }
    env
}

fn fetches(fields: &mut Fields) -> Vec<Fetch> {
    let mut fetch: Vec<Fetch> = fields.get("fetch", Vec::new());
    let uris: Vec<String> = fields.get("uris", Vec::new());
    for uri in uris {
        if fetch.iter().all(|f| f.uri != uri) {
            fetch.push(Fetch { uri, extract: true, executable: false, cache: false, dest_path: None });
        }
    }
    fetch
}

fn ports(fields: &mut Fields) -> Vec<PortDefinition> {
    let definitions: Option<Vec<PortDefinition>> = fields.get("portDefinitions", None);
    let ports: Option<Vec<u16>> = fields.get("ports", None);
    let plain = |port| PortDefinition { port, protocol: tcp(), ..PortDefinition::default() };
    match (definitions, ports) {
        (Some(_), Some(_)) => {
            fields.complain("/", "cannot specify both ports and portDefinitions".into());
            Vec::new()
        }
        (Some(definitions), None) => definitions,
        (None, Some(ports)) => ports.into_iter().map(plain).collect(),
        (None, None) => vec![PortDefinition { name: Some("default".into()), ..plain(0) }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &Value) -> Result<App, Invalid> {
        App::parse(body, None)
    }

    #[test]
    fn defaults_are_those_of_marathon() {
        let app = parse(&json!({"id": "a/b/", "cmd": "true"})).unwrap();
        assert_eq!((app.id.as_str(), app.instances), ("/a/b", 1));
        assert_eq!((app.backoff.as_secs(), app.max_launch_delay.as_secs()), (1, 300));
        let shown = &app.definition;
        assert_eq!((&shown["id"], &shown["cpus"], &shown["mem"]), (&json!("/a/b"), &json!(1), &json!(128)));
        assert_eq!(shown["portDefinitions"][0]["name"], "default");
    }

    #[test]
    fn wrong_fields_are_named_with_their_path() {
        for (body, message, path) in [
            (json!([]), "Invalid JSON", "/"),
            (json!({"id": "a", "cmd": "x", "cpus": "many"}), "Invalid JSON", "/cpus"),
            (json!({"id": "a", "cmd": "x", "cpus": 0}), "Invalid JSON", "/cpus"),
            (json!({"id": "a", "cmd": "x", "instances": -1}), "Invalid JSON", "/instances"),
            (json!({"id": "a", "cmd": "x", "env": {"A": 1}}), "Invalid JSON", "/env/A"),
            (json!({"id": "a", "cmd": "x", "env": {"A": {"secret": "s"}}}), "Invalid JSON", "/env/A"),
            (json!({"id": "a"}), "Invalid JSON", "/"),
            (json!({"id": "a", "cmd": "x", "args": ["x"]}), "Invalid JSON", "/"),
            (json!({"id": "a", "cmd": "x", "ports": [1], "portDefinitions": []}), "Invalid JSON", "/"),
            (json!({"id": "a", "cmd": "x", "ports": [70000]}), "Invalid JSON", "/ports"),
            (
                json!({"id": "a", "cmd": "x", "healthChecks": [{"protocol": "COMMAND"}]}),
                "Invalid JSON",
                "/healthChecks",
            ),
            (json!({"id": "A_b", "cmd": "x"}), "Object is not valid", "/id"),
            (json!({"cmd": "x"}), "Object is not valid", "/id"),
            (json!({"id": "-a", "cmd": "x"}), "Object is not valid", "/id"),
            (json!({"id": "a", "cmd": "x", "ports": [8, 8]}), "Object is not valid", "/portDefinitions"),
            (
                json!({"id": "a", "cmd": "x", "healthChecks": [{"portIndex": 1}]}),
                "Object is not valid",
                "/healthChecks(0)/portIndex",
            ),
            (
                json!({"id": "a", "cmd": "x", "container": {"docker": {"image": "i"}}}),
                "Object is not valid",
                "/container/docker/image",
            ),
        ] {
            let invalid = parse(&body).expect_err(&body.to_string());
            assert_eq!((invalid.message, invalid.details[0].path.as_str()), (message, path), "{body}");
        }
    }

    #[test]
    fn old_spellings_read_as_the_new_ones() {
        let app = parse(&json!({"id": "a", "cmd": "x", "uris": ["http://h/f"], "ports": [0, 81]})).unwrap();
        assert_eq!(
            app.definition["fetch"][0],
            json!({"uri": "http://h/f", "extract": true, "executable": false, "cache": false})
        );
        assert_eq!(app.ports.iter().map(|p| p.port).collect::<Vec<_>>(), [0, 81]);
        assert!(!app.definition.contains_key("uris") && !app.definition.contains_key("ports"));
    }

    #[test]
    fn a_definition_reads_back_as_itself_even_with_what_marathon_adds() {
        let app =
            parse(&json!({"id": "a", "cmd": "x", "labels": {"L": "1"}, "uris": ["u"], "user": "nobody"}))
                .unwrap();
        let mut answered = app.definition.clone();
        answered.insert("tasks".into(), json!([]));
        answered.insert("version".into(), json!("2026-01-01T00:00:00.000Z"));
        assert_eq!(parse(&Value::Object(answered)).unwrap(), app);
    }

    #[test]
    fn a_partial_update_replaces_whole_keys_and_keeps_the_others() {
        let app =
            parse(&json!({"id": "a", "cmd": "x", "env": {"A": "1"}, "instances": 2, "uris": ["u"]})).unwrap();
        let changed =
            app.with(&json!({"id": "/other", "env": {"B": "2"}, "uris": ["v"], "ports": [9]})).unwrap();
        assert_eq!((changed.id.as_str(), changed.instances), ("/a", 2));
        assert_eq!(changed.env.keys().collect::<Vec<_>>(), ["B"]);
        assert_eq!(changed.fetch.iter().map(|f| f.uri.as_str()).collect::<Vec<_>>(), ["v"]);
        assert_eq!(changed.ports[0].port, 9);
        assert!(app.with(&json!("no object")).is_err());
    }
}
