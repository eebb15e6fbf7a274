//! What a service file says, after defaults and validation.
//!
//! The stored form (JSON, kebab-case) is what configurations are compared and persisted as, so every field that
//! may change how a task runs must be part of it. Key by key, the rules are those of the Mesosphere SDK's YAML.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Declares names that cannot be mistaken for each other.
macro_rules! names {
    ($( $(#[$meta:meta])* $name:ident ),* $(,)?) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl From<&str> for $name {
            fn from(value: &str) -> Self { Self(value.to_owned()) }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
        }
    )* };
}

names! {
    /// A pod's type, the key below `pods`; instances are called `<type>-<index>`.
    PodType,
    /// A task's name within its pod; instances are called `<type>-<index>-<task>`.
    TaskName,
}

/// A service file: what to run, and in what order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Service {
    /// What to run. A change of it is a config update.
    pub spec: ServiceSpec,
    /// The plans that the author wrote, in file order; empty means a generated `deploy` plan.
    pub plans: Vec<PlanSpec>,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceSpec {
    /// The framework's name; may hold slashes.
    pub name: String,
    /// The Mesos principal of the framework and of all its reservations.
    pub principal: String,
    /// The operating system user of every task.
    pub user: String,
    /// `host:port` list of the ZooKeeper of a DC/OS cluster; kept for compatibility, the scheduler's own flags win.
    pub zookeeper: String,
    /// The service's web page, shown by Mesos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
    /// The region of pods whose placement says nothing of regions. No key of the file: the scheduler's environment
    /// says it, and here it is kept to see when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The role of new reservations. No key of the file either: kept to see when the service moves to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When pods that stay down are replaced without an operator; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement_failure_policy: Option<ReplacementPolicy>,
    /// The pods, in file order, which is deploy order.
    #[serde(rename = "pod-specs")]
    pub pods: Vec<PodSpec>,
}

/// When pods that stay down are replaced without an operator. In the SDK only a service's own code can ask for that, and
/// nothing comes of its least delay; here it is a key of the file, and both count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReplacementPolicy {
    /// Seconds for which a task must be down.
    pub permanent_failure_timeout_secs: u32,
    /// Seconds from one replacement to the next, at least.
    pub min_replace_delay_secs: u32,
}

impl ReplacementPolicy {
    /// The SDK's default: twenty minutes.
    pub const TIMEOUT: u32 = 1200;
    /// The SDK's default.
    pub const MIN_DELAY: u32 = 10;
}

/// One pod type: tasks that live on the same agent and share volumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::struct_excessive_bools)] // each is a key of the language
pub struct PodSpec {
    /// The pod's type.
    #[serde(rename = "type")]
    pub pod_type: PodType,
    /// How many instances.
    pub count: u32,
    /// Docker image of the tasks; the agent's own file system without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Networks; the host's own when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkSpec>,
    /// Resource limits of the operating system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<RlimitSpec>,
    /// Fetched into the sandbox of every task of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// The tasks, in file order.
    #[serde(rename = "task-specs")]
    pub tasks: Vec<TaskSpec>,
    /// Where instances may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Volumes of the pod's executor, shared by its tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeSpec>,
    /// The statically reserved role that reservations refine; `*` for none.
    pub pre_reserved_role: String,
    /// Secrets of the cluster's store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretSpec>,
    /// Tasks see each other's processes.
    #[serde(default)]
    pub share_pid_namespace: bool,
    /// Lowering `count` or removing the pod is allowed.
    #[serde(default)]
    pub allow_decommission: bool,
    /// Directories of the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_volumes: Vec<HostVolumeSpec>,
    /// Volumes of Docker volume drivers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_volumes: Vec<ExternalVolumeSpec>,
    /// No system call filter.
    #[serde(default)]
    pub seccomp_unconfined: bool,
    /// The system call filter's profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_profile_name: Option<String>,
    /// `PRIVATE` or unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
    /// Size of the executor's /dev/shm, MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u32>,
}

