//! What the scheduler knows about its tasks, and the form in which that is stored.

use super::Stored;
use crate::offer::label;
use crate::plan::PodInstance;
use crate::spec::{Goal, PodType, TaskName, TaskSpec};
use crate::wire::{TaskInfo, TaskState, TaskStatus};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One change of the durable state: a new value for a path, or (`None`) the removal of a path and all below it.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The path, without a leading slash.
    pub path: String,
    /// The new value.
    pub value: Option<Vec<u8>>,
}

// Values are left out: they are long.
impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={:?} bytes", self.path, self.value.as_ref().map(Vec::len))
    }
}

/// Makes changes in what is stored, in order, as a store does.
pub fn store(stored: &mut Stored, writes: &[Write]) {
    for write in writes {
        match &write.value {
            Some(value) => {
                stored.insert(write.path.clone(), value.clone());
            }
            None if write.path.is_empty() => stored.clear(),
            None => {
                let below = format!("{}/", write.path);
                stored.retain(|path, _| *path != write.path && !path.starts_with(&below));
            }
        }
    }
}

/// The changes of one event, by path. What is removed comes before what is set below it, because a path comes before those
/// below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes(BTreeMap<String, Option<Vec<u8>>>);

impl Writes {
    pub fn set(&mut self, path: String, value: Vec<u8>) {
        self.0.insert(path, Some(value));
    }

    pub fn set_json(&mut self, path: String, value: &impl Serialize) {
        // Messages and notes are plain data with text keys; their serialization can't fail.
        self.set(path, serde_json::to_vec(value).unwrap_or_default());
    }

    /// Removes a path and all below it; the empty one is the root.
    pub fn remove(&mut self, path: String) {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.0.range(prefix.clone()..).map(|(p, _)| p).take_while(|p| p.starts_with(&prefix));
        for path in below.cloned().collect::<Vec<_>>() {
            self.0.remove(&path);
        }
        self.0.insert(path, None);
    }

    pub fn take(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.0).into_iter().map(|(path, value)| Write { path, value }).collect()
    }
}

/// Where things are stored; the tree is the SDK's, the values are JSON.
pub mod path {
    /// The framework's id, as text.
    pub const FRAMEWORK_ID: &str = "FrameworkID";
    /// The id of the configuration that tasks are brought to, as text.
    pub const CONFIG_TARGET: &str = "ConfigTarget";
    /// Configurations by id.
    pub const CONFIGURATIONS: &str = "Configurations";
    /// The plans of the service file that was accepted last, beside its configuration.
    pub const PLANS: &str = "Plans";
    /// Tasks by instance name.
    pub const TASKS: &str = "Tasks";
    /// The service's name: two services must not share a state.
    pub const SERVICE_NAME: &str = "servicename";
    /// The layout's version, as text.
    pub const SCHEMA_VERSION: &str = "SchemaVersion";
    /// What is stored about the service as a whole is below this.
    pub const PROPERTIES: &str = "Properties/";
    /// Set once the service is being removed.
    pub const UNINSTALLING: &str = "Properties/uninstalling";
    /// `DEPLOY` once the deploy plan has been complete.
    pub const LAST_COMPLETED: &str = "Properties/last-completed-update-type";
    /// Reservations that no task has any more and that may still be there; a list of `{resource_id, agent, host, role}`.
    pub const LEFT_OVER: &str = "Properties/left-over-reservations";
    /// How a task was launched, below its own path.
    pub const TASK_INFO: &str = "TaskInfo";
    /// A task's last status, below its own path.
    pub const TASK_STATUS: &str = "TaskStatus";
    /// What this program notes about a task, below its own path.
    pub const TASK_NOTES: &str = "Metadata/notes";
}

