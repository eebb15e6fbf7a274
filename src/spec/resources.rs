//! Resource sets, ports and volumes: what a task or a pod reserves. Used only by the rest of `spec`.

use super::diagnostic::Code;
use super::fields::{Fields, brief};
use super::model::{Limit, PortSpec, ResourceLimits, ResourceSet, VipSpec, VolumeKind, VolumeSpec};
use super::yaml::{Node, Span, Value};

/// The keys of a resource set, which a task may hold inline.
pub(super) const KEYS: [&str; 7] =
    ["cpus", "gpus", "memory", "ports", "volume", "volumes", "resource-limits"];

/// A resource set, and where its ports' names are.
pub(super) struct ParsedSet {
    /// The set.
    pub set: ResourceSet,
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
    if !KEYS[..6].iter().any(|key| fields.has(key)) {
        let help =
            "give it `cpus` and `memory`, or name one of the pod's `resource-sets` with `resource-set`";
        fields.error(&fields.span, Code::Empty, format!("`{}` reserves no resources", fields.path), help);
    }
    ParsedSet { set: ResourceSet { limits, ..set }, port_places }
}

fn megabytes(fields: &mut Fields, key: &'static str) -> Option<f64> {
    // 2^53 MB is far beyond any machine, and up to there a float holds every integer
    fields.integer(key, 1..=1 << 53).map(|mb| mb as f64)
}

fn limits(fields: &mut Fields, set: &ResourceSet) -> ResourceLimits {
    let Some(mut limits) = fields.map("resource-limits") else { return ResourceLimits::default() };
    let read = ResourceLimits {
        cpus: limit(&mut limits, "cpus", set.cpus),
        memory: limit(&mut limits, "memory", set.memory),
    };
    limits.finish();
    read
}

fn limit(fields: &mut Fields, key: &'static str, request: Option<f64>) -> Option<Limit> {
    let text = fields.text(key).filter(|text| !text.text.trim().is_empty())?;
    if text.text.trim() == "unlimited" {
        return Some(Limit::Unlimited);
    }
    let Ok(value) =
        text.text.trim().parse::<f64>().map_err(drop).and_then(|v| if v.is_nan() { Err(()) } else { Ok(v) })
    else {
        let message = format!("`{}` cannot be `{}`", fields.path_of(key), brief(text.text));
        let found = fields.findings.error(&text.span, Code::ScalarType, message);
        fields.findings.add(found.expected("a number or `unlimited`"));
        return None;
    };
    if request.is_some_and(|request| value < request) {
        let request = request.unwrap_or_default();
        let message = format!("the limit of {key}, {value}, is below the request, {request}");
        fields.error(
            &text.span,
            Code::LimitBelowRequest,
            message,
            format!("make it {request} or more, or `unlimited`"),
        );
    }
    Some(if value.is_infinite() { Limit::Unlimited } else { Limit::Value(value) })
}

fn ports(fields: &mut Fields, places: &mut Vec<Span>) -> Vec<PortSpec> {
    let Some(map) = fields.map("ports") else { return Vec::new() };
    let mut ports: Vec<PortSpec> = Vec::new();
    for (key, node) in map.names() {
        let Some(mut fields) = map.named(key, node) else { continue };
        let port = port(&key.text, &mut fields);
        if let Some((first, other)) =
            ports.iter().zip(&*places).find(|(p, _)| p.port != 0 && p.port == port.port)
        {
            let message = format!("the ports `{}` and `{}` are both {}", first.name, port.name, port.port);
            let found = fields.findings.error(&key.span, Code::NotUnique, message);
            fields.findings.add(
                found
                    .related(other, "the other one")
                    .help("give each its own number, or 0 to have one chosen"),
            );
        }
        ports.push(port);
        places.push(key.span.clone());
        fields.finish();
    }
    for (port, place) in ports.iter().zip(&*places) {
        let Some(vip) = &port.vip else { continue };
        if vip.prefix != port.name && ports.iter().any(|other| other.name == vip.prefix) {
            let message =
                format!("the VIP of port `{}` has the name of another port, `{}`", port.name, vip.prefix);
            map.error(place, Code::NotUnique, message, "choose another `prefix` for the VIP");
        }
    }
    ports
}

fn port(name: &str, fields: &mut Fields) -> PortSpec {
    let number = fields.required_integer("port", 0..=65535).and_then(|n| u16::try_from(n).ok());
    let env_key = fields.nonempty_text("env-key").map(|t| t.text.to_owned());
    let advertise = fields.boolean("advertise", false);
    let vip = vip(name, fields);
    let mut ranges = ranges(fields);
    if vip.is_some() && !ranges.is_empty() {
        let message = format!("`{}` has no effect: the port has a VIP", fields.path_of("ranges"));
        fields.warning(&fields.span, Code::NoEffect, message, "remove `ranges` or `vip`");
        ranges.clear();
    }
    // a dynamic port without a variable is of use when something else finds it: a VIP or the list of endpoints
    if number == Some(0) && env_key.is_none() && vip.is_none() && !advertise {
        let message =
            format!("the number of port `{name}` is chosen at launch, and its task cannot learn it");
        fields.warning(&fields.span, Code::UnseenPort, message, "add `env-key: NAME` and use $NAME in `cmd`");
    }
    PortSpec { name: name.to_owned(), port: number.unwrap_or_default(), env_key, advertise, vip, ranges }
}

