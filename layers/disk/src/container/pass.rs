//! The one pass over a disk: every block that holds something is read once, hashed, and put into every
//! container from the same buffer. Blocks that no piece touches cost nothing.

use std::fs::File;
use std::ops::Range;

use bake_base::Layout;

use super::{Chunk, Container, Format, GRANULE, WriteError};
use crate::digests::{BLOCK_SIZE, BlockDigests, block_buffer, block_digest, block_of};

/// What a thread keeps between blocks.
struct Scratch {
    buffer: Vec<u8>,
    covered: Vec<Range<usize>>,
}

struct Output<'a> {
    format: Format,
    file: &'a File,
    container: Box<dyn Container>,
}

impl Output<'_> {
    fn error(&self) -> impl Fn(std::io::Error) -> WriteError {
        let format = self.format;
        move |source| WriteError::Write { format, source }
    }
}

/// Writes `disk` in every format of `outputs` at once, on up to `threads` threads, and gives its digests.
///
/// What the files held before is lost. `progress` is told of the bytes done, from any thread;
/// [`touched_bytes`] says how many there will be. Without outputs, this hashes the disk.
///
/// # Errors
/// When a format cannot hold the disk (before anything is written), a source cannot be read or a file written.
pub fn write(
    disk: &Layout,
    outputs: &[(Format, &File)],
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<BlockDigests, WriteError> {
    let plan = |&(format, file): &(Format, _)| match (format.plan)(disk) {
        Ok(container) => Ok(Output { format, file, container }),
        Err(reason) => Err(WriteError::Unfit { format, reason }),
    };
    let outputs: Vec<Output> = outputs.iter().map(plan).collect::<Result<_, _>>()?;
    for output in &outputs {
        empty(output.file).and_then(|()| output.container.begin(output.file)).map_err(output.error())?;
    }
    let blocks = touched_blocks(disk);
    let scratch = || Scratch { buffer: block_buffer(), covered: Vec::new() };
    let block_at = (blocks.len() as u64, |index| blocks[index as usize]);
    let put = |Scratch { buffer, covered }: &mut Scratch, block| {
        let offset = block * BLOCK_SIZE;
        let bytes = block_of(buffer, block, disk.len());
        fill(disk, offset, bytes, covered).map_err(|source| WriteError::Read { offset, source })?;
        let digest = block_digest(bytes);
        let chunk = Chunk { offset, bytes, covered };
        for output in &outputs {
            output.container.put(output.file, &chunk).map_err(output.error())?;
        }
        progress(bytes.len() as u64);
        Ok(digest)
    };
    let digests = BlockDigests::collect((disk.len(), threads), block_at, scratch, put)?;
    for output in &outputs {
        output.container.finish(output.file).map_err(output.error())?;
    }
    Ok(digests)
}

/// Takes away what a file held. An empty one is left alone: what follows a truncation to nothing is written out when
/// the file is closed, while whoever closes it waits (ext4(5), `auto_da_alloc`).
fn empty(file: &File) -> std::io::Result<()> {
    if file.metadata()?.len() > 0 { file.set_len(0) } else { Ok(()) }
}

/// How many bytes [`write()`] will process: those of all blocks that a piece touches.
pub fn touched_bytes(disk: &Layout) -> u64 {
    touched_blocks(disk).into_iter().map(|block| BLOCK_SIZE.min(disk.len() - block * BLOCK_SIZE)).sum()
}

/// The blocks that a piece touches, ascending.
pub(super) fn touched_blocks(disk: &Layout) -> Vec<u64> {
    let mut blocks = Vec::new();
    let mut next = 0;
    for piece in disk.pieces() {
        let end = piece.end().div_ceil(BLOCK_SIZE);
        blocks.extend((piece.offset / BLOCK_SIZE).max(next)..end);
        next = end;
    }
    blocks
}

/// Reads the bytes from `offset` on and finds which granules pieces cover.
fn fill(
    disk: &Layout,
    offset: u64,
    bytes: &mut [u8],
    covered: &mut Vec<Range<usize>>,
) -> std::io::Result<()> {
    let end = offset + bytes.len() as u64;
    covered.clear();
    for piece in disk.pieces_in(offset, end) {
        let from = (piece.offset.max(offset) - offset) / GRANULE * GRANULE;
        let to = (piece.end().min(end) - offset).next_multiple_of(GRANULE).min(end - offset);
        match covered.last_mut() {
            Some(last) if last.end as u64 >= from => last.end = to as usize,
            _ => covered.push(from as usize..to as usize),
        }
    }
    bake_base::ReadAt::read_exact_at(disk, offset, bytes)
}
