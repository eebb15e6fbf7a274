//! What happened in a simulation, in words.

use super::cluster::Observed;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Line {
    /// Seconds since the start.
    pub at: f64,
    /// What happened.
    pub text: String,
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Story {
    lines: Vec<Line>,
    /// Nothing is kept: many simulations are run of which only the outcome counts.
    pub silent: bool,
}

impl Story {
    /// What happened, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Adds something; the text is made only if it is kept.
    pub fn tell(&mut self, at: f64, text: impl FnOnce() -> String) {
        if !self.silent {
            self.lines.push(Line { at: (at * 1000.0).round() / 1000.0, text: text() });
        }
    }

    /// Adds what was seen in the cluster, as far as it is of interest.
    pub fn tell_observed(&mut self, at: f64, observed: &Observed) {
        match observed {
            Observed::Launched { instance, host, .. } => {
                self.tell(at, || format!("{instance} is launched on {host}"));
            }
            Observed::State { instance, state, ready, task } => {
                let ready = if *ready && *state == crate::wire::TaskState::Running { ", ready" } else { "" };
                self.tell(at, || format!("{instance} is {}{ready} ({task})", state.wire_name()));
            }
            Observed::Converted { verb, what, host } => self.tell(at, || format!("{host} {verb} {what}")),
            Observed::Refused(why) => self.tell(at, || format!("the master refuses: {why}")),
            Observed::TornDown => self.tell(at, || "the framework is removed".to_owned()),
            Observed::Note(text) => self.tell(at, || text.clone()),
            Observed::Acknowledged(_) => {}
        }
    }
}
