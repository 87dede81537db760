//! Directories: sorted names in runs that share a block of inodes, and an index of the runs that begin blocks
//! (`struct squashfs_dir_header`, `struct squashfs_dir_entry`, `struct squashfs_dir_index`).

use super::Error;
use super::inode::Listing;
use super::metadata::{BLOCK, Position, Stream};

/// How many names a run may have (`SQUASHFS_DIR_COUNT`).
const LONGEST_RUN: usize = 256;
/// Bytes of a run's header.
const HEADER: usize = 12;
/// Bytes of an entry before its name.
const ENTRY: usize = 8;

/// A name, and where its inode is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub name: &'a [u8],
    pub inode: Position,
    pub number: u32,
    pub kind: u16,
}

/// Writes the listing of a directory.
pub(super) fn write(stream: &mut Stream<'_>, mut names: &[Name<'_>]) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    if names.is_empty() {
        return Ok(listing);
    }
    listing.position = stream.position()?;
    let mut indexed = listing.position.block;
    while let Some(first) = names.first() {
        let here = stream.position()?;
        if here.block != indexed
            && let Some(count) = listing.index_count.checked_add(1)
        {
            indexed = here.block;
            listing.index_count = count;
            let len = listing.len as u32;
            listing.index.extend(len.to_le_bytes());
            listing.index.extend(here.block.to_le_bytes());
            listing.index.extend((first.name.len() as u32 - 1).to_le_bytes());
            listing.index.extend(first.name);
        }
        let (run, rest) = names.split_at(run(names, BLOCK - usize::from(here.offset)));
        let bytes = encode(run);
        stream.append(&bytes)?;
        listing.len += bytes.len() as u64;
        if listing.len > u64::from(u32::MAX) {
            return Err(Error::TooLarge {
                what: "bytes of names in one directory",
                most: u64::from(u32::MAX),
            });
        }
        names = rest;
    }
    Ok(listing)
}

/// How many of the first names make a run: their inodes lie in one block, have numbers near each other, and begin
/// in the block of the listing of which `room` is left.
fn run(names: &[Name<'_>], room: usize) -> usize {
    let first = names[0];
    let mut size = HEADER;
    let fits = |name: &&Name<'_>| {
        let delta = i64::from(name.number) - i64::from(first.number);
        let near = i16::try_from(delta).is_ok() && name.inode.block == first.inode.block;
        let begins = size < room;
        size += ENTRY + name.name.len();
        near && begins
    };
    names.iter().take(LONGEST_RUN).take_while(fits).count().max(1)
}

fn encode(run: &[Name<'_>]) -> Vec<u8> {
    let first = run[0];
    let mut bytes = Vec::new();
    bytes.extend((run.len() as u32 - 1).to_le_bytes());
    bytes.extend(first.inode.block.to_le_bytes());
    bytes.extend(first.number.to_le_bytes());
    for name in run {
        bytes.extend(name.inode.offset.to_le_bytes());
        // Within 16 bits, as the run was chosen.
        bytes.extend((name.number.wrapping_sub(first.number) as i16).to_le_bytes());
        bytes.extend(name.kind.to_le_bytes());
        bytes.extend((name.name.len() as u16 - 1).to_le_bytes());
        bytes.extend(name.name);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::compress::Zstd;
    use super::*;

    fn name(name: &[u8], block: u32, number: u32) -> Name<'_> {
        Name { name, inode: Position { block, offset: 5 }, number, kind: 2 }
    }

    #[test]
    fn runs_end_with_blocks_numbers_and_counts() {
        let far = [name(b"a", 0, 40_000), name(b"b", 0, 10_000), name(b"c", 0, 7231)];
        assert_eq!(run(&far, BLOCK), 2);
        assert_eq!(run(&[name(b"a", 0, 1), name(b"b", 9, 2)], BLOCK), 1);
        assert_eq!(run(&vec![name(b"a", 0, 1); 1000], 1 << 20), 256);
        // The third entry begins after 30 bytes.
        assert_eq!(run(&vec![name(b"a", 0, 1); 1000], 30), 2);
        assert_eq!(run(&vec![name(b"a", 0, 1); 1000], 1), 1);
        assert_eq!(
            encode(&far[..2]),
            [
                &[1, 0, 0, 0, 0, 0, 0, 0][..],
                &40_000_u32.to_le_bytes(),
                &[5, 0, 0, 0, 2, 0, 0, 0, b'a', 5, 0],
                &(-30_000_i16).to_le_bytes(),
                &[2, 0, 0, 0, b'b']
            ]
            .concat()
        );
    }

    #[test]
    fn every_block_of_a_long_listing_is_in_its_index() {
        let texts: Vec<String> = (0..2000).map(|i| format!("{i:0100}")).collect();
        let names: Vec<_> = texts.iter().map(|text| name(text.as_bytes(), 0, 1)).collect();
        let mut zstd = Zstd::new(1);
        let mut stream = Stream::new(&mut zstd);
        let listing = write(&mut stream, &names).unwrap();
        let blocks = stream.finish().unwrap().1;
        assert_eq!(usize::from(listing.index_count), blocks.len() - 1);
        for (entry, block) in listing.index.chunks(112).zip(&blocks[1..]) {
            assert_eq!(u64::from(u32::from_le_bytes(entry[4..8].try_into().unwrap())), *block);
        }
    }
}
