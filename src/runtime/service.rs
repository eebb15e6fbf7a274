//! The loop that drives a scheduler: events from Mesos, commands from the API and the passing of time go in, and what comes
//! out is stored, then sent.

use super::{cluster, secrets};
use crate::api::{CommandRequest, Handle};
use crate::mesos::{Backoff, CallError, Client, Connection, Events, StreamEnd, SubscribeError};
use crate::scheduler::{Config, Effect, Event, Scheduler, StartError, Stored, Write};
use crate::spec::Service;
use crate::store::{Change, Store, StoreError, secrets::LocalSecrets};
use crate::wire::{self, EventType, Subscribe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// How often time passes for the scheduler when nothing else happens.
const TICK: Duration = Duration::from_millis(500);
/// A subscription that lasted this long was a success: the next reconnection starts with a short pause.
const LASTING: Duration = Duration::from_mins(1);

/// What a service runs with.
#[derive(Debug)]
pub struct Options {
    /// What to run.
    pub service: Service,
    /// The environment's settings.
    pub config: Config,
    /// Where state is kept.
    pub store: Arc<dyn Store>,
    /// Where secrets are kept, if the cluster has no secret store of its own.
    pub secrets: Option<LocalSecrets>,
    /// The masters.
    pub client: Client,
    /// Where the API is served.
    pub listener: TcpListener,
}

/// Why a service stopped. [`RunError::exit_code`] is what the process ends with; whoever started it starts it again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// State could not be read or written. What was not written was not done either.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master does not take the framework.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The master ended the subscription for good.
    #[error("{0}")]
    Ended(String),
    /// The API could not be served.
    #[error("the API can't be served: {0}")]
    Api(std::io::Error),
}

impl RunError {
    /// The exit codes of the SDK, which operators know.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(StartError::Uninstalling) => 11,
            Self::Start(_) => 1,
            Self::Store(StoreError::InUse(_)) => 8,
            Self::Store(_) | Self::Subscribe(_) => 2,
            Self::Ended(_) => 6,
            Self::Api(_) => 9,
        }
    }
}

/// Seconds since 1970, never going back, whatever is done to the system's clock.
fn clock() -> impl Fn() -> f64 + Clone + Send + Sync + 'static {
    let started = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    move || (since_1970 + started.elapsed()).as_secs_f64()
}

/// Runs a service until `stop` completes. Its tasks go on when it stops: they are Mesos' to keep.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let Options { service, config, store, secrets, client, listener } = options;
    let now = clock();
    let stored = {
        let store = Arc::clone(&store);
        blocking(move || read_all(store.as_ref())).await?
    };
    // Only makes ids of this run differ from those of others.
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|e| RunError::Api(std::io::Error::other(e.to_string())))?;
    // Only DC/OS gives the names that are waited for.
    let on_dcos = config.dcos.is_some();
    let (scheduler, effects) = Scheduler::start(config, service, &stored, seed)?;
    for error in scheduler.plans().iter().flat_map(crate::plan::Plan::all_errors) {
        tracing::error!(%error, "the configuration is refused, the one before stays");
    }
    let (name, own) = (scheduler.api_host().to_owned(), listener.local_addr().map_err(RunError::Api)?.ip());
    let scheduler = Arc::new(Mutex::new(scheduler));
    let known = (on_dcos && cluster::is_awaited(&name)).then(|| {
        lock(&scheduler).set_reachable(false);
        let scheduler = Arc::clone(&scheduler);
        let known = async move {
            cluster::await_name(name, own).await;
            lock(&scheduler).set_reachable(true);
        };
        AbortOnDrop(tokio::spawn(known).abort_handle())
    });
    let (commands, requests) = mpsc::channel(64);
    let handle = Handle { scheduler: Arc::clone(&scheduler), commands, now: Arc::new(now.clone()) };
    let api = tokio::spawn(axum::serve(listener, crate::api::router(handle)).into_future());
    let driver = Driver { scheduler, store, secrets, now: Box::new(now), connection: None };
    let outcome = tokio::select! {
        outcome = driver.run(client, effects, requests) => outcome,
        served = api => Err(RunError::Api(match served {
            Ok(Err(error)) => error,
            Ok(Ok(())) => std::io::Error::other("it ended"),
            Err(error) => std::io::Error::other(error),
        })),
        () = stop => Ok(()),
    };
    drop(known);
    tracing::info!("stopped");
    outcome
}

