//! Runs that are killed at some moment: nothing stays that looks finished, and the next run works.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::ground::{Ground, Numbers, was_killed};
use crate::support::{full, output, run, text, tiny};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A root file system that takes a while, in a compressed stream, so that there is decoding to be killed in.
fn ground() -> Ground {
    let mut numbers = Numbers(5);
    let noise: Vec<u8> = (0..8 << 20).map(|_| numbers.below(256) as u8).collect();
    let ground = Ground::new(&[("plain", &tiny::rootfs().file("etc/noise", &noise).finish())]);
    let stream = output(std::process::Command::new("zstd").arg("-cq").arg(ground.path("plain"))).stdout;
    Ground::new(&[("rootfs", &stream)])
}

const ARGUMENTS: [&str; 5] = ["--quiet", "--rootfs", "rootfs", "--format", "raw"];

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_nothing() {
    let ground = ground();
    let started = Instant::now();
    run(&mut ground.command(&ARGUMENTS));
    let whole = started.elapsed();
    ground.clear();
    let mut numbers = Numbers(7);
    let mut killed = 0;
    for round in 0..if full() { 300 } else { 30 } {
        let signal = [SIGINT, SIGKILL, SIGTERM][round % 3];
        let mut child =
            ground.command(&ARGUMENTS).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let delay = whole.mul_f64(numbers.below(1000) as f64 / 1000.0);
        std::thread::sleep(delay.min(Duration::from_secs(20)));
        run(std::process::Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()));
        let status = child.wait().unwrap();
        let what = format!("signal {signal} after {delay:?}: {status}");
        if status.success() {
            assert!(ground.has_whole_image(), "{what}");
            ground.clear();
        } else {
            killed += 1;
            if ground.has_whole_image() {
                // It came when everything was done, or while names were given, which is finished first.
                ground.clear();
            }
        }
        // SIGKILL within the moment in which names are given leaves the stage, hidden; the next whole run clears it.
        ground.untouched_but(&what, &[".out.unfinished"]);
    }
    assert!(killed > 0, "every run was over before its signal came");
    run(&mut ground.command(&ARGUMENTS));
    assert!(ground.has_whole_image());
    ground.clear();
    ground.is_untouched("after a whole run");
}

/// Signals that come exactly when a system call begins.
fn killed_at(ground: &Ground, set: &str, number: usize, signal: &str) -> std::process::Output {
    let inject = format!("inject={set}:signal={signal}:when={number}");
    output(&mut ground.through(&["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &inject], &ARGUMENTS))
}

#[test]
fn a_run_that_is_killed_at_a_chosen_call_leaves_nothing() {
    let ground = ground();
    for set in ["openat", "pread64", "pwrite64", "ftruncate", "write", "mmap", "clone3"] {
        for number in [1, 2, 3, 5, 9].into_iter().take(if full() { 5 } else { 2 }) {
            for (name, signal) in [("SIGKILL", SIGKILL), ("SIGINT", SIGINT)] {
                let what = format!("{name} at {set} {number}");
                let output = killed_at(&ground, set, number, name);
                if output.status.success() {
                    assert!(ground.has_whole_image(), "{what}");
                    ground.clear();
                } else {
                    assert!(
                        was_killed(&output, signal),
                        "{what}: {} {}",
                        output.status,
                        text(&output.stderr)
                    );
                }
                ground.is_untouched(&what);
            }
        }
    }
}

/// Giving names takes several calls. Ctrl-C waits for them; after SIGKILL there may be a hidden directory,
/// which looks like nothing finished and goes away with the next run.
#[test]
fn a_run_that_is_killed_while_it_gives_names_leaves_all_or_none() {
    let ground = ground();
    for older in [false, true] {
        for (set, numbers) in [("mkdir", 1..=1), ("linkat", 1..=3), ("renameat2", 1..=5), ("rmdir", 1..=1)] {
            for number in numbers {
                let what = format!("{set} {number}, older image: {older}");
                if older {
                    run(&mut ground.command(&ARGUMENTS));
                }
                let output = killed_at(&ground, set, number, "SIGINT");
                assert!(output.status.success() || was_killed(&output, SIGINT), "{what}: {}", output.status);
                assert!(ground.has_whole_image(), "{what}");
                ground.untouched_but(&what, &["out"]);
                if !older {
                    ground.clear();
                }

                let output = killed_at(&ground, set, number, "SIGKILL");
                assert!(output.status.success() || was_killed(&output, SIGKILL), "{what}: {}", output.status);
                ground.untouched_but(&what, &["out", ".out.unfinished"]);
                if ground.path("out/SHA256SUMS").exists() {
                    let mut sums = std::process::Command::new("sha256sum");
                    run(sums.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(ground.path("out")));
                } else {
                    assert!(older || !ground.path("out").exists(), "{what}: half of an image");
                }
                run(&mut ground.command(&ARGUMENTS));
                assert!(ground.has_whole_image(), "{what}");
                ground.untouched_but(&what, &["out"]);
                ground.clear();
            }
        }
    }
}

/// What `nohup` and scripts in the background arrange for stays so.
#[test]
fn signals_that_the_caller_ignores_stay_ignored() {
    let ground = ground();
    let inject = "inject=openat:signal=SIGHUP:when=9";
    let tracer = ["nohup", "strace", "-f", "-qqq", "-o", "/dev/null", "-e", inject];
    run(ground.through(&tracer, &ARGUMENTS).stdin(Stdio::null()));
    assert!(ground.has_whole_image());
}

/// A killed run leaves nothing half in the cache.
#[test]
fn a_killed_run_leaves_a_cache_of_whole_layers() {
    let ground = ground();
    let arguments = [&ARGUMENTS[..], &["--cache", "cache"]].concat();
    for (set, number) in [("write", 3), ("linkat", 1), ("linkat", 2), ("linkat", 3), ("pwrite64", 1)] {
        let what = format!("{set} {number}");
        let inject = format!("inject={set}:signal=SIGKILL:when={number}");
        let tracer = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &inject];
        let output = output(&mut ground.through(&tracer, &arguments));
        assert!(output.status.success() || was_killed(&output, SIGKILL), "{what}");
        ground.cache_is_whole();
        ground.untouched_but(&what, &["cache", "out", ".out.unfinished"]);
        run(&mut ground.command(&arguments));
        assert!(ground.has_whole_image(), "{what}");
        ground.clear();
        fs::remove_dir_all(ground.path("cache")).unwrap();
    }
}
