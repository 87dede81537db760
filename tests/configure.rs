//! `bake configure`: from a configuration and the sample tree's artifacts to a serve directory.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "configure/ground.rs"]
mod ground;
#[path = "configure/hostile.rs"]
mod hostile;
#[path = "configure/kills.rs"]
mod kills;
#[path = "configure/same.rs"]
mod same;
#[path = "configure/secrets.rs"]
mod secrets;
#[path = "configure/serve.rs"]
mod serve;
