//! Whether offers are wanted, and how often the master is told so.

use super::Scheduler;
use crate::plan::{Plan, Status};
use crate::wire::{CallType, Roles};

/// What the master was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Offers are wanted.
    Open,
    /// None are wanted.
    Suppressed,
    /// None are wanted, and some came since: they were on their way, or the master has not heard it.
    Doubted,
}

/// Whether offers are wanted, told to the master no more often than it likes: revives come from a bucket of tokens.
#[derive(Clone, Debug)]
pub struct Demand {
    told: Told,
    /// Something was declined for long since offers were last asked for.
    declined: bool,
    /// Offers that were declined are to be made again.
    revive: bool,
    tokens: f64,
    refilled: f64,
    last_revive: f64,
}

/// The SDK's limits: 256 revives at once, another one each 256 seconds, never two within 5 seconds.
const TOKENS: f64 = 256.0;
const SECONDS_PER_TOKEN: f64 = 256.0;
const REVIVE_INTERVAL: f64 = 5.0;

impl Default for Demand {
    fn default() -> Self {
        Self {
            told: Told::Open,
            declined: false,
            revive: false,
            tokens: TOKENS,
            refilled: 0.0,
            last_revive: f64::NEG_INFINITY,
        }
    }
}

impl Demand {
    pub(super) fn subscribed(&mut self) {
        // the subscription itself brings all offers
        self.told = Told::Open;
        self.declined = false;
        self.revive = false;
    }

    /// What the master was told stays said: it may have made these offers before it heard that none are wanted.
    pub(super) fn offers_came(&mut self) {
        if self.is_suppressed() {
            self.told = Told::Doubted;
        }
    }

    /// Whether the master was told that no offers are wanted.
    pub(super) fn is_suppressed(&self) -> bool {
        self.told != Told::Open
    }

    /// The master may not have heard that offers are wanted again.
    pub(super) fn was_not_heard(&mut self) {
        self.revive = true;
    }

    /// Offers were declined for so long that they may be missed.
    pub(super) fn declined_for_long(&mut self) {
        self.declined = true;
    }

    /// There is work for which offers that were declined, or not made, may be of use.
    pub(super) fn work_came(&mut self) {
        self.revive |= self.declined || self.is_suppressed();
    }

    pub(super) fn may_revive(&mut self, now: f64) -> bool {
        self.tokens = (self.tokens + (now - self.refilled).max(0.0) / SECONDS_PER_TOKEN).min(TOKENS);
        self.refilled = now;
        if self.tokens < 1.0 || now - self.last_revive < REVIVE_INTERVAL {
            return false;
        }
        self.tokens -= 1.0;
        self.last_revive = now;
        true
    }
}

impl Scheduler {
    /// Revives offers when there is new work and long declines may hide useful ones; suppresses them when there is
    /// nothing to do.
    pub(super) fn tell_demand(&mut self, now: f64) {
        let work = !self.wanted.is_empty();
        let hidden = self.demand.revive || self.demand.is_suppressed();
        if work && hidden {
            if self.demand.may_revive(now) {
                self.demand.revive = false;
                self.demand.told = Told::Open;
                self.demand.declined = false;
                self.call(CallType::Revive, |c| c.revive = Some(Roles::default()));
            } else {
                self.counters.count_throttled_revive();
            }
        }
        let busy = |p: &Plan| p.status() == Status::Pending || p.status().is_running();
        let open = self.demand.told != Told::Suppressed;
        let idle = !work && !self.left_over.is_waited_for(now) && !self.plans.as_slice().iter().any(busy);
        if self.config.suppress && open && idle {
            self.demand.told = Told::Suppressed;
            self.call(CallType::Suppress, |c| c.suppress = Some(Roles::default()));
        }
    }
}
