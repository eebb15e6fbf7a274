//! Tasks, executors and their statuses.

use super::{AgentId, Capability, ExecutorId, FrameworkId, Labels, Resource, Scalar, TaskId, message};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

message! {
    /// One task to launch.
    pub struct TaskInfo {
        req name: String,
        req task_id: TaskId,
        req agent_id: AgentId,
        rep resources: Resource,
        opt command: CommandInfo,
        opt executor: ExecutorInfo,
        opt container: ContainerInfo,
        opt health_check: HealthCheck,
        opt check: CheckInfo,
        opt kill_policy: KillPolicy,
        opt labels: Labels,
        opt discovery: DiscoveryInfo,
        /// Upper bounds by resource name (`cpus`, `mem`), where they differ from the request.
        opt limits: BTreeMap<String, Scalar>,
    }

    /// What a task or executor runs.
    pub struct CommandInfo {
        rep uris: Uri,
        opt environment: Environment,
        opt shell: bool,
        opt value: String,
        rep arguments: String,
        opt user: String,
    }
    /// Something that the agent fetches into the sandbox before the command runs.
    pub struct Uri {
        req value: String,
        opt executable: bool,
        opt extract: bool,
        opt cache: bool,
        opt output_file: String,
    }
    /// Environment variables.
    pub struct Environment { rep variables: Variable }
    /// One environment variable: `value`, or `secret` when `type` is SECRET.
    pub struct Variable {
        req name: String,
        opt r#type: VariableType,
        opt value: String,
        opt secret: Secret,
    }
    /// A secret: by reference to the cluster's secret store, or by value.
    pub struct Secret {
        opt r#type: SecretType,
        opt reference: SecretReference,
        opt value: SecretValue,
    }
    /// The name of a secret in the cluster's store.
    pub struct SecretReference { req name: String, opt key: String }
    /// A secret's bytes, in base64.
    pub struct SecretValue { req data: String }

    /// Runs the tasks of one pod instance; `type` is DEFAULT for the executor built into Mesos.
    pub struct ExecutorInfo {
        req r#type: ExecutorType,
        req executor_id: ExecutorId,
        opt framework_id: FrameworkId,
        opt command: CommandInfo,
        opt container: ContainerInfo,
        rep resources: Resource,
        opt name: String,
        opt source: String,
        opt labels: Labels,
    }

    /// The isolation of a task or executor.
    pub struct ContainerInfo {
        req r#type: ContainerType,
        rep volumes: Volume,
        opt hostname: String,
        opt mesos: MesosContainer,
        opt docker: serde_json::Value,
        rep network_infos: NetworkInfo,
        opt linux_info: LinuxInfo,
        opt rlimit_info: RlimitInfo,
    }
    /// A container of the Mesos containerizer.
    pub struct MesosContainer { opt image: Image }
    /// A container image.
    pub struct Image { req r#type: String, opt docker: DockerImage, opt cached: bool }
    /// A Docker image's name.
    pub struct DockerImage { req name: String }
    /// Linux settings of a container.
    pub struct LinuxInfo {
        opt share_pid_namespace: bool,
        opt seccomp: Seccomp,
        opt ipc_mode: String,
        opt shm_size: u32,
        opt share_cgroups: bool,
    }
    /// The system call filter.
    pub struct Seccomp { opt profile_name: String, opt unconfined: bool }
    /// Resource limits of the operating system.
    pub struct RlimitInfo { rep rlimits: Rlimit }
    /// One limit; no bounds means unlimited.
    pub struct Rlimit { req r#type: String, opt hard: u64, opt soft: u64 }

    /// A volume of a container, or the mount point of a persistent volume.
    pub struct Volume {
        opt mode: VolumeMode,
        req container_path: String,
        opt host_path: String,
        opt source: VolumeSource,
    }
    /// Where a volume's content comes from.
    pub struct VolumeSource {
        req r#type: String,
        opt sandbox_path: SandboxPath,
        opt docker_volume: serde_json::Value,
        opt secret: Secret,
    }
    /// A path in this task's or its executor's sandbox.
    pub struct SandboxPath { req r#type: SandboxPathType, req path: String }

    /// A network that a container joins.
    pub struct NetworkInfo {
        rep ip_addresses: IpAddress,
        opt name: String,
        rep port_mappings: PortMapping,
        opt labels: Labels,
    }
    /// An address of a container.
    pub struct IpAddress { opt protocol: String, opt ip_address: String }
    /// A host port that leads to a container port.
    pub struct PortMapping { req host_port: u32, req container_port: u32, opt protocol: String }

    /// A check that decides whether a task is healthy; an unhealthy task is killed.
    pub struct HealthCheck {
        opt r#type: CheckType,
        opt command: CommandInfo,
        opt http: serde_json::Value,
        opt tcp: serde_json::Value,
        opt delay_seconds: f64,
        opt interval_seconds: f64,
        opt timeout_seconds: f64,
        opt consecutive_failures: u32,
        opt grace_period_seconds: f64,
    }
    /// A check whose result is reported and has no other effect.
    pub struct CheckInfo {
        opt r#type: CheckType,
        opt command: CheckCommand,
        opt http: serde_json::Value,
        opt tcp: serde_json::Value,
        opt delay_seconds: f64,
        opt interval_seconds: f64,
        opt timeout_seconds: f64,
    }
    /// The command of a check.
    pub struct CheckCommand { req command: CommandInfo }
    /// How long a task may take to end after SIGTERM before it gets SIGKILL.
    pub struct KillPolicy { opt grace_period: DurationInfo }
    /// A duration in nanoseconds.
    pub struct DurationInfo { req nanoseconds: i64 }

    /// What service discovery is told about a task.
    pub struct DiscoveryInfo {
        req visibility: Visibility,
        opt name: String,
        opt environment: String,
        opt location: String,
        opt version: String,
        opt ports: Ports,
        opt labels: Labels,
    }
    /// The ports of a task.
    pub struct Ports { rep ports: Port }
    /// One port of a task.
    pub struct Port {
        req number: u32,
        opt name: String,
        opt protocol: String,
        opt visibility: Visibility,
        opt labels: Labels,
    }

    /// Tasks that are launched together, in one executor.
    pub struct TaskGroupInfo { rep tasks: TaskInfo }

    /// What is known about a task.
    pub struct TaskStatus {
        req task_id: TaskId,
        req state: TaskState,
        opt message: String,
        opt source: String,
        opt reason: String,
        opt data: String,
        opt agent_id: AgentId,
        opt executor_id: ExecutorId,
        /// Seconds since 1970.
        opt timestamp: f64,
        /// Base64; present when the update must be acknowledged.
        opt uuid: String,
        opt healthy: bool,
        opt check_status: CheckStatusInfo,
        opt labels: Labels,
        opt container_status: ContainerStatus,
        opt unreachable_time: serde_json::Value,
    }
    /// The last result of a check.
    pub struct CheckStatusInfo {
        opt r#type: CheckType,
        opt command: CheckStatusCommand,
        opt http: serde_json::Value,
        opt tcp: serde_json::Value,
    }
    /// The result of a command check; without `exit_code` it has not run yet.
    pub struct CheckStatusCommand { opt exit_code: i32 }
    /// The container of a task.
    pub struct ContainerStatus {
        opt container_id: ContainerId,
        rep network_infos: NetworkInfo,
        opt executor_pid: u32,
    }
    /// A container, nested in its parent.
    pub struct ContainerId { req value: String, opt parent: Box<ContainerId> }

    /// An agent, as an executor or operator sees it.
    pub struct AgentInfo {
        req hostname: String,
        opt port: u32,
        rep resources: Resource,
        rep attributes: super::Attribute,
        opt id: AgentId,
        opt domain: super::DomainInfo,
        rep capabilities: Capability,
    }
}

/// How an environment variable is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VariableType {
    /// Plainly.
    Value,
    /// As a secret.
    Secret,
    /// Unknown to this program.
    #[serde(other)]
    Unknown,
}

/// How a secret is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecretType {
    /// By name.
    Reference,
    /// By its bytes.
    Value,
    /// Unknown to this program.
    #[serde(other)]
    Unknown,
}

/// The kind of an executor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutorType {
    /// Built into Mesos; runs task groups.
    #[default]
    Default,
    /// Brought by the framework.
    Custom,
    /// Unknown to this program.
    #[serde(other)]
    Unknown,
}

