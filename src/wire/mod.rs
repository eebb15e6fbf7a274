//! The messages of the Mesos v1 scheduler API as plain data.
//!
//! Field names, spelling of enums and shapes are those of `mesos/v1/mesos.proto` and
//! `mesos/v1/scheduler/scheduler.proto` in their JSON form. Only what this project sends or reads is modelled;
//! unknown fields are ignored on input, as a Mesos master does. No I/O and no rules live here: resource
//! arithmetic is in `offer`, framing in `mesos`. Used by every room that talks about tasks or offers.

mod call;
mod event;
mod task;
pub mod vip;

pub use call::*;
pub use event::*;
pub use task::*;

use serde::{Deserialize, Serialize};

/// Declares protobuf messages: `req` fields must be present, `opt` fields are left out when absent and `rep`
/// fields when empty, which is how Mesos itself writes JSON.
macro_rules! message {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$fmeta:meta])* $kind:ident $field:ident : $ty:ty ),* $(,)? } )*) => { $(
        message!{ @emit [$(#[$meta])*] $name {} $( [$(#[$fmeta])*] $kind $field : $ty, )* }
    )* };
    (@emit [$(#[$meta:meta])*] $name:ident { $($done:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[allow(missing_docs)] // the fields are Mesos' own, documented in its proto files
        pub struct $name { $($done)* }
    };
    (@emit $meta:tt $name:ident { $($done:tt)* } [$(#[$fmeta:meta])*] req $field:ident : $ty:ty, $($rest:tt)*) => {
        message!{ @emit $meta $name { $($done)* $(#[$fmeta])* pub $field: $ty, } $($rest)* }
    };
    (@emit $meta:tt $name:ident { $($done:tt)* } [$(#[$fmeta:meta])*] opt $field:ident : $ty:ty, $($rest:tt)*) => {
        message!{ @emit $meta $name { $($done)* $(#[$fmeta])*
            #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$ty>, } $($rest)* }
    };
    (@emit $meta:tt $name:ident { $($done:tt)* } [$(#[$fmeta:meta])*] rep $field:ident : $ty:ty, $($rest:tt)*) => {
        message!{ @emit $meta $name { $($done)* $(#[$fmeta])*
            #[serde(default, skip_serializing_if = "Vec::is_empty")] pub $field: Vec<$ty>, } $($rest)* }
    };
}
pub(crate) use message;

/// Declares identifiers, written `{"value": "…"}` on the wire, that cannot be mistaken for each other.
macro_rules! ids {
    ($( $(#[$meta:meta])* $name:ident ),* $(,)?) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name {
            /// The identifier itself.
            pub value: String,
        }
        impl From<&str> for $name {
            fn from(value: &str) -> Self { Self { value: value.to_owned() } }
        }
        impl From<String> for $name {
            fn from(value: String) -> Self { Self { value } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.value) }
        }
    )* };
}

ids! {
    /// A framework, as named by the master when it subscribed first.
    FrameworkId,
    /// An agent, as named by the master when it registered.
    AgentId,
    /// One offer; used at most once.
    OfferId,
    /// One launch of a task; never used twice.
    TaskId,
    /// An executor on one agent; the tasks of a pod instance share one.
    ExecutorId,
    /// An offer operation whose outcome is reported.
    OperationId,
}

/// The kind of a resource or attribute value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ValueType {
    /// A number; Mesos counts three decimals.
    #[default]
    Scalar,
    /// Inclusive integer ranges, for instance ports.
    Ranges,
    /// A set of words.
    Set,
    /// One word; attributes only.
    Text,
}

message! {
    /// A scalar value; infinite for a limit that is none.
    pub struct Scalar { #[serde(with = "double")] req value: f64 }
    /// An inclusive range.
    pub struct Range { req begin: u64, req end: u64 }
    /// Several ranges.
    pub struct Ranges { rep range: Range }
    /// A set of words.
    pub struct Set { rep item: String }
    /// A text value.
    pub struct Text { req value: String }

    /// A key with an optional value.
    pub struct Label { req key: String, opt value: String }
    /// Labels, in order; keys may repeat.
    pub struct Labels { rep labels: Label }

    /// The role that a resource is offered to.
    pub struct AllocationInfo { opt role: String }

    /// A reservation in the refined form, or (without `type` and `role`) the older `Resource.reservation`.
    pub struct ReservationInfo {
        opt r#type: ReservationType,
        opt role: String,
        opt principal: String,
        opt labels: Labels,
    }

    /// What makes a disk resource a volume.
    pub struct DiskInfo {
        opt persistence: Persistence,
        opt volume: Volume,
        opt source: DiskSource,
    }
    /// A persistent volume's identity.
    pub struct Persistence { req id: String, opt principal: String }
    /// Where a disk comes from, when it isn't the agent's work directory.
    pub struct DiskSource {
        req r#type: DiskSourceType,
        opt path: DiskRoot,
        opt mount: DiskRoot,
        opt vendor: String,
        opt id: String,
        opt metadata: Labels,
        opt profile: String,
    }
    /// The directory of a PATH or MOUNT disk on its agent.
    pub struct DiskRoot { opt root: String }

    /// One resource of an offer, a reservation, a volume or a task.
    pub struct Resource {
        opt provider_id: serde_json::Value,
        req name: String,
        req r#type: ValueType,
        opt scalar: Scalar,
        opt ranges: Ranges,
        opt set: Set,
        opt role: String,
        opt allocation_info: AllocationInfo,
        opt reservation: ReservationInfo,
        rep reservations: ReservationInfo,
        opt disk: DiskInfo,
        opt revocable: serde_json::Value,
        opt shared: serde_json::Value,
    }

    /// An agent's attribute.
    pub struct Attribute {
        req name: String,
        req r#type: ValueType,
        opt scalar: Scalar,
        opt ranges: Ranges,
        opt set: Set,
        opt text: Text,
    }

    /// Region and zone of an agent or master.
    pub struct DomainInfo { opt fault_domain: FaultDomain }
    /// Region and zone.
    pub struct FaultDomain { opt region: DomainName, opt zone: DomainName }
    /// A region's or zone's name.
    pub struct DomainName { req name: String }

    /// An address of a Mesos process.
    pub struct Address { opt hostname: String, opt ip: String, req port: u32 }
    /// Where an agent is reached.
    pub struct Url { req scheme: String, req address: Address, opt path: String }

    /// Resources of one agent, offered to one framework.
    pub struct Offer {
        req id: OfferId,
        req framework_id: FrameworkId,
        req agent_id: AgentId,
        req hostname: String,
        opt url: Url,
        opt domain: DomainInfo,
        rep resources: Resource,
        rep attributes: Attribute,
        rep executor_ids: ExecutorId,
        opt allocation_info: AllocationInfo,
    }

    /// How a framework presents itself.
    pub struct FrameworkInfo {
        req user: String,
        req name: String,
        opt id: FrameworkId,
        opt failover_timeout: f64,
        opt checkpoint: bool,
        opt role: String,
        rep roles: String,
        opt hostname: String,
        opt principal: String,
        opt webui_url: String,
        rep capabilities: Capability,
        opt labels: Labels,
    }
    /// One capability of a framework, by name (`PARTITION_AWARE`, …).
    pub struct Capability { req r#type: String }
}

/// A `double` of protobuf in JSON, which has no infinite numbers: protobuf's JSON form, and Mesos' reader of it, write
/// them as texts.
mod double {
    use serde::{Deserializer, Serializer, de};
    use std::fmt;

    const INFINITY: &str = "Infinity";

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde gives a reference
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if *value == f64::INFINITY {
            return serializer.serialize_str(INFINITY);
        }
        serializer.serialize_f64(*value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(Double)
    }

    struct Double;

    impl de::Visitor<'_> for Double {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "a number or \"{INFINITY}\"")
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
            if text == INFINITY {
                return Ok(f64::INFINITY);
            }
            // Mesos reads numbers in quotes, too
            let number = text.parse().ok().filter(|n: &f64| n.is_finite());
            number.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
}

/// Who made a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReservationType {
    /// The agent's configuration.
    Static,
    /// A framework or operator, by a RESERVE operation.
    Dynamic,
}

/// The kind of a disk that isn't the agent's work directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DiskSourceType {
    /// A directory that can be split among volumes.
    Path,
    /// A whole mount point.
    Mount,
    /// A block device of a resource provider.
    Block,
    /// A device without a file system yet.
    Raw,
    /// Unknown to this program.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Labels {
    /// The value of the first label called `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|l| l.key == key).and_then(|l| l.value.as_deref())
    }

    /// Replaces every label called `key` by one with `value`.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.labels.retain(|l| l.key != key);
        self.push(key, value);
    }

    /// Adds a label.
    pub fn push(&mut self, key: &str, value: impl Into<String>) {
        self.labels.push(Label { key: key.to_owned(), value: Some(value.into()) });
    }
}

#[cfg(test)]
mod tests {
    use super::Scalar;

    #[test]
    fn an_infinite_scalar_is_a_text_in_json_and_comes_back() {
        let infinite = Scalar { value: f64::INFINITY };
        let json = serde_json::to_string(&infinite).unwrap();
        assert_eq!(json, r#"{"value":"Infinity"}"#);
        assert_eq!(serde_json::from_str::<Scalar>(&json).unwrap(), infinite);
        assert_eq!(serde_json::to_string(&Scalar { value: 0.5 }).unwrap(), r#"{"value":0.5}"#);
        let read = |json: &str| serde_json::from_str::<Scalar>(json).map(|s| s.value).ok();
        assert_eq!([read(r#"{"value":2}"#), read(r#"{"value":"2.5"}"#)], [Some(2.0), Some(2.5)]);
        for wrong in [r#"{"value":"NaN"}"#, r#"{"value":"much"}"#, r#"{"value":null}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
