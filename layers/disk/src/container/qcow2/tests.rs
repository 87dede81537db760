use std::sync::Arc;

use bake_base::LayoutBuilder;

use super::*;

/// A disk with one byte in each of the given clusters.
fn disk(clusters: &[u64], len: u64) -> Layout {
    let mut builder = LayoutBuilder::new();
    for cluster in clusters {
        builder.push_bytes(cluster * CLUSTER + 7, vec![*cluster as u8 | 1]);
    }
    builder.finish(len).unwrap()
}

#[test]
fn data_lies_in_the_order_of_the_disk_behind_the_tables() {
    let plan = Plan::new(&disk(&[0, 1, 5, 8191, 8192, 20_000], 2 << 30)).unwrap();
    let extents: Vec<_> = plan.extents.iter().map(|e| (e.guest, e.host, e.count)).collect();
    // Header, L1, three L2 tables, refcount table, one refcount block: seven clusters.
    assert_eq!(extents, [(0, 7, 2), (5, 9, 1), (8191, 10, 2), (20_000, 12, 1)]);
    assert_eq!((plan.l2_start, plan.refcount_table_start, plan.total), (2, 5, 13));
}

#[test]
fn refcount_blocks_count_themselves_at_every_boundary() {
    for others in (1..4 * REFCOUNTS_PER_BLOCK).step_by(7).chain((1 << 30)..(1 << 30) + 4) {
        let (table, blocks) = refcount_clusters(others);
        assert!(blocks * REFCOUNTS_PER_BLOCK >= others + table + blocks, "{others}");
        assert!(table * TABLE_ENTRIES >= blocks, "{others}");
        assert!((blocks - 1) * REFCOUNTS_PER_BLOCK < others + table + blocks, "{others}");
    }
}

#[test]
fn a_disk_that_qemu_would_not_open_is_refused() {
    assert!(Plan::new(&disk(&[], 513)).unwrap_err().contains("512-byte sectors"));
    assert!(Plan::new(&disk(&[], (2 << 50) + 512)).unwrap_err().contains("2 PiB"));
    assert!(Plan::new(&disk(&[], 2 << 50)).is_ok());
}

/// Many refcount blocks and L2 tables, full, partly full and absent; QEMU looks only at the tables.
#[test]
fn qemu_finds_no_error_in_the_tables_of_a_large_disk() {
    let mut builder = LayoutBuilder::new();
    let zeros = Arc::new(LayoutBuilder::new().finish(5 << 30).unwrap());
    builder.push(CLUSTER * 3, 5 << 30, zeros.clone(), 0);
    for index in 0..20_000 {
        builder.push((6 << 30) + index * 2 * CLUSTER, 1, zeros.clone(), 0);
    }
    builder.push((40 << 40) - 1, 1, zeros, 0);
    let plan = Plan::new(&builder.finish(40 << 40).unwrap()).unwrap();
    assert!(plan.refcount_blocks > 3);
    let file = tempfile::NamedTempFile::new().unwrap();
    plan.begin(file.as_file()).unwrap();
    plan.finish(file.as_file()).unwrap();
    #[allow(clippy::disallowed_methods)] // Judges are other people's programs.
    let mut judge = std::process::Command::new("qemu-img");
    let output = judge.args(["check", "-f", "qcow2"]).arg(file.path()).output();
    let output = output.expect("cannot run `qemu-img`: install `qemu-utils`");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("No errors were found"), "{text}");
}

mod hostile {
    use std::os::unix::fs::FileExt;

    use bake_base::{FileBytes, ReadAt};

    use super::super::read::{Reader, recognise};
    use super::*;
    use crate::container::{OpenError, open, write};

    const LEN: u64 = 1 << 30;

    fn image() -> File {
        let file = tempfile::tempfile().unwrap();
        write(&disk(&[0, 9000], LEN), &[(FORMAT, &file)], 1, &|_| ()).unwrap();
        file
    }

    fn reader(file: &File) -> Result<Reader, OpenError> {
        Reader::new(FileBytes::new(file.try_clone().unwrap()).unwrap(), FORMAT)
    }

