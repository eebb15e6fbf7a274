//! Progress of a long command, on stderr: a line that changes while a step is going on when stderr is a terminal, plain
//! lines otherwise.
//!
//! Only what a person watches; results go elsewhere. Used by commands that have several steps.

use crate::publish::publication::Done;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The steps of a command, one after the other.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    start: Instant,
    bar: ProgressBar,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { terminal, start: Instant::now(), bar: ProgressBar::with_draw_target(None, target) }
    }

    /// Whether lines can be changed after they were printed.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A step begins. Elsewhere than on a terminal it is only printed when it is done.
    pub fn begin(&self, what: &str) {
        let style =
            ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or(ProgressStyle::default_spinner());
        self.bar.set_style(style);
        self.bar.set_message(what.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    /// A step goes on, and it is known how far it is; on a terminal only.
    pub fn count(&self, what: &str, done: Done) {
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}");
        self.bar.set_style(style.unwrap_or(ProgressStyle::default_bar()));
        self.bar.set_length(done.total);
        self.bar.set_message(format!("{what} {}", done.name));
        self.bar.set_position(done.bytes);
    }

    /// Shows lines that replace those that were shown before; on a terminal only.
    pub fn show(&self, lines: &str) {
        self.bar.disable_steady_tick();
        self.bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or(ProgressStyle::default_spinner()));
        self.bar.set_message(lines.trim_end().to_owned());
        self.bar.tick();
    }

    /// A step is done, or something is worth a line that stays.
    pub fn say(&self, what: &str) {
        let seconds = self.start.elapsed().as_secs();
        self.print(&format!("[{:>2}:{:02}] {what}\n", seconds / 60, seconds % 60));
    }

    /// Prints text as it is; it stays.
    pub fn print(&self, text: &str) {
        self.bar.disable_steady_tick();
        self.bar.suspend(|| {
            // nothing can be done about a stderr that is closed
            let _ = std::io::stderr().write_all(text.as_bytes());
        });
    }

    /// Removes what changes from the screen.
    pub fn clear(&self) {
        self.bar.disable_steady_tick();
        self.bar.set_message("");
        self.bar.finish_and_clear();
        self.bar.reset();
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
