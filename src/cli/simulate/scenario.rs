//! `dagpkg simulate --scenario`: runs a package's own tests.

use crate::cli::plan::Output;
use crate::cli::subject::SubjectArgs;
use crate::finding::{Code, Finding, Report, Severity};
use crate::publish::files;
use crate::scheduler::{Config, Deployment};
use crate::simulate::scenario::{self, Outcome, Run, Scenario};
use anyhow::Context as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the API is, unless the environment says so.
const API_PORT: u16 = 8080;

/// Plays the scenarios of these files, with what the command line says of the package.
pub fn run(subject: &SubjectArgs, scenarios: &[PathBuf], output: Output) -> anyhow::Result<ExitCode> {
    let mut outcomes = Vec::new();
    for file in scenarios {
        let outcome = play(subject, file)?;
        if output == Output::Text {
            crate::cli::print(&outcome.text())?;
        }
        outcomes.push(outcome);
    }
    let failed = outcomes.iter().filter(|o| !o.passed()).count();
    match output {
        Output::Text if outcomes.len() > 1 => {
            crate::cli::print(&format!("{} scenarios, {failed} failed\n", outcomes.len()))?;
        }
        Output::Text => {}
        Output::Json => {
            let scenarios: Vec<_> = outcomes.iter().map(Outcome::data).collect();
            let shown = json!({ "passed": failed == 0, "scenarios": scenarios });
            crate::cli::print(&format!("{shown:#}\n"))?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(subject: &SubjectArgs, file: &Path) -> anyhow::Result<Outcome> {
    let source = files::read_source(file)?;
    let source = source.with_context(|| format!("{}: there is no such file", file.display()))?;
    let scenario = scenario::read(&source)?;
    let deployments: anyhow::Result<Vec<Deployment>> =
        scenario.runs.iter().map(|run| deployment(subject, file, &scenario, run)).collect();
    let deployments = deployments.with_context(|| file.display().to_string())?;
    Ok(scenario::play(scenario, &deployments))
}

/// What a run is started with. What the scenario says goes over what the command line says.
fn deployment(
    subject: &SubjectArgs,
    file: &Path,
    scenario: &Scenario,
    run: &Run,
) -> anyhow::Result<Deployment> {
    let mut args = subject.clone();
    let named = args.dir.is_some() || args.universe.is_some() || args.svc.is_some();
    if let (false, Some(package)) = (named, &scenario.package) {
        args.dir = Some(file.parent().unwrap_or(Path::new("")).join(package));
    }
    args.given.set.extend(run.options.iter().cloned());
    args.given.env.extend(run.env.clone());
    args.parameters.extend(run.parameters.clone());
    let subject = args.read_without_downloads()?;
    let app = subject.app()?;
    let unset = app.iter().flat_map(|app| app.unset.iter().cloned()).collect();
    refuse(unset)?;
    let app = app.map(|app| app.app);
    let loaded = subject.candidate(app.as_ref())?;
    let missing = loaded.findings.iter().filter(|f| f.code == Code::MissingValue).cloned();
    refuse(missing.collect())?;
    let env = subject.environment(app.as_ref());
    let port = env.get("PORT_API").and_then(|port| port.parse().ok()).unwrap_or(API_PORT);
    let config = Config::from_env(&env, &loaded.service.spec, port)?;
    Ok(Deployment { service: loaded.service, config })
}

/// What is only warned of elsewhere is an error in a test: the service would not be what its author means.
fn refuse(findings: Vec<Finding>) -> Result<(), Report> {
    if findings.is_empty() {
        return Ok(());
    }
    Err(Report(findings.into_iter().map(|f| f.with_severity(Severity::Error)).collect()))
}
