//! Tasks and executors in the form that Mesos launches and the store keeps.

use super::placement::{Located, Peers, locate};
use super::{AgentOffer, PodRequest, ServiceContext, tls};
use crate::spec::{
    ExternalVolumeSpec, Limit, NetworkSpec, PodSpec, PortSpec, ReadinessCheckSpec, TaskSpec, env_name,
    task_instance_name,
};
use crate::wire::{
    CheckCommand, CheckInfo, CheckType, CommandInfo, ContainerInfo, ContainerType, DiscoveryInfo,
    DockerImage, DomainInfo, DomainName, DurationInfo, Environment, ExecutorId, ExecutorInfo, ExecutorType,
    FaultDomain, HealthCheck, Image, KillPolicy, Labels, LinuxInfo, MesosContainer, NetworkInfo, Port,
    PortMapping, Resource, Rlimit, RlimitInfo, SandboxPath, SandboxPathType, Scalar, Seccomp, Secret,
    SecretReference, SecretType, TaskInfo, Uri, Variable, VariableType, Visibility, Volume, VolumeMode,
    VolumeSource,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Ports with their numbers.
pub type Ports = Vec<(PortSpec, u16)>;

/// Labels of tasks that this program reads back.
pub mod label {
    /// The id of the configuration that the task was launched with.
    pub const TARGET_CONFIGURATION: &str = "target_configuration";
    /// The pod's type.
    pub const TASK_TYPE: &str = "task_type";
    /// The pod instance's number.
    pub const INDEX: &str = "index";
    /// The agent's attributes, `name:value;name:value`.
    pub const OFFER_ATTRIBUTES: &str = "offer_attributes";
    /// The agent's host name.
    pub const OFFER_HOSTNAME: &str = "offer_hostname";
    /// The agent's region.
    pub const OFFER_REGION: &str = "offer_region";
    /// The agent's zone.
    pub const OFFER_ZONE: &str = "offer_zone";
}

/// The start of task and executor ids: the service's name without leading slash, other slashes as dots.
pub fn id_prefix(service: &str) -> String {
    service.trim_start_matches('/').replace('/', ".")
}

/// A new task id.
pub fn task_id(context: &ServiceContext, request: &PodRequest<'_>, task: &TaskSpec, uuid: &str) -> String {
    let name = task_instance_name(&request.pod.pod_type, request.index, &task.name);
    format!("{}__{name}__{uuid}", id_prefix(&context.name))
}

/// The names and numbers that a task's ports had.
pub fn port_numbers(info: &TaskInfo) -> impl Iterator<Item = (&str, u16)> {
    let ports = info.discovery.iter().flat_map(|d| &d.ports).flat_map(|p| &p.ports);
    ports.filter_map(|p| Some((p.name.as_deref()?, u16::try_from(p.number).ok()?)))
}

/// The number that a task's port had.
pub fn port_number(info: &TaskInfo, name: &str) -> Option<u16> {
    port_numbers(info).find(|(port, _)| *port == name).map(|(_, number)| number)
}

/// A task's name in service discovery.
pub fn discovery_name(pod: &PodSpec, index: u32, task: &TaskSpec) -> String {
    match task.discovery.as_ref().and_then(|d| d.prefix.as_ref()) {
        Some(prefix) => format!("{prefix}-{index}"),
        None => task_instance_name(&pod.pod_type, index, &task.name),
    }
}

/// Where a launched task is, as its labels say.
pub fn located(info: &TaskInfo) -> Located {
    let get = |key| info.labels.as_ref().and_then(|l| l.get(key)).map(str::to_owned);
    let attributes = get(label::OFFER_ATTRIBUTES).unwrap_or_default();
    Located {
        hostname: get(label::OFFER_HOSTNAME).unwrap_or_default(),
        region: get(label::OFFER_REGION),
        zone: get(label::OFFER_ZONE),
        attributes: attributes.split(';').filter(|a| !a.is_empty()).map(str::to_owned).collect(),
    }
}

/// The executor of a pod instance; `ports` are those of all its tasks.
pub fn executor(
    context: &ServiceContext,
    request: &PodRequest<'_>,
    id: ExecutorId,
    resources: Vec<Resource>,
    ports: &BTreeSet<u16>,
) -> ExecutorInfo {
    let mut labels = Labels::default();
    labels.push("DCOS_SPACE", context.space.clone());
    ExecutorInfo {
        r#type: ExecutorType::Default,
        executor_id: id,
        framework_id: Some(context.framework_id.as_str().into()),
        container: executor_container(context, request, ports),
        resources,
        name: Some(request.pod.pod_type.0.clone()),
        labels: Some(labels),
        ..ExecutorInfo::default()
    }
}

/// A task, still without id.
pub fn task(
    context: &ServiceContext,
    request: &PodRequest<'_>,
    offer: &AgentOffer,
    spec: &TaskSpec,
    resources: &[Resource],
    ports: &Ports,
    id: &mut dyn FnMut() -> String,
) -> TaskInfo {
    let name = task_instance_name(&request.pod.pod_type, request.index, &spec.name);
    let environment = environment(context, request, spec, ports, &name, offer);
    let command = |value: &str| CommandInfo {
        shell: Some(true),
        value: Some(value.to_owned()),
        environment: Some(environment.clone()),
        user: Some(context.user.clone()),
        ..CommandInfo::default()
    };
    let paused = request.stored.iter().any(|s| s.paused && *s.name == spec.name);
    let cmd = if paused { pause_command(context) } else { &spec.cmd };
    TaskInfo {
        name: name.clone(),
        agent_id: offer.agent_id.clone(),
        resources: resources.to_vec(),
        command: Some(CommandInfo { uris: uris(context, request, spec, paused), ..command(cmd) }),
        container: task_container(context, request.pod, spec, request.index),
        health_check: spec.health_check.as_ref().filter(|_| !paused).map(|h| HealthCheck {
            r#type: Some(CheckType::Command),
            command: Some(command(&h.cmd)),
            delay_seconds: Some(f64::from(h.delay)),
            interval_seconds: Some(f64::from(h.interval)),
            timeout_seconds: Some(f64::from(h.timeout)),
            consecutive_failures: Some(h.max_consecutive_failures),
            grace_period_seconds: Some(f64::from(h.grace_period)),
            ..HealthCheck::default()
        }),
        check: readiness_check(spec, paused).map(|r| CheckInfo {
            r#type: Some(CheckType::Command),
            command: Some(CheckCommand { command: command(&r.cmd) }),
            delay_seconds: Some(f64::from(r.delay)),
            interval_seconds: Some(f64::from(r.interval)),
            timeout_seconds: Some(f64::from(r.timeout)),
            ..CheckInfo::default()
        }),
        kill_policy: Some(KillPolicy {
            grace_period: Some(DurationInfo {
                nanoseconds: i64::from(spec.kill_grace_period) * 1_000_000_000,
            }),
        }),
        labels: Some(labels(request, spec, offer)),
        discovery: Some(discovery(request, spec, ports, id)),
        limits: limits(spec),
        ..TaskInfo::default()
    }
}

/// What a paused task does: it renders its config templates, for whoever looks into its sandbox, and waits.
const PAUSE: &str = "echo 'This task is paused: it waits until it is resumed.'; \
                     for program in ./bootstrap ./dagpkg-bootstrap; do \
                     if [ -x $program ]; then $program --resolve=false; fi; done; exec sleep 2147483647";

fn pause_command(context: &ServiceContext) -> &str {
    if context.pause_command.is_empty() { PAUSE } else { &context.pause_command }
}

/// A task's readiness check. A paused task is never ready, so that nothing goes on that waits for it.
fn readiness_check(spec: &TaskSpec, paused: bool) -> Option<Cow<'_, ReadinessCheckSpec>> {
    if paused {
        let never = ReadinessCheckSpec { cmd: "exit 1".to_owned(), interval: 5, delay: 0, timeout: 5 };
        return Some(Cow::Owned(never));
    }
    spec.readiness_check.as_ref().map(Cow::Borrowed)
}

