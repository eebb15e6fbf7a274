//! A service's whole life with incidents: deployed, disturbed, left in peace, removed; with the rules checked all along.

use super::agents::{self, Machine};
use super::incident::{self, Incident, Kind, Stage, Unit};
use super::watch::{Rule, Violation, Watch, is_automatic};
use super::world::{Settings, World};
use super::{Interest, Story};
use crate::plan::{Plan, Requirement, Status, Step, Work};
use crate::scheduler::Deployment;
use crate::scheduler::{Command, PlanCommand, PodCommand, Scheduler};
use crate::spec::{Goal, PodSpec};
use crate::wire::{AgentId, TaskId, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds after which nothing goes wrong any more in a stage.
const DISTURBED: f64 = 200.0;
/// Seconds that a service has to come back once nothing goes wrong any more.
const RECOVERY: f64 = 4.0 * 3600.0;
/// Seconds that a service must stay as it is to count as settled.
const SETTLED: f64 = 60.0;

/// A service that is tried, with the cluster it is tried on.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The service.
    pub deployment: Deployment,
    /// The agents.
    pub machines: Vec<Machine>,
    /// What it is updated to; each is known to work, and to lead back.
    updates: Vec<Deployment>,
}

/// What came of a trial.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened, unless nobody wanted to know.
    pub story: Story,
    /// Virtual seconds.
    pub seconds: f64,
}

impl Subject {
    /// A service with agents, and changes of it that can be deployed after it.
    pub fn new(deployment: Deployment, machines: Vec<Machine>) -> Self {
        let mut subject = Self { deployment, machines, updates: Vec::new() };
        subject.updates =
            subject.variants().into_iter().filter(|update| subject.can_become(update)).collect();
        subject
    }

    /// A service with so many agents that suit it, also after it has grown.
    pub fn on_suited_agents(deployment: Deployment, count: u32) -> Self {
        let mut grown = deployment.service.clone();
        for pod in &mut grown.spec.pods {
            pod.count += 1;
        }
        let machines = agents::suited_to(&grown, &deployment.config, count);
        Self::new(deployment, machines)
    }

    /// Changes that operators make: another variable, more or less memory, one instance more or less.
    fn variants(&self) -> Vec<Deployment> {
        let mut variants = Vec::new();
        for at in 0..self.deployment.service.spec.pods.len() {
            let changes: [fn(&mut PodSpec); 4] = [
                |pod| {
                    for task in &mut pod.tasks {
                        task.env.insert("CHANGED".to_owned(), "yes".to_owned());
                    }
                },
                |pod| {
                    for task in &mut pod.tasks {
                        task.resource_set.memory = task.resource_set.memory.map(|m| m + 16.0);
                    }
                },
                |pod| pod.count += 1,
                |pod| pod.count = (pod.count - 1).max(1),
            ];
            for change in changes {
                let mut variant = self.deployment.clone();
                change(&mut variant.service.spec.pods[at]);
                if variant.service != self.deployment.service {
                    variants.push(variant);
                }
            }
        }
        variants
    }

    /// Whether the service can be changed to an update of it, and back.
    fn can_become(&self, update: &Deployment) -> bool {
        let mut world = self.world(None);
        let complete = |world: &World| world.deploy_status() == Some(Status::Complete);
        world.run_while(|world| !complete(world) && world.now() < RECOVERY);
        [update, &self.deployment].into_iter().all(|next| {
            world.redeploy(next.clone());
            world.run();
            complete(&world) && world.problem().is_none()
        })
    }

    fn world(&self, seed: Option<u64>) -> World {
        let settings = Settings { proceed: true, seed, horizon: f64::INFINITY };
        let mut world = World::new(self.machines.clone(), self.deployment.clone(), settings);
        world.story.silent = true;
        world
    }

    /// How the service fares without any incident; it must do well, or trials say nothing.
    pub fn in_peace(&self) -> Outcome {
        Trial::new(self, 0, &[]).run()
    }
}

