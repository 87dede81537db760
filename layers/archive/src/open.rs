//! The front door: a path becomes layers of members.

use std::fs::File;
use std::path::{Path, PathBuf};

use bake_tree::{Member, Policy};
use rustix::fd::OwnedFd;

use crate::decode::Progress;
use crate::directory::root::Root;
use crate::directory::{self, Walked};
use crate::image::{self, Image, ImageKind, Store};
use crate::input::{Input, InputKind};
use crate::local::{self, Local};
use crate::tar::{TarMembers, is_tar, read_tar};
use crate::{ArchiveError, Compression, Limits};

/// How inputs are opened.
#[derive(Clone)]
pub struct OpenOptions<'a> {
    /// The architecture to take from an image that has several, as `uname -m` calls it.
    pub architecture: &'a str,
    /// Where decoded layers and digests are kept between runs.
    pub cache: Option<PathBuf>,
    /// Where inputs are decoded to without a cache, in files without a name.
    pub scratch: PathBuf,
    /// Whether to believe neither times of files nor the cache, and hash everything again.
    pub paranoid: bool,
    /// What decoding may cost.
    pub limits: Limits,
    /// How many layers are decoded at once.
    pub threads: usize,
    /// Whether a directory given as overlay keeps owners, modes, times and attributes.
    pub preserve: bool,
    /// Told how many bytes were decoded.
    pub progress: Progress<'a>,
}

impl Default for OpenOptions<'_> {
    fn default() -> Self {
        Self {
            architecture: "x86_64",
            cache: None,
            scratch: PathBuf::from("/tmp"),
            paranoid: false,
            limits: Limits::default(),
            threads: 1,
            preserve: false,
            progress: &|_| {},
        }
    }
}

impl std::fmt::Debug for OpenOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions")
            .field("architecture", &self.architecture)
            .field("cache", &self.cache)
            .field("scratch", &self.scratch)
            .field("paranoid", &self.paranoid)
            .field("limits", &self.limits)
            .field("threads", &self.threads)
            .field("preserve", &self.preserve)
            .finish_non_exhaustive()
    }
}

/// An input that has been opened.
#[derive(Debug)]
pub struct Opened {
    /// The layers from the lowest, each with the policy that [`bake_tree::Tree::apply`] merges it by.
    pub layers: Vec<(Vec<Member>, Policy)>,
    /// What was read.
    pub inputs: Vec<Input>,
    /// What the input has and an image does not, in words.
    pub notes: Vec<String>,
    /// What the user should know of this run and machine, in words. It says nothing about the input, so it must
    /// never become part of an image or its manifest.
    pub warnings: Vec<String>,
}

/// Opens a root file system: a tar of any compression, an OCI image layout as directory or archive, a
/// `docker save` archive, or a directory, recognised by content.
///
/// # Errors
/// When the input cannot be read, is none of these, or is damaged in any way.
pub fn open_rootfs(path: &Path, options: &OpenOptions) -> Result<Opened, ArchiveError> {
    let label = path.display().to_string();
    let file = local::open(&label, path)?;
    let stat = file.metadata().map_err(ArchiveError::io(&label, "opening"))?;
    if stat.is_dir() {
        if is_layout(path) {
            let store = Store::directory(&label, path);
            return image(&store, ImageKind::Oci, InputKind::OciLayout, options);
        }
        return open_directory(label, path, true);
    }
    let local = load(&label, file, options)?;
    let tar = read_as_tar(&label, &local)?;
    let Some(kind) = image::recognise(&tar.members) else {
        return Ok(tar_layer(label, local, tar));
    };
    let warning = local.warning.clone();
    let store = Store::archive(&label, tar.members, local.watch())?;
    let input = if kind == ImageKind::Oci { InputKind::OciArchive } else { InputKind::DockerArchive };
    let mut opened = image(&store, kind, input, options)?;
    opened.warnings.extend(warning);
    opened.warnings.dedup();
    Ok(opened)
}

/// Opens an overlay: a tar of any compression, or a directory of a checkout.
///
/// # Errors
/// As [`open_rootfs`].
pub fn open_overlay(path: &Path, options: &OpenOptions) -> Result<Opened, ArchiveError> {
    let label = path.display().to_string();
    let file = local::open(&label, path)?;
    let is_image = || unrecognised_overlay(&label);
    if file.metadata().map_err(ArchiveError::io(&label, "opening"))?.is_dir() {
        if is_layout(path) {
            return Err(is_image());
        }
        return open_directory(label, path, options.preserve);
    }
    let local = load(&label, file, options)?;
    let tar = read_as_tar(&label, &local)?;
    if image::recognise(&tar.members).is_some() {
        return Err(is_image());
    }
    Ok(tar_layer(label, local, tar))
}

