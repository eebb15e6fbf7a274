//! The plan commands against an HTTP server that answers as a scheduler does.

use super::*;
use crate::cli::service_client::Hints;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::response::IntoResponse;
use clap::Parser;
use serde_json::json;
use std::sync::{Arc, Mutex};

/// A scheduler that gives one answer and remembers what it was asked.
pub(in crate::cli) struct Scheduler {
    pub(in crate::cli) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scheduler {
    pub(in crate::cli) async fn start(status: u16, answer: impl Into<String>) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), answer.into());
        let handler = move |method: axum::http::Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let token = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
            let line = format!("{method} {uri} {} {token}", String::from_utf8_lossy(&body));
            log.lock().unwrap().push(line.trim_end().to_owned());
            (axum::http::StatusCode::from_u16(status).unwrap(), answer).into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(handler)).await });
        Self { url, asked }
    }

    /// What was asked: method, path, body, token.
    pub(in crate::cli) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(in crate::cli) fn client(&self) -> ServiceClient {
        let base = ServiceClient::address_in_cluster(&self.url, "hello-world");
        ServiceClient::new(&base, Some("t0ken"), &Tls::Public, hints()).unwrap()
    }
}

fn hints() -> Hints {
    Hints {
        service: "hello-world".to_owned(),
        choose_service: "give another with `--name`",
        log_in: "log in with `dcos auth login`",
    }
}

/// The command that these words on the command line mean.
fn parse(words: &str) -> PlanCommand {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: PlanCommand,
    }
    Line::try_parse_from(std::iter::once("plan").chain(words.split(' '))).unwrap().command
}

async fn run_at(scheduler: &Scheduler, words: &str) -> Result<String, ServiceError> {
    execute(&scheduler.client(), parse(words), false).await
}

fn deploy(status: &str, errors: &[&str]) -> String {
    let step = |name: &str, status: &str| {
        let message = format!("DeploymentStep: {name} [77aa] with status: {status}");
        json!({"id": "77aa", "name": name, "status": status, "message": message})
    };
    json!({
        "phases": [
            {"id": "b1c0", "name": "hello", "strategy": "serial", "status": "COMPLETE",
             "steps": [step("hello-0:[server]", "COMPLETE")]},
            {"id": "b1c1", "name": "world", "strategy": "serial", "status": "PENDING",
             "steps": [step("world-0:[server]", "PENDING"), step("world-1:[server]", "PENDING")]},
        ],
        "errors": errors, "strategy": "serial", "status": status,
    })
    .to_string()
}

#[tokio::test]
async fn show_prints_the_tree_whatever_the_state_of_the_plan() {
    let tree = |status: &str| {
        format!(
            "deploy (serial strategy) ({status})\n\
             ├─ hello (serial strategy) (COMPLETE)\n\
             │  └─ hello-0:[server] (COMPLETE)\n\
             └─ world (serial strategy) (PENDING)\n\
             \u{20}  ├─ world-0:[server] (PENDING)\n\
             \u{20}  └─ world-1:[server] (PENDING)\n"
        )
    };
    for (code, status, errors, expected) in [
        (200, "COMPLETE", vec![], tree("COMPLETE")),
        (202, "IN_PROGRESS", vec![], tree("IN_PROGRESS")),
        (417, "ERROR", vec!["no such volume"], tree("ERROR") + "\nErrors:\n- no such volume\n"),
    ] {
        let scheduler = Scheduler::start(code, deploy(status, &errors)).await;
        for words in ["show deploy", "status deploy"] {
            assert_eq!(run_at(&scheduler, words).await.unwrap(), expected, "{code}");
        }
        assert_eq!(scheduler.asked()[0], "GET /service/hello-world/v1/plans/deploy  token=t0ken");
    }
}

#[tokio::test]
async fn show_as_json_prints_what_the_scheduler_said() {
    let scheduler = Scheduler::start(202, deploy("IN_PROGRESS", &[])).await;
    for words in ["show deploy --output json", "show --json deploy"] {
        let text = run_at(&scheduler, words).await.unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            serde_json::from_str::<Value>(&deploy("IN_PROGRESS", &[])).unwrap()
        );
        assert!(text.starts_with("{\n  \"phases\": [\n") && text.ends_with("}\n"), "{text}");
    }
}

