//! The master: who has subscribed, what is offered to whom, what runs where, and who has not heard of it yet.
//!
//! A pure state machine: calls, agents' reports and the time come in as arguments, events and orders for agents go out
//! through [`Master::take_outputs`]. It knows nothing of HTTP, processes or files; `driver` connects it to those.
//! Behaviour and texts are those of Apache Mesos 1.12 as far as a framework can see them. What this master does not
//! have: authentication, quotas, weights, inverse offers, resource providers, and more than one instance of itself.

mod accept;
mod allocate;
mod state;
mod subscribe;
mod update;
mod validate;
mod view;

pub use state::{Agent, Framework, Saved, Task};
pub use validate::{Refusal, parse_call};

use super::resources::Resources;
use crate::wire::{
    AgentId, Call, CallType, Event, EventType, ExecutorId, ExecutorInfo, Failure, FrameworkId, KillPolicy,
    Offer, OfferId, Reconcile, Rescind, TaskInfo, TaskState, TaskStatus, Update,
};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

/// Seconds and nanoseconds since 1970; must never go back.
pub type Time = Duration;

/// One answer to a SUBSCRIBE, named by its `Mesos-Stream-Id`.
pub type StreamId = String;

/// How often a stream without events gets a HEARTBEAT.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// What the master wants to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write an event to a stream.
    Send(StreamId, Box<Event>),
    /// End a stream after what has been written.
    Close(StreamId),
    /// Give an order to an agent.
    Agent(AgentId, Order),
}

/// What an agent is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Start tasks, and their executor when it is not running yet.
    Launch(Box<Launch>),
    /// End a task.
    Kill(FrameworkId, crate::wire::TaskId, Option<KillPolicy>),
    /// End an executor and its tasks.
    Shutdown(FrameworkId, ExecutorId),
    /// End everything of a framework, without reports about its tasks.
    ShutdownFramework(FrameworkId),
    /// Delete a persistent volume, by role and id.
    DestroyVolume(String, String),
}

/// Tasks to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Whose they are.
    pub framework: FrameworkId,
    /// Who they run as when their command does not say.
    pub user: String,
    /// Whether the framework wants to hear TASK_KILLING.
    pub killing_state: bool,
    /// Their executor; for a single task one of the task's name, with nothing else in it.
    pub executor: ExecutorInfo,
    /// Whether the executor is there for one task only (LAUNCH) rather than for groups of tasks (LAUNCH_GROUP).
    pub single_task: bool,
    /// The tasks.
    pub tasks: Vec<TaskInfo>,
}

/// What an agent reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// A task's new status; the master adds uuid and time.
    Status(FrameworkId, Box<TaskStatus>),
    /// An executor and all its processes are gone.
    ExecutorExited(FrameworkId, ExecutorId),
}

/// An offer that has not been answered.
#[derive(Clone, Debug)]
struct OpenOffer {
    framework: FrameworkId,
    agent: AgentId,
    role: String,
    resources: Resources,
}

/// The state machine. See the module's text.
#[derive(Debug)]
pub struct Master {
    id: String,
    address: SocketAddrV4,
    agents: BTreeMap<AgentId, Agent>,
    frameworks: BTreeMap<FrameworkId, Framework>,
    /// Frameworks that must not come back; the oldest are forgotten.
    removed: Vec<FrameworkId>,
    offers: BTreeMap<OfferId, OpenOffer>,
    /// What executors of removed frameworks use until their processes are gone.
    draining: Vec<(FrameworkId, AgentId, ExecutorId, Resources)>,
    next_offer: u64,
    next_framework: u64,
    last_allocation: Time,
    next_allocation: Option<Time>,
    outputs: Vec<Output>,
    /// Whether something changed that must be on disk before the outputs leave.
    dirty: bool,
}

