//! The content of files: blocks of one size, and the files that are shorter than one together in fragments, all
//! compressed, in the order of the tree's layers.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bake_base::{ReadAt, is_zero, parallel};
use bake_tree::{Content, InodeId, Node, ValidTree};

use super::compress::Zstd;
use super::error::{ids, read};
use super::{Error, Options};

/// How much content is spread over threads at a time: a bound on what waits to be put in order.
const BATCH: usize = 32 << 20;
/// Marks the size of what could not be compressed (`SQUASHFS_COMPRESSED_BIT_BLOCK`).
const UNCOMPRESSED: u32 = 1 << 24;

/// What has been set aside.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<File>,
    len: u64,
}

impl ReadAt for Spool {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Spool {
    fn append(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let start = self.len;
        self.file.write_all_at(bytes, start).map_err(Error::Spool)?;
        self.len += bytes.len() as u64;
        Ok(start)
    }
}

/// Where the content of a file is.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// Where its first block lies in the spool.
    pub start: u64,
    /// Blocks that are no holes, by number, with their sizes as inodes have them.
    pub blocks: Vec<(u64, u32)>,
    /// The fragment that has it, and from where on.
    pub fragment: Option<(u32, u32)>,
}

/// Where a fragment lies in the spool, and its size as the table of fragments has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub start: u64,
    pub size: u32,
}

/// All content.
#[derive(Debug)]
pub(super) struct Data {
    pub spool: Spool,
    /// By [`InodeId::index`].
    pub files: Vec<Stored>,
    pub fragments: Vec<Fragment>,
}

/// A file in the making.
struct Job<'a> {
    id: InodeId,
    content: &'a Content,
}

/// Compresses all content.
pub(super) fn store(
    tree: &ValidTree,
    options: &Options,
    file: Arc<File>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Data, Error> {
    let block_size = u64::from(options.block_size);
    let jobs = ids(tree).filter_map(|id| match &tree.inode(id).node {
        Node::File(content) if !content.is_empty() => Some(Job { id, content }),
        _ => None,
    });
    let (short, long): (Vec<Job<'_>>, Vec<Job<'_>>) = jobs.partition(|job| job.content.len() < block_size);
    let spool = Spool { file, len: 0 };
    let mut data = Data { spool, files: vec![Stored::default(); tree.arena_len()], fragments: Vec::new() };
    let pack = |buffer: &mut Buffer, count: usize| {
        let packed = buffer.pack(count)?;
        progress(count as u64);
        Ok(packed)
    };

    let blocks = long.iter().flat_map(|job| {
        let touched = touched(job.content, block_size).into_iter().flatten();
        touched.map(move |block| (job, block))
    });
    in_batches(
        options,
        blocks,
        |buffer, (job, block)| {
            let start = block * block_size;
            let len = block_size.min(job.content.len() - start) as usize;
            let bytes = &mut buffer.bytes[..len];
            job.content.read_exact_at(start, bytes).map_err(|source| read(tree, job.id, source))?;
            if is_zero(bytes) {
                progress(len as u64);
                return Ok(None);
            }
            pack(buffer, len).map(Some)
        },
        |(job, block), packed: Option<Packed>| {
            if let Some(packed) = packed {
                let start = data.spool.append(&packed.bytes)?;
                let stored = &mut data.files[job.id.index()];
                if stored.blocks.is_empty() {
                    stored.start = start;
                }
                stored.blocks.push((*block, packed.size));
            }
            Ok(())
        },
    )?;

    let groups = groups(&short, block_size as usize);
    in_batches(
        options,
        groups.iter().cloned(),
        |buffer, group| {
            let mut end = 0;
            for job in &short[group.clone()] {
                let len = job.content.len() as usize;
                let bytes = &mut buffer.bytes[end..end + len];
                job.content.read_exact_at(0, bytes).map_err(|source| read(tree, job.id, source))?;
                end += len;
            }
            pack(buffer, end)
        },
        |group, packed| {
            let start = data.spool.append(&packed.bytes)?;
            let number = data.fragments.len() as u32;
            data.fragments.push(Fragment { start, size: packed.size });
            let mut offset = 0;
            for job in &short[group.clone()] {
                data.files[job.id.index()].fragment = Some((number, offset));
                offset += job.content.len() as u32;
            }
            Ok(())
        },
    )?;
    Ok(data)
}

/// Runs `work` on all items, on threads, and `done` on the results in order.
fn in_batches<I: Sync, T: Send>(
    options: &Options,
    mut items: impl Iterator<Item = I>,
    work: impl Fn(&mut Buffer, &I) -> Result<T, Error> + Sync,
    mut done: impl FnMut(&I, T) -> Result<(), Error>,
) -> Result<(), Error> {
    let count = BATCH / options.block_size as usize;
    let buffer = || Buffer { bytes: vec![0; options.block_size as usize], zstd: Zstd::new(options.level) };
    loop {
        let batch: Vec<I> = items.by_ref().take(count).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let results =
            parallel::map(options.threads, batch.len(), buffer, |buffer, i| work(buffer, &batch[i]))?;
        batch.iter().zip(results).try_for_each(|(item, result)| done(item, result))?;
    }
}

/// What each thread has.
struct Buffer {
    bytes: Vec<u8>,
    zstd: Zstd,
}

/// A block as it is stored.
struct Packed {
    bytes: Vec<u8>,
    size: u32,
}

impl Buffer {
    /// Compresses the first `count` bytes, where that makes them fewer.
    fn pack(&mut self, count: usize) -> Result<Packed, Error> {
        let bytes = &self.bytes[..count];
        Ok(match self.zstd.compress(bytes)? {
            Some(compressed) => Packed { size: compressed.len() as u32, bytes: compressed },
            None => Packed { bytes: bytes.to_vec(), size: count as u32 | UNCOMPRESSED },
        })
    }
}

/// The blocks that any extent touches, ascending.
fn touched(content: &Content, block_size: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for extent in content.extents() {
        let blocks = extent.start / block_size..(extent.start + extent.len).div_ceil(block_size);
        match runs.last_mut() {
            Some(last) if blocks.start <= last.end => last.end = last.end.max(blocks.end),
            _ => runs.push(blocks),
        }
    }
    runs
}

/// Files that go into a fragment together: each takes what comes next while it fits.
fn groups(files: &[Job<'_>], block_size: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut room = 0;
    for (index, job) in files.iter().enumerate() {
        let len = job.content.len() as usize;
        match groups.last_mut().filter(|_| len <= room) {
            Some(group) => group.end += 1,
            None => {
                groups.push(index..index + 1);
                room = block_size;
            }
        }
        room -= len;
    }
    groups
}
