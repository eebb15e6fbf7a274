//! Checks a published package whole: what a cluster would find, and whether it is what was published.
//!
//! The stub universe is fetched as the package service does and checked by the rules of its format, its packages by the
//! rules of `lint`; every URL is looked up, and every hash compared that the package says, the list of hashes beside it or
//! its bill of materials. Only files and hashes: whether the service works is not tried. Images of containers are not
//! looked up. Called by `dagpkg verify`.

mod access;
mod named;
#[cfg(test)]
mod tests;

use super::build::SUMS;
use super::{fetch, files};
use crate::finding::{Code, Finding, Report, Severity, Source};
use crate::package::repository::{self, Format};
use crate::package::sources::{is_stub_file_name, stub_file_name};
use crate::package::{Sources, bom, lint};
use access::{Access, Content, Location};
use fetch::FetchError;
use futures_util::StreamExt as _;
use named::{Claim, Role};
use reqwest::Url;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that are looked at side by side.
const CONCURRENCY: usize = 8;
/// A server that sends nothing for this long is given up.
const SILENCE: Duration = Duration::from_mins(1);

/// What to check.
#[derive(Clone, Debug)]
pub enum Target {
    /// The URL of a stub universe, or of a package's directory.
    Url(Url),
    /// A stub universe, the folder of one, or one that packages are published below.
    Path {
        /// The file or folder.
        path: PathBuf,
        /// The URL that the folder has, or will have; if none is given, it is known by the package's own URLs.
        url: Option<String>,
    },
}

/// What came out for one stub universe.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The URL or path of the stub universe.
    pub stub: String,
    /// Names and versions of the packages in it.
    pub packages: Vec<(String, String)>,
    /// The files that were looked at.
    pub files: Vec<File>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// A file that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The URL by which it is named.
    pub url: String,
    /// Bytes, if that is known.
    pub size: Option<u64>,
    /// Its SHA-256 in lower-case hex; none if nobody says what it should be, and it was not read.
    pub sha256: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that were looked at.
    pub done: usize,
    /// Files to look at, as far as they are known.
    pub files: usize,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is no package.
    #[error(
        "there is no stub universe in {0}, nor in the folders below it\n  help: expected stub-universe-NAME.json"
    )]
    Nothing(String),
    /// The HTTP client could not be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Checks all packages of a target. An error means that there was nothing to check; what is wrong with packages, and be
/// it that they are not there, is among their findings.
pub async fn verify(
    target: &Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Verified>, VerifyError> {
    let clients = Clients {
        repositories: fetch::client()?,
        files: crate::http::builder()?.read_timeout(SILENCE).build()?,
    };
    let counter = Counter { progress: RefCell::new((Progress::default(), progress)) };
    match target {
        Target::Url(url) => Ok(vec![on_web(url, clients, &counter).await]),
        Target::Path { path, url } => in_folders(path, url.as_deref(), &clients, &counter).await,
    }
}

struct Clients {
    /// Follows redirects as the package service does.
    repositories: reqwest::Client,
    files: reqwest::Client,
}

/// Tells about progress from several places at once.
struct Counter<'p> {
    progress: RefCell<(Progress, &'p mut dyn FnMut(Progress))>,
}

impl Counter<'_> {
    fn add(&self, done: usize, files: usize, bytes: u64) {
        // nothing else borrows it: this is not called by what it calls
        let (progress, told) = &mut *self.progress.borrow_mut();
        progress.done += done;
        progress.files += files;
        progress.bytes += bytes;
        told(*progress);
    }
}

/// A stub universe that was read.
struct Stub {
    /// Its text, under the name of its URL or path.
    source: Source,
    /// The format that its server says.
    format: Option<Format>,
}

async fn on_web(url: &Url, clients: Clients, counter: &Counter<'_>) -> Verified {
    let access = Access { client: clients.files, folder: None };
    match find_stub(url, &access, &clients.repositories).await {
        Ok((url, stub)) => {
            let beside = Beside { place: Place::Web(url, clients.repositories), access };
            check(stub, &beside, counter).await
        }
        Err((looked_for, error)) => {
            let mut found = unfetched(&Source::new(looked_for.as_str(), ""), &error);
            if looked_for != *url {
                found = found.help("name a stub universe, or the directory of one package: URL/PACKAGE/HASH");
            }
            let url = looked_for;
            Verified { stub: url.to_string(), packages: Vec::new(), files: Vec::new(), findings: vec![found] }
        }
    }
}

