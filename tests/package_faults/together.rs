//! Runs beside each other on one tree.

use std::fs;
use std::process::Child;
use std::time::Duration;

use crate::signals::wait_for_build;
use crate::support::text;
use crate::yard::{Yard, names};

fn ended_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

/// How often the script of each package has run: it is told by its log, which every build begins anew.
fn logs(yard: &Yard) -> Vec<(String, std::time::SystemTime)> {
    let mut logs = Vec::new();
    for id in yard.packages().keys() {
        let component = id.split("--").next().unwrap();
        let log = yard.path(&format!("tree/cache/packages/{component}/{id}.log"));
        logs.push((id.clone(), fs::metadata(log).unwrap().modified().unwrap()));
    }
    logs
}

#[test]
fn a_package_that_two_runs_want_is_built_once() {
    let yard = Yard::of("slow", "echo begun\nsleep 1\n");
    let children = [(); 3].map(|()| yard.start(&["package", "slow"]));
    wait_for_build(&yard);
    std::thread::sleep(Duration::from_millis(1300));
    let first = logs(&yard);
    for child in children {
        ended_well(child);
    }
    assert_eq!((first.len(), &first), (1, &logs(&yard)));
    yard.is_tidy("three runs");
}

#[test]
fn runs_for_the_same_tree_and_for_parts_of_it_give_the_same_packages() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    for _ in 0..3 {
        yard.clear();
        let children = [
            yard.start(&["tree"]),
            yard.start(&["package", "base"]),
            yard.start(&["package", "--recursive", "app"]),
            yard.start(&["tree", "--jobs", "1"]),
        ];
        for child in children {
            ended_well(child);
        }
        yard.is_tidy("four runs");
        assert_eq!(yard.packages(), expected);
    }
}

#[test]
fn runs_for_different_packages_do_not_wait_for_each_other() {
    let yard = Yard::of("slow", "echo begun\nsleep 1000\n");
    yard.recipe("quick", "echo quick\n", "{}");
    let mut slow = yard.start(&["package", "slow"]);
    wait_for_build(&yard);
    ended_well(yard.start(&["package", "quick"]));
    assert!(slow.try_wait().unwrap().is_none());
    slow.kill().unwrap();
    slow.wait().unwrap();
}

#[test]
fn a_killed_run_does_not_block_the_next_one() {
    let yard = Yard::of("slow", "echo begun\nsleep 1000\n");
    for _ in 0..3 {
        let mut slow = yard.start(&["package", "slow"]);
        wait_for_build(&yard);
        slow.kill().unwrap();
        slow.wait().unwrap();
        for name in names(&yard.path("tree/cache/packages/slow")).iter().filter(|name| name.ends_with(".log"))
        {
            fs::remove_file(yard.path("tree/cache/packages/slow").join(name)).unwrap();
        }
    }
    yard.recipe("slow", "echo quick\n", "{}");
    yard.build(&["package", "slow"]);
}

/// The one that waits goes on with what the killed one has not done.
#[test]
fn a_run_takes_over_from_one_that_is_killed() {
    let yard = Yard::of("slow", "echo begun\nsleep 1\n");
    let mut first = yard.start(&["package", "slow"]);
    wait_for_build(&yard);
    let second = yard.start(&["package", "slow"]);
    std::thread::sleep(Duration::from_millis(200));
    first.kill().unwrap();
    first.wait().unwrap();
    ended_well(second);
    yard.is_tidy("taken over");
    assert_eq!(yard.packages().len(), 1);
}
