//! Taking things down: pods that the service no longer has (decommission), and the whole service (uninstall).
//!
//! Both are plans of the same steps: end a task, give its reservations back, forget it; and at the end of an uninstall,
//! leave the master.

use super::wanted::Source;
use super::{Scheduler, Task, Tasks, path};
use crate::offer::{AgentOffer, located};
use crate::plan::{Order, Phase, Plan, PodInstance, Status, Step, StepRef, Strategy, Subject, Work};
use crate::spec::pod_instance_name;
use crate::wire::{AgentId, CallType, Operation, Resource, TaskState, TaskStatus};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds after which a reservation that was given back and is in no offer is taken for gone.
const GIVEN: f64 = 2.0;
/// Seconds after which a reservation that should be in an agent's offers and is in none is taken for gone: longer than an
/// executor may take to end, which still holds its own.
const MISSING: f64 = 60.0;

/// The name of the plan that takes pods down that the service no longer has.
pub const DECOMMISSION: &str = "decommission";

/// A reservation, and where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reservation {
    pub agent: AgentId,
    /// The agent's host name; may be empty.
    pub host: String,
    pub role: String,
}

/// What is reserved for tasks, their executors included, by id.
pub(super) fn reservations<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> BTreeMap<String, Reservation> {
    let mut all = BTreeMap::new();
    for task in tasks {
        let (agent, host) = (&task.info.agent_id, located(&task.info).hostname);
        let executor = task.info.executor.iter().flat_map(|e| &e.resources);
        for resource in task.info.resources.iter().chain(executor) {
            let role = resource.dynamic_reservation().and_then(|r| r.role.clone()).unwrap_or_default();
            let reservation = Reservation { agent: agent.clone(), host: host.clone(), role };
            all.extend(resource.resource_id().map(|id| (id.to_owned(), reservation)));
        }
    }
    all
}

/// Whether a reservation has stayed away from its agent's offers for long enough to count as gone.
fn is_away(missing: &mut BTreeMap<String, f64>, now: f64, group: &AgentOffer, id: &str, role: &str) -> bool {
    let offered = group.resources.iter().any(|r| r.resource_id() == Some(id));
    let due = !offered && role == group.role && now >= *missing.entry(id.to_owned()).or_insert(now + MISSING);
    if due {
        missing.remove(id);
    }
    due
}

impl Scheduler {
    fn kill_step(&mut self, name: String, task: &str) -> Step {
        Step::new(self.ids.uuid(), name, Work::Kill { task: task.to_owned() })
    }

    fn unreserve_steps(&mut self, reservations: BTreeMap<String, Reservation>) -> Vec<Step> {
        let step = |(resource_id, Reservation { agent, role, .. })| {
            let name = format!("unreserve-{resource_id}");
            Step::new(self.ids.uuid(), name, Work::Unreserve { resource_id, agent, role })
        };
        reservations.into_iter().map(step).collect()
    }

    fn phase(&mut self, name: String, steps: Vec<Step>, order: Order) -> Phase {
        Phase::new(self.ids.uuid(), name, steps, Strategy::new(order))
    }

    /// The plan for pod instances that the service no longer has; none when there are none. Pods that are not in the
    /// service file at all go first, then those of the file in reverse order, the highest instances first.
    pub(super) fn decommission_plan(&mut self) -> Option<Plan> {
        let pods = &self.service.spec.pods;
        let mut surplus = BTreeMap::<_, Vec<String>>::new();
        for (instance, task) in self.tasks.all() {
            let at = pods.iter().position(|p| p.pod_type == task.pod);
            if at.is_some_and(|i| task.index < pods[i].count) {
                continue;
            }
            let order = at.map_or(0, |i| pods.len() - i);
            let key = (order, task.pod.clone(), std::cmp::Reverse(task.index));
            surplus.entry(key).or_default().push(instance.clone());
        }
        let mut phases = Vec::new();
        for ((_, pod, index), tasks) in surplus {
            let mut steps: Vec<Step> = tasks.iter().map(|t| self.kill_step(format!("kill-{t}"), t)).collect();
            let ids = reservations(tasks.iter().filter_map(|t| self.tasks.get(t)));
            steps.extend(self.unreserve_steps(ids));
            for task in tasks {
                let name = format!("erase-{task}");
                steps.push(Step::new(self.ids.uuid(), name, Work::Erase { task }));
            }
            phases.push(self.phase(pod_instance_name(&pod, index.0), steps, Order::Serial));
        }
        (!phases.is_empty()).then(|| Plan::new(DECOMMISSION, phases, Order::Serial))
    }

