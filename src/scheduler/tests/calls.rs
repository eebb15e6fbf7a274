//! Calls that may not have reached the master.

use super::*;

fn calls(effects: Vec<Effect>, kind: CallType) -> Vec<Call> {
    let calls = effects.into_iter().filter_map(|e| match e {
        Effect::Call(call) => Some(*call),
        Effect::Write(_) => None,
    });
    calls.filter(|c| c.r#type == kind).collect()
}

fn offers(call: &Call) -> Vec<&str> {
    let declined = call.decline.iter().flat_map(|d| &d.offer_ids);
    declined.map(|id| id.value.as_str()).collect()
}

#[test]
fn an_offer_whose_answer_may_be_lost_is_answered_again_but_not_at_once() {
    let mut world = World::deployed(SERVICE);
    let offer = world.offer();
    let id = offer.id.value.clone();
    let first = calls(world.scheduler.handle(world.now, Event::Offers(vec![offer])), CallType::Decline);
    assert_eq!(offers(&first[0]), [id.as_str()]);
    let handle =
        |world: &mut World, event| calls(world.scheduler.handle(world.now, event), CallType::Decline);
    // whichever of the event's calls is said to have failed
    assert_eq!(handle(&mut world, Event::CallFailed(CallType::Suppress)), []);
    assert_eq!(handle(&mut world, Event::Tick), []);
    world.now += 1.0;
    let again = handle(&mut world, Event::Tick);
    assert_eq!(offers(&again[0]), [id.as_str()]);
    world.now += 5.0;
    assert_eq!(handle(&mut world, Event::Tick), [], "it was heard this time");
}

#[test]
fn offers_are_asked_for_again_when_that_may_be_lost() {
    let mut world = World::deployed(SERVICE);
    assert!(world.suppressed);
    let id = world.id_of("web-0-server");
    world.end(&id, TaskState::Failed);
    let update = world.events.pop_back().expect("the end of the task");
    world.now += 10.0;
    let revives =
        |world: &mut World, event| calls(world.scheduler.handle(world.now, event), CallType::Revive).len();
    assert_eq!(revives(&mut world, update), 1);
    assert_eq!(revives(&mut world, Event::CallFailed(CallType::Revive)), 0);
    world.now += 5.0;
    assert_eq!(revives(&mut world, Event::Tick), 1);
}

#[test]
fn leaving_is_said_again_after_a_while_and_not_in_the_same_breath() {
    let mut world = World::deployed(SERVICE);
    world.yaml = format!("{SERVICE}# uninstall\n");
    world.restart();
    let mut teardowns = Vec::new();
    for _ in 0..30 {
        world.now += 1.0;
        let offer = world.offer();
        world.events.push_back(Event::Offers(vec![offer]));
        while let Some(event) = world.events.pop_front() {
            let effects = world.scheduler.handle(world.now, event);
            let (leave, other): (Vec<_>, Vec<_>) = effects
                .into_iter()
                .partition(|e| matches!(e, Effect::Call(call) if call.r#type == CallType::Teardown));
            world.perform(other);
            if !leave.is_empty() {
                teardowns.push(world.now);
                let at_once = world.scheduler.handle(world.now, Event::CallFailed(CallType::Teardown));
                assert_eq!(calls(at_once, CallType::Teardown), []);
            }
        }
    }
    assert!(teardowns.len() > 3, "{teardowns:?}");
    assert!(teardowns.windows(2).all(|pair| pair[1] - pair[0] >= 1.0), "{teardowns:?}");
}

#[test]
fn nobody_leaves_before_what_may_be_in_lost_answers_was_offered_again() {
    let mut world = World::deployed(SERVICE);
    world.yaml = format!("{SERVICE}# uninstall\n");
    world.restart();
    world.steps(3);
    // what belongs to nothing: its UNRESERVE does not reach the master
    let mut labels = Labels::default();
    labels.push("resource_id", "left-over");
    labels.push("framework_id", "F");
    let left_over = Resource::scalar("cpus", 1.0, "hello-role");
    world.free.push(left_over.reserved("hello-role", "hello-principal", labels));
    world.lose_accepts = 1;
    world.step();
    assert_eq!(world.lose_accepts, 0);
    let effects = world.scheduler.handle(world.now, Event::CallFailed(CallType::Accept));
    world.perform(effects);
    world.offering = false;
    world.steps(6);
    assert!(!world.stored.is_empty(), "the framework stays");
    let step = world.scheduler.plan("deploy").unwrap().steps().last().unwrap();
    assert_eq!(world.scheduler.why(world.now, step), ["waits for offers of what may still be reserved"]);
    world.offering = true;
    world.steps(6);
    assert_eq!(world.status("deploy"), Status::Complete);
    assert!(world.free.iter().all(|r| r.reservations.is_empty()), "{:?}", world.free);
}
