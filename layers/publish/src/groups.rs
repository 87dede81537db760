//! The block index that fits into tags.
//!
//! A resource has 50 tags of 256 characters, a disk has thousands of blocks. So blocks in a row are put into groups,
//! the smaller the better, and each group has the first 16 bytes of one SHA-256: whoever wants another block to pass
//! for the same has to find a second preimage of 128 bits. A group that differs is sent whole. The full index is in the
//! manifest.
//!
//! Bytes: `1`, the binary logarithm of a group's blocks, the number of blocks, then runs of groups that are not zeros:
//! the groups before it, their number, their digests; numbers in LEB128. At the end the first 8 bytes of the SHA-256 of
//! all that, since whoever may write tags can take one away.

use std::collections::BTreeMap;

use bake_base::{Digest, Hasher};
use bake_disk::{BlockDigests, ZERO_BLOCK};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Characters in a tag's value.
const VALUE: usize = 256;
/// Bytes of a group's digest.
const SHORT: usize = 16;
/// Bytes of the check at the end.
const CHECK: usize = 8;
/// First byte of what is written here.
const VERSION: u8 = 1;
/// What the tags' keys begin with; the number of each follows.
pub(crate) const KEY: &str = "bake:blocks-";

/// Digests of groups of blocks of one disk; groups of zeros have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// A group has `1 << shift` blocks.
    shift: u32,
    block_count: u64,
    digests: BTreeMap<u64, [u8; SHORT]>,
}

impl Groups {
    /// Groups of `1 << shift` blocks.
    fn new(blocks: &BlockDigests, shift: u32) -> Self {
        let mut hashers: BTreeMap<u64, (Hasher, u64)> = BTreeMap::new();
        for run in blocks.runs() {
            for (block, digest) in (run.first..).zip(&run.sha256) {
                let (group, within) = (block >> shift, block & ((1 << shift) - 1));
                let (hasher, next) = hashers.entry(group).or_insert_with(|| (Hasher::new(), 0));
                (*next..within).for_each(|_| hasher.update(ZERO_BLOCK.as_bytes()));
                hasher.update(digest.as_bytes());
                *next = within + 1;
            }
        }
        let digests = hashers.into_iter().map(|(group, (mut hasher, next))| {
            (next..1 << shift).for_each(|_| hasher.update(ZERO_BLOCK.as_bytes()));
            (group, short(&hasher.finish()))
        });
        Self { shift, block_count: blocks.block_count(), digests: digests.collect() }
    }

    /// The smallest groups that fit into `tags` tags.
    pub fn fitting(blocks: &BlockDigests, tags: usize) -> Option<Self> {
        let room = tags * VALUE / 4 * 3;
        let fits = |groups: &Self| groups.encode().len() <= room;
        // Each step takes the digests that are too many in half.
        let used: u64 = blocks.runs().iter().map(|run| run.sha256.len() as u64).sum();
        let first = (used * SHORT as u64 / room.max(1) as u64).checked_ilog2().unwrap_or(0);
        (first..32).map(|shift| Self::new(blocks, shift)).find(fits)
    }

    /// How many blocks a group has.
    pub fn blocks_per_group(&self) -> u64 {
        1 << self.shift
    }

    /// The groups of another disk that are not the same here, as ranges of its blocks; for each whether there may be
    /// data here.
    pub(crate) fn differing(&self, blocks: &BlockDigests) -> Vec<(std::ops::Range<u64>, bool)> {
        let other = Self::new(blocks, self.shift);
        let groups = blocks.block_count().div_ceil(1 << self.shift);
        let range = |group: u64| group << self.shift..((group + 1) << self.shift).min(blocks.block_count());
        let differs = |group: &u64| self.digests.get(group) != other.digests.get(group);
        let found = (0..groups).filter(differs);
        found.map(|group| (range(group), self.digests.contains_key(&group))).collect()
    }

    /// The tags that hold it.
    pub fn to_tags(&self) -> Vec<(String, String)> {
        let text = BASE64.encode(self.encode());
        let values = text.as_bytes().chunks(VALUE).map(|value| String::from_utf8_lossy(value).into_owned());
        (0..).zip(values).map(|(number, value): (u32, _)| (format!("{KEY}{number:02}"), value)).collect()
    }