fn labels(request: &PodRequest<'_>, spec: &TaskSpec, offer: &AgentOffer) -> Labels {
    let here = locate(offer);
    let mut labels = Labels::default();
    for (key, value) in &spec.labels {
        labels.push(key, value.clone());
    }
    labels.set(label::TARGET_CONFIGURATION, request.config_id);
    labels.set(label::TASK_TYPE, request.pod.pod_type.0.clone());
    labels.set(label::INDEX, request.index.to_string());
    labels.set(label::OFFER_ATTRIBUTES, here.attributes.join(";"));
    labels.set(label::OFFER_HOSTNAME, here.hostname);
    if let Some(region) = here.region {
        labels.set(label::OFFER_REGION, region);
    }
    if let Some(zone) = here.zone {
        labels.set(label::OFFER_ZONE, zone);
    }
    labels
}

fn limits(spec: &TaskSpec) -> Option<BTreeMap<String, Scalar>> {
    let limits = &spec.resource_set.limits;
    let named = [("cpus", limits.cpus), ("mem", limits.memory)];
    let given = named.into_iter().filter_map(|(name, limit)| match limit? {
        Limit::Unlimited => Some((name.to_owned(), Scalar { value: f64::INFINITY })),
        Limit::Value(value) => Some((name.to_owned(), Scalar { value })),
    });
    let given: BTreeMap<_, _> = given.collect();
    (!given.is_empty()).then_some(given)
}

