//! Phases: steps in an order.

use super::children::Children;
use super::{Status, Step, Strategy, Work, aggregate};

/// A phase: steps in an order. Its steps change only through the plan that it is part of.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// A UUID, new at each start of the scheduler.
    pub id: String,
    /// The phase's name.
    pub name: String,
    /// Why the phase can't be done.
    pub errors: Vec<String>,
    steps: Vec<Step>,
    strategy: Strategy,
    /// What follows from the steps: how far each is and whose turn it is.
    children: Children,
    /// How many tasks it has yet to end.
    open_kills: usize,
}

fn is_open_kill(step: &Step) -> bool {
    matches!(step.work, Work::Kill { .. }) && step.status() != Status::Complete
}

impl Phase {
    /// A phase whose steps have yet to be done.
    pub fn new(id: String, name: impl Into<String>, steps: Vec<Step>, strategy: Strategy) -> Self {
        let mut phase = Self {
            id,
            name: name.into(),
            errors: Vec::new(),
            steps,
            strategy,
            children: Children::default(),
            open_kills: 0,
        };
        phase.look_anew();
        phase
    }

    /// Derives what follows from the steps. A serial order is fixed by this.
    pub(super) fn look_anew(&mut self) {
        let parents = self.strategy.order.parents(self.steps.iter().map(Step::status));
        self.children = Children::new(self.steps.iter().map(|s| (s.status(), s.interrupted)), &parents);
        self.open_kills = self.steps.iter().filter(|s| is_open_kill(s)).count();
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The order's name, as the API shows it.
    pub fn strategy_name(&self) -> &'static str {
        self.strategy.name()
    }

    /// Whether it waits for an operator.
    pub fn is_interrupted(&self) -> bool {
        self.strategy.is_interrupted(&self.steps)
    }

    /// Whether it has tasks yet to end.
    pub fn has_open_kills(&self) -> bool {
        self.open_kills > 0
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        let in_turn = match self.strategy.held_canary(&self.steps) {
            None => self.children.statuses_in_turn(),
            Some(_) => {
                self.in_turn().into_iter().filter_map(|i| self.steps.get(i)).map(Step::status).collect()
            }
        };
        aggregate(&self.children.statuses(), &in_turn, !self.errors.is_empty(), self.is_interrupted())
    }

    /// Whether it is a step's turn, as far as the phase's own order goes.
    pub fn is_in_turn(&self, step: usize) -> bool {
        match self.strategy.held_canary(&self.steps) {
            None => self.children.is_in_turn(step),
            Some(_) => self.is_released_canary(step),
        }
    }

    fn is_released_canary(&self, step: usize) -> bool {
        self.strategy.canaries().contains(&step)
            && self
                .steps
                .get(step)
                .is_some_and(|s| !s.interrupted && !matches!(s.status(), Status::Complete | Status::Error))
    }

    /// The steps whose turn it is, in order.
    pub(super) fn in_turn(&self) -> Vec<usize> {
        match self.strategy.held_canary(&self.steps) {
            None => self.children.in_turn(),
            Some(_) => {
                self.strategy.canaries().iter().copied().filter(|i| self.is_released_canary(*i)).collect()
            }
        }
    }

    /// The steps that must be complete before it is a step's turn, and are not.
    pub fn waits_for(&self, step: usize) -> Vec<&Step> {
        let first = match self.strategy.held_canary(&self.steps) {
            None => self.children.waits_for(step),
            Some(_) => self.in_turn(),
        };
        first.into_iter().filter_map(|i| self.steps.get(i)).collect()
    }

    /// Its own errors and its steps'.
    pub fn all_errors(&self) -> impl Iterator<Item = &String> {
        self.errors.iter().chain(self.steps.iter().flat_map(|s| &s.errors))
    }

    /// Changes a step. Also gives the steps that it may have made somebody's turn, or not any more.
    pub(super) fn change<R>(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut Step) -> R,
    ) -> Option<(R, Vec<usize>)> {
        let step = self.steps.get_mut(at)?;
        let was = (step.status(), is_open_kill(step));
        let result = change(step);
        let (status, held) = (step.status(), step.interrupted);
        self.open_kills -= usize::from(was.1);
        self.open_kills += usize::from(is_open_kill(step));
        let mut touched = self.children.set(at, status, held);
        if was.0 != status {
            touched.push(at);
        }
        Some((result, touched))
    }

    /// Lets it go on; releases one canary step where there are any, and gives its position.
    pub(super) fn proceed(&mut self) -> Option<usize> {
        let Some(canary) = self.strategy.held_canary(&self.steps) else {
            self.strategy.interrupted = false;
            return None;
        };
        self.change(canary, |step| step.interrupted = false);
        if self.strategy.held_canary(&self.steps).is_none() {
            // From here on the order rules, and it is looked at for the first time.
            self.look_anew();
        }
        Some(canary)
    }

    /// Makes it wait for an operator, unless it does so already for its canary steps.
    pub(super) fn interrupt(&mut self) {
        if self.strategy.held_canary(&self.steps).is_none() {
            self.strategy.interrupted = true;
        }
    }

    /// Does no longer make it wait, canary steps aside.
    pub(super) fn resume(&mut self) {
        self.strategy.interrupted = false;
    }

    /// Whether all that follows from the steps says what they say.
    pub(super) fn check(&self) -> Result<(), String> {
        let children = self.steps.iter().enumerate().map(|(i, s)| (i, s.status(), s.interrupted));
        let kills = self.steps.iter().filter(|s| is_open_kill(s)).count();
        if self.children.check(children) && kills == self.open_kills {
            Ok(())
        } else {
            Err(format!("phase {} does not know how its steps are", self.name))
        }
    }
}
