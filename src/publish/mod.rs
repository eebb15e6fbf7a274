//! Where packages come from and go to: folders, and the HTTP server for one.
//!
//! Reading of a package's files ([`files`]), building a repository with its artifacts into a folder ([`local`]) and
//! serving that folder ([`serve`]). What a package means is `package`'s business. Called by `cli` and by `dagpkg up`.

pub mod files;
pub mod local;
pub mod serve;
