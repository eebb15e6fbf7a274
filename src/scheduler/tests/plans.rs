//! What plans do from the first launch to the last, and after a restart: the statuses that operators see, and what is
//! launched when.

use super::*;
use crate::plan::Outcome::{self, Already, Done};
use crate::plan::Recovery;

fn say(
    world: &mut World,
    plan: &str,
    phase: Option<&str>,
    command: PlanCommand,
) -> Result<Outcome, CommandError> {
    let phase = phase.map(str::to_owned);
    let command = Command::Plan { plan: plan.to_owned(), phase, step: None, command };
    let (outcome, _, effects) = world.scheduler.command(world.now, &command)?;
    world.perform(effects);
    Ok(outcome)
}

fn start(world: &mut World, plan: &str, parameters: &[(&str, &str)]) {
    let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(say(world, plan, None, PlanCommand::Start(parameters)), Ok(Done));
}

fn pod(world: &mut World, pod: &str, command: PodCommand) {
    let command = Command::Pod { pod: pod.to_owned(), command };
    let (_, _, effects) = world.scheduler.command(world.now, &command).unwrap();
    world.perform(effects);
}

fn fail(world: &mut World, task: &str) {
    let id = world.id_of(task);
    world.end(&id, TaskState::Failed);
}

/// The statuses of a plan, of its phases and of its steps.
fn statuses(world: &World, plan: &str) -> (Status, Vec<Status>, Vec<Status>) {
    let plan = world.scheduler.plan(plan).unwrap();
    (
        plan.status(),
        plan.phases().map(crate::plan::Phase::status).collect(),
        plan.steps().map(Step::status).collect(),
    )
}

fn launched(world: &mut World) -> Vec<String> {
    std::mem::take(&mut world.launched)
}

#[test]
fn a_plan_is_seen_to_go_on_from_pending_to_complete() {
    use Status::{Complete, InProgress, Pending, Prepared, Started, Starting};
    let mut world = World::new(SERVICE);
    world.offering = false;
    assert_eq!(statuses(&world, "deploy"), (Pending, vec![Pending; 3], vec![Pending; 4]));
    world.steps(1);
    let seen = (InProgress, vec![InProgress, Pending, Pending], vec![Prepared, Pending, Pending, Pending]);
    assert_eq!(statuses(&world, "deploy"), seen, "no offer has come");
    let offer = world.offer();
    let effects = world.scheduler.handle(world.now, Event::Offers(vec![offer]));
    let seen = (Starting, vec![Starting, Pending, Pending], vec![Starting, Pending, Pending, Pending]);
    assert_eq!(statuses(&world, "deploy"), seen, "nothing was heard of the task");
    world.perform(effects);
    world.steps(1);
    let seen = (Started, vec![Started, Pending, Pending], vec![Started, Pending, Pending, Pending]);
    assert_eq!(statuses(&world, "deploy"), seen, "it is not ready");
    world.ready("db-0-server");
    world.steps(1);
    let seen = (InProgress, vec![Complete, InProgress, Pending], vec![Complete, Prepared, Pending, Pending]);
    assert_eq!(statuses(&world, "deploy"), seen);
    world.offering = true;
    world.steps(10);
    assert_eq!(statuses(&world, "deploy"), (Complete, vec![Complete; 3], vec![Complete; 4]));
    assert_eq!(statuses(&world, "recovery"), (Complete, vec![], vec![]));
}

#[test]
fn a_task_that_fails_during_its_own_step_is_launched_again_by_that_and_later_by_recovery() {
    let mut world = World::new(SERVICE);
    world.steps(2);
    world.offering = false;
    fail(&mut world, "db-0-server");
    world.steps(1);
    assert_eq!(statuses(&world, "deploy").2[0], Status::Prepared);
    assert_eq!(statuses(&world, "recovery").1, []);
    world.offering = true;
    world.steps(2);
    world.ready("db-0-server");
    world.steps(10);
    world.offering = false;
    fail(&mut world, "db-0-server");
    world.steps(1);
    let recovery = world.scheduler.plan("recovery").unwrap();
    assert_eq!(recovery.phases().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["db-0:[server]"]);
    assert_eq!((world.status("deploy"), world.status("recovery")), (Status::Complete, Status::InProgress));
}