/// The stub universe at a URL, or in the directory that it names.
async fn find_stub(
    url: &Url,
    access: &Access,
    client: &reqwest::Client,
) -> Result<(Url, Stub), (Url, FetchError)> {
    let first = match read_stub(url, client).await {
        Ok(stub) => return Ok((url.clone(), stub)),
        Err(error) => error,
    };
    if Path::new(url.path()).extension().is_some_and(|extension| extension == "json") {
        return Err((url.clone(), first));
    }
    let mut any = url.clone();
    any.set_path(&format!("{}/any", url.path().trim_end_matches('/')));
    let sums = access.text(&Location::Web(beside_url(&any, SUMS))).await.unwrap_or_default();
    let (listed, _) = named::in_sums(&Source::new(SUMS, sums));
    let is_main = |name: &str| is_stub_file_name(name) && Format::of_stub_file_name(name).is_none();
    let name = listed.into_iter().map(|(name, _)| name).find(|name| is_main(name)).unwrap_or_else(|| {
        // <root>/<package>/<hash>/
        let package = url.path_segments().and_then(|parts| parts.filter(|part| !part.is_empty()).nth_back(1));
        stub_file_name(package.unwrap_or_default())
    });
    let stub = beside_url(&any, &name);
    match read_stub(&stub, client).await {
        Ok(read) => Ok((stub, read)),
        Err(error) => Err((stub, error)),
    }
}

/// The URL of a file in the same directory.
fn beside_url(url: &Url, name: &str) -> Url {
    let mut beside = url.clone();
    // http and https have paths
    if let Ok(mut parts) = beside.path_segments_mut() {
        parts.pop().push(name);
    }
    beside.set_query(None);
    beside
}

async fn read_stub(url: &Url, client: &reqwest::Client) -> Result<Stub, FetchError> {
    let fetched = fetch::repository(client, url.as_str()).await?;
    let text = String::from_utf8_lossy(&fetched.text);
    Ok(Stub { source: Source::new(url.as_str(), text), format: fetched.format })
}

fn unfetched(source: &Source, error: &FetchError) -> Finding {
    let finding = Finding::new(Code::NotRepository, source, error.to_string());
    match error {
        FetchError::ContentType(_) => {
            finding.help("`dagpkg build web --print-config SERVER` shows what nginx, Apache and Caddy need to send the right one")
        }
        FetchError::Redirect { .. } => finding.help("add the repository by the URL that it leads to"),
        _ => finding,
    }
}

async fn in_folders(
    path: &Path,
    url: Option<&str>,
    clients: &Clients,
    counter: &Counter<'_>,
) -> Result<Vec<Verified>, VerifyError> {
    let error = |source| VerifyError::Read { path: path.display().to_string(), source };
    let (root, stubs) = if path.is_file() {
        (path.parent().unwrap_or(Path::new("")), vec![path.to_owned()])
    } else {
        (path, files::stub_universes(path).map_err(error)?)
    };
    if stubs.is_empty() {
        return Err(VerifyError::Nothing(path.display().to_string()));
    }
    let mut all = Vec::new();
    for stub in stubs {
        let folder = stub.parent().unwrap_or(root).to_owned();
        let access = Access { client: clients.files.clone(), folder: None };
        let text = access.text(&Location::File(stub.clone())).await;
        let text = text.map_err(|why| VerifyError::Read {
            path: stub.display().to_string(),
            source: io::Error::other(why),
        })?;
        let source = Source::new(stub.display().to_string(), text);
        let base = match (url, folder.strip_prefix(root)) {
            (Some(url), Ok(below)) => {
                let parts = below.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
                let parts: Vec<_> =
                    std::iter::once(url.trim_end_matches('/').to_owned()).chain(parts).collect();
                Some(parts.join("/"))
            }
            _ => own_url(&source, &folder),
        };
        let access = Access { folder: base.map(|base| (folder.clone(), base)), ..access };
        let beside = Beside { place: Place::Folder(folder), access };
        all.push(check(Stub { source, format: None }, &beside, counter).await);
    }
    Ok(all)
}