fn vip(name: &str, fields: &mut Fields) -> Option<VipSpec> {
    let mut vip = fields.map("vip")?;
    let prefix = vip.nonempty_text("prefix").map_or_else(|| name.to_owned(), |t| t.text.to_owned());
    let port =
        vip.required_integer("port", 1..=65535).and_then(|n| u16::try_from(n).ok()).unwrap_or_default();
    vip.finish();
    Some(VipSpec { prefix, port })
}

fn ranges(fields: &mut Fields) -> Vec<(u16, u16)> {
    let mut ranges = Vec::new();
    for node in fields.list("ranges") {
        let Some(mut range) = Fields::new(node, fields.path_of("ranges"), &node.span, fields.findings) else {
            continue;
        };
        let begin = range.integer("begin", 0..=65535).unwrap_or(0);
        let end = range.integer("end", 0..=65535).filter(|end| *end != 0).unwrap_or(65535);
        if begin > end {
            let message = format!("the range begins at {begin}, after its end, {end}");
            range.error(&range.span, Code::OutOfRange, message, "swap the two");
        }
        range.finish();
        if let (Ok(begin), Ok(end)) = (u16::try_from(begin), u16::try_from(end)) {
            ranges.push((begin, end));
        }
    }
    ranges
}

/// The volumes under `volume` and `volumes`, which `exclusive` says cannot be given together.
pub(super) fn volumes(fields: &mut Fields, exclusive: bool) -> Vec<VolumeSpec> {
    let mut volumes = Vec::new();
    if exclusive && fields.has("volume") && fields.has("volumes") {
        let message = format!("`{}` has both `volume` and `volumes`", fields.path);
        let span = fields.entry("volumes").map_or(fields.span.clone(), |(key, _)| key.span.clone());
        fields.error(&span, Code::Conflict, message, "move the single volume into `volumes`");
    }
    if let Some(mut single) = fields.map("volume") {
        add_volume(&mut single, &mut volumes);
        single.finish();
    }
    if let Some(map) = fields.map("volumes") {
        for (key, node) in map.names() {
            if let Some(mut fields) = map.named(key, node) {
                add_volume(&mut fields, &mut volumes);
                fields.finish();
            }
        }
    }
    volumes
}

fn add_volume(fields: &mut Fields, volumes: &mut Vec<VolumeSpec>) {
    let path = fields.required_text("path");
    let kinds = [("ROOT", VolumeKind::Root), ("PATH", VolumeKind::Path), ("MOUNT", VolumeKind::Mount)];
    if !fields.has("type") {
        fields.missing("type");
    }
    let kind = fields.word("type", &kinds).unwrap_or(VolumeKind::Root);
    if !fields.has("size") {
        fields.missing("size");
    }
    let size = megabytes(fields, "size").unwrap_or_default();
    let profiles = profiles(fields, kind);
    let Some(path) = path else { return };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !path.text.chars().all(good) || !path.text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let message = format!("the volume's path cannot be `{}`", brief(path.text));
        let found = fields.findings.error(&path.span, Code::Form, message);
        let found = found.expected("letters, digits, `_` and `-`, a letter or digit first");
        fields.findings.add(found.help("the path is one directory in the sandbox: no slashes, no dots"));
    }
    if volumes.iter().any(|v| v.path == path.text) {
        let message = format!("two volumes have the path `{}`", brief(path.text));
        fields.error(&path.span, Code::NotUnique, message, "give each volume its own path");
    }
    volumes.push(VolumeSpec { path: path.text.to_owned(), kind, size, profiles });
}

fn profiles(fields: &mut Fields, kind: VolumeKind) -> Vec<String> {
    let mut profiles: Vec<String> = Vec::new();
    for node in fields.list("profiles") {
        let Some(text) = item_text(fields, "profiles", node) else { continue };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !text.chars().all(good) || text.is_empty() || text.len() > 128 {
            let message = format!("a disk profile cannot be called `{}`", brief(text));
            let found = fields.findings.error(&node.span, Code::Form, message);
            fields.findings.add(found.expected("1 to 128 letters, digits, `_`, `.` and `-`"));
        }
        if profiles.iter().any(|p| p == text) {
            fields.error(
                &node.span,
                Code::NotUnique,
                format!("the profile `{}` is there twice", brief(text)),
                "remove one",
            );
        }
        profiles.push(text.to_owned());
    }
    if !profiles.is_empty() && kind == VolumeKind::Root {
        let message = "a ROOT volume cannot have disk profiles";
        fields.error(
            &fields.span,
            Code::Conflict,
            message,
            "remove `profiles`, or make the volume a MOUNT volume",
        );
    }
    profiles
}

/// The text of an item of the list at `key`.
pub(super) fn item_text<'n>(fields: &Fields, key: &str, node: &'n Node) -> Option<&'n str> {
    match &node.value {
        Value::Scalar { text, .. } if !node.is_null() => Some(text),
        _ => {
            fields.wrong(
                node,
                Code::Shape,
                key,
                format!("must hold texts only, and holds {}", node.kind()),
                "a text",
            );
            None
        }
    }
}
