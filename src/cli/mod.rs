//! The command line of `dagpkg`: arguments in, one call into the library, output.
//!
//! Each command lives in a file of its own, with `Args` (clap) and `run`. Nothing here decides anything about packages
//! or clusters: that is the business of the rooms that the commands call. Called by `src/bin/dagpkg.rs` only.
//!
//! Results go to stdout, messages and errors to stderr; colour only on terminals.
//! Exit codes: 0 done, 1 refused or failed (an `error: …` line on stderr says why), 2 wrong usage.

pub mod build;
pub mod cluster;
mod dcos_config;
pub mod down;
pub mod explain;
pub mod generate;
pub mod lint;
pub mod new;
pub mod plan;
mod progress;
pub mod render;
pub mod scheduler;
pub mod schema;
pub mod serve;
pub mod service_cli;
pub mod service_client;
pub mod simulate;
pub mod subject;
pub mod tree;
pub mod up;
pub mod verify;

use crate::finding::{Finding, Report, Severity};
use crate::publish::build::BuildError;
use crate::runtime::load::LoadError;
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Package, run and operate a stateful service on DC/OS and Apache Mesos.
#[derive(Debug, Parser)]
#[command(name = "dagpkg", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

Examples:
  dagpkg new weather && dagpkg up weather
  dagpkg lint weather
  dagpkg simulate weather
  dagpkg build local --out dist && dagpkg serve dist
  dagpkg plan show deploy")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Args),
    /// Run a one-machine Mesos cluster in the foreground
    Cluster(cluster::Args),
    Completions(generate::CompletionsArgs),
    Down(down::Args),
    Explain(explain::Args),
    Lint(lint::Args),
    Man(generate::ManArgs),
    New(new::Args),
    /// Look at the plans of a running service and steer them
    Plan(plan::Args),
    Render(render::Args),
    Schema(schema::Args),
    Serve(serve::Args),
    Simulate(simulate::Args),
    Up(up::Args),
    Verify(verify::Args),
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // `up` shows progress on the screen, and logs to a file
    if !matches!(cli.command, Command::Up(_)) {
        start_log(LevelFilter::WARN);
    }
    let outcome = match cli.command {
        Command::Build(args) => build::run(&args),
        Command::Cluster(args) => cluster::run(args),
        Command::Completions(args) => generate::completions(&args),
        Command::Down(args) => down::run(args),
        Command::Explain(args) => explain::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Man(args) => generate::man(&args),
        Command::New(args) => new::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Render(args) => render::run(args),
        Command::Schema(args) => schema::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Up(args) => up::run(&args),
        Command::Verify(args) => verify::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        tell(&error);
        ExitCode::FAILURE
    })
}

/// Logs to stderr what is at least as grave as `level`, unless `RUST_LOG` asks for something else. Warnings of the AWS
/// libraries are left out, which are for programmers: what comes of them is told as an error of ours.
fn start_log(level: LevelFilter) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|asked| !asked.is_empty());
    // a default directive would count for nothing beside another directive
    let asked = asked.unwrap_or_else(|| format!("{level},aws=error"));
    let filter = EnvFilter::builder().with_default_directive(level.into()).parse_lossy(asked);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never)
        .with_writer(std::io::stderr)
        .init();
}

/// The findings that ended a command, if that is why it failed.
fn report(error: &anyhow::Error) -> Option<&Report> {
    error.chain().find_map(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(BuildError::Package(report)), _) | (_, Some(LoadError::Invalid(report))) => Some(report),
        _ => cause.downcast_ref::<Report>(),
    })
}

/// Says why a command failed: the findings that ended it, with the lines that they are about, or else one message.
fn tell(error: &anyhow::Error) {
    let Some(report) = report(error) else { return complain(&with_causes(error)) };
    show(&report.0);
    let errors = report.count(Severity::Error);
    complain(&format!("stopped by {errors} error{}", if errors == 1 { "" } else { "s" }));
}

/// Prints findings with the lines that they are about.
fn show(findings: &[Finding]) {
    for finding in findings {
        // nothing can be done about a stderr that is closed
        let _ = writeln!(anstream::stderr(), "{}\n", finding.render(true));
    }
}

/// An error with all its causes; those that it tells itself are not told again.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    text
}

/// Prints an `error: …` message.
fn complain(message: &str) {
    // nothing can be done about a stderr that is closed
    let _ = writeln!(anstream::stderr(), "\x1b[1;31merror:\x1b[0m {message}");
}

/// Prints a `warning: …` message.
fn warn(message: &str) {
    // nothing can be done about a stderr that is closed
    let _ = writeln!(anstream::stderr(), "\x1b[1;33mwarning:\x1b[0m {message}");
}

/// Writes a result to stdout; a reader that went away (`dagpkg … | head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/@%+=,[]".contains(c);
    // [ and ] are for addresses of IPv6; as no file has such a name, no shell takes them for a pattern
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The signals that ask a program in the foreground to end. From when this is made they do not kill the process.
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// This process's environment; variables that are not UTF-8 are left out.
fn text_environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let cause = || anyhow::anyhow!("no such file (os error 2)");
        let cases = [
            (
                cause().context("cannot read x: no such file (os error 2)"),
                "cannot read x: no such file (os error 2)",
            ),
            (cause().context("cannot read x"), "cannot read x: no such file (os error 2)"),
            (cause().context("b").context("a"), "a: b: no such file (os error 2)"),
        ];
        for (error, expected) in cases {
            assert_eq!(with_causes(&error), expected);
        }
    }
}
