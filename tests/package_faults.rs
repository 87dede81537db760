//! What may happen to `bake package` and `bake tree` while they work: sources that are wrong, disks that are full,
//! calls that fail, runs that are killed, runs beside each other, caches that somebody damaged. Whatever it is,
//! nothing wrong is in the cache under a valid name, and the next run gives the same bytes as if nothing had been.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why
#![allow(clippy::case_sensitive_file_extension_comparisons)] // the names are those that `bake` gives

mod support;

#[path = "package_faults/damage.rs"]
mod damage;
#[path = "package_faults/disks.rs"]
mod disks;
#[path = "package_faults/faults.rs"]
mod faults;
#[path = "package_faults/kills.rs"]
mod kills;
#[path = "package_faults/places.rs"]
mod places;
#[path = "../layers/package/src/fetch/tests/server.rs"]
#[allow(dead_code)] // the unit tests need more of it
mod server;
#[path = "package_faults/signals.rs"]
mod signals;
#[path = "package_faults/sources.rs"]
mod sources;
#[path = "package_faults/together.rs"]
mod together;
#[path = "package_faults/yard.rs"]
mod yard;
