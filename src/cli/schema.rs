//! `dagpkg schema`: the JSON Schema of service files.

use std::process::ExitCode;

/// Print a JSON Schema of svc.yml, for editors.
///
/// Editors with a YAML language server show from it what each key does, complete keys and words, and mark mistakes while
/// they are made. `dagpkg lint` knows more rules.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: write it to a file, and name that in the first line of the service file:

  dagpkg schema > svc-schema.json
  # yaml-language-server: $schema=svc-schema.json")]
pub struct Args {}

/// Runs `dagpkg schema`.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    super::print(&format!("{:#}\n", crate::spec::schema()))?;
    Ok(ExitCode::SUCCESS)
}
