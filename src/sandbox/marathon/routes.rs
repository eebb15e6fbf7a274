//! Marathon's HTTP API (`/v2`, `/ping`) over [`Marathon`].
//!
//! Shapes and status codes are those of Marathon 1.x. Groups, pods, the launch queue and events are not there: they
//! answer 404.

use super::{Accepted, App, Invalid, Marathon, MarathonError, canonical_id};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

/// The routes, to be served on loopback: they carry no authentication.
pub fn router(marathon: Marathon) -> Router {
    Router::new()
        .route("/ping", get(|| async { "pong" }))
        .route("/v2/info", get(info))
        .route("/v2/leader", get(|| async { Json(json!({"leader": "127.0.0.1"})) }))
        .route("/v2/apps", get(list).post(create))
        // ids hold slashes, so what stands behind them is found by hand
        .route("/v2/apps/{*rest}", get(read).put(update).delete(remove).post(act))
        .route("/v2/tasks", get(tasks))
        .route("/v2/deployments", get(|State(m): State<Marathon>| async move { Json(m.deployments()) }))
        .route("/v2/deployments/{id}", post(not_found).delete(not_found))
        .fallback(not_found)
        .with_state(marathon)
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"message": "Not Found"}))).into_response()
}

#[derive(Deserialize)]
struct Options {
    force: Option<String>,
    #[serde(rename = "partialUpdate")]
    partial_update: Option<String>,
    cmd: Option<String>,
    id: Option<String>,
    label: Option<String>,
    embed: Option<String>,
}

impl Options {
    fn force(&self) -> bool {
        self.force.as_deref() == Some("true")
    }
}

impl IntoResponse for MarathonError {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let (status, body) = match self {
            Self::Invalid(invalid) => (StatusCode::UNPROCESSABLE_ENTITY, json!(invalid)),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, json!({"message": message})),
            Self::Exists(_) => (StatusCode::CONFLICT, json!({"message": message})),
            Self::Locked { deployment } => {
                (StatusCode::CONFLICT, json!({"message": message, "deployments": [{"id": deployment}]}))
            }
            Self::Closed => (StatusCode::SERVICE_UNAVAILABLE, json!({"message": message})),
            Self::Saved(_) => (StatusCode::INTERNAL_SERVER_ERROR, json!({"message": message})),
        };
        (status, Json(body)).into_response()
    }
}

impl Accepted {
    fn answer(self, status: StatusCode) -> Response {
        let headers = [("Marathon-Deployment-Id", self.deployment.clone())];
        let body = json!({"version": self.version, "deploymentId": self.deployment});
        (status, headers, Json(body)).into_response()
    }
}

/// A request's body as JSON, or Marathon's answer to one that is none.
fn body_json(body: &Bytes) -> Result<Value, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| {
        let details = json!([{"path": "/", "errors": [error.to_string()]}]);
        Box::new(
            (StatusCode::BAD_REQUEST, Json(json!({"message": "Invalid JSON", "details": details})))
                .into_response(),
        )
    })
}

async fn info() -> Json<Value> {
    Json(json!({
        "name": "marathon", "version": "1.11.0", "buildref": concat!("dagpkg ", env!("CARGO_PKG_VERSION")),
        "elected": true, "leader": "127.0.0.1", "frameworkId": null, "marathon_config": {}, "zookeeper_config": {},
        "http_config": {},
    }))
}

async fn list(State(marathon): State<Marathon>, Query(options): Query<Options>) -> Json<Value> {
    let with_tasks = options.embed.as_deref().is_some_and(|e| e.contains("apps.tasks"));
    let contains = |value: Option<&Value>, wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|w| value.and_then(Value::as_str).is_some_and(|v| v.contains(w.as_str())))
    };
    let wanted = |app: &Value| {
        contains(app.get("id"), &options.id)
            && contains(app.get("cmd"), &options.cmd)
            && options.label.as_deref().is_none_or(|selector| matches_labels(&app["labels"], selector))
    };
    let apps = marathon.ids().into_iter().filter_map(|id| marathon.describe(&id, with_tasks));
    Json(json!({"apps": apps.filter(wanted).collect::<Vec<_>>()}))
}

