//! Where signatures go in a program, and what they cover.

use std::sync::Arc;

use bake_base::{Bytes, Digest, Hasher, ReadAt};
use bake_tree::{Content, Extent};

use super::SignError;
use crate::pe::{Image, PeError};

/// How much is hashed at once, in bytes; even, as the checksum adds 16-bit words.
const WINDOW: u64 = 256 << 10;
/// Signatures begin at multiples of this.
const ALIGNMENT: u64 = 8;
/// More than all signatures of a program have, in bytes.
const MAX_SIGNATURES: u32 = 1 << 20;
/// Bytes of a `WIN_CERTIFICATE` before the signature.
const ENTRY: usize = 8;
/// `WIN_CERT_REVISION_2_0` and `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS7: [u8; 4] = [0x00, 0x02, 0x02, 0x00];

/// A program whose digest is known.
#[derive(Debug)]
pub(super) struct Program<'a> {
    content: &'a Content,
    /// The headers up to the end of the entry that refers to signatures.
    head: Vec<u8>,
    checksum_at: usize,
    security_at: usize,
    /// The end of what is signed, in the file ...
    end: u64,
    /// ... and behind the padding after it.
    padded: u64,
    signatures: Vec<u8>,
    digest: Digest,
    /// The sum of all signed words, where the headers have a checksum.
    sum: Option<u64>,
}

impl<'a> Program<'a> {
    /// Reads the headers and hashes everything.
    pub(super) fn parse(content: &'a Content) -> Result<Self, SignError> {
        let invalid = |reason| Err(SignError::Program(PeError::Invalid(reason)));
        let image = Image::parse(content)?;
        let Some(security_at) = image.security_at() else {
            return invalid("its headers have no room for signatures");
        };
        if security_at % 4 != 0 || security_at + 8 > image.size_of_headers as usize {
            return invalid("its headers are not as linkers write them");
        }
        let (end, signatures) = signatures(content, &image)?;
        check_cover(&image, end)?;
        let mut head = vec![0; security_at + 8];
        content.read_exact_at(0, &mut head).map_err(PeError::Read)?;
        let checksum_at = image.checksum_at();
        let has_checksum = head[checksum_at..checksum_at + 4] != [0; 4];
        let padded = end.next_multiple_of(ALIGNMENT);
        let mut program = Self {
            content,
            head,
            checksum_at,
            security_at,
            end,
            padded,
            signatures,
            digest: Digest::from_bytes([0; 32]),
            sum: has_checksum.then_some(0),
        };
        program.read().map_err(PeError::Read)?;
        Ok(program)
    }

    pub(super) fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Hashes and adds up what is signed.
    fn read(&mut self) -> std::io::Result<()> {
        let mut hasher = Hasher::new();
        let (before, rest) = self.head.split_at(self.checksum_at);
        let (between, _) = rest[4..].split_at(self.security_at - self.checksum_at - 4);
        hasher.update(before);
        hasher.update(between);
        let mut sum = add(add(0, before), between);
        let mut window = vec![0; WINDOW as usize];
        let mut at = self.head.len() as u64;
        while at < self.end {
            let n = WINDOW.min(self.end - at) as usize;
            self.content.read_exact_at(at, &mut window[..n])?;
            hasher.update(&window[..n]);
            if self.sum.is_some() {
                sum = add(sum, &window[..n]);
            }
            at += n as u64;
        }
        hasher.update(&[0; ALIGNMENT as usize][..(self.padded - self.end) as usize]);
        self.digest = hasher.finish();
        self.sum = self.sum.map(|_| sum);
        Ok(())
    }

