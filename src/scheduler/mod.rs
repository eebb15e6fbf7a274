//! The state machine that keeps a service alive: deploy, recovery, reconciliation, operators' commands.
//!
//! Pure: [`Scheduler::handle`] takes an event and the time and gives effects; there is no clock, socket, thread, random
//! source or global inside. `runtime` drives it with real ones, `simulate` with virtual ones.
//!
//! The effects of one event are one atomic write followed by calls. Whoever drives it must make the write durable
//! before the first call leaves; if that fails, the process must end and start again from what is durable. Then a crash
//! between any two effects loses nothing and launches nothing twice: a launch is stored before it is sent, and a
//! status update is acknowledged after what it changed is stored.

mod commands;
mod config;
mod counters;
mod cycle;
mod demand;
mod held;
mod left_over;
mod matching;
mod pause;
mod preview;
mod recovery;
mod release;
mod removal;
mod replace;
mod sent;
mod start;
mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod updates;
mod validate;
mod wanted;

pub use commands::{Command, CommandError, FILE, PlanCommand, PodCommand};
pub use config::{Backoff, Config, ConfigError, VARIABLES};
pub use counters::Counters;
pub use left_over::LeftOver;
pub use matching::OfferOutcome;
pub use preview::{Deployment, Fate, PodPreview, Preview, PreviewError, preview};
pub use release::Release;
pub use start::{StartError, Stored};
pub use state::{Ids, Notes, Task, Write, path, store};
pub use validate::same_tasks;

use crate::offer::{HomeRegion, ServiceContext};
use crate::plan::{Due, Plan, Plans, Status, Step, TaskProgress, Work};
use crate::spec::{PodSpec, PodType, Service, ServiceSpec, TaskName};
use crate::wire::{
    Acknowledge, AgentId, Call, CallType, FrameworkId, FrameworkInfo, Offer, OfferId, TaskId, TaskStatus,
};
use cycle::Touched;
use sent::{Sent, Unheard};
use state::Writes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tasks::Tasks;
use wanted::Wanted;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The master accepted the subscription.
    Subscribed {
        /// The framework's id.
        framework_id: String,
    },
    /// The region that the master is in, if it has one. Comes after the subscription, before offers.
    MasterRegion(Option<String>),
    /// Offers came.
    Offers(Vec<Offer>),
    /// An offer went.
    Rescind(OfferId),
    /// A task's status changed.
    Update(Box<TaskStatus>),
    /// The connection to the master is lost; what it offered is no longer valid.
    Disconnected,
    /// The master has removed the framework, as it was asked to.
    TornDown,
    /// A call could not be delivered, or was refused.
    CallFailed(CallType),
    /// Time has passed. Comes at least every few seconds.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make all of this durable, atomically, before any call that follows.
    Write(Vec<Write>),
    /// Send this to the master.
    Call(Box<Call>),
}

/// Seconds for which an offer is declined while it can't be judged yet.
const SHORT_DECLINE: f64 = 5.0;
/// Seconds for which an offer is declined that nothing needs.
const LONG_DECLINE: f64 = 3600.0;
/// Seconds for which an agent's offer is declined that holds only a part of a pod's reservations: Mesos gives
/// resources back piece by piece, and offers them together the next time.
const PIECE_DECLINE: f64 = 1.0;
/// Seconds between repetitions of a kill.
const KILL_RETRY: f64 = 5.0;

