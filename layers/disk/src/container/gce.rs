//! What Compute Engine imports: a gzip-compressed tar in GNU's old format with one member, `disk.raw`, which has a
//! whole number of GiB.

use std::io::{self, Read};

use bake_base::{FileBytes, Layout};
use flate2::read::MultiGzDecoder;

use super::compressed::{Body, Codec, Gzip, Pieces};
use super::in_order::{Encode, InOrder, Out};
use super::{Chunk, Format, unpack};
use crate::partition::GIB;

pub(super) const FORMAT: Format = Format {
    name: "gce",
    extension: "gce.tar.gz",
    plan: |disk| Ok(Box::new(InOrder::new(disk, Archive::new(disk)?))),
    recognise,
    open: |file| unpack::open(FORMAT, file, |reader| Box::new(Member::new(MultiGzDecoder::new(reader)))),
};

const NAME: &str = "disk.raw";
const RECORD: usize = 512;
/// Two records of zeros end a tar.
const END: [u8; 2 * RECORD] = [0; 2 * RECORD];

struct Archive {
    len: u64,
    header: Vec<u8>,
}

impl Archive {
    fn new(disk: &Layout) -> Result<Self, String> {
        let len = disk.len();
        if len == 0 || !len.is_multiple_of(GIB) {
            return Err(format!("{len} bytes are no whole number of GiB, which Compute Engine asks for"));
        }
        let mut header = tar::Header::new_gnu();
        header.set_path(NAME).map_err(|error| error.to_string())?;
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(len);
        header.set_cksum();
        Ok(Self { len, header: header.as_bytes().to_vec() })
    }
}

impl Encode for Archive {
    type Body = Body<Gzip>;
    type State = Pieces<Gzip>;

    fn begin(&self, out: &mut Out<'_>) -> io::Result<Pieces<Gzip>> {
        let mut pieces = Pieces::begin(&Gzip, out)?;
        pieces.add(&Gzip, out, &Gzip.piece(&self.header)?)?;
        Ok(pieces)
    }

    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Body<Gzip>> {
        Body::of(&Gzip, chunk.bytes)
    }

    fn append(
        &self,
        pieces: &mut Pieces<Gzip>,
        out: &mut Out<'_>,
        offset: u64,
        body: Body<Gzip>,
    ) -> io::Result<()> {
        pieces.block(&Gzip, out, offset, &body)
    }

    fn end(&self, mut pieces: Pieces<Gzip>, out: &mut Out<'_>) -> io::Result<()> {
        pieces.fill(&Gzip, out, self.len)?;
        pieces.add(&Gzip, out, &Gzip.piece(&END)?)?;
        pieces.end(&Gzip, out)
    }
}

/// A gzip-compressed file whose first record is the header of `disk.raw`.
fn recognise(file: &FileBytes) -> io::Result<bool> {
    if !unpack::starts_with(file, &[0x1f, 0x8b])? {
        return Ok(false);
    }
    let mut record = [0; RECORD];
    let is_read = MultiGzDecoder::new(unpack::reader(file)?).read_exact(&mut record).is_ok();
    Ok(is_read && member(&record).is_some())
}

/// The size of the member that begins with this record, if it is the disk.
fn member(record: &[u8; RECORD]) -> Option<u64> {
    let header = tar::Header::from_byte_slice(record);
    let path = header.path_bytes();
    let is_disk = path.strip_prefix(b"./").unwrap_or(&path) == NAME.as_bytes();
    let is_whole = header.entry_type().is_file() && header.cksum().is_ok_and(|sum| sum == sum_of(record));
    if is_disk && is_whole { header.entry_size().ok() } else { None }
}

/// The sum of the bytes of a header, whose own field counts as blanks (POSIX, ustar interchange format).
fn sum_of(record: &[u8; RECORD]) -> u32 {
    let field = 148..156;
    let byte = |(at, byte): (usize, &u8)| u32::from(if field.contains(&at) { b' ' } else { *byte });
    record.iter().enumerate().map(byte).sum()
}

/// Reads the member's content; an error when it is not there, not whole, or not the only one.
struct Member<R> {
    archive: R,
    left: Option<u64>,
}

impl<R: Read> Member<R> {
    fn new(archive: R) -> Self {
        Self { archive, left: None }
    }
}

impl<R: Read> Read for Member<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match self.left {
            Some(left) => left,
            None => {
                let mut record = [0; RECORD];
                self.archive.read_exact(&mut record)?;
                let problem = || invalid("its first member is not `disk.raw`, stored whole");
                *self.left.insert(member(&record).ok_or_else(problem)?)
            }
        };
        if left == 0 {
            // To the end, for the checksum is there.
            let mut rest = Vec::new();
            self.archive.by_ref().take(1 << 20).read_to_end(&mut rest)?;
            return if rest.iter().all(|byte| *byte == 0) {
                Ok(0)
            } else {
                Err(invalid("it has a second member"))
            };
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.archive.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(invalid("`disk.raw` is cut short"));
        }
        self.left = Some(left - read as u64);
        Ok(read)
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
