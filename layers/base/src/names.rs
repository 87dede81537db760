//! What directories of this machine hold.

use rustix::fd::OwnedFd;
use rustix::fs::Dir;
use rustix::io::Errno;

/// The names in a directory, sorted: the order on disk is an accident.
///
/// # Errors
/// When it cannot be read.
pub fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
