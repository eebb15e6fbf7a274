//! How time and memory grow with the size of a service.
//!
//! `cargo bench --bench scale` measures everything; words after `--` choose cases whose names hold one of them
//! (`cargo bench --bench scale -- event deploy/serial`). Every measurement runs in a process of its own, so that its peak
//! of memory is its own.
//!
//! The world is the smallest that a deployment needs: agents that offer all they have, each once, and run what they are told
//! to. Nothing fails. Faults are the business of `dagpkg simulate`.

mod measure;

use dagpkg::finding::Source;
use dagpkg::plan::Status;
use dagpkg::scheduler::{Config, Effect, Event, Scheduler, Stored};
use dagpkg::spec::{Context, Service, parse};
use dagpkg::wire::{
    Attribute, CallType, Offer, OperationType, Range, Ranges, Resource, TaskId, TaskState, TaskStatus, Text,
    ValueType,
};
use measure::{memory, shown};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// Seconds after which one measurement is given up.
const PATIENCE: u64 = 300;
const AGENTS_PER_RACK: usize = 20;

/// Pods of one type, or of many types with this number of instances each.
const INSTANCES_OF_MANY: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, case, size] = arguments.as_slice()
        && flag == "--one"
    {
        return one(case, size.parse().expect("a size"));
    }
    println!("{:<34} {:>7} {:>12} {:>8} {:>9} {:>9}  ", "case", "n", "time", "growth", "peak RSS", "per n");
    for (case, sizes) in cases() {
        if !arguments.is_empty() && !arguments.iter().any(|a| case.contains(a.as_str())) {
            continue;
        }
        let mut before = None;
        for size in sizes {
            let Some(measured) = in_a_child(&case, size) else {
                println!("{case:<34} {size:>7}  more than {PATIENCE} s");
                break;
            };
            let growth = before.map(|b: f64| format!("{:.2}", measured.nanoseconds / b));
            println!(
                "{case:<34} {size:>7} {:>12} {:>8} {:>6.0} MB {:>6.1} KB  {}",
                shown(measured.nanoseconds),
                growth.unwrap_or_default(),
                measured.peak_kb / 1024.0,
                measured.grown_kb / size as f64,
                measured.remark,
            );
            before = Some(measured.nanoseconds);
        }
    }
}

fn cases() -> Vec<(String, Vec<usize>)> {
    let mut cases = Vec::new();
    for order in ["serial", "parallel", "batch"] {
        for types in ["one-type", "many-types"] {
            for rule in ["anywhere", "unique", "max-per", "group-by"] {
                cases.push((format!("deploy/{order}/{types}/{rule}"), SIZES.to_vec()));
            }
        }
    }
    for event in ["tick", "update", "offer", "failure", "unplaceable"] {
        for types in ["one-type", "many-types"] {
            cases.push((format!("event/{event}/{types}"), SIZES.to_vec()));
        }
    }
    cases.push(("restart".to_owned(), SIZES.to_vec()));
    cases.push(("offers".to_owned(), SIZES.to_vec()));
    cases.push(("parse".to_owned(), vec![64, 256, 1_024]));
    cases
}

struct Measured {
    nanoseconds: f64,
    peak_kb: f64,
    grown_kb: f64,
    remark: String,
}

