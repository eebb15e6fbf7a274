//! What operations do to offers, tasks and the next offer.

use super::*;

#[test]
fn reserve_create_and_launch_in_one_accept_change_the_next_offer() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept(&offer, json!([
        {"type": "RESERVE", "reserve": {"resources": [reserved(scalar("cpus", 2.0)), reserved(scalar("disk", 100.0))]}},
        {"type": "CREATE", "create": {"volumes": [volume("v", 60.0)]}},
        {"type": "LAUNCH", "launch": {"task_infos": [task("t", json!([reserved(scalar("cpus", 0.5)), volume("v", 60.0)]))]}},
    ]));
    let (offer, sums) = bench.offer_resources();
    let expected =
        [("cpus", 6.0), ("cpusR", 1.5), ("disk", 900.0), ("diskR", 40.0), ("mem", 1024.0), ("ports", 0.0)];
    assert_eq!(sums, expected.map(|(k, v)| (k.to_owned(), v)).into());

    // a volume in use is not in the offer, so it cannot be destroyed
    let destroy =
        json!([{"type": "DESTROY", "id": {"value": "d"}, "destroy": {"volumes": [volume("v", 60.0)]}}]);
    bench.accept(&offer, destroy.clone());
    assert_eq!(bench.heard(), ["d OPERATION_ERROR"]);

    bench.report("t", TaskState::Finished);
    let (offer, _) = {
        bench.pass(2.0);
        bench.outputs();
        bench.call("REVIVE", json!({}));
        // both parts of the agent are out as offers of their own: merge them
        let open: Vec<Value> = bench.master.offers.keys().map(|o| json!({"value": o.value})).collect();
        bench.call("DECLINE", json!({"offer_ids": open, "filters": {"refuse_seconds": 0.0}}));
        bench.offer_resources()
    };
    bench.accept(&offer, destroy);
    let outputs = bench.outputs();
    assert!(
        outputs.contains(&Output::Agent("m-S0".into(), Order::DestroyVolume(ROLE.into(), "v".into()))),
        "{outputs:?}"
    );
}

#[test]
fn a_bad_operation_is_dropped_in_silence_or_with_its_id_as_an_error_and_the_next_one_still_runs() {
    let other_role = |mut r: Value| {
        r["reservations"][0]["role"] = json!("other");
        r
    };
    let other_principal = |mut r: Value| {
        r["reservations"][0]["principal"] = json!("someone");
        r
    };
    let no_principal = |mut r: Value| {
        r["reservations"][0].as_object_mut().unwrap().remove("principal");
        r
    };
    let reserve = |r: Value| json!({"type": "RESERVE", "reserve": {"resources": [r]}});
    let cases = [
        ("more than offered", reserve(reserved(scalar("cpus", 100.0)))),
        ("negative", reserve(reserved(scalar("cpus", -1.0)))),
        ("another role", reserve(other_role(reserved(scalar("cpus", 1.0))))),
        ("another principal", reserve(other_principal(reserved(scalar("cpus", 1.0))))),
        ("no principal", reserve(no_principal(reserved(scalar("cpus", 1.0))))),
        ("no reservation", reserve(scalar("cpus", 1.0))),
        ("not reserved", json!({"type": "UNRESERVE", "unreserve": {"resources": [scalar("cpus", 1.0)]}})),
        (
            "not that much reserved",
            json!({"type": "UNRESERVE", "unreserve": {"resources": [reserved(scalar("cpus", 1.0))]}}),
        ),
        (
            "volume on unreserved disk",
            json!({"type": "CREATE", "create": {"volumes": [{"name": "disk", "type": "SCALAR", "scalar": {"value": 1.0}, "disk": {"persistence": {"id": "v"}}}]}}),
        ),
        (
            "volume id with a path in it",
            json!({"type": "CREATE", "create": {"volumes": [volume("../v", 1.0)]}}),
        ),
        ("no such volume", json!({"type": "DESTROY", "destroy": {"volumes": [volume("v", 1.0)]}})),
        ("unknown operation", json!({"type": "GROW_VOLUME"})),
    ];
    for (name, operation) in cases {
        let (mut bench, offer) = Bench::subscribed();
        let mut named = operation.clone();
        named["id"] = json!({"value": "op"});
        bench.accept(&offer, json!([operation, named, launch("t")]));
        assert_eq!(bench.heard(), ["op OPERATION_ERROR"], "{name}");
        assert!(
            bench.master.tasks().any(|(_, t)| t.id.value == "t"),
            "{name}: the launch behind it did not happen"
        );
        assert_eq!(bench.offer_resources().1["cpus"], 7.0, "{name}: nothing was reserved");
    }
}

#[test]
fn reservations_in_all_accepted_spellings_are_the_same() {
    let mut no_allocation = reserved(scalar("cpus", 1.0));
    no_allocation.as_object_mut().unwrap().remove("allocation_info");
    let mut old = scalar("cpus", 1.0);
    old["role"] = json!(ROLE);
    old["reservation"] = json!({"principal": "p"});
    for spelling in [reserved(scalar("cpus", 1.0)), no_allocation, old] {
        let (mut bench, offer) = Bench::subscribed();
        bench.accept(&offer, json!([{"type": "RESERVE", "reserve": {"resources": [spelling]}}]));
        let (_, sums) = bench.offer_resources();
        assert_eq!((sums["cpusR"], sums["cpus"]), (1.0, 7.0), "{spelling}");
    }
}