    /// The plan that removes the service. It is called `deploy`, because the DC/OS package service waits for the plan of
    /// that name. The SDK's phase `tls-cleanup` is not in it: certificates that this program did not put into the secret
    /// store are not its to delete.
    pub(super) fn uninstall_plan(&mut self) -> Plan {
        if self.framework_id.is_none() {
            return Plan::new("deploy", Vec::new(), Order::Serial);
        }
        let tasks: Vec<(String, String)> =
            self.tasks.all().iter().map(|(i, t)| (i.clone(), t.info.task_id.value.clone())).collect();
        let kills = tasks.iter().map(|(i, id)| self.kill_step(format!("kill-task-{id}"), i)).collect();
        let mut phases = vec![self.phase("kill-tasks".to_owned(), kills, Order::Parallel)];
        // What was refused together with its launch, and given up since, was not reserved as a whole; a part of it that was
        // is given back like all that belongs to nothing.
        let never = |t: &&Task| t.state() == TaskState::Error && t.notes.permanently_failed;
        let of_tasks = reservations(self.tasks.values().filter(|t| !never(t)));
        let mut by_host = BTreeMap::<String, BTreeMap<String, Reservation>>::new();
        for (id, reservation) in of_tasks.into_iter().chain(self.left_over.take()) {
            let host = reservation.host.as_str();
            let host = if host.is_empty() { "UNKNOWN_AGENT" } else { host };
            by_host.entry(host.to_owned()).or_default().insert(id, reservation);
        }
        for (host, ids) in by_host {
            let steps = self.unreserve_steps(ids);
            phases.push(self.phase(format!("unreserve-resources-{host}"), steps, Order::Parallel));
        }
        let deregister = Step::new(self.ids.uuid(), "deregister".to_owned(), Work::Deregister);
        phases.push(self.phase("deregister-service".to_owned(), vec![deregister], Order::Serial));
        let last = phases.len() - 1;
        let parents = (0..phases.len()).map(|i| match i {
            0 => Vec::new(),
            i if i == last => (0..last).collect(),
            _ => vec![0],
        });
        let order = Order::Dependency(parents.collect());
        Plan::new("deploy", phases, order)
    }

    /// Does what the steps whose turn it is ask for, apart from launches.
    pub(super) fn advance_removal(&mut self, now: f64) {
        // Each step done may make it the next one's turn.
        loop {
            self.collect_touched();
            let steps = std::mem::take(&mut self.touched.removals);
            if steps.is_empty() {
                return;
            }
            for of in steps {
                self.advance_step(now, of);
            }
        }
    }

    fn advance_step(&mut self, now: f64, of: StepRef) {
        if !self.plans.is_candidate(of) {
            self.wanted.remove(of);
            return;
        }
        let Some(work) = self.plans.step(of).map(|s| s.work.clone()) else { return };
        let status = match work {
            Work::Kill { task } => self.advance_kill(now, &task),
            Work::Erase { task } => {
                self.tasks.remove(&task);
                self.writes.remove(format!("{}/{task}", path::TASKS));
                Status::Complete
            }
            Work::Deregister if self.leaving || now < self.tidy_at => return,
            Work::Deregister => {
                self.leaving = true;
                self.call(CallType::Teardown, |_| {});
                Status::Prepared
            }
            Work::Unreserve { agent, .. } if self.gone.contains(&agent) => {
                self.wanted.remove(of);
                Status::Complete
            }
            Work::Unreserve { agent, .. } => {
                if self.wanted.insert(of, Source::Unreserve(agent)) {
                    self.demand.work_came();
                }
                return;
            }
            Work::Launch { .. } => return,
        };
        self.plans.change(of, |step| step.set_status(status));
    }

    /// Looks again whether it is time to leave, which no event says.
    pub(super) fn may_leave(&mut self) {
        if self.config.uninstall && !self.leaving {
            self.touched.removals.extend(self.plans.about(&Subject::Framework));
        }
    }

