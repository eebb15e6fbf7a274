//! The whole embedded cluster: Mesos, and on top of it Marathon, Cosmos and the DC/OS face.
//!
//! Starts and stops the parts in the right order and connects them; each part is a module of its own. Used by
//! `dagpkg up`.

use super::cosmos::{Cosmos, CosmosError};
use super::face;
use super::marathon::{self, Marathon, MarathonError};
use super::vip::{Vip, Vips};
use super::{Cluster, ClusterConfig, ClusterError};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use tokio::task::JoinHandle;

/// Why the cluster could not be started. Whatever had been started is stopped again.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Mesos.
    #[error(transparent)]
    Mesos(#[from] ClusterError),
    /// Marathon.
    #[error("Marathon: {0}")]
    Marathon(#[from] MarathonError),
    /// Cosmos.
    #[error("Cosmos: {0}")]
    Cosmos(#[from] CosmosError),
    /// The face's port.
    #[error("cannot listen at 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// What went wrong.
        source: io::Error,
    },
    /// The HTTP client could not be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// How the cluster is made.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// The Mesos part.
    pub mesos: ClusterConfig,
    /// Where Marathon and Cosmos keep what they must. An absolute path; made when missing.
    pub folder: PathBuf,
    /// The face's port at 127.0.0.1.
    pub port: u16,
}

/// A running cluster. Dropping it does not end its processes; [`Stack::stop`] does.
#[derive(Debug)]
pub struct Stack {
    mesos: Cluster,
    marathon: Marathon,
    cosmos: Cosmos,
    url: String,
    /// Serves the face, and keeps the virtual addresses of apps up to date.
    servers: [JoinHandle<()>; 2],
}

impl Stack {
    /// Starts everything; apps and services of an earlier run in the same folders come back.
    pub async fn start(config: StackConfig) -> Result<Self, StackError> {
        let port = config.port;
        let listen = |source| StackError::Listen { port, source };
        // first what can fail for an ordinary reason
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // nobody follows redirects for someone else: services and health checks mean their own answers
        let plain = crate::http::builder()?.redirect(reqwest::redirect::Policy::none()).build()?;
        let packages = crate::publish::fetch::client()?;
        let vip_domain = config.mesos.vip_domain.clone();
        let mesos = Cluster::start(config.mesos).await?;
        let environment =
            [("SERVICE_TLD", "localhost"), ("VIP_TLD", &vip_domain), ("LIBPROCESS_IP", "127.0.0.1")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let folder = config.folder;
        let marathon =
            match Marathon::open(marathon::Config { folder: folder.clone(), environment }, plain.clone()) {
                Ok(marathon) => marathon,
                Err(e) => {
                    mesos.stop().await;
                    return Err(e.into());
                }
            };
        let opened = Cosmos::open(&folder, packages, marathon.clone());
        let cosmos = match opened.and_then(|cosmos| cosmos.resume_uninstalls().map(|()| cosmos)) {
            Ok(cosmos) => cosmos,
            Err(e) => {
                marathon.shutdown().await;
                mesos.stop().await;
                return Err(e.into());
            }
        };
        let router = face::router(&marathon, cosmos.clone(), plain);
        let face = tokio::spawn(async move {
            if let Err(e) = axum::serve(listener, router).await {
                tracing::error!("the DC/OS face ended: {e}");
            }
        });
        let vips = tokio::spawn(follow_endpoints(marathon.clone(), mesos.vips()));
        Ok(Self { mesos, marathon, cosmos, url: format!("http://{address}"), servers: [face, vips] })
    }

    /// Kills what a cluster with this configuration left behind when it was killed itself, and says how many processes
    /// that were. No cluster may run in these folders.
    pub fn kill_leftovers(config: &StackConfig) -> Result<usize, StackError> {
        let apps = marathon::kill_leftovers(&config.folder).map_err(MarathonError::from)?;
        Ok(apps + Cluster::kill_leftovers(&config.mesos.dir)?)
    }

    /// Root of the face, `http://127.0.0.1:5080`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Root of the Mesos master.
    pub fn master_url(&self) -> String {
        self.mesos.master_url()
    }

    /// Its Marathon.
    pub fn marathon(&self) -> &Marathon {
        &self.marathon
    }

    /// Its package service.
    pub fn cosmos(&self) -> &Cosmos {
        &self.cosmos
    }

    /// Ends the apps first, so that no scheduler starts again what is being ended, then the tasks, then the servers.
    /// Everything is kept for the next start.
    pub async fn stop(self) {
        self.marathon.shutdown().await;
        self.mesos.stop().await;
        for server in self.servers {
            server.abort();
            // it was aborted, so it does not matter how it ended
            let _ = server.await;
        }
    }
}

/// Gives the virtual addresses of apps to what listens at them, after each change.
async fn follow_endpoints(marathon: Marathon, vips: Vips) {
    let mut changes = marathon.changes();
    loop {
        changes.mark_unchanged();
        let backends = marathon.endpoints().into_iter().flat_map(|endpoint| {
            let service = endpoint.app.trim_matches('/').to_owned();
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, endpoint.port).into();
            let labels = endpoint.labels.into_iter().filter(|(name, _)| name.starts_with("VIP_"));
            labels
                .filter_map(move |(_, value)| Some((Vip::parse(&value, &service)?, address)))
                .collect::<Vec<_>>()
        });
        vips.set("marathon", backends);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::marathon::App;
    use serde_json::json;
    use std::path::Path;
    use std::time::Duration;

    fn config(folder: &Path) -> StackConfig {
        let mesos = ClusterConfig {
            dir: folder.join("cluster"),
            port: 0,
            agents: 1,
            cpus: 1.0,
            mem: 1024.0,
            disk: 1024.0,
            ports: (31000, 31010),
            attributes: Vec::new(),
            vip_domain: crate::sandbox::vip::DOMAIN.to_owned(),
        };
        StackConfig { mesos, folder: folder.join("dcos"), port: 0 }
    }

    async fn answers(client: &reqwest::Client, url: &str) -> String {
        for _ in 0..500 {
            if let Ok(answer) = client.get(url).send().await
                && answer.status() == 200
            {
                return answer.text().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{url} does not answer");
    }

    #[tokio::test]
    async fn an_app_is_reached_by_its_virtual_address_and_comes_back_with_the_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let client = crate::http::client().unwrap();
        let stack = Stack::start(config(dir.path())).await.unwrap();
        // a port of its own: tests run side by side, and the address is computed from the name
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cmd = "echo $VIP_TLD $SERVICE_TLD > answer; exec python3 -m http.server --bind 127.0.0.1 $PORT0";
        let labels = json!({"VIP_0": format!("/web.stack-test:{port}")});
        let app = json!({"id": "web", "cmd": cmd, "portDefinitions": [{"port": 0, "labels": labels}]});
        stack.marathon().create(App::parse(&app, None).unwrap()).unwrap();
        let address = crate::wire::vip::loopback_address("web.stack-test.l4lb.localhost");
        let url = format!("http://{address}:{port}/answer");
        assert_eq!(answers(&client, &url).await.trim(), "l4lb.localhost localhost");
        assert_eq!(answers(&client, &format!("{}/ping", stack.url())).await, "pong");
        stack.stop().await;
        assert!(client.get(&url).send().await.is_err(), "nothing listens any more");

        let again = Stack::start(config(dir.path())).await.unwrap();
        answers(&client, &url).await;
        again.stop().await;
    }
}
