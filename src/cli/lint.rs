//! `dagpkg lint`: says what is wrong with the files that a package author writes, before a cluster does.

use crate::runtime::load::{self, Findings, LoadError};
use crate::spec::Severity;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check the files of a service.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each finding begins with FILE:LINE:COLUMN and a code that stays the same over releases.
Exit codes: 0 no errors (there may be warnings), 1 errors.

Example:
  dagpkg lint --svc svc.yml --env FRAMEWORK_NAME=weather --env STATION_COUNT=3")]
pub struct Args {
    /// The service file; its config templates are looked for beside it.
    #[arg(long, value_name = "FILE")]
    svc: PathBuf,
    /// A variable of the scheduler's environment, which the service file is rendered with.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
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
    let good = service(&args.svc, &args.env.into_iter().collect())?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what is wrong with a service file; true when nothing is that would keep it from running.
fn service(path: &Path, env: &BTreeMap<String, String>) -> anyhow::Result<bool> {
    let (findings, good) = match load::service(path, env) {
        Ok(loaded) => (loaded.warnings, true),
        Err(LoadError::Invalid(findings)) => (findings, false),
        Err(error) => return Err(error.into()),
    };
    if !findings.diagnostics.is_empty() {
        anstream::eprintln!("{}\n", findings.render(true));
    }
    super::print(&format!("{}: {}\n", path.display(), summary(&findings)))?;
    Ok(good)
}

fn summary(findings: &Findings) -> String {
    let count = |severity: Severity| {
        let n = findings.count(severity);
        (n > 0).then(|| format!("{n} {severity}{}", if n == 1 { "" } else { "s" }))
    };
    let counts: Vec<_> = [Severity::Error, Severity::Warning].into_iter().filter_map(count).collect();
    if counts.is_empty() { "no findings".to_owned() } else { counts.join(", ") }
}