/// A service's state and plans.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // they have nothing to do with each other
pub struct Scheduler {
    config: Config,
    service: Service,
    target: String,
    configurations: BTreeMap<String, ServiceSpec>,
    framework_id: Option<String>,
    tasks: Tasks,
    /// Deploy, recovery, then the author's other plans.
    plans: Plans,
    deploy_noted: bool,
    connected: bool,
    /// Tasks reach the API by the name that they are told.
    reachable: bool,
    master_region: Option<String>,
    reconciling: updates::Reconciling,
    /// Tasks to be ended, and when to ask again.
    kills: Due<TaskId>,
    /// The last wait (seconds) of task instances that have failed.
    waits: BTreeMap<String, f64>,
    /// Task instances that wait before they are tried again, and until when.
    delayed: Due<String>,
    demand: demand::Demand,
    replacements: replace::Replacements,
    /// The master was asked to remove the framework.
    leaving: bool,
    /// When what was sent last has been carried out, or been offered again (seconds): nobody leaves before.
    tidy_at: f64,
    /// Agents that an operator has declared gone.
    gone: BTreeSet<AgentId>,
    /// What was sent last, and what of it the master may not have heard.
    sent: Sent,
    unheard: Unheard,
    /// From when on (seconds) reservations that are to be given back count as gone, if they are in no offer then.
    missing: BTreeMap<String, f64>,
    left_over: LeftOver,
    outcomes: VecDeque<OfferOutcome>,
    counters: Counters,
    /// What is stored about the service as a whole, by name.
    properties: BTreeMap<String, Vec<u8>>,
    /// The steps that offers are looked for.
    wanted: Wanted,
    /// What has yet to be looked at again.
    touched: Touched,
    ids: Ids,
    writes: Writes,
    calls: Vec<Call>,
}

impl Scheduler {
    /// Takes in an event; `now` is in seconds and never goes back.
    pub fn handle(&mut self, now: f64, event: Event) -> Vec<Effect> {
        self.wake(now);
        self.counters.count_event(&event);
        let mut offers = Vec::new();
        match event {
            Event::Subscribed { framework_id } => self.on_subscribed(now, framework_id),
            Event::MasterRegion(region) => self.master_region = region,
            Event::Offers(came) => {
                offers = came;
                self.demand.offers_came();
            }
            Event::Update(status) => self.on_update(now, &status),
            Event::Disconnected => self.connected = false,
            Event::CallFailed(kind) => self.on_call_failed(now, kind),
            Event::TornDown => self.on_torn_down(),
            // Offers are used or declined at once: the master tells what became of a launch with one that had gone.
            Event::Rescind(_) | Event::Tick => {}
        }
        self.progress(now, offers);
        self.take_effects()
    }

    /// What goes on without any event, and what offers are for.
    fn progress(&mut self, now: f64, offers: Vec<Offer>) {
        self.wake(now);
        if self.connected {
            self.reconcile(now);
            self.replace_what_stays_down(now);
            self.repeat_kills(now);
            self.say_again(now);
            self.may_leave();
            self.advance_removal(now);
            self.cycle(now, offers);
        }
        self.note_deployed();
    }

    /// Ends the delays that are over.
    fn wake(&mut self, now: f64) {
        self.plans.advance(now);
        while let Some(instance) = self.delayed.pop(now) {
            self.touch_task(&instance);
        }
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let writes = self.writes.take();
        if !writes.is_empty() {
            effects.push(Effect::Write(writes));
        }
        if !self.calls.is_empty() {
            self.sent = Sent::of(&self.calls);
        }
        effects.extend(self.calls.drain(..).map(|c| Effect::Call(Box::new(c))));
        effects
    }

