//! Processes that keep resolving paths through `/opt/mesosphere` while one generation follows another: every look-up
//! succeeds and is of one generation, and no process sees an older one after a newer.
//!
//! Each reader is this very program in a mount namespace of its own, in which the root's `/opt` is `/opt`, so that the
//! kernel follows the links as on a real host.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, missing_docs)] // a test stops where it fails

#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[allow(dead_code)]
#[path = "../../../tests/support/wares.rs"]
mod wares;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wares::{ACTIVATE, ADD, INSTALL, Wares, succeeds};

/// How many processes read at once.
const READERS: usize = 100;
/// What tells this program that it is a reader: the directory that it reports to.
const REPORT: &str = "BAKE_READER_REPORT";
/// The file there that has readers end.
const STOP: &str = "stop";
/// The packages of the first generation.
const BACK: &str = "activate hello--1 tool--1 dcos-config--setup_0123456789012345678901234567890123456789";

/// What one reader saw.
#[derive(Default)]
struct Seen {
    lookups: u64,
    /// How often another version was seen than before.
    changes: u64,
    /// The version of the last look-up.
    version: u64,
    /// The least number that the current generation can have.
    least: u64,
}

impl Seen {
    /// Notes a look-up that found `version`, of which odd generations have 1 and even ones 2.
    fn version(&mut self, version: u64) {
        self.lookups += 1;
        if self.version != 0 && self.version != version {
            self.changes += 1;
        }
        if self.least % 2 != version % 2 {
            self.least += 1;
        }
        self.version = version;
    }
}

const HOME: &str = "/opt/mesosphere";

/// Looks up everything once. `forward`: generations only ever have higher numbers.
fn look(seen: &mut Seen, forward: bool) {
    let read = |path: &str| {
        fs::read_to_string(format!("{HOME}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let resolve = |path: &str| {
        let place =
            fs::canonicalize(format!("{HOME}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"));
        let place = place.strip_prefix(format!("{HOME}/packages")).unwrap().to_str().unwrap().to_owned();
        let version = place.strip_prefix("hello--").and_then(|rest| rest.split('/').next());
        version.unwrap_or_else(|| panic!("{path} leads to {place}")).parse::<u64>().unwrap()
    };
    let is_one = |text: &str, of: [&str; 2]| {
        let version = of.iter().position(|expected| text == *expected);
        version.unwrap_or_else(|| panic!("neither of {of:?}: {text}")) as u64 + 1
    };
    seen.version(is_one(&read("bin/hello"), ["#!/bin/sh\necho 1\n", "#!/bin/sh\necho 2\n"]));
    seen.version(is_one(&read("etc/hello"), ["1", "2"]));
    seen.version(resolve("lib/libhello.so"));
    seen.version(resolve("active/hello/share/1"));
    seen.version(resolve("include/hello/hello.h"));
    seen.version(resolve("dcos.target.wants/dcos-hello.service"));
    let mut names: Vec<String> = fs::read_dir(format!("{HOME}/bin"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    seen.version(is_one(
        &names.join(" "),
        ["hello hello-1 tool tool-1", "extra extra-1 hello hello-2 tool tool-1"],
    ));
    // One read, hence of one generation: what it says of the version goes with its number.
    let environment = read("environment");
    let after = |mark: &str| {
        let at = environment.find(mark).unwrap_or_else(|| panic!("no {mark}: {environment}")) + mark.len();
        let digits: String = environment[at..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap()
    };
    let number = after("generations/");
    let version = after("HELLO_VERSION=");
    seen.version(version);
    assert_eq!(number % 2, version % 2, "{environment}");
    if forward {
        assert!(number >= seen.least, "went back to {number} from {} or later", seen.least);
        seen.least = number;
    }
}

/// What a reader does; nothing where this is the test itself.
#[test]
fn as_a_reader() {
    let Some(report) = env::var_os(REPORT).map(PathBuf::from) else { return };
    let forward = report.join("forward").exists();
    let mut seen = Seen::default();
    fs::write(report.join(format!("ready-{}", std::process::id())), "").unwrap();
    while !report.join(STOP).exists() {
        look(&mut seen, forward);
        // Somebody has to make the changes.
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = format!("{} {}", seen.lookups, seen.changes);
    fs::write(report.join(format!("seen-{}", std::process::id())), text).unwrap();
}

struct Yard {
    scratch: tempfile::TempDir,
    wares: Wares,
}

impl Yard {
    fn new() -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["wares", "root", "report"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        let wares = Wares::new(&scratch.path().join("wares"));
        let yard = Self { scratch, wares };
        for command in [INSTALL, ADD[0], ADD[1]] {
            yard.pkgpanda(command);
        }
        yard
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn pkgpanda(&self, command: &str) {
        let program = Path::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
        succeeds(&mut self.wares.command(program, &self.at("root"), command));
    }

    fn reader(&self) -> Child {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg("mount --bind \"$1/opt\" /opt && exec nice -n 10 \"$2\" --exact as_a_reader --nocapture");
        command.arg("sh").arg(self.at("root")).arg(env::current_exe().unwrap());
        command.env(REPORT, self.at("report")).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// How many reports there are whose names begin so.
    fn reports(&self, start: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at("report")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start)).collect()
    }
}

/// Lets [`READERS`] read while `change` is called with 1, 2, … until the time is over.
fn race(name: &str, forward: bool, change: impl Fn(&Yard, u64)) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED for want of root: mount namespaces of readers");
        return;
    }
    let yard = Yard::new();
    if forward {
        fs::write(yard.at("report/forward"), "").unwrap();
    } else {
        yard.pkgpanda(ACTIVATE);
    }
    let mut readers: Vec<Child> = (0..READERS).map(|_| yard.reader()).collect();
    let began = Instant::now();
    while yard.reports("ready-").len() < READERS {
        assert!(began.elapsed() < Duration::from_mins(1), "readers do not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    let time = Duration::from_secs(if env::var_os("BAKE_TEST_FULL").is_some() { 60 } else { 4 });
    let (began, mut changes) = (Instant::now(), 0);
    while began.elapsed() < time || changes < 2 {
        changes += 1;
        change(&yard, changes);
        assert!(readers.iter_mut().all(|reader| reader.try_wait().unwrap().is_none()), "a reader has failed");
    }
    fs::write(yard.at("report").join(STOP), "").unwrap();
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let seen: Vec<[u64; 2]> = yard
        .reports("seen-")
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let (lookups, changes) = text.split_once(' ').unwrap();
            [lookups, changes].map(|number| number.parse().unwrap())
        })
        .collect();
    assert_eq!(seen.len(), READERS);
    let lookups: u64 = seen.iter().map(|[lookups, _]| lookups).sum();
    let most = seen.iter().map(|[_, changes]| *changes).max().unwrap();
    let all: u64 = seen.iter().map(|[_, changes]| changes).sum();
    eprintln!("{name}: {READERS} readers, {lookups} look-ups, {changes} changes, seen {all} times");
    // Each change is seen once at most: from old to new, and never back.
    assert!(most <= changes, "a reader saw {most} of {changes} changes");
    assert!(all > 0, "nobody saw a change");
}

#[test]
fn readers_of_upgrades_see_old_then_new_and_never_fail_needs_root() {
    race("upgrades", true, |yard, number| yard.pkgpanda(if number % 2 == 1 { ACTIVATE } else { BACK }));
}

#[test]
fn readers_of_rollbacks_see_new_then_old_and_never_fail_needs_root() {
    // The second generation is current.
    race("rollbacks", false, |yard, number| {
        yard.pkgpanda(if number % 2 == 1 { "rollback 1" } else { "rollback 2" });
    });
}