/// One life of a service.
#[derive(Debug)]
pub struct Trial<'s> {
    subject: &'s Subject,
    incidents: Vec<Incident>,
    /// The world that it happens in.
    pub world: World,
    /// Agents that will not come back.
    lost: BTreeSet<AgentId>,
    /// What has been interrupted, until when.
    interrupted: Option<f64>,
    /// Agents that come back, and when.
    cut: Vec<(f64, AgentId)>,
    /// When operators resume what they have paused.
    resume: Vec<f64>,
}

impl<'s> Trial<'s> {
    /// A life with these incidents; the seed also decides how long things take.
    pub fn new(subject: &'s Subject, seed: u64, incidents: &[Incident]) -> Self {
        let world = subject.world(Some(seed));
        let incidents = incidents.to_vec();
        Self {
            subject,
            incidents,
            world,
            lost: BTreeSet::new(),
            interrupted: None,
            cut: Vec::new(),
            resume: Vec::new(),
        }
    }

    /// A life with what chance chooses out of kinds of incidents.
    pub fn by_chance(subject: &'s Subject, seed: u64, kinds: &[Kind]) -> Self {
        Self::new(subject, seed, &incident::by_chance(seed, kinds))
    }

    /// Its incidents.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// Lives it.
    pub fn run(mut self) -> Outcome {
        self.disturb(Stage::Deploy);
        self.come_back();
        if self.goes_on() {
            let mut removal = self.world.deployment.clone();
            removal.config.uninstall = true;
            self.world.redeploy(removal);
            self.disturb(Stage::Uninstall);
            self.be_gone();
        }
        let seconds = self.world.now();
        Outcome { violation: self.world.watch.violation, story: self.world.story, seconds }
    }

    fn goes_on(&self) -> bool {
        self.world.watch.violation.is_none()
    }

    /// Lets everything of a stage go wrong, and then nothing more.
    fn disturb(&mut self, stage: Stage) {
        let mine: Vec<Incident> = self.incidents.iter().filter(|i| i.stage == stage).copied().collect();
        let mut timed = Vec::new();
        self.world.trouble.stop();
        self.world.cluster.mishaps.restart();
        for incident in mine {
            match incident.kind.unit() {
                Unit::Count => self.plan(incident),
                Unit::Seconds => timed.push(incident),
            }
        }
        timed.sort_by(|a, b| a.when.total_cmp(&b.when));
        let begin = self.world.now();
        if self.incidents.iter().all(|i| i.stage != stage) {
            return;
        }
        for incident in timed {
            self.run_until(begin + incident.when);
            if !self.goes_on() {
                return;
            }
            self.world.story.tell(self.world.now(), || format!("incident: {incident}"));
            self.happen(incident);
        }
        self.run_until(begin + DISTURBED);
        self.calm();
    }

    /// Something that happens at a count.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts are small and positive
    fn plan(&mut self, Incident { kind, when, lasts, .. }: Incident) {
        let number = when as u64;
        let (trouble, mishaps) = (&mut self.world.trouble, &mut self.world.cluster.mishaps);
        match kind {
            Kind::Crash => drop(trouble.crashes.insert(number)),
            Kind::FailWrite => drop(trouble.refused_writes.insert(number)),
            Kind::SlowWrite => drop(trouble.slow_writes.insert(number, lasts)),
            Kind::LoseCall => drop(trouble.lost_calls.insert(number)),
            Kind::LoseAnswer => drop(trouble.lost_answers.insert(number)),
            Kind::LoseStatus => drop(mishaps.lost.insert(number)),
            Kind::RepeatStatus => drop(mishaps.repeated.insert(number)),
            Kind::DelayStatus => drop(mishaps.delayed.insert(number, lasts)),
            Kind::FailReserve => drop(mishaps.reserves.insert(number)),
            Kind::FailCreate => drop(mishaps.creates.insert(number)),
            _ => {}
        }
    }