    /// Reads the two clusters that hold something and one that does not.
    fn read(reader: &Reader) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 3 * CLUSTER as usize];
        let clusters = bytes.chunks_exact_mut(CLUSTER as usize);
        for (cluster, buffer) in [0, 9000, 9001].into_iter().zip(clusters) {
            reader.read_exact_at(cluster * CLUSTER, buffer)?;
        }
        Ok(bytes)
    }

    #[test]
    fn any_changed_byte_of_header_or_tables_gives_an_error_or_bytes_never_a_panic() {
        let file = image();
        let good = read(&reader(&file).unwrap()).unwrap();
        let mut noticed = 0;
        let places = (0..104).chain(CLUSTER..CLUSTER + 32).chain(2 * CLUSTER..2 * CLUSTER + 32);
        for at in places.chain(3 * CLUSTER + 6400..3 * CLUSTER + 6500) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            for changed in [0x00, 0xff, byte[0] ^ 0x01, byte[0] ^ 0x80, byte[0] ^ 0x10] {
                file.write_all_at(&[changed], at).unwrap();
                let result = reader(&file).map_err(io::Error::other).and_then(|reader| read(&reader));
                noticed += usize::from(result.is_ok_and(|bytes| bytes != good));
            }
            file.write_all_at(&byte, at).unwrap();
        }
        assert!(noticed > 0, "no change reached the bytes");
        assert_eq!(read(&reader(&file).unwrap()).unwrap(), good);
    }

    #[test]
    fn every_cut_is_an_error() {
        let file = image();
        let len = file.metadata().unwrap().len();
        let cuts: Vec<u64> = (0..104).chain((CLUSTER..len).step_by(8192 - 8)).collect();
        for cut in cuts.into_iter().rev() {
            file.set_len(cut).unwrap();
            let bytes = FileBytes::new(file.try_clone().unwrap()).unwrap();
            assert_eq!(recognise(&bytes).unwrap(), cut >= 4, "{cut}");
            assert!(
                reader(&file).map_err(io::Error::other).and_then(|reader| read(&reader)).is_err(),
                "{cut}"
            );
        }
    }

    #[test]
    fn fields_that_would_mislead_are_refused() {
        let file = image();
        let mut cases: Vec<(u64, Vec<u8>, &str)> = vec![
            (4, vec![0, 0, 0, 4], "version 4"),
            (8, vec![0, 0, 0, 0, 0, 0, 0, 1], "backing file"),
            (32, vec![0, 0, 0, 2], "encryption"),
            (100, vec![0xff; 4], "cut short"),
            (100, vec![0, 0, 0, 72], "cut short"),
            (40, vec![0xff; 8], "L1 table cannot lie"),
            (48, vec![0xff; 8], "refcount table cannot lie"),
            (40, vec![0; 8], "L1 table cannot lie"),
            (40, vec![0, 0, 0, 0, 0, 1, 0, 8], "L1 table cannot lie"),
            (36, vec![0xff; 4], "L1 entries"),
            (36, vec![0, 0, 0, 1], "L1 entries"),
        ];
        let sizes = [1_u64 << 61, (1 << 63) - 1, 1 << 63, u64::MAX];
        cases.extend(sizes.map(|size| (24, size.to_be_bytes().to_vec(), "L1 entries")));
        cases.extend([0, 8, 22, 32, 255].map(|bits| (20, vec![0, 0, 0, bits], "clusters of 2^")));
        let features = [
            (1, "never finished"),
            (2, "corrupt"),
            (4, "external data file"),
            (8, "compression that is not known"),
            (16, "extended L2"),
            (32, "future"),
        ];
        cases.extend(features.map(|(bit, text)| (72, vec![0, 0, 0, 0, 0, 0, 0, bit], text)));
        for (at, value, expected) in cases {
            let mut old = vec![0; value.len()];
            file.read_exact_at(&mut old, at).unwrap();
            file.write_all_at(&value, at).unwrap();
            let error = open(file.try_clone().unwrap()).unwrap_err().to_string();
            assert!(error.contains(expected), "{at}: {error}");
            file.write_all_at(&old, at).unwrap();
        }
    }

    #[test]
    fn entries_that_would_mislead_are_refused_when_read() {
        let file = image();
        let (l1, l2) = (CLUSTER, 2 * CLUSTER);
        for (at, entry, expected) in [
            (l1, (2 * CLUSTER) | 2, "reserved bits of an L1 entry"),
            (l1, CLUSTER + 512, "cannot be where"),
            (l1, OFFSET_MAX, "cannot be where"),
            (l2, (7 * CLUSTER) | 4, "reserved bits of an L2 entry"),
            (l2, (7 * CLUSTER) | (1 << 61), "reserved bits of an L2 entry"),
            (l2, (7 * CLUSTER) | (1 << 62), "compressed cluster at byte"),
            (l2, 1 << 40, "cannot be where"),
            (l2, OFFSET_MAX | COPIED, "cannot be where"),
        ] {
            let mut old = [0; 8];
            file.read_exact_at(&mut old, at).unwrap();
            file.write_all_at(&entry.to_be_bytes(), at).unwrap();
            let error = read(&reader(&file).unwrap()).unwrap_err().to_string();
            assert!(error.contains(expected), "{at}: {error}");
            file.write_all_at(&old, at).unwrap();
        }
        let reader = reader(&file).unwrap();
        for offset in [LEN - 1, LEN, i64::MAX as u64, u64::MAX] {
            assert!(reader.read_exact_at(offset, &mut [0; 2]).is_err(), "{offset}");
        }
    }

    const OFFSET_MAX: u64 = 0x00ff_ffff_ffff_0000;
}
