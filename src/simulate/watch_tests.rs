//! Each rule can be seen to be broken: by a scheduler or a cluster that is made to do wrong.

use super::super::tests::{SHOP, deployment};
use super::super::{World, agents, world::Settings};
use super::*;
use crate::scheduler::{Config, Deployment};
use crate::wire::{AgentId, CallType};

fn deployed() -> World {
    let deployment = deployment(SHOP, &[]);
    let machines = agents::suited_to(&deployment.service, &deployment.config, 3);
    let mut world = World::new(machines, deployment, Settings::default());
    world.run();
    assert_eq!(world.watch.violation, None);
    assert_eq!(world.deploy_status(), Some(Status::Complete));
    world
}

fn rule(watch: &Watch) -> Option<Rule> {
    watch.violation.as_ref().map(|v| v.rule)
}

fn id_of(world: &World, instance: &str) -> TaskId {
    let task = world.cluster.tasks.values().find(|t| t.info.name == instance).expect("the task");
    task.info.task_id.clone()
}

/// A launch as the cluster sees it, of a task that is there already under another id.
fn launched_again(world: &mut World, instance: &str) {
    let old = id_of(world, instance);
    let new = TaskId { value: format!("{old}-again") };
    let mut copy = world.cluster.tasks[&old].clone();
    copy.info.task_id = new.clone();
    world.cluster.tasks.insert(new.clone(), copy);
    let observed = Observed::Launched { task: new, instance: instance.to_owned(), host: String::new() };
    world.watch.on_observed(world.now(), &observed, &world.cluster, true);
}

#[test]
fn a_second_launch_of_what_runs_is_seen() {
    let mut world = deployed();
    launched_again(&mut world, "db-0-server");
    assert_eq!(rule(&world.watch), Some(Rule::RunsOnce));
    // also where nobody can reach the first; only an operator's word makes it good
    for (replaced, expected) in [(false, Some(Rule::RunsOnce)), (true, None)] {
        let mut world = deployed();
        let agent: AgentId = world.cluster.tasks[&id_of(&world, "db-0-server")].info.agent_id.clone();
        world.in_cluster(|cluster, now| cluster.cut_agent(now, &agent));
        if replaced {
            world.watch.replaced("db-0", &world.cluster);
        }
        launched_again(&mut world, "db-0-server");
        assert_eq!(rule(&world.watch), expected);
    }
}

#[test]
fn a_task_that_ran_once_for_good_must_not_be_launched_again() {
    let mut world = deployed();
    launched_again(&mut world, "job-0-migrate");
    assert_eq!(rule(&world.watch), Some(Rule::OnceIsOnce));
}

#[test]
fn a_launch_and_an_acknowledgement_without_a_write_before_are_seen() {
    for (kind, expected) in
        [(CallType::Accept, Rule::DurableFirst), (CallType::Acknowledge, Rule::NothingAcknowledgedIsLost)]
    {
        let deployment = deployment(SHOP, &[]);
        let machines = agents::suited_to(&deployment.service, &deployment.config, 3);
        let mut world = World::new(machines, deployment, Settings::default());
        let mut seen = None;
        world.calls = Some(Vec::new());
        // a scheduler whose writes of one kind are lost: the store is as it was before
        while seen.is_none() && world.now() < 100.0 && world.step() {
            let Some(call) = world.calls.iter().flatten().find(|c| c.r#type == kind).cloned() else {
                continue;
            };
            let mut cluster = world.cluster.clone();
            if let Some(acknowledge) = &call.acknowledge {
                // what was acknowledged is still to be
                let status = TaskStatus { uuid: Some(acknowledge.uuid.clone()), ..TaskStatus::default() };
                let task = cluster.tasks.get_mut(&acknowledge.task_id).expect("the task");
                task.pending.push_front(status);
            }
            let mut stored = world.stored().clone();
            let last = if kind == CallType::Accept { path::TASK_INFO } else { path::TASK_STATUS };
            let mut good = Watch::default();
            good.on_call(world.now(), &call, &stored, &cluster);
            assert_eq!(rule(&good), None);
            stored.retain(|path, _| !path.ends_with(last));
            let mut watch = Watch::default();
            watch.on_call(world.now(), &call, &stored, &cluster);
            seen = rule(&watch);
        }
        assert_eq!(seen, Some(expected));
    }
}

#[test]
fn an_end_that_was_acknowledged_must_not_be_forgotten() {
    let mut world = deployed();
    let id = id_of(&world, "job-0-migrate");
    let write = |state| {
        let status = TaskStatus { task_id: id.clone(), state, ..TaskStatus::default() };
        let value = serde_json::to_vec(&status).ok();
        [Write { path: format!("{}/job-0-migrate/{}", path::TASKS, path::TASK_STATUS), value }]
    };
    world.watch.on_write(1.0, &write(TaskState::Finished));
    assert_eq!(rule(&world.watch), None);
    world.watch.on_write(1.0, &write(TaskState::Running));
    assert_eq!(rule(&world.watch), Some(Rule::NothingAcknowledgedIsLost));
}

#[test]
fn a_reservation_that_two_pods_use_is_seen() {
    let mut world = deployed();
    let mut copy = world.cluster.tasks[&id_of(&world, "db-0-server")].clone();
    copy.info = world.cluster.tasks[&id_of(&world, "db-1-server")].info.clone();
    let id = TaskId::from("other");
    copy.info.task_id = id.clone();
    world.cluster.tasks.insert(id.clone(), copy);
    let observed = Observed::Launched { task: id, instance: "db-9-server".to_owned(), host: String::new() };
    world.watch.on_observed(0.0, &observed, &world.cluster, true);
    assert_eq!(rule(&world.watch), Some(Rule::ReservationsAreNotShared));
}

