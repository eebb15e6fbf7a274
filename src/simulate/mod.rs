//! The simulator: the scheduler in virtual time against a virtual cluster.
//!
//! It drives the very scheduler that runs services, through the same start and the same order of effects as the runtime,
//! so what it shows is what will happen. No clock, no file, no socket: what the cluster has comes in as data, and time
//! passes as fast as events can be handled. Called by `dagpkg simulate` and by tests.

pub mod agents;
mod cluster;
pub mod incident;
mod process;
mod queue;
mod random;
pub mod scenario;
mod shrink;
mod story;
#[cfg(test)]
mod tests;
mod trial;
mod watch;
mod world;

pub use crate::scheduler::Deployment;
pub use cluster::{Agent, Cluster, Interest, Known, Observed, Task};
pub use process::Process;
pub use random::Random;
pub use shrink::shrink;
pub use story::{Line, Story};
pub use trial::{Outcome, Subject, Trial};
pub use watch::{Rule, Violation, Watch};
pub use world::{Settings, Trouble, World};
