//! Calls that the master may not have heard.
//!
//! Whoever carries effects out says that a call failed before anything else happens. Any call of the same event may
//! have been lost with it, or only its answer; so all of them are treated as unheard: what repeats itself does so anyway, and the
//! rest is said again.

use super::{SHORT_DECLINE, Scheduler};
use crate::wire::{Call, CallType, OfferId};

/// Seconds before something is said again.
const AGAIN: f64 = 1.0;
/// Seconds within which a master offers what has become free; Mesos does so every second.
const GATHERED: f64 = 3.0;

/// What the calls of the last event that had any were about.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    offers: Vec<OfferId>,
    launched: bool,
    revived: bool,
    left: bool,
}

impl Sent {
    pub fn of(calls: &[Call]) -> Self {
        let has = |kind| calls.iter().any(|c| c.r#type == kind);
        let accepted = calls.iter().filter_map(|c| c.accept.as_ref()).flat_map(|a| &a.offer_ids);
        let declined = calls.iter().filter_map(|c| c.decline.as_ref()).flat_map(|d| &d.offer_ids);
        Self {
            offers: accepted.chain(declined).cloned().collect(),
            launched: has(CallType::Accept),
            revived: has(CallType::Revive),
            left: has(CallType::Teardown),
        }
    }
}

/// What is said again, but not at once: it would fail for the same reason, and whoever delivers calls would do nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Unheard {
    /// Offers whose answers the master may not have heard: as long as it waits for them it makes no others of these agents.
    offers: Vec<OfferId>,
    /// The master may not have heard that the framework leaves.
    left: bool,
    /// Seconds; when it is said again.
    at: f64,
}

impl Scheduler {
    pub(super) fn on_call_failed(&mut self, now: f64, kind: CallType) {
        let sent = std::mem::take(&mut self.sent);
        if sent.launched || kind == CallType::Accept {
            // The launches may or may not have reached the agent: the master is asked what became of them.
            self.reconciling.restart(now, &self.tasks);
        }
        self.unheard.left |= sent.left || kind == CallType::Teardown;
        if sent.revived {
            self.demand.was_not_heard();
        }
        if sent.launched {
            // What was not given back is offered again once the decline below is over; until then it is missing for another
            // reason than that it is gone.
            self.missing.clear();
            self.tidy_at = self.tidy_at.max(now + AGAIN + SHORT_DECLINE + GATHERED);
        }
        self.unheard.offers.extend(sent.offers);
        self.unheard.at = now + AGAIN;
    }

    /// Says again what may not have been heard. An offer whose answer was heard is not there any more; that it is declined again
    /// the master takes without a word.
    pub(super) fn say_again(&mut self, now: f64) {
        if now < self.unheard.at {
            return;
        }
        let Unheard { offers, left, .. } = std::mem::take(&mut self.unheard);
        self.decline(offers, SHORT_DECLINE);
        if left {
            self.leave_again();
        }
    }

    /// With a new subscription all offers are new.
    pub(super) fn forget_unheard(&mut self) {
        self.unheard.offers.clear();
        self.missing.clear();
    }
}
