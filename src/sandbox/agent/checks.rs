//! Health checks and checks: commands that are run again and again next to a task.

use super::{Emitter, Happening};
use crate::sandbox::process::{self, Exit, Launch};
use crate::wire::{CheckInfo, CommandInfo, Environment, HealthCheck, TaskInfo};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Mesos' defaults, in seconds.
const DELAY: f64 = 15.0;
const INTERVAL: f64 = 10.0;
const TIMEOUT: f64 = 20.0;
const GRACE: f64 = 10.0;
const CONSECUTIVE_FAILURES: u32 = 3;

/// An interval of 0 must not keep the machine busy.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// One command that is run in a task's sandbox with the task's environment.
struct Probe {
    sandbox: PathBuf,
    command: CommandInfo,
    user: String,
    timeout: Duration,
}

/// Starts what a task asks for. The handles end it.
pub(super) fn start(task: &Arc<TaskInfo>, user: &str, sandbox: &Path, emitter: &Emitter) -> Vec<AbortHandle> {
    let probe = |command: &CommandInfo, timeout| Probe {
        sandbox: sandbox.to_owned(),
        command: merged(task, command),
        user: user.to_owned(),
        timeout: seconds(timeout, TIMEOUT),
    };
    let mut handles = Vec::new();
    if let Some(check) = task.health_check.clone()
        && let Some(command) = &check.command
    {
        let probe = probe(command, check.timeout_seconds);
        handles.push(tokio::spawn(health(check, probe, emitter.clone())).abort_handle());
    }
    if let Some(check) = task.check.clone()
        && let Some(command) = &check.command
    {
        let probe = probe(&command.command, check.timeout_seconds);
        handles.push(tokio::spawn(watch(check, probe, emitter.clone())).abort_handle());
    }
    handles
}

/// A check sees the task's variables; its own win.
fn merged(task: &TaskInfo, check: &CommandInfo) -> CommandInfo {
    let task = task.command.as_ref();
    let own = task.and_then(|c| c.environment.as_ref()).map(|e| e.variables.clone()).unwrap_or_default();
    let more = check.environment.as_ref().map(|e| e.variables.clone()).unwrap_or_default();
    let user = check.user.clone().or_else(|| task.and_then(|c| c.user.clone()));
    let variables = own.into_iter().chain(more).collect();
    CommandInfo { environment: Some(Environment { variables }), user, uris: Vec::new(), ..check.clone() }
}

async fn health(check: HealthCheck, probe: Probe, emitter: Emitter) {
    let grace = seconds(check.grace_period_seconds, GRACE);
    let limit = check.consecutive_failures.unwrap_or(CONSECUTIVE_FAILURES);
    let start = Instant::now();
    let mut last = None;
    let mut failures = 0;
    sleep(seconds(check.delay_seconds, DELAY)).await;
    loop {
        let healthy = probe.run().await.is_some_and(Exit::success);
        if healthy {
            failures = 0;
            if last != Some(true) {
                emitter.emit(Happening::Health { healthy: true, kill: false });
            }
            last = Some(true);
        } else if last != Some(true) && failures == 0 && start.elapsed() <= grace {
            // a task may fail its checks until it has come up
        } else {
            failures += 1;
            last = Some(false);
            emitter.emit(Happening::Health { healthy: false, kill: failures >= limit });
        }
        sleep(seconds(check.interval_seconds, INTERVAL).max(SHORTEST_INTERVAL)).await;
    }
}

async fn watch(check: CheckInfo, probe: Probe, emitter: Emitter) {
    let mut last = None;
    sleep(seconds(check.delay_seconds, DELAY)).await;
    loop {
        let exit_code = match probe.run().await {
            Some(Exit::Code(code)) => Some(code),
            // ended by a signal: what a shell would say
            Some(Exit::Signal(signal)) => Some(128 + signal),
            Some(Exit::Unknown) | None => None,
        };
        if last != Some(exit_code) {
            last = Some(exit_code);
            emitter.emit(Happening::Check { exit_code });
        }
        sleep(seconds(check.interval_seconds, INTERVAL).max(SHORTEST_INTERVAL)).await;
    }
}

impl Probe {
    /// How the command ended, or nothing when it took too long or could not be started.
    async fn run(&self) -> Option<Exit> {
        let launch = Launch {
            sandbox: &self.sandbox,
            command: &self.command,
            environment: &[],
            user: Some(&self.user),
        };
        process::run(launch, self.timeout).await.unwrap_or_else(|error| {
            tracing::warn!(sandbox = %self.sandbox.display(), %error, "a check cannot be run");
            None
        })
    }
}

fn seconds(given: Option<f64>, default: f64) -> Duration {
    Duration::try_from_secs_f64(given.unwrap_or(default)).unwrap_or_default()
}
