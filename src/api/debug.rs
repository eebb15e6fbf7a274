//! `/v1/debug` and `/v1/metrics`: what operators' tools ask when something does not go on.

use super::{Handle, json};
use crate::plan::{Phase, Plan, Status, Step, Work};
use crate::scheduler::Scheduler;
use crate::spec::task_instance_name;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json as value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

type Filter = Query<BTreeMap<String, String>>;

/// The steps that a request is about, by plan and phase; or what it names that there is not.
struct Chosen<'a>(Vec<(&'a Plan, ChosenPhases<'a>)>);

type ChosenPhases<'a> = Vec<(&'a Phase, Vec<&'a Step>)>;

impl<'a> Chosen<'a> {
    /// The parameters `plan`, `phase` and `step` each name one; a phase needs a plan, a step a phase.
    fn new(scheduler: &'a Scheduler, filter: &BTreeMap<String, String>) -> Result<Self, String> {
        let given = |key: &str| filter.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let (plan, phase, step) = (given("plan"), given("phase"), given("step"));
        if phase.is_some() && plan.is_none() {
            return Err("a phase is named without its plan".to_owned());
        }
        if step.is_some() && phase.is_none() {
            return Err("a step is named without its phase".to_owned());
        }
        let is = |wanted: Option<&str>, name: &str, id: &str| wanted.is_none_or(|w| w == name || w == id);
        let steps = |p: &'a Phase| -> (&'a Phase, Vec<&'a Step>) {
            (p, p.steps().iter().filter(|s| is(step, &s.name, &s.id)).collect())
        };
        let phases = |p: &'a Plan| (p, p.phases().filter(|p| is(phase, &p.name, &p.id)).map(steps).collect());
        let plans = scheduler.plans().iter().filter(|p| is(plan, &p.name, ""));
        let found: Vec<(&Plan, ChosenPhases<'_>)> = plans.map(phases).collect();
        let no =
            |kind: &str, name: Option<&str>| Err(format!("{kind} {} not found", name.unwrap_or_default()));
        if plan.is_some() && found.is_empty() {
            return no("Plan", plan);
        }
        let in_plans = || found.iter().flat_map(|(_, phases)| phases);
        if phase.is_some() && in_plans().next().is_none() {
            return no("Phase", phase);
        }
        if step.is_some() && in_plans().all(|(_, steps)| steps.is_empty()) {
            return no("Step", step);
        }
        Ok(Self(found))
    }
}

fn invalid(why: &str) -> Response {
    // As the SDK does: tools look for this key, not at the status.
    json(StatusCode::OK, &value!({ "invalid-input": why }))
}

/// Plans in short.
pub async fn plans(State(handle): State<Handle>, Query(filter): Filter) -> Response {
    let scheduler = handle.scheduler();
    let chosen = match Chosen::new(&scheduler, &filter) {
        Ok(chosen) => chosen,
        Err(why) => return invalid(&why),
    };
    let step = |s: &&Step| value!({ "name": s.name, "status": scheduler.step_status(s), "errors": s.errors });
    let phase = |(p, steps): &(&Phase, Vec<&Step>)| {
        let steps: Vec<Value> = steps.iter().map(step).collect();
        value!({
            "name": p.name,
            "status": p.status().name(),
            "strategy": p.strategy_name(),
            "steps": steps,
        })
    };
    let plan = |(p, phases): &(&Plan, ChosenPhases<'_>)| {
        let complete = p.steps().filter(|s| s.status() == Status::Complete).count();
        value!({
            "name": p.name,
            "status": p.status().name(),
            "strategy": p.strategy_name(),
            "phases": phases.iter().map(phase).collect::<Vec<_>>(),
            "totalSteps": p.steps().count(),
            "completedSteps": complete,
        })
    };
    let active =
        scheduler.plans().iter().filter(|p| p.status().is_running() || p.status() == Status::Pending);
    let shown = value!({
        "schedulerState": scheduler.activity(),
        "activePlans": active.map(|p| p.name.as_str()).collect::<Vec<_>>(),
        "plans": chosen.0.iter().map(plan).collect::<Vec<_>>(),
        "serviceTopology": topology(&scheduler),
    });
    json(StatusCode::OK, &shown)
}

