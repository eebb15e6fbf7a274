//! A virtual cluster: a Mesos master with its agents, as one framework sees them.
//!
//! It keeps account of every resource as Mesos does (the arithmetic is the embedded master's), and it is the truth that
//! invariants are checked against: what really runs, and what is really reserved. It answers calls at once; what it has to say to
//! the scheduler lies in [`Cluster::take_events`], in order, and what happens by itself in its queue. No clock, no random
//! source of its own but the one it is given. Called by [`World`](super::World).

mod accept;
mod faults;
mod offers;
mod tasks;

pub use offers::Interest;
pub use tasks::Task;

use super::agents::Machine;
use super::queue::Queue;
use super::random::Random;
use crate::sandbox::resources::Resources;
use crate::scheduler::Event;
use crate::spec::{Goal, ServiceSpec};
use crate::wire::{
    AgentId, Call, CallType, ExecutorId, FrameworkId, FrameworkInfo, OfferId, TaskId, TaskState, TaskStatus,
};
use std::collections::{BTreeMap, BTreeSet};

/// What happens in the cluster by itself, at its time.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// An executor has taken a task in.
    Starting(TaskId),
    /// A task's process runs.
    Running(TaskId),
    /// A task's readiness check has passed.
    Ready(TaskId),
    /// A task ends.
    Ends(TaskId, TaskState),
    /// An agent tells the master the oldest status that is not acknowledged, for the first time or again. The text is the
    /// status' UUID.
    Forward(TaskId, String),
    /// An executor without tasks ends.
    ExecutorEnds(AgentId, ExecutorId),
    /// The master offers what is free.
    Allocate,
    /// The master has not heard of an agent for too long. The number is that of the silence.
    AgentSilent(AgentId, u32),
    /// An agent registers with a new master.
    AgentRegisters(AgentId),
}

/// What happened, for the timeline and for whoever checks.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// A task was launched.
    Launched {
        /// Its id.
        task: TaskId,
        /// Its instance, `<type>-<index>-<task>`.
        instance: String,
        /// Its agent's host name.
        host: String,
    },
    /// A task's true state changed.
    State {
        /// The task.
        task: TaskId,
        /// Its instance.
        instance: String,
        /// The new state.
        state: TaskState,
        /// Its readiness check has passed.
        ready: bool,
    },
    /// A status that an agent wanted acknowledged was.
    Acknowledged(Box<TaskStatus>),
    /// The master refused something that was not made to fail.
    Refused(String),
    /// Resources were reserved, given back, or volumes created or destroyed.
    Converted {
        /// `reserves`, `unreserves`, `creates`, `destroys`.
        verb: &'static str,
        /// The resources, in words.
        what: String,
        /// The agent's host name.
        host: String,
    },
    /// The framework was removed.
    TornDown,
    /// Anything else worth telling.
    Note(String),
}

/// Whether the master knows an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is registered.
    Registered,
    /// The master is new and has not heard of it yet.
    Unheard,
    /// It was silent for too long.
    Unreachable,
    /// An operator said that it will not come back.
    Gone,
}

/// One agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What it was made of.
    pub machine: Machine,
    /// All that it has, with reservations and volumes.
    pub total: Resources,
    /// Whether the master knows it.
    pub known: Known,
    /// Nothing gets from it or to it.
    pub cut: bool,
    /// It no longer exists.
    pub dead: bool,
    silences: u32,
    executors: BTreeMap<ExecutorId, Resources>,
    /// Tasks that hold resources, as far as the master knows.
    holding: BTreeSet<TaskId>,
}

impl Agent {
    /// Its host name.
    pub fn host(&self) -> &str {
        self.machine.hostname.as_deref().unwrap_or(&self.id.value)
    }

    /// Whether messages get through.
    pub fn is_up(&self) -> bool {
        self.known == Known::Registered && !self.cut && !self.dead
    }
}

/// The framework, as the master knows it.
#[derive(Clone, Debug, Default)]
pub struct Framework {
    /// Its id, once it has subscribed.
    pub id: Option<FrameworkId>,
    /// How it presented itself.
    pub info: FrameworkInfo,
    /// Whether its connection is open.
    pub connected: bool,
    /// It was torn down.
    pub removed: bool,
    /// It wants no offers.
    pub suppressed: bool,
    filters: Vec<offers::Filter>,
    registrations: u32,
}

impl Framework {
    fn capable(&self, capability: &str) -> bool {
        self.info.capabilities.iter().any(|c| c.r#type == capability)
    }
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The agents there ever were.
    pub agents: BTreeMap<AgentId, Agent>,
    /// The framework.
    pub framework: Framework,
    /// All tasks there ever were, by id.
    pub tasks: BTreeMap<TaskId, Task>,
    /// What happens by itself.
    pub queue: Queue<Happening>,
    now: f64,
    offers: BTreeMap<OfferId, offers::Open>,
    made: u64,
    last_allocation: f64,
    allocation_due: Option<f64>,
    statuses: u64,
    events: Vec<Event>,
    observed: Vec<Observed>,
    goals: BTreeMap<(String, String), Goal>,
    random: Option<Random>,
    /// What is to go wrong, by the number of the message or operation.
    pub mishaps: faults::Mishaps,
}

impl Cluster {
    /// A cluster of these agents. With a random source things take more or less time.
    pub fn new(machines: Vec<Machine>, random: Option<Random>) -> Self {
        let mut cluster = Self {
            agents: BTreeMap::new(),
            framework: Framework::default(),
            tasks: BTreeMap::new(),
            queue: Queue::default(),
            now: 0.0,
            offers: BTreeMap::new(),
            made: 0,
            last_allocation: f64::NEG_INFINITY,
            allocation_due: None,
            statuses: 0,
            events: Vec::new(),
            observed: Vec::new(),
            goals: BTreeMap::new(),
            random,
            mishaps: faults::Mishaps::default(),
        };
        for machine in machines {
            cluster.add_agent(machine);
        }
        cluster
    }

