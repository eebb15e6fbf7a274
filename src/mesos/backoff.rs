//! How long to wait before the next try.

use std::time::Duration;

/// Pauses that double up to a limit, each shortened by a random part, so that schedulers that lost the same master
/// do not all come back in the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` up to `limit`.
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    /// The next pause: between half of the current step and all of it. The step doubles.
    pub fn next_pause(&mut self) -> Duration {
        let step = self.next.min(self.limit);
        self.next = step.saturating_mul(2).min(self.limit);
        // Without random bytes the pause is still right, only not spread.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        let half = step / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Begins anew, after a success that lasted.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

impl Default for Backoff {
    /// From half a second up to half a minute.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for step in [1, 2, 4, 8, 10, 10, 10] {
            let pause = backoff.next_pause();
            let step = Duration::from_secs(step);
            assert!(step / 2 <= pause && pause <= step, "{pause:?} for {step:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_secs(1));
    }

    #[test]
    fn pauses_of_two_schedulers_differ() {
        let pauses = || {
            let mut backoff = Backoff::default();
            (0..8).map(|_| backoff.next_pause()).collect::<Vec<_>>()
        };
        assert_ne!(pauses(), pauses());
    }
}
