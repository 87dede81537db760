//! How the image boots: kernel, initrd and loader of the tree, the EFI system partition that holds them, and
//! the lines of `fstab` that mount both file systems.

use std::collections::BTreeMap;

use bake_boot::entries;
use bake_boot::initrd;
use bake_boot::kernel::Kernel;
use bake_boot::uki;
use bake_boot::{Architecture, OsRelease};
use bake_fs::fat;
use bake_tree::{Content, Follow, Metadata, Node, Timestamp, Tree, TreePath};

use crate::compose::Decisions;
use crate::host::Growth;
use crate::profile::Loader;
use crate::{Error, ImageSpec};

/// What [`make`] decided.
#[derive(Debug)]
pub(crate) struct Bootable {
    pub architecture: Architecture,
    pub kernel: String,
    pub command_line: String,
    pub esp_files: Vec<fat::File>,
    pub esp_directories: Vec<fat::Directory>,
    /// Mount points and their lines.
    pub fstab: Vec<(String, String)>,
}

/// What the loader needs on the EFI system partition.
struct Partition {
    mount: TreePath,
    files: Vec<(TreePath, Content)>,
    directories: Vec<TreePath>,
}

/// Finds out how the tree boots, and edits it accordingly. Whatever the tree holds where the EFI system
/// partition will be mounted moves there.
///
/// # Errors
/// When a kernel, an initrd, a driver or the loader is missing.
pub(crate) fn make(
    tree: &mut Tree,
    decisions: &Decisions,
    os_release: &OsRelease,
    spec: &ImageSpec,
) -> Result<Bootable, Error> {
    let profile = &decisions.profile;
    let kernel = Kernel::find(tree, None)?;
    let architecture = kernel.architecture;
    if let Some(asked) = spec.arch.filter(|asked| *asked != architecture) {
        let version = &kernel.version;
        return Err(Error::Policy(format!(
            "kernel {version} is for {architecture}, but --arch asks for {asked}"
        )));
    }
    let initrd = kernel.initrd(tree)?;
    let drivers: Vec<&str> = profile.boot.drivers.of(architecture).iter().map(String::as_str).collect();
    let facts = initrd::check(tree, &kernel, &initrd.0, &initrd.1, &drivers)?;

    // An initrd with systemd finds the root on the disk it was started from, by partition type: no id to
    // change on first boot. Any other needs to be told.
    let root = format!("UUID={}", decisions.root_uuid());
    spec.policy.kernel.args.iter().try_for_each(|argument| check_argument(argument))?;
    let by_type = facts.finds_root_by_type;
    let root_argument = (!by_type).then(|| format!("root={root}"));
    let arguments = profile.boot.kernel_args.of(architecture).iter().chain(&spec.policy.kernel.args);
    let command_line =
        root_argument.iter().chain(arguments).map(String::as_str).collect::<Vec<_>>().join(" ");

    let files = match decisions.loader {
        Loader::SystemdBoot => {
            let options = entries::Options { command_line: &command_line, timeout: None, token: None };
            let files = entries::install(tree, &kernel, &[initrd], &options)?;
            files.edit(tree)?;
            Partition { mount: files.mount_point, files: files.esp, directories: files.esp_directories }
        }
        Loader::Unified => {
            unified(tree, &kernel, initrd.1, &command_line, os_release, &profile.disk.esp_mount)?
        }
    };
    let mount = files.mount.to_string();
    let (esp_files, esp_directories) = move_to_esp(tree, files, decisions)?;
    let grow = if decisions.growth == Growth::Repart { ",x-systemd.growfs" } else { "" };
    let source = if by_type { "/dev/gpt-auto-root" } else { &root };
    let serial = decisions.esp_serial();
    let esp = format!("UUID={:04X}-{:04X}", serial >> 16, serial & 0xffff);
    let fstab = vec![
        ("/".to_owned(), format!("{source} / ext4 defaults{grow} 0 1")),
        (mount.clone(), format!("{esp} {mount} vfat umask=0077 0 2")),
    ];
    Ok(Bootable { architecture, kernel: kernel.version, command_line, esp_files, esp_directories, fstab })
}

/// Refuses kernel arguments that would not arrive as they are, or that contradict what is decided here.
fn check_argument(argument: &str) -> Result<(), Error> {
    let wrong =
        |reason| Err(Error::Policy(format!("the kernel argument `{}` {reason}", argument.escape_debug())));
    if argument.is_empty() || argument.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return wrong("is empty or holds white space: give each argument by itself");
    }
    if argument.starts_with("root=") {
        return wrong("names a root: the image's own is found without");
    }
    Ok(())
}