fn discovery(
    request: &PodRequest<'_>,
    spec: &TaskSpec,
    ports: &Ports,
    id: &mut dyn FnMut() -> String,
) -> DiscoveryInfo {
    let ports: Vec<Port> = ports
        .iter()
        .map(|(spec, number)| {
            let mut labels = Labels::default();
            if let Some(vip) = &spec.vip {
                labels.push(&format!("VIP_{}", id()), format!("{}:{}", vip.prefix, vip.port));
                if !request.pod.networks.is_empty() {
                    let scope = if request.pod.uses_host_ports() { "host" } else { "container" };
                    labels.push("network-scope", scope);
                }
            }
            Port {
                number: u32::from(*number),
                name: Some(spec.name.clone()),
                protocol: Some("tcp".to_owned()),
                visibility: Some(if spec.advertise { Visibility::External } else { Visibility::Cluster }),
                labels: (!labels.labels.is_empty()).then_some(labels),
            }
        })
        .collect();
    DiscoveryInfo {
        visibility: spec.discovery.as_ref().map_or(Visibility::Cluster, |d| d.visibility),
        name: Some(discovery_name(request.pod, request.index, spec)),
        ports: (!ports.is_empty()).then_some(crate::wire::Ports { ports }),
        ..DiscoveryInfo::default()
    }
}

/// The environment of a task, for those who look at a service before it runs: on an agent that tells its region and zone,
/// with any numbers for ports that the scheduler chooses.
pub fn example_environment(
    context: &ServiceContext,
    pod: &PodSpec,
    index: u32,
    task: &TaskSpec,
) -> Environment {
    let none = BTreeMap::new();
    let request = PodRequest {
        pod,
        index,
        tasks: &[],
        new_footprint: true,
        stored: Vec::new(),
        peers: Peers::default(),
        config_id: "",
        env: &none,
    };
    let domain = |name: &str| Some(DomainName { name: name.to_owned() });
    let fault_domain = Some(FaultDomain { region: domain("region"), zone: domain("zone") });
    let offer = AgentOffer { domain: Some(DomainInfo { fault_domain }), ..AgentOffer::default() };
    let ports = task.resource_set.ports.iter();
    let ports = ports.map(|port| (port.clone(), if port.port == 0 { 1025 } else { port.port })).collect();
    let name = task_instance_name(&pod.pod_type, index, &task.name);
    environment(context, &request, task, &ports, &name, &offer)
}

