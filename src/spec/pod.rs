//! Reading one pod, and what must be unique over all pods. Used only by the rest of `spec`.

use super::Context;
use super::diagnostic::{Code, Findings};
use super::fields::{Fields, Text, brief};
use super::model::{
    BRIDGE_NETWORK, ExternalVolumeSpec, HostVolumeSpec, NetworkSpec, PodSpec, PodType, RlimitSpec,
    SecretSpec, TaskSpec,
};
use super::placement;
use super::resources::{self, ParsedSet, item_text};
use super::task::{self, shm_size};
use super::yaml::{Key, Span};
use std::collections::HashMap;

const RLIMITS: [&str; 16] = [
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

/// What pods and tasks need to know beside themselves.
pub(super) struct Shared<'a> {
    /// What the caller gave.
    pub context: &'a Context<'a>,
    /// Names of advertised ports of the whole service.
    advertised: HashMap<String, Span>,
    /// Prefixes of discovery names, and which pod has them.
    prefixes: HashMap<String, (PodType, Span)>,
}

impl<'a> Shared<'a> {
    /// Nothing known yet.
    pub fn new(context: &'a Context<'a>) -> Self {
        Self { context, advertised: HashMap::new(), prefixes: HashMap::new() }
    }

    /// Notes the advertised ports of a set that is in use: clients ask for endpoints by these names.
    pub fn advertise(&mut self, parsed: &ParsedSet, findings: &Findings) {
        for (port, place) in
            parsed.set.ports.iter().zip(&parsed.port_places).filter(|(port, _)| port.advertise)
        {
            let Some(first) = self.advertised.insert(port.name.clone(), place.clone()) else { continue };
            let message = format!("two advertised ports are called `{}`", port.name);
            let found = findings.error(place, Code::NotUnique, message).related(&first, "the other one");
            findings.add(found.help("rename one, or advertise only one of them"));
        }
    }

    /// Notes the discovery prefix of a task of `pod`: instances of two pods would get the same name.
    pub fn discover(&mut self, pod: &PodType, prefix: &Text, findings: &Findings) {
        let Some((other, first)) = self.prefixes.get(prefix.text) else {
            self.prefixes.insert(prefix.text.to_owned(), (pod.clone(), prefix.span.clone()));
            return;
        };
        if other != pod {
            let message =
                format!("the discovery prefix `{}` is used by the pods `{other}` and `{pod}`", prefix.text);
            let found =
                findings.error(&prefix.span, Code::NotUnique, message).related(first, "the other one");
            findings.add(found.help("give each pod its own prefix"));
        }
    }
}

/// Reads one pod.
pub(super) fn read(key: &Key, mut fields: Fields, shared: &mut Shared) -> PodSpec {
    let pod_type = PodType(key.text.clone());
    check_name(&fields, key, "pod");
    let sets = resource_sets(&mut fields);
    let tasks = tasks(&pod_type, &mut fields, &sets, shared);
    let secrets = secrets(&mut fields);
    let pod = PodSpec {
        count: fields
            .required_integer("count", 0..=i64::from(u32::MAX))
            .and_then(|n| n.try_into().ok())
            .unwrap_or(0),
        image: image(&mut fields),
        networks: networks(&mut fields, &tasks),
        rlimits: rlimits(&mut fields),
        uris: uris(&mut fields),
        tasks,
        placement: placement(&mut fields),
        volumes: resources::volumes(&mut fields, false),
        pre_reserved_role: fields
            .nonempty_text("pre-reserved-role")
            .map_or_else(|| "*".to_owned(), |t| t.text.to_owned()),
        secrets,
        share_pid_namespace: fields.boolean("share-pid-namespace", false),
        allow_decommission: fields.boolean("allow-decommission", false),
        host_volumes: host_volumes(&mut fields),
        external_volumes: external_volumes(&mut fields),
        seccomp_unconfined: fields.boolean("seccomp-unconfined", false),
        seccomp_profile_name: fields.nonempty_text("seccomp-profile-name").map(|t| t.text.to_owned()),
        ipc_mode: ipc_mode(&mut fields),
        shm_size: shm_size(&mut fields),
        pod_type,
    };
    if pod.seccomp_unconfined && pod.seccomp_profile_name.is_some() {
        let message = "`seccomp-unconfined: true` and `seccomp-profile-name` exclude each other";
        fields.error(&fields.span, Code::Conflict, message, "remove one of the two");
    }
    for (key, like) in fields.unknown() {
        let help = like.map_or_else(|| "remove it".to_owned(), |like| format!("did you mean `{like}`?"));
        fields.warning(
            &key.span,
            Code::IgnoredKey,
            format!("`{}` has no meaning in a pod and is ignored", brief(&key.text)),
            help,
        );
    }
    pod
}