#[test]
fn a_call_that_the_master_refuses_is_seen() {
    let mut world = deployed();
    let call = Call { r#type: CallType::Message, ..Call::default() };
    world.in_cluster(|cluster, now| cluster.call(now, call));
    assert_eq!(rule(&world.watch), Some(Rule::NothingIsRefused));
}

#[test]
fn a_plan_that_is_complete_without_its_tasks_is_seen() {
    let world = deployed();
    let mut blind = Watch::default();
    blind.after_event(0.0, 0.0, world.scheduler().expect("it runs"), &world.cluster);
    assert_eq!(rule(&blind), Some(Rule::CompleteMeansDone));
}

#[test]
fn offers_that_stay_unwanted_while_there_is_work_are_seen() {
    let deployment = deployment(SHOP, &[]);
    let machines = agents::suited_to(&deployment.service, &deployment.config, 3);
    let mut world = World::new(machines, deployment, Settings::default());
    world.run_to(0.9);
    // a master that takes a wish for the opposite
    world.cluster.framework.suppressed = true;
    world.run_while(|w| w.now() < UNWANTED - 10.0);
    assert_eq!(rule(&world.watch), None);
    world.run_while(|w| w.now() < UNWANTED + 60.0);
    assert_eq!(rule(&world.watch), Some(Rule::SuppressedMeansIdle));
}

#[test]
fn what_an_uninstall_must_not_leave_is_seen() {
    let mut world = deployed();
    let left = |world: &World| Watch::left_behind(world.stored(), &world.cluster).unwrap_or_default();
    assert!(left(&world).contains("is still stored"));
    let empty = Stored::new();
    assert_eq!(
        Watch::left_behind(&empty, &world.cluster).as_deref(),
        Some("the framework is still registered")
    );
    world.cluster.framework.removed = true;
    let what = Watch::left_behind(&empty, &world.cluster).unwrap_or_default();
    assert!(what.ends_with("still runs"), "{what}");
    world.cluster.tasks.clear();
    let what = Watch::left_behind(&empty, &world.cluster).unwrap_or_default();
    assert!(what.contains("is still reserved"), "{what}");
    world.cluster.agents.clear();
    assert_eq!(Watch::left_behind(&empty, &world.cluster), None);
}

#[test]
fn what_is_not_deployed_again_is_seen() {
    let mut world = deployed();
    let missing = |world: &World| {
        world.watch.not_deployed(world.scheduler().expect("it runs"), &world.cluster).unwrap_or_default()
    };
    assert_eq!(missing(&world), "");
    let id = id_of(&world, "db-1-server");
    world.in_cluster(|cluster, now| cluster.fail_task(now, &id, TaskState::Failed));
    assert_eq!(missing(&world), "db-1-server does not run");
    world.run();
    assert_eq!(missing(&world), "");
    world.cluster.framework.suppressed = false;
    assert_eq!(missing(&world), "offers are still wanted");
}

#[test]
fn a_scheduler_that_does_not_start_is_seen() {
    let mut world = deployed();
    let mut other: Deployment = deployment(&SHOP.replace("name: shop", "name: other"), &[]);
    other.config =
        Config::from_env(&std::collections::BTreeMap::new(), &other.service.spec, 8080).expect("good");
    world.redeploy(other);
    world.run();
    assert_eq!(rule(&world.watch), Some(Rule::Starts));
    assert!(world.problem().is_some_and(|p| p.contains("belongs to the service")));
}

#[test]
fn a_step_without_a_reason_is_seen() {
    let mut world = deployed();
    let plan = world.deploy().cloned().expect("the plan");
    let step = plan.steps().next().expect("a step");
    world.watch.note_reasons(&plan, step, &["waits".to_owned()]);
    assert_eq!(rule(&world.watch), None);
    world.watch.note_reasons(&plan, step, &[]);
    assert_eq!(rule(&world.watch), Some(Rule::PendingHasReason));
}

#[test]
fn an_index_that_is_wrong_is_seen() {
    let mut watch = Watch::default();
    watch.note_indexes(Ok(()));
    assert_eq!(rule(&watch), None);
    watch.note_indexes(Err("wrong".to_owned()));
    assert_eq!(rule(&watch), Some(Rule::IndexesAreRight));
}

#[test]
fn calls_that_are_repeated_without_end_are_seen() {
    let mut watch = Watch::default();
    watch.failed_again(0.0, REPEATS);
    assert_eq!(rule(&watch), None);
    watch.failed_again(0.0, REPEATS + 1);
    assert_eq!(rule(&watch), Some(Rule::EventsEnd));
}

#[test]
fn what_runs_once_runs_again_only_for_each_further_step_that_names_it() {
    let service = "
name: twice
pods:
  p: {count: 1, tasks: {t: {goal: ONCE, cmd: x, cpus: 0.1, memory: 32}}}
plans:
  deploy: {phases: {a: {pod: p, steps: [default: [[t]]]}, b: {pod: p, steps: [default: [[t]]]}}}
";
    let deployment = deployment(service, &[]);
    let machines = agents::suited_to(&deployment.service, &deployment.config, 3);
    let mut world = World::new(machines, deployment, Settings::default());
    world.run();
    assert_eq!((world.deploy_status(), &world.watch.violation), (Some(Status::Complete), &None));
    assert!(world.watch.is_done_for_good("p-0-t"), "the plan has had all of it");
}
