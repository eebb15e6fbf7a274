//! The scheduler program against the embedded cluster: both as processes of their own, with tasks that are real
//! processes too, and killed as machines kill: without warning.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `db` keeps a file on its volume and is ready once the file `open-db` is there; `job` runs once; `web` stays up.
const SERVICE: &str = r#"
name: hello
pods:
  db:
    count: 1
    volume: {path: shared, type: ROOT, size: 10}
    tasks:
      server:
        goal: RUNNING
        cmd: echo start >> "$LOGS/db"; echo "$PORT_SQL" >> data/ports; echo $$ > "$LOGS/db.pid"; exec sleep 1000
        env: {LOGS: "{{LOGS}}"}
        cpus: 0.1
        memory: 32
        ports: {sql: {port: 0, env-key: PORT_SQL, advertise: true, vip: {prefix: db, port: 15432}}}
        volume: {path: data, type: ROOT, size: 10}
        readiness-check: {cmd: test -e "$LOGS/open-db", interval: 1, timeout: 5}
  job:
    count: 1
    tasks:
      migrate:
        goal: ONCE
        cmd: echo start >> "$LOGS/job"; sleep 1; echo "$ENDPOINT_SQL_HOST:$ENDPOINT_SQL_PORT" > "$LOGS/address"
        env: {LOGS: "{{LOGS}}"}
        cpus: 0.1
        memory: 32
  web:
    count: 2
    tasks:
      server:
        goal: RUNNING
        cmd: echo start >> "$LOGS/web-$POD_INSTANCE_INDEX"; exec sleep 1000
        env: {LOGS: "{{LOGS}}"}
        cpus: 0.1
        memory: 32
"#;

struct World {
    dir: tempfile::TempDir,
    cluster: Option<Child>,
    scheduler: Option<Child>,
    master: String,
    api: u16,
}

