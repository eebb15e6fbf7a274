//! What RESERVE, UNRESERVE, CREATE and DESTROY make of resources, or why they cannot; in Mesos' words.
//!
//! The rules alone: whose resources they are, where they are kept and who hears of a refusal is the business of a
//! master. Used by the embedded master and by the simulated one.

use super::resources::{Resources, is_valid, refine, volume_id};
use crate::wire::{Operation, OperationType, ReservationType, Resource};

/// `from` is to become `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// What must be there.
    pub from: Resources,
    /// What is there afterwards.
    pub to: Resources,
}

impl Conversion {
    /// Carries it out in what is left of offers to `role` and in all that their agent has. Where something is missing it says
    /// what, and changes nothing.
    pub fn carry_out(
        &self,
        role: &str,
        offered: &mut Resources,
        total: &mut Resources,
    ) -> Result<(), String> {
        let Self { from, to } = self;
        if !offered.contains(from) || !total.contains(from) {
            return Err(format!("{} does not contain {}", offered.describe(role), from.describe(role)));
        }
        for all in [offered, total] {
            if all.subtract(from) {
                all.add(to);
            }
        }
        Ok(())
    }
}

/// Who asks, and for which agent.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The role that the resources were offered to.
    pub role: &'a str,
    /// The framework's principal.
    pub principal: Option<&'a str>,
    /// The agent, as messages name it.
    pub agent: &'a str,
    /// All that the agent has.
    pub total: &'a Resources,
}

/// What an operation does; none if it is no operation on reservations and volumes.
pub fn conversion(operation: &Operation, asker: &Asker<'_>) -> Option<Result<Conversion, String>> {
    let resources = |body: &Option<crate::wire::ResourcesBody>| body.clone().unwrap_or_default().resources;
    let volumes = |body: &Option<crate::wire::VolumesBody>| body.clone().unwrap_or_default().volumes;
    match operation.r#type {
        OperationType::Reserve => Some(reserve(&resources(&operation.reserve), asker)),
        OperationType::Unreserve => Some(unreserve(&resources(&operation.unreserve))),
        OperationType::Create => Some(create(&volumes(&operation.create), asker.total)),
        OperationType::Destroy => Some(destroy(&volumes(&operation.destroy))),
        OperationType::Launch | OperationType::LaunchGroup | OperationType::Unknown => None,
    }
}

fn reserve(resources: &[Resource], asker: &Asker<'_>) -> Result<Conversion, String> {
    let mut unreserved = Vec::new();
    for resource in resources {
        check_amount(resource)?;
        let mut below = refine(resource.clone());
        let Some(top) = below.reservations.pop() else {
            return Err(format!(
                "A reserve operation was attempted for the unreserved resource '{}'",
                below.name
            ));
        };
        let role = top.role.as_deref().unwrap_or("*");
        if role != asker.role {
            return Err(format!(
                "A reserve operation was attempted for a resource with role '{role}', but the resource was \
                 allocated to role '{}'; on agent {}",
                asker.role, asker.agent
            ));
        }
        if top.r#type == Some(ReservationType::Static) {
            return Err("Cannot reserve a resource statically".into());
        }
        if top.principal.as_deref() != asker.principal {
            return Err(format!(
                "A reserve operation was attempted by principal '{}', but there is a reserved resource in the \
                 request with principal '{}' set in `ReservationInfo`",
                asker.principal.unwrap_or_default(),
                top.principal.unwrap_or_default()
            ));
        }
        if volume_id(resource).is_some() {
            return Err(format!("A persistent volume cannot be reserved: {}", resource.name));
        }
        unreserved.push(below);
    }
    Ok(Conversion { from: Resources::new(&unreserved), to: Resources::new(resources) })
}

fn unreserve(resources: &[Resource]) -> Result<Conversion, String> {
    let mut unreserved = Vec::new();
    for resource in resources {
        check_amount(resource)?;
        let mut below = refine(resource.clone());
        match below.reservations.pop() {
            Some(top) if top.r#type != Some(ReservationType::Static) => {}
            _ => return Err(format!("Resource '{}' is not dynamically reserved", below.name)),
        }
        if volume_id(resource).is_some() {
            return Err(format!(
                "A dynamically reserved persistent volume {} cannot be unreserved directly. \
                 Please destroy the persistent volume first then unreserve the resource",
                below.name
            ));
        }
        unreserved.push(below);
    }
    Ok(Conversion { from: Resources::new(resources), to: Resources::new(&unreserved) })
}

fn create(volumes: &[Resource], existing: &Resources) -> Result<Conversion, String> {
    let mut disk = Vec::new();
    for (i, volume) in volumes.iter().enumerate() {
        check_amount(volume)?;
        let volume = refine(volume.clone());
        let Some(id) = volume_id(&volume) else {
            return Err("Expecting 'persistence' to be set for persistent volume".into());
        };
        if id.is_empty() || id == "." || id == ".." || id.contains(['/', '\\', '\0']) {
            return Err(format!("Invalid persistence ID: '{id}' contains invalid characters"));
        }
        if volume.reservations.is_empty() {
            return Err("Persistent volumes cannot be created from unreserved resources".into());
        }
        let role = |r: &Resource| r.reservations.last().and_then(|r| r.role.clone());
        let same = |other: &Resource| volume_id(other) == Some(id) && role(other) == role(&volume);
        if existing.iter().any(same) || volumes[..i].iter().map(|v| refine(v.clone())).any(|v| same(&v)) {
            return Err(format!("Persistence ID '{id}' already exists"));
        }
        disk.push(without_volume(&volume));
    }
    Ok(Conversion { from: Resources::new(&disk), to: Resources::new(volumes) })
}

fn destroy(volumes: &[Resource]) -> Result<Conversion, String> {
    let disk: Vec<Resource> = volumes.iter().map(|v| without_volume(&refine(v.clone()))).collect();
    if volumes.iter().any(|v| volume_id(v).is_none()) {
        return Err("Expecting 'persistence' to be set for persistent volume".into());
    }
    Ok(Conversion { from: Resources::new(volumes), to: Resources::new(&disk) })
}

/// Whether an amount makes sense.
pub fn check_amount(resource: &Resource) -> Result<(), String> {
    if is_valid(resource) { Ok(()) } else { Err(format!("Invalid resource '{}'", resource.name)) }
}

/// The disk that a volume lies on.
fn without_volume(volume: &Resource) -> Resource {
    let mut disk = volume.clone();
    if let Some(info) = &mut disk.disk {
        info.persistence = None;
        info.volume = None;
        if info.source.is_none() {
            disk.disk = None;
        }
    }
    disk
}