fn environment(
    context: &ServiceContext,
    request: &PodRequest<'_>,
    spec: &TaskSpec,
    ports: &Ports,
    name: &str,
    offer: &AgentOffer,
) -> Environment {
    let mut env = spec.env.clone();
    let mut set = |key: String, value: String| env.insert(key, value);
    set("POD_INSTANCE_INDEX".into(), request.index.to_string());
    set("FRAMEWORK_NAME".into(), context.name.clone());
    set("FRAMEWORK_HOST".into(), context.framework_host());
    if !context.vip_tld.is_empty() {
        set("FRAMEWORK_VIP_HOST".into(), context.vip_host());
    }
    set("SCHEDULER_API_HOSTNAME".into(), context.api_host.clone());
    set("SCHEDULER_API_PORT".into(), context.api_port.to_string());
    set("TASK_NAME".into(), name.to_owned());
    set(name.to_owned(), "true".into());
    for config in &spec.config_files {
        let value = format!("config-templates/{},{}", config.name, config.dest);
        set(format!("CONFIG_TEMPLATE_{}", env_name(&config.name)), value);
    }
    for (port, (host, number)) in &context.endpoints {
        set(format!("ENDPOINT_{}_HOST", env_name(port)), host.clone());
        set(format!("ENDPOINT_{}_PORT", env_name(port)), number.to_string());
    }
    let here = locate(offer);
    let fields = [("REGION", "@region", here.region), ("ZONE", "@zone", here.zone)];
    for (name, field, value) in fields {
        let referenced = request.pod.placement.iter().flat_map(|p| &p.rules).any(|rule| rule.field == field);
        set(format!("PLACEMENT_REFERENCED_{name}"), referenced.to_string());
        if let Some(value) = value {
            set(name.into(), value);
        }
    }
    for (port, number) in ports {
        if let Some(key) = &port.env_key {
            set(key.clone(), number.to_string());
        }
    }
    env.extend(request.env.clone());
    let plain = env.into_iter().map(|(name, value)| Variable {
        name,
        r#type: Some(VariableType::Value),
        value: Some(value),
        ..Variable::default()
    });
    let secret = request.pod.secrets.iter().filter_map(|s| {
        let name = s.env_key.clone()?;
        let secret = Some(secret_reference(&s.secret));
        Some(Variable { name, r#type: Some(VariableType::Secret), secret, ..Variable::default() })
    });
    Environment { variables: plain.chain(secret).collect() }
}

fn secret_reference(path: &str) -> Secret {
    let reference = Some(SecretReference { name: path.to_owned(), key: None });
    Secret { r#type: Some(SecretType::Reference), reference, value: None }
}

fn uris(context: &ServiceContext, request: &PodRequest<'_>, spec: &TaskSpec, paused: bool) -> Vec<Uri> {
    let listed = &request.pod.uris;
    let bootstrap = context.bootstrap_uri.iter().filter(|uri| paused && !listed.contains(*uri));
    let plain = bootstrap.chain(listed).map(|value| Uri { value: value.clone(), ..Uri::default() });
    let templates = spec.config_files.iter().map(|config| Uri {
        value: format!(
            "http://{}:{}/v1/artifacts/template/{}/{}/{}/{}",
            context.api_host,
            context.api_port,
            request.config_id,
            request.pod.pod_type,
            spec.name,
            config.name
        ),
        output_file: Some(format!("config-templates/{}", config.name)),
        extract: Some(false),
        ..Uri::default()
    });
    plain.chain(templates).collect()
}

fn image(pod: &PodSpec) -> Option<MesosContainer> {
    let docker = Some(DockerImage { name: pod.image.clone()? });
    Some(MesosContainer { image: Some(Image { r#type: "DOCKER".to_owned(), docker, cached: None }) })
}

/// The container of a task; none where the task needs nothing of it, so that agents with the simplest isolation
/// accept it too.
fn task_container(
    context: &ServiceContext,
    pod: &PodSpec,
    spec: &TaskSpec,
    index: u32,
) -> Option<ContainerInfo> {
    let mut volumes = outside_volumes(context, pod, index);
    // With an image of its own a task's /tmp would be in the container's root, which has no quota; without one the
    // agent's /tmp is used: mounting over it needs isolation that not every agent has.
    if pod.image.is_some() {
        let tmp = Some("tmp".to_owned());
        volumes.push(Volume {
            mode: Some(VolumeMode::Rw),
            container_path: "/tmp".to_owned(),
            host_path: tmp,
            source: None,
        });
    }
    volumes.extend(pod.volumes.iter().map(|v| Volume {
        mode: Some(VolumeMode::Rw),
        container_path: v.path.clone(),
        host_path: None,
        source: Some(VolumeSource {
            r#type: "SANDBOX_PATH".to_owned(),
            sandbox_path: Some(SandboxPath { r#type: SandboxPathType::Parent, path: v.path.clone() }),
            ..VolumeSource::default()
        }),
    }));
    volumes
        .extend(tls::files(context, pod, index, spec).into_iter().map(|f| secret_volume(&f.secret, &f.file)));
    // Only with cgroups of their own can tasks have limits, and Mesos wants it the same for all tasks of an executor.
    let limited = pod.tasks.iter().any(|t| t.resource_set.limits != crate::spec::ResourceLimits::default());
    let linux_info = LinuxInfo {
        share_pid_namespace: pod.share_pid_namespace.then_some(true),
        seccomp: seccomp(pod),
        ipc_mode: spec.ipc_mode.clone(),
        shm_size: spec.shm_size,
        share_cgroups: limited.then_some(false),
    };
    container(ContainerInfo {
        r#type: ContainerType::Mesos,
        volumes,
        mesos: image(pod),
        linux_info: Some(linux_info).filter(|l| *l != LinuxInfo::default()),
        rlimit_info: rlimits(pod),
        ..ContainerInfo::default()
    })
}

/// The container of an executor. It never shares a PID namespace: it would be the agent's; that of its tasks is the
/// executor's.
fn executor_container(
    context: &ServiceContext,
    request: &PodRequest<'_>,
    ports: &BTreeSet<u16>,
) -> Option<ContainerInfo> {
    let pod = request.pod;
    let linux_info =
        LinuxInfo { ipc_mode: pod.ipc_mode.clone(), shm_size: pod.shm_size, ..LinuxInfo::default() };
    container(ContainerInfo {
        r#type: ContainerType::Mesos,
        volumes: outside_volumes(context, pod, request.index),
        network_infos: pod.networks.iter().map(|n| network(n, ports)).collect(),
        linux_info: Some(linux_info).filter(|l| *l != LinuxInfo::default()),
        rlimit_info: rlimits(pod),
        ..ContainerInfo::default()
    })
}

fn container(info: ContainerInfo) -> Option<ContainerInfo> {
    Some(info).filter(|i| *i != ContainerInfo::default())
}

fn seccomp(pod: &PodSpec) -> Option<Seccomp> {
    let profile_name = pod.seccomp_profile_name.clone();
    let unconfined = pod.seccomp_unconfined.then_some(true);
    Some(Seccomp { profile_name, unconfined }).filter(|s| *s != Seccomp::default())
}

fn rlimits(pod: &PodSpec) -> Option<RlimitInfo> {
    let rlimits = pod.rlimits.iter().map(|r| Rlimit {
        r#type: r.name.replacen("RLIMIT_", "RLMT_", 1),
        soft: r.bounds.map(|b| b.0),
        hard: r.bounds.map(|b| b.1),
    });
    let rlimits: Vec<_> = rlimits.collect();
    (!rlimits.is_empty()).then_some(RlimitInfo { rlimits })
}

/// A network, with the ports of the agent that lead into it: those that the service file maps, and on a bridge also those
/// that were chosen.
fn network(network: &NetworkSpec, ports: &BTreeSet<u16>) -> NetworkInfo {
    let mut mappings = network.port_mappings.clone();
    let unmapped = |port: &&u16| !network.port_mappings.iter().any(|(host, _)| host == *port);
    if network.uses_host_ports() {
        mappings.extend(ports.iter().filter(unmapped).map(|port| (*port, *port)));
    }
    let mut labels = Labels::default();
    for (key, value) in &network.labels {
        labels.push(key, value.clone());
    }
    NetworkInfo {
        name: Some(network.name.clone()),
        port_mappings: mappings
            .into_iter()
            .map(|(host, container)| PortMapping {
                host_port: u32::from(host),
                container_port: u32::from(container),
                protocol: None,
            })
            .collect(),
        labels: (!labels.labels.is_empty()).then_some(labels),
        ..NetworkInfo::default()
    }
}

/// Volumes that come from outside the pod: the agent's directories, volume drivers and secrets.
fn outside_volumes(context: &ServiceContext, pod: &PodSpec, index: u32) -> Vec<Volume> {
    let mode = |read_only| Some(if read_only { VolumeMode::Ro } else { VolumeMode::Rw });
    let host = pod.host_volumes.iter().map(|v| Volume {
        mode: mode(v.read_only),
        container_path: v.container_path.clone(),
        host_path: Some(v.host_path.clone()),
        source: None,
    });
    let external = pod.external_volumes.iter().map(|v| Volume {
        mode: mode(v.read_only),
        container_path: v.container_path.clone(),
        host_path: None,
        source: Some(VolumeSource {
            r#type: "DOCKER_VOLUME".to_owned(),
            docker_volume: Some(docker_volume(context, pod, v, index)),
            ..VolumeSource::default()
        }),
    });
    let secrets = pod.secrets.iter().filter_map(|s| Some(secret_volume(&s.secret, s.file.as_ref()?)));
    host.chain(external).chain(secrets).collect()
}

/// A secret as a file.
fn secret_volume(secret: &str, file: &str) -> Volume {
    Volume {
        mode: Some(VolumeMode::Ro),
        container_path: file.to_owned(),
        host_path: None,
        source: Some(VolumeSource {
            r#type: "SECRET".to_owned(),
            secret: Some(secret_reference(secret)),
            ..VolumeSource::default()
        }),
    }
}

/// Portworx (`pxd`) volumes carry dashes and may be shared by all instances; those of other drivers carry
/// underscores and are per instance.
fn docker_volume(
    context: &ServiceContext,
    pod: &PodSpec,
    volume: &ExternalVolumeSpec,
    index: u32,
) -> serde_json::Value {
    let portworx = volume.driver_name == "pxd";
    let service = id_prefix(&context.name).replace('.', "__");
    let separator = if portworx { '-' } else { '_' };
    let derived = || format!("{service}{separator}{}", pod.pod_type);
    let name = volume.volume_name.clone().unwrap_or_else(derived);
    let shared = portworx && volume.driver_options.iter().any(|(k, v)| k == "shared" && v == "true");
    let name = if shared { name } else { format!("{name}{separator}{index}") };
    let mut options: Vec<_> =
        volume.driver_options.iter().map(|(k, v)| serde_json::json!({"key": k, "value": v})).collect();
    if portworx {
        options.push(serde_json::json!({"key": "nodes", "value": "LocalNode"}));
    }
    serde_json::json!({
        "driver": volume.driver_name,
        "name": name,
        "driver_options": {"parameter": options},
    })
}
