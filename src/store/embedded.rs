//! State in one file of a local folder, for a scheduler that always runs on the same machine.
//!
//! redb keeps the file: transactions are atomic, checksummed and on disk when they are acknowledged, and an unclean
//! end is repaired at the next start. Keys are whole paths, so a subtree is a range of keys.
//!
//! Damage to the file from outside is found when it is opened and refused. The exception is damage to a page of redb's
//! own bookkeeping, which redb 4.4 answers with a panic instead of an error.

use super::{Change, ChildNames, Store, StoreError, check_node, check_subtree, prefix_of};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Path to value.
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
/// What the file is and in which format; keeps other redb files from being taken for state.
const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("dagpkg-state");
/// Pages that redb may keep in memory. State is read once, at the start; redb's own default is a gigabyte.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
const FORMAT_KEY: &str = "format";
const FORMAT: &str = "1";

/// State in `<folder>/state.redb`; see [`Store`]. Exclusive: the file is locked while this lives.
#[derive(Debug)]
pub struct EmbeddedStore {
    file: PathBuf,
    database: Database,
}

impl EmbeddedStore {
    /// Opens the state in a folder, or begins it. A folder that is missing is created with mode 0700, and the file has
    /// 0600: state holds task environments.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        create_private_folder(folder)?;
        let path = folder.join("state.redb");
        let io = |doing| move |source| StoreError::Io { doing, path: folder.join("state.redb"), source };
        if !path.try_exists().map_err(io("look for"))? {
            begin(folder, &path)?;
        }
        let file = File::options().read(true).write(true).open(&path).map_err(io("open"))?;
        if file.metadata().map_err(io("look at"))?.permissions().mode() & 0o077 != 0 {
            // Perhaps restored from a backup by hand.
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io("close to others"))?;
        }
        let store = Self::over(file, folder, path)?;
        store.check_format()?;
        Ok(store)
    }

    fn over(file: File, folder: &Path, path: PathBuf) -> Result<Self, StoreError> {
        let failed = |error| opening_failed(error, folder, &path);
        let mut database =
            Database::builder().set_cache_size(CACHE_BYTES).create_file(file).map_err(failed)?;
        // Reads every page (state is small): better to refuse now than to stumble over damage in the middle of work.
        // An unclean end was mended when the file was opened, so whatever is still wrong here was done to the file.
        if !database.check_integrity().map_err(failed)? {
            return Err(StoreError::Damaged { path, reason: "its checksums do not match".to_owned() });
        }
        Ok(Self { file: path, database })
    }

    /// Marks a new file as ours, and refuses one that something else wrote.
    fn check_format(&self) -> Result<(), StoreError> {
        let foreign = |reason: String| StoreError::Foreign { path: self.file.clone(), reason };
        let transaction = self.database.begin_write().map_err(|e| self.failed("opened", e))?;
        let names: Vec<String> = transaction
            .list_tables()
            .map_err(|e| self.failed("opened", e))?
            .map(|table| redb::TableHandle::name(&table).to_owned())
            .collect();
        {
            let mut about = transaction.open_table(ABOUT).map_err(|e| foreign(e.to_string()))?;
            let format = about
                .get(FORMAT_KEY)
                .map_err(|e| self.failed("opened", e))?
                .map(|value| value.value().to_owned());
            match format.as_deref() {
                Some(FORMAT) => return Ok(()),
                Some(other) => {
                    return Err(foreign(format!("format {other:?}, this program reads {FORMAT:?}")));
                }
                None if names.is_empty() => {
                    about.insert(FORMAT_KEY, FORMAT).map_err(|e| self.failed("begun", e))?;
                    transaction.open_table(VALUES).map_err(|e| self.failed("begun", e))?;
                }
                None => return Err(foreign("a database of something else".to_owned())),
            }
        }
        transaction.commit().map_err(|e| self.failed("begun", e))
    }

    fn failed(&self, doing: &'static str, error: impl Into<redb::Error>) -> StoreError {
        match error.into() {
            redb::Error::Corrupted(reason) => StoreError::Damaged { path: self.file.clone(), reason },
            other => StoreError::Failed { doing, path: self.file.clone(), reason: other.to_string() },
        }
    }
}

