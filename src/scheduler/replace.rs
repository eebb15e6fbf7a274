//! Pods that stay down for long are replaced without an operator, where the service asks for that.
//!
//! The time counts for each task from when it went down, and is noted with the task: a scheduler that starts anew does not
//! begin to count again.

use super::{Scheduler, Task};
use crate::plan::{Due, PodInstance};

/// The task instances that are down, and when their pod instances are replaced.
#[derive(Clone, Debug)]
pub(super) struct Replacements {
    due: Due<String>,
    /// Seconds; when the last pod instance was replaced.
    last: f64,
}

impl Default for Replacements {
    fn default() -> Self {
        Self { due: Due::default(), last: f64::NEG_INFINITY }
    }
}

impl Scheduler {
    /// Notes since when tasks of a pod instance are down.
    pub(super) fn note_failures(&mut self, now: f64, pod: &PodInstance) {
        let Some(policy) = self.service.spec.replacement_failure_policy else { return };
        let down: Vec<_> = self.tasks.of_pod(pod).filter(|t| self.stays_down(t)).cloned().collect();
        for task in down {
            let instance = task.instance();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // whole seconds since 1970
            let since = task.notes.failed_at.unwrap_or(now.max(0.0) as u64);
            if task.notes.failed_at.is_none() {
                self.tasks.change(&instance, |task| task.notes.failed_at = Some(since));
                self.write_notes(&instance);
            }
            if self.replacements.due.get(&instance).is_none() {
                let until = since as f64 + f64::from(policy.permanent_failure_timeout_secs);
                self.replacements.due.set(instance, until.max(now));
            }
        }
    }

    /// Whether a task is down and not given up yet. One that an operator has just ended comes back by itself.
    fn stays_down(&self, task: &Task) -> bool {
        self.has_failed(task) && !task.notes.permanently_failed
    }

    /// Gives up pod instances that are down for too long. What tasks are like is only known once the master was asked.
    pub(super) fn replace_what_stays_down(&mut self, now: f64) {
        let Some(policy) = self.service.spec.replacement_failure_policy else { return };
        if self.reconciling.is_open() {
            return;
        }
        let next = self.replacements.last + f64::from(policy.min_replace_delay_secs);
        while let Some(instance) = self.replacements.due.pop(now) {
            let Some(task) = self.tasks.get(&instance).filter(|t| self.stays_down(t)) else { continue };
            if now < next {
                return self.replacements.due.set(instance, next);
            }
            let pod = task.pod_instance();
            self.replacements.last = now;
            self.give_up_pod(&pod);
            if policy.min_replace_delay_secs > 0 {
                return;
            }
        }
    }

    /// In how many seconds a pod instance is replaced, if it stays down.
    pub(super) fn replaced_in(&self, now: f64, pod: &PodInstance) -> Option<f64> {
        let due = self.tasks.of_pod(pod).filter_map(|t| self.replacements.due.get(t.instance().as_str()));
        due.reduce(f64::min).map(|at| (at - now).max(0.0))
    }
}
