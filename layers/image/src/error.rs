//! What can go wrong while an image is baked.

use std::collections::BTreeSet;
use std::io;

use bake_tree::{EditError, InvalidEntry, MergeProblem, PathError, TreePath};

/// An image that cannot be baked, and what would help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No profile has this name.
    #[error("there is no profile `{name}`: known are {known}")]
    UnknownProfile {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A profile makes no sense.
    #[error("the profile `{name}` {reason}")]
    Profile {
        /// Which.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The root file system lacks what the product needs. There are no more of these than rules, and all are told.
    #[error("the product would not run on this root file system:\n  {}", .0.join("\n  "))]
    Requirements(Vec<String>),
    /// No profile is for this distribution.
    #[error("no profile is for a root file system with ID `{id}` in its os-release: name one with --profile")]
    NoProfile {
        /// `ID` and `ID_LIKE`.
        id: String,
    },
    /// A vendor's disk cannot be baked into.
    #[error("the disk image `{file}` cannot be used: {reason}")]
    Vendor {
        /// The file.
        file: String,
        /// Why, and what would help.
        reason: String,
    },
    /// No profile is for a vendor's disk with these partitions.
    #[error(
        "no profile is for a disk with these partitions: name one with --profile, or give a root file system as tar, \
         directory or container image"
    )]
    NoVendorProfile,
    /// The root file system has no `os-release`.
    #[error("the root file system has no /etc/os-release or /usr/lib/os-release: is it a root file system?")]
    NoOsRelease,
    /// An input cannot be read.
    #[error(transparent)]
    Input(#[from] bake_archive::ArchiveError),
    /// Members of an input contradict each other or what lies below.
    #[error("`{layer}` cannot be merged:{}", list(problems))]
    Merge {
        /// The input.
        layer: String,
        /// All that is wrong.
        problems: Vec<MergeProblem>,
    },
    /// The merged tree holds what no file system can.
    #[error("the tree cannot be written:{}", list(.0))]
    Tree(Vec<InvalidEntry>),
    /// A path of a profile, a specification or a package makes no sense.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The tree cannot be changed as asked.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Users and groups contradict the root file system.
    #[error("{0}")]
    Account(String),
    /// Units contradict the root file system.
    #[error("{0}")]
    Units(String),
    /// The host policy contradicts itself.
    #[error("{0}")]
    Policy(String),
    /// The product is none.
    #[error("the product cannot be used: {0}")]
    Product(String),
    /// The packages of the product are wrong, or make no install root together.
    #[error("the packages of the product cannot be used:{}", list(&.0.iter().collect::<Vec<_>>()))]
    Packages(BTreeSet<bake_host::Problem>),
    /// The image would not boot.
    #[error(transparent)]
    Kernel(#[from] bake_boot::kernel::KernelError),
    /// The initrd would not find the disk.
    #[error(transparent)]
    Initrd(#[from] bake_boot::initrd::InitrdError),
    /// The modules of an overlay cannot be used.
    #[error(transparent)]
    Modules(#[from] bake_boot::depmod::DepmodError),
    /// systemd-boot cannot be set up.
    #[error(transparent)]
    Entry(#[from] bake_boot::entries::EntryError),
    /// The tree's SELinux policy cannot be read.
    #[error(transparent)]
    Labels(#[from] bake_tree::selinux::LabelError),
    /// No initrd can be made.
    #[error(transparent)]
    Compose(#[from] bake_boot::initrd::compose::ComposeError),
    /// There is nobody to sign.
    #[error(transparent)]
    Signer(#[from] bake_boot::sign::SignError),
    /// A program cannot be signed.
    #[error("`{path}` of the EFI system partition cannot be signed: {source}")]
    Sign {
        /// Which.
        path: TreePath,
        /// Why.
        source: bake_boot::sign::SignError,
    },
    /// GRUB cannot be set up.
    #[error(transparent)]
    Grub(#[from] bake_boot::grub::GrubError),
    /// There can be no unified kernel image.
    #[error(transparent)]
    Unified(#[from] bake_boot::uki::UkiError),
    /// The root file system cannot be laid out.
    #[error(transparent)]
    Ext4(#[from] bake_fs::ext4::Error),
    /// The EFI system partition cannot be laid out.
    #[error(transparent)]
    Fat(#[from] bake_fs::fat::Error),
    /// A system extension cannot be laid out as SquashFS.
    #[error("the system extension cannot be written as SquashFS: {0}")]
    Squashfs(#[from] bake_fs::squashfs::Error),
    /// A system extension cannot be laid out as EROFS.
    #[error("the system extension cannot be written as EROFS: {0}")]
    Erofs(#[from] bake_fs::erofs::Error),
    /// The read-only part cannot be laid out.
    #[error(
        "the read-only {place}, from which on paths are counted, cannot be written as {format}: {reason}"
    )]
    ReadOnly {
        /// Which part.
        place: String,
        /// As what.
        format: &'static str,
        /// Why.
        reason: String,
    },
    /// The read-only part has no hash tree.
    #[error(transparent)]
    Verity(#[from] bake_disk::verity::VerityError),
    /// The disk cannot be laid out.
    #[error(transparent)]
    Disk(#[from] bake_disk::DiskError),
    /// The disk cannot be written.
    #[error("writing the image into `{directory}` failed")]
    Write {
        /// The output directory.
        directory: String,
        /// What failed.
        source: bake_disk::container::WriteError,
    },
    /// The asked size does not hold the image.
    #[error(
        "a disk of {asked} does not hold the image: at least {needed} are needed (see --size and --free)"
    )]
    TooSmall {
        /// What was asked for.
        asked: String,
        /// The smallest that would do.
        needed: String,
    },
    /// Reading or writing failed.
    #[error("{what} failed")]
    Io {
        /// What was being done.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Adds what was being done to an I/O error.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

/// Problems on lines of their own; a hostile input has thousands, of which the first ones tell enough.
fn list(problems: &[impl std::fmt::Display]) -> String {
    const SHOWN: usize = 20;
    let mut lines: Vec<_> = problems.iter().take(SHOWN).map(|problem| format!("\n  {problem}")).collect();
    if problems.len() > SHOWN {
        lines.push(format!("\n  and {} more", problems.len() - SHOWN));
    }
    lines.concat()
}

/// The path in the image that `text` spells, with or without a leading slash.
pub(crate) fn path(text: &str) -> Result<TreePath, Error> {
    TreePath::from_root(text.as_bytes()).map_err(Error::Path)
}
