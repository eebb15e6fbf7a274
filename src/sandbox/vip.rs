//! Virtual addresses: one stable loopback address and port for all running tasks behind a `VIP_*` label.
//!
//! Stands in for the layer 4 load balancer of DC/OS. A name's address is computed (see [`crate::wire::vip`]), so no name
//! service is needed: this listens there and forwards each connection to one of the tasks, in turn. The driver sets
//! the tasks of Mesos frameworks, the Marathon face those of its apps.

use crate::wire::vip::loopback_address;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// The domain of virtual addresses where a cluster isn't given one of its own. Addresses follow from names, so two
/// clusters with the same service on one machine need different domains.
pub const DOMAIN: &str = "l4lb.localhost";

/// A virtual address: name (`postgresql.dagflow`) and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vip {
    /// The name within the cluster's domain, in lower case.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl Vip {
    /// Reads a label's value: `<prefix>:<port>` of a task of `service`, or `/<prefix>.<service>:<port>` with the
    /// service in it, as Marathon writes it.
    pub fn parse(value: &str, service: &str) -> Option<Self> {
        let (name, port) = value.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let name = match name.strip_prefix('/') {
            Some(full) if full.contains('.') => full.replace('/', ""),
            Some(prefix) => format!("{prefix}.{}", service.replace('/', "")),
            None => format!("{name}.{}", service.replace('/', "")),
        };
        let name = name.to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (name.chars().all(plain) && !name.starts_with('.')).then_some(Self { name, port })
    }

    /// Where it listens in a cluster with this domain.
    pub fn address(&self, domain: &str) -> SocketAddrV4 {
        SocketAddrV4::new(loopback_address(&format!("{}.{domain}", self.name)), self.port)
    }
}

/// All virtual addresses; clones share them. The listeners end with the last clone, or by [`Vips::close`].
#[derive(Clone, Debug)]
pub struct Vips(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    domain: String,
    /// What each owner has set.
    backends: BTreeMap<String, BTreeSet<(Vip, SocketAddr)>>,
    listeners: BTreeMap<Vip, AbortHandle>,
    /// Addresses that were taken, to warn once.
    taken: BTreeSet<Vip>,
    turn: usize,
}

impl Drop for Table {
    fn drop(&mut self) {
        for listener in self.listeners.values() {
            listener.abort();
        }
    }
}

impl Vips {
    /// No address yet; names are below `domain`, which must be below `.localhost`.
    pub fn new(domain: impl Into<String>) -> Self {
        let mut table = Table::default();
        table.domain = domain.into();
        Self(Arc::new(Mutex::new(table)))
    }

    /// Replaces everything that `owner` has set. A listener stays when its last task has gone, because the next one is
    /// usually on its way; it then closes connections at once. Must be called inside a tokio runtime.
    pub fn set(&self, owner: &str, backends: impl IntoIterator<Item = (Vip, SocketAddr)>) {
        let mut table = self.lock();
        table.backends.insert(owner.to_owned(), backends.into_iter().collect());
        let wanted: BTreeSet<Vip> = table.backends.values().flatten().map(|(vip, _)| vip.clone()).collect();
        for vip in wanted {
            if table.listeners.contains_key(&vip) {
                continue;
            }
            let address = vip.address(&table.domain);
            match listen(address) {
                Ok(listener) => {
                    table.taken.remove(&vip);
                    let task = tokio::spawn(accept(listener, vip.clone(), Arc::downgrade(&self.0)));
                    table.listeners.insert(vip, task.abort_handle());
                }
                Err(error) => {
                    if table.taken.insert(vip.clone()) {
                        tracing::warn!(
                            "cannot listen at {address} for {}:{}: {error}; tasks that use this name will not reach it",
                            vip.name,
                            vip.port
                        );
                    }
                }
            }
        }
    }

    /// The virtual addresses that are listened at.
    pub fn listening(&self) -> Vec<Vip> {
        self.lock().listeners.keys().cloned().collect()
    }

