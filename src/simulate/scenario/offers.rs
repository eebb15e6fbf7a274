//! Offers that are as large as a pod needs, or that hold what an instance of it has reserved.

use super::Wish;
use crate::offer::{AgentOffer, HomeRegion, ServiceContext, located};
use crate::scheduler::{Scheduler, Task};
use crate::simulate::agents::HOME_REGION;
use crate::spec::{PodSpec, ResourceSet, VolumeKind, VolumeSpec};
use crate::wire::{
    AllocationInfo, Attribute, DiskInfo, DiskSource, DiskSourceType, DomainInfo, DomainName, FaultDomain,
    Offer, Range, Ranges, ReservationInfo, ReservationType, Resource, Text, ValueType,
};
use std::collections::BTreeSet;

/// From where on ports are offered that no task names.
const PORTS: u64 = 10_000;

/// The resource sets of a pod, each once.
fn sets(pod: &PodSpec) -> Vec<&ResourceSet> {
    let mut seen = BTreeSet::new();
    pod.tasks.iter().map(|t| &t.resource_set).filter(|set| seen.insert(&set.id)).collect()
}

/// What one instance of a pod needs, its executor included, as an agent offers it.
pub fn sized(pod: &PodSpec, context: &ServiceContext) -> Vec<Resource> {
    let role = context.pod_role(&pod.pre_reserved_role);
    let sets = sets(pod);
    let volumes: Vec<&VolumeSpec> = sets.iter().flat_map(|set| &set.volumes).chain(&pod.volumes).collect();
    let root = volumes.iter().filter(|v| v.kind == VolumeKind::Root).map(|v| v.size).sum::<f64>();
    let sum = |amount: fn(&ResourceSet) -> Option<f64>| sets.iter().filter_map(|s| amount(s)).sum::<f64>();
    let overhead = context.executor;
    let amounts = [
        ("cpus", overhead.cpus + sum(|s| s.cpus)),
        ("gpus", sum(|s| s.gpus)),
        ("mem", overhead.mem + sum(|s| s.memory)),
        ("disk", overhead.disk + root),
    ];
    let mut resources: Vec<Resource> = amounts
        .into_iter()
        .filter(|(_, amount)| *amount > 0.0)
        .map(|(name, amount)| {
            // Sums of fractions are not exact; Mesos counts thousandths.
            Resource::scalar(name, (amount * 1000.0).round() / 1000.0, &role)
        })
        .collect();
    let disks = volumes.iter().filter(|v| v.kind != VolumeKind::Root);
    resources.extend(disks.map(|v| mounted(v, &role)));
    resources.extend(ports(&sets, &role));
    if pod.pre_reserved_role != "*" {
        for resource in &mut resources {
            resource.reservations = vec![ReservationInfo {
                r#type: Some(ReservationType::Static),
                role: Some(pod.pre_reserved_role.clone()),
                ..ReservationInfo::default()
            }];
        }
    }
    resources
}

fn mounted(volume: &VolumeSpec, role: &str) -> Resource {
    let source = DiskSource {
        r#type: DiskSourceType::Mount,
        profile: volume.profiles.first().cloned(),
        ..DiskSource::default()
    };
    let disk = DiskInfo { source: Some(source), ..DiskInfo::default() };
    Resource { disk: Some(disk), ..Resource::scalar("disk", volume.size, role) }
}

/// The ports that sets name, and for each that may be any one of those that it may be.
fn ports(sets: &[&ResourceSet], role: &str) -> Option<Resource> {
    let all = || sets.iter().flat_map(|set| &set.ports);
    let mut numbers: BTreeSet<u64> = all().map(|p| u64::from(p.port)).filter(|port| *port != 0).collect();
    for port in all().filter(|port| port.port == 0) {
        let ranges = port.ranges.iter().map(|(begin, end)| (u64::from(*begin), u64::from(*end)));
        let ranges: Vec<(u64, u64)> =
            if port.ranges.is_empty() { vec![(PORTS, u64::from(u16::MAX))] } else { ranges.collect() };
        let free = ranges.into_iter().flat_map(|(begin, end)| begin.max(1)..=end);
        let free = free.into_iter().find(|number| !numbers.contains(number));
        numbers.extend(free);
    }
    let range: Vec<Range> = numbers.into_iter().map(|n| Range { begin: n, end: n }).collect();
    (!range.is_empty()).then(|| Resource { ranges: Some(Ranges { range }), ..Resource::port(1, role) })
}

