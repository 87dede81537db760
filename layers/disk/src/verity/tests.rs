use std::sync::atomic::{AtomicU64, Ordering};

use bake_base::{Hasher, ReadAt};

use super::*;

fn options(salt: &[u8], threads: usize) -> Options {
    Options { uuid: Uuid::from_u128(7), salt: salt.to_vec(), threads }
}

fn layout(len: u64, pieces: &[(u64, usize)]) -> Layout {
    let mut builder = LayoutBuilder::new();
    for (offset, len) in pieces {
        builder.push_bytes(*offset, (0..*len).map(|i| (i / 7) as u8).collect());
    }
    builder.finish(len).unwrap()
}

fn read(layout: &Layout) -> Vec<u8> {
    let mut bytes = vec![0; layout.len() as usize];
    layout.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// The tree as the documentation describes it, without any thrift.
fn plainly(data: &[u8], salt: &[u8]) -> (Digest, Vec<u8>) {
    let hash = |block: &[u8]| {
        let mut hasher = Hasher::new();
        hasher.update(salt);
        hasher.update(block);
        hasher.finish()
    };
    let mut tree = Vec::new();
    let mut level = data.to_vec();
    while level.len() > BLOCK as usize {
        level = level.chunks(BLOCK as usize).flat_map(|block| *hash(block).as_bytes()).collect();
        level.resize(level.len().next_multiple_of(BLOCK as usize), 0);
        tree = [&level[..], &tree].concat();
    }
    (hash(&level), tree)
}

#[test]
fn the_tree_is_the_one_that_the_documentation_describes() {
    const MIB: u64 = 1 << 20;
    for (len, pieces) in [
        (BLOCK, &[(0, 4096)][..]),
        (BLOCK, &[]),
        (2 * BLOCK, &[(BLOCK, 1)]),
        (128 * BLOCK, &[(0, 5)]),
        (129 * BLOCK, &[(128 * BLOCK, 5)]),
        (129 * BLOCK, &[]),
        (128 * 128 * BLOCK, &[(3 * MIB, 2 << 20), (9 * MIB, 1)]),
        (128 * 129 * BLOCK, &[(0, 1)]),
        (65 * MIB + 12288, &[(MIB - 1, 2), (33 * MIB, 1 << 20), (65 * MIB + 12287, 1)]),
    ] {
        let data = layout(len, pieces);
        for salt in [&b""[..], b"salt", &[9; 256]] {
            let verity = Verity::compute(&data, &options(salt, 2), &|_| ()).unwrap();
            let (root, tree) = plainly(&read(&data), salt);
            assert_eq!(verity.root_hash(), root, "{len} {pieces:?}");
            assert_eq!(verity.layout().len(), hash_bytes(len));
            assert!(read(verity.layout())[BLOCK as usize..] == tree, "{len} {pieces:?}");
        }
    }
}

#[test]
fn threads_and_windows_change_nothing() {
    let data = layout(64 << 20, &[(0, 3 << 20), (40 << 20, 100)]);
    let one = Verity::compute(&data, &options(b"x", 1), &|_| ()).unwrap();
    let many = Verity::compute(&data, &options(b"x", 5), &|_| ()).unwrap();
    assert_eq!(one.root_hash(), many.root_hash());
    let whole = read(one.layout());
    assert!(whole == read(many.layout()));
    for (start, len) in [(0, 1), (4095, 2), (4096, 4096), (5000, 9000), (whole.len() - 1, 1)] {
        let mut part = vec![0; len];
        one.layout().read_exact_at(start as u64, &mut part).unwrap();
        assert!(part == whole[start..start + len], "{start} {len}");
    }
    assert!(one.layout().read_exact_at(whole.len() as u64, &mut [0]).is_err());
}

#[test]
fn what_nothing_touches_is_not_read() {
    let done = AtomicU64::new(0);
    let count = |bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
    };
    let data = layout(1 << 50, &[(1 << 40, 1), ((1 << 49) + 5, 1 << 20)]);
    let verity = Verity::compute(&data, &options(b"x", 2), &count).unwrap();
    assert_eq!(verity.layout().len(), hash_bytes(1 << 50));
    // One window for the first piece, three for the second, and the last.
    assert_eq!(done.into_inner(), 5 * 128 * BLOCK);
}

#[test]
fn lengths_and_salts_that_do_not_fit_are_refused() {
    let compute = |len, salt: &[u8]| Verity::compute(&layout(len, &[]), &options(salt, 1), &|_| ());
    for len in [0, 1, BLOCK - 1, BLOCK + 1, u64::MAX] {
        assert!(matches!(compute(len, b""), Err(VerityError::Length(found)) if found == len));
    }
    assert!(matches!(compute(BLOCK, &[0; 257]), Err(VerityError::Salt(257))));
    // The longest that there can be.
    let largest = u64::MAX / BLOCK * BLOCK;
    assert_eq!(compute(largest, b"").unwrap().layout().len(), hash_bytes(largest));
}

#[test]
fn ids_are_the_halves_of_the_root_hash() {
    let verity = Verity::compute(&layout(BLOCK, &[]), &options(b"", 1), &|_| ()).unwrap();
    let halves = [verity.data_guid(), verity.hash_guid()].map(|guid| guid.simple().to_string()).concat();
    assert_eq!(halves, verity.root_hash().to_string());
    let hash = verity.root_hash();
    assert_eq!(Guarded::Root.command_line(hash), format!("roothash={hash} root=/dev/mapper/root ro"));
    assert_eq!(
        Guarded::Usr.command_line(hash),
        format!("usrhash={hash} mount.usr=/dev/mapper/usr mount.usrflags=ro")
    );
    assert_eq!((Guarded::Root.to_string(), Guarded::Usr.to_string()), ("/".into(), "/usr".into()));
}
