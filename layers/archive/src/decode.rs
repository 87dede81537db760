//! Decoding a whole blob into a file: reading and hashing, decoding, and writing on a thread each.

use std::fs::File;
use std::io::{Read, Write};
use std::thread;

use bake_base::{Digest, Hasher, ReadAt};

use crate::pipe::{CHUNK, PipeReader, PipeWriter, pipe};
use crate::{ArchiveError, Compression, Limits};

/// Called with the number of bytes that were read or decoded since the last call, from any thread.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// What came out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoded {
    /// The digest of the compressed blob.
    pub blob: Digest,
    /// The digest of what it decodes to, if it was wanted: it costs as much as the decoding.
    pub digest: Option<Digest>,
    /// The length of that.
    pub len: u64,
}

/// Decodes all of `input` into `output`, which is written from its start.
pub(crate) fn decode(
    file: &str,
    input: &dyn ReadAt,
    compression: Compression,
    limits: Limits,
    output: &File,
    wants_digest: bool,
    progress: Progress,
) -> Result<Decoded, ArchiveError> {
    let (coded_in, coded_out) = pipe();
    let (plain_in, mut plain_out) = pipe();
    thread::scope(|scope| {
        let failed = || ArchiveError::io(file, "starting a thread for");
        let blob = thread::Builder::new().spawn_scoped(scope, || read(input, coded_in)).map_err(failed())?;
        let unpack = move || unpack(compression, limits, coded_out, plain_in);
        thread::Builder::new().spawn_scoped(scope, unpack).map_err(failed())?;
        let (mut hasher, mut len) = (wants_digest.then(Hasher::new), 0);
        let written = loop {
            match plain_out.next() {
                Ok(Some(chunk)) => {
                    if let Err(error) = (&*output).write_all(chunk) {
                        break Err(ArchiveError::io(file, "writing what decodes from")(error));
                    }
                    if let Some(hasher) = &mut hasher {
                        hasher.update(chunk);
                    }
                    len += chunk.len() as u64;
                    progress(chunk.len() as u64);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(compression.error(file, limits, len, error)),
            }
        };
        // Whoever still works for this pipe is to notice that nobody listens.
        drop(plain_out);
        let blob = join(blob);
        written?;
        Ok(Decoded { blob, digest: hasher.map(Hasher::finish), len })
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Reads `input` and gives its digest; of no meaning when nobody wanted all of it.
fn read(input: &dyn ReadAt, pipe: PipeWriter) -> Digest {
    let mut hasher = Hasher::new();
    let mut offset = 0;
    while offset < input.len() {
        let mut buffer = pipe.buffer();
        buffer.truncate((input.len() - offset).min(CHUNK as u64) as usize);
        let result = input.read_exact_at(offset, &mut buffer);
        hasher.update(&buffer);
        offset += buffer.len() as u64;
        let failed = result.is_err();
        if !pipe.send(result.map(|()| buffer)) || failed {
            break;
        }
    }
    hasher.finish()
}

fn unpack(compression: Compression, limits: Limits, input: PipeReader, output: PipeWriter) {
    let mut decoder = match compression.decoder(input, limits) {
        Ok(decoder) => decoder,
        Err(error) => {
            output.send(Err(error));
            return;
        }
    };
    loop {
        let mut buffer = output.buffer();
        let mut filled = 0;
        let result = loop {
            match decoder.read(&mut buffer[filled..]) {
                Ok(0) => break Ok(()),
                Ok(n) => filled += n,
                Err(error) => break Err(error),
            }
            if filled == buffer.len() {
                break Ok(());
            }
        };
        let ended = filled < buffer.len();
        buffer.truncate(filled);
        if filled > 0 && !output.send(Ok(buffer)) {
            return;
        }
        if let Err(error) = result {
            output.send(Err(error));
            return;
        }
        if ended {
            return;
        }
    }
}