    /// The program with one more signature. A checksum that was zero stays so, as no firmware looks at it;
    /// any other becomes right again.
    pub(super) fn attach(&self, signature: &[u8]) -> Result<Content, SignError> {
        let mut table = self.signatures.clone();
        // The length is without the padding, as `sbsign` has it.
        let len = u32::try_from(ENTRY + signature.len()).map_err(|_| too_large())?;
        table.extend_from_slice(&len.to_le_bytes());
        table.extend_from_slice(&PKCS7);
        table.extend_from_slice(signature);
        table.resize(table.len().next_multiple_of(ALIGNMENT as usize), 0);
        if table.len() > MAX_SIGNATURES as usize {
            return Err(SignError::Damaged("with one more, its signatures would have more than 1 MiB"));
        }
        let total = self.padded + table.len() as u64;
        let narrow = |value: u64| u32::try_from(value).map_err(|_| too_large());
        narrow(total)?;
        let mut head = self.head.clone();
        head[self.security_at..self.security_at + 4].copy_from_slice(&narrow(self.padded)?.to_le_bytes());
        head[self.security_at + 4..].copy_from_slice(&(table.len() as u32).to_le_bytes());
        if let Some(sum) = self.sum {
            let mut sum = add(add(sum, &head[self.security_at..]), &table);
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            let checksum = narrow(sum + total)?;
            head[self.checksum_at..self.checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
        }
        let start = head.len() as u64;
        let mut extents = vec![bytes_at(0, head)];
        extents.extend(self.content.extents().into_iter().filter_map(|extent| clip(extent, start, self.end)));
        extents.push(bytes_at(self.padded, table));
        Ok(Content::sparse(total, extents).map_err(|_| PeError::Invalid("its extents overlap"))?)
    }

    /// The signatures, each with what may pad it.
    pub(super) fn signatures(&self) -> Result<Vec<&[u8]>, SignError> {
        let mut found = Vec::new();
        let mut rest = &self.signatures[..];
        while !rest.is_empty() {
            let damaged = SignError::Damaged("it does not fit where signatures are");
            let Some((len, _)) = rest.split_first_chunk::<4>() else { return Err(damaged) };
            let len = u32::from_le_bytes(*len) as usize;
            let Some(entry) = rest.get(..len).filter(|entry| entry.len() >= ENTRY) else {
                return Err(damaged);
            };
            // Other kinds are not for EFI programs.
            if entry[4..ENTRY] == PKCS7 {
                found.push(&entry[ENTRY..]);
            }
            rest = rest.get(len.next_multiple_of(ALIGNMENT as usize)..).unwrap_or_default();
        }
        Ok(found)
    }
}

/// The end of what is signed, and the signatures, which must be the last thing in the file: what follows them
/// some verifiers would cover and others not.
fn signatures(content: &Content, image: &Image) -> Result<(u64, Vec<u8>), SignError> {
    let Some((offset, len)) = image.signatures else { return Ok((content.len(), Vec::new())) };
    let offset = u64::from(offset);
    if offset + u64::from(len) != content.len() || !offset.is_multiple_of(ALIGNMENT) {
        return Err(SignError::Damaged("it is not the last thing in the file"));
    }
    if len > MAX_SIGNATURES || !u64::from(len).is_multiple_of(ALIGNMENT) {
        return Err(SignError::Damaged("its length is impossible"));
    }
    let mut bytes = vec![0; len as usize];
    content.read_exact_at(offset, &mut bytes).map_err(PeError::Read)?;
    Ok((offset, bytes))
}

/// Headers and sections must follow each other: the digest is defined section by section, and bytes in no
/// section, or in two, are hashed in one way by the specification and in another by tools.
fn check_cover(image: &Image, end: u64) -> Result<(), SignError> {
    let mut sections: Vec<_> = image.sections.iter().filter(|section| section.raw_size > 0).collect();
    sections.sort_by_key(|section| section.raw_offset);
    let mut covered = u64::from(image.size_of_headers);
    for section in sections {
        let start = u64::from(section.raw_offset);
        if start != covered {
            return Err(SignError::Uncovered { start: covered.min(start), end: covered.max(start) });
        }
        covered = start + u64::from(section.raw_size);
    }
    if covered > end {
        return Err(SignError::Uncovered { start: end, end: covered });
    }
    Ok(())
}

/// Adds 16-bit words to a sum whose carries are folded at the end; a program has fewer than 2^31 words.
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte));
    words.iter().fold(sum + last, |sum, word| sum + u64::from(u16::from_le_bytes(*word)))
}

fn too_large() -> SignError {
    SignError::Program(PeError::TooLarge("signatures".to_owned()))
}

fn bytes_at(start: u64, bytes: Vec<u8>) -> Extent {
    let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(bytes));
    Extent { start, len: source.len(), source, source_offset: 0 }
}

/// The part of an extent from `start` to `end`.
fn clip(extent: Extent, start: u64, end: u64) -> Option<Extent> {
    let (from, to) = (extent.start.max(start), (extent.start + extent.len).min(end));
    let source_offset = extent.source_offset + from.saturating_sub(extent.start);
    (from < to).then(|| Extent { start: from, len: to - from, source_offset, ..extent })
}
