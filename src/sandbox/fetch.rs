//! Puts the files that a task's command asks for into its sandbox, as the Mesos fetcher does.
//!
//! Supported are `http://`, `https://`, `file://` and absolute paths, and archives `.tar`, `.tar.gz`, `.tgz`, `.zip`,
//! `.gz`. As with Mesos the archive itself stays in the sandbox next to its content, `executable` means no
//! extraction, and the file name is everything behind the last `/`. Called by the agent and by the Marathon face
//! before they start a command.

use crate::wire::Uri;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// Why a file could not be put into the sandbox. Every text names the URI.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URI has no form that is understood.
    #[error("cannot fetch `{uri}`: expected http://, https://, file:// or an absolute path")]
    Unsupported {
        /// The URI.
        uri: String,
    },
    /// The name to store the file under leads out of the sandbox, or is empty.
    #[error("cannot fetch `{uri}`: `{name}` is not a file name below the sandbox")]
    BadName {
        /// The URI.
        uri: String,
        /// The name, from `output_file` or the end of the URI.
        name: String,
    },
    /// The server answered with something other than success.
    #[error("cannot fetch `{uri}`: the server answered {status}")]
    Status {
        /// The URI.
        uri: String,
        /// The HTTP status.
        status: reqwest::StatusCode,
    },
    /// The request failed.
    #[error("cannot fetch `{uri}`: {}", crate::http::explain(.source))]
    Http {
        /// The URI.
        uri: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// Reading the source or writing the sandbox failed.
    #[error("cannot fetch `{uri}`: {}: {source}", .path.display())]
    Io {
        /// The URI.
        uri: String,
        /// The file at fault.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The archive is damaged, or of a kind that is not supported, or wants to write outside of the sandbox.
    #[error("cannot extract `{uri}`: {reason}")]
    Archive {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Fetches one URI into `sandbox`, which must exist. Nothing is left under the final name when it fails.
pub async fn fetch(client: &reqwest::Client, uri: &Uri, sandbox: &Path) -> Result<(), FetchError> {
    let target = sandbox.join(file_name(uri)?);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|e| io_error(uri, parent, e))?;
    }
    let temporary = tempfile::Builder::new()
        .prefix(".fetching-")
        .tempfile_in(sandbox)
        .map_err(|e| io_error(uri, sandbox, e))?
        .into_temp_path();
    let mode = if let Some(source) = local_path(&uri.value) {
        copy(uri, source, &temporary).await?
    } else if uri.value.starts_with("http://") || uri.value.starts_with("https://") {
        download(client, uri, &temporary).await?;
        0o644
    } else {
        return Err(FetchError::Unsupported { uri: uri.value.clone() });
    };
    let executable = uri.executable.unwrap_or(false);
    let mode = if executable { mode | 0o111 } else { mode };
    fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))
        .map_err(|e| io_error(uri, &temporary, e))?;
    temporary.persist(&target).map_err(|e| io_error(uri, &target, e.error))?;
    if executable || !uri.extract.unwrap_or(true) {
        return Ok(());
    }
    let (uri, sandbox) = (uri.value.clone(), sandbox.to_owned());
    let name = uri.clone();
    tokio::task::spawn_blocking(move || extract(&target, &sandbox))
        .await
        .map_err(|e| FetchError::Archive { uri: name, reason: e.to_string() })?
        .map_err(|reason| FetchError::Archive { uri, reason })
}

/// Where the file goes, relative to the sandbox.
fn file_name(uri: &Uri) -> Result<PathBuf, FetchError> {
    let name = match &uri.output_file {
        Some(name) => name.as_str(),
        None => match uri.value.split_once("://") {
            // without a path there is no name: `http://host`
            Some((_, rest)) => rest.rsplit_once('/').map_or("", |(_, name)| name),
            None => uri.value.rsplit('/').next().unwrap_or(""),
        },
    };
    let path = Path::new(name);
    let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
    if name.is_empty() || !plain || name.contains('\0') {
        return Err(FetchError::BadName { uri: uri.value.clone(), name: name.to_owned() });
    }
    Ok(path.to_owned())
}

