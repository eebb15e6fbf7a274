//! Matching offers with steps, giving back what nothing needs, and saying when offers are wanted.

use super::removal::resource_ids;
use super::{LONG_DECLINE, Notes, PIECE_DECLINE, SHORT_DECLINE, Scheduler, Task};
use crate::offer::{AgentOffer, Evaluation, Launch, PodRequest, StoredTask, evaluate, located, unexpected};
use crate::plan::{Plan, Recovery, Requirement, Status, StepAt};
use crate::spec::PodSpec;
use crate::wire::{
    Accept, AgentId, CallType, Decline, Filters, OfferId, Operation, Roles, TaskId, TaskState, TaskStatus,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many evaluations are remembered for operators.
const OUTCOMES: usize = 100;
/// The start of the reason while nothing was offered.
const WAITS_FOR_OFFER: &str = "waits for an offer";
/// Seconds for which what an ACCEPT leaves over is not offered again.
const ACCEPT_FILTER: f64 = 1.0;

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
    pub reasons: Vec<crate::offer::Reason>,
}

/// Whether offers are wanted, told to the master no more often than it likes: revives come from a bucket of tokens.
#[derive(Clone, Debug)]
pub struct Demand {
    suppressed: bool,
    /// Something was declined for long since offers were last asked for.
    declined: bool,
    work: BTreeSet<String>,
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
        let work = BTreeSet::new();
        let last_revive = f64::NEG_INFINITY;
        Self {
            suppressed: false,
            declined: false,
            work,
            revive: false,
            tokens: TOKENS,
            refilled: 0.0,
            last_revive,
        }
    }
}

impl Demand {
    pub(super) fn subscribed(&mut self) {
        // the subscription itself brings all offers
        self.suppressed = false;
        self.declined = false;
        self.work.clear();
    }

    pub(super) fn offers_came(&mut self) {
        self.suppressed = false;
    }

