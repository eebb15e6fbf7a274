//! The embedded cluster as a framework meets it: the program in a process of its own, HTTP, real tasks.

mod mesos_framework;

use mesos_framework::{Cluster, Framework, gone_soon, number_in, scalar};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn reserved(mut resource: Value) -> Value {
    resource["reservations"] = json!([{"type": "DYNAMIC", "role": "test-role", "principal": "test"}]);
    resource
}

fn volume(id: &str, path: &str) -> Value {
    let mut volume = reserved(scalar("disk", 64.0));
    volume["disk"] = json!({"persistence": {"id": id, "principal": "test"}, "volume": {"mode": "RW", "container_path": path}});
    volume
}

fn task(id: &str, command: &str) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": {}, "resources": [scalar("cpus", 0.1)],
        "command": {"value": command}})
}

fn group(executor: &str, tasks: &[Value]) -> Value {
    json!({"type": "LAUNCH_GROUP", "launch_group": {
        "executor": {"type": "DEFAULT", "executor_id": {"value": executor}, "resources": [scalar("mem", 32.0)]},
        "task_group": {"tasks": tasks}}})
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[tokio::test]
async fn a_pod_shares_its_volume_by_the_executors_sandbox_and_finds_it_again_after_a_restart_of_the_cluster()
{
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let pod = |executor: &str, suffix: &str, command: &str| {
        let mut one = task(&format!("one-{suffix}"), command);
        one["container"] = json!({"type": "MESOS", "volumes": [{"mode": "RW", "container_path": "store", "source":
            {"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "data"}}}]});
        let mut pod = group(executor, &[one]);
        pod["launch_group"]["executor"]["resources"].as_array_mut().unwrap().push(volume("v-1", "data"));
        pod
    };
    let operations = json!([
        {"type": "RESERVE", "reserve": {"resources": [reserved(scalar("disk", 64.0))]}},
        {"type": "CREATE", "create": {"volumes": [volume("v-1", "data")]}},
        pod("e1", "a", "echo kept > store/file"),
    ]);
    framework.accept(operations).await;
    assert_eq!(framework.states("one-a").await, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
    framework.disconnect();
    cluster.terminate();

    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, Some(&framework.id)).await;
    framework.accept(json!([pod("e2", "b", "grep -q kept store/file")])).await;
    assert_eq!(framework.states("one-b").await, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);

    let destroy = json!([
        {"type": "DESTROY", "destroy": {"volumes": [volume("v-1", "data")]}},
        {"type": "UNRESERVE", "id": {"value": "u"}, "unreserve": {"resources": [reserved(scalar("disk", 64.0))]}},
    ]);
    let kept = dir.path().join("agents/0/volumes/roles/test-role/v-1/file");
    assert!(kept.exists());
    framework.event("FAILURE").await;
    framework.accept(destroy).await;
    let update = framework.event("UPDATE_OPERATION_STATUS").await;
    assert_eq!(update["update_operation_status"]["status"]["state"], "OPERATION_FINISHED", "{update}");
    assert!(!kept.exists(), "the volume's files are still there");
}

#[tokio::test]
async fn after_kill_9_of_the_cluster_the_next_start_ends_its_tasks_before_it_offers_anything() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let pid = dir.path().join("pid");
    let child = dir.path().join("child");
    let command =
        format!("setsid sleep 600 & echo $! > {}; echo $$ > {}; wait", child.display(), pid.display());
    framework.accept(json!([group("e", &[task("t", &command)])])).await;
    let (pid, child) = (number_in(&pid).await, number_in(&child).await);
    framework.state("t", "TASK_RUNNING").await;
    cluster.kill_9();
    assert!(!gone_soon(pid, Duration::from_millis(200)).await, "tasks outlive a killed cluster, as on Mesos");

    let cluster = Cluster::start(dir.path());
    assert!(gone_soon(pid, Duration::ZERO).await && gone_soon(child, Duration::ZERO).await, "left over");
    let mut framework = Framework::subscribe(&cluster, Some(&framework.id)).await;
    let status = framework.state("t", "TASK_FAILED").await;
    assert_eq!(status["reason"], "REASON_EXECUTOR_TERMINATED");
    let (offer, _) = framework.offer().await;
    assert!(offer.get("executor_ids").is_none(), "{offer}");
}

#[tokio::test]
async fn stopping_the_cluster_ends_tasks_gently_first_and_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let said = dir.path().join("said");
    let (gentle, stubborn) = (dir.path().join("gentle"), dir.path().join("stubborn"));
    let loop_forever = "while :; do sleep 0.1; done";
    let mut stubborn_task =
        task("stubborn", &format!("trap '' TERM; echo $$ > {}; {loop_forever}", stubborn.display()));
    stubborn_task["kill_policy"] = json!({"grace_period": {"nanoseconds": 500_000_000}});
    let gentle_task = task(
        "gentle",
        &format!(
            "trap 'echo bye > {}; exit' TERM; echo $$ > {}; {loop_forever}",
            said.display(),
            gentle.display()
        ),
    );
    framework.accept(json!([group("e", &[gentle_task, stubborn_task])])).await;
    let pids = [number_in(&gentle).await, number_in(&stubborn).await];
    cluster.terminate();
    assert_eq!(read(&said).trim(), "bye");
    for pid in pids {
        assert!(gone_soon(pid, Duration::ZERO).await, "{pid} is still there");
    }
}

fn filed_secret_task(id: &str) -> Value {
    let mut task = task(id, "true");
    task["container"] = json!({"type": "MESOS", "volumes": [{"mode": "RO", "container_path": "etc/password", "source":
        {"type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "b3Blbi1zZXNhbWU="}}}}]});
    task
}

#[tokio::test]
async fn secrets_reach_the_task_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let out = dir.path().join("out");
    let mut task = task("t", &format!("echo \"$PASSWORD\" > {}; sleep 600", out.display()));
    // base64 of `open-sesame`
    task["command"]["environment"] = json!({"variables": [{"name": "PASSWORD", "type": "SECRET",
        "secret": {"type": "VALUE", "value": {"data": "b3Blbi1zZXNhbWU="}}}]});
    framework.accept(json!([group("e", &[task])])).await;
    framework.state("t", "TASK_RUNNING").await;
    for _ in 0..100 {
        if out.exists() && !read(&out).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(read(&out).trim(), "open-sesame");
    let state = framework.get("/state").await;
    assert!(state.contains("\"t\""), "the task is shown: {state}");
    // files with secrets are there for their task only
    let state_dir = dir.path().join("agents/0/secrets");
    let mut filed = filed_secret_task("filed");
    let found = dir.path().join("found");
    let command = format!("grep -c open-sesame etc/password > {}; sleep 600", found.display());
    filed["command"]["value"] = json!(command);
    framework.accept(json!([group("f", &[filed])])).await;
    assert_eq!(number_in(&found).await, 1);
    assert_eq!(std::fs::read_dir(&state_dir).unwrap().count(), 1);
    framework.call("KILL", json!({"task_id": {"value": "filed"}})).await;
    framework.state("filed", "TASK_KILLED").await;
    framework.event("FAILURE").await;
    assert_eq!(std::fs::read_dir(&state_dir).unwrap().count(), 0);
    let checkpoints = [dir.path().join("master.json"), dir.path().join("agents/0/running.json")];
    for text in checkpoints.iter().map(|f| read(f)).chain([state]) {
        assert!(!text.contains("open-sesame") && !text.contains("b3Blbi1zZXNhbWU"), "{text}");
    }
    cluster.terminate();
}

#[tokio::test]
async fn a_group_ends_together_and_leaves_other_groups_of_its_executor_alone() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    framework.accept(json!([group("e", &[task("a1", "sleep 600"), task("a2", "sleep 600")])])).await;
    framework.state("a1", "TASK_RUNNING").await;
    framework.state("a2", "TASK_RUNNING").await;
    framework
        .accept(json!([group(
            "e",
            &[task("b1", "exit 0"), task("b2", "sleep 1; exit 3"), task("b3", "sleep 600")]
        )]))
        .await;
    framework.state("b1", "TASK_FINISHED").await;
    let failed = framework.state("b2", "TASK_FAILED").await;
    assert_eq!(failed["message"], "Command exited with status 3");
    framework.state("b3", "TASK_KILLED").await;
    assert_eq!(framework.reconciled("a1").await, "TASK_RUNNING");
    framework.call("KILL", json!({"task_id": {"value": "a1"}})).await;
    for task in ["a1", "a2"] {
        framework.state(task, "TASK_KILLING").await;
        framework.state(task, "TASK_KILLED").await;
    }
    let failure = framework.event("FAILURE").await;
    assert_eq!(failure["failure"]["executor_id"]["value"], "e");
}

#[tokio::test]
async fn a_task_that_fails_its_health_check_is_killed_with_its_group_and_a_check_only_reports() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let seconds = |check: Value| {
        let mut check = check;
        check.as_object_mut().unwrap().extend(
            json!({"delay_seconds": 0.0, "interval_seconds": 0.1, "timeout_seconds": 20.0, "grace_period_seconds": 0.0,
                "consecutive_failures": 2}).as_object().unwrap().clone(),
        );
        check
    };
    let mut sick = task("sick", "sleep 600");
    let command = json!({"value": "test \"$VARIABLE\" = x && test ! -e ill"});
    sick["command"]["environment"] = json!({"variables": [{"name": "VARIABLE", "value": "x"}]});
    sick["health_check"] = seconds(json!({"type": "COMMAND", "command": command}));
    let mut ready = task("ready", "sleep 600");
    ready["check"] = seconds(json!({"type": "COMMAND", "command": {"command": {"value": "test -e ready"}}}));
    framework.accept(json!([group("e", &[sick, ready])])).await;

    let reason = |status: &Value| status["reason"].as_str().unwrap_or_default().to_owned();
    let running = framework.state("sick", "TASK_RUNNING").await;
    assert!(running.get("healthy").is_none(), "before the first check nothing is known: {running}");
    let healthy = framework.state("sick", "TASK_RUNNING").await;
    assert_eq!(reason(&healthy), "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED");
    assert_eq!(healthy["healthy"], true);

    let first = framework.state("ready", "TASK_RUNNING").await;
    assert_eq!(first["check_status"], json!({"type": "COMMAND", "command": {}}));
    let checked = framework.state("ready", "TASK_RUNNING").await;
    assert_eq!(reason(&checked), "REASON_TASK_CHECK_STATUS_UPDATED");
    assert_eq!(checked["check_status"]["command"]["exit_code"], 1);
    let runs = dir.path().join("agents/0/frameworks").join(&framework.id).join("executors/e/runs");
    let tasks = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap().path().join("tasks");
    std::fs::write(tasks.join("ready/ready"), "").unwrap();
    let checked = framework.state("ready", "TASK_RUNNING").await;
    assert_eq!(checked["check_status"]["command"]["exit_code"], 0);

    std::fs::write(tasks.join("sick/ill"), "").unwrap();
    for _ in 0..2 {
        assert_eq!(framework.state("sick", "TASK_RUNNING").await["healthy"], false);
    }
    assert_eq!(framework.state("sick", "TASK_KILLED").await["healthy"], false);
    framework.state("ready", "TASK_KILLED").await;
}

#[tokio::test]
async fn a_virtual_address_leads_to_the_running_task_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    // what the task would serve is served here; only its label matters
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = server.accept().await {
            let _ = client.write_all(b"hello").await;
        }
    });
    let address = dagpkg::wire::vip::loopback_address("web.test.l4lb.localhost");
    let vip_port = {
        let probe = std::net::TcpListener::bind((address, 0)).unwrap();
        probe.local_addr().unwrap().port()
    };
    let mut task = task("t", "sleep 600");
    task["discovery"] = json!({"visibility": "CLUSTER", "ports": {"ports": [{"number": port,
        "labels": {"labels": [{"key": "VIP_web", "value": format!("web:{vip_port}")}]}}]}});
    framework.accept(json!([group("e", &[task])])).await;
    framework.state("t", "TASK_RUNNING").await;
    let ask = || async {
        let mut stream = tokio::net::TcpStream::connect((address, vip_port)).await.unwrap();
        let mut text = String::new();
        let _ = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await;
        text
    };
    assert_eq!(ask().await, "hello");
    framework.call("KILL", json!({"task_id": {"value": "t"}})).await;
    framework.state("t", "TASK_KILLED").await;
    assert_eq!(ask().await, "", "a task that has ended gets no connections");
}

#[tokio::test]
async fn what_cannot_start_says_why_in_its_status_and_in_the_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let mut missing = task("missing", "true");
    missing["command"]["uris"] = json!([{"value": "/no/such/file.tgz"}]);
    framework.accept(json!([group("e", &[missing, task("sibling", "sleep 600")])])).await;
    let status = framework.state("missing", "TASK_FAILED").await;
    assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED");
    assert!(status["message"].as_str().unwrap().contains("/no/such/file.tgz"), "{status}");
    framework.state("sibling", "TASK_KILLED").await;
    let runs = dir.path().join("agents/0/frameworks").join(&framework.id).join("executors/e/runs");
    let run = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap().path();
    assert!(read(&run.join("tasks/missing/stderr")).contains("/no/such/file.tgz"));
}

#[tokio::test]
async fn tmp_is_a_directory_of_the_tasks_own_sandbox_when_it_asks_for_a_volume_there() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let mut task = task("t", "test \"$TMPDIR\" = \"$MESOS_SANDBOX/tmp\" && touch \"$TMPDIR/x\"");
    task["container"] =
        json!({"type": "MESOS", "volumes": [{"mode": "RW", "container_path": "/tmp", "host_path": "tmp"}]});
    framework.accept(json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}])).await;
    assert_eq!(framework.states("t").await, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
}

