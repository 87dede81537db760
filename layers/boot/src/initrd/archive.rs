//! The names in a sequence of cpio archives, streaming.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;

use bake_archive::{Compression, Limits, RECOGNISED_BY};
use bake_tree::Content;

/// Read at once, in bytes.
const BUFFER: usize = 256 << 10;
/// What decoding may cost: initrds are unpacked into memory, and kernels cannot decode larger windows.
const LIMITS: Limits = Limits { decoded: 8 << 30, memory: 128 << 20 };
/// Bytes of a header, its magic number included.
const HEADER: usize = 110;
/// Longest name (`PATH_MAX`).
const MAX_NAME: usize = 4096;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// Calls `each` with the name of every entry until it breaks off.
///
/// Archives that are not compressed come first; what follows them is one compressed stream, which ends the
/// initrd. Bytes behind a complete archive that are neither do not matter, as they do not matter to the kernel.
pub(super) fn names(content: &Content, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let mut plain = BufReader::with_capacity(BUFFER, content.reader());
    let (Next::Other(head), archives) = archives(&mut plain, &mut each)? else { return Ok(()) };
    let mut head = head.to_vec();
    (&mut plain).take((RECOGNISED_BY - head.len()) as u64).read_to_end(&mut head)?;
    let compression = Compression::recognise(&head);
    if compression == Compression::None {
        return if archives > 0 {
            Ok(())
        } else {
            Err(invalid("it is neither a cpio archive nor compressed"))
        };
    }
    let decoder = compression.decoder(Cursor::new(head).chain(plain), LIMITS)?;
    let mut decoded = BufReader::with_capacity(BUFFER, decoder);
    match self::archives(&mut decoded, &mut each)? {
        (Next::Other(_), 0) => Err(invalid("what it decompresses to is no cpio archive")),
        _ => Ok(()),
    }
}

/// What comes after complete archives.
enum Next {
    /// Nothing, or nothing that anybody wants to know.
    End,
    /// Something that is no cpio archive, with these first bytes.
    Other([u8; 6]),
}

/// Goes through archives, and tells what follows them and how many there were.
fn archives(
    reader: &mut impl BufRead,
    each: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<(Next, usize)> {
    for count in 0.. {
        // A decoder that stumbles over padding after a whole archive has done its work.
        let more = match skip_zeros(reader) {
            Err(error) if count == 0 => return Err(error),
            more => more.unwrap_or(false),
        };
        if !more {
            return Ok((Next::End, count));
        }
        let mut magic = [0; 6];
        let mut position = match reader.read_exact(&mut magic) {
            Ok(()) if is_magic(magic) => magic.len(),
            Ok(()) => return Ok((Next::Other(magic), count)),
            Err(_) if count > 0 => return Ok((Next::End, count)),
            Err(error) => return Err(error),
        };
        let mut name = Vec::new();
        loop {
            let len = entry(reader, position, &mut name)?;
            if name == TRAILER {
                break;
            }
            if each(&name).is_break() {
                return Ok((Next::End, count));
            }
            discard(reader, len.next_multiple_of(4))?;
            reader.read_exact(&mut magic)?;
            if !is_magic(magic) {
                return Err(invalid("a header of its cpio archive is damaged"));
            }
            position = magic.len();
        }
    }
    unreachable!("the range has no end")
}

fn is_magic(bytes: [u8; 6]) -> bool {
    // New format, without and with checksums (cpio(5)).
    bytes == *b"070701" || bytes == *b"070702"
}

/// Reads the rest of a header, of which `position` bytes were read, and the name; gives the content's length.
fn entry(reader: &mut impl BufRead, position: usize, name: &mut Vec<u8>) -> io::Result<u64> {
    let mut header = [0; HEADER];
    reader.read_exact(&mut header[position..])?;
    let field = |index: usize| {
        let digits = std::str::from_utf8(&header[6 + 8 * index..][..8]).ok();
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
    };
    let (Some(len), Some(name_len)) = (field(6), field(11)) else {
        return Err(invalid("a header of its cpio archive is damaged"));
    };
    let name_len = name_len as usize;
    if name_len == 0 || name_len > MAX_NAME {
        return Err(invalid("a name in its cpio archive has an impossible length"));
    }
    // Header and name together fill a multiple of four bytes.
    name.resize((HEADER + name_len).next_multiple_of(4) - HEADER, 0);
    reader.read_exact(name)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name_len);
    name.truncate(end);
    Ok(u64::from(len))
}

/// Skips padding; whether anything follows it.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let all = zeros == buffer.len();
        reader.consume(zeros);
        if !all {
            return Ok(true);
        }
    }
}

fn discard(reader: &mut impl BufRead, len: u64) -> io::Result<()> {
    let mut left = len;
    while left > 0 {
        let available = reader.fill_buf()?.len() as u64;
        if available == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.consume(available.min(left) as usize);
        left -= available.min(left);
    }
    Ok(())
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
