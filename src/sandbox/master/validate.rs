//! Which requests are refused, with which status and words.

use super::Master;
use crate::wire::{Call, CallType, FrameworkId};
use base64::Engine as _;
use serde_json::Value;

/// An HTTP answer other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body, plain text.
    pub text: String,
}

impl Refusal {
    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self { status: 400, text: text.into() }
    }
}

/// Reads a call and checks what can be checked without knowing the framework.
pub fn parse_call(body: &[u8]) -> Result<Call, Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|e| {
        Refusal::bad_request(format!(
            "Failed to parse body into JSON: syntax error at line {} near: ",
            e.line().max(1)
        ))
    })?;
    let convert =
        |text: String| Refusal::bad_request(format!("Failed to convert JSON into Call protobuf: {text}"));
    let invalid = |text: &str| Refusal::bad_request(format!("Failed to validate scheduler::Call: {text}"));
    let Some(fields) = value.as_object() else { return Err(convert("Expecting a JSON object".into())) };
    match fields.get("type") {
        Some(Value::Number(_)) => return Err(convert("Not expecting a JSON number for field 'type'".into())),
        Some(Value::String(_)) => {}
        _ => return Err(invalid("Expecting 'type' to be present")),
    }
    let call: Call = serde_json::from_value(value).map_err(|e| convert(e.to_string()))?;
    let missing = |field: &str| invalid(&format!("Expecting '{field}' to be present"));
    if call.r#type == CallType::Unknown {
        return Err(missing("type"));
    }
    let (field, present) = match call.r#type {
        CallType::Subscribe => ("subscribe", call.subscribe.is_some()),
        _ if call.framework_id.is_none() => ("framework_id", false),
        CallType::Accept => ("accept", call.accept.is_some()),
        CallType::Decline => ("decline", call.decline.is_some()),
        CallType::Kill => ("kill", call.kill.is_some()),
        CallType::Shutdown => ("shutdown", call.shutdown.is_some()),
        CallType::Acknowledge => ("acknowledge", call.acknowledge.is_some()),
        CallType::AcknowledgeOperationStatus => {
            ("acknowledge_operation_status", call.acknowledge_operation_status.is_some())
        }
        CallType::Reconcile => ("reconcile", call.reconcile.is_some()),
        CallType::ReconcileOperations => ("reconcile_operations", call.reconcile_operations.is_some()),
        CallType::Message => ("message", call.message.is_some()),
        CallType::UpdateFramework => ("update_framework", call.update_framework.is_some()),
        _ => ("", true),
    };
    if !present {
        return Err(missing(field));
    }
    let uuid = call.acknowledge.as_ref().map(|a| &a.uuid);
    if let Some(uuid) = uuid.or(call.acknowledge_operation_status.as_ref().map(|a| &a.uuid)) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(uuid);
        let bytes = bytes.map_err(|e| convert(format!("Failed to base64 decode bytes field 'uuid': {e}")))?;
        if bytes.len() != 16 {
            return Err(invalid("Not a valid UUID"));
        }
    }
    for (body, name) in [(&call.subscribe, "subscribe"), (&call.update_framework, "update_framework")] {
        let Some(body) = body else { continue };
        let inner = body.framework_info.id.clone().unwrap_or_default();
        if inner != call.framework_id.clone().unwrap_or_default() {
            return Err(invalid(&format!("'framework_id' differs from '{name}.framework_info.id'")));
        }
    }
    Ok(call)
}

impl Master {
    /// Whether a call comes on behalf of a subscribed framework, over its current stream; and which framework that is.
    pub(super) fn check_sender(&self, stream: Option<&str>, call: &Call) -> Result<FrameworkId, Refusal> {
        let id = call.framework_id.clone().unwrap_or_default();
        let framework =
            self.frameworks.get(&id).ok_or_else(|| Refusal::bad_request("Framework cannot be found"))?;
        let Some(own) = framework.stream.as_deref() else {
            return Err(Refusal { status: 403, text: "Framework is not subscribed".into() });
        };
        match stream {
            None => Err(Refusal::bad_request(
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
            )),
            Some(stream) if stream != own => Err(Refusal::bad_request(format!(
                "The stream ID '{stream}' included in this request didn't match the stream ID currently associated \
                 with framework ID {id}"
            ))),
            Some(_) => Ok(id),
        }
    }
}
