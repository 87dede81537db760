//! Reading what can only be read from its start: it is unpacked into a file without a name, whose zeros are holes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use bake_base::{FileBytes, ReadAt, is_zero};

use super::{Format, OpenError};

/// What is looked at for zeros at a time.
const STEP: usize = 64 << 10;
/// What a few bytes can claim to be is not believed: no disk is longer, and none has more in it that is not zeros.
const LIMITS: Limits = Limits { len: 8 << 40, stored: 64 << 30 };

/// How many bytes may come out of a stream, and how many of them may take room.
#[derive(Clone, Copy)]
struct Limits {
    len: u64,
    stored: u64,
}

/// Whether a file begins with these bytes.
pub(super) fn starts_with(file: &FileBytes, magic: &[u8]) -> io::Result<bool> {
    let mut start = [0; 16];
    let start = &mut start[..magic.len()];
    if file.len() < magic.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(0, start)?;
    Ok(start == magic)
}

/// A reader of the file from its start.
pub(super) fn reader(file: &FileBytes) -> io::Result<Box<dyn Read>> {
    let mut file = file.file().try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// The disk that `decoder` makes of the file.
pub(super) fn open(
    format: Format,
    file: FileBytes,
    decoder: impl Fn(Box<dyn Read>) -> Box<dyn Read>,
) -> Result<Box<dyn ReadAt>, OpenError> {
    let mut decoded = decoder(reader(&file)?);
    disk(format, &mut decoded)
}

/// The disk that a stream holds, to its end.
pub(super) fn disk(format: Format, stream: &mut dyn Read) -> Result<Box<dyn ReadAt>, OpenError> {
    let disk = within(LIMITS, format, stream)?;
    Ok(Box::new(super::raw::Reader::new(FileBytes::new(disk)?)))
}

fn within(limits: Limits, format: Format, stream: &mut dyn Read) -> Result<File, OpenError> {
    let damaged = |problem: String| OpenError::Damaged { format, problem };
    let disk = tempfile::tempfile()?;
    let mut buffer = vec![0; STEP];
    let (mut at, mut stored) = (0, 0);
    loop {
        let len = fill(stream, &mut buffer).map_err(|error| damaged(error.to_string()))?;
        let bytes = &buffer[..len];
        if !is_zero(bytes) {
            disk.write_all_at(bytes, at)?;
            stored += len as u64;
        }
        at += len as u64;
        if at > limits.len || stored > limits.stored {
            let Limits { len, stored } = limits;
            return Err(damaged(format!(
                "it unpacks to more than {len} bytes, or more than {stored} that are not zeros"
            )));
        }
        if len < STEP {
            break;
        }
    }
    disk.set_len(at)?;
    Ok(disk)
}

/// A decoder, or what tells when it is read why there is none.
pub(super) fn or_broken<R: Read + 'static>(decoder: io::Result<R>) -> Box<dyn Read> {
    match decoder {
        Ok(decoder) => Box::new(decoder),
        Err(error) => Box::new(Broken(Some(error))),
    }
}

struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match stream.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_end_is_refused_whatever_is_in_it() {
        let limits = Limits { len: 10 * STEP as u64, stored: 3 * STEP as u64 };
        for (byte, allowed) in [(0, 10), (7, 3)] {
            let mut whole = io::repeat(byte).take(allowed * STEP as u64);
            assert!(within(limits, Format::RAW, &mut whole).is_ok());
            let error = within(limits, Format::RAW, &mut io::repeat(byte)).unwrap_err().to_string();
            assert!(error.contains("unpacks to more than 655360 bytes"), "{error}");
        }
    }
}
