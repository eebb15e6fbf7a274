//! `dagpkg render`: shows what DC/OS will make of a template.

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::subject::{App, GivenArgs, SubjectArgs};
use crate::finding::{Report, Severity, Source};
use crate::package::marathon::RenderError;
use crate::publish::files;
use crate::template::{Profile, Template};

/// Render a template as DC/OS does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  dagpkg render marathon --set service.name=test")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Marathon(MarathonArgs),
    Template(TemplateArgs),
}

/// Render the Marathon app of a package with some options.
///
/// The options are merged over the defaults of config.json and validated, as on installation, but options that are still
/// to be set are only warned of; the labels that the package service adds are not shown. A folder is rendered as it is: parameters of the build print nothing, so
/// build the package and name its stub universe to see them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg render marathon --universe universe --set service.name=test
  dagpkg render marathon --universe dist/stub-universe-demo.json --options mine.json")]
struct MarathonArgs {
    /// A folder with package.json and so on, or a stub universe that `dagpkg build` wrote.
    #[arg(long, value_name = "DIR_OR_FILE", default_value = "universe")]
    universe: PathBuf,
    /// A JSON file of options; of several the later goes over the earlier.
    #[arg(long, value_name = "FILE")]
    options: Vec<PathBuf>,
    /// One option, over all files; the value is JSON, or else text.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Render any Mustache template with values from a JSON file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  dagpkg render template motd.mustache --values motd.json")]
struct TemplateArgs {
    /// The template.
    file: PathBuf,
    /// A JSON file: what the names in the template stand for.
    #[arg(long, value_name = "JSON_FILE")]
    values: PathBuf,
    /// Whose rules to render by.
    #[arg(long, value_enum, default_value = "plain")]
    profile: ProfileName,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ProfileName {
    /// The Mustache specification.
    Plain,
    /// DC/OS's package service: marathon.json.mustache.
    Package,
    /// The service scheduler: svc.yml.
    Service,
    /// A task's container: config templates.
    Config,
}

/// Runs `dagpkg render`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Marathon(args) => marathon(&args)?,
        What::Template(args) => template(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn marathon(args: &MarathonArgs) -> anyhow::Result<()> {
    let subject = SubjectArgs {
        universe: Some(args.universe.clone()),
        given: GivenArgs { options: args.options.clone(), set: args.set.clone(), env: Vec::new() },
        ..SubjectArgs::default()
    };
    let mut subject = subject.read()?;
    subject.package.clone_from(&subject.written);
    let Some(App { app, unset, .. }) = subject.app()? else {
        let package = subject.package.context("a package")?;
        return Err(Report::from(RenderError::NoTemplate.finding(&package.package)).into());
    };
    for finding in unset {
        super::show(&[finding.with_severity(Severity::Warning)]);
    }
    super::print(&format!("{:#}\n", Value::Object(app)))
}

fn source(path: &Path) -> anyhow::Result<Source> {
    match files::read_source(path) {
        Ok(Some(source)) => Ok(source),
        Ok(None) => Err(anyhow!("{}: there is no such file", path.display())),
        Err(report) => Err(report.into()),
    }
}

fn template(args: &TemplateArgs) -> anyhow::Result<()> {
    let profile = match args.profile {
        ProfileName::Plain => Profile::Plain,
        ProfileName::Package => Profile::Package,
        ProfileName::Service => Profile::Service,
        ProfileName::Config => Profile::Config,
    };
    let file = source(&args.file)?;
    let values = source(&args.values)?.json()?;
    let rendered = Template::parse(&file.text)
        .and_then(|template| template.render(profile, &values))
        .map_err(|error| Report::from(crate::package::marathon::template_finding(&file, &error)))?;
    super::print(&rendered.text)
}
