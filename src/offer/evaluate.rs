//! The evaluation of one agent's offers for one pod instance.

use super::placement::{Located, check, locate};
use super::resources::{FRAMEWORK_ID, Pool, RESOURCE_ID, from_thousandths, thousandths};
use super::task_info::{self, Ports};
use super::{AgentOffer, ServiceContext};
use crate::spec::{PodSpec, PortSpec, ResourceSet, TaskName, VolumeKind, VolumeSpec};
use crate::wire::{
    DiskInfo, ExecutorInfo, Labels, LaunchGroup, Operation, OperationType, Persistence, Resource,
    ResourcesBody, TaskGroupInfo, TaskInfo, TaskState, Volume, VolumeMode, VolumesBody,
};
use std::collections::{BTreeMap, BTreeSet};

/// A task of the pod instance that was launched or reserved for before.
#[derive(Clone, Copy, Debug)]
pub struct StoredTask<'a> {
    /// Its name within the pod.
    pub name: &'a TaskName,
    /// How it was launched, executor included; an empty task id means that it only has reservations yet.
    pub info: &'a TaskInfo,
    /// Its last known state.
    pub state: TaskState,
}

/// What is wanted of an offer.
#[derive(Clone, Debug)]
pub struct PodRequest<'a> {
    /// The pod.
    pub pod: &'a PodSpec,
    /// The instance.
    pub index: u32,
    /// The tasks to launch.
    pub tasks: &'a [TaskName],
    /// Reserve anew (`true`), or use what `stored` tasks have reserved.
    pub new_footprint: bool,
    /// The pod instance's tasks so far.
    pub stored: Vec<StoredTask<'a>>,
    /// Where the tasks of the pod's other instances are.
    pub peers: Vec<Located>,
    /// The configuration that the tasks are of.
    pub config_id: &'a str,
    /// Added to the tasks' environment.
    pub env: &'a BTreeMap<String, String>,
}

/// What one stage of an evaluation found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// The stage.
    pub stage: &'static str,
    /// Whether it passed.
    pub passed: bool,
    /// What it found.
    pub text: String,
}

/// A task in the form that is stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Its name within the pod.
    pub name: TaskName,
    /// Everything about it, executor included.
    pub info: TaskInfo,
    /// Whether it is launched now; otherwise only its reservations are made.
    pub launch: bool,
}

/// What to send, and what to store before.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The operations, in order.
    pub operations: Vec<Operation>,
    /// The tasks of the touched resource sets.
    pub tasks: Vec<Planned>,
}

/// The outcome for one pod instance on one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The launch, if every stage passed.
    pub launch: Option<Launch>,
    /// What every stage found.
    pub reasons: Vec<Reason>,
}

/// Evaluates an agent's offers for a pod instance. Every stage runs even after one has failed, so that all reasons are
/// known. `id` gives new UUIDs.
pub fn evaluate(
    context: &ServiceContext,
    request: &PodRequest<'_>,
    offer: &AgentOffer,
    id: &mut dyn FnMut() -> String,
) -> Evaluation {
    let role = context.pod_role(&request.pod.pre_reserved_role);
    let pool = Pool::new(if role == offer.role { offer.resources.clone() } else { Vec::new() });
    let mut evaluator = Evaluator {
        context,
        request,
        offer,
        role,
        pre_reserved_role: Some(request.pod.pre_reserved_role.as_str()).filter(|r| *r != "*"),
        pool,
        operations: Vec::new(),
        reasons: Vec::new(),
        static_ports: BTreeSet::new(),
        taken_ports: BTreeSet::new(),
        id,
    };
    let tasks = evaluator.run();
    let Evaluator { operations, reasons, .. } = evaluator;
    let passed = reasons.iter().all(|r| r.passed);
    Evaluation { launch: passed.then_some(Launch { operations, tasks }), reasons }
}

/// The operations that give back what is reserved in an offer but belongs to nothing that is `expected` (resource ids):
/// volumes are destroyed first.
pub fn unexpected(offer: &AgentOffer, expected: &dyn Fn(&str) -> bool) -> Vec<Operation> {
    let surplus = || offer.resources.iter().filter(|r| r.resource_id().is_some_and(|id| !expected(id)));
    let destroy = surplus().filter(|r| r.persistence_id().is_some()).cloned().map(destroy_operation);
    let unreserve = surplus().map(|r| without_volume(r.clone())).map(unreserve_operation);
    destroy.chain(unreserve).collect()
}

