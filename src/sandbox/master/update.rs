//! Statuses of tasks and operations: forwarding them one at a time, repeating them until they are acknowledged, and
//! answering when a framework asks.

use super::state::{Operation, Retry};
use super::{Master, Time, event, master_status};
use crate::wire::{
    AgentId, Event, EventType, FrameworkId, OperationId, OperationStatus, TaskId, TaskState, TaskStatus,
    UpdateOperationStatus,
};
use serde_json::{Value, json};

impl Master {
    /// A status from an agent: stored, and sent unless an earlier one waits for its acknowledgement.
    pub(super) fn task_status(
        &mut self,
        id: &FrameworkId,
        agent: &AgentId,
        mut status: TaskStatus,
        now: Time,
    ) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(task) = framework.tasks.get_mut(&status.task_id.value) else { return };
        if task.latest.state.is_terminal() {
            return;
        }
        status.agent_id = Some(agent.clone());
        status.timestamp = Some(now.as_secs_f64());
        status.uuid = Some(super::super::ids::base64_uuid());
        task.latest = status.clone();
        task.pending.push_back(status.clone());
        let first = task.pending.len() == 1;
        self.dirty = true;
        if status.state.is_terminal() {
            self.request_allocation(now);
        }
        if first {
            self.forward(id, &status.task_id, now);
        }
    }

    /// Sends the first pending status of a task, for the first time or again.
    fn forward(&mut self, id: &FrameworkId, task: &TaskId, now: Time) {
        let framework = self.framework(id);
        if !framework.connected() {
            return;
        }
        let Some(task) = framework.tasks.get_mut(&task.value) else { return };
        let Some(status) = task.pending.front().cloned() else { return };
        task.retry =
            if task.forwarded.uuid == status.uuid { task.retry.again(now) } else { Retry::start(now) };
        task.forwarded = status.clone();
        self.send_status(id, status, now);
    }

    /// Everything unacknowledged, at once: the framework has just come back.
    pub(super) fn resend_updates(&mut self, id: &FrameworkId, now: Time) {
        let framework = self.framework(id);
        for task in framework.tasks.values_mut() {
            task.retry = Retry::default();
        }
        for operation in framework.operations.values_mut() {
            operation.retry = Retry::default();
        }
        self.repeat_updates(id, now);
    }

    /// What is unacknowledged for too long.
    pub(super) fn repeat_updates(&mut self, id: &FrameworkId, now: Time) {
        let framework = self.framework(id);
        if !framework.connected() {
            return;
        }
        let due = framework.tasks.values().filter(|t| !t.pending.is_empty() && t.retry.at <= now);
        let tasks: Vec<TaskId> = due.map(|t| t.id.clone()).collect();
        let mut operations = Vec::new();
        for (name, operation) in framework.operations.iter_mut().filter(|(_, o)| o.retry.at <= now) {
            operation.retry = operation.retry.again(now);
            operations.push((
                OperationId::from(name.as_str()),
                operation.agent_id.clone(),
                operation.uuid.clone(),
            ));
        }
        for task in tasks {
            self.forward(id, &task, now);
        }
        for (operation, agent, uuid) in operations {
            self.send_operation_finished(id, operation, agent, Some(&uuid), now);
        }
    }

    /// An ACKNOWLEDGE; one for something else than the status that was sent last does not matter.
    pub(super) fn acknowledge(&mut self, id: &FrameworkId, task_id: &TaskId, uuid: &str, now: Time) {
        let framework = self.framework(id);
        let Some(task) = framework.tasks.get_mut(&task_id.value) else { return };
        if task.pending.front().is_none_or(|s| s.uuid.as_deref() != Some(uuid)) {
            return;
        }
        task.pending.pop_front();
        if task.pending.is_empty() && task.latest.state.is_terminal() {
            framework.tasks.remove(&task_id.value);
        } else {
            self.forward(id, task_id, now);
        }
        self.dirty = true;
    }

    /// What a RECONCILE of one task, or a KILL of one that is not there, answers.
    pub(super) fn reconcile_one(
        &mut self,
        id: &FrameworkId,
        task_id: &TaskId,
        agent: Option<AgentId>,
        now: Time,
    ) {
        let framework = self.framework(id);
        let partition_aware = framework.capable("PARTITION_AWARE");
        let known = framework.tasks.get(&task_id.value).map(|task| task.forwarded.clone());
        let status = if let Some(known) = known {
            TaskStatus {
                message: Some("Reconciliation: Latest task state".into()),
                source: Some("SOURCE_MASTER".into()),
                reason: Some("REASON_RECONCILIATION".into()),
                timestamp: Some(now.as_secs_f64()),
                uuid: None,
                ..known
            }
        } else {
            let at_agent = agent.as_ref().is_some_and(|a| self.agents.contains_key(a));
            let (state, message) = if at_agent {
                (TaskState::Gone, "Reconciliation: Task is unknown to the agent")
            } else {
                (TaskState::Unknown, "Reconciliation: Task is unknown")
            };
            let state = if partition_aware { state } else { TaskState::Lost };
            master_status(task_id, agent, (state, "REASON_RECONCILIATION"), message.into(), now)
        };
        self.send_status(id, status, now);
    }

    /// An operation with an id has been done.
    pub(super) fn operation_finished(
        &mut self,
        id: &FrameworkId,
        operation: OperationId,
        agent: &AgentId,
        now: Time,
    ) {
        let uuid = super::super::ids::base64_uuid();
        let record = Operation { agent_id: agent.clone(), uuid: uuid.clone(), retry: Retry::start(now) };
        self.framework(id).operations.insert(operation.value.clone(), record);
        self.dirty = true;
        self.send_operation_finished(id, operation, agent.clone(), Some(&uuid), now);
    }

    /// An operation was not done; with an id the framework hears why, without one nobody does.
    pub(super) fn operation_failed(
        &mut self,
        id: &FrameworkId,
        op: Option<OperationId>,
        message: String,
        now: Time,
    ) {
        tracing::debug!(framework = %id, message, "operation dropped");
        let Some(operation_id) = op else { return };
        let status = OperationStatus {
            operation_id: Some(operation_id),
            state: "OPERATION_ERROR".into(),
            message: Some(message),
            ..OperationStatus::default()
        };
        self.send_operation(id, status, now);
    }

    /// An ACKNOWLEDGE_OPERATION_STATUS.
    pub(super) fn acknowledge_operation(&mut self, id: &FrameworkId, operation: &OperationId, uuid: &str) {
        let operations = &mut self.framework(id).operations;
        if operations.get(&operation.value).is_some_and(|o| o.uuid == uuid) {
            operations.remove(&operation.value);
            self.dirty = true;
        }
    }

    /// A RECONCILE_OPERATIONS.
    pub(super) fn reconcile_operations(&mut self, id: &FrameworkId, body: &Value, now: Time) {
        let framework = self.framework(id);
        let value = |v: &Value, key: &str| v[key]["value"].as_str().map(str::to_owned);
        let asked = body["operations"].as_array().map(Vec::as_slice).unwrap_or_default();
        let asked: Vec<(String, Option<String>)> = if asked.is_empty() {
            framework.operations.keys().map(|name| (name.clone(), None)).collect()
        } else {
            let one = |v| Some((value(v, "operation_id")?, value(v, "agent_id")));
            asked.iter().filter_map(one).collect()
        };
        for (name, agent) in asked {
            match self.framework(id).operations.get(&name).map(|o| o.agent_id.clone()) {
                Some(agent) => self.send_operation_finished(id, name.into(), agent, None, now),
                None => self.send_operation(
                    id,
                    OperationStatus {
                        operation_id: Some(name.into()),
                        state: "OPERATION_UNKNOWN".into(),
                        message: Some("Reconciliation: Operation is unknown".into()),
                        agent_id: agent.map(AgentId::from),
                        ..OperationStatus::default()
                    },
                    now,
                ),
            }
        }
    }

    fn send_operation_finished(
        &mut self,
        id: &FrameworkId,
        operation: OperationId,
        agent: AgentId,
        uuid: Option<&str>,
        now: Time,
    ) {
        let status = OperationStatus {
            operation_id: Some(operation),
            state: "OPERATION_FINISHED".into(),
            uuid: uuid.map(|uuid| json!({"value": uuid})),
            agent_id: Some(agent),
            ..OperationStatus::default()
        };
        self.send_operation(id, status, now);
    }

    fn send_operation(&mut self, id: &FrameworkId, status: OperationStatus, now: Time) {
        let update_operation_status = Some(UpdateOperationStatus { status });
        self.send(id, Event { update_operation_status, ..event(EventType::UpdateOperationStatus) }, now);
    }
}
