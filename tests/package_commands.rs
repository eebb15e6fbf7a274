//! `dagpkg build`, `serve` and `render` as they are run: files in; files, text and exit code out.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

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

/// What a build says about itself as data.
fn built(folder: &Path, arguments: &str) -> Value {
    serde_json::from_str(&success(folder, &format!("build {arguments} --output json"))).unwrap()
}

/// All files below a folder, with their bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().to_owned();
                found.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_package_is_built_and_the_commands_to_install_it_are_printed() {
    let folder = fixture();
    let arguments =
        "build web . --root www --url https://h.example/p/ --package-version 1.0 --print-config nginx";
    let planned = success(folder.path(), &format!("{arguments} --dry-run"));
    assert!(!folder.path().join("www").exists(), "a dry run writes nothing");
    let text = success(folder.path(), arguments);
    let directory = text.lines().next().unwrap().strip_prefix("weather 1.0: published in www/").unwrap();
    assert_eq!(planned, text.replacen("published", "would be published", 1));
    let stub = format!("https://h.example/p/{directory}/stub-universe-weather.json");
    for expected in [
        format!("stub universe: {stub}"),
        "dcos package uninstall weather\n  dcos package repo remove weather-web".to_owned(),
        format!(
            "  dcos package repo add --index=0 weather-web {stub}\n  dcos package install --yes weather\n"
        ),
        "location ~ /stub-universe-".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected} is not in {text}");
    }
    let again = success(folder.path(), arguments);
    assert!(again.starts_with("weather 1.0: is published already in www/"), "{again}");

    let app = format!("render marathon --universe www/{directory}/stub-universe-weather.json");
    let app: Value = serde_json::from_str(&success(folder.path(), &app)).unwrap();
    assert_eq!(app["env"], json!({"STATIONS": "2", "VERSION": "1.0"}));
}

#[test]
fn a_file_that_is_no_part_of_a_package_is_left_out_with_a_warning() {
    let folder = fixture();
    std::fs::write(folder.path().join("universe/resources.json"), "{}").unwrap();
    std::fs::write(folder.path().join("universe/.gitignore"), "").unwrap();
    let output = run(folder.path(), "build local --out dist");
    let warning = String::from_utf8(output.stderr).unwrap();
    assert_eq!(warning, "warning: ./universe: not a part of the package, and left out: resources.json\n");
    assert!(output.status.success());
}

#[test]
fn a_build_tells_programs_what_it_published_with_hashes() {
    let folder = fixture();
    let report = built(folder.path(), "local --out dist");
    let place = report["place"].as_str().unwrap();
    let files = tree(&folder.path().join(place));
    assert_eq!(report["outcome"], "published");
    assert_eq!(report["url"], format!("http://127.0.0.1:8190/{}", place.strip_prefix("dist/").unwrap()));
    let listed = report["files"].as_array().unwrap();
    assert_eq!(listed.len(), files.len());
    for file in listed {
        let bytes = &files[Path::new(file["name"].as_str().unwrap())];
        let sha256 = dagpkg::publish::publication::hex(&Sha256::digest(bytes));
        assert_eq!((&file["size"], &file["sha256"]), (&json!(bytes.len()), &json!(sha256)));
    }
    assert_eq!(report["install"][3], "dcos package install --yes weather");
    std::fs::write(folder.path().join(place).join("svc.yml"), "damaged").unwrap();
    assert_eq!(built(folder.path(), "local --out dist --dry-run")["outcome"], "repaired");
    assert_eq!(built(folder.path(), "local --out dist")["outcome"], "repaired");
    assert_eq!(tree(&folder.path().join(place)), files);
}

