//! The embedded cluster's package service (Cosmos): repositories of packages, and what is installed from them.
//!
//! It does for a package what DC/OS does: options over defaults, validation, rendering of the Marathon app, labels,
//! and a POST to Marathon (here a call in this process). What Cosmos rewrites for browsers behind a proxy (resource
//! URLs) and `service/describe` are not there. A new cluster has no repositories. The HTTP side is [`routes`];
//! `dagpkg up` calls [`Cosmos`] directly.

mod error;
mod installed;
mod repository;
pub mod routes;
#[cfg(test)]
mod tests;
mod uninstall;

pub use error::CosmosError;
pub use repository::{Package, Repository, fetch};

use crate::package::marathon::{RenderError, app as package_app};
use crate::package::options::{OptionsError, Violation};
use crate::sandbox::marathon::{Accepted, App, Marathon, canonical_id};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the packages of a repository are used before they are fetched again.
const FRESH: Duration = Duration::from_mins(1);

/// The embedded package service; clones stand for the same one.
#[derive(Clone, Debug)]
pub struct Cosmos(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Keeps the list of repositories.
    file: PathBuf,
    client: reqwest::Client,
    marathon: Marathon,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    repositories: Vec<Repository>,
    /// By URI.
    fetched: HashMap<String, (Instant, Vec<Package>)>,
}

/// What an installation made.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// The package.
    pub package: Package,
    /// The id of its app.
    pub app_id: String,
}

impl Cosmos {
    /// Opens the folder (which must exist) with the list of repositories.
    pub fn open(
        folder: &std::path::Path,
        client: reqwest::Client,
        marathon: Marathon,
    ) -> Result<Self, CosmosError> {
        let file = folder.join("repositories.json");
        let broken = |e: String| CosmosError::UnhandledException(format!("{}: {e}", file.display()));
        let repositories = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| broken(e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(broken(e.to_string())),
        };
        let state = Mutex::new(State { repositories, ..State::default() });
        Ok(Self(Arc::new(Inner { file, client, marathon, state })))
    }

    /// The repositories, the most important first.
    pub fn repositories(&self) -> Vec<Repository> {
        self.lock().repositories.clone()
    }

