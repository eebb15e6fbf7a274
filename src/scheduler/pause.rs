//! Tasks that an operator holds: they are launched to do nothing, so that their sandboxes can be looked into.
//!
//! That a task is to be paused is noted with it, and stays so until it is resumed, whatever restarts in between.

use super::commands::{CommandError, not_found};
use super::removal::DECOMMISSION;
use super::{Scheduler, Task};
use crate::plan::{Plan, PodInstance, Status, Step, Subject, Work};
use crate::spec::pod_instance_name;
use crate::wire::TaskState;

impl Scheduler {
    /// Pauses tasks of a pod instance, or lets them go on; gives their instance names. `wanted` are names of tasks, or of
    /// their instances; none means all that run or are to run. Tasks that are so already are left alone.
    pub(super) fn pause(
        &mut self,
        now: f64,
        pod: &PodInstance,
        wanted: &[String],
        paused: bool,
    ) -> Result<Vec<String>, CommandError> {
        let of_pod: Vec<Task> = self.tasks.of_pod(pod).cloned().collect();
        let is = |t: &Task, name: &String| t.name.as_str() == name || t.instance() == *name;
        if wanted.iter().any(|name| !of_pod.iter().any(|t| is(t, name))) {
            return Err(not_found("Pod", &pod_instance_name(&pod.pod, pod.index)));
        }
        let named = |t: &&Task| {
            if wanted.is_empty() { self.may_pause(t) } else { wanted.iter().any(|name| is(t, name)) }
        };
        let (mut instances, mut changed) = (Vec::new(), Vec::new());
        for task in of_pod.iter().filter(named) {
            instances.push(task.instance());
            if task.notes.paused != paused {
                changed.push(task);
            }
        }
        for task in changed {
            let instance = task.instance();
            self.tasks.change(&instance, |task| task.notes.paused = paused);
            self.write_notes(&instance);
            self.restart_task(now, &instance);
        }
        Ok(instances)
    }

    /// Whether there is anything to pause: a task that has ended for good does nothing already.
    fn may_pause(&self, task: &Task) -> bool {
        task.is_live() || self.stays_up(task)
    }

    /// What operators see of a task's state: Mesos' own, or what they did to it. None while nothing was heard.
    pub fn task_status(&self, task: &Task) -> Option<&'static str> {
        task.status.as_ref()?;
        if let Some(ended) = self.decommissioned(task) {
            return Some(if ended { "DECOMMISSIONED" } else { "DECOMMISSIONING" });
        }
        let (paused, idle) = (task.notes.paused, task.notes.idle);
        match task.state() {
            TaskState::Running if paused && idle => Some("PAUSED"),
            _ if paused && self.may_pause(task) => Some("PAUSING"),
            _ if idle && self.may_pause(task) => Some("STARTING"),
            state => Some(state.wire_name().trim_start_matches("TASK_")),
        }
    }

    /// Whether a task has ended that the decommission plan takes down; none if it doesn't.
    fn decommissioned(&self, task: &Task) -> Option<bool> {
        let plan = self.plans.position(DECOMMISSION)?;
        let mut about = self.plans.about(&Subject::Task(task.instance())).filter(|of| of.plan == plan);
        let step =
            about.find_map(|of| self.plans.step(of).filter(|step| matches!(step.work, Work::Kill { .. })))?;
        Some(step.status() == Status::Complete)
    }

    /// What operators see of a step's status: its own, or that its whole pod instance is paused. The SDK shows PAUSED as soon
    /// as a complete step's pod is to be paused; here it is PAUSING until the tasks do nothing.
    pub fn step_status(&self, step: &Step) -> &'static str {
        let status = step.status();
        let seen = || {
            let pod = step.requirement()?.instance();
            let tasks: Vec<&Task> = self.tasks.of_pod(&pod).filter(|t| self.may_pause(t)).collect();
            let all_paused = !tasks.is_empty() && tasks.iter().all(|t| t.notes.paused);
            let rests = tasks.iter().all(|t| self.task_status(t) == Some("PAUSED"));
            (all_paused && (status.is_running() || status == Status::Complete)).then_some(if rests {
                "PAUSED"
            } else {
                "PAUSING"
            })
        };
        seen().unwrap_or(status.name())
    }

    /// The text about a step that the API shows, in the SDK's form.
    pub fn step_message(&self, step: &Step) -> String {
        let (is, seen) = (step.status().name(), self.step_status(step));
        let message = step.message();
        if is == seen { message } else { format!("{message} (display:{seen})") }
    }

    /// What the service is doing, in one word; the words are the SDK's.
    pub fn activity(&self) -> &'static str {
        let busy = |plan: &Plan| plan.status() != Status::Complete;
        let named = |name: &str| self.plan(name).is_some_and(busy);
        match () {
            () if named("deploy") => "DEPLOYING",
            () if named(super::recovery::RECOVERY) => "RECOVERING",
            () if named(DECOMMISSION) => "DECOMMISSIONING",
            () if self.plan("deploy").is_some() => "DEPLOYED",
            () => "RUNNING",
        }
    }
}
