//! Kernel settings of the services that a host runs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

use bake_tree::TreePath;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use crate::place::Root;
use crate::{Failure, Sysctl, files};

/// Where a generation has the settings.
const CONFIGURATION: &str = "etc/dcos-service-configuration.json";
/// Its largest size, in bytes.
const LIMIT: u64 = 64 << 20;
/// Where the kernel has them.
const KERNEL: &str = "proc/sys";

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    sysctl: Sysctl,
}

/// Gives the kernel the settings of services among `units`. It may lack one, or refuse a value: those are told and
/// nothing else, since the original went on as well.
pub(crate) fn set(
    root: &Root,
    generation: &TreePath,
    units: &BTreeSet<String>,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let path = CONFIGURATION.split('/').fold(generation.clone(), |at, name| at.join(name.as_bytes()));
    let Some(bytes) = files::read(root, &path, LIMIT)? else { return Ok(()) };
    let configuration: Configuration = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(format!("`{}` is no configuration of services: {error}", root.shown(&path)))
    })?;
    for (service, settings) in configuration.sysctl.iter().filter(|(service, _)| runs(units, service)) {
        for (key, value) in settings {
            match write(root, key, value) {
                Ok(false) => {}
                Ok(true) => say(format!("set {key} = {value} for {service}")),
                Err(reason) => {
                    say(format!("warning: {service} wants {key} = {value}, which failed: {reason}"));
                }
            }
        }
    }
    Ok(())
}

/// Whether a service, or an instance of it, is among `units`.
fn runs(units: &BTreeSet<String>, service: &str) -> bool {
    let instance = |unit: &String| {
        unit.strip_prefix(service).is_some_and(|rest| rest.starts_with('@') && rest.ends_with(".service"))
    };
    units.contains(&format!("{service}.service")) || units.iter().any(instance)
}

/// Writes one setting. Says whether it had another value.
fn write(root: &Root, key: &str, value: &str) -> Result<bool, String> {
    let unknown = || "the kernel has no such setting".to_owned();
    let path = path(key).ok_or_else(unknown)?;
    let (directory, name) = path.split().ok_or_else(unknown)?;
    let directory = root.find(&directory).map_err(|failure| failure.to_string())?.ok_or_else(unknown)?;
    let open = |how: OFlags| {
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, OsStr::from_bytes(name), flags, Mode::empty());
        file.map(File::from)
    };
    let mut now = String::new();
    // Some settings can only be written.
    let readable = open(OFlags::RDONLY).is_ok_and(|file| file.take(1 << 16).read_to_string(&mut now).is_ok());
    if readable && now.split_whitespace().eq(value.split_whitespace()) {
        return Ok(false);
    }
    let file = open(OFlags::WRONLY | OFlags::TRUNC).map_err(|error| error.to_string())?;
    // In one call: the kernel takes a value whole.
    let written = { file }.write(format!("{value}\n").as_bytes());
    written.map(|_| true).map_err(|error| error.to_string())
}

/// The file of a setting: of `.` and `/`, what comes first in the key is what separates, as for sysctl(8).
fn path(key: &str) -> Option<TreePath> {
    let separator = key.find(['.', '/']).map_or(b'.', |at| key.as_bytes()[at]);
    let swap = |byte: u8| match byte {
        b'.' => b'/',
        b'/' => b'.',
        other => other,
    };
    let key: Vec<u8> =
        if separator == b'.' { key.bytes().map(swap).collect() } else { key.bytes().collect() };
    TreePath::parse(&[KERNEL.as_bytes(), b"/", &key].concat()).ok()
}

#[cfg(test)]
mod tests;
