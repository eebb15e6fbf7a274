//! Reservations that no task has any more: of pods that were replaced, or whose launch was refused in part.
//!
//! Where they are offered they are given back at once. But their agent may be away just then, so they are remembered, and
//! offers stay wanted, until an offer of the agent shows that they are gone.

use super::removal::Reservation;
use super::{Scheduler, path};
use crate::wire::AgentId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Reservations by id, by agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftOver(BTreeMap<AgentId, BTreeMap<String, Reservation>>);

/// How one is stored.
#[derive(Serialize, Deserialize)]
struct Entry {
    resource_id: String,
    #[serde(flatten)]
    reservation: Reservation,
}

impl LeftOver {
    /// What was stored before.
    pub(super) fn read(stored: &[u8]) -> Result<Self, serde_json::Error> {
        let mut all = Self::default();
        for Entry { resource_id, reservation } in serde_json::from_slice::<Vec<Entry>>(stored)? {
            all.insert(resource_id, reservation);
        }
        Ok(all)
    }

    fn insert(&mut self, id: String, reservation: Reservation) {
        self.0.entry(reservation.agent.clone()).or_default().insert(id, reservation);
    }

    /// Whether there is nothing left over.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The agents that have some of it.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.0.keys()
    }

    /// The ids of what is left over on an agent, and their roles.
    pub(super) fn of_agent(&self, agent: &AgentId) -> impl Iterator<Item = (&str, &str)> {
        self.0.get(agent).into_iter().flatten().map(|(id, r)| (id.as_str(), r.role.as_str()))
    }

    pub(super) fn has(&self, agent: &AgentId, id: &str) -> bool {
        self.0.get(agent).is_some_and(|of_agent| of_agent.contains_key(id))
    }

    /// Whether anything is left over on an agent.
    pub(super) fn has_of(&self, agent: &AgentId) -> bool {
        self.0.contains_key(agent)
    }

    /// All of it by id.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (String, Reservation)> + use<> {
        std::mem::take(&mut self.0).into_values().flatten()
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
        let Some(of_agent) = self.left_over.0.get_mut(agent) else { return };
        let before = of_agent.len();
        of_agent.retain(|id, _| !ids.contains(id));
        let changed = of_agent.len() < before;
        if of_agent.is_empty() {
            self.left_over.0.remove(agent);
        }
        if changed {
            self.write_left_over();
        }
    }

    /// Forgets all that is left over on an agent that is gone.
    pub(super) fn forget_left_over_of(&mut self, agent: &AgentId) {
        if self.left_over.0.remove(agent).is_some() {
            self.write_left_over();
        }
    }

    fn write_left_over(&mut self) {
        if self.left_over.is_empty() {
            return self.remove_property(path::LEFT_OVER);
        }
        let entries = self
            .left_over
            .0
            .values()
            .flatten()
            .map(|(id, reservation)| Entry { resource_id: id.clone(), reservation: reservation.clone() });
        // plain data with text keys: its serialization can't fail
        let json = serde_json::to_vec(&entries.collect::<Vec<_>>()).unwrap_or_default();
        self.write(path::LEFT_OVER.to_owned(), json);
    }
}
