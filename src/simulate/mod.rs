//! The simulator: the scheduler in virtual time against a virtual cluster.
//!
//! It drives the very scheduler that runs services, through the same start and the same order of effects as the runtime,
//! so what it shows is what will happen. No clock, no file, no socket: what the cluster has comes in as data, and time
//! passes as fast as events can be handled. Called by `dagpkg simulate` and by tests.

pub mod agents;
mod cluster;
mod process;
mod queue;
mod random;
pub mod scenario;
mod story;
#[cfg(test)]
mod tests;
mod world;

pub use crate::scheduler::Deployment;
pub use cluster::{Agent, Cluster, Interest, Known, Observed, Task};
pub use process::Process;
pub use random::Random;
pub use story::{Line, Story};
pub use world::{Settings, World};
