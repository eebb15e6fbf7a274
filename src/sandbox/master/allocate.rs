//! Who is offered what.

use super::state::Filter;
use super::{Master, OpenOffer, Time, event, new_offer};
use crate::sandbox::resources::Resources;
use crate::wire::{AgentId, Event, EventType, Filters, FrameworkId, OfferId, Offers};
use std::time::Duration;

/// The shortest time between two rounds of offers, except for those that a framework asks for.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a round waits for more resources to become free.
const GATHER: Duration = Duration::from_millis(50);
/// Mesos' default when an answer to an offer brings no filter.
const REFUSE_SECONDS: f64 = 5.0;
/// Mesos offers nothing smaller than this many CPUs …
const MIN_CPUS: f64 = 0.01;
/// … unless it is at least this much memory, in MiB.
const MIN_MEM: f64 = 32.0;

impl Master {
    /// Offers what is free soon.
    pub(super) fn request_allocation(&mut self, now: Time) {
        let at = (self.last_allocation + INTERVAL).max(now + GATHER);
        self.next_allocation = Some(self.next_allocation.map_or(at, |old| old.min(at)));
    }

    /// Offers what is free now. Each agent goes as a whole to the framework with the smallest share that wants it.
    pub(super) fn allocate(&mut self, now: Time) {
        self.last_allocation = now;
        self.next_allocation = None;
        let agents: Vec<AgentId> = self.agents.keys().cloned().collect();
        let mut made: Vec<(FrameworkId, OfferId)> = Vec::new();
        for agent in agents {
            let mut free = self.free(&agent);
            for (framework, role) in self.candidates() {
                let part = free.offerable(&role);
                if !is_worth_offering(&part) || self.is_refused(&framework, &agent, &role, &part, now) {
                    continue;
                }
                if !free.subtract(&part) {
                    continue; // `offerable` gives a part of `free`
                }
                let id = OfferId { value: format!("{}-O{}", self.id, self.next_offer) };
                self.next_offer += 1;
                let offer =
                    OpenOffer { framework: framework.clone(), agent: agent.clone(), role, resources: part };
                self.offers.insert(id.clone(), offer);
                made.push((framework, id));
            }
        }
        self.send_offers(&made, now);
    }

    /// One event for all new offers of a framework.
    fn send_offers(&mut self, made: &[(FrameworkId, OfferId)], now: Time) {
        let mut frameworks: Vec<&FrameworkId> = made.iter().map(|(f, _)| f).collect();
        frameworks.sort();
        frameworks.dedup();
        for id in frameworks {
            let mut offers = Vec::new();
            for (_, offer) in made.iter().filter(|(f, _)| f == id) {
                let Some(open) = self.offers.get(offer) else { continue };
                let (Some(agent), Some(framework)) = (self.agents.get(&open.agent), self.frameworks.get(id))
                else {
                    continue;
                };
                let here = framework.executors.iter().filter(|e| e.agent_id == agent.id && !e.single_task);
                let executors = here.map(|e| e.id.clone()).collect();
                offers.push(new_offer(offer.clone(), open, agent, executors));
            }
            self.send(id, Event { offers: Some(Offers { offers }), ..event(EventType::Offers) }, now);
        }
    }

    /// What is neither used nor offered.
    fn free(&self, agent: &AgentId) -> Resources {
        let mut free = self.agents.get(agent).map(|a| a.total.clone()).unwrap_or_default();
        for used in self.used(agent) {
            if !free.subtract(used) {
                // only when the cluster was restarted with less than it had
                tracing::warn!(%agent, used = used.describe("*"), "more is used than the agent has");
            }
        }
        free
    }

    fn used<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a Resources> {
        let frameworks = self.frameworks.values().flat_map(move |f| {
            let tasks =
                f.tasks.values().filter(move |t| t.agent_id == *agent && !t.latest.state.is_terminal());
            let executors = f.executors.iter().filter(move |e| e.agent_id == *agent);
            tasks.map(|t| &t.resources).chain(executors.map(|e| &e.resources))
        });
        let offers = self.offers.values().filter(move |o| o.agent == *agent).map(|o| &o.resources);
        let draining = self.draining.iter().filter(move |(_, a, ..)| a == agent).map(|(.., used)| used);
        frameworks.chain(offers).chain(draining)
    }

    /// Frameworks with each of their roles, the ones with the smallest dominant share first.
    fn candidates(&self) -> Vec<(FrameworkId, String)> {
        let sum = |name: &str| self.agents.values().map(|a| a.total.scalar(name)).sum::<f64>().max(1.0);
        let (cpus, mem) = (sum("cpus"), sum("mem"));
        let mut all: Vec<(f64, FrameworkId, String)> = Vec::new();
        for (id, framework) in self.frameworks.iter().filter(|(_, f)| f.connected()) {
            let tasks =
                framework.tasks.values().filter(|t| !t.latest.state.is_terminal()).map(|t| &t.resources);
            let executors = framework.executors.iter().map(|e| &e.resources);
            let offers = self.offers.values().filter(|o| o.framework == *id).map(|o| &o.resources);
            let held: Vec<&Resources> = tasks.chain(executors).chain(offers).collect();
            let part = |name: &str, all: f64| held.iter().map(|r| r.scalar(name)).sum::<f64>() / all;
            let share = part("cpus", cpus).max(part("mem", mem));
            for role in framework.roles().into_iter().filter(|r| !framework.suppressed.contains(r)) {
                all.push((share, id.clone(), role));
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.into_iter().map(|(_, id, role)| (id, role)).collect()
    }

    fn is_refused(&self, id: &FrameworkId, agent: &AgentId, role: &str, part: &Resources, now: Time) -> bool {
        let filters = self.frameworks.get(id).map_or(&[][..], |f| &f.filters);
        let mut filters = filters.iter();
        filters.any(|f| f.until > now && f.agent == *agent && f.role == role && f.resources.contains(part))
    }

    /// An offer that was not used. An offer that is not there (any more) does not matter.
    pub(super) fn give_back(
        &mut self,
        id: &FrameworkId,
        offer: &OfferId,
        filters: Option<&Filters>,
        now: Time,
    ) {
        if self.offers.get(offer).is_some_and(|o| o.framework == *id)
            && let Some(open) = self.offers.remove(offer)
        {
            self.refuse(id, &open.agent, &open.role, open.resources, filters, now);
        }
    }

    /// Resources that go back to the pool, and that the framework does not want to see for a while.
    pub(super) fn refuse(
        &mut self,
        id: &FrameworkId,
        agent: &AgentId,
        role: &str,
        resources: Resources,
        filters: Option<&Filters>,
        now: Time,
    ) {
        self.request_allocation(now);
        let seconds = filters.and_then(|f| f.refuse_seconds).unwrap_or(REFUSE_SECONDS);
        let wait =
            Duration::try_from_secs_f64(seconds).unwrap_or_default().min(Duration::from_hours(24 * 365));
        if wait.is_zero() || resources.is_empty() {
            return;
        }
        let filter = Filter { agent: agent.clone(), role: role.to_owned(), resources, until: now + wait };
        self.framework(id).filters.push(filter);
    }
}

fn is_worth_offering(resources: &Resources) -> bool {
    resources.scalar("cpus") >= MIN_CPUS || resources.scalar("mem") >= MIN_MEM
}
