//! Offer evaluation: what one agent's offers can do for one pod instance.
//!
//! Pure: an offer and a wish go in; operations to send, or the reasons why not, come out. Nothing is declined in silence:
//! every stage leaves a [`Reason`], a tree of them. Which offers are tried for which step, and what happens to the rest, is the
//! business of `scheduler`.

mod evaluate;
mod placement;
mod reason;
mod reserve;
mod resources;
mod task_info;
#[cfg(test)]
mod tests;
mod tls;

pub use evaluate::{Evaluation, Launch, Planned, PodRequest, StoredTask, evaluate, unexpected};
pub use placement::{HomeRegion, Located, Peers, Spread, attribute_text, check, counted_fields, locate};
pub use reason::Reason;
pub use resources::{FRAMEWORK_ID, Pool, RESOURCE_ID, from_thousandths, thousandths};
pub use task_info::{example_environment, label, located};

use crate::wire::{AgentId, Attribute, DomainInfo, ExecutorId, Offer, OfferId, ReservationType, Resource};
use std::collections::BTreeMap;

/// What is the same for all pods of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceContext {
    /// The service's name, as configured.
    pub name: String,
    /// The framework's id.
    pub framework_id: String,
    /// The role of its reservations.
    pub role: String,
    /// The principal of its reservations.
    pub principal: String,
    /// The user of its tasks.
    pub user: String,
    /// Domain of task names, `autoip.dcos.thisdcos.directory` on DC/OS.
    pub service_tld: String,
    /// Domain of virtual addresses, `l4lb.thisdcos.directory` on DC/OS; empty where there are none.
    pub vip_tld: String,
    /// Where tasks reach the scheduler's API.
    pub api_host: String,
    /// Where tasks reach the scheduler's API.
    pub api_port: u16,
    /// Resources of each pod instance's executor.
    pub executor: ExecutorOverhead,
    /// The DC/OS space of secrets.
    pub space: String,
    /// The region of pods whose placement says nothing of regions.
    pub region: HomeRegion,
    /// What a paused task does instead of its command; empty for the usual.
    pub pause_command: String,
    /// The bootstrap program, which paused tasks get even where their pod does not list it.
    pub bootstrap_uri: Option<String>,
    /// Addresses of ports, by port name: variables `ENDPOINT_<NAME>_HOST` and `_PORT`.
    pub endpoints: BTreeMap<String, (String, u16)>,
}

/// What an executor takes beside its tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExecutorOverhead {
    /// Processors.
    pub cpus: f64,
    /// MB.
    pub mem: f64,
    /// MB.
    pub disk: f64,
}

impl Default for ExecutorOverhead {
    /// The defaults of the Mesosphere SDK.
    fn default() -> Self {
        Self { cpus: 0.1, mem: 32.0, disk: 256.0 }
    }
}

impl ServiceContext {
    /// The service's name as part of a DNS name: without slashes, dots become dashes.
    pub fn dns_name(&self) -> String {
        self.name.replace('/', "").replace('.', "-")
    }

    /// The domain of the service's tasks.
    pub fn framework_host(&self) -> String {
        format!("{}.{}", self.dns_name(), self.service_tld)
    }

    /// The domain of the service's virtual addresses.
    pub fn vip_host(&self) -> String {
        format!("{}.{}", self.name.replace('/', ""), self.vip_tld)
    }

    /// The role of a pod's reservations.
    pub fn pod_role(&self, pre_reserved_role: &str) -> String {
        pod_role(&self.role, pre_reserved_role)
    }
}

/// The role of a pod's reservations: the service's `role`, or below the statically reserved one that they refine (`*` for
/// none).
pub fn pod_role(role: &str, pre_reserved_role: &str) -> String {
    if pre_reserved_role == "*" { role.to_owned() } else { format!("{pre_reserved_role}/{role}") }
}

/// All offers of one agent to one role, put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentOffer {
    /// The offers.
    pub ids: Vec<OfferId>,
    /// The agent.
    pub agent_id: AgentId,
    /// Its host name.
    pub hostname: String,
    /// Its region and zone.
    pub domain: Option<DomainInfo>,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// Executors of this framework that run there.
    pub executor_ids: Vec<ExecutorId>,
    /// The role that the offers are for.
    pub role: String,
    /// What is offered.
    pub resources: Vec<Resource>,
}

impl AgentOffer {
    /// Puts offers together that are of the same agent and for the same role; Mesos takes no others in one ACCEPT. Reservations that are somebody else's are
    /// left out: those without `resource_id` label, of another role or of another framework.
    pub fn group<'a>(offers: impl IntoIterator<Item = &'a Offer>, roles: &[String]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        let mut known = BTreeMap::<(&AgentId, String), usize>::new();
        for offer in offers {
            let allocated = |a: &Option<crate::wire::AllocationInfo>| a.as_ref().and_then(|a| a.role.clone());
            let role = allocated(&offer.allocation_info)
                .or_else(|| offer.resources.iter().find_map(|r| allocated(&r.allocation_info)))
                .or_else(|| roles.first().cloned())
                .unwrap_or_default();
            let at = *known.entry((&offer.agent_id, role.clone())).or_insert_with(|| {
                groups.push(Self {
                    agent_id: offer.agent_id.clone(),
                    hostname: offer.hostname.clone(),
                    domain: offer.domain.clone(),
                    attributes: offer.attributes.clone(),
                    role,
                    ..Self::default()
                });
                groups.len() - 1
            });
            // `known` only holds positions in `groups`.
            let Some(group) = groups.get_mut(at) else { continue };
            let ours = |r: &&Resource| is_ours_or_free(r, roles, &offer.framework_id.value);
            group.resources.extend(offer.resources.iter().filter(ours).cloned());
            group.ids.push(offer.id.clone());
            let new = offer.executor_ids.iter().filter(|e| !group.executor_ids.contains(e));
            let new: Vec<_> = new.cloned().collect();
            group.executor_ids.extend(new);
        }
        groups
    }
}

fn is_ours_or_free(resource: &Resource, roles: &[String], framework_id: &str) -> bool {
    let Some(reservation) = resource.dynamic_reservation() else { return true };
    let label = |key: &str| reservation.labels.as_ref().and_then(|l| l.get(key));
    let role = reservation.role.as_ref().is_some_and(|r| roles.contains(r));
    let framework = label(FRAMEWORK_ID).is_none_or(|id| id == framework_id);
    reservation.r#type == Some(ReservationType::Dynamic) && role && framework && label(RESOURCE_ID).is_some()
}
