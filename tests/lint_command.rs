//! `dagpkg lint` as it is run: folders in; text, data and exit code out.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const PACKAGE: [(&str, &str); 6] = [
    (
        "universe/package.json",
        r#"{"packagingVersion": "4.0", "name": "weather", "version": "{{package-version}}", "tags": ["t"],
            "maintainer": "m@example.org", "description": "d"}"#,
    ),
    (
        "universe/config.json",
        r#"{"type": "object", "properties": {"stations": {"type": "integer", "minimum": 1, "default": 2}}}"#,
    ),
    (
        "universe/marathon.json.mustache",
        r#"{"id": "weather", "cmd": "run", "env": {"STATIONS": "{{stations}}", "VERSION": "{{package-version}}"},
            "labels": {"DCOS_COMMONS_UNINSTALL": "true", "DCOS_COMMONS_API_VERSION": "v1",
            "DCOS_PACKAGE_FRAMEWORK_NAME": "weather", "MARATHON_SINGLE_INSTANCE_APP": "true",
            "DCOS_SERVICE_NAME": "weather", "DCOS_SERVICE_PORT_INDEX": "0", "DCOS_SERVICE_SCHEME": "http"}}"#,
    ),
    ("universe/resource.json", r#"{"assets": {"uris": {"svc": "{{artifact-dir}}/svc.yml"}}}"#),
    ("svc/svc.yml", SERVICE),
    ("bad.json", "{\n  \"stations\": 0\n}"),
];

const SERVICE: &str = "\
name: weather
pods:
  station:
    count: {{STATIONS}}
    tasks:
      watch:
        goal: RUNNING
        cmd: sleep 1000
        cpus: 0.1
        memory: 32
";

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn fixture() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in PACKAGE {
        write(folder.path(), path, text);
    }
    folder
}

fn lint(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
    command.arg("lint").args(arguments.split_whitespace()).env_clear().current_dir(folder);
    command.output().unwrap()
}

