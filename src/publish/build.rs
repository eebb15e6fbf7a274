//! Builds a package: reads its sources, finds and hashes its artifacts, puts parameters in, checks everything, and answers
//! all that there is to publish. Writes nothing; where it goes is the business of whoever publishes it.
//!
//! The same input gives the same bytes: no clock, no host, no paths. The directory that a package is published to is named
//! by a hash of its content, so that another input gives another directory and readers of the old one are not disturbed.

use super::archives::{self, ArchiveError};
use super::publication::{Changed, Content, Done, Item, Publication, hex, media_type};
use super::{files, manifest};
use crate::finding::{Code, Report, Severity};
use crate::package::parameters::{self, Parameters};
use crate::package::repository;
use crate::package::{Sources, bom, lint};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub use super::publication::SUMS;

/// What to build, and from what.
#[derive(Clone, Debug)]
pub struct Build {
    /// The folder of package.json.
    pub universe: PathBuf,
    /// Files to publish with the package.
    pub artifacts: Vec<PathBuf>,
    /// The folder of the service files, which `svc.zip` is made of.
    pub service: PathBuf,
    /// Folders to look in for artifacts that the package names but that are not given; the first wins.
    pub search: Vec<PathBuf>,
    /// The URL of the root that packages are published to, as its readers see it.
    pub root_url: String,
    /// A name for the package's directory in place of the hash of its content.
    pub dir_name: Option<String>,
    /// The URL of the package's directory, if it isn't below the root's.
    pub url: Option<String>,
    /// Copies of lists of hashes by their URLs; others are fetched.
    pub manifests: Vec<(String, PathBuf)>,
    /// The package's version.
    pub version: String,
    /// Seconds since 1970; see [`build_time`].
    pub build_time: i64,
    /// Where `TEMPLATE_…` parameters are taken from.
    pub environment: Vec<(String, String)>,
}

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The package's files are wrong.
    #[error(transparent)]
    Package(#[from] Report),
    /// Two artifacts would have the same name in the directory.
    #[error(
        "{first} and {second} have the same name, and artifacts lie flat beside each other\n  help: rename one"
    )]
    SameName {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Something cannot be the name of a file or directory that is published.
    #[error(
        "`{0}` cannot be published under this name\n  help: use letters, digits and . _ + - only, no dot in front, and no name that the build makes itself"
    )]
    Name(String),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file was written while it was read.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// An archive that the build makes itself cannot be made.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Where artifacts of the project in a folder are looked for: with the service files, in the folder for them, and beside
/// this program.
pub fn places_of_artifacts(project: &Path) -> Vec<PathBuf> {
    let beside_program = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    [Some(project.join("svc")), Some(project.join("artifacts")), beside_program]
        .into_iter()
        .flatten()
        .collect()
}

/// Builds the package. `progress` is told how many bytes of the artifacts have been read. Lists of hashes that the package
/// takes some from are fetched; nothing else is.
pub fn build(build: &Build, progress: &mut dyn FnMut(Done)) -> Result<Publication, BuildError> {
    let sources = files::read(&build.universe)?;
    let parameters = Parameters::new(&sources.package, &build.version, build.build_time)
        .with_environment(build.environment.iter().cloned());
    let named = sources.substitute(&parameters)?;
    let artifacts = find_artifacts(build, &named)?;
    let mut hashes = manifest::hashes(&parameters::listed_in(&named), &build.manifests)?;
    let artifacts = hash_all(artifacts, progress)?;
    hashes.extend(artifacts.iter().map(|artifact| (artifact.name.clone(), artifact.sha256.clone())));

    let package = Package { build, sources, parameters, hashes, artifacts };
    // The directory's name is in the files whose hash it is made of: they are assembled once for a directory without name.
    let draft = package.assemble("draft")?;
    let directory = build.dir_name.clone().unwrap_or_else(|| content_hash(&draft.items));
    if !is_plain(&directory) {
        return Err(BuildError::Name(directory));
    }
    package.assemble(&format!("{}/{directory}", draft.name))
}

/// Everything that goes into a package, with hashes known.
struct Package<'a> {
    build: &'a Build,
    sources: Sources,
    parameters: Parameters,
    /// By names, as parameters know them.
    hashes: BTreeMap<String, String>,
    /// In order of their names.
    artifacts: Vec<Item>,
}

impl Package<'_> {
    /// The package as it is in a directory below the root.
    fn assemble(&self, directory: &str) -> Result<Publication, BuildError> {
        let build = self.build;
        let url = build.url.clone().unwrap_or_else(|| format!("{}/{directory}", build.root_url));
        let parameters = self.parameters.clone().published(&url, self.hashes.clone());
        let sources = self.sources.substitute(&parameters)?;
        let findings = lint::universe(&sources);
        // `dagpkg lint` tells warnings; they keep nobody from publishing
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(Report(findings).into());
        }
        let entry = sources.repository_entry(build.build_time)?;
        let text =
            |key: &str| entry.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let (name, version) = (text("name"), text("version"));
        // it is the name of a directory too
        if !is_plain(&name) {
            let message = format!("`name`: {}", BuildError::Name(name));
            let finding = sources.package.at_pointer(Code::FieldValue, "/name", message);
            return Err(Report::from(finding).into());
        }
        let stubs = repository::stubs(&entry)?;
        let stubs = stubs
            .into_iter()
            .map(|stub| Item::from_bytes(stub.name, stub.text, stub.format.media_type()))
            .collect();
        let artifacts: Vec<_> = self.artifacts.iter().map(|a| (a.name.as_str(), a.sha256.as_str())).collect();
        let bom = bom::document(&entry, &url, &artifacts, build.build_time);
        let bom = Item::from_bytes(bom::FILE.to_owned(), bom, media_type(bom::FILE));
        let items = listed(self.artifacts.clone(), bom, stubs);
        Ok(Publication { name, version, directory: directory.to_owned(), url, items })
    }
}

