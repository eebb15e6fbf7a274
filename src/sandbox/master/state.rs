//! What the master remembers about agents, frameworks and tasks, and which part of it outlives the process.

use super::{HEARTBEAT, StreamId, Time};
use crate::sandbox::resources::Resources;
use crate::wire::{
    Address, AgentId, Attribute, DiscoveryInfo, ExecutorId, FrameworkId, FrameworkInfo, TaskId, TaskStatus,
    Url,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The first wait for an acknowledgement; it doubles with each repetition.
const RETRY_MIN: Duration = Duration::from_secs(10);
/// The longest wait for an acknowledgement.
const RETRY_MAX: Duration = Duration::from_mins(10);

/// Everything that outlives a restart of the cluster. No command or environment is in it, so no secret is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The number of the next framework id.
    pub next_framework: u64,
    /// The registered frameworks with their tasks.
    pub frameworks: Vec<Framework>,
    /// Frameworks that were removed.
    pub removed: Vec<FrameworkId>,
    /// The agents with their reservations and volumes.
    pub agents: Vec<Agent>,
}

/// One agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id; kept over restarts.
    pub id: AgentId,
    /// Its name in offers.
    pub hostname: String,
    /// Its port in offers. Nothing listens there.
    pub port: u16,
    /// What placement rules can ask for.
    pub attributes: Vec<Attribute>,
    /// All it has, reservations and volumes applied.
    pub total: Resources,
}

impl Agent {
    pub(super) fn url(&self) -> Url {
        let address = Address {
            hostname: Some(self.hostname.clone()),
            ip: Some("127.0.0.1".into()),
            port: u32::from(self.port),
        };
        Url { scheme: "http".into(), address, path: Some("/slave(1)".into()) }
    }
}

/// One framework.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// How it presents itself.
    pub info: FrameworkInfo,
    /// Its tasks that have not ended, or whose end it has not acknowledged, by id.
    pub tasks: BTreeMap<String, Task>,
    /// Its operations whose end it has not acknowledged, by id.
    pub(super) operations: BTreeMap<String, Operation>,
    /// Its running executors.
    pub(super) executors: Vec<Executor>,
    /// Its stream while it is connected.
    #[serde(skip)]
    pub(super) stream: Option<StreamId>,
    #[serde(skip)]
    pub(super) heartbeat_at: Time,
    /// When it is removed unless it comes back.
    #[serde(skip)]
    pub(super) remove_at: Option<Time>,
    #[serde(skip)]
    pub(super) suppressed: BTreeSet<String>,
    #[serde(skip)]
    pub(super) filters: Vec<Filter>,
}

/// Resources that a framework does not want to be offered for a while.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    pub agent: AgentId,
    pub role: String,
    pub resources: Resources,
    pub until: Time,
}

/// A running executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Executor {
    pub id: ExecutorId,
    pub agent_id: AgentId,
    pub resources: Resources,
    /// It is there for one task, and its end is not worth an event.
    pub single_task: bool,
}

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub agent_id: AgentId,
    /// What it runs in.
    pub executor_id: ExecutorId,
    /// What it uses.
    pub resources: Resources,
    /// What service discovery is told.
    pub discovery: Option<DiscoveryInfo>,
    /// The latest status that the agent reported.
    pub latest: TaskStatus,
    /// The latest status that the framework was sent.
    pub(super) forwarded: TaskStatus,
    /// Statuses that wait for an acknowledgement; the first one has been sent when the framework is there.
    pub(super) pending: VecDeque<TaskStatus>,
    #[serde(skip)]
    pub(super) retry: Retry,
}

/// The outcome of an operation that has not been acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Operation {
    pub agent_id: AgentId,
    pub uuid: String,
    #[serde(skip)]
    pub retry: Retry,
}

/// When something unacknowledged is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Retry {
    pub at: Time,
    wait: Duration,
}

impl Retry {
    /// For something that has just been sent for the first time.
    pub fn start(now: Time) -> Self {
        Self { at: now + RETRY_MIN, wait: RETRY_MIN }
    }

    /// After it has been sent once more.
    pub fn again(self, now: Time) -> Self {
        let wait = (self.wait * 2).clamp(RETRY_MIN, RETRY_MAX);
        Self { at: now + wait, wait }
    }
}

impl Framework {
    /// Its roles, however it says them.
    pub fn roles(&self) -> Vec<String> {
        if self.capable("MULTI_ROLE") {
            self.info.roles.clone()
        } else {
            vec![self.info.role.clone().unwrap_or_else(|| "*".into())]
        }
    }

    /// Whether it has a capability.
    pub fn capable(&self, capability: &str) -> bool {
        self.info.capabilities.iter().any(|c| c.r#type == capability)
    }

    /// Whether it is connected.
    pub fn connected(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) fn disconnect(&mut self, now: Time) {
        self.stream = None;
        let timeout = self.info.failover_timeout.unwrap_or(0.0);
        // a negative one is accepted and means none; one that is too large never passes
        let timeout = Duration::try_from_secs_f64(timeout.max(0.0)).unwrap_or(Duration::MAX);
        self.remove_at = now.checked_add(timeout);
    }

    pub(super) fn connect(&mut self, stream: StreamId, now: Time) {
        self.stream = Some(stream);
        self.remove_at = None;
        self.filters.clear();
        self.heartbeat_at = now + HEARTBEAT;
    }

    /// All roles when none is named; others than its own do not matter.
    pub(super) fn revive(&mut self, roles: &[String]) {
        let named = |role: &String| roles.is_empty() || roles.contains(role);
        self.suppressed.retain(|r| !named(r));
        self.filters.retain(|f| !named(&f.role));
    }

    pub(super) fn suppress(&mut self, roles: &[String]) {
        let own = self.roles();
        self.suppressed.extend(own.into_iter().filter(|r| roles.is_empty() || roles.contains(r)));
    }

    /// Whether a filter ended.
    pub(super) fn expire_filters(&mut self, now: Time) -> bool {
        let before = self.filters.len();
        self.filters.retain(|f| f.until > now);
        self.filters.len() < before
    }

    pub(super) fn next_tick(&self) -> Option<Time> {
        if self.stream.is_none() {
            return self.remove_at;
        }
        let updates = self.tasks.values().filter(|t| !t.pending.is_empty()).map(|t| t.retry.at);
        let operations = self.operations.values().map(|o| o.retry.at);
        let filters = self.filters.iter().map(|f| f.until);
        updates.chain(operations).chain(filters).chain([self.heartbeat_at]).min()
    }
}
