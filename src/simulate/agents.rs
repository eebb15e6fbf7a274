//! The agents of a virtual cluster: what each has, from a file or made to suit a service.

use crate::finding::{Report, Source};
use crate::scheduler::Config;
use crate::spec::{PlacementOperator, PodSpec, ResourceSet, Service, VolumeKind, VolumeSpec};
use crate::wire::{
    Attribute, DiskInfo, DiskRoot, DiskSource, DiskSourceType, DomainInfo, DomainName, FaultDomain, Range,
    Ranges, ReservationInfo, ReservationType, Resource, Text, ValueType,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The region of the master, and of agents of which nothing else is said.
pub const HOME_REGION: &str = "home";
/// The ports that agents offer unless something else is said: those of Mesos' own default and of DC/OS.
const PORTS: (u16, u16) = (1025, 32_000);
/// What an agent has at least that is made to suit a service: CPUs, MB of memory, MB of disk.
const ORDINARY: (f64, f64, f64) = (8.0, 32_768.0, 100_000.0);

/// Resources of one kind of reservation, or of none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amounts {
    /// Processors.
    pub cpus: f64,
    /// MB.
    pub memory: f64,
    /// MB of the agent's own disk.
    pub disk: f64,
    /// Graphics processors.
    pub gpus: f64,
    /// Inclusive ranges.
    pub ports: Vec<(u16, u16)>,
    /// Mounted disks, each given as a whole.
    pub mounts: Vec<Mount>,
}

/// A mounted disk.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// MB.
    pub size: f64,
    /// What kind of disk it is, by the cluster's names.
    #[serde(default)]
    pub profile: Option<String>,
}

/// One agent, or several that are alike.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// How many of these; 1 when not given.
    pub count: Option<u32>,
    /// Its name; several have a number behind it.
    pub hostname: Option<String>,
    /// Processors.
    pub cpus: f64,
    /// MB.
    pub memory: f64,
    /// MB of its own disk.
    pub disk: f64,
    /// Graphics processors.
    pub gpus: f64,
    /// Inclusive ranges; the usual ones when not given.
    pub ports: Option<Vec<(u16, u16)>>,
    /// Mounted disks.
    pub mounts: Vec<Mount>,
    /// What placement rules can ask for.
    pub attributes: BTreeMap<String, String>,
    /// Its region; the master's when not given.
    pub region: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// What is reserved for roles by the agent's own configuration, beside the rest.
    pub reserved: BTreeMap<String, Amounts>,
}

impl Machine {
    /// All that it has, in the form in which an agent registers.
    pub fn resources(&self) -> Vec<Resource> {
        let free = Amounts {
            cpus: self.cpus,
            memory: self.memory,
            disk: self.disk,
            gpus: self.gpus,
            ports: self.ports.clone().unwrap_or_else(|| vec![PORTS]),
            mounts: self.mounts.clone(),
        };
        let mut all = free.resources(None);
        for (role, amounts) in &self.reserved {
            all.extend(amounts.resources(Some(role)));
        }
        all
    }

    /// Its region and zone.
    pub fn domain(&self) -> DomainInfo {
        let name = |name: &str| Some(DomainName { name: name.to_owned() });
        let region = name(self.region.as_deref().unwrap_or(HOME_REGION));
        DomainInfo { fault_domain: Some(FaultDomain { region, zone: self.zone.as_deref().and_then(name) }) }
    }

    /// Its attributes in the form of offers.
    pub fn attributes(&self) -> Vec<Attribute> {
        let one = |(name, value): (&String, &String)| Attribute {
            name: name.clone(),
            r#type: ValueType::Text,
            text: Some(Text { value: value.clone() }),
            ..Attribute::default()
        };
        self.attributes.iter().map(one).collect()
    }
}