    /// Adds an agent, which registers at once.
    pub fn add_agent(&mut self, machine: Machine) -> AgentId {
        let id = AgentId { value: format!("agent-{:04}", self.agents.len()) };
        let agent = Agent {
            id: id.clone(),
            total: Resources::new(&machine.resources()),
            machine,
            known: Known::Registered,
            cut: false,
            dead: false,
            silences: 0,
            executors: BTreeMap::new(),
            holding: BTreeSet::new(),
        };
        self.agents.insert(id.clone(), agent);
        self.request_allocation();
        id
    }

    /// What tasks launched from now on are for: those that stay up run on, others finish after a while.
    pub fn set_goals(&mut self, spec: &ServiceSpec) {
        for pod in &spec.pods {
            for task in &pod.tasks {
                self.goals.insert((pod.pod_type.0.clone(), task.name.0.clone()), task.goal);
            }
        }
    }

    /// Lets everything happen that is due at a time; `false` when nothing was.
    pub fn advance(&mut self, now: f64) -> bool {
        self.now = now;
        let due = self.queue.next_at().is_some_and(|at| at <= now);
        if due && let Some((_, happening)) = self.queue.pop() {
            self.happen(happening);
        }
        due
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Starting(task) => self.on_starting(&task),
            Happening::Running(task) => self.on_running(&task),
            Happening::Ready(task) => self.on_ready(&task),
            Happening::Ends(task, state) => self.end_task(&task, state, None),
            Happening::Forward(task, uuid) => self.on_forward(&task, &uuid),
            Happening::ExecutorEnds(agent, executor) => self.on_executor_ends(&agent, &executor),
            Happening::Allocate => self.allocate(),
            Happening::AgentSilent(agent, silence) => self.on_agent_silent(&agent, silence),
            Happening::AgentRegisters(agent) => self.on_agent_registers(&agent),
        }
    }

    /// What the scheduler is to be told, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What has happened since this was last called.
    pub fn take_observed(&mut self) -> Vec<Observed> {
        std::mem::take(&mut self.observed)
    }

    fn observe(&mut self, what: Observed) {
        self.observed.push(what);
    }

    /// How long something takes that ordinarily takes so many seconds.
    fn duration(&mut self, ordinary: f64) -> f64 {
        match &mut self.random {
            Some(random) => ordinary * (0.25 + 2.0 * random.fraction()),
            None => ordinary,
        }
    }

    /// A framework subscribes; its id, or none when it has been removed.
    pub fn subscribe(&mut self, now: f64, info: FrameworkInfo) -> Option<FrameworkId> {
        self.now = now;
        let id = match &info.id {
            Some(id) if self.framework.removed && self.framework.id.as_ref() == Some(id) => return None,
            Some(id) => id.clone(),
            None => {
                self.framework.registrations += 1;
                FrameworkId { value: format!("framework-{:04}", self.framework.registrations) }
            }
        };
        self.drop_offers();
        self.framework = Framework {
            id: Some(id.clone()),
            info,
            connected: true,
            removed: false,
            suppressed: false,
            filters: Vec::new(),
            registrations: self.framework.registrations,
        };
        let waiting: Vec<TaskId> =
            self.tasks.values().filter(|t| !t.pending.is_empty()).map(|t| t.info.task_id.clone()).collect();
        for task in waiting {
            self.forward_soon(&task, true);
        }
        self.request_allocation();
        Some(id)
    }

    /// The framework's connection is closed; its tasks go on.
    pub fn disconnect(&mut self) {
        self.framework.connected = false;
        self.events.clear();
        self.drop_offers();
    }

    /// The framework's own end of the connection: what the master still had to say is lost.
    pub fn call(&mut self, now: f64, call: Call) {
        self.now = now;
        match call.r#type {
            CallType::Accept => self.accept(call.accept.unwrap_or_default()),
            CallType::Decline => self.decline(call.decline.unwrap_or_default()),
            CallType::Revive => {
                self.framework.suppressed = false;
                self.framework.filters.clear();
                self.request_allocation();
            }
            CallType::Suppress => self.framework.suppressed = true,
            CallType::Kill => self.kill(call.kill.unwrap_or_default()),
            CallType::Acknowledge => self.acknowledge(&call.acknowledge.unwrap_or_default()),
            CallType::Reconcile => self.reconcile(call.reconcile.unwrap_or_default()),
            CallType::Teardown => self.tear_down(),
            other => self.observe(Observed::Refused(format!("the master does not know the call {other:?}"))),
        }
    }

    fn tear_down(&mut self) {
        self.framework.removed = true;
        self.framework.connected = false;
        self.drop_offers();
        let living: Vec<TaskId> =
            self.tasks.values().filter(|t| t.is_alive()).map(|t| t.info.task_id.clone()).collect();
        for id in living {
            self.set_state(&id, TaskState::Killed);
            self.release(&id);
        }
        for task in self.tasks.values_mut() {
            task.pending.clear();
        }
        for agent in self.agents.values_mut() {
            agent.executors.clear();
        }
        self.observe(Observed::TornDown);
        self.events.push(Event::TornDown);
    }
}
