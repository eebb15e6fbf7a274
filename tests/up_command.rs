//! `dagpkg up` and `down` with a small package, the real scheduler and real processes.

use serde_json::Value;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

const FILES: [(&str, &str); 5] = [
    (
        "universe/package.json",
        r#"{"packagingVersion": "4.0", "name": "probe", "version": "{{package-version}}", "maintainer": "m@example.org",
            "description": "A task that waits", "tags": ["test"], "framework": true}"#,
    ),
    (
        "universe/config.json",
        r#"{"type": "object", "properties": {"service": {"type": "object", "properties": {
  "name": {"type": "string", "default": "probe"},
  "user": {"type": "string"},
  "mesos_master": {"type": "string"},
  "state_dir": {"type": "string"},
  "mem": {"type": "integer", "minimum": 32, "default": 32}
}, "additionalProperties": false, "required": ["name", "user", "mesos_master", "state_dir"]}}}"#,
    ),
    (
        "universe/marathon.json.mustache",
        r#"{
  "id": "{{service.name}}",
  "cmd": "exec ./dagpkg-scheduler",
  "fetch": [
    {"uri": "{{resource.assets.uris.scheduler}}", "executable": true},
    {"uri": "{{resource.assets.uris.svc}}"}
  ],
  "env": {
    "PACKAGE_NAME": "{{package-name}}", "PACKAGE_VERSION": "{{package-version}}",
    "PACKAGE_BUILD_TIME_EPOCH_MS": "{{package-build-time-epoch-ms}}",
    "MESOS_MASTER": "{{service.mesos_master}}", "STATE_DIR": "{{service.state_dir}}", "SECRETS": "local",
    "FRAMEWORK_NAME": "{{service.name}}", "FRAMEWORK_USER": "{{service.user}}", "TASK_MEM": "{{service.mem}}"
  },
  "labels": {"DCOS_SERVICE_NAME": "{{service.name}}", "DCOS_SERVICE_PORT_INDEX": "0", "DCOS_SERVICE_SCHEME": "http",
             "DCOS_COMMONS_UNINSTALL": "true", "DCOS_COMMONS_API_VERSION": "v1"},
  "portDefinitions": [{"port": 0, "name": "api"}]
}"#,
    ),
    (
        "universe/resource.json",
        r#"{"assets": {"uris": {"scheduler": "{{artifact-dir}}/dagpkg-scheduler", "svc": "{{artifact-dir}}/svc.yml"}}}"#,
    ),
    (
        "svc/svc.yml",
        "name: {{FRAMEWORK_NAME}}
scheduler:
  principal: probe-principal
  user: {{FRAMEWORK_USER}}
pods:
  probe:
    count: 1
    tasks:
      server:
        goal: RUNNING
        cmd: echo $$ >> data/starts && exec sleep 1000
        cpus: 0.1
        memory: {{TASK_MEM}}
        volume:
          path: data
          type: ROOT
          size: 16
        readiness-check:
          cmd: test -s data/starts
          interval: 1
          timeout: 5
",
    ),
];

struct Fixture {
    folder: tempfile::TempDir,
    up: Option<Child>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let fixture = Self { folder, up: None };
        for (name, text) in FILES {
            fixture.write(name, text);
        }
        // tests run side by side: ports of its own to begin with
        let free = [0, 1, 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [face, master, repository] = free.map(|listener| listener.local_addr().unwrap().port());
        let ports = serde_json::json!({"face": face, "master": master, "repository": repository});
        fixture.write("run/ports.json", &ports.to_string());
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
        command.arg(name).arg(self.folder.path()).args(arguments).env_remove("RUST_LOG");
        command
    }

    fn dagpkg(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name, arguments).output().unwrap()
    }

    fn screen(&self) -> String {
        fs::read_to_string(self.path("screen")).unwrap_or_default()
    }

    /// Starts `up` and waits until it says that the service is deployed.
    fn up(&mut self) {
        let screen = File::create(self.path("screen")).unwrap();
        let mut command = self.command("up", &[]);
        self.up = Some(command.stdout(screen.try_clone().unwrap()).stderr(screen).spawn().unwrap());
        until("the service is deployed", || {
            let ended = self.up.as_mut().unwrap().try_wait().unwrap();
            let screen = fs::read_to_string(self.folder.path().join("screen")).unwrap();
            assert!(ended.is_none(), "{ended:?}: {screen}");
            screen.contains("probe is deployed").then_some(())
        });
    }

    fn starts(&self) -> usize {
        let all = files(&self.path("run/cluster"));
        let starts = all.iter().find(|file| file.ends_with("starts")).expect("the task's volume");
        fs::read_to_string(starts).unwrap().lines().count()
    }

    /// The processes that were started in a sandbox of the run folder.
    fn processes(&self) -> Vec<i32> {
        let mark = format!("MESOS_SANDBOX={}", fs::canonicalize(self.path("run")).unwrap().display());
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|variable| variable.starts_with(mark.as_bytes()))
        };
        pids.filter(ours).collect()
    }

    /// The cluster's DC/OS address.
    fn url(&self) -> String {
        let note: Value = serde_json::from_slice(&fs::read(self.path("run/up.json")).unwrap()).unwrap();
        note["url"].as_str().unwrap().to_owned()
    }

    fn framework_id(&self) -> String {
        let client = dagpkg::http::client().unwrap();
        body(client.get(format!("{}/service/probe/v1/state/frameworkId", self.url())))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
        self.dagpkg("down", &[]);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_mins(2), "{what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_service_comes_up_goes_down_and_comes_back_with_its_data() {
    let mut fixture = Fixture::new();
    fixture.up();
    assert_eq!((fixture.starts(), fixture.processes().len()), (1, 2), "{}", fixture.screen());
    let framework = fixture.framework_id();

    let second = fixture.dagpkg("up", &[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("it runs already") && stderr(&second).contains("dagpkg down"));

    assert!(fixture.dagpkg("down", &[]).status.success());
    assert!(fixture.up.take().unwrap().wait().unwrap().success(), "{}", fixture.screen());
    assert_eq!(fixture.processes(), [0; 0], "left behind");
    assert!(fixture.dagpkg("down", &[]).status.success(), "nothing runs, and that is no error");

    fixture.up();
    assert_eq!((fixture.starts(), fixture.framework_id()), (2, framework.clone()));

    let mut up = fixture.up.take().unwrap();
    up.kill().unwrap();
    up.wait().unwrap();
    assert_eq!(fixture.processes().len(), 2, "nobody could stop them");
    let down = fixture.dagpkg("down", &[]);
    assert!(down.status.success() && stderr(&down).contains("left behind"), "{}", stderr(&down));
    assert_eq!(fixture.processes(), [0; 0]);

    fixture.up();
    assert_eq!((fixture.starts(), fixture.framework_id()), (3, framework));
    let scheduler = *fixture.processes().iter().find(|pid| name(**pid) == "dagpkg-schedule").unwrap();
    let kill = |pid| {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::Signal::KILL,
        )
    };
    kill(scheduler).unwrap();
    until("the scheduler is started again", || {
        let again = fixture.processes().into_iter().find(|pid| name(*pid) == "dagpkg-schedule");
        again.filter(|pid| *pid != scheduler)
    });
    assert_eq!(fixture.starts(), 3, "its tasks go on without it");
}

