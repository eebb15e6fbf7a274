//! Generated passwords and keys, for clusters without a secret store.
//!
//! DC/OS Enterprise resolves the `secrets:` of a service file itself. Elsewhere the scheduler keeps them: each in a file
//! of its own, created with random content when it is first asked for, and never shown. Not for secrets that come
//! from a person; although one may put a file here before the first start, and then its bytes are the secret, exactly.
//! Called by `runtime` when it sends a launch.

use super::StoreError;
use super::embedded::{create_private_folder, sync_folder};
use base64::Engine as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Random bytes in a generated secret; 256 bits, as Fernet keys have.
const RANDOM_BYTES: usize = 32;

/// The secrets in one folder.
#[derive(Debug)]
pub struct LocalSecrets {
    folder: PathBuf,
}

/// Why a secret could not be had. Never holds any part of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The name would lead out of the folder, or could not be a file.
    #[error(
        "{path:?} cannot name a secret: expected names joined by slashes, such as `dagflow/postgres-password`, \
         without `.`, `..` or a slash at either end"
    )]
    BadPath {
        /// The name as given.
        path: String,
    },
    /// A folder could not be made or synced.
    #[error(transparent)]
    Folder(#[from] StoreError),
    /// A file could not be read or written.
    #[error("cannot {doing} the secret {path:?}: {source}")]
    Io {
        /// What was tried, as an infinitive.
        doing: &'static str,
        /// The secret's name.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operating system has no random bytes.
    #[error("no random bytes for the secret {path:?}: {reason}")]
    NoEntropy {
        /// The secret's name.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// A secret's bytes. Shows itself as `***` only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// The bytes, for the one place that sends them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as Mesos takes them in `Secret.value.data`: standard base64.
    pub fn to_base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.0)
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl LocalSecrets {
    /// Takes a folder, creating it with mode 0700.
    pub fn open(folder: &Path) -> Result<Self, SecretError> {
        create_private_folder(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The secret of that name. A missing one is generated: url-safe base64 with padding of 32 random bytes (44
    /// characters, a valid Fernet key), and is durable before it is returned. Two callers at once get the same.
    pub fn get_or_create(&self, path: &str) -> Result<SecretBytes, SecretError> {
        let file = self.file_of(path)?;
        let io = |doing| move |source| SecretError::Io { doing, path: path.to_owned(), source };
        match std::fs::read(&file) {
            Ok(bytes) => return Ok(SecretBytes(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io("read")(error)),
        }
        let folder = file.parent().unwrap_or(&self.folder);
        create_private_folder(folder)?;
        let secret = generate(path)?;
        // Temporary files have mode 0600 from the beginning, and one that is left behind by a crash is never read.
        let mut temporary =
            tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(io("create"))?;
        temporary.write_all(secret.expose()).map_err(io("write"))?;
        temporary.as_file().sync_all().map_err(io("write"))?;
        match temporary.persist_noclobber(&file) {
            Ok(_) => {
                self.sync_up_to(folder)?;
                Ok(secret)
            }
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                std::fs::read(&file).map(SecretBytes).map_err(io("read"))
            }
            Err(error) => Err(io("create")(error.error)),
        }
    }

    fn file_of(&self, path: &str) -> Result<PathBuf, SecretError> {
        // A leading dot is refused altogether: it covers `.`, `..` and our temporary files.
        let sound =
            |name: &str| !name.is_empty() && !name.starts_with('.') && !name.chars().any(char::is_control);
        if path.split('/').all(sound) {
            Ok(self.folder.join(path))
        } else {
            Err(SecretError::BadPath { path: path.to_owned() })
        }
    }

    /// Syncs a folder and those between it and the top, which may be new as well.
    fn sync_up_to(&self, folder: &Path) -> Result<(), SecretError> {
        for ancestor in folder.ancestors() {
            sync_folder(ancestor)?;
            if ancestor == self.folder {
                break;
            }
        }
        Ok(())
    }
}

fn generate(path: &str) -> Result<SecretBytes, SecretError> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| SecretError::NoEntropy { path: path.to_owned(), reason: error.to_string() })?;
    Ok(SecretBytes(base64::engine::general_purpose::URL_SAFE.encode(bytes).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn secrets() -> (tempfile::TempDir, LocalSecrets) {
        let folder = tempfile::tempdir().unwrap();
        let secrets = LocalSecrets::open(&folder.path().join("secrets")).unwrap();
        (folder, secrets)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_missing_secret_is_generated_once_and_then_stays_the_same() {
        let (folder, secrets) = secrets();
        let first = secrets.get_or_create("dagflow/postgres-password").unwrap();
        let decoded = base64::engine::general_purpose::URL_SAFE.decode(first.expose()).unwrap();
        assert_eq!(decoded.len(), 32);
        assert_eq!(secrets.get_or_create("dagflow/postgres-password").unwrap(), first);
        let reopened = LocalSecrets::open(&folder.path().join("secrets")).unwrap();
        assert_eq!(reopened.get_or_create("dagflow/postgres-password").unwrap(), first);
        assert_ne!(secrets.get_or_create("dagflow/fernet-key").unwrap(), first);
    }

    #[test]
    fn only_the_owner_can_look_at_files_and_folders() {
        let (folder, secrets) = secrets();
        secrets.get_or_create("a/b/c").unwrap();
        let top = folder.path().join("secrets");
        assert_eq!(mode(&top.join("a/b/c")), 0o600);
        for name in ["", "a", "a/b"] {
            assert_eq!(mode(&top.join(name)), 0o700, "{name:?}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let (folder, secrets) = secrets();
        for path in
            ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".", "a/.", ".hidden", "a\0b", "a\nb"]
        {
            let error = secrets.get_or_create(path).unwrap_err();
            assert!(matches!(error, SecretError::BadPath { .. }), "{path:?}: {error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(folder.path().join("secrets")).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_there_already_is_the_secret() {
        let (folder, secrets) = secrets();
        std::fs::write(folder.path().join("secrets/mine"), "chosen\n").unwrap();
        assert_eq!(secrets.get_or_create("mine").unwrap().expose(), b"chosen\n");
    }

    #[test]
    fn callers_at_the_same_time_get_the_same_secret() {
        let (_folder, secrets) = secrets();
        let all: Vec<SecretBytes> = std::thread::scope(|scope| {
            let handles: Vec<_> =
                (0..8).map(|_| scope.spawn(|| secrets.get_or_create("one/key").unwrap())).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect()
        });
        assert!(all.iter().all(|secret| *secret == all[0]));
    }

    #[test]
    fn no_temporary_file_stays_behind() {
        let (folder, secrets) = secrets();
        secrets.get_or_create("one").unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path().join("secrets"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["one"]);
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let (_folder, secrets) = secrets();
        let secret = secrets.get_or_create("x").unwrap();
        assert_eq!(format!("{secret:?}"), "***");
        let holder = Some(("x", secret));
        assert_eq!(format!("{holder:?}"), r#"Some(("x", ***))"#);
    }

    #[test]
    fn a_secret_that_is_a_folder_gives_an_error_with_its_name() {
        let (_folder, secrets) = secrets();
        secrets.get_or_create("a/b").unwrap();
        let error = secrets.get_or_create("a").unwrap_err().to_string();
        assert!(error.contains("\"a\""), "{error}");
    }
}
