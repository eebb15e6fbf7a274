//! The bootstrap helper as tasks run it: the real program, in a folder as its sandbox.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;
use tempfile::TempDir;

/// A task of the embedded cluster, whose names are below `.localhost`.
const TASK: [(&str, &str); 3] =
    [("TASK_NAME", "web-0-server"), ("FRAMEWORK_HOST", "shop.localhost"), ("LIBPROCESS_IP", "127.0.0.1")];

/// Runs the program with nothing in its environment but `env` and the sandbox.
fn bootstrap(sandbox: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg-bootstrap"));
    command
        .args(args)
        .env_clear()
        .env("MESOS_SANDBOX", sandbox)
        .envs(env.iter().copied())
        .current_dir(sandbox);
    command.output().expect("the program runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A sandbox with one template, and the variable that asks for it.
fn with_template(text: &str) -> (TempDir, [(&'static str, &'static str); 1]) {
    let sandbox = tempfile::tempdir().expect("a folder");
    fs::create_dir(sandbox.path().join("config-templates")).expect("a folder");
    fs::write(sandbox.path().join("config-templates/web"), text).expect("written");
    (sandbox, [("CONFIG_TEMPLATE_WEB", "config-templates/web,web.conf")])
}

#[test]
fn a_task_with_names_below_localhost_is_prepared_at_once() {
    let (sandbox, template) = with_template("name {{TASK_NAME}} at {{MESOS_CONTAINER_IP}}\n");
    let output = bootstrap(sandbox.path(), &[], &[&TASK[..], &template].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(output.stdout, b"");
    let rendered = fs::read_to_string(sandbox.path().join("web.conf")).expect("rendered");
    assert_eq!(rendered, "name web-0-server at 127.0.0.1\n");
}

#[test]
fn templates_escape_with_two_braces_only_and_take_false_as_no() {
    let (sandbox, template) =
        with_template("{{A}} {{{A}}} {{#ON}}on{{/ON}}{{^OFF}}not off{{/OFF}}[{{GONE}}]");
    let env = [&TASK[..], &template, &[("A", "<\"a\">"), ("ON", "true"), ("OFF", "False")]].concat();
    let output = bootstrap(sandbox.path(), &["-print-env=false"], &env);
    let rendered = fs::read_to_string(sandbox.path().join("web.conf")).expect("rendered");
    assert_eq!(rendered, "&lt;&#34;a&#34;&gt; <\"a\"> onnot off[]");
    assert!(said(&output).contains("config-templates/web:1:"), "the place of GONE: {}", said(&output));
}

#[test]
fn neither_the_environment_nor_the_templates_show_secrets_in_the_log() {
    let (sandbox, template) = with_template("password={{{DB_PASSWORD}}}");
    let secrets =
        [("DB_PASSWORD", "hunter2"), ("DB_URL", "postgres://me:hunter2@db.localhost/x"), ("PLAIN", "seen")];
    let output = bootstrap(sandbox.path(), &[], &[&TASK[..], &template, &secrets].concat());
    let log = said(&output);
    assert!(log.contains("DB_PASSWORD=********") && log.contains("PLAIN=seen"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    let log = said(&bootstrap(sandbox.path(), &["--insecure"], &[&TASK[..], &template, &secrets].concat()));
    assert!(log.contains("DB_PASSWORD=hunter2"), "{log}");
}

#[test]
fn the_containers_address_is_printed_alone() {
    let sandbox = tempfile::tempdir().expect("a folder");
    let cases = [
        (vec![("LIBPROCESS_IP", "10.0.0.7")], "10.0.0.7\n"),
        (vec![("LIBPROCESS_IP", "10.0.0.7"), ("MESOS_CONTAINER_IP", "10.0.0.8")], "10.0.0.8\n"),
        (vec![("LIBPROCESS_IP", "10.0.0.7"), ("MESOS_CONTAINER_IP", "")], "10.0.0.7\n"),
    ];
    for (env, address) in cases {
        let output = bootstrap(sandbox.path(), &["-get-task-ip"], &env);
        assert_eq!(
            (String::from_utf8_lossy(&output.stdout).as_ref(), output.stderr.len()),
            (address, 0),
            "{env:?}"
        );
    }
}

#[test]
fn waiting_for_a_name_that_does_not_exist_ends_with_an_error_in_time() {
    let sandbox = tempfile::tempdir().expect("a folder");
    let start = Instant::now();
    let args =
        ["-resolve-hosts", "127.0.0.1,no-such-name.invalid", "-resolve-timeout=1s", "-self-resolve=false"];
    let output = bootstrap(sandbox.path(), &args, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("`no-such-name.invalid` did not resolve within 1 s"), "{}", said(&output));
    // one attempt may take as long as a name server has for its answer
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn what_keeps_a_task_from_being_prepared_is_an_error_that_names_it() {
    let (sandbox, _) = with_template("{{#open}}");
    let quiet = ["-resolve=false", "-self-resolve=false", "-print-env=false"];
    let template = |value| vec![("CONFIG_TEMPLATE_WEB", value)];
    let cases = [
        (vec![], vec![], 1, "TASK_NAME"),
        (vec!["-get-task-ip"], vec![], 1, "MESOS_CONTAINER_IP or LIBPROCESS_IP"),
        (vec!["-get-task-ip"], vec![("LIBPROCESS_IP", "::1")], 1, "`::1`"),
        (vec!["-resolv=false"], vec![], 2, "-resolv"),
        (quiet.to_vec(), template("config-templates/web"), 1, "source,destination"),
        (quiet.to_vec(), template("config-templates/gone,web.conf"), 1, "config-templates/gone"),
        (quiet.to_vec(), template("config-templates,web.conf"), 1, "not a regular file"),
        (quiet.to_vec(), template("config-templates/web,web.conf"), 1, "config-templates/web:1:1"),
        (
            [&quiet[..], &["-template-max-bytes=3"]].concat(),
            template("config-templates/web,web.conf"),
            1,
            "9 bytes",
        ),
    ];
    for (args, env, code, named) in cases {
        let output = bootstrap(sandbox.path(), &args, &env);
        assert_eq!(output.status.code(), Some(code), "{args:?} {env:?}: {}", said(&output));
        assert!(said(&output).contains(named), "{args:?} {env:?}: {}", said(&output));
    }
    let output =
        bootstrap(sandbox.path(), &[&quiet[..], &["-template=false"]].concat(), &template("nothing"));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_ca_without_java_is_a_warning_only() {
    let sandbox = tempfile::tempdir().expect("a folder");
    fs::create_dir(sandbox.path().join(".ssl")).expect("a folder");
    fs::write(sandbox.path().join(".ssl/ca.crt"), "certificate").expect("written");
    let output = bootstrap(sandbox.path(), &[], &TASK);
    assert!(
        output.status.success() && said(&output).contains(".ssl/ca.crt is not imported"),
        "{}",
        said(&output)
    );
    let output = bootstrap(sandbox.path(), &["-install-certs=false"], &TASK);
    assert!(output.status.success() && !said(&output).contains("ca.crt"), "{}", said(&output));
}
