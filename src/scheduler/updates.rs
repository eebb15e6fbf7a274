//! Subscription, status updates, reconciliation and kills.

use super::state::may_run;
use super::{KILL_RETRY, Scheduler, Task, Tasks, path};
use crate::offer::AgentOffer;
use crate::plan::{PodInstance, Subject, Work};
use crate::spec::Goal;
use crate::wire::{AgentId, CallType, Kill, Reconcile, ReconcileTask, TaskId, TaskState, TaskStatus};
use std::collections::BTreeSet;

/// Seconds before explicit reconciliation is repeated the first time; doubles.
const FIRST_REPEAT: f64 = 4.0;
/// Seconds; explicit reconciliation is repeated at least this often.
const MAX_REPEAT: f64 = 30.0;

/// Whose state the master is being asked for.
#[derive(Clone, Debug, Default)]
pub struct Reconciling {
    open: BTreeSet<TaskId>,
    next: f64,
    repeat: f64,
    next_implicit: f64,
}

impl Reconciling {
    /// Asks anew for every task that may be running.
    pub fn restart(&mut self, now: f64, tasks: &Tasks) {
        let open = tasks.values().filter(|t| t.was_launched() && !t.state().is_terminal());
        self.open = open.map(|t| t.info.task_id.clone()).collect();
        self.next = now;
        self.repeat = FIRST_REPEAT;
    }

    /// Asks for one more task.
    fn ask(&mut self, now: f64, id: TaskId) {
        if self.open.is_empty() {
            self.repeat = FIRST_REPEAT;
        }
        self.next = now;
        self.open.insert(id);
    }

    /// Whether answers are missing.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}

impl Scheduler {
    pub(super) fn on_subscribed(&mut self, now: f64, framework_id: String) {
        self.connected = true;
        self.demand.subscribed();
        self.forget_unheard();
        if self.framework_id.as_ref() != Some(&framework_id) {
            self.write(path::FRAMEWORK_ID.to_owned(), framework_id.clone().into_bytes());
            self.framework_id = Some(framework_id);
        }
        self.reconciling.restart(now, &self.tasks);
        let first = now + self.config.implicit_reconciliation_delay;
        self.reconciling.next_implicit = self.reconciling.next_implicit.max(first);
        self.kill_unneeded(now);
    }

    /// Ends tasks that the service no longer has.
    fn kill_unneeded(&mut self, now: f64) {
        for id in self.unneeded().map(|t| t.info.task_id.clone()).collect::<Vec<_>>() {
            if self.kills.get(&id).is_none() {
                self.kills.set(id, now);
            }
        }
    }

    /// The tasks that the service no longer has. In the SDK also those that are in none of its plans; but a plan `update`
    /// that leaves a task out, because nothing is to be done about it, must not end it.
    pub(super) fn unneeded(&self) -> impl Iterator<Item = &Task> {
        let known = move |task: &Task| {
            let pod = self.service.spec.pod(&task.pod);
            pod.is_some_and(|p| task.index < p.count && p.task(&task.name).is_some())
        };
        // What is being taken down goes in its plan's order.
        let leaving = move |task: &Task| {
            let mut about = self.plans.about(&Subject::Task(task.instance()));
            about.any(|s| self.plans.step(s).is_some_and(|s| matches!(s.work, Work::Kill { .. })))
        };
        self.tasks.values().filter(move |t| t.is_live() && !known(t) && !leaving(t))
    }

    pub(super) fn reconcile(&mut self, now: f64) {
        if self.reconciling.is_open() && now >= self.reconciling.next {
            let tasks = self.reconciling.open.iter().filter_map(|id| self.tasks.by_id(id));
            let tasks = tasks.map(|t| ReconcileTask {
                task_id: t.info.task_id.clone(),
                agent_id: Some(t.info.agent_id.clone()),
            });
            let tasks: Vec<_> = tasks.collect();
            self.reconciling.repeat = (self.reconciling.repeat * 2.0).min(MAX_REPEAT);
            self.reconciling.next = now + self.reconciling.repeat;
            self.call(CallType::Reconcile, |c| c.reconcile = Some(Reconcile { tasks }));
        }
        if !self.reconciling.is_open() && now >= self.reconciling.next_implicit {
            self.reconciling.next_implicit = now + self.config.implicit_reconciliation_period;
            self.call(CallType::Reconcile, |c| c.reconcile = Some(Reconcile::default()));
        }
    }