impl Amounts {
    fn resources(&self, role: Option<&str>) -> Vec<Resource> {
        let reservation = role.map(|role| ReservationInfo {
            r#type: Some(ReservationType::Static),
            role: Some(role.to_owned()),
            ..ReservationInfo::default()
        });
        let reservations: Vec<_> = reservation.into_iter().collect();
        let plain = |name: &str, amount: f64| Resource {
            reservations: reservations.clone(),
            allocation_info: None,
            ..Resource::scalar(name, amount, "*")
        };
        let scalars = [("cpus", self.cpus), ("mem", self.memory), ("disk", self.disk), ("gpus", self.gpus)];
        let mut all: Vec<Resource> =
            scalars.into_iter().filter(|(_, a)| *a > 0.0).map(|(name, amount)| plain(name, amount)).collect();
        let range: Vec<Range> = self
            .ports
            .iter()
            .map(|(begin, end)| Range { begin: u64::from(*begin), end: u64::from(*end) })
            .collect();
        if !range.is_empty() {
            let ports = plain("ports", 0.0);
            let (r#type, ranges) = (ValueType::Ranges, Some(Ranges { range }));
            all.push(Resource { r#type, ranges, scalar: None, ..ports });
        }
        for (i, mount) in self.mounts.iter().enumerate() {
            let root = format!("/disks/{}{i}", role.map(|r| format!("{r}-")).unwrap_or_default());
            let source = DiskSource {
                r#type: DiskSourceType::Mount,
                mount: Some(DiskRoot { root: Some(root) }),
                profile: mount.profile.clone(),
                ..DiskSource::default()
            };
            let disk = Some(DiskInfo { source: Some(source), ..DiskInfo::default() });
            all.push(Resource { disk, ..plain("disk", mount.size) });
        }
        all
    }

    fn add(&mut self, more: &Self, times: u32) {
        let n = f64::from(times);
        self.cpus += n * more.cpus;
        self.memory += n * more.memory;
        self.disk += n * more.disk;
        self.gpus += n * more.gpus;
        for _ in 0..times {
            self.mounts.extend(more.mounts.iter().cloned());
        }
        self.ports.extend(&more.ports);
    }

    fn of_volume(&mut self, volume: &VolumeSpec) {
        match volume.kind {
            VolumeKind::Root => self.disk += volume.size,
            VolumeKind::Path | VolumeKind::Mount => {
                self.mounts.push(Mount { size: volume.size, profile: volume.profiles.first().cloned() });
            }
        }
    }
}

/// Reads a file of agents, YAML or JSON: a list of [`Machine`]s. Several that are alike become as many.
pub fn read(source: &Source) -> Result<Vec<Machine>, Report> {
    let listed: Vec<Machine> = crate::spec::read_list(source).map_err(Report)?;
    let mut machines = Vec::new();
    for machine in listed {
        for i in 0..machine.count.unwrap_or(1) {
            let hostname = match (&machine.hostname, machine.count.unwrap_or(1)) {
                (None, _) => format!("agent-{}", machines.len()),
                (Some(name), 1) => name.clone(),
                (Some(name), _) => format!("{name}-{i}"),
            };
            machines.push(Machine { count: None, hostname: Some(hostname), ..machine.clone() });
        }
    }
    Ok(machines)
}

/// As many agents as wanted, each of which could hold the whole service: all its amounts (and never less than an
/// ordinary machine has), its disks by profile, its pre-reserved roles, the ports it names, and attributes, regions and
/// zones that its placement rules ask for, spread over the agents where they must differ.
pub fn suited_to(service: &Service, config: &Config, count: u32) -> Vec<Machine> {
    let mut free = Amounts::default();
    let mut reserved = BTreeMap::<String, Amounts>::new();
    for pod in &service.spec.pods {
        let into = match pod.pre_reserved_role.as_str() {
            "*" => &mut free,
            role => reserved.entry(role.to_owned()).or_default(),
        };
        into.add(&instance(pod, config), pod.count);
    }
    for amounts in reserved.values_mut() {
        if amounts.ports.is_empty() {
            continue;
        }
        amounts.ports = disjoint(&amounts.ports);
    }
    let taken: Vec<(u16, u16)> = reserved.values().flat_map(|a| a.ports.clone()).collect();
    let ports = without(&disjoint(&[free.ports.as_slice(), &[PORTS]].concat()), &taken);
    let fields = Fields::of(service);
    (0..count)
        .map(|i| Machine {
            count: None,
            hostname: Some(fields.hostname(i)),
            cpus: ORDINARY.0.max(2.0 * free.cpus),
            memory: ORDINARY.1.max(2.0 * free.memory),
            disk: ORDINARY.2.max(2.0 * free.disk),
            gpus: free.gpus,
            ports: Some(ports.clone()),
            mounts: free.mounts.clone(),
            attributes: fields.attributes(i),
            region: config.region.clone().or_else(|| fields.region(i)),
            zone: Some(fields.value("@zone", i).unwrap_or_else(|| format!("zone-{i}"))),
            reserved: reserved.clone(),
        })
        .collect()
}

/// What one instance of a pod takes, executor included.
fn instance(pod: &PodSpec, config: &Config) -> Amounts {
    let overhead = config.executor;
    let mut all =
        Amounts { cpus: overhead.cpus, memory: overhead.mem, disk: overhead.disk, ..Amounts::default() };
    let mut seen = BTreeSet::new();
    for set in pod.tasks.iter().map(|t| &t.resource_set).filter(|set| seen.insert(set.id.as_str())) {
        all.add(&resource_set(set), 1);
    }
    for volume in &pod.volumes {
        all.of_volume(volume);
    }
    if !pod.uses_host_ports() {
        all.ports.clear();
    } else if pod.pre_reserved_role != "*" && pod.tasks.iter().any(|t| !t.resource_set.ports.is_empty()) {
        // ports that are chosen come out of the reserved ones, too
        all.ports.push((1025, 2024));
    }
    all
}

fn resource_set(set: &ResourceSet) -> Amounts {
    let named = set.ports.iter().filter(|p| p.port != 0).map(|p| (p.port, p.port));
    let ranges = set.ports.iter().filter(|p| p.port == 0).flat_map(|p| p.ranges.iter().copied());
    let mut amounts = Amounts {
        cpus: set.cpus.unwrap_or_default(),
        memory: set.memory.unwrap_or_default(),
        gpus: set.gpus.unwrap_or_default(),
        ports: named.chain(ranges).collect(),
        ..Amounts::default()
    };
    for volume in &set.volumes {
        amounts.of_volume(volume);
    }
    amounts
}

/// Sorted, without overlaps.
fn disjoint(ranges: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut sorted: Vec<_> = ranges.iter().filter(|(begin, end)| begin <= end).copied().collect();
    sorted.sort_unstable();
    let mut all: Vec<(u16, u16)> = Vec::new();
    for (begin, end) in sorted {
        match all.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => all.push((begin, end)),
        }
    }
    all
}

/// Ranges without others.
fn without(ranges: &[(u16, u16)], others: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut rest = ranges.to_vec();
    for (from, to) in others {
        let cut = |(begin, end): (u16, u16)| {
            if *to < begin || end < *from {
                return vec![(begin, end)];
            }
            let left = (begin < *from).then(|| (begin, from - 1));
            let right = (*to < end).then(|| (to + 1, end));
            left.into_iter().chain(right).collect()
        };
        rest = rest.into_iter().flat_map(cut).collect();
    }
    rest
}

/// The fields that placement rules are about, and values for them that do.
struct Fields {
    /// By field: values that some pod asks for.
    wanted: BTreeMap<String, Vec<String>>,
}

impl Fields {
    fn of(service: &Service) -> Self {
        let mut wanted = BTreeMap::<String, Vec<String>>::new();
        for pod in &service.spec.pods {
            let rules = || pod.placement.iter().flat_map(|p| &p.rules);
            if !rules().any(|r| r.field == "@region") {
                let home = wanted.entry("@region".to_owned()).or_default();
                if !home.iter().any(|r| r == HOME_REGION) {
                    home.insert(0, HOME_REGION.to_owned());
                }
            }
            for rule in rules() {
                let values = wanted.entry(rule.field.clone()).or_default();
                let asked = match &rule.operator {
                    PlacementOperator::Cluster(value) | PlacementOperator::Is(value) => vec![value.clone()],
                    PlacementOperator::Like(regex) => examples(regex),
                    _ => Vec::new(),
                };
                for value in asked {
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
            }
        }
        Self { wanted }
    }

    fn value(&self, field: &str, agent: u32) -> Option<String> {
        let wanted = self.wanted.get(field).filter(|w| !w.is_empty())?;
        wanted.get(agent as usize % wanted.len()).cloned()
    }

    fn hostname(&self, agent: u32) -> String {
        // a name can be given only once
        let wanted = self.wanted.get("hostname").and_then(|w| w.get(agent as usize));
        wanted.cloned().unwrap_or_else(|| format!("agent-{agent}"))
    }

    fn region(&self, agent: u32) -> Option<String> {
        self.value("@region", agent)
    }

    fn attributes(&self, agent: u32) -> BTreeMap<String, String> {
        let own = self.wanted.keys().filter(|field| *field != "hostname" && !field.starts_with('@'));
        own.map(|field| {
            (field.clone(), self.value(field, agent).unwrap_or_else(|| format!("{field}-{agent}")))
        })
        .collect()
    }
}

/// Texts that a regular expression matches, as far as they are easily found: its alternatives, taken as they are or with
/// simple classes filled in.
fn examples(regex: &str) -> Vec<String> {
    let Ok(whole) = fancy_regex::Regex::new(&format!("^(?:{regex})$")) else { return Vec::new() };
    let mut found = Vec::new();
    for part in regex.trim_matches(['^', '$', '(', ')']).split('|') {
        let part = part.trim_start_matches("?:");
        let mut text = part.to_owned();
        for (class, example) in [
            (".*", ""),
            (".+", "x"),
            ("\\d+", "1"),
            ("\\d", "1"),
            ("\\w+", "x"),
            ("\\w", "x"),
            ("[0-9]+", "1"),
            ("[0-9]", "1"),
            ("[a-z]+", "x"),
            ("[a-z]", "x"),
            ("[1-9]", "1"),
            ("\\.", "."),
            ("\\-", "-"),
            ("^", ""),
            ("$", ""),
            ("(", ""),
            (")", ""),
        ] {
            text = text.replace(class, example);
        }
        for example in [part.to_owned(), text] {
            if !example.is_empty() && !found.contains(&example) && whole.is_match(&example).unwrap_or(false) {
                found.push(example);
                break;
            }
        }
    }
    found
}