/// One task of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskSpec {
    /// The task's name within the pod.
    pub name: TaskName,
    /// When the task has done its work.
    pub goal: Goal,
    /// Whether its failure restarts its siblings.
    pub essential: bool,
    /// The shell command.
    pub cmd: String,
    /// Environment, after `TASKCFG_*` routing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What the task reserves.
    pub resource_set: ResourceSet,
    /// Rendered in the sandbox before the command runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_files: Vec<ConfigFileSpec>,
    /// Kills the task when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckSpec>,
    /// Must pass before the task's step is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_check: Option<ReadinessCheckSpec>,
    /// The task's name in service discovery, when it isn't the instance's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoverySpec>,
    /// Labels of the task, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<(String, String)>,
    /// Seconds from SIGTERM to SIGKILL.
    #[serde(default)]
    pub kill_grace_period: u32,
    /// Certificates that the task is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transport_encryption: Vec<TransportEncryptionSpec>,
    /// `PRIVATE`, `SHARE_PARENT` or unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
    /// Size of the task's /dev/shm, MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u32>,
}

/// When a task has done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Goal {
    /// It stays up.
    Running,
    /// It ends, once for each configuration.
    Finish,
    /// It ends, once ever.
    #[serde(alias = "FINISHED")]
    Once,
}

/// What a task reserves; several tasks may share a set, if no step launches two of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResourceSet {
    /// The set's name in the pod; `<task>-resource-set` for inline resources.
    pub id: String,
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Graphics processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<f64>,
    /// MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// Ports, in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpec>,
    /// Persistent volumes, in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeSpec>,
    /// Upper bounds above the request.
    #[serde(default)]
    pub limits: ResourceLimits,
}

/// Upper bounds of cpus and memory; infinite where `unlimited` was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResourceLimits {
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Limit>,
    /// MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Limit>,
}

/// One upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// No bound.
    Unlimited,
    /// This much.
    Value(f64),
}

/// A port of a resource set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortSpec {
    /// The port's name.
    pub name: String,
    /// The number; 0 means that the scheduler chooses.
    pub port: u16,
    /// The variable that carries the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_key: Option<String>,
    /// Listed as an endpoint.
    #[serde(default)]
    pub advertise: bool,
    /// The cluster-wide name that leads to all tasks with this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip: Option<VipSpec>,
    /// Inclusive ranges that a chosen number comes from; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<(u16, u16)>,
}

/// A virtual address, `<prefix>.<service>.l4lb…:<port>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipSpec {
    /// The first part of the name.
    pub prefix: String,
    /// The port clients connect to.
    pub port: u16,
}

/// A persistent volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VolumeSpec {
    /// Where it is in the sandbox; also its identity within the pod.
    pub path: String,
    /// What kind of disk.
    #[serde(rename = "type")]
    pub kind: VolumeKind,
    /// MB.
    pub size: f64,
    /// Acceptable disk profiles; MOUNT only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
}

/// The kind of disk under a persistent volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VolumeKind {
    /// A part of the agent's own disk.
    Root,
    /// A directory that can be split among volumes; treated as MOUNT.
    Path,
    /// A whole mounted disk.
    Mount,
}

/// A network that a pod joins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkSpec {
    /// The network's name.
    pub name: String,
    /// Host port to container port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<(u16, u16)>,
    /// Labels for the network's plugin, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<(String, String)>,
}

/// The virtual network that DC/OS brings along: containers on it have addresses and ports of their own.
pub const OVERLAY_NETWORK: &str = "dcos";
/// The bridge network of a Mesos agent: containers on it reach the host's ports by mapping.
pub const BRIDGE_NETWORK: &str = "mesos-bridge";

impl NetworkSpec {
    /// Whether the ports of tasks on this network are ports of the agent.
    pub fn uses_host_ports(&self) -> bool {
        self.name == BRIDGE_NETWORK
    }
}

/// A limit of the operating system; `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RlimitSpec {
    /// `RLIMIT_NOFILE` and the like.
    pub name: String,
    /// Soft and hard limit.
    pub bounds: Option<(u64, u64)>,
}

/// A secret of the cluster's store and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretSpec {
    /// Its path in the store.
    pub secret: String,
    /// The variable that carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_key: Option<String>,
    /// The file that holds it, relative to the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A directory of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostVolumeSpec {
    /// Absolute, on the agent.
    pub host_path: String,
    /// Relative, in the container.
    pub container_path: String,
    /// `RO` or `RW`.
    pub read_only: bool,
}

/// A volume of a Docker volume driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExternalVolumeSpec {
    /// The driver; `pxd` is Portworx.
    pub driver_name: String,
    /// Its options, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub driver_options: Vec<(String, String)>,
    /// The volume's name, when it isn't derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_name: Option<String>,
    /// Where it is in the container.
    pub container_path: String,
    /// `RO` or `RW`.
    pub read_only: bool,
}

