//! `dagpkg render`: shows what DC/OS will make of a template.

use anyhow::anyhow;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::finding::{Code, Finding, Report, Severity, Source};
use crate::package::marathon::RenderError;
use crate::package::options::{self, Object, OptionsError, UserOptions};
use crate::package::{self, Sources};
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
    let mut user = UserOptions::default();
    for path in &args.options {
        user.add_file(source(path)?)?;
    }
    for setting in &args.set {
        user.add_setting(setting)?;
    }
    let sources = if args.universe.is_dir() {
        files::read(&args.universe)
    } else {
        Sources::from_stub_universe(&source(&args.universe)?)
    }?;
    let app = app(&sources, &user)?;
    super::print(&format!("{:#}\n", Value::Object(app)))
}

fn app(sources: &Sources, user: &UserOptions) -> Result<Object, Report> {
    let Some(marathon) = &sources.marathon else {
        return Err(RenderError::NoTemplate.finding(&sources.package).into());
    };
    let config = sources.config.as_ref().map(Source::json).transpose()?;
    let resource = sources.resource.as_ref().map(Source::json).transpose()?;
    let merged = merged(sources, config.as_ref(), user)?;
    Template::parse(&marathon.text)
        .map_err(RenderError::from)
        .and_then(|template| package::marathon::render(&template, &merged, resource.as_ref()))
        .map(|(app, _)| app)
        .map_err(|error| error.finding(marathon).into())
}

/// Defaults with the user's options on top. What the user gave must be allowed; what is still to be given before the
/// package can be installed is no reason not to show the app, only for a warning.
fn merged(sources: &Sources, config: Option<&Value>, user: &UserOptions) -> Result<Object, Report> {
    match (options::resolve(config, &user.merged()), &sources.config) {
        (Ok(merged), _) => Ok(merged),
        (Err(OptionsError::Invalid(violations)), Some(source)) => {
            let (wrong, unset) = user.place(&violations, source);
            if !wrong.is_empty() {
                return Err(Report(wrong));
            }
            for finding in unset {
                super::show(&[finding.with_severity(Severity::Warning)]);
            }
            let mut merged = config.map(options::defaults).unwrap_or_default();
            options::merge(&mut merged, &user.merged());
            Ok(merged)
        }
        (Err(error), source) => {
            let source = source.as_ref().unwrap_or(&sources.package);
            Err(Finding::new(Code::OptionRefused, source, error.to_string()).into())
        }
    }
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
        .map_err(|error| Report::from(package::marathon::template_finding(&file, &error)))?;
    super::print(&rendered.text)
}
