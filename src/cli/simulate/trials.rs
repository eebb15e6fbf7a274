//! `dagpkg simulate --seed … --runs …`: many lives of a service, each with other things that go wrong.

use crate::cli::progress::Progress;
use crate::simulate::incident::{self, Incident, Kind};
use crate::simulate::{Deployment, Outcome, Rule, Subject, Trial, agents::Machine, shrink};
use anyhow::bail;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

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
    /// Live so many lives of the service, with this seed and those that follow it, on all processors.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
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
        let seeds = first..first.saturating_add(self.runs.unwrap_or(1));
        report(&live(&subject, &kinds, seeds), json)
    }
}

/// Lives the lives of all seeds on all processors, up to the first seed with which a rule is broken.
fn live(subject: &Subject, kinds: &[Kind], seeds: Range<u64>) -> Lives {
    let next = AtomicU64::new(seeds.start);
    // seeds are taken in order, so that all before this one are lived
    let last = AtomicU64::new(seeds.end);
    let worker = || {
        let mut lived = BTreeMap::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // the greatest number is followed by 0
            if seed >= last.load(Ordering::Relaxed) || seed < seeds.start {
                return lived;
            }
            let trial = Trial::by_chance(subject, seed, kinds);
            let incidents = trial.incidents().to_vec();
            let Outcome { violation, seconds, .. } = trial.run();
            if violation.is_some() {
                last.fetch_min(seed + 1, Ordering::Relaxed);
            }
            lived.insert(seed, (seconds, violation.map(|v| (v.rule, incidents))));
        }
    };
    let mut lived = std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        watch(&seeds, &next, || workers.iter().all(ScopedJoinHandle::is_finished));
        // a thread that panicked has said why, and this one ends as it did
        let results = workers.into_iter().map(|w| w.join().unwrap_or_else(|why| resume_unwind(why)));
        results.flatten().collect::<BTreeMap<_, _>>()
    });
    let broken = lived.iter().find(|(_, (_, broken))| broken.is_some()).map(|(seed, _)| *seed);
    if let Some(seed) = broken {
        // what was lived beyond it, meanwhile
        lived.split_off(&(seed + 1));
    }
    let seconds = lived.values().fold(0.0, |sum, (seconds, _)| sum + seconds);
    let runs = lived.len() as u64;
    let failure = lived.into_iter().find_map(|(seed, (_, broken))| {
        let (rule, incidents) = broken?;
        Some(shortened(subject, seed, rule, &incidents))
    });
    Lives { runs, seconds, failure }
}

/// Shows on a terminal how far the lives are, until they are over.
fn watch(seeds: &Range<u64>, next: &AtomicU64, is_over: impl Fn() -> bool) {
    let (progress, start) = (Progress::new(), Instant::now());
    while !is_over() {
        std::thread::sleep(Duration::from_millis(20));
        if progress.is_terminal() {
            let (done, all) = (next.load(Ordering::Relaxed) - seeds.start, seeds.end - seeds.start);
            let each = done as f64 / start.elapsed().as_secs_f64();
            progress.show(&format!("{} of {all} lives, {each:.0} per second", done.min(all)));
        }
    }
    progress.clear();
}

/// A life in which a rule was broken, with the few of its incidents that are enough.
fn shortened(subject: &Subject, seed: u64, rule: Rule, incidents: &[Incident]) -> Failure {
    let progress = Progress::new();
    progress
        .begin(&format!("a rule was broken with seed {seed}; looking for the few incidents that are enough"));
    let fails = |less: &[Incident]| breaks(subject, seed, less) == Some(rule);
    let few = shrink(incidents, TRIES, fails);
    progress.clear();
    let outcome = told(subject, seed, &few);
    Failure { seed, before: incidents.len(), incidents: few, outcome }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::load;
    use crate::scheduler::Config;
    use std::path::Path;

    fn subject(agents: u32) -> Subject {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulate/specs/volumes.yml");
        let env = BTreeMap::new();
        let service = load::service(&file, &env).expect("a service").service;
        let config = Config::from_env(&env, &service.spec, 8080).expect("a configuration");
        Subject::on_suited_agents(Deployment { service, config }, agents)
    }

    #[test]
    fn lives_end_with_the_first_seed_that_breaks_a_rule_however_many_live_at_once() {
        // three instances on as many hosts: no life is good
        let lives = live(&subject(2), Kind::ALL, 40..60);
        let failure = lives.failure.as_ref().expect("a failure");
        assert_eq!((failure.seed, lives.runs), (40, 1));
        assert_eq!(failure.replay(), "", "no incident is needed");
        assert!(lives.text().contains("Again: --seed 40 --replay ''"));
        assert!(
            lives.summary().starts_with("After 1 life of the service a rule was broken: what is deployed")
        );
    }

    #[test]
    fn every_seed_is_lived_once_when_all_rules_hold() {
        let subject = subject(3);
        let lives = live(&subject, Kind::ALL, 7..12);
        let alone: f64 = (7..12).map(|seed| Trial::by_chance(&subject, seed, Kind::ALL).run().seconds).sum();
        assert_eq!((lives.runs, lives.failure.is_none()), (5, true));
        assert!((lives.seconds - alone).abs() < 1e-6);
        let last = live(&subject, Kind::ALL, u64::MAX..u64::MAX);
        assert_eq!(last.summary(), "0 lives of the service, 0.0 virtual hours: every rule held.");
    }
}
