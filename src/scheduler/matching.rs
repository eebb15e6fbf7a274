//! Offers for the steps that are wanted: who gets which.

use super::removal::reservations;
use super::wanted::{Kind, Source};
use super::{Notes, Scheduler, Task, path};
use crate::offer::{
    AgentOffer, Evaluation, Launch, Peers, PodRequest, Reason, ServiceContext, StoredTask, evaluate, located,
};
use crate::plan::{PodInstance, Requirement, Step, StepRef};
use crate::spec::{PlacementOperator, TaskName, pod_instance_name};
use crate::wire::{AgentId, TaskState, TaskStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many evaluations are remembered for operators.
const OUTCOMES: usize = 100;
/// How many reasons are remembered why offers do not do for a step.
const REASONS: usize = 100;

/// One evaluation of an agent's offers for a pod instance, for operators who ask why.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferOutcome {
    /// Seconds since 1970.
    pub timestamp: f64,
    /// `<type>-<index>`.
    pub pod_instance: String,
    /// The agent.
    pub agent_id: String,
    /// Its host name.
    pub hostname: String,
    /// Whether everything fitted.
    pub passed: bool,
    /// What each stage found.
    pub reasons: Vec<Reason>,
}

/// The offers of one event that are still free, by position.
pub(super) struct Market {
    free: BTreeMap<usize, AgentOffer>,
    by_agent: BTreeMap<AgentId, Vec<usize>>,
}

impl Market {
    pub fn new(groups: Vec<AgentOffer>) -> Self {
        let mut by_agent = BTreeMap::<AgentId, Vec<usize>>::new();
        for (position, group) in groups.iter().enumerate() {
            by_agent.entry(group.agent_id.clone()).or_default().push(position);
        }
        Self { free: groups.into_iter().enumerate().collect(), by_agent }
    }

    /// The free offers of an agent.
    fn of_agent(&self, agent: &AgentId) -> impl Iterator<Item = (usize, &AgentOffer)> {
        let positions = self.by_agent.get(agent).into_iter().flatten();
        positions.filter_map(|p| Some((*p, self.free.get(p)?)))
    }

    /// The free offers from a position on.
    fn from(&self, position: usize) -> impl Iterator<Item = (usize, &AgentOffer)> {
        self.free.range(position..).map(|(p, group)| (*p, group))
    }
}

/// Why offers did not do; not more than a person reads.
#[derive(Default)]
struct Refusals {
    why: Vec<String>,
    agents: usize,
    /// How many agents `why` is about.
    said: usize,
}

impl Refusals {
    fn add(&mut self, group: &AgentOffer, reasons: &[Reason]) {
        self.agents += 1;
        if self.why.len() < REASONS {
            self.said += 1;
            let place = format!("{} ({})", group.hostname, group.agent_id);
            let failed = reasons.iter().flat_map(Reason::failures);
            self.why.extend(failed.map(|r| format!("{place}: {}: {}", r.stage, r.text)));
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.agents > self.said {
            self.why.push(format!("{} more agents will not do either", self.agents - self.said));
        }
        self.why
    }
}

/// How far the search for one kind of steps is.
#[derive(Default)]
struct Search {
    /// All offers before this one are taken, or would not do.
    from: usize,
    refusals: Refusals,
}

impl Scheduler {
    /// Gives offers to the steps that are wanted, and returns those that are left.
    ///
    /// Steps come in the order of plans, phases and steps; each takes the first offer that does. What is refused for one
    /// step is not tried for another that is alike, so this costs no more than each offer once for each kind of steps.
    pub(super) fn match_offers(&mut self, now: f64, mut market: Market) -> Vec<AgentOffer> {
        let mut open: BTreeSet<StepRef> = self.wanted.first_of_kinds().collect();
        open.extend(market.by_agent.keys().flat_map(|agent| self.wanted.of_agent(agent)));
        if market.free.is_empty() || open.is_empty() {
            return market.free.into_values().collect();
        }
        let context = self.context();
        let mut searches = BTreeMap::<Arc<Kind>, Search>::new();
        let mut launched = BTreeSet::<PodInstance>::new();
        while let Some(of) = open.pop_first() {
            if market.free.is_empty() {
                break;
            }
            let Some(pod) = self.plans.step(of).and_then(Step::requirement).map(Requirement::instance) else {
                continue;
            };
            // After a launch of the same pod instance what this step needs is another thing; it is looked at again below.
            if launched.contains(&pod) {
                continue;
            }
            let found = match self.wanted.steps().get(&of).cloned() {
                Some(Source::Agent(agent)) => {
                    let mut refusals = Refusals::default();
                    let found = self.first_fit(now, &context, of, market.of_agent(&agent), &mut refusals);
                    if found.is_none() && refusals.agents > 0 {
                        self.wanted.explain(of, refusals.told());
                    }
                    found
                }
                Some(Source::Anywhere(kind)) => {
                    let search = searches.entry(Arc::clone(&kind)).or_default();
                    let offers = market.from(search.from);
                    let found = self.first_fit(now, &context, of, offers, &mut search.refusals);
                    if let Some((position, _)) = &found {
                        search.from = position + 1;
                        open.extend(self.wanted.next_of_kind(&kind, of));
                    } else {
                        self.wanted.explain(of, std::mem::take(&mut search.refusals).told());
                    }
                    found
                }
                _ => None,
            };
            if let Some((position, launch)) = found
                && let Some(group) = market.free.remove(&position)
            {
                self.launch(now, of, &group, launch);
                if self.spreads_evenly(&pod) {
                    // One more task here may make offers do that would not before.
                    searches.retain(|kind, _| kind.pod != pod.pod);
                }
                launched.insert(pod);
            }
        }
        market.free.into_values().collect()
    }

