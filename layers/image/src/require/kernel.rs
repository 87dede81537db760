//! What the kernel that boots was built with.

use std::collections::BTreeSet;

use bake_boot::kernel::Kernel;
use bake_tree::Tree;

use super::{LIMIT, Verdict, all};
use crate::error::{Error, path};

/// What the largest index of modules has, in bytes.
const MODULES_LIMIT: u64 = 16 << 20;

/// Whether each of these options is built in or a module.
pub(super) fn options(tree: &Tree, names: &[String]) -> Result<Verdict, Error> {
    let kernel = Kernel::find(tree, None)?;
    let version = &kernel.version;
    for place in [format!("boot/config-{version}"), format!("usr/lib/modules/{version}/config")] {
        let Some(text) = tree.read(&path(&place)?, LIMIT)? else { continue };
        let text = String::from_utf8_lossy(&text);
        let on = |option: &str| {
            text.lines().any(|line| {
                let value = line.strip_prefix("CONFIG_").and_then(|rest| rest.strip_prefix(option));
                matches!(value, Some("=y" | "=m"))
            })
        };
        return all(names, "kernel option", |name| Ok(on(name)));
    }
    Ok(Verdict::Unknown(format!("the tree does not have the configuration of its kernel {version}")))
}

/// Whether each of these modules is there or built in.
pub(super) fn modules(tree: &Tree, names: &[String]) -> Result<Verdict, Error> {
    let kernel = Kernel::find(tree, None)?;
    let mut there = BTreeSet::new();
    for index in ["modules.builtin", "modules.dep"] {
        let at = kernel.modules.as_ref().map(|directory| directory.join(index.as_bytes()));
        let text = at.map(|at| tree.read(&at, MODULES_LIMIT)).transpose()?.flatten().unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let file = line.split(':').next().and_then(|file| file.rsplit('/').next()).unwrap_or_default();
            let name = file.split(".ko").next().unwrap_or_default();
            there.insert(name.replace('-', "_"));
        }
    }
    all(names, "kernel module", |name| Ok(there.contains(&name.replace('-', "_"))))
}
