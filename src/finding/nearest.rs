//! "Did you mean": what a misspelled name was probably meant to be.

use std::collections::HashSet;

/// Longer names, in bytes, are not compared: it would take long, and nobody misspells them by a little.
const MAX_NAME: usize = 64;

/// The one of `names` that is nearest to `wanted`, if any is near enough to ask "did you mean".
pub fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if wanted.len() > MAX_NAME {
        return None;
    }
    let names: HashSet<&str> = names.into_iter().filter(|name| name.len() <= MAX_NAME).collect();
    let allowed = (wanted.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (distance(wanted, name), name))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, n)| n)
}

/// The number of characters to insert, remove or replace to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
