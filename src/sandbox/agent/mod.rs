//! An agent: turns the master's orders into sandboxes and processes, and reports what becomes of them.
//!
//! It behaves as Mesos' agent with its two own executors does: one for single tasks (LAUNCH), one for groups of tasks
//! (LAUNCH_GROUP) that share the executor's sandbox and its end. Neither executor is a process here; what a framework
//! sees of them (states, their order, FAILURE, sandboxes) is the same. All methods are called from the driver's loop;
//! what takes time runs in tasks of its own and comes back as a [`ContainerEvent`]. Retries of unacknowledged updates
//! are the master's business.

mod checks;
mod container;
mod gc;
mod volumes;

pub use container::RunningFile;

use super::ids;
use super::master::{Launch, Order, Report};
use super::process::{DEFAULT_GRACE, Exit, Process};
use crate::wire::{
    AgentId, CheckStatusCommand, CheckStatusInfo, CheckType, ContainerId, ContainerStatus, ExecutorId,
    FrameworkId, IpAddress, KillPolicy, NetworkInfo, TaskId, TaskInfo, TaskState, TaskStatus,
};
use container::{Job, LaunchError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Something happened in a container.
#[derive(Debug)]
pub struct ContainerEvent {
    /// Which agent's.
    pub agent: AgentId,
    key: Key,
    task: TaskId,
    /// The container, because a task's or executor's name may have been used again meanwhile.
    container: String,
    what: Happening,
}

#[derive(Debug)]
enum Happening {
    Started(Result<Process, LaunchError>),
    Exited(Exit),
    Health { healthy: bool, kill: bool },
    Check { exit_code: Option<i32> },
}

/// An executor is known by its framework and id.
type Key = (FrameworkId, ExecutorId);

/// See the module's text.
#[derive(Debug)]
pub struct Agent {
    id: AgentId,
    dir: PathBuf,
    running: Arc<RunningFile>,
    ended: Arc<gc::Ended>,
    client: reqwest::Client,
    events: mpsc::UnboundedSender<ContainerEvent>,
    executors: BTreeMap<Key, Executor>,
}

#[derive(Debug)]
struct Executor {
    container: String,
    sandbox: PathBuf,
    info: Arc<crate::wire::ExecutorInfo>,
    single_task: bool,
    killing_state: bool,
    /// Its framework is gone: nobody wants to hear of its tasks.
    silent: bool,
    groups: u32,
    tasks: BTreeMap<TaskId, Task>,
    /// Done once, by the first task that starts; the directory that stands for `/tmp`.
    prepared: Arc<tokio::sync::OnceCell<Option<PathBuf>>>,
}

#[derive(Debug)]
struct Task {
    info: Arc<TaskInfo>,
    user: String,
    group: u32,
    container: String,
    sandbox: PathBuf,
    /// Ends the start of the container; used up by the first kill.
    cancel: Option<oneshot::Sender<()>>,
    process: Option<Process>,
    checks: Vec<tokio::task::AbortHandle>,
    killing: bool,
    healthy: Option<bool>,
    check: Option<CheckStatusInfo>,
}

impl Agent {
    /// An agent that works in `dir`. Processes of an earlier run must have been killed, see [`RunningFile::clean_up`].
    pub fn new(
        id: AgentId,
        dir: PathBuf,
        running: RunningFile,
        client: reqwest::Client,
        events: mpsc::UnboundedSender<ContainerEvent>,
    ) -> Self {
        delete_secrets(&dir.join("secrets"));
        let ended = Arc::new(gc::Ended::of_earlier_run(&dir));
        Self { id, dir, running: Arc::new(running), ended, client, events, executors: BTreeMap::new() }
    }

    /// Whether nothing runs.
    pub fn is_idle(&self) -> bool {
        self.executors.is_empty()
    }

    /// Carries out an order.
    pub fn order(&mut self, order: Order) -> Vec<Report> {
        let mut reports = Vec::new();
        match order {
            Order::Launch(launch) => self.launch(*launch, &mut reports),
            Order::Kill(framework, task, policy) => {
                let found =
                    self.executors.iter().find(|((f, _), e)| *f == framework && e.tasks.contains_key(&task));
                if let Some(key) = found.map(|(key, _)| key.clone()) {
                    self.kill(&key, &task, policy.as_ref(), &mut reports);
                }
            }
            Order::Shutdown(framework, executor) => self.shut_down(&(framework, executor), &mut reports),
            Order::ShutdownFramework(framework) => {
                let keys: Vec<Key> =
                    self.executors.keys().filter(|(f, _)| *f == framework).cloned().collect();
                self.shut_down_silently(&keys);
            }
            Order::DestroyVolume(role, id) => {
                let path = volumes::path(&self.dir, &role, &id);
                if let Err(error) = std::fs::remove_dir_all(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "cannot delete a persistent volume");
                }
            }
        }
        reports
    }

    /// Ends everything; nobody is told.
    pub fn stop(&mut self) {
        let keys: Vec<Key> = self.executors.keys().cloned().collect();
        self.shut_down_silently(&keys);
    }

    /// Takes in what happened in a container.
    pub fn container_event(&mut self, event: ContainerEvent) -> Vec<Report> {
        let mut reports = Vec::new();
        let ContainerEvent { key, task: id, container, what, .. } = event;
        let Some(executor) = self.executors.get_mut(&key) else { return reports };
        let Some(task) = executor.tasks.get_mut(&id).filter(|t| t.container == container) else {
            return reports;
        };
        match what {
            Happening::Started(Ok(process)) => {
                let killed = task.killing;
                task.cancel = None;
                task.process = Some(process.clone());
                self.watch_exit(&key, &id, &container, process);
                self.started(&key, &id, &mut reports);
                if killed {
                    // the order to kill it came between its start and this message
                    self.signal(&key, &id, None);
                }
            }
            Happening::Started(Err(error)) => self.start_failed(&key, &id, &error, &mut reports),
            Happening::Exited(exit) => {
                let state = match (task.killing, exit.success()) {
                    (true, _) => TaskState::Killed,
                    (false, true) => TaskState::Finished,
                    (false, false) => TaskState::Failed,
                };
                self.ended(&key, &id, state, &exit.to_string(), None, &mut reports);
            }
            Happening::Health { healthy, kill } => {
                if !task.killing {
                    task.healthy = Some(healthy);
                    let reason = Some("REASON_TASK_HEALTH_CHECK_STATUS_UPDATED");
                    self.report(&key, &id, TaskState::Running, None, reason, &mut reports);
                    if kill {
                        self.kill(&key, &id, None, &mut reports);
                    }
                }
            }
            Happening::Check { exit_code } => {
                if !task.killing {
                    task.check = Some(check_status(exit_code));
                    let reason = Some("REASON_TASK_CHECK_STATUS_UPDATED");
                    self.report(&key, &id, TaskState::Running, None, reason, &mut reports);
                }
            }
        }
        reports
    }

    fn launch(&mut self, launch: Launch, reports: &mut Vec<Report>) {
        let key = (launch.framework.clone(), launch.executor.executor_id.clone());
        let dir = self.dir.clone();
        let executor = self.executors.entry(key.clone()).or_insert_with(|| {
            let container = ids::uuid();
            let runs =
                dir.join("frameworks").join(&key.0.value).join("executors").join(&key.1.value).join("runs");
            Executor {
                sandbox: runs.join(&container),
                container,
                info: Arc::new(launch.executor.clone()),
                single_task: launch.single_task,
                killing_state: launch.killing_state,
                silent: false,
                groups: 0,
                tasks: BTreeMap::new(),
                prepared: Arc::default(),
            }
        });
        executor.groups += 1;
        let group = executor.groups;
        let mut started = Vec::new();
        for info in launch.tasks {
            let (container, sandbox) = if launch.single_task {
                (executor.container.clone(), executor.sandbox.clone())
            } else {
                let container = ids::uuid();
                let sandbox = executor.sandbox.join("containers").join(&container);
                (container, sandbox)
            };
            let (cancel, cancelled) = oneshot::channel();
            let info = Arc::new(info);
            let job = Job {
                agent_dir: self.dir.clone(),
                executor_sandbox: executor.sandbox.clone(),
                executor: executor.info.clone(),
                executor_prepared: executor.prepared.clone(),
                sandbox: sandbox.clone(),
                task: info.clone(),
                user: launch.user.clone(),
                container: container.clone(),
                executor_container: executor.container.clone(),
                running: self.running.clone(),
                client: self.client.clone(),
            };
            started.push((info.task_id.clone(), container.clone(), job, cancelled));
            let task = Task {
                check: info.check.as_ref().map(|_| check_status(None)),
                info: info.clone(),
                user: launch.user.clone(),
                group,
                container,
                sandbox,
                cancel: Some(cancel),
                process: None,
                checks: Vec::new(),
                killing: false,
                healthy: None,
            };
            executor.tasks.insert(info.task_id.clone(), task);
        }
        for (id, container, job, cancelled) in started {
            self.events_of(&key, &id, &container).start(job, cancelled);
            if !launch.single_task {
                self.report(&key, &id, TaskState::Starting, None, None, reports);
            }
        }
    }

    fn events_of(&self, key: &Key, task: &TaskId, container: &str) -> Emitter {
        Emitter {
            events: self.events.clone(),
            agent: self.id.clone(),
            key: key.clone(),
            task: task.clone(),
            container: container.to_owned(),
        }
    }

    fn watch_exit(&self, key: &Key, id: &TaskId, container: &str, process: Process) {
        let emitter = self.events_of(key, id, container);
        let running = self.running.clone();
        tokio::spawn(async move {
            let exit = process.exited().await;
            running.remove(&emitter.container);
            emitter.emit(Happening::Exited(exit));
        });
    }

    /// A task's process runs.
    fn started(&mut self, key: &Key, id: &TaskId, reports: &mut Vec<Report>) {
        let Some(executor) = self.executors.get(key) else { return };
        let Some(task) = executor.tasks.get(id) else { return };
        let emitter = self.events_of(key, id, &task.container);
        let checks = checks::start(&task.info, &task.user, &task.sandbox, &emitter);
        if executor.single_task {
            self.report(key, id, TaskState::Starting, None, None, reports);
        }
        self.report(key, id, TaskState::Running, None, None, reports);
        if let Some(task) = self.executors.get_mut(key).and_then(|e| e.tasks.get_mut(id)) {
            task.checks = checks;
        }
    }

    fn start_failed(&mut self, key: &Key, id: &TaskId, error: &LaunchError, reports: &mut Vec<Report>) {
        let Some(executor) = self.executors.get(key) else { return };
        let single_task = executor.single_task;
        let text = error.to_string();
        tracing::warn!(task = %id, error = text, "task did not start");
        match error {
            LaunchError::Cancelled => {
                self.ended(key, id, TaskState::Killed, "Killed before it started", None, reports);
            }
            // the executor of a single task has started by then, and says that its command runs before it knows better
            LaunchError::Process(_) if single_task => {
                self.report(key, id, TaskState::Starting, None, None, reports);
                self.report(key, id, TaskState::Running, None, None, reports);
                self.ended(key, id, TaskState::Failed, &text, None, reports);
            }
            _ => {
                let message = format!("Failed to launch container: {text}");
                let reason = Some("REASON_CONTAINER_LAUNCH_FAILED");
                self.ended(key, id, TaskState::Failed, &message, reason, reports);
            }
        }
    }

    /// A task has ended. Unless it ended well, its group ends with it; with the last task the executor ends.
    fn ended(
        &mut self,
        key: &Key,
        id: &TaskId,
        state: TaskState,
        message: &str,
        reason: Option<&str>,
        reports: &mut Vec<Report>,
    ) {
        self.report(key, id, state, Some(message), reason, reports);
        let Some(executor) = self.executors.get_mut(key) else { return };
        let Some(task) = executor.tasks.remove(id) else { return };
        delete_secrets(&container::secrets(&self.dir, &task.container));
        for check in &task.checks {
            check.abort();
        }
        if state != TaskState::Finished {
            let siblings = executor.tasks.iter_mut().filter(|(_, t)| t.group == task.group && !t.killing);
            let mut ids = Vec::new();
            for (sibling, other) in siblings {
                if task.healthy == Some(false) {
                    // recorded from Mesos: the health of the one that failed its check is said of all
                    other.healthy = Some(false);
                }
                ids.push(sibling.clone());
            }
            for sibling in ids {
                self.kill(key, &sibling, None, reports);
            }
        }
        if self.executors.get(key).is_some_and(|e| e.tasks.is_empty()) {
            if let Some(executor) = self.executors.remove(key) {
                delete_secrets(&container::secrets(&self.dir, &executor.container));
                let ended = self.ended.clone();
                tokio::task::spawn_blocking(move || ended.add(executor.sandbox));
            }
            reports.push(Report::ExecutorExited(key.0.clone(), key.1.clone()));
        }
    }

    /// Begins to end a task.
    fn kill(&mut self, key: &Key, id: &TaskId, policy: Option<&KillPolicy>, reports: &mut Vec<Report>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let killing_state = executor.killing_state;
        let Some(task) = executor.tasks.get_mut(id) else { return };
        let first = !std::mem::replace(&mut task.killing, true);
        for check in task.checks.drain(..) {
            check.abort();
        }
        if first && killing_state && task.process.is_some() {
            self.report(key, id, TaskState::Killing, None, None, reports);
        }
        self.signal(key, id, policy);
    }

    fn signal(&mut self, key: &Key, id: &TaskId, policy: Option<&KillPolicy>) {
        let Some(task) = self.executors.get_mut(key).and_then(|e| e.tasks.get_mut(id)) else { return };
        match &task.process {
            Some(process) => process.kill(grace(policy, task.info.kill_policy.as_ref())),
            // nobody listens when the process has just been started; `Started` then finds `killing` set
            None => drop(task.cancel.take().map(|cancel| cancel.send(()))),
        }
    }

    fn shut_down(&mut self, key: &Key, reports: &mut Vec<Report>) {
        let tasks: Vec<TaskId> =
            self.executors.get(key).map(|e| e.tasks.keys().cloned().collect()).unwrap_or_default();
        for task in tasks {
            self.kill(key, &task, None, reports);
        }
    }

    fn shut_down_silently(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(executor) = self.executors.get_mut(key) {
                executor.silent = true;
            }
            self.shut_down(key, &mut Vec::new());
        }
    }

    fn report(
        &self,
        key: &Key,
        id: &TaskId,
        state: TaskState,
        message: Option<&str>,
        reason: Option<&str>,
        reports: &mut Vec<Report>,
    ) {
        let Some(executor) = self.executors.get(key).filter(|e| !e.silent) else { return };
        let Some(task) = executor.tasks.get(id) else { return };
        let launch_failed = reason == Some("REASON_CONTAINER_LAUNCH_FAILED");
        let source = if launch_failed && executor.single_task { "SOURCE_AGENT" } else { "SOURCE_EXECUTOR" };
        let final_check = state.is_terminal() && !executor.single_task;
        let check =
            if final_check { task.check.as_ref().map(|_| check_status(None)) } else { task.check.clone() };
        // health is said again at the end only when it is the cause of the end
        let healthy =
            if state.is_terminal() { task.healthy.filter(|healthy| !healthy) } else { task.healthy };
        let status = TaskStatus {
            task_id: id.clone(),
            state,
            message: message.map(str::to_owned),
            source: Some(source.into()),
            reason: reason.map(str::to_owned),
            executor_id: Some(key.1.clone()),
            healthy,
            check_status: check,
            container_status: (!launch_failed).then(|| container_status(executor, task, state)),
            ..TaskStatus::default()
        };
        reports.push(Report::Status(key.0.clone(), Box::new(status)));
    }
}

