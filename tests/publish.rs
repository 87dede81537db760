//! Images become AMIs once, however often and from wherever it is asked for, and whatever the service does meanwhile.
//!
//! The service is a strict endpoint of the tests' own; `moto` judges that it is not the only one that understands.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "publish/ami.rs"]
mod ami;
#[path = "publish/ebs.rs"]
mod ebs;
#[path = "publish/ec2.rs"]
mod ec2;
#[path = "publish/endpoint.rs"]
mod endpoint;
#[path = "publish/errors.rs"]
mod errors;
#[path = "publish/kills.rs"]
mod kills;
#[path = "publish/large.rs"]
mod large;
#[path = "publish/moto.rs"]
mod moto;
#[path = "publish/plan.rs"]
mod plan;
#[path = "publish/pull.rs"]
mod pull;
#[path = "publish/verify.rs"]
mod verify;
#[path = "publish/weather.rs"]
mod weather;
#[path = "publish/wire.rs"]
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use endpoint::Endpoint;
use serde_json::Value;
use support::{Baked, bake_image, output, run, scratch, text, tiny};
use tempfile::TempDir;

/// The region of most tests.
const REGION: &str = "eu-central-1";

/// A tiny image with a few dozen blocks in use, and a service that has nothing yet.
struct Stage {
    endpoint: Endpoint,
    image: Baked,
    scratch: TempDir,
}

/// Bytes that nothing compresses and no two blocks of which are the same.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// A tiny image of which a file has this content.
fn tiny_image(directory: &Path, name: &str, motd: &[u8]) -> Baked {
    let rootfs = directory.join(format!("{name}.tar"));
    std::fs::write(&rootfs, tiny::rootfs().file("usr/noise", &noise(7, 16 << 20)).finish()).unwrap();
    let overlay = directory.join(format!("{name}.overlay"));
    std::fs::create_dir_all(overlay.join("etc")).unwrap();
    std::fs::write(overlay.join("etc/site.conf"), motd).unwrap();
    let arguments = ["--name", "tiny", "--epoch", "1700000000", "--overlay", overlay.to_str().unwrap()];
    bake_image(&rootfs, &directory.join(name), &arguments)
}

impl Stage {
    fn new() -> Self {
        let scratch = scratch();
        let image = tiny_image(scratch.path(), "one", b"one\n");
        Self { endpoint: Endpoint::start(scratch.path()), image, scratch }
    }

    /// `bake publish ami` of an image with further arguments.
    fn command(&self, image: &Path, arguments: &[&str]) -> Command {
        let mut command = self.endpoint.bake();
        command.args(["publish", "ami", "--region", REGION, "--json", "--image"]).arg(image).args(arguments);
        command
    }

    /// Publishes the image, which must succeed, and gives what was said.
    fn publish(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&run(&mut self.command(&self.image.raw(), arguments))).unwrap()
    }

    /// Publishes the image, which must fail, and gives what was said.
    fn refused(&self, arguments: &[&str]) -> String {
        failed(&output(&mut self.command(&self.image.raw(), arguments)), 1)
    }

    fn journal(&self) -> PathBuf {
        PathBuf::from(format!("{}.publish-{REGION}", self.image.raw().display()))
    }

    /// What the service has as the disk of the first region's AMI.
    fn published_disk(&self, published: &Value) -> PathBuf {
        let snapshot = published["regions"][0]["snapshot"].as_str().unwrap();
        self.endpoint.world().snapshots[snapshot].file.clone()
    }

    /// The service has the image's disk, and took no block twice.
    fn is_published_once(&self, published: &Value) {
        same_bytes(&self.published_disk(published), &self.image.raw());
        let world = self.endpoint.world();
        assert!(world.acknowledged.values().all(|times| *times == 1), "{:?}", world.acknowledged);
        assert!(!self.journal().exists());
    }
}

fn failed(output: &Output, status: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.starts_with("error: ") && !said.contains("panicked"), "{said}");
    said
}

fn same_bytes(a: &Path, b: &Path) {
    run(Command::new("cmp").arg(a).arg(b));
}
