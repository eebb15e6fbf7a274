//! Steps: the smallest part of a plan.

use super::Status;
use crate::spec::{Goal, PodType, TaskName, pod_instance_name};
use crate::wire::{AgentId, TaskId, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// One of a pod's instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodInstance {
    /// The pod's type.
    pub pod: PodType,
    /// The instance's number.
    pub index: u32,
}

/// What a step is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Tasks of a pod instance, to be launched.
    Pod(PodInstance),
    /// A task, by its instance name, to be ended or forgotten.
    Task(String),
    /// A reservation, by its `resource_id` label, to be given back.
    Resource(String),
    /// The framework.
    Framework,
}

/// What an operator or the scheduler wants of a pod instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// The pod's type.
    pub pod: PodType,
    /// The instance's number.
    pub index: u32,
    /// The tasks to launch, together.
    pub tasks: Vec<TaskName>,
    /// The ids of their resource sets. Of tasks that share one only one runs at a time.
    pub resource_sets: BTreeSet<String>,
    /// Why they are launched.
    pub recovery: Recovery,
    /// Added to the tasks' environment for this launch (plan parameters).
    pub env: BTreeMap<String, String>,
}

/// Whether a launch replaces something that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It doesn't.
    None,
    /// It starts the task again, where its reservations are.
    Transient,
    /// It gives the pod's reservations up and starts anew, anywhere.
    Permanent,
}

impl Requirement {
    /// The pod instance.
    pub fn instance(&self) -> PodInstance {
        PodInstance { pod: self.pod.clone(), index: self.index }
    }

    /// `<type>-<index>`.
    pub fn pod_instance(&self) -> String {
        pod_instance_name(&self.pod, self.index)
    }

    /// `<type>-<index>:[task, task]`, the name of a step.
    pub fn step_name(&self) -> String {
        let tasks: Vec<&str> = self.tasks.iter().map(TaskName::as_str).collect();
        format!("{}:[{}]", self.pod_instance(), tasks.join(", "))
    }

    /// Whether both want the same task of a pod instance that is the same.
    pub fn shares_tasks(&self, other: &Self) -> bool {
        self.tasks.iter().any(|t| other.tasks.contains(t))
    }

    /// Whether both want to use the same resources of a pod instance that is the same.
    pub fn shares_resources(&self, other: &Self) -> bool {
        !self.resource_sets.is_disjoint(&other.resource_sets)
    }
}

/// How far one task of a step is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskProgress {
    /// To be launched (again).
    Pending,
    /// To be launched again, but not before this time (seconds).
    Delayed(f64),
    /// Launched.
    Starting,
    /// Runs, not yet ready or finished.
    Started,
    /// Its goal is reached.
    Complete,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Launches tasks.
    Launch {
        /// Which.
        requirement: Requirement,
        /// The launched tasks, by task name.
        tracked: BTreeMap<TaskName, (TaskId, TaskProgress)>,
        /// It was handed to offer evaluation.
        prepared: bool,
    },
    /// Ends a task for good.
    Kill {
        /// The task's instance name.
        task: String,
    },
    /// Gives a reservation back.
    Unreserve {
        /// The reservation's `resource_id` label.
        resource_id: String,
        /// The agent that it is on, if it was ever made.
        agent: AgentId,
        /// Its role.
        role: String,
    },
    /// Removes what is stored about a task.
    Erase {
        /// The task's instance name.
        task: String,
    },
    /// Removes the framework from the master and all stored state.
    Deregister,
}

/// The smallest part of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// A UUID, new at each start of the scheduler.
    pub id: String,
    /// The step's name.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// Why it can't be done.
    pub errors: Vec<String>,
    /// It waits for an operator.
    pub interrupted: bool,
    /// The status of work other than launches, and COMPLETE for a launch that was complete at start or was forced.
    fixed: Status,
}

impl Step {
    /// A step that is to be done.
    pub fn new(id: String, name: String, work: Work) -> Self {
        Self { id, name, work, errors: Vec::new(), interrupted: false, fixed: Status::Pending }
    }

    /// A step that launches `requirement`.
    pub fn launch(id: String, requirement: Requirement) -> Self {
        let name = requirement.step_name();
        Self::new(id, name, Work::Launch { requirement, tracked: BTreeMap::new(), prepared: false })
    }

    /// The launch that this step is about, if it is one.
    pub fn requirement(&self) -> Option<&Requirement> {
        match &self.work {
            Work::Launch { requirement, .. } => Some(requirement),
            _ => None,
        }
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        match &self.work {
            Work::Launch { requirement, .. } => Subject::Pod(requirement.instance()),
            Work::Kill { task } | Work::Erase { task } => Subject::Task(task.clone()),
            Work::Unreserve { resource_id, .. } => Subject::Resource(resource_id.clone()),
            Work::Deregister => Subject::Framework,
        }
    }

    /// How far it is, as aggregation sees it.
    pub fn status(&self) -> Status {
        if !self.errors.is_empty() {
            return Status::Error;
        }
        let status = self.progress();
        if self.interrupted && matches!(status, Status::Pending | Status::Prepared) {
            return Status::Waiting;
        }
        status
    }

    fn progress(&self) -> Status {
        let Work::Launch { tracked, prepared, .. } = &self.work else { return self.fixed };
        if self.fixed == Status::Complete {
            return Status::Complete;
        }
        let idle = if *prepared { Status::Prepared } else { Status::Pending };
        if tracked.is_empty() {
            return idle;
        }
        let any = |f: fn(&TaskProgress) -> bool| tracked.values().any(|(_, p)| f(p));
        if any(|p| matches!(p, TaskProgress::Delayed(_))) {
            return Status::Delayed;
        }
        if any(|p| matches!(p, TaskProgress::Pending)) {
            return idle;
        }
        if any(|p| matches!(p, TaskProgress::Starting)) {
            return Status::Starting;
        }
        if any(|p| matches!(p, TaskProgress::Started)) {
            return Status::Started;
        }
        Status::Complete
    }

