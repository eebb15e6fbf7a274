//! Which tasks have failed, and the plan that brings them back.

use super::{Scheduler, Task};
use crate::plan::{Order, Phase, PodInstance, Recovery, Requirement, Status, Step, Strategy, Subject};
use crate::spec::{Goal, TaskName};
use crate::wire::TaskState;
use std::collections::{BTreeMap, BTreeSet};

/// The name of the recovery plan.
pub const RECOVERY: &str = "recovery";

impl Scheduler {
    /// Brings the recovery plan up to date about a pod instance: a phase if tasks of it have failed and no other plan is
    /// bringing them up.
    pub(super) fn refresh_recovery(&mut self, pod: &PodInstance) {
        let Some(recovery) = self.plans.position(RECOVERY) else { return };
        let wanted = self.wanted_recovery(pod);
        let own = self.plans.about(&Subject::Pod(pod.clone())).find(|s| s.plan == recovery);
        if let Some(own) = own {
            if self.plans.step(own).is_some_and(|s| still_of_use(s, wanted.as_ref())) {
                return;
            }
            self.plans.remove_phase(recovery, own.at.phase);
        }
        let Some(requirement) = wanted else { return };
        let (phase_id, step_id) = (self.ids.uuid(), self.ids.uuid());
        let step = Step::launch(step_id, requirement);
        let phase = Phase::new(phase_id, step.name.clone(), vec![step], Strategy::new(Order::Parallel));
        self.plans.add_phase(recovery, phase);
    }

    /// What has to be launched again of a pod instance.
    fn wanted_recovery(&self, pod: &PodInstance) -> Option<Requirement> {
        let failed = || self.tasks.of_pod(pod).filter(|t| self.has_failed(t));
        // What starts anew elsewhere does so as a whole: whoever brings up a part of it brings it all there.
        if failed().any(|t| t.notes.permanently_failed)
            && self.tasks.of_pod(pod).any(|t| self.is_being_launched(t))
        {
            return None;
        }
        let left_alone = |t: &Task| self.is_being_launched(t) || self.waits_for_resources(t);
        let failed: Vec<&Task> = failed().filter(|t| !left_alone(t)).collect();
        if failed.is_empty() {
            return None;
        }
        let delayed = |t: &Task| self.delayed.get(t.instance().as_str()).is_some();
        let essential = failed.iter().any(|t| self.task_spec(t).is_none_or(|s| s.essential));
        let again: Vec<&Task> = if !essential {
            failed.into_iter().filter(|t| !delayed(t)).collect()
        } else if self.tasks.of_pod(pod).any(delayed) {
            Vec::new()
        } else {
            // A sibling that another plan is bringing up is left to it: it may well wait for what has failed.
            self.tasks.of_pod(pod).filter(|t| self.stays_up(t) && !left_alone(t)).collect()
        };
        if again.is_empty() {
            return None;
        }
        let given_up = again.iter().filter(|t| t.notes.permanently_failed).count();
        let recovery = match given_up {
            0 => Recovery::Transient,
            n if n == again.len() => Recovery::Permanent,
            // As in the SDK: some of the tasks would stay where they are and others not, which an operator has to decide.
            _ => return None,
        };
        Some(Requirement {
            pod: pod.pod.clone(),
            index: pod.index,
            tasks: again.iter().map(|t| t.name.clone()).collect(),
            resource_sets: again
                .iter()
                .filter_map(|t| Some(self.task_spec(t)?.resource_set.id.clone()))
                .collect(),
            recovery,
            env: BTreeMap::new(),
        })
    }

    /// Whether a task is meant to stay up and was brought up before. Plans have no say in that, as in [`Scheduler::unneeded`].
    pub(super) fn stays_up(&self, task: &Task) -> bool {
        let pod = self.service.spec.pod(&task.pod);
        let wanted = pod.is_some_and(|p| task.index < p.count && p.task(&task.name).is_some());
        let was_up = task.was_launched() || task.notes.displaced;
        let stays = wanted && was_up && !task.notes.superseded;
        stays && self.task_spec(task).is_some_and(|s| s.goal == Goal::Running)
    }