    fn may_revive(&mut self, now: f64) -> bool {
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

/// A step that may be launched now.
struct Candidate {
    plan: usize,
    at: StepAt,
    step_id: String,
    requirement: Requirement,
}

impl Scheduler {
    pub(super) fn cycle(&mut self, now: f64) {
        let offers = std::mem::take(&mut self.offers);
        if self.reconciling.is_open() {
            return self.decline(offers.into_keys().collect(), SHORT_DECLINE);
        }
        self.refresh_recovery(now);
        let mut groups = AgentOffer::group(offers.values(), &self.roles());
        let candidates = self.candidates(now);
        let work: BTreeSet<String> = candidates
            .iter()
            .map(|c| format!("{} {:?}", c.requirement.step_name(), c.requirement.recovery))
            .collect();
        let mut pieces = BTreeSet::new();
        let before = std::mem::take(&mut self.waiting);
        for candidate in candidates {
            let id = candidate.step_id.clone();
            self.try_step(now, &candidate, &mut groups, &mut pieces);
            // Between offers the last one's reasons stay: they are what an operator wants to know.
            if let (Some(why), Some(before)) = (self.waiting.get_mut(&id), before.get(&id))
                && groups.is_empty()
                && why.iter().all(|w| w.starts_with(WAITS_FOR_OFFER))
            {
                why.clone_from(before);
            }
        }
        self.give_back(now, groups, &pieces);
        let unreserve = self.to_unreserve(now).into_iter().map(|id| format!("unreserve {id}"));
        self.tell_demand(now, work.into_iter().chain(unreserve).collect());
    }

    fn candidates(&self, now: f64) -> Vec<Candidate> {
        let mut dirty: Vec<(usize, Requirement)> = Vec::new();
        for (i, plan) in self.plans.iter().enumerate() {
            dirty.extend(plan.dirty(now).into_iter().map(|r| (i, r)));
        }
        let mut found = Vec::new();
        for (i, plan) in self.plans.iter().enumerate() {
            let others: Vec<Requirement> =
                dirty.iter().filter(|(p, _)| *p != i).map(|(_, r)| r.clone()).collect();
            for at in plan.candidates(now, &others) {
                let Some(step) = plan.step(at) else { continue };
                let open = matches!(step.status(now), Status::Pending | Status::Prepared);
                let Some(requirement) = step.requirement().filter(|_| open) else { continue };
                dirty.push((i, requirement.clone()));
                let (step_id, requirement) = (step.id.clone(), requirement.clone());
                found.push(Candidate { plan: i, at, step_id, requirement });
            }
        }
        found
    }

    fn pod_tasks(&self, requirement: &Requirement) -> impl Iterator<Item = &Task> {
        let (pod, index) = (requirement.pod.clone(), requirement.index);
        self.tasks.values().filter(move |t| t.pod == pod && t.index == index)
    }

    /// The configuration that a requirement is launched with: a failed task's own, else the target.
    fn config_of(&self, requirement: &Requirement) -> String {
        let own = self.pod_tasks(requirement).find(|t| requirement.tasks.contains(&t.name));
        let own = own.filter(|_| requirement.recovery != Recovery::None).and_then(|t| t.config_id());
        own.filter(|c| self.configurations.contains_key(*c)).unwrap_or(&self.target).to_owned()
    }

    fn try_step(
        &mut self,
        now: f64,
        candidate: &Candidate,
        groups: &mut Vec<AgentOffer>,
        pieces: &mut BTreeSet<AgentId>,
    ) {
        let requirement = &candidate.requirement;
        if let Some(step) = self.plans.get_mut(candidate.plan).and_then(|p| p.step_mut(candidate.at)) {
            step.prepare();
        }
        if requirement.recovery == Recovery::Permanent {
            self.give_up_pod(&requirement.pod, requirement.index);
        }
        let config = self.config_of(requirement);
        let Some(pod) = self.pod_spec(&requirement.pod, Some(&config)).cloned() else { return };
        let new_footprint = self.needs_new_footprint(requirement);
        let living = self.in_the_way(requirement, &pod, new_footprint);
        if !living.is_empty() {
            for id in &living {
                self.kill(now, id);
            }
            let names: Vec<&str> = living.iter().map(|id| id.value.as_str()).collect();
            self.waiting
                .insert(candidate.step_id.clone(), vec![format!("waits for {} to end", names.join(", "))]);
            return;
        }
        let why = match self.try_offers(now, requirement, &pod, &config, new_footprint, groups, pieces) {
            Ok((group, launch)) => return self.launch(now, candidate, &group, launch, new_footprint),
            Err(why) => why,
        };
        self.waiting.insert(candidate.step_id.clone(), why);
    }

    /// Tasks that must end before the requirement's are launched: those that hold the same resources.
    fn in_the_way(&self, requirement: &Requirement, pod: &PodSpec, new_footprint: bool) -> Vec<TaskId> {
        let wanted = requirement.tasks.iter().filter_map(|name| pod.task(name));
        let wanted: Vec<&str> = wanted.map(|t| t.resource_set.id.as_str()).collect();
        let set = |t: &Task| pod.task(&t.name).map(|t| t.resource_set.id.as_str());
        let holds = |t: &&Task| new_footprint || set(t).is_some_and(|s| wanted.contains(&s));
        self.pod_tasks(requirement)
            .filter(|t| t.is_live())
            .filter(holds)
            .map(|t| t.info.task_id.clone())
            .collect()
    }

    /// Whether a pod instance has no reservations that it could go on with. That is also so when they were asked for
    /// in the same call as a launch that no agent has ever reported: the call was lost, or its RESERVE refused.
    fn needs_new_footprint(&self, requirement: &Requirement) -> bool {
        let tasks: Vec<&Task> = self.pod_tasks(requirement).collect();
        let reserved = |t: &&Task| t.info.resources.iter().any(|r| r.resource_id().is_some());
        let launched = || tasks.iter().filter(|t| t.was_launched());
        let lost = launched().next().is_some()
            && launched()
                .all(|t| t.notes.unconfirmed && (t.state().is_terminal() || t.state() == TaskState::Lost));
        requirement.recovery == Recovery::Permanent
            || tasks.iter().all(|t| t.notes.permanently_failed)
            || !tasks.iter().any(reserved)
            || lost
    }

    #[allow(clippy::too_many_arguments)] // each is a different thing; a struct for one caller would only rename them
    fn try_offers(
        &mut self,
        now: f64,
        requirement: &Requirement,
        pod: &PodSpec,
        config: &str,
        new_footprint: bool,
        groups: &mut Vec<AgentOffer>,
        pieces: &mut BTreeSet<AgentId>,
    ) -> Result<(AgentOffer, Launch), Vec<String>> {
        let context = self.context();
        let home =
            self.pod_tasks(requirement).find(|t| !t.info.resources.is_empty()).filter(|_| !new_footprint);
        let home = home.map(|t| (t.info.agent_id.clone(), located(&t.info).hostname));
        let mut why = Vec::new();
        let mut ids = self.ids.clone();
        let mut found = None;
        for (i, group) in groups.iter().enumerate() {
            if home.as_ref().is_some_and(|(agent, _)| *agent != group.agent_id) {
                continue;
            }
            let request = self.request(requirement, pod, config, new_footprint);
            let Evaluation { launch, reasons } = evaluate(&context, &request, group, &mut || ids.uuid());
            let passed = launch.is_some();
            let failed = reasons.iter().filter(|r| !r.passed);
            why.extend(failed.map(|r| format!("{} ({}): {}", group.hostname, group.agent_id, r.text)));
            self.outcomes.push_back(OfferOutcome {
                timestamp: now,
                pod_instance: requirement.pod_instance(),
                agent_id: group.agent_id.value.clone(),
                hostname: group.hostname.clone(),
                passed,
                reasons,
            });
            if self.outcomes.len() > OUTCOMES {
                self.outcomes.pop_front();
            }
            if let Some(launch) = launch {
                found = Some((i, launch));
                break;
            }
        }
        self.ids = ids;
        if let Some((i, launch)) = found {
            return Ok((groups.remove(i), launch));
        }
        if let Some((agent, hostname)) = home {
            if why.is_empty() {
                why.push(format!("{WAITS_FOR_OFFER} of {hostname} ({agent}), where its reservations are"));
            }
            pieces.insert(agent);
        } else if why.is_empty() {
            why.push(WAITS_FOR_OFFER.to_owned());
        }
        Err(why)
    }

    fn request<'a>(
        &'a self,
        requirement: &'a Requirement,
        pod: &'a PodSpec,
        config: &'a str,
        new_footprint: bool,
    ) -> PodRequest<'a> {
        let peers = self.tasks.values().filter(|t| t.pod == requirement.pod && t.index != requirement.index);
        let stored = self.tasks.values().filter(|t| t.pod == requirement.pod && t.index == requirement.index);
        PodRequest {
            pod,
            index: requirement.index,
            tasks: &requirement.tasks,
            new_footprint,
            stored: stored.map(|t| StoredTask { name: &t.name, info: &t.info, state: t.state() }).collect(),
            peers: peers.map(|t| located(&t.info)).collect(),
            config_id: config,
            env: &requirement.env,
        }
    }

