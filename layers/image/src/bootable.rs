//! How the image boots: kernel, initrd and loader of the tree, the EFI system partition that holds them, and
//! the lines of `fstab` that mount the file systems.
//!
//! That takes two steps. [`make`] does all that changes the tree. [`Esp::fill`] does the rest once the whole command
//! line is known: it may name the hash of what the tree holds.

use std::collections::BTreeMap;

use bake_boot::entries;
use bake_boot::grub::{self, bios};
use bake_boot::initrd::compose::{Composed, Init, Options, compose};
use bake_boot::initrd::{self, Facts, InitrdError};
use bake_boot::kernel::{Kernel, KernelError};
use bake_boot::uki;
use bake_boot::{Architecture, OsRelease};
use bake_fs::fat;
use bake_tree::{Content, Follow, Metadata, Node, Timestamp, Tree, TreePath};

use crate::compose::Decisions;
use crate::disk;
use crate::host::Growth;
use crate::immutable::Immutable;
use crate::profile::Loader;
use crate::signing::{self, Signed, Signing};
use crate::{Error, ImageSpec};

/// What [`make`] decided.
#[derive(Debug)]
pub(crate) struct Bootable {
    pub architecture: Architecture,
    pub kernel: String,
    /// All of it but what depends on the tree's content.
    pub command_line: String,
    pub esp: Esp,
    /// Mount points and their lines.
    pub fstab: Vec<(String, String)>,
    /// What a BIOS starts, if one can.
    pub bios: Option<bios::BiosBoot>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// The EFI system partition, before it is filled.
#[derive(Debug)]
pub(crate) struct Esp {
    mount: TreePath,
    kernel: Kernel,
    initrd: (TreePath, Content),
    /// What GRUB needs, which has its command line on the root file system.
    grub: LoaderFiles,
    /// What the tree had in its place.
    moved: Vec<Moved>,
}

/// The content of the EFI system partition.
#[derive(Debug)]
pub(crate) struct Filled {
    pub files: Vec<fat::File>,
    pub directories: Vec<fat::Directory>,
    /// Programs that were signed.
    pub signed: Vec<Signed>,
}

/// What the loader needs on the EFI system partition.
#[derive(Debug, Default)]
struct LoaderFiles {
    files: Vec<(TreePath, Content)>,
    directories: Vec<TreePath>,
}

/// A file of the tree, or a directory, that moves to the EFI system partition.
#[derive(Debug)]
struct Moved {
    path: TreePath,
    content: Option<Content>,
    mtime: Timestamp,
}

/// The initrd that the kernel gets.
struct Initrd {
    file: (TreePath, Content),
    facts: Facts,
    /// What a person should know of it.
    notes: Vec<String>,
}

/// The first of the loaders that the tree has; the first one of all if it has none, which then says what it lacks.
/// `verified`: GRUB does not count.
pub(crate) fn choose(tree: &Tree, loaders: &[Loader], verified: bool) -> Loader {
    let loaders: Vec<Loader> =
        loaders.iter().copied().filter(|loader| !verified || *loader != Loader::Grub).collect();
    let has = |loader: &Loader| {
        let places: &[&str] = match loader {
            Loader::SystemdBoot | Loader::Unified => &["usr/lib/systemd/boot/efi"],
            Loader::Grub => &["usr/lib/grub", "boot/grub2"],
        };
        let there = |place: &&str| {
            let path = TreePath::from_root(place.as_bytes()).expect("it is a constant");
            tree.lookup(&path, Follow::Last).is_some()
        };
        places.iter().any(there)
    };
    let found = loaders.iter().find(|loader| has(loader)).or(loaders.first());
    found.copied().unwrap_or(Loader::SystemdBoot)
}

/// Finds out how the tree boots, and edits it accordingly. Whatever the tree holds where the EFI system
/// partition will be mounted moves there.
///
/// # Errors
/// When a kernel, an initrd, a driver or the loader is missing.
pub(crate) fn make(
    tree: &mut Tree,
    decisions: &Decisions,
    spec: &ImageSpec,
    threads: usize,
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
    let Initrd { file: initrd, facts, notes: mut warnings } =
        suitable_initrd(tree, &kernel, decisions, threads)?;

    // An initrd with systemd finds the root on the disk it was started from, by partition type, if the loader tells
    // which disk that is: no id to change on first boot. Any other needs to be told.
    let root = format!("PARTUUID={}", decisions.partition_guid("root"));
    spec.policy.kernel.args.iter().try_for_each(|argument| check_argument(argument))?;
    let by_type = facts.finds_root_by_type && decisions.loader != Loader::Grub;
    let is_read_only = decisions.is_root_read_only();
    let root_argument = (!by_type && !is_read_only).then(|| format!("root={root}"));
    let of_profile =
        profile.boot.kernel_args.of(architecture).iter().filter(|word| !is_read_only || *word != "rw");
    let arguments = of_profile.chain(&spec.policy.kernel.args);
    let command_line =
        root_argument.iter().chain(arguments).map(String::as_str).collect::<Vec<_>>().join(" ");

    let mut bios = None;
    let mut grub = LoaderFiles::default();
    let mount = match decisions.loader {
        Loader::Grub => {
            if spec.signing.is_some() {
                let message = "GRUB and shim are signed by the distribution: choose another loader for keys of your \
                               own";
                return Err(Error::Policy(message.to_owned()));
            }
            let boots_bios = disk::has_bios_partition(decisions, architecture);
            let options = grub::Options {
                style: profile.boot.grub,
                command_line: &command_line,
                timeout: None,
                token: None,
                root_partition: disk::numbers(decisions, boots_bios).1,
                file_system: "ext2",
                bios: boots_bios,
                uefi: true,
            };
            let installed = grub::install(tree, &kernel, std::slice::from_ref(&initrd), &options)?;
            if boots_bios {
                let modules: Vec<&str> = installed.modules.iter().map(String::as_str).collect();
                let (start, sectors) = disk::BIOS_SECTORS;
                let options = bios::Options {
                    prefix: &installed.prefix,
                    modules: &modules,
                    config: None,
                    start,
                    sectors,
                };
                bios = Some(bios::compose(tree, &options)?);
            }
            installed.edit(tree)?;
            warnings.extend(installed.warnings);
            let files = installed.files;
            grub = LoaderFiles { files: files.esp, directories: files.esp_directories };
            files.mount_point
        }
        Loader::SystemdBoot => {
            let files = systemd_boot(tree, &kernel, &initrd, &command_line)?;
            // Where /usr is read-only, no package brings another kernel; and its entry would lack the root hash.
            if decisions.immutable.is_none() {
                files.edit(tree)?;
            }
            files.mount_point
        }
        Loader::Unified => {
            uki::find_stub(tree, architecture)?;
            TreePath::from_root(profile.disk.esp_mount.as_bytes())?
        }
    };
    let moved = move_from(tree, &mount, decisions)?;
    let point = mount.to_string();
    let esp = format!("PARTUUID={}", decisions.partition_guid("esp"));
    let mut fstab = match decisions.immutable.filter(|_| is_read_only) {
        Some(immutable) => immutable.fstab(decisions.partition_guid("var"), &spec.policy),
        None => {
            let grow = if decisions.growth == Growth::Repart { ",x-systemd.growfs" } else { "" };
            let source = if by_type { "/dev/gpt-auto-root" } else { &root };
            vec![("/".to_owned(), format!("{source} / ext4 defaults{grow} 0 1"))]
        }
    };
    fstab.push((point.clone(), format!("{esp} {point} vfat umask=0077 0 2")));
    let version = kernel.version.clone();
    let esp = Esp { mount, kernel, initrd, grub, moved };
    Ok(Bootable { architecture, kernel: version, command_line, esp, fstab, bios, warnings })
}

impl Esp {
    /// Where it is mounted.
    pub fn mount(&self) -> String {
        self.mount.to_string()
    }