#[test]
fn a_bad_task_gets_task_error_and_the_others_of_the_call_run() {
    let with = |change: Value| {
        let mut task = task("t", json!([scalar("cpus", 1.0)]));
        task.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        task
    };
    let cases = [
        (with(json!({"resources": []})), "Task uses no resources"),
        (
            with(json!({"resources": [scalar("cpus", 9.0)]})),
            "Total resources cpus(allocated: r):9 required by task and its executor is more than available",
        ),
        (with(json!({"task_id": {"value": "a/b"}})), "'a/b' contains invalid characters"),
        (with(json!({"task_id": {"value": ".."}})), "'..' contains invalid characters"),
        (
            with(json!({"agent_id": {"value": "S7"}})),
            "Task uses invalid agent S7 while agent m-S0 is expected",
        ),
        (with(json!({"command": null})), "Task should have at least one"),
        (with(json!({"health_check": {"type": "HTTP"}})), "only runs checks of type COMMAND"),
        (
            with(
                json!({"container": {"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": "x"}}}}}),
            ),
            "no container images",
        ),
    ];
    for (task, words) in cases {
        let (mut bench, offer) = Bench::subscribed();
        bench.accept(&offer, json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}, launch("good")]));
        let events = bench.events();
        let status = &events[0]["update"]["status"];
        assert_eq!(
            (events.len(), &status["state"], &status["reason"]),
            (1, &json!("TASK_ERROR"), &json!("REASON_TASK_INVALID"))
        );
        assert!(status["message"].as_str().unwrap().contains(words), "{status}");
        assert!(status.get("uuid").is_none(), "nobody has to acknowledge it");
        assert!(bench.master.tasks().any(|(_, t)| t.id.value == "good"), "{words}");
    }
}

#[test]
fn a_group_starts_whole_or_not_at_all() {
    let (mut bench, offer) = Bench::subscribed();
    let mut bad = group("e", &["a", "b"]);
    bad["launch_group"]["task_group"]["tasks"][1]["resources"] = json!([scalar("cpus", 7.0)]);
    bench.accept(&offer, json!([bad, group("e", &["c", "d"])]));
    let outputs = bench.outputs();
    let launched = outputs.iter().find_map(|o| match o {
        Output::Agent(_, Order::Launch(launch)) => {
            Some(launch.tasks.iter().map(|t| t.name.clone()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(launched, Some(vec!["c".into(), "d".into()]));
    bench.outputs = outputs;
    assert_eq!(
        bench.heard(),
        ["a TASK_ERROR REASON_TASK_GROUP_INVALID", "b TASK_ERROR REASON_TASK_GROUP_INVALID"]
    );
    // two tasks and the executor
    assert_eq!(bench.offer_resources().1["cpus"], 5.5);
}

#[test]
fn a_second_group_in_a_running_executor_does_not_pay_for_the_executor_again() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept(&offer, json!([group("e", &["a"])]));
    let (offer, sums) = bench.offer_resources();
    assert_eq!(sums["cpus"], 6.5);
    bench.accept(&offer, json!([group("e", &["b"])]));
    assert_eq!(bench.offer_resources().1["cpus"], 5.5);
}

#[test]
fn used_up_bogus_and_repeated_offers_drop_the_tasks_of_the_call() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept("bogus", json!([launch("t1")]));
    bench.call(
        "ACCEPT",
        json!({"offer_ids": [{"value": offer}, {"value": offer}], "operations": [launch("t2")]}),
    );
    bench.accept(
        &offer,
        json!([launch("t3"), {"type": "RESERVE", "id": {"value": "op"}, "reserve": {"resources": []}}]),
    );
    assert_eq!(
        bench.heard(),
        [
            "t1 TASK_DROPPED REASON_INVALID_OFFERS",
            "t2 TASK_DROPPED REASON_INVALID_OFFERS",
            "t3 TASK_DROPPED REASON_INVALID_OFFERS",
            "op OPERATION_ERROR",
        ]
    );
    assert_eq!(bench.orders(), []);
    assert_eq!(bench.offer_resources().1["cpus"], 8.0, "the offer was given back");
}

#[test]
fn an_operation_with_an_id_is_reported_until_acknowledged() {
    let (mut bench, offer) = Bench::subscribed();
    bench.call("SUPPRESS", json!({}));
    bench.accept(&offer, json!([{"type": "RESERVE", "id": {"value": "op"}, "reserve": {"resources": [reserved(scalar("cpus", 1.0))]}}]));
    let first = bench.events();
    bench.pass(11.0);
    assert_eq!(bench.events(), first);
    bench.call("RECONCILE_OPERATIONS", json!({"operations": []}));
    let again = bench.events();
    assert_eq!(again[0]["update_operation_status"]["status"]["state"], "OPERATION_FINISHED");
    assert!(again[0]["update_operation_status"]["status"].get("uuid").is_none());
    let status = &first[0]["update_operation_status"]["status"];
    bench.call(
        "ACKNOWLEDGE_OPERATION_STATUS",
        json!({"operation_id": status["operation_id"], "uuid": status["uuid"]["value"]}),
    );
    bench.call("RECONCILE_OPERATIONS", json!({"operations": [{"operation_id": {"value": "op"}}]}));
    assert_eq!(bench.heard(), ["op OPERATION_UNKNOWN"]);
    bench.pass(1000.0);
    assert_eq!(bench.heard(), [] as [&str; 0]);
}