    /// Lets time pass, with agents coming back and plans going on when they should.
    fn run_until(&mut self, end: f64) {
        loop {
            let interrupted = self.interrupted.unwrap_or(f64::INFINITY);
            let back = self.cut.iter().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
            let resume = self.resume.iter().copied().fold(f64::INFINITY, f64::min);
            let next = interrupted.min(back).min(resume).min(end);
            self.world.run_to(next);
            if !self.goes_on() || self.world.problem().is_some() {
                return;
            }
            if interrupted <= next {
                self.interrupted = None;
                self.order_deploy(PlanCommand::Continue);
            }
            if resume <= next {
                self.resume.retain(|at| *at > next);
                self.resume_paused();
            }
            let (due, later): (Vec<_>, Vec<_>) = self.cut.drain(..).partition(|(at, _)| *at <= next);
            self.cut = later;
            for (_, agent) in due {
                self.world.in_cluster(|cluster, now| cluster.reconnect_agent(now, &agent));
            }
            if next >= end {
                return;
            }
        }
    }

    /// Something that happens now.
    fn happen(&mut self, incident: Incident) {
        let Incident { stage, kind, lasts, which, .. } = incident;
        let world = &mut self.world;
        match kind {
            Kind::FailTask | Kind::KillTask => {
                let state = if kind == Kind::FailTask { TaskState::Failed } else { TaskState::Killed };
                let running =
                    world.cluster.tasks.values().filter(|t| t.is_alive() && t.state == TaskState::Running);
                let running: Vec<TaskId> = running.map(|t| t.info.task_id.clone()).collect();
                if let Some(task) = pick(&running, which) {
                    world.in_cluster(|cluster, now| cluster.fail_task(now, task, state));
                }
            }
            Kind::Rescind => world.rescind_offers(),
            Kind::Stall => world.stall(lasts),
            Kind::CutAgent | Kind::Reboot => {
                let Some(agent) = self.agent(which) else { return };
                let reboots = kind == Kind::Reboot;
                self.world.in_cluster(|cluster, now| {
                    if reboots {
                        cluster.reboot_agent(now, &agent, lasts);
                    } else {
                        cluster.cut_agent(now, &agent);
                    }
                });
                if !reboots {
                    self.cut.push((self.world.now() + lasts, agent));
                }
            }
            Kind::Destroy | Kind::MarkGone => {
                let Some(agent) = self.agent(which) else { return };
                self.lose_agent(&agent, kind == Kind::MarkGone);
            }
            Kind::Disconnect => world.disconnect(),
            Kind::ReplaceMaster => world.replace_master(),
            Kind::ClockAhead => world.set_clock(lasts),
            Kind::ClockBack => world.set_clock(-lasts),
            Kind::RestartPod | Kind::ReplacePod if stage == Stage::Deploy => {
                let replace = kind == Kind::ReplacePod;
                let pods = self.pods();
                if let Some(pod) = pick(&pods, which) {
                    self.order_pod(pod, if replace { PodCommand::Replace } else { PodCommand::Restart });
                }
            }
            Kind::Interrupt if stage == Stage::Deploy => {
                self.order_deploy(PlanCommand::Interrupt);
                self.interrupted = Some(self.world.now() + lasts);
            }
            Kind::PausePod if stage == Stage::Deploy => {
                let pods = self.pods();
                if let Some(pod) = pick(&pods, which) {
                    self.order_pod(pod, PodCommand::Pause(Vec::new()));
                    self.resume.push(self.world.now() + lasts);
                }
            }
            Kind::StartPlan if stage == Stage::Deploy => self.start_plan(which),
            Kind::Update if stage == Stage::Deploy => {
                // what can follow the first configuration need not follow another
                let first = &self.subject.deployment;
                let next = if self.world.deployment.service == first.service {
                    pick(&self.subject.updates, which)
                } else {
                    Some(first)
                };
                if let Some(next) = next {
                    self.world.redeploy(next.clone());
                }
            }
            _ => {}
        }
    }

    /// One of the agents that can be reached.
    fn agent(&self, which: u64) -> Option<AgentId> {
        let up = self.world.cluster.agents.values().filter(|a| !a.cut && !a.dead);
        let up: Vec<AgentId> = up.map(|a| a.id.clone()).collect();
        pick(&up, which).cloned()
    }

