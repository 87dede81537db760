//! Where two disks differ.

use std::io;
use std::ops::Range;

use bake_base::{ReadAt, is_zero, parallel};

use crate::digests::BLOCK_SIZE;

/// What differences are rounded outwards to, in bytes.
const GRANULE: u64 = 4096;

/// The ranges of bytes in which two disks differ, ascending, apart from each other, in multiples of 4 KiB. Of
/// disks of different lengths, the shorter one counts as filled up with zeros.
///
/// `progress` is told of the bytes done, from any thread.
///
/// # Errors
/// When one of them cannot be read.
pub fn differences(
    a: &dyn ReadAt,
    b: &dyn ReadAt,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Vec<Range<u64>>> {
    let len = a.len().max(b.len());
    let buffers = || [vec![0; BLOCK_SIZE as usize], vec![0; BLOCK_SIZE as usize]];
    let blocks = len.div_ceil(BLOCK_SIZE) as usize;
    let found = parallel::map(threads, blocks, buffers, |[left, right], block| {
        let offset = block as u64 * BLOCK_SIZE;
        read(a, offset, left)?;
        read(b, offset, right)?;
        progress(BLOCK_SIZE.min(len - offset));
        Ok::<_, io::Error>(differing(offset, left, right, len))
    })?;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for range in found.into_iter().flatten() {
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    Ok(ranges)
}

/// Fills the buffer, behind the disk's end with zeros.
fn read(disk: &dyn ReadAt, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let there = disk.len().saturating_sub(offset).min(BLOCK_SIZE) as usize;
    buffer[there..].fill(0);
    // Behind its end there is no place to read nothing from, either.
    if there == 0 { Ok(()) } else { disk.read_exact_at(offset, &mut buffer[..there]) }
}

fn differing(offset: u64, left: &[u8], right: &[u8], len: u64) -> Vec<Range<u64>> {
    if is_zero(left) && is_zero(right) {
        return Vec::new();
    }
    let granules = left.chunks(GRANULE as usize).zip(right.chunks(GRANULE as usize));
    let starts = (offset..).step_by(GRANULE as usize);
    let differ = starts.zip(granules).filter(|(_, (left, right))| left != right);
    differ.map(|(start, _)| start..(start + GRANULE).min(len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(a: &[u8], b: &[u8]) -> Vec<Range<u64>> {
        differences(&a.to_vec(), &b.to_vec(), 2, &|_| ()).unwrap()
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let a = vec![1; 3 << 20];
        let mut b = a.clone();
        assert!(compare(&a, &b).is_empty());
        for at in [0, 4096, (512 << 10) - 1, 512 << 10, (3 << 20) - 1] {
            b[at] = 2;
        }
        assert_eq!(compare(&a, &b), [0..8192, 520_192..528_384, 3_141_632..3_145_728]);
    }

    #[test]
    fn what_a_shorter_disk_lacks_counts_as_zeros() {
        assert!(compare(&[1, 0, 0], &[1]).is_empty());
        assert_eq!(compare(&[1, 0, 3], &[1]).first(), Some(&(0..3)));
        assert!(compare(&[], &[]).is_empty());
        let long = [vec![0; 3 << 20], vec![1]].concat();
        assert_eq!(compare(&[0], &long).first(), Some(&(3 << 20..(3 << 20) + 1)));
        assert_eq!(compare(&long, &[0]), compare(&[0], &long));
    }
}
