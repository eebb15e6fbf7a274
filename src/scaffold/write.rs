//! Files into a folder: all of them or none, and nothing that is there is replaced.

use super::Files;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There are files already where these would go.
    #[error(
        "{} {}, and nothing is overwritten\n  help: name another folder with --dir, or move them away",
        .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        if .0.len() == 1 { "is there already" } else { "are there already" }
    )]
    Exists(Vec<PathBuf>),
    /// A file or a folder cannot be made.
    #[error("cannot write {}: {why}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        why: io::Error,
    },
}

/// Puts files into a folder, which is made if it does not exist. They are written into a temporary folder first, and
/// get their names when all of them are there: in one step if the folder is new, else one after the other.
pub fn write(files: &Files, folder: &Path) -> Result<(), WriteError> {
    let tops: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    let exists = |path: &Path| path.symlink_metadata().is_ok();
    let taken: Vec<_> = tops.iter().map(|name| folder.join(name)).filter(|path| exists(path)).collect();
    if !taken.is_empty() {
        return Err(WriteError::Exists(taken));
    }
    if exists(folder) {
        let staged = stage(files, folder, folder)?;
        return move_into(staged.path(), &tops, folder);
    }
    let parent = folder.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = make_folders(parent)?;
    let done = stage(files, parent, folder).and_then(|staged| {
        let opened = std::fs::set_permissions(staged.path(), std::fs::Permissions::from_mode(0o755));
        opened.and_then(|()| rename(staged.path(), folder)).map_err(|why| wrong(folder, why))
    });
    if done.is_err() {
        for folder in made {
            // not empty means that somebody else uses it by now
            let _ = std::fs::remove_dir(folder);
        }
    }
    done
}

fn wrong(path: &Path, why: io::Error) -> WriteError {
    let path = path.to_owned();
    match why.kind() {
        io::ErrorKind::AlreadyExists => WriteError::Exists(vec![path]),
        _ => WriteError::Io { path, why },
    }
}

/// Writes all files into a temporary folder in `place`. `folder` is where they will be, for messages.
fn stage(files: &Files, place: &Path, folder: &Path) -> Result<tempfile::TempDir, WriteError> {
    let staged =
        tempfile::Builder::new().prefix(".dagpkg-new-").tempdir_in(place).map_err(|why| wrong(place, why))?;
    for (path, file) in files {
        let target = staged.path().join(path);
        let write = || {
            std::fs::create_dir_all(target.parent().unwrap_or(staged.path()))?;
            std::fs::write(&target, &file.bytes)?;
            let mode = if file.executable { 0o755 } else { 0o644 };
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode))?;
            std::fs::File::open(&target)?.sync_all()
        };
        write().map_err(|why| WriteError::Io { path: folder.join(path), why })?;
    }
    Ok(staged)
}

/// Moves what was written into a folder that was there; or nothing.
fn move_into(staged: &Path, tops: &BTreeSet<&str>, folder: &Path) -> Result<(), WriteError> {
    for (index, name) in tops.iter().enumerate() {
        let target = folder.join(name);
        if let Err(why) = rename(&staged.join(name), &target) {
            for done in tops.iter().take(index) {
                // back to where it came from, which goes away
                let _ = std::fs::rename(folder.join(done), staged.join(done));
            }
            return Err(wrong(&target, why));
        }
    }
    Ok(())
}

/// Renames, but not onto something that came between the first look and now.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // some file systems have no such rename
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if to.symlink_metadata().is_err() => {
            std::fs::rename(from, to)
        }
        done => Ok(done?),
    }
}

/// Makes a folder and those around it; answers the ones that were not there, the innermost first.
fn make_folders(folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
    let missing: Vec<PathBuf> = folder.ancestors().take_while(is_missing).map(Path::to_owned).collect();
    match std::fs::create_dir_all(folder) {
        Ok(()) => Ok(missing),
        Err(why) => {
            for path in &missing {
                let _ = std::fs::remove_dir(path);
            }
            Err(WriteError::Io { path: folder.to_owned(), why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    fn files() -> Files {
        let file = |text: &str, executable| File { bytes: text.into(), executable };
        Files::from([
            ("a.md".to_owned(), file("a", false)),
            ("b/c/d.sh".to_owned(), file("d", true)),
            ("z".to_owned(), file("z", false)),
        ])
    }

    /// All paths below a folder.
    fn all(folder: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![folder.to_owned()];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
                found.insert(entry.path().strip_prefix(folder).unwrap().display().to_string());
                open.push(entry.path());
            }
        }
        found
    }

    #[test]
    fn files_arrive_with_their_modes_in_a_folder_that_is_made_or_was_there() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("mine"), "m").unwrap();
        for (folder, more) in [("new/deep", 0), ("", 3)] {
            let folder = root.path().join(folder);
            write(&files(), &folder).unwrap();
            assert_eq!(std::fs::read_to_string(folder.join("b/c/d.sh")).unwrap(), "d");
            let mode = |name: &str| folder.join(name).metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!((mode("a.md"), mode("b/c/d.sh"), mode("b")), (0o644, 0o755, 0o755));
            assert_eq!(
                all(&folder).iter().filter(|path| !path.starts_with("new")).count(),
                5 + usize::from(more > 0)
            );
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_else_written_then() {
        for taken in ["a.md", "b", "z"] {
            let root = tempfile::tempdir().unwrap();
            // a link to nowhere is something, too
            std::os::unix::fs::symlink("/nonexistent", root.path().join(taken)).unwrap();
            let error = write(&files(), root.path()).unwrap_err();
            assert!(error.to_string().contains(taken) && matches!(error, WriteError::Exists(_)), "{error}");
            assert_eq!(all(root.path()), BTreeSet::from([taken.to_owned()]));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_left_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(write(&files(), &root.path().join("file/x")), Err(WriteError::Io { .. })));
        let mut bad = files();
        // a file and a folder of one name: found when files are there already
        bad.insert("z/below".to_owned(), String::new().into());
        assert!(matches!(write(&bad, &root.path().join("new/deep")), Err(WriteError::Io { .. })));
        assert_eq!(all(root.path()), BTreeSet::from(["file".to_owned()]));
    }
}