    /// Its content: what the loader needs for the whole command line that was decided, signed if it is to be, and what
    /// the tree has had in its place.
    ///
    /// # Errors
    /// When the loader is missing, or cannot be signed.
    pub fn fill(
        self,
        tree: &Tree,
        decisions: &Decisions,
        os_release: &OsRelease,
        signing: Option<&Signing>,
    ) -> Result<Filled, Error> {
        let Self { kernel, initrd, grub, moved, .. } = self;
        let command_line = &decisions.command_line;
        let mut loader = match decisions.loader {
            Loader::Grub => grub,
            Loader::SystemdBoot => {
                let files = systemd_boot(tree, &kernel, &initrd, command_line)?;
                LoaderFiles { files: files.esp, directories: files.esp_directories }
            }
            Loader::Unified => unified(tree, &kernel, initrd.1, command_line, os_release)?,
        };
        let mut signed = Vec::new();
        if let Some(signing) = signing {
            let owner = decisions.ids.uuid("secure boot owner");
            signed = signing::apply(signing, &mut loader.files, decisions.epoch, owner)?;
        }
        let (files, directories) = merge(loader, moved, decisions);
        Ok(Filled { files, directories, signed })
    }
}

fn systemd_boot(
    tree: &Tree,
    kernel: &Kernel,
    initrd: &(TreePath, Content),
    command_line: &str,
) -> Result<entries::BootFiles, Error> {
    let options = entries::Options { command_line, timeout: None, token: None };
    Ok(entries::install(tree, kernel, std::slice::from_ref(initrd), &options)?)
}

/// The initrd that the tree has for its kernel, or one made of the tree's own files where it has none, or one that
/// lacks a driver or what sets a verified device up.
fn suitable_initrd(
    tree: &mut Tree,
    kernel: &Kernel,
    decisions: &Decisions,
    threads: usize,
) -> Result<Initrd, Error> {
    let boot = &decisions.profile.boot;
    let of_profile = boot.drivers.of(kernel.architecture).iter().map(String::as_str);
    let of_verity = decisions.immutable.map(Immutable::drivers);
    let drivers: Vec<&str> = of_profile.chain(of_verity.into_iter().flatten()).collect();
    let version = &kernel.version;
    let (at, why) = match kernel.initrd(tree) {
        Ok((path, content)) => match initrd::check(tree, kernel, &path, &content, &drivers) {
            Ok(facts) => {
                if decisions.immutable.is_none() || initrd::verifies(&path, &content)? {
                    return Ok(Initrd { file: (path, content), facts, notes: Vec::new() });
                }
                (path, "the root file system's sets no verified devices up".to_owned())
            }
            Err(InitrdError::Missing { drivers, .. }) => {
                let lacks = format!("the root file system's lacks {}", drivers.join(", "));
                (path, lacks)
            }
            Err(error) => return Err(error.into()),
        },
        Err(KernelError::NoInitrd { .. }) => {
            let name = match boot.grub {
                grub::Style::Debian => format!("boot/initrd.img-{version}"),
                grub::Style::RedHat => format!("boot/initramfs-{version}.img"),
            };
            (TreePath::from_root(name.as_bytes())?, "the root file system has none".to_owned())
        }
        Err(error) => return Err(error.into()),
    };
    // Nothing but systemd knows what the command line says of verified devices, which kernels may hash by any of these.
    let (init, optional): (_, &[&str]) =
        if decisions.immutable.is_some() { (Some(Init::Systemd), &["crypto-sha256"]) } else { (None, &[]) };
    let options = Options { drivers: &drivers, optional, epoch: decisions.epoch, init, threads };
    let Composed { content, facts, init, mut notes, .. } = compose(tree, kernel, &options)?;
    tree.write(&at, Metadata::root(0o600), content.clone())?;
    notes.insert(0, format!("made the initrd `{at}` with {init:?} of the tree's own files: {why}"));
    Ok(Initrd { file: (at, content), facts, notes })
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
    if ["roothash=", "usrhash=", "mount.usr="].iter().any(|word| argument.starts_with(word)) {
        return wrong("names what is verified: --read-only (`read-only`) says that");
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
) -> Result<LoaderFiles, Error> {
    let stub = uki::find_stub(tree, kernel.architecture)?;
    let image =
        uki::compose(&uki::Parts { stub: &stub, kernel, initrds: &[initrd], command_line, os_release })?;
    let name = format!("EFI/BOOT/BOOT{}.EFI", kernel.architecture.efi_suffix().to_ascii_uppercase());
    let files = vec![(TreePath::from_root(name.as_bytes())?, image)];
    Ok(LoaderFiles { files, directories: Vec::new() })
}

/// Takes out of the tree what it has where the EFI system partition will be mounted.
fn move_from(tree: &mut Tree, mount: &TreePath, decisions: &Decisions) -> Result<Vec<Moved>, Error> {
    let there = tree.lookup(mount, Follow::Parents);
    if let Some(other) =
        there.map(|id| &tree.inode(id).node).filter(|node| !matches!(node, Node::Directory(_)))
    {
        let found = other.describe();
        return Err(Error::Policy(format!(
            "`{mount}` of the tree is {found}: expected a directory to mount on"
        )));
    }
    let below = there.map(|id| tree.walk_from(id)).into_iter().flatten();
    let (mut moved, mut top) = (Vec::new(), Vec::new());
    for (path, id) in below.filter(|(path, _)| !path.is_root()) {
        let inode = tree.inode(id);
        let content = match &inode.node {
            Node::Directory(_) => None,
            Node::File(content) => Some(content.clone()),
            other => {
                let message = format!(
                    "`{mount}{path}` of the tree is {}, which an EFI system partition cannot hold",
                    other.describe()
                );
                return Err(Error::Policy(message));
            }
        };
        if path.components().count() == 1 {
            top.push(path.clone());
        }
        moved.push(Moved { path, content, mtime: decisions.epoch.clamp(inode.metadata.mtime) });
    }
    for path in top {
        tree.remove(&mount.join(path.as_bytes()));
    }
    tree.make_directory(mount, Metadata::root(0o755))?;
    Ok(moved)
}

/// What the loader needs, and what the tree has had. The loader's own files win, and its spelling of directories too.
fn merge(
    loader: LoaderFiles,
    moved: Vec<Moved>,
    decisions: &Decisions,
) -> (Vec<fat::File>, Vec<fat::Directory>) {
    let mtime = decisions.epoch.timestamp();
    let mut spelled = Spelling::default();
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for (path, content) in loader.files {
        spelled.claim(&path);
        files.push(fat::File { path, content, mtime });
    }
    for path in loader.directories {
        spelled.claim(&path);
        directories.push(fat::Directory { path, mtime });
    }
    for Moved { path, content, mtime } in moved {
        match (content, spelled.claim(&path)) {
            (Some(content), Some(path)) => files.push(fat::File { path, content, mtime }),
            (None, Some(path)) => directories.push(fat::Directory { path, mtime }),
            (_, None) => {}
        }
    }
    (files, directories)
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
