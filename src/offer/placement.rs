//! Placement rules: whether an agent may take another instance of a pod.

use super::AgentOffer;
use crate::spec::{PlacementOperator, PlacementRule, PodSpec};
use crate::wire::{Attribute, ValueType};
use fancy_regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// Where a task that was launched before runs, as its labels say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// The agent's host name.
    pub hostname: String,
    /// The agent's region.
    pub region: Option<String>,
    /// The agent's zone.
    pub zone: Option<String>,
    /// The agent's attributes, as `name:value`.
    pub attributes: Vec<String>,
}

impl Located {
    /// The values of a field, each once.
    fn values(&self, field: &str) -> Vec<String> {
        let mut values = match field {
            "hostname" | "@hostname" => vec![self.hostname.clone()],
            "@region" => self.region.iter().cloned().collect(),
            "@zone" => self.zone.iter().cloned().collect(),
            name => {
                let matching =
                    self.attributes.iter().filter_map(|a| a.split_once(':')).filter(|(n, _)| *n == name);
                matching.map(|(_, value)| value.to_owned()).collect()
            }
        };
        let mut seen = BTreeSet::new();
        values.retain(|v| seen.insert(v.clone()));
        values
    }
}

/// How many tasks of a pod are at each value of some fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    fields: BTreeMap<String, Counts>,
}

/// How many tasks are at each value of one field.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counts {
    by_value: BTreeMap<String, usize>,
    /// How many values have so many tasks.
    by_count: BTreeMap<usize, usize>,
}

impl Counts {
    fn of(&self, value: &str) -> usize {
        self.by_value.get(value).copied().unwrap_or(0)
    }

    /// Makes `count` the number of tasks at a value.
    fn set(&mut self, value: &str, count: usize) {
        let before = self.of(value);
        if let Some(values) = self.by_count.get_mut(&before) {
            *values -= 1;
            if *values == 0 {
                self.by_count.remove(&before);
            }
        }
        if count == 0 {
            self.by_value.remove(value);
        } else {
            *self.by_count.entry(count).or_default() += 1;
            self.by_value.insert(value.to_owned(), count);
        }
    }
}

/// The fields by which a pod's placement rules count its tasks.
pub fn counted_fields(pod: &PodSpec) -> BTreeSet<String> {
    let rules = pod.placement.iter().flat_map(|p| &p.rules);
    let counts = |r: &&PlacementRule| {
        use PlacementOperator::{GroupBy, MaxPer, Unique};
        matches!(r.operator, Unique | MaxPer(_) | GroupBy(_))
    };
    rules.filter(counts).map(|r| r.field.clone()).collect()
}

impl Spread {
    /// No tasks yet, to be counted by these fields.
    pub fn by(fields: impl IntoIterator<Item = String>) -> Self {
        Self { fields: fields.into_iter().map(|f| (f, Counts::default())).collect() }
    }

    /// The same fields without any task.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::by(self.fields.keys().cloned())
    }

    /// Counts a task in.
    pub fn add(&mut self, task: &Located) {
        self.edit(task, |count| count + 1);
    }

    /// Counts a task out.
    pub fn remove(&mut self, task: &Located) {
        self.edit(task, |count| count.saturating_sub(1));
    }

    fn edit(&mut self, task: &Located, edit: impl Fn(usize) -> usize) {
        for (field, counts) in &mut self.fields {
            for value in task.values(field) {
                counts.set(&value, edit(counts.of(&value)));
            }
        }
    }
}

/// The tasks of a pod, without those of one of its instances.
///
/// All tasks that are stored count, whether they run or not: what has finished or is being taken down still holds
/// its reservations. The SDK knows a pod's tasks by how their names begin, and so counts those of a pod `web-proxy` for the pod
/// `web`, too; here a pod's tasks are its own.
#[derive(Clone, Debug, Default)]
pub struct Peers<'a> {
    spread: Option<&'a Spread>,
    /// The tasks of that instance at each value, by field.
    own: BTreeMap<&'a str, BTreeMap<String, usize>>,
}

