//! The evaluation of one agent's offers for one pod instance.

use super::placement::{self, Peers};
use super::reason::{Reason, Reasons};
use super::resources::{Pool, thousandths};
use super::task_info::{self, Ports};
use super::{AgentOffer, ServiceContext, tls};
use crate::spec::{PodSpec, ResourceSet, TaskName, TaskSpec};
use crate::wire::{
    DiskInfo, ExecutorInfo, LaunchGroup, Operation, OperationType, Resource, ResourcesBody, TaskGroupInfo,
    TaskInfo, TaskState, VolumesBody,
};
use std::borrow::Cow;
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
    /// An operator wants it to do nothing, in place of its command.
    pub paused: bool,
    /// Its reservations were asked for, and nothing has shown yet that they were made.
    pub unconfirmed: bool,
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
    pub peers: Peers<'a>,
    /// The configuration that the tasks are of.
    pub config_id: &'a str,
    /// Added to the tasks' environment.
    pub env: &'a BTreeMap<String, String>,
}

impl PodRequest<'_> {
    /// The role of the reservations that the pod instance goes on with. They keep it when the service moves to another.
    fn reserved_role(&self) -> Option<String> {
        let stored = self.stored.iter().filter(|_| !self.new_footprint);
        stored.flat_map(|s| &s.info.resources).find_map(|r| r.dynamic_reservation()?.role.clone())
    }
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
    /// What every stage found, in order.
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
    let role = request.reserved_role().unwrap_or_else(|| context.pod_role(&request.pod.pre_reserved_role));
    let pool = Pool::new(if role == offer.role { offer.resources.clone() } else { Vec::new() });
    let mut evaluator = Evaluator {
        context,
        request,
        offer,
        role,
        pre_reserved_role: Some(request.pod.pre_reserved_role.as_str()).filter(|r| *r != "*"),
        pool,
        operations: Vec::new(),
        reasons: Reasons::default(),
        static_ports: BTreeSet::new(),
        taken_ports: BTreeSet::new(),
        id,
    };
    let tasks = evaluator.run();
    let Evaluator { operations, reasons, .. } = evaluator;
    let passed = reasons.all_passed();
    Evaluation { launch: passed.then_some(Launch { operations, tasks }), reasons: reasons.finish() }
}

/// The operations that give back what is reserved in an offer but belongs to nothing that is `expected` (resource ids):
/// volumes are destroyed first.
pub fn unexpected(offer: &AgentOffer, expected: &dyn Fn(&str) -> bool) -> Vec<Operation> {
    let surplus = || offer.resources.iter().filter(|r| r.resource_id().is_some_and(|id| !expected(id)));
    let destroy = surplus().filter(|r| r.persistence_id().is_some()).cloned().map(destroy_operation);
    let unreserve = surplus().map(|r| without_volume(r.clone())).map(unreserve_operation);
    destroy.chain(unreserve).collect()
}

pub(super) fn without_volume(mut resource: Resource) -> Resource {
    let source = resource.disk.take().and_then(|d| d.source);
    resource.disk = source.map(|source| DiskInfo { source: Some(source), ..DiskInfo::default() });
    resource
}

