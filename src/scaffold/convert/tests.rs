use super::super::framework;
use super::*;
use crate::package::options;
use crate::package::parameters::Parameters;
use crate::package::{lint, marathon as app_of};
use crate::template::Template;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A framework as its author may have written it.
const TIDE: [(&str, &str); 7] = [
    (
        "universe/package.json",
        r#"{
  "packagingVersion": "4.0", "name": "tide", "version": "{{package-version}}", "maintainer": "t@example.org",
  "description": "Tells the tide", "tags": ["tide"], "framework": true
}
"#,
    ),
    (
        "universe/config.json",
        r#"{
  "type": "object",
  "properties": {
    "service": {
      "type": "object",
      "properties": {
        "name": {"type": "string", "default": "tide"},
        "user": {"type": "string", "default": "nobody"},
        "service_account": {"type": "string", "default": ""},
        "service_account_secret": {"type": "string", "default": ""},
        "log_level": {"type": "string", "default": "INFO"},
        "network": {"type": "string", "default": ""}
      }
    },
    "node": {
      "type": "object",
      "properties": {
        "count": {"type": "integer", "default": 2},
        "placement": {"type": "string", "default": "[[\"hostname\", \"UNIQUE\"]]"}
      }
    },
    "tls": {"type": "object", "properties": {"enabled": {"type": "boolean", "default": false}}},
    "java": {"type": "object", "properties": {"heap": {"type": "integer", "default": 512}}}
  }
}
"#,
    ),
    (
        "universe/marathon.json.mustache",
        r#"{
  {{! the scheduler, and nothing else }}
  "id": "{{service.name}}",
  "cmd": "export LD_LIBRARY_PATH=$MESOS_SANDBOX/libmesos-bundle/lib && export JAVA_HOME=$(ls -d $MESOS_SANDBOX/jre*) && export JAVA_OPTS=\"-Xmx{{java.heap}}M\" && export TZ=UTC && ./bootstrap -resolve=false && ./tide-scheduler/bin/tide ./tide-scheduler/svc.yml",
  "cpus": 1.0,
  "mem": 1024,
  "instances": 1,
  "user": "{{service.user}}",
  {{#service.service_account_secret}}
  "secrets": {"serviceCredential": {"source": "{{service.service_account_secret}}"}},
  {{/service.service_account_secret}}
  "env": {
    "PACKAGE_NAME": "{{package-name}}",
    "FRAMEWORK_NAME": "{{service.name}}",
    "FRAMEWORK_LOG_LEVEL": "{{service.log_level}}",
    {{#service.service_account_secret}}
    "DCOS_SERVICE_ACCOUNT_CREDENTIAL": {"secret": "serviceCredential"},
    "MESOS_MODULES": "{\"libraries\":[{\"file\":\"libmesos-bundle\/lib\/libdcos_security.so\"}]}",
    {{/service.service_account_secret}}
    {{#service.network}}
    "ENABLE_VIRTUAL_NETWORK": "yes",
    "VIRTUAL_NETWORK_NAME": "{{service.network}}",
    {{/service.network}}
    {{#tls.enabled}}"TASKCFG_ALL_TLS": "true",{{/tls.enabled}}
    {{^tls.enabled}}"TASKCFG_ALL_TLS": "false",{{/tls.enabled}}
    "MESOS_API_VERSION": "V1",
    "NODE_COUNT": "{{node.count}}",
    "NODE_PLACEMENT": "{{{node.placement}}}",
    "TIDE_URI": "{{resource.assets.uris.tide-tgz}}",
    "BOOTSTRAP_URI": "{{resource.assets.uris.bootstrap-zip}}",
    "EXTRA_URI": "{{resource.assets.uris.extra-zip}}",
    "JAVA_URI": "{{resource.assets.uris.jre-tar-gz}}",
    "LIBMESOS_URI": "{{resource.assets.uris.libmesos-bundle-tar-gz}}"
  },
  "fetch": [
    {"uri": "{{resource.assets.uris.bootstrap-zip}}", "cache": true},
    {"uri": "{{resource.assets.uris.jre-tar-gz}}"},
    {"uri": "{{resource.assets.uris.scheduler-zip}}"},
    {"uri": "{{resource.assets.uris.libmesos-bundle-tar-gz}}"}
  ],
  "labels": {"DCOS_COMMONS_UNINSTALL": "true", "DCOS_SERVICE_NAME": "{{service.name}}"},
  "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "api"}]
}
"#,
    ),
    (
        "universe/resource.json",
        r#"{
  "assets": {
    "uris": {
      "jre-tar-gz": "{{jre-url}}",
      "libmesos-bundle-tar-gz": "{{libmesos-bundle-url}}",
      "bootstrap-zip": "https://downloads.example.org/bootstrap.zip",
      "scheduler-zip": "{{artifact-dir}}/tide-scheduler.zip",
      "extra-zip": "{{artifact-dir}}/extra.zip",
      "tide-tgz": "https://tide.example.org/tide-1.0.tgz"
    }
  },
  "cli": {
    "binaries": {
      "darwin": {"x86-64": {"kind": "executable", "url": "{{artifact-dir}}/dcos-service-cli-darwin",
        "contentHash": [{"algo": "sha256", "value": "{{sha256:dcos-service-cli-darwin}}"}]}},
      "linux": {"x86-64": {"kind": "executable", "url": "{{artifact-dir}}/dcos-service-cli-linux",
        "contentHash": [{"algo": "sha256", "value": "{{sha256:dcos-service-cli-linux}}"}]}}
    }
  }
}
"#,
    ),
    (
        "src/main/dist/svc.yml",
        "name: {{FRAMEWORK_NAME}}
pods:
  node:
    count: {{NODE_COUNT}}
    placement: '{{{NODE_PLACEMENT}}}'
    {{#ENABLE_VIRTUAL_NETWORK}}
    networks:
      {{VIRTUAL_NETWORK_NAME}}:
    {{/ENABLE_VIRTUAL_NETWORK}}
    uris:
      - {{BOOTSTRAP_URI}}
      - {{TIDE_URI}}
    tasks:
      server:
        goal: RUNNING
        cmd: ./bootstrap && exec ./tide
        cpus: 0.1
        memory: 32
        configs:
          tide:
            template: conf/tide.conf
            dest: tide.conf
",
    ),
    ("src/main/dist/conf/tide.conf", "tls = {{TLS}}\n"),
    (
        "src/main/java/org/example/Main.java",
        "package org.example;\npublic class Main { public static void main(String[] a) {} }\n",
    ),
];

/// In a file of the framework, one text in place of another.
type Change<'c> = (&'c str, &'c str, &'c str);

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// The framework, with changes of its files: path, old text, new text.
    fn new(changes: &[Change]) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        for (path, text) in TIDE {
            let mut text = text.to_owned();
            for (_, old, new) in changes.iter().filter(|(changed, ..)| *changed == path) {
                assert!(text.contains(old), "{path} has no {old}");
                text = text.replace(old, new);
            }
            fixture.write(path, &text);
        }
        fixture
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), text).unwrap();
    }

    fn try_convert(&self, name: Option<&str>) -> Result<Conversion, String> {
        let framework = framework::read(self.folder.path()).map_err(|error| error.to_string())?;
        convert(&framework, name).map_err(|error| error.to_string())
    }

    fn convert(&self) -> Conversion {
        self.try_convert(None).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The notes of one kind, with paths below the framework.
    fn notes(&self, conversion: &Conversion, kind: NoteKind) -> Vec<String> {
        let root = format!("{}/", self.folder.path().display());
        let of_kind = conversion.notes.iter().filter(|note| note.kind == kind);
        of_kind.map(|note| note.to_string().replace(&root, "")).collect()
    }
}

fn text<'c>(conversion: &'c Conversion, path: &str) -> &'c str {
    std::str::from_utf8(&conversion.files[path].bytes).unwrap()
}

fn sources(conversion: &Conversion) -> Sources {
    let source = |name: &str| Source::new(name, text(conversion, &format!("universe/{name}")));
    let sources = Sources {
        package: source("package.json"),
        config: Some(source("config.json")),
        marathon: Some(source("marathon.json.mustache")),
        resource: Some(source("resource.json")),
    };
    sources.substitute(&Parameters::for_checks(&sources.package)).unwrap()
}

/// The app that DC/OS makes of the package.
fn app(conversion: &Conversion, options: &Value) -> Value {
    let sources = sources(conversion);
    assert_eq!(lint::universe(&sources), []);
    let options =
        options::resolve(Some(&sources.config.unwrap().json().unwrap()), options.as_object().unwrap())
            .unwrap();
    let template = Template::parse(&sources.marathon.unwrap().text).unwrap();
    let resource = sources.resource.unwrap().json().unwrap();
    Value::Object(app_of::render(&template, &options, Some(&resource)).unwrap().0)
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

const MARATHON: &str = "universe/marathon.json.mustache";
const RESOURCE: &str = "universe/resource.json";

#[test]
fn the_app_starts_our_scheduler_and_knows_nothing_of_java() {
    let conversion = Fixture::new(&[]).convert();
    let app = app(&conversion, &json!({}));
    assert_eq!(app["cmd"], "export TZ=UTC && exec ./dagpkg-scheduler");
    let url = "https://artifacts.example.org";
    assert_eq!(
        app["fetch"],
        json!([{"uri": format!("{url}/dagpkg-scheduler"), "executable": true}, {"uri": format!("{url}/svc.zip")}])
    );
    let env = [
        "PACKAGE_NAME",
        "FRAMEWORK_NAME",
        "FRAMEWORK_LOG_LEVEL",
        "TASKCFG_ALL_TLS",
        "MESOS_API_VERSION",
        "NODE_COUNT",
        "NODE_PLACEMENT",
        "TIDE_URI",
        "BOOTSTRAP_URI",
        "MESOS_MASTER",
        "STATE_DIR",
        "SECRETS",
        "SVC_FILE",
    ];
    assert_eq!(names(&app["env"]), env);
    assert_eq!(app["env"]["SVC_FILE"], "svc/svc.yml");
    assert_eq!(app["env"]["STATE_DIR"], "/var/lib/tide");
    assert_eq!(app["env"]["BOOTSTRAP_URI"], format!("{url}/bootstrap.zip"));
    assert_eq!(app["env"]["NODE_PLACEMENT"], r#"[["hostname", "UNIQUE"]]"#);
    let resource = sources(&conversion).resource.unwrap().json().unwrap();
    assert_eq!(
        names(&resource["assets"]["uris"]),
        ["bootstrap-zip", "dagpkg-scheduler", "svc-zip", "tide-tgz"]
    );
    assert_eq!(names(&resource["cli"]["binaries"]), ["linux"]);
    for (path, old) in TIDE {
        let new = path.strip_prefix("src/main/dist/").map(|path| format!("svc/{path}"));
        assert!(new.is_none_or(|new| text(&conversion, &new) == old), "{path} stays as it is");
    }
}

#[test]
fn sections_and_comments_are_kept() {
    let conversion = Fixture::new(&[]).convert();
    assert!(text(&conversion, MARATHON).contains("  {{! the scheduler, and nothing else }}\n"));
    for (options, name, value) in [
        (json!({"service": {"network": "dcos"}}), "VIRTUAL_NETWORK_NAME", json!("dcos")),
        (json!({"tls": {"enabled": true}}), "TASKCFG_ALL_TLS", json!("true")),
        (
            json!({"service": {"service_account_secret": "tide/sa"}}),
            "DCOS_SERVICE_ACCOUNT_CREDENTIAL",
            json!({"secret": "serviceCredential"}),
        ),
    ] {
        let app = app(&conversion, &options);
        assert_eq!(app["env"][name], value, "{options}");
        assert_eq!(app["env"].get("MESOS_MODULES"), None);
        assert_eq!(app.get("secrets").is_some(), name.starts_with("DCOS_SERVICE"), "{options}");
    }
}

#[test]
fn other_spellings_lead_to_the_same_app() {
    let expected = app(&Fixture::new(&[]).convert(), &json!({}));
    let fetch = TIDE[2].1.split_once("\"fetch\"").unwrap().1.split_once("],").unwrap().0;
    let env_end = "\"LIBMESOS_URI\": \"{{resource.assets.uris.libmesos-bundle-tar-gz}}\"\n  }";
    let cmd = TIDE[2].1.lines().find(|line| line.contains("\"cmd\"")).unwrap();
    let in_sections = format!(
        "  {{{{#tls.enabled}}}}\n{cmd}\n  {{{{/tls.enabled}}}}\n  {{{{^tls.enabled}}}}\n{cmd}\n  {{{{/tls.enabled}}}}"
    );
    let cases: [(&str, Vec<Change>); 7] = [
        (
            "uris in place of fetch",
            vec![
                (
                    MARATHON,
                    fetch,
                    ": [\"{{resource.assets.uris.jre-tar-gz}}\", \"{{resource.assets.uris.scheduler-zip}}\"\n  ",
                ),
                (MARATHON, "\"fetch\"", "\"uris\""),
            ],
        ),
        ("nothing is fetched", vec![(MARATHON, fetch, ": ["), (MARATHON, "\"fetch\": [],", "")]),
        (
            "a download without a name",
            vec![(MARATHON, "{{resource.assets.uris.scheduler-zip}}", "https://h/x/libmesos-bundle.tgz")],
        ),
        (
            "commas in front",
            vec![
                (
                    MARATHON,
                    env_end,
                    "\"LAST\": \"\" {{#tls.enabled}}, \"MESOS_MODULES\": \"\"{{/tls.enabled}}\n  }",
                ),
                (
                    MARATHON,
                    "\"LAST\": \"\" ",
                    "\"LIBMESOS_URI\": \"{{resource.assets.uris.libmesos-bundle-tar-gz}}\"",
                ),
            ],
        ),
        ("commands in sections", vec![(MARATHON, cmd, &in_sections)]),
        ("blanks and tabs", vec![(MARATHON, "\": ", "\"\t:\n   ")]),
        (
            "an image for Java",
            vec![(
                MARATHON,
                "\"instances\": 1,",
                "\"instances\": 1, \"container\": {\"type\": \"DOCKER\", \"docker\": {\"image\": \"java:8\"}},",
            )],
        ),
    ];
    for (case, changes) in cases {
        let mut app = app(&Fixture::new(&changes).convert(), &json!({}));
        if let Some(container) = app.as_object_mut().unwrap().shift_remove("container") {
            assert_eq!(container, json!({"type": "MESOS"}), "{case}");
        }
        assert_eq!(app, expected, "{case}");
    }
}

#[test]
fn the_service_file_is_the_one_that_the_command_names() {
    let both = "./tide-scheduler/svc{{#tls.enabled}}-tls{{/tls.enabled}}.yml";
    for (argument, written, with_tls) in [
        ("./tide-scheduler/svc.yml", "svc/svc.yml", "svc/svc.yml"),
        ("$MESOS_SANDBOX/tide-scheduler/more/big.yaml --fast", "svc/more/big.yaml", "svc/more/big.yaml"),
        ("elsewhere/svc-tls.yml", "svc/svc-tls.yml", "svc/svc-tls.yml"),
        (both, "svc/svc.yml", "svc/svc-tls.yml"),
        (
            "{{#tls.enabled}}svc-tls.yml{{/tls.enabled}} {{^tls.enabled}}svc.yml{{/tls.enabled}}",
            "svc/svc.yml",
            "svc/svc-tls.yml",
        ),
        ("{{service.which}}", "svc/svc.yml", "svc/svc.yml"),
        ("", "svc/svc.yml", "svc/svc.yml"),
    ] {
        let option = "\"service_account\": {";
        let which = "\"which\": {\"type\": \"string\", \"enum\": [\"svc\", \"gone\"], \"default\": \"svc\"}, \"service_account\": {";
        let fixture = Fixture::new(&[
            (MARATHON, "./tide-scheduler/svc.yml", argument),
            ("universe/config.json", option, which),
        ]);
        for path in ["svc-tls.yml", "more/big.yaml"] {
            fixture.write(&format!("src/main/dist/{path}"), TIDE[4].1);
        }
        fixture.write("src/main/dist/more/conf/tide.conf", "x");
        let conversion = fixture.convert();
        let svc = |tls: bool| app(&conversion, &json!({"tls": {"enabled": tls}}))["env"]["SVC_FILE"].clone();
        assert_eq!((svc(false), svc(true)), (json!(written), json!(with_tls)), "{argument}");
        let left = fixture.notes(&conversion, NoteKind::Left).join("\n");
        assert_eq!(left.contains("no service file: \"gone\""), argument.contains("which"), "{left}");
        assert_eq!(left.contains("the argument `--fast`"), argument.contains("--fast"), "{left}");
    }
}

#[test]
fn every_change_is_told_with_its_place() {
    let fixture = Fixture::new(&[]);
    let conversion = fixture.convert();
    let notes = |kind| fixture.notes(&conversion, kind).join("\n");
    for (kind, expected) in [
        (
            NoteKind::Changed,
            "universe/config.json:6: options that dagpkg-scheduler needs are added: `service.mesos_master`",
        ),
        (
            NoteKind::Changed,
            "universe/marathon.json.mustache:4: the command starts dagpkg-scheduler, which runs svc/svc.yml",
        ),
        (NoteKind::Changed, "universe/resource.json:6: `bootstrap-zip` is bootstrap.zip of this package"),
        (NoteKind::Dropped, "universe/marathon.json.mustache:18: the variable MESOS_MODULES: only Java"),
        (
            NoteKind::Dropped,
            "universe/marathon.json.mustache:31: the variable EXTRA_URI: no service file uses it",
        ),
        (
            NoteKind::Dropped,
            "universe/marathon.json.mustache:33: the variable LIBMESOS_URI: what it leads to is gone",
        ),
        (
            NoteKind::Dropped,
            "universe/resource.json:4: `jre-tar-gz` is not downloaded any more: dagpkg-scheduler needs no Java",
        ),
        (
            NoteKind::Dropped,
            "universe/resource.json:8: `extra-zip` is not downloaded any more: nothing uses it",
        ),
        (NoteKind::Dropped, "universe/resource.json:14: no subcommand for darwin"),
        (NoteKind::Left, "universe/config.json:23: the option `java.heap` is kept"),
        (NoteKind::Left, "universe/marathon.json.mustache:6: mem 1024 was for Java"),
        (NoteKind::Left, "universe/marathon.json.mustache:17: the service account is kept as it is"),
        (
            NoteKind::Left,
            "universe/marathon.json.mustache:26: neither dagpkg-scheduler nor a service file reads these variables; Java code may have: MESOS_API_VERSION (line 26)",
        ),
        (NoteKind::Left, "universe/resource.json:9: `tide-tgz` is downloaded from elsewhere"),
        (
            NoteKind::Left,
            "src/main/java/org/example/Main.java: Java code is not taken over: it starts the scheduler",
        ),
    ] {
        assert!(notes(kind).contains(expected), "{kind:?} {expected}\n{}", notes(kind));
    }
}

#[test]
fn what_tasks_fetch_stays_or_is_asked_for() {
    let uris = "      - {{TIDE_URI}}\n";
    let fixture = Fixture::new(&[(
        "src/main/dist/svc.yml",
        uris,
        "      - {{TIDE_URI}}\n      - {{JAVA_URI}}\n      - {{LIBMESOS_URI}}\n      - {{EXTRA_URI}}\n",
    )]);
    let conversion = fixture.convert();
    let app = app(&conversion, &json!({}));
    let url = "https://artifacts.example.org";
    assert_eq!(app["env"]["JAVA_URI"], format!("{url}/jre.tar.gz"));
    assert_eq!(app["env"]["LIBMESOS_URI"], format!("{url}/bootstrap.zip"));
    assert_eq!(app["env"]["EXTRA_URI"], format!("{url}/extra.zip"));
    let left = fixture.notes(&conversion, NoteKind::Left).join("\n");
    for expected in [
        "src/main/dist/svc.yml:13: tasks fetch Java by `{{JAVA_URI}}`: it must be an artifact of this package",
        "src/main/dist/svc.yml:14: `{{LIBMESOS_URI}}` brings bootstrap.zip",
        "universe/resource.json:4: `jre-tar-gz` was what the SDK's build put there",
        "universe/resource.json:8: `extra-zip` is an artifact of this package: put it at artifacts/extra.zip",
    ] {
        assert!(left.contains(expected), "{expected}\n{left}");
    }
    assert_eq!(app["fetch"].as_array().unwrap().len(), 2, "the scheduler needs none of that");
}

#[test]
fn paths_in_the_folder_of_the_java_scheduler_lead_beside_the_service_file() {
    for (value, template, expected) in [
        ("tide-scheduler", "{{TEMPLATES}}/conf/tide.conf", json!(".")),
        ("./tide-scheduler/", "{{TEMPLATES}}/conf/tide.conf", json!(".")),
        ("$MESOS_SANDBOX/tide-scheduler/conf", "{{TEMPLATES}}/tide.conf", json!("conf")),
        ("conf", "{{TEMPLATES}}/tide.conf", json!("conf")),
    ] {
        let variable = format!("\"TEMPLATES\": \"{value}\", \"MESOS_API_VERSION\"");
        let fixture = Fixture::new(&[
            (MARATHON, "\"MESOS_API_VERSION\"", &variable),
            ("src/main/dist/svc.yml", "template: conf/tide.conf", &format!("template: '{template}'")),
        ]);
        assert_eq!(app(&fixture.convert(), &json!({}))["env"]["TEMPLATES"], expected, "{value}");
    }
}

#[test]
fn the_api_listens_at_the_apps_first_port_if_none_is_called_api() {
    for (ports, cmd) in [
        ("\"name\": \"api\"", "exec ./dagpkg-scheduler"),
        ("\"name\": \"web\"", "exec ./dagpkg-scheduler --api-port $PORT0"),
    ] {
        let fixture =
            Fixture::new(&[(MARATHON, "\"name\": \"api\"", ports), (MARATHON, " && export TZ=UTC", "")]);
        assert_eq!(app(&fixture.convert(), &json!({}))["cmd"], cmd);
    }
}

#[test]
fn java_code_is_told_with_what_it_did() {
    let fixture = Fixture::new(&[]);
    fixture.write(
        "src/main/java/Tide.java",
        "import com.mesosphere.sdk.RecoveryPlanOverrider;\n\nclass Tide {\n  void go() {\n    builder.setPodEnv(\"node\", m);\n  }\n}\n\
         class Over implements RecoveryPlanOverrider {}\n",
    );
    fixture.write("src/main/java/Other.java", "// PlanCustomizer is not used\nclass Other {}\n");
    fixture.write("src/test/java/TideTest.java", "class TideTest {}");
    std::fs::create_dir(fixture.path("cli")).unwrap();
    fixture.write("universe/notes.txt", "n");
    let conversion = fixture.convert();
    let left = fixture.notes(&conversion, NoteKind::Left).join("\n");
    for (expected, is_there) in [
        ("src/main/java/Tide.java:5: Java code is not taken over: it sets variables of tasks", true),
        ("src/main/java/Tide.java:8: Java code is not taken over: it recovers tasks in its own way", true),
        ("src/main/java/Other.java: Java code is not taken over: see whether", true),
        ("TideTest", false),
        ("cli: the package brings dcos-service-cli", true),
    ] {
        assert_eq!(left.contains(expected), is_there, "{expected}\n{left}");
    }
    let dropped = fixture.notes(&conversion, NoteKind::Dropped).join("\n");
    assert!(dropped.contains("universe/notes.txt: not a file of a package"), "{dropped}");
}

#[test]
fn a_package_may_get_another_name() {
    let fixture = Fixture::new(&[]);
    let conversion = fixture.try_convert(Some("flood")).unwrap();
    let sources = sources(&conversion);
    assert_eq!(sources.package.json().unwrap()["name"], "flood");
    assert_eq!(app(&conversion, &json!({}))["id"], "flood");
    assert!(fixture.try_convert(Some("Flood")).unwrap_err().contains("cannot be called `Flood`"));
}

#[test]
fn options_that_are_there_already_are_used_or_told() {
    let state = |kind: &str| format!("\"state_dir\": {{\"type\": \"{kind}\"}}, \"service_account\": {{");
    for (kind, variable, is_told) in
        [("string", "{{service.state_dir}}", false), ("integer", "/var/lib/tide", true)]
    {
        let fixture = Fixture::new(&[("universe/config.json", "\"service_account\": {", &state(kind))]);
        let conversion = fixture.convert();
        assert!(text(&conversion, MARATHON).contains(&format!("\"STATE_DIR\": \"{variable}\"")));
        let left = fixture.notes(&conversion, NoteKind::Left).join("\n");
        assert_eq!(
            left.contains("config.json:9: the option `service.state_dir` is of another kind"),
            is_told,
            "{left}"
        );
    }
    let fixture = Fixture::new(&[]);
    std::fs::remove_file(fixture.path("universe/config.json")).unwrap();
    fixture.write(
        "universe/marathon.json.mustache",
        &TIDE[2].1.replace("{{service.name}}", "tide").replace("{{node.count}}", "1"),
    );
    let conversion = fixture.convert();
    assert_eq!(app(&conversion, &json!({}))["env"]["MESOS_MASTER"], "http://leader.mesos:5050");
}

#[test]
fn a_line_that_is_no_json_in_a_section_is_told_and_does_no_harm() {
    let fixture = Fixture::new(&[(MARATHON, "\"VIRTUAL_NETWORK_NAME\":", "\"VIRTUAL_NETWORK_NAME:")]);
    let conversion = fixture.convert();
    app(&conversion, &json!({}));
    let left = fixture.notes(&conversion, NoteKind::Left).join("\n");
    assert!(left.contains("marathon.json.mustache:22: this line is not JSON"), "{left}");
}

#[test]
fn what_cannot_be_converted_is_refused_with_the_reason() {
    let cases: [(&str, &str, &str, &str); 11] = [
        ("universe/package.json", "\"tide\"", "\"Tide_1\"", "cannot be called `Tide_1`"),
        ("universe/package.json", "\"tags\"", "tags", "package.json:3:36: error[P003]: this is not JSON"),
        ("universe/config.json", "\"tls\"", "tls", "config.json:22:5: error[P003]: this is not JSON"),
        (RESOURCE, "\"cli\"", "cli", "resource.json:12:3: error[P003]: this is not JSON"),
        (MARATHON, "{{/service.network}}", "", "marathon.json.mustache"),
        (MARATHON, "  \"cmd\"", "  \"command\"", "marathon.json.mustache:1:1: there is no `cmd`"),
        (
            MARATHON,
            "{\n  {{! the",
            "{{=<% %>=}}{\n  {{! the",
            "marathon.json.mustache:1:1: tags with other delimiters",
        ),
        (
            MARATHON,
            "./tide-scheduler/svc.yml",
            "other.yml",
            "mustache:4:3: the scheduler runs `other.yml`, which is not among the service files: svc.yml",
        ),
        (
            "src/main/dist/svc.yml",
            "{{/ENABLE_VIRTUAL_NETWORK}}",
            "",
            "src/main/dist/svc.yml:6:5: error[S027]: section `ENABLE_VIRTUAL_NETWORK` is never closed",
        ),
        ("src/main/dist/svc.yml", "goal: RUNNING", "goal: [", "src/main/dist/svc.yml:"),
        ("src/main/dist/svc.yml", "pods:\n", "jobs:\n", "src/main/dist: no file says what pods there are"),
    ];
    for (path, old, new, expected) in cases {
        let fixture = Fixture::new(&[(path, old, new)]);
        let error = fixture.try_convert(None).unwrap_err();
        assert!(error.contains(expected), "{path} {new}: {error}");
    }
    for (removed, expected) in [
        ("universe/package.json", "there is no universe/package.json in it"),
        ("universe/marathon.json.mustache", "there is no universe/marathon.json.mustache in it"),
        ("src/main/dist/svc.yml", "there is no service file (*.yml) in"),
    ] {
        let fixture = Fixture::new(&[]);
        std::fs::remove_file(fixture.path(removed)).unwrap();
        let error = fixture.try_convert(None).unwrap_err();
        assert!(error.contains("is no framework of the SDK") && error.contains(expected), "{error}");
    }
    let fixture = Fixture::new(&[]);
    std::fs::write(fixture.path("src/main/dist/svc.yml"), b"pods:\n\xff").unwrap();
    assert!(
        fixture.try_convert(None).unwrap_err().contains("svc.yml:2:1: error[P002]: the file is not UTF-8")
    );
    std::fs::remove_file(fixture.path("src/main/dist/svc.yml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", fixture.path("src/main/dist/svc.yml")).unwrap();
    assert!(fixture.try_convert(None).unwrap_err().contains("svc.yml is a link"));
}

#[test]
fn a_template_that_cannot_be_changed_soundly_is_refused() {
    // with the section off there is no environment to add to
    let env = TIDE[2].1.split_once("\"env\": {").unwrap().1.split_once("\"fetch\"").unwrap().0;
    let fixture = Fixture::new(&[(MARATHON, env, " {{#tls.enabled}}\"A\": \"1\"{{/tls.enabled}} },\n  ")]);
    let error = fixture.try_convert(None).unwrap_err();
    assert!(
        error.contains("this template cannot be converted: everything in `env` is in sections"),
        "{error}"
    );
    let fixture = Fixture::new(&[
        (MARATHON, "\"env\": {", "{{#tls.enabled}}\"x\": 1,{{/tls.enabled}}{{^tls.enabled}}\"env\": {"),
        (MARATHON, "\"fetch\"", "{{/tls.enabled}}\"fetch\""),
    ]);
    let error = fixture.try_convert(None).unwrap_err();
    assert!(error.contains("with `tls.enabled` switched, the variable MESOS_MASTER is missing"), "{error}");
}

#[test]
fn a_service_file_that_needs_options_is_told_of_and_not_refused() {
    let fixture = Fixture::new(&[(
        "universe/config.json",
        "\"count\": {\"type\": \"integer\", \"default\": 2}",
        "\"count\": {\"type\": \"integer\"}",
    )]);
    fixture.write("src/main/dist/other.yml", "name: x\npods:\n  a:\n    count: many\n");
    let conversion = fixture.convert();
    let left = fixture.notes(&conversion, NoteKind::Left).join("\n");
    assert!(left.contains("src/main/dist/svc.yml:4: with default options: "), "{left}");
    assert!(left.contains("src/main/dist/other.yml:4: with default options: "), "{left}");
}
