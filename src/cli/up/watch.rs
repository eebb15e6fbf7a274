//! Follows a plan until it is complete: a tree that changes on terminals, a line for each change elsewhere.
//!
//! Only reads; what the service does is up to its scheduler. Called by `dagpkg up`.

use super::super::progress::Progress;
use super::super::tree;
use crate::sandbox::marathon::Marathon;
use anyhow::bail;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the scheduler is asked.
const POLL: Duration = Duration::from_millis(500);

/// So many times in a row nothing must be wrong with a service that was here before.
const QUIET_POLLS: u32 = 8;

/// Longest reason behind a step on a terminal; the whole text is in the scheduler's API.
const NOTE_LIMIT: usize = 160;

/// The service whose plan is followed.
#[derive(Debug)]
pub struct Service<'a> {
    /// For requests that must not wait long.
    pub client: &'a reqwest::Client,
    /// Root of the service's API, without a slash at the end.
    pub url: String,
    /// Where its scheduler runs.
    pub marathon: &'a Marathon,
    /// The scheduler's app.
    pub app: &'a str,
}

impl Service<'_> {
    /// A plan, once the scheduler has it; `Err` says what was answered instead.
    async fn plan(&self, name: &str) -> Result<Value, String> {
        let url = format!("{}/v1/plans/{name}", self.url);
        let answer = self.client.get(&url).timeout(Duration::from_secs(5)).send().await;
        let answer = answer.map_err(|e| crate::http::explain(&e))?;
        let status = answer.status();
        let plan: Value = answer.json().await.map_err(|_| format!("{url} answered {status}"))?;
        if plan["phases"].is_array() { Ok(plan) } else { Err(format!("{url} answered {status}")) }
    }

    /// Follows the deploy plan until it is complete; and where it is so from the start, because the service was here
    /// before, the recovery of its tasks.
    pub async fn until_deployed(&self, progress: &Progress) -> anyhow::Result<()> {
        let mut changes = Changes::default();
        let mut was_incomplete = false;
        let mut quiet = 0;
        loop {
            match self.next_plan().await {
                Ok((_, plan)) if plan["status"] == "COMPLETE" => {
                    // its tasks are only known to be gone when the master has said so
                    quiet += 1;
                    if was_incomplete || quiet > QUIET_POLLS {
                        progress.clear();
                        if progress.is_terminal() {
                            let plan = self.plan("deploy").await.unwrap_or(plan);
                            progress.print(&tree::plan("deploy", &plan, true));
                        }
                        return Ok(());
                    }
                    progress.begin("Looking for tasks that must be started again");
                }
                Ok((name, plan)) => {
                    (was_incomplete, quiet) = (true, 0);
                    if progress.is_terminal() {
                        progress.show(&tree::plan_with_notes(name, &plan, true, |step| note(&plan, step)));
                    } else {
                        changes.lines(&plan).iter().for_each(|line| progress.say(line));
                    }
                    refuse_errors(&plan)?;
                }
                Err(why) => {
                    let failure = self.marathon.last_failure(self.app);
                    let why = failure.map_or(why, |f| format!("it ended: {f}"));
                    progress.begin(&format!("Waiting for the scheduler of the service: {why}"));
                    if !progress.is_terminal() {
                        changes.say_once(&why).iter().for_each(|line| progress.say(line));
                    }
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The plan that is being worked on: `deploy` until it is complete, then `recovery`, where steps are added for tasks
    /// that must be started again.
    async fn next_plan(&self) -> Result<(&'static str, Value), String> {
        let deploy = self.plan("deploy").await?;
        if deploy["status"] != "COMPLETE" {
            return Ok(("deploy", deploy));
        }
        Ok(("recovery", self.plan("recovery").await?))
    }
}

/// A plan with errors of its own never goes on: the scheduler has refused the new configuration.
fn refuse_errors(plan: &Value) -> anyhow::Result<()> {
    let errors: Vec<&str> =
        plan["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !errors.is_empty() && plan["status"] == "ERROR" {
        bail!("the scheduler refuses to deploy this:\n- {}", errors.join("\n- "));
    }
    Ok(())
}

fn steps(plan: &Value) -> impl Iterator<Item = &Value> {
    let phases = plan["phases"].as_array().into_iter().flatten();
    phases.flat_map(|phase| phase["steps"].as_array().into_iter().flatten())
}

/// Why a step of that name waits, in one short line.
fn note(plan: &Value, name: &str) -> Option<String> {
    let step = steps(plan).find(|step| step["name"] == name)?;
    let reasons = reasons(step);
    let mut text: String = reasons.chars().take(NOTE_LIMIT).collect();
    if text.len() < reasons.len() {
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

fn reasons(step: &Value) -> String {
    let reasons = step["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    reasons.map(|r| r.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("; ")
}

/// What has been printed already.
#[derive(Debug, Default)]
struct Changes {
    steps: BTreeMap<String, (String, String)>,
    said: String,
}

impl Changes {
    /// A line for each step whose status is new, or whose reasons are.
    fn lines(&mut self, plan: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        for step in steps(plan) {
            let name = step["name"].as_str().unwrap_or("<UNKNOWN>").to_owned();
            // numbers in reasons count down; a changed number is no news
            let reasons = reasons(step);
            let kind: String = reasons.chars().filter(|c| !c.is_ascii_digit()).collect();
            let status = step["status"].as_str().unwrap_or("<UNKNOWN>").to_owned();
            let new = (status.clone(), kind);
            let old = self.steps.insert(name.clone(), new.clone());
            // a step that waits for others to be complete is no news either
            if old.as_ref() != Some(&new) && !(old.is_none() && status == "PENDING" && reasons.is_empty()) {
                let separator = if reasons.is_empty() { "" } else { ": " };
                lines.push(format!("{name} {status}{separator}{reasons}"));
            }
        }
        lines
    }

    /// The text as a line, unless it was the last one.
    fn say_once(&mut self, text: &str) -> Option<String> {
        (self.said != text).then(|| {
            text.clone_into(&mut self.said);
            format!("waiting for the scheduler of the service: {text}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(status: &str, reasons: &[&str]) -> Value {
        json!({"status": "IN_PROGRESS", "errors": [], "phases": [{"name": "db", "steps": [
            {"name": "db-0:[server]", "status": status, "reasons": reasons},
            {"name": "db-1:[server]", "status": "PENDING"},
        ]}]})
    }

    #[test]
    fn each_change_of_a_step_is_a_line_and_nothing_else_is() {
        let mut changes = Changes::default();
        assert!(changes.lines(&plan("PENDING", &[])).is_empty());
        let waits = ["no offer has\n enough cpus", "tried again in 5 s"];
        assert_eq!(
            changes.lines(&plan("PENDING", &waits)),
            ["db-0:[server] PENDING: no offer has enough cpus; tried again in 5 s"]
        );
        assert!(
            changes.lines(&plan("PENDING", &["no offer has enough cpus", "tried again in 4 s"])).is_empty()
        );
        assert_eq!(changes.lines(&plan("COMPLETE", &[])), ["db-0:[server] COMPLETE"]);
        assert!(changes.lines(&plan("COMPLETE", &[])).is_empty());
    }

    #[test]
    fn a_note_is_one_line_of_bounded_length() {
        let long = "ü".repeat(500);
        let note = note(&plan("PENDING", &["a\nb", &long]), "db-0:[server]").unwrap();
        assert!(note.starts_with("a b; üüü") && note.chars().count() == NOTE_LIMIT + 1, "{note}");
        assert_eq!(super::note(&plan("PENDING", &[]), "db-0:[server]"), None);
    }

    #[test]
    fn a_refused_configuration_ends_the_wait() {
        let mut refused = plan("ERROR", &[]);
        assert!(refuse_errors(&refused).is_ok());
        (refused["status"], refused["errors"]) = (json!("ERROR"), json!(["volume may not shrink"]));
        assert!(refuse_errors(&refused).unwrap_err().to_string().contains("volume may not shrink"));
    }
}
