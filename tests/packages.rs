//! Packages and trees, by the built `bake` and its public commands alone: what an id depends on, what a package
//! holds, what recipes may count on, and how failures are told.
//!
//! Most of it in a builder made of this machine's own bash and coreutils, so that each test takes seconds.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "packages/assembly.rs"]
mod assembly;
#[path = "packages/check.rs"]
mod check;
#[path = "packages/contract.rs"]
mod contract;
#[path = "packages/failures.rs"]
mod failures;
#[path = "packages/format.rs"]
mod format;
#[path = "packages/ground.rs"]
mod ground;
#[path = "packages/ids.rs"]
mod ids;
#[path = "packages/repositories.rs"]
mod repositories;
#[path = "packages/twice.rs"]
mod twice;
