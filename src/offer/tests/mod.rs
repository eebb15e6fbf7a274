//! Evaluations, looked at through the messages that they make.

mod messages;
mod reservations;

use super::*;
use crate::spec::{Context, PodSpec, TaskName, parse};
use crate::wire::{
    DiskSource, DiskSourceType, DomainInfo, DomainName, FaultDomain, Operation, OperationType, Range, Ranges,
    TaskInfo, TaskState,
};
use serde_json::{Value, json};

/// What is the same for all pods of a service called `weather`.
pub(super) fn context() -> ServiceContext {
    ServiceContext {
        name: "weather".to_owned(),
        framework_id: "F".to_owned(),
        role: "weather-role".to_owned(),
        principal: "weather-principal".to_owned(),
        user: "nobody".to_owned(),
        service_tld: "autoip.test".to_owned(),
        vip_tld: "l4lb.test".to_owned(),
        api_host: "api.test".to_owned(),
        api_port: 8080,
        space: "/weather".to_owned(),
        ..ServiceContext::default()
    }
}

/// The pod `pod` of a service file with these lines in it.
fn pod_of(lines: &str) -> PodSpec {
    let template = |_: &str| Ok("port={{PORT}}".to_owned());
    let (template, env) = (&template as &dyn Fn(&str) -> Result<String, String>, &BTreeMap::new());
    let yaml = format!("name: weather\npods:\n  pod:\n    count: 2\n{lines}");
    match parse(&crate::finding::Source::new("svc.yml", &*yaml), &Context { template, env }) {
        Ok((mut service, _)) => service.spec.pods.remove(0),
        Err(found) => panic!("{yaml}\n{}", found.iter().map(ToString::to_string).collect::<String>()),
    }
}

/// The pod `pod` with these tasks.
pub(super) fn pod(tasks: &str) -> PodSpec {
    pod_of(&format!("    tasks:\n{tasks}"))
}

/// An agent with plenty of everything.
fn agent() -> AgentOffer {
    let scalar = |name, amount| Resource::scalar(name, amount, "weather-role");
    let range = vec![Range { begin: 9000, end: 9010 }];
    let ports = Resource { ranges: Some(Ranges { range }), ..Resource::port(1, "weather-role") };
    AgentOffer {
        ids: vec!["O".into()],
        agent_id: "A".into(),
        hostname: "agent.test".to_owned(),
        role: "weather-role".to_owned(),
        resources: vec![
            scalar("cpus", 4.0),
            scalar("gpus", 1.0),
            scalar("mem", 4096.0),
            scalar("disk", 4096.0),
            ports,
        ],
        ..AgentOffer::default()
    }
}

fn mount_disk(size: f64, profile: Option<&str>) -> Resource {
    let profile = profile.map(str::to_owned);
    let source = DiskSource { r#type: DiskSourceType::Mount, profile, ..DiskSource::default() };
    let disk = crate::wire::DiskInfo { source: Some(source), ..crate::wire::DiskInfo::default() };
    Resource { disk: Some(disk), ..Resource::scalar("disk", size, "weather-role") }
}

fn domain(region: &str, zone: &str) -> DomainInfo {
    let name = |name: &str| Some(DomainName { name: name.to_owned() });
    DomainInfo { fault_domain: Some(FaultDomain { region: name(region), zone: name(zone) }) }
}

/// A pod instance and what it has so far.
struct Case {
    context: ServiceContext,
    pod: PodSpec,
    tasks: Vec<TaskName>,
    stored: Vec<(TaskName, TaskInfo, TaskState)>,
    peers: Vec<Located>,
    env: BTreeMap<String, String>,
    paused: bool,
    ids: u32,
}

impl Case {
    /// Instance 1 of a pod, new, all of whose tasks are to be launched.
    fn new(pod: PodSpec) -> Self {
        let tasks = pod.tasks.iter().map(|t| t.name.clone()).collect();
        let (stored, peers) = (Vec::new(), Vec::new());
        Self { context: context(), pod, tasks, stored, peers, env: BTreeMap::new(), paused: false, ids: 0 }
    }

    fn evaluate(&mut self, offer: &AgentOffer) -> Evaluation {
        let paused = self.paused;
        let stored = self.stored.iter();
        let stored = stored.map(|(name, info, state)| StoredTask {
            name,
            info,
            state: *state,
            paused,
            unconfirmed: false,
        });
        let mut spread = Spread::by(counted_fields(&self.pod));
        for peer in &self.peers {
            spread.add(peer);
        }
        let request = PodRequest {
            pod: &self.pod,
            index: 1,
            tasks: &self.tasks,
            new_footprint: self.stored.is_empty(),
            stored: stored.collect(),
            peers: Peers::new(Some(&spread), []),
            config_id: "C",
            env: &self.env,
        };
        let ids = &mut self.ids;
        evaluate(&self.context, &request, offer, &mut || {
            *ids += 1;
            format!("id-{ids}")
        })
    }

    fn launch(&mut self, offer: &AgentOffer) -> Launch {
        let evaluation = self.evaluate(offer);
        evaluation.launch.unwrap_or_else(|| panic!("{:#?}", lines(&evaluation.reasons)))
    }

    /// Launches all tasks, remembers them in this state, and gives what an agent would offer after they have ended.
    fn launched(&mut self, state: TaskState) -> AgentOffer {
        let launch = self.launch(&agent());
        let mut resources: Vec<Resource> = Vec::new();
        for planned in &launch.tasks {
            for resource in &planned.info.resources {
                if !resources.contains(resource) {
                    resources.push(resource.clone());
                }
            }
        }
        resources.extend(launch.tasks[0].info.executor.iter().flat_map(|e| e.resources.clone()));
        resources.extend(agent().resources);
        self.stored = launch.tasks.into_iter().map(|p| (p.name, p.info, state)).collect();
        AgentOffer { resources, ..agent() }
    }
}

fn lines(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().flat_map(Reason::lines).collect()
}

/// The task group and the executor of the launch of a task, as JSON.
fn message(launch: &Launch, task: &str) -> (Value, Value) {
    let groups = launch.operations.iter().filter_map(|o| o.launch_group.as_ref());
    let group = groups.into_iter().find(|g| g.task_group.tasks[0].name == task).expect("a launch of it");
    (to_json(&group.task_group.tasks[0]), to_json(&group.executor))
}

fn to_json(message: &impl serde::Serialize) -> Value {
    serde_json::to_value(message).expect("plain data")
}

/// Kind, resource name and amount or port of each operation.
fn operations(operations: &[Operation]) -> Vec<String> {
    let resource = |r: &Resource| match r.first_port() {
        Some(port) => format!("{} {port}", r.name),
        None => format!("{} {}", r.name, from_thousandths(r.amount())),
    };
    let shown = operations.iter().map(|o| {
        let resources = [&o.reserve, &o.unreserve].into_iter().flatten().flat_map(|b| &b.resources);
        let volumes = [&o.create, &o.destroy].into_iter().flatten().flat_map(|b| &b.volumes);
        let named: Vec<String> = resources.chain(volumes).map(resource).collect();
        let tasks = o.launch_group.iter().flat_map(|g| &g.task_group.tasks).map(|t| t.name.clone());
        let all: Vec<String> = named.into_iter().chain(tasks).collect();
        format!("{:?} {}", o.r#type, all.join(", "))
    });
    shown.collect()
}
