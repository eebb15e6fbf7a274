//! Drives the pure scheduler with a real clock, a real master, a real store and the API.
//!
//! Called by the program `dagpkg-scheduler`; `dagpkg lint` uses [`load`], too. Decisions are `scheduler`'s; this room only
//! keeps its promise that what is decided is durable before it is done.

mod cluster;
pub mod load;
pub mod secrets;
mod service;

pub use cluster::{RELEASE, dcos_release};
pub use service::{Options, RunError, run};