impl Store for EmbeddedStore {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_node(path)?;
        let transaction = self.database.begin_read().map_err(|e| self.failed("read", e))?;
        let values = transaction.open_table(VALUES).map_err(|e| self.failed("read", e))?;
        let value = values.get(path).map_err(|e| self.failed("read", e))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn children(&self, path: &str) -> Result<Vec<String>, StoreError> {
        check_subtree(path)?;
        let prefix = prefix_of(path);
        let transaction = self.database.begin_read().map_err(|e| self.failed("read", e))?;
        let values = transaction.open_table(VALUES).map_err(|e| self.failed("read", e))?;
        let mut names = ChildNames::default();
        for entry in values.range(prefix.as_str()..).map_err(|e| self.failed("read", e))? {
            let (key, _) = entry.map_err(|e| self.failed("read", e))?;
            if !key.value().starts_with(&prefix) {
                break;
            }
            names.add(&prefix, key.value());
        }
        Ok(names.sorted())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        changes.iter().try_for_each(Change::check)?;
        let transaction = self.database.begin_write().map_err(|e| self.failed("written", e))?;
        let mut dirty = false;
        {
            let mut values = transaction.open_table(VALUES).map_err(|e| self.failed("written", e))?;
            for change in changes {
                dirty |= match change {
                    Change::Set { path, value } => set(&mut values, path, value),
                    Change::Delete { path } => delete(&mut values, path),
                }
                .map_err(|e| self.failed("written", e))?;
            }
        }
        if dirty {
            transaction.commit().map_err(|e| self.failed("written", e))
        } else {
            transaction.abort().map_err(|e| self.failed("written", e))
        }
    }
}

type Values<'txn> = redb::Table<'txn, &'static str, &'static [u8]>;

/// Sets one value; false when it was there already.
fn set(values: &mut Values<'_>, path: &str, value: &[u8]) -> Result<bool, StorageError> {
    if values.get(path)?.is_some_and(|present| present.value() == value) {
        return Ok(false);
    }
    values.insert(path, value)?;
    Ok(true)
}

/// Removes a path and all below it; false when there was nothing.
fn delete(values: &mut Values<'_>, path: &str) -> Result<bool, StorageError> {
    let prefix = prefix_of(path);
    let mut doomed: Vec<String> = Vec::new();
    for entry in values.range(prefix.as_str()..)? {
        let (key, _) = entry?;
        if !key.value().starts_with(&prefix) {
            break;
        }
        doomed.push(key.value().to_owned());
    }
    let mut removed = values.remove(path)?.is_some();
    for key in &doomed {
        removed |= values.remove(key.as_str())?.is_some();
    }
    Ok(removed)
}

fn opening_failed(error: DatabaseError, folder: &Path, path: &Path) -> StoreError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(folder.to_owned()),
        DatabaseError::UpgradeRequired(version) => {
            StoreError::Foreign { path, reason: format!("an older file format, version {version}") }
        }
        // How redb answers to a file that does not begin as its own do.
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Foreign { path, reason: source.to_string() }
        }
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::UnexpectedEof => {
            StoreError::Damaged { path, reason: "it ends too early".to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(source)) => StoreError::Io { doing: "open", path, source },
        DatabaseError::Storage(StorageError::Corrupted(reason)) => StoreError::Damaged { path, reason },
        other => StoreError::Failed { doing: "opened", path, reason: other.to_string() },
    }
}

/// Makes an empty state under another name and then gives it its own: a file that a sudden end left half made would
/// look like somebody else's. When another process is faster, its file stays.
fn begin(folder: &Path, path: &Path) -> Result<(), StoreError> {
    let io = |doing| move |source| StoreError::Io { doing, path: path.to_owned(), source };
    // Temporary files have mode 0600.
    let new = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(io("create"))?;
    let file = new.reopen().map_err(io("create"))?;
    EmbeddedStore::over(file, folder, path.to_owned())?.check_format()?;
    match new.persist_noclobber(path) {
        Ok(_) => sync_folder(folder),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io("create")(error.error)),
    }
}

/// Creates a folder that only its owner can look into. One that is there already is left as it is: it may be
/// anybody's, `/tmp` for instance, and the files in it are closed to others themselves.
pub(super) fn create_private_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| StoreError::Io {
        doing: "create",
        path: folder.to_owned(),
        source,
    })
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(|source| StoreError::Io {
        doing: "sync",
        path: folder.to_owned(),
        source,
    })
}
