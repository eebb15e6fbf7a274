//! A package built into a folder: the stub universe and, flat beside it, the artifacts that it names.
//!
//! The same input gives the same bytes: no clock, no host, no paths. Either all files arrive, each of them whole, or the
//! folder stays as it was; only a crash between two renames can leave new artifacts beside an old stub universe.

use super::files;
use crate::package::parameters::{self, Parameters};
use crate::package::{Finding, Sources, lint, sources};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What to build, and from what.
#[derive(Clone, Debug)]
pub struct Build {
    /// The folder of package.json.
    pub universe: PathBuf,
    /// Files to publish with the package.
    pub artifacts: Vec<PathBuf>,
    /// Folders to look in for artifacts that the package names but that are not given; the first wins.
    pub search: Vec<PathBuf>,
    /// The URL of the folder as its readers see it.
    pub artifact_url: String,
    /// The package's version.
    pub version: String,
    /// Seconds since 1970; see [`build_time`].
    pub build_time: i64,
    /// Where `TEMPLATE_…` parameters are taken from.
    pub environment: Vec<(String, String)>,
    /// The folder to write; made if it does not exist.
    pub out: PathBuf,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The path of `stub-universe-<name>.json`.
    pub stub: PathBuf,
    /// The paths of the artifacts, in order of their names.
    pub artifacts: Vec<PathBuf>,
}

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The package's files are wrong; there is at least one finding.
    #[error("{}", .0.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"))]
    Package(Vec<Finding>),
    /// Two artifacts would have the same name in the folder.
    #[error(
        "{first} and {second} have the same name, and artifacts lie flat beside each other\n  help: rename one"
    )]
    SameName {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl From<Finding> for BuildError {
    fn from(finding: Finding) -> Self {
        Self::Package(vec![finding])
    }
}

/// Builds the package.
pub fn build(build: &Build) -> Result<Built, BuildError> {
    let sources = files::read(&build.universe)?;
    let artifacts = find_artifacts(build, &sources)?;
    let out = &build.out;
    std::fs::create_dir_all(out).map_err(|source| write_error(out, source))?;

    let name = package_name(&sources);
    let mut parameters = Parameters::new(&name, &build.version, build.build_time, &build.artifact_url)
        .with_environment(build.environment.iter().cloned());
    let mut staged = Vec::new();
    for (name, path) in &artifacts {
        let (file, sha256) = stage_artifact(path, out)?;
        parameters.add_artifact(name, &sha256);
        staged.push((file, out.join(name)));
    }

    let sources = sources.substitute(&parameters).map_err(BuildError::Package)?;
    let findings = lint::universe(&sources);
    if !findings.is_empty() {
        return Err(BuildError::Package(findings));
    }
    let entry = sources.repository_entry(build.build_time)?;
    let text = |key: &str| entry.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let (name, version) = (text("name"), text("version"));
    let stub = out.join(sources::stub_file_name(&name));
    let mut file = new_file(out, 0o644)?;
    file.write_all(sources::stub_universe(&entry).as_bytes()).map_err(|source| write_error(&stub, source))?;
    // the stub last: whoever reads it finds what it names
    staged.push((file, stub.clone()));

    for (file, path) in staged {
        let done = file.as_file().sync_all().and_then(|()| file.persist(&path).map_err(|error| error.error));
        done.map_err(|source| write_error(&path, source))?;
    }
    let artifacts = artifacts.keys().map(|name| out.join(name)).collect();
    Ok(Built { name, version, stub, artifacts })
}

fn write_error(path: &Path, source: std::io::Error) -> BuildError {
    BuildError::Write { path: path.display().to_string(), source }
}

/// The name in package.json as it stands there; a name that is a parameter itself comes from the environment.
pub fn package_name(sources: &Sources) -> String {
    let package = sources.package.json().unwrap_or_default();
    package["name"].as_str().filter(|name| !name.contains("{{")).unwrap_or_default().to_owned()
}

/// All artifacts to publish, by name: those given, and those that the package names.
fn find_artifacts(build: &Build, sources: &Sources) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in &build.artifacts {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(first) = found.insert(name, path.clone()) {
            let (first, second) = (first.display().to_string(), path.display().to_string());
            return Err(BuildError::SameName { first, second });
        }
    }
    let mut findings = Vec::new();
    for (name, finding) in parameters::artifacts_named_in(sources) {
        let Entry::Vacant(unknown) = found.entry(name) else { continue };
        let mut places = build.search.iter().map(|folder| folder.join(unknown.key()));
        match places.find(|path| path.is_file()) {
            Some(path) => {
                unknown.insert(path);
            }
            None => findings.push(finding),
        }
    }
    if findings.is_empty() { Ok(found) } else { Err(BuildError::Package(findings)) }
}

/// Copies an artifact to a temporary file in the folder and hashes what was copied.
fn stage_artifact(path: &Path, out: &Path) -> Result<(NamedTempFile, String), BuildError> {
    let read_error = |source| BuildError::Read { path: path.display().to_string(), source };
    let mut from = std::fs::File::open(path).map_err(read_error)?;
    let executable = from.metadata().map_err(read_error)?.permissions().mode() & 0o100 != 0;
    let mut file = new_file(out, if executable { 0o755 } else { 0o644 })?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = from.read(&mut buffer).map_err(read_error)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        file.write_all(&buffer[..length]).map_err(|source| write_error(out, source))?;
    }
    let mut sha256 = String::new();
    for byte in hash.finalize() {
        // a String takes everything
        let _ = write!(sha256, "{byte:02x}");
    }
    Ok((file, sha256))
}

/// A file that disappears unless it is renamed.
fn new_file(folder: &Path, mode: u32) -> Result<NamedTempFile, BuildError> {
    NamedTempFile::new_in(folder)
        .and_then(|file| {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
            Ok(file)
        })
        .map_err(|source| write_error(folder, source))
}

/// The time that a build carries, so that the same input gives the same bytes: SOURCE_DATE_EPOCH if it is given, else
/// the time of the last commit of the repository that the folder is in, else 0. Seconds since 1970.
pub fn build_time(source_date_epoch: Option<&str>, folder: &Path) -> Result<i64, String> {
    if let Some(text) = source_date_epoch {
        let wrong = |_| format!("SOURCE_DATE_EPOCH must be a number of seconds since 1970, but is `{text}`");
        return text.parse().map_err(wrong);
    }
    let git = std::process::Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .current_dir(folder)
        .stderr(std::process::Stdio::null())
        .output();
    // no git, no repository, no commit: all the same here
    let time = git.ok().filter(|output| output.status.success());
    Ok(time.and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok()).unwrap_or(0))
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
