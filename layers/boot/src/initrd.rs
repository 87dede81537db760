//! A look into an initrd: whether it has the drivers that an image needs, and how it finds the root.
//!
//! An initrd is a sequence of cpio archives, compressed or not (Linux, Documentation/driver-api/early-userspace/
//! buffer-format.rst). Only names matter here; content streams past, and reading ends once everything was seen.

mod archive;
pub mod compose;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bake_tree::{Content, Directory, EditError, Follow, Tree, TreePath};

use crate::kernel::Kernel;

/// More than the list of a kernel's built-in modules ever has, in bytes.
const MAX_BUILTIN: u64 = 4 << 20;

/// What sets verified devices up, and tells udev of them.
const VERIFIES: [&str; 3] = [
    "lib/systemd/systemd-veritysetup",
    "lib/systemd/system-generators/systemd-veritysetup-generator",
    "/95-dm-notify.rules",
];

/// What an initrd has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// systemd runs in it and finds the root by the type of its partition; otherwise the kernel's command line
    /// must say `root=`.
    pub finds_root_by_type: bool,
    /// dracut made it for one host only: it may miss what another host needs.
    pub host_only: bool,
}

/// An initrd that cannot boot the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitrdError {
    /// It cannot be read as one.
    #[error("the initrd `{path}` cannot be read: {reason}")]
    Damaged {
        /// Which.
        path: TreePath,
        /// Why.
        reason: String,
    },
    /// It lacks drivers that the kernel has as modules.
    #[error(
        "the initrd `{path}` lacks {}, without which the image does not boot: add the name to \
         `/etc/initramfs-tools/modules` and run `update-initramfs -u -k {version}`, or run `dracut --force \
         --no-hostonly --add-drivers \"{}\" --kver {version}`",
        listed(.drivers),
        .drivers.join(" ")
    )]
    Missing {
        /// Which initrd.
        path: TreePath,
        /// The kernel that it belongs to.
        version: String,
        /// What it lacks.
        drivers: Vec<String>,
    },
    /// The kernel has no such drivers at all.
    #[error(
        "the kernel `{version}` has {} neither built in nor as module, without which the image does not boot: \
         install a kernel that has (on Debian `linux-image-cloud-…` has fewer drivers than `linux-image-…`), or the \
         package with its further modules",
        listed(.drivers)
    )]
    NotInKernel {
        /// Which kernel.
        version: String,
        /// What it lacks.
        drivers: Vec<String>,
    },
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] EditError),
}

fn listed(drivers: &[String]) -> String {
    let quoted: Vec<_> = drivers.iter().map(|driver| format!("`{driver}`")).collect();
    format!("the driver{} {}", if drivers.len() == 1 { "" } else { "s" }, quoted.join(", "))
}

/// Checks that the initrd at `path`, or the kernel itself, has every one of `drivers` (names of modules; `-`
/// and `_` mean the same), and tells what else is known of it.
///
/// # Errors
/// When drivers are missing, or the initrd cannot be read.
pub fn check(
    tree: &Tree,
    kernel: &Kernel,
    path: &TreePath,
    content: &Content,
    drivers: &[&str],
) -> Result<Facts, InitrdError> {
    let builtin = builtin(tree, kernel)?;
    let mut wanted: BTreeSet<String> = drivers.iter().map(|driver| canonical(driver)).collect();
    wanted.retain(|driver| !builtin.contains(driver));
    let facts = look(content, &mut wanted)
        .map_err(|reason| InitrdError::Damaged { path: path.clone(), reason: reason.to_string() })?;
    if wanted.is_empty() {
        return Ok(facts);
    }
    let version = kernel.version.clone();
    let has = modules(tree, kernel);
    let absent: Vec<_> = wanted.iter().filter(|driver| !has.contains(*driver)).cloned().collect();
    if !absent.is_empty() {
        return Err(InitrdError::NotInKernel { version, drivers: absent });
    }
    Err(InitrdError::Missing { path: path.clone(), version, drivers: wanted.into_iter().collect() })
}

/// Whether systemd in an initrd sets up the devices that the command line says are to be verified
/// (systemd-veritysetup-generator(8)). All of it is read, as long as one part is missing.
///
/// # Errors
/// When the initrd cannot be read.
pub fn verifies(path: &TreePath, content: &Content) -> Result<bool, InitrdError> {
    let mut wanted: BTreeSet<&[u8]> = VERIFIES.map(str::as_bytes).into();
    let read = archive::names(content, |name| {
        wanted.retain(|end| !name.ends_with(end));
        if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    read.map_err(|reason| InitrdError::Damaged { path: path.clone(), reason: reason.to_string() })?;
    Ok(wanted.is_empty())
}

/// Goes through an initrd, takes every module that it has out of `wanted`, and stops when nothing is left to
/// be learned.
fn look(content: &Content, wanted: &mut BTreeSet<String>) -> std::io::Result<Facts> {
    let mut facts = Facts::default();
    // initramfs-tools has a program of its own in the place of systemd, and begins with its configuration.
    let mut without_systemd = false;
    archive::names(content, |name| {
        let name = name.strip_prefix(b"./").unwrap_or(name);
        if let Some(module) = module_name(name) {
            wanted.remove(&module);
        } else if name.ends_with(b"lib/systemd/system-generators/systemd-gpt-auto-generator") {
            facts.finds_root_by_type = true;
        } else if name.windows(20).any(|part| part == b"lib/dracut/hostonly-") {
            // Before any module, as dracut sorts what it packs.
            facts.host_only = true;
        } else if name == b"conf/initramfs.conf" {
            without_systemd = true;
        }
        if wanted.is_empty() && (facts.finds_root_by_type || without_systemd) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(facts)
}

/// The module that a path names, whatever compresses it.
pub(crate) fn module_name(path: &[u8]) -> Option<String> {
    let file = path.rsplit(|byte| *byte == b'/').next()?;
    let stem = [&b".ko"[..], b".ko.xz", b".ko.zst", b".ko.gz", b".ko.lz4", b".ko.bz2", b".ko.lzma"]
        .iter()
        .find_map(|suffix| file.strip_suffix(*suffix))?;
    std::str::from_utf8(stem).ok().map(canonical)
}

/// A module's name as the kernel says it.
pub(crate) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// What is part of the kernel itself.
pub(crate) fn builtin(tree: &Tree, kernel: &Kernel) -> Result<BTreeSet<String>, EditError> {
    let Some(modules) = &kernel.modules else { return Ok(BTreeSet::new()) };
    let text = tree.read(&modules.join(b"modules.builtin"), MAX_BUILTIN)?.unwrap_or_default();
    Ok(text.split(|byte| *byte == b'\n').filter_map(module_name).collect())
}

/// Every module in the kernel's directory.
fn modules(tree: &Tree, kernel: &Kernel) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let top = kernel.modules.as_ref().and_then(|path| tree.lookup(path, Follow::Last));
    let mut ahead: Vec<_> = top.into_iter().collect();
    while let Some(id) = ahead.pop() {
        for (name, child) in tree.inode(id).as_directory().into_iter().flat_map(Directory::iter) {
            if tree.inode(child).as_directory().is_some() {
                ahead.push(child);
            } else {
                found.extend(module_name(name));
            }
        }
    }
    found
}

#[cfg(test)]
#[path = "initrd/tests.rs"]
mod tests;