    /// Stores a launch and sends it, in this order.
    fn launch(
        &mut self,
        now: f64,
        candidate: &Candidate,
        offer: &AgentOffer,
        launch: Launch,
        new_footprint: bool,
    ) {
        let Requirement { pod, index, .. } = &candidate.requirement;
        let mut started = Vec::new();
        for planned in launch.tasks {
            let task_id = planned.info.task_id.clone();
            let instance = crate::spec::task_instance_name(pod, *index, &planned.name);
            let before = self.tasks.remove(&instance);
            let staging = TaskStatus {
                task_id: task_id.clone(),
                state: TaskState::Staging,
                agent_id: Some(offer.agent_id.clone()),
                timestamp: Some(now),
                ..TaskStatus::default()
            };
            let status =
                if planned.launch { Some(staging) } else { before.as_ref().and_then(|t| t.status.clone()) };
            let notes = match (planned.launch, before) {
                (false, Some(before)) => Notes { permanently_failed: false, ..before.notes },
                (false, None) => Notes::default(),
                (true, _) => Notes { unconfirmed: new_footprint, ..Notes::default() },
            };
            if planned.launch {
                started.push((planned.name.clone(), task_id));
            }
            let task = Task {
                pod: pod.clone(),
                index: *index,
                name: planned.name,
                info: planned.info,
                status,
                notes,
            };
            self.tasks.insert(instance.clone(), task);
            self.write_task(&instance);
        }
        if let Some(step) = self.plans.get_mut(candidate.plan).and_then(|p| p.step_mut(candidate.at)) {
            step.launched(started);
        }
        self.accept(offer.ids.clone(), launch.operations);
    }