/// The URL of a folder `<package>/<hash>`, known by a URL of its package that leads there.
fn own_url(stub: &Source, folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mut names = folder.components().rev().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let (last, first) = (names.next()?, names.next()?);
    let end = format!("/{first}/{last}");
    let repository = stub.json().ok()?;
    let packages = repository["packages"].as_array()?.iter();
    packages
        .flat_map(|package| named::in_package(stub, 0, package))
        .filter_map(|(url, _)| Some(url.rsplit_once('/')?.0.to_owned()))
        .find(|directory| directory.ends_with(&end))
}

/// What lies beside a stub universe.
struct Beside {
    place: Place,
    access: Access,
}

enum Place {
    /// Beside this stub universe, whose like this client fetches.
    Web(Url, reqwest::Client),
    Folder(PathBuf),
}

impl Beside {
    /// The URL of a file, or something like it, and where it is.
    fn file(&self, name: &str) -> (String, Location) {
        match &self.place {
            Place::Web(stub, _) => {
                let url = beside_url(stub, name);
                (url.to_string(), Location::Web(url))
            }
            Place::Folder(folder) => {
                let path = folder.join(name);
                let url = self.access.folder.as_ref().map(|(_, base)| format!("{base}/{name}"));
                (url.unwrap_or_else(|| path.display().to_string()), Location::File(path))
            }
        }
    }

    /// A text beside, by its URL or path; or why there is none.
    async fn text(&self, name: &str) -> Result<Source, String> {
        let (url, location) = self.file(name);
        let text = self.access.text(&location).await?;
        let name = if let Location::File(path) = location { path.display().to_string() } else { url };
        Ok(Source::new(name, text))
    }
}

async fn check(stub: Stub, beside: &Beside, counter: &Counter<'_>) -> Verified {
    let Stub { source, format } = stub;
    let mut verified = Verified {
        stub: source.file.to_string(),
        packages: Vec::new(),
        files: Vec::new(),
        findings: Vec::new(),
    };
    let format = format.or_else(|| Format::of_repository(source.text.as_bytes())).unwrap_or(Format::V5);
    let broken = repository::check(format, &source);
    let is_sound = broken.is_empty();
    verified.findings.extend(broken);
    let mut named = Named::default();
    let repository = source.json().unwrap_or_default();
    for (index, package) in repository["packages"].as_array().into_iter().flatten().enumerate() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        verified.packages.push((text("name"), text("version")));
        named.add_all(named::in_package(&source, index, package), &beside.access);
        if is_sound {
            verified.findings.extend(match Sources::from_repository(&source, &repository, index) {
                Ok(sources) => lint::universe(&sources),
                Err(Report(findings)) => findings,
            });
        }
    }
    lists(&source, beside, &mut named, &mut verified.findings).await;
    look_up(named, beside, counter, &mut verified).await;
    verified
}

/// All files that are named: by URL where they are, or why they are nowhere, and what is said of them.
#[derive(Default)]
struct Named(BTreeMap<String, (Result<Location, String>, Vec<Claim>)>);

impl Named {
    fn add(&mut self, url: String, location: Result<Location, String>, claim: Claim) {
        self.0.entry(url).or_insert_with(|| (location, Vec::new())).1.push(claim);
    }

    /// Adds what is named by its URL.
    fn add_all(&mut self, claims: Vec<(String, Claim)>, access: &Access) {
        for (url, claim) in claims {
            let location = access.locate(&url);
            self.add(url, location, claim);
        }
    }
}

/// Reads what describes the package beside its stub universe: hashes, materials, other formats.
async fn lists(stub: &Source, beside: &Beside, named: &mut Named, findings: &mut Vec<Finding>) {
    let sums = match beside.text(SUMS).await {
        Ok(sums) => sums,
        Err(why) => {
            let message = format!("there is no {SUMS} beside it ({why}): most files cannot be compared");
            findings.push(Finding::new(Code::NoHash, stub, message));
            return;
        }
    };
    let (listed, wrong) = named::in_sums(&sums);
    findings.extend(wrong);
    let files: BTreeSet<String> = listed.iter().map(|(name, _)| name.clone()).collect();
    for (name, claim) in listed {
        let (url, location) = beside.file(&name);
        named.add(url, Ok(location), claim);
    }
    if files.contains(bom::FILE) {
        // one that is not there is told as any other that is listed
        if let Ok(bom) = beside.text(bom::FILE).await {
            match bom.json() {
                Ok(value) => named.add_all(named::in_bom(&bom, &value), &beside.access),
                Err(Report(wrong)) => findings.extend(wrong),
            }
        }
    }
    for name in &files {
        if let Some(format) = Format::of_stub_file_name(name) {
            findings.extend(other_format(name, format, beside).await);
        }
    }
    if let Place::Folder(folder) = &beside.place {
        findings.extend(unlisted(folder, &files, &sums));
    }
}

