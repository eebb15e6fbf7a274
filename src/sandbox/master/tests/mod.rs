//! Conversations with the master in virtual time: calls and reports go in, events and orders must come out.
#![allow(clippy::needless_pass_by_value)] // calls are written as literals where they are used
#![allow(clippy::float_cmp)] // amounts are thousandths, and compared as they are read

mod accept;
mod updates;

use super::*;
use crate::wire::{Resource, TaskStatus};
use serde_json::{Value, json};

const ROLE: &str = "r";

/// A master with one agent (8 CPUs, 1024 MiB, 1000 MiB of disk, ports 100-199), and what it has said.
struct Bench {
    master: Master,
    now: Time,
    outputs: Vec<Output>,
    streams: u32,
}

fn at(seconds: u64) -> Time {
    Time::from_secs(1_000_000 + seconds)
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": ROLE}})
}

fn reserved(mut resource: Value) -> Value {
    resource["reservations"] = json!([{"type": "DYNAMIC", "role": ROLE, "principal": "p"}]);
    resource
}

fn volume(id: &str, size: f64) -> Value {
    let mut volume = reserved(scalar("disk", size));
    volume["disk"] = json!({"persistence": {"id": id, "principal": "p"}, "volume": {"mode": "RW", "container_path": "data"}});
    volume
}

fn agent() -> Agent {
    let all = json!([scalar("cpus", 8.0), scalar("mem", 1024.0), scalar("disk", 1000.0),
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 100, "end": 199}]}}]);
    let all: Vec<Resource> = serde_json::from_value(all).unwrap();
    Agent {
        id: "m-S0".into(),
        hostname: "127.0.0.1".into(),
        port: 5051,
        attributes: vec![],
        total: Resources::new(&all),
    }
}

fn framework_info(name: &str) -> Value {
    json!({"user": "root", "name": name, "roles": [ROLE], "failover_timeout": 100.0, "principal": "p", "checkpoint": true,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]})
}

impl Bench {
    fn new() -> Self {
        Self::with(Saved::default())
    }

    fn with(saved: Saved) -> Self {
        let agents = if saved.agents.is_empty() { vec![agent()] } else { saved.agents.clone() };
        let address = "127.0.0.1:5050".parse().unwrap();
        let master = Master::new("m".into(), address, saved, agents, at(0));
        Self { master, now: at(0), outputs: Vec::new(), streams: 0 }
    }

    /// A new framework; gives its stream.
    fn subscribe(&mut self, info: Value) -> String {
        self.streams += 1;
        let stream = format!("stream-{}", self.streams);
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        if let Some(id) = call["subscribe"]["framework_info"].get("id").cloned() {
            call["framework_id"] = id;
        }
        let call = parse_call(call.to_string().as_bytes()).unwrap();
        self.master.subscribe(self.now, stream.clone(), call);
        stream
    }

    /// A framework called `m-0000` at `stream-1`, with its first offer.
    fn subscribed() -> (Self, String) {
        let mut bench = Self::new();
        bench.subscribe(framework_info("f"));
        let offer = bench.offer();
        (bench, offer)
    }

    fn try_call(&mut self, stream: &str, mut call: Value) -> Result<(), Refusal> {
        if call.get("framework_id").is_none() {
            call["framework_id"] = json!({"value": "m-0000"});
        }
        let call = parse_call(call.to_string().as_bytes())?;
        self.master.call(self.now, Some(stream), call)
    }

    fn call(&mut self, kind: &str, body: Value) {
        let mut call = json!({"type": kind});
        call[kind.to_lowercase()] = body;
        let stream = format!("stream-{}", self.streams);
        self.try_call(&stream, call).unwrap();
    }

    fn accept(&mut self, offer: &str, operations: Value) {
        let body = json!({"offer_ids": [{"value": offer}], "operations": operations, "filters": {"refuse_seconds": 0.0}});
        self.call("ACCEPT", body);
    }

    fn report(&mut self, task: &str, state: TaskState) {
        let status = TaskStatus { task_id: task.into(), state, ..TaskStatus::default() };
        self.master.report(self.now, &"m-S0".into(), Report::Status("m-0000".into(), Box::new(status)));
    }