/// A new agent's offer for a pod.
pub fn fresh(pod: &PodSpec, context: &ServiceContext, wish: &Wish, number: u32) -> Offer {
    let hostname = wish.hostname.clone().unwrap_or_else(|| format!("host-{number}"));
    let role = context.pod_role(&pod.pre_reserved_role);
    Offer {
        agent_id: format!("agent-{hostname}").as_str().into(),
        resources: sized(pod, context),
        allocation_info: Some(AllocationInfo { role: Some(role) }),
        ..of_agent(context, wish, hostname, number)
    }
}

/// An offer of what an instance of a pod has reserved and not `given_back` (ids of reservations); none if it never had any.
pub fn reserved(
    scheduler: &Scheduler,
    context: &ServiceContext,
    wish: &Wish,
    index: u32,
    given_back: &BTreeSet<String>,
    number: u32,
) -> Option<Offer> {
    let tasks = || scheduler.tasks().values().filter(|t| t.pod.as_str() == wish.pod && t.index == index);
    let first = tasks().find(|t| !t.info.resources.is_empty())?;
    let mut seen = BTreeSet::new();
    let all =
        tasks().flat_map(|t| t.info.executor.iter().flat_map(|e| &e.resources).chain(&t.info.resources));
    let mut resources: Vec<Resource> =
        all.filter(|r| r.resource_id().is_some_and(|id| seen.insert(id.to_owned()))).cloned().collect();
    let role = resources.first().and_then(|r| r.dynamic_reservation()?.role.clone());
    resources.retain(|r| r.resource_id().is_none_or(|id| !given_back.contains(id)));
    let live = tasks().filter(|t| t.is_live()).filter_map(|t| t.info.executor.as_ref());
    let executors: BTreeSet<&str> = live.map(|e| e.executor_id.value.as_str()).collect();
    let here = located(&first.info);
    let wish = Wish {
        region: wish.region.clone().or(here.region),
        zone: wish.zone.clone().or(here.zone),
        ..wish.clone()
    };
    Some(Offer {
        agent_id: first.info.agent_id.clone(),
        resources,
        allocation_info: Some(AllocationInfo { role }),
        executor_ids: executors.into_iter().map(Into::into).collect(),
        ..of_agent(context, &wish, wish.hostname.clone().unwrap_or(here.hostname), number)
    })
}

fn of_agent(context: &ServiceContext, wish: &Wish, hostname: String, number: u32) -> Offer {
    let name = |name: &str| Some(DomainName { name: name.to_owned() });
    let service = match &context.region {
        HomeRegion::Named(region) => Some(region.as_str()),
        HomeRegion::Local(_) => None,
    };
    let region = wish.region.as_deref().or(service);
    let domain = wish.zone.as_deref().or(region).map(|_| DomainInfo {
        fault_domain: Some(FaultDomain {
            region: name(region.unwrap_or(HOME_REGION)),
            zone: wish.zone.as_deref().and_then(name),
        }),
    });
    let attribute = |(name, value): &(String, String)| Attribute {
        name: name.clone(),
        r#type: ValueType::Text,
        text: Some(Text { value: value.clone() }),
        ..Attribute::default()
    };
    Offer {
        id: format!("offer-{number}").as_str().into(),
        framework_id: context.framework_id.as_str().into(),
        hostname,
        domain,
        attributes: wish.attributes.iter().map(attribute).collect(),
        ..Offer::default()
    }
}

/// An agent that suits a pod, for looking at the messages that would be made for it.
pub fn suited(pod: &PodSpec, context: &ServiceContext) -> AgentOffer {
    let offer = fresh(pod, context, &Wish::default(), 1);
    let role = context.pod_role(&pod.pre_reserved_role);
    AgentOffer::group([&offer], &[role]).into_iter().next().unwrap_or_default()
}

/// The ids of what is reserved for a task itself, not for its executor.
pub fn own_reservations(task: &Task) -> impl Iterator<Item = &str> {
    task.info.resources.iter().filter_map(Resource::resource_id)
}