/// Pods, their instances and the tasks of those.
fn topology(scheduler: &Scheduler) -> Vec<Value> {
    let pods = scheduler.target().1.pods.iter().map(|pod| {
        let instances = (0..pod.count).map(|index| {
            let task = |t: &crate::spec::TaskSpec| {
                value!({ "name": task_instance_name(&pod.pod_type, index, &t.name), "type": "task" })
            };
            let name = crate::spec::pod_instance_name(&pod.pod_type, index);
            value!({
                "name": name,
                "type": "pod-instance",
                "children": pod.tasks.iter().map(task).collect::<Vec<_>>(),
            })
        });
        value!({
            "name": pod.pod_type.as_str(),
            "type": "pod",
            "children": instances.collect::<Vec<_>>(),
        })
    });
    pods.collect()
}

/// The tasks of steps and their states.
pub async fn task_statuses(State(handle): State<Handle>, Query(filter): Filter) -> Response {
    let scheduler = handle.scheduler();
    let chosen = match Chosen::new(&scheduler, &filter) {
        Ok(chosen) => chosen,
        Err(why) => return invalid(&why),
    };
    let task = |name: String| {
        let task = scheduler.tasks().get(&name);
        let state = task.and_then(|t| t.status.as_ref()).map_or("TASK_UNKNOWN", |s| s.state.wire_name());
        let id = task.map(|t| t.info.task_id.value.clone()).unwrap_or_default();
        value!({ "name": name, "taskStatus": state, "taskId": id })
    };
    let step = |s: &&Step| {
        let names: Vec<String> = match &s.work {
            Work::Launch { requirement: r, .. } => {
                r.tasks.iter().map(|t| task_instance_name(&r.pod, r.index, t)).collect()
            }
            Work::Kill { task } | Work::Erase { task } => vec![task.clone()],
            Work::Unreserve { .. } | Work::Deregister => Vec::new(),
        };
        // The SDK spells the list and the state in it alike.
        value!({ "name": s.name, "taskStatus": names.into_iter().map(task).collect::<Vec<_>>() })
    };
    let phase = |(p, steps): &(&Phase, Vec<&Step>)| value!({ "name": p.name, "steps": steps.iter().map(step).collect::<Vec<_>>() });
    let plan = |(p, phases): &(&Plan, ChosenPhases<'_>)| value!({ "name": p.name, "phases": phases.iter().map(phase).collect::<Vec<_>>() });
    json(StatusCode::OK, &chosen.0.iter().map(plan).collect::<Vec<_>>())
}

/// Counts and gauges, in the form of the Codahale library, which the SDK's were in.
pub async fn metrics(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let counters: BTreeMap<&str, Value> =
        scheduler.counters().all().map(|(name, count)| (name, value!({ "count": count }))).collect();
    let gauges: BTreeMap<String, Value> =
        gauges(&scheduler).into_iter().map(|(name, number)| (name, value!({ "value": number }))).collect();
    let shown = value!({
        "version": "3.1.3",
        "gauges": gauges,
        "counters": counters,
        "histograms": {},
        "meters": {},
        "timers": {},
    });
    json(StatusCode::OK, &shown)
}

/// The same for Prometheus.
pub async fn prometheus(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let mut text = String::new();
    let name = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    // writing to a String can't fail
    for (counter, count) in scheduler.counters().all() {
        let _ = writeln!(text, "# TYPE {0} counter\n{0} {count}", name(counter));
    }
    for (gauge, number) in gauges(&scheduler) {
        let _ = writeln!(text, "# TYPE {0} gauge\n{0} {number}", name(&gauge));
    }
    ([(axum::http::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// How things are: whether offers are wanted, and how far plans are (-1 error, 0 complete, 1 waiting, 2 under way).
fn gauges(scheduler: &Scheduler) -> BTreeMap<String, i64> {
    let plan = |p: &Plan| {
        let number = match p.status() {
            Status::Error => -1,
            Status::Complete => 0,
            Status::Waiting | Status::Pending => 1,
            _ => 2,
        };
        (format!("plan_status.{}", p.name), number)
    };
    let suppressed = ("is_suppressed".to_owned(), i64::from(scheduler.is_suppressed()));
    scheduler.plans().iter().map(plan).chain([suppressed]).collect()
}