pub(super) fn reserve_operation(resource: Resource) -> Operation {
    let reserve = Some(ResourcesBody { resources: vec![resource] });
    Operation { r#type: OperationType::Reserve, reserve, ..Operation::default() }
}

pub(super) fn unreserve_operation(resource: Resource) -> Operation {
    let unreserve = Some(ResourcesBody { resources: vec![resource] });
    Operation { r#type: OperationType::Unreserve, unreserve, ..Operation::default() }
}

pub(super) fn destroy_operation(volume: Resource) -> Operation {
    let destroy = Some(VolumesBody { volumes: vec![volume] });
    Operation { r#type: OperationType::Destroy, destroy, ..Operation::default() }
}

/// One evaluation while it goes on; `reserve` has the part of it that takes resources.
pub(super) struct Evaluator<'a> {
    pub context: &'a ServiceContext,
    pub request: &'a PodRequest<'a>,
    pub offer: &'a AgentOffer,
    pub role: String,
    pub pre_reserved_role: Option<&'a str>,
    pub pool: Pool,
    pub operations: Vec<Operation>,
    pub reasons: Reasons,
    /// Ports that tasks of the pod name; never chosen for others.
    pub static_ports: BTreeSet<u16>,
    /// Ports that the pod instance has: chosen in this evaluation, or before for sets that it leaves alone.
    pub taken_ports: BTreeSet<u16>,
    pub id: &'a mut dyn FnMut() -> String,
}

/// The executor of the tasks to launch.
enum Executor {
    /// One that runs siblings already.
    Joined(Box<ExecutorInfo>),
    /// A new one with these resources.
    New(Vec<Resource>),
}

/// A resource set with what was found for it.
struct Provided<'a> {
    set: &'a ResourceSet,
    resources: Vec<Resource>,
    ports: Ports,
}

impl<'a> Evaluator<'a> {
    fn run(&mut self) -> Vec<Planned> {
        self.check_role();
        self.placement();
        let sets = self.resource_sets();
        self.note_ports(&sets);
        let executor = self.executor();
        let mut provided = Vec::new();
        for set in sets {
            let previous = self.previous_of_set(&set.id);
            let tasks: Vec<&str> = self.tasks_of(set).map(|t| t.name.as_str()).collect();
            self.reasons.begin("resources", format!("{} of {}", set.id, tasks.join(", ")));
            let (resources, ports) = self.resource_set(set, previous.as_deref());
            self.reasons.end();
            provided.push(Provided { set, resources, ports });
        }
        self.transport_encryption();
        let executor = self.executor_info(executor, &provided);
        provided.iter().flat_map(|provided| self.plan_tasks(provided, &executor)).collect()
    }

    fn check_role(&mut self) {
        let (theirs, ours) = (&self.offer.role, &self.role);
        let text = format!("the pod's role is {ours}, the offer's {theirs}");
        self.reasons.add("role", theirs == ours, text);
    }

    /// Only a new pod instance is placed: where reservations are, the pod has to go.
    fn placement(&mut self) {
        if !self.request.new_footprint {
            return self.reasons.add("placement", true, "the pod instance has reservations here");
        }
        let here = placement::locate(self.offer);
        self.reasons.begin("placement", format!("of a new instance on {}", here.hostname));
        if let Some(error) = self.request.pod.placement.as_ref().and_then(|p| p.error.as_ref()) {
            self.reasons.add("placement", false, error);
        }
        let rules = self.request.pod.placement.iter().flat_map(|p| &p.rules);
        if let Some(region) = placement::home_region(rules.clone(), &self.context.region) {
            let found = region.check(&here);
            self.reasons.add("region", found.is_ok(), found.unwrap_or_else(|why| why));
        }
        for rule in rules {
            let found = placement::check(rule, &here, &self.request.peers);
            self.reasons.add(
                "placement",
                found.is_ok(),
                found.err().unwrap_or_else(|| format!("{} holds", rule.field)),
            );
        }
        self.reasons.end();
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

    fn tasks_of(&self, set: &ResourceSet) -> impl Iterator<Item = &'a TaskSpec> + use<'a> {
        let id = set.id.clone();
        self.request.pod.tasks.iter().filter(move |t| t.resource_set.id == id)
    }

    /// Which ports must not be chosen for others: those that tasks name, and those of sets that are not worked on.
    fn note_ports(&mut self, sets: &[&ResourceSet]) {
        let ports = self.request.pod.tasks.iter().flat_map(|t| &t.resource_set.ports);
        self.static_ports = ports.map(|p| p.port).filter(|p| *p != 0).collect();
        let other = |s: &&StoredTask<'_>| {
            let set = self.request.pod.task(s.name).map(|t| &t.resource_set.id);
            set.is_some_and(|id| !sets.iter().any(|s| s.id == *id))
        };
        let others = self.request.stored.iter().filter(other);
        self.taken_ports = others.flat_map(|s| task_info::port_numbers(s.info)).map(|(_, n)| n).collect();
    }

    /// The stored task that best knows what a resource set has reserved.
    fn previous_of_set(&self, set: &str) -> Option<Cow<'a, TaskInfo>> {
        if self.request.new_footprint {
            return None;
        }
        let of_set =
            |s: &&StoredTask<'_>| self.request.pod.task(s.name).is_some_and(|t| t.resource_set.id == set);
        let mut stored: Vec<_> = self.request.stored.iter().filter(of_set).collect();
        stored.sort_by_key(|s| (s.info.resources.is_empty(), !self.request.tasks.contains(s.name)));
        let info = stored.first()?.info;
        if !stored.iter().all(|s| s.unconfirmed) {
            return Some(Cow::Borrowed(info));
        }
        // Mesos drops a refused RESERVE without a word: what is not offered where it should be was never made
        let offered = |id: &str| self.offer.resources.iter().any(|r| r.resource_id() == Some(id));
        let mut info = info.clone();
        info.resources.retain(|r| r.resource_id().is_none_or(offered));
        Some(Cow::Owned(info))
    }

    fn executor(&mut self) -> Executor {
        let kept = || self.request.stored.iter().filter(|_| !self.request.new_footprint);
        let active = kept().find(|s| {
            !s.info.task_id.value.is_empty()
                && !self.request.tasks.contains(s.name)
                && matches!(s.state, TaskState::Staging | TaskState::Starting | TaskState::Running)
        });
        if let Some(executor) = active.and_then(|s| s.info.executor.as_ref()) {
            let executor = executor.clone();
            let known = self.offer.executor_ids.contains(&executor.executor_id);
            let text = if known {
                format!("joins executor {} of running siblings", executor.executor_id)
            } else {
                let there: Vec<&str> = self.offer.executor_ids.iter().map(|e| e.value.as_str()).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                format!("wants executor {} of running siblings, offered: {there}", executor.executor_id)
            };
            self.reasons.add("executor", known, text);
            return Executor::Joined(Box::new(executor));
        }
        self.reasons.begin("executor", "a new one");
        // Executors of before may differ: siblings that were not launched with the last one still have theirs.
        let stored: Vec<Resource> = kept()
            .filter_map(|s| s.info.executor.as_ref())
            .flat_map(|e| e.resources.iter().cloned())
            .collect();
        let overhead = self.context.executor;
        let mut resources = Vec::new();
        for (name, amount) in [("cpus", overhead.cpus), ("mem", overhead.mem), ("disk", overhead.disk)] {
            let previous = stored.iter().find(|r| r.name == name && r.disk.is_none());
            resources.extend(self.scalar(name, thousandths(amount), previous));
        }
        for volume in &self.request.pod.volumes {
            resources.extend(self.volume(volume, &stored));
        }
        self.reasons.end();
        Executor::New(resources)
    }

    /// The executor in the form that is sent. Its ports are those of all tasks of the pod: those of sets that are not worked
    /// on are as they were.
    fn executor_info(&mut self, executor: Executor, provided: &[Provided<'_>]) -> ExecutorInfo {
        let resources = match executor {
            Executor::Joined(executor) => return *executor,
            Executor::New(resources) => resources,
        };
        let mut ports: BTreeSet<u16> = self.taken_ports.clone();
        ports.extend(provided.iter().flat_map(|p| &p.ports).map(|(_, number)| *number));
        let (prefix, uuid) = (task_info::id_prefix(&self.context.name), (self.id)());
        let id = format!("{prefix}__{}__{uuid}", self.request.pod.pod_type);
        task_info::executor(self.context, self.request, id.into(), resources, &ports)
    }

    /// Certificates come out of the cluster's secret store; whether they are there only the agent will see.
    fn transport_encryption(&mut self) {
        for task in self.request.pod.tasks.iter().filter(|t| self.request.tasks.contains(&t.name)) {
            let secrets = tls::files(self.context, self.request.pod, self.request.index, task);
            if !secrets.is_empty() {
                let paths: Vec<&str> = secrets.iter().map(|s| s.secret.as_str()).collect();
                let text = format!("{} mounts the secrets {}", task.name, paths.join(", "));
                self.reasons.add("transport encryption", true, text);
            }
        }
    }

    /// The tasks of a resource set: those to launch with a new id, others as they were, or as reservations only.
    fn plan_tasks(&mut self, provided: &Provided<'_>, executor: &ExecutorInfo) -> Vec<Planned> {
        let Provided { set, resources, ports } = provided;
        let mut planned = Vec::new();
        for task in self.tasks_of(set) {
            let launch = self.request.tasks.contains(&task.name);
            let stored =
                self.request.stored.iter().find(|s| s.name == &task.name && !self.request.new_footprint);
            if let (false, Some(stored)) = (launch, stored) {
                let info = TaskInfo { resources: resources.clone(), ..stored.info.clone() };
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
                if self.reasons.all_passed() {
                    self.reasons.add("launch", true, format!("{} as {}", info.name, info.task_id));
                }
                self.operations.push(launch_operation(executor.clone(), info.clone()));
            }
            info.executor = Some(executor.clone());
            planned.push(Planned { name: task.name.clone(), info, launch });
        }
        planned
    }
}

/// Each task is a group of its own: Mesos kills a whole group when one of its tasks fails, and which siblings
/// must go along is for the service to say (`essential`).
fn launch_operation(executor: ExecutorInfo, task: TaskInfo) -> Operation {
    let launch_group = Some(LaunchGroup { executor, task_group: TaskGroupInfo { tasks: vec![task] } });
    Operation { r#type: OperationType::LaunchGroup, launch_group, ..Operation::default() }
}