fn lock(scheduler: &Mutex<Scheduler>) -> MutexGuard<'_, Scheduler> {
    scheduler.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs something that waits for the disk or for a name server.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // The work neither panics (that would abort) nor is it cancelled.
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn read_all(store: &dyn Store) -> Result<Stored, StoreError> {
    let mut stored = Stored::new();
    let mut open = vec![String::new()];
    while let Some(path) = open.pop() {
        if let Some(value) = if path.is_empty() { None } else { store.get(&path)? } {
            stored.insert(path.clone(), value);
        }
        for child in store.children(&path)? {
            open.push(if path.is_empty() { child } else { format!("{path}/{child}") });
        }
    }
    Ok(stored)
}

/// What comes from the subscription.
enum FromMaster {
    Subscribed(Box<Connection>),
    Event(Box<wire::Event>),
    Disconnected,
    Failed(RunError),
}

struct Driver {
    scheduler: Arc<Mutex<Scheduler>>,
    store: Arc<dyn Store>,
    secrets: Option<LocalSecrets>,
    now: Box<dyn Fn() -> f64 + Send + Sync>,
    connection: Option<Connection>,
}

impl Driver {
    async fn run(
        mut self,
        client: Client,
        effects: Vec<Effect>,
        mut requests: mpsc::Receiver<CommandRequest>,
    ) -> Result<(), RunError> {
        self.perform(effects).await?;
        let (sender, mut from_master) = mpsc::channel(256);
        let subscription =
            Subscription { client, scheduler: Arc::clone(&self.scheduler), sender: sender.clone() };
        let needs_master = self.scheduler().needs_master();
        let _ended_with_this =
            needs_master.then(|| AbortOnDrop(tokio::spawn(subscription.run()).abort_handle()));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                message = from_master.recv() => match message {
                    Some(FromMaster::Subscribed(connection)) => {
                        let framework_id = connection.framework_id().value.clone();
                        self.connection = Some(*connection);
                        Some(Event::Subscribed { framework_id })
                    }
                    Some(FromMaster::Event(event)) => translate(*event),
                    Some(FromMaster::Disconnected) => {
                        self.connection = None;
                        Some(Event::Disconnected)
                    }
                    // Without a framework there is nothing to hear; what is left is to tell that all is done.
                    Some(FromMaster::Failed(error)) if self.is_gone(&error) => Some(Event::TornDown),
                    Some(FromMaster::Failed(error)) => return Err(error),
                    None => return Err(RunError::Ended("the subscription ended".to_owned())),
                },
                Some(request) = requests.recv() => {
                    self.command(request).await?;
                    None
                }
                _ = tick.tick() => Some(Event::Tick),
            };
            if let Some(event) = event {
                self.handle(event).await?;
            }
        }
    }

    /// Whether the framework is removed, as it should be.
    fn is_gone(&self, error: &RunError) -> bool {
        let (RunError::Ended(message) | RunError::Subscribe(SubscribeError::Ended { message, .. })) = error
        else {
            return false;
        };
        self.scheduler().is_uninstalling() && message.contains("removed")
    }

    fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        lock(&self.scheduler)
    }

    /// Takes an event in. A call that fails is an event too.
    async fn handle(&mut self, event: Event) -> Result<(), RunError> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            log(&event);
            let effects = self.scheduler().handle((self.now)(), event);
            next = self.perform(effects).await?.map(Event::CallFailed);
        }
        Ok(())
    }

    async fn command(&mut self, request: CommandRequest) -> Result<(), RunError> {
        tracing::info!(command = ?request.command, "command");
        let done = self.scheduler().command((self.now)(), &request.command);
        let answer = match done {
            Ok((outcome, tasks, effects)) => {
                if let Some(failed) = self.perform(effects).await? {
                    self.handle(Event::CallFailed(failed)).await?;
                }
                Ok((outcome, tasks))
            }
            Err(error) => Err(error),
        };
        // Whoever asked may have gone.
        let _ = request.answer.send(answer);
        Ok(())
    }

    /// Stores, then sends, in order. Gives the kind of an ACCEPT that could not be delivered, or of another such call.
    async fn perform(&mut self, effects: Vec<Effect>) -> Result<Option<wire::CallType>, RunError> {
        let mut failed = None;
        for effect in effects {
            match effect {
                Effect::Write(writes) => {
                    let changes: Vec<Change> = writes.into_iter().map(change).collect();
                    let store = Arc::clone(&self.store);
                    blocking(move || store.apply(&changes)).await?;
                }
                Effect::Call(call) => {
                    let kind = call.r#type;
                    if let Err(error) = self.send(*call).await {
                        tracing::warn!(%error, "a call was not delivered");
                        failed = failed.filter(|f| *f == wire::CallType::Accept).or(Some(kind));
                    }
                }
            }
        }
        Ok(failed)
    }

    async fn send(&self, mut call: wire::Call) -> Result<(), String> {
        let Some(connection) = &self.connection else { return Err("not connected".to_owned()) };
        if let Some(keeper) = &self.secrets {
            secrets::fill_in(&mut call, keeper).map_err(|e| e.to_string())?;
        }
        connection.call(&call).await.map_err(|error: CallError| error.to_string())
    }
}

