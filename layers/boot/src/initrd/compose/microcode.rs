//! The archive that comes first and is never compressed: processors' microcode, which the kernel looks for before it
//! can decode anything (Linux, Documentation/arch/x86/microcode.rst).

use bake_archive::{Compression, Limits, RECOGNISED_BY, cpio_entry_len, encode_cpio};
use bake_tree::{Content, Tree, TreePath, ValidTree};

use super::copy::{Copier, names};
use super::{ComposeError, Options, finish};
use crate::path;
use crate::pattern::matches;

/// Where the kernel looks.
const DIRECTORY: &str = "kernel/x86/microcode";
/// Marks an archive that is not the main one; dracut's and initramfs-tools' programs step over it.
const MARK: &str = "early_cpio";
/// More than all microcode of a vendor has, in bytes.
const LIMITS: Limits = Limits { decoded: 256 << 20, memory: 128 << 20 };
/// Intel's processors take an update only from an address that is a multiple of this (Software Developer's Manual,
/// volume 3, 11.11.6), and the kernel gives them the one inside of the initrd.
const ALIGNMENT: u64 = 16;

/// The archive, or nothing when the tree has no microcode.
pub(super) fn compose(tree: &Tree, options: &Options<'_>) -> Result<Option<Vec<u8>>, ComposeError> {
    let amd = gather(tree, "amd-ucode", |name| matches("*.bin", name))?;
    let intel = gather(tree, "intel-ucode", is_signature)?;
    if amd.is_empty() && intel.is_empty() {
        return Ok(None);
    }
    let nothing = Tree::new();
    let mut archive = Copier::new(&nothing);
    let mut before = cpio_entry_len(1, 0);
    for directory in ["kernel", "kernel/x86", DIRECTORY] {
        before += cpio_entry_len(directory.len(), 0);
    }
    let name = |vendor: &str| format!("{DIRECTORY}/{vendor}.bin");
    let (amd_name, intel_name) = (name("AuthenticAMD"), name("GenuineIntel"));
    if !amd.is_empty() {
        before += cpio_entry_len(amd_name.len(), amd.len() as u64);
        archive.write(&amd_name, 0o644, amd)?;
    }
    if !intel.is_empty() {
        before += cpio_entry_len(intel_name.len(), 0);
        archive.write(&intel_name, 0o644, intel)?;
    }
    // The mark has no say but its length, and stands before all others.
    let before = before + cpio_entry_len(MARK.len(), 0);
    let mut mark = b"1\n".to_vec();
    while !(before + mark.len().next_multiple_of(4) as u64).is_multiple_of(ALIGNMENT) {
        mark.push(b'\n');
    }
    archive.write(MARK, 0o644, mark)?;
    let archive: ValidTree = finish(archive.out, options.epoch)?;
    Ok(Some(encode_cpio(&archive, Compression::None)?))
}

/// `06-8f-08`: family, model, stepping. Others are notes, or for a later step.
fn is_signature(name: &str) -> bool {
    let parts: Vec<_> = name.split('-').collect();
    parts.len() == 3
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// All files of a vendor, by name, one after the other.
fn gather(tree: &Tree, directory: &str, fits: impl Fn(&str) -> bool) -> Result<Vec<u8>, ComposeError> {
    let mut bytes = Vec::new();
    let tops = ["usr/lib/firmware", "lib/firmware"].map(|top| format!("{top}/{directory}"));
    let Some(directory) = tops.into_iter().find(|top| !names(tree, top).is_empty()) else { return Ok(bytes) };
    for name in names(tree, &directory) {
        let plain = name.strip_suffix(".xz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        let at = path(&directory).join(name.as_bytes());
        if !fits(plain) {
            continue;
        }
        if let Ok(Some(content)) = tree.file(&at) {
            decode(&at, content, &mut bytes)?;
        }
    }
    Ok(bytes)
}

fn decode(at: &TreePath, content: &Content, bytes: &mut Vec<u8>) -> Result<(), ComposeError> {
    let damaged =
        |error: std::io::Error| ComposeError::Damaged { path: at.clone(), reason: error.to_string() };
    let mut head = vec![0; content.len().min(RECOGNISED_BY as u64) as usize];
    bake_base::ReadAt::read_exact_at(content, 0, &mut head).map_err(damaged)?;
    let compression = match Compression::recognise(&head) {
        // Microcode is not text: only what these begin with counts.
        compression @ (Compression::Xz | Compression::Zstd) => compression,
        _ => Compression::None,
    };
    let decoder = compression.decoder(std::io::BufReader::new(content.reader()), LIMITS);
    let mut decoder = decoder.map_err(damaged)?;
    std::io::Read::read_to_end(&mut decoder, bytes).map_err(damaged)?;
    Ok(())
}