    /// Whether a pod's placement has a rule that an agent may obey later which it does not obey now.
    fn spreads_evenly(&self, pod: &PodInstance) -> bool {
        let specs = self.configurations.values().filter_map(|c| c.pod(&pod.pod));
        let mut rules = specs.flat_map(|p| &p.placement).flat_map(|p| &p.rules);
        rules.any(|r| matches!(r.operator, PlacementOperator::GroupBy(_)))
    }

    /// The position of the first offer that does for a step, and the launch there.
    fn first_fit<'a>(
        &mut self,
        now: f64,
        context: &ServiceContext,
        of: StepRef,
        offers: impl Iterator<Item = (usize, &'a AgentOffer)>,
        refusals: &mut Refusals,
    ) -> Option<(usize, Launch)> {
        let (mut ids, mut outcomes) = (self.ids.clone(), std::mem::take(&mut self.outcomes));
        let mut found = None;
        if let Some(request) = self.request(of) {
            for (position, group) in offers {
                let Evaluation { launch, reasons } = evaluate(context, &request, group, &mut || ids.uuid());
                if launch.is_none() {
                    refusals.add(group, &reasons);
                }
                outcomes.push_back(OfferOutcome {
                    timestamp: now,
                    pod_instance: pod_instance_name(&request.pod.pod_type, request.index),
                    agent_id: group.agent_id.value.clone(),
                    hostname: group.hostname.clone(),
                    passed: launch.is_some(),
                    reasons,
                });
                if outcomes.len() > OUTCOMES {
                    outcomes.pop_front();
                }
                if let Some(launch) = launch {
                    found = Some((position, launch));
                    break;
                }
            }
        }
        (self.ids, self.outcomes) = (ids, outcomes);
        found
    }

    fn request(&self, of: StepRef) -> Option<PodRequest<'_>> {
        let requirement = self.plans.step(of)?.requirement()?;
        let own: Vec<&Task> = self.tasks.of_pod(&requirement.instance()).collect();
        let spread = self.tasks.spread(&requirement.pod);
        let located = own.iter().filter(|_| spread.is_some()).map(|t| located(&t.info));
        Some(PodRequest {
            pod: self.pod_of(requirement)?,
            index: requirement.index,
            tasks: &requirement.tasks,
            new_footprint: self.needs_new_footprint(requirement),
            peers: Peers::new(spread, located),
            stored: own
                .iter()
                .map(|t| StoredTask {
                    name: &t.name,
                    info: &t.info,
                    state: t.state(),
                    paused: t.notes.paused,
                    unconfirmed: t.notes.unconfirmed,
                })
                .collect(),
            config_id: self.config_of(requirement),
            env: &requirement.env,
        })
    }

    /// Stores a launch and sends it, in this order.
    fn launch(&mut self, now: f64, of: StepRef, offer: &AgentOffer, launch: Launch) {
        let Some(requirement) = self.plans.step(of).and_then(Step::requirement) else { return };
        let unconfirmed = self.needs_new_footprint(requirement);
        let (pod, index) = (requirement.pod.clone(), requirement.index);
        let mut started = Vec::new();
        let mut had = BTreeMap::new();
        for planned in launch.tasks {
            let task_id = planned.info.task_id.clone();
            let instance = crate::spec::task_instance_name(&pod, index, &planned.name);
            let before = self.tasks.remove(&instance);
            had.extend(reservations(&before));
            let staging = TaskStatus {
                task_id: task_id.clone(),
                state: TaskState::Staging,
                agent_id: Some(offer.agent_id.clone()),
                timestamp: Some(now),
                ..TaskStatus::default()
            };
            let moved = planned.info.task_id.value.is_empty();
            let status = if planned.launch { Some(staging) } else { kept_status(before.as_ref(), moved) };
            if status.is_none() && before.is_some() {
                self.writes.remove(format!("{}/{instance}/{}", path::TASKS, path::TASK_STATUS));
            }
            let notes = match (planned.launch, before) {
                (false, Some(before)) => {
                    let displaced = moved && (before.was_launched() || before.notes.displaced);
                    let unconfirmed = unconfirmed || before.notes.unconfirmed;
                    Notes { permanently_failed: false, displaced, unconfirmed, ..before.notes }
                }
                (false, None) => Notes { unconfirmed: true, ..Notes::default() },
                (true, before) => {
                    let unconfirmed = unconfirmed || before.as_ref().is_none_or(|b| b.notes.unconfirmed);
                    let paused = before.is_some_and(|before| before.notes.paused);
                    Notes { unconfirmed, paused, idle: paused, ..Notes::default() }
                }
            };
            if planned.launch {
                started.push((planned.name.clone(), task_id));
            }
            self.tasks.insert(Task {
                pod: pod.clone(),
                index,
                name: planned.name,
                info: planned.info,
                status,
                notes,
            });
            self.write_task(&instance);
        }
        let names: Vec<TaskName> = started.iter().map(|(name, _)| name.clone()).collect();
        self.supersede(&PodInstance { pod, index }, &names);
        self.leave_over(had);
        self.plans.change(of, |step| step.launched(started));
        self.accept(offer.ids.clone(), launch.operations);
    }
}

/// What stays known about a task of a pod instance of which others are launched. When that moves, the task is nowhere any more,
/// and only that it has finished still counts.
fn kept_status(before: Option<&Task>, moved: bool) -> Option<TaskStatus> {
    let status = before?.status.clone()?;
    (!moved || status.state == TaskState::Finished).then_some(status)
}
