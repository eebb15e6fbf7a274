//! `dagpkg render`: shows what DC/OS will make of a template, of a package, and of a service.

mod diff;
mod yaml;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::subject::{App, GivenArgs, Subject, SubjectArgs};
use crate::finding::{Finding, Report, Severity, Source};
use crate::package::marathon::RenderError;
use crate::package::options::Object;
use crate::publish::files;
use crate::runtime::load;
use crate::spec;
use crate::template::{Profile, Template};

/// Render a template as DC/OS does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg render marathon --set service.name=test
  dagpkg render svc --env
  dagpkg render diff --set service.name=test")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Marathon(MarathonArgs),
    Svc(SvcArgs),
    Diff(diff::DiffArgs),
    Template(TemplateArgs),
}

/// A package and options for it.
#[derive(Debug, clap::Args)]
struct PackageArgs {
    /// A package's folder, in which the files are looked for that are not named, as `dagpkg lint` does
    /// [default: . if nothing is named].
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A folder with package.json and so on, or a stub universe that `dagpkg build` wrote.
    #[arg(long, value_name = "DIR_OR_FILE")]
    universe: Option<PathBuf>,
    /// A JSON file of options; of several the later goes over the earlier.
    #[arg(long, value_name = "FILE")]
    options: Vec<PathBuf>,
    /// One option, over all files; the value is JSON, or else text.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl PackageArgs {
    fn read(&self, svc: Option<&Path>, env: Vec<(String, String)>) -> anyhow::Result<Subject> {
        let given = GivenArgs { options: self.options.clone(), set: self.set.clone(), env };
        let (dir, universe) = (self.dir.clone(), self.universe.clone());
        SubjectArgs { dir, universe, svc: svc.map(Path::to_owned), given, ..SubjectArgs::default() }
            .read_without_downloads()
    }
}

/// Render the Marathon app of a package with some options.
///
/// The options are merged over the defaults of config.json and validated, as on installation, but options that are still
/// to be set are only warned of; the labels that the package service adds are not shown. A folder is rendered as it is:
/// parameters of the build print nothing, so build the package and name its stub universe to see them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg render marathon --set service.name=test
  dagpkg render marathon --universe dist/stub-universe-demo.json --options mine.json --output yaml")]
struct MarathonArgs {
    #[command(flatten)]
    package: PackageArgs,
    /// How to print the app.
    #[arg(long, value_enum, default_value = "json")]
    output: DataFormat,
}

/// Render the service file with the environment that the package gives its scheduler with some options.
///
/// Names without a value are warned of. Whether the result is a service that can be deployed is for `dagpkg lint` to say.
/// Without a package the environment is what --env says. What only a running cluster knows has an example's value, and so
/// have parameters of the build.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg render svc --set service.name=test
  dagpkg render svc weather --env
  dagpkg render svc --svc svc.yml --env FRAMEWORK_NAME=weather --env STATION_COUNT=3 --output json")]
struct SvcArgs {
    #[command(flatten)]
    package: PackageArgs,
    /// The service file.
    #[arg(long, value_name = "FILE")]
    svc: Option<PathBuf>,
    /// A variable of the scheduler's environment, over those that the package gives it. Without a value (--env alone, or
    /// before another flag): print the whole environment in place of the service file.
    #[arg(long, value_name = "NAME=VALUE", num_args = 0..=1, default_missing_value = "", value_parser = env_argument)]
    env: Vec<EnvArgument>,
    /// How to print it: text is the file as the scheduler reads it, or shell assignments for the environment.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// What `--env` was followed by.
#[derive(Clone, Debug)]
enum EnvArgument {
    Nothing,
    Variable(String, String),
}

fn env_argument(text: &str) -> Result<EnvArgument, String> {
    match text.split_once('=') {
        None if text.is_empty() => Ok(EnvArgument::Nothing),
        Some((name, value)) if !name.is_empty() => {
            Ok(EnvArgument::Variable(name.to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE; to print the environment, write --env after DIR".to_owned()),
    }
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

/// The form of a result that is data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DataFormat {
    Json,
    Yaml,
}

impl DataFormat {
    fn text(self, value: &Value) -> String {
        match self {
            Self::Json => format!("{value:#}\n"),
            Self::Yaml => yaml::text(value),
        }
    }
}

/// The form of a result that has one for people, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

impl Output {
    /// None for people.
    fn data(self) -> Option<DataFormat> {
        match self {
            Self::Text => None,
            Self::Json => Some(DataFormat::Json),
            Self::Yaml => Some(DataFormat::Yaml),
        }
    }
}

/// Runs `dagpkg render`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Marathon(args) => marathon(&args)?,
        What::Svc(args) => svc(args)?,
        What::Diff(args) => diff::run(&args)?,
        What::Template(args) => template(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn marathon(args: &MarathonArgs) -> anyhow::Result<()> {
    let mut subject = args.package.read(None, Vec::new())?;
    subject.package.clone_from(&subject.written);
    let app = app(&subject)?;
    super::print(&args.output.text(&Value::Object(app)))
}

/// The app of a package that has one. What is still to be set is warned of.
fn app(subject: &Subject) -> anyhow::Result<Object> {
    let Some(App { app, unset, .. }) = subject.app()? else {
        let help = "name its folder: --universe DIR";
        let package = subject
            .package
            .as_ref()
            .with_context(|| format!("there is no package, so there is no app\n  help: {help}"))?;
        return Err(Report::from(RenderError::NoTemplate.finding(&package.package)).into());
    };
    warn_of(unset);
    Ok(app)
}

fn warn_of(findings: Vec<Finding>) {
    for finding in findings {
        super::show(&[finding.with_severity(Severity::Warning)]);
    }
}

fn svc(args: SvcArgs) -> anyhow::Result<()> {
    let (mut env, mut print_environment) = (Vec::new(), false);
    for argument in args.env {
        match argument {
            EnvArgument::Nothing => print_environment = true,
            EnvArgument::Variable(name, value) => env.push((name, value)),
        }
    }
    let subject = args.package.read(args.svc.as_deref(), env)?;
    let app = subject.app()?.map(|App { app, unset, .. }| {
        warn_of(unset);
        app
    });
    let environment = subject.environment(app.as_ref());
    if print_environment {
        let text = match args.output.data() {
            None => assignments(&environment),
            Some(format) => format.text(&json!(environment)),
        };
        return super::print(&text);
    }
    let rendered = load::rendered(&subject.named_service_file(app.as_ref())?, &environment)?;
    super::show(&rendered.findings);
    match args.output {
        Output::Text | Output::Yaml => super::print(&rendered.source.text),
        Output::Json => super::print(&DataFormat::Json.text(&spec::data(&rendered.source)?)),
    }
}

/// An environment as assignments of a shell, a variable a line.
fn assignments(environment: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in environment {
        // a String takes everything
        let _ = writeln!(text, "{name}={}", super::quoted(value));
    }
    text
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
