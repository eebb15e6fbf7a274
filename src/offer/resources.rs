//! Resource arithmetic as Mesos does it, and the pool of one agent's offered resources.

use crate::wire::{
    AllocationInfo, Labels, Range, Ranges, ReservationInfo, ReservationType, Resource, Scalar, ValueType,
};

/// The label of a reservation that says which one it is; every reservation that this program makes has one.
pub const RESOURCE_ID: &str = "resource_id";
/// The label of a reservation that says whose it is.
pub const FRAMEWORK_ID: &str = "framework_id";

/// How many ranges of ports are shown to a person.
const SHOWN_RANGES: usize = 5;

/// A scalar in thousandths, which is how exactly Mesos counts.
pub fn thousandths(value: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // saturates, and no agent has 9e15 units of anything
    {
        (value * 1000.0).round() as i64
    }
}

/// The scalar of so many thousandths.
pub fn from_thousandths(amount: i64) -> f64 {
    amount as f64 / 1000.0
}

impl Resource {
    /// A scalar resource, offered to `role`, unreserved.
    pub fn scalar(name: &str, amount: f64, role: &str) -> Self {
        Self {
            name: name.to_owned(),
            r#type: ValueType::Scalar,
            scalar: Some(Scalar { value: amount }),
            allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
            ..Self::default()
        }
    }

    /// A single port, offered to `role`, unreserved.
    pub fn port(port: u16, role: &str) -> Self {
        let range = Range { begin: u64::from(port), end: u64::from(port) };
        Self {
            name: "ports".to_owned(),
            r#type: ValueType::Ranges,
            ranges: Some(Ranges { range: vec![range] }),
            allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
            ..Self::default()
        }
    }

    /// The scalar amount in thousandths; 0 for other kinds.
    pub fn amount(&self) -> i64 {
        self.scalar.as_ref().map_or(0, |s| thousandths(s.value))
    }

    /// The same resource in another amount.
    #[must_use]
    pub fn with_amount(&self, amount: i64) -> Self {
        Self { scalar: Some(Scalar { value: from_thousandths(amount) }), ..self.clone() }
    }

    /// The innermost dynamic reservation.
    pub fn dynamic_reservation(&self) -> Option<&ReservationInfo> {
        self.reservations.iter().rev().find(|r| r.r#type == Some(ReservationType::Dynamic))
    }

    /// Which reservation it belongs to, if this program made it.
    pub fn resource_id(&self) -> Option<&str> {
        self.dynamic_reservation()?.labels.as_ref()?.get(RESOURCE_ID)
    }

    /// The id of the persistent volume that it is.
    pub fn persistence_id(&self) -> Option<&str> {
        Some(self.disk.as_ref()?.persistence.as_ref()?.id.as_str())
    }

    /// The path of the persistent volume that it is.
    pub fn container_path(&self) -> Option<&str> {
        Some(self.disk.as_ref()?.volume.as_ref()?.container_path.as_str())
    }

    /// The first port of a `ports` resource.
    pub fn first_port(&self) -> Option<u16> {
        u16::try_from(self.ranges.as_ref()?.range.first()?.begin).ok()
    }

    /// The same resource, reserved dynamically.
    #[must_use]
    pub fn reserved(&self, role: &str, principal: &str, labels: Labels) -> Self {
        let mut reserved = self.clone();
        reserved.reservations.push(ReservationInfo {
            r#type: Some(ReservationType::Dynamic),
            role: Some(role.to_owned()),
            principal: Some(principal.to_owned()),
            labels: Some(labels),
        });
        reserved
    }

    /// Whether amounts of both may be added: they differ in nothing but their amount.
    fn mergeable(&self, other: &Self) -> bool {
        self.name == other.name
            && self.r#type == other.r#type
            && self.reservations == other.reservations
            && self.disk == other.disk
            && self.provider_id == other.provider_id
            && self.allocation_info == other.allocation_info
            && self.revocable == other.revocable
            && self.shared == other.shared
            && self.disk.is_none()
    }
}

/// The resources of one agent that are still free to be taken.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    resources: Vec<Resource>,
}

impl Pool {
    /// A pool of these resources; those that came in pieces are put together.
    pub fn new(resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut pool = Self::default();
        for resource in resources {
            pool.add(resource);
        }
        pool
    }

