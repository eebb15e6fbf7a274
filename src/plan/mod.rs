//! Plans, phases and steps: what is to be done, in what order, and how far it is.
//!
//! Pure data with the status and ordering rules of the Mesosphere SDK. Which offers steps get and what their tasks
//! report is `scheduler`'s business; HTTP shapes are `api`'s.
//!
//! Steps change only through their plan ([`Plan::change`]), and plans of a service are kept together ([`Plans`]). So what
//! follows from the steps (statuses, whose turn it is, which steps a task concerns) is brought up to date with each
//! change, and neither an event nor a question costs more when there are more steps.

mod build;
mod children;
mod due;
mod phase;
mod plans;
mod status;
mod step;
mod strategy;
#[cfg(test)]
mod tests;

pub use build::{BuildError, default_deploy, from_spec};
pub use due::Due;
pub use phase::Phase;
pub use plans::{Plans, StepRef};
pub use status::{Status, aggregate};
pub use step::{PodInstance, Recovery, Requirement, Step, Subject, TaskProgress, Work};
pub use strategy::{Order, Strategy};

use children::Children;
use std::collections::{BTreeMap, BTreeSet};

/// Where a step is in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepAt {
    /// The phase's key in the plan.
    pub phase: usize,
    /// The step's position in the phase.
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

/// A plan: phases in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The plan's name.
    pub name: String,
    /// Why the whole plan can't be done, for instance a refused config update.
    pub errors: Vec<String>,
    /// The phases by key: their positions when the plan was made, higher ones for those that came later.
    phases: BTreeMap<usize, Phase>,
    next_key: usize,
    strategy: Strategy,
    /// What follows from the phases: how far each is and whose turn it is.
    children: Children,
    /// Steps with a delay, and when it ends.
    delayed: Due<StepAt>,
    /// Steps whose status has changed, or whose turn it may have become or ceased to be, since this was last asked for.
    touched: BTreeSet<StepAt>,
}

impl Plan {
    /// A plan whose phases have yet to be done. A serial order is fixed by this.
    pub fn new(name: impl Into<String>, phases: Vec<Phase>, order: Order) -> Self {
        let parents = order.parents(phases.iter().map(Phase::status));
        let children = Children::new(phases.iter().map(|p| (p.status(), p.is_interrupted())), &parents);
        let next_key = phases.len();
        let mut plan = Self {
            name: name.into(),
            errors: Vec::new(),
            phases: phases.into_iter().enumerate().collect(),
            next_key,
            strategy: Strategy::new(order),
            children,
            delayed: Due::default(),
            touched: BTreeSet::new(),
        };
        plan.touch_all();
        plan
    }

    /// How far it is, as of the last [`Plan::advance`].
    pub fn status(&self) -> Status {
        let (all, in_turn) = (self.children.statuses(), self.children.statuses_in_turn());
        aggregate(&all, &in_turn, !self.errors.is_empty(), self.strategy.interrupted)
    }

    /// The phases, in order.
    pub fn phases(&self) -> impl ExactSizeIterator<Item = &Phase> {
        self.phases.values()
    }

    /// The phases with their keys, in order.
    pub fn keyed_phases(&self) -> impl Iterator<Item = (usize, &Phase)> {
        self.phases.iter().map(|(key, phase)| (*key, phase))
    }

    /// A phase by its key.
    pub fn phase(&self, key: usize) -> Option<&Phase> {
        self.phases.get(&key)
    }