#[tokio::test]
async fn several_agents_have_ports_and_tasks_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(dir.path(), &["--agents", "3", "--ports", "2000-2299"]);
    let mut framework = Framework::subscribe(&cluster, None).await;
    let mut ports = Vec::new();
    for n in 0..3 {
        let (offer, id) = framework.offer().await;
        let range = offer["resources"].as_array().unwrap().iter().find(|r| r["name"] == "ports").unwrap();
        ports.push(range["ranges"]["range"][0]["begin"].as_u64().unwrap());
        let name = format!("t{n}");
        let mut task = task(&name, "exit 0");
        task["agent_id"] = offer["agent_id"].clone();
        framework.use_offer(&id, json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}])).await;
        framework.state(&name, "TASK_FINISHED").await;
    }
    ports.sort_unstable();
    assert_eq!(ports, [2000, 2100, 2200]);
    assert_eq!(std::fs::read_dir(dir.path().join("agents")).unwrap().count(), 3);
}

#[tokio::test]
async fn a_second_cluster_in_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _cluster = Cluster::start(dir.path());
    let second = Cluster::command(dir.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another cluster already runs in"), "{text}");
}

#[tokio::test]
async fn a_framework_may_ask_for_times_that_no_clock_can_hold() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path());
    let mut framework = Framework::subscribe(&cluster, None).await;
    let (_, offer) = framework.offer().await;
    let decline = json!({"offer_ids": [{"value": offer}], "filters": {"refuse_seconds": 1e300}});
    framework.call("DECLINE", decline).await;
    framework.call("REVIVE", json!({})).await;
    let mut info = framework.info.clone();
    info["failover_timeout"] = json!(1e19);
    framework.update(info).await;
    framework.disconnect();
    let mut framework = Framework::subscribe(&cluster, Some(&framework.id)).await;
    framework.offer().await;
}

#[test]
fn amounts_and_ports_that_cannot_be_offered_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--cpus", "nan"], 1, "NaN CPUs"),
        (&["--mem=-1"], 1, "-1 MiB of memory"),
        (&["--agents", "3", "--ports", "7-8"], 1, "ports 7-8"),
        (&["--ports", "8-7"], 2, "the smaller one first"),
    ];
    for (arguments, code, words) in cases {
        let output = Cluster::command_only().arg("--dir").arg(dir.path()).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && text.contains(words), "{arguments:?}: {text}");
    }
}
