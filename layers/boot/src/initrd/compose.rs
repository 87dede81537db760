//! An initrd made of the tree's own files, for a kernel that has none, or one that lacks drivers. Nothing is run.
//!
//! In go a tree, a kernel, and which drivers an image requires; out comes an archive that finds, checks and mounts the
//! root and starts its init, generic as dracut's with `--no-hostonly`:
//!
//! - the drivers with their dependencies, soft ones included, firmware, and indexes for exactly these modules;
//! - systemd with udev, journal and generators where the tree has all of it, else busybox with a script of ours;
//! - every library and interpreter that these need, found by reading them;
//! - before it all, uncompressed, microcode of processors, where the tree has it.
//!
//! The bytes depend on the tree, the kernel and the options alone: entries are sorted, owned by root, dated by the epoch
//! at the latest, and compressed by fixed parameters, with zstd where the kernel can unpack it, otherwise with gzip.

mod accounts;
mod copy;
mod elf;
mod libraries;
mod microcode;
mod minimal;
mod modules;
mod systemd;

use bake_archive::{Compression, WriteCpioError, encode_cpio};
use bake_base::Epoch;
use bake_tree::{Content, EditError, InvalidEntry, Metadata, Tree, TreePath, ValidTree};

use super::Facts;
use crate::depmod::DepmodError;
use crate::kernel::Kernel;
use crate::{Architecture, OsRelease, path};
use copy::Copier;

/// More than a kernel's configuration has, in bytes.
const MAX_CONFIG: u64 = 4 << 20;
/// Directories that have to be there for file systems to be mounted on.
const DIRECTORIES: [&str; 8] = ["dev", "etc", "proc", "run", "sys", "sysroot", "var", "usr/lib"];
/// Links to the merged `/usr`, and what the loader of x86-64 needs.
const MERGED: [&str; 5] = ["bin", "lib", "lib32", "lib64", "sbin"];

/// What the caller decides.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Drivers that have to be there, in the initrd or in the kernel itself: names of modules; `-` and `_` mean the same.
    pub drivers: &'a [&'a str],
    /// Drivers, or aliases of them, that are taken along where the kernel has them.
    pub optional: &'a [&'a str],
    /// The newest time that a file in the initrd may have.
    pub epoch: Epoch,
    /// Which init; otherwise systemd where the tree has what it needs, else busybox.
    pub init: Option<Init>,
    /// How many threads may read modules; the bytes do not depend on it.
    pub threads: usize,
}

/// What runs in an initrd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// systemd, which finds the root by `root=` or by the type of its partition.
    Systemd,
    /// A script run by busybox, which needs `root=`.
    Minimal,
}

/// An initrd that was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Composed {
    /// Its bytes.
    pub content: Content,
    /// What [`super::check`] would find out about it.
    pub facts: Facts,
    /// What runs in it.
    pub init: Init,
    /// The modules that it has, sorted.
    pub modules: Vec<String>,
    /// What whoever asked for it may want to know.
    pub notes: Vec<String>,
}

/// A tree that an initrd cannot be made of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// Something is missing.
    #[error(
        "the tree has no initrd for the kernel `{version}` that will do (`update-initramfs -u -k {version}` or `dracut` \
         make one inside of it), and lacks what one is made of:{}",
        .missing.iter().map(|missing| format!("\n  {missing}")).collect::<String>()
    )]
    Missing {
        /// For which kernel.
        version: String,
        /// Everything that is; never empty.
        missing: Vec<Missing>,
    },
    /// A file of the tree is damaged.
    #[error("`{path}` cannot be taken into the initrd: {reason}")]
    Damaged {
        /// Which.
        path: TreePath,
        /// Why.
        reason: String,
    },
    /// The modules cannot be read.
    #[error(transparent)]
    Modules(#[from] DepmodError),
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] EditError),
    /// Something in the tree fits into no archive.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<InvalidEntry>),
    /// The archive cannot be written.
    #[error(transparent)]
    Write(#[from] WriteCpioError),
}

/// Something that an initrd needs and the tree does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// A driver.
    #[error(
        "the driver `{0}`, neither built in nor as module: install a kernel that has it (on Debian `linux-image-cloud-…` \
         has fewer drivers than `linux-image-…`), or the package with its further modules"
    )]
    Driver(String),
    /// The kernel does not unpack initrds.
    #[error("a kernel with CONFIG_BLK_DEV_INITRD: install the distribution's usual one")]
    Support,
    /// A file.
    #[error("the file `{path}`: install {packages}")]
    File {
        /// Which.
        path: TreePath,
        /// The packages that have it.
        packages: &'static str,
    },
    /// A program.
    #[error("the program `{name}`: install {packages}")]
    Program {
        /// Which.
        name: &'static str,
        /// The packages that have it.
        packages: &'static str,
    },
    /// A program of busybox.
    #[error("a busybox with `{name}`: install {packages}")]
    Applet {
        /// Which.
        name: &'static str,
        /// The packages that have it.
        packages: &'static str,
    },
    /// A library, or the interpreter of a script.
    #[error("`{library}`, which `{by}` needs: install the package that has it, or repair that of `{by}`")]
    Library {
        /// What needs it.
        by: TreePath,
        /// By which name.
        library: String,
    },
    /// There is neither the one nor the other init.
    #[error("or, in the place of systemd, {0}")]
    Instead(Box<Missing>),
}

