//! The world: a scheduler process and a cluster, the connection between them, and time.
//!
//! It does what the runtime does with effects (write first, then calls in order; a call that fails is an event) and what
//! an init system does with a process that ended: starts it again from what is durable.

use super::agents::{HOME_REGION, Machine};
use super::cluster::{Cluster, Interest, Observed};
use super::process::{Process, store};
use super::queue::Queue;
use super::random::Random;
use super::story::Story;
use crate::plan::{Plan, Status};
use crate::scheduler::Deployment;
use crate::scheduler::{Command, Effect, Event, PlanCommand, Scheduler, Stored};
use crate::wire::{Call, CallType};
use std::collections::VecDeque;

/// Seconds between two ticks while something happens; the runtime's own.
const TICK: f64 = 0.5;
/// Seconds between two ticks while nothing happens.
const SLOW_TICK: f64 = 30.0;
/// Seconds that a message takes.
const LATENCY: f64 = 0.01;
/// Seconds that a new process, or one that lost its connection, takes to subscribe.
const CONNECT: f64 = 0.2;
/// Seconds after which whoever keeps the process up starts it again.
const RESTART: f64 = 2.0;
/// Seconds without any change after which nothing more is expected to happen: longer than offers are declined for that
/// may become of use, and revives are held back for.
const QUIET: f64 = 120.0;

/// Seconds without a step that was completed after which nothing good is expected to happen: longer than a failed task may
/// wait before it is tried again.
const PATIENCE: f64 = 900.0;

/// How a simulation is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Plans that wait for an operator are let go on.
    pub proceed: bool,
    /// Chance is taken from this; without, everything takes its ordinary time.
    pub seed: Option<u64>,
    /// Seconds of virtual time after which it ends in any case.
    pub horizon: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { proceed: false, seed: None, horizon: 24.0 * 3600.0 }
    }
}

/// What is to happen.
#[derive(Clone, Debug)]
enum Due {
    /// The scheduler is started.
    Start,
    /// The scheduler subscribes; the number is that of its run.
    Subscribe(u64),
    /// An event arrives over the connection of this number.
    Deliver(u64, Box<Event>),
    /// Time passes for the scheduler.
    Tick(u64),
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// What happened.
    pub story: Story,
    /// What the scheduler is started with the next time.
    pub deployment: Deployment,
    /// The calls that reached the master, if they are kept.
    pub calls: Option<Vec<Call>>,
    settings: Settings,
    process: Option<Process>,
    /// What is durable while no process runs.
    stored: Stored,
    now: f64,
    due: Queue<Due>,
    runs: u64,
    connection: u64,
    /// Events arrive in order: none before this time.
    stream_free: f64,
    tick: f64,
    ticks: u64,
    changed: f64,
    progressed: f64,
    complete: usize,
    statuses: Vec<(String, Status)>,
    problem: Option<String>,
}

