//! The sandbox in which build scripts run, by the built `bake`: each way out of it that is known is tried, by
//! root and by an ordinary user, and each test fails when its protection is taken away.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

#[path = "sandbox/container.rs"]
mod container;
#[path = "sandbox/contract.rs"]
mod contract;
#[path = "sandbox/escapes.rs"]
mod escapes;
#[path = "sandbox/ground.rs"]
mod ground;
#[path = "sandbox/limits.rs"]
mod limits;
#[path = "sandbox/refusals.rs"]
mod refusals;

#[test]
fn the_driver_of_the_other_tests() {
    ground::drive();
}
