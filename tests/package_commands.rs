//! `dagpkg build`, `serve`, `render` and `lint` as they are run: files in; files, text and exit code out.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn dagpkg(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
    command.args(arguments.split_whitespace()).env_clear().env("SOURCE_DATE_EPOCH", "1700000000");
    command.current_dir(folder);
    command
}

fn run(folder: &Path, arguments: &str) -> Output {
    dagpkg(folder, arguments).output().unwrap()
}

/// What a run that must fail printed to stderr.
fn failure(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// What a run that must succeed printed to stdout.
fn success(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn fixture() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "universe/package.json",
        r#"{"packagingVersion": "4.0", "name": "weather", "version": "{{package-version}}", "tags": ["t"],
            "maintainer": "m@example.org", "description": "d"}"#,
    );
    write(
        "universe/config.json",
        r#"{"type": "object", "properties": {"stations": {"type": "integer", "minimum": 1, "default": 2}}}"#,
    );
    write(
        "universe/marathon.json.mustache",
        r#"{"id": "weather", "env": {"STATIONS": "{{stations}}", "VERSION": "{{package-version}}"}}"#,
    );
    write("universe/resource.json", r#"{"assets": {"uris": {"svc": "{{artifact-dir}}/svc.yml"}}}"#);
    write(
        "svc/svc.yml",
        "name: weather\npods:\n  station:\n    count: {{STATIONS}}\n    tasks:\n      watch:\n        goal: RUNNING\n        \
         cmd: sleep 1000\n        cpus: 0.1\n        memory: 32\n",
    );
    write("good.json", r#"{"stations": 5}"#);
    write("bad.json", "{\n  \"stations\": 0\n}");
    folder
}

#[test]
fn a_package_is_built_twice_with_the_same_bytes() {
    let folder = fixture();
    let text = success(folder.path(), "build local --out one --package-version 1.0");
    assert_eq!(text, "weather 1.0\n  one/stub-universe-weather.json\n  one/svc.yml\n");
    success(folder.path(), "build local --out two --package-version 1.0");
    for name in ["stub-universe-weather.json", "svc.yml"] {
        let read = |out: &str| std::fs::read(folder.path().join(out).join(name)).unwrap();
        assert_eq!(read("one"), read("two"), "{name}");
    }
    let app = success(folder.path(), "render marathon --universe one/stub-universe-weather.json");
    let app: Value = serde_json::from_str(&app).unwrap();
    assert_eq!(app["env"], json!({"STATIONS": "2", "VERSION": "1.0"}));
}

#[test]
fn options_are_rendered_and_wrong_ones_refused_with_their_place() {
    let folder = fixture();
    let app = success(folder.path(), "render marathon --options good.json");
    assert!(app.contains("\"STATIONS\": \"5\""), "{app}");
    let app = success(folder.path(), "render marathon --options good.json --set stations=7");
    assert!(app.contains("\"STATIONS\": \"7\""), "{app}");
    let error = failure(folder.path(), "render marathon --options good.json --options bad.json");
    assert!(
        error.starts_with("error: bad.json:2:3: option `stations`: 0 is less than the minimum of 1"),
        "{error}"
    );
    assert!(error.contains("the rule is at universe/config.json:1:"), "{error}");
    let error = failure(folder.path(), "render marathon --set stations");
    assert!(error.starts_with("error: --set stations: there is no `=`"), "{error}");
}

#[test]
fn options_that_are_still_to_be_set_are_warned_of() {
    let folder = fixture();
    let config = r#"{"properties": {"stations": {"default": 1}}, "required": ["key"]}"#;
    std::fs::write(folder.path().join("universe/config.json"), config).unwrap();
    let output = run(folder.path(), "render marathon");
    assert!(output.status.success());
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.starts_with("warning: universe/config.json:1:46: option `key` is required"), "{warning}");
}

#[test]
fn lint_knows_what_the_package_gives_the_service_file() {
    let folder = fixture();
    let text = success(folder.path(), "lint --universe universe --svc svc/svc.yml");
    assert_eq!(text, "universe: no findings\nsvc/svc.yml: no findings\n");
    std::fs::write(folder.path().join("universe/marathon.json.mustache"), "{\n  {{#open}}\n}").unwrap();
    let error = failure(folder.path(), "lint --universe universe");
    let expected = "error: universe/marathon.json.mustache:2:3: section `open` is never closed";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(run(folder.path(), "lint").status.code(), Some(2));
}

#[test]
fn a_template_that_cannot_be_rendered_is_refused_with_its_place() {
    let folder = fixture();
    std::fs::write(folder.path().join("t"), "a\n {{name").unwrap();
    let error = failure(folder.path(), "render template t --values good.json");
    assert!(error.starts_with("error: t:2:2: this tag is not closed"), "{error}");
    let error = failure(folder.path(), "render template t --values nowhere.json");
    assert!(error.starts_with("error: nowhere.json: there is no such file"), "{error}");
}

#[test]
fn a_folder_is_served_until_the_program_is_interrupted() {
    let folder = fixture();
    success(folder.path(), "build local --out out");
    let mut server = dagpkg(folder.path(), "serve out --port 0").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let url = lines.next().unwrap().strip_prefix("out is served at http://").unwrap().to_owned();
    assert_eq!(lines.next().unwrap(), format!("  http://{url}/stub-universe-weather.json"));

    let mut connection = std::net::TcpStream::connect(&url).unwrap();
    write!(connection, "GET /svc.yml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("name: weather"), "{answer}");

    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(server.wait().unwrap().success());
}
