//! What operators hold, and what is replaced without them.

use super::*;

fn pod(world: &mut World, pod: &str, command: PodCommand) -> Result<Vec<String>, CommandError> {
    let command = Command::Pod { pod: pod.to_owned(), command };
    let (_, tasks, effects) = world.scheduler.command(world.now, &command)?;
    world.perform(effects);
    Ok(tasks)
}

fn status(world: &World, task: &str) -> Option<&'static str> {
    world.scheduler.task_status(world.scheduler.tasks().get(task)?)
}

fn command_of(world: &World, task: &str) -> String {
    let task = &world.running[&world.id_of(task)];
    task.command.as_ref().and_then(|c| c.value.clone()).unwrap_or_default()
}

/// How operators see the steps of a plan.
fn seen(world: &World, plan: &str) -> Vec<&'static str> {
    world.scheduler.plan(plan).unwrap().steps().map(|s| world.scheduler.step_status(s)).collect()
}

#[test]
fn a_paused_pod_does_nothing_and_is_never_ready_until_it_is_resumed_whatever_restarts_in_between() {
    let checked = SERVICE.replace(
        "server: {goal: RUNNING, cmd: web, cpus: 0.2, memory: 32}",
        "server: {goal: RUNNING, cmd: web, cpus: 0.2, memory: 32, health-check: {cmd: h, interval: 1, \
         grace-period: 1, max-consecutive-failures: 1, delay: 0, timeout: 1}}",
    );
    let mut world = World::deployed(&checked);
    assert_eq!(pod(&mut world, "web-0", PodCommand::Pause(Vec::new())).unwrap(), ["web-0-server"]);
    assert_eq!(status(&world, "web-0-server"), Some("PAUSING"));
    world.steps(4);
    assert_eq!(status(&world, "web-0-server"), Some("PAUSED"));
    assert_eq!(status(&world, "web-1-server"), Some("RUNNING"), "other instances go on");
    let running = &world.running[&world.id_of("web-0-server")];
    assert!(running.health_check.is_none(), "what does nothing cannot be healthy");
    let check = running.check.clone().and_then(|c| c.command).and_then(|c| c.command.value);
    assert_eq!(check.as_deref(), Some("exit 1"));
    assert!(command_of(&world, "web-0-server").contains("paused"));
    assert_eq!(seen(&world, "recovery"), ["PAUSED"]);
    let message =
        world.scheduler.step_message(world.scheduler.plan("recovery").unwrap().steps().next().unwrap());
    assert!(message.ends_with("with status: STARTED RecoveryType: TRANSIENT (display:PAUSED)"), "{message}");
    world.launched.clear();
    world.restart();
    world.steps(4);
    assert_eq!((status(&world, "web-0-server"), world.launched.len()), (Some("PAUSED"), 0));
    let id = world.id_of("web-0-server");
    world.end(&id, TaskState::Failed);
    world.steps(4);
    assert_eq!(status(&world, "web-0-server"), Some("PAUSED"), "it comes back as it was");
    let step = world.scheduler.plan("deploy").unwrap().steps().find(|s| s.name.starts_with("web-0")).unwrap();
    assert!(world.scheduler.why(world.now, step).join(";").contains("paused by an operator"));
    assert_eq!(pod(&mut world, "web-0", PodCommand::Pause(Vec::new())).unwrap(), ["web-0-server"]);
    assert_eq!(status(&world, "web-0-server"), Some("PAUSED"), "it is paused already");
    assert_eq!(pod(&mut world, "web-0", PodCommand::Resume(vec!["server".to_owned()])).unwrap().len(), 1);
    assert_eq!(status(&world, "web-0-server"), Some("STARTING"));
    world.steps(4);
    assert_eq!(status(&world, "web-0-server"), Some("RUNNING"));
    assert_eq!(command_of(&world, "web-0-server"), "web");
    assert_eq!(world.status("deploy"), Status::Complete);
}

