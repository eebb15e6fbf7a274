//! Tasks: how they live, what agents report of them until it is acknowledged, and what the master answers about them.

use super::{Cluster, Happening, Known, Observed};
use crate::offer::label;
use crate::sandbox::resources::Resources;
use crate::scheduler::Event;
use crate::spec::Goal;
use crate::wire::{
    Acknowledge, AgentId, CheckStatusCommand, CheckStatusInfo, CheckType, ExecutorId, ExecutorInfo, Kill,
    Reconcile, TaskId, TaskInfo, TaskState, TaskStatus,
};
use std::collections::VecDeque;

/// Seconds until an executor has taken a task in.
const STARTING: f64 = 0.2;
/// Seconds from then until the task's process runs.
const RUNNING: f64 = 1.0;
/// Seconds from the start of a readiness check until it passes.
const READY: f64 = 1.5;
/// Seconds after which tasks that are to finish do.
const FINISHED: f64 = 5.0;
/// Seconds that a task takes to end when it is asked to.
const KILLED: f64 = 0.8;
/// Seconds that a message of an agent takes.
const MESSAGE: f64 = 0.02;
/// Seconds that an executor lives on after its last task.
const EXECUTOR: f64 = 0.1;
/// Seconds until an agent repeats what was not acknowledged; doubles up to `LAST_RETRY`.
const FIRST_RETRY: f64 = 10.0;
const LAST_RETRY: f64 = 600.0;

/// One launch of a task.
#[derive(Clone, Debug)]
pub struct Task {
    /// What was launched.
    pub info: TaskInfo,
    /// Its executor.
    pub executor: ExecutorId,
    /// How it really is.
    pub state: TaskState,
    /// Its readiness check has passed, or it has none.
    pub ready: bool,
    /// It never reached its agent.
    pub phantom: bool,
    /// When it was launched.
    pub launched: f64,
    /// What the agent has yet to tell, oldest first, until it is acknowledged.
    pub pending: VecDeque<TaskStatus>,
    /// What the master believes.
    pub told: TaskStatus,
    pub(super) resources: Resources,
    /// All that is reserved for it, its executor included.
    pub resource_ids: Vec<String>,
    wait: f64,
    killing: bool,
}

impl Task {
    pub(super) fn new(info: TaskInfo, executor: ExecutorInfo, now: f64) -> Self {
        let all = info.resources.iter().chain(&executor.resources);
        let resource_ids = all.filter_map(|r| r.resource_id().map(str::to_owned)).collect();
        let told = TaskStatus {
            task_id: info.task_id.clone(),
            state: TaskState::Staging,
            agent_id: Some(info.agent_id.clone()),
            timestamp: Some(now),
            ..TaskStatus::default()
        };
        Self {
            resources: Resources::new(&info.resources),
            ready: info.check.is_none(),
            executor: executor.executor_id,
            info,
            state: TaskState::Staging,
            phantom: false,
            launched: now,
            pending: VecDeque::new(),
            told,
            resource_ids,
            wait: FIRST_RETRY,
            killing: false,
        }
    }

    /// Whether it really runs, or is about to.
    pub fn is_alive(&self) -> bool {
        !self.state.is_terminal() && !self.phantom
    }

    /// `<type>-<index>`.
    pub fn pod_instance(&self) -> String {
        let label = |key| self.info.labels.as_ref().and_then(|l| l.get(key)).unwrap_or_default();
        format!("{}-{}", label(label::TASK_TYPE), label(label::INDEX))
    }
}

impl Cluster {
    pub(super) fn start_task(&mut self, mut task: Task) {
        let id = task.info.task_id.clone();
        let agent = task.info.agent_id.clone();
        task.phantom = self.agents.get(&agent).is_none_or(|a| a.cut);
        let (instance, host) = (task.info.name.clone(), self.host(&agent));
        if !task.phantom {
            let at = self.now + self.duration(STARTING);
            self.queue.add(at, Happening::Starting(id.clone()));
        }
        self.tasks.insert(id.clone(), task);
        self.observe(Observed::Launched { task: id, instance, host });
    }

    fn goal(&self, task: &Task) -> Goal {
        let pod = task.info.labels.as_ref().and_then(|l| l.get(label::TASK_TYPE)).unwrap_or_default();
        let name = task.info.name.strip_prefix(&format!("{}-", task.pod_instance())).unwrap_or_default();
        self.goals.get(&(pod.to_owned(), name.to_owned())).copied().unwrap_or(Goal::Running)
    }

    pub(super) fn on_starting(&mut self, id: &TaskId) {
        if self.tasks.get(id).is_none_or(|t| !t.is_alive() || t.state != TaskState::Staging) {
            return;
        }
        self.set_state(id, TaskState::Starting);
        self.report(id, TaskState::Starting, None);
        let at = self.now + self.duration(RUNNING);
        self.queue.add(at, Happening::Running(id.clone()));
    }

