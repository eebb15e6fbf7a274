//! `dagpkg up`: builds a package, starts the embedded cluster, installs the package into it and follows its deployment.
//!
//! The order of the steps and what a person sees of them are here; what each does is the library's. Everything stays in
//! the run folder, so that the next `up` goes on with the same service and its data.

pub mod lock;
mod login;
mod options;
pub mod ports;
mod prepare;
mod watch;

use super::progress::Progress;
use crate::publish::serve;
use crate::sandbox::ClusterConfig;
use crate::sandbox::cosmos::{CosmosError, Repository};
use crate::sandbox::stack::{Stack, StackConfig};
use anyhow::{Context as _, anyhow, bail};
use lock::State;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The name under which the built package's repository is added.
const REPOSITORY: &str = "local";

/// What the agent promises at least, whatever the machine has: nothing enforces it, and a service that is known to run
/// on this machine must not wait for an offer that can never come.
const LEAST_CPUS: f64 = 8.0;

/// Run a package on this machine: build it, start an embedded cluster, install it, and show how it is deployed.
///
/// Stays in the foreground; Ctrl-C (or `dagpkg down`) stops every process that it started and keeps all state and data
/// for the next time.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dagpkg up\n  dagpkg up --set airflow.load_examples=true --options options.json\n\n\
    Logs: run/up.log, and stdout and stderr of every task in its sandbox below run/."
)]
pub struct Args {
    /// The folder of the package, with `universe/` and `svc/` in it.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// A JSON file with options of the package; later files win.
    #[arg(long, value_name = "FILE")]
    options: Vec<PathBuf>,
    /// An option of the package, as in `service.name=example`; wins over files.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Where state, data, sandboxes and logs are kept [default: DIR/run].
    #[arg(long, value_name = "FOLDER")]
    run: Option<PathBuf>,
    /// The port of the cluster's DC/OS address at 127.0.0.1 [default: 5080, or another one if that is taken].
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// Runs `dagpkg up`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = fs::canonicalize(&args.dir).with_context(|| format!("no folder {}", args.dir.display()))?;
    let run = args.run.clone().unwrap_or_else(|| dir.join("run"));
    fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
    let run = fs::canonicalize(&run).with_context(|| format!("no folder {}", run.display()))?;
    let _lock = match lock::take(&run)? {
        State::Free(lock) => lock,
        State::Held(pid) => bail!(
            "it runs already in {} (process {pid}); stop it with `dagpkg down`, or give another --run folder",
            run.display()
        ),
    };
    start_log(&run)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bring_up(args, &dir, &run))
}

/// The log of the cluster goes to a file: on the screen is the progress.
fn start_log(run: &Path) -> anyhow::Result<()> {
    let path = run.join("up.log");
    let file = fs::File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let level = tracing::level_filters::LevelFilter::INFO.into();
    let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(level).from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file));
    log.try_init().map_err(|e| anyhow!("cannot start the log: {e}"))
}

/// The signals that end `up`.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Everything, from the first check to the end of the last process.
async fn bring_up(args: &Args, dir: &Path, run: &Path) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let progress = Progress::new();
    let (ports, held) = ports::choose(run, args.port)?;
    let known = options::Known {
        master_url: format!("http://127.0.0.1:{}", ports.master),
        state_dir: run.join("state"),
        user: user_name()?,
        airflow: Some(run.join("airflow")).filter(|venv| venv.join("bin/airflow").exists()),
    };
    progress.begin("Building the package");
    let repo = run.join("repo");
    let folders = prepare::Folders { package: dir, out: &repo };
    let package = prepare::prepare(&folders, ports.repository, &known, &args.options, &args.set)?;
    progress.say(&format!("built the package {} into {}", package.name, repo.display()));

    drop(held);
    // from here on there is something to stop
    let repository = package.serve().await?;
    progress.begin("Starting the cluster");
    let stack = match Stack::start(stack_config(run, ports)).await {
        Ok(stack) => stack,
        Err(e) => {
            repository.stop(serve::GRACE).await;
            return Err(e.into());
        }
    };
    progress.say(&format!("cluster: {} (Mesos {})", stack.url(), stack.master_url()));
    let result = tokio::select! {
        result = install_and_follow(&stack, &package, run, &progress) => result,
        () = signals.any() => Ok(()),
    };
    progress.clear();
    if result.is_ok() {
        progress.say("stopping");
    }
    progress.begin("Stopping all processes; the database comes last");
    stack.stop().await;
    repository.stop(serve::GRACE).await;
    // without one there is nothing to remove
    let _ = fs::remove_file(run.join("up.json"));
    progress.clear();
    progress.say("stopped; state and data are kept");
    result.map(|()| ExitCode::SUCCESS)
}

