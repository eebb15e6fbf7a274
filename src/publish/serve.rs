//! A small web server for a folder of packages, read-only.
//!
//! It answers GET and HEAD, with ranges, preconditions and gzip, and gives a stub universe the media type that DC/OS asks
//! for. TLS is optional. It isn't made for the open internet: no limits on clients, no listings. Used by `dagpkg serve`
//! and, in the same process, by `dagpkg up`.

mod answer;
#[cfg(test)]
mod tests;
mod tls;

pub use tls::{Identity, TlsError};

use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The port of `dagpkg serve`, and of the URLs in packages that are built without another address.
pub const DEFAULT_PORT: u16 = 8190;

/// How long a server that stops waits for the ends of answers that are under way.
pub const GRACE: Duration = Duration::from_secs(10);

/// A running server. It stops when this is dropped, or by [`Server::stop`], which waits.
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the port is a real one also when it was asked for as 0.
    pub addr: SocketAddr,
    scheme: &'static str,
    handle: Handle<SocketAddr>,
    task: JoinHandle<()>,
}

impl Server {
    /// The URL of the folder, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Ends the server: it takes no more connections, and what is not answered within `grace` is cut off.
    pub async fn stop(mut self, grace: Duration) {
        self.handle.graceful_shutdown(Some(grace));
        // it may have ended already
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.graceful_shutdown(Some(GRACE));
    }
}

/// Serves a folder at an address, by TLS if there is an identity, until the returned server is stopped or dropped.
pub async fn start(folder: &Path, addr: SocketAddr, identity: Option<Identity>) -> io::Result<Server> {
    let root = folder.canonicalize()?;
    if !root.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder"));
    }
    // bound here and not by the task, so that an address that cannot be had is an error of the start
    let listener = tokio::net::TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let app = axum::Router::new().fallback(answer::answer).with_state(root).into_make_service();
    let handle = Handle::new();
    let server = axum_server::Server::<SocketAddr>::from_listener(listener).handle(handle.clone());
    let scheme = if identity.is_some() { "https" } else { "http" };
    let task = tokio::spawn(async move {
        let ended = match identity {
            Some(Identity(config)) => server.acceptor(RustlsAcceptor::new(config)).serve(app).await,
            None => server.serve(app).await,
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the package server ended");
        }
    });
    Ok(Server { addr, scheme, handle, task })
}