/// Names become parts of task identifiers, which Mesos uses as directory names.
fn check_name(fields: &Fields, key: &Key, what: &str) {
    if key.text.trim().is_empty() {
        fields.error(&key.span, Code::Empty, format!("a {what}'s name is empty"), "give it a name");
    } else if key.text.contains(|c: char| c == '/' || c.is_control() || c.is_whitespace()) {
        let found = fields.findings.error(
            &key.span,
            Code::Form,
            format!("a {what} cannot be called `{}`", brief(&key.text)),
        );
        fields.findings.add(found.expected("a name without slashes and blanks"));
    }
}

fn resource_sets(fields: &mut Fields) -> Vec<ParsedSet> {
    let mut sets = Vec::new();
    let Some(map) = fields.map("resource-sets") else { return sets };
    for (key, node) in map.names() {
        if let Some(mut fields) = map.named(key, node) {
            sets.push(resources::read(&key.text, &mut fields));
            fields.finish();
        }
    }
    sets
}

fn tasks(pod: &PodType, fields: &mut Fields, sets: &[ParsedSet], shared: &mut Shared) -> Vec<TaskSpec> {
    let Some(map) = fields.map("tasks") else {
        if !fields.has("tasks") {
            fields.missing("tasks");
        }
        return Vec::new();
    };
    if map.names().is_empty() {
        map.error(
            &map.span,
            Code::Empty,
            format!("the pod `{pod}` has no tasks"),
            "a pod runs at least one task",
        );
    }
    let mut tasks = Vec::new();
    for (key, node) in map.names() {
        check_name(&map, key, "task");
        if let Some(fields) = map.named(key, node) {
            tasks.push(task::read(pod, key, fields, sets, shared));
        }
    }
    for parsed in
        sets.iter().filter(|parsed| tasks.iter().any(|t: &TaskSpec| t.resource_set.id == parsed.set.id))
    {
        shared.advertise(parsed, map.findings);
    }
    tasks
}

fn image(fields: &mut Fields) -> Option<String> {
    let (key, node) = fields.entry("image")?;
    let help = "remove the key to run on the agent's own file system";
    if node.is_null() {
        let message = "`image` has no value: the tasks run on the agent's own file system";
        fields.warning(
            &key.span,
            Code::NoEffect,
            message,
            "give the name of a Docker image, or remove the key",
        );
        return None;
    }
    let text = fields.text("image")?;
    if text.text.trim().is_empty() {
        fields.error(&text.span, Code::Empty, "`image` is empty", help);
    }
    Some(text.text.to_owned())
}

fn ipc_mode(fields: &mut Fields) -> Option<String> {
    let text = fields.nonempty_text("ipc-mode")?;
    if text.text != "PRIVATE" {
        let found = fields.findings.error(
            &text.span,
            Code::NotOneOf,
            format!("a pod's `ipc-mode` cannot be `{}`", brief(text.text)),
        );
        fields.findings.add(found.expected("PRIVATE").help("only tasks can use SHARE_PARENT"));
    }
    Some(text.text.to_owned())
}

fn placement(fields: &mut Fields) -> Option<super::Placement> {
    let text = fields.text("placement")?;
    placement::parse(text.text).unwrap_or_else(|error| {
        fields.error(&text.span, Code::Placement, error.to_string(), error.help());
        None
    })
}

fn uris(fields: &mut Fields) -> Vec<String> {
    let mut uris = Vec::new();
    for node in fields.list("uris") {
        let Some(uri) = item_text(fields, "uris", node) else { continue };
        let bad = |c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c);
        if uri.is_empty() || uri.contains(bad) {
            let found =
                fields.findings.error(&node.span, Code::Form, format!("this is not a URI: `{}`", brief(uri)));
            fields.findings.add(
                found
                    .expected("an address such as https://host/file.tgz")
                    .help("escape special characters as %20 and so on"),
            );
        }
        uris.push(uri.to_owned());
    }
    uris
}