/// The path of a URI on this machine.
fn local_path(uri: &str) -> Option<&Path> {
    let path = uri.strip_prefix("file://localhost/").map(|_| &uri["file://localhost".len()..]);
    let path = path.or_else(|| uri.strip_prefix("file://")).unwrap_or(uri);
    path.starts_with('/').then(|| Path::new(path))
}

async fn copy(uri: &Uri, source: &Path, target: &Path) -> Result<u32, FetchError> {
    tokio::fs::copy(source, target).await.map_err(|e| io_error(uri, source, e))?;
    let meta = fs::metadata(source).map_err(|e| io_error(uri, source, e))?;
    Ok(meta.permissions().mode() & 0o777)
}

async fn download(client: &reqwest::Client, uri: &Uri, target: &Path) -> Result<(), FetchError> {
    let http = |source| FetchError::Http { uri: uri.value.clone(), source };
    let mut answer = client.get(&uri.value).send().await.map_err(http)?;
    if !answer.status().is_success() {
        return Err(FetchError::Status { uri: uri.value.clone(), status: answer.status() });
    }
    let mut file = tokio::fs::File::create(target).await.map_err(|e| io_error(uri, target, e))?;
    while let Some(chunk) = answer.chunk().await.map_err(http)? {
        file.write_all(&chunk).await.map_err(|e| io_error(uri, target, e))?;
    }
    file.flush().await.map_err(|e| io_error(uri, target, e))
}

fn io_error(uri: &Uri, path: &Path, source: io::Error) -> FetchError {
    FetchError::Io { uri: uri.value.clone(), path: path.to_owned(), source }
}

/// Extracts by the end of the file's name; other files are left as they are.
fn extract(archive: &Path, sandbox: &Path) -> Result<(), String> {
    let name = archive.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let ends = |ends: &[&str]| ends.iter().any(|e| name.ends_with(e));
    let open = || File::open(archive).map(io::BufReader::new).map_err(|e| e.to_string());
    if ends(&[".tar"]) {
        untar(open()?, sandbox)
    } else if ends(&[".tar.gz", ".tgz"]) {
        untar(flate2::bufread::MultiGzDecoder::new(open()?), sandbox)
    } else if ends(&[".zip"]) {
        unzip(open()?, sandbox)
    } else if let Some(plain) = archive.to_str().and_then(|p| p.strip_suffix(".gz")) {
        let mut from = flate2::bufread::MultiGzDecoder::new(open()?);
        let mut to = File::create(plain).map_err(|e| e.to_string())?;
        io::copy(&mut from, &mut to).map(|_| ()).map_err(|e| e.to_string())
    } else if ends(&[".tar.bz2", ".tbz2", ".tar.xz", ".txz"]) {
        Err("this cluster extracts .tar, .tar.gz, .tgz, .zip and .gz; repack it, or set `extract: false`"
            .into())
    } else {
        Ok(())
    }
}

fn untar(from: impl io::Read, sandbox: &Path) -> Result<(), String> {
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let mut entry = entry.map_err(|e| e.to_string())?;
        // `unpack_in` refuses to write through links that lead out, and answers `false` to a `..` in the name
        if !entry.unpack_in(sandbox).map_err(|e| e.to_string())? {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(outside(&name));
        }
    }
    Ok(())
}

fn unzip(from: impl io::Read + io::Seek, sandbox: &Path) -> Result<(), String> {
    let mut archive = zip::ZipArchive::new(from).map_err(|e| e.to_string())?;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(|e| e.to_string())?;
        if entry.enclosed_name().is_none() {
            return Err(outside(&String::from_utf8_lossy(entry.name_raw())));
        }
    }
    archive.extract(sandbox).map_err(|e| e.to_string())
}

fn outside(name: &str) -> String {
    format!("its member `{name}` would be written outside of the sandbox")
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
