//! Offers: who gets what, how long it is not offered again, and what is taken back.

use super::{Cluster, Happening, Known};
use crate::sandbox::resources::Resources;
use crate::scheduler::Event;
use crate::wire::{AgentId, AllocationInfo, Decline, ExecutorId, Filters, Offer, OfferId};
use std::collections::BTreeSet;

/// Seconds between two rounds of offers, Mesos' default.
const INTERVAL: f64 = 1.0;
/// Seconds for which a round waits for more resources to become free.
const GATHER: f64 = 0.05;
/// Mesos' default when an answer to an offer brings no filter, seconds.
const REFUSE_SECONDS: f64 = 5.0;
/// Mesos offers nothing smaller than this many CPUs …
const MIN_CPUS: f64 = 0.01;
/// … unless it is at least this much memory, in MB.
const MIN_MEM: f64 = 32.0;

/// An offer that is not answered yet.
#[derive(Clone, Debug)]
pub struct Open {
    /// The agent.
    pub agent: AgentId,
    /// The role that it is for.
    pub role: String,
    /// What is offered.
    pub resources: Resources,
    /// The executors that ran on the agent then.
    pub executors: BTreeSet<ExecutorId>,
}

/// Resources that the framework does not want to see for a while.
#[derive(Clone, Debug)]
pub struct Filter {
    agent: AgentId,
    role: String,
    resources: Resources,
    until: f64,
}

/// Whether a framework is offered anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It gets offers.
    Open,
    /// It said that it wants none.
    Suppressed,
    /// It is not connected.
    Away,
}

impl Cluster {
    /// Whether the framework is offered anything.
    pub fn interest(&self) -> Interest {
        match (self.framework.connected, self.framework.suppressed) {
            (false, _) => Interest::Away,
            (true, true) => Interest::Suppressed,
            (true, false) => Interest::Open,
        }
    }

    /// The ids of the offers that are not answered.
    pub fn open_offers(&self) -> impl Iterator<Item = &OfferId> {
        self.offers.keys()
    }

    pub(super) fn request_allocation(&mut self) {
        let at = (self.last_allocation + INTERVAL).max(self.now + GATHER);
        self.allocate_at(at);
    }

    fn allocate_at(&mut self, at: f64) {
        if self.allocation_due.is_none_or(|due| at < due) {
            self.allocation_due = Some(at);
            self.queue.add(at, Happening::Allocate);
        }
    }

    pub(super) fn allocate(&mut self) {
        // of several rounds that were asked for only the last is still to come
        if self.allocation_due.is_some_and(|due| due > self.now + 1e-6) {
            return;
        }
        self.allocation_due = None;
        self.last_allocation = self.now;
        if self.interest() != Interest::Open {
            return;
        }
        let now = self.now;
        self.framework.filters.retain(|f| f.until > now);
        let roles = self.framework.info.roles.clone();
        let mut offers = Vec::new();
        for agent in self.agents.keys().cloned().collect::<Vec<_>>() {
            if !self.may_be_offered(&agent) {
                continue;
            }
            let mut free = self.free(&agent);
            for role in &roles {
                let part = free.offerable(role);
                let worth = part.scalar("cpus") >= MIN_CPUS || part.scalar("mem") >= MIN_MEM;
                if worth && !self.is_refused(&agent, role, &part) && free.subtract(&part) {
                    offers.extend(self.make_offer(&agent, role, part));
                }
            }
        }
        if !offers.is_empty() {
            self.events.push(Event::Offers(offers));
        }
        // the next round comes when a filter ends
        if let Some(until) = self.framework.filters.iter().map(|f| f.until).reduce(f64::min) {
            self.allocate_at(until.max(now + INTERVAL));
        }
    }

    fn may_be_offered(&self, id: &AgentId) -> bool {
        let Some(agent) = self.agents.get(id).filter(|a| a.known == Known::Registered) else { return false };
        let home = agent.machine.region.as_deref().is_none_or(|r| r == super::super::agents::HOME_REGION);
        let gpus = agent.total.scalar("gpus") > 0.0;
        (home || self.framework.capable("REGION_AWARE")) && (!gpus || self.framework.capable("GPU_RESOURCES"))
    }

    fn make_offer(&mut self, id: &AgentId, role: &str, part: Resources) -> Option<Offer> {
        let agent = self.agents.get(id)?;
        self.made += 1;
        let offer = Offer {
            id: OfferId { value: format!("offer-{:06}", self.made) },
            framework_id: self.framework.id.clone()?,
            agent_id: id.clone(),
            hostname: agent.host().to_owned(),
            url: None,
            domain: Some(agent.machine.domain()),
            resources: part.allocated(role),
            attributes: agent.machine.attributes(),
            executor_ids: agent.executors.keys().cloned().collect(),
            allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
        };
        let executors = agent.executors.keys().cloned().collect();
        let open = Open { agent: id.clone(), role: role.to_owned(), resources: part, executors };
        self.offers.insert(offer.id.clone(), open);
        Some(offer)
    }

    /// What is neither used nor offered.
    pub fn free(&self, id: &AgentId) -> Resources {
        let Some(agent) = self.agents.get(id) else { return Resources::default() };
        let mut free = agent.total.clone();
        let tasks = agent.holding.iter().filter_map(|t| self.tasks.get(t)).map(|t| &t.resources);
        let offers = self.offers.values().filter(|o| o.agent == *id).map(|o| &o.resources);
        for used in tasks.chain(agent.executors.values()).chain(offers) {
            if !free.subtract(used) {
                tracing::warn!(agent = %id, used = used.describe("*"), "more is used than the agent has");
            }
        }
        free
    }

    fn is_refused(&self, agent: &AgentId, role: &str, part: &Resources) -> bool {
        let mut filters = self.framework.filters.iter();
        filters.any(|f| f.agent == *agent && f.role == role && f.resources.contains(part))
    }

    pub(super) fn decline(&mut self, decline: Decline) {
        for id in decline.offer_ids {
            if let Some(open) = self.offers.remove(&id) {
                self.refuse(&open.agent, &open.role, open.resources, decline.filters.as_ref());
            }
        }
    }

    /// Resources that go back, and that the framework does not want to see for a while.
    pub(super) fn refuse(
        &mut self,
        agent: &AgentId,
        role: &str,
        resources: Resources,
        filters: Option<&Filters>,
    ) {
        let seconds = filters.and_then(|f| f.refuse_seconds).unwrap_or(REFUSE_SECONDS);
        self.request_allocation();
        if seconds > 0.0 && !resources.is_empty() {
            let until = self.now + seconds;
            self.framework.filters.push(Filter {
                agent: agent.clone(),
                role: role.to_owned(),
                resources,
                until,
            });
        }
    }

    /// Takes an offer back and says so. It does not matter whether it is still open.
    pub fn rescind(&mut self, id: &OfferId) {
        if self.offers.remove(id).is_some() {
            self.events.push(Event::Rescind(id.clone()));
            self.request_allocation();
        }
    }

    pub(super) fn rescind_agent(&mut self, agent: &AgentId) {
        let lost: Vec<OfferId> =
            self.offers.iter().filter(|(_, o)| o.agent == *agent).map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.rescind(&id);
        }
    }

    /// Offers end with the connection.
    pub(super) fn drop_offers(&mut self) {
        self.offers.clear();
        self.request_allocation();
    }

    pub(super) fn claim_offer(&mut self, id: &OfferId) -> Option<Open> {
        self.offers.remove(id)
    }
}