/// Measures in a process of its own; none when it takes too long.
fn in_a_child(case: &str, size: usize) -> Option<Measured> {
    let program = std::env::current_exe().expect("this program");
    let mut child = std::process::Command::new(program)
        .args(["--one", case, &size.to_string()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a child");
    let started = Instant::now();
    while child.try_wait().expect("the child").is_none() {
        if started.elapsed() > Duration::from_secs(PATIENCE) {
            child.kill().expect("ends");
            child.wait().expect("ends");
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut fields = text.trim_end().splitn(4, ' ');
    let mut number = || {
        fields.next().and_then(|f| f.parse().ok()).unwrap_or_else(|| panic!("{case} {size} failed: {text}"))
    };
    let (nanoseconds, peak_kb, grown_kb) = (number(), number(), number());
    Some(Measured { nanoseconds, peak_kb, grown_kb, remark: fields.next().unwrap_or_default().to_owned() })
}

fn one(case: &str, size: usize) {
    let parts: Vec<&str> = case.split('/').collect();
    let before = memory("VmRSS:");
    let (nanoseconds, remark, kept) = match parts.as_slice() {
        ["deploy", order, types, rule] => deploy(order, types, rule, size),
        ["event", event, types] => events(event, types, size),
        ["restart"] => restart(size),
        ["offers"] => offers(size),
        ["parse"] => parse_file(size),
        _ => panic!("no case {case}"),
    };
    let (peak, after) = (memory("VmHWM:"), memory("VmRSS:"));
    drop(kept);
    println!("{nanoseconds} {peak} {} {remark}", after - before);
}

fn service_file(order: &str, types: &str, rule: &str, pods: usize) -> String {
    let (types, count) = match types {
        "one-type" => (1, pods),
        _ => ((pods / INSTANCES_OF_MANY).max(1), pods.min(INSTANCES_OF_MANY)),
    };
    let placement = match rule {
        "unique" => "    placement: '[[\"hostname\", \"UNIQUE\"]]'\n",
        "max-per" => "    placement: '[[\"hostname\", \"MAX_PER\", \"2\"]]'\n",
        "group-by" => "    placement: '[[\"rack\", \"GROUP_BY\"]]'\n",
        _ => "",
    };
    let strategy = if order == "serial" { "serial" } else { "parallel" };
    let mut text = "name: scale\npods:\n".to_owned();
    for i in 0..types {
        let _ = write!(
            text,
            "  pod{i}:\n    count: {count}\n{placement}    tasks:\n      server:\n        goal: RUNNING\n        cmd: \
             ./serve --index $POD_INSTANCE_INDEX\n        cpus: 0.5\n        memory: 256\n        env: {{A: one, B: two}}\n        \
             ports:\n          api: {{port: 0, env-key: PORT_API}}\n        volume: {{path: data, type: ROOT, size: \
             100}}\n"
        );
    }
    let _ = write!(text, "plans:\n  deploy:\n    strategy: {strategy}\n    phases:\n");
    for i in 0..types {
        let _ = write!(text, "      phase{i}:\n        strategy: {strategy}\n        pod: pod{i}\n");
    }
    text
}

fn service(yaml: &str) -> Service {
    let none = |_: &str| Err("none".to_owned());
    let env = BTreeMap::new();
    match parse(&Source::new("svc.yml", yaml), &Context { template: &none, env: &env }) {
        Ok((service, _)) => service,
        Err(found) => panic!("{found:?}"),
    }
}

/// Agents that run what they are told to, and the scheduler.
struct World {
    scheduler: Scheduler,
    yaml: String,
    stored: Stored,
    keep: bool,
    now: f64,
    queue: VecDeque<Event>,
    offered: usize,
    updates: usize,
    launched: usize,
}

const ROLE: &str = "scale-role";

impl World {
    fn new(yaml: String) -> Self {
        let (scheduler, effects) = start(&yaml, &Stored::new(), 0);
        let mut world = Self {
            scheduler,
            yaml,
            stored: Stored::new(),
            keep: false,
            now: 0.0,
            queue: VecDeque::new(),
            offered: 0,
            updates: 0,
            launched: 0,
        };
        world.perform(effects);
        world.handle(Event::Subscribed { framework_id: "F".to_owned() });
        world
    }

    fn handle(&mut self, event: Event) {
        let effects = self.scheduler.handle(self.now, event);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(writes) if self.keep => {
                    let values = writes.into_iter().filter_map(|w| Some((w.path, w.value?)));
                    self.stored.extend(values);
                }
                Effect::Call(call) if call.r#type == CallType::Accept => {
                    let accept = call.accept.expect("an ACCEPT");
                    for operation in accept.operations {
                        if operation.r#type == OperationType::LaunchGroup {
                            let group = operation.launch_group.expect("a group");
                            for task in group.task_group.tasks {
                                self.launched += 1;
                                self.report(&task.task_id, &task.agent_id.value, TaskState::Starting);
                                self.report(&task.task_id, &task.agent_id.value, TaskState::Running);
                            }
                        }
                    }
                }
                effect => {
                    black_box(effect);
                }
            }
        }
    }

    fn report(&mut self, id: &TaskId, agent: &str, state: TaskState) {
        self.updates += 1;
        self.queue.push_back(Event::Update(Box::new(TaskStatus {
            task_id: id.clone(),
            state,
            source: Some("SOURCE_EXECUTOR".to_owned()),
            uuid: Some(format!("u{}", self.updates)),
            agent_id: Some(agent.into()),
            ..TaskStatus::default()
        })));
    }

    fn drain(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            self.handle(event);
        }
    }

    /// All that an agent has, free.
    fn offer(&mut self, agent: usize, cpus: f64) -> Offer {
        self.offered += 1;
        let ports = Resource {
            ranges: Some(Ranges { range: vec![Range { begin: 1025, end: 32_000 }] }),
            ..Resource::port(1, ROLE)
        };
        let scalar = |name, amount| Resource::scalar(name, amount, ROLE);
        let text = |value: String| Some(Text { value });
        Offer {
            id: format!("O{:06}", self.offered).into(),
            framework_id: "F".into(),
            agent_id: format!("A{agent:06}").into(),
            hostname: format!("agent-{agent}.example.com"),
            resources: vec![scalar("cpus", cpus), scalar("mem", 16_384.0), scalar("disk", 100_000.0), ports],
            attributes: vec![Attribute {
                name: "rack".to_owned(),
                r#type: ValueType::Text,
                text: text(format!("r{}", agent / AGENTS_PER_RACK)),
                ..Attribute::default()
            }],
            ..Offer::default()
        }
    }

    /// What a task has reserved, offered again.
    fn offer_again(&mut self, instance: &str) -> Offer {
        let info = self.scheduler.tasks()[instance].info.clone();
        let agent: usize = info.agent_id.value[1..].parse().expect("a number");
        let mut offer = self.offer(agent, 1.0);
        offer.resources = info.resources;
        offer.resources.extend(info.executor.into_iter().flat_map(|e| e.resources));
        offer
    }

    fn assert_deployed(&self, pods: usize) {
        assert_eq!(self.launched, pods, "each pod is launched, and once");
        let plan = &self.scheduler.plans()[0];
        assert_eq!(plan.status(), Status::Complete);
    }
}

