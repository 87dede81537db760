//! The same with a real root file system: deltas, memory, and a machine that boots from what was read back.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::support::{Baked, bake_image, machine, rootfs, run, scratch};
use crate::{REGION, same_bytes};

/// Memory that publishing may take, in KiB.
const MEMORY: u64 = 128 << 10;

fn baked(directory: &Path, name: &str, configuration: &str) -> Baked {
    let overlay = directory.join(format!("{name}.overlay"));
    std::fs::create_dir_all(overlay.join("etc")).unwrap();
    std::fs::write(overlay.join("etc/site.conf"), configuration).unwrap();
    let arguments = ["--name", "debian", "--size", "2G", "--overlay", overlay.to_str().unwrap()];
    bake_image(&rootfs("debian-12"), &directory.join(name), &arguments)
}

/// Runs a command and gives what it printed and its largest memory in KiB (GNU time, `%M`).
fn measured(command: &Command) -> (Value, u64) {
    let measure = scratch();
    let report = measure.path().join("time");
    let mut timed = Command::new("time");
    timed
        .args(["--format", "%M", "--output"])
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args());
    timed.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = run(&mut timed);
    let memory = std::fs::read_to_string(report).unwrap().trim().parse().unwrap();
    (serde_json::from_str(&said).unwrap(), memory)
}

fn publish(endpoint: &Endpoint, image: &Baked, arguments: &[&str]) -> Command {
    let mut command = endpoint.bake();
    command
        .args(["publish", "ami", "--json", "--region", REGION, "--image"])
        .arg(image.raw())
        .args(arguments);
    command
}

#[test]
fn one_changed_byte_of_configuration_uploads_a_few_dozen_blocks_in_little_memory() {
    let scratch = scratch();
    let endpoint = Endpoint::start(scratch.path());
    let (one, two) = (baked(scratch.path(), "one", "a=1\n"), baked(scratch.path(), "two", "a=2\n"));
    let (whole, memory) = measured(&publish(&endpoint, &one, &["--verify"]));
    let parent = whole["regions"][0]["image"].as_str().unwrap().to_owned();
    let manifest = one.directory.join("manifest.json");
    let (by_tags, _) = measured(&publish(&endpoint, &two, &["--parent", &parent]));
    let snapshot = by_tags["regions"][0]["snapshot"].as_str().unwrap().to_owned();
    same_bytes(&endpoint.world().snapshots[&snapshot].file, &two.raw());
    {
        let mut world = endpoint.world();
        world.images.retain(|id, _| *id == parent);
        world.snapshots.remove(&snapshot);
    }
    let exactly = ["--parent", &parent, "--parent-manifest", manifest.to_str().unwrap()];
    let (by_manifest, _) = measured(&publish(&endpoint, &two, &exactly));
    let count = |published: &Value| published["blocks-put"].as_u64().unwrap();
    eprintln!(
        "2 GiB: {} blocks put; one byte changed: {} known by tags, {} by the manifest; {} MiB of memory",
        count(&whole),
        count(&by_tags),
        count(&by_manifest),
        memory >> 10
    );
    assert!(count(&by_tags) <= 40 && count(&by_manifest) <= count(&by_tags));
    assert!(memory < MEMORY, "{memory} KiB");
}

#[test]
fn in_qemu_what_was_read_back_boots() {
    let scratch = scratch();
    let endpoint = Endpoint::start(scratch.path());
    let image = baked(scratch.path(), "one", "a=1\n");
    let (published, _) = measured(&publish(&endpoint, &image, &[]));
    let ami = format!("ami:{REGION}/{}", published["regions"][0]["image"].as_str().unwrap());
    let onto = scratch.path().join("back.raw");
    let mut command = endpoint.bake();
    command
        .args(["pull", &ami, "--manifest"])
        .arg(image.directory.join("manifest.json"))
        .arg("--onto")
        .arg(&onto);
    run(&mut command);
    machine::shows(&onto, &[], "login:");
}
