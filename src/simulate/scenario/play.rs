//! Plays a scenario: its events go into a scheduler, and what that does is kept for the expectations.

use super::outcome::{Outcome, RunOutcome, Verdict};
use super::{Action, Run, Scenario, Send, Wish, check, offers, templates};

use crate::scheduler::{Deployment, Event, Scheduler, Stored};
use crate::simulate::Process;
use crate::simulate::agents::HOME_REGION;
use crate::spec::PodType;
use crate::wire::{
    Call, CallType, CheckStatusCommand, CheckStatusInfo, OfferId, TaskId, TaskState, TaskStatus,
};
use std::collections::{BTreeMap, BTreeSet};

/// The id that the master gives the framework.
const FRAMEWORK_ID: &str = "scenario";

/// Plays a scenario; each run is started with its deployment, the first on no state at all.
pub fn play(scenario: Scenario, deployments: &[Deployment]) -> Outcome {
    let mut stored = Stored::new();
    let mut runs = Vec::new();
    for (number, (run, deployment)) in scenario.runs.iter().zip(deployments).enumerate() {
        let (outcome, left) = play_run(run, deployment, stored, number);
        let failed = !outcome.problems.is_empty() || outcome.verdicts.iter().any(|v| *v != Verdict::Passed);
        runs.push(outcome);
        if failed {
            break;
        }
        stored = left;
    }
    Outcome { scenario, runs }
}

fn play_run(run: &Run, deployment: &Deployment, stored: Stored, number: usize) -> (RunOutcome, Stored) {
    let mut outcome = RunOutcome::default();
    let mut player = match Process::start(deployment, stored.clone(), number as u64) {
        Ok((mut process, effects)) => {
            let calls = process.perform(effects);
            outcome.problems =
                templates::problems(process.scheduler.target().1, &process.scheduler.context());
            let mut player = Player::new(process, number);
            player.take_in(calls);
            player
        }
        Err(error) => {
            let why = error.to_string();
            if let [tick] = run.ticks.as_slice()
                && let Action::Expect(super::Expectation::Refused(text)) = &tick.action
            {
                outcome.verdicts.push(check::refused(text, &why));
            } else {
                outcome.problems.push(format!("the scheduler does not start: {why}"));
            }
            return (outcome, stored);
        }
    };
    if !outcome.problems.is_empty() {
        return (outcome, player.process.stored);
    }
    for tick in &run.ticks {
        let verdict = match &tick.action {
            Action::Send(event) => match player.send(event) {
                Ok(()) => Verdict::Passed,
                Err(why) => Verdict::Failed { expected: "something that can happen".to_owned(), found: why },
            },
            Action::Expect(expectation) => check::check(&player, expectation),
        };
        let failed = verdict != Verdict::Passed;
        outcome.verdicts.push(verdict);
        if failed {
            break;
        }
    }
    (outcome, player.process.stored)
}

/// A scheduler, its state, and what it has done.
pub(super) struct Player {
    process: Process,
    pub now: f64,
    /// How many offers were made, and statuses told.
    sent: u32,
    /// Makes ids of this run other ones than those of the run before.
    run: usize,
    /// The ids of the offers that were sent last.
    pub last_offers: Vec<OfferId>,
    /// The calls since something was sent last.
    pub calls: Vec<Call>,
    /// The ids of tasks that were asked to end, in this run.
    pub kills: Vec<TaskId>,
    pub revived: usize,
    pub suppressed: usize,
    /// Reservations that were given back, by id.
    given_back: BTreeSet<String>,
    /// The instance names of tasks by their ids.
    pub names: BTreeMap<TaskId, String>,
    /// The tasks that have, or had, each reservation of their own.
    pub owners: BTreeMap<String, BTreeSet<String>>,
}

