//! Reading one pod, and what must be unique over all pods. Used only by the rest of `spec`.

use super::Context;
use super::container;
use super::fields::{Fields, Text, brief};
use super::findings::Findings;
use super::model::{BRIDGE_NETWORK, NetworkSpec, OVERLAY_NETWORK, PodSpec, PodType, TaskSpec};
use super::placement;
use super::resources::{self, ParsedSet};
use super::task;
use super::yaml::{Key, Span};
use crate::finding::Code;
use std::collections::{HashMap, HashSet};

/// What pods and tasks need to know beside themselves.
pub(super) struct Shared<'a> {
    /// What the caller gave.
    pub context: &'a Context<'a>,
    /// Names of advertised ports of the whole service.
    advertised: HashMap<String, Span>,
    /// Prefixes of discovery names, and which pod has them.
    prefixes: HashMap<String, (PodType, Span)>,
    /// Ports and volumes of resource sets, counted for each task that has the set.
    copies: usize,
}

/// Where the names of a pod and of its tasks are.
pub(super) struct Places {
    /// The pod's.
    pub pod: Span,
    /// The tasks', in their order.
    pub tasks: Vec<Span>,
}

/// More ports and volumes than this, counted for each task, are not copied: aliases of resource sets would let a small
/// file fill the memory.
const MAX_COPIES: usize = 100_000;

impl<'a> Shared<'a> {
    /// Nothing known yet.
    pub fn new(context: &'a Context<'a>) -> Self {
        Self { context, advertised: HashMap::new(), prefixes: HashMap::new(), copies: 0 }
    }

    /// Notes the advertised ports of a set that is in use: clients ask for endpoints by these names.
    pub fn advertise(&mut self, parsed: &ParsedSet, findings: &Findings) {
        for (port, place) in
            parsed.set.ports.iter().zip(&parsed.port_places).filter(|(port, _)| port.advertise)
        {
            let Some(first) = self.advertised.insert(port.name.clone(), place.clone()) else { continue };
            let message = format!("two advertised ports are called `{}`", brief(&port.name));
            let found = findings.at(place, Code::NotUnique, message);
            let found = found.related(findings.source, &first, "the other one");
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
            let message = format!(
                "the discovery prefix `{}` is used by the pods `{}` and `{}`",
                brief(prefix.text),
                brief(&other.0),
                brief(&pod.0)
            );
            let found = findings.at(&prefix.span, Code::NotUnique, message);
            let found = found.related(findings.source, first, "the other one");
            findings.add(found.help("give each pod its own prefix"));
        }
    }

    /// Counts one more task with a set; false when there are too many.
    pub fn may_copy(&mut self, parsed: &ParsedSet) -> bool {
        self.copies += parsed.set.ports.len() + parsed.set.volumes.len();
        self.copies <= MAX_COPIES
    }
}

/// Reads one pod.
pub(super) fn read(key: &Key, mut fields: Fields, shared: &mut Shared) -> (PodSpec, Places) {
    let pod_type = PodType(key.text.clone());
    let sets = resource_sets(&mut fields);
    let (tasks, task_places) = tasks(&pod_type, &mut fields, &sets, shared);
    let pod = PodSpec {
        count: fields.integer("count").unwrap_or(0),
        image: image(&mut fields),
        networks: networks(&mut fields, &tasks, &sets),
        rlimits: container::rlimits(&mut fields),
        uris: fields.texts("uris").into_iter().map(|uri| uri.text.to_owned()).collect(),
        tasks,
        placement: placement(&mut fields),
        volumes: resources::volumes(&mut fields, false),
        pre_reserved_role: fields.string("pre-reserved-role"),
        secrets: container::secrets(&mut fields),
        share_pid_namespace: fields.boolean("share-pid-namespace"),
        allow_decommission: fields.boolean("allow-decommission"),
        host_volumes: container::host_volumes(&mut fields),
        external_volumes: container::external_volumes(&mut fields),
        seccomp_unconfined: fields.boolean("seccomp-unconfined"),
        seccomp_profile_name: fields.optional("seccomp-profile-name"),
        ipc_mode: ipc_mode(&mut fields),
        shm_size: fields.integer("shm-size"),
        pod_type,
    };
    if pod.seccomp_unconfined && pod.seccomp_profile_name.is_some() {
        let message = "`seccomp-unconfined: true` and `seccomp-profile-name` exclude each other";
        fields.report(&fields.span, Code::Conflict, message, "remove one of the two");
    }
    fields.finish();
    (pod, Places { pod: key.span.clone(), tasks: task_places })
}

fn resource_sets(fields: &mut Fields) -> Vec<ParsedSet> {
    let read = |(key, mut fields): (&Key, Fields)| {
        let set = resources::read(&key.text, &mut fields);
        fields.finish();
        ParsedSet { place: key.span.clone(), ..set }
    };
    fields.named("resource-sets").into_iter().flat_map(|map| map.entries).map(read).collect()
}

