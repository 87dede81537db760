//! Formats whose bytes follow each other: blocks are compressed in parallel and written in the order of the disk,
//! by whichever thread has the one whose turn it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use bake_base::{Digest, Hasher, Layout};

use super::pass::touched_blocks;
use super::{Chunk, Container};
use crate::digests::BLOCK_SIZE;

/// A format whose bytes follow each other.
pub(super) trait Encode: Send + Sync {
    /// What a block becomes before its place is known.
    type Body: Send;
    /// What is known of the file so far.
    type State: Send;

    /// Writes what comes before all blocks.
    fn begin(&self, out: &mut Out<'_>) -> io::Result<Self::State>;

    /// Compresses a block: on any thread, in any order.
    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Self::Body>;

    /// Writes the block that begins at `offset` of the disk: ascending. What was left out is zeros.
    fn append(
        &self,
        state: &mut Self::State,
        out: &mut Out<'_>,
        offset: u64,
        body: Self::Body,
    ) -> io::Result<()>;

    /// Writes what comes behind all blocks.
    fn end(&self, state: Self::State, out: &mut Out<'_>) -> io::Result<()>;
}

/// The end of a file that grows.
pub(super) struct Out<'a> {
    file: &'a File,
    cursor: &'a mut Cursor,
}

/// How far a file has grown.
#[derive(Default)]
struct Cursor {
    /// Where what is being written begins: not 0 in an archive.
    origin: u64,
    at: u64,
    /// Of what came since, where somebody wants to know.
    hasher: Option<Hasher>,
}

impl Out<'_> {
    /// How many bytes there are since the origin.
    pub(super) fn at(&self) -> u64 {
        self.cursor.at - self.cursor.origin
    }

    /// Makes the end the origin, and hashes all bytes that come.
    pub(super) fn start_part(&mut self) {
        self.cursor.origin = self.cursor.at;
        self.cursor.hasher = Some(Hasher::new());
    }

    /// The digest of all bytes since the part started, and how many they are.
    pub(super) fn end_part(&mut self) -> (Digest, u64) {
        let digest = self.cursor.hasher.take().unwrap_or_default().finish();
        (digest, self.at())
    }

    /// Adds bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(hasher) = &mut self.cursor.hasher {
            hasher.update(bytes);
        }
        self.file.write_all_at(bytes, self.cursor.at)?;
        self.cursor.at += bytes.len() as u64;
        Ok(())
    }

    /// Adds a few zeros.
    pub(super) fn put_zeros(&mut self, len: u64) -> io::Result<()> {
        self.put(&vec![0; len as usize])
    }

    /// Replaces bytes of the file, counted from its start.
    pub(super) fn replace(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}

/// A disk in such a format.
pub(super) struct InOrder<E: Encode> {
    encode: E,
    /// The blocks that will come.
    turns: Vec<u64>,
    progress: Mutex<Progress<E>>,
}

struct Progress<E: Encode> {
    /// What the format knows; nothing before it began and after it ended.
    state: Option<E::State>,
    cursor: Cursor,
    /// How many blocks are written.
    done: usize,
    /// Compressed blocks that wait for others.
    waiting: BTreeMap<usize, E::Body>,
}

impl<E: Encode> InOrder<E> {
    pub(super) fn new(disk: &Layout, encode: E) -> Self {
        let progress = Progress { state: None, cursor: Cursor::default(), done: 0, waiting: BTreeMap::new() };
        Self { encode, turns: touched_blocks(disk), progress: Mutex::new(progress) }
    }
}

impl<E: Encode> Container for InOrder<E> {
    fn begin(&self, file: &File) -> io::Result<()> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.encode.begin(&mut Out { file, cursor: &mut progress.cursor })?;
        progress.state = Some(state);
        Ok(())
    }

    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()> {
        let body = self.encode.encode(chunk)?;
        let block = chunk.offset / BLOCK_SIZE;
        let turn = self.turns.partition_point(|other| *other < block);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = &mut *progress;
        progress.waiting.insert(turn, body);
        let Some(state) = &mut progress.state else { return Ok(()) };
        let mut out = Out { file, cursor: &mut progress.cursor };
        while let Some(body) = progress.waiting.remove(&progress.done) {
            self.encode.append(state, &mut out, self.turns[progress.done] * BLOCK_SIZE, body)?;
            progress.done += 1;
        }
        Ok(())
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match progress.state.take() {
            Some(state) => self.encode.end(state, &mut Out { file, cursor: &mut progress.cursor }),
            None => Ok(()),
        }
    }
}
