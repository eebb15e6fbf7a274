//! `dagpkg render`: shows what DC/OS will make of a template.

use anyhow::{Context as _, anyhow};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::template::{Profile, Template};

/// Render a template as DC/OS does.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Template(TemplateArgs),
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
        What::Template(args) => template(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn template(args: &TemplateArgs) -> anyhow::Result<()> {
    let profile = match args.profile {
        ProfileName::Plain => Profile::Plain,
        ProfileName::Package => Profile::Package,
        ProfileName::Service => Profile::Service,
        ProfileName::Config => Profile::Config,
    };
    let text = read(&args.file)?;
    let values = serde_json::from_str(&read(&args.values)?)
        .map_err(|error| anyhow!("{}:{}:{}: {error}", args.values.display(), error.line(), error.column()))?;
    let rendered = Template::parse(&text)
        .and_then(|template| template.render(profile, &values))
        .map_err(|error| anyhow!("{}:{error}", args.file.display()))?;
    super::print(&rendered.text)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
