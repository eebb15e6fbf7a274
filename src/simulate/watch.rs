//! What must always be so, whatever goes wrong: checked after every event against what is true in the cluster and what
//! is durable, not against what the scheduler believes.

use super::cluster::{Cluster, Observed};
use crate::offer::label;
use crate::plan::{Plan, Requirement, Status, Step, Work};
use crate::scheduler::{Scheduler, Stored, Write, path, same_tasks};
use crate::spec::{Goal, PodType, Service, ServiceSpec, TaskName, task_instance_name};
use crate::wire::{Acknowledge, AgentId, Call, OperationType, TaskId, TaskInfo, TaskState, TaskStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Seconds for which offers may stay unwanted although there is work: revives are limited to one in so many seconds once
/// there were many.
const UNWANTED: f64 = 300.0;

/// How often calls may fail at once, each time leading to others.
const REPEATS: u32 = 20;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No task instance runs twice.
    RunsOnce,
    /// A task that is to run once ever does not run again after its end was acknowledged.
    OnceIsOnce,
    /// What was acknowledged is durable, and stays so.
    NothingAcknowledgedIsLost,
    /// What is launched is durable before.
    DurableFirst,
    /// No reservation is used by two pod instances.
    ReservationsAreNotShared,
    /// The master refuses nothing.
    NothingIsRefused,
    /// A plan is COMPLETE only when its goal is reached.
    CompleteMeansDone,
    /// Offers are not wanted only when there is nothing to do.
    SuppressedMeansIdle,
    /// Every step that is not done says why.
    PendingHasReason,
    /// What the scheduler keeps beside its tasks and plans says what they say.
    IndexesAreRight,
    /// What was deployed is deployed again once nothing goes wrong any more.
    ComesBack,
    /// After an uninstall nothing is left.
    NothingIsLeft,
    /// The scheduler starts from whatever is durable.
    Starts,
    /// What an event leads to comes to an end, also when every call fails.
    EventsEnd,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 14] = [
        Self::RunsOnce,
        Self::OnceIsOnce,
        Self::NothingAcknowledgedIsLost,
        Self::DurableFirst,
        Self::ReservationsAreNotShared,
        Self::NothingIsRefused,
        Self::CompleteMeansDone,
        Self::SuppressedMeansIdle,
        Self::PendingHasReason,
        Self::IndexesAreRight,
        Self::ComesBack,
        Self::NothingIsLeft,
        Self::Starts,
        Self::EventsEnd,
    ];

    /// The rule in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::RunsOnce => "no task instance runs twice",
            Self::OnceIsOnce => "a task that is to run once ever runs once",
            Self::NothingAcknowledgedIsLost => "no acknowledged state is lost",
            Self::DurableFirst => "nothing is launched that was not durable before",
            Self::ReservationsAreNotShared => "no reservation is used twice",
            Self::NothingIsRefused => "the master refuses nothing",
            Self::CompleteMeansDone => "COMPLETE never comes before its goal",
            Self::SuppressedMeansIdle => "offers are suppressed only when there is nothing to do",
            Self::PendingHasReason => "every step that is not done has a reason",
            Self::IndexesAreRight => "what follows from tasks and plans is up to date",
            Self::ComesBack => "what is deployed is deployed again once faults stop",
            Self::NothingIsLeft => "after an uninstall nothing is left",
            Self::Starts => "the scheduler starts from what is durable",
            Self::EventsEnd => "every event comes to an end",
        }
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Seconds since the start.
    pub at: f64,
    /// By what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.text(), self.what)
    }
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// How many events there were between two looks at all indexes, which costs much; never if 0.
    pub indexes_every: u64,
    now: f64,
    events: u64,
    goals: BTreeMap<String, Goal>,
    /// Tasks that really live, by instance.
    live: BTreeMap<String, BTreeSet<TaskId>>,
    /// Tasks whose pod instance an operator has replaced: where they can't be reached, they may live on.
    written_off: BTreeSet<TaskId>,
    /// Ends of tasks that were acknowledged.
    ended: BTreeMap<TaskId, TaskState>,
    /// How often the task of an instance has finished.
    finished: BTreeMap<String, u32>,
    /// How often operators wanted the task of an instance done, beside the first time.
    ordered: BTreeMap<String, u32>,
    /// How many steps of the deploy plan launch the task of an instance, beside the first.
    further: BTreeMap<String, u32>,
    /// The pod instance that a reservation was first used by.
    owners: BTreeMap<String, String>,
    /// Tasks that have reached their goal, by instance.
    reached: BTreeMap<String, BTreeSet<TaskId>>,
    /// The service as it is to be.
    target: Option<ServiceSpec>,
    /// The configurations that tasks were launched with, by id.
    configurations: BTreeMap<String, ServiceSpec>,
    complete: BTreeSet<String>,
    unwanted_since: Option<f64>,
}

