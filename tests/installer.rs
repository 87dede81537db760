//! `dcos_install.sh` on real Debian hosts under systemd: containers, which need root.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "installer/cluster.rs"]
mod cluster;
#[path = "installer/downloads.rs"]
mod downloads;
#[path = "installer/host.rs"]
mod host;
#[path = "installer/interrupted.rs"]
mod interrupted;
#[path = "installer/payloads.rs"]
mod payloads;
#[path = "installer/preflight.rs"]
mod preflight;
#[path = "installer/secrets.rs"]
mod secrets;
#[path = "installer/unfit.rs"]
mod unfit;
#[path = "installer/ways.rs"]
mod ways;
