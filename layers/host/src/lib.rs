//! The rules by which packages become an install root: pure, written once, used by the bootstrap tarball, by
//! `bake image` and on hosts.
//!
//! A [`Package`] is an id, its [`PkgInfo`] and the [`Listing`] that matter to others. [`InstallRoot::resolve`]
//! turns a set of them into everything that a host links, writes, creates and starts, or into every reason
//! why the set does not fit together. [`apply::apply`] writes the result into a tree; [`contents`] tells
//! whether a package is still what was built.

mod accounts;
pub mod activate;
pub mod apply;
pub mod assemble;
pub mod audit;
pub mod check;
pub mod contents;
pub mod created;
pub mod edit;
mod failure;
pub mod fetch;
mod files;
pub mod gc;
pub mod generation;
pub mod host;
pub mod identity;
mod info;
mod install;
pub mod installer;
pub mod integration;
mod name;
pub mod overrides;
mod persist;
mod place;
pub mod product;
pub mod repair;
mod secrets;
pub mod seed;
pub mod setup;
pub mod store;
pub mod systemd;
pub mod uninstall;
mod unit;
pub mod upgrade;

pub use failure::Failure;
pub use info::{InfoProblem, PkgInfo, Requirement, Sysctl};
pub use install::{
    Entry, InstallRoot, Kind, Listing, Package, Party, Problem, Problems, ROOT, Setting, Unit,
};
pub use name::{GroupName, NameError, PKGPANDA, PackageId, PackageName, Role, UserName, Variant, Version};
