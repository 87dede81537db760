//! Outputs that appear whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
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
            let message = format!("`{}` is not a directory", workshop.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        if missing(directory, workshop).components().any(|component| component == Component::ParentDir) {
            let message = format!("`{}` goes back from a directory that does not exist", directory.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self { directory: directory.to_owned(), workshop: workshop.to_owned(), files: Vec::new() })
    }

    /// A new empty file, readable and writable, that will be called `name` (one path component).
    ///
    /// # Errors
    /// When the directory does not take files, or has a directory of that name.
    pub fn create(&mut self, name: &str) -> io::Result<Arc<File>> {
        is_there(&self.directory.join(name))?;
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

    /// Gives every file its name, replacing what had it before. Create the file that vouches for the others
    /// (the sums) last: while names change, there is none.
    ///
    /// A directory that is new appears with all its files in one step. A process killed in here leaves at
    /// most a hidden `.NAME.unfinished`, which the next run clears away.
    ///
    /// # Errors
    /// When a name cannot be given; then everything is as it was.
    pub fn publish(mut self) -> io::Result<()> {
        let stage = Stage::new(&self.directory, &self.workshop)?;
        for pending in &mut self.files {
            pending.name_it(&stage.files.join(&pending.name))?;
        }
        if let Some(top) = &stage.becomes {
            match rustix::fs::renameat_with(CWD, &stage.top, CWD, top, RenameFlags::NOREPLACE) {
                // Somebody else made the directory meanwhile.
                Err(Errno::EXIST) => fs::create_dir_all(&self.directory)?,
                // File systems without this kind of renaming (renameat2(2)); the plain one takes no directory's place.
                Err(Errno::INVAL) => return fs::rename(&stage.top, top),
                result => return Ok(result?),
            }
        }
        let mut moves = Moves::default();
        let names: Vec<_> = self.files.iter().map(|pending| pending.name.as_str()).collect();
        if let Some(vouching) = names.last() {
            let old = self.directory.join(vouching);
            match moves.rename(&old, &stage.files.join(".old"), RenameFlags::NOREPLACE) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for name in names {
            let (from, to) = (stage.files.join(name), self.directory.join(name));
            let flags = if is_there(&to)? { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
            moves.rename(&from, &to, flags)?;
        }
        moves.done.clear();
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
    fn name_it(&mut self, path: &Path) -> io::Result<()> {
        if let Some(hidden) = &self.hidden {
            fs::rename(hidden, path)?;
            self.hidden = None;
            return Ok(());
        }
        // The documented way for a process without privileges to name an unnamed file (open(2), O_TMPFILE).
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }
}

/// What of the path of `directory` is not there yet.
fn missing<'a>(directory: &'a Path, workshop: &Path) -> &'a Path {
    // The workshop `.` of a relative path is no prefix of it.
    directory.strip_prefix(workshop).unwrap_or(directory)
}

/// Whether a file has this name; a directory that has is never replaced.
fn is_there(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() => {
            let message = format!("`{}` is a directory: expected a file or nothing", path.display());
            Err(io::Error::new(io::ErrorKind::IsADirectory, message))
        }
        there => Ok(there.is_ok()),
    }
}

/// A hidden directory in which files get their names before anybody looks; it goes away with everything that
/// is left in it.
struct Stage {
    top: PathBuf,
    /// Where in it the files go.
    files: PathBuf,
    /// What `top` will be called, if it is to be the output directory or a parent of it.
    becomes: Option<PathBuf>,
}

impl Stage {
    fn new(directory: &Path, workshop: &Path) -> io::Result<Self> {
        let hidden = |name: &OsStr| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(".unfinished");
            hidden
        };
        let mut components = missing(directory, workshop).components();
        let stage = if let Some(first) = components.next() {
            let top = workshop.join(hidden(first.as_os_str()));
            let becomes = Some(workshop.join(first));
            Self { files: top.join(components.as_path()), top, becomes }
        } else {
            let top = directory.join(hidden(OsStr::new("bake")));
            Self { files: top.clone(), top, becomes: None }
        };
        match fs::create_dir(&stage.top) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&stage.top)?;
                fs::create_dir(&stage.top)?;
            }
            result => result?,
        }
        fs::create_dir_all(&stage.files)?;
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It is not there any more when it became the output directory.
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// Renames that are taken back, last one first, unless all of them worked.
#[derive(Default)]
struct Moves {
    done: Vec<(PathBuf, PathBuf, RenameFlags)>,
}

impl Moves {
    fn rename(&mut self, from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, flags) {
            // File systems that cannot exchange names replace for good.
            Err(Errno::INVAL) => return fs::rename(from, to),
            result => result?,
        }
        self.done.push((from.to_owned(), to.to_owned(), flags));
        Ok(())
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        for (from, to, flags) in self.done.drain(..).rev() {
            // What worked a moment ago in the other direction; there is no third way.
            let _ = rustix::fs::renameat_with(CWD, to, CWD, from, flags);
        }
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
    fn a_failed_publication_leaves_everything_as_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["a", "sums"] {
            fs::write(scratch.path().join(name), "old").unwrap();
        }
        let mut set = OutputSet::new(scratch.path()).unwrap();
        for name in ["a", "b", "c", "sums"] {
            (&*set.create(name).unwrap()).write_all(b"new").unwrap();
        }
        fs::create_dir_all(scratch.path().join("c/mine")).unwrap();
        let error = set.publish().unwrap_err();
        assert!(error.to_string().contains("/c` is a directory"), "{error}");
        let mut left: Vec<_> =
            fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "c", "sums"]);
        assert_eq!(fs::read(scratch.path().join("a")).unwrap(), b"old");
        assert_eq!(fs::read(scratch.path().join("sums")).unwrap(), b"old");
        assert!(
            OutputSet::new(scratch.path()).unwrap().create("c").is_err(),
            "found before anything is written"
        );
    }

    #[test]
    fn what_a_killed_publication_left_is_cleared_away() {
        for (there, out) in [(".out.unfinished/deep/a", "out/deep"), ("out/.bake.unfinished/a", "out")] {
            let scratch = tempfile::tempdir().unwrap();
            let left = scratch.path().join(there);
            fs::create_dir_all(left.parent().unwrap()).unwrap();
            fs::write(left, "half").unwrap();
            let mut set = OutputSet::new(&scratch.path().join(out)).unwrap();
            set.create("b").unwrap();
            set.publish().unwrap();
            assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
            assert_eq!(fs::read_dir(scratch.path().join(out)).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_directory_that_appears_meanwhile_takes_the_files() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        let mut set = OutputSet::new(&out).unwrap();
        set.create("a").unwrap();
        fs::create_dir(&out).unwrap();
        fs::write(out.join("other"), "").unwrap();
        set.publish().unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_path_back_from_nowhere_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let error = OutputSet::new(&scratch.path().join("none/../out")).unwrap_err();
        assert!(error.to_string().contains("none/../out"), "{error}");
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        let error = OutputSet::new(&scratch.path().join("file/out")).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