impl Master {
    /// A master with what an earlier one saved, and its agents.
    pub fn new(id: String, address: SocketAddrV4, saved: Saved, agents: Vec<Agent>, now: Time) -> Self {
        let mut master = Self {
            id,
            address,
            agents: agents.into_iter().map(|a| (a.id.clone(), a)).collect(),
            frameworks: BTreeMap::new(),
            removed: saved.removed,
            offers: BTreeMap::new(),
            draining: Vec::new(),
            next_offer: 0,
            next_framework: saved.next_framework,
            last_allocation: Time::ZERO,
            next_allocation: None,
            outputs: Vec::new(),
            dirty: true,
        };
        for mut framework in saved.frameworks {
            framework.disconnect(now);
            master.frameworks.insert(framework.id.clone(), framework);
        }
        master
    }

    /// The cluster has been started again, and everything that ran has been killed: says so to whoever owned it.
    pub fn agents_restarted(&mut self, now: Time) {
        let lost: Vec<_> =
            self.tasks().map(|(f, t)| (f.id.clone(), t.agent_id.clone(), t.latest.clone())).collect();
        for (framework, agent, latest) in lost {
            let status = TaskStatus {
                state: TaskState::Failed,
                message: Some("The agent was restarted, which ended the task".into()),
                source: Some("SOURCE_AGENT".into()),
                reason: Some("REASON_EXECUTOR_TERMINATED".into()),
                ..latest
            };
            self.task_status(&framework, &agent, status, now);
        }
        for framework in self.frameworks.values_mut() {
            framework.executors.clear();
        }
        self.dirty = true;
    }

    /// What has to be done since the last time this was asked, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// What must be durable before the outputs leave, when that has changed since the last time this was asked.
    pub fn take_changes(&mut self) -> Option<Saved> {
        std::mem::take(&mut self.dirty).then(|| Saved {
            next_framework: self.next_framework,
            frameworks: self.frameworks.values().cloned().collect(),
            removed: self.removed.clone(),
            agents: self.agents.values().cloned().collect(),
        })
    }

    /// When [`Master::tick`] is due next.
    pub fn next_tick(&self) -> Option<Time> {
        let frameworks = self.frameworks.values().filter_map(Framework::next_tick);
        frameworks.chain(self.next_allocation).min()
    }

    /// Does what is due: heartbeats, repeated updates, new offers, the end of failover timeouts.
    pub fn tick(&mut self, now: Time) {
        let ids: Vec<FrameworkId> = self.frameworks.keys().cloned().collect();
        for id in ids {
            let Some(framework) = self.frameworks.get_mut(&id) else { continue };
            if framework.remove_at.is_some_and(|at| at <= now) {
                tracing::info!(framework = %id, "failover timeout has passed, framework removed");
                self.remove_framework(&id, now);
                continue;
            }
            if framework.expire_filters(now) {
                self.request_allocation(now);
            }
            self.repeat_updates(&id, now);
            let Some(framework) = self.frameworks.get_mut(&id) else { continue };
            if framework.stream.is_some() && framework.heartbeat_at <= now {
                self.send(&id, event(EventType::Heartbeat), now);
            }
        }
        if self.next_allocation.is_some_and(|at| at <= now) {
            self.allocate(now);
        }
    }