/// Waits until `check` gives something, or fails with what was waited for and the logs.
fn until<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn kill_hard(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

impl World {
    fn new(service: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        fs::write(dir.path().join("svc.yml"), service).unwrap();
        let mut world = Self { dir, cluster: None, scheduler: None, master: String::new(), api: 0 };
        world.start_cluster();
        world.start_scheduler();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start_cluster(&mut self) {
        let mut cluster = Command::new(env!("CARGO_BIN_EXE_dagpkg"))
            .args(["cluster", "--port", "0", "--cpus", "4", "--mem", "4096", "--disk", "10000"])
            .args(["--ports", "21000-21999", "--dir"])
            .arg(self.path("cluster"))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.path("cluster.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(cluster.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://127.0.0.1:"), "{line:?} {}", self.log("cluster.log"));
        line.trim().clone_into(&mut self.master);
        self.cluster = Some(cluster);
    }

    fn start_scheduler(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("scheduler.log")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        self.api = listener.local_addr().unwrap().port();
        drop(listener);
        let scheduler = Command::new(env!("CARGO_BIN_EXE_dagpkg-scheduler"))
            .args(["--master", &self.master, "--api-port", &self.api.to_string()])
            .arg("--state")
            .arg(self.path("state"))
            .arg("--svc")
            .arg(self.path("svc.yml"))
            .env("LOGS", self.path("logs"))
            .env("VIP_TLD", "l4lb.localhost")
            .stderr(log)
            .spawn()
            .unwrap();
        self.scheduler = Some(scheduler);
    }

    fn restart_scheduler(&mut self) {
        kill_hard(self.scheduler.as_mut().unwrap());
        self.start_scheduler();
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn starts(&self, task: &str) -> usize {
        self.log(&format!("logs/{task}")).lines().count()
    }

    fn open_db(&self) {
        fs::write(self.path("logs/open-db"), "").unwrap();
    }

    fn get(&self, path: &str) -> Option<serde_json::Value> {
        let output = http_get(self.api, path)?;
        serde_json::from_str(&output).ok()
    }

    fn plan_status(&self, plan: &str) -> Option<String> {
        Some(self.get(&format!("/v1/plans/{plan}"))?["status"].as_str()?.to_owned())
    }

    fn until_deployed(&self) {
        until(&format!("deploy to be complete\n{}", self.log("scheduler.log")), 60, || {
            (self.plan_status("deploy")? == "COMPLETE").then_some(())
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut scheduler) = self.scheduler.take() {
            let _ = scheduler.kill();
            let _ = scheduler.wait();
        }
        if let Some(mut cluster) = self.cluster.take() {
            let _ = Command::new("kill").arg(cluster.id().to_string()).status();
            let _ = cluster.wait();
        }
        if std::thread::panicking() {
            eprintln!("scheduler:\n{}", self.log("scheduler.log"));
            eprintln!("cluster:\n{}", self.log("cluster.log"));
        }
    }
}

/// The body of a GET.
fn http_get(port: u16, path: &str) -> Option<String> {
    http(port, "GET", path, "").map(|(_, body)| body)
}

/// Status and body of an answer.
fn http(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    http_as(port, method, path, "application/json", body)
}

/// The same with a body of this type.
fn http_as(port: u16, method: &str, path: &str, kind: &str, body: &str) -> Option<(u16, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}"
    );
    write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn is_alive(pid: &str) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_service_comes_up_in_plan_order_and_a_failing_readiness_check_holds_it() {
    let world = World::new(SERVICE);
    until("db to start", 30, || (world.starts("db") == 1).then_some(()));
    let reason = until("the reason why the plan is held", 20, || {
        let plan = world.get("/v1/plans/deploy")?;
        let reasons = plan["phases"][0]["steps"][0]["reasons"].as_array()?.clone();
        reasons.iter().find_map(|r| r.as_str().filter(|r| r.contains("exit code 1")).map(str::to_owned))
    });
    assert_eq!(reason, "db-0-server: its readiness check ends with exit code 1");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((world.starts("job"), world.starts("web-0")), (0, 0), "nothing of a later step runs");
    world.open_db();
    until("job", 30, || (world.starts("job") == 1).then_some(()));
    assert_eq!(world.starts("web-0"), 0, "the job has not ended");
    world.until_deployed();
    assert_eq!((world.starts("job"), world.starts("web-0"), world.starts("web-1")), (1, 1, 1));
    let address = world.log("logs/address");
    assert!(address.starts_with("127.") && address.trim().ends_with(":15432"), "{address:?}");
    assert_eq!(world.get("/v1/health").unwrap()["value"], 200);
    let endpoint = world.get("/v1/endpoints/sql").unwrap();
    assert!(endpoint["address"][0].as_str().unwrap().starts_with("127.0.0.1:21"), "{endpoint}");
}

#[test]
fn a_scheduler_killed_at_any_point_of_the_deployment_carries_on_and_starts_nothing_twice() {
    for pause_ms in [0, 300, 900, 2000] {
        let mut world = World::new(SERVICE);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(pause_ms));
            world.restart_scheduler();
        }
        until("db", 30, || (world.starts("db") == 1).then_some(()));
        world.restart_scheduler();
        world.open_db();
        until("job", 30, || (world.starts("job") == 1).then_some(()));
        world.restart_scheduler();
        world.until_deployed();
        world.restart_scheduler();
        world.until_deployed();
        for task in ["db", "job", "web-0", "web-1"] {
            assert_eq!(world.starts(task), 1, "{task} after kills every {pause_ms} ms");
        }
    }
}

#[test]
fn a_killed_task_comes_back_in_place_with_its_volume_and_its_port() {
    let world = World::new(SERVICE);
    world.open_db();
    world.until_deployed();
    let pid = world.log("logs/db.pid").trim().to_owned();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    until("db to start again", 30, || (world.starts("db") == 2).then_some(()));
    until("recovery", 30, || (world.plan_status("recovery")? == "COMPLETE").then_some(()));
    let ports = find(&world.path("cluster"), "ports").unwrap();
    let ports: Vec<String> = fs::read_to_string(ports).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(ports.len(), 2, "both runs wrote to the same volume");
    assert_eq!(ports[0], ports[1], "the port stays");
    assert_eq!((world.starts("job"), world.starts("web-0")), (1, 1), "nothing else was restarted");
}

