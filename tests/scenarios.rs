//! Scenario files as `dagpkg simulate` runs them: our own package's, and what is printed of others.

use std::path::Path;
use std::process::{Command, Output};

fn simulate(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dagpkg"))
        .arg("simulate")
        .args(arguments)
        .env_clear()
        .current_dir(folder)
        .output()
        .expect("dagpkg runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn our_own_package_does_what_its_scenario_expects() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/dagflow.yml");
    // from another folder: the scenario names its package
    let folder = tempfile::tempdir().expect("a folder");
    let output = simulate(&["--scenario", &file.display().to_string()], folder.path());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("  run 3\n"), "{}", text(&output.stdout));
}

#[test]
fn the_example_of_the_documentation_runs() {
    let page = include_str!("../docs/simulate.md");
    let block = |name: &str| {
        let start = page.find(name).unwrap_or_else(|| panic!("{name}"));
        let code = page[start..].split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        code.expect("a block of code").to_owned()
    };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("svc.yml"), block("`svc.yml`:")).expect("written");
    std::fs::write(folder.path().join("update.yml"), block("`update.yml`:")).expect("written");
    let output = simulate(&["--scenario", "update.yml"], folder.path());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

const SERVICE: &str = "\
name: {{NAME}}
pods: {web: {count: 1, tasks: {server: {goal: RUNNING, cmd: web, env: {LEVEL: '{{LEVEL}}'}, cpus: 1}}}}
";

#[test]
fn scenarios_fail_with_the_place_and_take_the_arguments_of_other_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("svc.yml", SERVICE);
    let env = "env: {LEVEL: debug}\n";
    let ticks = "ticks:\n- send: register\n- send: {offer: web}\n- expect: {task-env: {web-0-server: {LEVEL: debug}}}\n";
    write("good.yml", &format!("{env}{ticks}"));
    write("bad.yml", &ticks.replace("LEVEL: debug", "LEVEL: other"));
    write("wrong.yml", "ticks: [{send: registre}]");
    let both =
        ["--env", "NAME=demo", "--env", "LEVEL=info", "--scenario", "good.yml", "--scenario", "bad.yml"];
    let output = simulate(&both, folder.path());
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert!(said.starts_with("good.yml: passed\n"), "{said}");
    assert!(said.contains("bad.yml: failed\n") && said.contains("at bad.yml:4:12\n"), "{said}");
    assert!(said.contains("found:    LEVEL=info in the environment of web-0-server\n"), "{said}");
    assert!(said.ends_with("2 scenarios, 1 failed\n"), "{said}");
    let output = simulate(&[both.as_slice(), &["--output", "json"]].concat(), folder.path());
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&shown["passed"], &shown["scenarios"][0]["passed"]), (&false.into(), &true.into()));
    assert_eq!(shown["scenarios"][1]["runs"][0]["ticks"][2]["line"], 4);

    // what is only warned of elsewhere is an error in a test
    let output = simulate(&["--env", "NAME=demo", "--scenario", "bad.yml"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`LEVEL` has no value"), "{}", text(&output.stderr));
    let output = simulate(&["--env", "NAME=demo", "--scenario", "wrong.yml"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("wrong.yml:1:16"), "{}", text(&output.stderr));
}
