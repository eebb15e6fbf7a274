//! The library under the four programs.
//!
//! The modules are rooms: data goes one way, from the file that a person wrote to the call that Mesos receives, and
//! each room uses only those listed before it. `docs/architecture.md` draws the picture.
#![forbid(unsafe_code)]

pub mod api;
pub mod bootstrap;
pub mod cli;
pub mod finding;
pub mod http;
pub mod mesos;
pub mod offer;
pub mod package;
pub mod plan;
pub mod publish;
pub mod runtime;
pub mod sandbox;
pub mod scaffold;
pub mod scheduler;
pub mod simulate;
pub mod spec;
pub mod store;
pub mod template;
pub mod wire;