    fn add(&mut self, resource: Resource) {
        let Some(same) = self.resources.iter_mut().find(|r| r.mergeable(&resource)) else {
            let ranges = resource.ranges.map(|r| Ranges { range: union(r.range) });
            return self.resources.push(Resource { ranges, ..resource });
        };
        match resource.r#type {
            ValueType::Scalar => *same = same.with_amount(same.amount() + resource.amount()),
            ValueType::Ranges => {
                let ranges = same.ranges.get_or_insert_default();
                let mut all = std::mem::take(&mut ranges.range);
                all.extend(resource.ranges.unwrap_or_default().range);
                ranges.range = union(all);
            }
            ValueType::Set => {
                let items = &mut same.set.get_or_insert_default().item;
                let more = resource.set.unwrap_or_default().item;
                items.extend(more.into_iter().filter(|item| !items.contains(item)).collect::<Vec<_>>());
            }
            // texts are attributes, not resources
            ValueType::Text => self.resources.push(resource),
        }
    }

    /// What is left.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    fn is_plain(resource: &Resource, name: &str, pre_reserved_role: Option<&str>) -> bool {
        let reserved_for = |r: &Resource| match (pre_reserved_role, r.reservations.as_slice()) {
            (None, []) => true,
            (Some(role), [one]) => {
                one.r#type == Some(ReservationType::Static) && one.role.as_deref() == Some(role)
            }
            _ => false,
        };
        resource.name == name
            && resource.disk.is_none()
            && resource.revocable.is_none()
            && resource.shared.is_none()
            // the form of reservations before they could be refined; not ours, whoever made it
            && resource.reservation.is_none()
            && reserved_for(resource)
    }

    fn is_free_mount_disk(resource: &Resource, pre_reserved_role: Option<&str>) -> bool {
        let disk = resource.disk.as_ref().filter(|d| d.persistence.is_none());
        let source = disk.and_then(|d| d.source.as_ref());
        source.is_some_and(|s| s.r#type == crate::wire::DiskSourceType::Mount)
            && Self::is_plain(&Resource { disk: None, ..resource.clone() }, "disk", pre_reserved_role)
    }

    /// The free mount disks: sizes in thousandths of a MB, and profiles.
    pub fn mount_disks(&self, pre_reserved_role: Option<&str>) -> Vec<(i64, Option<&str>)> {
        let free = self.resources.iter().filter(|r| Self::is_free_mount_disk(r, pre_reserved_role));
        free.map(|r| (r.amount(), profile(r))).collect()
    }

    /// The free ports as a text, `9000-9010, 9020`; the first few ranges of many.
    pub fn ports(&self, pre_reserved_role: Option<&str>) -> String {
        let plain = self.resources.iter().filter(|r| Self::is_plain(r, "ports", pre_reserved_role));
        let ranges = plain.flat_map(|r| &r.ranges).flat_map(|r| &r.range);
        let shown = |r: &Range| {
            if r.begin == r.end { r.begin.to_string() } else { format!("{}-{}", r.begin, r.end) }
        };
        let mut texts: Vec<String> = ranges.map(shown).collect();
        if texts.is_empty() {
            return "none".to_owned();
        }
        let more = texts.len().saturating_sub(SHOWN_RANGES);
        texts.truncate(SHOWN_RANGES);
        let more = if more > 0 { format!(" and {more} more ranges") } else { String::new() };
        format!("{}{more}", texts.join(", "))
    }

    /// How much of a plain scalar is left, in thousandths.
    pub fn available(&self, name: &str, pre_reserved_role: Option<&str>) -> i64 {
        let plain = self.resources.iter().filter(|r| Self::is_plain(r, name, pre_reserved_role));
        plain.map(Resource::amount).sum()
    }

    /// Takes an amount (thousandths) of a scalar that isn't dynamically reserved.
    pub fn take(&mut self, name: &str, amount: i64, pre_reserved_role: Option<&str>) -> Option<Resource> {
        let found = self
            .resources
            .iter_mut()
            .find(|r| Self::is_plain(r, name, pre_reserved_role) && r.amount() >= amount)?;
        let taken = found.with_amount(amount);
        *found = found.with_amount(found.amount() - amount);
        Some(taken)
    }

    /// Takes a port that isn't dynamically reserved: the first that `accept`s.
    pub fn take_port(
        &mut self,
        pre_reserved_role: Option<&str>,
        mut accept: impl FnMut(u16) -> bool,
    ) -> Option<(u16, Resource)> {
        for resource in &mut self.resources {
            if !Self::is_plain(resource, "ports", pre_reserved_role) {
                continue;
            }
            let ranges = resource.ranges.get_or_insert_default();
            let Some(port) = find_port(ranges, &mut accept) else { continue };
            remove_port(ranges, port);
            let range = vec![Range { begin: u64::from(port), end: u64::from(port) }];
            return Some((port, Resource { ranges: Some(Ranges { range }), ..resource.clone() }));
        }
        None
    }

    /// Takes a whole disk of the kind MOUNT with at least this size (thousandths of a MB) and one of these profiles; a disk
    /// without profile when none is asked for.
    pub fn take_mount_disk(
        &mut self,
        size: i64,
        profiles: &[String],
        pre_reserved_role: Option<&str>,
    ) -> Option<Resource> {
        let fits = |r: &Resource| {
            Self::is_free_mount_disk(r, pre_reserved_role)
                && r.amount() >= size
                && profile(r).map_or(profiles.is_empty(), |p| profiles.iter().any(|wanted| wanted == p))
        };
        let at = self.resources.iter().position(fits)?;
        Some(self.resources.swap_remove(at))
    }

    /// Takes everything that belongs to a reservation.
    pub fn take_reserved(&mut self, resource_id: &str) -> Option<Resource> {
        let at = self.resources.iter().position(|r| r.resource_id() == Some(resource_id))?;
        Some(self.resources.swap_remove(at))
    }
}