const BACKOFF: &str = "
# env ENABLE_BACKOFF=true
# env FRAMEWORK_INITIAL_BACKOFF=10
# env FRAMEWORK_BACKOFF_FACTOR=2
# env FRAMEWORK_MAX_LAUNCH_DELAY=30
";

#[test]
fn a_task_that_fails_again_and_again_waits_longer_each_time_until_it_is_ready() {
    let mut world = World::new(&format!("{SERVICE}{BACKOFF}"));
    world.steps(2);
    for wait in [10, 20, 30, 30] {
        assert_eq!(launched(&mut world), ["db-0-server"]);
        fail(&mut world, "db-0-server");
        world.steps(1);
        assert_eq!(statuses(&world, "deploy").2[0], Status::Delayed);
        world.steps(wait - 2);
        assert_eq!(launched(&mut world), Vec::<String>::new(), "{wait}");
        world.steps(4);
    }
    world.ready("db-0-server");
    world.steps(10);
    world.launched.clear();
    fail(&mut world, "db-0-server");
    world.steps(9);
    assert_eq!((launched(&mut world).len(), statuses(&world, "recovery").1.len()), (0, 0));
    world.steps(4);
    assert_eq!(launched(&mut world), ["db-0-server"], "the wait is the first again");
}

#[test]
fn nothing_waits_any_longer_once_an_operator_restarts_the_pod_or_the_step() {
    for restart_the_pod in [true, false] {
        let mut world = World::new(&format!("{SERVICE}{BACKOFF}"));
        world.steps(2);
        for _ in 0..2 {
            launched(&mut world);
            fail(&mut world, "db-0-server");
            world.steps(2);
            assert_eq!(statuses(&world, "deploy").2[0], Status::Delayed);
            if restart_the_pod {
                pod(&mut world, "db-0", PodCommand::Restart);
            } else {
                assert_eq!(say(&mut world, "deploy", Some("db"), PlanCommand::Restart), Ok(Done));
            }
            world.steps(2);
            assert_eq!(launched(&mut world), ["db-0-server"], "{restart_the_pod}");
        }
        fail(&mut world, "db-0-server");
        world.steps(13);
        assert_eq!(launched(&mut world), ["db-0-server"], "failures of before are forgotten");
    }
}

/// Plans beside `deploy`.
const AGAIN: &str = "
plans:
  deploy: {phases: {db: {pod: db}, job: {pod: job}, web: {pod: web}}}
  again: {phases: {job: {pod: job}, web: {pod: web}}}
  careful: {phases: {web: {pod: web, strategy: canary}}}
";

#[test]
fn a_plan_of_the_author_is_done_in_its_order_whatever_was_deployed_when_the_scheduler_started() {
    use Status::{Complete, InProgress, Pending, Waiting};
    let mut world = World::deployed(&format!("{SERVICE}{AGAIN}"));
    world.restart();
    world.steps(3);
    assert_eq!(world.status("deploy"), Complete);
    assert_eq!(statuses(&world, "again"), (Waiting, vec![Pending; 2], vec![Pending; 3]));
    launched(&mut world);
    world.offering = false;
    start(&mut world, "again", &[]);
    world.steps(3);
    let before = (InProgress, vec![InProgress, Pending], vec![Status::Prepared, Pending, Pending]);
    assert_eq!(statuses(&world, "again"), before, "one after the other");
    world.offering = true;
    world.steps(15);
    assert_eq!(launched(&mut world), ["job-0-migrate", "web-0-server", "web-1-server"]);
    assert_eq!(world.status("again"), Complete, "until it is started again");
    start(&mut world, "again", &[]);
    world.steps(15);
    assert_eq!(launched(&mut world), ["job-0-migrate", "web-0-server", "web-1-server"]);
}