/// All items in the order to publish them, with the list of their hashes.
fn listed(artifacts: Vec<Item>, bom: Item, stubs: Vec<Item>) -> Vec<Item> {
    let mut by_name: Vec<&Item> = artifacts.iter().chain([&bom]).chain(&stubs).collect();
    by_name.sort_by(|a, b| a.name.cmp(&b.name));
    let sums = Item::from_bytes(SUMS.to_owned(), sums(by_name), media_type(SUMS));
    artifacts.into_iter().chain([sums, bom]).chain(stubs).collect()
}

/// Lines as `sha256sum` writes and checks them.
fn sums<'a>(items: impl IntoIterator<Item = &'a Item>) -> String {
    let mut lines = String::new();
    for item in items {
        // a String takes everything
        let _ = writeln!(lines, "{}  {}", item.sha256, item.name);
    }
    lines
}

/// The name of the directory for these files: half of a SHA-256 is more than enough, and makes URLs shorter.
fn content_hash(items: &[Item]) -> String {
    hex(&Sha256::digest(sums(items))[..16])
}

/// Whether this can be a file's or directory's name in every file system, URL and list of hashes.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    name.starts_with(|c: char| c != '.') && name.chars().all(allowed)
}

/// Whether the build makes a file of this name itself.
fn is_made_here(name: &str) -> bool {
    name == SUMS || name == bom::FILE || crate::package::sources::is_stub_file_name(name)
}

/// An artifact before it is hashed.
enum Artifact {
    /// A file.
    File(PathBuf),
    /// An archive that the build has made.
    Made(Vec<u8>),
}

/// All artifacts to publish, by name: those given, and those that the package names.
fn find_artifacts(build: &Build, sources: &Sources) -> Result<BTreeMap<String, Artifact>, BuildError> {
    let mut found: BTreeMap<String, Artifact> = BTreeMap::new();
    for path in &build.artifacts {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_plain(&name) || is_made_here(&name) {
            return Err(BuildError::Name(name));
        }
        if let Some(Artifact::File(first)) = found.insert(name, Artifact::File(path.clone())) {
            let (first, second) = (first.display().to_string(), path.display().to_string());
            return Err(BuildError::SameName { first, second });
        }
    }
    let mut findings = Vec::new();
    for (name, finding) in parameters::artifacts_named_in(sources) {
        if is_made_here(&name) {
            continue;
        }
        let Entry::Vacant(unknown) = found.entry(name) else { continue };
        let mut places = build.search.iter().map(|folder| folder.join(unknown.key()));
        let artifact = match places.find(|path| path.is_file()) {
            Some(path) => Some(Artifact::File(path)),
            None => archives::make(unknown.key(), &build.service, &build.search)?.map(Artifact::Made),
        };
        match artifact {
            Some(artifact) => {
                unknown.insert(artifact);
            }
            None => findings.push(finding),
        }
    }
    if findings.is_empty() { Ok(found) } else { Err(Report(findings).into()) }
}

/// Hashes the artifacts, without holding more than a buffer of them in memory.
fn hash_all(
    artifacts: BTreeMap<String, Artifact>,
    progress: &mut dyn FnMut(Done),
) -> Result<Vec<Item>, BuildError> {
    let mut opened = Vec::new();
    let mut items = Vec::new();
    for (name, artifact) in artifacts {
        let path = match artifact {
            Artifact::File(path) => path,
            Artifact::Made(bytes) => {
                let content_type = media_type(&name);
                items.push(Item::from_bytes(name, bytes, content_type));
                continue;
            }
        };
        let open = || {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) = open().map_err(|source| read_error(&path, source))?;
        opened.push((name, path, file, metadata));
    }
    let total = opened.iter().map(|(.., metadata)| metadata.len()).sum();
    let mut done = 0;
    for (name, path, file, metadata) in opened {
        let told = &mut |bytes| {
            done += bytes;
            progress(Done { name: &name, bytes: done, total });
        };
        items.push(hash(&name, &path, file, &metadata, told)?);
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

fn hash(
    name: &str,
    path: &Path,
    mut file: File,
    before: &Metadata,
    told: &mut dyn FnMut(u64),
) -> Result<Item, BuildError> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = file.read(&mut buffer).map_err(|source| read_error(path, source))?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        size += length as u64;
        told(length as u64);
    }
    let after = file.metadata().map_err(|source| read_error(path, source))?;
    let time = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
    if size != before.len() || time(before) != time(&after) {
        return Err(Changed(path.display().to_string()).into());
    }
    Ok(Item {
        name: name.to_owned(),
        content: Content::File(path.to_owned()),
        size,
        sha256: hex(&hash.finalize()),
        content_type: media_type(name),
    })
}

fn read_error(path: &Path, source: std::io::Error) -> BuildError {
    BuildError::Read { path: path.display().to_string(), source }
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
#[path = "build_tests.rs"]
mod tests;
