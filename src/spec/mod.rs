//! The service language: `svc.yml` → [`Service`].
//!
//! Parses and validates what an author wrote and answers every mistake with a finding that has a file, line and
//! column. Rendering of the Mustache template around it is done before, by `template`. No I/O: files that a
//! service refers to (config templates) come in through the caller. Used by `package`, `scheduler`, `simulate`
//! and `cli`.

mod changes;
mod container;
mod fields;
mod findings;
mod language;
mod model;
mod placement;
mod plain;
mod plans;
mod pod;
mod reference;
mod resources;
mod schema;
mod service;
mod task;
#[cfg(test)]
mod tests;
mod uses;
pub(crate) mod yaml;

pub(crate) use findings::Findings;

pub use changes::{Change, pod_changes, service_changes};
pub use model::*;
pub use plain::read_list;
pub use reference::key_tables;
pub use schema::schema;
pub use task::env_name;
pub use yaml::MAX_BYTES;

use crate::finding::{Finding, Report, Severity, Source};
use std::collections::BTreeMap;

/// What a service file means beside its own text.
pub struct Context<'a> {
    /// The content of a config template by the name that the file gives, relative to the service file; or why there
    /// is none.
    pub template: &'a dyn Fn(&str) -> Result<String, String>,
    /// The scheduler's environment: `TASKCFG_ALL_X` is `X` for every task, `TASKCFG_<POD>_X` for those of one pod.
    pub env: &'a BTreeMap<String, String>,
}

/// Reads a service file whose Mustache tags are rendered already.
///
/// All mistakes are reported at once, in the order of their places. With `Ok` there may be errors, too: those that leave
/// the file readable ([`Code::is_refusal`](crate::finding::Code::is_refusal)).
pub fn parse(rendered: &Source, context: &Context) -> Result<(Service, Vec<Finding>), Vec<Finding>> {
    let findings = findings::Findings::new(rendered);
    let service = yaml::read(&rendered.text, &findings).and_then(|root| {
        let fields = fields::Fields::new(&language::SERVICE, &root, String::new(), &(0..0), &findings)?;
        Some(service::read(fields, context))
    });
    let found = findings.into_vec();
    match service {
        Some(service) if found.iter().all(|f| f.severity == Severity::Warning || f.code.is_refusal()) => {
            Ok((service, found))
        }
        _ => Err(found),
    }
}

/// The file as data, for programs that read JSON. Scalars without quotes are what they are in JSON, a number say, and else
/// texts: `0755` is one, as is a number with more digits than numbers of JSON keep.
pub fn data(rendered: &Source) -> Result<serde_json::Value, Report> {
    let findings = findings::Findings::new(rendered);
    let root = yaml::read(&rendered.text, &findings);
    let found = findings.into_vec();
    match root {
        Some(root) if found.is_empty() => Ok(root.data()),
        _ => Err(Report(found)),
    }
}
