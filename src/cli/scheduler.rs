//! The program `dagpkg-scheduler`: one Mesos framework that brings one service's pods up in plan order and keeps them up.
//!
//! Started by Marathon, systemd or the embedded cluster, and configured by flags or, as on DC/OS, by the environment
//! alone. All that it does is done by `runtime`. Called by `src/bin/dagpkg-scheduler.rs` only.

use crate::finding::Severity;
use crate::mesos::{Client, Credentials, Masters};
use crate::runtime::{self, Options, RunError};
use crate::scheduler::Config;
use crate::store::{EmbeddedStore, secrets::LocalSecrets};
use anyhow::{Context as _, bail};
use clap::{CommandFactory as _, Parser};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Brings a service's pods up on Mesos in plan order, and keeps them up.
#[derive(Debug, Parser)]
#[command(name = "dagpkg-scheduler", version)]
#[command(after_help = "\
Every variable of the environment can be used in the service file; those of the Mesosphere SDK (SERVICE_TLD, VIP_TLD, \
EXECUTOR_CPUS, ENABLE_BACKOFF, TASKCFG_ALL_*, …) mean what they mean there. RUST_LOG, or else FRAMEWORK_LOG_LEVEL, says how \
much is logged.

Exit codes: 0 stopped, 1 the service or its environment is refused, 2 no state or no registration, 6 ended by the master, \
8 the state is in use, 9 the API can't be served, 11 the service is being removed.

Example:
  dagpkg-scheduler --master http://leader.mesos:5050 --state /var/lib/hello --svc svc.yml --api-port 8080")]
struct Args {
    /// Masters, as URLs separated by commas; the leader is found by asking any of them
    #[arg(long, env = "MESOS_MASTER", value_name = "URL", default_value = "http://leader.mesos:5050")]
    master: String,
    /// Folder of the durable state; used by one scheduler at a time
    #[arg(long, env = "STATE_DIR", value_name = "DIR")]
    state: PathBuf,
    /// The service file
    #[arg(long, env = "SVC_FILE", value_name = "FILE", default_value = "svc.yml")]
    svc: PathBuf,
    /// Port of the HTTP API; 0 for any
    #[arg(long, env = "PORT_API", value_name = "N")]
    api_port: u16,
    /// Address of the HTTP API, which asks nobody who they are; tasks must reach it for config templates
    #[arg(long, env = "LIBPROCESS_IP", value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    api_address: IpAddr,
    /// Where secrets come from: the cluster's store, or made here and kept beside the state
    #[arg(long, env = "SECRETS", value_enum, default_value_t = Secrets::Cluster)]
    secrets: Secrets,
    /// File with the framework's principal and secret, for masters that ask for them
    #[arg(long, env = "MESOS_CREDENTIALS", value_name = "FILE")]
    credentials: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Secrets {
    /// The cluster resolves references to its own secret store
    Cluster,
    /// Generated at first use, kept in the state folder, sent to agents in launches
    Local,
}

/// How much is logged where `RUST_LOG` does not say it: what the SDK's variable for it says, in its words.
fn log_level() -> LevelFilter {
    let level = std::env::var("FRAMEWORK_LOG_LEVEL").unwrap_or_default();
    match level.to_uppercase().as_str() {
        "OFF" => LevelFilter::OFF,
        "FATAL" | "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" | "ALL" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    }
}

/// How the program is called.
pub fn command() -> clap::Command {
    Args::command()
}

/// Runs the program with this process's arguments and environment.
pub fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().with_default_directive(log_level().into()).from_env_lossy())
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(error.downcast_ref::<RunError>().map_or(1, RunError::exit_code))
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let loaded = runtime::load::candidate(&args.svc, &env)?;
    for finding in &loaded.findings {
        let place = finding.place().map(|place| format!(":{place}")).unwrap_or_default();
        match finding.severity {
            Severity::Error => tracing::error!("{}{place}: {}", finding.source.file, finding.message),
            Severity::Warning => tracing::warn!("{}{place}: {}", finding.source.file, finding.message),
        }
    }
    let masters: Masters = args.master.parse()?;
    // The name that the masters of DC/OS have; another one is of another kind of cluster.
    let may_be_dcos = masters.urls().iter().any(|url| url.host_str() == Some("leader.mesos"));
    let credentials = args.credentials.as_deref().map(Credentials::from_file).transpose()?;
    let client = Client::new(masters, credentials)?;
    if args.state.to_str().is_some_and(|s| s.starts_with("zk://")) {
        bail!("state in ZooKeeper ({}) is not supported yet: give a folder", args.state.display());
    }
    let store = EmbeddedStore::open(&args.state).map_err(RunError::from)?;
    let secrets = match args.secrets {
        Secrets::Cluster => None,
        Secrets::Local => Some(LocalSecrets::open(&args.state.join("secrets"))?),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = (args.api_address, args.api_port);
        let listener = tokio::net::TcpListener::bind(address).await.map_err(RunError::Api)?;
        let port = listener.local_addr()?.port();
        let mut config = Config::from_env(&env, &loaded.service.spec, port)?;
        if may_be_dcos && !config.uninstall {
            config.dcos = runtime::dcos_release(runtime::RELEASE).await;
        }
        tracing::info!(service = loaded.service.spec.name, api = %listener.local_addr()?, "starting");
        let options =
            Options { service: loaded.service, config, store: Arc::new(store), secrets, client, listener };
        let stop = stop_signal().context("signals can't be received")?;
        Ok(runtime::run(options, stop).await?)
    })
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