    fn delays(&self) -> impl Iterator<Item = f64> {
        let tracked = match &self.work {
            Work::Launch { tracked, .. } => Some(tracked),
            _ => None,
        };
        tracked.into_iter().flat_map(BTreeMap::values).filter_map(|(_, p)| match p {
            TaskProgress::Delayed(until) => Some(*until),
            _ => None,
        })
    }

    /// When its last delay ends (seconds); none while none of its tasks is delayed.
    pub fn delayed_until(&self) -> Option<f64> {
        self.delays().reduce(f64::max)
    }

    /// Ends the delays that are over.
    pub(super) fn wake(&mut self, now: f64) {
        let Work::Launch { tracked, .. } = &mut self.work else { return };
        for (_, progress) in tracked.values_mut() {
            if matches!(progress, TaskProgress::Delayed(until) if *until <= now) {
                *progress = TaskProgress::Pending;
            }
        }
    }

    /// Ends the delay of a task, should it have one.
    pub fn end_delay(&mut self, task: &TaskName) {
        let Work::Launch { tracked, .. } = &mut self.work else { return };
        if let Some((_, progress @ TaskProgress::Delayed(_))) = tracked.get_mut(task) {
            *progress = TaskProgress::Pending;
        }
    }

    /// Marks a launch as handed to offer evaluation.
    pub fn prepare(&mut self) {
        if let Work::Launch { prepared, .. } = &mut self.work {
            *prepared = true;
        }
    }

    /// Notes that its tasks were launched under these ids.
    pub fn launched(&mut self, ids: impl IntoIterator<Item = (TaskName, TaskId)>) {
        if let Work::Launch { tracked, prepared, .. } = &mut self.work {
            *prepared = false;
            *tracked = ids.into_iter().map(|(name, id)| (name, (id, TaskProgress::Starting))).collect();
        }
    }

    /// Goes on with tasks that an earlier run of the scheduler launched: their ids, states, goals and readiness.
    pub fn resume(&mut self, tasks: impl IntoIterator<Item = (TaskName, TaskId, TaskState, Goal, bool)>) {
        let (mut ids, mut states) = (Vec::new(), Vec::new());
        for (name, id, state, goal, ready) in tasks {
            ids.push((name, id.clone()));
            states.push((id, state, goal, ready));
        }
        self.launched(ids);
        for (id, state, goal, ready) in states {
            self.update(&id, state, goal, ready, None);
        }
    }

    /// Takes in a task's status, unless the step is done or the task isn't one that it launched. `ready` is whether the
    /// readiness check has passed, `retry_at` when a failed task may be tried again (seconds). Returns whether
    /// the task was one of this step's.
    pub fn update(
        &mut self,
        id: &TaskId,
        state: TaskState,
        goal: Goal,
        ready: bool,
        retry_at: Option<f64>,
    ) -> bool {
        if self.fixed == Status::Complete {
            return false;
        }
        let Work::Launch { tracked, prepared, .. } = &mut self.work else { return false };
        if tracked.values().all(|(_, p)| *p == TaskProgress::Complete) {
            return false;
        }
        let Some((_, progress)) = tracked.values_mut().find(|(tracked, _)| tracked == id) else {
            return false;
        };
        let next = match (state, goal) {
            (TaskState::Staging | TaskState::Starting, _) => TaskProgress::Starting,
            (TaskState::Running, Goal::Running) if ready => TaskProgress::Complete,
            (TaskState::Running, _) => TaskProgress::Started,
            (TaskState::Finished, Goal::Finish | Goal::Once) => TaskProgress::Complete,
            (TaskState::Failed | TaskState::Error, _) => {
                retry_at.map_or(TaskProgress::Pending, TaskProgress::Delayed)
            }
            (TaskState::Unknown, _) => return true,
            _ => TaskProgress::Pending,
        };
        *progress = next;
        if matches!(next, TaskProgress::Pending | TaskProgress::Delayed(_)) {
            *prepared = false;
        }
        true
    }

    /// Sets the status of work that isn't a launch.
    pub fn set_status(&mut self, status: Status) {
        self.fixed = status;
    }

    /// Makes it count as done, whatever its tasks do.
    pub fn force_complete(&mut self) {
        self.fixed = Status::Complete;
        self.errors.clear();
    }

    /// Makes it be done again.
    pub fn restart(&mut self) {
        self.fixed = Status::Pending;
        if let Work::Launch { tracked, prepared, .. } = &mut self.work {
            tracked.clear();
            *prepared = false;
        }
    }

    /// The text that the API shows, in the SDK's form.
    pub fn message(&self) -> String {
        let class = match &self.work {
            Work::Launch { requirement, .. } if requirement.recovery != Recovery::None => "RecoveryStep",
            Work::Launch { .. } => "DeploymentStep",
            Work::Kill { .. } => "TriggerDecommissionStep",
            Work::Unreserve { .. } => "ResourceCleanupStep",
            Work::Erase { .. } => "EraseTaskStateStep",
            Work::Deregister => "DeregisterStep",
        };
        let kind = match self.requirement().map(|r| r.recovery) {
            Some(Recovery::Transient) => " RecoveryType: TRANSIENT",
            Some(Recovery::Permanent) => " RecoveryType: PERMANENT",
            _ => "",
        };
        format!("{class}: {} [{}] with status: {}{kind}", self.name, self.id, self.status())
    }
}
