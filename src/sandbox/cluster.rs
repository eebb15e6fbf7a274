//! Starting and stopping the embedded cluster: the one thing that the commands `cluster` and `up` use.

use super::agent::{self, RunningFile};
use super::driver::{Clock, Driver, Input};
use super::http::router;
use super::ids;
use super::master::{Agent, Master, Saved};
use super::resources::Resources;
use super::vip::Vips;
use crate::wire::{AgentId, Attribute, Range, Ranges, Resource, Scalar, Text, ValueType};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Why the cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The port is taken, most likely by another cluster.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddrV4,
        /// What went wrong.
        source: io::Error,
    },
    /// Another cluster runs in the same directory.
    #[error("another cluster already runs in {}", .0.display())]
    InUse(PathBuf),
    /// A file of the cluster could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// What is to be offered makes no sense.
    #[error("cannot offer {0}")]
    Config(String),
    /// The HTTP client of the fetcher could not be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// What the cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Where everything is kept: state, sandboxes, persistent volumes.
    pub dir: PathBuf,
    /// The master's port at 127.0.0.1; 0 for any that is free.
    pub port: u16,
    /// How many agents. Each has all of the following.
    pub agents: u16,
    /// CPUs of an agent; a promise to frameworks, not enforced.
    pub cpus: f64,
    /// Memory of an agent in MiB; not enforced.
    pub mem: f64,
    /// Disk of an agent in MiB; not enforced.
    pub disk: f64,
    /// The ports that are offered, first and last. With several agents each gets a part of its own.
    pub ports: (u16, u16),
    /// Text attributes, in order.
    pub attributes: Vec<(String, String)>,
    /// The domain of virtual addresses, below `.localhost`; of its own for each cluster of a machine.
    pub vip_domain: String,
}

impl ClusterConfig {
    fn check(&self) -> Result<(), ClusterError> {
        let wrong = |text: String| Err(ClusterError::Config(text));
        for (name, value) in [("CPUs", self.cpus), ("MiB of memory", self.mem), ("MiB of disk", self.disk)] {
            if !(0.0..1e9).contains(&value) {
                return wrong(format!("{value} {name}: expected a number from 0 to 1,000,000,000"));
            }
        }
        let (first, last) = self.ports;
        if self.agents == 0 {
            return wrong("anything without an agent: expected at least 1".into());
        }
        if first > last || self.ports_each() == 0 {
            return wrong(format!(
                "ports {first}-{last}: expected at least one for each of {} agents",
                self.agents
            ));
        }
        Ok(())
    }

    fn ports_each(&self) -> u16 {
        let (first, last) = self.ports;
        let ports = u32::from(last.saturating_sub(first)) + 1;
        // only a single agent with all 65,536 ports has more than fit, and its share is not used
        u16::try_from(ports / u32::from(self.agents.max(1))).unwrap_or(u16::MAX)
    }

    /// The CPUs of this machine.
    pub fn machine_cpus() -> f64 {
        std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
    }

    /// The memory of this machine in MiB.
    pub fn machine_mem() -> f64 {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = text
            .lines()
            .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok());
        (kib.unwrap_or(1024.0 * 1024.0) / 1024.0).floor()
    }
}

/// A running cluster. Dropping it does not stop the tasks; [`Cluster::stop`] does.
#[derive(Debug)]
pub struct Cluster {
    address: SocketAddrV4,
    vips: Vips,
    inputs: mpsc::UnboundedSender<Input>,
    driver: JoinHandle<()>,
    server: JoinHandle<io::Result<()>>,
    /// Held as long as the cluster runs.
    _lock: File,
}

impl Cluster {
    /// Starts it. Processes that an earlier run in the same directory left behind are killed first.
    pub async fn start(config: ClusterConfig) -> Result<Self, ClusterError> {
        config.check()?;
        let dir = std::path::absolute(&config.dir).map_err(|e| io_error(&config.dir, e))?;
        fs::create_dir_all(&dir).map_err(|e| io_error(&dir, e))?;
        let lock = lock(&dir)?;
        let state_file = dir.join("master.json");
        let saved = read_state(&state_file)?;

        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, config.port);
        let listen = |source| ClusterError::Listen { address, source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().map_err(listen)?.port());

        // of all agents that there ever were: this run may have fewer
        let killed = clean_up(&dir)?;
        if killed > 0 {
            tracing::warn!(killed, "killed processes of an earlier run");
        }
        let clock = Clock::default();
        let (inputs, inputs_received) = mpsc::unbounded_channel();
        let (events, containers) = mpsc::unbounded_channel();
        let id = ids::uuid();
        let known = agents(&config, &id, &saved.agents);
        let client = crate::http::client()?;
        let mut workers = BTreeMap::new();
        for (n, agent) in known.iter().enumerate() {
            let work = dir.join("agents").join(n.to_string());
            let running = agent::running_file(&work);
            let (running, _) = RunningFile::clean_up(running.clone()).map_err(|e| io_error(&running, e))?;
            let worker = agent::Agent::new(agent.id.clone(), work, running, client.clone(), events.clone());
            workers.insert(agent.id.clone(), worker);
        }
        let mut master = Master::new(id, address, saved, known, clock.now());
        master.agents_restarted(clock.now());

