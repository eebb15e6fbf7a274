//! `/v1/health`: one number that says what the service is doing.

use super::{Handle, json};
use crate::plan::{Plan, Status};
use crate::scheduler::Scheduler;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json as value;
use std::collections::BTreeMap;

/// The answer's status is the code itself; Marathon's health check takes 200 to 399 as healthy.
pub async fn health(State(handle): State<Handle>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let (code, reason) = evaluate(&handle.scheduler());
    let mut body = value!({ "value": code });
    if query.get("verbose").is_some_and(|v| v == "true") {
        body["reasons"] = value!([reason]);
    }
    json(StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), &body)
}

/// The codes and their order are the SDK's.
fn evaluate(scheduler: &Scheduler) -> (u16, String) {
    let status = |name: &str| scheduler.plan(name).map(Plan::status);
    let deploy = status("deploy");
    let said = |what: &str, s: Option<Status>| format!("{what} is {}", s.map_or("absent", Status::name));
    match deploy {
        Some(Status::Error) => return (500, said("deploy", deploy)),
        _ if scheduler.framework_id().is_none() => {
            return (318, "not registered with the master yet".to_owned());
        }
        Some(Status::Delayed) => return (208, said("deploy", deploy)),
        Some(Status::Pending | Status::Prepared | Status::InProgress) => {
            return (204, said("deploy", deploy));
        }
        Some(Status::Starting | Status::Started) => return (202, said("deploy", deploy)),
        Some(Status::Waiting) => return (207, said("deploy", deploy)),
        _ => {}
    }
    let recovery = status("recovery");
    match recovery {
        Some(Status::Pending | Status::Prepared) => return (203, said("recovery", recovery)),
        Some(s) if s.is_running() => return (205, said("recovery", recovery)),
        _ => {}
    }
    let running = |word: &str| {
        let mut plans = scheduler.plans().iter();
        plans.find(|p| p.name.contains(word) && p.status().is_running())
    };
    match deploy {
        Some(Status::Complete) => match (running("restor"), running("back")) {
            (Some(plan), _) => (321, format!("{} is running", plan.name)),
            (_, Some(plan)) => (320, format!("{} is running", plan.name)),
            _ => (200, "deploy is COMPLETE".to_owned()),
        },
        _ => (503, said("deploy", deploy)),
    }
}
