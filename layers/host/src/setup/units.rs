//! The units of the current generation as copies in `/run/systemd/system`, where systemd can read them before
//! anything is mounted at `/opt`, and where none outlives a boot.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_base::names;
use bake_tree::TreePath;

use crate::host::{HOME, Host, Present};
use crate::integration::HostEntry;
use crate::place::{self, Root};
use crate::systemd::{self, TARGET};
use crate::unit::{self, WANTS};
use crate::{Failure, files};

/// Where units are written.
const UNITS: &str = "run/systemd/system";
/// The names of all units that this program wrote; what is not among them is somebody else's.
const RECORD: &str = "run/dcos/units";
/// Is there while systemd has not read what was written.
const STALE: &str = "run/dcos/reload";
/// The longest unit or list of them, in bytes.
const LIMIT: u64 = 16 << 20;
/// What starts setup when somebody changes the roles.
const ROLES_PATH: &str = "dcos-roles.path";
const WATCHING: [(&str, &str); 2] = [
    (ROLES_PATH, include_str!("../integration/dcos-roles.path")),
    ("dcos-roles.service", include_str!("../integration/dcos-roles.service")),
];

/// The names of the units that a host is to run: those of its generation, once it has a role.
pub(crate) fn of(host: &Host, present: &Present) -> Result<BTreeSet<String>, Failure> {
    let generation = &present.generation;
    if generation.roles.is_empty() || generation.removing {
        return Ok(BTreeSet::new());
    }
    let path = format!("{}/{WANTS}", present.number.directory());
    let names = names(&host.directory(&path)?).map_err(Failure::io("reading", host.shown(&path)))?;
    let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
    Ok(names.filter(|name| unit::is_name(name)).collect())
}

/// Has systemd watch the roles of the host, from before they are read.
pub(crate) fn watch(host: &Host) -> Result<(), Failure> {
    let mut writer = Writer::new(host)?;
    for (name, text) in WATCHING {
        writer.put(name, text.as_bytes().to_vec())?;
    }
    writer.reload()?;
    host.systemd.start_now(ROLES_PATH)
}

/// Writes the units that the host is to run, stops and removes those that it has no more, and starts what does not
/// run. A unit that cannot be read is a problem, and the others run all the same.
pub(crate) fn write(
    host: &Host,
    present: &Present,
    units: &BTreeSet<String>,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let before = recorded(&host.root)?;
    let mut writer = Writer::new(host)?;
    // Before anything is written: a run that was killed is made up for.
    record(&host.root, &before.union(units).cloned().collect())?;
    for name in units {
        if let Err(failure) = text(host, present, name).and_then(|text| writer.unit(name, text)) {
            problems.push(failure);
        }
    }
    let gone: BTreeSet<String> = before.difference(units).cloned().collect();
    if !gone.is_empty() {
        let list = gone.iter().map(String::as_str);
        say(format!("removing {}", list.clone().collect::<Vec<_>>().join(" ")));
        // While systemd still knows how.
        problems.extend(host.systemd.stop(list).err());
        gone.iter().try_for_each(|name| writer.remove(name))?;
    }
    record(&host.root, units)?;
    if writer.changed && !units.is_empty() {
        say(format!("wrote units: {}", units.iter().map(String::as_str).collect::<Vec<_>>().join(" ")));
    }
    writer.reload()?;
    // Otherwise several changes in a row would be more starts than systemd allows, and what is gone would stay known
    // for having failed.
    host.systemd.forget(units.union(&gone).map(String::as_str))?;
    if !units.is_empty() {
        host.systemd.start([TARGET])?;
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::each(problems)) }
}

/// Stops and removes every unit that was ever written, and what watches the roles.
pub(crate) fn withdraw(host: &Host, present: &Present, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    host.systemd.stop([ROLES_PATH])?;
    write(host, present, &BTreeSet::new(), say)?;
    let mut writer = Writer::new(host)?;
    WATCHING.iter().try_for_each(|(name, _)| writer.remove(name))?;
    writer.reload()?;
    files::remove(&host.root, &place::path(RECORD)).map(drop)
}

