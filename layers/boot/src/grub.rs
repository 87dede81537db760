//! GRUB, on BIOS and UEFI, without running any of its programs: everything is computed from what the tree's own
//! packages bring, and laid out so that these packages go on to maintain it.
//!
//! [`install`] gives the files of the EFI system partition (the vendor's signed shim and GRUB, see `grub/efi.rs`)
//! and edits of the tree (menu, modules, and the settings that the distribution's tools read). [`bios::compose`]
//! gives the boot sector and the core image, once it is decided where the BIOS boot partition lies:
//!
//! ```text
//! BIOS   boot sector ► core image in the BIOS boot partition ─────────────┐
//! UEFI   EFI/BOOT/BOOTX64.EFI (shim) ► grubx64.efi ► EFI/VENDOR/grub.cfg ─┴► /boot/grub/grub.cfg on root
//! ```
//!
//! Both ways stay on the drive that the firmware booted, and nothing on them is found by an id: a clone that is
//! attached to the machine is not mistaken for it.
//!
//! The menu here holds one kernel, the chosen one; a later kernel's package runs `update-grub` (Debian, Ubuntu) or
//! `kernel-install` (Fedora, RHEL), and finds the same command line in `/etc/default/grub.d` or in
//! `/etc/kernel/cmdline` and `/etc/default/grub`.

pub mod bios;
mod core_image;
mod defaults;
mod efi;
mod environment;
mod menu;
mod modules;
mod quoting;
mod sbat;
mod signed;

use std::collections::BTreeMap;

use bake_tree::{Content, Directory, EditError, Follow, Node, Tree, TreePath};

use crate::entries::{self, BootFiles, EntryError};
use crate::kernel::Kernel;
use crate::pe::PeError;
use crate::{Architecture, OsRelease, path};
use menu::{Entries, Serial};
use modules::Modules;

/// More than any configuration file has, in bytes.
const LIMIT: u64 = 64 << 10;
/// Where boot loader entries are.
const ENTRIES: &str = "boot/loader/entries";

/// How a family lays GRUB out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Debian and Ubuntu: `/boot/grub`; `update-grub` writes the menu for all kernels.
    Debian,
    /// Fedora, RHEL and its rebuilds: `/boot/grub2`; `kernel-install` writes an entry for each kernel.
    RedHat,
}

impl Style {
    /// The directory of configuration and modules, without a slash at its start.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Debian => "boot/grub",
            Self::RedHat => "boot/grub2",
        }
    }
}

/// What the caller decides.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The family's layout.
    pub style: Style,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Seconds that the menu is shown; nothing boots at once.
    pub timeout: Option<u32>,
    /// What entries are named after; otherwise what the tree asks for. Only with [`Style::RedHat`].
    pub token: Option<&'a str>,
    /// Number of the root partition.
    pub root_partition: u32,
    /// The module of GRUB that reads root's file system: `ext2` (all of ext2 to ext4), `xfs`, `squash4`.
    pub file_system: &'a str,
    /// Whether machines with a BIOS are to boot. There are none but x86-64's.
    pub bios: bool,
    /// Whether machines with UEFI are to boot.
    pub uefi: bool,
}

/// Everything but the boot sector and the core image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Installed {
    /// Files of the EFI system partition and edits of the tree.
    pub files: BootFiles,
    /// What has to go from the tree before it is edited: entries for other machines, links out of root, and what
    /// the mounted EFI system partition hides.
    pub removals: Vec<TreePath>,
    /// For [`bios::Options::prefix`].
    pub prefix: String,
    /// For [`bios::Options::modules`].
    pub modules: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Installed {
    /// Applies removals and edits to a tree.
    ///
    /// # Errors
    /// When something else than a file is in the way.
    pub fn edit(&self, tree: &mut Tree) -> Result<(), EditError> {
        for path in &self.removals {
            tree.remove(path);
        }
        self.files.edit(tree)
    }
}