fn networks(fields: &mut Fields, tasks: &[TaskSpec]) -> Vec<NetworkSpec> {
    let mut networks = Vec::new();
    let Some(map) = fields.map("networks") else { return networks };
    for (key, node) in map.names() {
        let Some(mut fields) = map.named(key, node) else { continue };
        let host = port_list(&mut fields, "host-ports");
        let container = port_list(&mut fields, "container-ports");
        let (hosts, containers) = (fields.list("host-ports").len(), fields.list("container-ports").len());
        if hosts != containers {
            let message = format!("{hosts} host ports and {containers} container ports");
            fields.error(
                &key.span,
                Code::Form,
                message,
                "they are mapped pairwise: give as many of one as of the other",
            );
        }
        let mut port_mappings: Vec<(u16, u16)> = host.into_iter().zip(container).collect();
        if key.text == BRIDGE_NETWORK {
            add_ports_of_tasks(&mut port_mappings, tasks);
        } else if !port_mappings.is_empty() {
            let message = format!("the network `{}` does not map ports", brief(&key.text));
            fields.error(
                &key.span,
                Code::Conflict,
                message,
                format!("use `{BRIDGE_NETWORK}`, or remove the ports"),
            );
        }
        networks.push(NetworkSpec {
            name: key.text.clone(),
            port_mappings,
            labels: labels(&mut fields, "labels"),
        });
        fields.finish();
    }
    networks
}

/// Every static port that is not mapped by the author is mapped to itself.
fn add_ports_of_tasks(mappings: &mut Vec<(u16, u16)>, tasks: &[TaskSpec]) {
    for port in tasks.iter().flat_map(|t| &t.resource_set.ports).map(|p| p.port).filter(|p| *p != 0) {
        if !mappings.iter().any(|(host, container)| *host == port || *container == port) {
            mappings.push((port, port));
        }
    }
}

fn port_list(fields: &mut Fields, key: &'static str) -> Vec<u16> {
    let mut ports = Vec::new();
    for node in fields.list(key) {
        let Some(text) = item_text(fields, key, node) else { continue };
        let text = Text { text, span: node.span.clone() };
        ports.extend(fields.integer_of(key, &text, 0..=65535).and_then(|n| u16::try_from(n).ok()));
    }
    ports
}

fn rlimits(fields: &mut Fields) -> Vec<RlimitSpec> {
    let mut rlimits = Vec::new();
    let Some(map) = fields.map("rlimits") else { return rlimits };
    for (key, node) in map.names() {
        if !RLIMITS.contains(&key.text.as_str()) {
            let found = map.findings.error(
                &key.span,
                Code::NotOneOf,
                format!("there is no rlimit `{}`", brief(&key.text)),
            );
            map.findings.add(
                found.expected("a name such as RLIMIT_NOFILE").help(format!("known: {}", RLIMITS.join(", "))),
            );
        }
        let Some(mut fields) = map.named(key, node) else { continue };
        let soft = fields.integer("soft", -1..=i64::MAX);
        let hard = fields.integer("hard", -1..=i64::MAX);
        let bounds = match (soft, hard) {
            (None, None) | (Some(-1), Some(-1)) => None,
            (Some(soft @ 0..), Some(hard)) if soft <= hard => {
                Some((soft.unsigned_abs(), hard.unsigned_abs()))
            }
            // a value that is there and wrong has been reported already
            (None, _) if fields.has("soft") => None,
            (_, None) if fields.has("hard") => None,
            _ => {
                let found = fields.findings.error(
                    &key.span,
                    Code::Form,
                    format!("the bounds of {} do not fit", brief(&key.text)),
                );
                let found =
                    found.expected("both `soft` and `hard`, soft not above hard; -1 on both for unlimited");
                fields.findings.add(found);
                None
            }
        };
        rlimits.push(RlimitSpec { name: key.text.clone(), bounds });
        fields.finish();
    }
    rlimits
}

fn secrets(fields: &mut Fields) -> Vec<SecretSpec> {
    let mut secrets = Vec::new();
    let Some(map) = fields.map("secrets") else { return secrets };
    for (key, node) in map.names() {
        let Some(mut fields) = map.named(key, node) else { continue };
        let secret = fields.required_text("secret");
        let env_key = fields.nonempty_text("env-key").map(|t| t.text.to_owned());
        let file = fields.nonempty_text("file");
        let path = file.or_else(|| secret.clone().filter(|_| env_key.is_none()));
        if let Some(path) = path.as_ref().filter(|path| !is_sandbox_path(path.text)) {
            let found = fields.findings.error(
                &path.span,
                Code::Form,
                format!("a secret's file cannot be `{}`", brief(path.text)),
            );
            fields
                .findings
                .add(found.expected("a path relative to the sandbox, of letters, digits, `.`, `_` and `-`"));
        }
        secrets.push(SecretSpec {
            secret: secret.map(|t| t.text.to_owned()).unwrap_or_default(),
            env_key,
            file: path.map(|t| t.text.to_owned()),
        });
        fields.finish();
    }
    secrets
}

