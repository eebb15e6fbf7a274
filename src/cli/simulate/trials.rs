//! `dagpkg simulate --seed … --runs …`: many lives of a service, each with other things that go wrong.

use crate::simulate::incident::{self, Incident};
use crate::simulate::{Deployment, Outcome, Rule, Subject, Trial, agents::Machine, shrink};
use anyhow::bail;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

/// How many runs finding the few incidents that are enough may take.
const TRIES: usize = 600;

/// What goes wrong, and how often it is tried.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TrialArgs {
    /// Let things go wrong as this number decides; the same number lets the same happen.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// What may go wrong: all, none, or some of crash, store, calls, updates, operations, tasks, offers, agents, master, clock,
    /// operator, or kinds such as cut-agent [default: all].
    #[arg(long, value_name = "LIST")]
    faults: Option<String>,
    /// Live so many lives of the service, with this seed and those that follow it.
    #[arg(long, value_name = "NUMBER")]
    runs: Option<u64>,
    /// Let happen what a failed run printed, in place of what the seed decides.
    #[arg(long, value_name = "INCIDENTS", conflicts_with_all = ["faults", "runs"])]
    replay: Option<String>,
}

/// A life in which a rule was broken.
struct Failure {
    seed: u64,
    before: usize,
    incidents: Vec<Incident>,
    outcome: Outcome,
}

impl TrialArgs {
    /// Whether anything is to go wrong.
    pub fn is_wanted(&self) -> bool {
        self.seed.is_some() || self.faults.is_some() || self.runs.is_some() || self.replay.is_some()
    }

    /// Runs the lives, up to the first in which a rule is broken.
    pub fn run(
        &self,
        deployment: Deployment,
        machines: Vec<Machine>,
        json: bool,
    ) -> anyhow::Result<ExitCode> {
        let first = self.seed.unwrap_or(0);
        let kinds = incident::kinds(self.faults.as_deref().unwrap_or("all"))?;
        let subject = Subject::new(deployment, machines);
        if let Some(violation) = subject.in_peace().violation {
            bail!("the service does not do well even when nothing goes wrong: {violation}");
        }
        if let Some(text) = &self.replay {
            let incidents = text.split(',').filter(|t| !t.trim().is_empty()).map(str::parse);
            let incidents = incidents.collect::<Result<Vec<Incident>, _>>()?;
            let outcome = told(&subject, first, &incidents);
            return report(
                &Lives { runs: 1, seconds: outcome.seconds, failure: failed(first, incidents, outcome) },
                json,
            );
        }
        let mut lives = Lives { runs: 0, seconds: 0.0, failure: None };
        for seed in first..first.saturating_add(self.runs.unwrap_or(1)) {
            let trial = Trial::by_chance(&subject, seed, &kinds);
            let incidents = trial.incidents().to_vec();
            let outcome = trial.run();
            lives.runs += 1;
            lives.seconds += outcome.seconds;
            if let Some(violation) = &outcome.violation {
                let rule = violation.rule;
                let fails = |less: &[Incident]| breaks(&subject, seed, less) == Some(rule);
                let few = shrink(&incidents, TRIES, fails);
                let outcome = told(&subject, seed, &few);
                lives.failure = Some(Failure { seed, before: incidents.len(), incidents: few, outcome });
                break;
            }
        }
        report(&lives, json)
    }
}

fn failed(seed: u64, incidents: Vec<Incident>, outcome: Outcome) -> Option<Failure> {
    outcome.violation.is_some().then_some(Failure { seed, before: incidents.len(), incidents, outcome })
}

fn breaks(subject: &Subject, seed: u64, incidents: &[Incident]) -> Option<Rule> {
    Trial::new(subject, seed, incidents).run().violation.map(|v| v.rule)
}

/// A life with its timeline.
fn told(subject: &Subject, seed: u64, incidents: &[Incident]) -> Outcome {
    let mut trial = Trial::new(subject, seed, incidents);
    trial.world.story.silent = false;
    trial.run()
}

/// What came of all lives.
struct Lives {
    runs: u64,
    seconds: f64,
    failure: Option<Failure>,
}

fn report(lives: &Lives, as_json: bool) -> anyhow::Result<ExitCode> {
    let text =
        if as_json { format!("{}\n", serde_json::to_string_pretty(&lives.json())?) } else { lives.text() };
    crate::cli::print(&text)?;
    Ok(if lives.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Lives {
    fn summary(&self) -> String {
        let hours = self.seconds / 3600.0;
        let lives = if self.runs == 1 { "1 life".to_owned() } else { format!("{} lives", self.runs) };
        match &self.failure {
            None => format!("{lives} of the service, {hours:.1} virtual hours: every rule held."),
            Some(failure) => {
                let violation =
                    failure.outcome.violation.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("After {lives} of the service a rule was broken: {violation}.")
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(failure) = &self.failure {
            for line in failure.outcome.story.lines() {
                // writing to a String cannot fail
                let _ = writeln!(text, "{:>9.2} s  {}", line.at, line.text);
            }
            if let Some(violation) = &failure.outcome.violation {
                let _ = writeln!(text, "{:>9.2} s  BROKEN: {violation}\n", violation.at);
            }
            let _ = writeln!(
                text,
                "Seed {}, {} of its {} incidents:",
                failure.seed,
                failure.incidents.len(),
                failure.before
            );
            for incident in &failure.incidents {
                let _ = writeln!(text, "  {incident}");
            }
            let _ = writeln!(text, "Again: --seed {} --replay '{}'\n", failure.seed, failure.replay());
        }
        text + &self.summary() + "\n"
    }

    fn json(&self) -> Value {
        let failure = self.failure.as_ref().map(|failure| {
            json!({
                "seed": failure.seed,
                "rule": failure.outcome.violation.as_ref().map(|v| v.rule.text()),
                "what": failure.outcome.violation.as_ref().map(|v| &v.what),
                "incidents": failure.incidents.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "replay": failure.replay(),
                "timeline": failure.outcome.story.lines(),
            })
        });
        json!({
            "runs": self.runs,
            "virtual_seconds": self.seconds,
            "summary": self.summary(),
            "failure": failure,
        })
    }
}

impl Failure {
    fn replay(&self) -> String {
        self.incidents.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}
