//! Virtual time: what is to happen, ordered by when.

use std::collections::BTreeMap;

/// What is to happen, and when; of things at the same time the one that was added first comes first.
#[derive(Clone, Debug)]
pub struct Queue<T> {
    entries: BTreeMap<(u64, u64), T>,
    added: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), added: 0 }
    }
}

/// Microseconds, in which time is compared.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates; simulations last days
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round().max(0.0) as u64
}

impl<T> Queue<T> {
    /// Lets something happen at a time, in seconds.
    pub fn add(&mut self, at: f64, what: T) {
        self.added += 1;
        self.entries.insert((micros(at), self.added), what);
    }

    /// When the next thing happens, in seconds.
    pub fn next_at(&self) -> Option<f64> {
        self.entries.first_key_value().map(|((at, _), _)| *at as f64 / 1e6)
    }

    /// Takes the next thing out.
    pub fn pop(&mut self) -> Option<(f64, T)> {
        self.entries.pop_first().map(|((at, _), what)| (at as f64 / 1e6, what))
    }

    /// What is still to happen, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_the_order_of_time_and_else_in_the_order_in_which_they_were_added() {
        let mut queue = Queue::default();
        for (at, what) in [(2.0, 'c'), (0.5, 'a'), (2.0, 'd'), (1.0, 'b')] {
            queue.add(at, what);
        }
        assert_eq!(queue.next_at(), Some(0.5));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