impl World {
    /// A world in which a scheduler is about to be started.
    pub fn new(machines: Vec<Machine>, deployment: Deployment, settings: Settings) -> Self {
        let random = settings.seed.map(|seed| Random::about(seed, 1));
        let mut cluster = Cluster::new(machines, random);
        cluster.set_goals(&deployment.service.spec);
        let mut due = Queue::default();
        due.add(0.0, Due::Start);
        Self {
            cluster,
            story: Story::default(),
            deployment,
            calls: None,
            settings,
            process: None,
            stored: Stored::new(),
            now: 0.0,
            due,
            runs: 0,
            connection: 0,
            stream_free: 0.0,
            tick: TICK,
            ticks: 0,
            changed: 0.0,
            progressed: 0.0,
            complete: 0,
            statuses: Vec::new(),
            problem: None,
        }
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// The scheduler, while its process runs.
    pub fn scheduler(&self) -> Option<&Scheduler> {
        self.process.as_ref().map(|p| &p.scheduler)
    }

    /// What is durable.
    pub fn stored(&self) -> &Stored {
        self.process.as_ref().map_or(&self.stored, |p| &p.stored)
    }

    /// Why the scheduler does not start, if it does not.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Lets the next thing happen; `false` when there is nothing left before the horizon.
    pub fn step(&mut self) -> bool {
        let own = self.due.next_at();
        let theirs = self.cluster.queue.next_at();
        let Some(at) = [own, theirs].into_iter().flatten().reduce(f64::min) else { return false };
        if at > self.settings.horizon {
            return false;
        }
        self.now = self.now.max(at);
        if theirs.is_some_and(|theirs| own.is_none_or(|own| theirs <= own)) {
            self.cluster.advance(self.now);
            self.collect();
        } else if let Some((_, due)) = self.due.pop() {
            self.take(due);
        }
        self.note_plans();
        true
    }

    /// Lets things happen until nothing changes any more, or nothing gets better.
    pub fn run(&mut self) {
        self.run_while(|world| world.now - world.changed < QUIET && world.now - world.progressed < PATIENCE);
    }

    /// Lets things happen as long as a condition holds.
    pub fn run_while(&mut self, condition: impl Fn(&Self) -> bool) {
        while condition(self) && self.problem.is_none() && self.step() {}
    }

    fn take(&mut self, due: Due) {
        match due {
            Due::Start => self.start(),
            Due::Subscribe(run) if run == self.runs => self.subscribe(),
            Due::Deliver(connection, event) if connection == self.connection => self.send(*event),
            Due::Tick(tick) if tick == self.ticks => self.on_tick(),
            Due::Subscribe(_) | Due::Deliver(..) | Due::Tick(_) => {}
        }
    }

    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.runs += 1;
        let stored = self.stored.clone();
        match Process::start(&self.deployment, stored, self.runs) {
            Ok((process, effects)) => {
                self.stored.clear();
                self.process = Some(process);
                self.story.tell(self.now, || "the scheduler starts".to_owned());
                self.perform(effects);
                if self.scheduler().is_some_and(Scheduler::needs_master) {
                    self.due.add(self.now + CONNECT, Due::Subscribe(self.runs));
                }
                self.set_tick(TICK);
            }
            Err(error) => self.problem = Some(error.to_string()),
        }
    }

    fn subscribe(&mut self) {
        let Some(info) = self.scheduler().map(Scheduler::framework_info) else { return };
        self.connection += 1;
        match self.cluster.subscribe(self.now, info) {
            Some(id) => {
                self.story.tell(self.now, || format!("the scheduler subscribes as {id}"));
                self.deliver(Event::Subscribed { framework_id: id.value });
                self.deliver(Event::MasterRegion(Some(HOME_REGION.to_owned())));
                self.collect();
            }
            None => self.deliver(Event::TornDown),
        }
    }

    /// Ends the process at once, between two effects; it is started again after a while.
    pub fn crash(&mut self) {
        let Some(process) = self.process.take() else { return };
        self.stored = process.stored;
        self.hang_up();
        self.due.add(self.now + RESTART, Due::Start);
    }

    /// Ends the process and starts another with what [`World::deployment`] says now.
    pub fn redeploy(&mut self, deployment: Deployment) {
        self.cluster.set_goals(&deployment.service.spec);
        self.deployment = deployment;
        self.crash();
        self.changed = self.now;
        self.progressed = self.now;
    }

    /// Closes the connection: what the master said and did not arrive is lost.
    fn hang_up(&mut self) {
        self.cluster.disconnect();
        self.connection += 1;
        self.collect();
    }

    fn deliver(&mut self, event: Event) {
        self.stream_free = self.stream_free.max(self.now + LATENCY);
        self.due.add(self.stream_free, Due::Deliver(self.connection, Box::new(event)));
    }

    /// Takes over what the cluster has to say.
    fn collect(&mut self) {
        for event in self.cluster.take_events() {
            self.deliver(event);
        }
        for observed in self.cluster.take_observed() {
            self.story.tell_observed(self.now, &observed);
            if !matches!(observed, Observed::Acknowledged(_)) {
                self.changed = self.now;
            }
        }
    }

