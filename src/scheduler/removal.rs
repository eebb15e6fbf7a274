//! Taking things down: pods that the service no longer has (decommission), and the whole service (uninstall).
//!
//! Both are plans of the same steps: end a task, give its reservations back, forget it; and at the end of an uninstall,
//! leave the master.

use super::{Scheduler, Task, Write, path};
use crate::offer::located;
use crate::plan::{Order, Phase, Plan, Status, Step, StepAt, Strategy, Work};
use crate::spec::pod_instance_name;
use crate::wire::{CallType, Operation, Resource};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the plan that takes pods down that the service no longer has.
pub const DECOMMISSION: &str = "decommission";

/// The ids of everything that is reserved for tasks, their executors included.
pub(super) fn resource_ids<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> BTreeSet<String> {
    let all = tasks
        .into_iter()
        .flat_map(|t| t.info.resources.iter().chain(t.info.executor.iter().flat_map(|e| &e.resources)));
    all.filter_map(Resource::resource_id).map(str::to_owned).collect()
}

impl Scheduler {
    fn kill_step(&mut self, name: String, task: &str) -> Step {
        Step::new(self.ids.uuid(), name, Work::Kill { task: task.to_owned() })
    }

    fn unreserve_steps(&mut self, ids: BTreeSet<String>) -> Vec<Step> {
        let step = |resource_id: String| {
            let name = format!("unreserve-{resource_id}");
            Step::new(self.ids.uuid(), name, Work::Unreserve { resource_id })
        };
        ids.into_iter().map(step).collect()
    }

    fn phase(&mut self, name: String, steps: Vec<Step>, order: Order) -> Phase {
        Phase::new(self.ids.uuid(), name, steps, Strategy::new(order))
    }

    /// The plan for pod instances that the service no longer has; none when there are none. Pods that are not in the
    /// service file at all go first, then those of the file in reverse order, the highest instances first.
    pub(super) fn decommission_plan(&mut self) -> Option<Plan> {
        let pods = &self.service.spec.pods;
        let mut surplus = BTreeMap::<_, Vec<String>>::new();
        for (instance, task) in &self.tasks {
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
            let ids = resource_ids(tasks.iter().filter_map(|t| self.tasks.get(t)));
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
    /// that name.
    pub(super) fn uninstall_plan(&mut self) -> Plan {
        if self.framework_id.is_none() {
            return Plan::new("deploy", Vec::new(), Order::Serial);
        }
        let tasks: Vec<(String, String)> =
            self.tasks.iter().map(|(i, t)| (i.clone(), t.info.task_id.value.clone())).collect();
        let kills = tasks.iter().map(|(i, id)| self.kill_step(format!("kill-task-{id}"), i)).collect();
        let mut phases = vec![self.phase("kill-tasks".to_owned(), kills, Order::Parallel)];
        let mut by_host = BTreeMap::<String, Vec<&Task>>::new();
        for task in self.tasks.values() {
            let host = located(&task.info).hostname;
            let host = if host.is_empty() { "UNKNOWN_AGENT".to_owned() } else { host };
            by_host.entry(host).or_default().push(task);
        }
        let by_host: Vec<_> = by_host.into_iter().map(|(host, tasks)| (host, resource_ids(tasks))).collect();
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

    /// Does what the steps whose turn it is ask for, apart from what needs offers.
    pub(super) fn advance_removal(&mut self, now: f64) {
        // Each step done may make it the next one's turn.
        while self.advance_removal_once(now) {}
    }

    fn advance_removal_once(&mut self, now: f64) -> bool {
        let mut open = Vec::new();
        for (i, plan) in self.plans.iter().enumerate() {
            for at in plan.candidates(now, &[]) {
                if let Some(step) = plan.step(at).filter(|s| s.status(now) != Status::Complete) {
                    open.push((i, at, step.work.clone()));
                }
            }
        }
        let mut completed = false;
        for (plan, at, work) in open {
            let status = match work {
                Work::Kill { task } => self.advance_kill(now, &task),
                Work::Erase { task } => {
                    self.tasks.remove(&task);
                    self.writes.retain(|w| !w.path.starts_with(&format!("{}/{task}/", path::TASKS)));
                    self.writes.push(Write { path: format!("{}/{task}", path::TASKS), value: None });
                    Status::Complete
                }
                Work::Deregister if self.leaving => continue,
                Work::Deregister => {
                    self.leaving = true;
                    self.call(CallType::Teardown, |_| {});
                    Status::Prepared
                }
                Work::Unreserve { .. } | Work::Launch { .. } => continue,
            };
            completed |= status == Status::Complete;
            self.set_step(plan, at, status);
        }
        completed
    }

    fn set_step(&mut self, plan: usize, at: StepAt, status: Status) {
        if let Some(step) = self.plans.get_mut(plan).and_then(|p| p.step_mut(at)) {
            step.set_status(status);
        }
    }

    fn advance_kill(&mut self, now: f64, instance: &str) -> Status {
        let Some(task) = self.tasks.get(instance) else { return Status::Complete };
        if !task.was_launched() || task.state().is_terminal() {
            return Status::Complete;
        }
        let id = task.info.task_id.clone();
        self.kill(now, &id);
        Status::Starting
    }

    /// The reservations that are to be given back now: those of tasks that have ended.
    pub(super) fn to_unreserve(&self, now: f64) -> BTreeSet<String> {
        let killed = |steps: &[&Step]| {
            steps.iter().all(|s| !matches!(s.work, Work::Kill { .. }) || s.status(now) == Status::Complete)
        };
        let mut ids = BTreeSet::new();
        for plan in self.plans.iter().filter(|p| !p.strategy.interrupted) {
            let uninstall: Vec<&Step> = plan.steps().collect();
            for phase in &plan.phases {
                let own: Vec<&Step> = phase.steps.iter().collect();
                let ready = if self.config.uninstall { killed(&uninstall) } else { killed(&own) };
                let open = own.into_iter().filter(|s| ready && s.status(now) != Status::Complete);
                ids.extend(open.filter_map(|s| match &s.work {
                    Work::Unreserve { resource_id } => Some(resource_id.clone()),
                    _ => None,
                }));
            }
        }
        ids
    }

    /// Notes that operations were sent that give reservations back.
    pub(super) fn unreserved(&mut self, operations: &[Operation]) {
        let given = operations.iter().filter_map(|o| o.unreserve.as_ref()).flat_map(|u| &u.resources);
        let given: BTreeSet<&str> = given.filter_map(Resource::resource_id).collect();
        for step in self.plans.iter_mut().flat_map(Plan::steps_mut) {
            if matches!(&step.work, Work::Unreserve { resource_id } if given.contains(resource_id.as_str())) {
                step.set_status(Status::Complete);
            }
        }
    }

    /// The master has forgotten the framework: so does the state.
    pub(super) fn on_torn_down(&mut self) {
        if !self.config.uninstall {
            return;
        }
        self.connected = false;
        self.framework_id = None;
        self.tasks.clear();
        self.writes.clear();
        self.writes.push(Write { path: String::new(), value: None });
        for step in self.plans.iter_mut().flat_map(Plan::steps_mut) {
            step.set_status(Status::Complete);
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
