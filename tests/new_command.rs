//! `dagpkg new` as it is run: a package from scratch and one made of a framework come up on the embedded cluster, with the
//! real scheduler and real processes; what is refused leaves nothing behind.

use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A framework of the SDK whose task is a process of the shell.
const FRAMEWORK: [(&str, &str); 7] = [
    (
        "universe/package.json",
        r#"{"packagingVersion": "4.0", "name": "buoy", "version": "{{package-version}}", "maintainer": "b@example.org",
            "description": "Floats", "tags": ["buoy"], "framework": true}"#,
    ),
    (
        "universe/config.json",
        r#"{"type": "object", "properties": {
  "service": {"type": "object", "properties": {
    "name": {"type": "string", "default": "buoy"},
    "user": {"type": "string", "default": "nobody"},
    "service_account": {"type": "string", "default": ""},
    "service_account_secret": {"type": "string", "default": ""}
  }},
  "node": {"type": "object", "properties": {"colour": {"type": "string", "default": "red"}}}
}}"#,
    ),
    (
        "universe/marathon.json.mustache",
        r#"{
  "id": "{{service.name}}",
  "cpus": 1.0, "mem": 1024, "instances": 1, "user": "{{service.user}}",
  "cmd": "export JAVA_HOME=$(ls -d $MESOS_SANDBOX/jre*) && export PATH=$JAVA_HOME/bin:$PATH && ./bootstrap -resolve=false && ./buoy-scheduler/bin/buoy ./buoy-scheduler/svc.yml",
  {{#service.service_account_secret}}
  "secrets": {"credential": {"source": "{{service.service_account_secret}}"}},
  {{/service.service_account_secret}}
  "env": {
    "FRAMEWORK_NAME": "{{service.name}}", "FRAMEWORK_USER": "{{service.user}}",
    "FRAMEWORK_PRINCIPAL": "{{service.service_account}}",
    {{#service.service_account_secret}}
    "DCOS_SERVICE_ACCOUNT_CREDENTIAL": {"secret": "credential"},
    {{/service.service_account_secret}}
    "TASKCFG_ALL_COLOUR": "{{node.colour}}",
    "BOOTSTRAP_URI": "{{resource.assets.uris.bootstrap-zip}}",
    "LIBMESOS_URI": "{{resource.assets.uris.libmesos-bundle-tar-gz}}"
  },
  "uris": [
    "{{resource.assets.uris.bootstrap-zip}}",
    "{{resource.assets.uris.jre-tar-gz}}",
    "{{resource.assets.uris.scheduler-zip}}",
    "{{resource.assets.uris.libmesos-bundle-tar-gz}}"
  ],
  "labels": {
    "DCOS_COMMONS_API_VERSION": "v1", "DCOS_COMMONS_UNINSTALL": "true", "DCOS_PACKAGE_FRAMEWORK_NAME": "{{service.name}}",
    "DCOS_SERVICE_NAME": "{{service.name}}", "DCOS_SERVICE_PORT_INDEX": "0", "DCOS_SERVICE_SCHEME": "http",
    "MARATHON_SINGLE_INSTANCE_APP": "true"
  },
  "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "api"}]
}"#,
    ),
    (
        "universe/resource.json",
        r#"{"assets": {"uris": {
  "jre-tar-gz": "{{scheduler-jre-url}}",
  "libmesos-bundle-tar-gz": "{{libmesos-bundle-url}}",
  "bootstrap-zip": "{{artifact-dir}}/bootstrap.zip",
  "scheduler-zip": "{{artifact-dir}}/buoy-scheduler.zip"
}}}"#,
    ),
    (
        "src/main/dist/svc.yml",
        "name: {{FRAMEWORK_NAME}}
scheduler:
  principal: {{FRAMEWORK_PRINCIPAL}}
  user: {{FRAMEWORK_USER}}
pods:
  node:
    count: 1
    uris:
      - {{BOOTSTRAP_URI}}
      - {{LIBMESOS_URI}}
    secrets:
      light:
        secret: {{FRAMEWORK_NAME}}/light
        env-key: LIGHT
    tasks:
      float:
        goal: RUNNING
        cmd: ./bootstrap && cp buoy.conf data/seen && test -n \"$LIGHT\" && exec sleep 1000
        cpus: 0.1
        memory: 32
        volume:
          path: data
          type: ROOT
          size: 16
        configs:
          buoy:
            template: buoy.conf.mustache
            dest: buoy.conf
        readiness-check:
          cmd: test -s data/seen
          interval: 1
          timeout: 5
",
    ),
    ("src/main/dist/buoy.conf.mustache", "colour = {{COLOUR}}\n"),
    ("src/main/java/Main.java", "class Main { public static void main(String[] args) {} }\n"),
];