    /// Stops listening.
    pub fn close(&self) {
        let mut table = self.lock();
        for (_, listener) in std::mem::take(&mut table.listeners) {
            listener.abort();
        }
        table.backends.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // every change is one insertion or removal: the table is whole even if a thread died while it held the lock
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(address: SocketAddrV4) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept(listener: TcpListener, vip: Vip, table: std::sync::Weak<Mutex<Table>>) {
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // the client went away, or no file descriptor is free: both pass
                tracing::debug!(vip = vip.name, %error, "accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(table) = table.upgrade() else { return };
        let backends = in_turn(&mut lock(&table), &vip);
        tokio::spawn(forward(client, backends));
    }
}

/// The tasks behind an address, another one first each time.
fn in_turn(table: &mut Table, vip: &Vip) -> Vec<SocketAddr> {
    let all = table.backends.values().flatten().filter(|(v, _)| v == vip);
    let mut all: Vec<SocketAddr> = all.map(|(_, address)| *address).collect();
    table.turn = table.turn.wrapping_add(1);
    let turn = table.turn % all.len().max(1);
    all.rotate_left(turn);
    all
}

/// Forwards to the first task that accepts the connection; without one the client's connection is closed.
async fn forward(mut client: TcpStream, backends: Vec<SocketAddr>) {
    for backend in backends {
        if let Ok(mut server) = TcpStream::connect(backend).await {
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            // either side may break off at any time; that is not our business
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn labels_of_tasks_and_of_marathon_apps_give_the_same_name() {
        let vip = |value, service| Vip::parse(value, service).map(|v| (v.name, v.port));
        let name = "pg.dagflow".to_owned();
        for (value, service) in [
            ("pg:5432", "dagflow"),
            ("/pg:5432", "dagflow"),
            ("/pg.dagflow:5432", "x"),
            ("PG:5432", "/dag/flow"),
        ] {
            assert_eq!(vip(value, service), Some((name.clone(), 5432)), "{value}");
        }
        for bad in ["pg", "pg:", "pg:0", "pg:99999", "p g:1", ":1"] {
            assert_eq!(vip(bad, "s"), None, "{bad}");
        }
    }

    /// A server that greets with one byte.
    async fn backend(greeting: u8) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.write_all(&[greeting]).await;
            }
        });
        address
    }

    async fn greeting(vip: &Vip) -> Option<u8> {
        let mut stream = TcpStream::connect(vip.address(DOMAIN)).await.unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all.first().copied()
    }

    /// A free port at the name's address.
    fn free(name: &str) -> Vip {
        let mut vip = Vip::parse(&format!("{name}:1"), "vip-test").unwrap();
        let probe = std::net::TcpListener::bind((*vip.address(DOMAIN).ip(), 0)).unwrap();
        vip.port = probe.local_addr().unwrap().port();
        vip
    }

    #[tokio::test]
    async fn connections_go_to_all_tasks_in_turn_and_past_one_that_is_gone() {
        let vips = Vips::new(DOMAIN);
        let vip = free("turn");
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        vips.set("a", [(vip.clone(), backend(1).await), (vip.clone(), gone)]);
        vips.set("b", [(vip.clone(), backend(2).await)]);
        let mut seen = BTreeSet::new();
        for _ in 0..9 {
            seen.insert(greeting(&vip).await.unwrap());
        }
        assert_eq!(seen, [1, 2].into());
    }

    #[tokio::test]
    async fn without_tasks_the_listener_stays_and_closes_connections_until_a_task_is_back() {
        let vips = Vips::new(DOMAIN);
        let vip = free("back");
        let backend = backend(7).await;
        vips.set("a", [(vip.clone(), backend)]);
        vips.set("a", []);
        assert_eq!(greeting(&vip).await, None);
        vips.set("a", [(vip.clone(), backend)]);
        assert_eq!(greeting(&vip).await, Some(7));
        vips.close();
        tokio::task::yield_now().await;
        assert!(vips.listening().is_empty());
    }
}