    /// Lets time pass, with all ticks on the way.
    fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(tick) = self.master.next_tick().filter(|t| *t <= end) {
            self.now = tick.max(self.now);
            self.master.tick(self.now);
            assert!(self.master.next_tick().is_none_or(|t| t > self.now), "a tick left itself due");
        }
        self.now = end;
    }

    fn outputs(&mut self) -> Vec<Output> {
        self.outputs.extend(self.master.take_outputs());
        std::mem::take(&mut self.outputs)
    }

    /// The events since the last question, without heartbeats, as JSON.
    fn events(&mut self) -> Vec<Value> {
        let events = self.outputs().into_iter().filter_map(|o| match o {
            Output::Send(_, event) if event.r#type != EventType::Heartbeat => {
                serde_json::to_value(event).ok()
            }
            _ => None,
        });
        events.collect()
    }

    /// The same in short: what a person would note.
    fn heard(&mut self) -> Vec<String> {
        let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
        let short = |e: Value| match text(&e["type"]).as_str() {
            "UPDATE" => {
                let s = &e["update"]["status"];
                format!("{} {} {}", text(&s["task_id"]["value"]), text(&s["state"]), text(&s["reason"]))
            }
            "UPDATE_OPERATION_STATUS" => {
                let s = &e["update_operation_status"]["status"];
                format!("{} {}", text(&s["operation_id"]["value"]), text(&s["state"]))
            }
            "ERROR" => text(&e["error"]["message"]),
            other => other.to_owned(),
        };
        self.events().into_iter().map(short).collect()
    }

    /// Waits for an offer; its id.
    fn offer(&mut self) -> String {
        self.offer_resources().0
    }

    /// Waits for an offer; its id and its resources, summed by name with `R` for reserved ones.
    fn offer_resources(&mut self) -> (String, BTreeMap<String, f64>) {
        for _ in 0..10 {
            if let Some(offers) = self.events().iter().find(|e| e["type"] == "OFFERS") {
                let offer = &offers["offers"]["offers"][0];
                let mut sums = BTreeMap::new();
                for resource in offer["resources"].as_array().unwrap() {
                    assert_eq!(resource["allocation_info"]["role"], ROLE);
                    let mark = if resource.get("disk").is_some() {
                        "V"
                    } else if resource.get("reservations").is_some() {
                        "R"
                    } else {
                        ""
                    };
                    let name = format!("{}{mark}", resource["name"].as_str().unwrap());
                    *sums.entry(name).or_default() += resource["scalar"]["value"].as_f64().unwrap_or(0.0);
                }
                return (offer["id"]["value"].as_str().unwrap().into(), sums);
            }
            self.pass(1.0);
        }
        panic!("no offer came");
    }

    fn orders(&mut self) -> Vec<Order> {
        let orders = self.outputs().into_iter().filter_map(|o| match o {
            Output::Agent(_, order) => Some(order),
            _ => None,
        });
        orders.collect()
    }
}

fn task(id: &str, resources: Value) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": {"value": "m-S0"}, "resources": resources,
        "command": {"value": "true"}})
}

fn launch(id: &str) -> Value {
    json!({"type": "LAUNCH", "launch": {"task_infos": [task(id, json!([scalar("cpus", 1.0)]))]}})
}

fn group(executor: &str, ids: &[&str]) -> Value {
    let tasks: Vec<Value> = ids.iter().map(|id| task(id, json!([scalar("cpus", 1.0)]))).collect();
    json!({"type": "LAUNCH_GROUP", "launch_group": {
        "executor": {"type": "DEFAULT", "executor_id": {"value": executor}, "resources": [scalar("cpus", 0.5)]},
        "task_group": {"tasks": tasks}}})
}