#[test]
fn tasks_to_pause_are_named_as_tasks_or_instances_and_all_must_exist() {
    let mut world = World::deployed(SERVICE);
    let names = |name: &str| PodCommand::Pause(vec!["server".to_owned(), name.to_owned()]);
    let missing = |name: &str| Err(CommandError::NotFound { kind: "Pod", name: name.to_owned() });
    assert_eq!(pod(&mut world, "web-0", names("nix")), missing("web-0"));
    assert_eq!(pod(&mut world, "nix-0", PodCommand::Pause(Vec::new())), missing("nix-0"));
    assert_eq!(status(&world, "web-0-server"), Some("RUNNING"), "nothing is paused");
    assert_eq!(pod(&mut world, "web-0", names("web-0-server")).unwrap(), ["web-0-server"]);
    assert_eq!(pod(&mut world, "job-0", PodCommand::Pause(Vec::new())).unwrap(), Vec::<String>::new());
    assert_eq!(
        status(&world, "job-0-migrate"),
        Some("FINISHED"),
        "what has ended for good does nothing already"
    );
}

#[test]
fn a_pod_paused_while_it_is_deployed_holds_what_comes_after_it() {
    let mut world = World::new(SERVICE);
    world.steps(2);
    pod(&mut world, "db-0", PodCommand::Pause(Vec::new())).unwrap();
    world.steps(4);
    assert_eq!(seen(&world, "deploy")[0], "PAUSED");
    assert_eq!(world.launched, ["db-0-server", "db-0-server"]);
    pod(&mut world, "db-0", PodCommand::Resume(Vec::new())).unwrap();
    world.steps(3);
    world.ready("db-0-server");
    world.steps(10);
    assert_eq!(world.status("deploy"), Status::Complete);
}

#[test]
fn tasks_of_a_pod_that_is_taken_down_are_seen_to_be() {
    let yaml = SERVICE.replace("count: 2", "count: 2\n    allow-decommission: true");
    let mut world = World::deployed(&yaml);
    world.yaml = yaml.replace("count: 2", "count: 1");
    world.restart();
    assert_eq!(status(&world, "web-1-server"), Some("DECOMMISSIONING"));
    assert_eq!(status(&world, "web-0-server"), Some("RUNNING"));
}

const POLICY: &str =
    "\nreplacement-failure-policy: {permanent-failure-timeout-secs: 60, min-replace-delay-secs: 100}\n";

fn given_up(world: &World, task: &str) -> bool {
    world.scheduler.tasks()[task].notes.permanently_failed
}

#[test]
fn a_pod_that_stays_down_is_replaced_after_a_time_that_a_restart_does_not_begin_anew() {
    let mut world = World::deployed(&format!("{SERVICE}{POLICY}"));
    let before = world.resource_ids("db-0-server");
    world.offering = false;
    let id = world.id_of("db-0-server");
    world.end(&id, TaskState::Failed);
    world.steps(30);
    let step = world.scheduler.plan("recovery").unwrap().steps().next().unwrap();
    let why = world.scheduler.why(world.now, step).join("; ");
    assert!(why.contains("db-0 is replaced elsewhere in 3"), "{why}");
    world.restart();
    world.steps(25);
    assert!(!given_up(&world, "db-0-server"));
    world.steps(10);
    assert!(given_up(&world, "db-0-server"));
    world.offering = true;
    world.steps(5);
    let after = world.resource_ids("db-0-server");
    assert!(!after.is_empty() && after.iter().all(|id| !before.contains(id)), "{before:?} {after:?}");
}

#[test]
fn pods_are_replaced_one_after_the_other_and_not_at_all_without_a_policy_or_when_they_come_back() {
    let fail = |yaml: &str| {
        let mut world = World::deployed(yaml);
        world.offering = false;
        for task in ["web-0-server", "web-1-server"] {
            let id = world.id_of(task);
            world.end(&id, TaskState::Failed);
        }
        world
    };
    let with_policy = format!("{SERVICE}{POLICY}");
    let mut world = fail(&with_policy);
    world.steps(70);
    let count = |w: &World| ["web-0-server", "web-1-server"].iter().filter(|t| given_up(w, t)).count();
    assert_eq!(count(&world), 1);
    world.steps(100);
    assert_eq!(count(&world), 2);
    let mut world = fail(SERVICE);
    world.steps(200);
    assert_eq!(count(&world), 0, "only operators replace");
    let step = world.scheduler.plan("recovery").unwrap().steps().next().unwrap();
    let why = world.scheduler.why(world.now, step).join("; ");
    assert!(why.contains("`pod replace web-0` starts it anew"), "{why}");
    let mut world = fail(&with_policy);
    world.steps(30);
    world.offering = true;
    world.steps(4);
    world.offering = false;
    world.steps(200);
    assert_eq!(count(&world), 0, "they are up again");
}

