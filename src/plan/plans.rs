//! All plans of a service, and what their steps are about.

use super::{Phase, Plan, Status, Step, StepAt, Subject, Work};
use std::collections::{BTreeMap, BTreeSet};

/// Where a step is among all plans. The order is that in which steps get offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepRef {
    /// The plan's position.
    pub plan: usize,
    /// Where in it.
    pub at: StepAt,
}

/// All plans of a service, those that come first being the more important ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plans {
    plans: Vec<Plan>,
    about: BTreeMap<Subject, BTreeSet<StepRef>>,
}

impl Plans {
    /// Adds a plan behind the others.
    pub fn push(&mut self, plan: Plan) {
        let position = self.plans.len();
        for (at, step) in plan.places().zip(plan.steps()) {
            self.about.entry(step.subject()).or_default().insert(StepRef { plan: position, at });
        }
        self.plans.push(plan);
    }

    /// The plans, in order.
    pub fn as_slice(&self) -> &[Plan] {
        &self.plans
    }

    /// The position of the plan called `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.plans.iter().position(|p| p.name == name)
    }

    /// The plan at a position.
    pub fn get_mut(&mut self, plan: usize) -> Option<&mut Plan> {
        self.plans.get_mut(plan)
    }

    /// A step.
    pub fn step(&self, of: StepRef) -> Option<&Step> {
        self.plans.get(of.plan)?.step(of.at)
    }

    /// Changes a step.
    pub fn change<R>(&mut self, of: StepRef, change: impl FnOnce(&mut Step) -> R) -> Option<R> {
        self.plans.get_mut(of.plan)?.change(of.at, change)
    }

    /// The steps that are about something, in order.
    pub fn about<'a>(&'a self, subject: &Subject) -> impl Iterator<Item = StepRef> + use<'a> {
        self.about.get(subject).into_iter().flatten().copied()
    }

    /// Adds a phase behind the others of a plan, which waits for none of them.
    pub fn add_phase(&mut self, plan: usize, phase: Phase) {
        let Some(to) = self.plans.get_mut(plan) else { return };
        let subjects: Vec<Subject> = phase.steps().iter().map(Step::subject).collect();
        let key = to.add(phase);
        for (step, subject) in subjects.into_iter().enumerate() {
            let at = StepAt { phase: key, step };
            self.about.entry(subject).or_default().insert(StepRef { plan, at });
        }
    }

    /// Removes a phase that no other waits for.
    pub fn remove_phase(&mut self, plan: usize, key: usize) {
        let Some(phase) = self.plans.get_mut(plan).and_then(|p| p.remove(key)) else { return };
        for (step, subject) in phase.steps().iter().map(Step::subject).enumerate() {
            let Some(about) = self.about.get_mut(&subject) else { continue };
            about.remove(&StepRef { plan, at: StepAt { phase: key, step } });
            if about.is_empty() {
                self.about.remove(&subject);
            }
        }
    }

    /// Lets time pass: steps whose delay is over are to be done again.
    pub fn advance(&mut self, now: f64) {
        for plan in &mut self.plans {
            plan.advance(now);
        }
    }

    /// The steps whose status has changed, or whose turn it may have become or ceased to be, since this was last called;
    /// steps that no longer exist among them.
    pub fn take_touched(&mut self) -> Vec<StepRef> {
        let of_plan = |(plan, p): (usize, &mut Plan)| {
            std::mem::take(&mut p.touched).into_iter().map(move |at| StepRef { plan, at })
        };
        self.plans.iter_mut().enumerate().flat_map(of_plan).collect()
    }

    /// Whether it is a step's turn in its plan.
    pub fn is_in_turn(&self, of: StepRef) -> bool {
        self.plans.get(of.plan).is_some_and(|p| p.is_in_turn(of.at))
    }

    /// Whether a step is to be worked on now: it is its turn, it is not under way already, and no other plan is working on
    /// the same tasks.
    pub fn is_candidate(&self, of: StepRef) -> bool {
        let Some(step) = self.step(of).filter(|_| self.is_in_turn(of)) else { return false };
        match &step.work {
            Work::Launch { .. } => {
                matches!(step.status(), Status::Pending | Status::Prepared) && self.blocked_by(of).is_none()
            }
            _ => true,
        }
    }

    /// The plan that is launching a step's tasks, or others with the same resources. Of two steps that look for an offer, the
    /// first goes on. What the first has launched is left to it until it is ready, too, and so is what uses the same resources
    /// until it has finished: in the SDK each would end what the other has launched, for ever.
    pub fn blocked_by(&self, of: StepRef) -> Option<&Plan> {
        let step = self.step(of)?;
        let requirement = step.requirement()?;
        let others = self.about(&Subject::Pod(requirement.instance())).filter(|other| *other != of);
        let blocking = others.filter_map(|other| {
            let plan = self.plans.get(other.plan).filter(|p| !p.is_interrupted())?;
            let theirs = plan.step(other.at)?;
            let wanted = theirs.requirement()?;
            let (same, near) = (wanted.shares_tasks(requirement), wanted.shares_resources(requirement));
            let busy = match theirs.status() {
                Status::Starting => true,
                Status::Prepared => step.status() != Status::Prepared || other < of,
                Status::Started => other.plan < of.plan || !same,
                _ => false,
            };
            (busy && (same || near)).then_some(plan)
        });
        blocking.into_iter().next()
    }

    /// Whether a reservation is to be given back now: the tasks that were to end before have ended.
    pub fn is_to_unreserve(&self, resource_id: &str) -> bool {
        let mut about = self.about(&Subject::Resource(resource_id.to_owned()));
        about.any(|of| {
            let Some(plan) = self.plans.get(of.plan).filter(|p| !p.is_interrupted()) else { return false };
            let open = plan.step(of.at).is_some_and(|s| s.status() != Status::Complete);
            let phase = plan.phase(of.at.phase).filter(|p| !p.has_open_kills());
            open && phase.is_some() && plan.is_phase_in_turn(of.at.phase)
        })
    }

    /// Whether everything that follows from the steps says what they say, found by deriving all of it anew.
    pub fn check(&self) -> Result<(), String> {
        let mut about = BTreeMap::<Subject, BTreeSet<StepRef>>::new();
        for (position, plan) in self.plans.iter().enumerate() {
            plan.check()?;
            for (at, step) in plan.places().zip(plan.steps()) {
                about.entry(step.subject()).or_default().insert(StepRef { plan: position, at });
            }
        }
        if about == self.about {
            Ok(())
        } else {
            Err("steps are not found by what they are about".to_owned())
        }
    }
}