fn start(yaml: &str, stored: &Stored, seed: u8) -> (Scheduler, Vec<Effect>) {
    let service = service(yaml);
    let config = Config::from_env(&BTreeMap::new(), &service.spec, 8080).expect("a configuration");
    Scheduler::start(config, service, stored, [seed; 16]).expect("a start")
}

type Outcome = (f64, String, Box<dyn std::any::Any>);

fn deploy(order: &str, types: &str, rule: &str, pods: usize) -> Outcome {
    let mut world = World::new(service_file(order, types, rule, pods));
    let started = Instant::now();
    if order == "batch" {
        // A rule may need another look at agents that were not taken at first.
        let offers = (0..pods).map(|agent| world.offer(agent, 4.0)).collect();
        world.handle(Event::Offers(offers));
        world.drain();
    } else {
        for agent in 0..pods {
            world.now += 1.0;
            let offer = world.offer(agent, 4.0);
            world.handle(Event::Offers(vec![offer]));
            world.drain();
        }
    }
    let elapsed = started.elapsed();
    world.assert_deployed(pods);
    let remark = format!("{} per pod", shown(elapsed.as_nanos() as f64 / pods as f64));
    (elapsed.as_nanos() as f64, remark, Box::new(world))
}

/// A service all of whose pods run.
fn deployed(types: &str, pods: usize, keep: bool) -> World {
    let mut world = World::new(service_file("batch", types, "unique", pods));
    world.keep = keep;
    let offers = (0..pods).map(|agent| world.offer(agent, 4.0)).collect();
    world.handle(Event::Offers(offers));
    world.drain();
    world.assert_deployed(pods);
    world
}

/// Time for one event of a kind, when all pods run.
fn events(event: &str, types: &str, pods: usize) -> Outcome {
    let mut world = if event == "unplaceable" {
        World::new(service_file("batch", types, "anywhere", pods))
    } else {
        deployed(types, pods, false)
    };
    let tasks: Vec<String> = world.scheduler.tasks().keys().cloned().collect();
    let (mut spent, mut count) = (Duration::ZERO, 0_u32);
    let patience = Instant::now();
    while count < 20 || (count < 20_000 && patience.elapsed() < Duration::from_secs(3)) {
        world.now += 0.01;
        // spread over the tasks, in an order that repeats
        let agent = (count as usize * 7919) % pods;
        let task = tasks.get(agent % tasks.len().max(1));
        let info = task.map(|t| world.scheduler.tasks()[t].info.clone());
        let id = info.as_ref().map(|i| (i.task_id.clone(), i.agent_id.value.clone()));
        let next = match event {
            "tick" => Event::Tick,
            // what a task leaves over on its agent, or what is too little for any
            "offer" => Event::Offers(vec![world.offer(agent, 3.4)]),
            "unplaceable" => Event::Offers(vec![world.offer(agent, 0.2)]),
            "update" | "failure" => {
                let (id, agent) = id.expect("a task");
                let state = if event == "update" { TaskState::Running } else { TaskState::Failed };
                world.report(&id, &agent, state);
                world.queue.pop_front().expect("the update")
            }
            other => panic!("no event {other}"),
        };
        let started = Instant::now();
        let effects = one_event(&mut world.scheduler, world.now, next);
        spent += started.elapsed();
        drop(effects);
        count += 1;
        if event == "failure" {
            // not measured: the task comes up again
            let again = world.offer_again(task.expect("a task"));
            world.handle(Event::Offers(vec![again]));
            world.drain();
        }
    }
    let each = spent.as_nanos() as f64 / f64::from(count);
    (each, format!("mean of {count} events"), Box::new(world))
}

