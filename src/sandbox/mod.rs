//! The embedded cluster: one Mesos master and its agents in this process, which run tasks as real processes.
//!
//! It speaks the Mesos v1 scheduler API on loopback exactly as far as a framework can see it, keeps reservations,
//! volumes and framework ids over restarts, and leaves no process behind. It isolates nothing: tasks share the
//! machine's network, files and process table, so it is for development and tests, not for untrusted code.
//! `dagpkg cluster` and `dagpkg up` start it.

mod agent;
mod cluster;
pub mod cosmos;
mod driver;
pub mod face;
pub mod fetch;
mod files;
mod http;
mod ids;
pub mod marathon;
mod master;
pub(crate) mod operations;
pub mod process;
pub(crate) mod resources;
pub mod stack;
pub mod vip;

pub use cluster::{Cluster, ClusterConfig, ClusterError};
