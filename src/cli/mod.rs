//! The commands of `dagpkg`: arguments in, one call into the library, output.

pub mod tree;