impl Player {
    fn new(process: Process, run: usize) -> Self {
        Self {
            process,
            now: 0.0,
            sent: 0,
            run,
            last_offers: Vec::new(),
            calls: Vec::new(),
            kills: Vec::new(),
            revived: 0,
            suppressed: 0,
            given_back: BTreeSet::new(),
            names: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// The scheduler.
    pub fn scheduler(&self) -> &Scheduler {
        &self.process.scheduler
    }

    /// Lets something happen, and a moment pass after it; `Err` says why it can't.
    fn send(&mut self, send: &Send) -> Result<(), String> {
        self.now += 0.5;
        self.calls.clear();
        self.happen(send)?;
        self.now += 0.5;
        self.handle(Event::Tick);
        Ok(())
    }

    fn happen(&mut self, send: &Send) -> Result<(), String> {
        match send {
            Send::Register => {
                self.handle(Event::Subscribed { framework_id: FRAMEWORK_ID.to_owned() });
                self.handle(Event::MasterRegion(Some(HOME_REGION.to_owned())));
            }
            Send::NoOffers => self.handle(Event::Offers(Vec::new())),
            Send::Wait(seconds) => {
                for _ in 0..*seconds {
                    self.now += 1.0;
                    self.handle(Event::Tick);
                }
            }
            Send::Offer(wish) => self.offer(wish)?,
            Send::Status { task, state, readiness, task_id } => {
                self.status(task, *state, *readiness, task_id.as_deref())?;
            }
            Send::Command(command) => {
                let done = self.process.scheduler.command(self.now, command);
                let (_, _, effects) = done.map_err(|error| error.to_string())?;
                let calls = self.process.perform(effects);
                self.take_in(calls);
            }
        }
        Ok(())
    }

    fn offer(&mut self, wish: &Wish) -> Result<(), String> {
        let pod: PodType = wish.pod.as_str().into();
        let context = self.scheduler().context();
        let spec = self.scheduler().target().1.pod(&pod).cloned();
        let mut made = Vec::new();
        for _ in 0..wish.count {
            self.sent += 1;
            let number = self.sent;
            made.push(match (wish.reoffer, &spec) {
                (Some(index), _) => {
                    offers::reserved(self.scheduler(), &context, wish, index, &self.given_back, number)
                        .ok_or_else(|| format!("{} has nothing reserved", instance_name(&pod, index)))?
                }
                (None, Some(spec)) => offers::fresh(spec, &context, wish, number),
                (None, None) => return Err(format!("there is no pod {pod}")),
            });
        }
        self.last_offers = made.iter().map(|offer| offer.id.clone()).collect();
        self.handle(Event::Offers(made));
        Ok(())
    }

    fn status(
        &mut self,
        task: &str,
        state: TaskState,
        readiness: Option<i32>,
        task_id: Option<&str>,
    ) -> Result<(), String> {
        self.sent += 1;
        let known = self.scheduler().tasks().get(task);
        let launched = known.filter(|t| t.was_launched()).map(|t| t.info.task_id.clone());
        let task_id = match task_id {
            Some(id) => TaskId::from(id),
            None => launched.ok_or_else(|| format!("{task} was never launched"))?,
        };
        let status = TaskStatus {
            task_id,
            state,
            source: Some("SOURCE_EXECUTOR".to_owned()),
            uuid: Some(format!("{}-{}", self.run, self.sent)),
            agent_id: known.map(|t| t.info.agent_id.clone()),
            timestamp: Some(self.now),
            check_status: readiness.map(|code| CheckStatusInfo {
                command: Some(CheckStatusCommand { exit_code: Some(code) }),
                ..CheckStatusInfo::default()
            }),
            ..TaskStatus::default()
        };
        self.handle(Event::Update(Box::new(status)));
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        let calls = self.process.send(self.now, event);
        self.take_in(calls);
    }

    /// Remembers what the scheduler has asked for.
    fn take_in(&mut self, calls: Vec<Call>) {
        let mut torn_down = false;
        for call in calls {
            match call.r#type {
                CallType::Kill => self.kills.extend(call.kill.as_ref().map(|k| k.task_id.clone())),
                CallType::Revive => self.revived += 1,
                CallType::Suppress => self.suppressed += 1,
                CallType::Teardown => torn_down = true,
                _ => {}
            }
            let operations = call.accept.iter().flat_map(|a| &a.operations);
            let given = operations.filter_map(|o| o.unreserve.as_ref()).flat_map(|u| &u.resources);
            self.given_back.extend(given.filter_map(|r| r.resource_id().map(str::to_owned)));
            self.calls.push(call);
        }
        self.look();
        if torn_down {
            self.handle(Event::TornDown);
        }
    }

    /// Remembers whose ids and reservations are whose.
    fn look(&mut self) {
        for (instance, task) in self.process.scheduler.tasks() {
            if task.was_launched() {
                self.names.insert(task.info.task_id.clone(), instance.clone());
            }
            for id in offers::own_reservations(task) {
                self.owners.entry(id.to_owned()).or_default().insert(instance.clone());
            }
        }
    }
}

fn instance_name(pod: &PodType, index: u32) -> String {
    crate::spec::pod_instance_name(pod, index)
}
