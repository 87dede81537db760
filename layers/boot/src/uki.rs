//! Unified kernel images: stub, kernel, initrd and command line in one EFI program (UAPI.5, "Unified Kernel
//! Image").
//!
//! The result refers to the tree's kernel and initrd; only the stub, a hundred kilobytes, is copied. What
//! `ukify` does is done here too, for the same reasons:
//!
//! - sections come after the last one of the stub, wherever that ends (recipes with fixed addresses broke as
//!   stubs grew);
//! - `.linux` takes as much memory as the kernel's own header asks for (`SizeOfImage`), which is more than the
//!   file has: kernels decompress in place, and whoever starts one where it lies needs that room;
//! - the kernel's lines in `.sbat` join the stub's, so that either can be revoked;
//! - the checksum stays zero, as no firmware looks at it.
//!
//! Sections come in the specification's canonical order, the one in which they are measured.

use bake_base::ReadAt;
use bake_tree::{Content, EditError, Extent, Follow, Tree, TreePath};

use crate::kernel::{Format, Kernel};
use crate::pe::{self, Image, NewSection, PeError, Section};
use crate::{Architecture, OsRelease};

/// `IMAGE_SUBSYSTEM_EFI_APPLICATION`
const EFI_APPLICATION: u16 = 10;
/// More than any `.sbat` has, in bytes.
const MAX_SBAT: u32 = 64 << 10;

/// What goes into an image.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The systemd stub, see [`find_stub`].
    pub stub: &'a Content,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The initrds, in the order in which the kernel unpacks them.
    pub initrds: &'a [Content],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// What the image boots.
    pub os_release: &'a OsRelease,
}

/// An image that cannot be composed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UkiError {
    /// The tree has no stub.
    #[error("`{path}` is missing, which a unified kernel image begins with: install {package}")]
    NoStub {
        /// Where it should be.
        path: TreePath,
        /// What brings it.
        package: &'static str,
    },
    /// The kernel is no EFI program.
    #[error(
        "the kernel `{path}` is {found}: a unified kernel image needs one with an EFI stub, uncompressed or as EFI zboot"
    )]
    NotEfi {
        /// Which.
        path: TreePath,
        /// What it is.
        found: &'static str,
    },
    /// Stub and kernel are for different processors.
    #[error("the systemd stub is for {stub} and the kernel `{path}` for {kernel}: expected the same")]
    Mixed {
        /// Which kernel.
        path: TreePath,
        /// The stub's architecture or machine type.
        stub: String,
        /// The kernel's.
        kernel: Architecture,
    },
    /// The command line cannot be given to a kernel.
    #[error("the kernel command line contains {0:?}: expected printable characters")]
    CommandLine(char),
    /// The stub cannot be extended.
    #[error("the systemd stub cannot take the kernel: {0}")]
    Stub(PeError),
    /// The kernel's headers cannot be read.
    #[error("the kernel `{path}` cannot be used: {source}")]
    Kernel {
        /// Which.
        path: TreePath,
        /// Why.
        source: PeError,
    },
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] EditError),
}

/// The systemd stub of the tree for an architecture.
///
/// # Errors
/// When there is none.
pub fn find_stub(tree: &Tree, architecture: Architecture) -> Result<Content, UkiError> {
    let name = format!("usr/lib/systemd/boot/efi/linux{}.efi.stub", architecture.efi_suffix());
    let path = crate::path(&name);
    if tree.lookup(&path, Follow::Last).is_none() {
        let package = "`systemd-boot-efi` (Debian, Ubuntu) or `systemd-boot-unsigned` (Fedora, RHEL)";
        return Err(UkiError::NoStub { path, package });
    }
    tree.file(&path)?.cloned().ok_or(UkiError::Stub(PeError::Invalid("it is no file")))
}

