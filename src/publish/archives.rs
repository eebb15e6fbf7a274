//! The archives that a build makes itself, when a package names them and there is no file of that name:
//!
//! - `svc.zip`: the package's folder `svc`, with that folder's name in front, for the scheduler;
//! - `bootstrap.zip`: `dagpkg-bootstrap` as `bootstrap`, the name that commands of service files know, for tasks.
//!
//! The same files give the same bytes: entries by name, no times, and nothing compressed, for that would depend on the
//! compressor's release. Mesos' fetcher unpacks them, with the right to execute what may be executed.

use super::tree::{self, File, Files, TreeError};
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The folder of the service files.
pub const SERVICE: &str = "svc.zip";
/// The helper of tasks.
pub const BOOTSTRAP: &str = "bootstrap.zip";

/// Why an archive cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// What goes into it cannot be read.
    #[error("{0}")]
    Files(#[from] TreeError),
    /// It is too large for a zip, or has bad names in it.
    #[error("cannot make {name}: {why}")]
    Zip {
        /// The archive.
        name: &'static str,
        /// What the zip library says.
        why: zip::result::ZipError,
    },
}

/// Makes the archive of that name; none if it is not one of ours, or there is nothing to make it of. `service` is the
/// folder of the service files, `programs` are the folders to look for `dagpkg-bootstrap` in.
pub fn make(name: &str, service: &Path, programs: &[PathBuf]) -> Result<Option<Vec<u8>>, ArchiveError> {
    match name {
        SERVICE if service.is_dir() => {
            let files = tree::read(service, |_| true)?;
            let files = files.into_iter().map(|(path, file)| (format!("svc/{path}"), file)).collect();
            archive(SERVICE, &files).map(Some)
        }
        BOOTSTRAP => {
            let mut places = programs.iter().map(|folder| folder.join("dagpkg-bootstrap"));
            let Some(program) = places.find(|path| path.is_file()) else { return Ok(None) };
            let bytes = std::fs::read(&program).map_err(|why| TreeError::Read { path: program, why })?;
            let files = Files::from([("bootstrap".to_owned(), File { bytes, executable: true })]);
            archive(BOOTSTRAP, &files).map(Some)
        }
        _ => Ok(None),
    }
}

fn archive(name: &'static str, files: &Files) -> Result<Vec<u8>, ArchiveError> {
    let write = || {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (path, file) in files {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                // the first day that a zip can hold
                .last_modified_time(DateTime::default())
                .unix_permissions(if file.executable { 0o755 } else { 0o644 });
            zip.start_file(path, options)?;
            zip.write_all(&file.bytes)?;
        }
        Ok(zip.finish()?.into_inner())
    };
    write().map_err(|why| ArchiveError::Zip { name, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// Name, mode and content of all entries.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, String)> {
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let count = zip.len();
        let entry = |index| {
            let mut entry = zip.by_index(index).unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            (name, entry.unix_mode().unwrap() & 0o777, text)
        };
        (0..count).map(entry).collect()
    }

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn archives_hold_the_service_and_the_helper_of_tasks() {
        let folder = tempfile::tempdir().unwrap();
        let (svc, bin) = (folder.path().join("any"), folder.path().join("bin"));
        write(&svc.join("svc.yml"), "name: x", 0o600);
        write(&svc.join("conf/run.sh"), "true", 0o700);
        write(&bin.join("dagpkg-bootstrap"), "elf", 0o755);
        let programs = [folder.path().join("nowhere"), bin];
        let make = |name| make(name, &svc, &programs).unwrap();
        let expected = [("svc/conf/run.sh", 0o755, "true"), ("svc/svc.yml", 0o644, "name: x")];
        let expected = expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned()));
        assert_eq!(entries(&make(SERVICE).unwrap()), expected);
        assert_eq!(entries(&make(BOOTSTRAP).unwrap()), [("bootstrap".to_owned(), 0o755, "elf".to_owned())]);
        assert_eq!(make("other.zip"), None);
        assert_eq!(super::make(SERVICE, &folder.path().join("nowhere"), &[]).unwrap(), None);
        assert_eq!(super::make(BOOTSTRAP, &svc, &[]).unwrap(), None);
    }

    #[test]
    fn the_same_files_give_the_same_bytes_whenever_they_were_written() {
        let bytes = ["2001-01-01", "2020-02-02"].map(|day| {
            let folder = tempfile::tempdir().unwrap();
            write(&folder.path().join("svc.yml"), "name: x", 0o644);
            let time: jiff::Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
            let file = std::fs::File::options().write(true).open(folder.path().join("svc.yml")).unwrap();
            file.set_modified(time.into()).unwrap();
            make(SERVICE, folder.path(), &[]).unwrap().unwrap()
        });
        assert_eq!(bytes[0], bytes[1]);
    }
}
