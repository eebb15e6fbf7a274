//! The service language: `svc.yml` → [`Service`].
//!
//! Parses and validates what an author wrote and answers every mistake with a diagnostic that has a file, line and
//! column. Rendering of the Mustache template around it is done before, by `template`. No I/O: files that a
//! service refers to (config templates) come in through the caller. Used by `package`, `scheduler`, `simulate`
//! and `cli`.

mod model;

pub use model::*;
