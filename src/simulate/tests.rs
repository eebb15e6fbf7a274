//! Whole services in virtual time.

use super::*;
use crate::finding::Source;
use crate::plan::Status;
use crate::scheduler::Config;
use crate::spec::{Context, parse};
use std::collections::BTreeMap;

pub(super) fn deployment(yaml: &str, env: &[(&str, &str)]) -> Deployment {
    let none = |_: &str| Err("none".to_owned());
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let (service, found) =
        parse(&Source::new("svc.yml", yaml), &Context { template: &none, env: &env }).expect("a service");
    assert!(found.iter().all(|f| f.severity == crate::finding::Severity::Warning), "{found:?}");
    let config = Config::from_env(&env, &service.spec, 8080).expect("a configuration");
    Deployment { service, config }
}

fn world(yaml: &str, agents: u32, proceed: bool) -> World {
    let deployment = deployment(yaml, &[]);
    let machines = agents::suited_to(&deployment.service, &deployment.config, agents);
    World::new(machines, deployment, Settings { proceed, ..Settings::default() })
}

pub(super) const SHOP: &str = r"
name: shop
pods:
  db:
    count: 2
    placement: hostname:UNIQUE
    tasks:
      server:
        goal: RUNNING
        cmd: serve
        cpus: 0.5
        memory: 64
        ports: {sql: {port: 0, env-key: PORT_SQL}}
        volume: {path: data, type: ROOT, size: 100}
        readiness-check: {cmd: ready, interval: 1, timeout: 1}
  job:
    count: 1
    tasks:
      migrate: {goal: ONCE, cmd: migrate, cpus: 0.1, memory: 32}
";

#[test]
fn a_service_is_deployed_in_plan_order_and_then_nothing_more_is_wanted() {
    let mut world = world(SHOP, 3, false);
    world.run();
    assert_eq!(world.deploy_status(), Some(Status::Complete));
    assert_eq!(world.cluster.interest(), Interest::Suppressed);
    let launched: Vec<String> = lines(&world, "is launched").map(|l| l.text.clone()).collect();
    let names: Vec<&str> = launched.iter().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(names, ["db-0-server", "db-1-server", "job-0-migrate"]);
    let hosts: std::collections::BTreeSet<&str> =
        launched[..2].iter().filter_map(|l| l.rsplit(' ').next()).collect();
    assert_eq!(hosts.len(), 2, "{launched:?}");
    let ready = lines(&world, "db-0-server is TASK_RUNNING, ready").next().expect("ready").at;
    let second = lines(&world, "db-1-server is launched").next().expect("launched").at;
    assert!(ready < second);
    assert_eq!(lines(&world, "refuses").count(), 0);
}

fn lines<'w>(world: &'w World, part: &'w str) -> impl Iterator<Item = &'w Line> {
    world.story.lines().iter().filter(move |l| l.text.contains(part))
}

#[test]
fn a_step_that_no_agent_can_hold_says_why() {
    let mut world = world(SHOP, 1, false);
    world.run();
    assert_ne!(world.deploy_status(), Some(Status::Complete));
    let scheduler = world.scheduler().expect("a scheduler");
    let step = scheduler.plans()[0].steps().find(|s| s.name.starts_with("db-1")).expect("the step");
    let why = scheduler.why(world.now(), step).join("\n");
    assert!(why.contains("placement: hostname agent-0 has 1 of at most 1"), "{why}");
}

#[test]
fn a_canary_waits_unless_somebody_lets_it_go_on() {
    let canary = format!(
        "{SHOP}plans:\n  deploy:\n    strategy: serial\n    phases:\n      db: {{strategy: canary, pod: db}}\n"
    );
    for (proceed, status) in [(false, Status::Waiting), (true, Status::Complete)] {
        let mut world = world(&canary, 3, proceed);
        world.run();
        assert_eq!(world.deploy_status(), Some(status));
    }
}

#[test]
fn the_cluster_that_is_made_for_a_service_has_what_it_asks_for() {
    let yaml = r"
name: picky
pods:
  store:
    count: 2
    placement: 'rack:LIKE:r[0-9],@zone:UNIQUE,hostname:UNIQUE'
    resource-sets:
      all:
        cpus: 20
        memory: 90000
        gpus: 1
        ports: {web: {port: 80}}
        volume: {path: data, type: MOUNT, size: 5000, profiles: [fast]}
    tasks: {server: {goal: RUNNING, cmd: run, resource-set: all}}
  edge:
    count: 1
    pre-reserved-role: slave_public
    placement: '@region:IS:far'
    tasks: {proxy: {goal: RUNNING, cmd: run, cpus: 2, memory: 64, ports: {http: {port: 443}}}}
";
    let mut world = world(yaml, 3, false);
    world.run();
    let scheduler = world.scheduler().expect("a scheduler");
    let why: Vec<String> = scheduler.plans()[0].steps().flat_map(|s| scheduler.why(world.now(), s)).collect();
    assert_eq!((world.deploy_status(), why), (Some(Status::Complete), vec![]));
}

#[test]
fn a_crash_of_the_process_does_not_launch_anything_again() {
    let mut world = world(SHOP, 3, false);
    world.run_while(|w| w.now() < 4.0);
    world.crash();
    world.run();
    assert_eq!(world.deploy_status(), Some(Status::Complete));
    assert_eq!(lines(&world, "is launched").count(), 3);
    assert_eq!(lines(&world, "the scheduler starts").count(), 2);
}

#[test]
fn an_uninstall_leaves_nothing_behind() {
    let mut world = world(SHOP, 3, false);
    world.run();
    world.redeploy(deployment(SHOP, &[("SDK_UNINSTALL", "")]));
    world.run();
    assert_eq!(world.deploy_status(), Some(Status::Complete));
    assert!(world.stored().is_empty());
    for agent in world.cluster.agents.values() {
        assert_eq!(agent.total, crate::sandbox::resources::Resources::new(&agent.machine.resources()));
    }
}