#[test]
fn after_a_power_failure_of_everything_the_same_service_comes_back_with_its_data() {
    let mut world = World::new(SERVICE);
    world.open_db();
    world.until_deployed();
    let framework = world.get("/v1/state/frameworkId").unwrap();
    let pid = world.log("logs/db.pid").trim().to_owned();
    kill_hard(world.scheduler.as_mut().unwrap());
    kill_hard(world.cluster.as_mut().unwrap());
    world.start_cluster();
    until("tasks of before to end", 20, || (!is_alive(&pid)).then_some(()));
    world.start_scheduler();
    until("db to start again", 60, || (world.starts("db") == 2).then_some(()));
    until("web to start again", 60, || (world.starts("web-1") == 2).then_some(()));
    world.until_deployed();
    assert_eq!(world.get("/v1/state/frameworkId").unwrap(), framework);
    assert_eq!(world.starts("job"), 1, "what was to run once does not run again");
    let ports = find(&world.path("cluster"), "ports").unwrap();
    assert_eq!(fs::read_to_string(ports).unwrap().lines().count(), 2, "the volume is the same");
}

#[test]
fn tasks_of_one_pod_have_volumes_of_their_own_even_with_the_same_path() {
    let task = |name: &str| {
        format!(
            "      {name}:\n        goal: RUNNING\n        cmd: pwd -P >> data/who; echo {name} >> data/who; exec sleep 1000\n        \
             cpus: 0.1\n        memory: 32\n        volume: {{path: data, type: ROOT, size: 10}}\n        \
             readiness-check: {{cmd: test -s data/who, interval: 1, timeout: 5}}\n"
        )
    };
    let steps = "plans: {deploy: {phases: {one: {pod: two, steps: [default: [[a], [b]]]}}}}\n";
    let service =
        format!("name: hello\npods:\n  two:\n    count: 1\n    tasks:\n{}{}{steps}", task("a"), task("b"));
    let world = World::new(&service);
    world.until_deployed();
    let status = world.get("/v1/pod/two-0/status").unwrap();
    let running = status["tasks"].as_array().unwrap().iter().filter(|t| t["status"] == "RUNNING").count();
    assert_eq!(running, 2, "{status}");
    let info = world.get("/v1/pod/two-0/info").unwrap();
    let executors: Vec<_> =
        info.as_array().unwrap().iter().map(|t| &t["info"]["executor"]["executor_id"]).collect();
    assert_eq!(executors[0], executors[1], "the second task joins the executor of the first");
    let volumes = find_all(&world.path("cluster").join("agents/0/volumes"), "who");
    let lines: Vec<usize> = volumes.iter().map(|v| fs::read_to_string(v).unwrap().lines().count()).collect();
    assert_eq!(lines, [2, 2], "each has written to a volume of its own");
}