#[test]
fn canaries_are_released_one_by_one_in_a_plan_of_the_author_too() {
    let yaml = format!("{}{AGAIN}", SERVICE.replace("count: 2", "count: 4"));
    let mut world = World::deployed(&yaml);
    world.restart();
    world.steps(3);
    launched(&mut world);
    start(&mut world, "careful", &[]);
    world.steps(3);
    assert_eq!((launched(&mut world).len(), world.status("careful")), (0, Status::Waiting));
    let web = Some("web");
    assert_eq!(say(&mut world, "careful", web, PlanCommand::Interrupt), Ok(Already));
    world.offering = false;
    assert_eq!(say(&mut world, "careful", web, PlanCommand::Continue), Ok(Done));
    world.steps(2);
    assert_eq!(say(&mut world, "careful", web, PlanCommand::Continue), Ok(Already), "one is on its way");
    world.offering = true;
    world.steps(9);
    assert_eq!(
        (launched(&mut world), world.status("careful")),
        (vec!["web-0-server".to_owned()], Status::Waiting)
    );
    assert_eq!(say(&mut world, "careful", web, PlanCommand::Continue), Ok(Done));
    world.steps(20);
    assert_eq!(launched(&mut world), ["web-1-server", "web-2-server", "web-3-server"]);
    assert_eq!(world.status("careful"), Status::Complete);
}

#[test]
fn parameters_are_for_the_launches_of_the_started_plan_alone() {
    let mut world = World::deployed(&format!("{SERVICE}{AGAIN}"));
    let color = |world: &World, task: &str| world.env(task, "COLOR");
    start(&mut world, "again", &[("COLOR", "red")]);
    world.steps(15);
    assert_eq!(world.status("again"), Status::Complete);
    assert_eq!(color(&world, "web-0-server").as_deref(), Some("red"));
    fail(&mut world, "web-0-server");
    world.steps(4);
    assert_eq!(
        (color(&world, "web-0-server"), color(&world, "web-1-server")),
        (None, Some("red".to_owned()))
    );
    start(&mut world, "again", &[("SIZE", "1")]);
    world.steps(15);
    assert_eq!(color(&world, "web-1-server"), None, "those of before are gone");
    assert_eq!(world.env("web-1-server", "SIZE").as_deref(), Some("1"));
}

#[test]
fn a_stopped_plan_begins_anew_and_leaves_alone_what_runs() {
    let mut world = World::deployed(&format!("{SERVICE}{AGAIN}"));
    launched(&mut world);
    start(&mut world, "again", &[]);
    world.steps(2);
    assert_eq!(say(&mut world, "again", None, PlanCommand::Stop), Ok(Done));
    assert_eq!(launched(&mut world).first().map(String::as_str), Some("job-0-migrate"));
    world.steps(10);
    assert_eq!(statuses(&world, "again").0, Status::Waiting);
    assert_eq!(statuses(&world, "again").2, [Status::Pending; 3]);
    assert_eq!((world.running.len(), world.status("recovery")), (3, Status::Complete));
    assert!(!world.launched.contains(&"job-0-migrate".to_owned()), "{:?}", world.launched);
}

#[test]
fn a_phase_is_held_and_let_go_on_by_itself() {
    let mut world = World::new(SERVICE);
    assert_eq!(say(&mut world, "deploy", Some("web"), PlanCommand::Interrupt), Ok(Done));
    assert_eq!(say(&mut world, "deploy", Some("web"), PlanCommand::Interrupt), Ok(Already));
    world.steps(2);
    world.ready("db-0-server");
    world.steps(10);
    assert_eq!(world.launched, ["db-0-server", "job-0-migrate"]);
    assert_eq!((world.status("deploy"), statuses(&world, "deploy").1[2]), (Status::Waiting, Status::Waiting));
    assert_eq!(say(&mut world, "deploy", None, PlanCommand::Continue), Ok(Done));
    world.steps(3);
    assert_eq!(world.launched.len(), 2, "the plan goes on, the phase is held");
    assert_eq!(say(&mut world, "deploy", Some("web"), PlanCommand::Continue), Ok(Done));
    world.steps(10);
    assert_eq!(world.launched[2..], ["web-0-server", "web-1-server"]);
    assert_eq!(say(&mut world, "deploy", Some("web"), PlanCommand::Continue), Ok(Already));
    assert_eq!(say(&mut world, "deploy", None, PlanCommand::ForceComplete), Ok(Already));
}

