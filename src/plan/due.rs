//! Things that are due at a time.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// Seconds, in order.
#[derive(Clone, Copy, Debug)]
struct At(f64);

impl PartialEq for At {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Keys, each with the time (seconds) at which it is due. What is due is found without a look at what is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Due<K: Ord> {
    at: BTreeMap<K, At>,
    order: BTreeSet<(At, K)>,
}

impl<K: Ord> Default for Due<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Due<K> {
    /// Makes a key due at `at`, instead of when it was due before.
    pub fn set(&mut self, key: K, at: f64) {
        self.remove(&key);
        self.order.insert((At(at), key.clone()));
        self.at.insert(key, At(at));
    }

    /// Forgets a key; returns whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let Some((key, at)) = self.at.remove_entry(key) else { return false };
        self.order.remove(&(at, key))
    }

    /// When a key is due.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<f64>
    where
        K: Borrow<Q>,
    {
        self.at.get(key).map(|at| at.0)
    }

    /// Takes the key out that is due first, if it is due at `now`.
    pub fn pop(&mut self, now: f64) -> Option<K> {
        let (at, _) = self.order.first()?;
        if *at > At(now) {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_when_they_are_due_the_earliest_first_and_once() {
        let mut due = Due::default();
        due.set("late", 9.0);
        due.set("early", 5.0);
        due.set("moved", 1.0);
        due.set("moved", 7.0);
        due.set("gone", 2.0);
        assert!(due.remove("gone") && !due.remove("gone"));
        assert_eq!(due.pop(4.9), None);
        assert_eq!(due.pop(7.0), Some("early"));
        assert_eq!(due.pop(7.0), Some("moved"));
        assert_eq!(due.pop(7.0), None);
        assert_eq!((due.get("late"), due.get("moved")), (Some(9.0), None));
    }
}
