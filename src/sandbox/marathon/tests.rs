//! Marathon over HTTP with real processes.

use super::*;
use std::time::{Duration, Instant};

struct Cluster {
    marathon: Marathon,
    base: String,
    client: reqwest::Client,
}

impl Cluster {
    async fn start(folder: &std::path::Path) -> Self {
        let client = crate::http::client().unwrap();
        let environment = vec![("VIP_TLD".to_owned(), "l4lb.localhost".to_owned())];
        let config = Config { folder: folder.to_owned(), environment };
        let marathon = Marathon::open(config, client.clone()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = routes::router(marathon.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { marathon, base, client }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null),
        )
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null).await.1
    }

    /// Waits until nothing is deployed any more.
    async fn settled(&self) {
        until("no deployment", || async { (self.get("/v2/deployments").await == json!([])).then_some(()) })
            .await;
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A command that tells its pid and environment by files in `folder`, one line or file for each start.
fn telling(folder: &std::path::Path) -> String {
    let folder = folder.display();
    format!(
        "env > {folder}/env.$$; mv {folder}/env.$$ {folder}/env; echo $$ >> {folder}/pids; exec sleep 1000"
    )
}

async fn pids(folder: &std::path::Path, count: usize) -> Vec<i32> {
    until("starts of the command", || async {
        let text = std::fs::read_to_string(folder.join("pids")).unwrap_or_default();
        let pids: Vec<i32> = text.lines().map(|l| l.parse().unwrap()).collect();
        (pids.len() >= count).then_some(pids)
    })
    .await
}

fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn kill_9(pid: i32) {
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

fn variable(folder: &std::path::Path, name: &str) -> Option<String> {
    let env = std::fs::read_to_string(folder.join("env")).unwrap();
    env.lines().find_map(|l| l.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

#[tokio::test]
async fn an_app_runs_with_its_environment_files_and_ports_and_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&dir.path().join("marathon")).await;
    std::fs::write(dir.path().join("data.txt"), "fetched").unwrap();
    let app = json!({
        "id": "/group/app", "cmd": format!("cp data.txt {}/copy; {}", dir.path().display(), telling(dir.path())),
        "env": {"OWN": "1"}, "portDefinitions": [{"port": 0, "name": "api", "labels": {"VIP_0": "/api.app:80"}}],
        "fetch": [{"uri": format!("file://{}/data.txt", dir.path().display())}],
        "labels": {"DCOS_SERVICE_NAME": "group/app", "DCOS_SERVICE_PORT_INDEX": "0"},
    });
    let (status, created) = cluster.call("POST", "/v2/apps", &app).await;
    assert_eq!((status, &created["id"], &created["tasksRunning"]), (201, &json!("/group/app"), &json!(0)));
    assert_eq!(created["deployments"].as_array().unwrap().len(), 1);
    let again = cluster.call("POST", "/v2/apps", &app).await;
    assert_eq!(again, (409, json!({"message": "An app with id [/group/app] already exists."})));
    let pid = pids(dir.path(), 1).await[0];
    cluster.settled().await;

    assert_eq!(std::fs::read_to_string(dir.path().join("copy")).unwrap(), "fetched");
    let port = variable(dir.path(), "PORT_API").unwrap();
    assert_eq!(variable(dir.path(), "PORT0"), Some(port.clone()));
    for (name, value) in [("OWN", "1"), ("MARATHON_APP_ID", "/group/app"), ("VIP_TLD", "l4lb.localhost")] {
        assert_eq!(variable(dir.path(), name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(variable(dir.path(), "CARGO_MANIFEST_DIR"), None, "nothing of the cluster's own environment");
    let app = &cluster.get("/v2/apps//group/app").await["app"];
    assert_eq!((&app["tasksRunning"], &app["tasks"][0]["state"]), (&json!(1), &json!("TASK_RUNNING")));
    assert_eq!(app["tasks"][0]["ports"][0].to_string(), port);
    assert_eq!(app["tasks"][0]["id"].as_str(), variable(dir.path(), "MESOS_TASK_ID").as_deref());
    assert_eq!(cluster.marathon.service_port("/group/app").unwrap().to_string(), port);
    assert_eq!(cluster.marathon.endpoints()[0].labels["VIP_0"], "/api.app:80");

    assert_eq!(cluster.call("DELETE", "/v2/apps/group/app", &Value::Null).await.0, 200);
    assert_eq!(cluster.call("GET", "/v2/apps/group/app", &Value::Null).await.0, 404);
    cluster.settled().await;
    assert!(!alive(pid) && cluster.marathon.endpoints().is_empty());
}

#[tokio::test]
async fn a_killed_process_comes_back_quickly_on_the_same_ports() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&dir.path().join("marathon")).await;
    cluster
        .call("POST", "/v2/apps", &json!({"id": "a", "cmd": telling(dir.path()), "backoffSeconds": 0.2}))
        .await;
    let first = pids(dir.path(), 1).await[0];
    let port = variable(dir.path(), "PORT0");
    let start = Instant::now();
    kill_9(first);
    let second = pids(dir.path(), 2).await[1];
    assert!(start.elapsed() < Duration::from_secs(3), "restart took {:?}", start.elapsed());
    assert!(!alive(first) && alive(second));
    assert_eq!(variable(dir.path(), "PORT0"), port);
    let failure = &cluster.get("/v2/apps/a").await["app"]["lastTaskFailure"];
    assert_eq!(
        (&failure["state"], &failure["message"]),
        (&json!("TASK_FAILED"), &json!("Command terminated with signal Killed"))
    );
    cluster.marathon.shutdown().await;
    assert!(!alive(second));
}

#[tokio::test]
async fn a_command_that_keeps_failing_is_started_ever_more_slowly() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&dir.path().join("marathon")).await;
    let cmd = format!("date +%s%N >> {}/starts; exit 3", dir.path().display());
    let app = json!({"id": "a", "cmd": cmd, "backoffSeconds": 0.2, "backoffFactor": 3, "maxLaunchDelaySeconds": 0.7});
    cluster.call("POST", "/v2/apps", &app).await;
    let starts = until("five starts", || async {
        let text = std::fs::read_to_string(dir.path().join("starts")).unwrap_or_default();
        let starts: Vec<u64> = text.lines().map(|l| l.parse().unwrap()).collect();
        (starts.len() >= 5).then_some(starts)
    })
    .await;
    let pauses: Vec<u64> = starts.windows(2).map(|w| (w[1] - w[0]) / 1_000_000).collect();
    assert!(pauses[0] >= 200 && pauses[1] >= 600 && pauses[2] >= 700 && pauses[3] >= 700, "{pauses:?}");
    assert!(pauses[3] < 5000, "the longest pause is respected: {pauses:?}");
    assert!(cluster.marathon.last_failure("/a").unwrap().contains("exited with status 3"));
    cluster.marathon.shutdown().await;
}

#[tokio::test]
async fn apps_come_back_with_the_cluster_and_processes_that_a_killed_cluster_left_behind_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("marathon");
    // as after `kill -9` of a cluster: another one finds what it still runs; the long pause keeps it from interfering
    let first = Cluster::start(&folder).await;
    let app = json!({"id": "a", "cmd": telling(dir.path()), "env": {"PW": "hush"}, "backoffSeconds": 300});
    first.call("POST", "/v2/apps", &app).await;
    let old = pids(dir.path(), 1).await[0];
    first.settled().await;
    let port = variable(dir.path(), "PORT0");
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(folder.join("apps.json"), copy.join("apps.json")).unwrap();
    let second = Cluster::start(&copy).await;
    let new = pids(dir.path(), 2).await[1];
    assert!(!alive(old) && alive(new));
    second.settled().await;
    assert_eq!(variable(dir.path(), "PORT0"), port, "the port is kept");
    assert_eq!(second.get("/v2/apps/a").await["app"]["env"]["PW"], "hush");
    second.marathon.shutdown().await;
    assert!(!alive(new));

    let third = Cluster::start(&copy).await;
    let pids = pids(dir.path(), 3).await;
    assert!(alive(pids[2]));
    third.marathon.shutdown().await;
    assert!(!alive(pids[2]));
}

