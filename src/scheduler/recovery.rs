//! Which tasks have failed, and the plan that brings them back.

use super::{Scheduler, Task};
use crate::plan::{Order, Phase, Recovery, Requirement, Status, Step, Strategy};
use crate::spec::{Goal, TaskName};
use crate::wire::TaskState;
use std::collections::{BTreeMap, BTreeSet};

/// The name of the recovery plan.
pub const RECOVERY: &str = "recovery";

impl Scheduler {
    /// Brings the recovery plan up to date: a phase for each pod instance with failed tasks that no other plan is bringing
    /// up.
    pub(super) fn refresh_recovery(&mut self, now: f64) {
        let wanted = self.failed_pods(now);
        let Some(at) = self.plans.iter().position(|p| p.name == RECOVERY) else { return };
        let mut phases = std::mem::take(&mut self.plans[at].phases);
        // A phase whose tasks are no longer failed (the agent came back, or an operator's plan took over) has no use, unless
        // it has launched something; a complete one stays for operators to see until the pod fails again.
        phases.retain(|phase| {
            let Some(step) = phase.steps.first() else { return false };
            let Some(requirement) = step.requirement() else { return false };
            let same_pod = |w: &&Requirement| w.pod == requirement.pod && w.index == requirement.index;
            match (step.status(now), wanted.iter().find(same_pod)) {
                (Status::Pending | Status::Prepared, new) => new.is_some_and(|w| covers(requirement, w)),
                (Status::Complete, new) => new.is_none(),
                (_, Some(new)) => new.recovery != Recovery::Permanent || requirement.recovery == new.recovery,
                (_, None) => true,
            }
        });
        for requirement in wanted {
            let of_pod = |p: &Phase| {
                let own = p.steps.first().and_then(Step::requirement);
                own.is_some_and(|r| r.pod == requirement.pod && r.index == requirement.index)
            };
            if phases.iter().any(of_pod) {
                continue;
            }
            let (phase_id, step_id) = (self.ids.uuid(), self.ids.uuid());
            let step = Step::launch(step_id, requirement);
            let name = step.name.clone();
            phases.push(Phase::new(phase_id, name, vec![step], Strategy::new(Order::Parallel)));
        }
        self.plans[at].phases = phases;
    }

    /// What has to be launched again, by pod instance.
    fn failed_pods(&self, now: f64) -> Vec<Requirement> {
        let mut failed: BTreeMap<(String, u32), Vec<&Task>> = BTreeMap::new();
        for task in self.tasks.values().filter(|t| self.has_failed(t)) {
            failed.entry((task.pod.0.clone(), task.index)).or_default().push(task);
        }
        let mut wanted = Vec::new();
        for tasks in failed.into_values() {
            let Some(first) = tasks.first() else { continue };
            let essential = tasks.iter().any(|t| self.task_spec(t).is_none_or(|s| s.essential));
            let of_pod = self.tasks.values().filter(|t| t.pod == first.pod && t.index == first.index);
            let again: Vec<&Task> =
                if essential { of_pod.filter(|t| self.stays_up(t)).collect() } else { tasks.clone() };
            let delayed = |t: &&Task| self.delays.get(&t.instance()).is_some_and(|(_, until)| *until > now);
            if again.iter().any(delayed) || again.iter().any(|t| self.is_being_deployed(now, t)) {
                continue;
            }
            let permanent = tasks.iter().any(|t| t.notes.permanently_failed);
            wanted.push(Requirement {
                pod: first.pod.clone(),
                index: first.index,
                tasks: again.iter().map(|t| t.name.clone()).collect(),
                recovery: if permanent { Recovery::Permanent } else { Recovery::Transient },
                env: BTreeMap::new(),
            });
        }
        wanted
    }

    /// Whether a task is meant to stay up and was brought up before.
    fn stays_up(&self, task: &Task) -> bool {
        let pod = self.service.spec.pod(&task.pod);
        let wanted = pod.is_some_and(|p| task.index < p.count && p.task(&task.name).is_some());
        wanted && task.was_launched() && self.task_spec(task).is_some_and(|s| s.goal == Goal::Running)
    }

    fn has_failed(&self, task: &Task) -> bool {
        let state = task.state();
        let down = state.is_terminal()
            || matches!(state, TaskState::Lost | TaskState::Unreachable | TaskState::GoneByOperator)
            || task.notes.permanently_failed;
        down && self.stays_up(task)
    }

    /// Whether another plan has yet to bring a task up.
    fn is_being_deployed(&self, now: f64, task: &Task) -> bool {
        let others = self.plans.iter().filter(|p| p.name != RECOVERY && !p.strategy.interrupted);
        others.flat_map(crate::plan::Plan::steps).any(|step| {
            !matches!(step.status(now), Status::Complete | Status::Error | Status::Waiting)
                && step.requirement().is_some_and(|r| {
                    r.pod == task.pod && r.index == task.index && r.tasks.contains(&task.name)
                })
        })
    }
}

/// Whether a phase that has not launched anything yet does what is wanted now.
fn covers(has: &Requirement, wants: &Requirement) -> bool {
    let names = |r: &Requirement| r.tasks.iter().cloned().collect::<BTreeSet<TaskName>>();
    has.recovery == wants.recovery && names(has) == names(wants)
}