impl<'a> Peers<'a> {
    /// The tasks of a `spread`, without those that are `own`. Without a spread there are none.
    pub fn new(spread: Option<&'a Spread>, own: impl IntoIterator<Item = Located>) -> Self {
        let mut by_field = BTreeMap::<&str, BTreeMap<String, usize>>::new();
        let fields: Vec<&String> = spread.iter().flat_map(|s| s.fields.keys()).collect();
        for task in own {
            for field in &fields {
                let counts = by_field.entry(field.as_str()).or_default();
                for value in task.values(field) {
                    *counts.entry(value).or_default() += 1;
                }
            }
        }
        Self { spread, own: by_field }
    }

    fn counts(&self, field: &str) -> Option<&'a Counts> {
        self.spread?.fields.get(field)
    }

    fn own(&self, field: &str) -> impl Iterator<Item = (&String, usize)> {
        self.own.get(field).into_iter().flatten().map(|(value, count)| (value, *count))
    }

    /// How many tasks are at a value.
    fn count(&self, field: &str, value: &str) -> usize {
        let all = self.counts(field).map_or(0, |c| c.of(value));
        let own = self.own.get(field).and_then(|own| own.get(value)).copied().unwrap_or(0);
        all.saturating_sub(own)
    }

    /// How many values have tasks.
    fn values(&self, field: &str) -> usize {
        let Some(counts) = self.counts(field) else { return 0 };
        let emptied = self.own(field).filter(|(value, own)| counts.of(value) <= *own).count();
        counts.by_value.len().saturating_sub(emptied)
    }

    /// The smallest number of tasks at a value that has any; 0 when there are none.
    fn least(&self, field: &str) -> usize {
        let Some(counts) = self.counts(field) else { return 0 };
        let reduced =
            self.own(field).map(|(value, own)| counts.of(value).saturating_sub(own)).filter(|n| *n > 0);
        let others = counts.by_count.iter().find(|(count, values)| {
            let own = self.own(field).filter(|(value, _)| counts.of(value) == **count).count();
            **values > own
        });
        others.map(|(count, _)| *count).into_iter().chain(reduced).min().unwrap_or(0)
    }
}

/// An attribute's value in the text form of Mesos.
pub fn attribute_text(attribute: &Attribute) -> String {
    match attribute.r#type {
        ValueType::Scalar => format!("{:.3}", attribute.scalar.as_ref().map_or(0.0, |s| s.value)),
        ValueType::Ranges => {
            let ranges = attribute.ranges.iter().flat_map(|r| &r.range);
            let texts: Vec<_> = ranges.map(|r| format!("{}-{}", r.begin, r.end)).collect();
            format!("[{}]", texts.join(","))
        }
        ValueType::Set => {
            format!("{{{}}}", attribute.set.as_ref().map_or(String::new(), |s| s.item.join(",")))
        }
        ValueType::Text => attribute.text.as_ref().map_or(String::new(), |t| t.value.clone()),
    }
}

/// Where tasks on this offer's agent would be.
pub fn locate(offer: &AgentOffer) -> Located {
    let domain = offer.domain.as_ref().and_then(|d| d.fault_domain.as_ref());
    Located {
        hostname: offer.hostname.clone(),
        region: domain.and_then(|d| d.region.as_ref()).map(|r| r.name.clone()),
        zone: domain.and_then(|d| d.zone.as_ref()).map(|z| z.name.clone()),
        attributes: offer.attributes.iter().map(|a| format!("{}:{}", a.name, attribute_text(a))).collect(),
    }
}

/// The region that pods stay in when their placement says nothing of regions: services seldom bear the distance
/// between regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeRegion {
    /// The master's, if it has said which it is.
    Local(Option<String>),
    /// The region of this name.
    Named(String),
}

impl Default for HomeRegion {
    fn default() -> Self {
        Self::Local(None)
    }
}

/// The region that a pod with these rules stays in; none when one of them names regions itself.
pub fn home_region<'a, 'r>(
    mut rules: impl Iterator<Item = &'r PlacementRule>,
    region: &'a HomeRegion,
) -> Option<&'a HomeRegion> {
    (!rules.any(|rule| rule.field == "@region")).then_some(region)
}

