//! The programs `dcos-service-cli` and `dagpkg plan` as they are run: arguments and environment in, text and exit code
//! out, with a small HTTP server in place of the cluster.

use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};

const TREE: &str = "deploy (serial strategy) (IN_PROGRESS)\n\
                    └─ web (serial strategy) (IN_PROGRESS)\n\
                    \u{20}  └─ web-0:[server] (STARTING)\n";

/// A cluster with the service `web`, whose deploy plan is under way. Lives as long as the runtime.
fn cluster(runtime: &tokio::runtime::Runtime) -> String {
    let answer = |uri: Uri| async move {
        match uri.path() {
            "/service/team/web/v1/plans/deploy" => {
                let step = json!({"id": "1", "name": "web-0:[server]", "status": "STARTING", "message": "m"});
                let phase = json!({
                    "id": "2", "name": "web", "strategy": "serial", "status": "IN_PROGRESS", "steps": [step],
                });
                let plan =
                    json!({"phases": [phase], "errors": [], "strategy": "serial", "status": "IN_PROGRESS"});
                (StatusCode::ACCEPTED, plan.to_string()).into_response()
            }
            path if path.starts_with("/service/team/web/v1/plans/") => {
                (StatusCode::NOT_FOUND, "Plan x not found").into_response()
            }
            _ => (StatusCode::NOT_FOUND, "<html>no such service</html>").into_response(),
        }
    };
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        format!("http://{address}")
    })
}

/// Runs a program with only this in its environment.
fn run(program: &str, arguments: &str, environment: &[(&str, &str)], folder: &Path) -> Output {
    Command::new(program)
        .args(arguments.split_whitespace())
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_subcommand_finds_its_cluster_and_ends_with_the_right_code() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = cluster(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let cli = |arguments: &str| {
        let environment =
            [("DCOS_URL", url.as_str()), ("DCOS_ACS_TOKEN", "t0ken"), ("DCOS_WEB_SERVICE_NAME", "team/web")];
        run(env!("CARGO_BIN_EXE_dcos-service-cli"), arguments, &environment, folder.path())
    };
    let shown = cli("web plan show deploy");
    assert_eq!((text(&shown.stdout), text(&shown.stderr)), (TREE, ""));
    assert_eq!(shown.status.code(), Some(0));

    for (arguments, code, expected) in [
        ("web plan show nothing", 1, "Plan x not found"),
        ("web --name=other plan show deploy", 1, "no service \"other\""),
        ("web plan show deploy --name other", 1, "--name"),
        ("web plan show", 2, "<PLAN>"),
        ("web plan start backup -p broken", 2, "NAME=VALUE"),
        ("web nonsense", 2, "nonsense"),
        ("", 1, "name of the subcommand"),
    ] {
        let refused = cli(arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments}");
        assert!(text(&refused.stderr).contains(expected), "{arguments}: {}", text(&refused.stderr));
        assert_eq!(text(&refused.stdout), "", "{arguments}");
    }
    for (arguments, expected) in [
        ("web --info", "Operate the service web"),
        ("web --config-schema", "service_name"),
        ("web version", env!("CARGO_PKG_VERSION")),
        ("web --help", "Usage: dcos web"),
    ] {
        let told = cli(arguments);
        assert_eq!(told.status.code(), Some(0), "{arguments}");
        assert!(text(&told.stdout).contains(expected), "{arguments}: {}", text(&told.stdout));
    }
}

#[test]
fn verbose_shows_requests_but_not_the_token() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = cluster(&runtime);
    let environment = [("DCOS_URL", url.as_str()), ("DCOS_ACS_TOKEN", "t0ken")];
    let program = env!("CARGO_BIN_EXE_dcos-service-cli");
    let shown = run(program, "web -v --name team/web plan show deploy", &environment, Path::new("."));
    assert_eq!(text(&shown.stdout), TREE);
    let log = text(&shown.stderr);
    assert!(log.contains("/service/team/web/v1/plans/deploy") && log.contains("202"), "{log}");
    assert!(!log.contains("t0ken"), "{log}");
}

#[test]
fn dagpkg_plan_finds_the_cluster_that_runs_here() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = cluster(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let dagpkg = |arguments: &str| run(env!("CARGO_BIN_EXE_dagpkg"), arguments, &[], folder.path());

    let none = dagpkg("plan show deploy");
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("dagpkg up"), "{}", text(&none.stderr));

    std::fs::create_dir(folder.path().join("run")).unwrap();
    let running = json!({"url": url, "service": "team/web"});
    std::fs::write(folder.path().join("run/up.json"), running.to_string()).unwrap();
    let shown = dagpkg("plan show deploy");
    assert_eq!((text(&shown.stdout), text(&shown.stderr)), (TREE, ""));
    let by_url = dagpkg(&format!("plan show deploy --url {url}/service/team/web"));
    assert_eq!(text(&by_url.stdout), TREE);
    let json = dagpkg("plan show deploy --output json");
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["phases"][0]["steps"][0]["status"], "STARTING");
}

