//! Durable state of a service: what must survive the scheduler.
//!
//! State is a tree of small values under paths such as `Tasks/hello-0-server/TaskInfo`, shaped like ZooKeeper's so
//! that it can lie in ZooKeeper as well as in a file. What the paths mean is the scheduler's business; this room only
//! promises that one [`Store::apply`] happens completely or not at all, and is durable when it returns. [`secrets`]
//! keeps generated passwords, apart from the tree. Called by `runtime`, which writes what `scheduler` decides before
//! it acts on it.
//!
//! All methods block (a commit waits for the disk, some milliseconds): call them from a thread that may wait.

mod embedded;
mod memory;
pub mod secrets;

pub use embedded::EmbeddedStore;
pub use memory::MemoryStore;

use std::path::PathBuf;

/// The largest value, in bytes: what a ZooKeeper server accepts with its default settings.
pub const MAX_VALUE_BYTES: usize = 1_000_000;

/// One change of the tree.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Gives a path a value; its parents come into being with it.
    Set {
        /// The path, from the root and without a slash at either end.
        path: String,
        /// The new value, at most [`MAX_VALUE_BYTES`].
        value: Vec<u8>,
    },
    /// Removes a path and all below it; no error when there is nothing. The empty path is the whole tree.
    Delete {
        /// The path, from the root and without a slash at either end.
        path: String,
    },
}

impl Change {
    /// A [`Change::Set`].
    pub fn set(path: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Set { path: path.into(), value: value.into() }
    }

    /// A [`Change::Delete`].
    pub fn delete(path: impl Into<String>) -> Self {
        Self::Delete { path: path.into() }
    }

    fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Set { path, value } => {
                check_node(path)?;
                if value.len() > MAX_VALUE_BYTES {
                    return Err(StoreError::TooLarge { path: path.clone(), bytes: value.len() });
                }
                Ok(())
            }
            Self::Delete { path } => check_subtree(path),
        }
    }
}

// Values can be large and are nobody's business in a log line: only their length is shown.
impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Set { path, value } => write!(f, "Set({path:?}, {} bytes)", value.len()),
            Self::Delete { path } => write!(f, "Delete({path:?})"),
        }
    }
}

/// Where state is kept.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The value at a path; `None` when it has none of its own, also when there are values below it.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The names directly below a path, sorted; none when there is no such path. The empty path is the root.
    fn children(&self, path: &str) -> Result<Vec<String>, StoreError>;

    /// Makes all the changes, in order, or none of them, durably. Values that are there already are not written
    /// again, so repeating a state costs no write.
    fn apply(&self, changes: &[Change]) -> Result<(), StoreError>;
}

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another part of this one, has the state open.
    #[error(
        "another scheduler uses the state in {}: stop it first, or give this one a folder of its own",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file exists, but this program did not write it, or not in this format.
    #[error("{} is not a state file of this program ({reason}): give another folder, or move the file away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        reason: String,
    },
    /// The file was damaged after it was written.
    #[error("the state in {} is damaged ({reason}): restore the file from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, as an infinitive.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A transaction failed although the file is sound, for instance for lack of space.
    #[error("the state in {} could not be {doing}: {reason}", path.display())]
    Failed {
        /// What was tried, as a participle.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// A path that could not be one in ZooKeeper either.
    #[error(
        "{path:?} is not a path of the state: expected names joined by single slashes, without one at either end, \
         and no name `.` or `..`"
    )]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// A value above [`MAX_VALUE_BYTES`].
    #[error("the value of {path} has {bytes} bytes; at most {MAX_VALUE_BYTES} are possible")]
    TooLarge {
        /// Where it was to be written.
        path: String,
        /// Its size.
        bytes: usize,
    },
}

/// A path that can have a value: every one but the root.
fn check_node(path: &str) -> Result<(), StoreError> {
    let sound = |name: &str| !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control);
    if path.split('/').all(sound) { Ok(()) } else { Err(StoreError::BadPath { path: path.to_owned() }) }
}

/// A path that can have others below it: also the root.
fn check_subtree(path: &str) -> Result<(), StoreError> {
    if path.is_empty() { Ok(()) } else { check_node(path) }
}

/// What the keys of all paths below `path` begin with.
fn prefix_of(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}/") }
}

/// The names directly below a prefix, out of keys that all begin with it.
#[derive(Default)]
struct ChildNames(std::collections::BTreeSet<String>);

impl ChildNames {
    fn add(&mut self, prefix: &str, key: &str) {
        let below = key.strip_prefix(prefix).unwrap_or(key);
        let name = below.split('/').next().unwrap_or(below);
        if !self.0.contains(name) {
            self.0.insert(name.to_owned());
        }
    }

    fn sorted(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
