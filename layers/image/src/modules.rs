//! Kernel modules that an overlay brings: checked against the kernel, and entered into its module indexes.

use bake_boot::depmod::Modules;
use bake_boot::kernel::Kernel;
use bake_tree::{Follow, LayerId, Metadata, Tree, TreePath};

use crate::Error;
use crate::profile::PerArchitecture;

/// The first layer above the root file system.
const FIRST_OVERLAY: LayerId = LayerId(1);

/// Recomputes the indexes of every kernel for which a layer above the root file system has modules.
///
/// # Errors
/// When a module was built for another kernel, would have to be in the initrd (one of `drivers`, or what they
/// need), or belongs to a kernel that is not there.
pub(crate) fn integrate(tree: &mut Tree, drivers: &PerArchitecture, threads: usize) -> Result<(), Error> {
    let brought = versions_with_new_modules(tree)?;
    if brought.is_empty() {
        return Ok(());
    }
    let kernels = Kernel::find_all(tree)?;
    for version in brought {
        let Some(kernel) = kernels.iter().find(|kernel| kernel.version == version) else {
            let there =
                kernels.iter().map(|kernel| format!("`{}`", kernel.version)).collect::<Vec<_>>().join(", ");
            let message =
                format!("an overlay has modules for the kernel `{version}`, but the tree has {there}");
            return Err(Error::Policy(message));
        };
        let modules = Modules::load(tree, kernel, threads)?;
        modules.check(FIRST_OVERLAY)?;
        let drivers: Vec<_> = drivers.of(kernel.architecture).iter().map(String::as_str).collect();
        modules.check_initrd(FIRST_OVERLAY, &drivers)?;
        for (path, content) in modules.files()? {
            tree.write(&path, Metadata::root(0o644), content)?;
        }
    }
    Ok(())
}

/// Kernel versions below `/usr/lib/modules` with a module of a layer above the root file system, in order.
fn versions_with_new_modules(tree: &Tree) -> Result<Vec<String>, Error> {
    let root = TreePath::from_root(b"lib/modules")?;
    let Some(directory) = tree.lookup(&root, Follow::Last).and_then(|id| tree.inode(id).as_directory())
    else {
        return Ok(Vec::new());
    };
    let is_new_module = |path: &TreePath, layer: LayerId| {
        let name =
            path.split().map(|(_, name)| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        let plain =
            [".xz", ".zst", ".gz"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        layer >= FIRST_OVERLAY && plain.strip_suffix(".ko").is_some()
    };
    let has_new = |id| tree.walk_from(id).any(|(path, id)| is_new_module(&path, tree.inode(id).layer()));
    let versions = directory.iter().filter(|(_, id)| has_new(*id));
    Ok(versions.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect())
}
