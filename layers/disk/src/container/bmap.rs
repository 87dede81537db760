//! A block map (bmap-tools, version 2.0): which blocks of a raw disk hold something, each range with its checksum, so
//! that `bmaptool copy` writes those alone and checks what it writes. It lies beside the disk and has none in it.

use std::fmt::Write;
use std::io;
use std::ops::RangeInclusive;

use bake_base::{Digest, Layout};

use super::extents;
use super::in_order::{Encode, InOrder, Out};
use super::{Chunk, Format, GRANULE, OpenError, unpack};

pub(super) const FORMAT: Format = Format {
    name: "bmap",
    extension: "bmap",
    plan: |disk| Ok(Box::new(InOrder::new(disk, Map::new(disk)))),
    recognise: |file| unpack::starts_with(file, START.as_bytes()),
    open: |_| {
        let feature = "no disk in it: it describes the raw disk beside it".to_owned();
        Err(OpenError::NoDisk { format: FORMAT, feature })
    },
};

const START: &str = "<?xml version";
/// Counts as the file's own checksum while that is computed.
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const END: &str = "    </BlockMap>\n</bmap>\n";

struct Map {
    head: String,
}

impl Map {
    fn new(disk: &Layout) -> Self {
        let size = disk.len();
        let (blocks, mapped) = (size.div_ceil(GRANULE), extents::count(&extents::touched(disk, GRANULE, 0)));
        let head = format!(
            "{START}=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {size} </ImageSize>\n    \
             <BlockSize> {GRANULE} </BlockSize>\n    <BlocksCount> {blocks} </BlocksCount>\n    \
             <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
             <BmapFileChecksum> {NO_CHECKSUM} </BmapFileChecksum>\n    <BlockMap>\n"
        );
        Self { head }
    }
}

impl Encode for Map {
    /// Blocks of the map that something is in, with the digest of their bytes.
    type Body = Vec<(RangeInclusive<u64>, Digest)>;
    type State = ();

    fn begin(&self, out: &mut Out<'_>) -> io::Result<()> {
        out.start_part();
        out.put(self.head.as_bytes())
    }

    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Self::Body> {
        let ranges = chunk.covered.iter().map(|run| {
            let first = (chunk.offset + run.start as u64) / GRANULE;
            let last = (chunk.offset + run.end as u64 - 1) / GRANULE;
            (first..=last, Digest::of(&chunk.bytes[run.clone()]))
        });
        Ok(ranges.collect())
    }

    fn append(&self, (): &mut (), out: &mut Out<'_>, _: u64, ranges: Self::Body) -> io::Result<()> {
        let mut text = String::new();
        for (blocks, digest) in ranges {
            let (first, last) = (blocks.start(), blocks.end());
            let last = if first == last { String::new() } else { format!("-{last}") };
            writeln!(text, "        <Range chksum=\"{digest}\"> {first}{last} </Range>")
                .map_err(io::Error::other)?;
        }
        out.put(text.as_bytes())
    }

    fn end(&self, (): (), out: &mut Out<'_>) -> io::Result<()> {
        out.put(END.as_bytes())?;
        let (digest, _) = out.end_part();
        let place = self.head.find(NO_CHECKSUM).unwrap_or(0) as u64;
        out.replace(place, digest.to_string().as_bytes())
    }
}
