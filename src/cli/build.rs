//! `dagpkg build`: a package and its artifacts, ready to be served.

use crate::publish::local::{self, Build};
use crate::publish::serve::DEFAULT_PORT;
use anyhow::anyhow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Build a package and put it somewhere.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    method: Method,
}

#[derive(Debug, clap::Subcommand)]
enum Method {
    Local(LocalArgs),
}

/// Build a package into a folder: the stub universe, and the artifacts beside it.
///
/// The same input gives the same bytes: the time in the package is SOURCE_DATE_EPOCH, else that of the last commit.
/// Variables TEMPLATE_SOME_NAME of the environment are the parameters {{some-name}} in the package's files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg build local --out dist
  dagpkg build local --out dist --universe universe --artifact target/release/my-scheduler
  dagpkg build local --out /var/www/demo --artifact-url https://www.example.org/demo --package-version 1.0.0")]
struct LocalArgs {
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The folder of package.json, config.json, marathon.json.mustache and resource.json.
    #[arg(long, value_name = "DIR", default_value = "universe")]
    universe: PathBuf,
    /// A file to publish with the package. Artifacts that the package names but that are not given are looked for in
    /// the folder `svc` beside the universe folder, then beside this program.
    #[arg(long, value_name = "FILE")]
    artifact: Vec<PathBuf>,
    /// The URL that the folder will have: {{artifact-dir}} in the package's files.
    #[arg(long, value_name = "URL", default_value_t = format!("http://127.0.0.1:{DEFAULT_PORT}"))]
    artifact_url: String,
    /// The version: {{package-version}} in the package's files.
    #[arg(long, value_name = "VERSION", default_value = "stub-universe")]
    package_version: String,
}

/// Runs `dagpkg build`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.method {
        Method::Local(args) => local(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn local(args: LocalArgs) -> anyhow::Result<()> {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
    let build_time = local::build_time(epoch.as_deref(), &args.universe).map_err(|error| anyhow!(error))?;
    let built = local::build(&Build {
        search: places_of_artifacts(&args.universe),
        universe: args.universe,
        artifacts: args.artifact,
        artifact_url: args.artifact_url,
        version: args.package_version,
        build_time,
        environment: super::text_environment(),
        out: args.out,
    })?;
    let mut text = format!("{} {}\n  {}\n", built.name, built.version, built.stub.display());
    for artifact in &built.artifacts {
        // a String takes everything
        let _ = writeln!(text, "  {}", artifact.display());
    }
    super::print(&text)
}

/// Where artifacts are looked for that a package names: beside the universe folder in `svc`, then beside this program.
pub fn places_of_artifacts(universe: &Path) -> Vec<PathBuf> {
    let beside_program = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    [Some(universe.join("../svc")), beside_program].into_iter().flatten().collect()
}