/// The containerizer of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContainerType {
    /// The Mesos containerizer.
    #[default]
    Mesos,
    /// Docker.
    Docker,
}

/// The mode of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VolumeMode {
    /// Read and write.
    #[default]
    Rw,
    /// Read only.
    Ro,
}

/// Whose sandbox a path is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SandboxPathType {
    /// The task's own.
    #[default]
    #[serde(rename = "SELF")]
    Own,
    /// The executor's.
    Parent,
    /// Unknown to this program.
    #[serde(other)]
    Unknown,
}

/// How a check looks at a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckType {
    /// A command; exit code 0 passes.
    Command,
    /// An HTTP request.
    Http,
    /// A TCP connection.
    Tcp,
    /// Unknown to this program.
    #[serde(other)]
    Unknown,
}

/// Who may see a discovered task or port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Visibility {
    /// The framework alone.
    Framework,
    /// The cluster.
    #[default]
    Cluster,
    /// Everybody; listed as an endpoint.
    External,
}

/// The state of a task (`TASK_RUNNING`, …). Unknown names read as [`TaskState::Unknown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are Mesos' own
pub enum TaskState {
    #[serde(rename = "TASK_STAGING")]
    Staging,
    #[serde(rename = "TASK_STARTING")]
    Starting,
    #[serde(rename = "TASK_RUNNING")]
    Running,
    #[serde(rename = "TASK_KILLING")]
    Killing,
    #[serde(rename = "TASK_FINISHED")]
    Finished,
    #[serde(rename = "TASK_FAILED")]
    Failed,
    #[serde(rename = "TASK_KILLED")]
    Killed,
    #[serde(rename = "TASK_ERROR")]
    Error,
    #[serde(rename = "TASK_LOST")]
    Lost,
    #[serde(rename = "TASK_DROPPED")]
    Dropped,
    #[serde(rename = "TASK_UNREACHABLE")]
    Unreachable,
    #[serde(rename = "TASK_GONE")]
    Gone,
    #[serde(rename = "TASK_GONE_BY_OPERATOR")]
    GoneByOperator,
    #[default]
    #[serde(other, rename = "TASK_UNKNOWN")]
    Unknown,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Error,
        Self::Lost,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// The name on the wire, `TASK_RUNNING`.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Lost => "TASK_LOST",
            Self::Dropped => "TASK_DROPPED",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }

    /// Whether the task has ended and will never run again under this id. A task on a lost agent has not: it may
    /// come back.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Failed | Self::Killed | Self::Error | Self::Dropped | Self::Gone
        )
    }
}