#[tokio::test]
async fn updates_restart_what_changed_and_scaling_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&dir.path().join("marathon")).await;
    cluster.call("POST", "/v2/apps", &json!({"id": "a", "cmd": telling(dir.path())})).await;
    let first = pids(dir.path(), 1).await[0];
    cluster.settled().await;

    let (status, answer) = cluster.call("PUT", "/v2/apps/a", &json!({"instances": 2})).await;
    assert_eq!((status, answer["deploymentId"].is_string()), (200, true));
    let second = pids(dir.path(), 2).await[1];
    cluster.settled().await;
    assert!(alive(first) && alive(second), "scaling keeps what runs");

    cluster.call("PUT", "/v2/apps/a", &json!({"env": {"NEW": "1"}, "instances": 1})).await;
    let third = pids(dir.path(), 3).await[2];
    cluster.settled().await;
    assert!(!alive(first) && !alive(second) && alive(third));
    assert_eq!(variable(dir.path(), "NEW").as_deref(), Some("1"));

    assert_eq!(cluster.call("POST", "/v2/apps/a/restart", &Value::Null).await.0, 200);
    let fourth = pids(dir.path(), 4).await[3];
    assert!(!alive(third) && alive(fourth));
    cluster.settled().await;

    cluster.call("PUT", "/v2/apps/a", &json!({"instances": 0})).await;
    cluster.settled().await;
    assert!(!alive(fourth));
    assert_eq!(cluster.get("/v2/apps/a").await["app"]["tasksRunning"], 0);
    cluster.marathon.shutdown().await;
}

