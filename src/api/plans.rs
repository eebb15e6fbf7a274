//! `/v1/plans`: how far plans are, and commands on them.

use super::{Handle, json, not_found, text};
use crate::plan::{Outcome, Phase, Plan, Status, Step};
use crate::scheduler::{Command, PlanCommand, Scheduler};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json as value};
use std::collections::BTreeMap;

pub async fn list(State(handle): State<Handle>) -> Response {
    let names: Vec<String> = handle.scheduler().plans().iter().map(|p| p.name.clone()).collect();
    json(StatusCode::OK, &names)
}

pub async fn show(State(handle): State<Handle>, Path(name): Path<String>) -> Response {
    let scheduler = handle.scheduler();
    let Some(plan) = scheduler.plans().iter().find(|p| p.name == name) else {
        return not_found("Plan", &name);
    };
    let body = plan_value(&scheduler, plan, handle.now());
    let status = match (plan.all_errors().is_empty(), body["status"].as_str()) {
        (false, _) => StatusCode::EXPECTATION_FAILED,
        (true, Some("COMPLETE")) => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    json(status, &body)
}

/// The older path of the deploy plan.
pub async fn show_deploy(handle: State<Handle>) -> Response {
    show(handle, Path("deploy".to_owned())).await
}

/// A plan as `/v1/plans/<name>` shows it, with the reasons why steps do not go on; `now` is in seconds.
pub fn plan_value(scheduler: &Scheduler, plan: &Plan, now: f64) -> Value {
    let phases: Vec<Value> = plan.phases().map(|p| phase_value(scheduler, p, now)).collect();
    value!({
        "phases": phases,
        "errors": plan.all_errors(),
        "strategy": plan.strategy_name(),
        "status": plan.status().name(),
    })
}

fn phase_value(scheduler: &Scheduler, phase: &Phase, now: f64) -> Value {
    let steps: Vec<Value> = phase.steps().iter().map(|s| step_value(scheduler, s, now)).collect();
    value!({
        "id": phase.id,
        "name": phase.name,
        "steps": steps,
        "strategy": phase.strategy_name(),
        "status": phase.status().name(),
    })
}

fn step_value(scheduler: &Scheduler, step: &Step, now: f64) -> Value {
    let mut shown = value!({
        "id": step.id,
        "name": step.name,
        "status": scheduler.step_status(step),
        "message": scheduler.step_message(step),
    });
    let reasons = if step.status() == Status::Complete { Vec::new() } else { scheduler.why(now, step) };
    if !reasons.is_empty() {
        shown["reasons"] = value!(reasons);
    }
    shown
}

pub async fn command(
    State(handle): State<Handle>,
    Path((plan, command)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    let given = |key: &str| query.get(key).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    let (phase, step) = (given("phase"), given("step"));
    let (phase_text, step_text) = (phase.as_deref().unwrap_or("null"), step.as_deref().unwrap_or("null"));
    let all_three =
        |name: &str| format!("Received cmd: {name} for Plan: {plan}, Phase: {phase_text}, Step: {step_text}");
    let short = |name: &str| format!("Received cmd: {name}");
    let (parsed, message) = match command.as_str() {
        "start" => match parameters(&body) {
            Ok(parameters) => {
                let pairs: Vec<String> = parameters.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let message = format!("Received cmd: start {plan} with parameters: {{{}}}", pairs.join(", "));
                (PlanCommand::Start(parameters), message)
            }
            Err(why) => {
                return text(StatusCode::BAD_REQUEST, format!("Couldn't parse parameters: {why}"));
            }
        },
        "stop" => (PlanCommand::Stop, short("stop")),
        "continue" => (PlanCommand::Continue, short("continue")),
        "interrupt" => (PlanCommand::Interrupt, short("interrupt")),
        "forceComplete" => (PlanCommand::ForceComplete, all_three("forceComplete")),
        "restart" => (PlanCommand::Restart, all_three("restart")),
        _ => return text(StatusCode::NOT_FOUND, ""),
    };
    match handle.command(Command::Plan { plan: plan.clone(), phase, step, command: parsed }).await {
        Ok((Outcome::Done, _)) => json(StatusCode::OK, &value!({ "message": message })),
        Ok((Outcome::Already, _)) => {
            text(StatusCode::ALREADY_REPORTED, "Command has already been reported or completed")
        }
        Err(answer) => answer,
    }
}

/// The older path of commands on the deploy plan.
pub async fn command_deploy(
    handle: State<Handle>,
    Path(name): Path<String>,
    query: Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    command(handle, Path(("deploy".to_owned(), name)), query, body).await
}

/// The parameters of a start: a JSON object of texts, whose keys become environment variables.
fn parameters(body: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let parameters: BTreeMap<String, String> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let is_name = |name: &str| {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match parameters.keys().find(|k| !is_name(k)) {
        Some(bad) => Err(format!("{bad:?} can't be the name of an environment variable")),
        None => Ok(parameters),
    }
}
