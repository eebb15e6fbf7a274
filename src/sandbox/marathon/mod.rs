//! The embedded cluster's Marathon: keeps apps running as processes of this machine, and keeps their definitions.
//!
//! It does what a DC/OS package needs of Marathon: apps with a command, files to fetch, ports, environment, health
//! checks, back-off and deployments. It has no containers, groups, constraints or secrets, and ignores resources; what
//! it cannot do it refuses. All processes run as the user who runs the cluster. The HTTP side is [`routes`]; Cosmos
//! calls [`Marathon`] directly; `dagpkg up` opens it and shuts it down.

mod app;
mod health;
mod instance;
pub mod routes;
mod saved;
mod state;
#[cfg(test)]
mod tests;

pub use app::{App, Detail, Invalid, PortDefinition, canonical_id};
pub use saved::SavedError;

use crate::sandbox::{ids, process};
use serde_json::{Value, json};
use state::{Deployment, Entry, Inner, Instance, Task};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum MarathonError {
    /// The definition is wrong.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// There is no such app.
    #[error("App '{0}' does not exist")]
    NotFound(String),
    /// There is one already.
    #[error("An app with id [{0}] already exists.")]
    Exists(String),
    /// It is being changed, and the request was not forced.
    #[error(
        "App is locked by one or more deployments. Override with the option '?force=true'. View details at \
         '/v2/deployments/{deployment}'."
    )]
    Locked {
        /// The deployment that changes it.
        deployment: String,
    },
    /// The change could not be stored, so it was not made.
    #[error("cannot store the apps: {0}")]
    Saved(#[from] SavedError),
    /// The cluster is going down.
    #[error("the cluster is shutting down")]
    Closed,
}

/// How Marathon is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it keeps its apps and their sandboxes. An absolute path; made when missing.
    pub folder: PathBuf,
    /// Variables that every app gets, unless its own environment sets them.
    pub environment: Vec<(String, String)>,
}

/// The answer to a change: which deployment carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The new version of the app.
    pub version: String,
    /// Id of the deployment.
    pub deployment: String,
}

/// A port of a running instance, for what forwards connections to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The app.
    pub app: String,
    /// Labels of the port's definition.
    pub labels: BTreeMap<String, String>,
    /// The number on 127.0.0.1.
    pub port: u16,
}

/// The embedded Marathon; clones stand for the same one.
#[derive(Clone, Debug)]
pub struct Marathon(Arc<Inner>);

/// Kills the processes of apps that a Marathon in this folder left behind when it was killed itself, and says how many
/// processes that were. No Marathon may run there.
pub fn kill_leftovers(folder: &std::path::Path) -> Result<usize, SavedError> {
    let apps = saved::load(&folder.join("apps.json"))?;
    let identities =
        apps.iter().flat_map(|app| &app.instances).filter_map(|instance| instance.identity.as_ref());
    Ok(identities.map(process::kill_leftovers).sum())
}

impl Marathon {
    /// Opens the folder and starts the apps that are kept there. Processes that an earlier run of the cluster left
    /// behind are killed first. Must be called inside a tokio runtime.
    pub fn open(config: Config, client: reqwest::Client) -> Result<Self, MarathonError> {
        let folder = config.folder;
        let io_error = |source| SavedError::Io { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(io_error)?;
        let killed = kill_leftovers(&folder)?;
        if killed > 0 {
            tracing::info!(killed, "killed processes of an earlier run");
        }
        let kept = saved::load(&folder.join("apps.json"))?;
        let marathon = Self(Arc::new(Inner {
            folder,
            environment: config.environment,
            client,
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        }));
        // all of them are read before the first one is started
        let apps = kept.iter().map(|old| App::parse(&old.definition, None)).collect::<Result<Vec<_>, _>>()?;
        for (old, app) in kept.into_iter().zip(apps) {
            let instances = old.instances.into_iter();
            let instances = instances.map(|i| Instance { ports: i.ports, ..Instance::default() }).collect();
            let mut state = marathon.0.lock();
            marathon.0.add(&mut state, app, old.version, "StartApplication", instances)?;
        }
        Ok(marathon)
    }

    /// Adds an app and starts to deploy it.
    pub fn create(&self, app: App) -> Result<Accepted, MarathonError> {
        let mut state = self.0.lock();
        match state.apps.get(&app.id) {
            Some(Entry { leaving: false, .. }) => return Err(MarathonError::Exists(app.id)),
            Some(entry) => return Err(entry.locked()),
            None => {}
        }
        let (id, version) = (app.id.clone(), now());
        let deployment = self.0.add(&mut state, app, version.clone(), "StartApplication", Vec::new())?;
        if let Err(e) = self.0.save(&state) {
            if let Some(entry) = state.apps.remove(&id) {
                entry.deployer.inspect(JoinHandle::abort);
            }
            return Err(e.into());
        }
        Ok(Accepted { version, deployment })
    }

    /// Puts a new definition in the place of an app's own, and restarts its instances if more than their number has
    /// changed.
    pub fn update(&self, app: App, force: bool) -> Result<Accepted, MarathonError> {
        let id = app.id.clone();
        self.change(&id, force, |entry| {
            let without_count = |app: &App| {
                let mut definition = app.definition.clone();
                definition.remove("instances");
                definition
            };
            let restart = without_count(&entry.app) != without_count(&app);
            entry.app = Arc::new(app);
            (if restart { "RestartApplication" } else { "ScaleApplication" }, restart)
        })
    }

    /// Replaces all instances of an app.
    pub fn restart(&self, id: &str, force: bool) -> Result<Accepted, MarathonError> {
        self.change(id, force, |_| ("RestartApplication", true))
    }

    /// Stops an app and forgets it.
    pub fn delete(&self, id: &str, force: bool) -> Result<Accepted, MarathonError> {
        self.change(id, force, |entry| {
            entry.leaving = true;
            ("StopApplication", true)
        })
    }

    /// The definition of an app.
    pub fn app(&self, id: &str) -> Option<Arc<App>> {
        self.0.lock().apps.get(id).filter(|e| !e.leaving).map(|e| Arc::clone(&e.app))
    }

    /// Everything about an app that `GET /v2/apps/{id}` answers (there with `tasks`).
    pub fn describe(&self, id: &str, with_tasks: bool) -> Option<Value> {
        self.0.lock().apps.get(id).filter(|e| !e.leaving).map(|e| e.to_json(with_tasks))
    }

    /// The ids of all apps.
    pub fn ids(&self) -> Vec<String> {
        self.0.lock().apps.iter().filter(|(_, e)| !e.leaving).map(|(id, _)| id.clone()).collect()
    }

    /// The deployments that are going on, as `GET /v2/deployments` answers them.
    pub fn deployments(&self) -> Vec<Value> {
        let state = self.0.lock();
        let deployment = |(id, entry): (&String, &Entry)| {
            let Deployment { id: deployment, action } = entry.deployment.as_ref()?;
            let actions = json!([{"action": action, "app": id}]);
            Some(json!({
                "id": deployment, "version": entry.version, "affectedApps": [id], "affectedPods": [],
                "steps": [{"actions": actions}], "currentActions": actions, "currentStep": 1, "totalSteps": 1,
            }))
        };
        state.apps.iter().filter_map(deployment).collect()
    }

    /// The ports of all running instances.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let state = self.0.lock();
        let mut endpoints = Vec::new();
        for (id, entry) in &state.apps {
            for instance in entry.instances.iter().filter(|i| i.task.as_ref().is_some_and(Task::is_running)) {
                for (definition, port) in entry.app.ports.iter().zip(&instance.ports) {
                    let (app, labels) = (id.clone(), definition.labels.clone());
                    endpoints.push(Endpoint { app, labels, port: *port });
                }
            }
        }
        endpoints
    }