fn delete_secrets(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %directory.display(), %error, "cannot delete secrets of an ended container");
    }
}

/// Sends what happens in one container to the driver.
#[derive(Clone, Debug)]
struct Emitter {
    events: mpsc::UnboundedSender<ContainerEvent>,
    agent: AgentId,
    key: Key,
    task: TaskId,
    container: String,
}

impl Emitter {
    fn emit(&self, what: Happening) {
        // when the driver is gone, so is everybody who could want to know
        let _ = self.events.send(ContainerEvent {
            agent: self.agent.clone(),
            key: self.key.clone(),
            task: self.task.clone(),
            container: self.container.clone(),
            what,
        });
    }

    fn start(self, job: Job, cancelled: oneshot::Receiver<()>) {
        tokio::spawn(async move {
            let started = job.run(cancelled).await;
            self.emit(Happening::Started(started));
        });
    }
}

/// The order's policy, else the task's, else Mesos' default.
fn grace(order: Option<&KillPolicy>, own: Option<&KillPolicy>) -> Duration {
    let period = |p: Option<&KillPolicy>| p?.grace_period.as_ref().map(|d| d.nanoseconds);
    let nanoseconds = period(order).or_else(|| period(own));
    nanoseconds.map_or(DEFAULT_GRACE, |n| Duration::from_nanos(u64::try_from(n).unwrap_or(0)))
}

