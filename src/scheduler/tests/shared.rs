//! Tasks that take turns at one resource set.

use super::*;

fn pod(more: &str) -> String {
    format!(
        "name: hello\npods:\n  node:\n    count: 1\n    resource-sets: {{main: {{cpus: 0.5, memory: 64}}}}\n    tasks:\n      \
         server: {{goal: RUNNING, cmd: serve, resource-set: main}}\n      {more}\n"
    )
}

fn start(world: &mut World, plan: &str) {
    let command = PlanCommand::Start(std::collections::BTreeMap::new());
    let command = Command::Plan { plan: plan.to_owned(), phase: None, step: None, command };
    let (_, _, effects) = world.scheduler.command(world.now, &command).unwrap();
    world.perform(effects);
    world.launched.clear();
}

#[test]
fn what_a_plan_ends_to_use_its_resources_is_not_brought_back_before_the_plan_is_done_with_them() {
    let plans = "plans:\n  deploy: {phases: {p: {pod: node, steps: [default: [[init], [server]]]}}}\n  \
                 again: {phases: {p: {pod: node, steps: [default: [[init], [server]]]}}}\n";
    let mut world = World::new(&(pod("init: {goal: ONCE, cmd: prepare, resource-set: main}") + plans));
    world.steps(6);
    let id = world.id_of("node-0-init");
    world.end(&id, TaskState::Finished);
    world.steps(6);
    assert_eq!(world.status("deploy"), Status::Complete);
    start(&mut world, "again");
    world.steps(6);
    assert_eq!(world.launched, ["node-0-init"]);
    let id = world.id_of("node-0-init");
    world.end(&id, TaskState::Finished);
    world.steps(6);
    assert_eq!(world.launched, ["node-0-init", "node-0-server"]);
    assert_eq!((world.status("again"), world.status("recovery")), (Status::Complete, Status::Complete));
    start(&mut world, "again");
    world.steps(6);
    let id = world.id_of("node-0-init");
    let command =
        Command::Plan { plan: "again".to_owned(), phase: None, step: None, command: PlanCommand::Interrupt };
    let (_, _, effects) = world.scheduler.command(world.now, &command).unwrap();
    world.perform(effects);
    world.end(&id, TaskState::Finished);
    world.steps(6);
    assert_eq!(world.launched, ["node-0-init", "node-0-server"], "a plan that is held leaves nothing down");
}

#[test]
fn of_tasks_that_take_each_others_place_only_the_last_is_kept_up() {
    let plans = "plans:\n  deploy: {phases: {p: {pod: node, steps: [default: [[server]]]}}}\n  \
                 swap: {phases: {p: {pod: node, steps: [default: [[other]]]}}}\n";
    let mut world = World::new(&(pod("other: {goal: RUNNING, cmd: serve, resource-set: main}") + plans));
    world.steps(6);
    assert_eq!(world.status("deploy"), Status::Complete);
    start(&mut world, "swap");
    world.steps(6);
    assert_eq!(world.launched, ["node-0-other"]);
    let id = world.id_of("node-0-other");
    world.end(&id, TaskState::Failed);
    world.steps(6);
    assert_eq!(world.launched, ["node-0-other", "node-0-other"]);
    assert_eq!((world.status("swap"), world.status("recovery")), (Status::Complete, Status::Complete));
}
