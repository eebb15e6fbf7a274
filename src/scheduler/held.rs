//! What holds a step back that is not being worked on: an operator, another plan, or what has to be done before.

use super::Scheduler;
use crate::plan::{Plan, Status, StepRef, Work};

/// How many names of steps or phases are shown to a person.
const SHOWN: usize = 5;

impl Scheduler {
    /// Why a step that nothing else is known about does not go on.
    pub(super) fn held_back(&self, of: StepRef) -> Option<String> {
        let plan = self.plans.as_slice().get(of.plan)?;
        let (phase, step) = (plan.phase(of.at.phase)?, plan.step(of.at)?);
        if step.status() == Status::Complete {
            return None;
        }
        if plan.is_interrupted() {
            return Some(format!("plan {} waits for an operator", plan.name));
        }
        if step.interrupted || phase.is_interrupted() {
            return Some(format!("phase {} waits for an operator", phase.name));
        }
        if let Some(Plan { name, .. }) = self.plans.blocked_by(of) {
            return Some(format!("plan {name} works on the same tasks"));
        }
        if !plan.is_phase_in_turn(of.at.phase) {
            let first = plan.waits_for(of.at.phase);
            return Some(format!("waits for phase {}", names(first.iter().map(|p| p.name.as_str()))));
        }
        if !phase.is_in_turn(of.at.step) {
            let first = phase.waits_for(of.at.step);
            return Some(format!("waits for step {}", names(first.iter().map(|s| s.name.as_str()))));
        }
        if matches!(step.work, Work::Deregister) && !self.leaving {
            return Some("waits for offers of what may still be reserved".to_owned());
        }
        Some(own_work(&step.work))
    }
}

/// Names as a text, the first few of many.
fn names<'a>(all: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = all.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = all.take(SHOWN).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// What a step waits for whose turn it is.
fn own_work(work: &Work) -> String {
    match work {
        Work::Launch { .. } => "waits for the next offers".to_owned(),
        Work::Kill { task } => format!("waits for {task} to end"),
        Work::Unreserve { resource_id, .. } => format!("waits for an offer of reservation {resource_id}"),
        Work::Erase { task } => format!("waits for {task} to be forgotten"),
        Work::Deregister => "waits for the master to remove the framework".to_owned(),
    }
}