#[test]
fn what_is_to_finish_runs_for_each_configuration_and_what_is_to_run_once_does_not() {
    let yaml = "
name: hello
pods:
  job:
    count: 1
    tasks:
      each: {goal: FINISH, cmd: a, cpus: 0.1, env: {N: '1'}}
      once: {goal: ONCE, cmd: b, cpus: 0.1}
plans: {deploy: {phases: {job: {pod: job, steps: [default: [[each], [once]]]}}}}
";
    let mut world = World::new(yaml);
    world.steps(6);
    assert_eq!(launched(&mut world), ["job-0-each", "job-0-once"]);
    world.restart();
    world.steps(6);
    assert_eq!(launched(&mut world), Vec::<String>::new(), "nothing has changed");
    world.yaml = yaml.replace("'1'", "'2'");
    world.restart();
    world.steps(6);
    assert_eq!(launched(&mut world), ["job-0-each"]);
    pod(&mut world, "job-0", PodCommand::Restart);
    world.steps(6);
    assert_eq!(launched(&mut world), Vec::<String>::new(), "a complete step is not opened again");
    assert_eq!(world.status("deploy"), Status::Complete);
}

#[test]
fn a_pod_that_is_given_up_is_recoverys_after_a_restart_too() {
    let mut world = World::deployed(SERVICE);
    world.offering = false;
    pod(&mut world, "db-0", PodCommand::Replace);
    world.steps(2);
    world.yaml = SERVICE.replace("cmd: serve", "cmd: serve2");
    world.restart();
    world.steps(2);
    assert_eq!(world.status("deploy"), Status::Complete);
    let step = world.scheduler.plan("recovery").unwrap().steps().next().unwrap();
    assert_eq!(step.requirement().map(|r| r.recovery), Some(Recovery::Permanent));
    assert!(step.message().ends_with("RecoveryType: PERMANENT"), "{}", step.message());
}

#[test]
fn what_fails_comes_back_as_it_was_while_an_update_is_refused_or_has_not_come_to_it() {
    let command = |world: &World, task: &str| {
        world.running[&world.id_of(task)].command.as_ref().and_then(|c| c.value.clone()).unwrap()
    };
    let changed = SERVICE.replace("cmd: web", "cmd: new").replace("cmd: serve", "cmd: new");
    for (yaml, deploy) in
        [(changed.replace("size: 100", "size: 200"), Status::Error), (changed, Status::InProgress)]
    {
        let mut world = World::deployed(SERVICE);
        world.yaml = yaml;
        world.restart();
        world.steps(4);
        fail(&mut world, "web-1-server");
        world.steps(4);
        assert_eq!(world.status("deploy"), deploy, "the database is not ready");
        assert_eq!(command(&world, "web-1-server"), "web");
    }
}

#[test]
fn pods_go_in_the_order_that_takes_back_how_they_came() {
    let pods = |pods: &[(&str, u32)]| {
        let pod = |(name, count): &(&str, u32)| {
            format!(
                "  {name}: {{count: {count}, allow-decommission: true, tasks: {{t: {{goal: RUNNING, cmd: c, cpus: 0.1}}}}}}\n"
            )
        };
        format!("name: hello\npods:\n{}", pods.iter().map(pod).collect::<String>())
    };
    let mut world = World::new(&pods(&[("y", 1), ("b", 3), ("x", 1), ("a", 2)]));
    world.steps(15);
    assert_eq!(world.status("deploy"), Status::Complete);
    world.yaml = pods(&[("b", 1), ("a", 1)]);
    world.restart();
    let plan = world.scheduler.plan("decommission").unwrap();
    let phases: Vec<&str> = plan.phases().map(|p| p.name.as_str()).collect();
    assert_eq!(phases, ["x-0", "y-0", "a-1", "b-2", "b-1"]);
    let steps = plan.phases().next().unwrap().steps();
    let kinds: Vec<&str> = steps.iter().filter_map(|s| s.name.split('-').next()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"kill"), Some(&"erase")));
    assert!(
        kinds[1..kinds.len() - 1].iter().all(|kind| *kind == "unreserve") && kinds.len() > 3,
        "{kinds:?}"
    );
    world.steps(100);
    assert_eq!((world.status("decommission"), world.running.len()), (Status::Complete, 2));
    world.restart();
    assert!(world.scheduler.plan("decommission").is_none(), "there is nothing left to take down");
}

