//! What a scheduler sends to the master.

use super::{
    AgentId, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, KillPolicy, OfferId, OperationId,
    Resource, TaskGroupInfo, TaskId, TaskInfo, message,
};
use serde::{Deserialize, Serialize};

message! {
    /// One call; `type` says which of the bodies is set.
    pub struct Call {
        opt framework_id: FrameworkId,
        req r#type: CallType,
        opt subscribe: Subscribe,
        opt accept: Accept,
        opt decline: Decline,
        opt revive: Roles,
        opt suppress: Roles,
        opt kill: Kill,
        opt shutdown: Shutdown,
        opt acknowledge: Acknowledge,
        opt acknowledge_operation_status: AcknowledgeOperationStatus,
        opt reconcile: Reconcile,
        opt reconcile_operations: serde_json::Value,
        opt message: serde_json::Value,
        opt update_framework: Subscribe,
    }
    /// Registers a framework, or takes it over when `framework_info.id` is set.
    pub struct Subscribe { req framework_info: FrameworkInfo, rep suppressed_roles: String }
    /// Uses offers of one agent for operations, in order.
    pub struct Accept { rep offer_ids: OfferId, rep operations: Operation, opt filters: Filters }
    /// Gives offers back.
    pub struct Decline { rep offer_ids: OfferId, opt filters: Filters }
    /// How long the same resources are not to be offered again.
    pub struct Filters { opt refuse_seconds: f64 }
    /// The roles of a REVIVE or SUPPRESS; all when empty.
    pub struct Roles { rep roles: String }
    /// Ends a task.
    pub struct Kill { req task_id: TaskId, opt agent_id: AgentId, opt kill_policy: KillPolicy }
    /// Ends an executor and its tasks.
    pub struct Shutdown { req executor_id: ExecutorId, req agent_id: AgentId }
    /// Confirms a status update; `uuid` is base64.
    pub struct Acknowledge { req agent_id: AgentId, req task_id: TaskId, req uuid: String }
    /// Confirms an operation's status; `uuid` is base64.
    pub struct AcknowledgeOperationStatus {
        opt agent_id: AgentId,
        opt resource_provider_id: serde_json::Value,
        req uuid: String,
        req operation_id: OperationId,
    }
    /// Asks for the state of tasks; of all when empty.
    pub struct Reconcile { rep tasks: ReconcileTask }
    /// One task whose state is asked for.
    pub struct ReconcileTask { req task_id: TaskId, opt agent_id: AgentId }

    /// One operation on an offer's resources; `type` says which of the bodies is set.
    pub struct Operation {
        req r#type: OperationType,
        opt id: OperationId,
        opt reserve: ResourcesBody,
        opt unreserve: ResourcesBody,
        opt create: VolumesBody,
        opt destroy: VolumesBody,
        opt launch: Launch,
        opt launch_group: LaunchGroup,
    }
    /// The resources of a RESERVE or UNRESERVE.
    pub struct ResourcesBody { rep resources: Resource }
    /// The volumes of a CREATE or DESTROY.
    pub struct VolumesBody { rep volumes: Resource }
    /// Tasks, each with a command executor of its own.
    pub struct Launch { rep task_infos: TaskInfo }
    /// Tasks that start together in one executor.
    pub struct LaunchGroup { req executor: ExecutorInfo, req task_group: TaskGroupInfo }
}

/// The kind of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // the names are Mesos' own
pub enum CallType {
    Subscribe,
    Teardown,
    Accept,
    Decline,
    Revive,
    Suppress,
    Kill,
    Shutdown,
    Acknowledge,
    AcknowledgeOperationStatus,
    Reconcile,
    ReconcileOperations,
    Message,
    Request,
    UpdateFramework,
    AcceptInverseOffers,
    DeclineInverseOffers,
    #[default]
    #[serde(other)]
    Unknown,
}

/// The kind of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // the names are Mesos' own
pub enum OperationType {
    Reserve,
    Unreserve,
    Create,
    Destroy,
    Launch,
    LaunchGroup,
    #[default]
    #[serde(other)]
    Unknown,
}