/// The units that an earlier run wrote.
pub(crate) fn recorded(root: &Root) -> Result<BTreeSet<String>, Failure> {
    let bytes = files::read(root, &place::path(RECORD), LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter(|name| unit::is_name(name)).map(str::to_owned).collect())
}

fn record(root: &Root, units: &BTreeSet<String>) -> Result<(), Failure> {
    let content = units.iter().map(|name| format!("{name}\n")).collect::<String>().into_bytes();
    files::put(root, &place::path(RECORD), &HostEntry { mode: 0o644, content }).map(drop)
}

/// The text of a unit of a generation.
fn text(host: &Host, present: &Present, name: &str) -> Result<Vec<u8>, Failure> {
    let path = place::path(&format!("{HOME}/{}/{WANTS}/{name}", present.number.directory()));
    let text = files::read_through(&host.root, &path, LIMIT)?;
    text.ok_or_else(|| Failure::new(format!("`{}` leads nowhere", host.root.shown(&path))))
}

/// Changes units, and has systemd read them again if any was changed.
struct Writer<'a> {
    host: &'a Host,
    changed: bool,
}

impl<'a> Writer<'a> {
    /// A run that was killed may have left what systemd has not read.
    fn new(host: &'a Host) -> Result<Self, Failure> {
        Ok(Self { host, changed: files::read(&host.root, &place::path(STALE), LIMIT)?.is_some() })
    }

    /// A unit that the target wants. Of a template, only instances can be.
    fn unit(&mut self, name: &str, text: Vec<u8>) -> Result<(), Failure> {
        self.put(name, text)?;
        let (link, target) = (wants(name), format!("../{name}"));
        if !systemd::is_template(name) && !self.is_link(&link, &target)? {
            self.change()?;
            files::link(&self.host.root, &link, &target)?;
        }
        Ok(())
    }

    fn put(&mut self, name: &str, content: Vec<u8>) -> Result<(), Failure> {
        let (path, file) = (place::path(&format!("{UNITS}/{name}")), HostEntry { mode: 0o644, content });
        let directory = self.host.root.make(&place::path(UNITS))?;
        let there = files::is_there(&directory, name.as_bytes(), &file);
        if !there.map_err(Failure::io("reading", self.host.root.shown(&path)))? {
            self.change()?;
            files::put(&self.host.root, &path, &file)?;
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.change()?;
        files::remove(&self.host.root, &wants(name))?;
        files::remove(&self.host.root, &place::path(&format!("{UNITS}/{name}"))).map(drop)
    }

    fn is_link(&self, path: &TreePath, target: &str) -> Result<bool, Failure> {
        let (directory, name) = path.split().expect("it has a name");
        let Some(directory) = self.host.root.find(&directory)? else { return Ok(false) };
        let there = rustix::fs::readlinkat(&directory, OsStr::from_bytes(name), Vec::new());
        Ok(there.is_ok_and(|there| there.as_bytes() == target.as_bytes()))
    }

    /// Notes that systemd is about to know less than what is there.
    fn change(&mut self) -> Result<(), Failure> {
        if !self.changed {
            let note = HostEntry { mode: 0o644, content: Vec::new() };
            files::put(&self.host.root, &place::path(STALE), &note)?;
            self.changed = true;
        }
        Ok(())
    }

    fn reload(&self) -> Result<(), Failure> {
        if self.changed {
            self.host.systemd.reload()?;
            files::remove(&self.host.root, &place::path(STALE))?;
        }
        Ok(())
    }
}

fn wants(name: &str) -> TreePath {
    place::path(&format!("{UNITS}/{WANTS}/{name}"))
}

#[cfg(test)]
mod tests;
