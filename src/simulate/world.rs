//! The world: a scheduler process and a cluster, the connection between them, and time.
//!
//! It does what the runtime does with effects (write first, then calls in order; a call that fails is an event) and what
//! an init system does with a process that ended: starts it again from what is durable.

use super::agents::{HOME_REGION, Machine};
use super::cluster::{Cluster, Interest, Observed};
use super::process::Process;
use super::queue::Queue;
use super::random::Random;
use super::story::Story;
use super::watch::{Rule, Watch};
use crate::plan::{Plan, Status, Step};
use crate::scheduler::Deployment;
use crate::scheduler::{Command, Effect, Event, PlanCommand, Scheduler, Stored, store};
use crate::wire::OfferId;
use crate::wire::{Call, CallType};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// What goes wrong between the scheduler and its store and master, by the number of the effect, write or call, from 1 on.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    /// The process ends before these effects.
    pub crashes: BTreeSet<u64>,
    /// Writes that the store refuses.
    pub refused_writes: BTreeSet<u64>,
    /// Writes that take so many seconds.
    pub slow_writes: BTreeMap<u64, f64>,
    /// Calls that do not reach the master.
    pub lost_calls: BTreeSet<u64>,
    /// Calls that reach the master, without the scheduler hearing so.
    pub lost_answers: BTreeSet<u64>,
    effects: u64,
    writes: u64,
    calls: u64,
}

impl Trouble {
    /// Lets nothing more go wrong.
    pub fn stop(&mut self) {
        *self = Self::default();
    }
}

/// What the scheduler is given.
#[derive(Clone, Debug)]
enum Input {
    Event(u64, Event),
    Command(Command),
}

/// Effects that wait for the store.
#[derive(Clone, Debug)]
struct Pending {
    effects: VecDeque<Effect>,
    failed: Option<CallType>,
}

/// What is to happen.
#[derive(Clone, Debug)]
enum Due {
    /// The store has made durable what the run of this number wanted.
    Written(u64),
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
    /// What goes wrong.
    pub trouble: Trouble,
    /// What must always be so.
    pub watch: Watch,
    settings: Settings,
    process: Option<Process>,
    pending: Option<Pending>,
    /// What came while the store was being waited for.
    inbox: VecDeque<Input>,
    /// How much the scheduler's clock is ahead, seconds; and how much the next process' will be.
    skew: f64,
    next_skew: f64,
    /// What is durable while no process runs.
    stored: Stored,
    now: f64,
    due: Queue<Due>,
    runs: u64,
    connection: u64,
    /// The connection that the process knows of.
    heard: u64,
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
        let mut watch = Watch::default();
        watch.deployed(&deployment.service);
        Self {
            cluster,
            story: Story::default(),
            deployment,
            calls: None,
            trouble: Trouble::default(),
            watch,
            settings,
            process: None,
            pending: None,
            inbox: VecDeque::new(),
            skew: 0.0,
            next_skew: 0.0,
            stored: Stored::new(),
            now: 0.0,
            due,
            runs: 0,
            connection: 0,
            heard: 0,
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
        while condition(self) && self.problem.is_none() && self.watch.violation.is_none() && self.step() {}
    }

    /// Lets everything happen up to a time.
    pub fn run_to(&mut self, end: f64) {
        while self.problem.is_none() && self.watch.violation.is_none() {
            let next =
                [self.due.next_at(), self.cluster.queue.next_at()].into_iter().flatten().reduce(f64::min);
            if next.is_none_or(|at| at > end) || !self.step() {
                break;
            }
        }
        self.now = self.now.max(end);
    }

