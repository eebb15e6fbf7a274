//! Uninstalling: at once where a package is only an app; through its scheduler where it is a service that must give
//! back what it reserved.
//!
//! The second way is DC/OS's for packages with the label `DCOS_COMMONS_UNINSTALL`: the app is started again with
//! `SDK_UNINSTALL=true`, and removed when its `deploy` plan, which then is the plan of the uninstallation, answers 200.

use super::installed::Service;
use super::{Cosmos, CosmosError};
use serde_json::{Value, json};
use std::time::Duration;

/// How often the progress of an uninstallation is looked at.
const POLL: Duration = Duration::from_secs(2);

impl Cosmos {
    /// Uninstalls a package: the app of that id, or all apps of the package's name if `all`, or the only one. Answers
    /// what is or will be uninstalled. Must be called inside a tokio runtime.
    pub fn uninstall(
        &self,
        name: &str,
        app_id: Option<&str>,
        all: bool,
    ) -> Result<Vec<Service>, CosmosError> {
        let mut services = self.services()?;
        services.retain(|s| s.name == name && app_id.is_none_or(|id| id == s.app_id));
        match (services.as_slice(), app_id) {
            ([], Some(app)) => {
                let (name, app) = (name.to_owned(), app.to_owned());
                return Err(CosmosError::UninstallNonExistentAppForPackage { name, app });
            }
            ([], None) => return Err(CosmosError::PackageNotInstalled(name.to_owned())),
            ([_, _, ..], None) if !all => {
                let apps = services.iter().map(|s| s.app_id.clone()).collect();
                return Err(CosmosError::AmbiguousAppId { name: name.to_owned(), apps });
            }
            _ => {}
        }
        for service in &services {
            if service.labels.contains_key("DCOS_COMMONS_UNINSTALL") {
                self.start_uninstall(service)?;
            } else if let Some(framework) = service.labels.get("DCOS_PACKAGE_FRAMEWORK_NAME") {
                return Err(CosmosError::NotSupported(format!(
                    "{}: this cluster uninstalls a framework ({framework}) only through its scheduler, and the \
                     package has no label DCOS_COMMONS_UNINSTALL",
                    service.app_id
                )));
            } else {
                self.0.marathon.delete(&service.app_id, true)?;
            }
        }
        Ok(services)
    }

    fn start_uninstall(&self, service: &Service) -> Result<(), CosmosError> {
        let gone = || CosmosError::PackageNotInstalled(service.name.clone());
        let app = self.0.marathon.app(&service.app_id).ok_or_else(gone)?;
        let mut env = app.env.clone();
        env.insert("SDK_UNINSTALL".into(), "true".into());
        let app = app.with(&json!({"env": env})).map_err(CosmosError::MarathonBadResponse)?;
        self.0.marathon.update(app, true)?;
        tokio::spawn(finish_uninstall(self.clone(), service.clone()));
        Ok(())
    }

    /// Goes on with the uninstallations that an earlier run of the cluster began. Must be called inside a tokio runtime.
    pub fn resume_uninstalls(&self) -> Result<(), CosmosError> {
        for service in self.services()? {
            let app = self.0.marathon.app(&service.app_id);
            if app.is_some_and(|a| a.env.contains_key("SDK_UNINSTALL")) {
                tokio::spawn(finish_uninstall(self.clone(), service));
            }
        }
        Ok(())
    }
}

/// Waits until the scheduler says that it is done, and removes the app.
async fn finish_uninstall(cosmos: Cosmos, service: Service) {
    let id = &service.app_id;
    let api = service.labels.get("DCOS_COMMONS_API_VERSION").map_or("v1", String::as_str);
    loop {
        tokio::time::sleep(POLL).await;
        let marathon = &cosmos.0.marathon;
        let Some(app) = marathon.app(id) else { return };
        if !app.env.contains_key("SDK_UNINSTALL") {
            return;
        }
        let deploying =
            marathon.deployments().iter().any(|d| d["affectedApps"] == Value::from(vec![id.clone()]));
        let name = service.labels.get("DCOS_SERVICE_NAME").map_or(id.as_str(), String::as_str);
        let Some(port) = marathon.service_port(name).filter(|_| !deploying) else { continue };
        let url = format!("http://127.0.0.1:{port}/{api}/plans/deploy");
        let done = cosmos.0.client.get(url).timeout(Duration::from_secs(10)).send().await;
        if done.is_ok_and(|answer| answer.status().as_u16() == 200) {
            match marathon.delete(id, true) {
                Ok(_) => tracing::info!(app = id, "uninstalled"),
                Err(e) => tracing::warn!(app = id, "its service is uninstalled, but: {e}"),
            }
            return;
        }
    }
}