/// What is wrong with the stub universe in another format.
async fn other_format(name: &str, format: Format, beside: &Beside) -> Vec<Finding> {
    let (Place::Web(_, client), (_, Location::Web(url))) = (&beside.place, beside.file(name)) else {
        let source = beside.text(name).await;
        return source.map(|source| repository::check(format, &source)).unwrap_or_default();
    };
    match read_stub(&url, client).await {
        Ok(stub) if stub.format.is_none_or(|said| said == format) => repository::check(format, &stub.source),
        Ok(stub) => {
            let said = stub.format.map_or("nothing", Format::name);
            let message = format!("the Content-Type says {said}, but the name says {}", format.name());
            vec![Finding::new(Code::NotRepository, &Source::new(url.as_str(), ""), message)]
        }
        Err(error) => vec![unfetched(&Source::new(url.as_str(), ""), &error)],
    }
}

/// Files in a package's folder that nobody published.
fn unlisted(folder: &Path, names: &BTreeSet<String>, sums: &Source) -> Vec<Finding> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    found
        .iter()
        .filter(|name| *name != SUMS && !names.contains(*name))
        .map(|name| {
            Finding::new(Code::Unlisted, sums, format!("`{name}` lies beside it and is not in the list"))
        })
        .collect()
}

async fn look_up(named: Named, beside: &Beside, counter: &Counter<'_>, verified: &mut Verified) {
    counter.add(0, named.0.len(), 0);
    let looks = named.0.into_iter().map(async |(url, (location, claims))| {
        let compared = claims.iter().any(|claim| claim.sha256.is_some());
        let outcome = match location {
            Ok(location) => beside.access.look(&location, compared, &|bytes| counter.add(0, 0, bytes)).await,
            Err(why) => Err(why),
        };
        counter.add(1, 0, 0);
        (url, claims, outcome)
    });
    let looks = futures_util::stream::iter(looks).buffered(CONCURRENCY);
    let mut looks = std::pin::pin!(looks);
    while let Some((url, claims, outcome)) = looks.next().await {
        match outcome {
            Ok(content) => {
                verified.findings.extend(compare(&url, &claims, &content));
                verified.files.push(File { url, size: content.size, sha256: content.sha256 });
            }
            Err(why) => {
                // once, where it matters most
                let first = claims.iter().min_by_key(|claim| claim.role == Role::Page);
                verified.findings.extend(first.map(|claim| unreachable(&url, claim, &why, beside)));
            }
        }
    }
}

fn unreachable(url: &str, claim: &Claim, why: &str, beside: &Beside) -> Finding {
    let finding = claim.finding(Code::Unreachable, format!("{url} cannot be had: {why}"));
    match &beside.place {
        Place::Folder(_) if beside.access.folder.is_none() && url.starts_with("http") => {
            finding.help("if this is a file of the folder, say which URL the folder has: --url URL")
        }
        _ => finding,
    }
}

/// What is wrong with a file that is there.
fn compare(url: &str, claims: &[Claim], content: &Content) -> Vec<Finding> {
    let mut findings = Vec::new();
    let role = |role| claims.iter().find(|claim| claim.role == role);
    match (content.size, role(Role::HandedOn), role(Role::Fetched)) {
        (Some(0), Some(claim), _) | (Some(0), None, Some(claim)) => {
            findings.push(claim.finding(Code::FileSize, format!("{url} is empty")));
        }
        (None, Some(claim), _) => {
            let message =
                format!("{url} comes without a Content-Length, so the package service cannot hand it on");
            findings.push(claim.finding(Code::FileSize, message));
        }
        _ => {}
    }
    let Some(found) = &content.sha256 else {
        if let Some(claim) = role(Role::Fetched) {
            let message = format!("nobody says what {url} should be: it has no published hash");
            findings.push(claim.finding(Code::NoHash, message));
        }
        return findings;
    };
    for claim in claims {
        if let Some(said) = claim.sha256.as_ref().filter(|said| *said != found) {
            let message =
                format!("{url} is not what was published: its SHA-256 is {found}, here it is {said}");
            findings.push(claim.finding(Code::WrongHash, message));
        }
    }
    findings
}

impl Verified {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}
