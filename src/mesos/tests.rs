//! The client against masters of this file's own making: real HTTP on loopback, hand-written conversations.

use super::*;
use crate::wire::{Call, CallType, Decline, EventType, FrameworkInfo, Subscribe};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as a master got it.
type Request = (HeaderMap, Value);

/// Something that answers at `/api/v1/scheduler`.
struct Master {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Master {
    /// Answers with what the function makes of the request and its number, from 0 on.
    async fn start(answer: impl Fn(&Request, usize) -> Response + Clone + Send + Sync + 'static) -> Self {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let handler = move |headers: HeaderMap, body: Bytes| async move {
            let request = (headers, serde_json::from_slice(&body).unwrap());
            let mut seen = seen.lock().unwrap();
            let response = answer(&request, seen.len());
            seen.push(request);
            response
        };
        let app = axum::Router::new().route("/api/v1/scheduler", axum::routing::post(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, requests }
    }

    fn client(&self) -> Client {
        client(&self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn client(masters: &str) -> Client {
    Client::new(masters.parse().unwrap(), None).unwrap()
}

/// An address where nobody listens.
fn dead_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn subscribe() -> Subscribe {
    Subscribe {
        framework_info: FrameworkInfo {
            user: "nobody".to_owned(),
            name: "hello-world".to_owned(),
            ..FrameworkInfo::default()
        },
        ..Subscribe::default()
    }
}

fn subscribed(heartbeat_seconds: f64) -> Value {
    json!({"type": "SUBSCRIBED", "subscribed": {
        "framework_id": {"value": "fw-1"}, "heartbeat_interval_seconds": heartbeat_seconds,
        "master_info": {"id": "m-1", "unknown_field": [1, 2]},
    }})
}

fn rescind(id: &str) -> Value {
    json!({"type": "RESCIND", "rescind": {"offer_id": {"value": id}}})
}

fn error(message: &str) -> Value {
    json!({"type": "ERROR", "error": {"message": message}})
}

fn framed(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| recordio::encode(event.to_string().as_bytes())).collect()
}

/// A 200 answer with these HTTP chunks, which then ends or stays open.
fn stream_of(chunks: Vec<Vec<u8>>, stays_open: bool) -> Response {
    let chunks = stream::iter(chunks).then(|chunk| async {
        // Lets each chunk go out alone.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<_, Infallible>(chunk)
    });
    let body = if stays_open {
        Body::from_stream(chunks.chain(stream::pending()))
    } else {
        Body::from_stream(chunks)
    };
    ([(header::CONTENT_TYPE, "application/json"), ("mesos-stream-id".parse().unwrap(), "stream-7")], body)
        .into_response()
}

fn open_stream(events: &[Value]) -> Response {
    stream_of(vec![framed(events)], true)
}

fn ended_stream(events: &[Value]) -> Response {
    stream_of(vec![framed(events)], false)
}

fn decline() -> Call {
    Call {
        r#type: CallType::Decline,
        decline: Some(Decline { offer_ids: vec!["o-1".into()], filters: None }),
        ..Call::default()
    }
}

#[tokio::test]
async fn events_come_in_order_without_heartbeats_however_the_stream_is_cut() {
    let heartbeat = json!({"type": "HEARTBEAT"});
    let conversation =
        framed(&[subscribed(15.0), heartbeat.clone(), rescind("o-1"), heartbeat, rescind("o-2")]);
    for size in [1, 2, 7, 50, conversation.len()] {
        let chunks: Vec<Vec<u8>> = conversation.chunks(size).map(<[u8]>::to_vec).collect();
        let master = Master::start(move |_, _| stream_of(chunks.clone(), false)).await;
        let (connection, mut events) = master.client().subscribe(&subscribe()).await.unwrap();
        assert_eq!(connection.framework_id().value, "fw-1");
        let first = events.next().await.unwrap();
        assert_eq!(first.r#type, EventType::Subscribed);
        assert_eq!(first.subscribed.unwrap().framework_id.value, "fw-1");
        for id in ["o-1", "o-2"] {
            let event = events.next().await.unwrap();
            assert_eq!(event.rescind.unwrap().offer_id.value, id, "chunks of {size}");
        }
        assert!(matches!(events.next().await, Err(StreamEnd::Closed)));
    }
}

#[tokio::test]
async fn a_subscription_is_sent_as_a_master_wants_it() {
    let master = Master::start(|_, _| open_stream(&[subscribed(15.0)])).await;
    let mut subscribe = subscribe();
    subscribe.framework_info.id = Some("fw-1".into());
    subscribe.suppressed_roles = vec!["idle".to_owned()];
    master.client().subscribe(&subscribe).await.unwrap();
    let (headers, body) = master.requests().remove(0);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["accept"], "application/json");
    assert!(!headers.contains_key("mesos-stream-id") && !headers.contains_key("authorization"));
    assert_eq!(
        body,
        json!({
            "framework_id": {"value": "fw-1"},
            "type": "SUBSCRIBE",
            "subscribe": {
                "framework_info": {"user": "nobody", "name": "hello-world", "id": {"value": "fw-1"}},
                "suppressed_roles": ["idle"],
            },
        })
    );
}

#[tokio::test]
async fn calls_carry_the_stream_id_the_framework_id_and_the_credentials() {
    let master = Master::start(|(_, body), _| match body["type"].as_str() {
        Some("SUBSCRIBE") => open_stream(&[subscribed(15.0)]),
        Some("UPDATE_FRAMEWORK") => StatusCode::OK.into_response(),
        _ => StatusCode::ACCEPTED.into_response(),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    std::fs::write(&file, "dagflow s3cret").unwrap();
    let credentials = Credentials::from_file(&file).unwrap();
    let mut client = Client::new(master.address.parse().unwrap(), Some(credentials)).unwrap();
    let (connection, _events) = client.subscribe(&subscribe()).await.unwrap();
    connection.call(&decline()).await.unwrap();
    connection
        .call(&Call { r#type: CallType::UpdateFramework, ..Call::default() })
        .await
        .expect("a master answers 200 to UPDATE_FRAMEWORK");
    let requests = master.requests();
    for (headers, _) in &requests {
        // "dagflow:s3cret" in base64
        assert_eq!(headers["authorization"], "Basic ZGFnZmxvdzpzM2NyZXQ=");
        assert_eq!(headers["content-type"], "application/json");
    }
    assert_eq!(requests[1].0["mesos-stream-id"], "stream-7");
    assert_eq!(
        requests[1].1,
        json!({
            "framework_id": {"value": "fw-1"},
            "type": "DECLINE",
            "decline": {"offer_ids": [{"value": "o-1"}]},
        })
    );
}

#[tokio::test]
async fn a_redirect_leads_to_the_leading_master_with_the_same_call() {
    let leader = Master::start(|(_, body), _| match body["type"].as_str() {
        Some("SUBSCRIBE") => open_stream(&[subscribed(15.0)]),
        _ => StatusCode::ACCEPTED.into_response(),
    })
    .await;
    let location = format!("//{}/api/v1/scheduler", leader.address);
    let follower = Master::start(move |_, _| {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location.clone())]).into_response()
    })
    .await;
    let (connection, _events) = follower.client().subscribe(&subscribe()).await.unwrap();
    connection.call(&decline()).await.unwrap();
    assert_eq!(follower.requests().len(), 1, "calls go to the leader");
    assert_eq!(leader.requests().len(), 2);
    assert_eq!(leader.requests()[0].1, follower.requests()[0].1);
}

#[tokio::test]
async fn masters_that_redirect_in_a_circle_are_given_up() {
    let master = Master::start(|_, _| {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/api/v1/scheduler")]).into_response()
    })
    .await;
    let error = master.client().subscribe(&subscribe()).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("circle"), "{error}");
    assert_eq!(master.requests().len(), 4);
}

#[tokio::test]
async fn masters_are_tried_in_turn_beginning_with_the_one_that_answered_last() {
    let recovering =
        Master::start(|_, _| (StatusCode::SERVICE_UNAVAILABLE, "not recovered").into_response()).await;
    let leader = Master::start(|_, _| open_stream(&[subscribed(15.0)])).await;
    let mut client = client(&format!("{},{},{}", dead_address(), recovering.address, leader.address));
    client.subscribe(&subscribe()).await.unwrap();
    client.subscribe(&subscribe()).await.unwrap();
    assert_eq!(recovering.requests().len(), 1);
    assert_eq!(leader.requests().len(), 2);
}

#[tokio::test]
async fn when_no_master_is_there_the_error_says_what_each_one_did() {
    let recovering = Master::start(|_, _| {
        (StatusCode::SERVICE_UNAVAILABLE, "Master has not finished recovery").into_response()
    })
    .await;
    let dead = dead_address();
    let error = client(&format!("{dead},{}", recovering.address)).subscribe(&subscribe()).await.unwrap_err();
    assert!(error.is_temporary());
    let text = error.to_string();
    for expected in [dead.as_str(), "refused", &recovering.address, "has not finished recovery"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn connect_waits_until_the_master_has_recovered() {
    let master = Master::start(|_, number| match number {
        0..3 => (StatusCode::SERVICE_UNAVAILABLE, "Master has not finished recovery").into_response(),
        _ => open_stream(&[subscribed(15.0)]),
    })
    .await;
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(20));
    let (connection, _events) = master.client().connect(&subscribe(), &mut backoff).await.unwrap();
    assert_eq!(connection.framework_id().value, "fw-1");
    assert_eq!(master.requests().len(), 4);
}

#[tokio::test]
async fn what_waiting_cannot_mend_is_returned_at_once_with_the_masters_words() {
    for (status, text) in [
        (StatusCode::BAD_REQUEST, "Failed to validate scheduler::Call: Expecting 'user' to be present"),
        (StatusCode::UNAUTHORIZED, "401 Unauthorized."),
        (StatusCode::FORBIDDEN, "Not allowed to use role"),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Expecting 'Content-Type' of application/json"),
    ] {
        let master = Master::start(move |_, _| (status, text).into_response()).await;
        let error = master.client().connect(&subscribe(), &mut Backoff::default()).await.unwrap_err();
        assert!(!error.is_temporary());
        assert!(error.to_string().contains(text) && error.to_string().contains(&master.address), "{error}");
        assert_eq!(master.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_framework_that_was_removed_is_told_so_although_the_answer_is_200() {
    let master = Master::start(|_, _| ended_stream(&[error("Framework has been removed")])).await;
    let refused = master.client().subscribe(&subscribe()).await.unwrap_err();
    assert!(
        matches!(&refused, SubscribeError::Ended { message, .. } if message == "Framework has been removed"),
        "{refused:?}"
    );
    assert!(!refused.is_temporary());
}

#[tokio::test]
async fn an_error_event_ends_the_stream_with_its_text() {
    let master = Master::start(|_, _| {
        open_stream(&[subscribed(15.0), rescind("o-1"), error("Framework failed over")])
    })
    .await;
    let (_connection, mut events) = master.client().subscribe(&subscribe()).await.unwrap();
    events.next().await.unwrap();
    events.next().await.unwrap();
    let end = events.next().await.unwrap_err();
    assert!(matches!(&end, StreamEnd::Error(text) if text == "Framework failed over"), "{end:?}");
}

#[tokio::test]
async fn a_stream_without_heartbeats_counts_as_lost() {
    let master = Master::start(|_, _| open_stream(&[subscribed(0.02)])).await;
    let (_connection, mut events) = master.client().subscribe(&subscribe()).await.unwrap();
    events.next().await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap_err();
    assert!(matches!(end, StreamEnd::Silent(after) if after == Duration::from_millis(100)), "{end:?}");
}

#[tokio::test]
async fn heartbeats_keep_a_stream_alive() {
    // 40 heartbeats of 20 ms: eight times as long as the silence that is allowed.
    let beats = stream::iter(0..40).then(|_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        framed(&[json!({"type": "HEARTBEAT"})])
    });
    let beats = Mutex::new(Some(Box::pin(beats)));
    let beats = Arc::new(beats);
    let master = Master::start(move |_, _| {
        let head = stream::iter([framed(&[subscribed(0.02)])]);
        let tail = stream::iter([framed(&[rescind("last")])]);
        let beats = beats.lock().unwrap().take().unwrap();
        let body = Body::from_stream(head.chain(beats).chain(tail).map(Ok::<_, Infallible>));
        ([("mesos-stream-id", "stream-7")], body).into_response()
    })
    .await;
    let (_connection, mut events) = master.client().subscribe(&subscribe()).await.unwrap();
    events.next().await.unwrap();
    assert_eq!(events.next().await.unwrap().rescind.unwrap().offer_id.value, "last");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_skipped_and_an_unknown_one_is_handed_out() {
    let master = Master::start(|_, _| {
        open_stream(&[
            subscribed(15.0),
            json!({"type": "RESCIND", "rescind": "not an object"}),
            json!({"type": "SOMETHING_NEW", "something_new": {}}),
            rescind("o-1"),
        ])
    })
    .await;
    let (_connection, mut events) = master.client().subscribe(&subscribe()).await.unwrap();
    events.next().await.unwrap();
    assert_eq!(events.next().await.unwrap().r#type, EventType::Unknown);
    assert_eq!(events.next().await.unwrap().rescind.unwrap().offer_id.value, "o-1");
}

#[tokio::test]
async fn a_web_server_that_is_no_master_is_recognised() {
    let web = Master::start(|_, _| "<html>It works!</html>".into_response()).await;
    let error = web.client().subscribe(&subscribe()).await.unwrap_err().to_string();
    assert!(error.contains("not a Mesos master"), "{error}");
    let odd = Master::start(|_, _| ([("mesos-stream-id", "s")], "<html>").into_response()).await;
    let error = odd.client().subscribe(&subscribe()).await.unwrap_err().to_string();
    assert!(error.contains("not RecordIO") && error.contains("<html>"), "{error}");
}

#[tokio::test]
async fn an_event_is_not_lost_when_waiting_for_it_is_cancelled() {
    let conversation = framed(&[subscribed(15.0), rescind("o-1")]);
    let chunks: Vec<Vec<u8>> = conversation.chunks(3).map(<[u8]>::to_vec).collect();
    let master = Master::start(move |_, _| stream_of(chunks.clone(), true)).await;
    let (_connection, mut events) = master.client().subscribe(&subscribe()).await.unwrap();
    events.next().await.unwrap();
    let event = loop {
        // Shorter than the time between two chunks, so that most tries are cancelled in the middle.
        if let Ok(event) = tokio::time::timeout(Duration::from_micros(300), events.next()).await {
            break event.unwrap();
        }
    };
    assert_eq!(event.rescind.unwrap().offer_id.value, "o-1");
}

#[tokio::test]
async fn refused_calls_tell_their_kind_and_the_masters_words() {
    let master = Master::start(|(_, body), number| match body["type"].as_str() {
        Some("SUBSCRIBE") => open_stream(&[subscribed(15.0)]),
        _ => match number {
            1 => (StatusCode::BAD_REQUEST, "Framework cannot be found").into_response(),
            2 => (StatusCode::FORBIDDEN, "Framework is not subscribed").into_response(),
            3 => (StatusCode::SERVICE_UNAVAILABLE, "Master has not finished recovery").into_response(),
            4 => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "//elsewhere:1/")]).into_response(),
            _ => (StatusCode::IM_A_TEAPOT, "tea").into_response(),
        },
    })
    .await;
    let (connection, _events) = master.client().subscribe(&subscribe()).await.unwrap();
    let next = async || connection.call(&decline()).await.unwrap_err();
    let refused = next().await;
    assert!(matches!(refused, CallError::Refused { kind: CallType::Decline, .. }), "{refused:?}");
    assert!(refused.to_string().contains("Framework cannot be found"), "{refused}");
    assert!(matches!(next().await, CallError::Forbidden { .. }));
    assert!(matches!(next().await, CallError::Unavailable { .. }));
    let redirected = next().await;
    assert!(redirected.to_string().contains("another master leads"), "{redirected}");
    assert!(matches!(next().await, CallError::Unexpected { status, .. } if status.as_u16() == 418));
}

#[tokio::test]
async fn a_call_to_a_master_that_is_gone_says_that_there_was_no_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let master = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await.unwrap();
        let record = framed(&[subscribed(15.0)]);
        let head = "HTTP/1.1 200 OK\r\nMesos-Stream-Id: s\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = [format!("{:x}\r\n", record.len()).as_bytes(), &record, b"\r\n"].concat();
        socket.write_all(&[head.as_bytes(), &chunk].concat()).await.unwrap();
        // The listener and the connection end here, in the middle of the chunked stream.
    });
    let (connection, mut events) = client(&address).subscribe(&subscribe()).await.unwrap();
    master.await.unwrap();
    events.next().await.unwrap();
    assert!(matches!(events.next().await, Err(StreamEnd::Broken(_))));
    let error = connection.call(&decline()).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { kind: CallType::Decline, .. }), "{error:?}");
}
