//! GRUB for UEFI: the vendor's signed shim and GRUB, where firmware finds them without a boot entry.
//!
//! On the EFI system partition, `EFI/BOOT` gets shim under the name that firmware looks for, with GRUB and
//! MokManager beside it, under the names that shim looks for. Shim's fallback program (`fbx64.efi`) stays away:
//! shim would start it instead of GRUB, to make boot entries and reset the machine.
//!
//! A signed GRUB reads one configuration: in the directory that its vendor built in (`/EFI/debian`) of the
//! partition that it was loaded from. That file finds root by the drive it lies on itself (`$cmdpath`), not by
//! an id that a clone has too, and goes on with the configuration there, which the distribution's own tools
//! maintain. Versions of GRUB that look beside themselves first find the same there.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{Content, Directory, Follow, Node, Tree, TreePath};

use super::{GrubError, sbat, signed};
use crate::{Architecture, path};

/// Where RPMs put files for the EFI system partition.
const MOUNTED: &str = "boot/efi";
/// What brings shim and GRUB.
const PACKAGES: &str = "`shim-signed` and `grub-efi-amd64-signed` or `grub-efi-arm64-signed` (Debian, Ubuntu), \
                        `shim-x64` and `grub2-efi-x64` or `shim-aa64` and `grub2-efi-aa64` (Fedora, RHEL)";
/// What every configuration uses; the file system of root comes to it.
const NEEDED: [&str; 6] = ["configfile", "linux", "normal", "part_gpt", "regexp", "test"];

/// Files of the EFI system partition, and what the signed GRUB can do.
#[derive(Debug)]
pub(super) struct EfiFiles {
    pub files: BTreeMap<TreePath, Content>,
    /// Modules that are built in.
    pub modules: BTreeSet<String>,
    pub warnings: Vec<String>,
}

/// Programs of a vendor.
struct Programs {
    shim: (TreePath, Content),
    grub: (TreePath, Content),
    mok_manager: (TreePath, Content),
}

/// Everything for starting GRUB, which then goes on at `directory` of root, partition `root_partition`.
pub(super) fn install(
    tree: &Tree,
    architecture: Architecture,
    directory: &str,
    root_partition: u32,
    file_system: &str,
) -> Result<EfiFiles, GrubError> {
    let suffix = architecture.efi_suffix();
    let programs = find(tree, architecture)?;
    let (grub_path, grub) = &programs.grub;
    let built_in = signed::read(grub).map_err(GrubError::program(grub_path))?;
    let missing: Vec<_> =
        NEEDED.into_iter().chain([file_system]).filter(|name| !built_in.modules.contains(*name)).collect();
    if !missing.is_empty() {
        let modules = missing.join("`, `");
        return Err(GrubError::LacksModules { path: grub_path.clone(), modules });
    }
    let prefix = built_in.prefix.as_deref().and_then(|prefix| {
        let prefix = prefix.strip_prefix('/').filter(|prefix| !prefix.is_empty())?;
        TreePath::from_root(prefix.as_bytes()).ok()
    });
    let prefix = prefix.ok_or_else(|| GrubError::Prefix {
        path: grub_path.clone(),
        found: built_in.prefix.clone().unwrap_or_default(),
    })?;
    let warnings = check_revocation(&programs)?;

    let mut files = mounted_files(tree);
    let stub = Content::bytes(stub(directory, root_partition).into_bytes());
    let boot = path("EFI/BOOT");
    let loader = format!("BOOT{}.EFI", suffix.to_ascii_uppercase());
    files.insert(boot.join(loader.as_bytes()), programs.shim.1);
    files.insert(boot.join(format!("grub{suffix}.efi").as_bytes()), programs.grub.1);
    files.insert(boot.join(format!("mm{suffix}.efi").as_bytes()), programs.mok_manager.1);
    files.insert(boot.join(b"grub.cfg"), stub.clone());
    files.insert(prefix.join(b"grub.cfg"), stub);
    Ok(EfiFiles { files, modules: built_in.modules, warnings })
}

/// The configuration on the EFI system partition. (RPMs know by the word `configfile` that it is no menu.)
fn stub(directory: &str, root_partition: u32) -> String {
    format!(
        "# Finds root on the drive that this is on, whatever else is attached.\n\
         regexp --set=1:drive '^\\(([^,)]+)' \"$cmdpath\"\n\
         set root=\"$drive,gpt{root_partition}\"\n\
         set prefix=($root)/{directory}\n\
         configfile $prefix/grub.cfg\n"
    )
}

