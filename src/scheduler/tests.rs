//! The scheduler against a small cluster in memory, which keeps account of every resource as Mesos does.

mod calls;
mod intake;
mod operators;
mod plans;
mod preview;
mod shared;

use super::*;
use crate::finding::Source;
use crate::spec::{Context, parse};
use crate::wire::{
    CheckStatusCommand, CheckStatusInfo, Labels, Operation, OperationType, Range, Ranges, Resource, TaskInfo,
    TaskState, ValueType,
};

const SERVICE: &str = r"
name: hello
pods:
  db:
    count: 1
    tasks:
      server:
        goal: RUNNING
        cmd: serve
        cpus: 0.5
        memory: 64
        ports:
          sql:
            port: 0
            env-key: PORT_SQL
            vip: {port: 5432, prefix: db}
        volume: {path: data, type: ROOT, size: 100}
        readiness-check: {cmd: ready, interval: 1, timeout: 1}
  job:
    count: 1
    tasks:
      migrate: {goal: ONCE, cmd: migrate, cpus: 0.1, memory: 32}
  web:
    count: 2
    tasks:
      server: {goal: RUNNING, cmd: web, cpus: 0.2, memory: 32}
";

fn service(yaml: &str) -> Service {
    let none = |_: &str| Err("none".to_owned());
    let env = BTreeMap::new();
    match parse(&Source::new("svc.yml", yaml), &Context { template: &none, env: &env }) {
        Ok((service, _)) => service,
        Err(found) => panic!("{found:?}"),
    }
}

/// Runs what it is told to and answers as a master with one agent.
struct World {
    scheduler: Scheduler,
    yaml: String,
    stored: Stored,
    now: f64,
    seed: u8,
    free: Vec<Resource>,
    running: BTreeMap<TaskId, TaskInfo>,
    executors: BTreeMap<String, Vec<Resource>>,
    launched: Vec<String>,
    events: VecDeque<Event>,
    /// Updates of executors that agents send again until they are acknowledged.
    unacknowledged: Vec<TaskStatus>,
    offers: u32,
    /// How many effects are still carried out before the scheduler "crashes".
    effects_left: usize,
    /// ACCEPTs that never reach the master.
    lose_accepts: u32,
    suppressed: bool,
    /// The agent offers what it has.
    offering: bool,
}

fn ports(begin: u64, end: u64) -> Resource {
    Resource { ranges: Some(Ranges { range: vec![Range { begin, end }] }), ..Resource::port(1, "hello-role") }
}

