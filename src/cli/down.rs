//! `dagpkg down`: stops the cluster that `dagpkg up` runs.

use super::progress::Progress;
use super::up::lock::{self, State};
use super::up::ports::Ports;
use super::up::stack_config;
use crate::sandbox::stack::Stack;
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Stop the service and the cluster that `dagpkg up` runs, and wait until all their processes have ended.
///
/// It is no error when nothing runs. State and data are kept for the next `dagpkg up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  dagpkg down\n  dagpkg down weather --run /tmp/weather")]
pub struct Args {
    /// The folder of the package, as given to `up`.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The run folder, as given to `up` [default: DIR/run].
    #[arg(long, value_name = "FOLDER")]
    run: Option<PathBuf>,
}

/// Runs `dagpkg down`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = args.run.unwrap_or_else(|| args.dir.join("run"));
    let progress = Progress::new();
    let (true, Ok(run)) = (run.join("up.pid").exists(), std::fs::canonicalize(&run)) else {
        progress.say(&format!("nothing runs in {}", run.display()));
        return Ok(ExitCode::SUCCESS);
    };
    let pid = match lock::take(&run)? {
        State::Free(_lock) => {
            let killed = Stack::kill_leftovers(&stack_config(&run, Ports::default()))?;
            match killed {
                0 => progress.say(&format!("nothing runs in {}", run.display())),
                _ => progress.say(&format!("killed {killed} processes that an earlier run had left behind")),
            }
            return Ok(ExitCode::SUCCESS);
        }
        State::Held(pid) => pid,
    };
    // the lock is held, so the process lives and its id is its own
    let process = rustix::process::Pid::from_raw(pid).context("up.pid holds no process id")?;
    rustix::process::kill_process(process, rustix::process::Signal::TERM)
        .with_context(|| format!("cannot stop process {pid}"))?;
    progress.begin(&format!("Stopping (process {pid})"));
    while let State::Held(_) = lock::take(&run)? {
        std::thread::sleep(Duration::from_millis(100));
    }
    progress.clear();
    progress.say("stopped; state and data are kept");
    Ok(ExitCode::SUCCESS)
}