#[test]
fn the_role_changes_only_once_the_deployment_is_complete() {
    let start = |world: &World| {
        let env = BTreeMap::from([("MESOS_ALLOCATION_ROLE".to_owned(), "group".to_owned())]);
        let service = service(SERVICE);
        let config = Config::from_env(&env, &service.spec, 8080).unwrap();
        Scheduler::start(config, service, &world.stored, [9; 16]).map(|(s, _)| s.status_of_deploy_errors())
    };
    let mut world = World::new(SERVICE);
    world.steps(3);
    let refused = start(&world).unwrap_err().to_string();
    assert!(refused.contains("Field: 'role'; Transition: 'hello-role' => 'group'"), "{refused}");
    assert_eq!(start(&World::deployed(SERVICE)), Ok(Vec::new()));
}

impl Scheduler {
    fn status_of_deploy_errors(&self) -> Vec<String> {
        self.plan("deploy").map(Plan::all_errors).unwrap_or_default()
    }
}

#[test]
fn what_moves_to_another_role_may_have_other_volumes() {
    let old = ServiceSpec { role: Some("a".to_owned()), ..service(SERVICE).spec };
    let changed = service(&SERVICE.replace("size: 100", "size: 200")).spec;
    let with = |role: &str| ServiceSpec { role: Some(role.to_owned()), ..changed.clone() };
    assert_eq!(validate::update(Some(&old), &with("b"), true), []);
    assert_eq!(validate::update(Some(&old), &with("a"), true).len(), 1);
    let fields = |deployed| -> Vec<(String, bool)> {
        let errors = validate::update(Some(&old), &with("b"), deployed);
        errors.into_iter().map(|e| (e.field, e.fatal)).collect()
    };
    assert_eq!(fields(false), [("role".to_owned(), true)]);
}

#[test]
fn a_refused_update_keeps_the_plans_of_before_too() {
    let plans = "plans:\n  deploy: {phases: {web: {pod: web}, db: {pod: db}, job: {pod: job}}}\n  again: {phases: {job: {pod: \
                 job}}}\n";
    let old = format!("{SERVICE}{plans}");
    let mut world = World::deployed(&old);
    world.yaml =
        old.replace("  job:\n", "  jobs:\n").replace("pod: job", "pod: jobs").replace("again", "other");
    world.restart();
    world.steps(2);
    assert_eq!(world.status("deploy"), Status::Error);
    let deploy = world.scheduler.plan("deploy").unwrap();
    assert!(deploy.errors[0].contains("pods.job"), "{:?}", deploy.errors);
    assert_eq!(deploy.phases().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["web", "db", "job"]);
    assert!(world.scheduler.plan("again").is_some() && world.scheduler.plan("other").is_none());
    assert_eq!(world.running.len(), 3, "what ran goes on");
    world.yaml = old.replace("again", "other");
    world.restart();
    assert!(world.scheduler.plan("other").is_some(), "plans change without a configuration that does");
}

/// A plan beside `deploy` for other tasks of the pods, and one for the same.
const TWO_TASKS: &str = "
name: hello
pods:
  db:
    count: 1
    tasks:
      server: {goal: RUNNING, cmd: serve, cpus: 0.5, memory: 64, readiness-check: {cmd: r, interval: 1, timeout: 1}}
      helper: {goal: RUNNING, essential: false, cmd: help, cpus: 0.1, memory: 32}
      job-backup: {goal: ONCE, cmd: backup, cpus: 0.1, memory: 32}
plans:
  deploy: {phases: {db: {pod: db, steps: [default: [[server], [helper]]]}}}
  same: {phases: {db: {pod: db, steps: [default: [[server]]]}}}
  backup: {phases: {db: {pod: db, steps: [default: [[job-backup]]]}}}
";

fn plan(world: &mut World, plan: &str, command: PlanCommand) {
    let command = Command::Plan { plan: plan.to_owned(), phase: None, step: None, command };
    let (_, _, effects) = world.scheduler.command(world.now, &command).unwrap();
    world.perform(effects);
}