    /// A call other than SUBSCRIBE, with the stream id that came with it.
    pub fn call(&mut self, now: Time, stream: Option<&str>, call: Call) -> Result<(), Refusal> {
        let id = self.check_sender(stream, &call)?;
        match call.r#type {
            CallType::Teardown => self.remove_framework(&id, now),
            CallType::Accept => self.accept(&id, call.accept.unwrap_or_default(), now),
            CallType::Decline => {
                let decline = call.decline.unwrap_or_default();
                for offer in decline.offer_ids {
                    self.give_back(&id, &offer, decline.filters.as_ref(), now);
                }
            }
            CallType::Revive => {
                self.framework(&id).revive(&call.revive.unwrap_or_default().roles);
                self.allocate(now);
            }
            CallType::Suppress => self.framework(&id).suppress(&call.suppress.unwrap_or_default().roles),
            CallType::Kill => {
                let kill = call.kill.unwrap_or_default();
                let task = self.framework(&id).tasks.get(&kill.task_id.value);
                match task.filter(|t| !t.latest.state.is_terminal()).map(|t| t.agent_id.clone()) {
                    Some(agent) => {
                        let order = Order::Kill(id, kill.task_id, kill.kill_policy);
                        self.outputs.push(Output::Agent(agent, order));
                    }
                    None => self.reconcile_one(&id, &kill.task_id, kill.agent_id, now),
                }
            }
            CallType::Shutdown => {
                let shutdown = call.shutdown.unwrap_or_default();
                let order = Order::Shutdown(id, shutdown.executor_id);
                self.outputs.push(Output::Agent(shutdown.agent_id, order));
            }
            CallType::Acknowledge => {
                let ack = call.acknowledge.unwrap_or_default();
                self.acknowledge(&id, &ack.task_id, &ack.uuid, now);
            }
            CallType::AcknowledgeOperationStatus => {
                let ack = call.acknowledge_operation_status.unwrap_or_default();
                self.acknowledge_operation(&id, &ack.operation_id, &ack.uuid);
            }
            CallType::Reconcile => self.reconcile(&id, call.reconcile.unwrap_or_default(), now),
            CallType::ReconcileOperations => {
                self.reconcile_operations(&id, &call.reconcile_operations.unwrap_or_default(), now);
            }
            CallType::UpdateFramework => {
                self.update_framework(&id, call.update_framework.unwrap_or_default(), now)?;
            }
            // neither executor of the embedded cluster understands messages; like Mesos, nobody is told
            CallType::Message
            | CallType::Request
            | CallType::AcceptInverseOffers
            | CallType::DeclineInverseOffers
            | CallType::Subscribe
            | CallType::Unknown => {}
        }
        Ok(())
    }

    /// What an agent has to say.
    pub fn report(&mut self, now: Time, agent: &AgentId, report: Report) {
        match report {
            Report::Status(framework, status) => self.task_status(&framework, agent, *status, now),
            Report::ExecutorExited(framework, executor) => {
                self.executor_exited(&framework, agent, &executor, now);
            }
        }
    }

    /// A stream was closed by its reader.
    pub fn disconnected(&mut self, now: Time, stream: &str) {
        let mut all = self.frameworks.values_mut();
        let Some(framework) = all.find(|f| f.stream.as_deref() == Some(stream)) else { return };
        framework.disconnect(now);
        let id = framework.id.clone();
        self.drop_offers(&id, now);
    }

    /// All tasks, with the framework that they belong to.
    pub fn tasks(&self) -> impl Iterator<Item = (&Framework, &Task)> {
        self.frameworks.values().flat_map(|f| f.tasks.values().map(move |t| (f, t)))
    }

    /// The registered frameworks.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.frameworks.values()
    }

    /// The agents.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// This master's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A framework that is known to be registered; callers have just looked it up.
    fn framework(&mut self, id: &FrameworkId) -> &mut Framework {
        self.frameworks.entry(id.clone()).or_default()
    }

    /// Sends an event to a framework when it is there. Any event counts as a heartbeat.
    fn send(&mut self, id: &FrameworkId, event: Event, now: Time) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(stream) = &framework.stream else { return };
        framework.heartbeat_at = now + HEARTBEAT;
        self.outputs.push(Output::Send(stream.clone(), Box::new(event)));
    }

    fn send_status(&mut self, id: &FrameworkId, status: TaskStatus, now: Time) {
        self.send(id, Event { update: Some(Update { status }), ..event(EventType::Update) }, now);
    }

    fn executor_exited(&mut self, id: &FrameworkId, agent: &AgentId, executor: &ExecutorId, now: Time) {
        self.draining.retain(|(f, a, e, _)| !(f == id && a == agent && e == executor));
        self.request_allocation(now);
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let gone = |e: &state::Executor| e.agent_id == *agent && e.id == *executor;
        let Some(index) = framework.executors.iter().position(gone) else { return };
        let record = framework.executors.remove(index);
        self.dirty = true;
        if !record.single_task {
            let failure = Failure {
                agent_id: Some(agent.clone()),
                executor_id: Some(executor.clone()),
                status: Some(0),
            };
            self.send(id, Event { failure: Some(failure), ..event(EventType::Failure) }, now);
        }
    }

    /// Ends a framework for good: its tasks are killed, nobody hears of them, and its id is never used again.
    fn remove_framework(&mut self, id: &FrameworkId, now: Time) {
        self.drop_offers(id, now);
        let Some(framework) = self.frameworks.remove(id) else { return };
        if let Some(stream) = framework.stream {
            self.outputs.push(Output::Close(stream));
        }
        for executor in &framework.executors {
            let mut used = executor.resources.clone();
            let own = |t: &&Task| t.executor_id == executor.id && t.agent_id == executor.agent_id;
            for task in framework.tasks.values().filter(own).filter(|t| !t.latest.state.is_terminal()) {
                used.add(&task.resources);
            }
            self.draining.push((id.clone(), executor.agent_id.clone(), executor.id.clone(), used));
        }
        for agent in self.agents.keys() {
            self.outputs.push(Output::Agent(agent.clone(), Order::ShutdownFramework(id.clone())));
        }
        self.removed.push(id.clone());
        let too_many = self.removed.len().saturating_sub(1000);
        self.removed.drain(..too_many);
        self.dirty = true;
    }

    /// Takes all offers of a framework back without a word: it is not there to hear it.
    fn drop_offers(&mut self, id: &FrameworkId, now: Time) {
        self.offers.retain(|_, o| o.framework != *id);
        self.request_allocation(now);
    }

    fn rescind(&mut self, offer: &OfferId, now: Time) {
        let Some(open) = self.offers.remove(offer) else { return };
        let rescind = Rescind { offer_id: offer.clone() };
        self.send(&open.framework, Event { rescind: Some(rescind), ..event(EventType::Rescind) }, now);
        self.request_allocation(now);
    }

    fn reconcile(&mut self, id: &FrameworkId, reconcile: Reconcile, now: Time) {
        if reconcile.tasks.is_empty() {
            let all: Vec<_> =
                self.framework(id).tasks.values().map(|t| (t.id.clone(), t.agent_id.clone())).collect();
            for (task, agent) in all {
                self.reconcile_one(id, &task, Some(agent), now);
            }
        }
        for task in reconcile.tasks {
            self.reconcile_one(id, &task.task_id, task.agent_id, now);
        }
    }
}

