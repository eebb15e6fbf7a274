//! Which steps are to be worked on, which offers they get, and what becomes of the other offers.
//!
//! Only what an event touches is looked at again: tasks and plans tell which of theirs changed, and the steps about those
//! are wanted from then on, or not any more ([`Scheduler::settle`]). Offers then go to what is wanted in the order of
//! plans, phases and steps, each step taking the first offer that does for it, by the offers' ids
//! ([`Scheduler::match_offers`]).

use super::matching::Market;
use super::wanted::{Kind, Source};
use super::{LONG_DECLINE, PIECE_DECLINE, SHORT_DECLINE, Scheduler, Task};
use crate::offer::{AgentOffer, located, unexpected};
use crate::plan::{PodInstance, Recovery, Requirement, Status, Step, StepRef, Subject, Work};
use crate::spec::PodSpec;
use crate::wire::{Accept, CallType, Decline, Filters, Offer, OfferId, Operation, TaskId, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Seconds for which what an ACCEPT leaves over is not offered again.
const ACCEPT_FILTER: f64 = 1.0;

/// What may need another look.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// Pod instances whose tasks or steps changed.
    pub pods: BTreeSet<PodInstance>,
    /// Steps that take something down and changed, or whose task did.
    pub removals: BTreeSet<StepRef>,
}

impl Scheduler {
    /// Uses or answers all offers of an event at once: there is no queue that could overflow, as the SDK's can.
    pub(super) fn cycle(&mut self, now: f64, mut offers: Vec<Offer>) {
        offers.sort_by(|a, b| a.id.cmp(&b.id));
        if self.reconciling.is_open() || self.awaits_name() {
            return self.decline(offers.into_iter().map(|o| o.id).collect(), SHORT_DECLINE);
        }
        self.settle(now);
        let groups = AgentOffer::group(&offers, &self.roles());
        drop(offers);
        let left = self.match_offers(now, Market::new(groups));
        self.ask_about_returned(now, &left);
        self.settle(now);
        self.give_back(now, left);
        self.tell_demand(now);
    }

    /// Takes over what tasks and plans say has changed.
    pub(super) fn collect_touched(&mut self) {
        for (pod, instance) in self.tasks.take_touched() {
            self.touched.pods.insert(pod);
            self.touched.removals.extend(self.plans.about(&Subject::Task(instance)));
        }
        for of in self.plans.take_touched() {
            match self.plans.step(of).map(Step::subject) {
                Some(Subject::Pod(pod)) => {
                    self.touched.pods.insert(pod);
                }
                Some(_) => {
                    self.touched.removals.insert(of);
                }
                None => {
                    self.wanted.remove(of);
                }
            }
        }
    }

    pub(super) fn touch_task(&mut self, instance: &str) {
        self.touched.pods.extend(self.tasks.get(instance).map(Task::pod_instance));
    }

    /// Looks again at the pod instances that were touched: whether they need recovery, and which of their steps are wanted.
    pub(super) fn settle(&mut self, now: f64) {
        loop {
            self.collect_touched();
            let pods = std::mem::take(&mut self.touched.pods);
            if pods.is_empty() {
                return;
            }
            for pod in &pods {
                self.note_failures(now, pod);
                self.refresh_recovery(pod);
            }
            let about =
                pods.into_iter().flat_map(|pod| self.plans.about(&Subject::Pod(pod)).collect::<Vec<_>>());
            for of in about.collect::<BTreeSet<_>>() {
                self.reconsider(now, of);
            }
        }
    }

    /// Looks again at a launch.
    fn reconsider(&mut self, now: f64, of: StepRef) {
        if !self.plans.is_candidate(of) {
            self.wanted.remove(of);
            return;
        }
        let Some(step) = self.plans.step(of) else { return };
        let Some(requirement) = step.requirement().cloned() else { return };
        if step.status() == Status::Pending {
            self.plans.change(of, Step::prepare);
        }
        // What exists of reservations that were never confirmed is in the way of new ones: a fixed port is there once.
        if requirement.recovery == Recovery::Permanent || self.footprint_is_lost(&requirement.instance()) {
            self.give_up_pod(&requirement.instance());
        }
        let living = self.in_the_way(&requirement);
        for id in &living {
            self.kill(now, id);
        }
        let source = if living.is_empty() { self.source(&requirement) } else { Source::Nowhere };
        if self.wanted.insert(of, source) {
            self.demand.work_came();
        }
    }