#[test]
fn a_plan_waits_for_another_that_works_on_the_same_task_and_not_for_one_that_works_on_its_sibling() {
    let mut world = World::new(TWO_TASKS);
    world.offering = false;
    world.steps(2);
    plan(&mut world, "same", PlanCommand::Start(BTreeMap::new()));
    plan(&mut world, "backup", PlanCommand::Start(BTreeMap::new()));
    world.steps(1);
    let of = |world: &World, plan: &str| {
        let step = world.scheduler.plan(plan).unwrap().steps().next().unwrap().clone();
        (step.status(), world.scheduler.why(world.now, &step).join("; "))
    };
    assert_eq!(of(&world, "same"), (Status::Pending, "plan deploy works on the same tasks".to_owned()));
    assert_eq!(of(&world, "backup").0, Status::Prepared, "another task of the pod is nobody else's");
    world.offering = true;
    world.steps(1);
    assert_eq!(world.launched, ["db-0-server"]);
    world.steps(5);
    assert_eq!(world.launched, ["db-0-server", "db-0-job-backup"], "it is not ready");
    assert_eq!(of(&world, "same"), (Status::Pending, "plan deploy works on the same tasks".to_owned()));
    world.ready("db-0-server");
    world.steps(5);
    assert_eq!((world.status("deploy"), of(&world, "same").0), (Status::Complete, Status::Started));
    let servers = world.launched.iter().filter(|t| *t == "db-0-server").count();
    assert_eq!(servers, 2, "it is the other plan's turn, once: {:?}", world.launched);
    world.ready("db-0-server");
    world.steps(2);
    assert_eq!(world.status("same"), Status::Complete);
}

#[test]
fn when_an_essential_task_fails_its_siblings_start_anew_and_else_it_alone() {
    let mut world = World::new(TWO_TASKS);
    world.steps(2);
    world.ready("db-0-server");
    world.steps(4);
    assert_eq!(world.status("deploy"), Status::Complete);
    world.launched.clear();
    let id = world.id_of("db-0-helper");
    world.end(&id, TaskState::Failed);
    world.steps(4);
    assert_eq!(world.launched, ["db-0-helper"]);
    world.launched.clear();
    let id = world.id_of("db-0-server");
    world.end(&id, TaskState::Failed);
    world.steps(6);
    assert_eq!(world.launched, ["db-0-server", "db-0-helper"], "what is to end once is left alone");
}

#[test]
fn a_task_that_fails_while_its_sibling_waits_for_it_comes_back() {
    let yaml = "
name: hello
pods:
  db:
    count: 1
    tasks:
      server: {goal: RUNNING, cmd: serve, cpus: 0.5, memory: 64}
      helper: {goal: RUNNING, cmd: help, cpus: 0.1, memory: 32, readiness-check: {cmd: r, interval: 1, timeout: 1}}
plans: {deploy: {phases: {db: {pod: db, steps: [default: [[server], [helper]]]}}}}
";
    let mut world = World::new(yaml);
    world.steps(4);
    assert_eq!(world.launched, ["db-0-server", "db-0-helper"]);
    assert_eq!(world.status("deploy"), Status::InProgress, "the helper is not ready");
    let id = world.id_of("db-0-server");
    world.end(&id, TaskState::Failed);
    world.steps(4);
    assert_eq!(world.launched, ["db-0-server", "db-0-helper", "db-0-server"]);
    world.ready("db-0-helper");
    world.steps(2);
    assert_eq!((world.status("deploy"), world.status("recovery")), (Status::Complete, Status::Complete));
    // replaced in the middle of its deployment, all of it starts anew, each task once
    let mut world = World::new(yaml);
    world.steps(4);
    let before = world.resource_ids("db-0-server");
    pod(&mut world, "db-0", PodCommand::Replace).unwrap();
    world.launched.clear();
    world.steps(8);
    assert_eq!(world.launched, ["db-0-helper", "db-0-server"]);
    assert!(world.resource_ids("db-0-server").iter().all(|id| !before.contains(id)));
    world.ready("db-0-helper");
    world.steps(2);
    assert_eq!((world.status("deploy"), world.status("recovery")), (Status::Complete, Status::Complete));
    assert_eq!(world.launched.len(), 2);
}