/// Makes an initrd for `kernel` of what `tree` has.
///
/// # Errors
/// When something is missing (then everything is named that is), or a file is damaged.
pub fn compose(tree: &Tree, kernel: &Kernel, options: &Options<'_>) -> Result<Composed, ComposeError> {
    let mut copier = Copier::new(tree);
    let config = Config::read(tree, kernel)?;
    let mut missing = Vec::new();
    if config.says("BLK_DEV_INITRD") == Some(false) {
        missing.push(Missing::Support);
    }
    ground(&mut copier)?;
    let modules = modules::take(&mut copier, kernel, options, &mut missing)?;
    let init = choose(&copier, options, &mut missing);
    let mut facts = Facts::default();
    let mut notes = match init {
        Init::Systemd => {
            let taken = systemd::take(&mut copier, &modules.to_load)?;
            facts.finds_root_by_type = taken.finds_root_by_type;
            taken.notes
        }
        Init::Minimal => minimal::take(&mut copier, &modules.without_device)?,
    };
    missing.extend(libraries::complete(&mut copier)?);
    if !missing.is_empty() {
        return Err(ComposeError::Missing { version: kernel.version.clone(), missing });
    }
    if !modules.lacking.is_empty() {
        let named = modules.lacking.iter().map(|(file, module)| format!("`{file}` ({module})"));
        let named = named.collect::<Vec<_>>().join(", ");
        notes.push(format!("the tree lacks firmware that modules in the initrd name: {named}"));
    }

    let mut bytes = Vec::new();
    if kernel.architecture == Architecture::X86_64 && config.says("MICROCODE") != Some(false) {
        bytes.extend(microcode::compose(tree, options)?.unwrap_or_default());
    }
    let compression = config.compression();
    bytes.extend(encode_cpio(&finish(copier.out, options.epoch)?, compression)?);
    let content = Content::bytes(bytes);
    Ok(Composed { content, facts, init, modules: modules.names, notes })
}

/// Which init, and what is missing for any.
fn choose(copier: &Copier<'_>, options: &Options<'_>, missing: &mut Vec<Missing>) -> Init {
    let (systemd, minimal) = (systemd::missing(copier), minimal::missing(copier));
    match options.init {
        Some(Init::Minimal) => {
            missing.extend(minimal);
            Init::Minimal
        }
        None if !systemd.is_empty() && minimal.is_empty() => Init::Minimal,
        None if !systemd.is_empty() => {
            missing.extend(systemd);
            let instead = minimal.into_iter().filter(|other| !missing.contains(other)).collect::<Vec<_>>();
            missing.extend(instead.into_iter().map(|other| Missing::Instead(Box::new(other))));
            Init::Systemd
        }
        _ => {
            missing.extend(systemd);
            Init::Systemd
        }
    }
}

/// What every initrd has.
fn ground(copier: &mut Copier<'_>) -> Result<(), ComposeError> {
    for name in MERGED {
        copier.take(&path(name))?;
    }
    for name in DIRECTORIES {
        copier.directory(name, 0o755)?;
    }
    copier.directory("root", 0o700)?;
    copier.directory("tmp", 0o1777)?;
    let release = OsRelease::read(copier.tree)?;
    let text = if release.text().is_empty() { &b"ID=linux\n"[..] } else { release.text() };
    copier.write("usr/lib/initrd-release", 0o644, text)?;
    copier.link(&path("usr/lib/os-release"), b"initrd-release")?;
    for name in ["etc/initrd-release", "etc/os-release"] {
        copier.link(&path(name), b"../usr/lib/initrd-release")?;
    }
    Ok(())
}

/// A tree that is ready to be written.
fn finish(mut tree: Tree, epoch: Epoch) -> Result<ValidTree, ComposeError> {
    tree.metadata_mut(Tree::ROOT).mtime = Metadata::AT_EPOCH;
    tree.clamp_times(epoch);
    ValidTree::new(tree).map_err(ComposeError::Invalid)
}

/// The kernel's configuration, where the tree has it.
struct Config(Option<String>);

impl Config {
    fn read(tree: &Tree, kernel: &Kernel) -> Result<Self, ComposeError> {
        let version = &kernel.version;
        for name in [format!("boot/config-{version}"), format!("usr/lib/modules/{version}/config")] {
            // An empty one says nothing.
            if let Some(text) = tree.read(&path(&name), MAX_CONFIG)?.filter(|text| !text.is_empty()) {
                return Ok(Self(Some(String::from_utf8_lossy(&text).into_owned())));
            }
        }
        Ok(Self(None))
    }

    /// Whether an option is built in; nothing without configuration.
    fn says(&self, option: &str) -> Option<bool> {
        let line = format!("CONFIG_{option}=y");
        self.0.as_ref().map(|text| text.lines().any(|found| found == line))
    }

    /// The best that the kernel unpacks and we write.
    fn compression(&self) -> Compression {
        match (self.says("RD_ZSTD"), self.says("RD_GZIP")) {
            (Some(true), _) => Compression::Zstd,
            (_, Some(false)) => Compression::None,
            _ => Compression::Gzip,
        }
    }
}

#[cfg(test)]
#[path = "compose/tests.rs"]
mod tests;
