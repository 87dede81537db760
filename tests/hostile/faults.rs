//! Writes and reads that fail, one after the other: the run fails and says why, or the image is whole.
//!
//! `strace` makes the system call number N of every thread fail; a traced run without faults tells how many
//! there are. With `BAKE_TEST_FULL` every number is tried, otherwise some.

use std::collections::BTreeMap;
use std::fs;

use crate::support::ground::{Ground, failed_well};
use crate::support::{Baked, full, output, run, text, tiny};

/// Status of a program that the dynamic loader could not start.
const NOT_STARTED: i32 = 127;

/// How often each thread of a run without faults makes the calls of `set`: the highest count.
fn calls(ground: &Ground, set: &str, arguments: &[&str]) -> usize {
    let trace = format!("trace={set}");
    run(&mut ground.through(&["strace", "-f", "-qqq", "-o", "trace", "-e", &trace], arguments));
    let lines = fs::read_to_string(ground.path("trace")).unwrap();
    fs::remove_file(ground.path("trace")).unwrap();
    ground.clear();
    let mut counts = BTreeMap::new();
    for line in lines.lines().filter(|line| !line.contains("resumed>")) {
        *counts.entry(line.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Most numbers that are tried: a second pass over a disk is a thousand reads that are all alike.
const MOST: usize = 200;

/// The numbers that are tried: all of them, or the first ones, the last ones and some between.
fn numbers(count: usize, some: usize) -> Vec<usize> {
    let step = count.div_ceil(if full() { MOST } else { some });
    (1..=count).filter(|n| n % step == 1 % step || *n <= 2 || *n + 2 > count).collect()
}

/// Makes the calls of `set` fail one after the other, and gives how many runs failed of it.
fn sweep(rootfs: &[u8], set: &str, error: &str, some: usize, arguments: &[&str]) -> usize {
    let ground = Ground::new(&[("rootfs", rootfs)]);
    let arguments = [&["--quiet", "--threads", "2", "--rootfs", "rootfs"], arguments].concat();
    let count = calls(&ground, set, &arguments);
    assert!(count > 0, "{set}: nothing can fail");
    run(&mut ground.command(&arguments));
    let expected = Baked::read(&ground.path("out")).digest().to_owned();
    ground.clear();
    let mut failed = 0;
    for number in numbers(count, some) {
        let what = format!("{set} {number} of {count} fails with {error}");
        let inject = format!("inject={set}:error={error}:when={number}");
        let mut command =
            ground.through(&["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &inject], &arguments);
        let output = output(&mut command);
        if output.status.success() {
            assert!(ground.has_whole_image(), "{what}");
            assert_eq!(Baked::read(&ground.path("out")).digest(), expected, "{what}");
            ground.clear();
        } else if output.status.code() == Some(NOT_STARTED) {
            assert!(text(&output.stderr).contains("shared libraries"), "{what}: {}", text(&output.stderr));
        } else {
            failed_well(&output, &what);
            failed += 1;
        }
        ground.is_untouched(&what);
    }
    run(&mut ground.command(&arguments));
    assert!(ground.has_whole_image(), "a run after all those that failed");
    failed
}

#[test]
fn every_write_of_the_disk_may_fail() {
    let rootfs = tiny::rootfs().finish();
    for (set, error) in
        [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("ftruncate", "EFBIG"), ("write", "ENOSPC")]
    {
        assert!(sweep(&rootfs, set, error, 6, &["--format", "raw,qcow2", "--sum-raw"]) > 0, "{set} {error}");
    }
}

#[test]
fn every_step_of_giving_names_may_fail() {
    let rootfs = tiny::rootfs().finish();
    for (set, error) in [("linkat", "ENOSPC"), ("mkdir,mkdirat", "ENOSPC"), ("renameat2,rename", "ENOSPC")] {
        assert!(sweep(&rootfs, set, error, 6, &["--format", "raw,qcow2"]) > 0, "{set}");
    }
}

#[test]
fn every_file_that_is_opened_may_fail_to_open() {
    let rootfs = tiny::rootfs().finish();
    for error in ["ENOSPC", "EMFILE", "EACCES"] {
        assert!(sweep(&rootfs, "openat", error, 6, &[]) > 0, "{error}");
    }
}

#[test]
fn every_write_of_a_decoded_input_may_fail() {
    let scratch = crate::support::scratch();
    let plain = scratch.path().join("plain");
    fs::write(&plain, tiny::rootfs().file("etc/zeros", &vec![0; 3 << 20]).finish()).unwrap();
    let stream = output(std::process::Command::new("zstd").arg("-cq").arg(&plain)).stdout;
    assert!(sweep(&stream, "write", "ENOSPC", 6, &[]) > 0);
}

#[test]
fn every_read_may_fail() {
    let rootfs = tiny::rootfs().file("etc/large", &vec![7; 3 << 20]).finish();
    for set in ["pread64", "read"] {
        assert!(sweep(&rootfs, set, "EIO", 8, &["--sum-raw"]) > 0, "{set}");
    }
}

/// With an older image in the place, a failed run leaves that one whole.
#[test]
fn a_failed_run_leaves_an_older_image_as_it_was() {
    let older = tiny::rootfs().finish();
    let newer = tiny::rootfs().file("etc/new", b"x").finish();
    let mut ground = Ground::new(&[("older.tar", &older), ("newer.tar", &newer)]);
    run(&mut ground.command(&["--quiet", "--rootfs", "older.tar"]));
    let digest = Baked::read(&ground.path("out")).digest().to_owned();
    // Names of the older files move and come back, which is no change but of their times.
    let names = ["rename", "renameat2", "linkat", "mkdir", "openat", "pwrite64"];
    for set in names {
        for number in 1..=6 {
            let what = format!("{set} {number}");
            let inject = format!("inject={set}:error=ENOSPC:when={number}");
            let tracer = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &inject];
            let output = output(&mut ground.through(&tracer, &["--quiet", "--rootfs", "newer.tar"]));
            assert!(ground.has_whole_image(), "{what}");
            let found = Baked::read(&ground.path("out")).digest().to_owned();
            if output.status.success() {
                assert_ne!(found, digest, "{what}");
                run(&mut ground.command(&["--quiet", "--rootfs", "older.tar"]));
            } else {
                assert_eq!(found, digest, "{what}: {}", text(&output.stderr));
            }
            ground.settle();
        }
    }
}
