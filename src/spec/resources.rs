//! Resource sets, ports and volumes: what a task or a pod reserves. Used only by the rest of `spec`.

use super::fields::{Fields, brief};
use super::language;
use super::model::{Limit, PortSpec, ResourceLimits, ResourceSet, VipSpec, VolumeKind, VolumeSpec};
use super::yaml::Span;
use crate::finding::Code;
use std::collections::{HashMap, HashSet};

/// The keys of a resource set, which a task may hold inline.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    language::RESOURCE_SET.keys.iter().map(|key| key.name)
}

/// A resource set, and where its ports' names are.
pub(super) struct ParsedSet {
    /// The set.
    pub set: ResourceSet,
    /// Where its name is; where its keys are, for those of a task.
    pub place: Span,
    /// For each port the place of its name.
    pub port_places: Vec<Span>,
}

/// Reads the keys of a resource set out of `fields`, which may hold others as well.
pub(super) fn read(id: &str, fields: &mut Fields) -> ParsedSet {
    let mut port_places = Vec::new();
    let set = ResourceSet {
        id: id.to_owned(),
        cpus: fields.amount("cpus"),
        gpus: fields.amount("gpus"),
        memory: megabytes(fields, "memory"),
        ports: ports(fields, &mut port_places),
        volumes: volumes(fields, true),
        limits: ResourceLimits::default(),
    };
    let limits = limits(fields, &set);
    if !keys().filter(|key| *key != "resource-limits").any(|key| fields.has(key)) {
        let help =
            "give it `cpus` and `memory`, or name one of the pod's `resource-sets` with `resource-set`";
        fields.report(&fields.span, Code::Empty, format!("`{}` reserves no resources", fields.path), help);
    }
    ParsedSet { set: ResourceSet { limits, ..set }, place: fields.span.clone(), port_places }
}

fn megabytes(fields: &mut Fields, key: &'static str) -> Option<f64> {
    // the table's bound is where a float still holds every integer
    fields.integer::<i64>(key).map(|mb| mb as f64)
}

fn limits(fields: &mut Fields, set: &ResourceSet) -> ResourceLimits {
    let Some(mut limits) = fields.block("resource-limits") else { return ResourceLimits::default() };
    let read = ResourceLimits {
        cpus: limit(&mut limits, "cpus", set.cpus),
        memory: limit(&mut limits, "memory", set.memory),
    };
    limits.finish();
    read
}

fn limit(fields: &mut Fields, key: &'static str, request: Option<f64>) -> Option<Limit> {
    let text = fields.text(key)?;
    if text.text.trim() == "unlimited" {
        return Some(Limit::Unlimited);
    }
    let value = text.text.trim().replace('_', "").parse::<f64>();
    let Some(value) = value.ok().filter(|value| *value > 0.0) else {
        let message = format!("`{}` cannot be `{}`", fields.path_of(key), brief(text.text));
        let found = fields.findings.at(&text.span, Code::ScalarType, message);
        fields.findings.add(found.expected("a number above 0, or `unlimited`"));
        return None;
    };
    match request {
        Some(request) if value < request => {
            let message = format!("the limit of {key}, {value}, is below the request, {request}");
            let help = format!("make it {request} or more, or `unlimited`");
            fields.report(&text.span, Code::LimitBelowRequest, message, help);
        }
        Some(_) => {}
        None => {
            let message = format!("`{}` limits what is not reserved", fields.path_of(key));
            fields.report(&text.span, Code::NoEffect, message, format!("reserve `{key}`, too"));
        }
    }
    Some(if value.is_infinite() { Limit::Unlimited } else { Limit::Value(value) })
}

fn ports(fields: &mut Fields, places: &mut Vec<Span>) -> Vec<PortSpec> {
    let Some(map) = fields.named("ports") else { return Vec::new() };
    let mut ports: Vec<PortSpec> = Vec::new();
    let mut by_number: HashMap<u16, usize> = HashMap::new();
    for (key, mut fields) in map.entries {
        let port = port(&key.text, &mut fields);
        if let Some(first) = by_number.insert(port.port, ports.len()).filter(|_| port.port != 0) {
            let message = format!(
                "the ports `{}` and `{}` are both {}",
                brief(&ports[first].name),
                brief(&port.name),
                port.port
            );
            let found = fields.findings.at(&key.span, Code::NotUnique, message);
            let found = found.related(fields.findings.source, &places[first], "the other one");
            fields.findings.add(found.help("give each its own number, or 0 to have one chosen"));
        }
        ports.push(port);
        places.push(key.span.clone());
        fields.finish();
    }
    let names: HashSet<&str> = ports.iter().map(|p| p.name.as_str()).collect();
    for (port, place) in ports.iter().zip(&*places) {
        let Some(vip) = &port.vip else { continue };
        if vip.prefix != port.name && names.contains(vip.prefix.as_str()) {
            let message = format!(
                "the VIP of port `{}` has the name of another port, `{}`",
                brief(&port.name),
                brief(&vip.prefix)
            );
            fields.report(place, Code::NotUnique, message, "choose another `prefix` for the VIP");
        }
    }
    ports
}