#[test]
fn the_plan_of_a_removal_ends_tasks_gives_back_each_agents_reservations_and_leaves() {
    let mut world = World::deployed(SERVICE);
    let mut ids: Vec<String> =
        world.scheduler.tasks().values().map(|t| t.info.task_id.value.clone()).collect();
    world.yaml = format!("{SERVICE}# uninstall\n");
    world.offering = false;
    world.restart();
    let plans: Vec<&str> = world.scheduler.plans().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(plans, ["deploy"]);
    let plan = world.scheduler.plan("deploy").unwrap();
    assert_eq!(plan.strategy_name(), "dependency");
    let phases: Vec<(&str, &str)> = plan.phases().map(|p| (p.name.as_str(), p.strategy_name())).collect();
    let expected = [
        ("kill-tasks", "parallel"),
        ("unreserve-resources-host", "parallel"),
        ("deregister-service", "serial"),
    ];
    assert_eq!(phases, expected);
    let mut kills: Vec<String> =
        plan.phases().next().unwrap().steps().iter().map(|s| s.name.clone()).collect();
    for id in &mut ids {
        *id = format!("kill-task-{id}");
    }
    kills.sort();
    ids.sort();
    assert_eq!(kills, ids);
    world.steps(4);
    let refused =
        |world: &mut World, command: &Command| world.scheduler.command(world.now, command).map(drop);
    let restart = Command::Pod { pod: "db-0".to_owned(), command: PodCommand::Restart };
    assert_eq!(refused(&mut world, &restart), Err(CommandError::BeingRemoved));
    // an agent that never comes back
    let stuck = Some("unreserve-resources-host");
    assert_eq!(say(&mut world, "deploy", stuck, PlanCommand::ForceComplete), Ok(Done));
    world.steps(4);
    assert_eq!((world.status("deploy"), world.stored.len()), (Status::Complete, 0));
    let store = Command::StoreFile { name: "late".to_owned(), content: Vec::new() };
    assert_eq!(refused(&mut world, &store), Err(CommandError::BeingRemoved), "it would stay behind");
}

