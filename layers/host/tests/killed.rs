//! Every command that changes a host, killed at every system call that changes something, and with every call
//! failing: the host is one complete generation, and the same command then does what it was to do.
//!
//! `strace` counts calls by name and ends or fails one of them. First it lists all calls of an undisturbed run: those
//! that change something are each killed once, and a name that nobody has judged fails the test. A call that is
//! killed does not happen, so that together with the undisturbed run every state is seen that a run passes through.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, missing_docs)] // a test stops where it fails

#[path = "killed/calls.rs"]
mod calls;
#[path = "killed/faults.rs"]
mod faults;
#[path = "killed/kills.rs"]
mod kills;
#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[path = "support/seed.rs"]
mod planted;
#[path = "killed/runs.rs"]
mod runs;
#[path = "killed/scene.rs"]
mod scene;
#[allow(dead_code)]
#[path = "../../../tests/support/wares.rs"]
mod wares;
