//! Outputs that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// Files written under no name (`O_TMPFILE`) and given their names together at the end.
///
/// Whoever kills the process before [`OutputSet::publish`] finds nothing, not even the directory. Where a
/// file system has no unnamed files, hidden ones stand in for them; those go away on an error, and a killed
/// run's are overwritten by the next one.
#[derive(Debug)]
pub struct OutputSet {
    directory: PathBuf,
    /// The nearest directory that exists already: on the same file system as `directory` will be.
    workshop: PathBuf,
    files: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    name: String,
    file: Arc<File>,
    /// Where the stand-in lies, when the file system has no unnamed files.
    hidden: Option<PathBuf>,
}

impl OutputSet {
    /// Outputs for `directory`, which is created by [`OutputSet::publish`] if need be.
    ///
    /// # Errors
    /// When no parent of `directory` is a directory.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let mut workshop = directory;
        while !workshop.exists() {
            workshop = match workshop.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
        }
        if !workshop.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("`{}` is not a directory", workshop.display()),
            ));
        }
        Ok(Self { directory: directory.to_owned(), workshop: workshop.to_owned(), files: Vec::new() })
    }

    /// A new empty file, readable and writable, that will be called `name` (one path component).
    ///
    /// # Errors
    /// When the directory does not take files.
    pub fn create(&mut self, name: &str) -> io::Result<Arc<File>> {
        let mode = Mode::from_raw_mode(0o666);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let (file, hidden) = match rustix::fs::open(&self.workshop, flags | OFlags::TMPFILE, mode) {
            Ok(file) => (file, None),
            // Kernels and file systems without O_TMPFILE answer with any of these (open(2)).
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let hidden = self.workshop.join(format!(".{name}.unfinished"));
                (rustix::fs::open(&hidden, flags | OFlags::CREATE | OFlags::TRUNC, mode)?, Some(hidden))
            }
            Err(error) => return Err(error.into()),
        };
        let file = Arc::new(File::from(file));
        self.files.push(Pending { name: name.to_owned(), file: Arc::clone(&file), hidden });
        Ok(file)
    }

    /// Gives every file its name, in the order in which they were created, replacing what had it before.
    ///
    /// Create the file that vouches for the others (the sums) last.
    ///
    /// # Errors
    /// When a name cannot be given; names given before stay.
    pub fn publish(mut self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        for pending in std::mem::take(&mut self.files) {
            pending.name_it(&self.directory)?;
        }
        Ok(())
    }
}

impl Drop for OutputSet {
    fn drop(&mut self) {
        for hidden in self.files.iter().filter_map(|pending| pending.hidden.as_ref()) {
            // Nothing better can be done about a stand-in that does not go away.
            let _ = fs::remove_file(hidden);
        }
    }
}

impl Pending {
    fn name_it(&self, directory: &Path) -> io::Result<()> {
        let target = directory.join(&self.name);
        if let Some(hidden) = &self.hidden {
            return fs::rename(hidden, target);
        }
        match self.link(&target) {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        // A link never replaces: take a second name first and rename that one over the old file.
        let mut second = OsString::from(".");
        second.push(&self.name);
        second.push(".new");
        let second = directory.join(second);
        match fs::remove_file(&second) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.link(&second)?;
        fs::rename(&second, &target)
    }

    fn link(&self, path: &Path) -> Result<(), Errno> {
        // The documented way for a process without privileges to name an unnamed file (open(2), O_TMPFILE).
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn nothing_appears_before_publication_and_all_of_it_after() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("new/deep");
        let mut set = OutputSet::new(&out).unwrap();
        (&*set.create("a").unwrap()).write_all(b"one").unwrap();
        set.create("b").unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        set.publish().unwrap();
        assert_eq!(fs::read(out.join("a")).unwrap(), b"one");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    }

    #[test]
    fn an_older_file_is_replaced_and_an_unpublished_set_leaves_it() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a"), "old").unwrap();
        let mut set = OutputSet::new(scratch.path()).unwrap();
        (&*set.create("a").unwrap()).write_all(b"lost").unwrap();
        drop(set);
        assert_eq!(fs::read(scratch.path().join("a")).unwrap(), b"old");
        let mut set = OutputSet::new(scratch.path()).unwrap();
        (&*set.create("a").unwrap()).write_all(b"new").unwrap();
        set.publish().unwrap();
        assert_eq!(fs::read(scratch.path().join("a")).unwrap(), b"new");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        let error = OutputSet::new(&scratch.path().join("file/out")).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
