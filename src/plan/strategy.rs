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

impl Order {
    /// What each child waits for, given how far the children are when they are looked at first. As in the SDK, those that
    /// are complete then are no links of a serial chain: nothing waits for them, should they be done again.
    pub(super) fn parents(&self, statuses: impl Iterator<Item = Status>) -> Vec<Vec<usize>> {
        match self {
            Self::Parallel => Vec::new(),
            Self::Dependency(parents) => parents.clone(),
            Self::Serial => {
                let mut last = None;
                let link = |(at, status)| match status {
                    Status::Complete => Vec::new(),
                    _ => last.replace(at).into_iter().collect(),
                };
                statuses.enumerate().map(link).collect()
            }
        }
    }
}

/// The order of children, and whether an operator holds them.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy {
    /// The order.
    pub(super) order: Order,
    /// Nothing new is begun until an operator says so.
    pub(super) interrupted: bool,
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
    pub fn canary(order: Order, steps: &mut [Step]) -> Self {
        let open =
            steps.iter().enumerate().filter(|(_, s)| matches!(s.status(), Status::Pending | Status::Waiting));
        let canaries: Vec<usize> = open.map(|(i, _)| i).take(CANARIES).collect();
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

    /// The canary steps, released or not.
    pub(super) fn canaries(&self) -> &[usize] {
        self.canaries.as_deref().unwrap_or_default()
    }

    /// The canary step that an operator releases next.
    pub(super) fn held_canary(&self, steps: &[Step]) -> Option<usize> {
        self.canaries().iter().copied().find(|&i| steps.get(i).is_some_and(|s| s.interrupted))
    }

    /// Whether the children wait for an operator. A phase with canary steps left does, unless a released one is still
    /// on its way.
    pub(super) fn is_interrupted(&self, steps: &[Step]) -> bool {
        if self.held_canary(steps).is_none() {
            return self.interrupted;
        }
        let released = self.canaries().iter().filter_map(|&i| steps.get(i)).filter(|s| !s.interrupted);
        released.map(Step::status).all(|s| s == Status::Complete)
    }
}
