//! Components: recipes are read, sources fetched, packages built in a sandbox, and all of a tree's packages
//! linked into one bootstrap tarball.
//!
//! Data moves one way: [`recipe`] reads what a tree of recipes says and gives every package its id, [`fetch`]
//! brings sources to disk, [`sandbox`] runs build scripts.

mod bootstrap;
mod build;
mod builders;
mod cache;
mod check;
mod config_tree;
mod deliver;
mod documents;
pub mod elf;
mod error;
mod extracted;
pub mod fetch;
mod kept;
mod lock;
mod make;
pub mod pack;
mod problem;
pub mod program;
pub mod recipe;
mod repository;
pub mod sandbox;
mod schedule;
pub mod source;
mod store;
mod surroundings;
mod upstream;
mod workshop;

pub use bootstrap::Bootstrap;
pub use builders::{Builder, Builders, DEFAULT};
pub use cache::Cache;
pub use check::Verdict;
pub use config_tree::ConfigTree;
pub use deliver::{BootstrapEntry, Entry, TreeManifest, deliver};
pub use error::Error;
pub use lock::{LOCK, Lock, LockedSource};
pub use problem::{Problem, Problems};
pub use program::Program;
pub use repository::{KeyError, TrustedKey};
pub use store::{Claim, Store, Stored};
pub use surroundings::{Factor, Surroundings};
pub use upstream::check_out_upstream;
pub use workshop::{Equipment, Event, Workshop};

/// The time of everything in a recipe, a build and a package that has no better one, and what builds are told by
/// `SOURCE_DATE_EPOCH`: 1980-01-02, which ZIP archives and FAT can hold in every time zone.
pub const EPOCH: bake_base::Epoch = bake_base::Epoch::from_seconds(315_619_200);
