//! One instance of an app: runs it, watches it, and runs it again when it has ended.
//!
//! Knows nothing about deployments or clients. Called by the app's deployment loop, one at a time for each instance.

use super::app::{App, Command};
use super::health;
use super::state::{Inner, Task};
use crate::sandbox::process::{self, Exit, Identity, Launch, Process};
use crate::sandbox::{fetch, ids};
use crate::wire::{CommandInfo, Uri};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// An instance that has run for so long was well: the next pause is the first one again.
const WELL_AFTER: Duration = Duration::from_mins(1);

/// Numbers for ports that the cluster chooses: below those that systems use for outgoing connections, and apart from
/// those that agents offer.
const CHOSEN_PORTS: std::ops::Range<u16> = 32_000..32_768;

/// So many sandboxes of earlier runs of an instance stay, for their logs.
const KEPT_SANDBOXES: usize = 3;

/// Longest value of a label that becomes a variable; Marathon's limit.
const LABEL_VARIABLE_LIMIT: usize = 512;

/// How one run of an instance ended.
enum Ended {
    /// Because it was asked to.
    Stopped,
    /// Otherwise; state and reason as a client sees them.
    Failed(&'static str, String),
}

/// Keeps an instance running until `stop` becomes true (or its sender is dropped); then no process of it is left.
pub(super) async fn supervise(
    cluster: Arc<Inner>,
    app: Arc<App>,
    version: String,
    index: usize,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = app.backoff;
    loop {
        let start = Instant::now();
        match run(&cluster, &app, &version, index, &mut stop).await {
            Ended::Stopped => break,
            Ended::Failed(state, message) => {
                tracing::warn!(app = app.id, index, state, "{message}");
                cluster.instance_failed(&app.id, index, state, &message, &version);
            }
        }
        if start.elapsed() > WELL_AFTER {
            pause = app.backoff;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(&mut stop) => break,
        }
        let longer = Duration::try_from_secs_f64(pause.as_secs_f64() * app.backoff_factor);
        pause = longer.unwrap_or(app.max_launch_delay).min(app.max_launch_delay);
    }
    cluster.with_instance(&app.id, index, |instance| instance.task = None);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // a dropped sender means that nobody wants the instance any more
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One run, from the sandbox to the end of the last process.
async fn run(
    cluster: &Arc<Inner>,
    app: &App,
    version: &str,
    index: usize,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let failed = |message: String| Ended::Failed("TASK_FAILED", message);
    let ports = match choose_ports(app, &cluster.ports(&app.id, index)) {
        Ok(ports) => ports,
        Err(message) => return failed(message),
    };
    let task_id = format!("{}.instance-{}._app.1", one_word(&app.id), ids::uuid());
    let folder = cluster.sandboxes(&app.id, index);
    let sandbox = folder.join(&task_id);
    remove_old_sandboxes(&folder);
    let task = Task::staging(task_id, version, app.health_checks.len());
    cluster.with_instance(&app.id, index, |instance| {
        (instance.ports, instance.task) = (ports.clone(), Some(task.clone()));
    });
    tokio::select! {
        fetched = prepare_sandbox(cluster, app, &sandbox) => if let Err(message) = fetched {
            return failed(message);
        },
        () = stopped(stop) => return Ended::Stopped,
    }
    let process = match start(cluster, app, index, &task, &ports, &sandbox) {
        Ok(process) => process,
        Err(message) => return failed(message),
    };
    let ended = watch_process(cluster, app, index, &ports, &process, stop).await;
    if let Err(e) = cluster.set_identity(&app.id, index, None) {
        tracing::warn!("{e}");
    }
    ended
}

/// Starts the command; what is needed to find its processes is stored before there can be any.
fn start(
    cluster: &Inner,
    app: &App,
    index: usize,
    task: &Task,
    ports: &[u16],
    sandbox: &Path,
) -> Result<Process, String> {
    let unknown = Identity { pid: 0, start_time: 0, sandbox: sandbox.to_owned() };
    cluster.set_identity(&app.id, index, Some(unknown)).map_err(|e| e.to_string())?;
    let environment = environment(app, task, ports, &cluster.environment);
    let command = match &app.command {
        Command::Shell(cmd) => CommandInfo { value: Some(cmd.clone()), ..CommandInfo::default() },
        Command::Args(args) => CommandInfo {
            shell: Some(false),
            value: args.first().cloned(),
            arguments: args.clone(),
            ..CommandInfo::default()
        },
    };
    let launch = Launch { sandbox, command: &command, environment: &environment, user: None };
    let process = process::spawn(launch).map_err(|e| e.to_string())?;
    if let Err(e) = cluster.set_identity(&app.id, index, Some(process.identity().clone())) {
        // its sandbox is stored, and that is enough to find it
        tracing::warn!("{e}");
    }
    cluster.with_instance(&app.id, index, |instance| {
        if let Some(task) = &mut instance.task {
            task.started();
        }
    });
    tracing::info!(app = app.id, index, pid = process.identity().pid, ?ports, sandbox = %sandbox.display(), "started");
    Ok(process)
}

/// Waits for the end of a run: by itself, by its health checks, or because it was asked for.
async fn watch_process(
    cluster: &Arc<Inner>,
    app: &App,
    index: usize,
    ports: &[u16],
    process: &Process,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let mut checks = JoinSet::new();
    for (i, check) in app.health_checks.iter().enumerate() {
        let Some(port) = check.port.or_else(|| ports.get(check.port_index.unwrap_or(0)).copied()) else {
            continue;
        };
        let (reports, id) = (Arc::clone(cluster), app.id.clone());
        let report = move |passed| reports.health_result(&id, index, i, passed);
        checks.spawn(health::until_unhealthy(cluster.client.clone(), check.clone(), port, report));
    }
    let reason = tokio::select! {
        exit = process.exited() => {
            let state = if exit.success() { "TASK_FINISHED" } else { "TASK_FAILED" };
            return Ended::Failed(state, exit.to_string());
        }
        () = stopped(stop) => None,
        Some(Ok(reason)) = checks.join_next() => Some(reason),
    };
    process.kill(app.kill_grace);
    let exit: Exit = process.exited().await;
    match reason {
        None => Ended::Stopped,
        Some(reason) => Ended::Failed("TASK_KILLED", format!("{reason}. {exit}")),
    }
}

async fn prepare_sandbox(cluster: &Inner, app: &App, sandbox: &Path) -> Result<(), String> {
    process::make_sandbox(sandbox, None).map_err(|e| e.to_string())?;
    link_latest(sandbox);
    for file in &app.fetch {
        let uri = Uri {
            value: file.uri.clone(),
            extract: Some(file.extract),
            executable: Some(file.executable),
            cache: Some(file.cache),
            output_file: file.dest_path.clone(),
        };
        fetch::fetch(&cluster.client, &uri, sandbox).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// `latest` beside the sandboxes leads to the newest one; only a convenience for people, so errors do not matter.
fn link_latest(sandbox: &Path) {
    if let (Some(folder), Some(name)) = (sandbox.parent(), sandbox.file_name()) {
        let link = folder.join("latest");
        let _ = fs::remove_file(&link);
        let _ = std::os::unix::fs::symlink(name, link);
    }
}

fn remove_old_sandboxes(folder: &Path) {
    let mut old: Vec<(std::time::SystemTime, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    old.sort_unstable();
    for (_, path) in old.iter().rev().skip(KEPT_SANDBOXES) {
        let _ = fs::remove_dir_all(path);
    }
}

/// The ports of the next run: those of the last one wherever they still fit and are free.
fn choose_ports(app: &App, last: &[u16]) -> Result<Vec<u16>, String> {
    let mut ports: Vec<u16> = Vec::new();
    // from the app's name, so that it is likely to be the same again where nothing is kept
    let offset = app.id.bytes().fold(0_u16, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    for (i, definition) in app.ports.iter().enumerate() {
        let fixed = app.require_ports && definition.port != 0;
        let port = if fixed {
            if !is_free(definition.port) {
                return Err(format!("port {} is taken, and the app requires it", definition.port));
            }
            definition.port
        } else {
            let kept = last.get(i).copied().filter(|p| !ports.contains(p) && is_free(*p));
            let count = CHOSEN_PORTS.end - CHOSEN_PORTS.start;
            let mut candidates = (0..count).map(|n| CHOSEN_PORTS.start + offset.wrapping_add(n) % count);
            kept.or_else(|| candidates.find(|p| !ports.contains(p) && is_free(*p)))
                .ok_or_else(|| format!("no free port in {}-{}", CHOSEN_PORTS.start, CHOSEN_PORTS.end - 1))?
        };
        ports.push(port);
    }
    Ok(ports)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The path of an app as one word, as in Mesos task ids: `/a/b` is `a_b`.
pub(super) fn one_word(id: &str) -> String {
    id.trim_matches('/').replace('/', "_")
}

/// Environment of a run, in Marathon's order: the cluster's and the ports' variables, over them the app's own, over them
/// what names this task.
fn environment(app: &App, task: &Task, ports: &[u16], cluster: &[(String, String)]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = cluster.to_vec();
    let mut set = |name: String, value: String| all.push((name, value));
    for (i, port) in ports.iter().enumerate() {
        set(format!("PORT{i}"), port.to_string());
    }
    if let Some(first) = ports.first() {
        set("PORT".into(), first.to_string());
        set("PORTS".into(), ports.iter().map(u16::to_string).collect::<Vec<_>>().join(","));
    }
    for (definition, port) in app.ports.iter().zip(ports) {
        if definition.port != 0 {
            set(format!("PORT_{}", definition.port), port.to_string());
        }
        if let Some(name) = &definition.name {
            set(format!("PORT_{}", variable_name(name)), port.to_string());
        }
    }
    for (name, value) in &app.env {
        set(name.clone(), value.clone());
    }
    set("HOST".into(), "127.0.0.1".into());
    set("MESOS_TASK_ID".into(), task.id.clone());
    set("MARATHON_APP_ID".into(), app.id.clone());
    set("MARATHON_APP_VERSION".into(), task.version.clone());
    for (variable, key) in [("CPUS", "cpus"), ("MEM", "mem"), ("DISK", "disk"), ("GPUS", "gpus")] {
        if let Some(amount) = app.definition.get(key).and_then(serde_json::Value::as_f64) {
            set(format!("MARATHON_APP_RESOURCE_{variable}"), format!("{amount:?}"));
        }
    }
    let labels = app.labels.iter().filter(|(_, value)| value.len() < LABEL_VARIABLE_LIMIT);
    let labels: Vec<_> = labels.map(|(name, value)| (variable_name(name), value)).collect();
    let names: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
    set("MARATHON_APP_LABELS".into(), names.join(" "));
    for (name, value) in labels {
        set(format!("MARATHON_APP_LABEL_{name}"), value.clone());
    }
    all
}

/// Upper case, and `_` for what a variable's name cannot hold.
fn variable_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn the_environment_is_that_of_marathon() {
        let app = App::parse(
            &json!({
                "id": "/a/b", "cmd": "x", "cpus": 0.5,
                "portDefinitions": [{"port": 0, "name": "api"}, {"port": 9000, "name": "http-ui"}],
                "env": {"VIP_TLD": "own", "PORT0": "own", "HOST": "lost"},
                "labels": {"DCOS_PACKAGE_NAME": "p", "long": "x".repeat(600)},
            }),
            None,
        )
        .unwrap();
        let task = Task::staging("a_b.t".into(), "v", 0);
        let cluster = [("VIP_TLD".into(), "cluster".into()), ("SERVICE_TLD".into(), "localhost".into())];
        let all: BTreeMap<_, _> = environment(&app, &task, &[21001, 21002], &cluster).into_iter().collect();
        for (name, value) in [
            ("MARATHON_APP_ID", "/a/b"),
            ("MARATHON_APP_VERSION", "v"),
            ("MESOS_TASK_ID", "a_b.t"),
            ("HOST", "127.0.0.1"),
            ("PORT", "21001"),
            ("PORT0", "own"),
            ("PORT1", "21002"),
            ("PORTS", "21001,21002"),
            ("PORT_API", "21001"),
            ("PORT_9000", "21002"),
            ("PORT_HTTP_UI", "21002"),
            ("VIP_TLD", "own"),
            ("SERVICE_TLD", "localhost"),
            ("MARATHON_APP_RESOURCE_CPUS", "0.5"),
            ("MARATHON_APP_RESOURCE_MEM", "128.0"),
            ("MARATHON_APP_LABELS", "DCOS_PACKAGE_NAME"),
            ("MARATHON_APP_LABEL_DCOS_PACKAGE_NAME", "p"),
        ] {
            assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!all.contains_key("PORT_0") && !all.contains_key("MARATHON_APP_LABEL_LONG"));
    }

    #[test]
    fn a_taken_port_is_replaced_when_it_was_chosen_and_an_error_when_it_is_required() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let app = |body| App::parse(&body, None).unwrap();
        let chosen = app(json!({"id": "a", "cmd": "x", "ports": [0, 0]}));
        let ports = choose_ports(&chosen, &[port]).unwrap();
        assert!(ports[0] != port && ports[0] != ports[1] && ports.iter().all(|p| CHOSEN_PORTS.contains(p)));
        assert_eq!(choose_ports(&chosen, &ports).unwrap(), ports, "free ports are kept");
        let required = app(json!({"id": "a", "cmd": "x", "ports": [port], "requirePorts": true}));
        assert!(choose_ports(&required, &[]).unwrap_err().contains(&port.to_string()));
        drop(taken);
        assert_eq!(choose_ports(&required, &[]).unwrap(), [port]);
    }
}