#[test]
fn the_same_package_has_the_same_bytes_from_another_folder_at_another_time() {
    let (one, two) = (fixture(), fixture());
    success(one.path(), "build local --out dist");
    // the other is built by its path, from a folder that is somewhere else
    let elsewhere = tempfile::tempdir().unwrap();
    for file in tree(two.path()).keys() {
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        std::fs::File::options().write(true).open(two.path().join(file)).unwrap().set_modified(past).unwrap();
    }
    success(elsewhere.path(), &format!("build local {} --out dist", two.path().display()));
    let published = tree(&one.path().join("dist"));
    assert!(published.len() > 4);
    assert_eq!(published, tree(&elsewhere.path().join("dist")));
}

#[test]
fn urls_that_cannot_be_those_of_files_are_wrong_usage() {
    let folder = fixture();
    for url in
        ["ftp://h/p", "packages", "https://user:password@h/p", "https://h/p?x=1", "https://h/p#x", "http://"]
    {
        let output = run(folder.path(), &format!("build web --root www --url {url}"));
        assert_eq!(output.status.code(), Some(2), "{url}");
    }
    assert!(!folder.path().join("www").exists());
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
        error.starts_with("bad.json:2:3: error[P024]: option `stations`: 0 is less than the minimum of 1"),
        "{error}"
    );
    assert!(error.contains("universe/config.json:1:67"), "where the rule is: {error}");
    assert!(error.ends_with("error: stopped by 1 error\n"), "{error}");
    let error = failure(folder.path(), "render marathon --set stations");
    assert!(error.starts_with("--set stations: error[P025]: there is no `=`"), "{error}");
}

#[test]
fn options_that_are_still_to_be_set_are_warned_of() {
    let folder = fixture();
    let config = r#"{"properties": {"stations": {"default": 1}}, "required": ["key"]}"#;
    std::fs::write(folder.path().join("universe/config.json"), config).unwrap();
    let output = run(folder.path(), "render marathon");
    assert!(output.status.success());
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(
        warning.starts_with("universe/config.json:1:46: warning[P022]: option `key` is required"),
        "{warning}"
    );
}

#[test]
fn a_template_that_cannot_be_rendered_is_refused_with_its_place() {
    let folder = fixture();
    std::fs::write(folder.path().join("t"), "a\n {{name").unwrap();
    let error = failure(folder.path(), "render template t --values good.json");
    assert!(error.starts_with("t:2:2: error[P030]: this tag is not closed"), "{error}");
    let error = failure(folder.path(), "render template t --values nowhere.json");
    assert!(error.starts_with("error: nowhere.json: there is no such file"), "{error}");
}

