//! The ports and addresses that `up` chooses: the same ones each time as long as they are free, because they are kept in
//! the state of services; others than those of another `up` on the same machine.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// How many numbers are tried from the default on.
const TRIES: u16 = 100;

/// Ports at 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The DC/OS face.
    pub face: u16,
    /// The Mesos master.
    pub master: u16,
    /// The served package repository.
    pub repository: u16,
    /// The ports that tasks are offered, first and last. Once chosen they stay: tasks have reserved some of them.
    pub tasks: (u16, u16),
    /// What tells the virtual addresses of this cluster from those of others on the machine.
    pub cluster: u32,
}

impl Default for Ports {
    /// Mesos' own port, and two beside it.
    fn default() -> Self {
        Self { face: 5080, master: 5050, repository: 5081, tasks: (0, 0), cluster: 0 }
    }
}

impl Ports {
    /// The domain of this cluster's virtual addresses.
    pub fn vip_domain(&self) -> String {
        format!("l4lb.{:08x}.localhost", self.cluster)
    }
}

/// The ports for this run: those of the last one in this run folder where they are free, others where they are taken.
/// `face` was asked for by the user and is taken as it is or not at all. The listeners keep the ports from other `up`s
/// that start at the same time: drop them right before the ports are used.
pub fn choose(run: &Path, face: Option<u16>) -> anyhow::Result<(Ports, Vec<TcpListener>)> {
    let path = run.join("ports.json");
    let last: Ports =
        std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let (face, face_held) = match face {
        Some(port) => match listen(port) {
            Ok(held) => (port, held),
            Err(_) => bail!(
                "port {port} at 127.0.0.1 is taken by another program; choose one with --port, or leave it out to have \
                 one chosen"
            ),
        },
        None => free_port(last.face)?,
    };
    let (master, master_held) = free_port(last.master)?;
    let (repository, repository_held) = free_port(last.repository)?;
    let mut held = vec![face_held, master_held, repository_held];
    let (tasks, cluster) = match last.tasks {
        (0, _) => {
            let (block, first_held) = free_block(face)?;
            held.push(first_held);
            (block, getrandom::u32()?)
        }
        kept => (kept, last.cluster),
    };
    let ports = Ports { face, master, repository, tasks, cluster };
    let text = serde_json::to_string(&ports)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((ports, held))
}

/// A thousand ports that nothing listens at, below those that the system hands out by itself. Where the search begins
/// depends on the face's port, which no two clusters share: another `up` may not have started its tasks yet.
fn free_block(face: u16) -> anyhow::Result<((u16, u16), TcpListener)> {
    let blocks: Vec<(u16, u16)> =
        (10_000..32_000).rev().step_by(1000).map(|last| (last - 999, last)).collect();
    let skipped = usize::from(face.wrapping_sub(Ports::default().face)) % blocks.len();
    let mut in_turn = blocks.iter().cycle().skip(skipped).take(blocks.len());
    let found = in_turn.find_map(|&(first, last)| {
        let held = listen(first).ok()?;
        (first + 1..=last).all(|port| listen(port).is_ok()).then_some(((first, last), held))
    });
    found.context("no thousand ports in a row from 10000 to 31999 are free for tasks")
}

fn free_port(first: u16) -> anyhow::Result<(u16, TcpListener)> {
    let mut candidates = (0..TRIES).map(|n| first.saturating_add(n));
    let found = candidates.find_map(|port| Some((port, listen(port).ok()?)));
    found.with_context(|| format!("no port from {first} to {} is free", first.saturating_add(TRIES - 1)))
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_the_same_until_they_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (first, held) = choose(dir.path(), None).unwrap();
        drop(held);
        let mut all = [first.face, first.master, first.repository];
        all.sort_unstable();
        assert!(all.windows(2).all(|w| w[0] != w[1]), "{all:?}");
        // other programs of this machine may take and free ports meanwhile, so only ours is asked about
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let kept = Ports { master: port, ..first };
        std::fs::write(dir.path().join("ports.json"), serde_json::to_string(&kept).unwrap()).unwrap();
        assert_ne!(choose(dir.path(), None).unwrap().0.master, port);
        drop(taken);
        std::fs::write(dir.path().join("ports.json"), serde_json::to_string(&kept).unwrap()).unwrap();
        assert_eq!(choose(dir.path(), None).unwrap().0.master, port);
    }

    #[test]
    fn a_port_that_was_asked_for_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose(dir.path(), Some(port)).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
        drop(taken);
        assert_eq!(choose(dir.path(), Some(port)).unwrap().0.face, port);
    }

    #[test]
    fn two_that_start_at_the_same_time_share_nothing() {
        let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (one, _held) = choose(a.path(), None).unwrap();
        let (two, _held_too) = choose(b.path(), None).unwrap();
        let ports = |p: Ports| [p.face, p.master, p.repository];
        assert!(ports(one).iter().all(|port| !ports(two).contains(port)), "{one:?} {two:?}");
        assert_ne!(one.tasks, two.tasks);
        assert_ne!(one.vip_domain(), two.vip_domain());
    }
}
