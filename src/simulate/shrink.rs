//! Finding the few of many incidents that are enough to break a rule.

use super::incident::Incident;

/// A list that still fails and of which nothing can be left out, as far as that is found with so many tries: larger parts
/// first, then single incidents (delta debugging), then shorter delays.
pub fn shrink(
    incidents: &[Incident],
    tries: usize,
    mut fails: impl FnMut(&[Incident]) -> bool,
) -> Vec<Incident> {
    let (mut kept, mut left) = (incidents.to_vec(), tries);
    let mut parts = 2;
    while !kept.is_empty() && left > 0 {
        let size = kept.len().div_ceil(parts);
        let mut smaller = None;
        for start in (0..kept.len()).step_by(size.max(1)) {
            if left == 0 {
                break;
            }
            left -= 1;
            let rest: Vec<Incident> = kept
                .iter()
                .enumerate()
                .filter(|(i, _)| !(start..start + size).contains(i))
                .map(|(_, x)| *x)
                .collect();
            if fails(&rest) {
                smaller = Some(rest);
                break;
            }
        }
        match smaller {
            Some(rest) => {
                kept = rest;
                parts = 2.max(parts - 1);
            }
            None if size <= 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    for i in 0..kept.len() {
        let mut simpler = kept.clone();
        simpler[i].which = 0;
        if left > 0 && kept[i].which > 0 {
            left -= 1;
            if fails(&simpler) {
                kept = simpler;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::incident::{Kind, by_chance};
    use super::*;

    #[test]
    fn only_what_is_needed_to_fail_stays() {
        let many: Vec<Incident> = (0..40).flat_map(|seed| by_chance(seed, Kind::ALL)).collect();
        let needed = |list: &[Incident]| {
            let has = |kind: Kind| list.iter().any(|i| i.kind == kind);
            has(Kind::Crash) && has(Kind::CutAgent) && has(Kind::Update)
        };
        assert!(needed(&many) && many.len() > 50);
        let few = shrink(&many, 2000, needed);
        let kinds: std::collections::BTreeSet<Kind> = few.iter().map(|i| i.kind).collect();
        assert_eq!((few.len(), kinds), (3, [Kind::Crash, Kind::CutAgent, Kind::Update].into()));
        assert!(few.iter().all(|i| i.which == 0));
    }

    #[test]
    fn what_fails_without_any_incident_shrinks_to_nothing() {
        let many = by_chance(3, Kind::ALL);
        assert_eq!(shrink(&many, 100, |_| true), []);
    }
}
