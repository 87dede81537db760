//! Kernels and initrds of a tree: where distributions put them, what they are, which is the newest.

use std::collections::BTreeMap;

use bake_base::ReadAt;
use bake_tree::{Content, Directory, EditError, Follow, Node, Tree, TreePath};

use crate::pe::{Image, PeError};
use crate::{Architecture, path, version};

/// Directories with one subdirectory for each kernel. `/lib` is a link to `/usr/lib` wherever `/usr` is merged.
const MODULE_DIRECTORIES: [&str; 2] = ["usr/lib/modules", "lib/modules"];
/// Names in `/boot` before the version.
const BOOT_PREFIXES: [&str; 2] = ["vmlinuz-", "Image-"];
/// What follows `vmlinuz-` in Fedora's rescue kernels: copies of another, under the name of a machine.
const RESCUE: &str = "0-rescue-";

/// Where the signature of a bzImage's setup header lies (Documentation/arch/x86/boot.rst of Linux).
const SETUP: u64 = 0x202;
/// Longest kernel release, in bytes (`__NEW_UTS_LEN` of Linux).
const MAX_VERSION: usize = 64;

/// A kernel of a tree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kernel {
    /// Its release, as `uname -r` says it.
    pub version: String,
    /// Where it is.
    pub path: TreePath,
    /// Its bytes.
    pub content: Content,
    /// The processor that it is for.
    pub architecture: Architecture,
    /// What kind of file it is.
    pub format: Format,
    /// The directory of its modules, if the tree has it.
    pub modules: Option<TreePath>,
}

/// What kind of file a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// An EFI program (with an EFI stub, or wrapped as EFI zboot).
    Efi,
    /// A bzImage without EFI stub.
    BzImage,
    /// `Image.gz` of arm64: no EFI program until it is decompressed.
    Gzip,
}

impl Format {
    /// What it is called in messages.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Efi => "an EFI program",
            Self::BzImage => "a bzImage without EFI stub",
            Self::Gzip => "compressed with gzip",
        }
    }
}

/// A tree without the kernel that is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// There is no kernel at all.
    #[error(
        "the tree has no kernel: expected `/boot/vmlinuz-VERSION` or `/usr/lib/modules/VERSION/vmlinuz`; install one \
         (`linux-image-amd64` or `linux-image-arm64` on Debian, `linux-image-generic` on Ubuntu, `kernel-core` on Fedora \
         and RHEL)"
    )]
    None,
    /// There is no kernel of this version.
    #[error("the tree has no kernel `{wanted}`: it has {}", quoted(.found))]
    NoSuchVersion {
        /// The version that is asked for.
        wanted: String,
        /// Those that there are, newest first.
        found: Vec<String>,
    },
    /// A file that is no kernel.
    #[error("`{path}` is no kernel: {reason}")]
    NotAKernel {
        /// Which.
        path: TreePath,
        /// Why.
        reason: String,
    },
    /// The kernel has no modules.
    #[error(
        "the kernel `{version}` has no modules: expected the directory `/usr/lib/modules/{version}`; install the \
         package that brings them together with the kernel"
    )]
    NoModules {
        /// Which kernel.
        version: String,
    },
    /// There is no initrd for the kernel.
    #[error(
        "the tree has no initrd for the kernel `{version}`: expected one of {}; install `initramfs-tools` or `dracut` \
         and let it make one (`update-initramfs -c -k {version}`, `dracut --kver {version} --no-hostonly`)",
        quoted(.expected)
    )]
    NoInitrd {
        /// Which kernel.
        version: String,
        /// Where it was looked for.
        expected: Vec<String>,
    },
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] EditError),
}

fn quoted(items: &[String]) -> String {
    items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
}

impl Kernel {
    /// All kernels of a tree, newest first by [`version::compare`].
    ///
    /// # Errors
    /// When a file in a kernel's place is none.
    pub fn find_all(tree: &Tree) -> Result<Vec<Self>, KernelError> {
        // The distribution's own copy beside the modules is preferred to the one in /boot.
        let mut candidates: BTreeMap<String, TreePath> = BTreeMap::new();
        for directory in MODULE_DIRECTORIES {
            let directory = path(directory);
            for version in names(tree, &directory) {
                let file = directory.join(version.as_bytes()).join(b"vmlinuz");
                if tree.lookup(&file, Follow::Last).is_some() {
                    candidates.entry(version).or_insert(file);
                }
            }
        }
        let boot = path("boot");
        for name in names(tree, &boot) {
            let version = BOOT_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
            if let Some(version) = version.filter(|version| !version.starts_with(RESCUE)) {
                candidates.entry(version.to_owned()).or_insert_with(|| boot.join(name.as_bytes()));
            }
        }
        let mut kernels = Vec::new();
        for (version, file) in candidates.into_iter().filter(|(version, _)| is_version(version)) {
            kernels.push(Self::read(tree, version, file)?);
        }
        kernels.sort_by(|a, b| version::compare(&b.version, &a.version).then(b.version.cmp(&a.version)));
        Ok(kernels)
    }