    /// An agent is gone for good; another machine of the kind and the name takes its place.
    fn lose_agent(&mut self, agent: &AgentId, marked: bool) {
        self.lost.insert(agent.clone());
        self.cut.retain(|(_, cut)| cut != agent);
        let pods: BTreeSet<String> = self
            .world
            .cluster
            .tasks
            .values()
            .filter(|t| t.info.agent_id == *agent && marked)
            .map(super::Task::pod_instance)
            .collect();
        for pod in pods {
            self.world.watch.replaced(&pod, &self.world.cluster);
        }
        self.world.in_cluster(|cluster, now| {
            let machine = cluster.agents.get(agent).map(|a| a.machine.clone());
            if marked {
                cluster.mark_agent_gone(now, agent);
            } else {
                cluster.destroy_agent(now, agent);
            }
            if let Some(machine) = machine {
                cluster.add_agent(machine);
            }
        });
    }

    /// The pod instances that the scheduler knows.
    fn pods(&self) -> Vec<String> {
        let tasks =
            self.world.scheduler().map(|s| s.tasks().values().map(|t| format!("{}-{}", t.pod, t.index)));
        let pods: BTreeSet<String> = tasks.into_iter().flatten().collect();
        pods.into_iter().collect()
    }

    fn order_pod(&mut self, pod: &str, command: PodCommand) {
        if command == PodCommand::Replace {
            self.world.watch.replaced(pod, &self.world.cluster);
        }
        // a process that does not run can't be told
        drop(self.world.command(&Command::Pod { pod: pod.to_owned(), command }));
    }

    /// Lets all tasks do their work that were paused.
    fn resume_paused(&mut self) {
        let Some(scheduler) = self.world.scheduler() else { return };
        let mut paused = BTreeMap::<String, Vec<String>>::new();
        for task in scheduler.tasks().values().filter(|t| t.notes.paused) {
            paused.entry(format!("{}-{}", task.pod, task.index)).or_default().push(task.name.0.clone());
        }
        for (pod, tasks) in paused {
            self.order_pod(&pod, PodCommand::Resume(tasks));
        }
    }

    /// Starts a plan of the author's own.
    fn start_plan(&mut self, which: u64) {
        let Some(scheduler) = self.world.scheduler() else { return };
        let own: Vec<&Plan> = scheduler.plans().iter().filter(|p| !is_automatic(&p.name)).collect();
        let Some(plan) = pick(&own, which) else { return };
        let (plan, command) = (plan.name.clone(), PlanCommand::Start(BTreeMap::new()));
        // as above
        drop(self.world.command(&Command::Plan { plan, phase: None, step: None, command }));
    }

    fn order_deploy(&mut self, command: PlanCommand) {
        let command = Command::Plan { plan: "deploy".to_owned(), phase: None, step: None, command };
        // as above; and one that is as wanted already is no mistake
        drop(self.world.command(&command));
    }

    /// From now on nothing goes wrong.
    fn calm(&mut self) {
        self.world.story.tell(self.world.now(), || "nothing goes wrong any more".to_owned());
        self.world.trouble.stop();
        self.world.cluster.mishaps.stop();
        self.interrupted = None;
        for (_, agent) in std::mem::take(&mut self.cut) {
            self.world.in_cluster(|cluster, now| cluster.reconnect_agent(now, &agent));
        }
    }

    /// The service has to be as it should be again, with the help that operators give: pods whose agents are gone are
    /// replaced.
    fn come_back(&mut self) {
        let begin = self.world.now();
        let mut since = None;
        let mut replaced = BTreeSet::new();
        while self.goes_on() {
            if self.world.now() - begin > RECOVERY {
                let what = self.not_deployed().unwrap_or_else(|| "it does not settle".to_owned());
                self.world.watch.broken(Rule::ComesBack, what);
                return;
            }
            self.run_until(self.world.now() + 5.0);
            self.replace_lost(&mut replaced);
            self.force_lost("decommission");
            self.resume_paused();
            if self.deploy_is_interrupted() {
                self.order_deploy(PlanCommand::Continue);
            }
            match (self.not_deployed(), since) {
                (Some(_), _) => since = None,
                (None, None) => since = Some(self.world.now()),
                (None, Some(since)) if self.world.now() - since > SETTLED => return,
                (None, Some(_)) => {}
            }
        }
    }

    fn not_deployed(&self) -> Option<String> {
        let Some(scheduler) = self.world.scheduler() else {
            return Some("the scheduler does not run".to_owned());
        };
        self.world.watch.not_deployed(scheduler, &self.world.cluster)
    }

