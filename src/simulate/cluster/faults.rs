//! What goes wrong in a cluster: agents that vanish, masters that are replaced, messages and operations that are lost.

use super::{Cluster, Happening, Known, Observed};
use crate::scheduler::Event;
use crate::wire::{AgentId, OperationType, TaskId, TaskState, TaskStatus};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds after which the master gives up an agent that is silent, Mesos' default.
const AGENT_TIMEOUT: f64 = 75.0;
/// Seconds within which agents register with a new master.
const REGISTRATION: f64 = 3.0;
/// Seconds after which a new master gives up agents that it has not heard of, Mesos' default.
const REREGISTER_TIMEOUT: f64 = 600.0;

/// What goes wrong, by the number that a message or an operation has in its kind, from 1 on.
#[derive(Clone, Debug, Default)]
pub struct Mishaps {
    /// Status messages that never arrive.
    pub lost: BTreeSet<u64>,
    /// Status messages that arrive twice.
    pub repeated: BTreeSet<u64>,
    /// Status messages that take so many seconds more.
    pub delayed: BTreeMap<u64, f64>,
    /// RESERVEs that are not carried out.
    pub reserves: BTreeSet<u64>,
    /// CREATEs that are not carried out.
    pub creates: BTreeSet<u64>,
    sent: u64,
    arrived: u64,
    reserved: u64,
    created: u64,
}

impl Mishaps {
    pub(super) fn status_delay(&mut self) -> f64 {
        self.sent += 1;
        self.delayed.get(&self.sent).copied().unwrap_or_default()
    }