#[tokio::test]
async fn commands_ask_what_a_scheduler_understands_and_say_what_was_done() {
    let said = r#"{"message": "Received cmd: x"}"#;
    let printed = "{\n  \"message\": \"Received cmd: x\"\n}\n";
    for (words, asked, expected) in [
        ("list", "GET /v1/plans", printed),
        ("start backup", "POST /v1/plans/backup/start {}", printed),
        (
            "start backup -p BUCKET=a=b -p EMPTY=",
            r#"POST /v1/plans/backup/start {"BUCKET":"a=b","EMPTY":""}"#,
            printed,
        ),
        ("stop backup", "POST /v1/plans/backup/stop", printed),
        ("pause deploy", "POST /v1/plans/deploy/interrupt", "\"deploy\" plan has been paused.\n"),
        (
            "interrupt deploy hello",
            "POST /v1/plans/deploy/interrupt?phase=hello",
            "\"deploy\" plan: phase \"hello\" has been paused.\n",
        ),
        ("resume deploy", "POST /v1/plans/deploy/continue", "\"deploy\" plan has been resumed.\n"),
        (
            "continue deploy hello",
            "POST /v1/plans/deploy/continue?phase=hello",
            "\"deploy\" plan: phase \"hello\" has been resumed.\n",
        ),
        ("force-restart deploy", "POST /v1/plans/deploy/restart", "\"deploy\" plan has been restarted.\n"),
        (
            "restart deploy hello",
            "POST /v1/plans/deploy/restart?phase=hello",
            "\"deploy\" plan: phase \"hello\" has been restarted.\n",
        ),
        (
            "force-restart deploy hello hello-0:[server]",
            "POST /v1/plans/deploy/restart?phase=hello&step=hello-0%3A%5Bserver%5D",
            "\"deploy\" plan: step \"hello-0:[server]\" in phase \"hello\" has been restarted.\n",
        ),
        (
            "force-complete deploy hello step",
            "POST /v1/plans/deploy/forceComplete?phase=hello&step=step",
            "\"deploy\" plan: step \"step\" in phase \"hello\" has been forced to complete.\n",
        ),
    ] {
        let scheduler = Scheduler::start(200, said).await;
        assert_eq!(run_at(&scheduler, words).await.unwrap(), expected, "{words}");
        let request = scheduler.asked().remove(0);
        let request = request.replace("/service/hello-world", "");
        assert_eq!(request.trim_end_matches("token=t0ken").trim_end(), asked, "{words}");
    }
}

#[tokio::test]
async fn refusals_say_what_happened_and_what_to_do() {
    for (words, status, body, expected) in [
        ("pause deploy", 208, "Command has already been reported or completed", vec!["already been issued"]),
        ("pause deploy", 200, "{}", vec!["\"deploy\" plan could not be paused"]),
        ("show deply", 404, "Plan deply not found", vec!["Plan deply not found", "plan list"]),
        ("show deply", 404, "Element not found", vec!["Element not found", "plan list"]),
        ("show deploy", 404, "<html>nginx</html>", vec!["\"hello-world\"", "--name", "nginx"]),
        ("show deploy", 401, "", vec!["401", "dcos auth login"]),
        ("show deploy", 500, "", vec!["cannot be reached", "\"hello-world\"", "--name"]),
        ("show deploy", 502, "bad gateway", vec!["502", "cannot be reached", "Response: bad gateway"]),
        ("start x", 400, "Couldn't parse parameters: 1a", vec!["POST", "400", "Couldn't parse parameters"]),
        ("show deploy", 417, "not JSON", vec!["did not answer with JSON", "not JSON"]),
    ] {
        let scheduler = Scheduler::start(status, body).await;
        let error = run_at(&scheduler, words).await.unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{words} {status}: {error}");
        }
        assert!(!error.contains("t0ken"), "{error}");
    }
}

#[tokio::test]
async fn a_scheduler_that_is_not_there_is_named() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = ServiceClient::new(&format!("http://{address}"), None, &Tls::Public, hints()).unwrap();
    let error = execute(&client, PlanCommand::List, false).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn names_cannot_lead_to_another_path() {
    let scheduler = Scheduler::start(200, "{}").await;
    let _ = execute(&scheduler.client(), PlanCommand::Stop { plan: "../../x?y#z".to_owned() }, false).await;
    assert!(
        scheduler.asked()[0].starts_with("POST /service/hello-world/v1/plans/..%2F..%2Fx%3Fy%23z/stop"),
        "{:?}",
        scheduler.asked()
    );
}

#[test]
fn parameters_need_an_equals_sign_and_a_name() {
    assert_eq!(parameter("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
    assert!(parameter("A").is_err() && parameter("=b").is_err());
}

#[test]
fn addresses_that_are_none_are_refused() {
    for address in ["", "dagflow", "ftp://x", "localhost:8080"] {
        let error = ServiceClient::new(address, None, &Tls::Public, hints()).unwrap_err().to_string();
        assert!(error.contains("expected http://host:port"), "{address}: {error}");
    }
}

#[test]
fn the_running_cluster_is_found_by_its_note() {
    let run = tempfile::tempdir().unwrap();
    let missing = in_running_cluster(run.path(), None).unwrap_err();
    assert!(format!("{missing:#}").contains("dagpkg up"), "{missing:#}");
    let note = run.path().join("up.json");
    std::fs::write(&note, r#"{"url": "http://127.0.0.1:7000/", "service": "dagflow", "more": 1}"#).unwrap();
    let found = |service: Option<&str>| in_running_cluster(run.path(), service.map(str::to_owned)).unwrap();
    assert_eq!(found(None).0, "http://127.0.0.1:7000/service/dagflow");
    assert_eq!(found(Some("/team/other")).0, "http://127.0.0.1:7000/service/team/other");
    std::fs::write(&note, r#"{"url": "http://127.0.0.1:7000/"}"#).unwrap();
    let unnamed = in_running_cluster(run.path(), None).unwrap_err();
    assert!(unnamed.to_string().contains("--service"), "{unnamed:#}");
    std::fs::write(&note, "{").unwrap();
    in_running_cluster(run.path(), None).unwrap_err();
}