    /// What tags hold, among others. `None` where there is nothing of it, or not all.
    pub fn from_tags(tags: &BTreeMap<String, String>) -> Option<Self> {
        let text: String =
            (0..50).map_while(|number| tags.get(&format!("{KEY}{number:02}")).map(String::as_str)).collect();
        Self::decode(&BASE64.decode(text).ok()?)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.shift as u8];
        put(&mut bytes, self.block_count);
        let mut next = 0;
        let mut rest = self.digests.iter().peekable();
        while let Some((first, digest)) = rest.next() {
            let mut run = vec![digest];
            while let Some((_, digest)) = rest.next_if(|(group, _)| **group == first + run.len() as u64) {
                run.push(digest);
            }
            put(&mut bytes, first - next);
            put(&mut bytes, run.len() as u64);
            next = first + run.len() as u64;
            for digest in run {
                bytes.extend(digest);
            }
        }
        let check = Digest::of(&bytes);
        bytes.extend(&check.as_bytes()[..CHECK]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<CHECK>()?;
        if Digest::of(body).as_bytes()[..CHECK] != *check {
            return None;
        }
        let [VERSION, shift @ ..32, rest @ ..] = body else { return None };
        let mut rest = rest;
        let block_count = take(&mut rest)?;
        let (mut digests, mut next) = (BTreeMap::new(), 0_u64);
        while !rest.is_empty() {
            next = next.checked_add(take(&mut rest)?)?;
            for _ in 0..take(&mut rest)? {
                digests.insert(next, *rest.split_off(..SHORT)?.first_chunk()?);
                next = next.checked_add(1)?;
            }
        }
        Some(Self { shift: u32::from(*shift), block_count, digests })
    }
}

fn short(digest: &Digest) -> [u8; SHORT] {
    std::array::from_fn(|at| digest.as_bytes()[at])
}

/// Appends a number (DWARF 5, appendix C, LEB128).
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use bake_disk::{BLOCK_SIZE, Run};

    use super::*;

    /// One byte for each block; 0 is zeros.
    pub(crate) fn disk(blocks: &[u8]) -> BlockDigests {
        let runs = (0..)
            .zip(blocks)
            .filter(|(_, byte)| **byte != 0)
            .map(|(first, byte)| Run { first, sha256: vec![Digest::of(&[*byte])] });
        BlockDigests::from_runs(blocks.len() as u64 * BLOCK_SIZE, runs.collect()).unwrap()
    }

    fn tags(groups: &Groups) -> BTreeMap<String, String> {
        groups.to_tags().into_iter().collect()
    }

    #[test]
    fn the_index_comes_back_from_tags_and_no_value_is_too_long() {
        let many: Vec<u8> = (0..3000_u32).map(|block| (block / 7 % 5) as u8).collect();
        for blocks in [&[][..], &[0, 0], &[1], &[0, 1, 2, 0, 0, 3], &many] {
            for room in [3, 30, 45] {
                let groups = Groups::fitting(&disk(blocks), room).unwrap();
                let tags = tags(&groups);
                assert!(tags.len() <= room && tags.values().all(|value| value.len() <= VALUE));
                assert_eq!(Groups::from_tags(&tags), Some(groups));
            }
        }
        assert_eq!(Groups::fitting(&disk(&many), 45).unwrap().blocks_per_group(), 8);
        assert_eq!(Groups::fitting(&disk(&[1; 500]), 45).unwrap().blocks_per_group(), 1);
    }

    #[test]
    fn tags_that_are_damaged_or_missing_are_no_index() {
        let whole = tags(&Groups::fitting(&disk(&[7; 100]), 45).unwrap());
        assert!(whole.len() > 2 && Groups::from_tags(&whole).is_some());
        for key in whole.keys() {
            let mut without = whole.clone();
            without.remove(key);
            assert_eq!(Groups::from_tags(&without), None, "without {key}");
            let mut changed = whole.clone();
            changed.entry(key.clone()).and_modify(|value| value.replace_range(..1, "_"));
            assert_eq!(Groups::from_tags(&changed), None, "with another {key}");
        }
        assert_eq!(Groups::from_tags(&BTreeMap::new()), None);
    }

    #[test]
    fn no_bytes_make_decoding_panic() {
        for body in [
            &[1][..],
            &[1, 200],
            &[1, 0],
            &[1, 0, 0xff, 0xff],
            &[1, 31, 0, 0, 0xff, 0xff, 0x7f, 1],
            &[2, 0, 0],
        ] {
            let bytes = [body, &Digest::of(body).as_bytes()[..CHECK]].concat();
            assert_eq!(Groups::decode(&bytes), None, "{body:?}");
        }
        assert_eq!(Groups::decode(&[]), None);
    }

    #[test]
    fn a_group_differs_when_one_of_its_blocks_does() {
        let old = Groups::new(&disk(&[1, 2, 3, 4, 0, 0, 0, 0, 5]), 1);
        assert_eq!(old.differing(&disk(&[1, 2, 3, 4, 0, 0, 0, 0, 5])), []);
        let new = disk(&[1, 9, 3, 4, 0, 7, 0, 0, 0]);
        assert_eq!(old.differing(&new), [(0..2, true), (4..6, false), (8..9, true)]);
    }
}
