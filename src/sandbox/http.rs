//! The master's HTTP face: `/api/v1/scheduler` and a few pages to look at.

use super::driver::Input;
use super::ids;
use super::master::{Master, Refusal, StreamId, parse_call};
use crate::wire::CallType;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures_util::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::{mpsc, oneshot};

const STREAM_ID: &str = "Mesos-Stream-Id";

type Inputs = mpsc::UnboundedSender<Input>;

/// The server's routes.
pub fn router(inputs: Inputs) -> Router {
    let view = |view: fn(&Master) -> Value| {
        get(move |State(inputs): State<Inputs>| async move { show(&inputs, view).await })
    };
    Router::new()
        .route("/api/v1/scheduler", any(scheduler))
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/master/health", get(|| async { StatusCode::OK }))
        .route("/version", get(|| async { axum::Json(json!({"version": "1.12.0"})) }))
        .route("/state", view(Master::view_state))
        .route("/master/state", view(Master::view_state))
        .route("/master/frameworks", view(Master::view_frameworks))
        .route("/master/slaves", view(Master::view_agents))
        .route("/redirect", get(redirect))
        .route("/master/redirect", get(redirect))
        // an ACCEPT can carry many tasks with long configuration files in their environments
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(inputs)
}

/// There is one master, so the leader is the one that was asked.
async fn redirect(headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("//{host}"))]).into_response()
}

async fn show(inputs: &Inputs, view: fn(&Master) -> Value) -> Response {
    let (answer, answered) = oneshot::channel();
    let _ = inputs.send(Input::View(view, answer));
    match answered.await {
        Ok(value) => axum::Json(value).into_response(),
        Err(_) => stopping(),
    }
}

async fn scheduler(
    State(inputs): State<Inputs>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match answer(&inputs, &method, &headers, &body).await {
        Ok(response) => response,
        Err(refusal) => refuse(refusal),
    }
}

async fn answer(
    inputs: &Inputs,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let refusal = |status, text: &str| Refusal { status, text: text.to_owned() };
    if method != Method::POST {
        let text = format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.");
        return Err(refusal(405, &text));
    }
    match text(header::CONTENT_TYPE) {
        None => return Err(refusal(400, "Expecting 'Content-Type' to be present")),
        // like Mesos, without parameters
        Some("application/json") => {}
        Some("application/x-protobuf") => {
            let text = "Failed to parse body into Call protobuf: this master only speaks application/json";
            return Err(refusal(400, text));
        }
        Some(_) => {
            let text = "Expecting 'Content-Type' of application/json or application/x-protobuf";
            return Err(refusal(415, text));
        }
    }
    let call = parse_call(body)?;
    let accepts = |a: &str| {
        a.split(',').any(|a| {
            matches!(a.split(';').next().map(str::trim), Some("application/json" | "application/*" | "*/*"))
        })
    };
    if !text(header::ACCEPT).is_none_or(accepts) {
        return Err(refusal(
            406,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        ));
    }
    let stream = headers.get(STREAM_ID).and_then(|v| v.to_str().ok()).map(str::to_owned);
    if call.r#type == CallType::Subscribe {
        if stream.is_some() {
            return Err(refusal(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header"));
        }
        let (stream, (events, received)) = (ids::uuid(), mpsc::unbounded_channel());
        let _ = inputs.send(Input::Subscribe { call: Box::new(call), stream: stream.clone(), events });
        return Ok(event_stream(inputs.clone(), stream, received));
    }
    let done = if call.r#type == CallType::UpdateFramework { StatusCode::OK } else { StatusCode::ACCEPTED };
    let (answer, answered) = oneshot::channel();
    let _ = inputs.send(Input::Call { call: Box::new(call), stream, answer });
    match answered.await {
        Ok(outcome) => outcome.map(|()| done.into_response()),
        Err(_) => Ok(stopping()),
    }
}

/// An answer that goes on until the master or the reader ends it.
fn event_stream(inputs: Inputs, stream: StreamId, received: mpsc::UnboundedReceiver<Bytes>) -> Response {
    let headers =
        [(header::CONTENT_TYPE.as_str(), "application/json".to_owned()), (STREAM_ID, stream.clone())];
    let reader = Reader { inputs, stream, received };
    let records = stream::unfold(reader, |mut reader| async move {
        let record = reader.received.recv().await?;
        Some((Ok::<_, Infallible>(record), reader))
    });
    (headers, Body::from_stream(records)).into_response()
}

/// Tells the master when the connection is gone.
struct Reader {
    inputs: Inputs,
    stream: StreamId,
    received: mpsc::UnboundedReceiver<Bytes>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.inputs.send(Input::Disconnected(std::mem::take(&mut self.stream)));
    }
}

fn refuse(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = (status, refusal.text).into_response();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    }
    response
}

fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "The cluster is stopping").into_response()
}