    fn take(&mut self, due: Due) {
        match due {
            Due::Start => self.start(),
            Due::Subscribe(run) if run == self.runs && !self.cluster.framework.connected => self.subscribe(),
            Due::Deliver(connection, event) if connection == self.connection => {
                self.send_over(connection, *event);
            }
            Due::Tick(tick) if tick == self.ticks => self.on_tick(),
            Due::Written(run) if run == self.runs => self.on_written(),
            Due::Subscribe(_) | Due::Deliver(..) | Due::Tick(_) | Due::Written(_) => {}
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
                self.skew = self.next_skew;
                self.watch.started();
                self.story.tell(self.now, || "the scheduler starts".to_owned());
                self.perform(effects.into());
                if self.scheduler().is_some_and(Scheduler::needs_master) {
                    self.due.add(self.now + CONNECT, Due::Subscribe(self.runs));
                }
                self.set_tick(TICK);
            }
            Err(error) => {
                self.problem = Some(error.to_string());
                self.watch.broken(Rule::Starts, error.to_string());
            }
        }
    }

    fn subscribe(&mut self) {
        if self.pending.is_some() {
            // what the start stores is stored before
            return self.due.add(self.now + CONNECT, Due::Subscribe(self.runs));
        }
        let Some(scheduler) = self.scheduler().filter(|s| s.needs_master()) else { return };
        let info = scheduler.framework_info();
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
        self.pending = None;
        self.inbox.clear();
        self.story.tell(self.now, || "the scheduler's process ends".to_owned());
        self.hang_up();
        self.due.add(self.now + RESTART, Due::Start);
    }

    /// Ends the process and starts another with what [`World::deployment`] says now.
    pub fn redeploy(&mut self, deployment: Deployment) {
        self.cluster.set_goals(&deployment.service.spec);
        self.watch.deployed(&deployment.service);
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
        let Deployment { service, config } = &self.deployment;
        let patient = service.spec.replacement_failure_policy.or(config.replacement).is_none();
        for observed in self.cluster.take_observed() {
            self.watch.on_observed(self.now, &observed, &self.cluster, patient);
            self.story.tell_observed(self.now, &observed);
            if !matches!(observed, Observed::Acknowledged(_)) {
                self.changed = self.now;
            }
        }
    }

    /// What the scheduler takes the time for, seconds.
    fn clock(&self) -> f64 {
        self.now + self.skew
    }

    /// Gives the scheduler an event now and carries out what it wants.
    pub fn send(&mut self, event: Event) {
        self.send_over(self.connection, event);
    }

    /// As [`World::send`], of what came over the connection of this number.
    fn send_over(&mut self, connection: u64, event: Event) {
        if self.pending.is_some() {
            return self.inbox.push_back(Input::Event(connection, event));
        }
        if matches!(event, Event::Subscribed { .. }) {
            self.heard = connection;
        }
        let mut next = Some(event);
        let mut failed = 0;
        while let Some(event) = next.take() {
            self.watch.failed_again(self.now, failed);
            if self.watch.violation.is_some() {
                return;
            }
            failed += 1;
            let clock = self.clock();
            let Some(process) = &mut self.process else { return };
            let idle = matches!(event, Event::Tick);
            let effects = process.scheduler.handle(clock, event);
            if !idle || !effects.is_empty() {
                self.wake();
            }
            self.look();
            next = self.perform(effects.into()).map(Event::CallFailed);
        }
    }

    /// Gives the scheduler an operator's command; what it says to it.
    pub fn command(&mut self, command: &Command) -> Result<(), String> {
        if self.pending.is_some() {
            self.inbox.push_back(Input::Command(command.clone()));
            return Ok(());
        }
        let clock = self.clock();
        let process = self.process.as_mut().ok_or("the scheduler does not run")?;
        if let Command::Plan { plan, command: PlanCommand::Start(_) | PlanCommand::Restart, .. } = command {
            let steps = process.scheduler.plan(plan).into_iter().flat_map(Plan::steps);
            steps.filter_map(Step::requirement).for_each(|r| self.watch.ordered(r));
        }
        let (_, _, effects) = process.scheduler.command(clock, command).map_err(|e| e.to_string())?;
        self.wake();
        self.changed = self.now;
        self.look();
        if let Some(failed) = self.perform(effects.into()) {
            self.send(Event::CallFailed(failed));
        }
        Ok(())
    }

    /// Checks what the scheduler made of what it was given.
    fn look(&mut self) {
        if let Some(process) = &self.process {
            self.watch.after_event(self.now, self.now + self.skew, &process.scheduler, &self.cluster);
        }
    }

    /// Stores, then sends, in order. Gives the kind of an ACCEPT that could not be delivered, or of another such call.
    fn perform(&mut self, effects: VecDeque<Effect>) -> Option<CallType> {
        self.carry_out(Pending { effects, failed: None })
    }

    fn carry_out(&mut self, mut pending: Pending) -> Option<CallType> {
        while let Some(effect) = pending.effects.pop_front() {
            self.trouble.effects += 1;
            if self.trouble.crashes.contains(&self.trouble.effects) {
                self.crash();
                return None;
            }
            match effect {
                Effect::Write(writes) => {
                    self.trouble.writes += 1;
                    let number = self.trouble.writes;
                    if self.trouble.refused_writes.contains(&number) {
                        self.story.tell(self.now, || "the store refuses a write".to_owned());
                        self.crash();
                        return None;
                    }
                    if let Some(seconds) = self.trouble.slow_writes.remove(&number) {
                        self.trouble.effects -= 1;
                        self.trouble.writes -= 1;
                        pending.effects.push_front(Effect::Write(writes));
                        self.pending = Some(pending);
                        self.due.add(self.now + seconds, Due::Written(self.runs));
                        return None;
                    }
                    self.watch.on_write(self.now, &writes);
                    if let Some(process) = &mut self.process {
                        store(&mut process.stored, &writes);
                    }
                }
                Effect::Call(call) => {
                    let kind = call.r#type;
                    if !self.call(*call) {
                        pending.failed = pending.failed.filter(|f| *f == CallType::Accept).or(Some(kind));
                    }
                }
            }
        }
        pending.failed
    }

    /// A slow write is done: what waited for it goes on.
    fn on_written(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        if let Some(failed) = self.carry_out(pending) {
            self.send(Event::CallFailed(failed));
        }
        while self.pending.is_none()
            && let Some(input) = self.inbox.pop_front()
        {
            match input {
                Input::Event(connection, event) => self.send_over(connection, event),
                // whoever asked is told that it can't be done
                Input::Command(command) => drop(self.command(&command)),
            }
        }
    }

    /// Sends a call; `false` when it could not be, or the scheduler does not hear that it was.
    fn call(&mut self, call: Call) -> bool {
        self.trouble.calls += 1;
        let number = self.trouble.calls;
        // calls go over the connection that the process knows of
        let open = self.heard == self.connection && self.cluster.interest() != Interest::Away;
        if !open || self.trouble.lost_calls.contains(&number) {
            return false;
        }
        match call.r#type {
            CallType::Suppress => self.story.tell(self.now, || "the scheduler wants no offers".to_owned()),
            CallType::Revive => self.story.tell(self.now, || "the scheduler wants offers again".to_owned()),
            _ => {}
        }
        if let Some(process) = &self.process {
            self.watch.on_call(self.now, &call, &process.stored, &self.cluster);
        }
        if let Some(calls) = &mut self.calls {
            calls.push(call.clone());
        }
        self.cluster.call(self.now, call);
        self.collect();
        !self.trouble.lost_answers.contains(&number)
    }

    /// The connection to the master is lost; the scheduler connects again.
    pub fn disconnect(&mut self) {
        // after its end nobody subscribes again
        if self.scheduler().is_none_or(|s| !s.needs_master()) {
            return;
        }
        self.hang_up();
        self.send(Event::Disconnected);
        self.due.add(self.now + CONNECT, Due::Subscribe(self.runs));
    }

    /// Another master takes over.
    pub fn replace_master(&mut self) {
        self.cluster.replace_master(self.now);
        self.disconnect();
    }

    /// Everything that the master says from now on arrives so many seconds late.
    pub fn stall(&mut self, seconds: f64) {
        self.stream_free = self.stream_free.max(self.now + seconds);
    }

    /// The clock of the scheduler's machine is set. A process does not see that its clock goes back.
    pub fn set_clock(&mut self, ahead: f64) {
        self.next_skew += ahead;
        self.skew = self.skew.max(self.next_skew);
    }

    /// The master takes back all offers that are not answered.
    pub fn rescind_offers(&mut self) {
        for offer in self.cluster.open_offers().cloned().collect::<Vec<OfferId>>() {
            self.cluster.rescind(&offer);
        }
        self.collect();
    }

    /// Does something to the cluster, and takes in what it has to say.
    pub fn in_cluster<R>(&mut self, act: impl FnOnce(&mut Cluster, f64) -> R) -> R {
        let result = act(&mut self.cluster, self.now);
        self.collect();
        self.changed = self.now;
        result
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
        if self.pending.is_some() {
            return self.set_tick(TICK);
        }
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
