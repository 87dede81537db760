//! What readers of several formats do alike: fields of headers, and reads that fall apart into units.

use std::io;
use std::ops::Range;

/// The field's bytes. All headers have a fixed size, which is more than any offset that is asked for.
fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

pub(super) fn be32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(at(bytes, offset))
}

pub(super) fn be64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(at(bytes, offset))
}

pub(super) fn le16(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(at(bytes, offset))
}

pub(super) fn le32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(at(bytes, offset))
}

pub(super) fn le64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(at(bytes, offset))
}

/// Where a read of `len` bytes ends.
///
/// # Errors
/// `UnexpectedEof` when that is behind the end of the disk.
pub(super) fn end(offset: u64, len: usize, disk: u64) -> io::Result<u64> {
    let end = offset.checked_add(len as u64).filter(|end| *end <= disk);
    end.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Takes a read apart: for each unit of `size` bytes its number, where in it the read begins, and for which
/// bytes of the buffer.
pub(super) fn each_unit(
    offset: u64,
    end: u64,
    size: u64,
    mut read: impl FnMut(u64, u64, Range<usize>) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = offset;
    while at < end {
        let stop = (at / size + 1).saturating_mul(size).min(end);
        read(at / size, at % size, (at - offset) as usize..(stop - offset) as usize)?;
        at = stop;
    }
    Ok(())
}
