//! The file that keeps apps over a restart of the cluster.
//!
//! One JSON file, replaced as a whole, readable by its owner alone because environments may hold what others should
//! not see. Called by the Marathon face after every change that must survive.

use crate::sandbox::process::Identity;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Reading or writing failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The content is not what this program writes.
    #[error("{}: {source}; remove the file to start without apps", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// What is kept of one app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedApp {
    /// The definition, as clients get it.
    pub definition: Value,
    /// When it was last changed; Marathon's version of the app.
    pub version: String,
    /// Its instances.
    pub instances: Vec<SavedInstance>,
}

/// What is kept of one instance of an app.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SavedInstance {
    /// The ports that it was given, in the order of the app's definitions.
    pub ports: Vec<u16>,
    /// How to find its processes, while there can be any.
    pub identity: Option<Identity>,
}

/// The apps of an earlier run; none without a file.
pub fn load(path: &Path) -> Result<Vec<SavedApp>, SavedError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SavedError::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&text).map_err(|source| SavedError::Content { path: path.to_owned(), source })
}

/// Replaces the file. A crash leaves the old content or the new one.
pub fn store(path: &Path, apps: &[SavedApp]) -> Result<(), SavedError> {
    let write = || -> io::Result<()> {
        // a temporary file has mode 0600
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        serde_json::to_writer_pretty(&mut file, apps)?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|source| SavedError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_stored_is_loaded_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("apps.json");
        assert!(load(&path).unwrap().is_empty());
        let identity = Identity { pid: 7, start_time: 8, sandbox: "/s".into() };
        let app = SavedApp {
            definition: serde_json::json!({"id": "/a"}),
            version: "v".into(),
            instances: vec![SavedInstance { ports: vec![1, 2], identity: Some(identity.clone()) }],
        };
        store(&path, std::slice::from_ref(&app)).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!((&loaded[0].definition, &loaded[0].instances[0].ports), (&app.definition, &vec![1, 2]));
        assert_eq!(loaded[0].instances[0].identity, Some(identity));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("apps.json");
        fs::write(&path, "[{").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("apps.json"));
    }
}