#[test]
fn what_an_update_may_change_is_not_refused() {
    let volumes =
        "volumes: {a: {path: a, type: MOUNT, size: 5, profiles: [fast]}, b: {path: b, type: ROOT, size: 6}}";
    let base = SERVICE
        .replace("cpus: 0.2", &format!("cpus: 0.2, {volumes}"))
        .replace("    count: 2\n", "    count: 2\n    networks: {dcos: }\n");
    let refused = |old: &str, new: &str| -> Vec<String> {
        let (old, new) = (service(old).spec, service(new).spec);
        validate::update(Some(&old), &new, true).into_iter().map(|e| e.field).collect()
    };
    let none = Vec::<String>::new();
    for (from, to) in [
        ("count: 2", "count: 3"),
        ("count: 2", "count: 1\n    allow-decommission: true"),
        (
            volumes,
            "volumes: {x: {path: b, type: ROOT, size: 6}, y: {path: a, type: MOUNT, size: 5, profiles: [fast]}}",
        ),
        ("networks: {dcos: }", "networks: {other: }"),
        (
            "  job:",
            "  new: {count: 1, tasks: {t: {goal: ONCE, cmd: c, volume: {path: v, type: ROOT, size: 1}}}}\n  job:",
        ),
        (
            "      migrate:",
            "      more: {goal: ONCE, cmd: c, volume: {path: v, type: ROOT, size: 1}}\n      migrate:",
        ),
    ] {
        assert!(base.contains(from), "{from}");
        assert_eq!(refused(&base, &base.replace(from, to)), none, "{to}");
    }
    for (from, to) in [
        (volumes, "gpus: 1"),
        ("profiles: [fast]", "profiles: [slow]"),
        ("{path: b, type: ROOT, size: 6}", "{path: b, type: MOUNT, size: 6}"),
        ("cmd: migrate", "cmd: migrate, volume: {path: v, type: ROOT, size: 1}"),
    ] {
        assert_eq!(refused(&base, &base.replace(from, to)).len(), 1, "{to}");
    }
    // the new pod says whether its count may be lowered, the old one whether it may go
    let flagged =
        |count: &str| base.replace("count: 2", &format!("count: {count}\n    allow-decommission: true"));
    assert_eq!(refused(&flagged("2"), &base.replace("count: 2", "count: 1")), ["pods.web.count"]);
    let renamed = |yaml: &str| yaml.replace("  web:", "  site:");
    assert_eq!(refused(&flagged("2"), &renamed(&base)), none);
    assert_eq!(refused(&base, &renamed(&flagged("2"))), ["pods.web"]);
    // a name that is too long is refused before anything is deployed under it
    let long = |name: String| ServiceSpec { name, ..service(SERVICE).spec };
    let name = long("n".repeat(64));
    assert_eq!(
        (validate::update(None, &name, true).len(), validate::update(Some(&name), &name, true).len()),
        (1, 0)
    );
    assert_eq!(validate::update(None, &long(format!("/{}/n", "n".repeat(62))), true), []);
}

#[test]
fn a_configuration_that_no_store_takes_is_refused_and_what_runs_goes_on() {
    assert_eq!(validate::MAX_VALUE, crate::store::MAX_VALUE_BYTES);
    let mut world = World::deployed(SERVICE);
    let with = |bytes: usize| SERVICE.replace("cmd: web", &format!("cmd: {}", "w".repeat(bytes)));
    world.yaml = with(990_000);
    world.restart();
    world.steps(10);
    assert_eq!(world.status("deploy"), Status::Complete);
    world.yaml = with(1_000_000);
    world.restart();
    let errors = world.scheduler.plan("deploy").unwrap().errors.clone();
    assert!(errors.len() == 1 && errors[0].contains("at most 1000000 can be stored"), "{errors:?}");
    assert_eq!(world.running.len(), 3);
    let steps = vec![format!("[{}]", "w".repeat(100)); 10_000].join(", ");
    let yaml = SERVICE.replace(
        "server: {goal: RUNNING, cmd: web",
        &format!("{}: {{goal: RUNNING, cmd: web", "w".repeat(100)),
    );
    let plans = format!("plans: {{deploy: {{phases: {{web: {{pod: web, steps: [default: [{steps}]]}}}}}}}}");
    let large = validate::too_large(&service(&format!("{yaml}{plans}")));
    assert_eq!(large.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), ["plans"]);
}

#[test]
fn a_pod_comes_back_as_a_whole_when_the_last_of_its_failed_tasks_has_waited() {
    let yaml = "
name: hello
pods:
  web:
    count: 1
    tasks:
      server: {goal: RUNNING, cmd: c, cpus: 0.1}
      helper: {goal: RUNNING, essential: false, cmd: c, cpus: 0.1}
";
    let mut world = World::new(&format!("{yaml}{BACKOFF}"));
    world.steps(4);
    assert_eq!((launched(&mut world).len(), world.status("deploy")), (2, Status::Complete));
    fail(&mut world, "web-0-helper");
    world.steps(6);
    fail(&mut world, "web-0-server");
    world.steps(9);
    assert_eq!(launched(&mut world), Vec::<String>::new(), "the helper alone would have waited long enough");
    world.steps(4);
    let mut both = launched(&mut world);
    both.sort();
    assert_eq!(both, ["web-0-helper", "web-0-server"]);
}