#[test]
fn a_folder_is_served_until_the_program_is_interrupted() {
    let folder = fixture();
    let place = built(folder.path(), "local --out out")["place"].as_str().unwrap().to_owned();
    let mut server = dagpkg(folder.path(), "serve out --port 0").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let url = lines.next().unwrap().strip_prefix("out is served at http://").unwrap().to_owned();

    let mut connection = std::net::TcpStream::connect(&url).unwrap();
    let path = place.strip_prefix("out").unwrap();
    write!(connection, "GET {path}/svc.yml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("name: weather"), "{answer}");

    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(server.wait().unwrap().success());
}

/// The fixture with a service that shows what it is given.
fn shown() -> tempfile::TempDir {
    let folder = fixture();
    let marathon = r#"{"id": "weather", "env": {"STATIONS": "{{stations}}", "NOTE": "it's {{stations}}"}}"#;
    std::fs::write(folder.path().join("universe/marathon.json.mustache"), marathon).unwrap();
    let service =
        "name: weather # the only one\npods:\n  station:\n    count: {{STATIONS}}\n    plan: '{{GONE}}'\n";
    std::fs::write(folder.path().join("svc/svc.yml"), service).unwrap();
    folder
}

#[test]
fn a_service_is_rendered_with_what_its_package_gives_it() {
    let folder = shown();
    let output = run(folder.path(), "render svc --options good.json");
    let text = "name: weather # the only one\npods:\n  station:\n    count: 5\n    plan: ''\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.starts_with("svc/svc.yml:5:12: warning[S024]: `GONE` has no value"), "{warning}");

    let given = success(folder.path(), "render svc . --env STATIONS=9 --env GONE=x --output json");
    let expected = json!({"name": "weather", "pods": {"station": {"count": 9, "plan": "x"}}});
    assert_eq!(serde_json::from_str::<Value>(&given).unwrap(), expected);

    std::fs::write(folder.path().join("svc/svc.yml"), "a: [{{STATIONS}}").unwrap();
    assert_eq!(success(folder.path(), "render svc"), "a: [2", "it is shown although it is not YAML");
    let error = failure(folder.path(), "render svc --output json");
    assert!(error.contains("svc.yml:1:") && error.contains("error[S001]"), "{error}");
    let error = failure(folder.path(), "render svc --universe universe");
    assert!(error.contains("there is no service file"), "{error}");
}

#[test]
fn the_environment_of_the_scheduler_can_be_taken_by_shells_and_programs() {
    let folder = shown();
    let shell = success(folder.path(), "render svc --set stations=7 --env MORE=x --env");
    for line in ["STATIONS=7\n", "NOTE='it'\\''s 7'\n", "MORE=x\n", "MARATHON_APP_ID=/weather\n"] {
        assert!(shell.contains(line), "{line} is not in {shell}");
    }
    assert!(!shell.contains("PATH="), "nothing of this process: {shell}");
    let json = success(folder.path(), "render svc --env --output json");
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["NOTE"], "it's 2");
    assert!(success(folder.path(), "render svc --output yaml --env").contains("NOTE: \"it's 2\"\n"));
    assert_eq!(run(folder.path(), "render svc --env .").status.code(), Some(2));
}

#[test]
fn an_app_can_be_had_as_yaml_and_by_the_folder_of_its_package() {
    let folder = shown();
    let expected = "id: weather\nenv:\n  STATIONS: \"2\"\n  NOTE: \"it's 2\"\n";
    assert_eq!(success(folder.path(), "render marathon . --output yaml"), expected);
    let elsewhere = tempfile::tempdir().unwrap();
    let arguments = format!("render marathon {} --output yaml", folder.path().display());
    assert_eq!(success(elsewhere.path(), &arguments), expected);
}

#[test]
fn a_change_of_options_is_shown_in_all_that_it_changes() {
    let folder = shown();
    let text = success(folder.path(), "render diff --options good.json");
    let expected = "--- app (defaults)\n+++ app (good.json)\n@@ -1,7 +1,7 @@\n {\n   \"id\": \"weather\",\n   \"env\": {\n\
                    -    \"STATIONS\": \"2\",\n-    \"NOTE\": \"it's 2\"\n+    \"STATIONS\": \"5\",\n+    \"NOTE\": \"it's 5\"\n   }\n }\n\
                    --- environment (defaults)\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("-STATIONS=2\n") && text.contains("+STATIONS=5\n"), "{text}");
    let service = "--- service (defaults)\n+++ service (good.json)\n@@ -1,5 +1,5 @@\n name: weather # the only one\n pods:\n   \
                   station:\n-    count: 2\n+    count: 5\n     plan: ''\n";
    assert!(text.ends_with(service), "{text}");

    assert_eq!(success(folder.path(), "render diff --set stations=5 --old-options good.json"), "");
    let arguments = "render diff --old-options good.json --old-set stations=6 --output json";
    let changes: Value = serde_json::from_str(&success(folder.path(), arguments)).unwrap();
    assert_eq!(changes["service"], json!([{"path": "/pods/station/count", "old": 6, "new": 2}]));
    assert_eq!(changes["app"][0], json!({"path": "/env/STATIONS", "old": "6", "new": "2"}));
    assert_eq!(changes["environment"][1], json!({"path": "/STATIONS", "old": "6", "new": "2"}));
    let error = failure(folder.path(), "render diff --old-options bad.json");
    assert!(error.starts_with("bad.json:2:3: error[P024]"), "{error}");
}