#[test]
fn a_pod_is_paused_and_resumed_and_operators_see_what_is_stored_and_counted() {
    let world = World::new(SERVICE);
    world.open_db();
    world.until_deployed();
    let post = |path: &str, body: &str| http(world.api, "POST", path, body).expect("an answer");
    assert_eq!(post("/v1/pod/web-0/pause", "{"), (400, String::new()));
    assert_eq!(post("/v1/pod/web-0/pause", r#"["nix"]"#), (404, "Pod web-0 not found".to_owned()));
    let (status, body) = post("/v1/pod/web-0/pause", "");
    assert_eq!(status, 200, "{body}");
    let said: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(said, serde_json::json!({ "pod": "web-0", "tasks": ["web-0-server"] }));
    let state = || Some(world.get("/v1/pod/web-0/status")?["tasks"][0]["status"].as_str()?.to_owned());
    until("the pod to be paused", 30, || (state()? == "PAUSED").then_some(()));
    assert_eq!(world.starts("web-0"), 1, "its own command does not run");
    assert_eq!(post("/v1/pod/web-0/resume", r#"["server"]"#).0, 200);
    until("its own command to run again", 30, || (world.starts("web-0") == 2).then_some(()));
    until("the pod to run", 30, || (state()? == "RUNNING").then_some(()));

    let properties = world.get("/v1/state/properties").expect("names");
    assert_eq!(properties, serde_json::json!(["last-completed-update-type"]));
    let property = http(world.api, "GET", "/v1/state/properties/last-completed-update-type", "");
    assert_eq!(property, Some((200, "DEPLOY".to_owned())));
    assert_eq!(http(world.api, "PUT", "/v1/state/refresh", "").map(|(status, _)| status), Some(409));
    let put = |path: &str, content: &str| {
        let kind = "multipart/form-data; boundary=X";
        let form =
            format!("--X\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{content}\r\n--X--\r\n");
        http_as(world.api, "PUT", path, kind, &form).expect("an answer")
    };
    assert_eq!(put("/v1/state/files/topology", "a: b"), (200, String::new()));
    assert_eq!(put("/v1/state/files/large", &"x".repeat(1025)).0, 400);
    let get = |path: &str| http(world.api, "GET", path, "").expect("an answer");
    assert_eq!(get("/v1/state/files/topology"), (200, "a: b".to_owned()));
    assert_eq!(get("/v1/state/files"), (200, "[topology]".to_owned()));
    assert_eq!(get("/v1/state/files/nix"), (404, "Failed to get the file".to_owned()));
    let zone = http(world.api, "GET", "/v1/state/zone/tasks/web-0-server", "");
    assert_eq!(zone.map(|(status, _)| status), Some(404), "the agent has none");
    let plans = world.get("/v1/debug/plans?plan=deploy&phase=web").expect("plans");
    assert_eq!(
        (&plans["plans"][0]["completedSteps"], &plans["plans"][0]["totalSteps"]),
        (&4.into(), &4.into())
    );
    assert_eq!(plans["plans"][0]["phases"].as_array().map(Vec::len), Some(1));
    let wrong = world.get("/v1/debug/plans?plan=deploy&phase=nix").expect("an answer");
    assert_eq!(wrong, serde_json::json!({ "invalid-input": "Phase nix not found" }));
    let tasks = world.get("/v1/debug/taskStatuses?plan=deploy&phase=job").expect("tasks");
    assert_eq!(tasks[0]["phases"][0]["steps"][0]["taskStatus"][0]["taskStatus"], "TASK_FINISHED");
    let metrics = world.get("/v1/metrics").expect("metrics");
    assert_eq!(metrics["counters"]["operation.launch_group"]["count"], 6);
    let text = http_get(world.api, "/v1/metrics/prometheus").expect("metrics");
    assert!(text.contains("\noperation_launch_group 6\n"), "{text}");
}

#[test]
fn a_broken_service_file_is_refused_with_its_place_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let svc = dir.path().join("svc.yml");
    fs::write(&svc, SERVICE.replace("goal: ONCE", "goal: TWICE")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dagpkg-scheduler"))
        .args(["--master", "http://127.0.0.1:1", "--api-port", "0", "--state"])
        .arg(dir.path().join("state"))
        .arg("--svc")
        .arg(&svc)
        .env("LOGS", "/tmp")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{}:21:15", svc.display())), "{said}");
    assert!(!dir.path().join("state").exists(), "nothing was begun");
}

/// A file of this name below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    find_all(folder, name).into_iter().next()
}

/// All files of this name below a folder; links are not followed.
fn find_all(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(find_all(&entry.path(), name)),
            Ok(kind) if kind.is_file() && entry.file_name() == name => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