#[test]
fn phases_and_steps_are_found_by_their_ids_too() {
    let mut world = World::new(SERVICE);
    let phase = world.scheduler.plan("deploy").unwrap().phases().next().unwrap();
    let (phase_id, step_id) = (phase.id.clone(), phase.steps()[0].id.clone());
    let command = Command::Plan {
        plan: "deploy".to_owned(),
        phase: Some(phase_id),
        step: Some(step_id),
        command: PlanCommand::ForceComplete,
    };
    let (outcome, _, effects) = world.scheduler.command(world.now, &command).unwrap();
    world.perform(effects);
    assert_eq!(outcome, crate::plan::Outcome::Done);
    world.steps(10);
    assert_eq!(world.launched, ["job-0-migrate", "web-0-server", "web-1-server"]);
}

#[test]
fn offers_are_never_suppressed_and_all_tasks_asked_for_as_often_as_the_environment_says() {
    let service = service(SERVICE);
    let env = [
        ("DISABLE_SUPPRESS", ""),
        ("IMPLICIT_RECONCILIATION_DELAY_MS", "10000"),
        ("IMPLICIT_RECONCILIATION_PERIOD_MS", "20000"),
    ];
    let env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let config = Config::from_env(&env, &service.spec, 8080).unwrap();
    let (mut scheduler, _) = Scheduler::start(config, service, &Stored::new(), [1; 16]).unwrap();
    let force = Command::Plan {
        plan: "deploy".to_owned(),
        phase: None,
        step: None,
        command: PlanCommand::ForceComplete,
    };
    let mut asked = Vec::new();
    scheduler.handle(0.0, Event::Subscribed { framework_id: "F".to_owned() });
    scheduler.command(0.0, &force).unwrap();
    for second in 0_u8..60 {
        let effects = scheduler.handle(f64::from(second), Event::Tick);
        let reconciles = |e: &Effect| matches!(e, Effect::Call(c) if c.r#type == CallType::Reconcile);
        asked.extend(effects.iter().any(reconciles).then_some(second));
    }
    assert_eq!(asked, [10, 30, 50]);
    assert!(!scheduler.is_suppressed());
}

#[test]
fn what_happens_is_counted_and_what_is_stored_about_the_service_is_known() {
    let world = World::deployed(SERVICE);
    let count = |name: &str| world.scheduler.counters().get(name);
    assert_eq!(count("operation.launch_group"), 4);
    assert_eq!(count("task_status.task_finished"), 1);
    assert!(count("offers.received") > 0 && count("declines.long") > 0 && count("suppresses") == 1);
    assert!(world.scheduler.is_suppressed());
    let properties = world.scheduler.properties();
    assert_eq!(properties.get("last-completed-update-type").map(Vec::as_slice), Some(b"DEPLOY".as_slice()));
    let (again, _) = World::start(SERVICE, &world.stored, 9);
    assert_eq!(again.properties(), properties);
}

#[test]
fn what_a_replaced_pod_leaves_on_an_agent_that_is_away_is_waited_for_and_then_given_back() {
    let mut world = World::deployed(SERVICE);
    let had = world.resource_ids("web-0-server");
    pod(&mut world, "web-0", PodCommand::Replace).unwrap();
    // the first offer has room for the new one, and not yet what the old one had
    let away: Vec<Resource> = std::mem::take(&mut world.free)
        .into_iter()
        .filter(|r| !r.resource_id().is_some_and(|id| had.iter().any(|had| had == id)))
        .collect();
    world.free = away;
    world.offering = false;
    world.step();
    let kept = |r: &Resource| r.resource_id().is_some_and(|id| had.iter().any(|had| had == id));
    let (away, free) = world.free.drain(..).partition::<Vec<_>, _>(kept);
    world.free = free;
    world.offering = true;
    world.steps(5);
    assert_eq!(world.status("recovery"), Status::Complete);
    assert!(!world.scheduler.left_over().is_empty());
    assert!(!world.suppressed, "its agent may come back");
    world.offering = false;
    world.now += 86_400.0;
    world.steps(2);
    assert!(world.suppressed, "not for ever");
    world.restart();
    world.offering = true;
    world.steps(3);
    assert!(!world.scheduler.left_over().is_empty(), "it is known to the next process");
    world.free.extend(away);
    world.steps(70);
    assert!(world.scheduler.left_over().is_empty());
    assert!(world.suppressed && !world.stored.contains_key(path::LEFT_OVER));
    assert!(!world.free.iter().any(kept), "it was given back");
}
