//! A store that forgets everything when it is dropped: for tests and simulations.

use super::{Change, ChildNames, Store, StoreError, check_node, check_subtree, prefix_of};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// State in memory; see [`Store`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A panic while the lock was held cannot leave half a change: `apply` checks everything before it writes.
    fn values(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_node(path)?;
        Ok(self.values().get(path).cloned())
    }

    fn children(&self, path: &str) -> Result<Vec<String>, StoreError> {
        check_subtree(path)?;
        let prefix = prefix_of(path);
        let mut names = ChildNames::default();
        for key in self.values().keys().filter(|key| key.starts_with(&prefix)) {
            names.add(&prefix, key);
        }
        Ok(names.sorted())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        changes.iter().try_for_each(Change::check)?;
        let mut values = self.values();
        for change in changes {
            match change {
                Change::Set { path, value } => {
                    values.insert(path.clone(), value.clone());
                }
                Change::Delete { path } => {
                    let prefix = prefix_of(path);
                    values.retain(|key, _| key != path && !key.starts_with(&prefix));
                }
            }
        }
        Ok(())
    }
}