fn without_volume(mut resource: Resource) -> Resource {
    let source = resource.disk.take().and_then(|d| d.source);
    resource.disk = source.map(|source| DiskInfo { source: Some(source), ..DiskInfo::default() });
    resource
}

fn reserve_operation(resource: Resource) -> Operation {
    let reserve = Some(ResourcesBody { resources: vec![resource] });
    Operation { r#type: OperationType::Reserve, reserve, ..Operation::default() }
}

fn unreserve_operation(resource: Resource) -> Operation {
    let unreserve = Some(ResourcesBody { resources: vec![resource] });
    Operation { r#type: OperationType::Unreserve, unreserve, ..Operation::default() }
}

fn destroy_operation(volume: Resource) -> Operation {
    let destroy = Some(VolumesBody { volumes: vec![volume] });
    Operation { r#type: OperationType::Destroy, destroy, ..Operation::default() }
}

struct Evaluator<'a> {
    context: &'a ServiceContext,
    request: &'a PodRequest<'a>,
    offer: &'a AgentOffer,
    role: String,
    pre_reserved_role: Option<&'a str>,
    pool: Pool,
    operations: Vec<Operation>,
    reasons: Vec<Reason>,
    /// Ports that tasks of the pod name; never chosen for others.
    static_ports: BTreeSet<u16>,
    /// Ports chosen in this evaluation.
    taken_ports: BTreeSet<u16>,
    id: &'a mut dyn FnMut() -> String,
}

impl<'a> Evaluator<'a> {
    fn pass(&mut self, stage: &'static str, text: impl Into<String>) {
        self.reasons.push(Reason { stage, passed: true, text: text.into() });
    }

    fn fail(&mut self, stage: &'static str, text: impl Into<String>) {
        self.reasons.push(Reason { stage, passed: false, text: text.into() });
    }

    fn run(&mut self) -> Vec<Planned> {
        let pod = self.request.pod;
        if self.role != self.offer.role {
            let (theirs, ours) = (&self.offer.role, &self.role);
            let text = format!("the offer is for role {theirs}, the pod's is {ours}");
            self.fail("role", text);
        }
        self.static_ports = pod
            .tasks
            .iter()
            .flat_map(|t| &t.resource_set.ports)
            .map(|p| p.port)
            .filter(|p| *p != 0)
            .collect();
        if self.request.new_footprint {
            self.placement();
        }
        let executor = self.executor();
        let mut planned = Vec::new();
        for set in self.resource_sets() {
            let previous = self.previous_of_set(&set.id);
            let (resources, ports) = self.resource_set(set, previous);
            planned.extend(self.plan_tasks(set, &resources, &ports, &executor));
        }
        planned
    }

    fn placement(&mut self) {
        let Some(placement) = &self.request.pod.placement else {
            return self.pass("placement", "no placement rules");
        };
        let here = locate(self.offer);
        for rule in &placement.rules {
            match check(rule, &here, &self.request.peers) {
                Ok(()) => self.pass("placement", format!("{} holds", rule.field)),
                Err(why) => self.fail("placement", why),
            }
        }
    }

    /// The resource sets to work on: all of the pod's when it is new, so that a pod instance never starts what it can't
    /// finish; otherwise those of the tasks to launch.
    fn resource_sets(&self) -> Vec<&'a ResourceSet> {
        let mut sets: Vec<&'a ResourceSet> = Vec::new();
        for task in &self.request.pod.tasks {
            let wanted = self.request.new_footprint || self.request.tasks.contains(&task.name);
            if wanted && !sets.iter().any(|s| s.id == task.resource_set.id) {
                sets.push(&task.resource_set);
            }
        }
        sets
    }

    /// The stored task that best knows what a resource set has reserved.
    fn previous_of_set(&self, set: &str) -> Option<&'a TaskInfo> {
        if self.request.new_footprint {
            return None;
        }
        let of_set = |s: &&StoredTask<'_>| {
            self.request.pod.task(s.name).is_some_and(|t| t.resource_set.id == set)
                && !s.info.resources.is_empty()
        };
        let mut stored: Vec<_> = self.request.stored.iter().filter(of_set).collect();
        stored.sort_by_key(|s| !self.request.tasks.contains(s.name));
        stored.first().map(|s| s.info)
    }

    fn executor(&mut self) -> ExecutorInfo {
        let active = self.request.stored.iter().find(|s| {
            !s.info.task_id.value.is_empty()
                && !self.request.tasks.contains(s.name)
                && matches!(s.state, TaskState::Staging | TaskState::Starting | TaskState::Running)
        });
        if let Some(executor) = active.and_then(|s| s.info.executor.as_ref()) {
            let executor = executor.clone();
            let known = self.offer.executor_ids.contains(&executor.executor_id);
            if known {
                self.pass("executor", format!("joins executor {}", executor.executor_id));
            } else {
                let text =
                    format!("executor {} of a running sibling isn't on this agent", executor.executor_id);
                self.fail("executor", text);
            }
            return executor;
        }
        let reserved = self.request.stored.iter().filter(|_| !self.request.new_footprint);
        let stored = reserved.filter_map(|s| s.info.executor.as_ref()).map(|e| e.resources.clone()).next();
        let stored = stored.unwrap_or_default();
        let overhead = self.context.executor;
        let mut resources = Vec::new();
        for (name, amount) in [("cpus", overhead.cpus), ("mem", overhead.mem), ("disk", overhead.disk)] {
            let previous = stored.iter().find(|r| r.name == name && r.disk.is_none());
            resources.extend(self.scalar("executor resources", name, thousandths(amount), previous));
        }
        for volume in &self.request.pod.volumes {
            resources.extend(self.volume(volume, &stored));
        }
        let id = format!(
            "{}__{}__{}",
            task_info::id_prefix(&self.context.name),
            self.request.pod.pod_type,
            (self.id)()
        );
        task_info::executor(self.context, self.request, id.into(), resources)
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

    /// A scalar: what was reserved before, made larger or smaller as needed, or a new reservation.
    fn scalar(
        &mut self,
        stage: &'static str,
        name: &str,
        want: i64,
        previous: Option<&Resource>,
    ) -> Option<Resource> {
        let base = self.pre_reserved_role;
        let Some(id) = previous.and_then(Resource::resource_id) else {
            let available = self.pool.available(name, base);
            let Some(free) = self.pool.take(name, want, base) else {
                self.fail(stage, shortage(name, want, available));
                return None;
            };
            self.pass(stage, format!("{name}: reserves {}", from_thousandths(want)));
            return Some(self.reserve(&free, None));
        };
        let Some(reserved) = self.pool.take_reserved(id) else {
            self.fail(stage, format!("{name}: the pod's reservation {id} is not in this offer"));
            return None;
        };
        let have = reserved.amount();
        if have < want {
            let available = self.pool.available(name, base);
            let Some(more) = self.pool.take(name, want - have, base) else {
                self.fail(stage, shortage(name, want - have, available));
                return None;
            };
            let labels = reserved.dynamic_reservation().and_then(|r| r.labels.clone());
            self.reserve(&more, labels);
        } else if have > want {
            self.operations.push(unreserve_operation(reserved.with_amount(have - want)));
        }
        self.pass(stage, format!("{name}: uses reservation {id} of {}", from_thousandths(want)));
        Some(reserved.with_amount(want))
    }

    /// A persistent volume: the one that was created before, or a new one.
    fn volume(&mut self, spec: &VolumeSpec, previous: &[Resource]) -> Option<Resource> {
        let stage = "volume";
        let path = &spec.path;
        let stored = previous.iter().find(|r| r.container_path() == Some(path));
        if let Some((id, stored)) = stored.and_then(|r| Some((r.resource_id()?, r))) {
            let Some(offered) = self.pool.take_reserved(id) else {
                self.fail(stage, format!("{path}: the pod's volume (reservation {id}) is not in this offer"));
                return None;
            };
            if offered.persistence_id().is_some() {
                self.pass(
                    stage,
                    format!("{path}: uses volume {}", offered.persistence_id().unwrap_or_default()),
                );
                return Some(offered);
            }
            // Reserved, but the CREATE that followed was lost.
            let disk = stored.disk.clone();
            let volume = Resource { disk, ..offered };
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
            let text = match spec.kind {
                VolumeKind::Root => shortage("disk", size, self.pool.available("disk", base)),
                _ if spec.profiles.is_empty() => {
                    format!("no free mount disk of {} MB without profile", spec.size)
                }
                _ => format!(
                    "no free mount disk of {} MB with profile {}",
                    spec.size,
                    spec.profiles.join(" or ")
                ),
            };
            self.fail(stage, format!("{path}: {text}"));
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

    fn create(&mut self, path: &str, volume: Resource) {
        self.pass("volume", format!("{path}: creates a volume of {} MB", from_thousandths(volume.amount())));
        let create = Some(VolumesBody { volumes: vec![volume] });
        self.operations.push(Operation { r#type: OperationType::Create, create, ..Operation::default() });
    }

    /// All resources of one set, and the numbers of its ports.
    fn resource_set(&mut self, set: &ResourceSet, previous: Option<&TaskInfo>) -> (Vec<Resource>, Ports) {
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
            resources.extend(self.scalar("resources", name, thousandths(amount), previous));
        }
        for volume in &set.volumes {
            resources.extend(self.volume(volume, &stored));
        }
        self.give_back(&stored, &resources);
        (resources, ports)
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
            self.pass("resources", format!("gives reservation {id} back"));
        }
    }

    /// A port's number, and its reservation when it is a port of the agent.
    fn port(
        &mut self,
        spec: &PortSpec,
        before: Option<u16>,
        stored: &[Resource],
    ) -> Option<(u16, Option<Resource>)> {
        let stage = "ports";
        if !self.request.pod.uses_host_ports() {
            let free = |n: &u16| !self.static_ports.contains(n) && !self.taken_ports.contains(n);
            let number = match spec.port {
                0 => before.or_else(|| (1025..=2025).find(free))?,
                number => number,
            };
            self.taken_ports.insert(number);
            self.pass(stage, format!("{}: container port {number}", spec.name));
            return Some((number, None));
        }
        let wanted = if spec.port == 0 { before } else { Some(spec.port) };
        let reserved = wanted.and_then(|n| {
            stored
                .iter()
                .find(|r| r.name == "ports" && r.first_port() == Some(n))
                .and_then(Resource::resource_id)
        });
        if let (Some(number), Some(id)) = (wanted, reserved) {
            self.taken_ports.insert(number);
            let Some(resource) = self.pool.take_reserved(id) else {
                let text =
                    format!("{}: the reservation {id} of port {number} is not in this offer", spec.name);
                self.fail(stage, text);
                return None;
            };
            self.pass(stage, format!("{}: uses reserved port {number}", spec.name));
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
            let which = if spec.port == 0 {
                "no free port".to_owned()
            } else {
                format!("port {} is not free", spec.port)
            };
            self.fail(stage, format!("{}: {which} in this offer", spec.name));
            return None;
        };
        self.taken_ports.insert(number);
        self.pass(stage, format!("{}: reserves port {number}", spec.name));
        Some((number, Some(self.reserve(&free, None))))
    }

    /// The tasks of a resource set: those to launch with a new id, others as they were, or as reservations only.
    fn plan_tasks(
        &mut self,
        set: &ResourceSet,
        resources: &[Resource],
        ports: &Ports,
        executor: &ExecutorInfo,
    ) -> Vec<Planned> {
        let mut planned = Vec::new();
        for task in self.request.pod.tasks.iter().filter(|t| t.resource_set.id == set.id) {
            let launch = self.request.tasks.contains(&task.name);
            let stored =
                self.request.stored.iter().find(|s| s.name == &task.name && !self.request.new_footprint);
            if let (false, Some(stored)) = (launch, stored) {
                let info = TaskInfo { resources: resources.to_vec(), ..stored.info.clone() };
                planned.push(Planned { name: task.name.clone(), info, launch });
                continue;
            }
            let id = if launch {
                task_info::task_id(self.context, self.request, task, &(self.id)())
            } else {
                String::new()
            };
            let mut info =
                task_info::task(self.context, self.request, self.offer, task, resources, ports, self.id);
            info.task_id = id.into();
            if launch {
                let what = crate::spec::task_instance_name(
                    &self.request.pod.pod_type,
                    self.request.index,
                    &task.name,
                );
                self.pass("launch", format!("{what} as {}", info.task_id));
                self.operations.push(launch_operation(executor.clone(), info.clone()));
            }
            info.executor = Some(executor.clone());
            planned.push(Planned { name: task.name.clone(), info, launch });
        }
        planned
    }
}

fn shortage(name: &str, want: i64, available: i64) -> String {
    format!("{name}: needs {}, offered {}", from_thousandths(want), from_thousandths(available))
}

/// Each task is a group of its own: Mesos kills a whole group when one of its tasks fails, and which siblings
/// must go along is for the service to say (`essential`).
fn launch_operation(executor: ExecutorInfo, task: TaskInfo) -> Operation {
    let launch_group = Some(LaunchGroup { executor, task_group: TaskGroupInfo { tasks: vec![task] } });
    Operation { r#type: OperationType::LaunchGroup, launch_group, ..Operation::default() }
}
