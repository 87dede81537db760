//! Files without a name, that vanish with their process unless they are given one.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// A new empty file, readable and writable.
#[derive(Debug)]
pub struct Unnamed {
    file: Arc<File>,
    directory: PathBuf,
    /// Where the file lies when the file system has no unnamed ones.
    hidden: Option<PathBuf>,
}

impl Unnamed {
    /// A file on the file system of `directory`.
    ///
    /// # Errors
    /// When the directory does not take files.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let mode = Mode::from_raw_mode(0o666);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let (file, hidden) = match rustix::fs::open(directory, flags | OFlags::TMPFILE, mode) {
            Ok(file) => (file, None),
            // Kernels and file systems without O_TMPFILE answer with any of these (open(2)).
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let create = flags | OFlags::CREATE | OFlags::EXCL;
                let (hidden, file) = hidden(directory, |hidden| rustix::fs::open(hidden, create, mode))?;
                (file, Some(hidden))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { file: Arc::new(File::from(file)), directory: directory.to_owned(), hidden })
    }

    /// The file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Gives the file a name, in the place of whatever has it. Others may do so at the same time: each finds
    /// one whole file under the name.
    ///
    /// # Errors
    /// When the name cannot be given; the file has none then, or a hidden one.
    pub fn name(&self, path: &Path) -> io::Result<()> {
        if let Some(hidden) = &self.hidden {
            return fs::rename(hidden, path);
        }
        // The documented way for a process without privileges to name an unnamed file (open(2), O_TMPFILE).
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let link = |path: &Path| rustix::fs::linkat(CWD, &*unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW);
        match link(path) {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        // A link never replaces: take a second name first and rename that one over the old file.
        let (second, ()) = hidden(&self.directory, link)?;
        fs::rename(&second, path)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            // Gone already if it was given its name; nothing better can be done about any other failure.
            let _ = fs::remove_file(hidden);
        }
    }
}

/// Makes something under a name that nothing has yet, be it another process or one that was killed.
fn hidden<T>(directory: &Path, make: impl Fn(&Path) -> Result<T, Errno>) -> io::Result<(PathBuf, T)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".unfinished-{}-{count}", std::process::id()));
        match make(&path) {
            Err(Errno::EXIST) => {}
            result => return Ok((path, result?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all_and_replaces_another() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        for text in ["one", "two"] {
            let unnamed = Unnamed::new(scratch.path()).unwrap();
            (&**unnamed.file()).write_all(text.as_bytes()).unwrap();
            drop(Unnamed::new(scratch.path()).unwrap());
            unnamed.name(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn names_that_a_killed_run_left_are_passed_over() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |path: &Path| {
            if path.exists() { Err(Errno::EXIST) } else { fs::write(path, "").map_err(|_| Errno::IO) }
        };
        let (first, ()) = hidden(scratch.path(), make).unwrap();
        let (second, ()) = hidden(scratch.path(), make).unwrap();
        assert_ne!(first, second);
    }
}