/// A tree on which GRUB cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrubError {
    /// The tree lacks a part of GRUB.
    #[error("`{path}` is missing: install {package}")]
    Missing {
        /// Which.
        path: TreePath,
        /// What brings it.
        package: &'static str,
    },
    /// A part of GRUB has an unknown form.
    #[error("`{path}` cannot be used: {reason}; expected GRUB 2.02 or later")]
    Invalid {
        /// Which.
        path: TreePath,
        /// Why.
        reason: &'static str,
    },
    /// A program for UEFI cannot be read.
    #[error("`{path}` cannot be used: {source}")]
    Program {
        /// Which.
        path: TreePath,
        /// Why.
        source: PeError,
    },
    /// The modules are too large together.
    #[error("GRUB's core image would have {size} bytes: a BIOS has room for {limit}; expected fewer modules")]
    CoreTooLarge {
        /// Bytes.
        size: usize,
        /// How many may be.
        limit: usize,
    },
    /// The BIOS boot partition is too small.
    #[error(
        "GRUB's core image takes {needed} sectors: the BIOS boot partition has {room}; expected a larger one"
    )]
    DoesNotFit {
        /// Sectors that it takes.
        needed: u64,
        /// Sectors that there are.
        room: u64,
    },
    /// The signed GRUB cannot do what is needed.
    #[error(
        "`{path}` lacks `{modules}`, and Secure Boot lets it load nothing: install a later one, or choose another \
         boot method"
    )]
    LacksModules {
        /// Which.
        path: TreePath,
        /// What it lacks.
        modules: String,
    },
    /// The signed GRUB looks for its configuration elsewhere than on its own partition.
    #[error("`{path}` looks for its configuration in `{found}`: expected a directory such as `/EFI/debian`")]
    Prefix {
        /// Which.
        path: TreePath,
        /// Where it looks.
        found: String,
    },
    /// A program does not say what it consists of.
    #[error(
        "`{path}` has no section `.sbat`, so shim would not start it under Secure Boot: install a later package"
    )]
    NoSbat {
        /// Which.
        path: TreePath,
    },
    /// Shim would refuse a program.
    #[error(
        "`{path}` has generation {generation} of `{component}`, and the tree's shim starts none before {needed} under \
         Secure Boot: install the GRUB that belongs to it (`apt-get upgrade`, `dnf upgrade`)"
    )]
    Revoked {
        /// Which.
        path: TreePath,
        /// Its component.
        component: String,
        /// The generation that it has.
        generation: u32,
        /// The least that shim starts.
        needed: u32,
    },
    /// The command line does not survive GRUB.
    #[error("the kernel command line contains {0:?}, which GRUB would not hand on as it is: leave it out")]
    CommandLine(char),
    /// Names are too long for GRUB's environment.
    #[error("the entry `{0}` cannot be GRUB's default: expected a shorter name")]
    EntryName(String),
    /// Entries cannot be named.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] EditError),
}

impl GrubError {
    fn program(path: &TreePath) -> impl FnOnce(PeError) -> Self {
        let path = path.clone();
        |source| Self::Program { path, source }
    }
}

/// Files that go somewhere, by path.
type Files = BTreeMap<TreePath, Content>;