    pub(super) fn on_running(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id).filter(|t| t.is_alive() && !t.killing) else { return };
        let goal = self.goal(task);
        let check = task.info.check.as_ref().map(|c| c.delay_seconds.unwrap_or_default());
        self.set_state(id, TaskState::Running);
        self.report(id, TaskState::Running, None);
        if let Some(delay) = check {
            let at = self.now + delay + self.duration(READY);
            self.queue.add(at, Happening::Ready(id.clone()));
        }
        if goal != Goal::Running {
            let at = self.now + self.duration(FINISHED);
            self.queue.add(at, Happening::Ends(id.clone(), TaskState::Finished));
        }
    }

    pub(super) fn on_ready(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id).filter(|t| t.state == TaskState::Running && !t.killing)
        else {
            return;
        };
        task.ready = true;
        let (task, instance) = (id.clone(), task.info.name.clone());
        self.observe(Observed::State { task, instance, state: TaskState::Running, ready: true });
        self.report(id, TaskState::Running, Some("REASON_TASK_CHECK_STATUS_UPDATED"));
    }

    /// A task really ends.
    pub(super) fn end_task(&mut self, id: &TaskId, state: TaskState, reason: Option<&str>) {
        if self.tasks.get(id).is_none_or(|t| !t.is_alive()) {
            return;
        }
        self.set_state(id, state);
        self.report(id, state, reason);
    }

    pub(super) fn set_state(&mut self, id: &TaskId, state: TaskState) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.state = state;
        let (task, instance, ready) = (id.clone(), task.info.name.clone(), task.ready);
        self.observe(Observed::State { task, instance, state, ready });
    }

    /// An agent has something to tell about a task.
    fn report(&mut self, id: &TaskId, state: TaskState, reason: Option<&str>) {
        self.statuses += 1;
        let uuid = format!("status-{:06}", self.statuses);
        let now = self.now;
        let Some(task) = self.tasks.get_mut(id) else { return };
        let exit_code = task.ready.then_some(0);
        let check =
            task.info.check.as_ref().filter(|_| state == TaskState::Running).map(|_| CheckStatusInfo {
                r#type: Some(CheckType::Command),
                command: Some(CheckStatusCommand { exit_code }),
                ..CheckStatusInfo::default()
            });
        let healthy = task.info.health_check.as_ref().filter(|_| state == TaskState::Running).map(|_| true);
        task.pending.push_back(TaskStatus {
            task_id: id.clone(),
            state,
            source: Some("SOURCE_EXECUTOR".to_owned()),
            reason: reason.map(str::to_owned),
            agent_id: Some(task.info.agent_id.clone()),
            executor_id: Some(task.executor.clone()),
            timestamp: Some(now),
            uuid: Some(uuid),
            healthy,
            check_status: check,
            ..TaskStatus::default()
        });
        if task.pending.len() == 1 {
            self.forward_soon(id, true);
        } else if state.is_terminal() {
            // the message that is repeated says how the task is now, too
            self.release_if_reachable(id);
        }
    }

    /// Lets the agent tell the oldest status.
    pub(super) fn forward_soon(&mut self, id: &TaskId, first: bool) {
        let delay = self.duration(MESSAGE);
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(uuid) = task.pending.front().and_then(|s| s.uuid.clone()) else { return };
        if first {
            task.wait = FIRST_RETRY;
        }
        let at = self.now + delay + self.mishaps.status_delay();
        self.queue.add(at, Happening::Forward(id.clone(), uuid));
    }

    pub(super) fn on_forward(&mut self, id: &TaskId, uuid: &str) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(status) = task.pending.front().filter(|s| s.uuid.as_deref() == Some(uuid)).cloned() else {
            return;
        };
        let at = self.now + task.wait;
        task.wait = (task.wait * 2.0).min(LAST_RETRY);
        let agent = task.info.agent_id.clone();
        self.queue.add(at, Happening::Forward(id.clone(), uuid.to_owned()));
        if self.agents.get(&agent).is_none_or(|a| !a.is_up()) {
            return;
        }
        let copies = self.mishaps.status_copies();
        if copies == 0 {
            return;
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.told = status.clone();
        }
        self.release_if_reachable(id);
        if self.framework.connected {
            for _ in 0..copies {
                self.events.push(Event::Update(Box::new(status.clone())));
            }
        }
    }

    fn release_if_reachable(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id).filter(|t| t.state.is_terminal()) else { return };
        if self.agents.get(&task.info.agent_id).is_some_and(super::Agent::is_up) {
            self.release(id);
        }
    }

    /// What a task held is free again; with its last task an executor ends.
    pub(super) fn release(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else { return };
        let (agent_id, executor) = (task.info.agent_id.clone(), task.executor.clone());
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        if !agent.holding.remove(id) {
            return;
        }
        let tasks = &self.tasks;
        let needed = agent.holding.iter().filter_map(|t| tasks.get(t)).any(|t| t.executor == executor);
        if !needed {
            let at = self.now + EXECUTOR;
            self.queue.add(at, Happening::ExecutorEnds(agent_id, executor));
        }
        self.request_allocation();
    }

    pub(super) fn on_executor_ends(&mut self, agent: &AgentId, executor: &ExecutorId) {
        let Some(agent) = self.agents.get_mut(agent) else { return };
        let tasks = &self.tasks;
        let needed = agent.holding.iter().filter_map(|t| tasks.get(t)).any(|t| t.executor == *executor);
        if !needed && agent.executors.remove(executor).is_some() {
            self.request_allocation();
        }
    }

    pub(super) fn acknowledge(&mut self, acknowledge: &Acknowledge) {
        let Some(task) = self.tasks.get_mut(&acknowledge.task_id) else { return };
        let fits = task.pending.front().is_some_and(|s| s.uuid.as_deref() == Some(&acknowledge.uuid));
        // an acknowledgement for an agent that can't be reached is lost
        if !fits || self.agents.get(&acknowledge.agent_id).is_none_or(|a| !a.is_up()) {
            return;
        }
        if let Some(status) = task.pending.pop_front() {
            self.observe(Observed::Acknowledged(Box::new(status)));
        }
        self.forward_soon(&acknowledge.task_id, true);
    }

    pub(super) fn kill(&mut self, kill: Kill) {
        let Some(task) = self.tasks.get(&kill.task_id) else {
            return self.say_how(&kill.task_id, kill.agent_id);
        };
        let agent = task.info.agent_id.clone();
        if task.phantom || task.state.is_terminal() && task.pending.is_empty() {
            return self.say_how(&kill.task_id, Some(agent));
        }
        if self.agents.get(&agent).is_none_or(|a| !a.is_up()) || task.killing || task.state.is_terminal() {
            return;
        }
        let policy = task.info.kill_policy.as_ref().and_then(|p| p.grace_period.as_ref());
        let grace = policy.map_or(f64::INFINITY, |g| g.nanoseconds as f64 / 1e9);
        let delay = self.duration(KILLED).min(grace);
        if let Some(task) = self.tasks.get_mut(&kill.task_id) {
            task.killing = true;
        }
        self.queue.add(self.now + delay, Happening::Ends(kill.task_id, TaskState::Killed));
    }

    pub(super) fn reconcile(&mut self, reconcile: Reconcile) {
        if reconcile.tasks.is_empty() {
            let known = self.tasks.values().filter(|t| self.knows(t));
            let known: Vec<(TaskId, AgentId)> =
                known.map(|t| (t.info.task_id.clone(), t.info.agent_id.clone())).collect();
            for (task, agent) in known {
                self.say_how(&task, Some(agent));
            }
        }
        for asked in reconcile.tasks {
            self.say_how(&asked.task_id, asked.agent_id);
        }
    }

    /// Whether the master has the task in its books: until its end is acknowledged.
    fn knows(&self, task: &Task) -> bool {
        let registered = self.agents.get(&task.info.agent_id).is_some_and(|a| a.known == Known::Registered);
        registered && !(task.told.state.is_terminal() && task.pending.is_empty())
    }

    /// What the master answers about a task.
    fn say_how(&mut self, id: &TaskId, agent: Option<AgentId>) {
        let known = self.tasks.get(id).filter(|t| self.knows(t)).map(|t| t.told.clone());
        if let Some(told) = known {
            let status = TaskStatus {
                message: Some("Reconciliation: Latest task state".to_owned()),
                source: Some("SOURCE_MASTER".to_owned()),
                reason: Some("REASON_RECONCILIATION".to_owned()),
                timestamp: Some(self.now),
                uuid: None,
                ..told
            };
            return self.events.push(Event::Update(Box::new(status)));
        }
        let known = agent.as_ref().and_then(|a| self.agents.get(a)).map(|a| a.known);
        let what = match known {
            // a master that is new does not know yet
            Some(Known::Unheard) => return,
            Some(Known::Registered) => (TaskState::Gone, "Reconciliation: Task is unknown to the agent"),
            Some(Known::Unreachable) => (TaskState::Unreachable, "Reconciliation: Task is unreachable"),
            Some(Known::Gone) => (TaskState::GoneByOperator, "Reconciliation: Task is gone"),
            None => (TaskState::Unknown, "Reconciliation: Task is unknown"),
        };
        self.master_says(id, agent, (what.0, "REASON_RECONCILIATION", what.1));
    }

    /// A status that the master makes itself; nobody has to acknowledge it.
    pub(super) fn master_says(
        &mut self,
        id: &TaskId,
        agent_id: Option<AgentId>,
        (state, reason, message): (TaskState, &str, &str),
    ) {
        if !self.framework.connected {
            return;
        }
        self.events.push(Event::Update(Box::new(TaskStatus {
            task_id: id.clone(),
            state,
            message: Some(message.to_owned()),
            source: Some("SOURCE_MASTER".to_owned()),
            reason: Some(reason.to_owned()),
            agent_id,
            timestamp: Some(self.now),
            ..TaskStatus::default()
        })));
    }

    /// A task fails by itself; with it those of its group, which are all the tasks that were launched together.
    pub fn fail_task(&mut self, now: f64, id: &TaskId, state: TaskState) {
        self.now = now;
        self.end_task(id, state, Some("REASON_COMMAND_EXECUTOR_FAILED"));
    }
}
