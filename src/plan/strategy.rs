//! In what order the children of a plan or phase are done.

use super::{Status, Step};

/// The order of children.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// One after the other.
    Serial,
    /// All together.
    Parallel,
    /// Each after those that are listed for it, by position.
    Dependency(Vec<Vec<usize>>),
}

/// The order of children, and whether an operator holds them.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy {
    /// The order.
    pub order: Order,
    /// Nothing new is begun until an operator says so.
    pub interrupted: bool,
    /// Steps that an operator releases one by one before the rest follows; by position.
    canaries: Option<Vec<usize>>,
}

/// How many steps of a canary phase wait for an operator.
const CANARIES: usize = 2;

impl Strategy {
    /// Children in this order, not held.
    pub fn new(order: Order) -> Self {
        Self { order, interrupted: false, canaries: None }
    }

    /// Children in this order, the first two open ones held until they are released one by one.
    pub fn canary(order: Order, steps: &mut [Step], now: f64) -> Self {
        let canaries: Vec<usize> = (0..steps.len())
            .filter(|&i| {
                steps.get(i).is_some_and(|s| matches!(s.status(now), Status::Pending | Status::Waiting))
            })
            .take(CANARIES)
            .collect();
        for &i in &canaries {
            if let Some(step) = steps.get_mut(i) {
                step.interrupted = true;
            }
        }
        Self { order, interrupted: false, canaries: Some(canaries) }
    }

    /// The name that the API shows.
    pub fn name(&self) -> &'static str {
        match (&self.order, self.canaries.is_some()) {
            (Order::Serial, false) => "serial",
            (Order::Parallel, false) => "parallel",
            (Order::Dependency(_), false) => "dependency",
            (Order::Serial, true) => "serial-canary",
            (Order::Parallel, true) => "parallel-canary",
            (Order::Dependency(_), true) => "dependency-canary",
        }
    }

    fn held_canaries<'a>(&'a self, steps: &'a [Step]) -> impl Iterator<Item = usize> + 'a {
        self.canaries.iter().flatten().copied().filter(|&i| steps.get(i).is_some_and(|s| s.interrupted))
    }

    /// Whether the children wait for an operator. A phase with canary steps left does, unless a released one is still
    /// on its way.
    pub fn is_interrupted(&self, steps: &[Step], now: f64) -> bool {
        if self.held_canaries(steps).next().is_none() {
            return self.interrupted;
        }
        let released =
            self.canaries.iter().flatten().filter_map(|&i| steps.get(i)).filter(|s| !s.interrupted);
        released.map(|s| s.status(now)).all(|s| s == Status::Complete)
    }

    /// The children whose turn it is, complete ones left out.
    pub fn next(&self, complete: &[bool], steps: &[Step]) -> Vec<usize> {
        let open = |i: &usize| !complete.get(*i).copied().unwrap_or(true);
        if self.held_canaries(steps).next().is_some() {
            let canaries = self.canaries.iter().flatten().copied();
            return canaries.filter(|i| steps.get(*i).is_some_and(|s| !s.interrupted)).filter(open).collect();
        }
        let all = 0..complete.len();
        match &self.order {
            Order::Serial => all.filter(open).take(1).collect(),
            Order::Parallel => all.filter(open).collect(),
            Order::Dependency(parents) => {
                all.filter(open).filter(|i| parents.get(*i).is_none_or(|p| !p.iter().any(open))).collect()
            }
        }
    }

    /// Lets the children go on; while canary steps are held, releases the next of them.
    pub fn proceed(&mut self, steps: &mut [Step]) {
        let next = self.held_canaries(steps).next();
        match next.and_then(|i| steps.get_mut(i)) {
            Some(canary) => canary.interrupted = false,
            None => self.interrupted = false,
        }
    }

    /// Holds the children; of no effect while canary steps are held.
    pub fn interrupt(&mut self, steps: &[Step]) {
        if self.held_canaries(steps).next().is_none() {
            self.interrupted = true;
        }
    }
}
