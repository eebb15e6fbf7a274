//! `dagpkg simulate` as it is run: a service in; a timeline, plans, reasons and an exit code out.

use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Output};

/// Simulates the service of `tests/simulate/shop.yml`.
fn simulate(db: (&str, &str), arguments: &[&str]) -> Output {
    let (count, placement) = (format!("DB_COUNT={}", db.0), format!("DB_PLACEMENT={}", db.1));
    let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
    command.env_clear().current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulate"));
    command.args([
        "simulate",
        "--svc",
        "shop.yml",
        "--env",
        "NAME=shop",
        "--env",
        &count,
        "--env",
        &placement,
    ]);
    command.args(arguments).output().expect("it runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_waits_for_an_operator_is_good_and_proceeding_completes_it() {
    let waiting = simulate(("2", "hostname:UNIQUE"), &["--output", "json"]);
    let outcome = json(&waiting);
    assert_eq!(waiting.status.code(), Some(0));
    assert_eq!(
        (&outcome["plans"]["deploy"]["status"], &outcome["waits_for_operator"]),
        (&"WAITING".into(), &true.into())
    );
    assert_eq!(outcome["stuck"][0]["reasons"][0], "phase web waits for an operator");
    assert!(text(&simulate(("2", ""), &[])).contains("--proceed lets it go on"));

    let done = simulate(("2", "hostname:UNIQUE"), &["--proceed", "--output", "json"]);
    let outcome = json(&done);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(
        (&outcome["plans"]["deploy"]["status"], &outcome["deployed"]),
        (&"COMPLETE".into(), &true.into())
    );
    let tasks = outcome["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.len(), 4);
    assert!(tasks.iter().all(|t| t["state"] == "TASK_RUNNING" && t["ready"] == true), "{tasks:?}");
}

#[test]
fn a_step_that_finds_no_place_says_why_and_the_command_fails() {
    let output = simulate(("4", "hostname:UNIQUE"), &["--proceed"]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    let tree = "│  └─ db-3:[server] (PREPARED)\n";
    let why = "- db-3:[server] (plan deploy, phase db) is PREPARED\n    \
               agent-0 (agent-0000): placement: hostname agent-0 has 1 of at most 1 tasks of this pod\n";
    assert!(text.contains(tree) && text.contains(why), "{text}");
    assert!(
        text.ends_with("On 3 agents the service is not deployed: plan deploy stays IN_PROGRESS.\n"),
        "{text}"
    );
    let enough = simulate(("4", "hostname:UNIQUE"), &["--proceed", "--agents", "4"]);
    assert_eq!(enough.status.code(), Some(0));
}

#[test]
fn agents_come_from_a_file_and_what_is_wrong_with_it_has_a_place() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "- {{hostname: big, cpus: 8, memory: 8192, disk: 9000, attributes: {{rack: r7}}}}")
        .expect("written");
    writeln!(file, "- {{count: 2, cpus: 0.1, memory: 64, disk: 100}}").expect("written");
    let path = file.path().to_str().expect("a path").to_owned();
    let output = simulate(("1", "rack:LIKE:r[0-9]"), &["--proceed", "--output", "json", "--agents", &path]);
    let outcome = json(&output);
    assert_eq!(outcome["agents"], serde_json::json!(["big", "agent-1", "agent-2"]));
    assert!(outcome["tasks"].as_array().is_some_and(|t| t.iter().all(|t| t["agent"] == "agent-0000")));

    writeln!(file, "- {{cpu: 4}}").expect("written");
    let refused = simulate(("1", ""), &["--agents", &path]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains(&format!("{path}:3:3: error[S005]: unknown field `cpu`")), "{error}");
}

#[test]
fn lives_with_faults_are_counted_and_replayed_and_what_is_no_incident_is_refused() {
    let lives =
        simulate(("2", ""), &["--seed", "3", "--runs", "4", "--faults", "agents,crash", "--output", "json"]);
    let outcome = json(&lives);
    assert_eq!(lives.status.code(), Some(0));
    assert_eq!((&outcome["runs"], &outcome["failure"]), (&4.into(), &Value::Null));
    let again = simulate(("2", ""), &["--seed", "3", "--replay", "crash@9,cut-agent@4.5s+30#1"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again).contains("1 life of the service"), "{again:?}");
    for (arguments, said) in [
        (&["--replay", "crash@x"][..], "`crash@x` is no incident"),
        (&["--faults", "earthquake"], "`earthquake`"),
        (&["--runs", "0"], "--runs"),
    ] {
        let refused = simulate(("2", ""), arguments);
        assert_ne!(refused.status.code(), Some(0), "{arguments:?}");
        let error = String::from_utf8_lossy(&refused.stderr);
        assert!(error.contains(said), "{error}");
    }
}
