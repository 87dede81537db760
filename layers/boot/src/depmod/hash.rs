//! The order in which kmod's hash tables give their keys, which decides the order of some lines.

/// Sorts keys as a table of `buckets` (a power of two) gives them: bucket by bucket, by byte within one
/// (kmod, `shared/hash.c`).
pub(super) fn sort_by_key<T>(items: &mut [T], buckets: u32, key: impl Fn(&T) -> &str) {
    items.sort_by(|a, b| {
        let (a, b) = (key(a).as_bytes(), key(b).as_bytes());
        let bucket = |key: &[u8]| hash(key) & (buckets - 1);
        bucket(a).cmp(&bucket(b)).then_with(|| a.cmp(b))
    });
}

/// "SuperFastHash" of Paul Hsieh, on 16-bit little-endian units.
fn hash(key: &[u8]) -> u32 {
    let unit = |bytes: &[u8]| u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let mut hash = key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(unit(word));
        let mixed = (unit(&word[2..]) << 11) ^ hash;
        hash = (hash << 16) ^ mixed;
        hash = hash.wrapping_add(hash >> 11);
    }
    match rest {
        [_, _, last] => {
            hash = hash.wrapping_add(unit(rest));
            hash ^= hash << 16;
            hash ^= u32::from(*last) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        [_, _] => {
            hash = hash.wrapping_add(unit(rest));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [last] => {
            hash = hash.wrapping_add(u32::from(*last));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}
