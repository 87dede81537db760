//! The new file system in the vendor's disk.

use std::io;
use std::sync::Arc;

use bake_base::{LayoutBuilder, ReadAt};
use bake_disk::{ALIGNMENT, Disk, DiskError, GIB, Partition, Table, Write, grow_last};
use bake_fs::ext4;
use bake_tree::Content;

use super::VendorComposition;
use super::source::{Source, refuse};
use crate::disk::ext4_options;
use crate::{Error, Image};

/// Bytes that a file system has a whole number of.
const BLOCK: u64 = 4096;
/// In what steps the disk is looked through for zeros, which need not be written.
const STEP: u64 = 64 << 10;

/// Sizes in bytes: of the partition and of the disk.
type Sizes = (u64, u64);

impl VendorComposition {
    /// Lays the disk out on up to `threads` threads: all of its bytes are the vendor's but those of one partition,
    /// and of the table if that has to be longer.
    ///
    /// # Errors
    /// When the file system cannot hold the tree, or the asked size does not hold the disk.
    pub fn lay_out(self, threads: usize) -> Result<Image, Error> {
        let Self { decisions, tree, source } = self;
        let plan = ext4::plan(&tree, &ext4_options(&decisions, "root", threads))?;
        let (root_len, len) = choose(&plan, &source, decisions.size, decisions.free)?;
        let root = plan.layout(root_len / BLOCK * BLOCK)?;
        let (offset, old_end) = (source.root.offset, source.root.end());

        let mut builder = LayoutBuilder::new();
        let table = if (root_len, len) == (source.root.len, source.table.len) {
            source.copy(&mut builder, &source.disk, (0, offset))?;
            source.copy(&mut builder, &source.disk, (old_end, len))?;
            source.table
        } else {
            let grown = grow_last(&*source.disk, source.root.number, root_len, len)
                .map_err(|error| refuse(&source.label, &error))?;
            let (before, behind): (Vec<_>, Vec<_>) =
                grown.writes.into_iter().partition(|write| write.offset < offset);
            let disk: Arc<dyn ReadAt> = Arc::new(Patched { disk: Arc::clone(&source.disk), writes: before });
            source.copy(&mut builder, &disk, (0, offset))?;
            for Write { offset, bytes } in behind {
                builder.push_bytes(offset, bytes);
            }
            grown.table
        };
        builder.embed(offset, root);
        let layout = builder.finish(len).map_err(DiskError::Layout)?;
        Ok(Image { decisions, disk: Disk { table, layout }, tree })
    }
}

impl Source {
    /// Refers to what is not zero from one place of the disk to another.
    fn copy(
        &self,
        builder: &mut LayoutBuilder,
        disk: &Arc<dyn ReadAt>,
        (start, end): (u64, u64),
    ) -> Result<(), Error> {
        let len = end - start;
        let content =
            Content::whole(Arc::clone(disk), start, len).map_err(|error| refuse(&self.label, &error))?;
        let runs = content.data_blocks(STEP, &mut Vec::new());
        for run in runs.map_err(Error::io(format!("reading `{}`", self.label)))? {
            let (from, to) = (run.start * STEP, (run.end * STEP).min(len));
            builder.push(start + from, to - from, Arc::clone(disk), start + from);
        }
        Ok(())
    }
}

/// The sizes as they are, if they leave `free` percent of the file system free; else those of the smallest disk of a
/// whole number of GiB that does. A disk of an asked size is filled.
fn choose(plan: &ext4::Plan<'_>, source: &Source, asked: Option<u64>, free: u8) -> Result<Sizes, Error> {
    let (root, Table { len, .. }) = (&source.root, &source.table);
    let minimum = plan.minimum_size();
    let fits = |size: u64| -> Result<bool, Error> {
        let size = size / BLOCK * BLOCK;
        Ok(size >= minimum && u128::from(plan.free_bytes(size)?) * 100 >= u128::from(size) * u128::from(free))
    };
    if let Some(asked) = asked {
        let gib = |bytes: u64| format!("{} GiB", bytes.div_ceil(GIB));
        let least = (root.offset + minimum + ALIGNMENT).max(*len);
        if asked == *len && minimum <= root.len {
            return Ok((root.len, asked));
        }
        if asked < least {
            return Err(Error::TooSmall { asked: gib(asked), needed: gib(least) });
        }
        return Ok((rest(root, asked), asked));
    }
    if fits(root.len)? {
        return Ok((root.len, *len));
    }
    let mut wanted = (root.offset + minimum + ALIGNMENT).max(*len).next_multiple_of(GIB);
    while rest(root, wanted) < root.len || !fits(rest(root, wanted))? {
        wanted += GIB;
    }
    Ok((rest(root, wanted), wanted))
}

/// What a disk of `len` bytes leaves for the partition: all up to the MiB of the backup table.
fn rest(root: &Partition, len: u64) -> u64 {
    (len - ALIGNMENT).saturating_sub(root.offset) / BLOCK * BLOCK
}

/// A disk on which something has been written.
#[derive(Debug)]
struct Patched {
    disk: Arc<dyn ReadAt>,
    writes: Vec<Write>,
}

impl ReadAt for Patched {
    fn len(&self) -> u64 {
        self.disk.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_exact_at(offset, buffer)?;
        let end = offset + buffer.len() as u64;
        for write in &self.writes {
            let (from, to) = (write.offset.max(offset), (write.offset + write.bytes.len() as u64).min(end));
            if from < to {
                let bytes = &write.bytes[(from - write.offset) as usize..(to - write.offset) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(bytes);
            }
        }
        Ok(())
    }
}
