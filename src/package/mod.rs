//! A DC/OS package: what its options mean, the Marathon app it becomes, and its form in a repository.
//!
//! The rules are those of DC/OS's package service (Cosmos) and of the public catalog ("universe"). Everything works on
//! texts and JSON values that come in through the caller: no I/O; reading and writing of folders is `publish`'s. Used
//! by `publish`, `sandbox` (the embedded package service) and `cli`.

pub mod bom;
pub mod crates;
pub mod json;
pub mod lint;
pub mod marathon;
pub mod options;
pub mod parameters;
pub mod repository;
pub mod sources;

pub use sources::Sources;
