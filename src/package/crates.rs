//! The Rust crates that the programs of this project are made of, for bills of materials.
//!
//! They come from the lock file as it was when this program was compiled. It says which versions are used, not by which of
//! the programs, on which platform, or whether only while compiling; so the list holds somewhat too many, never too few.
//! Used by `bom`.

use std::collections::BTreeMap;

const LOCK: &str = include_str!("../../Cargo.lock");
const MANIFEST: &str = include_str!("../../Cargo.toml");

/// One crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The SHA-256 of its archive, in hex, as the registry has it.
    pub sha256: &'static str,
    /// What it depends on: indices in the same list.
    pub dependencies: Vec<usize>,
}

/// All crates below the programs, in the order of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crates {
    /// Those that the programs name themselves: indices in `all`.
    pub direct: Vec<usize>,
    /// All of them.
    pub all: Vec<Crate>,
}

impl Crates {
    /// The crates of this project, without those that only its tests need.
    pub fn of_this_project() -> Self {
        let packages: Vec<Package> = LOCK.split("[[package]]").skip(1).map(Package::parse).collect();
        let find = |wanted: &str| {
            let mut words = wanted.split(' ');
            let (name, version) = (words.next(), words.next());
            packages.iter().position(|p| Some(p.name) == name && version.is_none_or(|v| v == p.version))
        };
        let needed = normal_dependencies(MANIFEST);
        let root = find(env!("CARGO_PKG_NAME")).map(|root| packages[root].dependencies.as_slice());
        let direct = root.unwrap_or_default().iter().filter(|dependency| {
            let name = dependency.split(' ').next().unwrap_or_default();
            needed.contains(&name)
        });
        let direct: Vec<usize> = direct.filter_map(|dependency| find(dependency)).collect();

        // the lock file is in order, and so stays what is left of it
        let mut reached = BTreeMap::new();
        let mut waiting = direct.clone();
        while let Some(next) = waiting.pop() {
            reached.entry(next).or_insert_with(|| {
                let below: Vec<usize> = packages[next].dependencies.iter().filter_map(|d| find(d)).collect();
                waiting.extend(&below);
                below
            });
        }
        let new_index: BTreeMap<usize, usize> = reached.keys().copied().zip(0..).collect();
        let renumbered =
            |old: &[usize]| old.iter().filter_map(|index| new_index.get(index).copied()).collect();
        let all = reached.iter().map(|(old, below)| {
            let Package { name, version, sha256, .. } = packages[*old];
            Crate { name, version, sha256, dependencies: renumbered(below) }
        });
        Self { direct: renumbered(&direct), all: all.collect() }
    }
}

/// One entry of the lock file.
#[derive(Debug, Default)]
struct Package {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
    /// `name`, or `name version` where there are several.
    dependencies: Vec<&'static str>,
}

impl Package {
    /// Reads what cargo writes: one key per line, one dependency per line.
    fn parse(text: &'static str) -> Self {
        let mut package = Self::default();
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("name = ") {
                package.name = value.trim_matches('"');
            } else if let Some(value) = line.strip_prefix("version = ") {
                package.version = value.trim_matches('"');
            } else if let Some(value) = line.strip_prefix("checksum = ") {
                package.sha256 = value.trim_matches('"');
            } else if let Some(value) = line.strip_prefix(" \"") {
                package.dependencies.push(value.trim_end_matches("\","));
            }
        }
        package
    }
}

/// The names in the section `dependencies` of a manifest.
fn normal_dependencies(manifest: &'static str) -> Vec<&'static str> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(" = ")?.0)).filter(|name| !name.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cargo itself says are the normal dependencies, as `name version`.
    fn by_cargo() -> Vec<String> {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["tree", "--offline", "--locked", "--edges=normal", "--prefix=none", "--format={p}"]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<String> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
            })
            .skip(1)
            .collect();
        lines.sort();
        lines.dedup();
        lines
    }

    #[test]
    fn no_crate_that_is_linked_is_missing_and_none_is_there_for_tests_only() {
        let crates = Crates::of_this_project();
        let names: Vec<_> = crates.all.iter().map(|c| format!("{} {}", c.name, c.version)).collect();
        for linked in by_cargo() {
            assert!(names.contains(&linked), "{linked} is missing");
        }
        assert!(names.iter().any(|name| name.starts_with("serde ")));
        assert!(!names.iter().any(|name| name.starts_with("proptest ") || name.starts_with("dagpkg ")));
    }

    #[test]
    fn crates_have_hashes_and_what_they_depend_on() {
        let Crates { direct, all } = Crates::of_this_project();
        assert_eq!(direct.len(), normal_dependencies(MANIFEST).len());
        assert!(all.iter().all(|c| c.sha256.len() == 64));
        let serde = all.iter().find(|c| c.name == "serde").unwrap();
        let names: Vec<_> = serde.dependencies.iter().map(|index| all[*index].name).collect();
        assert_eq!(names, ["serde_core", "serde_derive"]);
    }
}
