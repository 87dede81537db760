//! Sparse members in GNU's old format ("Storing Sparse Files" in GNU tar's manual): the header of type `S` has the
//! first places of data, records behind it have the others, and the content is nothing but that data.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::{RECORD, invalid, sum_of};
use crate::container::extents::Extent;

/// A place: offset and length, each a number in a field of 12 bytes.
const FIELD: usize = 12;
/// Where places lie in a header and in a record behind it, and how many.
const IN_HEADER: (usize, usize) = (386, 4);
const IN_RECORD: (usize, usize) = (0, 21);
/// The byte that says whether another record follows, behind the places.
const MORE: usize = 2 * FIELD;
/// The length of the file with its holes.
const REAL_SIZE: usize = 483;
const SIZE: usize = 124;
const TYPE: usize = 156;
const CHECKSUM: usize = 148;
/// A disk of 8 TiB in which every second 4 MiB is a hole has fewer places; each takes 16 bytes here.
const MAX_PLACES: usize = 1 << 20;

/// What comes next of a member's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// So many zeros that are not in the archive.
    Hole(u64),
    /// So many bytes that are.
    Data(u64),
}

/// Makes the header of a whole file one of a sparse file of `len` bytes, with the records behind it, given the
/// extents of data in units of `unit` bytes.
pub(super) fn headers(mut header: Vec<u8>, len: u64, unit: u64, extents: &[Extent]) -> Vec<u8> {
    let mut places: VecDeque<_> =
        extents.iter().map(|extent| (extent.guest * unit, extent.count * unit)).collect();
    let stored = places.iter().map(|(_, len)| len).sum();
    if places.back().is_none_or(|(offset, count)| offset + count < len) {
        places.push_back((len, 0)); // how GNU tar says that a hole comes last
    }
    header[TYPE] = b'S';
    header[SIZE..][..FIELD].copy_from_slice(&number(stored));
    header[REAL_SIZE..][..FIELD].copy_from_slice(&number(len));
    put_places(&mut header, IN_HEADER, &mut places);
    let sum = header.first_chunk().map_or(0, sum_of);
    header[CHECKSUM..][..8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    while !places.is_empty() {
        let mut record = vec![0; RECORD];
        put_places(&mut record, IN_RECORD, &mut places);
        header.extend(record);
    }
    header
}

fn put_places(record: &mut [u8], (start, count): (usize, usize), places: &mut VecDeque<(u64, u64)>) {
    for (field, (offset, len)) in places.drain(..count.min(places.len())).enumerate() {
        let at = start + field * 2 * FIELD;
        record[at..][..FIELD].copy_from_slice(&number(offset));
        record[at + FIELD..][..FIELD].copy_from_slice(&number(len));
    }
    record[start + count * MORE] = u8::from(!places.is_empty());
}

/// Octal digits, and from 8 GiB on GNU's base 256.
fn number(value: u64) -> [u8; FIELD] {
    let mut field = [0; FIELD];
    if value < 1 << 33 {
        field[..FIELD - 1].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[FIELD - 8..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

fn parse(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(FIELD - 8);
        let is_small = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        return low.first_chunk().map(|low| u64::from_be_bytes(*low)).filter(|_| is_small);
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// What the content of the member with this header is, whose further records are read from `archive`.
pub(super) fn runs(header: &[u8; RECORD], archive: &mut impl Read) -> io::Result<VecDeque<Run>> {
    let damaged = || invalid("its map of `disk.raw` is damaged");
    let size = parse(&header[SIZE..][..FIELD]).ok_or_else(damaged)?;
    if header[TYPE] != b'S' {
        return Ok(VecDeque::from([Run::Data(size)]));
    }
    let real_size = parse(&header[REAL_SIZE..][..FIELD]).ok_or_else(damaged)?;
    let mut runs = VecDeque::new();
    let (mut at, mut stored) = (0, 0_u64);
    let (mut record, mut layout) = (*header, IN_HEADER);
    loop {
        let (start, count) = layout;
        for place in record[start..][..count * MORE].chunks_exact(MORE) {
            if place[0] == 0 {
                break; // no more places
            }
            let offset = parse(&place[..FIELD]).ok_or_else(damaged)?;
            let len = parse(&place[FIELD..]).ok_or_else(damaged)?;
            let end = offset.checked_add(len).filter(|end| offset >= at && *end <= real_size);
            runs.extend([Run::Hole(offset - at.min(offset)), Run::Data(len)]);
            at = end.ok_or_else(damaged)?;
            stored += len;
        }
        if record[start + count * MORE] == 0 {
            break;
        }
        if runs.len() > 2 * MAX_PLACES {
            return Err(invalid("its map of `disk.raw` has too many places"));
        }
        archive.read_exact(&mut record)?;
        layout = IN_RECORD;
    }
    if stored != size {
        return Err(damaged());
    }
    runs.push_back(Run::Hole(real_size - at));
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(len: u64, extents: &[(u64, u64)]) -> Vec<u8> {
        let mut host = 0;
        let extents: Vec<_> = extents
            .iter()
            .map(|(guest, count)| {
                host += count;
                Extent { guest: *guest, host: host - count, count: *count }
            })
            .collect();
        headers(vec![0; RECORD], len, 4096, &extents)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<Run>> {
        let (header, mut rest) = bytes.split_first_chunk().unwrap();
        let runs = runs(header, &mut rest)?;
        assert!(rest.is_empty());
        Ok(runs.into_iter().filter(|run| !matches!(run, Run::Hole(0) | Run::Data(0))).collect())
    }

    #[test]
    fn maps_of_every_length_come_back() {
        for count in [0, 1, 3, 4, 5, 24, 25, 26, 46, 1000] {
            for tail in [0, 1 << 21] {
                let extents: Vec<_> = (0..count).map(|at| (at * 1_000_000 + 1, at + 1)).collect();
                let end = extents.last().map_or(0, |(guest, count)| (guest + count) * 4096);
                let (mut expected, mut at) = (Vec::new(), 0);
                for (guest, count) in extents.iter().map(|(guest, count)| (guest * 4096, count * 4096)) {
                    expected.extend([Run::Hole(guest - at), Run::Data(count)]);
                    at = guest + count;
                }
                expected.extend((tail > 0).then_some(Run::Hole(tail)));
                assert_eq!(read(&map(end + tail, &extents)).unwrap(), expected, "{count}");
            }
        }
    }

    #[test]
    fn maps_that_contradict_themselves_are_refused() {
        let good = map(1 << 30, &[(1, 1), (5, 1)]);
        assert!(read(&good).is_ok());
        for (at, value) in [
            (IN_HEADER.0, number(1 << 40)),
            (IN_HEADER.0, *b"0000002000x\0"),
            (IN_HEADER.0 + 2 * FIELD, number(4096)),
            (IN_HEADER.0 + FIELD, number(u64::MAX)),
            (IN_HEADER.0 + FIELD, [0xff; FIELD]),
            (REAL_SIZE, number(4096)),
            (SIZE, number(4096)),
        ] {
            let mut bad = good.clone();
            bad[at..][..FIELD].copy_from_slice(&value);
            assert!(read(&bad).is_err(), "{at}");
        }
        let header = good.first_chunk().unwrap();
        let mut endless = *header;
        endless[IN_HEADER.0 + 4 * MORE] = 1;
        assert!(runs(&endless, &mut io::repeat(b'0')).is_err());
    }
}
