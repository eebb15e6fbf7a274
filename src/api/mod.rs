//! The scheduler's HTTP API.
//!
//! Paths, shapes and status codes are those of the Mesosphere SDK, because the DC/OS package service, Marathon's health
//! checks and the service command line of DC/OS read them. Two things are added: a step's `reasons` (why it does not go on)
//! and the explanations in `/v2/debug/offers`. Nothing is decided here: reads look at the scheduler, commands are
//! handed to the loop that drives it. Secrets never appear: tasks only hold references to them.

mod debug;
mod files;
mod health;
mod plans;
mod pods;
mod state;
#[cfg(test)]
mod tests;

pub use plans::plan_value;

use crate::plan::Outcome;
use crate::scheduler::{Command, CommandError, Scheduler};
use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// A command on its way to the scheduler, and where its answer goes.
#[derive(Debug)]
pub struct CommandRequest {
    /// What an operator wants.
    pub command: Command,
    /// What came of it, and the tasks that it is about.
    pub answer: oneshot::Sender<Result<(Outcome, Vec<String>), CommandError>>,
}

/// What the API needs of the running scheduler.
#[derive(Clone)]
pub struct Handle {
    /// The state, for reads.
    pub scheduler: Arc<Mutex<Scheduler>>,
    /// The way to the loop that carries commands out.
    pub commands: mpsc::Sender<CommandRequest>,
    /// Seconds; the clock that the scheduler is driven with.
    pub now: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        // A panic while the lock was held ends the whole process; a poisoned lock is never seen.
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> f64 {
        (self.now)()
    }

    /// Carries a command out, after what it changed is durable.
    async fn command(&self, command: Command) -> Result<(Outcome, Vec<String>), Response> {
        let (answer, answered) = oneshot::channel();
        let stopping = || text(StatusCode::SERVICE_UNAVAILABLE, "the scheduler is stopping");
        self.commands.send(CommandRequest { command, answer }).await.map_err(|_| stopping())?;
        match answered.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error @ CommandError::NotFound { .. })) => {
                Err(text(StatusCode::NOT_FOUND, error.to_string()))
            }
            Ok(Err(error @ CommandError::MissingPhase)) => {
                Err(text(StatusCode::BAD_REQUEST, error.to_string()))
            }
            Ok(Err(error @ CommandError::BeingRemoved)) => Err(text(StatusCode::CONFLICT, error.to_string())),
            Err(_) => Err(stopping()),
        }
    }
}

/// The routes. While the service is being removed, the SDK serves only plans and health; here what is there can still be
/// looked at.
pub fn router(handle: Handle) -> Router {
    Router::new()
        .route("/v1/health", get(health::health))
        .route("/v1/plans", get(plans::list))
        .route("/v1/plans/{plan}", get(plans::show))
        .route("/v1/plans/{plan}/{command}", post(plans::command))
        .route("/v1/plan", get(plans::show_deploy))
        .route("/v1/plan/{command}", post(plans::command_deploy))
        .route("/v1/pod", get(pods::list))
        .route("/v1/pod/status", get(pods::status))
        .route("/v1/pod/{pod}/status", get(pods::pod_status))
        .route("/v1/pod/{pod}/info", get(pods::info))
        .route("/v1/pod/{pod}/restart", post(pods::restart))
        .route("/v1/pod/{pod}/replace", post(pods::replace))
        .route("/v1/pod/{pod}/pause", post(pods::pause))
        .route("/v1/pod/{pod}/resume", post(pods::resume))
        .route("/v1/endpoints", get(pods::endpoints))
        .route("/v1/endpoints/{name}", get(pods::endpoint))
        .route("/v1/configurations", get(state::configurations))
        .route("/v1/configurations/targetId", get(state::target_id))
        .route("/v1/configurations/target", get(state::target))
        .route("/v1/configurations/{id}", get(state::configuration))
        .route("/v1/state/frameworkId", get(state::framework_id))
        .route("/v1/artifacts/template/{config}/{pod}/{task}/{name}", get(state::template))
        .route("/v1/state/properties", get(state::properties))
        .route("/v1/state/properties/{key}", get(state::property))
        .route("/v1/state/refresh", put(state::refresh))
        .route("/v1/state/files", get(files::list))
        .route("/v1/state/files/{name}", get(files::show).put(files::store))
        .route("/v1/state/zone/tasks", get(state::zones))
        .route("/v1/state/zone/tasks/{task}", get(state::zone_of_task))
        .route("/v1/state/zone/{pod}/{ip}", get(state::zone_of_address))
        .route("/v1/debug/plans", get(debug::plans))
        .route("/v1/debug/taskStatuses", get(debug::task_statuses))
        .route("/v1/debug/reservations", get(state::reservations))
        .route("/v1/metrics", get(debug::metrics))
        .route("/v1/metrics/prometheus", get(debug::prometheus))
        .route("/v2/debug/offers", get(state::offers))
        .with_state(handle)
}

/// An answer in JSON, indented as the SDK's are.
fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
            .into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, body.into()).into_response()
}

fn not_found(kind: &str, name: &str) -> Response {
    text(StatusCode::NOT_FOUND, format!("{kind} {name} not found"))
}
