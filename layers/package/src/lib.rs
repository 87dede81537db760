//! Components: recipes are read, sources fetched, packages built in a sandbox, and all of a tree's packages
//! linked into one bootstrap tarball.
//!
//! Data moves one way: [`recipe`] reads what a tree of recipes says and gives every package its id, [`fetch`]
//! brings sources to disk, [`sandbox`] runs build scripts.

pub mod fetch;
mod problem;
pub mod recipe;
pub mod sandbox;
pub mod source;

pub use problem::{Problem, Problems};
