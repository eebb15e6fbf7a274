//! Publishes into a folder of this machine: one to be served, or the root of a web server.
//!
//! The package's directory appears whole or not at all: its files are written to a hidden folder in the root, made durable,
//! and only then it gets its name. The name says what is inside, so a directory that is there already is left as it is;
//! files in it that are missing or damaged are replaced one by one, in the order of publishing. What a publisher that was
//! killed has left is removed by the next one.

use super::publication::{Changed, Check, Content, Done, Item, Publication};
use rustix::fs::FlockOperation;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How the names of folders begin that are being written.
const STAGING: &str = ".publishing-";

/// What a folder has of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The directory is not there.
    Absent,
    /// It is there, but this many of its files are missing or are not what they should be.
    Damaged(usize),
    /// It is there as it should be.
    Whole,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file to publish cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Something cannot be written.
    #[error("cannot write {path}: {source}{}", help(source))]
    Write {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file changed after it was hashed.
    #[error(transparent)]
    Changed(#[from] Changed),
}

fn help(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "\n  help: nothing was published, and what was written is removed; make space and publish again"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\n  help: publish as a user who may write there, or into another folder"
        }
        _ => "",
    }
}

/// What is below a root of a publication. Reads all of its files.
pub fn state(publication: &Publication, root: &Path) -> Result<State, FolderError> {
    Ok(missing(publication, root)?.0)
}

/// Publishes below a root, which is made if it does not exist; answers what was there before. `progress` is told how
/// many bytes have been written.
pub fn publish(
    publication: &Publication,
    root: &Path,
    progress: &mut dyn FnMut(Done),
) -> Result<State, FolderError> {
    let made = make_folders(root).map_err(|(path, source)| write_error(&path, source))?;
    let result = publish_in(publication, root, progress);
    if result.is_err() {
        // those that hold something by now were needed by others, and stay
        let _ = fs::remove_dir(package_folder(publication, root));
        for folder in made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
    result
}

fn package_folder(publication: &Publication, root: &Path) -> PathBuf {
    root.join(&publication.directory).parent().unwrap_or(root).to_owned()
}

fn publish_in(
    publication: &Publication,
    root: &Path,
    progress: &mut dyn FnMut(Done),
) -> Result<State, FolderError> {
    let lock = File::open(root).map_err(|source| write_error(root, source))?;
    // one after the other. Some file systems of networks cannot lock folders; nothing is removed there
    if rustix::fs::flock(&lock, FlockOperation::LockExclusive).is_ok() {
        remove_leftovers(root).map_err(|source| write_error(root, source))?;
    }
    let (state, items) = missing(publication, root)?;
    if items.is_empty() {
        return Ok(state);
    }
    let directory = root.join(&publication.directory);
    let staging = stage(&items, root, progress)?;
    let package_folder = package_folder(publication, root);
    fs::create_dir_all(&package_folder).map_err(|source| write_error(&package_folder, source))?;
    if state == State::Absent {
        fs::rename(staging.path(), &directory).map_err(|source| write_error(&directory, source))?;
        // it has another name now, and must not be removed
        let _ = staging.keep();
    } else {
        for item in items {
            let path = directory.join(&item.name);
            fs::rename(staging.path().join(&item.name), &path)
                .map_err(|source| write_error(&path, source))?;
        }
        sync_folder(&directory)?;
    }
    sync_folder(&package_folder)?;
    sync_folder(root)?;
    Ok(state)
}

/// What is there, and the items that are not there or have other bytes.
fn missing<'a>(publication: &'a Publication, root: &Path) -> Result<(State, Vec<&'a Item>), FolderError> {
    let directory = root.join(&publication.directory);
    if fs::symlink_metadata(&directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok((State::Absent, publication.items.iter().collect()));
    }
    let mut missing = Vec::new();
    for item in &publication.items {
        let path = directory.join(&item.name);
        let good = match File::open(&path) {
            Ok(mut file) => copy(item, &mut file, &path, &mut |_| Ok(()))?.is_ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(read_error(&path, error)),
        };
        if !good {
            missing.push(item);
        }
    }
    Ok((if missing.is_empty() { State::Whole } else { State::Damaged(missing.len()) }, missing))
}

/// Writes items into a new hidden folder of the root, and makes them durable.
fn stage(items: &[&Item], root: &Path, progress: &mut dyn FnMut(Done)) -> Result<TempDir, FolderError> {
    let staging = tempfile::Builder::new().prefix(STAGING).tempdir_in(root);
    let staging = staging.map_err(|source| write_error(root, source))?;
    let total = items.iter().map(|item| item.size).sum();
    let mut bytes = 0;
    for item in items {
        let path = staging.path().join(&item.name);
        let told = &mut |length| {
            bytes += length;
            progress(Done { name: &item.name, bytes, total });
        };
        write_item(item, &path, told)?;
    }
    // servers run as another user
    fs::set_permissions(staging.path(), Permissions::from_mode(0o755))
        .map_err(|source| write_error(staging.path(), source))?;
    sync_folder(staging.path())?;
    Ok(staging)
}

fn write_item(item: &Item, path: &Path, told: &mut dyn FnMut(u64)) -> Result<(), FolderError> {
    let wrong = |source| write_error(path, source);
    let mut file = File::create_new(path).map_err(wrong)?;
    // readable for servers, whatever the umask
    file.set_permissions(Permissions::from_mode(0o644)).map_err(wrong)?;
    let mut write = |bytes: &[u8]| {
        told(bytes.len() as u64);
        file.write_all(bytes).map_err(wrong)
    };
    match &item.content {
        Content::Bytes(bytes) => copy(item, &mut bytes.as_ref(), path, &mut write)??,
        Content::File(from) => {
            let mut file = File::open(from).map_err(|source| read_error(from, source))?;
            copy(item, &mut file, from, &mut write)??;
        }
    }
    file.sync_all().map_err(wrong)
}

/// Hands the bytes of an item on, and answers whether they are those that it was built with.
fn copy(
    item: &Item,
    from: &mut dyn Read,
    from_path: &Path,
    to: &mut dyn FnMut(&[u8]) -> Result<(), FolderError>,
) -> Result<Result<(), Changed>, FolderError> {
    let mut check = Check::new(item);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = from.read(&mut buffer).map_err(|source| read_error(from_path, source))?;
        if length == 0 {
            return Ok(check.finish());
        }
        check.update(&buffer[..length]);
        to(&buffer[..length])?;
    }
}

/// Makes a folder and those above it that do not exist; answers those that it made, the outermost first.
fn make_folders(folder: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    fs::create_dir_all(folder).map_err(|error| (folder.to_owned(), error))?;
    Ok(missing)
}

fn remove_leftovers(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STAGING) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), FolderError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|source| write_error(folder, source))
}

fn read_error(path: &Path, source: io::Error) -> FolderError {
    FolderError::Read { path: path.display().to_string(), source }
}

fn write_error(path: &Path, source: io::Error) -> FolderError {
    FolderError::Write { path: path.display().to_string(), source }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
