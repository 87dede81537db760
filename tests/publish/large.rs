//! The same with a real root file system: deltas, memory, and a machine that boots from what was read back.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::ebs::BLOCK;
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

/// Sends the blocks over as many connections at once, and does nothing else. Gives the seconds that it took.
fn plain_puts(endpoint: &Endpoint, image: &Baked, connections: usize) -> f64 {
    let plain = endpoint.world().directory.join("plain");
    let disk = File::open(image.raw()).unwrap();
    File::create(&plain).unwrap().set_len(disk.metadata().unwrap().len()).unwrap();
    let runs = image.manifest["disk"]["blocks"]["runs"].as_array().unwrap();
    let blocks: Vec<(u64, &str)> = runs
        .iter()
        .flat_map(|run| {
            let digests = run["sha256"].as_array().unwrap().iter().map(|digest| digest.as_str().unwrap());
            (run["first"].as_u64().unwrap()..).zip(digests)
        })
        .collect();
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let stream = TcpStream::connect(endpoint.url.strip_prefix("http://").unwrap()).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut bytes = vec![0; BLOCK];
                while let Some((block, digest)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    disk.read_exact_at(&mut bytes, block * BLOCK as u64).unwrap();
                    let head = format!(
                        "PUT /plain/{block} HTTP/1.1\r\ncontent-length: {BLOCK}\r\nx-digest: {digest}\r\n\r\n"
                    );
                    (&stream).write_all(head.as_bytes()).unwrap();
                    (&stream).write_all(&bytes).unwrap();
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    assert!(line.starts_with("HTTP/1.1 201"), "{line}");
                    while line.trim_end() != "" {
                        line.clear();
                        reader.read_line(&mut line).unwrap();
                    }
                }
            });
        }
    });
    begin.elapsed().as_secs_f64()
}

/// What `ci/bench-publish` prints; it proves nothing.
#[test]
#[ignore = "a measurement: run by ci/bench-publish"]
fn how_long_a_full_upload_takes() {
    let scratch = scratch();
    let image = baked(scratch.path(), "one", "a=1\n");
    for _ in 0..3 {
        let endpoint = Endpoint::start(&scratch.path().join("service"));
        let plain = plain_puts(&endpoint, &image, 64);
        let begin = Instant::now();
        let (published, memory) = measured(&publish(&endpoint, &image, &[]));
        let own = begin.elapsed().as_secs_f64();
        println!(
            "{} blocks: plain PUTs {plain:.2} s, bake publish ami {own:.2} s, ratio {:.2}, {} MiB of memory",
            published["blocks-put"],
            own / plain,
            memory >> 10
        );
        std::fs::remove_dir_all(scratch.path().join("service")).unwrap();
    }
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
