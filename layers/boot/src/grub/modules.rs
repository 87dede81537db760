//! GRUB's modules for BIOS, as packages bring them, and what needs what among them.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{Directory, Follow, Tree, TreePath};

use super::GrubError;
use super::core_image::MAX_OBJECTS;
use crate::path;

/// Where the packages of Debian, Ubuntu, Fedora and RHEL put them.
pub(super) const DIRECTORY: &str = "usr/lib/grub/i386-pc";
/// What brings them.
const PACKAGE: &str = "`grub-pc-bin` (Debian, Ubuntu) or `grub2-pc-modules` (Fedora, RHEL)";
/// More than any list has, in bytes.
const MAX_LIST: u64 = 256 << 10;
/// More than any module has, in bytes.
const MAX_MODULE: u64 = 1 << 20;
/// More modules than GRUB has.
const MAX_COUNT: usize = 1024;

/// An error about a file of the directory.
pub(super) fn invalid(name: &str, reason: &'static str) -> GrubError {
    GrubError::Invalid { path: path(&format!("{DIRECTORY}/{name}")), reason }
}

/// The directory of modules of a tree.
pub(super) struct Modules<'a> {
    tree: &'a Tree,
}

impl<'a> Modules<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree }
    }

    /// A file of the directory.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, GrubError> {
        let path = path(&format!("{DIRECTORY}/{name}"));
        self.tree.read(&path, limit)?.ok_or(GrubError::Missing { path, package: PACKAGE })
    }

    /// Names of all files, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let directory = self.tree.lookup(&path(DIRECTORY), Follow::Last);
        let entries = directory.and_then(|id| self.tree.inode(id).as_directory());
        let names = entries.into_iter().flat_map(Directory::iter);
        names.filter_map(|(name, _)| String::from_utf8(name.to_vec()).ok()).collect()
    }

    pub(super) fn has(&self, module: &str) -> bool {
        self.tree.lookup(&path(&format!("{DIRECTORY}/{module}.mod")), Follow::Last).is_some()
    }

    /// Where GRUB looks for modules at run time: everything that `grub-install` copies from here.
    pub(super) fn copied_files(&self) -> Vec<(String, TreePath)> {
        let wanted = |name: &str| {
            [".mod", ".lst", ".o"].iter().any(|suffix| name.ends_with(suffix)) || name == "modinfo.sh"
        };
        let names = self.names().into_iter().filter(|name| wanted(name));
        let directory = path(DIRECTORY);
        names.map(|name| (name.clone(), directory.join(name.as_bytes()))).collect()
    }

    /// The modules with all that they need, each behind what it needs.
    pub(super) fn closure(&self, wanted: &[&str]) -> Result<Vec<Vec<u8>>, GrubError> {
        let list = self.read("moddep.lst", MAX_LIST)?;
        let list = String::from_utf8(list).map_err(|_| invalid("moddep.lst", "it holds no plain text"))?;
        let names = closure(&list, wanted).map_err(|reason| invalid("moddep.lst", reason))?;
        let (mut modules, mut size) = (Vec::new(), 0);
        for name in names {
            let module = self.read(&format!("{name}.mod"), MAX_MODULE)?;
            size += module.len();
            if size > MAX_OBJECTS {
                return Err(GrubError::CoreTooLarge { size, limit: MAX_OBJECTS });
            }
            modules.push(module);
        }
        Ok(modules)
    }
}

/// The order in which `grub-mkimage` puts modules: depth first, the last dependency of a line before the others.
/// (Any order in which each follows its needs would do; the same one can be compared.)
fn closure(list: &str, wanted: &[&str]) -> Result<Vec<String>, &'static str> {
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.trim().is_empty()) {
        let (name, rest) = line.split_once(':').ok_or("a line has no colon")?;
        needs.insert(name, rest.split_whitespace().collect());
    }
    let valid = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed)
    };
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for name in wanted {
        // Modules whose needs are being met, with those needs that are left.
        let mut way: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut next = Some(*name);
        loop {
            if let Some(name) = next.take().filter(|name| seen.insert(*name)) {
                if !valid(name) || seen.len() > MAX_COUNT {
                    return Err("it names something that is no module");
                }
                way.push((name, needs.get(name).cloned().unwrap_or_default()));
            }
            let Some((name, left)) = way.last_mut() else { break };
            next = left.pop();
            if next.is_none() {
                order.push((*name).to_owned());
                way.pop();
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_follow_what_they_need() {
        let list = "normal: extcmd boot\nextcmd:\nboot: extcmd disk\ndisk:\nlinux: boot normal\n";
        assert_eq!(
            closure(list, &["linux", "disk", "unlisted"]).unwrap(),
            ["disk", "extcmd", "boot", "normal", "linux", "unlisted"]
        );
    }

    #[test]
    fn hostile_lists_end() {
        assert_eq!(closure("a: b\nb: a\n", &["a"]).unwrap(), ["b", "a"]);
        let chain: String = (0..20_000).map(|i| format!("m{i}: m{}\n", i + 1)).collect();
        assert!(closure(&chain, &["m0"]).is_err());
        for list in ["a: ../../etc/shadow\n", "a: b/c\n", "a b\n", "a: \0\n"] {
            assert!(closure(list, &["a"]).is_err(), "{list:?}");
        }
    }
}