const SERVICE: &str = "\
name: {{FRAMEWORK_NAME}}
pods:
  db: {count: 1, tasks: {server: {goal: RUNNING, cmd: db, cpus: 1, volume: {path: data, type: ROOT, size: 10}}}}
  web: {count: {{WEB_COUNT}}, tasks: {server: {goal: RUNNING, cmd: web, env: {LEVEL: '{{LEVEL}}', API_TOKEN: '{{LEVEL}}'}, cpus: 1}}}
";

/// A folder with a package `shop` in it.
fn package() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    write("svc/svc.yml", SERVICE);
    let version = r#"{"packagingVersion": "4.0", "name": "shop", "version": "1"}"#;
    write("universe/package.json", version);
    let text = r#""type": "string", "default""#;
    let web = format!(r#"{{"count": {{"type": "integer", "default": 1}}, "level": {{{text}: "info"}}}}"#);
    let properties = format!(r#"{{"web": {{"type": "object", "properties": {web}}}}}"#);
    write("universe/config.json", &format!(r#"{{"type": "object", "properties": {properties}}}"#));
    let env = r#"{"FRAMEWORK_NAME": "shop", "WEB_COUNT": "{{web.count}}", "LEVEL": "{{web.level}}"}"#;
    let app = format!(r#"{{"id": "/shop", "cmd": "./dagpkg-scheduler --svc svc.yml", "env": {env}}}"#);
    write("universe/marathon.json.mustache", &app);
    write("old.json", "{}");
    write("new.json", r#"{"web": {"count": 2, "level": "debug"}}"#);
    write("fewer.json", r#"{"web": {"count": 0}}"#);
    write("other.yml", &SERVICE.replace("size: 10", "size: 20"));
    folder
}

#[test]
fn what_an_update_will_do_is_told_with_the_order_the_reasons_and_without_secrets() {
    let folder = package();
    let diff = |arguments: &str| {
        let output = run(env!("CARGO_BIN_EXE_dagpkg"), &format!("plan diff {arguments}"), &[], folder.path());
        (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let (code, said, errors) = diff("--from old.json --to new.json");
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(
        said,
        "The update of shop is accepted.\n\
         \nPods\n\
         \x20 db: unchanged\n\
         \x20 web: its tasks start anew\n\
         \x20   count: 1 → 2 (nothing starts anew for this)\n\
         \x20   tasks.server.env.API_TOKEN: ******** → ********\n\
         \x20   tasks.server.env.LEVEL: info → debug\n\
         \n\
         deploy (serial strategy)\n\
         └─ web (serial strategy), 2 of 2 steps\n\
         \x20  ├─ web-0:[server]: restarts web-0-server\n\
         \x20  └─ web-1:[server]: launches web-1-server\n"
    );
    let (code, said, _) = diff("--from old.json --to fewer.json --output json");
    let shown: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &shown["accepted"]), (Some(1), &false.into()));
    assert!(shown["refusals"][0].as_str().is_some_and(|r| r.contains("pods.web.count")), "{shown}");
    let (code, said, errors) = diff("--from svc/svc.yml --to other.yml");
    assert_eq!(code, Some(1), "{errors}");
    assert!(said.contains("db.tasks.server.volumes") && said.contains("size: 10.0 → 20.0"), "{said}");
    let (code, said, errors) = diff("--from . --to . --output json --set web.level=x");
    assert_eq!(code, Some(0), "{errors}");
    let shown: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&shown["plans"], &shown["pods"][1]["restarts"]), (&json!([]), &false.into()));
    // a plan for updates that leaves out what has changed
    let plans =
        "plans: {deploy: {phases: {db: {pod: db}, web: {pod: web}}}, update: {phases: {db: {pod: db}}}}";
    std::fs::write(folder.path().join("before.yml"), format!("{SERVICE}{plans}\n")).unwrap();
    let after = format!("{SERVICE}{plans}\n").replace("cmd: web", "cmd: web2");
    std::fs::write(folder.path().join("after.yml"), after).unwrap();
    let (code, said, errors) = diff("--from before.yml --to after.yml");
    let web = "  web: changed, but no step of the plan launches its tasks: they go on as they are\n";
    assert!(
        code == Some(0) && said.contains(web) && said.ends_with("No task starts anew.\n"),
        "{said}{errors}"
    );
    let (code, _, errors) = diff("--from gone.json --to new.json");
    assert!(code == Some(1) && errors.contains("gone.json"), "{errors}");
}