impl World {
    fn new(yaml: &str) -> Self {
        let scalar = |name, amount| Resource::scalar(name, amount, "hello-role");
        let free =
            vec![scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 10_000.0), ports(9000, 9010)];
        let scheduler = Self::start(yaml, &Stored::new(), 0);
        let (scheduler, effects) = scheduler;
        let mut world = Self {
            scheduler,
            yaml: yaml.to_owned(),
            stored: Stored::new(),
            now: 0.0,
            seed: 0,
            free,
            running: BTreeMap::new(),
            executors: BTreeMap::new(),
            launched: Vec::new(),
            events: VecDeque::new(),
            unacknowledged: Vec::new(),
            offers: 0,
            effects_left: usize::MAX,
            lose_accepts: 0,
            suppressed: false,
            offering: true,
        };
        world.perform(effects);
        world.subscribe();
        world
    }

    fn start(yaml: &str, stored: &Stored, seed: u8) -> (Scheduler, Vec<Effect>) {
        let service = service(yaml);
        let mut env = BTreeMap::from([("VIP_TLD".to_owned(), "l4lb.localhost".to_owned())]);
        if yaml.contains("# uninstall") {
            env.insert("SDK_UNINSTALL".to_owned(), "true".to_owned());
        }
        // comments of the file stand for the scheduler's variables
        let variables = yaml.lines().filter_map(|line| line.strip_prefix("# env ")?.split_once('='));
        env.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let config = Config::from_env(&env, &service.spec, 8080).unwrap();
        Scheduler::start(config, service, stored, [seed; 16]).unwrap()
    }

    /// Ends the scheduler and starts another from what is durable.
    fn restart(&mut self) {
        self.seed += 1;
        self.effects_left = usize::MAX;
        self.events.clear();
        let (scheduler, effects) = Self::start(&self.yaml, &self.stored, self.seed);
        self.scheduler = scheduler;
        self.perform(effects);
        self.subscribe();
    }

    fn subscribe(&mut self) {
        self.suppressed = false;
        self.events.push_back(Event::Subscribed { framework_id: "F".to_owned() });
        self.events.extend(self.unacknowledged.iter().cloned().map(|s| Event::Update(Box::new(s))));
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.effects_left == 0 {
                return;
            }
            self.effects_left -= 1;
            match effect {
                Effect::Write(writes) => store(&mut self.stored, &writes),
                Effect::Call(call) => self.receive(*call),
            }
        }
    }

    fn receive(&mut self, call: Call) {
        match call.r#type {
            CallType::Accept if self.lose_accepts > 0 => self.lose_accepts -= 1,
            CallType::Accept => {
                for operation in call.accept.unwrap().operations {
                    self.operate(operation);
                }
            }
            CallType::Kill => {
                let id = call.kill.unwrap().task_id;
                if self.running.contains_key(&id) {
                    self.end(&id, TaskState::Killed);
                } else {
                    self.report(&id, TaskState::Gone, None);
                }
            }
            CallType::Reconcile => {
                for task in call.reconcile.unwrap().tasks {
                    let known = self.running.contains_key(&task.task_id);
                    let said = self.unacknowledged.iter().rev().find(|s| s.task_id == task.task_id);
                    let state =
                        said.map_or(if known { TaskState::Running } else { TaskState::Gone }, |s| s.state);
                    self.report(&task.task_id, state, None);
                }
            }
            CallType::Acknowledge => {
                let uuid = Some(call.acknowledge.unwrap().uuid);
                self.unacknowledged.retain(|s| s.uuid != uuid);
            }
            CallType::Teardown => self.events.push_back(Event::TornDown),
            CallType::Suppress => self.suppressed = true,
            CallType::Revive => self.suppressed = false,
            _ => {}
        }
    }

    fn take(&mut self, wanted: &Resource) {
        let same = |r: &&mut Resource| {
            r.name == wanted.name && r.reservations == wanted.reservations && r.disk == wanted.disk
        };
        let candidates = self.free.iter_mut().filter(same);
        for r in candidates {
            match wanted.r#type {
                ValueType::Ranges => {
                    let mut pool = crate::offer::Pool::new([r.clone()]);
                    if wanted.resource_id().is_some() {
                        if r.ranges == wanted.ranges {
                            r.ranges = None;
                            return;
                        }
                    } else if pool.take_port(None, |p| Some(p) == wanted.first_port()).is_some() {
                        *r = pool.resources()[0].clone();
                        return;
                    }
                }
                _ if r.amount() >= wanted.amount() => {
                    *r = r.with_amount(r.amount() - wanted.amount());
                    return;
                }
                _ => {}
            }
        }
        panic!("not free: {wanted:?}");
    }

    fn operate(&mut self, operation: Operation) {
        match operation.r#type {
            OperationType::Reserve => {
                for r in operation.reserve.unwrap().resources {
                    self.take(&Resource { reservations: Vec::new(), ..r.clone() });
                    self.free.push(r);
                }
            }
            OperationType::Create => {
                for v in operation.create.unwrap().volumes {
                    self.take(&Resource { disk: None, ..v.clone() });
                    self.free.push(v);
                }
            }
            OperationType::Destroy => {
                for v in operation.destroy.unwrap().volumes {
                    self.take(&v);
                    self.free.push(Resource { disk: None, ..v });
                }
            }
            OperationType::Unreserve => {
                for r in operation.unreserve.unwrap().resources {
                    self.take(&r);
                    self.free.push(Resource { reservations: Vec::new(), ..r });
                }
            }
            OperationType::LaunchGroup => {
                let group = operation.launch_group.unwrap();
                let id = group.executor.executor_id.value.clone();
                if !self.executors.contains_key(&id) {
                    group.executor.resources.iter().for_each(|r| self.take(r));
                    self.executors.insert(id, group.executor.resources.clone());
                }
                for mut task in group.task_group.tasks {
                    task.resources.clone().iter().for_each(|r| self.take(r));
                    assert!(!self.running.values().any(|t| t.name == task.name), "{} runs twice", task.name);
                    self.launched.push(task.name.clone());
                    task.executor = Some(group.executor.clone());
                    let once = task.name.starts_with("job");
                    let id = task.task_id.clone();
                    self.running.insert(id.clone(), task);
                    if once {
                        self.end(&id, TaskState::Finished);
                    } else {
                        self.report(&id, TaskState::Running, Some("SOURCE_EXECUTOR"));
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn report(&mut self, id: &TaskId, state: TaskState, source: Option<&str>) {
        let status = TaskStatus {
            task_id: id.clone(),
            state,
            source: source.map(str::to_owned),
            uuid: source.map(|_| format!("{id}-{state:?}")),
            agent_id: Some("A".into()),
            ..TaskStatus::default()
        };
        if source.is_some() {
            self.unacknowledged.push(status.clone());
        }
        self.events.push_back(Event::Update(Box::new(status)));
    }

    fn end(&mut self, id: &TaskId, state: TaskState) {
        let task = self.running.remove(id).unwrap();
        self.free.extend(task.resources.clone());
        let executor = task.executor.unwrap().executor_id;
        let alive = |t: &TaskInfo| t.executor.as_ref().is_some_and(|e| e.executor_id == executor);
        if !self.running.values().any(alive) {
            self.free.extend(self.executors.remove(&executor.value).unwrap());
        }
        self.report(id, state, Some("SOURCE_EXECUTOR"));
    }

    fn ready(&mut self, name: &str) {
        let id = self.id_of(name);
        self.events.push_back(Event::Update(Box::new(TaskStatus {
            task_id: id,
            state: TaskState::Running,
            uuid: Some(format!("ready-{}", self.now)),
            agent_id: Some("A".into()),
            check_status: Some(CheckStatusInfo {
                command: Some(CheckStatusCommand { exit_code: Some(0) }),
                ..CheckStatusInfo::default()
            }),
            ..TaskStatus::default()
        })));
    }

    fn id_of(&self, name: &str) -> TaskId {
        self.running
            .values()
            .find(|t| t.name == name)
            .unwrap_or_else(|| panic!("{name} runs not"))
            .task_id
            .clone()
    }

    fn offer(&mut self) -> Offer {
        self.offers += 1;
        let empty = |r: &Resource| match r.r#type {
            ValueType::Ranges => r.ranges.as_ref().is_none_or(|r| r.range.is_empty()),
            _ => r.amount() == 0,
        };
        self.free.retain(|r| !empty(r));
        let executor_ids = self.executors.keys().map(|e| e.as_str().into()).collect();
        Offer {
            id: format!("O{}", self.offers).into(),
            framework_id: "F".into(),
            agent_id: "A".into(),
            hostname: "host".into(),
            resources: self.free.clone(),
            executor_ids,
            ..Offer::default()
        }
    }

    /// Lets a second pass, with everything that happens in it. `false` when the scheduler has crashed.
    fn step(&mut self) -> bool {
        self.now += 1.0;
        if !self.suppressed && self.offering {
            let offer = self.offer();
            self.events.push_back(Event::Offers(vec![offer]));
        }
        self.events.push_back(Event::Tick);
        while let Some(event) = self.events.pop_front() {
            let effects = self.scheduler.handle(self.now, event);
            assert_eq!(self.scheduler.check_indexes(self.now), Ok(()));
            self.perform(effects);
            if self.effects_left == 0 {
                return false;
            }
        }
        true
    }

    fn steps(&mut self, n: u32) {
        for _ in 0..n {
            self.step();
        }
    }

    fn status(&self, plan: &str) -> Status {
        self.scheduler.plan(plan).unwrap().status()
    }

    fn deployed(yaml: &str) -> Self {
        let mut world = Self::new(yaml);
        world.steps(3);
        world.ready("db-0-server");
        world.steps(10);
        assert_eq!(world.status("deploy"), Status::Complete);
        world
    }

    fn env(&self, task: &str, name: &str) -> Option<String> {
        let task = self.running.values().find(|t| t.name == task)?;
        let variables = &task.command.as_ref()?.environment.as_ref()?.variables;
        variables.iter().find(|v| v.name == name)?.value.clone()
    }

    fn resource_ids(&self, task: &str) -> Vec<String> {
        let task = self.running.values().find(|t| t.name == task).unwrap();
        let mut ids: Vec<_> =
            task.resources.iter().filter_map(|r| r.resource_id().map(str::to_owned)).collect();
        ids.sort();
        ids
    }
}

#[test]
fn pods_come_up_in_plan_order_each_only_after_the_one_before_is_ready() {
    let mut world = World::new(SERVICE);
    world.steps(5);
    assert_eq!(world.launched, ["db-0-server"], "the readiness check has not passed");
    assert_eq!(world.status("deploy"), Status::Started);
    let step = world.scheduler.plans()[0].steps().next().unwrap();
    assert!(world.scheduler.why(world.now, step)[0].contains("readiness check"));
    world.ready("db-0-server");
    world.steps(10);
    assert_eq!(world.launched, ["db-0-server", "job-0-migrate", "web-0-server", "web-1-server"]);
    assert_eq!(world.status("deploy"), Status::Complete);
    assert!(world.suppressed, "nothing is left to do");
}

#[test]
fn tasks_know_their_ports_and_the_addresses_of_the_service() {
    let world = World::deployed(SERVICE);
    assert_eq!(world.env("db-0-server", "PORT_SQL").as_deref(), Some("9000"));
    let address = crate::wire::vip::loopback_address("db.hello.l4lb.localhost").to_string();
    assert_eq!(world.env("web-0-server", "ENDPOINT_SQL_HOST"), Some(address));
    assert_eq!(world.env("web-0-server", "ENDPOINT_SQL_PORT").as_deref(), Some("5432"));
}

#[test]
fn a_crash_between_any_two_effects_launches_nothing_twice_and_the_deployment_ends() {
    for crash_after in 1..200 {
        let mut world = World::new(SERVICE);
        world.effects_left = crash_after;
        for second in 0..40 {
            if second % 3 == 2 && world.running.values().any(|t| t.name == "db-0-server") {
                world.ready("db-0-server");
            }
            if !world.step() {
                world.restart();
            }
        }
        assert_eq!(world.status("deploy"), Status::Complete, "crash after {crash_after} effects");
        let jobs = world.launched.iter().filter(|n| *n == "job-0-migrate").count();
        assert_eq!(jobs, 1, "crash after {crash_after} effects");
        let names: Vec<&str> = world.running.values().map(|t| t.name.as_str()).collect();
        assert_eq!(names.len(), 3, "crash after {crash_after} effects: {names:?}");
    }
}

#[test]
fn a_failed_task_is_started_again_with_the_same_reservations_and_volume() {
    let mut world = World::deployed(SERVICE);
    let before = world.resource_ids("db-0-server");
    let volume = |w: &World| {
        let task = w.running.values().find(|t| t.name == "db-0-server").unwrap();
        task.resources.iter().find_map(|r| r.persistence_id().map(str::to_owned))
    };
    let (old, id) = (volume(&world), world.id_of("db-0-server"));
    world.end(&id, TaskState::Failed);
    world.steps(4);
    assert_eq!(world.resource_ids("db-0-server"), before);
    assert_eq!(volume(&world), old);
    assert_eq!(world.env("db-0-server", "PORT_SQL").as_deref(), Some("9000"));
    assert_eq!(world.status("deploy"), Status::Complete);
    assert_eq!(world.status("recovery"), Status::Started, "its readiness check has to pass again");
    world.ready("db-0-server");
    world.steps(2);
    assert_eq!(world.status("recovery"), Status::Complete);
}

#[test]
fn a_replaced_pod_gets_new_reservations_and_its_old_ones_are_given_back() {
    let mut world = World::deployed(SERVICE);
    let before = world.resource_ids("db-0-server");
    let command = Command::Pod { pod: "db-0".to_owned(), command: PodCommand::Replace };
    let (_, tasks, effects) = world.scheduler.command(world.now, &command).unwrap();
    assert_eq!(tasks, ["db-0-server"]);
    world.perform(effects);
    world.steps(6);
    assert!(world.resource_ids("db-0-server").iter().all(|id| !before.contains(id)));
    let left =
        world.free.iter().filter_map(|r| r.resource_id()).filter(|id| before.iter().any(|b| b == id)).count();
    assert_eq!(left, 0, "old reservations are unreserved");
}

#[test]
fn a_launch_that_never_reached_the_master_is_made_again() {
    let mut world = World::new(SERVICE);
    world.lose_accepts = 1;
    world.steps(2);
    assert!(world.launched.is_empty());
    world.events.push_back(Event::CallFailed(CallType::Accept));
    world.steps(5);
    assert_eq!(world.launched, ["db-0-server"]);
}

#[test]
fn a_changed_pod_is_restarted_and_others_are_not() {
    let mut world = World::deployed(SERVICE);
    world.launched.clear();
    world.yaml = SERVICE.replace("cmd: web", "cmd: web2");
    world.restart();
    world.steps(10);
    assert_eq!(world.launched, ["web-0-server", "web-1-server"]);
    assert_eq!(world.status("deploy"), Status::Complete);
    world.restart();
    assert_eq!(world.scheduler.configurations().len(), 1, "the old configuration is forgotten");
}

#[test]
fn a_refused_update_keeps_what_runs_and_says_why() {
    let mut world = World::deployed(SERVICE);
    world.launched.clear();
    world.yaml = SERVICE.replace("size: 100", "size: 200");
    world.restart();
    world.steps(5);
    assert!(world.launched.is_empty());
    assert_eq!(world.status("deploy"), Status::Error);
    assert!(world.scheduler.plans()[0].errors[0].contains("volumes can't be changed"));
}

#[test]
fn what_is_missing_in_an_offer_is_said() {
    let mut world = World::new(&SERVICE.replace("cpus: 0.5", "cpus: 50"));
    world.steps(2);
    let step = world.scheduler.plans()[0].steps().next().unwrap();
    let why = world.scheduler.why(world.now, step);
    assert!(why.iter().any(|w| w.contains("cpus: wants 50, offered: 3.9")), "{why:?}");
    assert_eq!(world.status("deploy"), Status::InProgress);
}

#[test]
fn somebody_elses_task_in_this_services_name_is_ended() {
    let mut world = World::deployed(SERVICE);
    let stray = TaskInfo { name: "stray".into(), task_id: "stray".into(), ..TaskInfo::default() };
    let stray = TaskInfo { executor: world.running.values().next().unwrap().executor.clone(), ..stray };
    world.running.insert("stray".into(), stray);
    world.report(&"stray".into(), TaskState::Running, None);
    world.steps(1);
    assert!(!world.running.contains_key(&TaskId::from("stray")));
}

#[test]
fn reservations_of_others_are_left_alone() {
    let mut labels = Labels::default();
    labels.push("resource_id", "x");
    labels.push("framework_id", "other");
    let mut world = World::new(SERVICE);
    world.free.push(Resource::scalar("cpus", 1.0, "hello-role").reserved("hello-role", "p", labels));
    world.steps(3);
    assert!(world.free.iter().any(|r| r.resource_id() == Some("x")));
}

#[test]
fn pods_that_are_no_longer_wanted_are_ended_given_back_and_forgotten() {
    let yaml = SERVICE.replace("count: 2", "count: 2\n    allow-decommission: true");
    let mut world = World::deployed(&yaml);
    let before = world.resource_ids("web-1-server");
    world.yaml = yaml.replace("count: 2", "count: 1");
    world.restart();
    world.steps(20);
    assert_eq!(world.status("decommission"), Status::Complete);
    assert!(!world.running.values().any(|t| t.name == "web-1-server"));
    let given_back = world.offer().resources;
    assert!(!given_back.iter().any(|r| r.resource_id().is_some_and(|id| before.iter().any(|b| b == id))));
    assert!(!world.stored.keys().any(|p| p.contains("web-1-server")), "{:?}", world.stored.keys());
    assert!(world.running.values().any(|t| t.name == "web-0-server"), "others stay");
}

#[test]
fn a_pod_that_is_wanted_again_while_it_is_taken_down_starts_anew() {
    let yaml = SERVICE.replace("count: 2", "count: 2\n    allow-decommission: true");
    for crash_after in 1..12 {
        let mut world = World::deployed(&yaml);
        world.yaml = yaml.replace("count: 2", "count: 1");
        world.restart();
        world.effects_left = crash_after;
        for _ in 0..4 {
            world.step();
        }
        world.yaml.clone_from(&yaml);
        world.restart();
        world.steps(20);
        let open = |plan: &str| world.status(plan) != Status::Complete;
        assert!(!open("deploy") && !open("recovery"), "after {crash_after} effects");
        assert!(world.running.values().any(|t| t.name == "web-1-server"), "after {crash_after} effects");
    }
}

#[test]
fn nothing_is_waited_for_on_an_agent_that_an_operator_has_declared_gone() {
    for known_before in [false, true] {
        let mut world = World::deployed(SERVICE);
        world.yaml = format!("{SERVICE}# uninstall\n");
        world.offering = false;
        world.running.clear();
        let tasks = world.scheduler.tasks().values().map(|t| t.info.task_id.clone());
        let gone: Vec<TaskId> = tasks.collect();
        let tell = |world: &mut World| {
            for id in &gone {
                world.report(id, TaskState::GoneByOperator, None);
            }
            world.step();
        };
        if known_before {
            tell(&mut world);
        }
        world.restart();
        tell(&mut world);
        world.step();
        assert_eq!(world.status("deploy"), Status::Complete);
        assert!(world.stored.is_empty(), "{:?}", world.stored.keys());
    }
}

#[test]
fn after_an_uninstall_nothing_runs_and_nothing_is_reserved_or_stored() {
    for crash_after in [usize::MAX, 1, 2, 3, 5, 8, 13] {
        let mut world = World::deployed(SERVICE);
        world.yaml = format!("{SERVICE}# uninstall\n");
        world.restart();
        world.effects_left = crash_after;
        for _ in 0..20 {
            if !world.step() {
                world.restart();
            }
        }
        assert_eq!(world.status("deploy"), Status::Complete);
        assert!(world.running.is_empty());
        assert!(world.free.iter().all(|r| r.reservations.is_empty() && r.disk.is_none()), "{:?}", world.free);
        assert!(world.stored.is_empty(), "{:?}", world.stored.keys());
        let (again, _) = World::start(&world.yaml, &world.stored, 99);
        assert!(!again.needs_master(), "what is removed does not register again");
    }
}

#[test]
fn operators_hold_release_skip_and_repeat_plans_phases_and_steps() {
    use crate::plan::Outcome::{Already, Done};
    let mut world = World::new(SERVICE);
    let say = |world: &mut World, phase: Option<&str>, step: Option<&str>, command: PlanCommand| {
        let text = |t: Option<&str>| t.map(str::to_owned);
        let command =
            Command::Plan { plan: "deploy".to_owned(), phase: text(phase), step: text(step), command };
        let (outcome, _, effects) = world.scheduler.command(world.now, &command)?;
        world.perform(effects);
        Ok::<_, CommandError>(outcome)
    };
    assert_eq!(say(&mut world, None, None, PlanCommand::Interrupt), Ok(Done));
    assert_eq!(say(&mut world, None, None, PlanCommand::Interrupt), Ok(Already));
    world.steps(3);
    assert_eq!((world.status("deploy"), world.launched.len()), (Status::Waiting, 0));
    assert_eq!(say(&mut world, None, None, PlanCommand::Continue), Ok(Done));
    world.steps(3);
    assert_eq!(world.launched, ["db-0-server"]);
    assert_eq!(say(&mut world, Some("db"), Some("db-0:[server]"), PlanCommand::ForceComplete), Ok(Done));
    assert_eq!(say(&mut world, Some("db"), None, PlanCommand::ForceComplete), Ok(Already));
    world.steps(10);
    assert_eq!(world.status("deploy"), Status::Complete, "without waiting for the readiness check");
    world.launched.clear();
    assert_eq!(say(&mut world, Some("web"), Some("web-1:[server]"), PlanCommand::Restart), Ok(Done));
    world.steps(3);
    assert_eq!(world.launched, ["web-1-server"], "the step alone is done again");
    world.launched.clear();
    assert_eq!(say(&mut world, Some("web"), None, PlanCommand::Restart), Ok(Done));
    world.steps(10);
    assert_eq!(world.launched, ["web-0-server", "web-1-server"]);
    let missing = |kind, name: &str| Err(CommandError::NotFound { kind, name: name.to_owned() });
    assert_eq!(say(&mut world, Some("nix"), None, PlanCommand::Restart), missing("Phase", "nix"));
    assert_eq!(say(&mut world, Some("web"), Some("nix"), PlanCommand::Restart), missing("Step", "nix"));
    let without_phase = say(&mut world, None, Some("web-0:[server]"), PlanCommand::ForceComplete);
    assert_eq!(without_phase, Err(CommandError::MissingPhase));
}

#[test]
fn what_an_update_may_not_change_is_refused() {
    let with_volume =
        SERVICE.replace("    count: 2\n", "    count: 2\n    volume: {path: v, type: ROOT, size: 5}\n");
    let table = [
        ("count: 2", "count: 1", "count"),
        ("{path: v, type: ROOT, size: 5}", "{path: v, type: ROOT, size: 6}", "pods.web.volumes"),
        (
            "{path: data, type: ROOT, size: 100}",
            "{path: other, type: ROOT, size: 100}",
            "tasks.server.volumes",
        ),
        ("    count: 2\n", "    count: 2\n    networks: {dcos: }\n", "networks"),
        ("    count: 2\n", "    count: 2\n    pre-reserved-role: fast\n", "pre-reserved-role"),
        ("  job:", "  other:", "pods.job"),
        ("    count: 2\n", "    count: 2\n    placement: hostname:NEAR\n", "pods.web.placement"),
        ("cpus: 0.2", "cpus: 0.2, resource-limits: {cpus: 0.1}", "web.server.resource-limits.cpus"),
    ];
    let old = service(&with_volume).spec;
    assert_eq!(validate::update(Some(&old), &old, true), []);
    for (from, to, field) in table {
        let new = service(&with_volume.replace(from, to)).spec;
        let errors = validate::update(Some(&old), &new, true);
        assert!(errors.iter().any(|e| e.field.contains(field) && !e.fatal), "{to}: {errors:?}");
    }
    let new = ServiceSpec { region: Some("r1".to_owned()), ..old.clone() };
    assert!(validate::update(Some(&old), &new, true).iter().any(|e| e.field == "region" && !e.fatal));
    let new = ServiceSpec { user: "somebody".to_owned(), ..old.clone() };
    assert!(validate::update(Some(&old), &new, true).iter().any(|e| e.field == "user" && e.fatal));
    let new = ServiceSpec { name: "a__b".to_owned(), ..old.clone() };
    assert!(validate::update(None, &new, true).iter().any(|e| e.field == "service.name"));
}

#[test]
fn pods_stay_in_the_region_of_the_service_or_else_of_the_master() {
    use crate::offer::HomeRegion;
    let mut world = World::new(SERVICE);
    assert_eq!(world.scheduler.context().region, HomeRegion::Local(None));
    world.scheduler.handle(1.0, Event::MasterRegion(Some("home".to_owned())));
    assert_eq!(world.scheduler.context().region, HomeRegion::Local(Some("home".to_owned())));
    world.scheduler.config.region = Some("r1".to_owned());
    let config = world.scheduler.config.clone();
    let start = Scheduler::start(config, service(SERVICE), &Stored::new(), [0; 16]);
    let (scheduler, _) = start.expect("a scheduler");
    assert_eq!(scheduler.context().region, HomeRegion::Named("r1".to_owned()));
    let capabilities = |scheduler: &Scheduler| -> Vec<String> {
        scheduler.framework_info().capabilities.into_iter().map(|c| c.r#type).collect()
    };
    assert!(capabilities(&scheduler).contains(&"REGION_AWARE".to_owned()));
    world.scheduler.config.region_aware = false;
    assert!(!capabilities(&world.scheduler).contains(&"REGION_AWARE".to_owned()));
}

#[test]
fn transport_encryption_without_a_service_account_is_refused() {
    let encrypted =
        SERVICE.replace("cmd: migrate", "cmd: migrate, transport-encryption: [{name: n, type: TLS}]");
    let start = |credential: &str| {
        let service = service(&encrypted);
        let env = BTreeMap::from([("DCOS_SERVICE_ACCOUNT_CREDENTIAL".to_owned(), credential.to_owned())]);
        let config = Config::from_env(&env, &service.spec, 8080).expect("a configuration");
        Scheduler::start(config, service, &Stored::new(), [0; 16]).err()
    };
    assert!(matches!(start(""), Some(StartError::Refused(why)) if why[0].contains("pods.job.tasks.migrate")));
    assert_eq!(start("file:///account"), None);
}

#[test]
fn a_step_that_does_not_go_on_says_what_holds_it_back() {
    let plans = "
plans:
  deploy:
    strategy: serial
    phases:
      db: {pod: db, strategy: serial}
      web: {pod: web, strategy: serial-canary}
  later:
    strategy: serial
    phases:
      again: {pod: job, strategy: serial}
";
    let mut world = World::new(&format!("{SERVICE}{plans}"));
    let why = |world: &World, name: &str| {
        let mut steps = world.scheduler.plans().iter().flat_map(Plan::steps);
        let step = steps.find(|s| s.name == name).unwrap();
        world.scheduler.why(world.now, step).join("; ")
    };
    world.steps(2);
    assert_eq!(why(&world, "web-0:[server]"), "phase web waits for an operator");
    assert_eq!(why(&world, "job-0:[migrate]"), "plan later waits for an operator");
    for _ in 0..2 {
        let (plan, phase, step) = ("deploy".to_owned(), Some("web".to_owned()), None);
        let command = Command::Plan { plan, phase, step, command: PlanCommand::Continue };
        world.scheduler.command(world.now, &command).unwrap();
    }
    assert_eq!(why(&world, "web-0:[server]"), "waits for phase db");
    world.ready("db-0-server");
    world.events.push_back(Event::Tick);
    let event = world.events.pop_front().unwrap();
    world.scheduler.handle(world.now, event);
    assert_eq!(why(&world, "db-0:[server]"), "", "it is done");
    assert_eq!(why(&world, "web-0:[server]"), "waits for an offer");
    assert_eq!(why(&world, "web-1:[server]"), "waits for step web-0:[server]");
}

#[test]
fn a_step_that_can_never_be_done_is_an_error_of_its_plan_while_the_service_goes_on() {
    let both = "resource-sets: {both: {cpus: 0.2, memory: 32}}\n    tasks:\n      helper: {goal: RUNNING, cmd: help, \
                resource-set: both}\n";
    let conflict = SERVICE.replace(
        "    tasks:\n      server: {goal: RUNNING, cmd: web, cpus: 0.2, memory: 32}",
        &format!("    {both}      server: {{goal: RUNNING, cmd: web, resource-set: both}}"),
    );
    let mut world = World::deployed(SERVICE);
    world.yaml = conflict;
    world.restart();
    assert_eq!(world.status("deploy"), Status::Error);
    world.steps(3);
    assert_eq!(world.running.len(), 3, "what ran goes on");
}
