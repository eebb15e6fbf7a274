//! What came of a scenario, for people and for programs.

use super::{Scenario, Tick};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario.
    pub scenario: Scenario,
    /// What came of its runs, as far as they were begun.
    pub runs: Vec<RunOutcome>,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct RunOutcome {
    /// Why it could not be begun.
    pub problems: Vec<String>,
    /// What came of its ticks; those after one that has failed are not there.
    pub verdicts: Vec<Verdict>,
}

/// What came of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It could be done, or is so.
    Passed,
    /// It could not be done, or is not so.
    Failed {
        /// What should have been.
        expected: String,
        /// What was.
        found: String,
    },
}

impl Outcome {
    /// Whether every tick of every run has passed.
    pub fn passed(&self) -> bool {
        let all = |(run, outcome): (&super::Run, &RunOutcome)| {
            outcome.problems.is_empty()
                && outcome.verdicts.len() == run.ticks.len()
                && outcome.verdicts.iter().all(|v| *v == Verdict::Passed)
        };
        self.runs.len() == self.scenario.runs.len() && self.scenario.runs.iter().zip(&self.runs).all(all)
    }

    /// The ticks with what came of them, and where the one is that failed.
    pub fn text(&self) -> String {
        let file = &self.scenario.source.file;
        let mut text = format!("{file}: {}", if self.passed() { "passed" } else { "failed" });
        if let Some(about) = &self.scenario.about {
            text = format!("{text} ({about})");
        }
        text.push('\n');
        for (number, run) in self.scenario.runs.iter().enumerate() {
            let outcome = self.runs.get(number).cloned().unwrap_or_default();
            // writing to a String cannot fail
            if self.scenario.runs.len() > 1 {
                let _ = writeln!(text, "  run {}", number + 1);
            }
            for problem in &outcome.problems {
                let _ = writeln!(text, "  ✘ {problem}");
            }
            for (at, tick) in run.ticks.iter().enumerate() {
                self.tick(tick, outcome.verdicts.get(at), &mut text);
            }
        }
        text
    }

    fn tick(&self, tick: &Tick, verdict: Option<&Verdict>, text: &mut String) {
        let sign = match verdict {
            Some(Verdict::Passed) => "✔",
            Some(Verdict::Failed { .. }) => "✘",
            None => "·",
        };
        // writing to a String cannot fail
        let _ = writeln!(text, "  {sign} {:>4}  {}", tick.line, tick.text);
        if let Some(Verdict::Failed { expected, found }) = verdict {
            let file = &self.scenario.source.file;
            let lines = |said: &str| said.replace('\n', "\n                    ");
            let _ = writeln!(text, "          at {file}:{}:{}", tick.line, tick.column);
            let _ = writeln!(text, "          expected: {}", lines(expected));
            let _ = writeln!(text, "          found:    {}", lines(found));
        }
    }

    /// The same for programs.
    pub fn data(&self) -> Value {
        let tick = |(at, tick): (usize, &Tick), outcome: Option<&RunOutcome>| {
            let mut shown = json!({ "line": tick.line, "column": tick.column, "tick": tick.text });
            match outcome.and_then(|o| o.verdicts.get(at)) {
                Some(Verdict::Passed) => shown["result"] = json!("passed"),
                Some(Verdict::Failed { expected, found }) => {
                    shown["result"] = json!("failed");
                    shown["expected"] = json!(expected);
                    shown["found"] = json!(found);
                }
                None => shown["result"] = json!("not-reached"),
            }
            shown
        };
        let run = |(number, run): (usize, &super::Run)| {
            let outcome = self.runs.get(number);
            let ticks: Vec<Value> = run.ticks.iter().enumerate().map(|t| tick(t, outcome)).collect();
            json!({ "problems": outcome.map(|o| o.problems.clone()).unwrap_or_default(), "ticks": ticks })
        };
        json!({
            "file": self.scenario.source.file.as_ref(),
            "about": self.scenario.about,
            "passed": self.passed(),
            "runs": self.scenario.runs.iter().enumerate().map(run).collect::<Vec<_>>(),
        })
    }
}