/// Composes an image.
///
/// # Errors
/// When the parts do not fit together.
pub fn compose(parts: &Parts<'_>) -> Result<Content, UkiError> {
    if let Some(wrong) = parts.command_line.chars().find(|c| c.is_control()) {
        return Err(UkiError::CommandLine(wrong));
    }
    let path = &parts.kernel.path;
    let in_kernel = |source| UkiError::Kernel { path: path.clone(), source };
    if parts.kernel.format != Format::Efi {
        return Err(UkiError::NotEfi { path: path.clone(), found: parts.kernel.format.describe() });
    }
    let stub = Image::parse(parts.stub).map_err(UkiError::Stub)?;
    let linux = Image::parse(&parts.kernel.content).map_err(in_kernel)?;
    if stub.subsystem != EFI_APPLICATION {
        return Err(UkiError::Stub(PeError::Invalid("it is no EFI application")));
    }
    if stub.machine != linux.machine {
        let machine = Architecture::from_machine(stub.machine);
        let machine = machine.map_or_else(|| format!("machine {:#06x}", stub.machine), |a| a.to_string());
        return Err(UkiError::Mixed { path: path.clone(), stub: machine, kernel: parts.kernel.architecture });
    }
    let text =
        |name, text: &[u8]| NewSection { name, content: Content::bytes(text), virtual_size: 0, code: false };
    let mut sections = vec![NewSection {
        name: ".linux",
        content: parts.kernel.content.clone(),
        virtual_size: u64::from(linux.size_of_image),
        code: true,
    }];
    sections.push(text(".osrel", parts.os_release.text()));
    sections.push(text(".cmdline", parts.command_line.as_bytes()));
    sections.push(NewSection { name: ".initrd", content: join(parts.initrds), virtual_size: 0, code: false });
    sections.push(text(".uname", parts.kernel.version.as_bytes()));
    sections.retain(|section| !section.content.is_empty());
    let sbat = merged_sbat(&stub, parts.stub, &linux, &parts.kernel.content).map_err(in_kernel)?;
    let replacements: Vec<_> = sbat.into_iter().map(|text| (".sbat", text)).collect();
    pe::append(parts.stub, &replacements, &sections).map_err(UkiError::Stub)
}

/// The name of an image on the EFI system partition, where systemd-boot finds it (UAPI.1, "Type #2").
pub fn install_path(token: &str, version: &str) -> Option<TreePath> {
    TreePath::from_root(format!("EFI/Linux/{token}-{version}.efi").as_bytes()).ok()
}

/// One initrd after the other; the kernel wants each at a multiple of four bytes (`initramfs buffer format`).
fn join(initrds: &[Content]) -> Content {
    let mut extents = Vec::new();
    let mut len = 0_u64;
    for initrd in initrds {
        len = len.next_multiple_of(4);
        extents.extend(initrd.extents().into_iter().map(|e| Extent { start: len + e.start, ..e }));
        len += initrd.len();
    }
    Content::sparse(len, extents).expect("extents that follow each other do not overlap")
}

/// The stub's `.sbat` with the lines of the kernel's; nothing when the kernel has none.
fn merged_sbat(
    stub: &Image,
    stub_bytes: &Content,
    linux: &Image,
    linux_bytes: &Content,
) -> Result<Option<Vec<u8>>, PeError> {
    let Some(theirs) = linux.section(".sbat") else { return Ok(None) };
    let Some(ours) = stub.section(".sbat") else { return Ok(None) };
    let theirs = sbat_text(theirs, linux_bytes)?;
    let mut merged = sbat_text(ours, stub_bytes)?;
    if !merged.is_empty() && !merged.ends_with(b"\n") {
        merged.push(b'\n');
    }
    // The first line says only that the format is SBAT; one is enough.
    for line in theirs.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"sbat,")) {
        merged.extend_from_slice(line);
    }
    Ok(Some(merged))
}

fn sbat_text(section: &Section, content: &Content) -> Result<Vec<u8>, PeError> {
    let len = section.raw_size.min(section.virtual_size);
    if len > MAX_SBAT {
        return Err(PeError::Invalid("its section `.sbat` is too large"));
    }
    let mut text = vec![0; len as usize];
    content.read_exact_at(u64::from(section.raw_offset), &mut text)?;
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
#[path = "uki/tests.rs"]
mod tests;