    /// Where an offer for a launch has to come from.
    fn source(&self, requirement: &Requirement) -> Source {
        let Some(pod) = self.pod_of(requirement) else { return Source::Nowhere };
        let tasks = || self.tasks.of_pod(&requirement.instance());
        if !self.needs_new_footprint(requirement) {
            let home = tasks().find(|t| !t.info.resources.is_empty());
            return home.map_or(Source::Nowhere, |t| Source::Agent(t.info.agent_id.clone()));
        }
        let counts = !crate::offer::counted_fields(pod).is_empty();
        Source::Anywhere(Arc::new(Kind {
            pod: requirement.pod.clone(),
            config: self.config_of(requirement).to_owned(),
            tasks: requirement.tasks.clone(),
            env: requirement.env.clone(),
            instance: (counts && tasks().next().is_some()).then_some(requirement.index),
        }))
    }

    /// The configuration that a requirement is launched with: a failed task's own, else the target.
    pub(super) fn config_of(&self, requirement: &Requirement) -> &str {
        let pod = requirement.instance();
        let own = self.tasks.of_pod(&pod).find(|t| requirement.tasks.contains(&t.name));
        let own = own.filter(|_| requirement.recovery != Recovery::None).and_then(|t| t.config_id());
        own.filter(|c| self.configurations.contains_key(*c)).unwrap_or(&self.target)
    }

    /// The pod's definition that a requirement is launched with.
    pub(super) fn pod_of(&self, requirement: &Requirement) -> Option<&PodSpec> {
        self.pod_spec(&requirement.pod, Some(self.config_of(requirement)))
    }

    /// Tasks that must end before the requirement's are launched: those that hold the same resources.
    pub(super) fn in_the_way(&self, requirement: &Requirement) -> Vec<TaskId> {
        let Some(pod) = self.pod_of(requirement) else { return Vec::new() };
        let new_footprint = self.needs_new_footprint(requirement);
        let wanted = requirement.tasks.iter().filter_map(|name| pod.task(name));
        let wanted: Vec<&str> = wanted.map(|t| t.resource_set.id.as_str()).collect();
        let set = |t: &Task| pod.task(&t.name).map(|t| t.resource_set.id.as_str());
        let holds = |t: &&Task| new_footprint || set(t).is_some_and(|s| wanted.contains(&s));
        let of_pod = self.tasks.of_pod(&requirement.instance()).filter(|t| t.is_live());
        of_pod.filter(holds).map(|t| t.info.task_id.clone()).collect()
    }

    /// Whether a pod instance has no reservations that it could go on with.
    pub(super) fn needs_new_footprint(&self, requirement: &Requirement) -> bool {
        let pod = requirement.instance();
        let tasks = || self.tasks.of_pod(&pod);
        let reserved = |t: &Task| t.info.resources.iter().any(|r| r.resource_id().is_some());
        requirement.recovery == Recovery::Permanent
            || tasks().all(|t| t.notes.permanently_failed)
            || !tasks().any(reserved)
            || self.footprint_is_lost(&pod)
    }

    /// Whether reservations were asked for in the same call as launches that no agent has ever reported: the call was lost, or
    /// a RESERVE of it refused.
    fn footprint_is_lost(&self, pod: &PodInstance) -> bool {
        let mut launched = self.tasks.of_pod(pod).filter(|t| t.was_launched()).peekable();
        let is_lost =
            |t: &Task| t.notes.unconfirmed && (t.state().is_terminal() || t.state() == TaskState::Lost);
        launched.peek().is_some() && launched.all(is_lost)
    }