    /// Adds a repository at an index (at the end without one), after it has been fetched once.
    pub async fn add_repository(
        &self,
        repository: Repository,
        index: Option<i64>,
    ) -> Result<Vec<Repository>, CosmosError> {
        let uri = &repository.uri;
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return Err(CosmosError::UnsupportedRepositoryUri(uri.clone()));
        }
        Self::place(&self.repositories(), &repository, index)?;
        let packages = repository::fetch(&self.0.client, &repository, true).await?;
        let mut state = self.lock();
        // again: it may have been added meanwhile
        let place = Self::place(&state.repositories, &repository, index)?;
        let mut list = state.repositories.clone();
        list.insert(place, repository.clone());
        self.store(&list)?;
        state.fetched.insert(repository.uri, (Instant::now(), packages));
        state.repositories.clone_from(&list);
        Ok(list)
    }

    fn place(list: &[Repository], new: &Repository, index: Option<i64>) -> Result<usize, CosmosError> {
        let name = list.iter().any(|r| r.name == new.name).then(|| new.name.clone());
        let uri = list.iter().any(|r| r.uri == new.uri).then(|| new.uri.clone());
        if name.is_some() || uri.is_some() {
            return Err(CosmosError::RepositoryAlreadyPresent { name, uri });
        }
        let Some(index) = index else { return Ok(list.len()) };
        let place = usize::try_from(index).ok().filter(|i| *i <= list.len());
        place.ok_or(CosmosError::RepositoryAddIndexOutOfBounds { attempted: index, max: list.len() })
    }

    /// Removes the repository that has this name and this URI, as far as they are given.
    pub fn delete_repository(
        &self,
        name: Option<String>,
        uri: Option<String>,
    ) -> Result<Vec<Repository>, CosmosError> {
        if name.is_none() && uri.is_none() {
            return Err(CosmosError::RepoNameOrUriMissing);
        }
        let mut state = self.lock();
        let matches = |r: &Repository| {
            name.as_ref().is_none_or(|n| *n == r.name) && uri.as_ref().is_none_or(|u| *u == r.uri)
        };
        let Some(index) = state.repositories.iter().position(matches) else {
            return Err(CosmosError::RepositoryNotPresent { name, uri });
        };
        let mut list = state.repositories.clone();
        list.remove(index);
        self.store(&list)?;
        state.fetched.clear();
        state.repositories.clone_from(&list);
        Ok(list)
    }

    /// All packages of all repositories, best first (see [`repository::merge`]).
    pub async fn packages(&self) -> Result<Vec<Package>, CosmosError> {
        let mut all = Vec::new();
        for repository in self.repositories() {
            let known =
                self.lock().fetched.get(&repository.uri).filter(|(at, _)| at.elapsed() < FRESH).cloned();
            let packages = if let Some((_, packages)) = known {
                packages
            } else {
                let packages = repository::fetch(&self.0.client, &repository, false).await?;
                self.lock().fetched.insert(repository.uri.clone(), (Instant::now(), packages.clone()));
                packages
            };
            all.push(packages);
        }
        Ok(repository::merge(all))
    }

    /// One package; without a version the default one.
    pub async fn package(&self, name: &str, version: Option<&str>) -> Result<Package, CosmosError> {
        repository::find(&self.packages().await?, name, version).cloned()
    }

    /// Installs a package: renders its app with the user's options and hands it to Marathon.
    pub async fn install(
        &self,
        name: &str,
        version: Option<&str>,
        options: &Map<String, Value>,
        app_id: Option<&str>,
    ) -> Result<Installed, CosmosError> {
        let package = self.package(name, version).await?;
        let app = render(&package, options, app_id)?;
        let app = App::parse(&app, None).map_err(CosmosError::MarathonBadResponse)?;
        let app_id = app.id.clone();
        self.0.marathon.create(app)?;
        Ok(Installed { package, app_id })
    }

    /// Brings an installed package to a version of the repositories and to these options (all of them: nothing of the
    /// old options stays). `None` when the app is just like that already.
    pub async fn update(
        &self,
        app_id: &str,
        name: &str,
        version: Option<&str>,
        options: &Map<String, Value>,
    ) -> Result<Option<Accepted>, CosmosError> {
        let package = self.package(name, version).await?;
        let app = render(&package, options, Some(app_id))?;
        let app = App::parse(&app, None).map_err(CosmosError::MarathonBadResponse)?;
        if self.0.marathon.app(&app.id).is_some_and(|old| *old == app) {
            return Ok(None);
        }
        Ok(Some(self.0.marathon.update(app, true)?))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // the state is replaced as a whole, so a panic elsewhere does not spoil it
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the list on disk; a crash leaves the old one or the new one.
    fn store(&self, list: &[Repository]) -> Result<(), CosmosError> {
        let write = || -> std::io::Result<()> {
            let mut file =
                tempfile::NamedTempFile::new_in(self.0.file.parent().unwrap_or(std::path::Path::new(".")))?;
            serde_json::to_writer_pretty(&mut file, list)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&self.0.file).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(|e| CosmosError::UnhandledException(format!("{}: {e}", self.0.file.display())))
    }
}

/// The app that a package becomes with a user's options.
fn render(
    package: &Package,
    options: &Map<String, Value>,
    app_id: Option<&str>,
) -> Result<Value, CosmosError> {
    let app =
        package_app(&package.definition, &package.source, options, app_id).map_err(|error| match error {
            RenderError::NoTemplate => CosmosError::ServiceMarathonTemplateNotFound {
                name: package.name.clone(),
                version: package.version.clone(),
            },
            RenderError::Options(OptionsError::NotAllowed) => CosmosError::OptionsNotAllowed,
            RenderError::Options(OptionsError::Invalid(violations)) => {
                CosmosError::JsonSchemaMismatch(violations.iter().map(Violation::report).collect())
            }
            RenderError::NotJson { .. } => CosmosError::JsonParsingError(error.to_string()),
            RenderError::NotObject(_) => CosmosError::MarathonTemplateMustBeJsonObject(error.to_string()),
            RenderError::Encoding(_) | RenderError::Label { .. } => {
                CosmosError::JsonDecodingError(error.to_string())
            }
            RenderError::Template(_) | RenderError::Options(OptionsError::Schema(_)) => {
                CosmosError::UnhandledException(error.to_string())
            }
        })?;
    Ok(Value::Object(app))
}
