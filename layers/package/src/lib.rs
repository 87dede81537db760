//! Components: recipes are read, sources fetched, packages built in a sandbox, and all of a tree's packages
//! linked into one bootstrap tarball.
//!
//! Data moves one way: [`recipe`] reads what a tree of recipes says and gives every package its id, [`fetch`]
//! brings sources to disk, [`sandbox`] runs build scripts.

mod cache;
mod error;
pub mod fetch;
mod problem;
pub mod recipe;
pub mod sandbox;
mod schedule;
pub mod source;
mod store;

pub use cache::Cache;
pub use error::Error;
pub use problem::{Problem, Problems};
pub use store::{Claim, Store, Stored};