#[tokio::test]
async fn an_app_that_is_being_deployed_is_locked_unless_the_change_is_forced() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&dir.path().join("marathon")).await;
    // never healthy, so its deployment never ends
    let check = json!({"protocol": "MESOS_TCP", "delaySeconds": 0, "intervalSeconds": 1});
    cluster
        .call("POST", "/v2/apps", &json!({"id": "a", "cmd": telling(dir.path()), "healthChecks": [check]}))
        .await;
    let first = pids(dir.path(), 1).await[0];
    let deployments = cluster.get("/v2/deployments").await;
    assert_eq!(deployments[0]["affectedApps"], json!(["/a"]));
    assert_eq!(deployments[0]["currentActions"], json!([{"action": "StartApplication", "app": "/a"}]));
    let (status, answer) = cluster.call("PUT", "/v2/apps/a", &json!({"healthChecks": []})).await;
    assert_eq!((status, &answer["deployments"][0]["id"]), (409, &deployments[0]["id"]));
    assert_eq!(cluster.call("PUT", "/v2/apps/a?force=true", &json!({"healthChecks": []})).await.0, 200);
    pids(dir.path(), 2).await;
    cluster.settled().await;
    assert!(!alive(first));
    cluster.marathon.shutdown().await;
}

#[tokio::test]
async fn an_instance_whose_health_check_keeps_failing_is_killed_and_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&dir.path().join("marathon")).await;
    let check = json!({
        "protocol": "MESOS_HTTP", "path": "/v1/health", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 0,
        "gracePeriodSeconds": 0, "timeoutSeconds": 1, "maxConsecutiveFailures": 2,
    });
    let app = json!({"id": "a", "cmd": telling(dir.path()), "healthChecks": [check], "backoffSeconds": 0.1});
    cluster.call("POST", "/v2/apps", &app).await;
    let first = pids(dir.path(), 2).await[0];
    assert!(!alive(first));
    assert!(cluster.marathon.last_failure("/a").unwrap().contains("Health check failed 2 times in a row"));
    cluster.marathon.shutdown().await;
}

#[tokio::test]
async fn wrong_requests_get_the_answers_of_marathon() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&dir.path().join("marathon")).await;
    let missing = json!({"message": "App '/x' does not exist"});
    for (method, path, body, status, answer) in [
        ("GET", "/v2/apps/x", Value::Null, 404, Some(missing.clone())),
        ("DELETE", "/v2/apps/x", Value::Null, 404, Some(missing.clone())),
        ("POST", "/v2/apps/x/restart", Value::Null, 404, Some(missing)),
        ("POST", "/v2/apps/x", Value::Null, 405, None),
        ("GET", "/v2/groups", Value::Null, 404, None),
        (
            "POST",
            "/v2/apps",
            json!({"id": "x", "cmd": "y", "cpus": "z"}),
            422,
            Some(json!({"message": "Invalid JSON", "details": [
                {"path": "/cpus", "errors": ["invalid type: string \"z\", expected f64"]}]})),
        ),
        ("PUT", "/v2/apps/x", json!({"id": "x"}), 422, None),
    ] {
        let (got_status, got) = cluster.call(method, path, &body).await;
        assert_eq!(got_status, status, "{method} {path}: {got}");
        assert!(answer.is_none_or(|a| a == got), "{method} {path}: {got}");
    }
    let text = cluster.client.post(format!("{}/v2/apps", cluster.base)).body("{").send().await.unwrap();
    assert_eq!(text.status(), 400);
    assert_eq!(text.json::<Value>().await.unwrap()["message"], "Invalid JSON");
    assert_eq!(cluster.get("/v2/apps").await, json!({"apps": []}));
    assert_eq!(
        cluster.client.get(format!("{}/ping", cluster.base)).send().await.unwrap().text().await.unwrap(),
        "pong"
    );
}