/// The programs, where packages put them.
fn find(tree: &Tree, architecture: Architecture) -> Result<Programs, GrubError> {
    let suffix = architecture.efi_suffix();
    let platform = match architecture {
        Architecture::X86_64 => "x86_64-efi",
        Architecture::Arm64 => "arm64-efi",
    };
    // Debian and Ubuntu; the latter's MokManager has its signature in the plain file.
    let shim = format!("usr/lib/shim/shim{suffix}.efi.signed");
    let mut places = vec![(
        shim.clone(),
        format!("usr/lib/grub/{platform}-signed/grub{suffix}.efi.signed"),
        vec![format!("usr/lib/shim/mm{suffix}.efi.signed"), format!("usr/lib/shim/mm{suffix}.efi")],
    )];
    for vendor in vendors(tree) {
        let place = |name: &str| format!("{MOUNTED}/EFI/{vendor}/{name}{suffix}.efi");
        places.push((place("shim"), place("grub"), vec![place("mm")]));
    }
    let file = |name: &str| -> Result<Option<(TreePath, Content)>, GrubError> {
        let path = path(name);
        Ok(tree.file(&path)?.cloned().map(|content| (path, content)))
    };
    let missing = |name: &str| GrubError::Missing { path: path(name), package: PACKAGES };
    for (shim, grub, mok_managers) in places {
        let Some(shim) = file(&shim)? else { continue };
        let grub = file(&grub)?.ok_or_else(|| missing(&grub))?;
        let mut mok_manager = None;
        for name in &mok_managers {
            mok_manager = mok_manager.or(file(name)?);
        }
        let mok_manager = mok_manager.ok_or_else(|| missing(&mok_managers[0]))?;
        return Ok(Programs { shim, grub, mok_manager });
    }
    Err(missing(&shim))
}

/// Vendors' directories among what RPMs bring, in order.
fn vendors(tree: &Tree) -> Vec<String> {
    let directory = tree.lookup(&path(MOUNTED).join(b"EFI"), Follow::Last);
    let entries = directory.and_then(|id| tree.inode(id).as_directory());
    let names = entries.into_iter().flat_map(Directory::iter);
    let names = names.filter_map(|(name, _)| String::from_utf8(name.to_vec()).ok());
    names.filter(|name| !name.eq_ignore_ascii_case("BOOT")).collect()
}

/// What RPMs bring for the EFI system partition: it hides the directory that they put it into, and they go on
/// to keep it up to date there. `EFI/BOOT` is ours, and old configurations are none.
fn mounted_files(tree: &Tree) -> BTreeMap<TreePath, Content> {
    let mut files = BTreeMap::new();
    for vendor in vendors(tree) {
        let directory = path("EFI").join(vendor.as_bytes());
        let Some(id) = tree.lookup(&path(MOUNTED).join(directory.as_bytes()), Follow::Last) else { continue };
        for (below, id) in tree.walk_from(id) {
            let is_state = matches!(below.as_bytes(), b"grub.cfg" | b"grubenv");
            if let (Node::File(content), false) = (&tree.inode(id).node, is_state || below.is_root()) {
                files.insert(directory.join(below.as_bytes()), content.clone());
            }
        }
    }
    files
}

/// Refuses a GRUB that this shim would not start on a machine whose firmware remembers nothing newer; warns of
/// one that it would not start on machines with today's list of revocations.
fn check_revocation(programs: &Programs) -> Result<Vec<String>, GrubError> {
    let (shim_path, shim) = &programs.shim;
    let Some(levels) = sbat::levels(shim).map_err(GrubError::program(shim_path))? else {
        return Ok(vec![format!(
            "`{shim_path}` does not say what it revokes: expected shim 15.6 or later, so that Secure Boot can be \
             foretold"
        )]);
    };
    let mut warnings = Vec::new();
    for (path, program) in [&programs.grub, &programs.mok_manager] {
        let components = sbat::components(program).map_err(GrubError::program(path))?;
        let components = components.ok_or_else(|| GrubError::NoSbat { path: path.clone() })?;
        if let Some(revoked) = sbat::revoked(&components, &levels.automatic) {
            return Err(GrubError::Revoked {
                path: path.clone(),
                component: revoked.component.name,
                generation: revoked.component.generation,
                needed: revoked.needed,
            });
        }
        if let Some(revoked) = sbat::revoked(&components, &levels.latest) {
            warnings.push(format!(
                "`{path}` has generation {} of `{}`: machines to which shim's latest revocations were applied demand \
                 {} under Secure Boot; a later package may have it",
                revoked.component.generation, revoked.component.name, revoked.needed
            ));
        }
    }
    Ok(warnings)
}