pub(crate) fn is_layout(directory: &Path) -> bool {
    directory.join("oci-layout").is_file() && directory.join("index.json").is_file()
}

/// An image unpacks to its blobs here: nobody means that.
fn unrecognised_overlay(label: &str) -> ArchiveError {
    ArchiveError::Unrecognised {
        file: label.to_owned(),
        found: "a container image".to_owned(),
        expected: "a tar or a directory as overlay; images are root file systems",
    }
}

/// A regular file as plain bytes.
pub(crate) fn load(label: &str, file: File, options: &OpenOptions) -> Result<Local, ArchiveError> {
    if !file.metadata().map_err(ArchiveError::io(label, "opening"))?.is_file() {
        return Err(unrecognised(label, "no regular file"));
    }
    local::load(label, file, options)
}

pub(crate) fn read_as_tar(label: &str, local: &Local) -> Result<TarMembers, ArchiveError> {
    let head = local::head(label, &*local.source)?;
    if !is_tar(&head) {
        return Err(unrecognised(label, &describe(local.compression, &head)));
    }
    read_tar(label, &local.source)
}

fn tar_layer(label: String, local: Local, tar: TarMembers) -> Opened {
    let kind = InputKind::Tar(local.compression);
    let warnings = local.warning.iter().cloned().collect();
    let input = Input { label, kind, digest: local.digest() };
    Opened { layers: vec![(tar.members, Policy::TAR)], inputs: vec![input], notes: tar.notes, warnings }
}

fn image(
    store: &Store,
    kind: ImageKind,
    input: InputKind,
    options: &OpenOptions,
) -> Result<Opened, ArchiveError> {
    let Image { layers, digest, notes, warnings } = store.read(kind, options)?;
    let inputs = vec![Input { label: store.label.clone(), kind: input, digest }];
    Ok(Opened { layers, inputs, notes, warnings })
}

/// Opens a directory as it is, by its handle, whatever lies in it; messages call it `label`.
///
/// # Errors
/// When something in it cannot be read.
pub fn open_directory_at(label: &str, directory: OwnedFd) -> Result<Opened, ArchiveError> {
    Ok(walked(label.to_owned(), directory::walk(label, Root::of(directory), true)?, true))
}

fn open_directory(label: String, path: &Path, exact: bool) -> Result<Opened, ArchiveError> {
    let walk = directory::read(&label, path, exact)?;
    Ok(walked(label, walk, exact))
}

fn walked(label: String, walk: Walked, exact: bool) -> Opened {
    let Walked { members, notes, digest } = walk;
    let policy = if exact { Policy::TAR } else { Policy::CHECKOUT };
    let inputs = vec![Input { label, kind: InputKind::Directory, digest }];
    Opened { layers: vec![(members, policy)], inputs, notes, warnings: Vec::new() }
}

fn unrecognised(label: &str, found: &str) -> ArchiveError {
    ArchiveError::Unrecognised {
        file: label.to_owned(),
        found: found.to_owned(),
        expected: "a tar (plain or compressed with gzip, xz, zstd or bzip2), an OCI image layout, \
                   a `docker save` archive or a directory",
    }
}

/// What a file that is no tar might be.
pub(crate) fn describe(compression: Compression, head: &[u8]) -> String {
    let known = match head {
        [] => "empty",
        [0x1f, 0x9d | 0xa0, ..] => "compressed with `compress`",
        [b'L', b'Z', b'I', b'P', ..] => "compressed with lzip",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [b'7', b'z', 0xbc, 0xaf, ..] => "a 7z archive",
        [0xed, 0xab, 0xee, 0xdb, ..] => "an RPM package",
        [b'!', b'<', b'a', b'r', ..] => "an `ar` archive, perhaps a Debian package",
        [b'0', b'7', b'0', b'7', b'0', ..] => "a cpio archive",
        [b'Q', b'F', b'I', 0xfb, ..] => "a qcow2 disk image",
        [b'h', b's', b'q', b's', ..] => "a squashfs file system",
        _ if head.get(510..512) == Some(&[0x55, 0xaa]) => "a disk image",
        _ => "no tar",
    };
    match compression {
        Compression::None => known.to_owned(),
        compression => format!("{compression} of something that is {known}"),
    }
}