/// One program that the firmware starts, with everything in it.
fn unified(
    tree: &Tree,
    kernel: &Kernel,
    initrd: Content,
    command_line: &str,
    os_release: &OsRelease,
    mount: &str,
) -> Result<Partition, Error> {
    let stub = uki::find_stub(tree, kernel.architecture)?;
    let image =
        uki::compose(&uki::Parts { stub: &stub, kernel, initrds: &[initrd], command_line, os_release })?;
    let name = format!("EFI/BOOT/BOOT{}.EFI", kernel.architecture.efi_suffix().to_ascii_uppercase());
    let files = vec![(TreePath::from_root(name.as_bytes())?, image)];
    Ok(Partition { mount: TreePath::from_root(mount.as_bytes())?, files, directories: Vec::new() })
}

/// The content of the EFI system partition: what the tree has at its mount point, and `files` over it.
fn move_to_esp(
    tree: &mut Tree,
    partition: Partition,
    decisions: &Decisions,
) -> Result<(Vec<fat::File>, Vec<fat::Directory>), Error> {
    let Partition { mount, files, directories } = partition;
    let epoch = decisions.epoch;
    let mtime = epoch.timestamp();
    let mut spelled = Spelling::default();
    let mut esp_files = Vec::new();
    for (path, content) in files {
        spelled.claim(&path);
        esp_files.push(fat::File { path, content, mtime });
    }
    let mut esp_directories = Vec::new();
    for path in directories {
        spelled.claim(&path);
        esp_directories.push(fat::Directory { path, mtime });
    }
    let there = tree.lookup(&mount, Follow::Parents);
    if let Some(other) =
        there.map(|id| &tree.inode(id).node).filter(|node| !matches!(node, Node::Directory(_)))
    {
        let found = other.describe();
        return Err(Error::Policy(format!(
            "`{mount}` of the tree is {found}: expected a directory to mount on"
        )));
    }
    let below = there.map(|id| tree.walk_from(id)).into_iter().flatten();
    let mut top = Vec::new();
    for (path, id) in below.filter(|(path, _)| !path.is_root()) {
        let inode = tree.inode(id);
        let mtime: Timestamp = epoch.clamp(inode.metadata.mtime);
        // The loader's own files win over what the tree has, and its spelling of directories too.
        match (&inode.node, spelled.claim(&path)) {
            (Node::Directory(_), Some(path)) => esp_directories.push(fat::Directory { path, mtime }),
            (Node::File(content), Some(path)) => {
                esp_files.push(fat::File { path, content: content.clone(), mtime });
            }
            (Node::Directory(_) | Node::File(_), None) => {}
            (other, _) => {
                let message = format!(
                    "`{mount}{path}` of the tree is {}, which an EFI system partition cannot hold",
                    other.describe()
                );
                return Err(Error::Policy(message));
            }
        }
        if path.components().count() == 1 {
            top.push(path);
        }
    }
    for path in top {
        tree.remove(&mount.join(path.as_bytes()));
    }
    tree.make_directory(&mount, Metadata::root(0o755))?;
    Ok((esp_files, esp_directories))
}

/// Which names are taken on a file system that keeps the case of names and ignores it.
#[derive(Default)]
struct Spelling(BTreeMap<Vec<u8>, TreePath>);

impl Spelling {
    /// Takes a path, in the spelling that its parents have already; nothing when it is taken in any spelling.
    fn claim(&mut self, path: &TreePath) -> Option<TreePath> {
        let mut spelled = TreePath::root();
        let mut fresh = false;
        for name in path.components() {
            let wanted = spelled.join(name);
            let folded = wanted.as_bytes().to_ascii_lowercase();
            fresh = !self.0.contains_key(&folded);
            spelled = self.0.entry(folded).or_insert(wanted).clone();
        }
        fresh.then_some(spelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_esp_differ_by_more_than_case() {
        let path = |text: &str| TreePath::from_root(text.as_bytes()).unwrap();
        let mut spelled = Spelling::default();
        assert_eq!(spelled.claim(&path("EFI/BOOT/BOOTX64.EFI")), Some(path("EFI/BOOT/BOOTX64.EFI")));
        assert_eq!(spelled.claim(&path("efi")), None);
        assert_eq!(spelled.claim(&path("efi/boot/bootx64.efi")), None);
        assert_eq!(spelled.claim(&path("efi/boot/fallback.efi")), Some(path("EFI/BOOT/fallback.efi")));
        assert_eq!(spelled.claim(&path("efi/vendor")), Some(path("EFI/vendor")));
    }
}