#[test]
fn uninstalling_the_package_ends_its_tasks_gives_back_what_they_reserved_and_removes_the_scheduler() {
    let mut fixture = Fixture::new();
    fixture.up();
    let client = dagpkg::http::client().unwrap();
    let kept = fs::read_to_string(fixture.path("run/cluster/master.json")).unwrap();
    assert!(kept.contains("probe-principal"), "something is reserved: {kept}");

    let media =
        |kind: &str| format!("application/vnd.dcos.package.uninstall-{kind}+json;charset=utf-8;version=v1");
    let request = client.post(format!("{}/package/uninstall", fixture.url()));
    let request = request.header("Content-Type", media("request")).header("Accept", media("response"));
    let answer = body(request.body(r#"{"packageName": "probe"}"#));
    assert!(answer.contains("/probe"), "{answer}");
    until("the scheduler is gone", || {
        let apps = body(client.get(format!("{}/v2/apps", fixture.url())));
        (apps == r#"{"apps":[]}"#).then_some(())
    });
    until("no process is left", || fixture.processes().is_empty().then_some(()));
    until("nothing is reserved any more", || {
        let kept = fs::read_to_string(fixture.path("run/cluster/master.json")).unwrap();
        (!kept.contains("probe-principal")).then_some(())
    });
}

/// Sends a request and answers the body.
fn body(request: reqwest::RequestBuilder) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { request.send().await.unwrap().text().await.unwrap() })
}

/// A process's name, cut to 15 characters by the kernel.
fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[test]
fn what_is_written_wrong_is_told_with_its_place_and_nothing_is_started() {
    let options = "{\n  \"service\": {\"mem\": \"much\"}\n}";
    for (file, text, arguments, places) in [
        ("svc/svc.yml", "count: 1", vec![], vec![]),
        ("svc/svc.yml", "count: many", vec![], vec!["svc/svc.yml:7:12: ", "integer"]),
        ("svc/svc.yml", "count: {{#X}}", vec![], vec!["svc/svc.yml:7:12: ", "never closed"]),
        (
            "options.json",
            options,
            vec!["--options", "options.json"],
            vec!["options.json:2:15: ", "service.mem"],
        ),
        ("options.json", "{,", vec!["--options", "options.json"], vec!["options.json:1:2: "]),
        ("none", "", vec!["--options", "nowhere.json"], vec!["nowhere.json"]),
        ("none", "", vec!["--set", "service.mem=1"], vec!["--set service.mem=1", "minimum"]),
        ("none", "", vec!["--set", "service.unknown=1"], vec!["service.unknown=1", "unknown"]),
        ("none", "", vec!["--set", "service"], vec!["--set service", "NAME=VALUE"]),
        (
            "universe/marathon.json.mustache",
            "{\n  \"id\": {{service.name}}\n}",
            vec![],
            vec!["mustache:2:9: ", "not JSON"],
        ),
        ("universe/config.json", "{\n  \"type\": \"objekt\"\n}", vec![], vec!["config.json:2:3: "]),
    ] {
        // the first case only shows that the others fail for the reason that is meant
        let good = places.is_empty();
        let mut fixture = Fixture::new();
        let text = if file == "svc/svc.yml" { FILES[4].1.replace("count: 1", text) } else { text.to_owned() };
        fixture.write(file, &text);
        if good {
            fixture.up();
            continue;
        }
        let output = fixture.command("up", &arguments).current_dir(fixture.folder.path()).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{file} {arguments:?}: {told}");
        for place in places {
            assert!(told.contains(place), "{file} {arguments:?}: no {place} in: {told}");
        }
        assert!(
            !fixture.path("run/cluster").exists() && !fixture.path("run/dcos").exists(),
            "something was started"
        );
    }
}

#[test]
fn a_port_that_was_asked_for_must_be_free() {
    let fixture = Fixture::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = fixture.dagpkg("up", &["--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("port {port}")), "{}", stderr(&output));
    assert!(!fixture.path("run/cluster").exists());
}
