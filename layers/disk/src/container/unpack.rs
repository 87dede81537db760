//! Reading what can only be read from its start: it is unpacked into a file without a name, whose zeros are holes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use bake_base::{FileBytes, ReadAt, is_zero};

use super::{Format, OpenError};

/// What is looked at for zeros at a time.
const STEP: usize = 64 << 10;

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
    let disk = tempfile::tempfile()?;
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    loop {
        let len = fill(stream, &mut buffer)
            .map_err(|error| OpenError::Damaged { format, problem: error.to_string() })?;
        write(&disk, &buffer[..len], at)?;
        at += len as u64;
        if len < STEP {
            break;
        }
    }
    disk.set_len(at)?;
    Ok(Box::new(super::raw::Reader::new(FileBytes::new(disk)?)))
}

fn write(disk: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    if is_zero(bytes) { Ok(()) } else { disk.write_all_at(bytes, at) }
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