    /// Gets a new value whenever [`Marathon::endpoints`] or an app's tasks may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The address of a service's HTTP API: of the running app whose label `DCOS_SERVICE_NAME` is `service`, the port
    /// that `DCOS_SERVICE_PORT_INDEX` tells.
    pub fn service_port(&self, service: &str) -> Option<u16> {
        let state = self.0.lock();
        state.apps.values().find_map(|entry| {
            let label = |name: &str| entry.app.labels.get(name).map(String::as_str);
            let found = label("DCOS_SERVICE_NAME")?.trim_matches('/') == service.trim_matches('/');
            let index: usize = label("DCOS_SERVICE_PORT_INDEX")?.parse().ok()?;
            let running = |i: &&Instance| i.task.as_ref().is_some_and(Task::is_running);
            let instance = entry.instances.iter().find(running).filter(|_| found)?;
            instance.ports.get(index).copied()
        })
    }

    /// Why an app's instance ended last, in one line: its state, what happened and when. `None` when it never did.
    pub fn last_failure(&self, id: &str) -> Option<String> {
        let state = self.0.lock();
        let failure = state.apps.get(id)?.last_failure.as_ref()?;
        let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
        Some(format!("{} {}: {}", text("timestamp"), text("state"), text("message")))
    }

    /// Stops all processes of all apps, each with its own grace period, and takes no more changes. The apps are kept
    /// and start again when the folder is opened the next time.
    pub async fn shutdown(&self) {
        let deployers: Vec<JoinHandle<()>> = {
            let mut state = self.0.lock();
            state.closed = true;
            let close = |entry: &mut Entry| {
                entry.wanted.send_modify(|wanted| wanted.closing = true);
                entry.deployer.take()
            };
            state.apps.values_mut().filter_map(close).collect()
        };
        for deployer in deployers {
            // an error means that it ended in another way, so there is nothing to wait for
            let _ = deployer.await;
        }
    }

    /// Makes a change to an app, stores it and hands it to the app's deployment loop.
    fn change(
        &self,
        id: &str,
        force: bool,
        make: impl FnOnce(&mut Entry) -> (&'static str, bool),
    ) -> Result<Accepted, MarathonError> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(MarathonError::Closed);
        }
        let entry = state.apps.get_mut(id).filter(|e| !e.leaving);
        let entry = entry.ok_or_else(|| MarathonError::NotFound(id.to_owned()))?;
        if entry.deployment.is_some() && !force {
            return Err(entry.locked());
        }
        let (deployment, version) = (ids::uuid(), now());
        let (old_app, old_version) = (Arc::clone(&entry.app), entry.version.clone());
        let (action, restart) = make(entry);
        entry.version.clone_from(&version);
        if let Err(e) = self.0.save(&state) {
            if let Some(entry) = state.apps.get_mut(id) {
                (entry.app, entry.version, entry.leaving) = (old_app, old_version, false);
            }
            return Err(e.into());
        }
        // nothing but `make` touched the map since the entry was found
        if let Some(entry) = state.apps.get_mut(id) {
            entry.deployment = Some(Deployment { id: deployment.clone(), action });
            let app = (!entry.leaving).then(|| Arc::clone(&entry.app));
            entry.wanted.send_modify(|wanted| {
                wanted.app = app;
                wanted.version.clone_from(&version);
                wanted.round += u64::from(restart);
            });
        }
        Ok(Accepted { version, deployment })
    }
}

/// Now, as Marathon writes it: `2026-01-01T00:00:00.000Z`.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