/// The cluster of a run folder.
pub fn stack_config(run: &Path, ports: ports::Ports) -> StackConfig {
    let mesos = ClusterConfig {
        dir: run.join("cluster"),
        port: ports.master,
        agents: 1,
        cpus: ClusterConfig::machine_cpus().max(LEAST_CPUS),
        mem: ClusterConfig::machine_mem(),
        disk: 65536.0,
        ports: ports.tasks,
        attributes: Vec::new(),
        vip_domain: ports.vip_domain(),
    };
    StackConfig { mesos, folder: run.join("dcos"), port: ports.face }
}

/// Installs, follows, tells how to log in, and then waits for ever.
async fn install_and_follow(
    stack: &Stack,
    package: &prepare::Prepared,
    run: &Path,
    progress: &Progress,
) -> anyhow::Result<()> {
    progress.begin("Installing the package");
    let app = install(stack, package).await.map_err(explain)?;
    let labels = stack.marathon().app(&app).map(|app| app.labels.clone()).unwrap_or_default();
    let service = labels.get("DCOS_SERVICE_NAME").map_or(app.as_str(), String::as_str).trim_matches('/');
    progress.say(&format!("installed {}: service {service}", package.name));
    note(run, stack.url(), service)?;
    let client = crate::http::client()?;
    let watched = watch::Service {
        client: &client,
        url: format!("{}/service/{service}", stack.url()),
        marathon: stack.marathon(),
        app: &app,
    };
    watched.until_deployed(progress).await?;
    progress.say(&format!("{service} is deployed"));
    let secrets = run.join("state").join("secrets");
    login::print(&watched, service, &package.all_options, &secrets, progress).await?;
    std::future::pending().await
}

/// Leaves a note for `dagpkg plan`, which finds the service by it.
fn note(run: &Path, url: &str, service: &str) -> anyhow::Result<()> {
    let path = run.join("up.json");
    let text = serde_json::json!({"url": url, "service": service}).to_string();
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Installs the package, or brings the installed one to what was just built; answers the id of its app.
async fn install(stack: &Stack, package: &prepare::Prepared) -> Result<String, CosmosError> {
    let cosmos = stack.cosmos();
    let repository = Repository { name: REPOSITORY.into(), uri: package.repository_url.clone() };
    // the URI may be another one than the last time, and the content is
    if cosmos.repositories().iter().any(|r| r.name == REPOSITORY) {
        cosmos.delete_repository(Some(REPOSITORY.into()), None)?;
    }
    cosmos.add_repository(repository, Some(0)).await?;
    let options: &Map<String, Value> = &package.options;
    let installed = cosmos.services()?.into_iter().find(|service| service.name == package.name);
    let Some(service) = installed else {
        return Ok(cosmos.install(&package.name, None, options, None).await?.app_id);
    };
    cosmos.update(&service.app_id, &package.name, None, options).await?;
    Ok(service.app_id)
}

/// Errors of Cosmos with what their data says, which their messages leave out.
fn explain(error: CosmosError) -> anyhow::Error {
    let CosmosError::JsonSchemaMismatch(errors) = &error else { return error.into() };
    let lines = errors.iter().map(|e| {
        let pointer = e.pointer("/instance/pointer").and_then(Value::as_str).unwrap_or_default();
        format!("\n  option {pointer}: {}", e["message"].as_str().unwrap_or_default())
    });
    anyhow!("{error}{}", lines.collect::<String>())
}

/// The name of the user who runs this, for the operating system user of tasks.
fn user_name() -> anyhow::Result<String> {
    let own = rustix::process::getuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == own).then(|| name.to_owned())
    });
    name.with_context(|| format!("user id {own} has no name in /etc/passwd, and tasks run under a name"))
}
