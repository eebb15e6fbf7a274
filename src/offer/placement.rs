//! Placement rules: whether an agent may take another instance of a pod.

use super::AgentOffer;
use crate::spec::{PlacementOperator, PlacementRule};
use crate::wire::{Attribute, ValueType};
use regex::Regex;

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
    fn values(&self, field: &str) -> Vec<String> {
        match field {
            "hostname" | "@hostname" => vec![self.hostname.clone()],
            "@region" => self.region.iter().cloned().collect(),
            "@zone" => self.zone.iter().cloned().collect(),
            name => {
                let matching =
                    self.attributes.iter().filter_map(|a| a.split_once(':')).filter(|(n, _)| *n == name);
                matching.map(|(_, value)| value.to_owned()).collect()
            }
        }
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

/// Checks one rule: `Err` says why the agent is not acceptable. `peers` are the tasks of other instances of the pod.
pub fn check(rule: &PlacementRule, here: &Located, peers: &[Located]) -> Result<(), String> {
    let field = rule.field.as_str();
    let values = here.values(field);
    let shown = if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
    let count = |value: &String| peers.iter().filter(|p| p.values(field).contains(value)).count();
    let pattern = |text: &str| Regex::new(&format!("^(?:{text})$")).map_err(|e| format!("{field}: {e}"));
    let max = |n: usize| match values.iter().find(|v| count(v) >= n) {
        _ if values.is_empty() => Err(format!("{field}: the agent has none")),
        Some(v) => Err(format!("{field} {v} has {} of at most {n} tasks of this pod", count(v))),
        None => Ok(()),
    };
    match &rule.operator {
        PlacementOperator::Unique => max(1),
        PlacementOperator::MaxPer(n) => max(*n as usize),
        PlacementOperator::Cluster(want) | PlacementOperator::Is(want) => {
            let same = values.iter().any(|v| same_value(v, want));
            if same { Ok(()) } else { Err(format!("{field} must be {want}, is {shown}")) }
        }
        PlacementOperator::IsNot(avoid) => {
            let other = values.iter().any(|v| !same_value(v, avoid));
            if other { Ok(()) } else { Err(format!("{field} must not be {avoid}, is {shown}")) }
        }
        PlacementOperator::Like(text) => {
            let like = pattern(text)?;
            let any = values.iter().any(|v| like.is_match(v));
            if any { Ok(()) } else { Err(format!("{field} must be like {text}, is {shown}")) }
        }
        PlacementOperator::Unlike(text) => {
            let like = pattern(text)?;
            let any = values.iter().any(|v| like.is_match(v));
            if any { Err(format!("{field} must be unlike {text}, is {shown}")) } else { Ok(()) }
        }
        PlacementOperator::GroupBy(groups) => group_by(field, &values, *groups, peers),
    }
}

/// Spreads evenly: the value with the fewest tasks goes first; while fewer values than expected are known, new ones do.
fn group_by(field: &str, values: &[String], groups: Option<u32>, peers: &[Located]) -> Result<(), String> {
    let Some(value) = values.first() else { return Err(format!("{field}: the agent has none")) };
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for known in peers.iter().flat_map(|p| p.values(field)) {
        *counts.entry(known).or_default() += 1;
    }
    let here = counts.get(value).copied().unwrap_or(0);
    if here > 0 && groups.is_some_and(|n| counts.len() < n as usize) {
        return Err(format!("{field} {value} has tasks of this pod; other values have to come first"));
    }
    let least = counts.values().copied().min().unwrap_or(0);
    let even = counts.values().all(|c| *c == least);
    if here <= least || even && here == least {
        return Ok(());
    }
    Err(format!("{field} {value} has {here} tasks of this pod, another has {least}"))
}

/// Values are the same when their texts are, or when both are the same number.
fn same_value(a: &str, b: &str) -> bool {
    let numbers = (a.parse::<f64>(), b.parse::<f64>());
    a == b || matches!(numbers, (Ok(x), Ok(y)) if super::thousandths(x) == super::thousandths(y))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hostname: &str, zone: &str) -> Located {
        Located {
            hostname: hostname.into(),
            zone: Some(zone.into()),
            attributes: vec!["rack:r1".into()],
            ..Located::default()
        }
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
            ("rack", Cluster("r1".into()), "a", true),
            ("rack", Is("r2".into()), "a", false),
            ("rack", IsNot("r2".into()), "a", true),
            ("nothing", IsNot("r2".into()), "a", false),
            ("rack", Like("r[0-9]".into()), "a", true),
            ("rack", Like("r".into()), "a", false),
            ("rack", Unlike("r.*".into()), "a", false),
            ("nothing", Unique, "a", false),
            ("hostname", GroupBy(None), "a", false),
            ("hostname", GroupBy(None), "b", true),
            ("hostname", GroupBy(Some(3)), "b", false),
            ("hostname", GroupBy(Some(3)), "c", true),
        ];
        for (field, operator, hostname, want) in table {
            let rule = PlacementRule { field: field.into(), operator };
            let got = check(&rule, &at(hostname, "z1"), &peers);
            assert_eq!(got.is_ok(), want, "{rule:?} on {hostname}: {got:?}");
        }
    }
}