    /// How the framework presents itself to the master.
    pub fn framework_info(&self) -> FrameworkInfo {
        let spec = &self.service.spec;
        let capability = |name: &str| crate::wire::Capability { r#type: name.to_owned() };
        let roles = self.roles();
        let gpus =
            spec.pods.iter().flat_map(|p| &p.tasks).any(|t| t.resource_set.gpus.is_some_and(|g| g >= 1.0));
        // A service with a single role could do without MULTI_ROLE, as the SDK's do; with it, roles can come and go.
        let mut capabilities =
            ["PARTITION_AWARE", "RESERVATION_REFINEMENT", "MULTI_ROLE"].map(capability).to_vec();
        if gpus {
            capabilities.push(capability("GPU_RESOURCES"));
        }
        if self.config.region_aware {
            capabilities.push(capability("REGION_AWARE"));
        }
        FrameworkInfo {
            user: spec.user.clone(),
            name: spec.name.clone(),
            id: self.framework_id.as_deref().map(FrameworkId::from),
            failover_timeout: Some(self.config.failover_timeout),
            checkpoint: Some(true),
            roles,
            principal: Some(spec.principal.clone()),
            webui_url: spec.web_url.clone().filter(|u| !u.is_empty()),
            capabilities,
            ..FrameworkInfo::default()
        }
    }

    /// The roles that offers are wanted for. Those of pods that the service no longer has are among them as long as it has
    /// tasks of such pods: what these have reserved is offered to nobody else, and has to be given back.
    fn roles(&self) -> Vec<String> {
        let before = self.configurations.values().flat_map(|c| &c.pods);
        let pods = self.service.spec.pods.iter().chain(before);
        let bases: BTreeSet<&str> = pods.map(|p| p.pre_reserved_role.as_str()).collect();
        let mut roles = Vec::new();
        for own in std::iter::once(&self.config.role).chain(&self.config.former_roles) {
            let refined = bases.iter().map(|base| crate::offer::pod_role(own, base));
            for role in std::iter::once(own.clone()).chain(refined) {
                if !roles.contains(&role) {
                    roles.push(role);
                }
            }
        }
        roles
    }

    /// The service's name.
    pub fn service_name(&self) -> &str {
        &self.service.spec.name
    }

    /// The configuration that tasks are brought to, and its id.
    pub fn target(&self) -> (&str, &ServiceSpec) {
        (&self.target, &self.service.spec)
    }

    /// All configurations that something refers to, by id.
    pub fn configurations(&self) -> &BTreeMap<String, ServiceSpec> {
        &self.configurations
    }

    /// The framework's id, once the master has given one.
    pub fn framework_id(&self) -> Option<&str> {
        self.framework_id.as_deref()
    }

    /// The tasks by instance name.
    pub fn tasks(&self) -> &BTreeMap<String, Task> {
        self.tasks.all()
    }

    /// The plans: deploy, recovery, others.
    pub fn plans(&self) -> &[Plan] {
        self.plans.as_slice()
    }

    /// The plan called `name`.
    pub fn plan(&self, name: &str) -> Option<&Plan> {
        self.plans().iter().find(|p| p.name == name)
    }

    /// Tells whether tasks reach the API by the name that they are told. Until they do, nothing is launched: tasks whose
    /// config templates can't be fetched fail.
    pub fn set_reachable(&mut self, reachable: bool) {
        self.reachable = reachable;
    }

    /// The name by which tasks reach the API.
    pub fn api_host(&self) -> &str {
        &self.config.api_host
    }

    fn awaits_name(&self) -> bool {
        !self.reachable && !self.config.uninstall
    }

    /// Whether the master can be reached.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// The last evaluations of offers, oldest first.
    pub fn outcomes(&self) -> &VecDeque<OfferOutcome> {
        &self.outcomes
    }

    /// What is stored about the service as a whole, by name.
    pub fn properties(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.properties
    }

    /// What happened since this start, counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the master was told that no offers are wanted.
    pub fn is_suppressed(&self) -> bool {
        self.demand.is_suppressed()
    }

    /// Why a step does not go on; empty when there is nothing to say.
    pub fn why(&self, now: f64, step: &Step) -> Vec<String> {
        let mut reasons = step.errors.clone();
        if !self.connected {
            reasons.push("not connected to the Mesos master".to_owned());
        }
        if self.awaits_name() {
            let name = &self.config.api_host;
            reasons
                .push(format!("waits until {name} is this scheduler's address: its tasks will look there"));
        }
        if self.reconciling.is_open() {
            reasons.push("waits for the master to say how tasks of before are".to_owned());
        }
        let mut about = self.plans.about(&step.subject());
        let of = about.find(|of| self.plans.step(*of).is_some_and(|s| s.id == step.id));
        if let Work::Launch { requirement, tracked, .. } = &step.work {
            self.why_tasks(now, requirement, tracked, &mut reasons);
            reasons.extend(of.into_iter().flat_map(|of| self.why_no_offer(now, of, requirement)));
        }
        if reasons.is_empty() {
            reasons.extend(of.and_then(|of| self.held_back(of)));
        }
        reasons
    }

    fn why_tasks(
        &self,
        now: f64,
        requirement: &crate::plan::Requirement,
        tracked: &BTreeMap<TaskName, (TaskId, TaskProgress)>,
        reasons: &mut Vec<String>,
    ) {
        for name in &requirement.tasks {
            let instance = crate::spec::task_instance_name(&requirement.pod, requirement.index, name);
            let Some(task) = self.tasks.get(&instance) else { continue };
            reasons.extend(why_task(now, &instance, task, tracked.get(name).map(|(_, p)| *p)));
        }
    }

    /// A pod's definition under a configuration, or under the target where that has been forgotten.
    fn pod_spec(&self, pod: &PodType, config: Option<&str>) -> Option<&PodSpec> {
        let own = config.and_then(|c| self.configurations.get(c)).and_then(|s| s.pod(pod));
        own.or_else(|| self.service.spec.pod(pod))
    }

    fn task_spec(&self, task: &Task) -> Option<&crate::spec::TaskSpec> {
        self.pod_spec(&task.pod, task.config_id())?.task(&task.name)
    }

    /// What all tasks of the service are told.
    pub fn context(&self) -> ServiceContext {
        let (spec, config) = (&self.service.spec, &self.config);
        let mut context = ServiceContext {
            name: spec.name.clone(),
            framework_id: self.framework_id.clone().unwrap_or_default(),
            role: config.role.clone(),
            principal: spec.principal.clone(),
            user: spec.user.clone(),
            service_tld: config.service_tld.clone(),
            vip_tld: config.vip_tld.clone(),
            api_host: config.api_host.clone(),
            api_port: config.api_port,
            executor: config.executor,
            space: config.space.clone(),
            region: match &spec.region {
                Some(region) => HomeRegion::Named(region.clone()),
                None => HomeRegion::Local(self.master_region.clone()),
            },
            pause_command: config.pause_command.clone(),
            bootstrap_uri: config.bootstrap_uri.clone(),
            endpoints: BTreeMap::new(),
        };
        context.endpoints = self.endpoints(&context.vip_host());
        context
    }

    /// Addresses of ports that have a VIP: the VIP itself, which is known before any task runs. Below `.localhost` names
    /// do not resolve, so the address is given; where a cluster has no VIPs, the address of the first task that
    /// runs, as far as one does.
    fn endpoints(&self, vip_host: &str) -> BTreeMap<String, (String, u16)> {
        let mut endpoints = BTreeMap::new();
        for pod in &self.service.spec.pods {
            let ports = pod.tasks.iter().flat_map(|t| t.resource_set.ports.iter().map(move |p| (t, p)));
            for (task, port) in ports {
                let Some(vip) = &port.vip else { continue };
                let name = format!("{}.{vip_host}", vip.prefix);
                let address = if self.config.vip_tld.is_empty() {
                    self.running_address(&pod.pod_type, &task.name, &port.name)
                } else if crate::wire::vip::is_local(&name) {
                    Some((crate::wire::vip::loopback_address(&name).to_string(), vip.port))
                } else {
                    Some((name, vip.port))
                };
                endpoints.extend(address.map(|a| (port.name.clone(), a)));
            }
        }
        endpoints
    }

    fn running_address(&self, pod: &PodType, task: &TaskName, port: &str) -> Option<(String, u16)> {
        self.tasks.running(pod, task).find_map(|t| {
            let ports = &t.info.discovery.as_ref()?.ports.as_ref()?.ports;
            let number = ports.iter().find(|p| p.name.as_deref() == Some(port))?.number;
            Some((crate::offer::located(&t.info).hostname, u16::try_from(number).ok()?))
        })
    }

    fn call(&mut self, r#type: CallType, fill: impl FnOnce(&mut Call)) {
        let framework_id = self.framework_id.as_deref().map(FrameworkId::from);
        let mut call = Call { framework_id, r#type, ..Call::default() };
        fill(&mut call);
        self.counters.count_call(&call);
        self.calls.push(call);
    }

    fn acknowledge(&mut self, status: &TaskStatus) {
        let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) else { return };
        let task_id = status.task_id.clone();
        self.call(CallType::Acknowledge, |c| c.acknowledge = Some(Acknowledge { agent_id, task_id, uuid }));
    }

    fn write(&mut self, path: String, value: Vec<u8>) {
        if let Some(name) = path.strip_prefix(path::PROPERTIES) {
            self.properties.insert(name.to_owned(), value.clone());
        }
        self.writes.set(path, value);
    }

    fn remove_property(&mut self, path: &str) {
        if let Some(name) = path.strip_prefix(path::PROPERTIES) {
            self.properties.remove(name);
        }
        self.writes.remove(path.to_owned());
    }

    fn write_task(&mut self, instance: &str) {
        if let Some(task) = self.tasks.get(instance) {
            self.writes.set_json(format!("{}/{instance}/{}", path::TASKS, path::TASK_INFO), &task.info);
        }
        self.write_notes(instance);
        self.write_status(instance);
    }

    fn write_status(&mut self, instance: &str) {
        if let Some(status) = self.tasks.get(instance).and_then(|t| t.status.as_ref()) {
            self.writes.set_json(format!("{}/{instance}/{}", path::TASKS, path::TASK_STATUS), status);
        }
    }

    fn write_notes(&mut self, instance: &str) {
        if let Some(task) = self.tasks.get(instance) {
            self.writes.set_json(format!("{}/{instance}/{}", path::TASKS, path::TASK_NOTES), &task.notes);
        }
    }

    /// Remembers that the first deployment is over, from when on the `update` plan applies.
    fn note_deployed(&mut self) {
        let complete = self.plans().first().is_some_and(|p| p.status() == Status::Complete);
        if complete && !self.deploy_noted && !self.config.uninstall {
            self.deploy_noted = true;
            self.write(path::LAST_COMPLETED.to_owned(), b"DEPLOY".to_vec());
        }
    }
}

/// What keeps a task of a step from its goal.
fn why_task(now: f64, instance: &str, task: &Task, progress: Option<TaskProgress>) -> Option<String> {
    let said = task.status.as_ref().and_then(|s| s.message.clone()).unwrap_or_default();
    let ended = || format!("{instance}: {} {said}", task.state().wire_name()).trim_end().to_owned();
    match progress {
        Some(TaskProgress::Starting) => Some(format!("{instance}: launched, not yet running")),
        Some(TaskProgress::Delayed(until)) => {
            Some(format!("{}; tried again in {:.0} s", ended(), (until - now).max(0.0)))
        }
        Some(TaskProgress::Started) if task.notes.idle => {
            Some(format!("{instance}: paused by an operator, until its pod is resumed"))
        }
        Some(TaskProgress::Started) if !task.is_ready() => {
            let check = task.status.as_ref().and_then(|s| s.check_status.as_ref());
            let code = check.and_then(|c| c.command.as_ref()).and_then(|c| c.exit_code);
            Some(match code {
                Some(code) => format!("{instance}: its readiness check ends with exit code {code}"),
                None => format!("{instance}: its readiness check has not ended yet"),
            })
        }
        Some(TaskProgress::Started) => Some(format!("{instance}: running, not yet finished")),
        _ if task.was_launched() && !task.is_live() => Some(ended()),
        _ => None,
    }
}
