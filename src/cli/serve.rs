//! `dagpkg serve`: a folder of packages over HTTP.

use crate::publish::files;
use crate::publish::serve::{self, DEFAULT_PORT, Identity};
use anyhow::Context as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Serve a folder of packages, as `dagpkg build` wrote it, until Ctrl-C or SIGTERM.
///
/// The URLs of the packages found in it are printed. Answers that are under way at the end get ten seconds; a second
/// signal does not wait for them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg serve dist
  dagpkg serve dist --bind 10.0.0.5 --port 80
  dagpkg serve dist --bind 10.0.0.5 --port 443 --tls-cert chain.pem --tls-key key.pem
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
    /// Serve by TLS: a PEM file with the server's certificate and those that lead to its authority.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's private key, not encrypted.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Runs `dagpkg serve`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { folder, port, bind, tls_cert, tls_key } = args;
    let identity =
        tls_cert.zip(tls_key).map(|(certificate, key)| Identity::read(&certificate, &key)).transpose()?;
    if identity.is_none() && !bind.is_loopback() {
        super::warn(&format!(
            "without TLS, what is served at {bind} can be read and changed on its way: see --tls-cert"
        ));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // before the start, so that a signal during the start is not the end without a stop
        let mut signals = super::StopSignals::new()?;
        let addr = SocketAddr::new(bind, port);
        let server = serve::start(&folder, addr, identity)
            .await
            .with_context(|| format!("cannot serve {} at {addr}", folder.display()))?;
        super::print(&format!("{} is served at {}\n", folder.display(), server.url()))?;
        for stub in stub_universes(&folder)? {
            super::print(&format!("  {}/{stub}\n", server.url()))?;
        }
        signals.next().await;
        tokio::select! {
            () = server.stop(serve::GRACE) => {}
            () = signals.next() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The paths below the folder's URL that packages are found at.
fn stub_universes(folder: &Path) -> anyhow::Result<Vec<String>> {
    let found = files::stub_universes(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let path = |stub: &PathBuf| Some(stub.strip_prefix(folder).ok()?.to_str()?.to_owned());
    Ok(found.iter().filter_map(path).collect())
}