/// An event without a body.
fn event(r#type: EventType) -> Event {
    Event { r#type, ..Event::default() }
}

/// A status that the master itself makes up: no uuid, nobody has to acknowledge it.
fn master_status(
    task: &crate::wire::TaskId,
    agent: Option<AgentId>,
    (state, reason): (TaskState, &str),
    message: String,
    now: Time,
) -> TaskStatus {
    TaskStatus {
        task_id: task.clone(),
        state,
        message: Some(message),
        source: Some("SOURCE_MASTER".into()),
        reason: Some(reason.into()),
        agent_id: agent,
        timestamp: Some(now.as_secs_f64()),
        ..TaskStatus::default()
    }
}

/// An offer as the framework sees it.
fn new_offer(id: OfferId, open: &OpenOffer, agent: &Agent, executors: Vec<ExecutorId>) -> Offer {
    Offer {
        id,
        framework_id: open.framework.clone(),
        agent_id: agent.id.clone(),
        hostname: agent.hostname.clone(),
        url: Some(agent.url()),
        domain: None,
        resources: open.resources.allocated(&open.role),
        attributes: agent.attributes.clone(),
        executor_ids: executors,
        allocation_info: Some(crate::wire::AllocationInfo { role: Some(open.role.clone()) }),
    }
}

#[cfg(test)]
mod tests;
