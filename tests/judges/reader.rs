//! The root file system as a reader sees it that shares no line with the writer (the `ext4-view` crate).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ext4_view::{Ext4, Metadata, PathBuf};

use crate::support::listing::{Entry, Kind, Listing, at};

/// Everything that the reader can see; it knows neither attributes nor device numbers nor link counts.
pub fn list(file_system: &Ext4) -> Listing {
    let mut listing = Listing::new();
    let root = file_system.metadata("/").unwrap();
    listing.insert(Vec::new(), entry(file_system, b"", &root));
    let mut ahead = vec![Vec::new()];
    while let Some(directory) = ahead.pop() {
        for found in file_system.read_dir(&absolute(&directory)).unwrap() {
            let found = found.unwrap();
            let name = found.file_name();
            let name: &[u8] = name.as_ref();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let path =
                if directory.is_empty() { name.to_vec() } else { [&directory[..], b"/", name].concat() };
            let metadata = found.metadata().unwrap();
            assert_eq!(found.file_type().unwrap(), metadata.file_type());
            listing.insert(path.clone(), entry(file_system, &path, &metadata));
            if metadata.is_dir() {
                ahead.push(path);
            }
        }
    }
    listing
}

/// Whether a file of the file system has the bytes of the same file below `directory`.
pub fn same_content(file_system: &Ext4, directory: &Path, path: &[u8]) -> bool {
    let mut ours = file_system.open(&absolute(path)).unwrap();
    let mut theirs = File::open(at(directory, path)).unwrap();
    let (mut buffer, mut expected) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = ours.read_bytes(&mut buffer).unwrap();
        if read == 0 {
            return theirs.read(&mut expected).unwrap() == 0;
        }
        if theirs.read_exact(&mut expected[..read]).is_err() || buffer[..read] != expected[..read] {
            return false;
        }
    }
}

fn entry(file_system: &Ext4, path: &[u8], metadata: &Metadata) -> Entry {
    let of_type = metadata.file_type();
    let kind = if of_type.is_dir() {
        Kind::Directory
    } else if of_type.is_symlink() {
        let target = file_system.read_link(&absolute(path)).unwrap();
        Kind::Link { target: target.as_ref().to_vec() }
    } else if of_type.is_char_dev() {
        Kind::CharacterDevice { number: 0 }
    } else if of_type.is_block_dev() {
        Kind::BlockDevice { number: 0 }
    } else if of_type.is_fifo() {
        Kind::Fifo
    } else {
        assert!(of_type.is_regular_file(), "{}", path.escape_ascii());
        Kind::File { size: metadata.len() }
    };
    let time = metadata.modified();
    Entry {
        kind,
        mode: u32::from(metadata.mode()),
        owner: (metadata.uid(), metadata.gid()),
        time: (time.seconds(), i64::from(time.nanoseconds())),
        xattrs: BTreeMap::new(),
        first_name: path.to_vec(),
        links: 0,
    }
}

fn absolute(path: &[u8]) -> PathBuf {
    PathBuf::new(&[b"/", path].concat())
}
