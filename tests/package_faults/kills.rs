//! Runs that are killed at some moment: no process of theirs stays, what has a name is whole, and the next run
//! gives the same packages and leaves nothing half done.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::ground::{Numbers, failed_well, was_killed};
use crate::support::{full, output, run, text};
use crate::yard::Yard;

const TREE: [&str; 1] = ["tree"];

/// How many packages there are in a tree of [`Yard::new`]: two of recipes, and the program.
const PACKAGES: usize = 3;

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_nothing_wrong() {
    let yard = Yard::new();
    let began = Instant::now();
    let expected = yard.build(&TREE);
    let whole = began.elapsed();
    assert_eq!(expected.len(), PACKAGES);
    yard.clear();
    let mut numbers = Numbers(11);
    let (mut killed, mut with_packages) = (0, 0);
    for _ in 0..if full() { 200 } else { 20 } {
        let mut child = yard.start(&TREE);
        let delay = whole.mul_f64(numbers.below(1000) as f64 / 1000.0);
        std::thread::sleep(delay.min(Duration::from_secs(20)));
        run(Command::new("kill").arg("-KILL").arg(child.id().to_string()));
        killed += usize::from(!child.wait().unwrap().success());
        let what = format!("killed after {delay:?} of {whole:?}");
        yard.is_quiet(&what);
        yard.is_whole(&what);
        with_packages += usize::from(!yard.packages().is_empty());
        assert_eq!(yard.build(&TREE), expected, "after {what}");
        yard.clear();
    }
    assert!(killed > 0 && with_packages > 0, "killed {killed} times, {with_packages} with packages");
}

#[test]
fn a_run_that_is_killed_at_a_chosen_call_leaves_nothing_wrong() {
    let yard = Yard::new();
    let expected = yard.build(&TREE);
    yard.clear();
    let sets = [
        "linkat",
        "fsync",
        "rename,renameat2",
        "unlinkat",
        "mkdir",
        "mkdirat",
        "write",
        "flock",
        "lchown",
        "clone,clone3",
        "mount",
        "unshare",
    ];
    let mut killed = 0;
    for set in sets {
        for number in [1, 2, 3, 5, 8, 13].into_iter().take(if full() { 6 } else { 2 }) {
            let what = format!("SIGKILL at {set} {number}");
            let inject = format!("inject={set}:signal=SIGKILL:when={number}");
            let tracer = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &inject];
            let output = output(&mut yard.through(&tracer, &TREE));
            if was_killed(&output, 9) {
                killed += 1;
            } else if !output.status.success() {
                // It hit a stage of the sandbox, or the script.
                failed_well(&output, &what);
            }
            yard.is_quiet(&what);
            yard.is_whole(&what);
            assert_eq!(yard.build(&TREE), expected, "after {what}: {}", text(&output.stderr));
            yard.clear();
        }
    }
    assert!(killed > 0);
}

/// What is left of a recipe that has changed since is not there for ever.
#[test]
fn what_a_killed_build_left_goes_away_when_its_recipe_has_changed() {
    let yard = Yard::of("slow", "echo begun\nsleep 1000\n");
    let mut child = yard.start(&["package", "slow"]);
    crate::signals::wait_for_build(&yard);
    child.kill().unwrap();
    child.wait().unwrap();
    yard.is_quiet("killed");
    yard.recipe("slow", "echo quick now\n", "{}");
    yard.build(&["package", "slow"]);
}