impl Watch {
    /// Notes that a rule is broken, if it is the first.
    pub fn broken(&mut self, rule: Rule, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at: self.now, what: what.into() });
        }
    }

    /// The service is deployed, for the first time or with changes.
    pub fn deployed(&mut self, service: &Service) {
        let spec = &service.spec;
        self.goals.clear();
        for pod in &spec.pods {
            for (index, task) in (0..pod.count).flat_map(|i| pod.tasks.iter().map(move |t| (i, t))) {
                self.goals.insert(task_instance_name(&pod.pod_type, index, &task.name), task.goal);
            }
        }
        self.further = further_launches(service);
        self.complete.clear();
        self.target = Some(spec.clone());
    }

    /// Whether a task was launched with another definition of its pod than the service's, so that it counts for nothing; what
    /// runs once ever counts in any case.
    fn is_outdated(&self, task: &super::Task) -> bool {
        let label = |key| task.info.labels.as_ref().and_then(|l| l.get(key)).unwrap_or_default();
        let pod = PodType::from(label(label::TASK_TYPE));
        let own = self.configurations.get(label(label::TARGET_CONFIGURATION)).and_then(|c| c.pod(&pod));
        let target = self.target.as_ref().and_then(|t| t.pod(&pod));
        let same = matches!((own, target), (Some(own), Some(target)) if same_tasks(own, target));
        !same && self.goals.get(&task.info.name) != Some(&Goal::Once)
    }

    /// An operator replaces a pod instance, or says that it runs nowhere any more.
    pub fn replaced(&mut self, pod: &str, cluster: &Cluster) {
        for task in cluster.tasks.values().filter(|t| t.pod_instance() == pod) {
            self.written_off.insert(task.info.task_id.clone());
            self.finished.remove(&task.info.name);
        }
    }

    /// An operator wants a launch done again, also of what is to run once ever.
    pub fn ordered(&mut self, requirement: &Requirement) {
        for name in &requirement.tasks {
            let instance = task_instance_name(&requirement.pod, requirement.index, name);
            *self.ordered.entry(instance).or_default() += 1;
        }
    }

    /// Whether the task of an instance is to run once ever and did: once by itself, once for each further step of the plan
    /// that launches it, and once for each time that an operator asks for it.
    fn is_done_for_good(&self, instance: &str) -> bool {
        let times = |of: &BTreeMap<String, u32>| of.get(instance).copied().unwrap_or_default();
        let done = times(&self.finished) > times(&self.ordered) + times(&self.further);
        done && self.goals.get(instance) == Some(&Goal::Once)
    }

    /// A new process begins: what it makes of the plans is looked at anew.
    pub fn started(&mut self) {
        self.complete.clear();
        self.unwanted_since = None;
    }

    /// Something is about to be made durable.
    pub fn on_write(&mut self, now: f64, writes: &[Write]) {
        self.now = now;
        for write in writes {
            if !write.path.ends_with(path::TASK_STATUS) {
                continue;
            }
            let Some(status) =
                write.value.as_ref().and_then(|v| serde_json::from_slice::<TaskStatus>(v).ok())
            else {
                continue;
            };
            if let Some(ended) = self.ended.get(&status.task_id)
                && !status.state.is_terminal()
            {
                let (was, is) = (ended.wire_name(), status.state.wire_name());
                let what = format!("{} was acknowledged as {was} and is stored as {is}", status.task_id);
                self.broken(Rule::NothingAcknowledgedIsLost, what);
            }
        }
    }

    /// A call is about to reach the master.
    pub fn on_call(&mut self, now: f64, call: &Call, stored: &Stored, cluster: &Cluster) {
        self.now = now;
        if let Some(acknowledge) = &call.acknowledge {
            self.on_acknowledge(acknowledge, stored, cluster);
        }
        let operations = call.accept.iter().flat_map(|a| &a.operations);
        let launches = operations.filter(|o| o.r#type == OperationType::LaunchGroup);
        for task in launches.filter_map(|o| o.launch_group.as_ref()).flat_map(|g| &g.task_group.tasks) {
            self.note_configuration(task, stored);
            let known = value::<TaskInfo>(stored, &task.name, path::TASK_INFO);
            if known.is_none_or(|info| info.task_id != task.task_id) {
                let what = format!("{} is launched as {}, which is not stored", task.name, task.task_id);
                self.broken(Rule::DurableFirst, what);
            }
        }
    }

    /// Remembers the configuration that a task is launched with, which the scheduler forgets when no task has it any more.
    fn note_configuration(&mut self, task: &TaskInfo, stored: &Stored) {
        let labels = task.labels.as_ref();
        let Some(id) = labels.and_then(|l| l.get(label::TARGET_CONFIGURATION)) else { return };
        if !self.configurations.contains_key(id) {
            let bytes = stored.get(&format!("{}/{id}", path::CONFIGURATIONS));
            let spec = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
            self.configurations.extend(spec.map(|spec| (id.to_owned(), spec)));
        }
    }

    fn on_acknowledge(&mut self, acknowledge: &Acknowledge, stored: &Stored, cluster: &Cluster) {
        let Some(task) = cluster.tasks.get(&acknowledge.task_id) else { return };
        let Some(status) = task.pending.front().filter(|s| s.uuid.as_deref() == Some(&acknowledge.uuid))
        else {
            return;
        };
        let current = value::<TaskInfo>(stored, &task.info.name, path::TASK_INFO);
        if current.is_none_or(|info| info.task_id != acknowledge.task_id) {
            return;
        }
        let durable = value::<TaskStatus>(stored, &task.info.name, path::TASK_STATUS);
        if durable.is_none_or(|durable| durable.uuid != status.uuid) {
            let what =
                format!("{} of {} is acknowledged and not stored", status.state.wire_name(), task.info.name);
            self.broken(Rule::NothingAcknowledgedIsLost, what);
        }
    }

    /// Something happened in the cluster.
    pub fn on_observed(&mut self, now: f64, observed: &Observed, cluster: &Cluster, patient: bool) {
        self.now = now;
        match observed {
            Observed::Launched { task, instance, .. } => self.on_launched(task, instance, cluster, patient),
            Observed::State { task, instance, state, ready } => {
                if state.is_terminal() {
                    self.live.entry(instance.clone()).or_default().remove(task);
                }
                let goal = self.goals.get(instance).copied().unwrap_or(Goal::Running);
                let done = match goal {
                    Goal::Running => *state == TaskState::Running && *ready,
                    Goal::Finish | Goal::Once => *state == TaskState::Finished,
                };
                if done {
                    self.reached.entry(instance.clone()).or_default().insert(task.clone());
                }
            }
            Observed::Acknowledged(status) => {
                if status.state.is_terminal() {
                    self.ended.insert(status.task_id.clone(), status.state);
                }
                let instance = cluster.tasks.get(&status.task_id).map(|t| &t.info.name);
                // what was replaced meanwhile has to be done again where it is now
                let counts =
                    status.state == TaskState::Finished && !self.written_off.contains(&status.task_id);
                if let Some(instance) = instance.filter(|_| counts) {
                    *self.finished.entry(instance.clone()).or_default() += 1;
                }
            }
            Observed::Refused(why) => self.broken(Rule::NothingIsRefused, why.clone()),
            Observed::Converted { .. } | Observed::TornDown | Observed::Note(_) => {}
        }
    }

    fn on_launched(&mut self, id: &TaskId, instance: &str, cluster: &Cluster, patient: bool) {
        let Some(task) = cluster.tasks.get(id) else { return };
        let excused = |other: &TaskId| {
            let Some(agent) = cluster.tasks.get(other).and_then(|t| cluster.agents.get(&t.info.agent_id))
            else {
                return true;
            };
            // where an operator, or a rule of the service, gave it up while nobody could reach it
            !agent.is_up() && (self.written_off.contains(other) || !patient)
        };
        let living = self.live.entry(instance.to_owned()).or_default();
        if let Some(other) = living.iter().find(|other| !excused(other)).cloned() {
            self.broken(Rule::RunsOnce, format!("{id} is launched while {other} runs"));
        }
        if !task.phantom {
            self.live.entry(instance.to_owned()).or_default().insert(id.clone());
        }
        if self.is_done_for_good(instance) {
            self.broken(Rule::OnceIsOnce, format!("{id} is launched, and {instance} had finished"));
        }
        let pod = task.pod_instance();
        for resource in &task.resource_ids {
            let owner = self.owners.entry(resource.clone()).or_insert_with(|| pod.clone());
            if *owner != pod {
                let what = format!("{resource} of {owner} is used by {pod}");
                self.broken(Rule::ReservationsAreNotShared, what);
                return;
            }
        }
    }

    /// Calls of one event have failed so many times in a row, each time leading to others.
    pub fn failed_again(&mut self, now: f64, times: u32) {
        self.now = now;
        if times > REPEATS {
            self.broken(Rule::EventsEnd, format!("calls fail and are repeated at once, {times} times"));
        }
    }

    /// An event was handled completely.
    pub fn after_event(&mut self, now: f64, clock: f64, scheduler: &Scheduler, cluster: &Cluster) {
        self.now = now;
        self.events += 1;
        self.check_complete(scheduler, cluster);
        self.check_reasons(clock, scheduler);
        self.check_suppressed(scheduler, cluster);
        if self.indexes_every > 0 && self.events.is_multiple_of(self.indexes_every) {
            self.note_indexes(scheduler.check_indexes(clock));
        }
    }

    fn note_indexes(&mut self, found: Result<(), String>) {
        if let Err(why) = found {
            self.broken(Rule::IndexesAreRight, why);
        }
    }

    fn check_complete(&mut self, scheduler: &Scheduler, cluster: &Cluster) {
        for plan in scheduler.plans() {
            if plan.status() != Status::Complete {
                self.complete.remove(&plan.name);
            } else if !self.complete.contains(&plan.name) {
                self.complete.insert(plan.name.clone());
                if let Some(what) =
                    plan.steps().find_map(|step| self.not_done(plan, step, scheduler, cluster))
                {
                    self.broken(Rule::CompleteMeansDone, format!("plan {}: {what}", plan.name));
                }
            }
        }
    }

    /// What a step that is complete has not reached. A step of another plan than recovery stays complete when its task
    /// fails later; what recovery brings back must be up itself.
    fn not_done(&self, plan: &Plan, step: &Step, scheduler: &Scheduler, cluster: &Cluster) -> Option<String> {
        let Work::Launch { requirement, tracked, .. } = &step.work else { return None };
        // what was given up is recovery's to bring back, as with the SDK, and its plan shows that
        let recovery = scheduler.plan("recovery").into_iter().flat_map(Plan::steps);
        let mut open_recovery =
            recovery.filter(|s| s.status() != Status::Complete).filter_map(Step::requirement);
        if plan.name != "recovery" && open_recovery.any(|r| r.instance() == requirement.instance()) {
            return None;
        }
        let open = |name: &&TaskName| {
            let instance = task_instance_name(&requirement.pod, requirement.index, name);
            if scheduler.tasks().get(&instance).is_some_and(|t| t.notes.permanently_failed) {
                return false;
            }
            let launched = tracked.get(*name).map(|(id, _)| id).filter(|_| plan.name == "recovery");
            let mut reached = self.reached.get(&instance).into_iter().flatten();
            // recovery brings back what there was
            let counts = |id: &TaskId| cluster.tasks.get(id).is_some_and(|task| !self.is_outdated(task));
            !reached.any(|id| launched.map_or_else(|| counts(id), |l| l == id))
        };
        let open = requirement.tasks.iter().find(open)?;
        Some(format!("{open} has not reached its goal in {}", requirement.step_name()))
    }

    fn check_reasons(&mut self, clock: f64, scheduler: &Scheduler) {
        for plan in scheduler.plans().iter().filter(|p| p.status() != Status::Complete) {
            for step in plan.steps().filter(|s| s.status() != Status::Complete) {
                self.note_reasons(plan, step, &scheduler.why(clock, step));
            }
        }
    }

    fn note_reasons(&mut self, plan: &Plan, step: &Step, reasons: &[String]) {
        if reasons.is_empty() {
            let what = format!("{} of plan {} is {}", step.name, plan.name, step.status().name());
            self.broken(Rule::PendingHasReason, what);
        }
    }

    fn check_suppressed(&mut self, scheduler: &Scheduler, cluster: &Cluster) {
        let suppressed = cluster.framework.connected && cluster.framework.suppressed;
        let wanted = |plan: &'_ Plan| {
            let mut in_turn = plan.places().filter(|at| plan.is_in_turn(*at));
            let prepared =
                in_turn.find(|at| plan.step(*at).is_some_and(|s| s.status() == Status::Prepared))?;
            plan.step(prepared).map(|step| step.name.clone())
        };
        let work = || scheduler.plans().iter().find_map(wanted);
        match (suppressed.then(work).flatten(), self.unwanted_since) {
            (None, _) => self.unwanted_since = None,
            (Some(_), None) => self.unwanted_since = Some(self.now),
            (Some(step), Some(since)) => {
                if self.now - since > UNWANTED {
                    let what = format!("{step} waits for an offer for {:.0} s", self.now - since);
                    self.broken(Rule::SuppressedMeansIdle, what);
                }
            }
        }
    }

    /// What is not as it should be of a service that nothing goes wrong with any more; none if all is.
    pub fn not_deployed(&self, scheduler: &Scheduler, cluster: &Cluster) -> Option<String> {
        for plan in scheduler.plans() {
            let started = plan.status().is_running();
            if (started || is_automatic(&plan.name)) && plan.status() != Status::Complete {
                let open = plan.steps().find(|s| s.status() != Status::Complete);
                let told = |s: &Step| {
                    let why = scheduler.why(self.now, s).join("; ");
                    format!(": {} is {}, because: {why}", s.name, s.status().name())
                };
                let why = open.map(told).unwrap_or_default();
                return Some(format!("plan {} is {}{why}", plan.name, plan.status().name()));
            }
        }
        let planned =
            scheduler.plan("deploy").into_iter().flat_map(Plan::steps).filter_map(Step::requirement);
        let mut wanted = BTreeSet::new();
        for requirement in planned {
            for name in &requirement.tasks {
                wanted.insert(task_instance_name(&requirement.pod, requirement.index, name));
            }
        }
        // a plan of the operators has put another task in its place
        let superseded = |i: &str| scheduler.tasks().get(i).is_some_and(|t| t.notes.superseded);
        let runs = |i: &&String| self.goals.get(*i) == Some(&Goal::Running) && !superseded(i);
        for instance in wanted.iter().filter(runs) {
            let living: Vec<&super::Task> = self.living(instance, cluster).collect();
            match living.as_slice() {
                [one] if one.ready && one.state == TaskState::Running => {}
                [] => return Some(format!("{instance} does not run")),
                [one] => return Some(format!("{instance} is {}, not ready", one.state.wire_name())),
                _ => return Some(format!("{instance} runs {} times", living.len())),
            }
        }
        let surplus = |instance: &&String| {
            !self.goals.contains_key(*instance) && self.living(instance, cluster).next().is_some()
        };
        if let Some(instance) = self.live.keys().find(surplus) {
            return Some(format!("{instance} runs, and belongs to nothing"));
        }
        // what is left over on agents that do not come back is waited for
        let up = |agent: &AgentId| cluster.agents.get(agent).is_some_and(super::Agent::is_up);
        let waits = !scheduler.left_over().is_empty() && !scheduler.left_over().agents().any(up);
        if !cluster.framework.suppressed && !waits {
            return Some("offers are still wanted".to_owned());
        }
        None
    }

    /// The tasks of an instance that really live where the master can reach them.
    fn living<'a>(&'a self, instance: &str, cluster: &'a Cluster) -> impl Iterator<Item = &'a super::Task> {
        let tasks = self.live.get(instance).into_iter().flatten().filter_map(|id| cluster.tasks.get(id));
        tasks.filter(|t| cluster.agents.get(&t.info.agent_id).is_some_and(super::Agent::is_up))
    }

    /// What an uninstall has left behind; none if nothing.
    pub fn left_behind(stored: &Stored, cluster: &Cluster) -> Option<String> {
        if let Some(path) = stored.keys().next() {
            return Some(format!("{path} is still stored"));
        }
        if !cluster.framework.removed && cluster.framework.id.is_some() {
            return Some("the framework is still registered".to_owned());
        }
        if let Some(task) = cluster.tasks.values().find(|t| t.is_alive()) {
            return Some(format!("{} still runs", task.info.name));
        }
        for agent in cluster.agents.values().filter(|a| a.is_up()) {
            if let Some(resource) = agent.total.iter().find(|r| r.resource_id().is_some()) {
                let volume = if resource.persistence_id().is_some() { " with a volume" } else { "" };
                return Some(format!("{} of {} is still reserved{volume}", resource.name, agent.host()));
            }
        }
        None
    }
}

/// How many steps of the deploy plan launch a task, beside the first, by instance, where its file says which.
fn further_launches(service: &Service) -> BTreeMap<String, u32> {
    let mut times = BTreeMap::new();
    for phase in service.plans.iter().filter(|p| p.name == "deploy").flat_map(|p| &p.phases) {
        let (Some(pod), Some(steps)) = (service.spec.pod(&phase.pod), &phase.steps) else { continue };
        for index in 0..pod.count {
            let own = steps.by_index.get(&index).or(steps.default.as_ref());
            for name in own.into_iter().flatten().flatten() {
                let instance = task_instance_name(&phase.pod, index, name);
                times.entry(instance).and_modify(|further| *further += 1).or_insert(0);
            }
        }
    }
    times
}

/// Whether a plan goes on by itself, and not only once an operator starts it.
pub fn is_automatic(plan: &str) -> bool {
    matches!(plan, "deploy" | "recovery" | "decommission")
}

/// What is durable about a task.
fn value<T: serde::de::DeserializeOwned>(stored: &Stored, instance: &str, name: &str) -> Option<T> {
    serde_json::from_slice(stored.get(&format!("{}/{instance}/{name}", path::TASKS))?).ok()
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
