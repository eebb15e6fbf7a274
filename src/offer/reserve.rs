//! The part of an evaluation that takes resources: scalars, ports and volumes, as they were reserved before or anew.

use super::evaluate::{Evaluator, destroy_operation, reserve_operation, unreserve_operation, without_volume};
use super::resources::{FRAMEWORK_ID, RESOURCE_ID, from_thousandths, thousandths};
use super::task_info::{self, Ports};
use crate::spec::{PortSpec, ResourceSet, VolumeKind, VolumeSpec};
use crate::wire::{
    DiskInfo, Labels, Operation, OperationType, Persistence, Resource, TaskInfo, Volume, VolumeMode,
    VolumesBody,
};

/// The ports that are chosen from for tasks with addresses of their own.
const CONTAINER_PORTS: (u16, u16) = (1025, 2025);

impl Evaluator<'_> {
    /// All resources of one set, and the numbers of its ports.
    pub fn resource_set(&mut self, set: &ResourceSet, previous: Option<&TaskInfo>) -> (Vec<Resource>, Ports) {
        let stored = previous.map(|p| p.resources.clone()).unwrap_or_default();
        let mut resources = Vec::new();
        let mut ports = Ports::new();
        // Ports that are named go first, so that chosen ones do not take them.
        let mut specs: Vec<&PortSpec> = set.ports.iter().collect();
        specs.sort_by_key(|p| p.port == 0);
        for spec in specs {
            let before = previous.and_then(|p| task_info::port_number(p, &spec.name));
            if let Some((number, resource)) = self.port(spec, before, &stored) {
                resources.extend(resource);
                ports.push((spec.clone(), number));
            }
        }
        let scalars = [("cpus", set.cpus), ("gpus", set.gpus), ("mem", set.memory)];
        for (name, amount) in scalars.into_iter().filter_map(|(name, amount)| Some((name, amount?))) {
            let previous = stored.iter().find(|r| r.name == name);
            resources.extend(self.scalar(name, thousandths(amount), previous));
        }
        for volume in &set.volumes {
            resources.extend(self.volume(volume, &stored));
        }
        self.give_back(&stored, &resources);
        (resources, ports)
    }

    fn pass(&mut self, stage: &'static str, text: impl Into<String>) {
        self.reasons.add(stage, true, text);
    }

    fn fail(&mut self, stage: &'static str, text: impl Into<String>) {
        self.reasons.add(stage, false, text);
    }

    fn labels(&mut self) -> Labels {
        let mut labels = Labels::default();
        labels.push(RESOURCE_ID, (self.id)());
        labels.push(FRAMEWORK_ID, self.context.framework_id.clone());
        labels
    }

    fn reserve(&mut self, free: &Resource, labels: Option<Labels>) -> Resource {
        let labels = labels.unwrap_or_else(|| self.labels());
        let reserved = free.reserved(&self.role, &self.context.principal, labels);
        self.operations.push(reserve_operation(reserved.clone()));
        reserved
    }

    /// A scalar: what was reserved before, made larger or smaller as needed, or a new reservation. Amounts are in
    /// thousandths; of nothing there is no reservation.
    pub fn scalar(&mut self, name: &'static str, want: i64, previous: Option<&Resource>) -> Option<Resource> {
        if want == 0 {
            return None;
        }
        let base = self.pre_reserved_role;
        let Some(id) = previous.and_then(Resource::resource_id) else {
            let available = self.pool.available(name, base);
            let Some(free) = self.pool.take(name, want, base) else {
                self.fail(name, shortage(want, available));
                return None;
            };
            self.pass(name, format!("reserves {}", from_thousandths(want)));
            return Some(self.reserve(&free, None));
        };
        let Some(reserved) = self.pool.take_reserved(id) else {
            self.fail(name, format!("wants its reservation {id}, which is not in this offer"));
            return None;
        };
        let have = reserved.amount();
        if have < want {
            let available = self.pool.available(name, base);
            let Some(more) = self.pool.take(name, want - have, base) else {
                self.fail(name, format!("{} beside its reservation {id}", shortage(want - have, available)));
                return None;
            };
            let labels = reserved.dynamic_reservation().and_then(|r| r.labels.clone());
            self.reserve(&more, labels);
        } else if have > want {
            self.operations.push(unreserve_operation(reserved.with_amount(have - want)));
        }
        let change = match have - want {
            0 => String::new(),
            _ => format!(", which had {}", from_thousandths(have)),
        };
        self.pass(name, format!("uses its reservation {id} of {}{change}", from_thousandths(want)));
        Some(reserved.with_amount(want))
    }

    /// A persistent volume: the one that was created before, or a new one.
    pub fn volume(&mut self, spec: &VolumeSpec, previous: &[Resource]) -> Option<Resource> {
        let stage = "volume";
        let path = &spec.path;
        let stored = previous.iter().find(|r| r.container_path() == Some(path));
        if let Some((id, stored)) = stored.and_then(|r| Some((r.resource_id()?, r))) {
            let Some(offered) = self.pool.take_reserved(id) else {
                let text = format!("{path}: wants its volume (reservation {id}), which is not in this offer");
                self.fail(stage, text);
                return None;
            };
            if let Some(volume) = offered.persistence_id() {
                self.pass(stage, format!("{path}: uses its volume {volume}"));
                return Some(offered);
            }
            // Reserved, but the CREATE that followed was lost.
            let volume = Resource { disk: stored.disk.clone(), ..offered };
            self.create(path, volume.clone());
            return Some(volume);
        }
        let size = thousandths(spec.size);
        let base = self.pre_reserved_role;
        let free = match spec.kind {
            VolumeKind::Root => self.pool.take("disk", size, base),
            VolumeKind::Path | VolumeKind::Mount => self.pool.take_mount_disk(size, &spec.profiles, base),
        };
        let Some(free) = free else {
            let why = match spec.kind {
                VolumeKind::Root => shortage(size, self.pool.available("disk", base)),
                VolumeKind::Path | VolumeKind::Mount => self.no_mount_disk(spec),
            };
            self.fail(stage, format!("{path}: {why}"));
            return None;
        };
        let reserved = self.reserve(&free, None);
        let persistence = Persistence { id: (self.id)(), principal: Some(self.context.principal.clone()) };
        let mount = Volume { mode: Some(VolumeMode::Rw), container_path: path.clone(), ..Volume::default() };
        let source = reserved.disk.as_ref().and_then(|d| d.source.clone());
        let disk = DiskInfo { persistence: Some(persistence), volume: Some(mount), source };
        let volume = Resource { disk: Some(disk), ..reserved };
        self.create(path, volume.clone());
        Some(volume)
    }

    /// What was wanted of a mount disk, and which ones are there.
    fn no_mount_disk(&self, spec: &VolumeSpec) -> String {
        let wanted = match spec.profiles.as_slice() {
            [] => "no profile".to_owned(),
            profiles => format!("the profile {}", profiles.join(" or ")),
        };
        let shown = |(size, profile): (i64, Option<&str>)| {
            let profile = profile.map(|p| format!(" with {p}")).unwrap_or_default();
            format!("{} MB{profile}", from_thousandths(size))
        };
        let offered: Vec<String> =
            self.pool.mount_disks(self.pre_reserved_role).into_iter().map(shown).collect();
        let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
        format!("wants a free mount disk of {} MB with {wanted}, offered: {offered}", spec.size)
    }

    fn create(&mut self, path: &str, volume: Resource) {
        self.pass("volume", format!("{path}: creates a volume of {} MB", from_thousandths(volume.amount())));
        let create = Some(VolumesBody { volumes: vec![volume] });
        self.operations.push(Operation { r#type: OperationType::Create, create, ..Operation::default() });
    }

    /// Gives back what the set had reserved but no longer wants, where it is offered.
    fn give_back(&mut self, stored: &[Resource], kept: &[Resource]) {
        let ids = stored.iter().filter_map(Resource::resource_id);
        let surplus: Vec<String> =
            ids.filter(|id| !kept.iter().any(|r| r.resource_id() == Some(id))).map(str::to_owned).collect();
        for id in surplus {
            let Some(resource) = self.pool.take_reserved(&id) else { continue };
            if resource.persistence_id().is_some() {
                self.operations.push(destroy_operation(resource.clone()));
            }
            self.operations.push(unreserve_operation(without_volume(resource)));
            self.pass("surplus", format!("gives reservation {id} back"));
        }
    }

    /// A port's number, and its reservation when it is a port of the agent.
    fn port(
        &mut self,
        spec: &PortSpec,
        before: Option<u16>,
        stored: &[Resource],
    ) -> Option<(u16, Option<Resource>)> {
        if !self.request.pod.uses_host_ports() {
            return self.container_port(spec, before).map(|number| (number, None));
        }
        let stage = "ports";
        let wanted = if spec.port == 0 { before } else { Some(spec.port) };
        let reserved = wanted.and_then(|n| {
            let same = |r: &&Resource| r.name == "ports" && r.first_port() == Some(n);
            stored.iter().find(same).and_then(Resource::resource_id)
        });
        if let (Some(number), Some(id)) = (wanted, reserved) {
            self.taken_ports.insert(number);
            let Some(resource) = self.pool.take_reserved(id) else {
                let text = format!(
                    "{}: wants its reservation {id} of port {number}, which is not in this offer",
                    spec.name
                );
                self.fail(stage, text);
                return None;
            };
            self.pass(stage, format!("{}: uses its reserved port {number}", spec.name));
            return Some((number, Some(resource)));
        }
        let allowed =
            |n: u16| spec.ranges.is_empty() || spec.ranges.iter().any(|(a, b)| (*a..=*b).contains(&n));
        let taken = |n: u16| self.static_ports.contains(&n) || self.taken_ports.contains(&n);
        let found = match spec.port {
            0 => self.pool.take_port(self.pre_reserved_role, |n| n != 0 && allowed(n) && !taken(n)),
            number => self.pool.take_port(self.pre_reserved_role, |n| n == number),
        };
        let Some((number, free)) = found else {
            let offered = self.pool.ports(self.pre_reserved_role);
            self.fail(stage, format!("{}: wants {}, offered: {offered}", spec.name, wish(spec)));
            return None;
        };
        self.taken_ports.insert(number);
        self.pass(stage, format!("{}: reserves port {number}", spec.name));
        Some((number, Some(self.reserve(&free, None))))
    }

    /// A port of a container with an address of its own, where the agent's ports do not matter.
    fn container_port(&mut self, spec: &PortSpec, before: Option<u16>) -> Option<u16> {
        let free = |n: &u16| *n != 0 && !self.static_ports.contains(n) && !self.taken_ports.contains(n);
        let (from, to) = CONTAINER_PORTS;
        let chosen = || match spec.ranges.as_slice() {
            [] => (from..=to).find(free),
            ranges => ranges.iter().flat_map(|(a, b)| *a..=*b).find(free),
        };
        let number = match spec.port {
            // unless another port of the pod has got its number since
            0 => before.filter(free).or_else(chosen),
            number => Some(number),
        };
        if let Some(number) = number {
            self.taken_ports.insert(number);
            self.pass("ports", format!("{}: port {number} of the container", spec.name));
        } else {
            let text = format!("{}: wants {} of the container; all are taken", spec.name, wish(spec));
            self.fail("ports", text);
        }
        number
    }
}

/// What a port asks for.
fn wish(spec: &PortSpec) -> String {
    if spec.port != 0 {
        return format!("port {}", spec.port);
    }
    let ranges: Vec<String> = spec.ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
    if ranges.is_empty() {
        "any free port".to_owned()
    } else {
        format!("a free port in {}", ranges.join(", "))
    }
}

fn shortage(want: i64, available: i64) -> String {
    format!("wants {}, offered: {}", from_thousandths(want), from_thousandths(available))
}
