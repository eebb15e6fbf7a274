//! Amounts of resources on one agent: what there is, what is offered, what is used.
//!
//! The rules are those of Mesos' `Resources` class: scalars are counted in thousandths; two resources add up when they
//! differ in nothing but their amount; a persistent volume is indivisible, and how it is mounted (`disk.volume`) does
//! not belong to its identity. Resources are kept in the refined form (a stack of `reservations`) without
//! `allocation_info`, which belongs to an offer. Used by the embedded and the simulated master; the scheduler's own
//! arithmetic is in `offer`, so that a mistake there is not hidden by the same mistake here.

use crate::wire::{AllocationInfo, DiskInfo, Range, ReservationInfo, ReservationType, Resource, ValueType};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Resources, each kind once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resources(Vec<Resource>);

impl Resources {
    /// Brings resources from the wire into the kept form and adds them up.
    pub fn new<'a>(list: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut all = Self::default();
        for resource in list {
            all.add_one(refine(resource.clone()));
        }
        all
    }

    /// The resources, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.0.iter()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        for resource in &other.0 {
            self.add_one(resource.clone());
        }
    }

    /// Takes `other` away; `false`, with nothing changed, when it is not all there.
    #[must_use]
    pub fn subtract(&mut self, other: &Self) -> bool {
        let mut rest = self.clone();
        let all_there = other.0.iter().all(|resource| rest.subtract_one(resource));
        if all_there {
            *self = rest;
        }
        all_there
    }

    /// Whether all of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        self.clone().subtract(other)
    }

    /// The same reservations and volumes on an agent that now has `total`, which nothing is reserved of.
    pub fn rebased(&self, total: &Self) -> Self {
        let mut rest = total.clone();
        let mut reserved = Self::default();
        for resource in self.0.iter().filter(|r| !r.reservations.is_empty()) {
            let plain = Resource { reservations: Vec::new(), disk: None, ..resource.clone() };
            if !rest.subtract_one(&plain) {
                tracing::warn!("the agent has less `{}` than is reserved on it", resource.name);
            }
            reserved.add_one(resource.clone());
        }
        reserved.add(&rest);
        reserved
    }

    /// Only those that a framework of `role` can be offered: unreserved ones and those reserved for the role.
    pub fn offerable(&self, role: &str) -> Self {
        let fits = |r: &&Resource| match r.reservations.last().and_then(|r| r.role.as_deref()) {
            None => true,
            Some(reserved) => reserved == role || role.starts_with(&format!("{reserved}/")),
        };
        Self(self.0.iter().filter(fits).cloned().collect())
    }

    /// For an offer to `role`.
    pub fn allocated(&self, role: &str) -> Vec<Resource> {
        let allocation = AllocationInfo { role: Some(role.to_owned()) };
        let one = |r: &Resource| Resource { allocation_info: Some(allocation.clone()), ..r.clone() };
        self.0.iter().map(one).collect()
    }

    /// The sum of all scalars called `name`, whoever they are reserved for.
    pub fn scalar(&self, name: &str) -> f64 {
        self.0.iter().filter(|r| r.name == name).map(units).sum::<i64>() as f64 / 1000.0
    }

    /// In the words of Mesos' messages.
    pub fn describe(&self, role: &str) -> String {
        let all: Vec<String> = self.0.iter().map(|r| describe(r, role)).collect();
        if all.is_empty() { "{}".to_owned() } else { all.join("; ") }
    }

    fn add_one(&mut self, resource: Resource) {
        if is_zero(&resource) {
            return;
        }
        let mergeable = |r: &&mut Resource| same_kind(r, &resource) && volume_id(r).is_none();
        match self.0.iter_mut().find(mergeable) {
            None => self.0.push(resource),
            Some(old) => match old.r#type {
                ValueType::Ranges => set_ranges(old, union(ranges(old), ranges(&resource))),
                ValueType::Set => {
                    old.set.get_or_insert_default().item.extend(items(&resource).iter().cloned());
                }
                _ => set_units(old, units(old) + units(&resource)),
            },
        }
    }

    fn subtract_one(&mut self, resource: &Resource) -> bool {
        let Some(index) = self.0.iter().position(|r| same_kind(r, resource)) else {
            return is_zero(resource);
        };
        let old = &mut self.0[index];
        let there = match old.r#type {
            ValueType::Ranges => match difference(ranges(old), ranges(resource)) {
                Some(rest) => {
                    set_ranges(old, rest);
                    true
                }
                None => false,
            },
            ValueType::Set => {
                let taken = items(resource).to_vec();
                let there = taken.iter().all(|i| items(old).contains(i));
                old.set.get_or_insert_default().item.retain(|i| !taken.contains(i));
                there
            }
            _ => {
                let rest = units(old) - units(resource);
                set_units(old, rest.max(0));
                rest == 0 || rest > 0 && volume_id(old).is_none()
            }
        };
        if is_zero(&self.0[index]) {
            self.0.remove(index);
        }
        there
    }
}

