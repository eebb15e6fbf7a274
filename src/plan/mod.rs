//! Plans, phases and steps: what is to be done, in what order, and how far it is.
//!
//! Pure data with the status and ordering rules of the Mesosphere SDK. Which offers steps get and what their tasks
//! report is `scheduler`'s business; HTTP shapes are `api`'s.

mod build;
mod status;
mod step;
mod strategy;

pub use build::{BuildError, default_deploy, from_spec};
pub use status::{Status, aggregate};
pub use step::{Recovery, Requirement, Step, TaskProgress, Work};
pub use strategy::{Order, Strategy};

/// A plan: phases in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The plan's name.
    pub name: String,
    /// The phases.
    pub phases: Vec<Phase>,
    /// Their order.
    pub strategy: Strategy,
    /// Why the whole plan can't be done, for instance a refused config update.
    pub errors: Vec<String>,
}

/// A phase: steps in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// A UUID, new at each start of the scheduler.
    pub id: String,
    /// The phase's name.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// Their order.
    pub strategy: Strategy,
    /// Why the phase can't be done.
    pub errors: Vec<String>,
}

/// Where a step is in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepAt {
    /// The phase's position.
    pub phase: usize,
    /// The step's position in it.
    pub step: usize,
}

/// What commands of the same kind answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something.
    Done,
    /// It was so already.
    Already,
}

impl Phase {
    /// A phase whose steps have yet to be done.
    pub fn new(id: String, name: impl Into<String>, steps: Vec<Step>, strategy: Strategy) -> Self {
        Self { id, name: name.into(), steps, strategy, errors: Vec::new() }
    }

    /// How far it is. `dirty` are the requirements that other plans work on.
    pub fn status(&self, now: f64, dirty: &[Requirement]) -> Status {
        let all: Vec<Status> = self.steps.iter().map(|s| s.status(now)).collect();
        let candidates: Vec<Status> =
            self.candidates(now, dirty).into_iter().filter_map(|i| all.get(i).copied()).collect();
        let errors = !self.errors.is_empty();
        aggregate(&all, &candidates, errors, self.strategy.is_interrupted(&self.steps, now))
    }

    /// The steps whose turn it is.
    pub fn candidates(&self, now: f64, dirty: &[Requirement]) -> Vec<usize> {
        let complete: Vec<bool> = self.steps.iter().map(|s| s.status(now) == Status::Complete).collect();
        let mut next = self.strategy.next(&complete, &self.steps);
        next.retain(|&i| {
            self.steps.get(i).is_some_and(|s| {
                !s.interrupted
                    && s.status(now) != Status::Error
                    && s.requirement().is_none_or(|r| !dirty.iter().any(|d| d.conflicts(r)))
            })
        });
        next
    }

    /// Its own errors and its steps'.
    pub fn all_errors(&self) -> impl Iterator<Item = &String> {
        self.errors.iter().chain(self.steps.iter().flat_map(|s| &s.errors))
    }

    /// Lets it go on; releases one canary step where there are any.
    pub fn proceed(&mut self) {
        self.strategy.proceed(&mut self.steps);
    }

    /// Makes it wait for an operator, unless it does so already for its canary steps.
    pub fn interrupt(&mut self) {
        self.strategy.interrupt(&self.steps);
    }
}

impl Plan {
    /// A plan whose phases have yet to be done.
    pub fn new(name: impl Into<String>, phases: Vec<Phase>, order: Order) -> Self {
        Self { name: name.into(), phases, strategy: Strategy::new(order), errors: Vec::new() }
    }

    /// How far it is. `dirty` are the requirements that other plans work on.
    pub fn status(&self, now: f64, dirty: &[Requirement]) -> Status {
        let all: Vec<Status> = self.phases.iter().map(|p| p.status(now, dirty)).collect();
        let complete: Vec<bool> = all.iter().map(|s| *s == Status::Complete).collect();
        let candidates: Vec<Status> =
            self.strategy.next(&complete, &[]).into_iter().filter_map(|i| all.get(i).copied()).collect();
        aggregate(&all, &candidates, !self.errors.is_empty(), self.strategy.interrupted)
    }

    /// The steps whose turn it is, in order; none while the plan is interrupted.
    pub fn candidates(&self, now: f64, dirty: &[Requirement]) -> Vec<StepAt> {
        if self.strategy.interrupted {
            return Vec::new();
        }
        let complete: Vec<bool> =
            self.phases.iter().map(|p| p.status(now, dirty) == Status::Complete).collect();
        let mut found = Vec::new();
        for phase in self.strategy.next(&complete, &[]) {
            let Some(p) = self.phases.get(phase) else { continue };
            if p.strategy.is_interrupted(&p.steps, now) {
                continue;
            }
            found.extend(p.candidates(now, dirty).into_iter().map(|step| StepAt { phase, step }));
        }
        found
    }

    /// The requirements that it works on right now: launches under way.
    pub fn dirty(&self, now: f64) -> Vec<Requirement> {
        if self.strategy.interrupted {
            return Vec::new();
        }
        self.steps()
            .filter(|s| matches!(s.status(now), Status::Prepared | Status::Starting))
            .filter_map(|s| s.requirement().cloned())
            .collect()
    }

    /// Its steps, phase by phase.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.phases.iter().flat_map(|p| &p.steps)
    }

    /// Its steps, phase by phase.
    pub fn steps_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        self.phases.iter_mut().flat_map(|p| &mut p.steps)
    }

    /// The step at a place.
    pub fn step_mut(&mut self, at: StepAt) -> Option<&mut Step> {
        self.phases.get_mut(at.phase)?.steps.get_mut(at.step)
    }

    /// The step at a place.
    pub fn step(&self, at: StepAt) -> Option<&Step> {
        self.phases.get(at.phase)?.steps.get(at.step)
    }

    /// Its own errors and those of all below it.
    pub fn all_errors(&self) -> Vec<String> {
        self.errors.iter().chain(self.phases.iter().flat_map(Phase::all_errors)).cloned().collect()
    }

    /// Starts it with these parameters; a complete plan is done again.
    pub fn start(&mut self, now: f64, parameters: &std::collections::BTreeMap<String, String>) {
        for step in self.steps_mut() {
            if let Work::Launch { requirement, .. } = &mut step.work {
                requirement.env.clone_from(parameters);
            }
        }
        if self.status(now, &[]) == Status::Complete {
            self.restart();
        }
        self.strategy.interrupted = false;
    }

    /// Interrupts it and makes everything be done again; tasks that run are left alone.
    pub fn stop(&mut self) {
        self.strategy.interrupted = true;
        self.restart();
    }

    /// Makes all its steps be done again.
    pub fn restart(&mut self) {
        for step in self.steps_mut() {
            step.restart();
        }
    }
}
