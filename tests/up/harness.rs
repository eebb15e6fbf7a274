//! `dagpkg up` as a child process, and what can be seen of it from outside: processes, sockets, files, HTTP.

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Calls `ask` until it answers, or fails the test with what it said last.
pub async fn until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) if start.elapsed() > limit => panic!("{what}: not within {} s: {why}", limit.as_secs()),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// A run folder, and the `up` that runs in it. Whatever is left is killed at the end.
pub struct Machine {
    folder: tempfile::TempDir,
    up: Option<Child>,
    /// The service's name, another one than the default.
    pub service: String,
    pub client: reqwest::Client,
}

/// A process that belongs to a run folder.
#[derive(Debug)]
pub struct Process {
    pub pid: Pid,
    /// The task that it is a part of.
    pub task: Option<String>,
    pub sandbox: Option<String>,
    pub command: String,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the run");
        let service = "dagflow-test".to_owned();
        Self { folder, up: None, service, client: dagpkg::http::client().expect("a client") }
    }

    pub fn run(&self) -> &Path {
        self.folder.path()
    }

    /// Starts `dagpkg up`.
    pub fn up(&mut self) {
        let airflow = checkout().join("run/airflow");
        assert!(airflow.join("complete").exists(), "no {}: run ./build.sh setup", airflow.display());
        let log = File::options().create(true).append(true).open(self.run().join("screen")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
        command.arg("up").arg(checkout()).arg("--run").arg(self.run());
        for option in [
            format!("service.name={}", self.service),
            format!("airflow.venv={}", airflow.display()),
            "airflow.load_examples=true".to_owned(),
            "airflow.parallelism=2".to_owned(),
        ] {
            command.arg("--set").arg(option);
        }
        command.process_group(0).stdout(log.try_clone().expect("a log")).stderr(log);
        self.up = Some(command.spawn().expect("dagpkg starts"));
    }

    pub fn screen(&self) -> String {
        fs::read_to_string(self.run().join("screen")).unwrap_or_default()
    }

    /// Fails the test when `up` has ended.
    pub fn check_up(&mut self) {
        let ended = self.up.as_mut().and_then(|up| up.try_wait().expect("a child"));
        assert!(ended.is_none(), "dagpkg up ended, {ended:?}:\n{}", self.screen());
    }

    /// Ctrl-C.
    pub async fn interrupt(&mut self) -> ExitStatus {
        let mut up = self.up.take().expect("it runs");
        kill_process(pid(up.id()), Signal::INT).expect("it runs");
        until("dagpkg up ends", Duration::from_mins(2), async || {
            up.try_wait().expect("a child").ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// What a loss of power does: nothing gets the chance to say goodbye.
    pub async fn power_off(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = kill_process_group(pid(up.id()), Signal::KILL);
            let _ = up.wait();
        }
        until("all processes are dead", Duration::from_secs(30), async || {
            let left = self.processes();
            kill_all(&left);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// All processes that work in the run folder: the scheduler and all that tasks started.
    pub fn processes(&self) -> Vec<Process> {
        let run = fs::canonicalize(self.run()).expect("the run folder");
        pids()
            .filter(|id| fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(&run)))
            .map(|id| {
                let env = strings(&format!("/proc/{id}/environ"));
                let variable = |name: &str| env.iter().find_map(|v| v.strip_prefix(name)).map(str::to_owned);
                Process {
                    pid: pid(id),
                    task: variable("TASK_NAME="),
                    sandbox: variable("MESOS_SANDBOX="),
                    command: strings(&format!("/proc/{id}/cmdline")).join(" "),
                }
            })
            .collect()
    }

    /// The scheduler's process, if it runs.
    pub fn scheduler(&self) -> Option<Pid> {
        self.processes().into_iter().find(|p| p.command.contains("dagpkg-scheduler")).map(|p| p.pid)
    }

    /// Sandboxes of the tasks that run now, by task.
    pub fn sandboxes(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all = BTreeMap::<_, BTreeSet<_>>::new();
        for process in self.processes() {
            if let (Some(task), Some(sandbox)) = (process.task, process.sandbox) {
                all.entry(task).or_default().insert(sandbox);
            }
        }
        all
    }

    /// Addresses at which the run's processes and `up` itself listen.
    pub fn listeners(&self) -> BTreeMap<Ipv4Addr, Vec<String>> {
        let up = self.up.as_ref().map(Child::id);
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for id in self.processes().iter().map(|p| p.pid.as_raw_nonzero().get().unsigned_abs()).chain(up) {
            let own: BTreeSet<_> = fs::read_dir(format!("/proc/{id}/fd"))
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|fd| fs::read_link(fd.path()).ok()?.to_str().map(str::to_owned))
                .collect();
            for table in ["tcp", "tcp6"] {
                let text = fs::read_to_string(format!("/proc/{id}/net/{table}")).unwrap_or_default();
                for line in text.lines().skip(1) {
                    let fields: Vec<_> = line.split_whitespace().collect();
                    // proc(5): local address, remote address, state (0A listens), …, inode
                    let &[_, local, _, "0A", _, _, _, _, _, inode, ..] = fields.as_slice() else { continue };
                    if own.contains(&format!("socket:[{inode}]")) {
                        all.entry(address(local)).or_default().push(format!("{table} {local} of {id}"));
                    }
                }
            }
        }
        all
    }

    async fn json(&self, url: &str) -> Result<Value, String> {
        let answer = self.client.get(url).timeout(Duration::from_secs(10)).send().await;
        let answer = answer.map_err(|e| dagpkg::http::explain(&e))?;
        let status = answer.status();
        answer.json().await.map_err(|e| format!("{url}: {status}: {e}"))
    }

    /// An answer of the scheduler's API.
    pub async fn api(&self, path: &str) -> Result<Value, String> {
        let ports = fs::read(self.run().join("ports.json")).map_err(|e| e.to_string())?;
        let ports: Value = serde_json::from_slice(&ports).map_err(|e| e.to_string())?;
        self.json(&format!("http://127.0.0.1:{}/service/{}{path}", ports["face"], self.service)).await
    }

    /// Every secret that was generated.
    pub fn secrets(&self) -> Vec<String> {
        files(&self.run().join("state/secrets"))
            .iter()
            .map(|file| fs::read_to_string(file).expect("a secret").trim().to_owned())
            .collect()
    }

    /// Airflow's address, from its name in the list of the service's endpoints.
    pub async fn airflow(&self) -> Result<String, String> {
        let endpoint = self.api("/v1/endpoints/webserver").await?;
        let vip = endpoint["vip"].as_str().and_then(|vip| vip.rsplit_once(':'));
        let (host, port) = vip.ok_or_else(|| endpoint.to_string())?;
        Ok(format!("http://{}:{port}", dagpkg::wire::vip::loopback_address(host)))
    }

    /// Waits until Airflow says that all its parts are healthy, by heartbeats that are younger than `since`: it also
    /// calls a part healthy that died less than half a minute ago.
    pub async fn until_healthy(&self, since: Timestamp, limit: Duration) {
        let healthy = |health: &Value, part: &str| {
            let beat = health[part][format!("latest_{part}_heartbeat")].as_str();
            let beat = beat.and_then(|beat| beat.parse::<Timestamp>().ok());
            health[part]["status"] == "healthy" && beat.is_some_and(|beat| beat > since)
        };
        until("Airflow is healthy", limit, async || {
            let health = self.json(&format!("{}/api/v2/monitor/health", self.airflow().await?)).await?;
            let parts = ["scheduler", "dag_processor", "triggerer"].iter().all(|part| healthy(&health, part));
            if parts && health["metadatabase"]["status"] == "healthy" {
                Ok(())
            } else {
                Err(health.to_string())
            }
        })
        .await;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the screen of dagpkg up:\n{}", self.screen());
        }
        if let Some(mut up) = self.up.take() {
            let _ = kill_process_group(pid(up.id()), Signal::KILL);
            let _ = up.wait();
        }
        while let left = self.processes()
            && !left.is_empty()
        {
            kill_all(&left);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn kill_all(processes: &[Process]) {
    for process in processes {
        // it may have ended meanwhile
        let _ = kill_process(process.pid, Signal::KILL);
    }
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

pub fn pid(id: u32) -> Pid {
    let id = i32::try_from(id).expect("process ids are below 2^22 on Linux");
    Pid::from_raw(id).expect("no process has the id 0")
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").expect("Linux").flatten().filter_map(|e| e.file_name().to_str()?.parse().ok())
}

fn strings(file: &str) -> Vec<String> {
    let bytes = fs::read(file).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|s| String::from_utf8_lossy(s).into_owned()).collect()
}

/// An address of /proc/net: words of 32 bits in the order of this machine, in hexadecimal. Of IPv6 only mapped IPv4
/// addresses and `::1` count as what they are; anything else is shown as 0.0.0.0.
fn address(local: &str) -> Ipv4Addr {
    let hex = local.split(':').next().unwrap_or_default();
    let word = |text: &str| Ipv4Addr::from(u32::from_str_radix(text, 16).unwrap_or_default().to_ne_bytes());
    match hex.len() {
        8 => word(hex),
        _ => match hex.split_at(24) {
            ("0000000000000000FFFF0000", mapped) => word(mapped),
            ("000000000000000000000000", "01000000") => Ipv4Addr::LOCALHOST,
            _ => Ipv4Addr::UNSPECIFIED,
        },
    }
}