/// What is run, a file that is written before (path and text), and what must be said.
type Refusal<'c> = (&'c [&'c str], Option<(&'c str, &'c str)>, &'c str);

/// A folder to work in, and the `up` that runs in it.
struct Fixture {
    folder: tempfile::TempDir,
    up: Option<Child>,
    /// The package whose `up` it is.
    package: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { package: PathBuf::new(), folder, up: None }
    }

    fn with_framework() -> Self {
        let fixture = Self::new();
        for (path, text) in FRAMEWORK {
            fixture.write(&format!("old/{path}"), text);
        }
        fixture
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn dagpkg(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("SOURCE_DATE_EPOCH", "0");
        command.output().unwrap()
    }

    /// What a run that must succeed printed to stdout.
    fn success(&self, arguments: &[&str]) -> String {
        let output = self.dagpkg(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a run that must fail printed to stderr.
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.dagpkg(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Everything in the folder, without what is in it.
    fn all(&self) -> Vec<PathBuf> {
        let mut all = files(self.folder.path());
        all.sort();
        all
    }

    /// Starts `up` for a package, waits until it says that the service is deployed, and answers what it said.
    fn up(&mut self, package: &str) -> String {
        // tests run side by side: ports of its own to begin with
        let free = [0, 1, 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [face, master, repository] = free.map(|listener| listener.local_addr().unwrap().port());
        let ports = serde_json::json!({"face": face, "master": master, "repository": repository});
        self.write(&format!("{package}/run/ports.json"), &ports.to_string());
        self.package = self.path(package);
        let screen = File::create(self.path("screen")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
        command.arg("up").arg(&self.package).stdin(Stdio::null()).env_remove("RUST_LOG");
        self.up = Some(command.stdout(screen.try_clone().unwrap()).stderr(screen).spawn().unwrap());
        let start = Instant::now();
        loop {
            let screen = fs::read_to_string(self.path("screen")).unwrap();
            let ended = self.up.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {screen}");
            // the address of the service is the last thing that it says
            if screen.contains("is deployed") && screen.contains("  service: ") {
                return screen;
            }
            assert!(start.elapsed() < Duration::from_mins(2), "not within two minutes: {screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            self.dagpkg(&["down", self.package.to_str().unwrap()]);
            let _ = up.kill();
            let _ = up.wait();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// GET over HTTP.
fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_new_package_is_sound_and_its_server_answers() {
    let mut fixture = Fixture::new();
    let text =
        fixture.success(&["new", "my-web", "--dir", "deep/web", "--description", "Says <hello> & \"more\""]);
    assert!(text.starts_with("my-web: 8 files in deep/web\n"), "{text}");

    let text = fixture.success(&["lint", "deep/web"]);
    assert_eq!(text, "deep/web/universe, deep/web/svc/svc.yml: no findings\n");

    // the programs of tests are large, so nothing is written; `up` below writes it
    let build = || {
        let text = fixture.success(&[
            "build",
            "local",
            "deep/web",
            "--out",
            "dist",
            "--dry-run",
            "--output",
            "json",
        ]);
        let report: Value = serde_json::from_str(&text).unwrap();
        report["url"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert_eq!(build(), build(), "the same files give the same hash");

    let screen = fixture.up("deep/web");
    let address = screen
        .lines()
        .find_map(|line| line.trim().strip_prefix("http:"))
        .unwrap_or_else(|| panic!("{screen}"));
    let address = address.trim().trim_start_matches("http://");
    let page = get(address, "/index.html");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<h1>Hello from my-web</h1>"), "{page}");
    assert!(page.contains("This is web-0-server of my-web."), "{page}");
    let starts = get(address, "/starts.txt");
    assert_eq!(starts.matches("started at ").count(), 1, "{starts}");
}

#[test]
fn a_framework_becomes_a_package_that_runs_its_service_file_as_it_was() {
    let mut fixture = Fixture::with_framework();
    let text = fixture.success(&["new", "--from", "old", "--dir", "new", "--output", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["name"], &report["folder"]), (&"buoy".into(), &"new".into()));
    let notes = report["notes"].as_array().unwrap();
    let java = notes.iter().find(|note| note["file"] == "old/src/main/java/Main.java").unwrap();
    assert_eq!(java["kind"], "left");
    let cmd =
        notes.iter().find(|note| note["text"].as_str().unwrap().contains("starts dagpkg-scheduler")).unwrap();
    assert_eq!((&cmd["kind"], &cmd["line"]), (&"changed".into(), &4.into()));
    for file in ["svc.yml", "buoy.conf.mustache"] {
        let read = |folder: &str| fs::read(fixture.path(folder).join(file)).unwrap();
        assert_eq!(read("old/src/main/dist"), read("new/svc"), "{file}");
    }

    let text = fixture.success(&["lint", "new"]);
    assert_eq!(text, "new/universe, new/svc/svc.yml: no findings\n");
    let text = fixture.success(&["build", "local", "new", "--out", "dist", "--dry-run"]);
    assert!(text.contains("bootstrap.zip") && text.contains("svc.zip"), "{text}");

    fixture.up("new");
    let seen = files(&fixture.path("new/run/cluster")).into_iter().find(|path| path.ends_with("seen"));
    let seen = fs::read_to_string(seen.expect("what the task has put on its volume")).unwrap();
    assert_eq!(seen, "colour = red\n");
}

#[test]
fn a_mistake_in_the_service_file_that_the_app_names_is_told_before_anything_starts() {
    let fixture = Fixture::new();
    fixture.success(&["new", "web"]);
    let svc = fs::read_to_string(fixture.path("web/svc/svc.yml")).unwrap();
    fixture.write("web/svc/svc.yml", &svc.replace("goal: RUNNING", "goal: WALKING"));
    let error = fixture.failure(&["up", "web"]);
    assert!(error.contains("web/svc/svc.yml:") && error.contains("WALKING"), "{error}");
    assert!(!fixture.path("web/run/cluster").exists());
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let long = "a".repeat(64);
    let broken =
        ["old/src/main/dist/svc.yml", "old/universe/resource.json", "old/universe/marathon.json.mustache"];
    let cases: [Refusal; 12] = [
        (&["new", "Web"], None, "a package cannot be called `Web`"),
        (&["new", "w"], None, "a package cannot be called `w`"),
        (&["new", "../web"], None, "a package cannot be called `../web`"),
        (&["new", &long], None, "2 to 63 of them"),
        (&["new", "web", "--dir", "mine"], Some(("mine/README.md", "m")), "mine/README.md is there already"),
        (&["new", "web"], Some(("web/svc/own", "m")), "web/svc is there already"),
        (&["new", "web"], Some(("web", "a file")), "cannot write"),
        (
            &["new", "--from", "nowhere"],
            None,
            "nowhere is no framework of the SDK: there is no universe/package.json",
        ),
        (&["new", "--from", "old", "Old"], None, "a package cannot be called `Old`"),
        (
            &["new", "--from", "old"],
            Some((broken[0], "pods: {{#open}}\n")),
            "old/src/main/dist/svc.yml:1:7: error[S027]: section `open`",
        ),
        (
            &["new", "--from", "old"],
            Some((broken[1], "{\n  x\n}")),
            "old/universe/resource.json:2:3: error[P003]: this is not JSON",
        ),
        (
            &["new", "--from", "old"],
            Some((broken[2], "{\n  \"cmd\": \"./run\"")),
            "mustache:1:1: this is never closed",
        ),
    ];
    for (arguments, file, expected) in cases {
        let fixture = Fixture::with_framework();
        if let Some((path, text)) = file {
            fixture.write(path, text);
        }
        let before = fixture.all();
        let error = fixture.failure(arguments);
        assert!(error.contains(expected) && error.contains("error: "), "{arguments:?}: {error}");
        assert_eq!(fixture.all(), before, "{arguments:?}");
    }
    // a question of usage
    assert_eq!(Fixture::new().dagpkg(&["new"]).status.code(), Some(2));
}

#[test]
fn the_variables_that_the_scheduler_reads_for_its_arguments_are_known() {
    let output = Command::new(env!("CARGO_BIN_EXE_dagpkg-scheduler")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> =
        help.split("[env: ").skip(1).filter_map(|rest| rest.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.contains(&"STATE_DIR"), "{help}");
    for name in names {
        assert!(dagpkg::scaffold::convert::PROGRAM_VARIABLES.contains(&name), "{name}");
    }
}

#[test]
fn nothing_is_asked_without_a_terminal() {
    let fixture = Fixture::new();
    // nobody ever answers, and nobody hangs up either
    let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
    command
        .args(["new", "web"])
        .current_dir(fixture.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _kept_open = child.stdin.take();
    assert!(child.wait().unwrap().success());
    let package: Value =
        serde_json::from_slice(&fs::read(fixture.path("web/universe/package.json")).unwrap()).unwrap();
    assert_eq!(package["description"], "The service web");
}