    /// Asks for tasks that could not be reached and are waited for, once their agents are back, as their offers show. Of those
    /// that the master knows it has told already; of others, whose launch was lost before the agent was, it says nothing by itself.
    pub(super) fn ask_about_returned(&mut self, now: f64, groups: &[AgentOffer]) {
        let mut silent = Vec::new();
        for agent in groups.iter().map(|group| &group.agent_id) {
            for pod in self.wanted.of_agent(agent).filter_map(|of| self.plans.step(of)?.requirement()) {
                let of_pod = self.tasks.of_pod(&pod.instance()).filter(|t| t.info.agent_id == *agent);
                silent.extend(
                    of_pod.filter(|t| t.state() == TaskState::Unreachable).map(|t| t.info.task_id.clone()),
                );
            }
        }
        if silent.is_empty() {
            return;
        }
        for id in silent {
            self.reconciling.ask(now, id);
        }
        self.reconcile(now);
    }

    /// Ends a task, and asks again until it has ended.
    pub(super) fn kill(&mut self, now: f64, id: &TaskId) {
        if self.kills.get(id).is_none() {
            self.ask_to_kill(now, id.clone(), None);
        }
    }

    pub(super) fn repeat_kills(&mut self, now: f64) {
        while let Some(id) = self.kills.pop(now) {
            self.ask_to_kill(now, id, None);
        }
    }

    /// `told` is the agent as a status names it, of tasks that are not in the state.
    fn ask_to_kill(&mut self, now: f64, task_id: TaskId, told: Option<AgentId>) {
        let agent_id = told.or_else(|| self.tasks.by_id(&task_id).map(|t| t.info.agent_id.clone()));
        self.kills.set(task_id.clone(), now + KILL_RETRY);
        self.call(CallType::Kill, |c| c.kill = Some(Kill { task_id, agent_id, kill_policy: None }));
    }

    pub(super) fn on_update(&mut self, now: f64, status: &TaskStatus) {
        self.reconciling.open.remove(&status.task_id);
        if status.state.is_terminal() || status.state == TaskState::GoneByOperator {
            self.kills.remove(&status.task_id);
        }
        if status.state == TaskState::GoneByOperator {
            self.note_gone(status);
        }
        match self.tasks.by_id(&status.task_id).map(Task::instance) {
            Some(instance) => self.update_task(now, &instance, status),
            // A task that is not in the state must not run: it was launched by somebody else in this service's name, or
            // replaced while its agent was away. It is asked to end at once, whenever that was asked last.
            None if may_run(status.state) => {
                self.ask_to_kill(now, status.task_id.clone(), status.agent_id.clone());
            }
            // Nobody is left to be ended.
            None if status.state == TaskState::Unknown => {
                self.kills.remove(&status.task_id);
            }
            // To a KILL of a task that it can't reach, the master answers just this; an answer to that would go on for ever.
            // Once the agent is back, the master says that the task runs.
            None => {}
        }
        self.acknowledge(status);
    }

    fn update_task(&mut self, now: f64, instance: &str, status: &TaskStatus) {
        let Some(task) = self.tasks.get(instance) else { return };
        // An update that was not acknowledged in time comes again.
        if status.uuid.is_some() && task.status.as_ref().and_then(|s| s.uuid.as_ref()) == status.uuid.as_ref()
        {
            return;
        }
        let lost = matches!(
            status.state,
            TaskState::Lost
                | TaskState::Gone
                | TaskState::Dropped
                | TaskState::Unknown
                | TaskState::Unreachable
        );
        if status.state == TaskState::Unknown || task.state().is_terminal() && lost {
            return;
        }
        let pod = task.pod_instance();
        self.tasks.change(instance, |task| take_in(task, status));
        if status.state == TaskState::GoneByOperator {
            self.give_up_pod(&pod);
        }
        self.write_status(instance);
        self.write_notes(instance);
        self.advance_steps(now, instance);
    }

