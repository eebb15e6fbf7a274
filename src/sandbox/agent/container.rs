//! Starts one container: sandbox, volumes, files, process; and remembers on disk which processes run.

use super::volumes::{self, VolumeError};
use crate::sandbox::fetch::{FetchError, fetch};
use crate::sandbox::files::write_atomically;
use crate::sandbox::process::{self, Identity, Launch, Process, ProcessError, kill_leftovers, make_sandbox};
use crate::wire::{CommandInfo, ExecutorInfo, TaskInfo};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, oneshot};

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("killed before it started")]
    Cancelled,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("{0}")]
    Sandbox(ProcessError),
    #[error(transparent)]
    Process(ProcessError),
}

/// What has to be started.
pub(super) struct Job {
    pub agent_dir: PathBuf,
    pub executor_sandbox: PathBuf,
    pub executor: Arc<ExecutorInfo>,
    pub executor_prepared: Arc<OnceCell<Option<PathBuf>>>,
    pub sandbox: PathBuf,
    pub task: Arc<TaskInfo>,
    pub user: String,
    pub container: String,
    pub executor_container: String,
    pub running: Arc<RunningFile>,
    pub client: reqwest::Client,
}

impl Job {
    /// Does it, unless it is cancelled before the process has been started.
    pub async fn run(self, cancelled: oneshot::Receiver<()>) -> Result<Process, LaunchError> {
        tokio::select! {
            tmp = self.prepare() => self.spawn(tmp?),
            Ok(()) = cancelled => Err(LaunchError::Cancelled),
        }
    }

    /// Gives the directory that stands for `/tmp`, when the container has one.
    async fn prepare(&self) -> Result<Option<PathBuf>, LaunchError> {
        let tmp = self.executor_prepared.get_or_try_init(|| self.prepare_executor()).await?.clone();
        if self.sandbox != self.executor_sandbox {
            let own = self.task.command.as_ref().and_then(|c| c.user.as_deref());
            make_sandbox(&self.sandbox, Some(own.unwrap_or(&self.user))).map_err(LaunchError::Sandbox)?;
            link_task(&self.executor_sandbox, &self.task.task_id.value, &self.sandbox);
        }
        // In the task's own sandbox only: volumes of tasks that share an executor may have the same path.
        volumes::link_persistent(&self.agent_dir, &self.task.resources, &self.sandbox)?;
        let container = self.task.container.as_ref();
        let secrets = secrets(&self.agent_dir, &self.container).join("task");
        let own = volumes::link_container(container, &self.sandbox, &self.executor_sandbox, &secrets)?;
        self.fetch(self.task.command.as_ref(), &self.sandbox).await?;
        Ok(own.or(tmp))
    }

    /// The same for the executor.
    async fn prepare_executor(&self) -> Result<Option<PathBuf>, LaunchError> {
        let sandbox = &self.executor_sandbox;
        make_sandbox(sandbox, Some(&self.user)).map_err(LaunchError::Sandbox)?;
        let secrets = secrets(&self.agent_dir, &self.executor_container).join("executor");
        let tmp = volumes::link_container(self.executor.container.as_ref(), sandbox, sandbox, &secrets)?;
        volumes::link_persistent(&self.agent_dir, &self.executor.resources, sandbox)?;
        self.fetch(self.executor.command.as_ref(), sandbox).await?;
        Ok(tmp)
    }

    async fn fetch(&self, command: Option<&CommandInfo>, sandbox: &Path) -> Result<(), LaunchError> {
        for uri in command.iter().flat_map(|c| &c.uris) {
            if let Err(error) = fetch(&self.client, uri, sandbox).await {
                // where the author of a task looks first
                let log = fs::OpenOptions::new().append(true).open(sandbox.join("stderr"));
                let _ = log.and_then(|mut log| writeln!(log, "{error}"));
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn spawn(&self, tmp: Option<PathBuf>) -> Result<Process, LaunchError> {
        let command = self.task.command.clone().unwrap_or_default();
        let mut environment = Vec::new();
        if let Some(tmp) = tmp {
            environment.push(("TMPDIR".to_owned(), tmp.to_string_lossy().into_owned()));
        }
        let launch = Launch {
            sandbox: &self.sandbox,
            command: &command,
            environment: &environment,
            user: Some(&self.user),
        };
        // before the start: if we die in between, the next run still finds the processes by their sandbox
        let unborn = Identity { pid: 0, start_time: 0, sandbox: self.sandbox.clone() };
        self.running.insert(&self.container, unborn);
        match process::spawn(launch) {
            Ok(process) => {
                self.running.insert(&self.container, process.identity().clone());
                Ok(process)
            }
            Err(error) => {
                self.running.remove(&self.container);
                Err(LaunchError::Process(error))
            }
        }
    }
}

/// Where a container's files with secrets are.
pub(super) fn secrets(agent_dir: &Path, container: &str) -> PathBuf {
    agent_dir.join("secrets").join(container)
}

/// A name that people know, beside the container's: `tasks/<task id>`.
fn link_task(executor_sandbox: &Path, task: &str, sandbox: &Path) {
    let tasks = executor_sandbox.join("tasks");
    // only a convenience
    let _ = fs::create_dir_all(&tasks).and_then(|()| std::os::unix::fs::symlink(sandbox, tasks.join(task)));
}

/// The agent's checkpoint of running processes, by container. It must survive the end of this process, not that of the
/// machine, so it is never flushed to the disk.
#[derive(Debug)]
pub struct RunningFile {
    path: PathBuf,
    processes: Mutex<BTreeMap<String, Identity>>,
}

impl RunningFile {
    /// Kills what an earlier run left, and says how many processes that were.
    pub fn clean_up(path: PathBuf) -> io::Result<(Self, usize)> {
        let old: BTreeMap<String, Identity> = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let killed = old.values().map(kill_leftovers).sum();
        let file = Self { path, processes: Mutex::default() };
        file.write(&file.lock())?;
        Ok((file, killed))
    }

    fn insert(&self, container: &str, identity: Identity) {
        let mut processes = self.lock();
        processes.insert(container.to_owned(), identity);
        self.write_or_warn(&processes);
    }

    pub(super) fn remove(&self, container: &str) {
        let mut processes = self.lock();
        if processes.remove(container).is_some() {
            self.write_or_warn(&processes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Identity>> {
        // the map is whole even if a thread died while it held the lock
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, processes: &BTreeMap<String, Identity>) -> io::Result<()> {
        write_atomically(&self.path, &serde_json::to_vec(processes)?, false)
    }

    fn write_or_warn(&self, processes: &BTreeMap<String, Identity>) {
        if let Err(error) = self.write(processes) {
            tracing::warn!(path = %self.path.display(), %error, "cannot note running processes");
        }
    }
}