    pub(super) fn has_failed(&self, task: &Task) -> bool {
        let state = task.state();
        let down = state.is_terminal()
            || matches!(state, TaskState::Lost | TaskState::Unreachable | TaskState::GoneByOperator)
            || task.notes.permanently_failed;
        down && self.stays_up(task)
    }

    /// Whether another plan is bringing a task up, or is about to. One whose turn has not come does not: until then a
    /// failed task comes up as it was.
    fn is_being_launched(&self, task: &Task) -> bool {
        self.launches(&task.pod_instance(), |name| *name == task.name)
    }

    /// Whether another task holds a failed task's resources, or is about to. To bring the failed one up would end that
    /// one, whose plan would then end this one again, and so on for ever.
    fn waits_for_resources(&self, task: &Task) -> bool {
        let pod = task.pod_instance();
        let shares = |name: &TaskName| *name != task.name && self.share_resources(task, name);
        self.tasks.of_pod(&pod).any(|t| t.is_live() && shares(&t.name)) || self.launches(&pod, shares)
    }

    /// Whether a task of the same pod instance is launched into the same resource set.
    fn share_resources(&self, task: &Task, other: &TaskName) -> bool {
        let Some(pod) = self.pod_spec(&task.pod, task.config_id()) else { return false };
        let set = |name: &TaskName| pod.task(name).map(|t| &t.resource_set.id);
        set(other).is_some() && set(other) == set(&task.name)
    }

    /// Whether a plan other than recovery launches one of these tasks, or is about to.
    fn launches(&self, pod: &PodInstance, which: impl Fn(&TaskName) -> bool) -> bool {
        self.plans.about(&Subject::Pod(pod.clone())).any(|of| {
            let Some(plan) = self.plans.as_slice().get(of.plan) else { return false };
            let Some(step) = plan.step(of.at) else { return false };
            let launching = matches!(step.status(), Status::Prepared | Status::Starting);
            let busy = plan.is_in_turn(of.at) || launching && !plan.is_interrupted();
            plan.name != RECOVERY && busy && step.requirement().is_some_and(|r| r.tasks.iter().any(&which))
        })
    }

    /// Notes which tasks are not to come back by themselves, because one that is to stay up has just been launched in
    /// their place.
    pub(super) fn supersede(&mut self, pod: &PodInstance, launched: &[TaskName]) {
        let stay_up = |t: &&Task| launched.contains(&t.name) && self.stays_up(t);
        let newer: Vec<&Task> = self.tasks.of_pod(pod).filter(stay_up).collect();
        let replaced = |t: &&Task| {
            let older = !launched.contains(&t.name) && self.stays_up(t);
            older && newer.iter().any(|n| self.share_resources(n, &t.name))
        };
        let older: Vec<String> = self.tasks.of_pod(pod).filter(replaced).map(Task::instance).collect();
        for instance in older {
            self.tasks.change(&instance, |task| task.notes.superseded = true);
            self.write_notes(&instance);
        }
    }
}

/// Whether a phase's step is still of use. One that has launched nothing yet and whose tasks are no longer failed (the agent
/// came back, or an operator's plan took over) has none; a complete one stays for operators to see until the pod fails again.
fn still_of_use(step: &Step, wanted: Option<&Requirement>) -> bool {
    let Some(requirement) = step.requirement() else { return false };
    match (step.status(), wanted) {
        (Status::Pending | Status::Prepared, wanted) => wanted.is_some_and(|w| covers(requirement, w)),
        (Status::Complete, wanted) => wanted.is_none(),
        (_, Some(wanted)) => {
            wanted.recovery != Recovery::Permanent || requirement.recovery == wanted.recovery
        }
        (_, None) => true,
    }
}

/// Whether a phase that has not launched anything yet does what is wanted now.
fn covers(has: &Requirement, wants: &Requirement) -> bool {
    let names = |r: &Requirement| r.tasks.iter().cloned().collect::<BTreeSet<TaskName>>();
    has.recovery == wants.recovery && names(has) == names(wants)
}
