//! What Compute Engine imports: a gzip-compressed tar in GNU's old format with one sparse member, `disk.raw`, which has
//! a whole number of GiB.

mod sparse;

use std::collections::VecDeque;
use std::io::{self, Read};

use bake_base::{FileBytes, Layout};
use flate2::read::MultiGzDecoder;

use super::compressed::{Codec, Gzip, Pieces};
use super::in_order::{Encode, InOrder, Out};
use super::{Chunk, Format, GRANULE, extents, len_in_small_sectors, unpack};
use crate::partition::GIB;
use sparse::Run;

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
    headers: Vec<u8>,
}

impl Archive {
    fn new(disk: &Layout) -> Result<Self, String> {
        let len = len_in_small_sectors(disk)?;
        if len == 0 || !len.is_multiple_of(GIB) {
            return Err(format!("{len} bytes are no whole number of GiB, which Compute Engine asks for"));
        }
        let mut header = tar::Header::new_gnu();
        header.set_path(NAME).map_err(|error| error.to_string())?;
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let extents = extents::touched(disk, GRANULE, 0);
        Ok(Self { headers: sparse::headers(header.as_bytes().to_vec(), len, GRANULE, &extents) })
    }
}

impl Encode for Archive {
    type Body = <Gzip as Codec>::Piece;
    type State = Pieces<Gzip>;

    fn begin(&self, out: &mut Out<'_>) -> io::Result<Pieces<Gzip>> {
        let mut pieces = Pieces::begin(&Gzip, out)?;
        pieces.add(&Gzip, out, &Gzip.piece(&self.headers)?)?;
        Ok(pieces)
    }

    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Self::Body> {
        match chunk.covered {
            [all] if all.len() == chunk.bytes.len() => Gzip.piece(chunk.bytes),
            covered => {
                let parts: Vec<&[u8]> = covered.iter().map(|run| &chunk.bytes[run.clone()]).collect();
                Gzip.piece(&parts.concat())
            }
        }
    }

    fn append(
        &self,
        pieces: &mut Pieces<Gzip>,
        out: &mut Out<'_>,
        _: u64,
        body: Self::Body,
    ) -> io::Result<()> {
        pieces.add(&Gzip, out, &body)
    }

    fn end(&self, mut pieces: Pieces<Gzip>, out: &mut Out<'_>) -> io::Result<()> {
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
    Ok(is_read && is_member(&record))
}

/// Whether the member that begins with this record is the disk.
fn is_member(record: &[u8; RECORD]) -> bool {
    let header = tar::Header::from_byte_slice(record);
    let path = header.path_bytes();
    let is_disk = path.strip_prefix(b"./").unwrap_or(&path) == NAME.as_bytes();
    let kind = header.entry_type();
    is_disk
        && (kind.is_file() || kind.is_gnu_sparse())
        && header.cksum().is_ok_and(|sum| sum == sum_of(record))
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
    /// What is left of it, once its header was read.
    left: Option<VecDeque<Run>>,
}

impl<R: Read> Member<R> {
    fn new(archive: R) -> Self {
        Self { archive, left: None }
    }

    fn begin(&mut self) -> io::Result<VecDeque<Run>> {
        let mut record = [0; RECORD];
        self.archive.read_exact(&mut record)?;
        if !is_member(&record) {
            return Err(invalid("its first member is not `disk.raw`"));
        }
        sparse::runs(&record, &mut self.archive)
    }

    /// Reads to the end, for the checksum is there.
    fn end(&mut self) -> io::Result<usize> {
        let mut rest = Vec::new();
        self.archive.by_ref().take(1 << 20).read_to_end(&mut rest)?;
        if rest.iter().all(|byte| *byte == 0) { Ok(0) } else { Err(invalid("it has a second member")) }
    }
}

impl<R: Read> Read for Member<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_none() {
            self.left = Some(self.begin()?);
        }
        let runs = self.left.get_or_insert_default();
        let room = buffer.len();
        let most = |left: u64| room.min(usize::try_from(left).unwrap_or(usize::MAX));
        while let Some(run) = runs.front_mut() {
            match run {
                Run::Hole(0) | Run::Data(0) => drop(runs.pop_front()),
                Run::Hole(left) => {
                    let part = &mut buffer[..most(*left)];
                    part.fill(0);
                    *left -= part.len() as u64;
                    return Ok(part.len());
                }
                Run::Data(left) => {
                    let part = &mut buffer[..most(*left)];
                    let read = self.archive.read(part)?;
                    if read == 0 && !part.is_empty() {
                        return Err(invalid("`disk.raw` is cut short"));
                    }
                    *left -= read as u64;
                    return Ok(read);
                }
            }
        }
        self.end()
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
