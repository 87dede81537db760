use super::super::superblock::{PRIMARY_OFFSET, SIZE};
use super::*;

/// A superblock alone, on a disk of zeros.
fn read_with(fields: &[(usize, &[u8])]) -> ReadError {
    let mut bytes = vec![0; 1 << 20];
    let superblock = &mut bytes[PRIMARY_OFFSET as usize..][..SIZE];
    let usual: [(usize, &[u8]); 9] = [
        (0x00, &[16, 0, 0, 0]),
        (0x04, &[0, 1, 0, 0]),
        (0x18, &[2, 0, 0, 0]),
        (0x20, &[0, 0x80, 0, 0]),
        (0x28, &[16, 0, 0, 0]),
        (0x38, &[0x53, 0xef]),
        (0x3a, &[1, 0]),
        (0x4c, &[1, 0, 0, 0]),
        (0x58, &[0, 1]),
    ];
    for (at, field) in usual.iter().chain(fields) {
        superblock[*at..at + field.len()].copy_from_slice(field);
    }
    let source: Arc<dyn ReadAt> = Arc::new(bytes);
    Volume::read(&source).unwrap_err()
}

#[test]
fn what_is_no_file_system_is_said_to_be_none() {
    for len in [0, 1024, 2047, 4096] {
        let source: Arc<dyn ReadAt> = Arc::new(vec![0; len]);
        assert!(matches!(Volume::read(&source), Err(ReadError::NotFound)), "{len}");
    }
    assert!(matches!(read_with(&[(0x38, &[0, 0])]), ReadError::NotFound));
}

#[test]
fn what_has_to_be_put_right_first_is_refused_with_advice() {
    for (at, field, reason) in [
        (0x60, &[4, 0, 0, 0][..], "its journal has to be replayed"),
        (0x3a, &[0, 0], "was not unmounted: mount it once"),
        (0x3a, &[3, 0], "has errors"),
        (0x3a, &[5, 0], "files without names"),
        (0xe8, &[12, 0, 0, 0], "files without names"),
        (0x66, &[1, 0], "files without names"),
        (0x60, &[1, 0x80, 0, 0], "compressed files and files inside of inodes (`inline_data`)"),
        (0x62, &[1, 0], "encrypted"),
        (0x62, &[2, 0], "ignore case"),
        (0x63, &[0x80], "unknown features (0x80000000)"),
        (0x65, &[0x40], "share blocks"),
        (0x64, &[0, 4], "does not match its checksum"),
    ] {
        let message = read_with(&[(at, field)]).to_string();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn superblocks_that_make_no_sense_are_damage() {
    for (at, field, reason) in [
        (0x18, &[7][..], "64 KiB"),
        (0x04, &[1, 1, 0, 0], "is the image whole?"),
        (0x14, &[9], "groups of an impossible size"),
        (0x20, &[0, 0, 0, 0], "groups of an impossible size"),
        (0x28, &[0, 0], "groups of an impossible size"),
        (0x00, &[17], "another number of inodes"),
        (0x00, &[1], "another number of inodes"),
        (0x58, &[100, 0], "inodes of an impossible size"),
        (0x58, &[0, 0x80], "inodes of an impossible size"),
        (0x60, &[0x80], "descriptors of an impossible size"),
        (0x18, &[2], "table of inodes outside"),
    ] {
        let message = read_with(&[(at, field)]).to_string();
        assert!(message.contains(reason) && message.contains("e2fsck"), "{message}");
    }
}
