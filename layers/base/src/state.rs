//! What tells one state of a local file from another without reading it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Changes of a file within this many nanoseconds can leave its times as they were: the coarsest clock of a
/// file system that Linux writes natively ticks in seconds.
const TICK: i128 = 2_000_000_000;

/// The state of a local file. Writing to the file, replacing it or copying it elsewhere gives another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    inode: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl FileState {
    /// The state now.
    ///
    /// # Errors
    /// When the file cannot be examined.
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = file.metadata()?;
        Ok(Self {
            inode: stat.ino(),
            size: stat.len(),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            ctime: (stat.ctime(), stat.ctime_nsec()),
        })
    }

    /// Length of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether no byte was written in between; names and permissions may have changed.
    pub fn same_content(&self, other: &Self) -> bool {
        (self.size, self.mtime) == (other.size, other.mtime)
    }

    /// Whether the file was long unchanged when this state of a note about it was written: what changes
    /// shortly before could change again, unseen. The clock is the file system's.
    pub fn settled_before(&self, note: &Self) -> bool {
        nanoseconds(note.mtime) >= nanoseconds(self.ctime) + TICK
    }
}

fn nanoseconds((seconds, nanoseconds): (i64, i64)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}
