//! Whether a host is well, as the packages of its current generation tell: each may bring programs in `check/`.

mod run;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bake_base::names;
use rustix::io::Errno;
use serde::Serialize;

use crate::generation::PACKAGES;
use crate::host::{Host, Present};
use crate::{Failure, PackageId, files, overrides, place};

/// Where packages have such programs.
const DIRECTORY: &str = "check";
/// The longest environment, in bytes.
const LIMIT: u64 = 16 << 20;

/// A file in a package's `check/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The package that has it.
    pub package: PackageId,
    /// What it is called there.
    pub name: String,
    /// Whether it can be run.
    pub executable: bool,
    path: PathBuf,
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The package that has it.
    pub package: PackageId,
    /// What it is called there.
    pub name: String,
    /// Whether it ended well.
    pub passed: bool,
    /// How it ended, in words.
    pub status: String,
    /// The end of what it wrote.
    pub output: String,
}

/// What those should know who have programs run that belong to another root than that of this machine.
pub fn elsewhere(host: &Host) -> Option<&'static str> {
    let note = "the programs in packages' check/ are those of --root, but run on this machine and look at it";
    (!host.root.is_running()).then_some(note)
}

/// All programs of a generation, by package and name.
///
/// # Errors
/// When a package cannot be read.
pub fn programs(host: &Host, present: &Present) -> Result<Vec<Program>, Failure> {
    let mut programs = Vec::new();
    for package in present.generation.active.keys() {
        let directory = format!("{PACKAGES}/{package}/{DIRECTORY}");
        for name in listed(host, &directory)? {
            let inside = format!("{DIRECTORY}/{name}");
            let mut changed = overrides::each(&present.generation.overrides);
            let changed = changed.find(|(_, id, path)| *id == package && **path == inside);
            let at = match changed {
                Some((change, id, path)) => overrides::copy(change, id, path)?.to_string(),
                None => format!("{directory}/{name}"),
            };
            let path = PathBuf::from(host.shown(&at));
            let metadata = std::fs::metadata(&path);
            let executable =
                metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
            programs.push(Program { package: package.clone(), name, executable, path });
        }
    }
    Ok(programs)
}

/// The names in a directory of the install root, sorted; none if there is no such directory.
fn listed(host: &Host, path: &str) -> Result<Vec<String>, Failure> {
    let mut directory = host.directory(PACKAGES)?;
    for name in path.split('/').skip(1) {
        directory = match place::enter(&directory, name.as_bytes()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            result => result.map_err(Failure::io("opening", host.shown(path)))?,
        };
    }
    let names = names(&directory).map_err(Failure::io("reading", host.shown(path)))?;
    let mut names: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
    names.sort();
    Ok(names)
}

/// Runs those of the programs that can be run, one after another, each for at most `limit`, in the environment of
/// their generation. Tells each outcome when it is known.
///
/// # Errors
/// When the environment cannot be read.
pub fn run(
    host: &Host,
    present: &Present,
    programs: &[Program],
    limit: Duration,
    told: &mut dyn FnMut(&Outcome),
) -> Result<Vec<Outcome>, Failure> {
    let directory = host.directory(&present.number.directory())?;
    let text = files::read_at(&directory, b"environment", LIMIT);
    let text = text.map_err(Failure::io("reading", host.shown("environment")))?;
    let environment = environment(&String::from_utf8_lossy(&text));
    let mut outcomes = Vec::new();
    for program in programs.iter().filter(|program| program.executable) {
        let (passed, status, output) = run::run(&program.path, &environment, limit);
        let (package, name) = (program.package.clone(), program.name.clone());
        let outcome = Outcome { package, name, passed, status, output };
        told(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// The variables of a file that the installation itself wrote: `NAME=plain` or `NAME="quoted"`.
fn environment(text: &str) -> BTreeMap<String, String> {
    let variable = |line: &str| {
        let (name, value) = line.split_once('=').filter(|(name, _)| !name.starts_with('#'))?;
        let Some(quoted) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
            return Some((name.to_owned(), value.to_owned()));
        };
        let (mut plain, mut escaped) = (String::new(), false);
        for c in quoted.chars() {
            if c == '\\' && !escaped {
                escaped = true;
                continue;
            }
            escaped = false;
            plain.push(c);
        }
        Some((name.to_owned(), plain))
    };
    text.lines().filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_it_is_written() {
        let root = crate::InstallRoot::default();
        let entries = root.entries("/opt/mesosphere/generations/7");
        let at = bake_tree::TreePath::parse(b"environment").unwrap();
        let crate::Entry::File(written) = &entries[&at] else { panic!("a file") };
        let read = environment(std::str::from_utf8(written).unwrap());
        assert_eq!(read["LD_LIBRARY_PATH"], "/opt/mesosphere/generations/7/lib");
        let read = environment("# a=b\nA=\"x \\\"y\\\" \\\\ \\$z\"\n\nB=1=2\n");
        let expected = [("A", "x \"y\" \\ $z"), ("B", "1=2")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
