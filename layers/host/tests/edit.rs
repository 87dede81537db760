//! `pkgpanda edit`: an operator changes files of packages, and the packages stay what was built.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test that cannot go on says where and why

#[path = "edit/ground.rs"]
mod ground;
#[path = "edit/hostile.rs"]
mod hostile;
#[path = "edit/life.rs"]
mod life;
#[path = "edit/terminal.rs"]
mod terminal;
#[allow(dead_code)] // shared with other tests
#[path = "support/yard.rs"]
mod yard;
