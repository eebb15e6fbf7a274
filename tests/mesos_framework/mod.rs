//! A small framework, independent of the library's own Mesos client, and the cluster that it talks to.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

pub fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": "test-role"}})
}

/// `dagpkg cluster` in a process of its own, ended with the test.
pub struct Cluster {
    child: Child,
    pub url: String,
}

impl Cluster {
    /// The program without any arguments of its own.
    pub fn command_only() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
        command.args(["cluster", "--port", "0"]);
        command
    }

    pub fn command(dir: &Path) -> Command {
        let mut command = Self::command_only();
        command.args(["--cpus", "8", "--mem", "4096", "--disk", "10000", "--dir"]).arg(dir);
        command
    }

    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    pub fn start_with(dir: &Path, more: &[&str]) -> Self {
        let mut child = Self::command(dir).args(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "it did not start: {url}");
        Self { child, url: url.trim().to_owned() }
    }

    fn signal(&mut self, signal: rustix::process::Signal) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.wait().unwrap()
    }

    /// Stops it in order.
    pub fn terminate(mut self) {
        let status = self.signal(rustix::process::Signal::TERM);
        assert!(status.success(), "{status}");
    }

    pub fn kill_9(mut self) {
        self.signal(rustix::process::Signal::KILL);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(rustix::process::Signal::TERM);
        }
    }
}

pub struct Framework {
    client: reqwest::Client,
    url: String,
    stream: String,
    pub id: String,
    pub info: Value,
    events: mpsc::UnboundedReceiver<Value>,
    /// Events that nobody has asked for yet.
    kept: VecDeque<Value>,
    reader: tokio::task::JoinHandle<()>,
}