/// A template that is rendered in the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigFileSpec {
    /// The template's name.
    pub name: String,
    /// Where the result goes, relative to the sandbox.
    #[serde(rename = "relative-path")]
    pub dest: String,
    /// The template itself.
    #[serde(rename = "template-content")]
    pub content: String,
}

/// A health check; times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HealthCheckSpec {
    /// The shell command; exit code 0 is healthy.
    #[serde(rename = "command")]
    pub cmd: String,
    /// From one run to the next.
    pub interval: u32,
    /// Failures this soon after the start don't count.
    pub grace_period: u32,
    /// This many failures in a row kill the task.
    pub max_consecutive_failures: u32,
    /// Before the first run.
    pub delay: u32,
    /// A run that takes longer has failed.
    pub timeout: u32,
}

/// A readiness check; times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReadinessCheckSpec {
    /// The shell command; exit code 0 is ready.
    #[serde(rename = "command")]
    pub cmd: String,
    /// From one run to the next.
    pub interval: u32,
    /// Before the first run.
    pub delay: u32,
    /// A run that takes longer has failed.
    pub timeout: u32,
}

/// A task's name in service discovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiscoverySpec {
    /// The name is `<prefix>-<index>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Who may see it.
    pub visibility: crate::wire::Visibility,
}

/// A certificate that a task is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TransportEncryptionSpec {
    /// The files' base name.
    pub name: String,
    /// `TLS` (PEM files) or `KEYSTORE`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Where instances of a pod may run: all rules must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Placement {
    /// As it was written.
    pub text: String,
    /// What it means.
    pub rules: Vec<PlacementRule>,
    /// Why it means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One placement rule, in Marathon's terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlacementRule {
    /// `hostname`, `@zone`, `@region` or an attribute's name.
    pub field: String,
    /// What must hold for it.
    pub operator: PlacementOperator,
}

/// What must hold for a placement rule's field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlacementOperator {
    /// At most one instance for each value.
    Unique,
    /// Exactly this value.
    Cluster(String),
    /// Spread evenly, over this many values if it is known.
    GroupBy(Option<u32>),
    /// The whole value matches this regular expression.
    Like(String),
    /// No value matches this regular expression.
    Unlike(String),
    /// At most this many instances for each value.
    MaxPer(u32),
    /// Exactly this value.
    Is(String),
    /// Another value.
    IsNot(String),
}

/// A plan as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanSpec {
    /// The plan's name.
    pub name: String,
    /// Phases one after the other, or together.
    pub strategy: PlanStrategy,
    /// The phases, in file order.
    pub phases: Vec<PhaseSpec>,
}

/// How the phases of a plan follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanStrategy {
    /// One after the other.
    Serial,
    /// All together.
    Parallel,
}

/// How the steps of a phase follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseStrategy {
    /// One after the other.
    Serial,
    /// All together.
    Parallel,
    /// Two steps by hand, then one after the other.
    SerialCanary,
    /// Two steps by hand, then all together.
    ParallelCanary,
}

/// A phase as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhaseSpec {
    /// The phase's name.
    pub name: String,
    /// The pod that it is about.
    pub pod: PodType,
    /// How its steps follow each other.
    pub strategy: PhaseStrategy,
    /// The steps of each instance; one step with all tasks when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<StepsSpec>,
}

/// Which tasks are launched together, in order, by instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepsSpec {
    /// For instances that are named.
    pub by_index: BTreeMap<u32, Vec<Vec<TaskName>>>,
    /// For all other instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Vec<Vec<TaskName>>>,
}

impl ServiceSpec {
    /// The pod of this type.
    pub fn pod(&self, pod_type: &PodType) -> Option<&PodSpec> {
        self.pods.iter().find(|p| &p.pod_type == pod_type)
    }
}

impl PodSpec {
    /// The task of this name.
    pub fn task(&self, name: &TaskName) -> Option<&TaskSpec> {
        self.tasks.iter().find(|t| &t.name == name)
    }

    /// Whether the pod's ports are the agent's.
    pub fn uses_host_ports(&self) -> bool {
        self.networks.iter().all(NetworkSpec::uses_host_ports)
    }
}

/// The name of a pod instance, `<type>-<index>`.
pub fn pod_instance_name(pod_type: &PodType, index: u32) -> String {
    format!("{pod_type}-{index}")
}

/// The name of a task instance, `<type>-<index>-<task>`.
pub fn task_instance_name(pod_type: &PodType, index: u32, task: &TaskName) -> String {
    format!("{pod_type}-{index}-{task}")
}