    /// Its steps, phase by phase.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.phases.values().flat_map(Phase::steps)
    }

    /// The places of its steps, phase by phase.
    pub fn places(&self) -> impl Iterator<Item = StepAt> {
        let of = |(phase, p): (&usize, &Phase)| {
            let phase = *phase;
            (0..p.steps().len()).map(move |step| StepAt { phase, step })
        };
        self.phases.iter().flat_map(of)
    }

    /// The step at a place.
    pub fn step(&self, at: StepAt) -> Option<&Step> {
        self.phases.get(&at.phase)?.steps().get(at.step)
    }

    /// The order's name, as the API shows it.
    pub fn strategy_name(&self) -> &'static str {
        self.strategy.name()
    }

    /// Whether it waits for an operator.
    pub fn is_interrupted(&self) -> bool {
        self.strategy.interrupted
    }

    /// Whether it is a step's turn: it isn't complete, nothing that it waits for is open, and no operator holds it.
    pub fn is_in_turn(&self, at: StepAt) -> bool {
        self.is_phase_in_turn(at.phase) && self.phases.get(&at.phase).is_some_and(|p| p.is_in_turn(at.step))
    }

    /// The phases that must be complete before it is a phase's turn, and are not.
    pub fn waits_for(&self, phase: usize) -> Vec<&Phase> {
        self.children.waits_for(phase).into_iter().filter_map(|key| self.phases.get(&key)).collect()
    }

    /// Whether it is a phase's turn.
    pub fn is_phase_in_turn(&self, key: usize) -> bool {
        !self.strategy.interrupted && self.children.is_in_turn(key)
    }

    /// Its own errors and those of all below it.
    pub fn all_errors(&self) -> Vec<String> {
        self.errors.iter().chain(self.phases.values().flat_map(Phase::all_errors)).cloned().collect()
    }

    /// Changes a step, which is the only way to do so.
    pub fn change<R>(&mut self, at: StepAt, change: impl FnOnce(&mut Step) -> R) -> Option<R> {
        let phase = self.phases.get_mut(&at.phase)?;
        let (result, touched) = phase.change(at.step, change)?;
        match phase.steps().get(at.step).and_then(Step::delayed_until) {
            Some(until) => self.delayed.set(at, until),
            None => {
                self.delayed.remove(&at);
            }
        }
        self.touched.extend(touched.into_iter().map(|step| StepAt { step, ..at }));
        self.look_at(at.phase);
        Some(result)
    }

    /// Changes all steps.
    fn change_all(&mut self, mut change: impl FnMut(&mut Step)) {
        for at in self.places().collect::<Vec<_>>() {
            self.change(at, &mut change);
        }
    }

    /// Takes in how far a phase is now.
    fn look_at(&mut self, key: usize) {
        let Some(phase) = self.phases.get(&key) else { return };
        for turned in self.children.set(key, phase.status(), phase.is_interrupted()) {
            self.touch(turned);
        }
    }

    fn touch(&mut self, key: usize) {
        let in_turn = self.phases.get(&key).map(Phase::in_turn).unwrap_or_default();
        self.touched.extend(in_turn.into_iter().map(|step| StepAt { phase: key, step }));
    }

    fn touch_all(&mut self) {
        for key in self.phases.keys().copied().collect::<Vec<_>>() {
            self.touch(key);
        }
    }

    /// Lets time pass: steps whose delay is over are to be done again.
    pub(super) fn advance(&mut self, now: f64) {
        while let Some(at) = self.delayed.pop(now) {
            self.change(at, |step| step.wake(now));
        }
    }

    /// Adds a phase behind the others, which waits for none of them, and gives its key.
    fn add(&mut self, phase: Phase) -> usize {
        let key = self.next_key;
        self.next_key += 1;
        self.children.insert(key, phase.status(), phase.is_interrupted());
        self.touched.extend((0..phase.steps().len()).map(|step| StepAt { phase: key, step }));
        self.phases.insert(key, phase);
        key
    }

    /// Removes a phase that no other waits for.
    fn remove(&mut self, key: usize) -> Option<Phase> {
        let phase = self.phases.remove(&key)?;
        self.children.remove(key);
        for step in 0..phase.steps().len() {
            let at = StepAt { phase: key, step };
            self.delayed.remove(&at);
            self.touched.insert(at);
        }
        Some(phase)
    }

    /// Starts it with these parameters; a complete plan is done again.
    pub fn start(&mut self, parameters: &BTreeMap<String, String>) {
        self.change_all(|step| {
            if let Work::Launch { requirement, .. } = &mut step.work {
                requirement.env.clone_from(parameters);
            }
        });
        if self.status() == Status::Complete {
            self.restart();
        }
        self.proceed();
    }

    /// Interrupts it and makes everything be done again; tasks that run are left alone.
    pub fn stop(&mut self) {
        self.interrupt();
        self.restart();
    }

    /// Makes all its steps be done again.
    pub fn restart(&mut self) {
        self.change_all(Step::restart);
    }

    /// Makes all its steps count as done.
    pub fn finish(&mut self) {
        self.change_all(Step::force_complete);
    }

    /// Lets it go on; what is held below it stays so.
    pub fn proceed(&mut self) {
        self.strategy.interrupted = false;
        self.touch_all();
    }

    /// Makes it wait for an operator.
    pub fn interrupt(&mut self) {
        self.strategy.interrupted = true;
        self.touch_all();
    }

    /// Lets a phase go on; releases one canary step where there are any.
    pub fn proceed_phase(&mut self, key: usize) {
        let released = self.change_phase(key, Phase::proceed).flatten();
        self.touched.extend(released.map(|step| StepAt { phase: key, step }));
    }

    /// Makes a phase wait for an operator, unless it does so already for its canary steps.
    pub fn interrupt_phase(&mut self, key: usize) {
        self.change_phase(key, Phase::interrupt);
    }

    /// Does no longer make a phase wait; its canary steps do.
    pub fn resume_phase(&mut self, key: usize) {
        self.change_phase(key, Phase::resume);
    }

    fn change_phase<R>(&mut self, key: usize, change: impl FnOnce(&mut Phase) -> R) -> Option<R> {
        self.touch(key);
        let result = self.phases.get_mut(&key).map(change);
        self.look_at(key);
        self.touch(key);
        result
    }

    /// Whether all that follows from the steps says what they say.
    fn check(&self) -> Result<(), String> {
        let mut delayed = Due::default();
        for (at, step) in self.places().zip(self.steps()) {
            if let Some(until) = step.delayed_until() {
                delayed.set(at, until);
            }
        }
        self.phases.values().try_for_each(Phase::check)?;
        let phases = self.phases.iter().map(|(key, p)| (*key, p.status(), p.is_interrupted()));
        if self.children.check(phases) && delayed == self.delayed {
            Ok(())
        } else {
            Err(format!("plan {} does not know how its phases are", self.name))
        }
    }
}
