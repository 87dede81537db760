//! Ctrl-C and its kin: the build ends, what was half done goes away, and so does the run, by that signal.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::support::ground::Numbers;
use crate::support::{full, run};
use crate::yard::{Yard, names, wait_until};

const SIGNALS: [(&str, i32); 3] = [("-HUP", 1), ("-INT", 2), ("-TERM", 15)];

/// Ends by itself after a quarter of an hour.
const ENDLESS: &str = "trap '' INT TERM HUP\necho begun\nsleep 1000\n";

fn send(signal: &str, child: &Child) {
    run(Command::new("kill").arg(signal).arg(child.id().to_string()));
}

fn end(child: &mut Child, within: Duration, what: &str) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < within, "{what}: it goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the script of a package has said that it has begun.
pub fn wait_for_build(yard: &Yard) {
    let has_begun = |log: &std::path::Path| fs::read_to_string(log).is_ok_and(|log| log.contains("begun"));
    wait_until("a build", || {
        let packages = yard.path("tree/cache/packages");
        names(&packages).iter().map(|component| packages.join(component)).any(|component| {
            names(&component).iter().any(|name| name.ends_with(".log") && has_begun(&component.join(name)))
        })
    });
}

#[test]
fn a_signal_ends_a_build_and_clears_up() {
    for (name, signal) in SIGNALS {
        let yard = Yard::of("endless", ENDLESS);
        let mut child = yard.start(&["package", "endless"]);
        wait_for_build(&yard);
        let of_the_script = |line: &String| line.contains("sleep") || line.contains("bash");
        assert!(yard.processes().iter().any(of_the_script), "{name}: {:?}", yard.processes());
        send(name, &child);
        assert_eq!(end(&mut child, Duration::from_secs(15), name).signal(), Some(signal), "{name}");
        yard.is_tidy(name);
        assert!(yard.packages().is_empty());
    }
}

#[test]
fn a_signal_at_any_moment_ends_the_run_and_clears_up() {
    let yard = Yard::new();
    let began = Instant::now();
    let expected = yard.build(&["tree"]);
    let whole = began.elapsed();
    yard.clear();
    let mut numbers = Numbers(13);
    let mut ended = 0;
    for round in 0..if full() { 100 } else { 12 } {
        let (name, signal) = SIGNALS[round % SIGNALS.len()];
        let mut child = yard.start(&["tree"]);
        let delay = whole.mul_f64(numbers.below(1000) as f64 / 1000.0);
        std::thread::sleep(delay.min(Duration::from_secs(20)));
        send(name, &child);
        let what = format!("{name} after {delay:?} of {whole:?}");
        let status = end(&mut child, Duration::from_secs(15), &what);
        assert!(status.success() || status.signal() == Some(signal), "{what}: {status}");
        ended += usize::from(!status.success());
        yard.is_tidy(&what);
        assert_eq!(yard.build(&["tree"]), expected, "after {what}");
        yard.clear();
    }
    assert!(ended > 0, "every run was over before its signal came");
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let yard = Yard::of("endless", ENDLESS);
    let mut child = yard.start(&["package", "endless"]);
    wait_for_build(&yard);
    send("-INT", &child);
    send("-INT", &child);
    assert_eq!(end(&mut child, Duration::from_secs(2), "two signals").signal(), Some(2));
    // Nobody was left to clear up; the build is over all the same.
    yard.is_quiet("two signals");
    yard.is_whole("two signals");
    yard.recipe("endless", "echo quick\n", "{}");
    yard.build(&["package", "endless"]);
}

#[test]
fn a_signal_ends_a_run_that_waits_for_another_one() {
    let yard = Yard::of("endless", ENDLESS);
    let mut first = yard.start(&["package", "endless"]);
    wait_for_build(&yard);
    let mut second = yard.start(&["package", "endless"]);
    std::thread::sleep(Duration::from_millis(500));
    assert!(second.try_wait().unwrap().is_none(), "it has to wait");
    send("-INT", &second);
    assert_eq!(end(&mut second, Duration::from_secs(2), "the one that waits").signal(), Some(2));
    assert!(first.try_wait().unwrap().is_none(), "the other one is not disturbed");
    send("-INT", &first);
    assert_eq!(end(&mut first, Duration::from_secs(15), "the first one").signal(), Some(2));
    yard.is_tidy("both ended");
}
