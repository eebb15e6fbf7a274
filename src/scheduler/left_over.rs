//! Reservations that no task has any more: of pods that were replaced, or whose launch was refused in part.
//!
//! Where they are offered they are given back at once. But their agent may be away just then, so they are remembered until
//! an offer of the agent shows that they are gone, and for a day offers stay wanted on their account. Whoever comes back later
//! is offered with the next work; at the latest the uninstall waits for it.

use super::removal::Reservation;
use super::{Scheduler, path};
use crate::wire::AgentId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds for which offers stay wanted because something is left over.
const WAIT: f64 = 86_400.0;

/// What is left over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct LeftOver {
    /// Reservations by id, by agent.
    by_agent: BTreeMap<AgentId, BTreeMap<String, Reservation>>,
    /// Until when offers stay wanted on its account (seconds); none while that was not asked.
    until: Option<f64>,
}

/// How one is stored.
#[derive(Serialize, Deserialize)]
struct Entry {
    resource_id: String,
    #[serde(flatten)]
    reservation: Reservation,
}

impl From<Vec<Entry>> for LeftOver {
    fn from(entries: Vec<Entry>) -> Self {
        let mut all = Self::default();
        for Entry { resource_id, reservation } in entries {
            all.insert(resource_id, reservation);
        }
        all
    }
}

impl From<LeftOver> for Vec<Entry> {
    fn from(all: LeftOver) -> Self {
        let entry = |(resource_id, reservation)| Entry { resource_id, reservation };
        all.by_agent.into_values().flatten().map(entry).collect()
    }
}

impl LeftOver {
    fn insert(&mut self, id: String, reservation: Reservation) {
        self.by_agent.entry(reservation.agent.clone()).or_default().insert(id, reservation);
        self.until = None;
    }

    /// Whether offers are wanted on its account.
    pub(super) fn is_waited_for(&mut self, now: f64) -> bool {
        !self.is_empty() && now < *self.until.get_or_insert(now + WAIT)
    }

    /// Whether there is nothing left over.
    pub fn is_empty(&self) -> bool {
        self.by_agent.is_empty()
    }

    /// The agents that have some of it.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.by_agent.keys()
    }

    /// The ids of what is left over on an agent, and their roles.
    pub(super) fn of_agent(&self, agent: &AgentId) -> impl Iterator<Item = (&str, &str)> {
        self.by_agent.get(agent).into_iter().flatten().map(|(id, r)| (id.as_str(), r.role.as_str()))
    }

    pub(super) fn has(&self, agent: &AgentId, id: &str) -> bool {
        self.by_agent.get(agent).is_some_and(|of_agent| of_agent.contains_key(id))
    }

    /// Whether anything is left over on an agent.
    pub(super) fn has_of(&self, agent: &AgentId) -> bool {
        self.by_agent.contains_key(agent)
    }

    /// All of it by id.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (String, Reservation)> + use<> {
        std::mem::take(&mut self.by_agent).into_values().flatten()
    }
}

impl Scheduler {
    /// What is left over of pods that were replaced, or whose launch was refused.
    pub fn left_over(&self) -> &LeftOver {
        &self.left_over
    }

    /// Remembers what tasks had and nothing has any more.
    pub(super) fn leave_over(&mut self, had: BTreeMap<String, Reservation>) {
        let mut changed = false;
        for (id, reservation) in had {
            if !self.tasks.is_reserved(&id) && !self.gone.contains(&reservation.agent) {
                self.left_over.insert(id, reservation);
                changed = true;
            }
        }
        if changed {
            self.write_left_over();
        }
    }

    /// Forgets what is given back.
    pub(super) fn forget_left_over(&mut self, agent: &AgentId, ids: &[String]) {
        let Some(of_agent) = self.left_over.by_agent.get_mut(agent) else { return };
        let before = of_agent.len();
        of_agent.retain(|id, _| !ids.contains(id));
        let changed = of_agent.len() < before;
        if of_agent.is_empty() {
            self.left_over.by_agent.remove(agent);
        }
        if changed {
            self.write_left_over();
        }
    }

    /// Forgets all that is left over on an agent that is gone.
    pub(super) fn forget_left_over_of(&mut self, agent: &AgentId) {
        if self.left_over.by_agent.remove(agent).is_some() {
            self.write_left_over();
        }
    }

    fn write_left_over(&mut self) {
        if self.left_over.is_empty() {
            return self.remove_property(path::LEFT_OVER);
        }
        // plain data with text keys: its serialization can't fail
        let json = serde_json::to_vec(&self.left_over).unwrap_or_default();
        self.write(path::LEFT_OVER.to_owned(), json);
    }
}
