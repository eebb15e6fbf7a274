//! The statuses of plans, phases and steps, and how a parent's follows from its children's.

use serde::{Deserialize, Serialize};

/// How far a plan, phase or step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It can't go on; its errors say why.
    Error,
    /// An operator must let it continue.
    Waiting,
    /// Not begun, or to be done again.
    Pending,
    /// Looking for an offer.
    Prepared,
    /// Launched; nothing heard from the task yet.
    Starting,
    /// Running, but not yet ready or not yet finished.
    Started,
    /// Its goal is reached.
    Complete,
    /// Some children are done and others are not.
    InProgress,
    /// It failed and waits before it is tried again.
    Delayed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Error,
        Self::Waiting,
        Self::Pending,
        Self::Prepared,
        Self::Starting,
        Self::Started,
        Self::Complete,
        Self::InProgress,
        Self::Delayed,
    ];

    /// Whether something is under way.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Prepared | Self::Starting | Self::Started | Self::InProgress)
    }

    /// The name in API answers, `IN_PROGRESS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Waiting => "WAITING",
            Self::Pending => "PENDING",
            Self::Prepared => "PREPARED",
            Self::Starting => "STARTING",
            Self::Started => "STARTED",
            Self::Complete => "COMPLETE",
            Self::InProgress => "IN_PROGRESS",
            Self::Delayed => "DELAYED",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A parent's status from `all` its children's, those of its `candidates`, whether it or a child `has_errors`, and
/// whether the parent itself is `interrupted`. The order of the rules is the Mesosphere SDK's: the first that matches
/// decides, and operators' tools rely on it.
pub fn aggregate(all: &[Status], candidates: &[Status], has_errors: bool, interrupted: bool) -> Status {
    use Status::{Complete, Delayed, Error, InProgress, Pending, Prepared, Started, Starting, Waiting};
    let any = |s: Status| all.contains(&s);
    let candidate = |s: Status| candidates.contains(&s);
    if has_errors || any(Error) {
        return Error;
    }
    if all.iter().all(|s| *s == Complete) {
        return Complete;
    }
    if interrupted {
        return Waiting;
    }
    if all.iter().chain(candidates).all(|s| *s == Delayed) {
        return Delayed;
    }
    if any(Prepared) {
        return InProgress;
    }
    if candidate(Waiting) {
        return Waiting;
    }
    if candidate(InProgress) || any(Complete) && [Pending, Starting, Started].into_iter().any(candidate) {
        return InProgress;
    }
    if candidate(Pending) {
        return Pending;
    }
    if any(Waiting) {
        return Waiting;
    }
    if candidate(Starting) {
        return Starting;
    }
    if candidate(Started) {
        return Started;
    }
    // A running child whose pod is claimed by another plan is no candidate; the SDK logs this as unexpected and shows
    // ERROR, which alarms without cause. What the children do is shown instead.
    [InProgress, Started, Starting, Delayed, Pending].into_iter().find(|s| any(*s)).unwrap_or(Error)
}

#[cfg(test)]
mod tests {
    use super::Status::{
        Complete, Delayed, Error, InProgress, Pending, Prepared, Started, Starting, Waiting,
    };
    use super::*;

    #[test]
    fn the_first_matching_rule_decides() {
        type Case = (&'static [Status], &'static [Status], bool, bool, Status);
        let table: &[Case] = &[
            (&[], &[], false, false, Complete),
            (&[], &[], true, false, Error),
            (&[Complete, Error], &[], false, false, Error),
            (&[Complete, Complete], &[], false, true, Complete),
            (&[Pending, Complete], &[Pending], false, true, Waiting),
            (&[Delayed, Delayed], &[Delayed], false, false, Delayed),
            (&[Prepared, Pending], &[Prepared], false, false, InProgress),
            (&[Waiting, Pending], &[Waiting], false, false, Waiting),
            (&[InProgress, Pending], &[InProgress], false, false, InProgress),
            (&[Complete, Pending], &[Pending], false, false, InProgress),
            (&[Complete, Starting], &[Starting], false, false, InProgress),
            (&[Complete, Started], &[Started], false, false, InProgress),
            (&[Pending, Pending], &[Pending], false, false, Pending),
            (&[Starting, Waiting], &[Starting], false, false, Waiting),
            (&[Starting, Pending], &[Starting], false, false, Starting),
            (&[Started, Pending], &[Started], false, false, Started),
        ];
        for (all, candidates, errors, interrupted, want) in table {
            assert_eq!(aggregate(all, candidates, *errors, *interrupted), *want, "{all:?} {candidates:?}");
        }
    }
}
