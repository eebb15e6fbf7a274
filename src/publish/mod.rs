//! Where packages come from and go to: folders, buckets, and the HTTP server for a folder.
//!
//! Reading of a package's files ([`files`]), building it ([`build`]) into what there is to publish ([`publication`]),
//! publishing that into a folder ([`folder`]) or a bucket ([`s3`]), serving a folder ([`serve`]), reading a repository
//! ([`fetch`]), and checking what was published ([`verify`]). What a package means is `package`'s business. Called by
//! `cli`, by `dagpkg up`, and by `scaffold` for reading.

pub mod archives;
pub mod build;
pub mod fetch;
pub mod files;
pub mod folder;
pub mod manifest;
pub mod publication;
pub mod s3;
pub mod serve;
pub mod tree;
pub mod verify;