/// Everything for booting `kernel` with `initrds` (path in the tree and content) through GRUB. Kernel and initrds
/// that lie elsewhere than in `/boot` are put there, as the distributions' tools do.
///
/// # Errors
/// When the tree lacks GRUB, or has one that could not boot.
pub fn install(
    tree: &Tree,
    kernel: &Kernel,
    initrds: &[(TreePath, Content)],
    options: &Options<'_>,
) -> Result<Installed, GrubError> {
    let style = options.style;
    let directory = style.directory();
    let command_line = quoting::for_grub(options.command_line).map_err(GrubError::CommandLine)?;
    let os_release = OsRelease::read(tree)?;
    let modules = Modules::new(tree);
    let bios = options.bios && kernel.architecture == Architecture::X86_64;
    let mut edits = Files::new();
    let (kernel_path, initrd_paths) = place(tree, kernel, initrds, style, &mut edits)?;

    let mut blscfg = style == Style::RedHat;
    let (mut esp, mut warnings) = (Files::new(), Vec::new());
    if options.uefi {
        let efi =
            efi::install(tree, kernel.architecture, directory, options.root_partition, options.file_system)?;
        blscfg &= efi.modules.contains("blscfg") && efi.modules.contains("loadenv");
        (esp, warnings) = (efi.files, efi.warnings);
    }
    if bios {
        modules.read("moddep.lst", LIMIT)?;
        blscfg &= modules.has("blscfg");
        copy(tree, modules.copied_files(), &path(directory).join(b"i386-pc"), &mut edits)?;
    }
    let font = [("unicode.pf2".to_owned(), path("usr/share/grub/unicode.pf2"))];
    copy(tree, font, &path(directory).join(b"fonts"), &mut edits)?;

    let text = |text: String| Content::bytes(text.into_bytes());
    let timeout = options.timeout.unwrap_or(0);
    let serial = Serial::of(options.command_line);
    let entries = if blscfg {
        Entries::Described { command_line: &command_line }
    } else {
        let title = os_release.get("PRETTY_NAME").unwrap_or("Linux");
        let (kernel, initrds) = (&kernel_path, &initrd_paths);
        Entries::One { title, kernel, command_line: &command_line, initrds }
    };
    edits.insert(path(directory).join(b"grub.cfg"), text(menu::menu(timeout, serial, &entries)));
    let mut variables = defaults::variables(&command_line, timeout, serial);
    let tool = tree.read(&path(defaults::NAMES_ROOT), LIMIT)?.unwrap_or_default();
    variables.extend(defaults::by_partition(&tool));
    let mut removals = Vec::new();
    let mut environment = Vec::new();
    let (token, entry_name);
    match style {
        Style::Debian => {
            token = String::new();
            // Servers boot again after a failed boot, without waiting for somebody at the menu.
            variables.push(("GRUB_RECORDFAIL_TIMEOUT", timeout.to_string()));
            edits.insert(path("etc/default/grub.d/60-bake.cfg"), text(defaults::drop_in(&variables)));
        }
        Style::RedHat => {
            token = entries::token(tree, options.token, &os_release)?;
            entry_name = format!("{token}-{}", kernel.version);
            environment.push(("saved_entry", &*entry_name));
            let file = path(ENTRIES).join(format!("{entry_name}.conf").as_bytes());
            removals.extend(stale_entries(tree, &file));
            let entry = entry(&os_release, &kernel.version, &kernel_path, &initrd_paths, &command_line);
            edits.insert(file, text(entry));
            edits.insert(path("etc/kernel/cmdline"), text(command_line.clone() + "\n"));
            edits.insert(path("etc/kernel/entry-token"), text(token.clone() + "\n"));
            variables.splice(0..0, red_hat_defaults(tree)?);
            let existing = tree.read(&path("etc/default/grub"), LIMIT)?.unwrap_or_default();
            let existing = String::from_utf8_lossy(&existing);
            edits.insert(path("etc/default/grub"), text(defaults::merged(&existing, &variables)));
            // Without it, a later kernel gets an entry but is not booted.
            let update = path("etc/sysconfig/kernel");
            if tree.lookup(&update, Follow::Last).is_none() {
                edits.insert(update, text("UPDATEDEFAULT=yes\nDEFAULTKERNEL=kernel-core\n".to_owned()));
            }
        }
    }
    let block = environment::block(&environment);
    let block = block.ok_or_else(|| GrubError::EntryName(format!("{token}-{}", kernel.version)))?;
    let environment = path(directory).join(b"grubenv");
    // RHEL 8 has a link to the EFI system partition there, where GRUB on a BIOS cannot follow it.
    let link = tree.lookup(&environment, Follow::Parents);
    if link.is_some_and(|id| matches!(tree.inode(id).node, Node::Symlink(_))) {
        removals.push(environment.clone());
    }
    edits.insert(environment, Content::bytes(block));
    let hidden = path("boot/efi/EFI");
    if options.uefi && tree.lookup(&hidden, Follow::Parents).is_some() {
        removals.push(hidden);
    }

    let files = BootFiles {
        esp: esp.into_iter().collect(),
        esp_directories: Vec::new(),
        edits: edits.into_iter().collect(),
        mount_point: path("boot/efi"),
        token,
    };
    let prefix = format!("(,gpt{})/{directory}", options.root_partition);
    let mut built_in = vec!["biosdisk", "part_gpt", options.file_system, "normal", "linux", "test", "serial"];
    if blscfg {
        built_in.extend(["loadenv", "blscfg"]);
    }
    let modules = built_in.into_iter().map(str::to_owned).collect();
    Ok(Installed { files, removals, prefix, modules, warnings })
}