impl HomeRegion {
    /// What is found for an agent; an agent or master without region is where the master is.
    pub fn check(&self, here: &Located) -> Result<String, String> {
        match (self, &here.region) {
            (Self::Local(None), Some(region)) => {
                Ok(format!("the master has no region, so {region} is as good as any"))
            }
            (Self::Local(_), None) => Ok("the agent has no region, so it is in the master's".to_owned()),
            (Self::Local(Some(home)) | Self::Named(home), Some(region)) if home == region => {
                Ok(format!("in the service's region, {home}"))
            }
            (Self::Local(Some(home)) | Self::Named(home), region) => {
                let region = region.as_deref().unwrap_or("in none");
                Err(format!("the service's region is {home}, the agent is {region}"))
            }
        }
    }
}

/// Checks one rule: `Err` says why the agent is not acceptable. `peers` are the tasks of other instances of the pod.
pub fn check(rule: &PlacementRule, here: &Located, peers: &Peers<'_>) -> Result<(), String> {
    let field = rule.field.as_str();
    let values = here.values(field);
    let shown = if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
    let count = |value: &String| peers.count(field, value);
    // the whole value must match, as in Java
    let any_matches = |text: &str| {
        let regex = Regex::new(&format!("^(?:{text})$")).map_err(|e| format!("{field}: {e}"))?;
        let mut found = false;
        for value in &values {
            found |= regex.is_match(value).map_err(|e| format!("{field} {value} and {text}: {e}"))?;
        }
        Ok::<bool, String>(found)
    };
    let max = |n: usize| match values.iter().find(|v| count(v) >= n) {
        Some(v) => Err(format!("{field} {v} has {} of at most {n} tasks of this pod", count(v))),
        None => Ok(()),
    };
    let there = || if values.is_empty() { Err(format!("{field}: the agent has none")) } else { Ok(()) };
    match &rule.operator {
        PlacementOperator::Unique => there().and_then(|()| max(1)),
        // As in the SDK: an agent without the attribute is in none of the groups, and so in none that is full. Regions and
        // zones are another matter: an agent that does not tell its own is in one nevertheless.
        PlacementOperator::MaxPer(n) if field.starts_with('@') => there().and_then(|()| max(*n as usize)),
        PlacementOperator::MaxPer(n) => max(*n as usize),
        PlacementOperator::Cluster(want) | PlacementOperator::Is(want) => {
            let same = values.iter().any(|v| same_value(v, want));
            if same { Ok(()) } else { Err(format!("{field} must be {want}, is {shown}")) }
        }
        PlacementOperator::IsNot(avoid) => {
            let other = values.is_empty() || values.iter().any(|v| !same_value(v, avoid));
            if other { Ok(()) } else { Err(format!("{field} must not be {avoid}, is {shown}")) }
        }
        PlacementOperator::Like(text) => {
            if any_matches(text)? {
                Ok(())
            } else {
                Err(format!("{field} must be like {text}, is {shown}"))
            }
        }
        PlacementOperator::Unlike(text) => {
            if any_matches(text)? {
                Err(format!("{field} must be unlike {text}, is {shown}"))
            } else {
                Ok(())
            }
        }
        PlacementOperator::GroupBy(groups) => group_by(field, &values, *groups, peers),
    }
}

/// Spreads evenly: the value with the fewest tasks goes first; while fewer values than expected are known, new ones do.
fn group_by(field: &str, values: &[String], groups: Option<u32>, peers: &Peers<'_>) -> Result<(), String> {
    let Some(value) = values.first() else { return Err(format!("{field}: the agent has none")) };
    let here = peers.count(field, value);
    if here > 0 && groups.is_some_and(|n| peers.values(field) < n as usize) {
        return Err(format!("{field} {value} has tasks of this pod; other values have to come first"));
    }
    let least = peers.least(field);
    if here <= least {
        return Ok(());
    }
    Err(format!("{field} {value} has {here} tasks of this pod, another has {least}"))
}

