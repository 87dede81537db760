//! The hash by which a directory's index finds a name: half of MD4, seeded (`directory.rst`, "Hash Tree
//! Directories"; kernel `fs/ext4/hash.c`).
//!
//! Bytes count as signed numbers, as on the x86 machines where the format was born; the superblock says so,
//! and every kernel obeys it.

use bake_base::Uuid;

/// `hash_version` of half-MD4 in superblock and index roots.
pub(super) const HALF_MD4: u8 = 1;

/// The largest hash is the mark for the end of a directory.
const END: u32 = 0xffff_fffe;

/// The hash of `name`. Its lowest bit is always clear: indexes use it to mark collisions.
pub(super) fn of_name(seed: &Uuid, name: &[u8]) -> u32 {
    let (words, _) = seed.as_bytes().as_chunks::<4>();
    let mut state = [0; 4];
    for (word, bytes) in state.iter_mut().zip(words) {
        *word = u32::from_le_bytes(*bytes);
    }
    // A seed of zeros means the start values of MD4.
    if state == [0; 4] {
        state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    }
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words_of(rest));
        rest = &rest[rest.len().min(32)..];
    }
    match state[1] & !1 {
        END => END - 2,
        hash => hash,
    }
}

/// The next 32 bytes of a name as words, padded with the length of what is left of it.
fn words_of(rest: &[u8]) -> [u32; 8] {
    let length = (rest.len() as u32) & 0xff;
    // The kernel shifts the whole length, but no name is longer than a byte can count.
    let padding = length * 0x0101_0101;
    let mut words = [padding; 8];
    for (word, bytes) in words.iter_mut().zip(rest[..rest.len().min(32)].chunks(4)) {
        for byte in bytes {
            *word = (*word << 8).wrapping_add(i32::from(*byte as i8) as u32);
        }
    }
    words
}

fn transform(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (step, index) in order.into_iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[index]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_debugfs() {
        // `debugfs -R 'dx_hash -h half_md4 [-s SEED] NAME'` of e2fsprogs 1.47.0.
        let seed = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let long = "a_name_that_is_longer_than_thirty-two_bytes.txt";
        for (seed, name, hash) in [
            (seed, "hello", 0xa26e_4a80),
            (seed, long, 0xa85f_444c),
            (Uuid::nil(), long, 0x360d_0a42),
            (Uuid::nil(), "abcdefghijklmnopqrstuvwxyzABCDEF", 0x1685_372e),
            (Uuid::nil(), "\u{e4}", 0xb167_1dd4),
        ] {
            assert_eq!(of_name(&seed, name.as_bytes()), hash, "{name}");
        }
    }
}