/// What is noted about a task beside how it was launched and how it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // each is stored under its name
pub struct Notes {
    /// Its reservations are given up; it is to start anew elsewhere.
    #[serde(default)]
    pub permanently_failed: bool,
    /// Its reservations were asked for in the same call as its launch, and no agent has yet reported the task: whether
    /// they exist is not known.
    #[serde(default)]
    pub unconfirmed: bool,
    /// An operator, not a failure, ended it: nothing waits before it starts again.
    #[serde(default)]
    pub restarting: bool,
    /// An operator wants it to do nothing, in place of its command.
    #[serde(default)]
    pub paused: bool,
    /// It was up where its pod instance was before, and has only reservations where that is now.
    #[serde(default)]
    pub displaced: bool,
    /// Another task that is to stay up was launched into its resource set since: only that one is kept up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
    /// It was launched to do nothing.
    #[serde(default)]
    pub idle: bool,
    /// Since when it is down (seconds since 1970), where pods that stay down are replaced without an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<u64>,
}

/// A task instance that was launched, or reserved for.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its pod's type.
    pub pod: PodType,
    /// Its pod instance's number.
    pub index: u32,
    /// Its name within the pod.
    pub name: TaskName,
    /// How it was launched, executor included. The task id is empty as long as it never was.
    pub info: TaskInfo,
    /// Its last status.
    pub status: Option<TaskStatus>,
    /// What is noted beside.
    pub notes: Notes,
}

impl Task {
    /// `<type>-<index>-<task>`.
    pub fn instance(&self) -> String {
        crate::spec::task_instance_name(&self.pod, self.index, &self.name)
    }

    /// The pod instance that it is part of.
    pub fn pod_instance(&self) -> PodInstance {
        PodInstance { pod: self.pod.clone(), index: self.index }
    }

    /// Its last state; STAGING until something was heard, and LOST where its pod instance has moved without it.
    pub fn state(&self) -> TaskState {
        let unheard = if self.notes.displaced { TaskState::Lost } else { TaskState::Staging };
        self.status.as_ref().map_or(unheard, |s| s.state)
    }

    /// Whether it was ever launched.
    pub fn was_launched(&self) -> bool {
        !self.info.task_id.value.is_empty()
    }

    /// Whether it may be running now, on an agent that can be reached.
    pub fn is_live(&self) -> bool {
        self.was_launched() && may_run(self.state())
    }

    /// The configuration that it was launched with.
    pub fn config_id(&self) -> Option<&str> {
        self.info.labels.as_ref()?.get(label::TARGET_CONFIGURATION)
    }

    /// Whether its readiness check has passed, or it has none.
    pub fn is_ready(&self) -> bool {
        is_ready(&self.info, self.status.as_ref())
    }

    /// Whether it has reached `spec`'s goal under the configuration `target`.
    pub fn has_reached_goal(&self, spec: &TaskSpec, target: &str) -> bool {
        let current = self.config_id() == Some(target);
        match spec.goal {
            Goal::Running => self.state() == TaskState::Running && current && self.is_ready(),
            Goal::Finish => self.state() == TaskState::Finished && current,
            Goal::Once => self.state() == TaskState::Finished,
        }
    }
}

/// Whether a task in this state may be running, on an agent that can be reached.
pub(super) fn may_run(state: TaskState) -> bool {
    matches!(state, TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Killing)
}

/// Whether a task's readiness check has passed with this status, or there is none.
pub fn is_ready(info: &TaskInfo, status: Option<&TaskStatus>) -> bool {
    let check = status.and_then(|s| s.check_status.as_ref());
    match check {
        Some(check) => check.command.as_ref().and_then(|c| c.exit_code) == Some(0),
        None => info.check.is_none(),
    }
}

/// A source of UUIDs that always gives the same ones for the same seed, so that a run can be replayed.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: [u8; 16],
    count: u64,
}

impl Ids {
    /// A source with this seed; two processes must never use the same one.
    pub fn new(seed: [u8; 16]) -> Self {
        Self { seed, count: 0 }
    }

    /// A new UUID.
    pub fn uuid(&mut self) -> String {
        self.count += 1;
        let hash = Sha256::new().chain_update(self.seed).chain_update(self.count.to_be_bytes()).finalize();
        let mut text = String::with_capacity(36);
        for (i, byte) in hash.iter().take(16).enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            // The version (4) and variant bits of RFC 9562.
            let byte = match i {
                6 => byte & 0x0f | 0x40,
                8 => byte & 0x3f | 0x80,
                _ => *byte,
            };
            // writing to a String can't fail
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