    /// Tells the steps about a task's pod instance how the task is.
    fn advance_steps(&mut self, now: f64, instance: &str) {
        let Some(task) = self.tasks.get(instance) else { return };
        let (id, state, ready) = (task.info.task_id.clone(), task.state(), task.is_ready());
        let goal = self.task_spec(task).map_or(Goal::Running, |t| t.goal);
        let (pod, restarting) = (task.pod_instance(), task.notes.restarting);
        let retry_at = match state {
            TaskState::Failed | TaskState::Error if !restarting => self.delay(now, instance),
            TaskState::Running if ready && goal == Goal::Running => {
                self.forget_delay(instance);
                None
            }
            TaskState::GoneByOperator => {
                self.forget_delay(instance);
                None
            }
            _ => None,
        };
        for of in self.plans.about(&Subject::Pod(pod)).collect::<Vec<_>>() {
            self.plans.change(of, |step| step.update(&id, state, goal, ready, retry_at));
        }
    }

    /// When a task that has failed may be tried again; none at once.
    fn delay(&mut self, now: f64, instance: &str) -> Option<f64> {
        let backoff = self.config.backoff?;
        let wait = self.waits.get(instance).map_or(backoff.initial, |last| last * backoff.factor);
        let wait = wait.min(backoff.max);
        self.waits.insert(instance.to_owned(), wait);
        self.delayed.set(instance.to_owned(), now + wait);
        Some(now + wait)
    }

    /// Lets a task's next failure be as if it were the first; what waits because of the last one waits no longer.
    pub(super) fn forget_delay(&mut self, instance: &str) {
        self.waits.remove(instance);
        if !self.delayed.remove(instance) {
            return;
        }
        self.touch_task(instance);
        let Some((pod, name)) = self.tasks.get(instance).map(|t| (t.pod_instance(), t.name.clone())) else {
            return;
        };
        for of in self.plans.about(&Subject::Pod(pod)).collect::<Vec<_>>() {
            self.plans.change(of, |step| step.end_delay(&name));
        }
    }

    /// Gives up the reservations of a pod instance: it starts anew, anywhere.
    pub(super) fn give_up_pod(&mut self, pod: &PodInstance) {
        let kept = self.tasks.of_pod(pod).filter(|t| !t.notes.permanently_failed).map(Task::instance);
        for instance in kept.collect::<Vec<_>>() {
            self.tasks.change(&instance, |task| task.notes.permanently_failed = true);
            self.write_notes(&instance);
        }
    }
}

/// Takes a status into what is known about a task.
fn take_in(task: &mut Task, status: &TaskStatus) {
    let mut stored = status.clone();
    // The master's answers to reconciliation come without what the executor had said before.
    if stored.check_status.is_none() && status.state == TaskState::Running {
        stored.check_status = task.status.as_ref().and_then(|s| s.check_status.clone());
    }
    if stored.container_status.is_none() {
        stored.container_status = task.status.as_ref().and_then(|s| s.container_status.clone());
    }
    task.status = Some(stored);
    let from_agent =
        matches!(status.source.as_deref(), Some("SOURCE_EXECUTOR" | "SOURCE_AGENT" | "SOURCE_SLAVE"));
    let confirmed = task.notes.unconfirmed && (from_agent || status.state == TaskState::Running);
    if confirmed && status.state != TaskState::Error {
        task.notes.unconfirmed = false;
    }
    if status.state == TaskState::Running {
        task.notes.restarting = false;
        task.notes.failed_at = None;
    }
}