    /// Nobody waits for what is reserved on an agent that an operator has declared gone.
    pub(super) fn note_gone(&mut self, status: &TaskStatus) {
        let known = self.tasks.by_id(&status.task_id).map(|t| t.info.agent_id.clone());
        let Some(agent) = known.or_else(|| status.agent_id.clone()) else { return };
        self.touched.removals.extend(self.wanted.of_agent(&agent));
        self.forget_left_over_of(&agent);
        self.gone.insert(agent);
    }

    /// The master did not hear that the framework leaves: it is told again.
    pub(super) fn leave_again(&mut self) {
        self.leaving = false;
        self.touched.removals.extend(self.plans.about(&Subject::Framework));
    }

    fn advance_kill(&mut self, now: f64, instance: &str) -> Status {
        let Some(task) = self.tasks.get(instance) else { return Status::Complete };
        // On an agent that an operator has declared gone nothing runs.
        let over = task.state().is_terminal() || task.state() == TaskState::GoneByOperator;
        if !task.was_launched() || over {
            return Status::Complete;
        }
        let id = task.info.task_id.clone();
        self.kill(now, &id);
        Status::Starting
    }

    /// Notes that operations were sent that give reservations back. Whether they were carried out nobody says: with an offer
    /// that had gone they were not. What stays away from later offers is given back.
    pub(super) fn unreserved(&mut self, now: f64, agent: &AgentId, operations: &[Operation]) {
        self.tidy_at = self.tidy_at.max(now + GIVEN);
        let given = operations.iter().filter_map(|o| o.unreserve.as_ref()).flat_map(|u| &u.resources);
        for id in given.filter_map(Resource::resource_id) {
            let about: Vec<StepRef> = self.plans.about(&Subject::Resource(id.to_owned())).collect();
            if !about.is_empty() || self.left_over.has(agent, id) {
                self.missing.insert(id.to_owned(), now + GIVEN);
            }
            for of in about {
                self.give_up_owner(of);
            }
        }
    }

    /// Notes that a pod instance has lost reservations: should it be wanted again before it is forgotten, it starts anew.
    fn give_up_owner(&mut self, of: StepRef) {
        let phase = self.plans.as_slice().get(of.plan).and_then(|p| p.phase(of.at.phase));
        let tasks = phase.into_iter().flat_map(Phase::steps).filter_map(|step| match &step.work {
            Work::Erase { task } => self.tasks.get(task),
            _ => None,
        });
        let pods: BTreeSet<PodInstance> = tasks.map(Task::pod_instance).collect();
        for pod in pods {
            self.give_up_pod(&pod);
        }
    }

    /// Notes which reservations are not in an agent's offers, where they should be given back. One that stays away is there
    /// no more, or never was: Mesos drops a refused RESERVE without a word, and a process that ended may have given it back.
    pub(super) fn miss(&mut self, now: f64, group: &AgentOffer) {
        for of in self.wanted.of_agent(&group.agent_id).collect::<Vec<_>>() {
            let Some(Work::Unreserve { resource_id, role, .. }) = self.plans.step(of).map(|s| &s.work) else {
                continue;
            };
            if is_away(&mut self.missing, now, group, resource_id, role) {
                self.plans.change(of, |step| step.set_status(Status::Complete));
            }
        }
        let left_over = self.left_over.of_agent(&group.agent_id);
        let gone = left_over.filter(|(id, role)| is_away(&mut self.missing, now, group, id, role));
        let gone: Vec<String> = gone.map(|(id, _)| id.to_owned()).collect();
        self.forget_left_over(&group.agent_id, &gone);
    }

    /// The master has forgotten the framework: so does the state.
    pub(super) fn on_torn_down(&mut self) {
        if !self.config.uninstall {
            return;
        }
        self.connected = false;
        self.framework_id = None;
        self.tasks = Tasks::default();
        self.wanted = super::Wanted::default();
        self.properties.clear();
        self.writes.remove(String::new());
        for plan in 0..self.plans.as_slice().len() {
            if let Some(plan) = self.plans.get_mut(plan) {
                plan.finish();
            }
        }
    }

    /// Whether the service is being removed, or is already.
    pub fn is_uninstalling(&self) -> bool {
        self.config.uninstall
    }

    /// Whether there is anything left to do with the master.
    pub fn needs_master(&self) -> bool {
        !(self.config.uninstall && self.framework_id.is_none())
    }
}