fn tasks(
    pod: &PodType,
    fields: &mut Fields,
    sets: &[ParsedSet],
    shared: &mut Shared,
) -> (Vec<TaskSpec>, Vec<Span>) {
    let Some(map) = fields.named("tasks") else { return (Vec::new(), Vec::new()) };
    if map.is_empty {
        let message = format!("the pod `{}` has no tasks", brief(&pod.0));
        fields.report(&map.span, Code::Empty, message, "a pod runs at least one task");
    }
    let by_name: HashMap<&str, &ParsedSet> = sets.iter().map(|s| (s.set.id.as_str(), s)).collect();
    let mut read = Vec::with_capacity(map.entries.len());
    let mut places = Vec::with_capacity(map.entries.len());
    for (key, fields) in map.entries {
        read.push(task::read(pod, key, fields, &by_name, shared));
        places.push(key.span.clone());
    }
    let used: HashSet<&str> = read.iter().map(|t: &TaskSpec| t.resource_set.id.as_str()).collect();
    for parsed in sets {
        if used.contains(parsed.set.id.as_str()) {
            shared.advertise(parsed, fields.findings);
        } else {
            let message = format!("no task uses the resource set `{}`", brief(&parsed.set.id));
            let help = "remove it, or name it in a task's `resource-set`";
            fields.report(&parsed.place, Code::NoEffect, message, help);
        }
    }
    (read, places)
}

fn image(fields: &mut Fields) -> Option<String> {
    let (key, node) = fields.entry("image")?;
    if node.is_null() {
        let message = "`image` has no value: the tasks run on the agent's own file system";
        let help = "give the name of a Docker image, or remove the key";
        fields.report(&key.span, Code::NoEffect, message, help);
        return None;
    }
    let text = fields.scalar("image", node)?;
    if text.text.trim().is_empty() {
        let help = "remove the key to run on the agent's own file system";
        fields.report(&text.span, Code::Empty, "`image` is empty", help);
    }
    Some(text.text.to_owned())
}

fn ipc_mode(fields: &mut Fields) -> Option<String> {
    let shared = fields.get("ipc-mode").and_then(|node| fields.scalar("ipc-mode", node));
    if let Some(text) = shared.filter(|text| text.text == "SHARE_PARENT") {
        let message = "a pod has no parent whose shared memory it could use";
        let found = fields.findings.at(&text.span, Code::NotOneOf, message);
        fields.findings.add(found.expected("PRIVATE").help("only tasks can use SHARE_PARENT"));
        return None;
    }
    fields.word("ipc-mode").map(str::to_owned)
}

fn placement(fields: &mut Fields) -> Option<super::Placement> {
    let text = fields.text("placement")?;
    placement::parse(text.text).unwrap_or_else(|error| {
        fields.report(&text.span, Code::Placement, error.to_string(), error.help());
        Some(placement::invalid(text.text, &error))
    })
}

fn networks(fields: &mut Fields, tasks: &[TaskSpec], sets: &[ParsedSet]) -> Vec<NetworkSpec> {
    let Some(map) = fields.named("networks") else { return Vec::new() };
    let read = |(key, mut fields): (&Key, Fields)| {
        let mut port_mappings = port_mappings(key, &mut fields);
        if key.text == BRIDGE_NETWORK {
            let inline = tasks.iter().map(|t| &t.resource_set);
            map_other_ports(&mut port_mappings, sets.iter().map(|s| &s.set).chain(inline));
        } else if !port_mappings.is_empty() {
            let message = format!("the network `{}` does not map ports", brief(&key.text));
            let help = format!("use `{BRIDGE_NETWORK}`, or remove the ports");
            fields.report(&key.span, Code::Conflict, message, help);
        } else if key.text != OVERLAY_NETWORK {
            let message = format!(
                "`{}` is not one of DC/OS's own networks, and is taken for one where containers have addresses",
                brief(&key.text)
            );
            let help = format!("known: `{OVERLAY_NETWORK}`, `{BRIDGE_NETWORK}`");
            fields.report(&key.span, Code::OtherNetwork, message, help);
        }
        let labels = container::labels(&mut fields, "labels", true);
        fields.finish();
        NetworkSpec { name: key.text.clone(), port_mappings, labels }
    };
    map.entries.into_iter().map(read).collect()
}

/// The ports that the author maps, pairwise.
fn port_mappings(key: &Key, fields: &mut Fields) -> Vec<(u16, u16)> {
    let (host, container) = (fields.integers("host-ports"), fields.integers("container-ports"));
    let given = ["host-ports", "container-ports"].map(|key| match fields.get(key).map(|node| &node.value) {
        Some(super::yaml::Value::List(items)) => Some(items.len()),
        _ => None,
    });
    match given {
        [Some(hosts), Some(containers)] if hosts != containers => {
            let message = format!("{hosts} host ports and {containers} container ports");
            let help = "they are mapped pairwise: give as many of one as of the other";
            fields.report(&key.span, Code::Form, message, help);
        }
        [Some(1..), None] | [None, Some(1..)] => {
            let message = "`host-ports` have no effect without `container-ports`, nor these without those";
            fields.report(&key.span, Code::NoEffect, message, "they are mapped pairwise: give both");
            return Vec::new();
        }
        _ => {}
    }
    host.into_iter().zip(container).collect()
}

/// Every port that a task names and that leads nowhere yet is mapped to itself.
fn map_other_ports<'s>(mappings: &mut Vec<(u16, u16)>, sets: impl Iterator<Item = &'s super::ResourceSet>) {
    let mut hosts: HashSet<u16> = mappings.iter().map(|(host, _)| *host).collect();
    for port in sets.flat_map(|set| &set.ports).map(|p| p.port).filter(|p| *p != 0) {
        if hosts.insert(port) {
            mappings.push((port, port));
        }
    }
}
