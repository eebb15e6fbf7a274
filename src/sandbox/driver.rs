//! The loop that connects the master to its clock, its agents, its disk and its HTTP clients.
//!
//! One task owns all state, so nothing is ever seen half changed. The rule of the house is kept here: what the master
//! must remember is on disk before anybody hears of it.

use super::agent::{Agent, ContainerEvent};
use super::files::write_atomically;
use super::master::{Master, Output, Refusal, StreamId, Time};
use super::vip::{Vip, Vips};
use crate::wire::{AgentId, Call, Event, TaskState};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// A request from outside.
#[derive(Debug)]
pub enum Input {
    /// A SUBSCRIBE; its events go into `events`, framed.
    Subscribe {
        /// The call.
        call: Box<Call>,
        /// The new stream's name.
        stream: StreamId,
        /// The stream.
        events: mpsc::UnboundedSender<Bytes>,
    },
    /// Another call.
    Call {
        /// The call.
        call: Box<Call>,
        /// The `Mesos-Stream-Id` that it came with.
        stream: Option<StreamId>,
        /// Where the outcome goes.
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    /// The reader of a stream has gone.
    Disconnected(StreamId),
    /// Somebody wants to see something.
    View(fn(&Master) -> serde_json::Value, oneshot::Sender<serde_json::Value>),
    /// Everything is to end; the answer comes when it has.
    Stop(oneshot::Sender<()>),
}

/// See the module's text.
pub struct Driver {
    /// The master.
    pub master: Master,
    /// Its agents.
    pub agents: BTreeMap<AgentId, Agent>,
    /// Where the master's memory is kept.
    pub state_file: PathBuf,
    /// The virtual addresses of tasks.
    pub vips: Vips,
    /// The clock.
    pub clock: Clock,
    /// What comes from clients.
    pub inputs: mpsc::UnboundedReceiver<Input>,
    /// What comes from containers.
    pub containers: mpsc::UnboundedReceiver<ContainerEvent>,
    /// The streams of the subscribed frameworks.
    pub streams: HashMap<StreamId, mpsc::UnboundedSender<Bytes>>,
}

/// Time that goes on even when the machine's clock is set back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    unix: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), unix }
    }
}

impl Clock {
    /// The time, in the master's terms.
    pub fn now(&self) -> Time {
        self.unix + self.start.elapsed()
    }

    /// The same moment in tokio's terms, or an earlier one: a framework may ask for a time that no clock can hold.
    fn instant(&self, time: Time) -> tokio::time::Instant {
        let wait = time.saturating_sub(self.now()).min(Duration::from_hours(1));
        tokio::time::Instant::now() + wait
    }
}

impl Driver {
    /// Runs until it is stopped, or nobody is left who could stop it.
    pub async fn run(mut self) {
        let mut stopping: Option<oneshot::Sender<()>> = None;
        self.settle().await;
        loop {
            if stopping.is_some() && self.agents.values().all(Agent::is_idle) {
                break;
            }
            let wake = self.master.next_tick().map(|at| self.clock.instant(at));
            let sleep = async move {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = self.inputs.recv() => match input {
                    None => break,
                    Some(Input::Stop(done)) => {
                        self.agents.values_mut().for_each(Agent::stop);
                        self.streams.clear();
                        stopping = Some(done);
                    }
                    Some(input) if stopping.is_none() => self.input(input),
                    // the sender sees that nobody answers
                    Some(_) => {}
                },
                Some(event) = self.containers.recv() => {
                    let agent = event.agent.clone();
                    let reports = self.agents.get_mut(&agent).map(|a| a.container_event(event)).unwrap_or_default();
                    if stopping.is_none() {
                        self.report(&agent, reports);
                    }
                }
                () = sleep, if stopping.is_none() => self.master.tick(self.clock.now()),
            }
            self.settle().await;
        }
        self.vips.close();
        if let Some(done) = stopping {
            // whoever asked may have gone
            let _ = done.send(());
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.clock.now();
        match input {
            Input::Subscribe { call, stream, events } => {
                self.streams.insert(stream.clone(), events);
                self.master.subscribe(now, stream, *call);
            }
            Input::Call { call, stream, answer } => {
                let outcome = self.master.call(now, stream.as_deref(), *call);
                // the client may have gone
                let _ = answer.send(outcome);
            }
            Input::Disconnected(stream) => {
                self.streams.remove(&stream);
                self.master.disconnected(now, &stream);
            }
            Input::View(view, answer) => drop(answer.send(view(&self.master))),
            Input::Stop(_) => {}
        }
    }

    fn report(&mut self, agent: &AgentId, reports: Vec<super::master::Report>) {
        let now = self.clock.now();
        for report in reports {
            self.master.report(now, agent, report);
        }
    }

    /// Stores what has changed, then does what the master wants, until nothing is left to do.
    async fn settle(&mut self) {
        loop {
            if let Some(saved) = self.master.take_changes() {
                self.store(&saved).await;
                self.vips.set("mesos", vips(&self.master));
            }
            let outputs = self.master.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Send(stream, event) => {
                        if let Some(stream) = self.streams.get(&stream) {
                            // a stream whose reader has gone is closed when that is noticed
                            let _ = stream.send(frame(&event));
                        }
                    }
                    Output::Close(stream) => drop(self.streams.remove(&stream)),
                    Output::Agent(id, order) => {
                        let reports = self.agents.get_mut(&id).map(|a| a.order(order)).unwrap_or_default();
                        self.report(&id, reports);
                    }
                }
            }
        }
    }

    /// Nothing goes on before this has worked.
    async fn store(&self, saved: &super::master::Saved) {
        loop {
            let text = serde_json::to_vec(saved).map_err(std::io::Error::other);
            match text.and_then(|text| write_atomically(&self.state_file, &text, true)) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(path = %self.state_file.display(), %error, "cannot store the cluster's state; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// One record of a RecordIO stream.
fn frame(event: &Event) -> Bytes {
    // these messages have string keys only, so they always have a JSON form
    let json = serde_json::to_vec(event).unwrap_or_default();
    let mut record = format!("{}\n", json.len()).into_bytes();
    record.extend(json);
    record.into()
}

/// The virtual addresses of running tasks, by their labels.
fn vips(master: &Master) -> Vec<(Vip, SocketAddr)> {
    let mut all = Vec::new();
    for (framework, task) in master.tasks() {
        if task.latest.state != TaskState::Running || task.latest.healthy == Some(false) {
            continue;
        }
        let ports = task.discovery.iter().flat_map(|d| &d.ports).flat_map(|p| &p.ports);
        for port in ports {
            let labels = port.labels.iter().flat_map(|l| &l.labels).filter(|l| l.key.starts_with("VIP_"));
            for value in labels.filter_map(|l| l.value.as_deref()) {
                match (Vip::parse(value, &framework.info.name), u16::try_from(port.number)) {
                    (Some(vip), Ok(number)) => all.push((vip, (Ipv4Addr::LOCALHOST, number).into())),
                    _ => {
                        tracing::warn!(task = %task.id, value, "not a virtual address: expected <name>:<port>");
                    }
                }
            }
        }
    }
    all
}
