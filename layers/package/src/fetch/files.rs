//! The files of a checked-out commit: the same modes, times and digest wherever they were checked out.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bake_base::{Digest, DigestReader, json};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use serde::Serialize;

/// What the digest of a directory covers of one file.
#[derive(Serialize)]
struct Entry {
    mode: &'static str,
    sha256: Digest,
}

/// Digest of all files below `directory` but git's own: the canonical JSON of an object that maps each path,
/// with bytes other than printable ASCII as `\xNN`, to its `mode` (`0644`, `0755` or `link`) and the SHA-256
/// of its bytes or target.
pub(super) fn digest(directory: &Path) -> io::Result<Digest> {
    let mut entries = BTreeMap::new();
    visit(directory, &mut |path| {
        let stat = fs::symlink_metadata(path)?;
        let entry = if stat.is_symlink() {
            Entry { mode: "link", sha256: Digest::of(fs::read_link(path)?.as_os_str().as_bytes()) }
        } else if stat.is_file() {
            let mode = if stat.permissions().mode() & 0o100 != 0 { "0755" } else { "0644" };
            Entry { mode, sha256: DigestReader::new(File::open(path)?.by_ref()).drain()?.0 }
        } else {
            return Ok(());
        };
        let name = path.strip_prefix(directory).unwrap_or(path).as_os_str().as_bytes();
        entries.insert(name.escape_ascii().to_string(), entry);
        Ok(())
    })?;
    Ok(Digest::of(&json::to_canonical(&entries)?))
}

/// Gives all files and directories the modes 0644 and 0755, and this time to everything.
pub(super) fn settle(directory: &Path, seconds: i64) -> io::Result<()> {
    visit(directory, &mut |path| {
        let stat = fs::symlink_metadata(path)?;
        if !stat.is_symlink() {
            let executable = stat.is_dir() || stat.permissions().mode() & 0o100 != 0;
            fs::set_permissions(path, Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        }
        set_time(path, seconds)
    })
}

/// Sets the times of a file, or of the link that it is.
pub(super) fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Calls `each` with everything at and below `directory` but `.git`, directories after what they hold.
fn visit(directory: &Path, each: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    // No recursion: how deep the directories go is up to whoever made the commit.
    let mut directories = vec![directory.to_owned()];
    let mut next = 0;
    while next < directories.len() {
        let mut names: Vec<PathBuf> =
            fs::read_dir(&directories[next])?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        names.sort();
        for path in names {
            if path.strip_prefix(directory).is_ok_and(|relative| relative == Path::new(".git")) {
                continue;
            }
            if fs::symlink_metadata(&path)?.is_dir() {
                directories.push(path);
            } else {
                each(&path)?;
            }
        }
        next += 1;
    }
    directories.iter().rev().try_for_each(|path| each(path))
}
