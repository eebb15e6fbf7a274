//! The commands of the `dcos` subcommand against an HTTP server that answers as a scheduler does.

use super::*;
use crate::cli::plan::tests::Scheduler;

async fn run_at(scheduler: &Scheduler, words: &str) -> anyhow::Result<String> {
    let cli = Cli::try_parse_from(std::iter::once("dcos-hello").chain(words.split(' '))).unwrap();
    execute(&scheduler.client(), cli.command, false).await
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn commands_ask_what_a_scheduler_understands() {
    for (words, asked) in [
        ("plan list", "GET /v1/plans"),
        ("plan show deploy --json", "GET /v1/plans/deploy"),
        ("pod list", "GET /v1/pod"),
        ("pod status --json", "GET /v1/pod/status"),
        ("pod status hello-0 --json", "GET /v1/pod/hello-0/status"),
        ("pod info hello-0", "GET /v1/pod/hello-0/info"),
        ("pod restart hello-0", "POST /v1/pod/hello-0/restart"),
        ("pod replace hello-0", "POST /v1/pod/hello-0/replace"),
        ("endpoints", "GET /v1/endpoints"),
        ("endpoint web", "GET /v1/endpoints/web"),
        ("debug config list", "GET /v1/configurations"),
        ("debug config show 77aa", "GET /v1/configurations/77aa"),
        ("debug config target", "GET /v1/configurations/target"),
        ("debug config target_id", "GET /v1/configurations/targetId"),
        ("debug pod pause hello-0", "POST /v1/pod/hello-0/pause []"),
        ("debug pod pause hello-0 -t server --tasks init", r#"POST /v1/pod/hello-0/pause ["server","init"]"#),
        ("debug pod resume hello-0 -t server", r#"POST /v1/pod/hello-0/resume ["server"]"#),
        ("debug state framework_id", "GET /v1/state/frameworkId"),
        ("debug state properties", "GET /v1/state/properties"),
        ("debug state property uninstalling", "GET /v1/state/properties/uninstalling"),
        ("debug state refresh_cache", "PUT /v1/state/refresh"),
    ] {
        let scheduler = Scheduler::start(200, r#"["an answer"]"#).await;
        assert_eq!(run_at(&scheduler, words).await.unwrap(), "[\n  \"an answer\"\n]\n", "{words}");
        let request = scheduler.asked().remove(0).replace("/service/hello-world", "");
        assert_eq!(request.trim_end_matches("token=t0ken").trim_end(), asked, "{words}");
    }
}

#[tokio::test]
async fn pod_status_prints_a_tree() {
    let pod = json!({"name": "hello-0", "tasks": [
        {"id": "x", "name": "hello-0-server", "status": "RUNNING"},
        {"id": "y", "name": "hello-0-init"},
    ]});
    let all = json!({"service": "hello-world", "pods": [
        {"name": "hello", "instances": [pod]},
        {"name": "world", "instances": []},
    ]});
    let scheduler = Scheduler::start(200, all.to_string()).await;
    assert_eq!(
        run_at(&scheduler, "pod status").await.unwrap(),
        "hello-world\n\
         ├─ hello\n\
         │  └─ hello-0\n\
         │     ├─ hello-0-server (RUNNING)\n\
         │     └─ hello-0-init (<UNKNOWN>)\n\
         └─ world\n"
    );
    let scheduler = Scheduler::start(200, pod.to_string()).await;
    assert_eq!(
        run_at(&scheduler, "pod status hello-0").await.unwrap(),
        "hello-0\n├─ hello-0-server (RUNNING)\n└─ hello-0-init (<UNKNOWN>)\n"
    );
}

#[tokio::test]
async fn an_endpoint_of_the_services_own_making_prints_as_it_is() {
    let scheduler = Scheduler::start(200, "zk-1:2181,zk-2:2181").await;
    assert_eq!(run_at(&scheduler, "endpoints zookeeper").await.unwrap(), "zk-1:2181,zk-2:2181\n");
}

#[tokio::test]
async fn an_unknown_pod_is_named() {
    let scheduler = Scheduler::start(404, "Pod hello-7 not found").await;
    let error = run_at(&scheduler, "pod restart hello-7").await.unwrap_err().to_string();
    assert!(error.contains("Pod hello-7 not found"), "{error}");
}

#[test]
fn the_schema_of_the_settings_is_one_that_dcos_accepts() {
    let schema = config_schema("dagflow");
    assert_eq!(schema["properties"]["service_name"]["type"], "string");
    assert!(jsonschema::is_valid(&schema, &json!({"service_name": "a/b"})));
    assert!(!jsonschema::is_valid(&schema, &json!({"service_name": 1})));
}
