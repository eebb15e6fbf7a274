//! `dagpkg lint`: says what is wrong with the files that a package author writes, before a cluster does.

use crate::finding::{Finding, Report, Severity, Source};
use crate::package::parameters::Parameters;
use crate::package::{Sources, lint, marathon, options};
use crate::publish::files;
use crate::runtime::load::{self, LoadError};
use crate::template::Template;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check the files of a package and of its service: every mistake with its place, and how to mend it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each finding names FILE:LINE:COLUMN and has a code that stays the same over releases.
Exit codes: 0 no errors (there may be warnings), 1 errors.

Examples:
  dagpkg lint --universe universe --svc svc/svc.yml
  dagpkg lint --svc svc.yml --env FRAMEWORK_NAME=weather --env STATION_COUNT=3")]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct Args {
    /// A folder with package.json, config.json, marathon.json.mustache and resource.json.
    #[arg(long, value_name = "DIR", group = "what")]
    universe: Option<PathBuf>,
    /// The service file; its config templates are looked for beside it. With --universe it is checked with the
    /// environment that the package gives the scheduler by default.
    #[arg(long, value_name = "FILE", group = "what")]
    svc: Option<PathBuf>,
    /// A variable of the scheduler's environment, which the service file is rendered with.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, requires = "svc")]
    env: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Runs `dagpkg lint`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut good = true;
    let mut env = BTreeMap::new();
    if let Some(folder) = &args.universe {
        let checked = checked(folder);
        env = checked.as_ref().map(environment).unwrap_or_default();
        good &= told(folder, &checked.map_or_else(|Report(findings)| findings, |_| Vec::new()))?;
    }
    if let Some(file) = &args.svc {
        env.extend(args.env);
        let findings = match load::service(file, &env) {
            Ok(loaded) => loaded.findings,
            Err(LoadError::Invalid(Report(findings))) => findings,
            Err(error) => return Err(error.into()),
        };
        good &= told(file, &findings)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what is wrong with a file or folder; true when no error is among it.
fn told(path: &Path, findings: &[Finding]) -> anyhow::Result<bool> {
    super::show(findings);
    let count = |severity: Severity| {
        let n = findings.iter().filter(|finding| finding.severity == severity).count();
        (n > 0).then(|| format!("{n} {severity}{}", if n == 1 { "" } else { "s" }))
    };
    let counts: Vec<_> = [Severity::Error, Severity::Warning].into_iter().filter_map(count).collect();
    let counts = if counts.is_empty() { "no findings".to_owned() } else { counts.join(", ") };
    super::print(&format!("{}: {counts}\n", path.display()))?;
    Ok(findings.iter().all(|finding| finding.severity != Severity::Error))
}

/// The package's files, if nothing is wrong with them.
fn checked(folder: &Path) -> Result<Sources, Report> {
    let sources = files::read(folder)?;
    let parameters = Parameters::for_checks(&sources.package).with_environment(super::text_environment());
    let sources = sources.substitute(&parameters)?;
    let findings = lint::universe(&sources);
    if findings.is_empty() { Ok(sources) } else { Err(Report(findings)) }
}

/// The environment that the package's app gives the scheduler with default options; none if there is no such app.
fn environment(sources: &Sources) -> BTreeMap<String, String> {
    let json = |source: &Option<Source>| source.as_ref().and_then(|source| source.json().ok());
    let defaults = json(&sources.config).map(|config| options::defaults(&config)).unwrap_or_default();
    let template = sources.marathon.as_ref().and_then(|source| Template::parse(&source.text).ok());
    let app = template
        .and_then(|template| marathon::render(&template, &defaults, json(&sources.resource).as_ref()).ok());
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    let env = app.as_ref().and_then(|(app, _)| app.get("env")?.as_object());
    env.into_iter().flatten().filter_map(text).collect()
}
