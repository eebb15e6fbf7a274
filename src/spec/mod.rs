//! The service language: `svc.yml` → [`Service`].
//!
//! Parses and validates what an author wrote and answers every mistake with a diagnostic that has a file, line and
//! column. Rendering of the Mustache template around it is done before, by `template`. No I/O: files that a
//! service refers to (config templates) come in through the caller. Used by `package`, `scheduler`, `simulate`
//! and `cli`.

mod diagnostic;
mod fields;
mod model;
mod placement;
mod plans;
mod pod;
mod resources;
mod service;
mod task;
#[cfg(test)]
mod tests;
mod yaml;

pub use diagnostic::{Code, Diagnostic, Severity};
pub use model::*;
pub use task::env_name;
pub use yaml::MAX_BYTES;

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
/// `file` is only for diagnostics. All mistakes are reported at once: `Err` holds errors and warnings in the order of
/// their places, `Ok` the service and its warnings.
pub fn parse(
    file: &str,
    rendered: &str,
    context: &Context,
) -> Result<(Service, Vec<Diagnostic>), Vec<Diagnostic>> {
    let findings = diagnostic::Findings::new(file, rendered);
    let service = yaml::read(rendered, &findings).and_then(|root| {
        let fields = fields::Fields::new(&root, String::new(), &(0..0), &findings)?;
        Some(service::read(fields, context))
    });
    let found = findings.into_vec();
    match service {
        Some(service) if found.iter().all(|d| d.severity == Severity::Warning) => Ok((service, found)),
        _ => Err(found),
    }
}
