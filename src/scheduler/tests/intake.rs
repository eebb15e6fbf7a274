//! How the service registers, which offers it wants, and what becomes of those that it does not use.

use super::*;
use crate::wire::AllocationInfo;

fn calls(effects: Vec<Effect>) -> Vec<Call> {
    let calls = effects.into_iter().filter_map(|e| match e {
        Effect::Call(call) => Some(*call),
        Effect::Write(_) => None,
    });
    calls.collect()
}

fn of_kind(effects: Vec<Effect>, kind: CallType) -> Vec<Call> {
    calls(effects).into_iter().filter(|c| c.r#type == kind).collect()
}

/// The offers of each DECLINE, and for how many seconds.
fn declined(effects: Vec<Effect>) -> Vec<(Vec<String>, Option<f64>)> {
    let declines = calls(effects).into_iter().filter_map(|c| c.decline);
    let seconds = |f: Option<crate::wire::Filters>| f.and_then(|f| f.refuse_seconds);
    declines.map(|d| (d.offer_ids.into_iter().map(|id| id.value).collect(), seconds(d.filters))).collect()
}

fn scheduler(yaml: &str, env: &[(&str, &str)]) -> Scheduler {
    let service = service(yaml);
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let config = Config::from_env(&env, &service.spec, 8080).expect("a configuration");
    Scheduler::start(config, service, &Stored::new(), [1; 16]).expect("a scheduler").0
}

#[test]
fn the_framework_registers_as_the_service_file_and_the_environment_say() {
    let yaml = format!(
        "web-url: http://web\nscheduler: {{user: nobody, principal: me}}{}",
        SERVICE
            .replace("name: hello", "name: /dev/hello")
            .replace("  job:", "  job:\n    pre-reserved-role: fast")
    );
    let mut one = scheduler(&yaml, &[]);
    let info = one.framework_info();
    assert_eq!((info.name.as_str(), info.user.as_str()), ("/dev/hello", "nobody"));
    assert_eq!((info.principal.as_deref(), info.webui_url.as_deref()), (Some("me"), Some("http://web")));
    assert_eq!((info.failover_timeout, info.checkpoint, info.id), (Some(1_209_600.0), Some(true), None));
    assert_eq!(info.roles, ["dev__hello-role", "fast/dev__hello-role"]);
    let capabilities: Vec<_> = info.capabilities.iter().map(|c| c.r#type.as_str()).collect();
    assert_eq!(capabilities, ["PARTITION_AWARE", "RESERVATION_REFINEMENT", "MULTI_ROLE", "REGION_AWARE"]);
    one.handle(0.0, Event::Subscribed { framework_id: "F".to_owned() });
    assert_eq!(one.framework_info().id, Some("F".into()));
    let gpus = |amount| {
        let one = scheduler(
            &SERVICE.replace("cpus: 0.5", &format!("cpus: 0.5, gpus: {amount}").replace(", ", "\n        ")),
            &[],
        );
        one.framework_info().capabilities.iter().any(|c| c.r#type == "GPU_RESOURCES")
    };
    assert_eq!((gpus("0.5"), gpus("1")), (false, true));
    let moving = scheduler(&yaml, &[("ENABLE_ROLE_MIGRATION", "true"), ("MESOS_ALLOCATION_ROLE", "dev")]);
    let roles = ["dev", "fast/dev", "dev__hello-role", "fast/dev__hello-role"];
    assert_eq!(moving.framework_info().roles, roles);
}

#[test]
fn what_pods_have_reserved_below_a_role_is_offered_until_they_are_taken_down() {
    let with =
        SERVICE.replace("  web:\n", "  web:\n    allow-decommission: true\n    pre-reserved-role: fast\n");
    let without = with.split("  web:").next().expect("the pods before");
    let mut world = World::new(&with);
    let task = |instance: &str| {
        let mut info = TaskInfo { name: instance.into(), task_id: instance.into(), ..TaskInfo::default() };
        let labels = info.labels.get_or_insert_default();
        let config = world.scheduler.target().0;
        for (key, value) in [("task_type", "web"), ("index", "0"), ("target_configuration", config)] {
            labels.push(key, value);
        }
        serde_json::to_vec(&info).expect("JSON")
    };
    let info = task("web-0-server");
    world.stored.insert("Tasks/web-0-server/TaskInfo".to_owned(), info);
    let (mut scheduler, _) = World::start(without, &world.stored, 2);
    assert_eq!(scheduler.framework_info().roles, ["hello-role", "fast/hello-role"]);
    scheduler.tasks.remove("web-0-server");
    world.stored.retain(|path, _| !path.starts_with("Tasks/"));
    let (scheduler, _) = World::start(without, &world.stored, 3);
    assert_eq!(scheduler.framework_info().roles, ["hello-role"]);
}

#[test]
fn offers_are_declined_briefly_until_the_master_has_said_how_tasks_are() {
    let mut world = World::deployed(SERVICE);
    let (mut scheduler, _) = World::start(SERVICE, &world.stored, 2);
    let asked = of_kind(
        scheduler.handle(20.0, Event::Subscribed { framework_id: "F".to_owned() }),
        CallType::Reconcile,
    );
    let asked: Vec<TaskId> =
        asked.into_iter().filter_map(|c| c.reconcile).flat_map(|r| r.tasks).map(|t| t.task_id).collect();
    assert_eq!(asked.len(), 3, "what has finished is not asked for: {asked:?}");
    let offer = world.offer();
    let id = offer.id.value.clone();
    assert_eq!(
        declined(scheduler.handle(20.0, Event::Offers(vec![offer.clone()]))),
        [(vec![id.clone()], Some(5.0))]
    );
    for task_id in asked {
        let status = TaskStatus { task_id, state: TaskState::Running, ..TaskStatus::default() };
        scheduler.handle(20.0, Event::Update(Box::new(status)));
    }
    assert_eq!(declined(scheduler.handle(21.0, Event::Offers(vec![offer]))), [(vec![id], Some(3600.0))]);
}

#[test]
fn tasks_are_asked_for_again_after_growing_pauses() {
    let world = World::deployed(SERVICE);
    let (mut scheduler, _) = World::start(SERVICE, &world.stored, 2);
    let mut asked = Vec::new();
    for second in 0..120_u8 {
        let event = match second {
            0 => Event::Subscribed { framework_id: "F".to_owned() },
            _ => Event::Tick,
        };
        let effects = scheduler.handle(f64::from(second), event);
        asked.extend((!of_kind(effects, CallType::Reconcile).is_empty()).then_some(second));
    }
    assert_eq!(asked, [0, 8, 24, 54, 84, 114]);
}

#[test]
fn offers_of_one_agent_are_answered_together_and_those_of_other_roles_apart() {
    let mut world = World::new(SERVICE);
    let offer = world.offer();
    let (first, rest) = offer.resources.split_at(2);
    let part = |id: &str, resources: &[Resource]| Offer {
        id: id.into(),
        resources: resources.to_vec(),
        ..offer.clone()
    };
    let mut other = part("O3", first);
    other.allocation_info = Some(AllocationInfo { role: Some("other".to_owned()) });
    let offers = vec![part("O1", first), part("O2", rest), other];
    world.scheduler.handle(0.0, Event::Subscribed { framework_id: "F".to_owned() });
    let effects = world.scheduler.handle(1.0, Event::Offers(offers));
    let accepts: Vec<_> = calls(effects.clone()).into_iter().filter_map(|c| c.accept).collect();
    assert_eq!(accepts.len(), 1);
    assert_eq!(accepts[0].offer_ids, ["O1".into(), "O2".into()]);
    assert_eq!(accepts[0].filters.as_ref().and_then(|f| f.refuse_seconds), Some(1.0));
    assert_eq!(declined(effects), [(vec!["O3".to_owned()], Some(3600.0))]);
}

#[test]
fn revives_come_at_most_every_five_seconds_and_no_more_than_there_are_tokens() {
    let mut demand = demand::Demand::default();
    let mut revives = |from: u32, to: u32| {
        (from..to)
            .filter(|second| {
                demand.declined_for_long();
                demand.work_came();
                demand.may_revive(f64::from(*second))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(revives(0, 21), [0, 5, 10, 15, 20]);
    // 256 at once; within the 1280 s that they last five more have come, and one for every 256 s from then on
    let later = revives(21, 6000);
    assert!(later[..255].iter().zip(&later[1..256]).all(|(a, b)| b - a == 5), "{later:?}");
    let pauses: Vec<u32> = later[262..].iter().zip(&later[263..]).map(|(a, b)| b - a).collect();
    assert!(pauses.len() > 5 && pauses.iter().all(|p| (255..=257).contains(p)), "{pauses:?}");
}

#[test]
fn a_revive_that_has_to_wait_is_counted_and_made_later() {
    let mut world = World::deployed(SERVICE);
    world.offering = false;
    let mut revived = Vec::new();
    for second in 0..12_u8 {
        world.now = 100.0 + f64::from(second);
        let mut effects = Vec::new();
        if let (0 | 2, Some(pod)) = (second, ["web-0", "db-0", "web-1"].get(usize::from(second))) {
            let command = Command::Pod { pod: (*pod).to_owned(), command: PodCommand::Replace };
            effects = world.scheduler.command(world.now, &command).expect("a command").2;
            world.perform(effects.clone());
        }
        let nothing = Offer { resources: Vec::new(), ..world.offer() };
        world.events.push_back(Event::Offers(vec![nothing]));
        while let Some(event) = world.events.pop_front() {
            let more = world.scheduler.handle(world.now, event);
            world.perform(more.clone());
            effects.extend(more);
        }
        revived.extend(of_kind(effects, CallType::Revive).iter().map(|_| second));
    }
    assert_eq!(revived, [0, 5]);
    assert!(world.scheduler.counters().get("revives.throttles") > 0);
}

#[test]
fn offers_that_nothing_needs_are_suppressed_once_and_again_only_when_they_keep_coming() {
    let mut world = World::deployed(SERVICE);
    assert!(world.suppressed);
    let suppresses = |world: &mut World, event| {
        of_kind(world.scheduler.handle(world.now, event), CallType::Suppress).len()
    };
    assert_eq!([(); 3].map(|()| suppresses(&mut world, Event::Tick)), [0, 0, 0]);
    let offer = world.offer();
    assert_eq!(suppresses(&mut world, Event::Offers(vec![offer])), 1, "the master may not have heard it");
    assert_eq!(suppresses(&mut world, Event::Tick), 0);
}

#[test]
fn a_task_that_nobody_knows_is_ended_until_it_has_ended_and_only_while_it_can_be_reached() {
    let mut world = World::deployed(SERVICE);
    let mut kills = |second: u8, state: Option<TaskState>| {
        let task_id: TaskId = "stray".into();
        let status = |state| TaskStatus { task_id: task_id.clone(), state, ..TaskStatus::default() };
        let event = state.map_or(Event::Tick, |state| Event::Update(Box::new(status(state))));
        of_kind(world.scheduler.handle(100.0 + f64::from(second), event), CallType::Kill).len()
    };
    // the master answers a KILL of such a task with the same again
    for state in [TaskState::Unreachable, TaskState::Unknown, TaskState::GoneByOperator, TaskState::Gone] {
        assert_eq!(kills(0, Some(state)), 0, "{state:?}");
    }
    assert_eq!(kills(1, Some(TaskState::Running)), 1);
    assert_eq!(kills(2, None), 0);
    assert_eq!(kills(6, None), 1, "the KILL may have been lost");
    assert_eq!(kills(6, Some(TaskState::Unreachable)), 0);
    assert_eq!(kills(7, Some(TaskState::Unknown)), 0);
    assert_eq!(kills(20, None), 0, "nobody is left");
    assert_eq!(kills(21, Some(TaskState::Staging)), 1);
    assert_eq!(kills(22, Some(TaskState::Killed)), 0);
    assert_eq!(kills(40, None), 0);
}

#[test]
fn what_the_clusters_release_can_not_do_is_refused_with_the_release_that_can() {
    let yaml = "
name: hello
pods:
  old:
    count: 1
    placement: '@zone:GROUP_BY'
    rlimits: {RLIMIT_NOFILE: {soft: 1, hard: 2}}
    networks: {mesos-bridge: {host-ports: [80], container-ports: [8080]}}
    secrets: {s: {secret: s}}
    pre-reserved-role: fast
    volume: {path: p, type: MOUNT, size: 1, profiles: [x]}
    shm-size: 1
    seccomp-unconfined: true
    tasks:
      t:
        goal: RUNNING
        cmd: c
        cpus: 1
        gpus: 1
        ports: {web: {port: 80, vip: {port: 80}}}
        volume: {path: q, type: MOUNT, size: 1, profiles: [x]}
        shm-size: 1
        resource-limits: {cpus: 2}
  new:
    count: 1
    placement: 'hostname:UNIQUE'
    volume: {path: p, type: MOUNT, size: 1}
    tasks:
      t: {goal: RUNNING, cmd: c, cpus: 1, ports: {web: {port: 0, env-key: W}}}
";
    let refused = |version: &str| {
        let service = service(yaml);
        let mut config = Config::from_env(&BTreeMap::new(), &service.spec, 8080).expect("a configuration");
        config.dcos = Release::of(version);
        match Scheduler::start(config, service, &Stored::new(), [1; 16]) {
            Err(StartError::Refused(why)) => why,
            Err(other) => panic!("{other}"),
            Ok(_) => Vec::new(),
        }
    };
    let cases = [("1.7", 12), ("1.8", 11), ("1.9", 8), ("1.10", 6), ("1.11", 5), ("1.12.3", 3), ("1.13", 3)];
    for (version, many) in cases.into_iter().chain([("1.14", 1), ("2.0.0", 1), ("2.1", 0), ("", 0)]) {
        assert_eq!(refused(version).len(), many, "{version}: {:#?}", refused(version));
    }
    assert_eq!(
        refused("2.0"),
        [
            "Field: 'pods.old.tasks.t.resource-limits'; Value: 'used'; Message: 'needs DC/OS 2.1 or later, the \
          cluster has 2.0: remove it, or upgrade'; Fatal: false"
        ]
    );
}

#[test]
fn offers_are_declined_briefly_until_tasks_can_reach_the_scheduler_by_its_name() {
    let mut world = World::new(SERVICE);
    world.scheduler.handle(0.0, Event::Subscribed { framework_id: "F".to_owned() });
    world.scheduler.set_reachable(false);
    let offer = world.offer();
    let id = offer.id.value.clone();
    let effects = world.scheduler.handle(1.0, Event::Offers(vec![offer.clone()]));
    assert_eq!(declined(effects), [(vec![id], Some(5.0))]);
    let step = world.scheduler.plans()[0].steps().next().expect("a step");
    let why = world.scheduler.why(1.0, step);
    assert!(why.iter().any(|w| w.contains("127.0.0.1")), "{why:?}");
    world.scheduler.set_reachable(true);
    let effects = world.scheduler.handle(2.0, Event::Offers(vec![offer.clone()]));
    assert_eq!(of_kind(effects, CallType::Accept).len(), 1);
    // whoever is leaving launches nothing that could need it
    world.yaml = format!("{SERVICE}# uninstall\n");
    let (mut leaving, _) = World::start(&world.yaml, &world.stored, 2);
    leaving.set_reachable(false);
    leaving.handle(3.0, Event::Subscribed { framework_id: "F".to_owned() });
    assert_eq!(declined(leaving.handle(4.0, Event::Offers(vec![offer])))[0].1, Some(3600.0));
}