/// Exit code, stdout and stderr.
fn told(folder: &Path, arguments: &str) -> (Option<i32>, String, String) {
    let output = lint(folder, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a run that must fail for its errors found, as JSON.
fn found(folder: &Path, arguments: &str) -> Value {
    let (code, out, err) = told(folder, &format!("{arguments} --output json"));
    assert_eq!(code, Some(1), "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_sound_package_has_no_findings_wherever_its_files_are() {
    let folder = fixture();
    let path = folder.path();
    let sound = |arguments: &str, files: &str| {
        let expected = (Some(0), format!("{files}: no findings\n"), String::new());
        assert_eq!(told(path, arguments), expected, "{arguments}");
    };
    sound("", "universe, svc/svc.yml");
    sound("--universe universe --svc svc/svc.yml", "universe, svc/svc.yml");
    sound("--universe universe", "universe");
    sound("--svc svc/svc.yml --env STATIONS=1", "svc/svc.yml");
    let in_universe = told(&path.join("universe"), "");
    assert_eq!(in_universe, (Some(0), ".: no findings\n".to_owned(), String::new()));
    std::fs::create_dir_all(path.join("sdk/src/main")).unwrap();
    std::fs::rename(path.join("universe"), path.join("sdk/universe")).unwrap();
    std::fs::rename(path.join("svc"), path.join("sdk/src/main/dist")).unwrap();
    sound("sdk", "sdk/universe, sdk/src/main/dist/svc.yml");
}

#[test]
fn options_and_variables_reach_the_service_file() {
    let folder = fixture();
    let place = |arguments: &str| {
        let found = found(folder.path(), arguments);
        let first = &found["findings"][0];
        format!("{}:{}:{}", first["code"], first["file"], first["line"]).replace('"', "")
    };
    assert_eq!(place("--env STATIONS=many"), "S009:svc/svc.yml:4");
    assert_eq!(place("--set stations=0"), "P024:--set stations=0:null");
    assert_eq!(place("--options bad.json"), "P024:bad.json:2");
}

#[test]
fn files_that_cannot_be_read_are_findings_and_folders_without_any_are_refused() {
    let folder = fixture();
    for (arguments, file) in [
        ("--svc no.yml", "no.yml"),
        ("--universe no", "no/package.json"),
        ("--universe universe --svc no.yml", "no.yml"),
    ] {
        let found = found(folder.path(), arguments);
        assert_eq!(
            (&found["findings"][0]["code"], &found["findings"][0]["file"]),
            (&"P001".into(), &file.into())
        );
    }
    let (code, _, error) = told(folder.path(), "svc/none");
    assert!(code == Some(1) && error.contains("neither universe/package.json nor a svc.yml"), "{error}");
    assert_eq!(lint(folder.path(), "--output yaml").status.code(), Some(2));
    assert_eq!(lint(folder.path(), "--env =x").status.code(), Some(2));
}

#[test]
fn a_service_file_whose_environment_is_not_known_is_not_checked_and_that_is_said() {
    let folder = fixture();
    write(folder.path(), "universe/marathon.json.mustache", "{\n  {{#open}}\n}");
    let (code, out, error) = told(folder.path(), "");
    assert_eq!(code, Some(1));
    let expected = "universe/marathon.json.mustache:2:3: error[P030]: section `open` is never closed";
    assert!(error.starts_with(expected), "{error}");
    assert!(out.starts_with("universe: 1 error\nsvc/svc.yml: not checked, because "), "{out}");
    assert_eq!(found(folder.path(), "")["unchecked"][0]["file"], "svc/svc.yml");
}

#[test]
fn data_has_the_place_the_advice_and_the_counts() {
    let folder = fixture();
    write(folder.path(), "svc/svc.yml", &SERVICE.replace("goal: RUNNING", "gaol: RUNNING"));
    let found = found(folder.path(), "");
    assert_eq!((&found["errors"], &found["warnings"]), (&2.into(), &0.into()));
    assert_eq!(found["checked"], serde_json::json!(["universe", "svc/svc.yml"]));
    let unknown =
        found["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "S006").unwrap();
    assert_eq!(
        (&unknown["severity"], &unknown["line"], &unknown["column"], &unknown["end"]),
        (&"error".into(), &7.into(), &9.into(), &serde_json::json!({"line": 7, "column": 13}))
    );
    assert!(unknown["help"].as_str().unwrap().contains("goal"), "{unknown}");
    assert!(unknown["notes"].is_array());
}

#[test]
fn a_log_in_sarif_has_rules_with_help_and_places_that_code_hosts_find() {
    let folder = fixture();
    write(folder.path(), "svc/svc.yml", &SERVICE.replace("goal: RUNNING", "gaol: RUNNING"));
    let absolute = folder.path().join("svc/svc.yml").display().to_string();
    for arguments in ["", &format!("--universe universe --svc {absolute}")] {
        let (code, out, _) = told(folder.path(), &format!("{arguments} --output sarif"));
        assert_eq!(code, Some(1), "{out}");
        let log: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        for result in results {
            let rule = &run["tool"]["driver"]["rules"]
                [usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            for text in ["shortDescription", "fullDescription", "help"] {
                assert!(rule[text]["text"].as_str().is_some_and(|text| text.len() > 10), "{rule}");
            }
            assert_eq!(
                (&result["level"], &rule["defaultConfiguration"]["level"]),
                (&"error".into(), &"error".into())
            );
            let text = result["message"]["text"].as_str().unwrap();
            assert!(text.contains("\nhelp: ") || text.contains("\nexpected: "), "{result}");
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "svc/svc.yml");
            let region = &place["region"];
            assert!(
                region["startLine"].as_u64() >= Some(6) && region["endColumn"].as_u64() > Some(1),
                "{region}"
            );
        }
    }
    // an argument is no file
    let (_, out, _) = told(folder.path(), "--set stations=0 --output sarif");
    let log: Value = serde_json::from_str(&out).unwrap();
    assert!(log["runs"][0]["results"][0].get("locations").is_none(), "{out}");
}

/// `CODE severity FILE:LINE` of each finding.
fn listed(folder: &Path, arguments: &str) -> Vec<String> {
    let (_, out, _) = told(folder, &format!("{arguments} --output json"));
    let all: Value = serde_json::from_str(&out).unwrap();
    let text = |finding: &Value| {
        let file = finding["file"].as_str().unwrap();
        let place = format!("{file}:{}", finding["line"]);
        format!("{} {} {place}", finding["code"].as_str().unwrap(), finding["severity"].as_str().unwrap())
    };
    all["findings"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_default_that_its_own_schema_refuses_is_an_error_unless_it_is_empty() {
    let folder = fixture();
    let config = r#"{"properties": {
        "stations": {"type": "integer", "default": 2},
        "group": {"default": {"mode": "x"}, "properties": {"mode": {"enum": ["a", "b"]}}},
        "key": {"type": "string", "minLength": 3, "default": ""},
        "must": {"type": "string"}
    }, "required": ["must"]}"#;
    write(folder.path(), "universe/config.json", config);
    let template = PACKAGE[2].1.replace("\"run\"", "\"run {{group}}{{key}}{{must}}\"");
    write(folder.path(), "universe/marathon.json.mustache", &template);
    let expected = ["P021 error universe/config.json:3", "P021 warning universe/config.json:4"];
    assert_eq!(listed(folder.path(), ""), expected);
}

#[test]
fn what_only_the_catalog_refuses_is_found_and_keeps_nobody_from_building() {
    let folder = fixture();
    let package = PACKAGE[0].1.replace("\"d\"", "\"d\u{e9}\"");
    write(folder.path(), "universe/package.json", &package);
    write(folder.path(), "universe/command.json", "{}");
    assert_eq!(
        listed(folder.path(), ""),
        ["P006 error universe/package.json:2", "P014 error universe/command.json:null"]
    );
    let mut build = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
    let build = build
        .args(["build", "local", "--out", "o", "--dry-run"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(build.status.success(), "{build:?}");
    let revision = folder.path().join("repo/packages/X/weather/0");
    std::fs::create_dir_all(revision.parent().unwrap()).unwrap();
    std::fs::rename(folder.path().join("universe"), &revision).unwrap();
    assert_eq!(listed(&revision, "").len(), 2);
    std::fs::rename(&revision, revision.with_file_name("first")).unwrap();
    let found = listed(&revision.with_file_name("first"), "");
    assert_eq!(found.iter().filter(|text| text.starts_with("P015 error")).count(), 1, "{found:?}");
}

#[test]
fn config_templates_are_rendered_with_what_their_tasks_will_have() {
    let folder = fixture();
    let task = "        cmd: export HERE=1 && ./bootstrap && run
        env: {OWN: x}
        ports: {api: {port: 0, env-key: PORT_API, vip: {port: 80}}}
        configs: {a: {template: a.conf, dest: a}, b: {template: b.conf, dest: b}}
";
    write(folder.path(), "svc/svc.yml", &SERVICE.replace("        cmd: sleep 1000\n", task));
    let known = "{{OWN}} {{HERE}} {{PORT_API}} {{ENDPOINT_API_HOST}} {{MESOS_SANDBOX}} {{POD_INSTANCE_INDEX}} {{ZONE}} \
                 {{FRAMEWORK_HOST}} {{TASK_NAME}} {{ROUTED}} {{STATSD_UDP_HOST}} {{#ABSENT}}{{x}}{{/ABSENT}}";
    write(folder.path(), "svc/a.conf", known);
    write(
        folder.path(),
        "svc/b.conf",
        "one {{OWN}}\ntwo {{GONE}} # http://acme.io\nhttps://acme.io {{GONE}}",
    );
    let env = "--env TASKCFG_ALL_ROUTED=1";
    assert_eq!(
        listed(folder.path(), env),
        ["S028 warning svc/b.conf:2", "A002 warning svc/b.conf:3", "S028 warning svc/b.conf:3"]
    );
    let without = listed(folder.path(), "");
    assert!(without.contains(&"S028 warning svc/a.conf:1".to_owned()), "{without:?}");
}

#[test]
fn what_a_scheduler_would_not_start_with_is_found_where_it_comes_from() {
    let folder = fixture();
    let template = PACKAGE[2].1.replacen("VERSION\": \"", "ENABLE_BACKOFF\": \"-", 1);
    write(folder.path(), "universe/marathon.json.mustache", &template);
    assert_eq!(listed(folder.path(), ""), ["P045 error universe/marathon.json.mustache:1"]);
    write(folder.path(), "universe/marathon.json.mustache", PACKAGE[2].1);
    let task = "        transport-encryption: [{name: t, type: TLS}]\n        cpus";
    write(folder.path(), "svc/svc.yml", &SERVICE.replace("        cpus", task));
    assert_eq!(listed(folder.path(), "--env ENABLE_BACKOFF=true"), ["S034 warning svc/svc.yml:null"]);
    let account = "--env ENABLE_BACKOFF=true --env DCOS_SERVICE_ACCOUNT_CREDENTIAL=x";
    assert_eq!(listed(folder.path(), account), Vec::<String>::new());
}

#[test]
fn images_come_from_a_variable() {
    let folder = fixture();
    let pod = |image: &str| SERVICE.replace("    count:", &format!("    image: {image}\n    count:"));
    write(folder.path(), "svc/svc.yml", &pod("acme/weather:1.0"));
    assert_eq!(listed(folder.path(), "--svc svc/svc.yml --env STATIONS=1"), ["A003 warning svc/svc.yml:4"]);
    write(folder.path(), "svc/svc.yml", &pod("'{{IMAGE}}'"));
    let set = "--svc svc/svc.yml --env STATIONS=1 --env IMAGE=acme/weather:1.0";
    assert_eq!(listed(folder.path(), set), Vec::<String>::new());
    let template = r#"{"id": "weather", "container": {"type": "MESOS", "docker": {"image": "acme/weather:1.0"}},
        "env": {"STATIONS": "{{stations}}"}}"#;
    write(folder.path(), "universe/marathon.json.mustache", template);
    assert_eq!(
        listed(folder.path(), "--universe universe"),
        ["A003 warning universe/marathon.json.mustache:1"]
    );
}

#[test]
fn the_labels_of_a_service_are_those_of_its_name() {
    let folder = fixture();
    let template = PACKAGE[2].1.replace("FRAMEWORK_NAME\": \"weather", "FRAMEWORK_NAME\": \"sunshine");
    write(folder.path(), "universe/marathon.json.mustache", &template);
    assert_eq!(listed(folder.path(), ""), ["P061 warning universe/marathon.json.mustache:3"]);
    assert_eq!(listed(folder.path(), "--universe universe"), Vec::<String>::new());
}

#[test]
fn a_package_that_needs_options_is_checked_when_it_has_them() {
    let folder = fixture();
    let config =
        r#"{"properties": {"stations": {"default": 2}, "cpus": {"type": "number"}}, "required": ["cpus"]}"#;
    write(folder.path(), "universe/config.json", config);
    let template = PACKAGE[2].1.replace("\"run\"", "\"run\", \"cpus\": {{cpus}}");
    write(folder.path(), "universe/marathon.json.mustache", &template);
    assert_eq!(listed(folder.path(), ""), ["P022 warning universe/config.json:1"]);
    let (_, text, _) = told(folder.path(), "");
    assert!(text.contains("svc/svc.yml: not checked, because "), "{text}");
    assert_eq!(listed(folder.path(), "--set cpus=1"), Vec::<String>::new());
    assert_eq!(listed(folder.path(), "--set cpus=0"), ["P041 error universe/marathon.json.mustache:1"]);
}

#[test]
fn a_built_package_is_checked_as_well() {
    let folder = fixture();
    let mut build = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
    build.args(["build", "local", "--out", "out", "--output", "json", "--artifact", "svc/svc.yml"]);
    let output = build.current_dir(folder.path()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let stub = format!("{}/stub-universe-weather.json", report["place"].as_str().unwrap());
    assert_eq!(listed(folder.path(), &format!("--universe {stub}")), Vec::<String>::new());
}
