//! What happened since the scheduler started, counted. Names are the SDK's, which operators' dashboards read.

use super::{Event, SHORT_DECLINE};
use crate::wire::{Call, Operation};
use std::collections::BTreeMap;

/// Counts by name, such as `offers.received`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// The counts by name, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// One count; 0 for what never happened.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn add(&mut self, name: impl Into<String>, count: usize) {
        *self.0.entry(name.into()).or_default() += count as u64;
    }

    pub(super) fn count_event(&mut self, event: &Event) {
        match event {
            Event::Offers(offers) => {
                self.add("offers.received", offers.len());
                self.add("offers.processed", offers.len());
            }
            Event::Update(status) => {
                self.add(format!("task_status.{}", status.state.wire_name().to_lowercase()), 1);
            }
            _ => {}
        }
    }

    pub(super) fn count_throttled_revive(&mut self) {
        self.add("revives.throttles", 1);
    }

    pub(super) fn count_call(&mut self, call: &Call) {
        for Operation { r#type, .. } in call.accept.iter().flat_map(|a| &a.operations) {
            // The wire's own name of the kind, a plain text.
            let kind = serde_json::to_value(r#type).ok();
            let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
            self.add(format!("operation.{}", kind.to_lowercase()), 1);
        }
        if let Some(decline) = &call.decline {
            let seconds = decline.filters.as_ref().and_then(|f| f.refuse_seconds).unwrap_or_default();
            let name = if seconds > SHORT_DECLINE { "declines.long" } else { "declines.short" };
            self.add(name, decline.offer_ids.len());
        }
        if call.revive.is_some() {
            self.add("revives", 1);
        }
        if call.suppress.is_some() {
            self.add("suppresses", 1);
        }
    }
}
