//! Calls that fail, one after the other: the run fails and says why, or its packages are as they should be; and
//! the same command then succeeds.
//!
//! As in `hostile/faults.rs`: `strace` makes call number N of every thread fail, be it of `bake`, of the stages of
//! its sandbox or of the script.

use std::collections::BTreeMap;
use std::fs;

use crate::support::ground::failed_well;
use crate::support::{full, output, run, text};
use crate::yard::Yard;

const ARGUMENTS: [&str; 3] = ["package", "--recursive", "app"];
/// Status of a program that the dynamic loader could not start.
const NOT_STARTED: i32 = 127;
/// Most numbers that are tried.
const MOST: usize = 200;

/// How often each thread of a run without faults makes the calls of `set`: the highest count.
fn calls(yard: &Yard, set: &str) -> usize {
    let trace = format!("trace={set}");
    let log = yard.path("trace");
    run(&mut yard.through(&["strace", "-f", "-qqq", "-o", log.to_str().unwrap(), "-e", &trace], &ARGUMENTS));
    let lines = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    yard.clear();
    let mut counts = BTreeMap::new();
    for line in lines.lines().filter(|line| !line.contains("resumed>")) {
        *counts.entry(line.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Makes the calls of `set` fail one after the other, and gives how many runs failed of it.
fn sweep(set: &str, error: &str, some: usize) -> usize {
    let yard = Yard::new();
    let expected = yard.build(&ARGUMENTS);
    yard.clear();
    let count = calls(&yard, set);
    assert!(count > 0, "{set}: nothing can fail");
    let step = count.div_ceil(if full() { MOST } else { some });
    let mut failed = 0;
    for number in (1..=count).filter(|number| number % step == 1 % step) {
        let what = format!("{set} {number} of {count} fails with {error}");
        let inject = format!("inject={set}:error={error}:when={number}");
        let tracer = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &inject];
        let output = output(&mut yard.through(&tracer, &ARGUMENTS));
        yard.is_quiet(&what);
        yard.is_whole(&what);
        if output.status.success() {
            assert_eq!(yard.packages(), expected, "{what}");
        } else if output.status.code() == Some(NOT_STARTED) {
            assert!(text(&output.stderr).contains("shared libraries"), "{what}: {}", text(&output.stderr));
        } else {
            // The first write of the first thread is what it says in the end.
            if set != "write" || !output.stderr.is_empty() {
                failed_well(&output, &what);
            }
            failed += 1;
        }
        assert_eq!(yard.build(&ARGUMENTS), expected, "after {what}");
        let _ = fs::remove_dir_all(yard.path("tree/cache"));
    }
    failed
}

#[test]
fn every_write_may_fail() {
    for (set, error) in [("write", "ENOSPC"), ("write", "EIO"), ("pwrite64", "ENOSPC"), ("fsync", "EIO")] {
        assert!(sweep(set, error, 6) > 0, "{set} {error}");
    }
}

#[test]
fn every_step_of_giving_names_may_fail() {
    for (set, error) in
        [("linkat", "ENOSPC"), ("mkdir,mkdirat", "ENOSPC"), ("rename,renameat,renameat2", "EIO")]
    {
        assert!(sweep(set, error, 6) > 0, "{set} {error}");
    }
}

#[test]
fn every_file_that_is_opened_may_fail_to_open() {
    for error in ["EMFILE", "ENOSPC"] {
        assert!(sweep("open,openat", error, 8) > 0, "{error}");
    }
}

#[test]
fn every_read_may_fail() {
    for set in ["read", "pread64"] {
        assert!(sweep(set, "EIO", 8) > 0, "{set}");
    }
}

#[test]
fn every_removal_and_every_mark_of_a_file_may_fail() {
    for (set, error) in [("unlink,unlinkat", "EIO"), ("fchmod,fchmodat", "EPERM"), ("utimensat", "EPERM")] {
        sweep(set, error, 4);
    }
}

#[test]
fn every_process_and_every_thread_may_fail_to_start() {
    assert!(sweep("clone,clone3,fork,vfork", "EAGAIN", 6) > 0);
}
