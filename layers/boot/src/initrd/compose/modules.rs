//! Kernel modules with everything that they need, and their firmware.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{Content, Metadata, Node, TreePath};

use super::copy::{Copier, names};
use super::{ComposeError, Missing, Options};
use crate::depmod::{Modules, Selected, soft_names};
use crate::initrd::{builtin, canonical};
use crate::kernel::Kernel;
use crate::path;
use crate::pattern::{is_pattern, matches};

/// What an initrd makes use of beside the drivers that somebody asks for, where the kernel has it: disks behind SCSI
/// hosts, what systemd loads by itself, read-only roots and what verifies them.
const USEFUL: [&str; 15] = [
    "sd_mod",
    "sr_mod",
    "autofs4",
    "efivarfs",
    "dmi_sysfs",
    "qemu_fw_cfg",
    "virtio_rng",
    "dm_mod",
    "dm_verity",
    "crypto-sha256",
    "crypto-crc32c",
    "loop",
    "overlay",
    "squashfs",
    "erofs",
];
/// Where configurations of `modprobe` lie; of two with one name the earlier directory's counts.
const MODPROBE: [&str; 4] =
    ["etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d"];
/// More than any of them has, in bytes, and than lists of modules have.
const MAX_CONFIG: u64 = 1 << 20;
const MAX_LIST: u64 = 64 << 20;
/// How firmware may be compressed (`CONFIG_FW_LOADER_COMPRESS`).
const COMPRESSED: [&str; 3] = ["", ".xz", ".zst"];

/// Modules that are in the initrd.
pub(super) struct Chosen {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// Of the drivers asked for, those that nothing would ask for by itself.
    pub to_load: Vec<String>,
    /// Of the drivers asked for, those that no device would ask for.
    pub without_device: Vec<String>,
    /// Firmware that they name and the tree does not have, with the module.
    pub lacking: Vec<(String, String)>,
}

/// Takes the modules that are asked for, those that are useful, and everything that they need.
pub(super) fn take(
    copier: &mut Copier<'_>,
    kernel: &Kernel,
    options: &Options<'_>,
    missing: &mut Vec<Missing>,
) -> Result<Chosen, ComposeError> {
    let builtin = builtin(copier.tree, kernel)?;
    let all = Modules::load(copier.tree, kernel, options.threads)?;
    let known: BTreeSet<&str> = all.each().map(Selected::name).collect();
    let wanted: Vec<String> = options.drivers.iter().map(|driver| canonical(driver)).collect();
    let absent = wanted.iter().filter(|driver| !builtin.contains(*driver) && !known.contains(&***driver));
    missing.extend(absent.map(|driver| Missing::Driver(driver.clone())));

    let soft = configured(copier)?;
    let asked: Vec<&str> = options.drivers.iter().chain(options.optional).chain(&USEFUL).copied().collect();
    let chosen = all.select(&asked, &soft)?;
    for module in chosen.each() {
        put(copier, module.path(), chosen.directory(), module.relative(), module.content())?;
    }
    for (at, content) in chosen.files()? {
        copier.out.put(&at, Metadata::root(0o644), Node::File(content))?;
    }
    for name in ["modules.builtin", "modules.builtin.modinfo"] {
        copier.take(&chosen.directory().join(name.as_bytes()))?;
    }
    order(copier, &chosen)?;

    let mut lacking = BTreeSet::new();
    for module in chosen.each() {
        for name in module.values("firmware") {
            if !firmware(copier, kernel, name)? {
                lacking.insert((name.to_owned(), module.name().to_owned()));
            }
        }
    }
    let mut names: Vec<_> = chosen.each().map(|module| module.name().to_owned()).collect();
    names.sort();
    let asked_for = || chosen.each().filter(|module| wanted.iter().any(|driver| driver == module.name()));
    let on_a_bus = |module: &Selected<'_>| module.values("alias").any(|alias| alias.contains(':'));
    let name = |module: Selected<'_>| module.name().to_owned();
    Ok(Chosen {
        names,
        to_load: asked_for().filter(|module| !module.is_asked_for()).map(name).collect(),
        without_device: asked_for().filter(|module| !on_a_bus(module)).map(name).collect(),
        lacking: lacking.into_iter().collect(),
    })
}