fn check_status(exit_code: Option<i32>) -> CheckStatusInfo {
    CheckStatusInfo {
        r#type: Some(CheckType::Command),
        command: Some(CheckStatusCommand { exit_code }),
        ..CheckStatusInfo::default()
    }
}

fn container_status(executor: &Executor, task: &Task, state: TaskState) -> ContainerStatus {
    let parent = ContainerId { value: executor.container.clone(), parent: None };
    let container_id = if executor.single_task {
        parent
    } else {
        ContainerId { value: task.container.clone(), parent: Some(Box::new(parent)) }
    };
    let address = IpAddress { protocol: Some("IPv4".into()), ip_address: Some("127.0.0.1".into()) };
    let network = NetworkInfo { ip_addresses: vec![address], ..NetworkInfo::default() };
    // a nested container's network and process are not known any more when its end is reported
    let gone = state.is_terminal() && !executor.single_task;
    let pid = task.process.as_ref().and_then(|p| u32::try_from(p.identity().pid).ok());
    ContainerStatus {
        container_id: Some(container_id),
        network_infos: if gone { Vec::new() } else { vec![network] },
        executor_pid: pid.filter(|_| !gone),
    }
}

/// Where an agent's checkpoint of running processes is.
pub fn running_file(dir: &Path) -> PathBuf {
    dir.join("running.json")
}