/// Label selectors: `key`, `key==value`, `key!=value`, comma separated.
fn matches_labels(labels: &Value, selector: &str) -> bool {
    selector.split(',').map(str::trim).all(|part| {
        let label = |key: &str| labels.get(key.trim()).and_then(Value::as_str);
        match (part.split_once("!="), part.split_once("==")) {
            (Some((key, value)), _) => label(key).is_some_and(|l| l != value.trim()),
            (None, Some((key, value))) => label(key) == Some(value.trim()),
            (None, None) => label(part).is_some(),
        }
    })
}

async fn create(State(marathon): State<Marathon>, body: Bytes) -> Response {
    let body = match body_json(&body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    created(&marathon, App::parse(&body, None))
}

/// Creates an app and answers as POST does.
fn created(marathon: &Marathon, app: Result<App, Invalid>) -> Response {
    let app = match app {
        Ok(app) => app,
        Err(invalid) => return MarathonError::from(invalid).into_response(),
    };
    let id = app.id.clone();
    match marathon.create(app) {
        Ok(accepted) => {
            let headers =
                [("Marathon-Deployment-Id", accepted.deployment), ("Location", format!("/v2/apps{id}"))];
            (StatusCode::CREATED, headers, Json(marathon.describe(&id, true))).into_response()
        }
        Err(e) => e.into_response(),
    }
}

async fn read(State(marathon): State<Marathon>, Path(rest): Path<String>) -> Response {
    let (id, tail) = split_tail(&rest, &["tasks", "versions"]);
    let Some(app) = marathon.describe(&id, true) else { return MarathonError::NotFound(id).into_response() };
    match tail {
        None => Json(json!({"app": app})).into_response(),
        Some("tasks") => Json(json!({"tasks": app["tasks"]})).into_response(),
        // earlier versions are not kept
        Some(_) => Json(json!({"versions": [app["version"]]})).into_response(),
    }
}

/// An id, and one of the words that may stand behind it.
fn split_tail<'a>(rest: &'a str, words: &[&str]) -> (String, Option<&'a str>) {
    match rest.trim_end_matches('/').rsplit_once('/') {
        Some((id, tail)) if words.contains(&tail) => (canonical_id(id), Some(tail)),
        _ => (canonical_id(rest), None),
    }
}

async fn update(
    State(marathon): State<Marathon>,
    Path(rest): Path<String>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Response {
    let body = match body_json(&body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let id = canonical_id(&rest);
    let Some(old) = marathon.app(&id) else { return created(&marathon, App::parse(&body, Some(&id))) };
    let partial = options.partial_update.as_deref() != Some("false");
    let app = if partial { old.with(&body) } else { App::parse(&body, Some(&id)) };
    match app.map_err(MarathonError::from).and_then(|app| marathon.update(app, options.force())) {
        Ok(accepted) => accepted.answer(StatusCode::OK),
        Err(e) => e.into_response(),
    }
}

async fn remove(
    State(marathon): State<Marathon>,
    Path(rest): Path<String>,
    Query(options): Query<Options>,
) -> Response {
    match marathon.delete(&canonical_id(&rest), options.force()) {
        Ok(accepted) => accepted.answer(StatusCode::OK),
        Err(e) => e.into_response(),
    }
}

async fn act(
    State(marathon): State<Marathon>,
    Path(rest): Path<String>,
    Query(options): Query<Options>,
) -> Response {
    let (id, Some(_)) = split_tail(&rest, &["restart"]) else {
        let allow = [(header::ALLOW, "GET, PUT, DELETE")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    };
    match marathon.restart(&id, options.force()) {
        Ok(accepted) => accepted.answer(StatusCode::OK),
        Err(e) => e.into_response(),
    }
}

async fn tasks(State(marathon): State<Marathon>) -> Json<Value> {
    let apps = marathon.ids().into_iter().filter_map(|id| marathon.describe(&id, true));
    let of_app = |mut app: Value| match app["tasks"].take() {
        Value::Array(tasks) => tasks,
        _ => Vec::new(),
    };
    Json(json!({"tasks": apps.flat_map(of_app).collect::<Vec<_>>()}))
}