/// Where GRUB finds kernel and initrds, from the root on; what is elsewhere is put into `/boot`.
fn place(
    tree: &Tree,
    kernel: &Kernel,
    initrds: &[(TreePath, Content)],
    style: Style,
    edits: &mut Files,
) -> Result<(String, Vec<String>), GrubError> {
    let version = &kernel.version;
    let boot = path("boot");
    let mut put = |wanted: TreePath, content: &Content| -> Result<String, GrubError> {
        let found = tree.file(&wanted)?;
        let read = |source| EditError::Read { path: wanted.clone(), source };
        if !found.map(|found| found.same_bytes(content)).transpose().map_err(read)?.unwrap_or(false) {
            edits.insert(wanted.clone(), content.clone());
        }
        Ok(wanted.to_string())
    };
    let in_boot = |path: &TreePath| path.starts_with(&boot);
    let wanted = match &kernel.path {
        path if in_boot(path) => path.clone(),
        _ => boot.join(format!("vmlinuz-{version}").as_bytes()),
    };
    let kernel_path = put(wanted, &kernel.content)?;
    let mut paths = Vec::new();
    for (index, (path, content)) in initrds.iter().enumerate() {
        let number = if index == 0 { String::new() } else { format!(".{index}") };
        let name = match style {
            Style::Debian => format!("initrd.img-{version}{number}"),
            Style::RedHat => format!("initramfs-{version}.img{number}"),
        };
        let wanted = if in_boot(path) { path.clone() } else { boot.join(name.as_bytes()) };
        paths.push(put(wanted, content)?);
    }
    if let (Style::RedHat, Some(directory)) = (style, &kernel.modules) {
        // What RHEL's kernel-install puts beside it; the last is what FIPS mode checks the kernel by.
        for (from, to) in [
            ("config", format!("config-{version}")),
            ("System.map", format!("System.map-{version}")),
            (".vmlinuz.hmac", format!(".vmlinuz-{version}.hmac")),
        ] {
            let to = boot.join(to.as_bytes());
            let content = tree.file(&directory.join(from.as_bytes()))?;
            if let (Some(content), None) = (content, tree.lookup(&to, Follow::Last)) {
                edits.insert(to, content.clone());
            }
        }
    }
    Ok((kernel_path, paths))
}

fn copy(
    tree: &Tree,
    files: impl IntoIterator<Item = (String, TreePath)>,
    to: &TreePath,
    edits: &mut Files,
) -> Result<(), GrubError> {
    for (name, from) in files {
        if let Some(content) = tree.file(&from)? {
            edits.insert(to.join(name.as_bytes()), content.clone());
        }
    }
    Ok(())
}

/// Entries that package scripts wrote for the machine that the tree was made on; their command lines are its.
fn stale_entries(tree: &Tree, ours: &TreePath) -> Vec<TreePath> {
    let directory = tree.lookup(&path(ENTRIES), Follow::Last);
    let entries = directory.and_then(|id| tree.inode(id).as_directory());
    let names = entries.into_iter().flat_map(Directory::iter);
    let paths = names.filter(|(name, _)| name.ends_with(b".conf")).map(|(name, _)| path(ENTRIES).join(name));
    paths.filter(|path| path != ours).collect()
}

/// An entry, as RHEL's `20-grub.install` writes it.
fn entry(
    os_release: &OsRelease,
    version: &str,
    kernel: &str,
    initrds: &[String],
    command_line: &str,
) -> String {
    let name = os_release.get("NAME").unwrap_or("Linux");
    let release = os_release.get("VERSION").map(|release| format!(" {release}")).unwrap_or_default();
    let mut lines = vec![
        format!("title {name} ({version}){release}"),
        format!("version {version}"),
        format!("linux {kernel}"),
    ];
    lines.extend(initrds.iter().map(|initrd| format!("initrd {initrd}")));
    lines.push(format!("options {command_line}"));
    lines.extend(["grub_users $grub_users".to_owned(), "grub_arg --unrestricted".to_owned()]);
    lines.extend(os_release.get("ID").map(|id| format!("grub_class {id}")));
    lines.join("\n") + "\n"
}

/// What RHEL's installer writes, unless the tree says something else.
fn red_hat_defaults(tree: &Tree) -> Result<Vec<(&'static str, String)>, GrubError> {
    if tree.file(&path("etc/default/grub"))?.is_some() {
        return Ok(Vec::new());
    }
    let distributor = "\"$(sed 's, release .*$,,g' /etc/system-release)\"";
    Ok([
        ("GRUB_DISTRIBUTOR", distributor),
        ("GRUB_DEFAULT", "saved"),
        ("GRUB_DISABLE_SUBMENU", "true"),
        ("GRUB_DISABLE_RECOVERY", "\"true\""),
        ("GRUB_ENABLE_BLSCFG", "true"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec())
}

#[cfg(test)]
#[path = "grub/tests.rs"]
mod tests;
