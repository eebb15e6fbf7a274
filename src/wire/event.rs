//! What the master sends to a scheduler.

use super::{AgentId, ExecutorId, FrameworkId, Offer, OfferId, OperationId, TaskStatus, message};
use serde::{Deserialize, Serialize};

message! {
    /// One event; `type` says which of the bodies is set.
    pub struct Event {
        req r#type: EventType,
        opt subscribed: Subscribed,
        opt offers: Offers,
        opt rescind: Rescind,
        opt update: Update,
        opt update_operation_status: UpdateOperationStatus,
        opt message: serde_json::Value,
        opt failure: Failure,
        opt error: ErrorBody,
    }
    /// The first event of every stream.
    pub struct Subscribed {
        req framework_id: FrameworkId,
        opt heartbeat_interval_seconds: f64,
        opt master_info: serde_json::Value,
    }
    /// New offers.
    pub struct Offers { rep offers: Offer }
    /// An offer that is no longer valid.
    pub struct Rescind { req offer_id: OfferId }
    /// A task's new status.
    pub struct Update { req status: TaskStatus }
    /// An operation's new status; only for operations that were given an id.
    pub struct UpdateOperationStatus { req status: OperationStatus }
    /// The status of an operation.
    pub struct OperationStatus {
        opt operation_id: OperationId,
        req state: String,
        opt message: String,
        opt uuid: serde_json::Value,
        opt agent_id: AgentId,
    }
    /// An agent was removed, or (with `executor_id`) an executor ended.
    pub struct Failure { opt agent_id: AgentId, opt executor_id: ExecutorId, opt status: i32 }
    /// The stream ends; the text says why.
    pub struct ErrorBody { req message: String }
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // the names are Mesos' own
pub enum EventType {
    Subscribed,
    Offers,
    InverseOffers,
    Rescind,
    RescindInverseOffer,
    Update,
    UpdateOperationStatus,
    Message,
    Failure,
    Error,
    Heartbeat,
    #[default]
    #[serde(other)]
    Unknown,
}