/// A function of its own, so that its instructions can be counted, which caches have no part in (built with
/// `CARGO_PROFILE_BENCH_STRIP=false`, or it has no name):
/// `valgrind --tool=callgrind --toggle-collect='*one_event*' PROGRAM --one event/update/one-type 10000`.
#[inline(never)]
fn one_event(scheduler: &mut Scheduler, now: f64, event: Event) -> Vec<Effect> {
    black_box(scheduler.handle(now, event))
}

/// A start from what is stored, up to the answers of the master about all tasks.
fn restart(pods: usize) -> Outcome {
    let mut world = deployed("one-type", pods, true);
    let tasks: Vec<(TaskId, String)> = world
        .scheduler
        .tasks()
        .values()
        .map(|t| (t.info.task_id.clone(), t.info.agent_id.value.clone()))
        .collect();
    let started = Instant::now();
    let (scheduler, effects) = start(&world.yaml, &world.stored, 1);
    world.scheduler = scheduler;
    world.perform(effects);
    world.handle(Event::Subscribed { framework_id: "F".to_owned() });
    for (id, agent) in tasks {
        world.report(&id, &agent, TaskState::Running);
    }
    world.drain();
    let elapsed = started.elapsed().as_nanos() as f64;
    world.assert_deployed(pods);
    (elapsed, format!("{} per pod", shown(elapsed / pods as f64)), Box::new(world))
}

/// One pod, and so many agents none of which has enough for it.
fn offers(agents: usize) -> Outcome {
    let mut world = World::new(service_file("batch", "one-type", "unique", 1));
    let (mut spent, mut rounds) = (Duration::ZERO, 0_u32);
    while rounds < 3 {
        let offers = (0..agents).map(|agent| world.offer(agent, 0.2)).collect();
        let started = Instant::now();
        let effects = world.scheduler.handle(world.now, Event::Offers(offers));
        spent += started.elapsed();
        drop(effects);
        rounds += 1;
    }
    let nanoseconds = spent.as_nanos() as f64 / f64::from(rounds);
    let remark = format!("{:.0} offers evaluated per second", agents as f64 / nanoseconds * 1e9);
    (nanoseconds, remark, Box::new(world))
}

/// A file with so many pods; 2,000 of them are nearly as much as a service file may hold.
/// A service file of exactly so many KiB; 1024 is the most that is read.
fn parse_file(kib: usize) -> Outcome {
    let mut text = "name: big\npods:\n".to_owned();
    for i in 0.. {
        let pod = format!(
            "  pod{i}:\n    count: 3\n    placement: '[[\"hostname\", \"UNIQUE\"]]'\n    resource-sets:\n      main:\n        cpus: \
             0.5\n        memory: 256\n        ports:\n          api: {{port: 0, env-key: PORT_API, vip: {{port: 80, prefix: \
             api{i}}}}}\n        volumes:\n          data: {{path: data, type: ROOT, size: 100}}\n    tasks:\n      \
             server:\n        goal: RUNNING\n        resource-set: main\n        cmd: ./serve --name pod{i}\n        env: {{A: one}}\n"
        );
        if text.len() + pod.len() > kib * 1024 {
            let _ = write!(text, "{:#<1$}", "", kib * 1024 - text.len());
            break;
        }
        text.push_str(&pod);
    }
    let started = Instant::now();
    let parsed = black_box(service(&text));
    let nanoseconds = started.elapsed().as_nanos() as f64;
    (nanoseconds, format!("{} bytes, {} pods", text.len(), parsed.spec.pods.len()), Box::new(parsed))
}