/// Values are the same when their texts are, or when both are the same number.
fn same_value(a: &str, b: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).map(super::thousandths);
    a == b || number(a).is_some_and(|x| number(b) == Some(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Range, Ranges, Scalar, Set, Text};
    use proptest::prelude::*;

    /// In rack r1, with two disks.
    fn at(hostname: &str, zone: &str) -> Located {
        let attributes = ["rack:r1", "disk:ssd", "disk:hdd", "cores:8.000", "odd:nan"];
        Located {
            hostname: hostname.into(),
            region: Some("home".into()),
            zone: Some(zone.into()),
            attributes: attributes.map(str::to_owned).to_vec(),
        }
    }

    fn check(rule: &PlacementRule, here: &Located, peers: &[Located]) -> Result<(), String> {
        let mut spread = Spread::by([rule.field.clone()]);
        for peer in peers {
            spread.add(peer);
        }
        super::check(rule, here, &Peers::new(Some(&spread), []))
    }

    #[test]
    fn each_operator_accepts_and_refuses() {
        use PlacementOperator::{Cluster, GroupBy, Is, IsNot, Like, MaxPer, Unique, Unlike};
        let peers = [at("a", "z1"), at("a", "z1"), at("b", "z2")];
        let table = [
            ("hostname", Unique, "c", true),
            ("hostname", Unique, "a", false),
            ("@hostname", MaxPer(3), "a", true),
            ("@hostname", MaxPer(2), "a", false),
            ("@zone", MaxPer(3), "a", true),
            ("@zone", MaxPer(2), "a", false),
            ("@region", MaxPer(3), "a", false),
            ("rack", MaxPer(4), "c", true),
            ("rack", Unique, "c", false),
            ("nothing", Unique, "a", false),
            ("nothing", MaxPer(1), "a", true),
            ("hostname", Cluster("a".into()), "a", true),
            ("hostname", Cluster("a".into()), "b", false),
            ("@region", Cluster("home".into()), "a", true),
            ("rack", Cluster("r1".into()), "a", true),
            ("rack", Is("r2".into()), "a", false),
            ("disk", Is("hdd".into()), "a", true),
            ("cores", Is("8".into()), "a", true),
            ("cores", Is("8.0004".into()), "a", true),
            ("cores", Is("8.001".into()), "a", false),
            ("odd", Is("0".into()), "a", false),
            ("rack", IsNot("r2".into()), "a", true),
            ("rack", IsNot("r1".into()), "a", false),
            ("cores", IsNot("8".into()), "a", false),
            // one value that differs is enough, and what is not there differs
            ("disk", IsNot("ssd".into()), "a", true),
            ("nothing", IsNot("r2".into()), "a", true),
            ("hostname", IsNot("a".into()), "a", false),
            ("rack", Like("r[0-9]".into()), "a", true),
            ("rack", Like("r".into()), "a", false),
            ("rack", Like("x|r1".into()), "a", true),
            ("rack", Like("(?!r2)r.".into()), "a", true),
            ("@zone", Like("z1|z2".into()), "a", true),
            ("nothing", Like(".*".into()), "a", false),
            ("rack", Unlike("r.*".into()), "a", false),
            ("disk", Unlike("ssd".into()), "a", false),
            ("nothing", Unlike("r.*".into()), "a", true),
            ("hostname", GroupBy(None), "a", false),
            ("hostname", GroupBy(None), "b", true),
            ("hostname", GroupBy(None), "c", true),
            ("hostname", GroupBy(Some(2)), "b", true),
            ("hostname", GroupBy(Some(3)), "b", false),
            ("hostname", GroupBy(Some(3)), "c", true),
            ("nothing", GroupBy(None), "a", false),
        ];
        for (field, operator, hostname, want) in table {
            let rule = PlacementRule { field: field.into(), operator };
            let got = check(&rule, &at(hostname, "z1"), &peers);
            assert_eq!(got.is_ok(), want, "{rule:?} on {hostname}: {got:?}");
        }
    }

    #[test]
    fn a_round_is_filled_before_the_next_begins() {
        let rule = PlacementRule { field: "hostname".into(), operator: PlacementOperator::GroupBy(Some(2)) };
        let mut peers: Vec<Located> = Vec::new();
        for host in ["a", "a", "b", "b", "a", "b", "b", "a", "a", "b"] {
            if check(&rule, &at(host, "z"), &peers).is_ok() {
                peers.push(at(host, "z"));
            }
            let on = |host: &str| peers.iter().filter(|p| p.hostname == host).count();
            assert!(on("a").abs_diff(on("b")) <= 1, "{} and {}", on("a"), on("b"));
        }
        assert!(peers.len() >= 6, "{}", peers.len());
    }

    #[test]
    fn without_zone_or_region_rules_about_them_fail() {
        let nowhere = Located { hostname: "a".into(), ..Located::default() };
        for field in ["@zone", "@region"] {
            let is = PlacementOperator::Is("z1".into());
            for operator in [PlacementOperator::Unique, PlacementOperator::MaxPer(9), is] {
                let rule = PlacementRule { field: field.into(), operator };
                assert!(check(&rule, &nowhere, &[]).is_err(), "{rule:?}");
            }
        }
    }

    #[test]
    fn attributes_have_the_text_forms_of_mesos() {
        let attribute = |r#type| Attribute { name: "a".into(), r#type, ..Attribute::default() };
        let range = |begin, end| Range { begin, end };
        let cases = [
            (Attribute { scalar: Some(Scalar { value: 1.5 }), ..attribute(ValueType::Scalar) }, "1.500"),
            (Attribute { scalar: Some(Scalar { value: 0.0005 }), ..attribute(ValueType::Scalar) }, "0.001"),
            (
                Attribute {
                    ranges: Some(Ranges { range: vec![range(1, 2), range(5, 5)] }),
                    ..attribute(ValueType::Ranges)
                },
                "[1-2,5-5]",
            ),
            (
                Attribute {
                    set: Some(Set { item: vec!["x".into(), "y".into()] }),
                    ..attribute(ValueType::Set)
                },
                "{x,y}",
            ),
            (Attribute { text: Some(Text { value: "a:b".into() }), ..attribute(ValueType::Text) }, "a:b"),
        ];
        for (attribute, text) in cases {
            assert_eq!(attribute_text(&attribute), text);
        }
    }

    #[test]
    fn pods_stay_in_their_home_region_unless_their_rules_name_regions() {
        let named = HomeRegion::Named("home".into());
        let local = |name: Option<&str>| HomeRegion::Local(name.map(str::to_owned));
        let here = |region: Option<&str>| Located { region: region.map(str::to_owned), ..Located::default() };
        let table = [
            (&named, Some("home"), true),
            (&named, Some("away"), false),
            (&named, None, false),
            (&local(None), Some("away"), true),
            (&local(None), None, true),
            (&local(Some("home")), Some("home"), true),
            (&local(Some("home")), Some("away"), false),
            (&local(Some("home")), None, true),
        ];
        for (region, agent, want) in table {
            assert_eq!(region.check(&here(agent)).is_ok(), want, "{region:?} {agent:?}");
        }
        let rule = |field: &str| PlacementRule { field: field.into(), operator: PlacementOperator::Unique };
        assert_eq!(home_region([&rule("@zone")].into_iter(), &named), Some(&named));
        assert_eq!(home_region([&rule("@zone"), &rule("@region")].into_iter(), &named), None);
    }

    proptest! {
        #[test]
        fn tasks_are_counted_as_if_all_were_looked_at(
            tasks in proptest::collection::vec((0..4_u8, any::<bool>(), any::<bool>()), 0..24),
        ) {
            let mut spread = Spread::by(["hostname".to_owned()]);
            let place = |host: u8| at(&format!("h{host}"), "z");
            for (host, _, gone) in &tasks {
                spread.add(&place(*host));
                if *gone {
                    spread.remove(&place(*host));
                }
            }
            let there: Vec<_> = tasks.iter().filter(|(.., gone)| !gone).collect();
            let own = there.iter().filter(|(_, own, _)| *own).map(|(host, ..)| place(*host));
            let peers = Peers::new(Some(&spread), own);
            let mut counts = BTreeMap::<String, usize>::new();
            for (host, ..) in there.iter().filter(|(_, own, _)| !own) {
                *counts.entry(format!("h{host}")).or_default() += 1;
            }
            for host in 0..5 {
                let value = format!("h{host}");
                prop_assert_eq!(peers.count("hostname", &value), counts.get(&value).copied().unwrap_or(0));
            }
            prop_assert_eq!(peers.values("hostname"), counts.len());
            prop_assert_eq!(peers.least("hostname"), counts.values().copied().min().unwrap_or(0));
        }
    }
}