fn port(name: &str, fields: &mut Fields) -> PortSpec {
    let number = fields.integer("port");
    let env_key = fields.optional("env-key");
    let advertise = fields.boolean("advertise");
    let vip = vip(name, fields);
    let mut ranges = ranges(fields);
    if vip.is_some() && !ranges.is_empty() {
        let message = format!("`{}` has no effect: the port has a VIP", fields.path_of("ranges"));
        fields.report(&fields.span, Code::NoEffect, message, "remove `ranges` or `vip`");
        ranges.clear();
    }
    if !ranges.is_empty() && number.is_some_and(|number| number != 0) {
        let message = format!("`{}` has no effect: the port has a number", fields.path_of("ranges"));
        fields.report(&fields.span, Code::NoEffect, message, "remove `ranges`, or make `port` 0");
    }
    if number == Some(0) && env_key.is_none() {
        let message =
            format!("the number of port `{}` is chosen at launch, and its task cannot learn it", brief(name));
        fields.report(&fields.span, Code::UnseenPort, message, "add `env-key: NAME` and use $NAME in `cmd`");
    }
    PortSpec { name: name.to_owned(), port: number.unwrap_or_default(), env_key, advertise, vip, ranges }
}

fn vip(name: &str, fields: &mut Fields) -> Option<VipSpec> {
    let mut vip = fields.block("vip")?;
    let prefix = vip.optional("prefix").unwrap_or_else(|| name.to_owned());
    let port = vip.integer("port");
    if port == Some(0) {
        let message = format!("the VIP of port `{}` has no port that clients could connect to", brief(name));
        vip.report(&vip.span, Code::NoEffect, message, "give it a `port` from 1 to 65535");
    }
    vip.finish();
    Some(VipSpec { prefix, port: port.unwrap_or_default() })
}

fn ranges(fields: &mut Fields) -> Vec<(u16, u16)> {
    let read = |mut range: Fields| {
        let begin = range.integer("begin").unwrap_or_default();
        let end = range.integer("end").filter(|end| *end != 0).unwrap_or(u16::MAX);
        if begin > end {
            let message = format!("the range begins at {begin}, after its end, {end}");
            range.report(&range.span, Code::OutOfRange, message, "swap the two");
        }
        range.finish();
        (begin, end)
    };
    fields.blocks("ranges").into_iter().map(read).collect()
}

/// The volumes under `volume` and `volumes`, which `exclusive` says cannot be given together.
pub(super) fn volumes(fields: &mut Fields, exclusive: bool) -> Vec<VolumeSpec> {
    if exclusive && fields.has("volume") && fields.has("volumes") {
        let message = format!("`{}` has both `volume` and `volumes`", fields.path);
        let span = fields.entry("volumes").map_or(fields.span.clone(), |(key, _)| key.span.clone());
        fields.report(&span, Code::Conflict, message, "move the single volume into `volumes`");
    }
    let single = fields.block("volume");
    let named = fields.named("volumes").into_iter().flat_map(|map| map.entries).map(|(_, fields)| fields);
    let mut paths = HashMap::new();
    single.into_iter().chain(named).map(|fields| volume(fields, &mut paths)).collect()
}

fn volume<'n>(mut fields: Fields<'n, '_>, paths: &mut HashMap<&'n str, Span>) -> VolumeSpec {
    let path = fields.text("path");
    let kind = match fields.word("type") {
        Some("MOUNT") => VolumeKind::Mount,
        Some("PATH") => VolumeKind::Path,
        _ => VolumeKind::Root,
    };
    let size = megabytes(&mut fields, "size").unwrap_or_default();
    let profiles = profiles(&mut fields, kind);
    if let Some(path) = &path
        && let Some(first) = paths.insert(path.text, path.span.clone())
    {
        let message = format!("two volumes have the path `{}`", brief(path.text));
        let found = fields.findings.at(&path.span, Code::NotUnique, message);
        let found = found.related(fields.findings.source, &first, "the other one");
        fields.findings.add(found.help("give each volume its own path"));
    }
    fields.finish();
    VolumeSpec { path: path.map(|t| t.text.to_owned()).unwrap_or_default(), kind, size, profiles }
}

fn profiles(fields: &mut Fields, kind: VolumeKind) -> Vec<String> {
    let texts = fields.texts("profiles");
    let mut names = HashSet::new();
    for text in texts.iter().filter(|text| !names.insert(text.text)) {
        let message = format!("the profile `{}` is there twice", brief(text.text));
        fields.report(&text.span, Code::NotUnique, message, "remove one");
    }
    if !texts.is_empty() && kind == VolumeKind::Root {
        let message = "a ROOT volume cannot have disk profiles";
        let help = "remove `profiles`, or make the volume a MOUNT volume";
        fields.report(&fields.span, Code::Conflict, message, help);
    }
    texts.into_iter().map(|text| text.text.to_owned()).collect()
}
