//! The index of a large directory: its first block, and where that is full a level of nodes, tell by the hash
//! of a name in which leaf it is (`directory.rst`, "Hash Tree Directories").
//!
//! Leaves are cut where the hashes' leading bits change, halving until the names fit a block. So a cut depends
//! on the hashes around it and not on all that come before, and one more name changes one leaf.

use std::ops::Range;

use super::bytes::{Block, EMPTY, Ink, put16, put32};
use super::checksum::Seed;
use super::directory::{BlockWriter, DIRECTORY, DOTS, Entry, Hashed, Names, ROOM, TAIL, put_entry};
use super::geometry::BLOCK;
use super::hash::HALF_MD4;

/// Bytes of a pair of hash and block.
const PAIR: usize = 8;
/// Where pairs begin in the first block: after the dots and eight bytes about the index.
const ROOT_PAIRS: usize = DOTS + 8;
/// Where pairs begin in a node: after an entry that hides them.
const NODE_PAIRS: usize = 8;
/// Bytes at the end of an index block: the checksum.
const INDEX_TAIL: usize = 8;
/// Pairs in the first block, the one that holds their number included.
const ROOT_LIMIT: usize = (BLOCK as usize - ROOT_PAIRS - INDEX_TAIL) / PAIR;
/// Pairs in a node.
const NODE_LIMIT: usize = (BLOCK as usize - NODE_PAIRS - INDEX_TAIL) / PAIR;
/// Leaves that two levels can tell apart; a third would need the `large_dir` feature.
pub(super) const MOST_LEAVES: usize = ROOT_LIMIT * NODE_LIMIT;

/// A leaf: names `range` of those sorted by hash, and the pair's hash, whose lowest bit says that the leaf
/// before it holds the same hash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf {
    hash: u32,
    range: Range<usize>,
}

/// How many blocks the index and leaves of these names take, sorted by hash.
///
/// # Errors
/// The number of leaves when it is more than an index can hold.
pub(super) fn blocks<T>(names: &[Hashed<T>]) -> Result<u32, usize> {
    let leaves = leaves(names).len();
    if leaves > MOST_LEAVES {
        return Err(leaves);
    }
    Ok((1 + leaves + nodes(leaves)) as u32)
}

fn nodes(leaves: usize) -> usize {
    if leaves > ROOT_LIMIT { leaves.div_ceil(NODE_LIMIT) } else { 0 }
}

fn leaves<T>(names: &[Hashed<T>]) -> Vec<Leaf> {
    let ends: Vec<u64> = names
        .iter()
        .scan(0, |end, name| {
            *end += u64::from(name.size);
            Some(*end)
        })
        .collect();
    let start_of = |index: usize| if index == 0 { 0 } else { ends[index - 1] };
    let mut leaves = Vec::new();
    // Ranges still to be cut, the lowest on top; the hash at which each begins and the bit to cut it by.
    let mut stack = vec![(0..names.len(), 0_u32, 31)];
    while let Some((range, hash, bit)) = stack.pop() {
        if range.is_empty() {
            continue;
        }
        let size = ends[range.end - 1] - start_of(range.start);
        if size <= ROOM as u64 {
            leaves.push(Leaf { hash, range });
        } else if bit == 0 {
            // All of one hash: they go on from leaf to leaf.
            let mut start = range.start;
            while start < range.end {
                let limit = start_of(start) + ROOM as u64;
                let end = start + ends[start..range.end].partition_point(|end| *end <= limit);
                let hash = hash | u32::from(start > range.start);
                leaves.push(Leaf { hash, range: start..end });
                start = end;
            }
        } else {
            let middle = hash | 1 << bit;
            let cut = range.start + names[range.clone()].partition_point(|name| name.hash < middle);
            stack.push((cut..range.end, middle, bit - 1));
            stack.push((range.start..cut, hash, bit - 1));
        }
    }
    leaves
}