#[test]
fn a_subscription_is_answered_with_subscribed_heartbeat_and_offers_in_this_order() {
    let mut bench = Bench::new();
    bench.subscribe(framework_info("f"));
    let kinds: Vec<EventType> = bench
        .outputs()
        .into_iter()
        .map(|o| match o {
            Output::Send(_, event) => event.r#type,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [EventType::Subscribed, EventType::Heartbeat, EventType::Offers]);
}

#[test]
fn what_is_wrong_with_a_framework_is_said_on_the_stream_which_then_ends() {
    let cases = [
        (
            json!({"roles": ["bad/"]}),
            "'FrameworkInfo.roles' contains invalid role: Role 'bad/' cannot end with a slash",
        ),
        (
            json!({"roles": ["a b"]}),
            "'FrameworkInfo.roles' contains invalid role: Role 'a b' cannot contain whitespace, backspace, or delete characters",
        ),
        (
            json!({"roles": ["a/../b"]}),
            "'FrameworkInfo.roles' contains invalid role: Role 'a/../b' cannot contain '..' as a component",
        ),
        (json!({"roles": [""]}), "'FrameworkInfo.roles' contains invalid role: Empty role name is invalid"),
        (
            json!({"role": "x"}),
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
        ),
        (
            json!({"capabilities": []}),
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
        ),
        (json!({"roles": ["r", "r"]}), "'FrameworkInfo.roles' contains duplicate items: { r }"),
    ];
    for (change, text) in cases {
        let mut bench = Bench::new();
        let mut info = framework_info("f");
        info.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let stream = bench.subscribe(info);
        let outputs = bench.outputs();
        let [Output::Send(_, event), Output::Close(closed)] = outputs.as_slice() else {
            panic!("{outputs:?}")
        };
        assert_eq!(event.error.as_ref().unwrap().message, text);
        assert_eq!(*closed, stream);
    }
}

#[test]
fn calls_that_mesos_refuses_are_refused_with_its_status_and_words() {
    let (mut bench, _) = Bench::subscribed();
    let text = |body: &str| parse_call(body.as_bytes()).unwrap_err();
    let parse = [
        ("{", "Failed to parse body into JSON"),
        ("[]", "Failed to convert JSON into Call protobuf"),
        (r#"{"type": 99}"#, "Not expecting a JSON number for field 'type'"),
        ("{}", "Expecting 'type' to be present"),
        (r#"{"type": "FOO"}"#, "Expecting 'type' to be present"),
        (r#"{"type": "SUBSCRIBE"}"#, "Expecting 'subscribe' to be present"),
        (r#"{"type": "REVIVE"}"#, "Expecting 'framework_id' to be present"),
        (r#"{"type": "KILL", "framework_id": {"value": "f"}}"#, "Expecting 'kill' to be present"),
        (r#"{"type": "KILL", "framework_id": {"value": "f"}, "kill": {}}"#, "task_id"),
        (r#"{"type": "SUBSCRIBE", "subscribe": {"framework_info": {"name": "x"}}}"#, "user"),
        (
            r#"{"type": "SUBSCRIBE", "framework_id": {"value": "a"}, "subscribe": {"framework_info": {"name": "x", "user": "u"}}}"#,
            "'framework_id' differs from 'subscribe.framework_info.id'",
        ),
        (
            r#"{"type": "ACKNOWLEDGE", "framework_id": {"value": "f"}, "acknowledge": {"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": "c2hvcnQ="}}"#,
            "Not a valid UUID",
        ),
    ];
    for (body, words) in parse {
        let refusal = text(body);
        assert_eq!(refusal.status, 400, "{body}");
        assert!(refusal.text.contains(words), "{body}: {}", refusal.text);
    }
    let revive = json!({"type": "REVIVE"});
    assert_eq!(bench.try_call("stream-1", revive.clone()), Ok(()));
    let refused = bench.try_call("other", revive.clone()).unwrap_err();
    assert!(refused.status == 400 && refused.text.contains("'other'"), "{refused:?}");
    let missing =
        parse_call(json!({"type": "REVIVE", "framework_id": {"value": "m-0000"}}).to_string().as_bytes())
            .unwrap();
    assert_eq!(bench.master.call(bench.now, None, missing).unwrap_err().status, 400);
    let unknown =
        bench.try_call("stream-1", json!({"type": "REVIVE", "framework_id": {"value": "x"}})).unwrap_err();
    assert_eq!(unknown, Refusal { status: 400, text: "Framework cannot be found".into() });
    bench.master.disconnected(bench.now, "stream-1");
    let refused = bench.try_call("stream-1", revive).unwrap_err();
    assert_eq!(refused, Refusal { status: 403, text: "Framework is not subscribed".into() });
}

#[test]
fn declined_resources_come_again_after_the_filter_or_a_revive_and_not_before() {
    let (mut bench, offer) = Bench::subscribed();
    let decline = |offer: &str| json!({"offer_ids": [{"value": offer}], "filters": {"refuse_seconds": 60.0}});
    bench.call("DECLINE", decline(&offer));
    bench.pass(59.0);
    assert_eq!(bench.heard(), [] as [&str; 0]);
    bench.pass(3.0);
    assert_eq!(bench.heard(), ["OFFERS"]);

    let (mut bench, offer) = Bench::subscribed();
    bench.call("DECLINE", decline(&offer));
    bench.pass(5.0);
    assert_eq!(bench.heard(), [] as [&str; 0]);
    bench.call("REVIVE", json!({}));
    assert_eq!(bench.heard(), ["OFFERS"]);
}

#[test]
fn a_suppressed_framework_gets_no_offers_until_it_revives() {
    let (mut bench, offer) = Bench::subscribed();
    bench.call("SUPPRESS", json!({}));
    bench.call("DECLINE", json!({"offer_ids": [{"value": offer}], "filters": {"refuse_seconds": 0.0}}));
    bench.pass(100.0);
    assert_eq!(bench.heard(), [] as [&str; 0]);
    bench.call("REVIVE", json!({"roles": ["another"]}));
    assert_eq!(bench.heard(), [] as [&str; 0]);
    bench.call("REVIVE", json!({"roles": [ROLE]}));
    assert_eq!(bench.heard(), ["OFFERS"]);
}

#[test]
fn a_second_subscription_ends_the_first_stream() {
    let (mut bench, _) = Bench::subscribed();
    let mut info = framework_info("f");
    info["id"] = json!({"value": "m-0000"});
    bench.subscribe(info);
    let outputs = bench.outputs();
    assert!(
        matches!(&outputs[0], Output::Send(s, e) if s == "stream-1" && e.error.as_ref().unwrap().message == "Framework failed over")
    );
    assert_eq!(outputs[1], Output::Close("stream-1".into()));
    assert!(
        matches!(&outputs[2], Output::Send(s, e) if s == "stream-2" && e.r#type == EventType::Subscribed)
    );
    bench.master.disconnected(bench.now, "stream-1");
    assert!(bench.master.frameworks().all(Framework::connected), "the end of the old stream does not matter");
}

#[test]
fn a_framework_that_stays_away_or_tears_down_is_gone_for_good_and_keeps_its_reservations() {
    for teardown in [true, false] {
        let (mut bench, offer) = Bench::subscribed();
        bench.accept(
            &offer,
            json!([
                {"type": "RESERVE", "reserve": {"resources": [reserved(scalar("cpus", 2.0))]}},
                launch("t"),
            ]),
        );
        if teardown {
            bench.call("TEARDOWN", json!({}));
        } else {
            bench.master.disconnected(bench.now, "stream-1");
            bench.pass(99.0);
            assert_eq!(bench.master.frameworks().count(), 1);
            bench.pass(2.0);
        }
        assert!(bench.orders().contains(&Order::ShutdownFramework("m-0000".into())));
        let mut info = framework_info("f");
        info["id"] = json!({"value": "m-0000"});
        bench.subscribe(info);
        assert_eq!(bench.heard(), ["Framework has been removed"]);

        // another framework: the task's CPU is free when its process has gone
        bench.subscribe(framework_info("g"));
        assert_eq!(
            bench.offer_resources().1,
            [("cpus", 5.0), ("cpusR", 2.0), ("disk", 1000.0), ("mem", 1024.0), ("ports", 0.0)]
                .map(|(k, v)| (k.to_owned(), v))
                .into()
        );
        bench.master.report(bench.now, &"m-S0".into(), Report::ExecutorExited("m-0000".into(), "t".into()));
        assert_eq!(bench.offer_resources().1["cpus"], 1.0);
    }
}

#[test]
fn heartbeats_come_after_15_seconds_of_silence() {
    let (mut bench, _) = Bench::subscribed();
    bench.pass(45.5);
    let beats = bench
        .outputs()
        .iter()
        .filter(|o| matches!(o, Output::Send(_, e) if e.r#type == EventType::Heartbeat))
        .count();
    assert_eq!(beats, 3);
}

#[test]
fn changing_the_roles_takes_back_offers_and_changing_the_user_is_refused() {
    let (mut bench, _) = Bench::subscribed();
    let update =
        |info: Value| json!({"type": "UPDATE_FRAMEWORK", "update_framework": {"framework_info": info}});
    let mut info = framework_info("f");
    info["id"] = json!({"value": "m-0000"});
    info["roles"] = json!(["s"]);
    bench.try_call("stream-1", update(info.clone())).unwrap();
    assert_eq!(bench.heard(), ["RESCIND", "OFFERS"]);
    info["user"] = json!("nobody");
    let refusal = bench.try_call("stream-1", update(info)).unwrap_err();
    assert!(
        refusal.status == 400 && refusal.text.contains("'FrameworkInfo.user' is unsupported"),
        "{refusal:?}"
    );
}

#[test]
fn two_frameworks_share_by_dominant_share_and_never_see_each_others_reservations() {
    let (mut bench, offer) = Bench::subscribed();
    bench.accept(
        &offer,
        json!([{"type": "RESERVE", "reserve": {"resources": [reserved(scalar("cpus", 2.0))]}}, launch("t")]),
    );
    bench.outputs();
    let mut info = framework_info("g");
    info["roles"] = json!(["s"]);
    bench.subscribe(info);
    let events = bench.events();
    let offers: Vec<&Value> = events.iter().filter(|e| e["type"] == "OFFERS").collect();
    assert_eq!(offers.len(), 2, "one each: {events:?}");
    for offers in offers {
        let offer = &offers["offers"]["offers"][0];
        let resources = offer["resources"].as_array().unwrap();
        let own = offer["framework_id"]["value"] == "m-0000";
        assert!(resources.iter().all(|r| r.get("reservations").is_some() == own), "{offer}");
    }
}
