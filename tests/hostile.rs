//! What nobody should feed to `bake image`, and what should not happen to it meanwhile: each ends in a clear
//! error, without a panic, with nothing outside the output directory and nothing left behind.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "hostile/faults.rs"]
mod faults;
#[path = "hostile/kills.rs"]
mod kills;
#[path = "hostile/layouts.rs"]
mod layouts;
#[path = "hostile/members.rs"]
mod members;
#[path = "hostile/streams.rs"]
mod streams;
#[path = "hostile/usage.rs"]
mod usage;
