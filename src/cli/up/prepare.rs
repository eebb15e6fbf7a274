//! Everything about the package before anything is started: it is built, its options are checked, and the service file
//! is read as its scheduler will read it. What an author wrote wrong is told here, with file, line and column.

use super::options::Known;
use crate::cli::subject::{App, GivenArgs, SubjectArgs};
use crate::finding::{Report, Source};
use crate::package::lint;
use crate::package::options::{Object, UserOptions};
use crate::publish::build::{self, Build};
use crate::publish::{folder, serve};
use anyhow::{Context as _, anyhow};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A package that can be installed.
#[derive(Debug)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// The user's options, with those that the cluster knows by itself.
    pub options: Object,
    /// All options, with the package's defaults.
    pub all_options: Object,
    /// Where its repository will be.
    pub repository_url: String,
    folder: PathBuf,
    port: u16,
}

/// The files of a package, where they are and where they go.
#[derive(Debug)]
pub struct Folders<'a> {
    /// Holds `universe/` and `svc/`.
    pub package: &'a Path,
    /// The repository to make.
    pub out: &'a Path,
}

/// Checks a package, its options and its service file, and then builds it for a repository at this port of 127.0.0.1.
pub fn prepare(
    folders: &Folders,
    port: u16,
    known: &Known,
    files: &[PathBuf],
    settings: &[String],
) -> anyhow::Result<Prepared> {
    let universe = folders.package.join("universe");
    let given = GivenArgs { options: files.to_vec(), set: settings.to_vec(), env: Vec::new() };
    let (options, all_options) = check(folders.package, &universe, known, given)?;
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
    let plan = Build {
        universe,
        artifacts: Vec::new(),
        service: folders.package.join("svc"),
        search: build::places_of_artifacts(folders.package),
        root_url: format!("http://127.0.0.1:{port}"),
        // one name for all builds: only this cluster reads it, and tasks keep the addresses that they know
        dir_name: Some("up".into()),
        url: None,
        manifests: Vec::new(),
        version: "stub-universe".into(),
        build_time: build::build_time(epoch.as_deref(), folders.package).map_err(|e| anyhow!(e))?,
        environment: crate::cli::text_environment(),
    };
    let publication = build::build(&plan, &mut |_| {})?;
    folder::publish(&publication, folders.out, &mut |_| {})?;
    let repository_url = publication.stub_url();
    Ok(Prepared {
        name: publication.name,
        options,
        all_options,
        repository_url,
        folder: folders.out.to_owned(),
        port,
    })
}

/// Everything that can be known to be wrong before it is built; answers the user's options and all options.
fn check(
    package: &Path,
    universe: &Path,
    known: &Known,
    given: GivenArgs,
) -> anyhow::Result<(Object, Object)> {
    let (dir, universe) = (Some(package.to_owned()), Some(universe.to_owned()));
    let arguments = SubjectArgs { dir, universe, given, ..SubjectArgs::default() };
    let subject = arguments.read()?;
    let sources = subject.package.as_ref().context("a package")?;
    let findings = lint::universe(sources);
    if !findings.is_empty() {
        return Err(Report(findings).into());
    }
    let mut below = UserOptions::default();
    known.add_to(&mut below, &sources.config.as_ref().map(Source::json).transpose()?.unwrap_or_default())?;
    let subject = subject.with_options_below(below, &arguments.given)?;
    let missing = "the package has no marathon.json.mustache, so nothing can be run";
    let App { options, app, unset, .. } = subject.app()?.context(missing)?;
    if !unset.is_empty() {
        return Err(Report(unset).into());
    }
    // the package may bring its service in another way
    if subject.service_file(Some(&app)).is_some() {
        subject.service(Some(&app))?;
    }
    Ok((subject.given_options(), options))
}

impl Prepared {
    /// Serves the repository.
    pub async fn serve(&self) -> anyhow::Result<serve::Server> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let server = serve::start(&self.folder, address, None).await;
        server.with_context(|| format!("cannot serve {} at {address}", self.folder.display()))
    }
}