    /// Why a launch has no offer.
    pub(super) fn why_no_offer(&self, now: f64, of: StepRef, requirement: &Requirement) -> Vec<String> {
        let why = self.wanted.why(of);
        if !why.is_empty() {
            return why.to_vec();
        }
        match self.wanted.steps().get(&of) {
            Some(Source::Agent(agent)) => {
                let task = self.tasks.of_pod(&requirement.instance()).find(|t| t.info.agent_id == *agent);
                let hostname = task.map(|t| located(&t.info).hostname).unwrap_or_default();
                let pod = requirement.pod_instance();
                let instead = self.replaced_in(now, &requirement.instance()).map_or_else(
                    || format!("`pod replace {pod}` starts it anew elsewhere"),
                    |seconds| format!("{pod} is replaced elsewhere in {seconds:.0} s"),
                );
                vec![
                    format!("waits for an offer of {hostname} ({agent}), where its reservations are"),
                    format!("should that agent not come back: {instead}, without its volumes' data"),
                ]
            }
            Some(Source::Anywhere(_)) => vec!["waits for an offer".to_owned()],
            Some(Source::Nowhere) => {
                let living = self.in_the_way(requirement);
                let names: Vec<&str> = living.iter().map(|id| id.value.as_str()).collect();
                vec![format!("waits for {} to end", names.join(", "))]
            }
            Some(Source::Unreserve(_)) | None => Vec::new(),
        }
    }

    pub(super) fn accept(&mut self, offer_ids: Vec<OfferId>, operations: Vec<Operation>) {
        let filters = Some(Filters { refuse_seconds: Some(ACCEPT_FILTER) });
        self.call(CallType::Accept, |c| c.accept = Some(Accept { offer_ids, operations, filters }));
    }

    pub(super) fn decline(&mut self, offer_ids: Vec<OfferId>, seconds: f64) {
        if offer_ids.is_empty() {
            return;
        }
        if seconds >= LONG_DECLINE {
            self.demand.declined_for_long();
        }
        let filters = Some(Filters { refuse_seconds: Some(seconds) });
        self.call(CallType::Decline, |c| c.decline = Some(Decline { offer_ids, filters }));
    }

    /// Unreserves what belongs to nothing, and declines the rest.
    fn give_back(&mut self, now: f64, groups: Vec<AgentOffer>) {
        let mut unused: BTreeMap<bool, Vec<OfferId>> = BTreeMap::new();
        for group in groups {
            let expected = |id: &str| self.tasks.is_reserved(id) && !self.plans.is_to_unreserve(id);
            let operations = unexpected(&group, &expected);
            self.miss(now, &group);
            if operations.is_empty() {
                // A pod waits for the rest of its reservations: they come together the next time.
                let mut waiting = self.wanted.of_agent(&group.agent_id);
                let piece = waiting.next().is_some() || self.left_over.has_of(&group.agent_id);
                unused.entry(piece).or_default().extend(group.ids);
            } else {
                self.unreserved(now, &group.agent_id, &operations);
                self.accept(group.ids, operations);
            }
        }
        for (piece, ids) in unused {
            self.decline(ids, if piece { PIECE_DECLINE } else { LONG_DECLINE });
        }
    }

    /// Whether looking at everything again would change anything; `Err` says what. For tests and simulations: it costs as
    /// much as there are tasks.
    #[doc(hidden)]
    pub fn check_indexes(&self, now: f64) -> Result<(), String> {
        self.tasks.check()?;
        self.plans.check()?;
        if !self.connected || self.reconciling.is_open() {
            return Ok(());
        }
        let mut anew = self.clone();
        anew.wake(now);
        anew.advance_removal(now);
        anew.settle(now);
        let mut again = anew.clone();
        again.wanted = super::Wanted::default();
        for (i, plan) in again.plans.as_slice().iter().enumerate() {
            for (at, step) in plan.places().zip(plan.steps()) {
                let of = StepRef { plan: i, at };
                match &step.work {
                    Work::Launch { requirement, .. } => {
                        again.touched.pods.insert(requirement.instance());
                    }
                    _ => {
                        again.touched.removals.insert(of);
                    }
                }
            }
        }
        again.touched.pods.extend(again.tasks.values().map(Task::pod_instance));
        again.advance_removal(now);
        again.settle(now);
        if anew.plans != again.plans {
            return Err("a plan would be another, were all of it looked at again".to_owned());
        }
        if anew.tasks != again.tasks {
            return Err("a task would be another, were all looked at again".to_owned());
        }
        let (is, should) = (anew.wanted.without_reasons(), again.wanted.without_reasons());
        if is != should {
            return Err(format!("wanted: {:?}; should be wanted: {:?}", is.steps(), should.steps()));
        }
        Ok(())
    }
}