/// The profile of a disk.
fn profile(resource: &Resource) -> Option<&str> {
    resource.disk.as_ref()?.source.as_ref()?.profile.as_deref()
}

fn find_port(ranges: &Ranges, accept: &mut impl FnMut(u16) -> bool) -> Option<u16> {
    let numbers = ranges.range.iter().flat_map(|r| r.begin..=r.end.min(u64::from(u16::MAX)));
    numbers.filter_map(|n| u16::try_from(n).ok()).find(|n| accept(*n))
}

/// The same numbers in as few ranges as possible, in order. A range that runs backwards holds nothing.
fn union(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|r| r.begin <= r.end);
    ranges.sort_by_key(|r| r.begin);
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.begin <= last.end.saturating_add(1) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn remove_port(ranges: &mut Ranges, port: u16) {
    let port = u64::from(port);
    let split = std::mem::take(&mut ranges.range).into_iter().flat_map(|r| {
        if !(r.begin..=r.end).contains(&port) {
            return [Some(r), None];
        }
        let before = (r.begin < port).then(|| Range { begin: r.begin, end: port - 1 });
        let after = (port < r.end).then(|| Range { begin: port + 1, end: r.end });
        [before, after]
    });
    ranges.range = split.flatten().collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(id: &str) -> Labels {
        let mut labels = Labels::default();
        labels.push(RESOURCE_ID, id);
        labels
    }

    #[test]
    fn pieces_of_a_scalar_are_put_together_and_can_be_taken_as_one() {
        let mut pool = Pool::new([Resource::scalar("cpus", 0.1, "r"), Resource::scalar("cpus", 0.2, "r")]);
        assert_eq!(pool.available("cpus", None), 300);
        assert_eq!(pool.take("cpus", 300, None).map(|r| r.amount()), Some(300));
        assert_eq!(pool.take("cpus", 1, None), None);
    }

    #[test]
    fn reserved_resources_are_not_taken_as_free_ones() {
        let reserved = Resource::scalar("cpus", 1.0, "r").reserved("r", "p", labels("a"));
        let mut pool = Pool::new([reserved.clone()]);
        assert_eq!(pool.take("cpus", 1, None), None);
        assert_eq!(pool.take_reserved("b"), None);
        assert_eq!(pool.take_reserved("a"), Some(reserved));
    }

    #[test]
    fn statically_reserved_resources_are_taken_only_for_their_role() {
        let mut fixed = Resource::scalar("mem", 64.0, "p/r");
        fixed.reservations.push(ReservationInfo {
            r#type: Some(ReservationType::Static),
            role: Some("p".to_owned()),
            ..ReservationInfo::default()
        });
        let mut pool = Pool::new([fixed]);
        assert_eq!(pool.take("mem", 1, None), None);
        assert!(pool.take("mem", 64_000, Some("p")).is_some());
    }

    #[test]
    fn mesos_scalars_are_exact_to_three_decimals() {
        for (value, exact) in
            [(0.1 + 0.2, 300), (0.0004, 0), (0.0005, 1), (1.2345, 1235), (1e9, 1_000_000_000_000)]
        {
            assert_eq!(thousandths(value), exact, "{value}");
        }
        assert_eq!(thousandths(f64::INFINITY), i64::MAX, "no amount is more");
    }

    #[test]
    fn amounts_do_not_drift_over_a_hundred_thousand_takings_and_givings_back() {
        let mut pool = Pool::new([Resource::scalar("cpus", 1000.0, "r")]);
        let mut taken = std::collections::VecDeque::new();
        let (mut seed, mut held) = (1_u64, 0);
        for step in 0..100_000_i64 {
            // a linear congruential generator: the numbers only have to be uneven
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let amount = i64::try_from(seed >> 56).expect("8 bits") + 1;
            let more = pool.take("cpus", amount, None);
            held += more.as_ref().map_or(0, Resource::amount);
            taken.extend(more);
            if step % 3 != 0 {
                let back = taken.pop_front().expect("something was taken");
                held -= back.amount();
                pool.add(back);
            }
            assert_eq!(pool.available("cpus", None) + held, 1_000_000, "after {step}");
        }
        for resource in taken {
            pool.add(resource);
        }
        assert_eq!(pool.resources(), [Resource::scalar("cpus", 1000.0, "r")]);
    }

    fn set(items: &[&str]) -> Resource {
        let item = items.iter().map(|i| (*i).to_owned()).collect();
        let set = Some(crate::wire::Set { item });
        Resource { name: "zones".to_owned(), r#type: ValueType::Set, set, ..Resource::default() }
    }

    #[test]
    fn sets_are_put_together_without_repeating_anything() {
        let pool = Pool::new([set(&["a", "b"]), set(&["b", "c"])]);
        assert_eq!(pool.resources(), [set(&["a", "b", "c"])]);
    }

    #[test]
    fn reservations_in_the_older_form_are_nobodys_to_take() {
        let old = ReservationInfo { principal: Some("p".to_owned()), ..ReservationInfo::default() };
        let reserved = Resource { reservation: Some(old), ..Resource::scalar("cpus", 1.0, "r") };
        let mut pool = Pool::new([reserved]);
        assert_eq!((pool.available("cpus", None), pool.take("cpus", 1, None)), (0, None));
    }

    /// The numbers that a pool's free ports are.
    fn free(pool: &Pool) -> std::collections::BTreeSet<u64> {
        let ranges = pool.resources().iter().flat_map(|r| &r.ranges).flat_map(|r| &r.range);
        ranges.flat_map(|r| r.begin..=r.end).collect()
    }

    fn ports(ranges: &[(u64, u64)]) -> Resource {
        let range = ranges.iter().map(|(begin, len)| Range { begin: *begin, end: begin + len }).collect();
        Resource { ranges: Some(Ranges { range }), ..Resource::port(1, "r") }
    }

    proptest! {
        #[test]
        fn amounts_survive_any_split(parts in proptest::collection::vec(0i64..1_000_000, 1..20)) {
            let total: i64 = parts.iter().sum();
            let mut pool = Pool::new(parts.iter().map(|p| Resource::scalar("mem", from_thousandths(*p), "r")));
            prop_assert_eq!(pool.available("mem", None), total);
            for part in &parts {
                prop_assert_eq!(pool.take("mem", *part, None).map(|r| r.amount()), Some(*part));
            }
            prop_assert_eq!(pool.available("mem", None), 0);
        }

        #[test]
        fn ports_are_added_and_taken_as_sets_of_numbers_are(
            pieces in proptest::collection::vec(proptest::collection::vec((1u64..60, 0u64..9), 0..5), 1..5),
            wanted in proptest::collection::vec(1u16..70, 0..40),
        ) {
            let mut pool = Pool::new(pieces.iter().map(|piece| ports(piece)));
            let mut model: std::collections::BTreeSet<u64> =
                pieces.iter().flatten().flat_map(|(begin, len)| *begin..=begin + len).collect();
            prop_assert_eq!(free(&pool), model.clone());
            let mut taken = Vec::new();
            for port in wanted {
                let found = pool.take_port(None, |p| p == port);
                prop_assert_eq!(found.is_some(), model.remove(&u64::from(port)));
                taken.extend(found.map(|(_, resource)| resource));
                prop_assert_eq!(free(&pool), model.clone());
            }
            let whole = Pool::new(pieces.iter().map(|piece| ports(piece)));
            for resource in taken {
                pool.add(resource);
            }
            // in one order and without gaps of nothing, so that the same numbers are equal
            prop_assert_eq!(pool.resources(), whole.resources());
        }

        #[test]
        fn what_is_taken_and_added_again_is_what_was_there(
            have in 1i64..1_000_000_000, take in 1i64..1_000_000_000
        ) {
            let whole = Resource::scalar("mem", from_thousandths(have), "r");
            prop_assert_eq!(thousandths(from_thousandths(have)), have);
            let mut pool = Pool::new([whole.clone()]);
            let taken = pool.take("mem", take, None);
            prop_assert_eq!(taken.is_some(), take <= have, "it is there exactly if it is contained");
            prop_assert_eq!(pool.available("mem", None), if take <= have { have - take } else { have });
            if let Some(resource) = taken {
                pool.add(resource);
            }
            prop_assert_eq!(pool.resources(), [whole]);
        }

        #[test]
        fn no_port_is_handed_out_twice(begin in 1u64..60_000, len in 1u64..50) {
            let mut pool = Pool::new([ports(&[(begin, len - 1)])]);
            let mut seen = std::collections::BTreeSet::new();
            while let Some((port, _)) = pool.take_port(None, |p| p % 2 == 0 || p % 2 == 1) {
                prop_assert!(seen.insert(port));
            }
            prop_assert_eq!(seen.len() as u64, len);
        }
    }
}
