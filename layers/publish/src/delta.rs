//! Which blocks a snapshot lacks.

use bake_disk::{BLOCK_SIZE, BlockDigests, ZERO_BLOCK};

use crate::Groups;

/// What is known of the snapshot that a new one is based on.
#[derive(Clone, Debug)]
pub enum Known {
    /// There is none: blocks that nobody puts are zeros.
    Nothing,
    /// Every block.
    Blocks(BlockDigests),
    /// Groups of blocks.
    Groups(Groups),
}

/// The blocks to put so that the snapshot holds `disk`, ascending: those that differ, among them those that were data
/// and are zeros now.
pub fn changed(disk: &BlockDigests, parent: &Known) -> Vec<u64> {
    match parent {
        Known::Nothing => {
            disk.runs().iter().flat_map(|run| run.first..run.first + run.sha256.len() as u64).collect()
        }
        // Behind the parent's end there are zeros.
        Known::Blocks(parent) => {
            let old = parent.iter().chain(std::iter::repeat(ZERO_BLOCK));
            (0..)
                .zip(disk.iter().zip(old))
                .filter(|(_, (new, old))| new != old)
                .map(|(block, _)| block)
                .collect()
        }
        Known::Groups(parent) => parent
            .differing(disk)
            .into_iter()
            .flat_map(|(blocks, is_data)| {
                blocks.filter(move |block| is_data || disk.get(*block) != ZERO_BLOCK)
            })
            .collect(),
    }
}

/// How many bytes blocks have.
pub(crate) fn bytes(blocks: usize) -> u64 {
    blocks as u64 * BLOCK_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::tests::disk;

    #[test]
    fn without_a_parent_every_block_that_is_not_zeros_is_put() {
        assert_eq!(changed(&disk(&[0, 1, 1, 0, 2]), &Known::Nothing), [1, 2, 4]);
        assert_eq!(changed(&disk(&[0, 0]), &Known::Nothing), [0; 0]);
    }

    #[test]
    fn with_a_parent_what_became_zeros_is_put_too() {
        let (old, new) = (disk(&[1, 2, 3, 0]), disk(&[1, 0, 9, 0, 5, 0]));
        assert_eq!(changed(&new, &Known::Blocks(old.clone())), [1, 2, 4]);
        assert_eq!(changed(&old, &Known::Blocks(old.clone())), [0; 0]);
        let groups = Groups::fitting(&old, 45).unwrap();
        assert_eq!(groups.blocks_per_group(), 1);
        assert_eq!(changed(&new, &Known::Groups(groups)), [1, 2, 4]);
    }

    #[test]
    fn whatever_is_put_over_the_parent_gives_the_disk() {
        let contents: [&[u8]; 4] = [&[1, 2, 3, 4, 5, 6], &[0; 6], &[1, 0, 3, 9, 0, 6], &[0, 2, 0, 4, 0, 0]];
        for old in contents {
            for new in contents {
                for tags in [1, 45] {
                    let groups = Groups::fitting(&disk(old), tags).unwrap();
                    let mut result = old.to_vec();
                    for block in changed(&disk(new), &Known::Groups(groups)) {
                        result[block as usize] = new[block as usize];
                    }
                    assert_eq!(result, new, "{old:?}");
                }
            }
        }
    }
}
