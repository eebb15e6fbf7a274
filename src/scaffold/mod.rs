//! New packages: one that is written from scratch ([`new`]), and one that is made of a framework of the Mesosphere SDK
//! ([`convert`]).
//!
//! Both give the files of a package as data; [`write()`] puts them into a folder, all or none. Whether a package is any
//! good is not decided here: that is what `package::lint` and the service language are for. Called by `dagpkg new`.

pub mod convert;
mod edit;
pub mod framework;
pub mod new;
mod shape;
mod write;

pub use write::{WriteError, write};

/// The files of a package by their path below its folder.
pub use crate::publish::tree::{File, Files};

/// What every package folder has that git should not keep.
const GITIGNORE: &str = include_str!("files/gitignore");

/// A name that no package may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a package cannot be called `{0}`\n  help: the catalog allows lower-case letters, digits and dashes; the first must be \
     a letter, the last a letter or a digit, and there must be 2 to {MAX_NAME} of them: web-shop"
)]
pub struct BadName(pub String);

/// The name becomes that of the service, which is a part of DNS names.
const MAX_NAME: usize = 63;

/// Checks the name of a package: the catalog's pattern, `^[a-z][a-z0-9-]*[a-z0-9]$`, and a length that DNS takes.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = (2..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
        && !name.ends_with('-');
    if good { Ok(()) } else { Err(BadName(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern_of_the_catalog() {
        let pattern = regex::Regex::new("^[a-z][a-z0-9-]*[a-z0-9]$").unwrap();
        for name in [
            "web", "a1", "my-web-2", "w", "", "Web", "1web", "web-", "-web", "we b", "wéb", "a_b", "../x",
            "a--b",
        ] {
            assert_eq!(check_name(name).is_ok(), pattern.is_match(name), "{name}");
        }
        assert!(check_name(&"a".repeat(63)).is_ok() && check_name(&"a".repeat(64)).is_err());
    }
}