        let vips = Vips::new(config.vip_domain.clone());
        let driver = Driver {
            master,
            agents: workers,
            state_file,
            vips: vips.clone(),
            clock,
            inputs: inputs_received,
            containers,
            streams: HashMap::new(),
        };
        let driver = tokio::spawn(driver.run());
        let server = tokio::spawn(axum::serve(listener, router(inputs.clone())).into_future());
        Ok(Self { address, vips, inputs, driver, server, _lock: lock })
    }

    /// Kills the tasks that a cluster in this directory left behind when it was killed itself, and says how many processes
    /// that were.
    pub fn kill_leftovers(dir: &Path) -> Result<usize, ClusterError> {
        let dir = std::path::absolute(dir).map_err(|e| io_error(dir, e))?;
        if !dir.exists() {
            return Ok(0);
        }
        let _lock = lock(&dir)?;
        clean_up(&dir)
    }

    /// The master's address, for instance `http://127.0.0.1:5050`.
    pub fn master_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The virtual addresses, for the Marathon face to add its own.
    pub fn vips(&self) -> Vips {
        self.vips.clone()
    }

    /// Ends all tasks, each within its grace period, then the master. Reservations, volumes and frameworks are kept for
    /// the next start.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.inputs.send(Input::Stop(done)).is_ok() {
            // an error means that the driver is gone, and that is what we wait for
            let _ = stopped.await;
        }
        let _ = self.driver.await;
        self.server.abort();
        let _ = self.server.await;
    }
}

/// Kills what the agents in this directory left running.
fn clean_up(dir: &Path) -> Result<usize, ClusterError> {
    let mut all = 0;
    for agent in fs::read_dir(dir.join("agents")).into_iter().flatten().flatten() {
        let running = agent::running_file(&agent.path());
        let (_, killed) = RunningFile::clean_up(running.clone()).map_err(|e| io_error(&running, e))?;
        all += killed;
    }
    Ok(all)
}

fn lock(dir: &Path) -> Result<File, ClusterError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|e| io_error(&path, e))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ClusterError::InUse(dir.to_owned())),
        Err(error) => Err(io_error(&path, error.into())),
    }
}

fn read_state(path: &Path) -> Result<Saved, ClusterError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| io_error(path, e.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Saved::default()),
        Err(error) => Err(io_error(path, error)),
    }
}

/// The configured agents, with the ids, reservations and volumes that they had before.
fn agents(config: &ClusterConfig, master: &str, saved: &[Agent]) -> Vec<Agent> {
    let (first, last) = config.ports;
    // `check` has seen that there is at least one port for each
    let share = config.ports_each();
    let attributes: Vec<Attribute> =
        config.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut all = Vec::new();
    for n in 0..config.agents {
        let begin = first + n * share;
        let end = if n + 1 == config.agents { last } else { begin + (share - 1) };
        let old = saved.get(usize::from(n));
        let total = resources(config, begin, end);
        all.push(Agent {
            id: old.map_or_else(|| AgentId { value: format!("{master}-S{n}") }, |a| a.id.clone()),
            hostname: Ipv4Addr::LOCALHOST.to_string(),
            port: 5051 + n,
            attributes: attributes.clone(),
            total: old.map_or_else(|| total.clone(), |a| a.total.rebased(&total)),
        });
    }
    all
}

fn resources(config: &ClusterConfig, begin: u16, end: u16) -> Resources {
    let scalar = |name: &str, value| Resource {
        name: name.into(),
        r#type: ValueType::Scalar,
        scalar: Some(Scalar { value }),
        ..Resource::default()
    };
    let range = vec![Range { begin: begin.into(), end: end.into() }];
    let ports = Resource {
        name: "ports".into(),
        r#type: ValueType::Ranges,
        ranges: Some(Ranges { range }),
        ..Resource::default()
    };
    let all = [ports, scalar("cpus", config.cpus), scalar("mem", config.mem), scalar("disk", config.disk)];
    Resources::new(&all)
}

fn attribute(name: &str, value: &str) -> Attribute {
    let text = Some(Text { value: value.to_owned() });
    Attribute { name: name.to_owned(), r#type: ValueType::Text, text, ..Attribute::default() }
}

fn io_error(path: &Path, source: io::Error) -> ClusterError {
    ClusterError::Io { path: path.to_owned(), source }
}
