//! `dagpkg build`: a package and its artifacts, published where a cluster can read them.
//!
//! What all methods have in common is here and in `report`: what is built from what, and what is said in the end. Each
//! method has a file of its own.

mod aws;
mod folder;
mod report;
mod web_server;

use super::progress::Progress;
use crate::publish::build::{self, Build};
use crate::publish::files;
use crate::publish::publication::Publication;
use anyhow::anyhow;
use reqwest::Url;
use std::path::PathBuf;
use std::process::ExitCode;

/// Build a package and publish it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg build local --out dist
  S3_BUCKET=packages dagpkg build aws --dry-run")]
pub struct Args {
    #[command(subcommand)]
    method: Method,
}

#[derive(Debug, clap::Subcommand)]
enum Method {
    Local(folder::LocalArgs),
    Web(folder::WebArgs),
    Aws(Box<aws::AwsArgs>),
}

/// Runs `dagpkg build`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.method {
        Method::Local(args) => folder::local(args)?,
        Method::Web(args) => folder::web(args)?,
        Method::Aws(args) => aws::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What to build, and how to tell about it: the same for every method.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// The folder of the project, which holds `universe/`.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder of package.json, config.json, marathon.json.mustache and resource.json [default: DIR/universe].
    #[arg(long, value_name = "DIR")]
    universe: Option<PathBuf>,
    /// A file to publish with the package. Artifacts that the package names but that are not given are looked for in
    /// DIR/svc, DIR/artifacts, then beside this program. Two are made if there is no such file: svc.zip, of the folder
    /// DIR/svc, and bootstrap.zip, of dagpkg-bootstrap.
    #[arg(long, value_name = "FILE")]
    artifact: Vec<PathBuf>,
    /// A copy of a list of hashes, so that {{sha256:NAME@URL}} in the package's files is not fetched.
    #[arg(long, value_name = "URL=FILE", value_parser = manifest)]
    manifest: Vec<(String, PathBuf)>,
    /// The version: {{package-version}} in the package's files.
    #[arg(long, value_name = "VERSION", default_value = "stub-universe")]
    package_version: String,
    /// Build and check everything and say what would be published, but write nothing.
    #[arg(long, env = "DRY_RUN", value_parser = clap::builder::FalseyValueParser::new())]
    pub dry_run: bool,
    /// How to print what was done.
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,
}

/// The form of a command's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl SourceArgs {
    /// Builds the package for a root with this URL. `dir_name` names the package's directory in place of its hash, `url` is
    /// the directory's URL if it isn't below the root's.
    fn build(
        &self,
        root_url: &str,
        dir_name: Option<&str>,
        url: Option<String>,
    ) -> anyhow::Result<Publication> {
        let universe = self.universe.clone().unwrap_or_else(|| self.dir.join("universe"));
        let ignored = files::ignored(&universe);
        if !ignored.is_empty() {
            let (folder, names) = (universe.display(), ignored.join(", "));
            super::warn(&format!("{folder}: not a part of the package, and left out: {names}"));
        }
        let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
        let build_time = build::build_time(epoch.as_deref(), &universe).map_err(|error| anyhow!(error))?;
        let plan = Build {
            service: self.dir.join("svc"),
            search: build::places_of_artifacts(&self.dir),
            universe,
            artifacts: self.artifact.clone(),
            root_url: root_url.to_owned(),
            dir_name: dir_name.map(str::to_owned),
            url,
            manifests: self.manifest.clone(),
            version: self.package_version.clone(),
            build_time,
            environment: super::text_environment(),
        };
        let progress = Progress::new();
        let publication = build::build(&plan, &mut |done| progress.count("reading", done));
        progress.clear();
        Ok(publication?)
    }
}

fn manifest(text: &str) -> Result<(String, PathBuf), String> {
    match text.rsplit_once('=') {
        Some((url, file)) if !url.is_empty() && !file.is_empty() => Ok((url.to_owned(), file.into())),
        _ => Err("expected URL=FILE".to_owned()),
    }
}

/// The URL of a place that files are published to, without a slash at the end.
fn root_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; expected https://HOST/PATH"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("expected a URL that begins with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("clusters read it without a user name: leave the name and the password out".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("names of files are put at the end: leave out what begins with ? or #".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