/// Puts a module where the index says that it is: a link of `weak-updates` becomes the file.
fn put(
    copier: &mut Copier<'_>,
    at: &TreePath,
    directory: &TreePath,
    relative: &str,
    content: &Content,
) -> Result<(), ComposeError> {
    let id = copier.tree.lookup(at, bake_tree::Follow::Last);
    let mtime = id.map_or(Metadata::AT_EPOCH, |id| copier.tree.inode(id).metadata.mtime);
    let metadata = Metadata { mtime, ..Metadata::root(0o644) };
    copier.out.put(&directory.join(relative.as_bytes()), metadata, Node::File(content.clone()))?;
    Ok(())
}

/// `modules.order` of these modules alone.
fn order(copier: &mut Copier<'_>, chosen: &Modules) -> Result<(), ComposeError> {
    let at = chosen.directory().join(b"modules.order");
    let Some(list) = copier.tree.read(&at, MAX_LIST)? else { return Ok(()) };
    let chosen: BTreeSet<&str> = chosen.each().map(|module| stem(module.relative())).collect();
    let list = String::from_utf8_lossy(&list).into_owned();
    let lines = list.lines().filter(|line| chosen.contains(stem(line))).map(|line| format!("{line}\n"));
    let content = Content::bytes(lines.collect::<String>().into_bytes());
    copier.out.put(&at, Metadata::root(0o644), Node::File(content))?;
    Ok(())
}

/// A module's path without what says how it is compressed.
fn stem(path: &str) -> &str {
    path.rfind(".ko").map_or(path, |end| &path[..end])
}

/// Takes the configuration of `modprobe`, and tells which soft dependencies it adds (`modprobe.d(5)`).
fn configured(copier: &mut Copier<'_>) -> Result<BTreeMap<String, Vec<String>>, ComposeError> {
    let mut files: BTreeMap<String, TreePath> = BTreeMap::new();
    for directory in MODPROBE.into_iter().chain(["lib/modprobe.d"]) {
        for name in names(copier.tree, directory).into_iter().filter(|name| matches("*.conf", name)) {
            files.entry(name.clone()).or_insert_with(|| path(directory).join(name.as_bytes()));
        }
    }
    let mut soft: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.values() {
        copier.take(file)?;
        let Ok(Some(_)) = copier.tree.file(file) else { continue };
        let text = copier.tree.read(file, MAX_CONFIG)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.trim().splitn(3, char::is_whitespace);
            let (Some("softdep" | "weakdep"), Some(module), Some(rest)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            soft.entry(canonical(module)).or_default().extend(soft_names(rest).map(str::to_owned));
        }
    }
    Ok(soft)
}

/// Takes a firmware file, or all that a pattern stands for; whether there was one. Looked for as the kernel does
/// (`fw_path` in `drivers/base/firmware_loader/main.c`).
fn firmware(copier: &mut Copier<'_>, kernel: &Kernel, name: &str) -> Result<bool, ComposeError> {
    let Ok(relative) = TreePath::parse(name.as_bytes()) else { return Ok(false) };
    let Some((parent, file)) = relative.split() else { return Ok(false) };
    let file = String::from_utf8_lossy(file).into_owned();
    let version = &kernel.version;
    let mut found = false;
    for place in [format!("updates/{version}"), "updates".to_owned(), version.clone(), ".".to_owned()] {
        for top in ["usr/lib/firmware", "lib/firmware"] {
            // Shown with the slash of a root.
            let directory = path(&format!("{top}/{place}{parent}"));
            let candidates = if is_pattern(&file) {
                let fits =
                    |name: &String| COMPRESSED.iter().any(|end| matches(&format!("{file}{end}"), name));
                names(copier.tree, &directory.to_string()).into_iter().filter(fits).collect()
            } else {
                COMPRESSED.map(|end| format!("{file}{end}")).to_vec()
            };
            for name in candidates {
                let at = directory.join(name.as_bytes());
                if matches!(copier.tree.file(&at), Ok(Some(_))) {
                    found |= copier.take(&at)?.is_some();
                }
            }
            if found {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