/// The persistent volume's id.
pub fn volume_id(resource: &Resource) -> Option<&str> {
    Some(resource.disk.as_ref()?.persistence.as_ref()?.id.as_str())
}

/// Whether an amount is well formed: a positive finite scalar, ranges that do not run backwards.
pub fn is_valid(resource: &Resource) -> bool {
    match resource.r#type {
        ValueType::Scalar => {
            resource.scalar.as_ref().is_some_and(|s| s.value.is_finite() && (0.0..1e12).contains(&s.value))
        }
        ValueType::Ranges => resource.ranges.is_some() && ranges(resource).iter().all(|r| r.begin <= r.end),
        ValueType::Set => resource.set.is_some(),
        ValueType::Text => false,
    }
}

/// Brings one resource into the kept form: the older `role` and `reservation` become a stack of one.
pub fn refine(mut resource: Resource) -> Resource {
    resource.allocation_info = None;
    let role = resource.role.take().filter(|role| role != "*");
    let reservation = resource.reservation.take();
    if let Some(role) = role
        && resource.reservations.is_empty()
    {
        let kind = if reservation.is_some() { ReservationType::Dynamic } else { ReservationType::Static };
        let old = reservation.unwrap_or_default();
        resource.reservations.push(ReservationInfo { r#type: Some(kind), role: Some(role), ..old });
    }
    resource
}

fn same_kind(a: &Resource, b: &Resource) -> bool {
    let source = |d: &DiskInfo| d.source.clone();
    a.name == b.name
        && a.r#type == b.r#type
        && a.reservations == b.reservations
        && a.provider_id == b.provider_id
        && a.revocable == b.revocable
        && a.shared == b.shared
        && volume_id(a) == volume_id(b)
        && a.disk.as_ref().and_then(source) == b.disk.as_ref().and_then(source)
}

/// Thousandths, as Mesos counts.
#[allow(clippy::cast_possible_truncation)] // saturates; amounts beyond i64 are refused by `is_valid`
fn units(resource: &Resource) -> i64 {
    resource.scalar.as_ref().map_or(0, |s| (s.value * 1000.0).round() as i64)
}

fn set_units(resource: &mut Resource, units: i64) {
    resource.scalar.get_or_insert_default().value = units as f64 / 1000.0;
}

fn ranges(resource: &Resource) -> &[Range] {
    resource.ranges.as_ref().map_or(&[], |r| &r.range)
}

fn set_ranges(resource: &mut Resource, ranges: Vec<Range>) {
    resource.ranges.get_or_insert_default().range = ranges;
}

fn items(resource: &Resource) -> &[String] {
    resource.set.as_ref().map_or(&[], |s| &s.item)
}

fn is_zero(resource: &Resource) -> bool {
    match resource.r#type {
        ValueType::Ranges => ranges(resource).is_empty(),
        ValueType::Set => items(resource).is_empty(),
        _ => units(resource) == 0,
    }
}

/// Sorted, without overlaps and gaps of nothing.
fn union(a: &[Range], b: &[Range]) -> Vec<Range> {
    let mut all: Vec<Range> = a.iter().chain(b).cloned().collect();
    all.sort_by_key(|r| r.begin);
    let mut merged: Vec<Range> = Vec::new();
    for range in all {
        match merged.last_mut() {
            Some(last) if range.begin <= last.end.saturating_add(1) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// `a` without `b`, or nothing when `b` is not all in `a`.
fn difference(a: &[Range], b: &[Range]) -> Option<Vec<Range>> {
    let mut rest = union(a, &[]);
    for take in union(b, &[]) {
        let index = rest.iter().position(|r| r.begin <= take.begin && take.end <= r.end)?;
        let whole = rest.remove(index);
        if take.end < whole.end {
            rest.insert(index, Range { begin: take.end + 1, end: whole.end });
        }
        if whole.begin < take.begin {
            rest.insert(index, Range { begin: whole.begin, end: take.begin - 1 });
        }
    }
    Some(rest)
}

fn describe(r: &Resource, role: &str) -> String {
    let mut text = format!("{}(allocated: {role})", r.name);
    if !r.reservations.is_empty() {
        let one = |r: &ReservationInfo| {
            let kind = if r.r#type == Some(ReservationType::Static) { "STATIC" } else { "DYNAMIC" };
            let mut text = format!("({kind},{}", r.role.as_deref().unwrap_or("*"));
            if let Some(principal) = &r.principal {
                let _ = write!(text, ",{principal}"); // writing to a String cannot fail
            }
            text + ")"
        };
        let stack: Vec<String> = r.reservations.iter().map(one).collect();
        let _ = write!(text, "(reservations: [{}])", stack.join(","));
    }
    if let Some(id) = volume_id(r) {
        let volume = r.disk.as_ref().and_then(|d| d.volume.as_ref());
        let _ = write!(text, "[{id}:{}]", volume.map_or("", |v| &v.container_path));
    }
    let amount = match r.r#type {
        ValueType::Ranges => {
            let all: Vec<String> = ranges(r).iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
            format!("[{}]", all.join(", "))
        }
        ValueType::Set => format!("{{{}}}", items(r).join(", ")),
        _ => format!("{}", units(r) as f64 / 1000.0),
    };
    text + ":" + &amount
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn resources(value: serde_json::Value) -> Resources {
        Resources::new(&serde_json::from_value::<Vec<Resource>>(value).unwrap())
    }

    fn cpus(value: f64) -> serde_json::Value {
        json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": value}})
    }

    fn ports(ranges: &[(u64, u64)]) -> Resources {
        let range: Vec<_> = ranges.iter().map(|(b, e)| json!({"begin": b, "end": e})).collect();
        resources(json!([{"name": "ports", "type": "RANGES", "ranges": {"range": range}}]))
    }

    fn reserved(mut resource: serde_json::Value) -> serde_json::Value {
        resource["reservations"] = json!([{"type": "DYNAMIC", "role": "r", "principal": "p"}]);
        resource
    }

    fn volume(id: &str, path: &str) -> serde_json::Value {
        reserved(json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 64.0},
            "disk": {"persistence": {"id": id}, "volume": {"mode": "RW", "container_path": path}}}))
    }

    #[test]
    fn tenths_add_up_exactly() {
        let mut sum = Resources::default();
        for _ in 0..10 {
            sum.add(&resources(json!([cpus(0.1)])));
        }
        assert!(sum.subtract(&resources(json!([cpus(1.0)]))));
        assert!(sum.is_empty());
    }

    #[test]
    fn reserved_and_unreserved_amounts_are_different_things() {
        let pool = resources(json!([cpus(1.0), reserved(cpus(2.0))]));
        assert!(!pool.contains(&resources(json!([cpus(1.5)]))));
        assert!(pool.contains(&resources(json!([reserved(cpus(1.5))]))));
        assert_eq!(pool.offerable("other"), resources(json!([cpus(1.0)])));
        assert_eq!(pool.offerable("r"), pool);
    }

    #[test]
    fn the_old_form_of_a_reservation_means_the_same() {
        let old = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 2.0},
            "role": "r", "reservation": {"principal": "p"}});
        assert_eq!(resources(json!([old])), resources(json!([reserved(cpus(2.0))])));
    }

    #[test]
    fn a_volume_is_indivisible_and_may_be_mounted_anywhere() {
        let mut pool = resources(json!([volume("a", "x"), volume("b", "x")]));
        let mut half = volume("a", "x");
        half["scalar"]["value"] = json!(32.0);
        assert!(!pool.contains(&resources(json!([half]))));
        assert!(pool.subtract(&resources(json!([volume("a", "elsewhere")]))));
        assert_eq!(pool, resources(json!([volume("b", "x")])));
    }

    #[test]
    fn messages_are_worded_as_those_of_mesos() {
        let mut pool = resources(json!([reserved(cpus(3.0)), volume("vol-1", "data")]));
        pool.add(&ports(&[(1025, 32000)]));
        assert_eq!(
            pool.describe("r"),
            "cpus(allocated: r)(reservations: [(DYNAMIC,r,p)]):3; \
             disk(allocated: r)(reservations: [(DYNAMIC,r,p)])[vol-1:data]:64; ports(allocated: r):[1025-32000]"
        );
    }

    proptest! {
        #[test]
        fn what_is_taken_from_ranges_and_given_back_leaves_them_as_they_were(
            cuts in proptest::collection::vec((100u64..200, 0u64..20), 0..8)
        ) {
            let whole = ports(&[(50, 150), (170, 300)]);
            let mut rest = whole.clone();
            let mut taken = Vec::new();
            for (begin, length) in cuts {
                let cut = ports(&[(begin, begin + length)]);
                if rest.subtract(&cut) {
                    prop_assert!(!rest.contains(&cut));
                    taken.push(cut);
                }
            }
            for cut in &taken {
                rest.add(cut);
            }
            prop_assert_eq!(rest, whole);
        }
    }
}
