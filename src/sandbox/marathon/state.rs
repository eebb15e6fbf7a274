//! What Marathon knows about its apps at the moment, behind one lock, and the loop that carries out deployments.
//!
//! No rule about requests is here. Called by [`super::Marathon`] and by the instances.

use super::app::App;
use super::saved::{self, SavedApp, SavedError, SavedInstance};
use super::{MarathonError, instance, now};
use crate::sandbox::ids;
use crate::sandbox::process::Identity;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) folder: PathBuf,
    pub(super) environment: Vec<(String, String)>,
    pub(super) client: reqwest::Client,
    pub(super) state: Mutex<State>,
    /// Bumped whenever an instance changes.
    pub(super) changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) apps: BTreeMap<String, Entry>,
    pub(super) closed: bool,
}

/// One app and the loop that carries out its deployments.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) app: Arc<App>,
    pub(super) version: String,
    pub(super) instances: Vec<Instance>,
    pub(super) deployment: Option<Deployment>,
    pub(super) last_failure: Option<Value>,
    /// Deleted; its processes are being stopped.
    pub(super) leaving: bool,
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) deployer: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) action: &'static str,
}

/// What an app's deployment loop works towards.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// `None`: stop, and forget the app.
    pub(super) app: Option<Arc<App>>,
    pub(super) version: String,
    /// Instances of another round are replaced.
    pub(super) round: u64,
    /// Stop everything and end, but keep the app for the next run of the cluster.
    pub(super) closing: bool,
}

/// One instance of an app.
#[derive(Clone, Debug, Default)]
pub(super) struct Instance {
    pub(super) ports: Vec<u16>,
    pub(super) identity: Option<Identity>,
    pub(super) task: Option<Task>,
}

/// The present run of an instance.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) staged_at: String,
    pub(super) started_at: Option<String>,
    /// The last result of each health check.
    pub(super) healthy: Vec<Option<bool>>,
}

impl Task {
    pub(super) fn staging(id: String, version: &str, checks: usize) -> Self {
        Self {
            id,
            version: version.to_owned(),
            staged_at: now(),
            started_at: None,
            healthy: vec![None; checks],
        }
    }

    pub(super) fn started(&mut self) {
        self.started_at = Some(now());
    }

    pub(super) fn is_running(&self) -> bool {
        self.started_at.is_some()
    }

    /// Running, and every health check has passed.
    pub(super) fn is_ready(&self) -> bool {
        self.is_running() && self.healthy.iter().all(|h| *h == Some(true))
    }
}

impl Entry {
    pub(super) fn locked(&self) -> MarathonError {
        MarathonError::Locked { deployment: self.deployment.as_ref().map_or(String::new(), |d| d.id.clone()) }
    }

    pub(super) fn to_json(&self, with_tasks: bool) -> Value {
        let mut all = self.app.definition.clone();
        let tasks: Vec<&Instance> = self.instances.iter().filter(|i| i.task.is_some()).collect();
        let count =
            |is: fn(&Task) -> bool| tasks.iter().filter_map(|i| i.task.as_ref()).filter(|t| is(t)).count();
        let deployments: Vec<Value> = self.deployment.iter().map(|d| json!({"id": d.id})).collect();
        let checked = !self.app.health_checks.is_empty();
        for (key, value) in [
            ("version", json!(self.version)),
            ("versionInfo", json!({"lastScalingAt": self.version, "lastConfigChangeAt": self.version})),
            ("tasksStaged", json!(count(|t| !t.is_running()))),
            ("tasksRunning", json!(count(Task::is_running))),
            ("tasksHealthy", json!(if checked { count(Task::is_ready) } else { 0 })),
            ("tasksUnhealthy", json!(count(|t| t.healthy.contains(&Some(false))))),
            ("deployments", json!(deployments)),
        ] {
            all.insert(key.into(), value);
        }
        if with_tasks {
            all.insert("tasks".into(), tasks.iter().filter_map(|i| i.task_json(&self.app.id)).collect());
            if let Some(failure) = &self.last_failure {
                all.insert("lastTaskFailure".into(), failure.clone());
            }
        }
        Value::Object(all)
    }
}