fn change(write: Write) -> Change {
    match write.value {
        Some(value) => Change::set(write.path, value),
        None => Change::delete(write.path),
    }
}

fn translate(event: wire::Event) -> Option<Event> {
    match event.r#type {
        EventType::Offers => Some(Event::Offers(event.offers?.offers)),
        EventType::Rescind => Some(Event::Rescind(event.rescind?.offer_id)),
        EventType::Update => Some(Event::Update(Box::new(event.update?.status))),
        EventType::Subscribed => Some(Event::MasterRegion(region(event.subscribed?.master_info.as_ref()))),
        // What these tell also comes as status updates.
        _ => None,
    }
}

/// The region of a master, as it says itself.
fn region(master_info: Option<&serde_json::Value>) -> Option<String> {
    let name = master_info?.pointer("/domain/fault_domain/region/name")?;
    name.as_str().map(str::to_owned)
}

fn log(event: &Event) {
    match event {
        Event::Subscribed { framework_id } => tracing::info!(framework_id, "subscribed"),
        Event::MasterRegion(region) => tracing::debug!(?region, "the master's region"),
        Event::Update(status) => tracing::info!(
            task = %status.task_id,
            state = status.state.wire_name(),
            reason = status.reason,
            message = status.message,
            "status"
        ),
        Event::Offers(offers) => tracing::debug!(count = offers.len(), "offers"),
        Event::Rescind(offer) => tracing::debug!(%offer, "rescinded"),
        Event::TornDown => tracing::info!("the framework is removed"),
        Event::Disconnected => tracing::warn!("disconnected from the master"),
        Event::CallFailed(kind) => tracing::debug!(?kind, "call failed"),
        Event::Tick => {}
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the subscription up.
struct Subscription {
    client: Client,
    scheduler: Arc<Mutex<Scheduler>>,
    sender: mpsc::Sender<FromMaster>,
}

impl Subscription {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            // Taken anew each time: the first subscription brings the framework's id.
            let framework_info = {
                let scheduler = lock(&self.scheduler);
                scheduler.framework_info()
            };
            let subscribe = Subscribe { framework_info, suppressed_roles: Vec::new() };
            let (connection, events) = match self.client.connect(&subscribe, &mut backoff).await {
                Ok(subscribed) => subscribed,
                Err(error) => return self.give(FromMaster::Failed(error.into())).await,
            };
            let since = Instant::now();
            self.give(FromMaster::Subscribed(Box::new(connection))).await;
            match self.forward(events).await {
                StreamEnd::Error(message) => {
                    return self.give(FromMaster::Failed(RunError::Ended(message))).await;
                }
                end => tracing::warn!(%end, "subscribing again"),
            }
            self.give(FromMaster::Disconnected).await;
            if since.elapsed() > LASTING {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    async fn give(&self, message: FromMaster) {
        // Without a receiver the whole process is about to end.
        let _ = self.sender.send(message).await;
    }

    async fn forward(&self, mut events: Events) -> StreamEnd {
        loop {
            match events.next().await {
                Ok(event) => self.give(FromMaster::Event(Box::new(event))).await,
                Err(end) => return end,
            }
        }
    }
}
