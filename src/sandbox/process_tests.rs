//! The process module with real processes.

use super::*;
use crate::wire::{Environment, Secret, SecretReference, SecretValue, Variable};
use std::time::Instant;

fn shell(value: &str) -> CommandInfo {
    CommandInfo { value: Some(value.into()), ..CommandInfo::default() }
}

fn launch<'a>(sandbox: &'a Path, command: &'a CommandInfo) -> Launch<'a> {
    Launch { sandbox, command, environment: &[], user: None }
}

fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|s| !s.zombie)
}

/// Waits for a file that a command writes, and reads it as a number.
async fn number_in(path: &Path) -> i32 {
    for _ in 0..500 {
        if let Some(n) = fs::read_to_string(path).ok().and_then(|t| t.trim().parse().ok()) {
            return n;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} was never written", path.display());
}

async fn gone_soon(pid: i32) -> bool {
    for _ in 0..250 {
        if !alive(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn a_command_gets_only_the_given_environment_and_writes_into_its_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = dir.path().join("a/b");
    let variables = vec![
        Variable { name: "FOO".into(), value: Some("bar".into()), ..Variable::default() },
        Variable {
            name: "SECRET".into(),
            r#type: Some(VariableType::Secret),
            secret: Some(Secret {
                r#type: Some(SecretType::Value),
                value: Some(SecretValue { data: "aHVzaA==".into() }),
                reference: None,
            }),
            value: None,
        },
    ];
    let command =
        CommandInfo { environment: Some(Environment { variables }), ..shell("env; pwd >&2; exit 3") };
    let mut wanted = launch(&sandbox, &command);
    let given = [("FOO".to_owned(), "overridden".to_owned()), ("GIVEN".to_owned(), "x".to_owned())];
    wanted.environment = &given;
    assert_eq!(spawn(wanted).unwrap().exited().await, Exit::Code(3));
    let stdout = fs::read_to_string(sandbox.join("stdout")).unwrap();
    let mut names: Vec<&str> =
        stdout.lines().filter(|l| !l.starts_with("PWD=") && !l.starts_with('_')).collect();
    names.sort_unstable();
    let marker = format!("MESOS_SANDBOX={}", sandbox.display());
    let path = format!("PATH={DEFAULT_PATH}");
    assert_eq!(
        names,
        [
            "FOO=bar",
            "GIVEN=x",
            "LIBPROCESS_IP=127.0.0.1",
            "MESOS_CONTAINER_IP=127.0.0.1",
            &marker,
            &path,
            "SECRET=hush"
        ]
    );
    assert_eq!(fs::read_to_string(sandbox.join("stderr")).unwrap().trim(), sandbox.to_str().unwrap());
}

#[tokio::test]
async fn an_argument_vector_is_run_without_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let command = CommandInfo {
        shell: Some(false),
        value: Some("printf".into()),
        arguments: vec!["printf".into(), "%s".into(), "$HOME *".into()],
        ..CommandInfo::default()
    };
    assert!(spawn(launch(dir.path(), &command)).unwrap().exited().await.success());
    assert_eq!(fs::read_to_string(dir.path().join("stdout")).unwrap(), "$HOME *");
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let with = |variable| CommandInfo {
        environment: Some(Environment { variables: vec![variable] }),
        ..shell("true")
    };
    let reference = Secret {
        r#type: Some(SecretType::Reference),
        reference: Some(SecretReference { name: "a/b".into(), key: None }),
        value: None,
    };
    let cases = [
        (CommandInfo::default(), "empty"),
        (CommandInfo { shell: Some(false), ..shell("/no/such/bin") }, "/no/such/bin"),
        (with(Variable { name: "A=B".into(), ..Variable::default() }), "A=B"),
        (
            with(Variable {
                name: "PW".into(),
                r#type: Some(VariableType::Secret),
                secret: Some(reference),
                value: None,
            }),
            "PW",
        ),
    ];
    for (command, text) in cases {
        let error = spawn(launch(dir.path(), &command)).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_kill_sends_sigterm_and_a_command_may_end_in_its_own_way() {
    let dir = tempfile::tempdir().unwrap();
    let command = shell("trap 'echo bye; exit 0' TERM; echo $$ > pid; while :; do sleep 0.1; done");
    let process = spawn(launch(dir.path(), &command)).unwrap();
    number_in(&dir.path().join("pid")).await;
    process.kill(Duration::from_secs(30));
    assert_eq!(process.exited().await, Exit::Code(0));
    assert_eq!(fs::read_to_string(dir.path().join("stdout")).unwrap(), "bye\n");
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_after_the_grace_period_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let command = shell("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done");
    let process = spawn(launch(dir.path(), &command)).unwrap();
    number_in(&dir.path().join("pid")).await;
    let start = Instant::now();
    process.kill(Duration::from_millis(700));
    let exit = process.exited().await;
    assert_eq!(exit, Exit::Signal(9));
    assert_eq!(exit.to_string(), "Command terminated with signal Killed");
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_second_kill_shortens_the_grace_period() {
    let dir = tempfile::tempdir().unwrap();
    let command = shell("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done");
    let process = spawn(launch(dir.path(), &command)).unwrap();
    number_in(&dir.path().join("pid")).await;
    process.kill(Duration::from_mins(10));
    process.kill(Duration::ZERO);
    let exit = tokio::time::timeout(Duration::from_secs(20), process.exited()).await;
    assert_eq!(exit, Ok(Exit::Signal(9)));
}

#[tokio::test]
async fn children_do_not_outlive_the_command_even_in_a_session_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let command = shell(
        "sh -c 'trap \"\" TERM HUP; echo $$ > in-group; while :; do sleep 0.1; done' &
         setsid sh -c 'echo $$ > in-session; while :; do sleep 0.1; done' &
         until test -s in-group && test -s in-session; do sleep 0.05; done; exit 5",
    );
    let process = spawn(launch(dir.path(), &command)).unwrap();
    assert_eq!(process.exited().await, Exit::Code(5));
    for name in ["in-group", "in-session"] {
        let pid = number_in(&dir.path().join(name)).await;
        assert!(gone_soon(pid).await, "the child {name} ({pid}) is still there");
    }
}

#[tokio::test]
async fn leftovers_of_an_earlier_run_are_killed_and_reused_pids_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let command = shell("echo $$ > pid; setsid sleep 600 & echo $! > child; wait");
    let process = spawn(launch(dir.path(), &command)).unwrap();
    let pid = number_in(&dir.path().join("pid")).await;
    let child = number_in(&dir.path().join("child")).await;
    let stored = serde_json::to_string(process.identity()).unwrap();
    let identity: Identity = serde_json::from_str(&stored).unwrap();

    let other =
        Identity { start_time: identity.start_time + 1, sandbox: "/no/such/sandbox".into(), ..identity };
    assert_eq!(kill_leftovers(&other), 0);
    assert!(alive(pid), "a process that only has the same pid was killed");

    let identity: Identity = serde_json::from_str(&stored).unwrap();
    assert!(kill_leftovers(&identity) >= 2);
    assert!(gone_soon(pid).await && gone_soon(child).await);
}

#[tokio::test]
async fn a_check_that_takes_too_long_is_killed_with_its_helpers() {
    let dir = tempfile::tempdir().unwrap();
    let slow = shell("sleep 600 & echo $! > child; wait");
    let exit = run(launch(dir.path(), &slow), Duration::from_secs(1)).await.unwrap();
    assert_eq!(exit, None);
    assert!(gone_soon(number_in(&dir.path().join("child")).await).await);
    let quick = shell("exit 7");
    assert_eq!(run(launch(dir.path(), &quick), Duration::from_mins(1)).await.unwrap(), Some(Exit::Code(7)));
}

#[tokio::test]
async fn root_runs_a_command_as_its_user_and_refuses_an_unknown_one() {
    if !rustix::process::getuid().is_root() {
        return; // only root can switch users
    }
    let dir = tempfile::tempdir().unwrap();
    // the user must be able to enter the parents of its sandbox
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sandbox = dir.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    fs::write(sandbox.join("fetched"), "").unwrap();
    let command =
        CommandInfo { user: Some("nobody".into()), ..shell("id -un; echo x > mine && echo x > fetched") };
    assert_eq!(spawn(launch(&sandbox, &command)).unwrap().exited().await, Exit::Code(0));
    assert_eq!(fs::read_to_string(sandbox.join("stdout")).unwrap(), "nobody\n");
    let command = CommandInfo { user: Some("no-such-user".into()), ..shell("true") };
    assert!(matches!(spawn(launch(&sandbox, &command)), Err(ProcessError::NoUser(_))));
}
