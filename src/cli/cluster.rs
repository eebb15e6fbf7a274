//! `dagpkg cluster`: the embedded cluster alone, in the foreground, for whoever brings a framework of their own.
//!
//! `dagpkg up` starts the same cluster together with a package; this command only starts and stops it.

use crate::sandbox::{Cluster, ClusterConfig, vip};
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the master's URL when the cluster is ready; Ctrl-C ends all tasks and the cluster.

Examples:
  dagpkg cluster
  dagpkg cluster --dir /tmp/mesos --agents 3 --cpus 4 --mem 8192 --attribute rack:r1
  dagpkg-scheduler --master http://127.0.0.1:5050 --state state --svc svc.yml --api-port 8080")]
pub struct Args {
    /// Where state, sandboxes and persistent volumes are kept
    #[arg(long, value_name = "DIR", default_value = "run")]
    dir: PathBuf,
    /// The master's port at 127.0.0.1; 0 for any that is free
    #[arg(long, default_value_t = 5050)]
    port: u16,
    /// How many agents; each has all the resources below, and a part of the ports
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    agents: u16,
    /// CPUs to offer [default: those of this machine]
    #[arg(long)]
    cpus: Option<f64>,
    /// Memory to offer, in MiB [default: that of this machine]
    #[arg(long, value_name = "MIB")]
    mem: Option<f64>,
    /// Disk to offer, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 100_000.0)]
    disk: f64,
    /// Ports to offer
    #[arg(long, value_name = "FIRST-LAST", default_value = "1025-32000", value_parser = ports)]
    ports: (u16, u16),
    /// An attribute of the agents; may be given several times
    #[arg(long = "attribute", value_name = "NAME:VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// The domain of virtual addresses, which frameworks are told as VIP_TLD; below .localhost
    #[arg(long, value_name = "DOMAIN", default_value = vip::DOMAIN)]
    vip_domain: String,
}

/// Runs the cluster until SIGINT or SIGTERM, then ends all tasks.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = ClusterConfig {
        dir: args.dir,
        port: args.port,
        agents: args.agents,
        cpus: args.cpus.unwrap_or_else(ClusterConfig::machine_cpus),
        mem: args.mem.unwrap_or_else(ClusterConfig::machine_mem),
        disk: args.disk,
        ports: args.ports,
        attributes: args.attributes,
        vip_domain: args.vip_domain,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        // before the start, so that a signal during the start is not the end without a stop
        let mut signals = super::StopSignals::new()?;
        let cluster = Cluster::start(config).await?;
        super::print(&format!("{}\n", cluster.master_url()))?;
        signals.next().await;
        cluster.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let parsed =
        text.split_once('-').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    match parsed {
        Some((first, last)) if first <= last => Ok((first, last)),
        _ => Err("expected two ports such as 1025-32000, the smaller one first".into()),
    }
}

fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("expected NAME:VALUE, for instance zone:z1".into()),
    }
}