    fn accept(&mut self, offer_ids: Vec<OfferId>, operations: Vec<Operation>) {
        let filters = Some(Filters { refuse_seconds: Some(ACCEPT_FILTER) });
        self.call(CallType::Accept, |c| c.accept = Some(Accept { offer_ids, operations, filters }));
    }

    fn decline(&mut self, offer_ids: Vec<OfferId>, seconds: f64) {
        if offer_ids.is_empty() {
            return;
        }
        self.demand.declined |= seconds >= LONG_DECLINE;
        let filters = Some(Filters { refuse_seconds: Some(seconds) });
        self.call(CallType::Decline, |c| c.decline = Some(Decline { offer_ids, filters }));
    }

    /// Unreserves what belongs to nothing, and declines the rest.
    fn give_back(&mut self, now: f64, groups: Vec<AgentOffer>, pieces: &BTreeSet<AgentId>) {
        let mut expected = resource_ids(self.tasks.values().filter(|t| !t.notes.permanently_failed));
        for id in self.to_unreserve(now) {
            expected.remove(&id);
        }
        let mut unused: BTreeMap<bool, Vec<OfferId>> = BTreeMap::new();
        for group in groups {
            let operations = unexpected(&group, &|id| expected.contains(id));
            if operations.is_empty() {
                unused.entry(pieces.contains(&group.agent_id)).or_default().extend(group.ids);
            } else {
                self.unreserved(&operations);
                self.accept(group.ids, operations);
            }
        }
        for (piece, ids) in unused {
            self.decline(ids, if piece { PIECE_DECLINE } else { LONG_DECLINE });
        }
    }

    /// Revives offers when there is new work and long declines may hide useful ones; suppresses them when there is
    /// nothing to do.
    fn tell_demand(&mut self, now: f64, work: BTreeSet<String>) {
        let hidden = self.demand.declined || self.demand.suppressed;
        if hidden && !work.is_subset(&self.demand.work) || !work.is_empty() && self.demand.suppressed {
            self.demand.revive = true;
        }
        self.demand.work = work;
        if self.demand.revive && !self.demand.work.is_empty() && self.demand.may_revive(now) {
            self.demand.revive = false;
            self.demand.suppressed = false;
            self.demand.declined = false;
            self.call(CallType::Revive, |c| c.revive = Some(Roles::default()));
        }
        let busy = |p: &Plan| {
            let status = self.plan_status(now, p);
            status == Status::Pending || status.is_running()
        };
        if !self.demand.suppressed && self.demand.work.is_empty() && !self.plans.iter().any(busy) {
            self.demand.suppressed = true;
            self.call(CallType::Suppress, |c| c.suppress = Some(Roles::default()));
        }
    }
}
