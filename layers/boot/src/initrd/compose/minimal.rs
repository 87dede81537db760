//! A script as the initrd's init, run by the tree's busybox: for trees without systemd, or with too little of it.
//!
//! It finds roots by what the command line says, verifies nothing, and checks no file system before it is mounted.
//! Which programs a busybox has was decided when it was built; their names stand in it, one after the other.

use std::collections::BTreeSet;

use bake_tree::TreePath;

use super::copy::Copier;
use super::systemd::{PROGRAMS, program};
use super::{ComposeError, Missing};
use crate::path;

const SCRIPT: &str = include_str!("minimal/init.sh");
/// What the script calls.
const APPLETS: [&str; 9] = ["cat", "find", "mount", "sh", "sleep", "sort", "switch_root", "tr", "xargs"];
/// More than any busybox has, in bytes.
const LIMIT: u64 = 64 << 20;
const BUSYBOX: &str = "busybox-static (Debian, Ubuntu) or busybox";

/// What the tree lacks for it.
pub(super) fn missing(copier: &Copier<'_>) -> Vec<Missing> {
    let mut missing = Vec::new();
    match find(copier, "busybox") {
        None => missing.push(Missing::Program { name: "busybox", packages: BUSYBOX }),
        Some(at) => {
            let bytes = copier.tree.read(&at, LIMIT).ok().flatten().unwrap_or_default();
            let names: BTreeSet<&[u8]> = bytes.split(|byte| *byte == 0).collect();
            let absent = APPLETS.iter().filter(|name| !names.contains(name.as_bytes()));
            missing.extend(absent.map(|name| Missing::Applet { name, packages: BUSYBOX }));
        }
    }
    if find(copier, "modprobe").is_none_or(|at| is_busybox(&at)) {
        missing.push(Missing::Program { name: "modprobe", packages: "kmod" });
    }
    missing
}

/// Takes busybox and the script. `to_load` are modules that no device asks for.
pub(super) fn take(copier: &mut Copier<'_>, to_load: &[String]) -> Result<Vec<String>, ComposeError> {
    let mut notes = Vec::new();
    let busybox = program(copier, "busybox")?.unwrap_or_else(|| path("usr/bin/busybox"));
    program(copier, "kmod")?;
    let modprobe = place(copier, "modprobe").unwrap_or_else(|| "usr/sbin/modprobe".to_owned());
    copier.take(&path(&modprobe))?;
    let findfs = match find(copier, "findfs").filter(|at| !is_busybox(at)) {
        Some(_) => {
            let at = place(copier, "findfs").unwrap_or_default();
            copier.take(&path(&at))?;
            format!("/{at}")
        }
        None => {
            notes.push(
                "the tree has no `findfs` of util-linux: the root is found by UUID= and LABEL=, not by PARTUUID="
                    .to_owned(),
            );
            format!("{busybox} findfs")
        }
    };
    let script = SCRIPT
        .replace("@BUSYBOX@", &busybox.to_string())
        .replace("@FINDFS@", &findfs)
        .replace("@MODPROBE@", &format!("/{modprobe}"));
    copier.write("init", 0o755, script)?;
    copier.write("etc/modules", 0o644, to_load.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    notes.push(
        "busybox is the initrd's init: the root is found by the command line alone, and not checked before it is mounted"
            .to_owned(),
    );
    Ok(notes)
}

/// The path of a program, and where that leads.
fn place(copier: &Copier<'_>, name: &str) -> Option<String> {
    PROGRAMS.map(|directory| format!("{directory}/{name}")).into_iter().find(|at| copier.has(at))
}

fn find(copier: &Copier<'_>, name: &str) -> Option<TreePath> {
    copier.real(&path(&place(copier, name)?))
}

fn is_busybox(at: &TreePath) -> bool {
    at.split().is_some_and(|(_, name)| name.starts_with(b"busybox"))
}
