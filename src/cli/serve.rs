//! `dagpkg serve`: a folder of packages over HTTP.

use crate::package::sources::is_stub_file_name;
use crate::publish::serve::{self, DEFAULT_PORT};
use anyhow::Context as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// Serve a folder that `dagpkg build local` wrote, until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg serve dist
  dagpkg serve dist --bind 10.0.0.5 --port 80
  dcos package repo add --index=0 demo-local http://127.0.0.1:8190/stub-universe-demo.json")]
pub struct Args {
    /// The folder.
    folder: PathBuf,
    /// The port; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PORT)]
    port: u16,
    /// The address to listen at. Only this machine can reach the default.
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
}

/// Runs `dagpkg serve`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { folder, port, bind } = args;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let addr = SocketAddr::new(bind, port);
        let server = serve::start(&folder, addr)
            .await
            .with_context(|| format!("cannot serve {} at {addr}", folder.display()))?;
        super::print(&format!("{} is served at {}\n", folder.display(), server.url()))?;
        for stub in stub_universes(&folder) {
            super::print(&format!("  {}/{stub}\n", server.url()))?;
        }
        tokio::signal::ctrl_c().await?;
        server.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn stub_universes(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_stub_file_name(name))
        .collect();
    names.sort();
    names
}
