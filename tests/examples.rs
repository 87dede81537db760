//! The generated examples: judged by the tools that they are for, and run by them on real hosts.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "installer/host.rs"]
#[allow(dead_code)] // shared with the tests of the installer
mod host;
#[path = "examples/hosts.rs"]
mod hosts;
#[path = "examples/tools.rs"]
mod tools;
