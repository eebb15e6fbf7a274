//! All files below a folder, in memory: for folders with files that people write, which are few and small.
//!
//! Nothing is followed out of the folder, and what is not text or data of a person, such as what editors leave behind, is
//! kept out: files and folders whose names begin with a dot. Used to make `svc.zip`, and by `scaffold`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Files by their path below a folder, with `/` between the parts.
pub type Files = BTreeMap<String, File>;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// It may be executed.
    pub executable: bool,
}

impl From<String> for File {
    fn from(text: String) -> Self {
        Self { bytes: text.into_bytes(), executable: false }
    }
}

/// Why a folder is not read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        why: io::Error,
    },
    /// A link, which may lead anywhere.
    #[error(
        "{} is a link\n  help: put the file itself there; what a package holds must be in its own folder",
        .0.display()
    )]
    Link(PathBuf),
    /// There is too much.
    #[error(
        "{} holds more than {MAX_FILES} files or {MAX_BYTES} bytes, or folders in folders deeper than {MAX_DEPTH} times\n  \
         help: keep large files elsewhere, for instance in artifacts/",
        .0.display()
    )]
    TooMuch(PathBuf),
}

const MAX_FILES: usize = 2000;
const MAX_BYTES: u64 = 64 << 20;
const MAX_DEPTH: usize = 32;

/// Reads all files below a folder whose paths are wanted.
pub fn read(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Files, TreeError> {
    let mut files = Files::new();
    let mut open = vec![(String::new(), 0)];
    let mut left = MAX_BYTES;
    while let Some((below, depth)) = open.pop() {
        for name in names(&folder.join(&below))? {
            if name.starts_with('.') {
                continue;
            }
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let full = folder.join(&path);
            let wrong = |why| TreeError::Read { path: full.clone(), why };
            let metadata = full.symlink_metadata().map_err(wrong)?;
            if metadata.is_symlink() {
                return Err(TreeError::Link(full));
            }
            if metadata.is_dir() {
                if depth == MAX_DEPTH {
                    return Err(TreeError::TooMuch(folder.to_owned()));
                }
                open.push((path, depth + 1));
            } else if metadata.is_file() && wanted(&path) {
                let mut bytes = Vec::new();
                let file = std::fs::File::open(&full).map_err(wrong)?;
                left -= file.take(left).read_to_end(&mut bytes).map_err(wrong)? as u64;
                let executable = metadata.permissions().mode() & 0o100 != 0;
                files.insert(path, File { bytes, executable });
            }
            if left == 0 || files.len() + open.len() > MAX_FILES {
                return Err(TreeError::TooMuch(folder.to_owned()));
            }
        }
    }
    Ok(files)
}

/// The names in a folder, in order.
pub fn names(folder: &Path) -> Result<Vec<String>, TreeError> {
    let wrong = |why| TreeError::Read { path: folder.to_owned(), why };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        let not_text = |name: std::ffi::OsString| {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8");
            TreeError::Read { path: folder.join(name), why }
        };
        names.push(name.into_string().map_err(not_text)?);
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_links_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (path, mode) in [("b/c.sh", 0o755), ("a", 0o644), (".swp", 0o644), (".git/config", 0o644)] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = read(folder.path(), |_| true).unwrap();
        let found: Vec<_> = found.iter().map(|(path, file)| (path.as_str(), file.executable)).collect();
        assert_eq!(found, [("a", false), ("b/c.sh", true)]);
        assert_eq!(read(folder.path(), |path| path == "a").unwrap().len(), 1);

        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("b/link")).unwrap();
        assert!(
            matches!(read(folder.path(), |_| true), Err(TreeError::Link(path)) if path.ends_with("b/link"))
        );
        assert!(matches!(read(&folder.path().join("nowhere"), |_| true), Err(TreeError::Read { .. })));
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_is_all_read() {
        let folder = tempfile::tempdir().unwrap();
        let large = std::fs::File::create(folder.path().join("large")).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(read(folder.path(), |_| true), Err(TreeError::TooMuch(_))));
        std::fs::create_dir_all(folder.path().join("a/".repeat(MAX_DEPTH + 1))).unwrap();
        assert!(matches!(read(folder.path(), |path| path != "large"), Err(TreeError::TooMuch(_))));
    }
}
