//! What is installed: found by the labels of Marathon's apps, as Cosmos does, which keeps no list of its own.

use super::{Cosmos, CosmosError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::io::Read as _;

/// Largest package definition that is unpacked from a label.
const SIZE_LIMIT: u64 = 16 << 20;

/// An installed package.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its app.
    pub app_id: String,
    /// The package's name.
    pub name: String,
    /// The installed version, from the app's label.
    pub version: Option<String>,
    /// The package as it was when it was installed; `None` where the app carries no definition.
    pub definition: Option<Map<String, Value>>,
    /// All labels of the app.
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Cosmos {
    /// The installed packages, by name and then app.
    pub fn services(&self) -> Result<Vec<Service>, CosmosError> {
        let mut all = Vec::new();
        for app in self.0.marathon.ids().iter().filter_map(|id| self.0.marathon.app(id)) {
            let label = |name: &str| app.labels.get(name).cloned();
            let Some(name) = label("DCOS_PACKAGE_NAME") else { continue };
            let definition = match label("DCOS_PACKAGE_DEFINITION") {
                Some(label) => Some(unpack(&label).ok_or_else(|| {
                    CosmosError::JsonDecodingError(format!(
                        "app {}: its label DCOS_PACKAGE_DEFINITION is damaged",
                        app.id
                    ))
                })?),
                None => None,
            };
            all.push(Service {
                app_id: app.id.clone(),
                name,
                version: label("DCOS_PACKAGE_VERSION"),
                definition,
                labels: app.labels.clone(),
            });
        }
        all.sort_by(|a, b| (&a.name, &a.app_id).cmp(&(&b.name, &b.app_id)));
        Ok(all)
    }
}

/// The label is base64 of `{"metadata": …, "data": base64 of gzip of the package's JSON}`.
fn unpack(label: &str) -> Option<Map<String, Value>> {
    let outer: Value = serde_json::from_slice(&STANDARD.decode(label).ok()?).ok()?;
    let data = STANDARD.decode(outer["data"].as_str()?).ok()?;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&*data).take(SIZE_LIMIT).read_to_end(&mut plain).ok()?;
    serde_json::from_slice(&plain).ok()
}