impl Framework {
    /// A new framework called `test`, or the one with this id again.
    pub async fn subscribe(cluster: &Cluster, id: Option<&str>) -> Self {
        let client = dagpkg::http::client().unwrap();
        let mut info = json!({"user": "root", "name": "test", "roles": ["test-role"], "principal": "test",
            "failover_timeout": 3600.0, "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"},
                {"type": "RESERVATION_REFINEMENT"}, {"type": "TASK_KILLING_STATE"}]});
        let mut call = json!({"type": "SUBSCRIBE"});
        if let Some(id) = id {
            info["id"] = json!({"value": id});
            call["framework_id"] = info["id"].clone();
        }
        call["subscribe"] = json!({"framework_info": &info});
        let url = format!("{}/api/v1/scheduler", cluster.url);
        let mut answer = client.post(&url).json(&call).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let stream = answer.headers()["Mesos-Stream-Id"].to_str().unwrap().to_owned();
        let (sender, events) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            let mut buffer = Vec::new();
            while let Ok(Some(chunk)) = answer.chunk().await {
                buffer.extend_from_slice(&chunk);
                while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                    let length: usize = std::str::from_utf8(&buffer[..end]).unwrap().parse().unwrap();
                    if buffer.len() < end + 1 + length {
                        break;
                    }
                    let event: Value = serde_json::from_slice(&buffer[end + 1..=end + length]).unwrap();
                    buffer.drain(..=end + length);
                    if event != json!({"type": "HEARTBEAT"}) {
                        let _ = sender.send(event);
                    }
                }
            }
        });
        let mut framework =
            Self { client, url, stream, id: String::new(), info, events, kept: VecDeque::new(), reader };
        let subscribed = framework.event("SUBSCRIBED").await;
        let id = subscribed["subscribed"]["framework_id"]["value"].as_str().unwrap();
        id.clone_into(&mut framework.id);
        framework.info["id"] = json!({"value": id});
        framework
    }

    pub fn disconnect(&self) {
        self.reader.abort();
    }

    pub async fn call(&self, kind: &str, body: Value) {
        self.post(kind, body, 202).await;
    }

    /// Presents itself anew.
    pub async fn update(&mut self, info: Value) {
        self.post("UPDATE_FRAMEWORK", json!({"framework_info": &info}), 200).await;
        self.info = info;
    }

    async fn post(&self, kind: &str, body: Value, expected: u16) {
        let mut call = json!({"type": kind, "framework_id": {"value": self.id}});
        call[kind.to_lowercase()] = body;
        let answer = self.client.post(&self.url).header("Mesos-Stream-Id", &self.stream).json(&call).send();
        let answer = answer.await.unwrap();
        let status = answer.status();
        assert_eq!(status, expected, "{kind}: {}", answer.text().await.unwrap());
    }

    pub async fn get(&self, path: &str) -> String {
        let url = self.url.replace("/api/v1/scheduler", path);
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// The next event that fits, among those that nobody has taken; the others are kept. Updates are acknowledged when
    /// they arrive.
    async fn take(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.kept.iter().position(&fits) {
            return self.kept.remove(index).unwrap();
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let event = tokio::time::timeout_at(deadline, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("no {what}; there was only {:#?}", self.kept));
            let event = event.unwrap_or_else(|| panic!("the stream ended before {what}"));
            self.acknowledge(&event).await;
            if fits(&event) {
                return event;
            }
            self.kept.push_back(event);
        }
    }

    async fn acknowledge(&self, event: &Value) {
        let status = &event["update"]["status"];
        if let Some(uuid) = status.get("uuid") {
            let ack = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": uuid});
            self.call("ACKNOWLEDGE", ack).await;
        }
    }

    /// The next event of a kind.
    pub async fn event(&mut self, kind: &str) -> Value {
        self.take(kind, |e| e["type"] == kind).await
    }

    /// The status with which a task reaches a state.
    pub async fn state(&mut self, task: &str, state: &str) -> Value {
        let fits = |e: &Value| {
            let status = &e["update"]["status"];
            status["task_id"]["value"] == task && status["state"] == state
        };
        self.take(&format!("{state} of {task}"), fits).await["update"]["status"].clone()
    }

    /// The state of a task that a reconciliation answers.
    pub async fn reconciled(&mut self, task: &str) -> Value {
        self.call("RECONCILE", json!({"tasks": [{"task_id": {"value": task}}]})).await;
        let answer = |e: &Value| e["update"]["status"]["reason"] == "REASON_RECONCILIATION";
        self.take("reconciliation", answer).await["update"]["status"]["state"].clone()
    }

    /// All states of a task up to its end.
    pub async fn states(&mut self, task: &str) -> Vec<String> {
        let mut states = Vec::new();
        loop {
            let event = self.take(task, |e| e["update"]["status"]["task_id"]["value"] == task).await;
            let state = event["update"]["status"]["state"].as_str().unwrap().to_owned();
            let ended = !["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"].contains(&state.as_str());
            states.push(state);
            if ended {
                return states;
            }
        }
    }

    /// An offer, and its id.
    pub async fn offer(&mut self) -> (Value, String) {
        let mut event = self.event("OFFERS").await;
        let offers = event["offers"]["offers"].as_array_mut().unwrap();
        let offer = offers.remove(0);
        if !offers.is_empty() {
            self.kept.push_front(event);
        }
        let id = offer["id"]["value"].as_str().unwrap().to_owned();
        (offer, id)
    }

    /// Uses everything that is offered now, as one.
    pub async fn accept(&mut self, operations: Value) {
        // merge what is offered in pieces: give all back, and ask again
        let mut ids = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            self.acknowledge(&event).await;
            self.kept.push_back(event);
        }
        while let Some(index) = self.kept.iter().position(|e| e["type"] == "OFFERS") {
            let event = self.kept.remove(index).unwrap();
            ids.extend(event["offers"]["offers"].as_array().unwrap().iter().map(|o| o["id"].clone()));
        }
        self.call("DECLINE", json!({"offer_ids": ids, "filters": {"refuse_seconds": 3600.0}})).await;
        self.call("REVIVE", json!({})).await;
        let (offer, id) = self.offer().await;
        let mut operations = operations;
        for operation in operations.as_array_mut().unwrap() {
            for tasks in ["/launch/task_infos", "/launch_group/task_group/tasks"] {
                for task in operation.pointer_mut(tasks).and_then(Value::as_array_mut).into_iter().flatten() {
                    task["agent_id"] = offer["agent_id"].clone();
                }
            }
        }
        self.use_offer(&id, operations).await;
    }

    pub async fn use_offer(&self, id: &str, operations: Value) {
        let filters = json!({"refuse_seconds": 0.0});
        self.call(
            "ACCEPT",
            json!({"offer_ids": [{"value": id}], "operations": operations, "filters": filters}),
        )
        .await;
    }
}

/// Waits for a file that a task writes, and reads it as a number.
pub async fn number_in(path: &Path) -> i32 {
    for _ in 0..1000 {
        if let Some(n) = std::fs::read_to_string(path).ok().and_then(|t| t.trim().parse().ok()) {
            return n;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} was never written", path.display());
}

/// Whether a process has ended, at the latest after `wait`.
pub async fn gone_soon(pid: i32, wait: Duration) -> bool {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        if tokio::time::Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