/// Writes first block, leaves and nodes, in this order, so that a new leaf moves nothing but nodes.
pub(super) fn write(
    directory: &Names<'_>,
    names: &[Hashed<Entry<'_>>],
    next: &mut impl FnMut() -> u64,
    seed: Seed,
    ink: &mut Ink,
) {
    let first = next();
    let leaves = leaves(names);
    let mut pairs = Vec::with_capacity(leaves.len());
    for (index, leaf) in leaves.iter().enumerate() {
        let mut writer = BlockWriter::new();
        for name in &names[leaf.range.clone()] {
            writer.push(&name.what);
        }
        ink.put_block(next(), &writer.finish(seed), TAIL);
        pairs.push((leaf.hash, 1 + index as u32));
    }
    let levels = u8::from(nodes(leaves.len()) > 0);
    if levels > 0 {
        let mut above = Vec::new();
        for (index, chunk) in pairs.chunks(NODE_LIMIT).enumerate() {
            let mut node = EMPTY;
            put16(&mut node, 4, BLOCK as u16);
            put_pairs(&mut node, chunk, NODE_PAIRS, NODE_LIMIT, seed);
            ink.put_block(next(), &node, INDEX_TAIL);
            above.push((chunk[0].0, (1 + leaves.len() + index) as u32));
        }
        pairs = above;
    }
    let mut root = EMPTY;
    put_entry(&mut root, &Entry { name: b".", inode: directory.own, kind: DIRECTORY }, TAIL as u16);
    let rest = (BLOCK as usize - TAIL) as u16;
    put_entry(&mut root[12..], &Entry { name: b"..", inode: directory.parent, kind: DIRECTORY }, rest);
    root[DOTS + 4] = HALF_MD4;
    root[DOTS + 5] = 8;
    root[DOTS + 6] = levels;
    put_pairs(&mut root, &pairs, ROOT_PAIRS, ROOT_LIMIT, seed);
    ink.put_block(first, &root, INDEX_TAIL);
}

/// Writes pairs and checksum. The place of the first hash, which is known to be the lowest, holds their limit
/// and number.
fn put_pairs(block: &mut Block, pairs: &[(u32, u32)], at: usize, limit: usize, seed: Seed) {
    for (slot, (hash, number)) in block[at..].chunks_exact_mut(PAIR).zip(pairs) {
        put32(slot, 0, *hash);
        put32(slot, 4, *number);
    }
    put16(block, at, limit as u16);
    put16(block, at + 2, pairs.len() as u16);
    // The checksum covers what is used, and the eight bytes that hold it as if it were zero.
    let checksum = seed.with(&block[..at + pairs.len() * PAIR]).checksum(&[0; INDEX_TAIL]);
    put32(block, BLOCK as usize - 4, checksum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sizes: &[(u32, u32)]) -> Vec<Hashed<()>> {
        sizes.iter().map(|(hash, size)| Hashed { hash: *hash, size: *size, what: () }).collect()
    }

    #[test]
    fn leaves_are_cut_at_leading_bits() {
        let found = leaves(&names(&[(2, 2000), (4, 2000), (0x4000_0000, 2000), (0x8000_0000, 4000)]));
        let expected = [(0, 0..2), (0x4000_0000, 2..3), (0x8000_0000, 3..4)];
        assert_eq!(found, expected.map(|(hash, range)| Leaf { hash, range }));
    }

    #[test]
    fn a_hash_that_fills_more_than_a_leaf_goes_on_in_the_next() {
        let found = leaves(&names(&[(2, 2000), (6, 2000), (6, 2000), (6, 2000), (6, 264), (8, 3000)]));
        let expected = [(0, 0..1), (6, 1..3), (7, 3..5), (8, 5..6)];
        assert_eq!(found, expected.map(|(hash, range)| Leaf { hash, range }));
    }

    #[test]
    fn more_names_never_take_fewer_blocks() {
        let mut all = Vec::new();
        let mut before = 0;
        for i in 0_u32..5000 {
            all.push((i.wrapping_mul(0x9e37_79b1) & !1, 12 + 4 * (i % 64)));
            if i % 97 == 0 {
                let mut sorted = all.clone();
                sorted.sort_unstable();
                let now = blocks(&names(&sorted)).unwrap();
                assert!(now >= before);
                before = now;
            }
        }
        assert!(before > 150);
    }

    #[test]
    fn an_index_has_an_end() {
        let full = vec![(0, ROOM as u32); MOST_LEAVES];
        assert_eq!(blocks(&names(&full)), Ok((1 + MOST_LEAVES + ROOT_LIMIT) as u32));
        assert_eq!(blocks(&names(&[&full[..], &[(0, 1)]].concat())), Err(MOST_LEAVES + 1));
    }
}