    /// How often the next status message arrives.
    pub(super) fn status_copies(&mut self) -> u32 {
        self.arrived += 1;
        match (self.lost.contains(&self.arrived), self.repeated.contains(&self.arrived)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    pub(super) fn operation_fails(&mut self, kind: OperationType) -> bool {
        let (count, fails) = match kind {
            OperationType::Reserve => (&mut self.reserved, &self.reserves),
            OperationType::Create => (&mut self.created, &self.creates),
            _ => return false,
        };
        *count += 1;
        fails.contains(count)
    }

    /// Lets nothing go wrong, and counts anew.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Lets nothing more go wrong.
    pub fn stop(&mut self) {
        for all in [&mut self.lost, &mut self.repeated, &mut self.reserves, &mut self.creates] {
            all.clear();
        }
        self.delayed.clear();
    }
}

impl Cluster {
    /// Nothing gets from an agent or to it any more, until [`Cluster::reconnect_agent`].
    pub fn cut_agent(&mut self, now: f64, id: &AgentId) {
        self.now = now;
        let Some(agent) = self.agents.get_mut(id).filter(|a| !a.cut && a.known != Known::Gone) else {
            return;
        };
        agent.cut = true;
        agent.silences += 1;
        let silence = agent.silences;
        self.queue.add(now + AGENT_TIMEOUT, Happening::AgentSilent(id.clone(), silence));
    }

    /// An agent's machine is gone for good, with all that ran on it.
    pub fn destroy_agent(&mut self, now: f64, id: &AgentId) {
        self.cut_agent(now, id);
        self.end_all(id);
        if let Some(agent) = self.agents.get_mut(id) {
            agent.dead = true;
        }
    }

    /// An agent's machine starts anew: what ran on it has ended, and what was reserved still is.
    pub fn reboot_agent(&mut self, now: f64, id: &AgentId, seconds: f64) {
        self.cut_agent(now, id);
        self.end_all(id);
        self.queue.add(now + seconds, Happening::AgentRegisters(id.clone()));
    }

    /// An operator says that an agent will not come back: the master removes it and tells all.
    pub fn mark_agent_gone(&mut self, now: f64, id: &AgentId) {
        self.now = now;
        self.end_all(id);
        let Some(agent) = self.agents.get_mut(id).filter(|a| a.known != Known::Gone) else { return };
        agent.known = Known::Gone;
        agent.dead = true;
        agent.executors.clear();
        agent.holding.clear();
        let tasks = self.unsettled(id);
        self.rescind_agent(id);
        for task in tasks {
            let what =
                (TaskState::GoneByOperator, "REASON_SLAVE_REMOVED_BY_OPERATOR", "Agent has been marked gone");
            self.master_says(&task, Some(id.clone()), what);
        }
    }

    /// The tasks of an agent of whose end the master has not heard.
    fn unsettled(&self, id: &AgentId) -> Vec<TaskId> {
        let open = self.tasks.values().filter(|t| t.info.agent_id == *id && !t.told.state.is_terminal());
        open.map(|t| t.info.task_id.clone()).collect()
    }

    /// Everything on an agent ends without anybody hearing of it.
    fn end_all(&mut self, id: &AgentId) {
        let living = self.tasks.values().filter(|t| t.info.agent_id == *id && t.is_alive());
        let living: Vec<TaskId> = living.map(|t| t.info.task_id.clone()).collect();
        for task in living {
            self.set_state(&task, TaskState::Gone);
        }
        for task in self.tasks.values_mut().filter(|t| t.info.agent_id == *id) {
            task.pending.clear();
        }
    }

    /// An agent that was cut off can be reached again.
    pub fn reconnect_agent(&mut self, now: f64, id: &AgentId) {
        self.now = now;
        self.on_agent_registers(id);
    }

    pub(super) fn on_agent_silent(&mut self, id: &AgentId, silence: u32) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        if !agent.cut || agent.silences != silence || agent.known == Known::Gone {
            return;
        }
        let was = std::mem::replace(&mut agent.known, Known::Unreachable);
        if was == Known::Unreachable {
            return;
        }
        let host = agent.host().to_owned();
        let holding = self.unsettled(id);
        self.observe(Observed::Note(format!("{host} is unreachable")));
        self.rescind_agent(id);
        for task in holding {
            if let Some(task) = self.tasks.get_mut(&task) {
                task.told.state = TaskState::Unreachable;
            }
            let what = (TaskState::Unreachable, "REASON_SLAVE_REMOVED", "Agent is unreachable");
            self.master_says(&task, Some(id.clone()), what);
        }
    }

    /// An agent tells a master what runs on it.
    pub(super) fn on_agent_registers(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id).filter(|a| !a.dead && a.known != Known::Gone) else {
            return;
        };
        let was = std::mem::replace(&mut agent.known, Known::Registered);
        agent.cut = false;
        agent.silences += 1;
        let host = agent.host().to_owned();
        let holding = self.unsettled(id);
        self.observe(Observed::Note(format!("{host} is registered")));
        for id in holding {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let agent = Some(task.info.agent_id.clone());
            if task.is_alive() {
                if was != Known::Registered {
                    let state = task.state;
                    let status = TaskStatus {
                        state,
                        source: Some("SOURCE_MASTER".to_owned()),
                        reason: Some("REASON_AGENT_REREGISTERED".to_owned()),
                        uuid: None,
                        ..task.told.clone()
                    };
                    task.told.state = state;
                    if self.framework.connected {
                        self.events.push(Event::Update(Box::new(status)));
                    }
                }
            } else if task.pending.is_empty() {
                // it never arrived, or ended with the agent
                let state = if task.phantom { TaskState::Dropped } else { TaskState::Gone };
                task.state = state;
                task.told.state = state;
                self.release(&id);
                let what = (state, "REASON_RECONCILIATION", "Task is unknown to the agent");
                self.master_says(&id, agent, what);
            }
        }
        let waiting = self.tasks.values().filter(|t| t.info.agent_id == *id && !t.pending.is_empty());
        for task in waiting.map(|t| t.info.task_id.clone()).collect::<Vec<_>>() {
            self.forward_soon(&task, true);
        }
        self.request_allocation();
    }

    /// Another master takes over. It knows nothing until agents and framework have registered with it.
    pub fn replace_master(&mut self, now: f64) {
        self.now = now;
        self.disconnect();
        for id in self.agents.keys().cloned().collect::<Vec<_>>() {
            let delay = self.duration(REGISTRATION);
            let Some(agent) = self.agents.get_mut(&id) else { continue };
            if agent.known == Known::Registered {
                agent.known = Known::Unheard;
            }
            agent.silences += 1;
            if agent.cut || agent.dead {
                let silent = Happening::AgentSilent(id, agent.silences);
                self.queue.add(now + REREGISTER_TIMEOUT, silent);
            } else {
                self.queue.add(now + delay, Happening::AgentRegisters(id));
            }
        }
    }
}