    fn deploy_is_interrupted(&self) -> bool {
        self.world.deploy().is_some_and(Plan::is_interrupted)
    }

    /// An operator replaces pods that wait for agents that are gone for good.
    fn replace_lost(&mut self, replaced: &mut BTreeSet<(String, AgentId)>) {
        if self.lost.is_empty() || self.world.cluster.interest() == Interest::Away {
            return;
        }
        let Some(scheduler) = self.world.scheduler() else { return };
        let steps = scheduler.plans().iter().filter(|p| !p.is_interrupted()).flat_map(Plan::steps);
        let open = steps.filter(|s| s.status() != Status::Complete).filter_map(Step::requirement);
        let open: BTreeSet<_> = open.map(Requirement::instance).collect();
        let waits = |task: &&crate::scheduler::Task| {
            let (_, spec) = scheduler.target();
            let goal = spec.pod(&task.pod).and_then(|p| p.task(&task.name)).map(|t| t.goal);
            let finished = task.state() == TaskState::Finished && goal != Some(Goal::Running);
            let done = finished && !open.contains(&task.pod_instance());
            self.lost.contains(&task.info.agent_id) && !done
        };
        let pods: BTreeSet<(String, AgentId)> = scheduler
            .tasks()
            .values()
            .filter(waits)
            .map(|t| (format!("{}-{}", t.pod, t.index), t.info.agent_id.clone()))
            .collect();
        for (pod, agent) in pods {
            if replaced.insert((pod.clone(), agent)) {
                self.order_pod(&pod, PodCommand::Replace);
            }
        }
    }

    /// The service has to be gone, with the help that operators give: what was reserved on agents that are gone is not
    /// waited for.
    fn be_gone(&mut self) {
        let begin = self.world.now();
        while self.goes_on() && self.world.deploy_status() != Some(Status::Complete) {
            if self.world.now() - begin > RECOVERY {
                let open =
                    self.world.deploy().and_then(|p| p.steps().find(|s| s.status() != Status::Complete));
                let what = open
                    .map_or("the scheduler does not run".to_owned(), |s| format!("{} is not done", s.name));
                self.world.watch.broken(Rule::NothingIsLeft, what);
                return;
            }
            self.run_until(self.world.now() + 5.0);
            self.force_lost("deploy");
        }
        // what is stored last comes after the answer of the master
        self.run_until(self.world.now() + 5.0);
        if self.goes_on()
            && let Some(what) = Watch::left_behind(self.world.stored(), &self.world.cluster)
        {
            self.world.watch.broken(Rule::NothingIsLeft, what);
        }
    }

    /// An operator lets steps of a plan count as done that wait for agents that are gone for good.
    fn force_lost(&mut self, plan: &str) {
        let Some(scheduler) = self.world.scheduler().filter(|_| !self.lost.is_empty()) else { return };
        let commands = scheduler.plan(plan).map(|plan| lost_steps(plan, scheduler, &self.lost));
        for command in commands.unwrap_or_default() {
            // as above
            drop(self.world.command(&command));
        }
    }
}

/// Commands that let steps count as done which wait for something on agents that are gone.
fn lost_steps(plan: &Plan, scheduler: &Scheduler, lost: &BTreeSet<AgentId>) -> Vec<Command> {
    let gone = |step: &Step| match &step.work {
        Work::Unreserve { agent, .. } => lost.contains(agent),
        Work::Kill { task } => scheduler.tasks().get(task).is_some_and(|t| lost.contains(&t.info.agent_id)),
        _ => false,
    };
    let mut commands = Vec::new();
    for phase in plan.phases() {
        for step in phase.steps().iter().filter(|s| s.status() != Status::Complete && gone(s)) {
            commands.push(Command::Plan {
                plan: plan.name.clone(),
                phase: Some(phase.id.clone()),
                step: Some(step.id.clone()),
                command: PlanCommand::ForceComplete,
            });
        }
    }
    commands
}

fn pick<T>(from: &[T], which: u64) -> Option<&T> {
    let count = u64::try_from(from.len()).ok().filter(|n| *n > 0)?;
    usize::try_from(which % count).ok().and_then(|at| from.get(at))
}