/// `a/b.c`: a letter, digit or dot first, then also `_` and `-`, with separators between.
fn is_sandbox_path(path: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/\\".contains(c);
    path.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.') && path.chars().all(good)
}

fn read_only(fields: &mut Fields, key: &'static str) -> bool {
    fields.word(key, &[("RW", false), ("RO", true)]).unwrap_or(false)
}

fn host_volumes(fields: &mut Fields) -> Vec<HostVolumeSpec> {
    let mut volumes = Vec::new();
    let Some(map) = fields.map("host-volumes") else { return volumes };
    for (key, node) in map.names() {
        let Some(mut fields) = map.named(key, node) else { continue };
        let mut path = |key: &'static str, absolute: bool| {
            let text = fields.required_text(key)?;
            if text.text.starts_with('/') != absolute {
                let form = if absolute {
                    "an absolute path, with a leading slash"
                } else {
                    "a relative path, without a leading slash"
                };
                let message = format!("`{}` cannot be `{}`", fields.path_of(key), brief(text.text));
                fields.findings.add(fields.findings.error(&text.span, Code::Form, message).expected(form));
            }
            Some(text.text.to_owned())
        };
        let host_path = path("host-path", true).unwrap_or_default();
        let container_path = path("container-path", false).unwrap_or_default();
        volumes.push(HostVolumeSpec { host_path, container_path, read_only: read_only(&mut fields, "mode") });
        fields.finish();
    }
    volumes
}

fn external_volumes(fields: &mut Fields) -> Vec<ExternalVolumeSpec> {
    let mut volumes = Vec::new();
    let Some(map) = fields.map("external-volumes") else { return volumes };
    for (key, node) in map.names() {
        let Some(mut fields) = map.named(key, node) else { continue };
        if !fields.has("type") {
            fields.missing("type");
        }
        fields.word("type", &[("DOCKER", ())]);
        volumes.push(ExternalVolumeSpec {
            driver_name: fields.required_text("driver-name").map(|t| t.text.to_owned()).unwrap_or_default(),
            driver_options: driver_options(&mut fields),
            volume_name: fields.nonempty_text("volume-name").map(|t| t.text.to_owned()),
            container_path: fields
                .required_text("container-path")
                .map(|t| t.text.to_owned())
                .unwrap_or_default(),
            read_only: read_only(&mut fields, "volume-mode"),
        });
        fields.finish();
    }
    volumes
}

fn driver_options(fields: &mut Fields) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let Some(text) = fields.nonempty_text("driver-options") else { return options };
    for item in text.text.split(';').filter(|item| !item.trim().is_empty()) {
        let parts: Vec<&str> = item.split('=').collect();
        match parts[..] {
            ["name", _] => {
                let message = "the volume's name cannot be a driver option";
                fields.error(&text.span, Code::Conflict, message, "use `volume-name`");
            }
            [key, value] if !key.is_empty() && !value.is_empty() => {
                options.push((key.to_owned(), value.to_owned()));
            }
            _ => {
                let found = fields.findings.error(
                    &text.span,
                    Code::Form,
                    format!("`{}` is not a driver option", brief(item)),
                );
                fields.findings.add(found.expected("`key=value;key=value`"));
            }
        }
    }
    options
}

/// The labels below `key`, `name:value` with commas between; a value may hold colons.
pub(super) fn labels(fields: &mut Fields, key: &'static str) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let Some(text) = fields.text(key) else { return labels };
    for item in text.text.split(',') {
        match item.trim().split_once(':') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                if labels.iter().any(|(other, _)| other == name) {
                    let message = format!("the label `{}` is there twice", brief(name));
                    fields.error(&text.span, Code::NotUnique, message, "remove one of the two");
                }
                labels.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                let found = fields.findings.error(
                    &text.span,
                    Code::Form,
                    format!("`{}` is not a label", brief(item)),
                );
                fields
                    .findings
                    .add(found.expected("`name:value,name:value`").help("remove the key for no labels"));
            }
        }
    }
    labels
}
