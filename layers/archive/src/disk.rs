//! Disk images as inputs: recognised by their first bytes, and decoded like everything else.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::compression::{Compression, Limits};
use crate::input::{Input, InputKind};
use crate::local;
use crate::{ArchiveError, OpenOptions};

/// Where the table of a disk is looked for, in bytes: behind a sector of either size.
const TABLES: [usize; 2] = [512, 4096];
const TABLE: &[u8] = b"EFI PART";
const QCOW2: &[u8] = b"QFI\xfb";
/// As much as has to be decoded to see both.
const HEAD: usize = 4096 + TABLE.len();

/// A disk image whose plain bytes can be read.
#[derive(Debug)]
pub struct OpenedDisk {
    /// The image, decoded where it was compressed: raw or in a container.
    pub file: File,
    /// What was read.
    pub input: Input,
    /// What the user should know of this run and machine; never a part of an image or its manifest.
    pub warnings: Vec<String>,
}

/// Whether a file is a disk with a GUID partition table or a qcow2 image, of any compression.
///
/// # Errors
/// When it cannot be read.
pub fn is_disk(path: &Path) -> Result<bool, ArchiveError> {
    let label = path.display().to_string();
    let mut file = local::open(&label, path)?;
    if !file.metadata().map_err(ArchiveError::io(&label, "opening"))?.is_file() {
        return Ok(false);
    }
    let head = read_head(&mut file).map_err(ArchiveError::io(&label, "reading"))?;
    let compression = local::recognise(&head);
    if compression == Compression::None {
        return Ok(recognise(&head));
    }
    let file = local::open(&label, path)?;
    // What does not decode is somebody else's to refuse, who can say why.
    let decoder = compression.decoder(BufReader::new(file), Limits::default());
    Ok(decoder.and_then(|mut decoder| read_head(&mut decoder)).is_ok_and(|head| recognise(&head)))
}

/// Opens a disk image.
///
/// # Errors
/// When it cannot be read or decoded.
pub fn open_disk(path: &Path, options: &OpenOptions) -> Result<OpenedDisk, ArchiveError> {
    let label = path.display().to_string();
    let file = local::open(&label, path)?;
    let local = local::load(&label, file, options)?;
    let file = local.file().try_clone().map_err(ArchiveError::io(&label, "opening"))?;
    let warnings = local.warning.iter().cloned().collect();
    let kind = InputKind::Disk(local.compression);
    Ok(OpenedDisk { file, input: Input { label, kind, digest: local.digest() }, warnings })
}

fn read_head(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn recognise(head: &[u8]) -> bool {
    let has_table = |at: usize| head.get(at..).is_some_and(|rest| rest.starts_with(TABLE));
    head.starts_with(QCOW2) || TABLES.into_iter().any(has_table)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use bake_base::Digest;

    use super::*;

    fn disk(table_at: usize) -> Vec<u8> {
        let mut bytes = vec![0; 100_000];
        bytes[table_at..table_at + TABLE.len()].copy_from_slice(TABLE);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_disk_is_known_by_its_table_whatever_it_is_compressed_with() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk");
        for (bytes, expected) in [
            (disk(512), true),
            (disk(4096), true),
            (gzip(&disk(512)), true),
            (zstd::encode_all(&disk(4096)[..], 1).unwrap(), true),
            (b"QFI\xfb\0\0\0\x03".to_vec(), true),
            (vec![0; 100_000], false),
            (gzip(b"short"), false),
            (gzip(&disk(512))[..20].to_vec(), false),
            (Vec::new(), false),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(is_disk(&path).unwrap(), expected);
        }
        assert!(!is_disk(scratch.path()).unwrap());
        assert!(is_disk(&scratch.path().join("none")).is_err());
    }

    #[test]
    fn a_disk_is_read_decoded_and_named_by_its_file() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.gz");
        let options = OpenOptions { scratch: scratch.path().to_owned(), ..OpenOptions::default() };
        for (bytes, compression) in [(gzip(&disk(512)), Compression::Gzip), (disk(512), Compression::None)] {
            fs::write(&path, &bytes).unwrap();
            let mut opened = open_disk(&path, &options).unwrap();
            let mut plain = Vec::new();
            std::io::Seek::rewind(&mut opened.file).unwrap();
            opened.file.read_to_end(&mut plain).unwrap();
            assert!(plain == disk(512));
            assert_eq!(opened.input.kind, InputKind::Disk(compression));
            assert_eq!(opened.input.digest.wait().unwrap(), Digest::of(&bytes));
        }
    }
}
