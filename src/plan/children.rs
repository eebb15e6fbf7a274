//! The children of a plan or phase: how far each is, and whose turn it is, kept up to date child by child.
//!
//! A parent's status and its candidates follow from this without a look at every child.

use super::Status;
use std::collections::{BTreeMap, BTreeSet};

/// How many statuses there are.
const STATUSES: usize = 9;

/// The children of one parent, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Children {
    by_key: BTreeMap<usize, Child>,
    /// How many children have each status.
    counts: [usize; STATUSES],
    /// The children whose turn it is, by their status.
    turn: [BTreeSet<usize>; STATUSES],
}

#[derive(Clone, Debug, PartialEq)]
struct Child {
    status: Status,
    /// An operator holds it.
    held: bool,
    /// How many of the children that must be complete before it are not.
    waits_for: usize,
    /// The children that must be complete before it.
    after: Vec<usize>,
    /// The children that wait for it.
    before: Vec<usize>,
}

impl Child {
    /// Whether it may be worked on.
    fn is_in_turn(&self) -> bool {
        !matches!(self.status, Status::Complete | Status::Error) && !self.held && self.waits_for == 0
    }
}

impl Children {
    /// Children with the keys 0 and up, each with its status and whether an operator holds it. `parents` lists, for each,
    /// those that must be complete before it; nothing for those beyond its end.
    pub fn new(children: impl IntoIterator<Item = (Status, bool)>, parents: &[Vec<usize>]) -> Self {
        let mut new = Self::default();
        for (key, (status, held)) in children.into_iter().enumerate() {
            new.insert(key, status, held);
        }
        for (key, parents) in parents.iter().enumerate() {
            // Each counts once, however often it is listed.
            for parent in parents.iter().collect::<BTreeSet<_>>() {
                new.wait(key, *parent);
            }
        }
        new
    }

    fn wait(&mut self, key: usize, parent: usize) {
        let Some(first) = self.by_key.get_mut(&parent) else { return };
        first.before.push(key);
        let open = usize::from(first.status != Status::Complete);
        self.edit(key, |child| {
            child.after.push(parent);
            child.waits_for += open;
        });
    }

    /// Adds a child that waits for no other.
    pub fn insert(&mut self, key: usize, status: Status, held: bool) {
        let child = Child { status, held, waits_for: 0, after: Vec::new(), before: Vec::new() };
        self.recount(key, None, Some((child.status, child.is_in_turn())));
        self.by_key.insert(key, child);
    }

    /// Removes a child that no other waits for.
    pub fn remove(&mut self, key: usize) {
        if let Some(child) = self.by_key.remove(&key) {
            self.recount(key, Some((child.status, child.is_in_turn())), None);
        }
    }

    fn recount(&mut self, key: usize, was: Option<(Status, bool)>, is: Option<(Status, bool)>) {
        if let Some((status, in_turn)) = was {
            self.counts[status as usize] -= 1;
            if in_turn {
                self.turn[status as usize].remove(&key);
            }
        }
        if let Some((status, in_turn)) = is {
            self.counts[status as usize] += 1;
            if in_turn {
                self.turn[status as usize].insert(key);
            }
        }
    }

    /// Changes a child; returns whether that made it its turn, or ended its turn.
    fn edit(&mut self, key: usize, edit: impl FnOnce(&mut Child)) -> bool {
        let Some(child) = self.by_key.get_mut(&key) else { return false };
        let was = (child.status, child.is_in_turn());
        edit(child);
        let now = (child.status, child.is_in_turn());
        self.recount(key, Some(was), Some(now));
        was.1 != now.1
    }

    /// Takes in how far a child is now. Returns the children whose turn has begun or ended by that.
    pub fn set(&mut self, key: usize, status: Status, held: bool) -> Vec<usize> {
        let Some(child) = self.by_key.get(&key).filter(|c| c.status != status || c.held != held) else {
            return Vec::new();
        };
        let was_open = child.status != Status::Complete;
        let open = status != Status::Complete;
        let mut changed = Vec::new();
        if self.edit(key, |child| (child.status, child.held) = (status, held)) {
            changed.push(key);
        }
        if was_open != open {
            let before = self.by_key.get(&key).map(|c| c.before.clone()).unwrap_or_default();
            for next in before {
                let edit = |c: &mut Child| if open { c.waits_for += 1 } else { c.waits_for -= 1 };
                if self.edit(next, edit) {
                    changed.push(next);
                }
            }
        }
        changed
    }

    /// How far a child is.
    pub fn status(&self, key: usize) -> Option<Status> {
        self.by_key.get(&key).map(|c| c.status)
    }

    /// Whether it is a child's turn.
    pub fn is_in_turn(&self, key: usize) -> bool {
        self.by_key.get(&key).is_some_and(Child::is_in_turn)
    }

    /// The children that are not complete and must be before it is another's turn.
    pub fn waits_for(&self, key: usize) -> Vec<usize> {
        let after = self.by_key.get(&key).into_iter().flat_map(|c| &c.after);
        after.copied().filter(|k| self.status(*k).is_some_and(|s| s != Status::Complete)).collect()
    }

    /// The children whose turn it is, in order.
    pub fn in_turn(&self) -> Vec<usize> {
        let mut keys: Vec<usize> = self.turn.iter().flatten().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// The statuses that children have.
    pub fn statuses(&self) -> Vec<Status> {
        Status::ALL.into_iter().filter(|s| self.counts[*s as usize] > 0).collect()
    }

    /// The statuses that children have whose turn it is.
    pub fn statuses_in_turn(&self) -> Vec<Status> {
        Status::ALL.into_iter().filter(|s| !self.turn[*s as usize].is_empty()).collect()
    }

    /// Whether this says what the children are, given by key with their status and whether an operator holds them.
    pub fn check(&self, children: impl Iterator<Item = (usize, Status, bool)>) -> bool {
        let mut anew = Self::default();
        for (key, status, held) in children {
            anew.insert(key, status, held);
        }
        for (key, child) in &self.by_key {
            for parent in &child.after {
                anew.wait(*key, *parent);
            }
        }
        anew == *self
    }
}