    /// Gives the scheduler an event now and carries out what it wants.
    pub fn send(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let now = self.now;
            let Some(process) = &mut self.process else { return };
            let idle = matches!(event, Event::Tick);
            let effects = process.scheduler.handle(now, event);
            if !idle || !effects.is_empty() {
                self.wake();
            }
            next = self.perform(effects).map(Event::CallFailed);
        }
    }

    /// Gives the scheduler an operator's command; what it says to it.
    pub fn command(&mut self, command: &Command) -> Result<(), String> {
        let now = self.now;
        let process = self.process.as_mut().ok_or("the scheduler does not run")?;
        let (_, _, effects) = process.scheduler.command(now, command).map_err(|e| e.to_string())?;
        self.wake();
        self.changed = self.now;
        if let Some(failed) = self.perform(effects) {
            self.send(Event::CallFailed(failed));
        }
        Ok(())
    }

    /// Stores, then sends, in order. Gives the kind of an ACCEPT that could not be delivered, or of another such call.
    fn perform(&mut self, effects: Vec<Effect>) -> Option<CallType> {
        let mut failed = None;
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Write(writes) => {
                    if let Some(process) = &mut self.process {
                        store(&mut process.stored, &writes);
                    }
                }
                Effect::Call(call) => {
                    let kind = call.r#type;
                    if !self.call(*call) {
                        failed = failed.filter(|f| *f == CallType::Accept).or(Some(kind));
                    }
                }
            }
        }
        failed
    }

    /// Sends a call; `false` when it could not be.
    fn call(&mut self, call: Call) -> bool {
        if self.cluster.interest() == Interest::Away {
            return false;
        }
        match call.r#type {
            CallType::Suppress => self.story.tell(self.now, || "the scheduler wants no offers".to_owned()),
            CallType::Revive => self.story.tell(self.now, || "the scheduler wants offers again".to_owned()),
            _ => {}
        }
        if let Some(calls) = &mut self.calls {
            calls.push(call.clone());
        }
        self.cluster.call(self.now, call);
        self.collect();
        true
    }

    fn wake(&mut self) {
        if self.tick > TICK {
            self.set_tick(TICK);
        }
    }

    fn set_tick(&mut self, seconds: f64) {
        self.tick = seconds;
        self.ticks += 1;
        self.due.add(self.now + seconds, Due::Tick(self.ticks));
    }

    fn on_tick(&mut self) {
        let slower = (self.tick * 2.0).min(SLOW_TICK);
        self.note_progress();
        let before = self.ticks;
        self.send(Event::Tick);
        if self.settings.proceed {
            self.proceed();
        }
        if self.process.is_some() && self.ticks == before {
            self.set_tick(slower);
        }
    }

    /// Lets the deploy plan go on where it waits for an operator, one step of each phase at a time.
    fn proceed(&mut self) {
        let Some(plan) = self.deploy() else { return };
        let mut commands = Vec::new();
        let go_on = |phase: Option<String>| Command::Plan {
            plan: "deploy".to_owned(),
            phase,
            step: None,
            command: PlanCommand::Continue,
        };
        if plan.is_interrupted() {
            commands.push(go_on(None));
        }
        let waiting = plan.phases().filter(|p| p.status() == Status::Waiting);
        commands.extend(waiting.map(|p| go_on(Some(p.id.clone()))));
        for command in commands {
            self.story.tell(self.now, || match &command {
                Command::Plan { phase: Some(_), .. } => "the operator lets a phase go on".to_owned(),
                _ => "the operator lets the plan go on".to_owned(),
            });
            // one that has gone on meanwhile is as wanted
            let _ = self.command(&command);
        }
    }

    /// The deploy plan, while the scheduler runs.
    pub fn deploy(&self) -> Option<&Plan> {
        self.scheduler()?.plan("deploy")
    }

    /// The status of the deploy plan.
    pub fn deploy_status(&self) -> Option<Status> {
        self.deploy().map(Plan::status)
    }

    fn note_progress(&mut self) {
        let steps = self.scheduler().into_iter().flat_map(Scheduler::plans).flat_map(Plan::steps);
        let complete = steps.filter(|s| s.status() == Status::Complete).count();
        if complete > self.complete {
            self.progressed = self.now;
        }
        self.complete = complete;
    }

    /// Notes how plans change.
    fn note_plans(&mut self) {
        let Some(process) = &self.process else { return };
        let plans = process.scheduler.plans();
        let same = plans.len() == self.statuses.len()
            && plans
                .iter()
                .zip(&self.statuses)
                .all(|(p, (name, status))| p.name == *name && p.status() == *status);
        if same {
            return;
        }
        let statuses: Vec<(String, Status)> = plans.iter().map(|p| (p.name.clone(), p.status())).collect();
        for (name, status) in statuses.iter().filter(|s| !self.statuses.contains(s)) {
            self.story.tell(self.now, || format!("plan {name} is {}", status.name()));
        }
        self.statuses = statuses;
        self.changed = self.now;
    }
}