    /// The newest kernel, or the one of the version that is asked for. It has modules.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(tree: &Tree, wanted: Option<&str>) -> Result<Self, KernelError> {
        let kernels = Self::find_all(tree)?;
        let found: Vec<_> = kernels.iter().map(|kernel| kernel.version.clone()).collect();
        let mut kernels = kernels.into_iter();
        let kernel = match wanted {
            None => kernels.next(),
            Some(wanted) => kernels.find(|kernel| kernel.version == wanted),
        };
        let kernel = kernel.ok_or_else(|| match wanted {
            Some(wanted) if !found.is_empty() => {
                KernelError::NoSuchVersion { wanted: wanted.to_owned(), found }
            }
            _ => KernelError::None,
        })?;
        if kernel.modules.is_none() {
            return Err(KernelError::NoModules { version: kernel.version });
        }
        Ok(kernel)
    }

    /// The initrd of this kernel and where it is.
    ///
    /// # Errors
    /// When there is none.
    pub fn initrd(&self, tree: &Tree) -> Result<(TreePath, Content), KernelError> {
        let version = &self.version;
        let places = [
            // Debian, Ubuntu; Fedora, RHEL; kernels that bring their own (ostree, images).
            format!("boot/initrd.img-{version}"),
            format!("boot/initramfs-{version}.img"),
            format!("boot/initrd-{version}"),
            format!("usr/lib/modules/{version}/initrd"),
            format!("usr/lib/modules/{version}/initrd.img"),
            format!("usr/lib/modules/{version}/initramfs.img"),
        ];
        for place in &places {
            let place = path(place);
            if let Some(content) = tree.file(&place)?.filter(|content| !content.is_empty()) {
                return Ok((place, content.clone()));
            }
        }
        let expected = places.map(|place| format!("/{place}")).to_vec();
        Err(KernelError::NoInitrd { version: version.clone(), expected })
    }

    fn read(tree: &Tree, version: String, path: TreePath) -> Result<Self, KernelError> {
        let not_a_kernel = |reason: String| KernelError::NotAKernel { path: path.clone(), reason };
        let content = tree.file(&path)?.cloned();
        let content = content.ok_or_else(|| not_a_kernel("it is a link to nothing".to_owned()))?;
        let (architecture, format) = identify(&content).map_err(|error| not_a_kernel(error.to_string()))?;
        let modules =
            MODULE_DIRECTORIES.iter().map(|directory| crate::path(directory).join(version.as_bytes()));
        let modules = modules.into_iter().find(|path| {
            let id = tree.lookup(path, Follow::Last);
            id.is_some_and(|id| matches!(tree.inode(id).node, Node::Directory(_)))
        });
        Ok(Self { version, path, content, architecture, format, modules })
    }
}

/// What a kernel is, by its first bytes.
fn identify(content: &Content) -> Result<(Architecture, Format), PeError> {
    match Image::parse(content) {
        Ok(image) => {
            let architecture = Architecture::from_machine(image.machine);
            let architecture =
                architecture.ok_or(PeError::Invalid("it is for another machine than x86-64 or arm64"))?;
            return Ok((architecture, Format::Efi));
        }
        Err(error @ PeError::Read(_)) => return Err(error),
        Err(_) => {}
    }
    let mut signature = [0; 4];
    let mut head = [0; 2];
    if content.len() >= SETUP + 4 {
        content.read_exact_at(0, &mut head)?;
        content.read_exact_at(SETUP, &mut signature)?;
    }
    match (signature, head) {
        ([b'H', b'd', b'r', b'S'], _) => Ok((Architecture::X86_64, Format::BzImage)),
        // Of the two, only arm64 has kernels that are plain gzip streams.
        (_, [0x1f, 0x8b]) => Ok((Architecture::Arm64, Format::Gzip)),
        _ => Err(PeError::Invalid("it has neither an EFI stub nor the header of a bzImage")),
    }
}

/// Names in a directory that are text; nothing when there is no such directory.
fn names(tree: &Tree, directory: &TreePath) -> Vec<String> {
    let Some(id) = tree.lookup(directory, Follow::Last) else { return Vec::new() };
    let names = tree.inode(id).as_directory().into_iter().flat_map(Directory::iter);
    names.filter_map(|(name, _)| String::from_utf8(name.to_vec()).ok()).collect()
}

/// Whether it can be a kernel release: it becomes part of file names and of a loader's configuration.
fn is_version(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    text.len() <= MAX_VERSION
        && text.bytes().all(allowed)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
#[path = "kernel/tests.rs"]
pub(crate) mod tests;