impl Instance {
    pub(super) fn task_json(&self, app: &str) -> Option<Value> {
        let task = self.task.as_ref()?;
        let results =
            task.healthy.iter().flatten().map(|alive| json!({"alive": alive, "instanceId": task.id}));
        let mut all = json!({
            "id": task.id, "appId": app, "host": "127.0.0.1", "ports": self.ports, "servicePorts": [],
            "ipAddresses": [{"ipAddress": "127.0.0.1", "protocol": "IPv4"}], "stagedAt": task.staged_at,
            "state": if task.is_running() { "TASK_RUNNING" } else { "TASK_STAGING" }, "version": task.version,
            "healthCheckResults": results.collect::<Vec<_>>(), "localVolumes": [],
        });
        if let Some(started) = &task.started_at {
            all["startedAt"] = json!(started);
        }
        Some(all)
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // no code that holds the lock leaves the state half changed, so a panic elsewhere does not spoil it
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sandboxes(&self, id: &str, index: usize) -> PathBuf {
        self.folder.join("sandboxes").join(instance::one_word(id)).join(index.to_string())
    }

    /// Adds an app and starts its deployment loop; answers the deployment's id.
    pub(super) fn add(
        self: &Arc<Self>,
        state: &mut State,
        app: App,
        version: String,
        action: &'static str,
        instances: Vec<Instance>,
    ) -> Result<String, MarathonError> {
        if state.closed {
            return Err(MarathonError::Closed);
        }
        let (id, app, deployment) = (app.id.clone(), Arc::new(app), ids::uuid());
        let wanted =
            Wanted { app: Some(Arc::clone(&app)), version: version.clone(), round: 0, closing: false };
        let (wanted, seen) = watch::channel(wanted);
        let deployer = Some(tokio::spawn(deploy(Arc::clone(self), id.clone(), seen)));
        let deploying = Some(Deployment { id: deployment.clone(), action });
        let entry = Entry {
            app,
            version,
            instances,
            deployment: deploying,
            last_failure: None,
            leaving: false,
            wanted,
            deployer,
        };
        state.apps.insert(id, entry);
        Ok(deployment)
    }

    pub(super) fn save(&self, state: &State) -> Result<(), SavedError> {
        let saved = |entry: &Entry| SavedApp {
            definition: Value::Object(entry.app.definition.clone()),
            version: entry.version.clone(),
            instances: entry
                .instances
                .iter()
                .map(|i| SavedInstance { ports: i.ports.clone(), identity: i.identity.clone() })
                .collect(),
        };
        let apps: Vec<SavedApp> = state.apps.values().filter(|e| !e.leaving).map(saved).collect();
        saved::store(&self.folder.join("apps.json"), &apps)
    }

    pub(super) fn with_instance(&self, id: &str, index: usize, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.lock().apps.get_mut(id).and_then(|e| e.instances.get_mut(index)) {
            change(instance);
        }
        self.changes.send_modify(|n| *n += 1);
    }

    pub(super) fn ports(&self, id: &str, index: usize) -> Vec<u16> {
        self.lock().apps.get(id).and_then(|e| e.instances.get(index)).map_or(Vec::new(), |i| i.ports.clone())
    }

    pub(super) fn set_identity(
        &self,
        id: &str,
        index: usize,
        identity: Option<Identity>,
    ) -> Result<(), SavedError> {
        let mut state = self.lock();
        if let Some(instance) = state.apps.get_mut(id).and_then(|e| e.instances.get_mut(index)) {
            instance.identity = identity;
        }
        self.save(&state)
    }

    pub(super) fn health_result(&self, id: &str, index: usize, check: usize, passed: bool) {
        self.with_instance(id, index, |instance| {
            if let Some(result) = instance.task.as_mut().and_then(|t| t.healthy.get_mut(check)) {
                *result = Some(passed);
            }
        });
    }

    pub(super) fn instance_failed(&self, id: &str, index: usize, state: &str, message: &str, version: &str) {
        let mut locked = self.lock();
        if let Some(entry) = locked.apps.get_mut(id) {
            let task = entry.instances.get_mut(index).and_then(|i| i.task.take());
            entry.last_failure = Some(json!({
                "appId": id, "host": "127.0.0.1", "message": message, "state": state, "timestamp": now(),
                "taskId": task.map_or(String::new(), |t| t.id), "version": version,
            }));
        }
        drop(locked);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Ends an app's deployment when so many instances are there and ready, and nothing newer is wanted.
    pub(super) fn note_completion(&self, id: &str, count: usize, wanted: &watch::Receiver<Wanted>) {
        let mut state = self.lock();
        // asked under the lock, because changes are made under it
        let Some(entry) = state.apps.get_mut(id).filter(|_| !wanted.has_changed().unwrap_or(true)) else {
            return;
        };
        let ready = |i: &Instance| i.task.as_ref().is_some_and(Task::is_ready);
        if entry.instances.len() == count && entry.instances.iter().all(ready) {
            entry.deployment = None;
        }
    }
}

/// The deployment loop of one app: brings its instances to what is wanted, until the app is deleted or the cluster
/// goes down.
async fn deploy(cluster: Arc<Inner>, id: String, mut wanted: watch::Receiver<Wanted>) {
    let mut running: Vec<(watch::Sender<bool>, JoinHandle<()>)> = Vec::new();
    let mut round = None;
    let mut changes = cluster.changes.subscribe();
    loop {
        let now = wanted.borrow_and_update().clone();
        let app = now.app.clone().filter(|_| !now.closing);
        let count = app.as_ref().map_or(0, |a| a.instances as usize);
        let keep = if round == Some(now.round) { count } else { 0 };
        stop(running.split_off(keep.min(running.len()))).await;
        if now.closing {
            return;
        }
        let Some(app) = app else {
            cluster.lock().apps.remove(&id);
            cluster.changes.send_modify(|n| *n += 1);
            return;
        };
        round = Some(now.round);
        if let Some(entry) = cluster.lock().apps.get_mut(&id) {
            entry.instances.resize_with(count, Instance::default);
        }
        for index in running.len()..count {
            let (stop, stopped) = watch::channel(false);
            let instance = instance::supervise(
                Arc::clone(&cluster),
                Arc::clone(&app),
                now.version.clone(),
                index,
                stopped,
            );
            running.push((stop, tokio::spawn(instance)));
        }
        // until the next change is asked for, note when this one is complete
        loop {
            cluster.note_completion(&id, count, &wanted);
            tokio::select! {
                asked = wanted.changed() => match asked {
                    Ok(()) => break,
                    // the entry is gone, so nobody wants the app
                    Err(_) => return stop(running).await,
                },
                _ = changes.changed() => {}
            }
        }
    }
}

async fn stop(instances: Vec<(watch::Sender<bool>, JoinHandle<()>)>) {
    for (stop, _) in &instances {
        stop.send_replace(true);
    }
    for (_, instance) in instances {
        // an error means that it panicked, and then it no longer runs either
        let _ = instance.await;
    }
}
