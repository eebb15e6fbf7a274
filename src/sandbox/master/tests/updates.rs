//! What frameworks hear of tasks and executors, and how often.

use super::*;

/// Acknowledges the last update among `events`.
fn acknowledge(bench: &mut Bench, events: &[Value]) {
    let status = &events.last().unwrap()["update"]["status"];
    bench.call(
        "ACKNOWLEDGE",
        json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]}),
    );
}

#[test]
fn updates_come_one_by_one_and_are_repeated_until_acknowledged() {
    let (mut bench, offer) = Bench::subscribed();
    bench.call("SUPPRESS", json!({}));
    bench.accept(&offer, json!([launch("t")]));
    bench.report("t", TaskState::Starting);
    bench.report("t", TaskState::Running);
    let first = bench.events();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0]["update"]["status"]["state"], "TASK_STARTING");
    bench.pass(9.0);
    assert_eq!(bench.events(), [] as [Value; 0]);
    bench.pass(1.5);
    assert_eq!(bench.events(), first, "the same update, with the same uuid, after 10 s");
    bench.pass(18.0);
    assert_eq!(bench.events(), [] as [Value; 0], "then the wait doubles");
    bench.pass(2.0);
    assert_eq!(bench.events(), first);
    acknowledge(&mut bench, &first);
    let second = bench.events();
    assert_eq!(second[0]["update"]["status"]["state"], "TASK_RUNNING");
    acknowledge(&mut bench, &first);
    assert_eq!(bench.events(), [] as [Value; 0], "a late acknowledgement changes nothing");
    acknowledge(&mut bench, &second);
    bench.pass(100.0);
    assert_eq!(bench.events(), [] as [Value; 0]);
    bench.report("t", TaskState::Finished);
    let last = bench.events();
    assert_eq!(bench.master.tasks().count(), 1, "an ended task is remembered until it is acknowledged");
    acknowledge(&mut bench, &last);
    assert_eq!(bench.master.tasks().count(), 0);
}

#[test]
fn what_was_missed_while_away_comes_after_the_return() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept(&offer, json!([launch("t")]));
    bench.master.disconnected(bench.now, "stream-1");
    bench.report("t", TaskState::Running);
    bench.pass(50.0);
    assert_eq!(bench.heard(), [] as [&str; 0]);
    let mut info = framework_info("f");
    info["id"] = json!({"value": "m-0000"});
    bench.subscribe(info);
    assert_eq!(bench.heard(), ["SUBSCRIBED", "t TASK_RUNNING -", "OFFERS"]);
    bench.pass(200.0);
    assert!(bench.master.frameworks().count() == 1, "it came back in time");
}

#[test]
fn reconciliation_answers_for_known_unknown_and_forgotten_tasks() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept(&offer, json!([launch("t")]));
    bench.report("t", TaskState::Running);
    bench.events();
    bench.call("RECONCILE", json!({"tasks": []}));
    assert_eq!(bench.heard(), ["t TASK_RUNNING REASON_RECONCILIATION"]);
    bench.call(
        "RECONCILE",
        json!({"tasks": [
        {"task_id": {"value": "t"}}, {"task_id": {"value": "x"}, "agent_id": {"value": "m-S0"}},
        {"task_id": {"value": "x"}}, {"task_id": {"value": "x"}, "agent_id": {"value": "S9"}}]}),
    );
    let events = bench.events();
    assert!(events.iter().all(|e| e["update"]["status"].get("uuid").is_none()));
    let states: Vec<&Value> = events.iter().map(|e| &e["update"]["status"]["state"]).collect();
    assert_eq!(states, ["TASK_RUNNING", "TASK_GONE", "TASK_UNKNOWN", "TASK_UNKNOWN"]);
}

#[test]
fn a_kill_goes_to_the_agent_or_is_answered_when_there_is_nothing_to_kill() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept(&offer, json!([launch("t")]));
    bench.outputs();
    bench.call("KILL", json!({"task_id": {"value": "t"}}));
    assert_eq!(bench.orders(), [Order::Kill("m-0000".into(), "t".into(), None)]);
    bench.call("KILL", json!({"task_id": {"value": "x"}}));
    assert_eq!(bench.heard(), ["x TASK_UNKNOWN REASON_RECONCILIATION"]);
}

#[test]
fn an_executors_end_is_a_failure_event_for_groups_only() {
    let (mut bench, offer) = Bench::subscribed();
    bench.call("SUPPRESS", json!({}));
    bench.accept(&offer, json!([group("e", &["a"]), launch("t")]));
    bench.outputs();
    for executor in ["e", "t"] {
        bench.master.report(
            bench.now,
            &"m-S0".into(),
            Report::ExecutorExited("m-0000".into(), executor.into()),
        );
    }
    let events = bench.events();
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0]["failure"],
        json!({"agent_id": {"value": "m-S0"}, "executor_id": {"value": "e"}, "status": 0})
    );
}

#[test]
fn after_a_restart_frameworks_reservations_and_updates_are_still_there_and_running_tasks_have_failed() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept(
        &offer,
        json!([
            {"type": "RESERVE", "reserve": {"resources": [reserved(scalar("cpus", 2.0))]}},
            launch("running"), launch("ended"), group("e", &["a"]),
        ]),
    );
    bench.report("ended", TaskState::Finished);
    let saved = bench.master.take_changes().unwrap();
    assert!(bench.master.take_changes().is_none(), "nothing has changed since");
    let text = serde_json::to_string(&saved).unwrap();

    let mut bench = Bench::with(serde_json::from_str(&text).unwrap());
    bench.master.agents_restarted(bench.now);
    bench.streams = 1;
    let mut info = framework_info("f");
    info["id"] = json!({"value": "m-0000"});
    bench.subscribe(info);
    let mut heard = bench.heard();
    heard.sort();
    assert_eq!(
        heard,
        [
            "OFFERS",
            "SUBSCRIBED",
            "a TASK_FAILED REASON_EXECUTOR_TERMINATED",
            "ended TASK_FINISHED -",
            "running TASK_FAILED REASON_EXECUTOR_TERMINATED",
        ]
    );
    let sum: f64 = bench.master.agents().map(|a| a.total.scalar("cpus")).sum();
    assert!((sum - 8.0).abs() < 1e-9);
}
