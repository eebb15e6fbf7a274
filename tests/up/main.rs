//! The main job, end to end: `dagpkg up` with the package of this repository and a real Airflow. Needs run/airflow, so
//! `./build.sh test` runs it and plain `cargo test` leaves it out.

mod harness;

use harness::{Machine, files, until};
use jiff::Timestamp;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const DEPLOYED_WITHIN: Duration = Duration::from_mins(8);
const HEALTHY_WITHIN: Duration = Duration::from_mins(4);

#[tokio::test]
#[ignore = "needs run/airflow: ./build.sh test"]
async fn airflow_comes_up_in_order_and_comes_back_after_every_kill() {
    let started = Timestamp::now();
    let mut machine = Machine::new();
    machine.up();
    deploy_with_kills(&mut machine).await;
    machine.until_healthy(started, HEALTHY_WITHIN).await;
    let airflow = Airflow::log_in(&machine).await;
    let run = airflow.run_tutorial().await;
    only_loopback(&machine);
    secrets_are_secret(&machine).await;

    kill_postgres(&machine).await;
    assert_eq!(airflow.state_of(&run).await.as_deref(), Ok("success"), "the database has lost a DAG run");

    machine.power_off().await;
    let restarted = Timestamp::now();
    machine.up();
    machine.until_healthy(restarted, HEALTHY_WITHIN).await;
    // the same password and the same keys: a new token for the same user sees the same run
    let airflow = Airflow::log_in(&machine).await;
    assert_eq!(
        airflow.state_of(&run).await.as_deref(),
        Ok("success"),
        "the power failure has lost a DAG run"
    );

    assert!(machine.interrupt().await.success(), "{}", machine.screen());
    let left = machine.processes();
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// Follows the deployment, and kills the scheduler once in each phase. No task of a phase may exist before the phase
/// in front of it is complete, and no task may be started twice.
async fn deploy_with_kills(machine: &mut Machine) {
    let mut killed_in = BTreeSet::new();
    let mut started = BTreeMap::<String, BTreeSet<String>>::new();
    let start = std::time::Instant::now();
    loop {
        machine.check_up();
        assert!(start.elapsed() < DEPLOYED_WITHIN, "not deployed:\n{}", machine.screen());
        tokio::time::sleep(Duration::from_millis(100)).await;
        // first what runs, then what the plan says: a step that completes between the two is no mistake
        let running = machine.sandboxes();
        let Ok(plan) = machine.api("/v1/plans/deploy").await else { continue };
        let Some(phases) = plan["phases"].as_array() else { continue };
        let name = |phase: &Value| phase["name"].as_str().unwrap_or_default().to_owned();
        for (task, sandboxes) in running {
            let own = phases.iter().position(|phase| task.starts_with(&format!("{}-0-", name(phase))));
            let before = &phases[..own.unwrap_or_else(|| panic!("{task} is of no phase: {plan}"))];
            for phase in before {
                assert_eq!(phase["status"], "COMPLETE", "{task} runs before {} is complete", name(phase));
            }
            started.entry(task).or_default().extend(sandboxes);
        }
        if plan["status"] == "COMPLETE" {
            break;
        }
        let current = phases.iter().find(|phase| phase["status"] != "COMPLETE").map(name);
        let launched =
            current.filter(|phase| started.keys().any(|task| task.starts_with(&format!("{phase}-0-"))));
        if let Some(phase) = launched
            && let Some(scheduler) = machine.scheduler()
            && killed_in.insert(phase)
        {
            kill_process(scheduler, Signal::KILL).expect("it ran");
        }
    }
    for (task, sandboxes) in &started {
        assert_eq!(sandboxes.len(), 1, "{task} was started again: {sandboxes:?}");
    }
    for task in ["postgresql-0-server", "scheduler-0-scheduler", "webserver-0-server"] {
        assert!(started.contains_key(task), "{task} was never seen: {started:?}");
    }
    assert!(killed_in.len() >= 3, "killed only in {killed_in:?}");
}

fn only_loopback(machine: &Machine) {
    let listeners = machine.listeners();
    assert!(listeners.len() > 2, "found only {listeners:?}");
    for (address, sockets) in listeners {
        assert!(address.is_loopback(), "{address}: {sockets:?}");
    }
}

/// No secret is in a command line, in an answer of the API or in a file that others may read.
async fn secrets_are_secret(machine: &Machine) {
    let secrets = machine.secrets();
    assert!(secrets.len() >= 7, "{} secrets", secrets.len());
    let check = |text: &[u8], place: &str| {
        let text = String::from_utf8_lossy(text);
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{place} has a secret");
    };
    for process in machine.processes() {
        check(process.command.as_bytes(), "a command line");
    }
    for path in [
        "/v1/plans/deploy",
        "/v1/pod",
        "/v1/pod/webserver-0/info",
        "/v1/configurations/target",
        "/v1/endpoints",
    ] {
        if let Ok(answer) = machine.api(path).await {
            check(answer.to_string().as_bytes(), path);
        }
    }
    for file in files(machine.run()) {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mode = std::fs::metadata(&file).map_or(0, |file| file.permissions().mode());
        // sandboxes hold what tasks write for themselves, state holds the secrets: both for their owner alone
        let log = ["stdout", "stderr", "screen", "up.log"].contains(&name);
        if (log || mode & 0o077 != 0)
            && let Ok(bytes) = std::fs::read(&file)
        {
            check(&bytes, &file.display().to_string());
        }
    }
}

/// Postgres dies; it must come back in place, and Airflow with it.
async fn kill_postgres(machine: &Machine) {
    let before = machine.sandboxes()["postgresql-0-server"].clone();
    let postgres = machine.processes().into_iter().find(|p| p.command.contains("postgres -D"));
    kill_process(postgres.expect("Postgres runs").pid, Signal::KILL).expect("it ran");
    let killed = Timestamp::now();
    until("Postgres is started again", HEALTHY_WITHIN, async || {
        let now = machine.sandboxes().remove("postgresql-0-server").unwrap_or_default();
        if now.is_disjoint(&before) && !now.is_empty() { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    // what loses the database ends within this time, or not at all
    machine.until_healthy(killed + Duration::from_secs(20), HEALTHY_WITHIN).await;
}

/// Airflow's API, as the first user.
struct Airflow<'a> {
    machine: &'a Machine,
    url: String,
    token: String,
}

impl Airflow<'_> {
    async fn log_in(machine: &Machine) -> Airflow<'_> {
        let file = machine.run().join("state/secrets").join(&machine.service).join("admin-password");
        let password = std::fs::read_to_string(file).expect("the first user's password");
        let mut airflow =
            Airflow { machine, url: machine.airflow().await.expect("an address"), token: String::new() };
        let user = json!({"username": "admin", "password": password.trim()});
        let answer = airflow.call(reqwest::Method::POST, "/auth/token", Some(user)).await.expect("a token");
        answer["access_token"].as_str().expect("a token").clone_into(&mut airflow.token);
        let wrong = json!({"username": "admin", "password": "admin"});
        assert!(
            airflow.call(reqwest::Method::POST, "/auth/token", Some(wrong)).await.is_err(),
            "any password opens it"
        );
        airflow
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request =
            self.machine.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer =
            request.timeout(Duration::from_mins(2)).send().await.map_err(|e| dagpkg::http::explain(&e))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| dagpkg::http::explain(&e))?;
        if !status.is_success() {
            return Err(format!("{path}: {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|e| format!("{path}: {e}: {text}"))
    }

    async fn state_of(&self, run: &str) -> Result<String, String> {
        let run = run.replace(':', "%3A").replace('+', "%2B");
        let path = format!("/api/v2/dags/tutorial/dagRuns/{run}");
        let answer = self.call(reqwest::Method::GET, &path, None).await?;
        Ok(answer["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Runs the example DAG `tutorial` to success; answers the run's id.
    async fn run_tutorial(&self) -> String {
        let unpause = json!({"is_paused": false});
        until("the example DAGs are there", Duration::from_mins(3), async || {
            let path = "/api/v2/dags/tutorial?update_mask=is_paused";
            self.call(reqwest::Method::PATCH, path, Some(unpause.clone())).await
        })
        .await;
        // the templates of the DAG need a date; any will do
        let run = json!({"logical_date": "2026-01-01T00:00:00Z", "conf": {}});
        let run = self
            .call(reqwest::Method::POST, "/api/v2/dags/tutorial/dagRuns", Some(run))
            .await
            .expect("a run");
        let id = run["dag_run_id"].as_str().expect("an id").to_owned();
        until("the run succeeds", Duration::from_mins(3), async || {
            match self.state_of(&id).await?.as_str() {
                "success" => Ok(()),
                "failed" => panic!("the run failed"),
                other => Err(other.to_owned()),
            }
        })
        .await;
        id
    }
}
