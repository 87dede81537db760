//! What is pulled onto: a file, made anew beside the old one, or a device that nobody uses.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bake_base::{Digest, ReadAt};
use bake_disk::{BLOCK_SIZE, BlockDigests};
use rustix::fs::{Advice, FallocateFlags, OFlags};

use super::is_zero;
use crate::Error;
use crate::image::digests;
use crate::progress::Progress;

/// What is written to.
#[derive(Debug)]
pub(super) struct Target {
    /// What is written.
    file: File,
    path: PathBuf,
    /// Whether no earlier run has left anything there.
    is_new: bool,
    /// The old file, and the name that the new one gets.
    old: Option<(Option<File>, PathBuf)>,
}

/// The first bytes of something that may be longer, and may be shorter: behind its end there are zeros.
#[derive(Debug)]
struct Window<'a> {
    file: &'a File,
    end: u64,
    len: u64,
}

impl ReadAt for Window<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let inside = self.end.saturating_sub(offset).min(buffer.len() as u64) as usize;
        buffer[inside..].fill(0);
        self.file.read_exact_at(&mut buffer[..inside], offset)
    }
}

impl Target {
    /// Opens a device of `len` bytes at least, or begins a file.
    pub(super) fn open(path: &Path, len: u64) -> Result<Self, Error> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.file_type().is_block_device() => {
                Self::device(path, metadata.rdev(), len)
            }
            Ok(metadata) if metadata.is_file() => {
                let old = File::open(path).map_err(Error::file("opening", path))?;
                // The name may be a link: what it stands for is replaced, not the link.
                let path = fs::canonicalize(path).map_err(Error::file("finding", path))?;
                Self::part(path, Some(old), len)
            }
            Ok(_) => {
                Err(Error::unfit(format_args!("`{}`", path.display()), "expected a file or a block device"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::part(path.into(), None, len),
            Err(error) => Err(Error::file("examining", path)(error)),
        }
    }

    fn part(path: PathBuf, old: Option<File>, len: u64) -> Result<Self, Error> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        // Never through a link, which somebody else may have put there.
        let flags = OFlags::NOFOLLOW.bits() as i32;
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).custom_flags(flags).open(&part);
        let file = file.map_err(Error::file("making", &part))?;
        if file.try_lock().is_err() {
            let problem = "another run is writing it: wait for that one";
            return Err(Error::unfit(format_args!("`{}`", part.display()), problem));
        }
        let is_new = file.metadata().map_err(Error::file("examining", &part))?.len() == 0;
        file.set_len(len).map_err(Error::file("making", &part))?;
        Ok(Self { file, path: part, is_new, old: Some((old, path)) })
    }

    fn device(path: &Path, device: u64, len: u64) -> Result<Self, Error> {
        let what = format!("`{}`", path.display());
        let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        if let Some(why) = in_use(&number) {
            return Err(Error::unfit(what, format!("it is in use: {why}; nothing was written")));
        }
        // Mounted file systems, RAID, device mapper and swap hold a device exclusively (open(2), O_EXCL).
        let flags = (OFlags::EXCL | OFlags::CLOEXEC).bits() as i32;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = file.map_err(Error::file("opening", path))?;
        let size = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)).map_err(io::Error::from);
        let size = size.map_err(Error::file("examining", path))?;
        if size < len {
            return Err(Error::unfit(
                what,
                format!("it has {size} bytes, the disk {len}; nothing was written"),
            ));
        }
        Ok(Self { file, path: path.into(), is_new: false, old: None })
    }

    pub(super) fn is_device(&self) -> bool {
        self.old.is_none()
    }

    /// Whether the old file is the disk.
    pub(super) fn is_there_already(
        &self,
        blocks: &BlockDigests,
        threads: usize,
        progress: &Progress,
    ) -> Result<bool, Error> {
        let Some((Some(old), path)) = &self.old else { return Ok(false) };
        let window = self.window(old, blocks.disk_size())?;
        let is_same = window.end == window.len
            && digests(&window, threads, progress).map_err(Error::file("reading", path))? == *blocks;
        if is_same {
            fs::remove_file(&self.path).map_err(Error::file("removing", &self.path))?;
        }
        Ok(is_same)
    }

    /// The blocks that are not right yet, ascending.
    pub(super) fn wrong(
        &self,
        blocks: &BlockDigests,
        threads: usize,
        progress: &Progress,
    ) -> Result<Vec<u64>, Error> {
        let there = self.digests(blocks.disk_size(), threads, progress)?;
        Ok((0..)
            .zip(there.iter().zip(blocks.iter()))
            .filter(|(_, (a, b))| a != b)
            .map(|(block, _)| block)
            .collect())
    }

    /// Makes blocks right without any network: zeros, and what the old file has. Gives those that it could not.
    pub(super) fn mend(&self, wrong: &[u64], blocks: &BlockDigests) -> Result<Vec<u64>, Error> {
        let len = blocks.disk_size();
        let mut buffer = vec![0; BLOCK_SIZE as usize];
        let mut lacking = Vec::new();
        for block in wrong.iter().copied() {
            let offset = block * BLOCK_SIZE;
            let size = BLOCK_SIZE.min(len - offset) as usize;
            if is_zero(blocks, block) {
                self.clear(offset, size)?;
                continue;
            }
            if let Some((Some(old), path)) = &self.old {
                buffer.fill(0);
                let window = self.window(old, len)?;
                window.read_exact_at(offset, &mut buffer[..size]).map_err(Error::file("reading", path))?;
                if Digest::of(&buffer) == blocks.get(block) {
                    self.write(block, &buffer[..size])?;
                    continue;
                }
            }
            lacking.push(block);
        }
        Ok(lacking)
    }

    fn window<'a>(&self, file: &'a File, len: u64) -> Result<Window<'a>, Error> {
        let end = file.metadata().map_err(Error::file("examining", &self.path))?.len();
        // A device has no length there; it was found to be long enough.
        let end = if self.is_device() { len } else { end.min(len) };
        Ok(Window { file, end, len })
    }

    fn clear(&self, offset: u64, size: usize) -> Result<(), Error> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if !self.is_device() && rustix::fs::fallocate(&self.file, flags, offset, size as u64).is_ok() {
            return Ok(());
        }
        self.file.write_all_at(&vec![0; size], offset).map_err(Error::file("writing", &self.path))
    }

    /// Writes a block, which may be the disk's last and short.
    pub(super) fn write(&self, block: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, block * BLOCK_SIZE).map_err(Error::file("writing", &self.path))
    }

    /// Has everything on the medium, and forgets it, so that it is read from there.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::file("writing", &self.path))?;
        // Advice may be ignored.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
        Ok(())
    }

    /// What lies there.
    pub(super) fn digests(
        &self,
        len: u64,
        threads: usize,
        progress: &Progress,
    ) -> Result<BlockDigests, Error> {
        let window = self.window(&self.file, len)?;
        digests(&window, threads, progress).map_err(Error::file("reading", &self.path))
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        format!("`{}`", self.path.display())
    }

    /// Leaves what was fetched to the next run, and says so. What holds nothing that was fetched goes away.
    pub(super) fn give_up(self, error: Error, has_fetched: bool) -> Error {
        if self.is_device() || matches!(error, Error::Stopped) {
            return error;
        }
        if self.is_new && !has_fetched {
            // The first failure is what the user has to know.
            let _ = fs::remove_file(&self.path);
            return error;
        }
        Error::Unfinished { part: self.path, source: Box::new(error) }
    }

    /// Gives a file its name.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Some((_, path)) = self.old else { return Ok(()) };
        fs::rename(&self.path, &path).map_err(Error::file("naming", &path))?;
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(Error::file("naming", &path))
    }
}

/// Why a device, or one of its partitions, must not be written: by its number, as in `8:0`.
fn in_use(number: &str) -> Option<String> {
    let device = PathBuf::from("/sys/dev/block").join(number);
    let mut numbers = vec![(number.to_owned(), device.clone())];
    for entry in fs::read_dir(&device).into_iter().flatten().flatten() {
        if let Ok(text) = fs::read_to_string(entry.path().join("dev")) {
            numbers.push((text.trim().to_owned(), entry.path()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    numbers.iter().find_map(|(number, path)| {
        let holder = fs::read_dir(path.join("holders")).into_iter().flatten().flatten().next();
        let held = holder.map(|holder| format!("{} holds it", holder.file_name().to_string_lossy()));
        mounted(&mounts, number).map(|place| format!("it is mounted at {place}; unmount it")).or(held)
    })
}

/// Where a device is mounted (proc_pid_mountinfo(5): the third field, and the fifth).
fn mounted<'a>(mounts: &'a str, number: &str) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let is_it = fields.nth(2) == Some(number);
        fields.nth(1).filter(|_| is_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_device_is_known_by_its_number() {
        let mounts = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n\
                      37 35 98:01 / /other rw - ext3 /dev/x rw\n";
        assert_eq!(mounted(mounts, "98:0"), Some("/mnt2"));
        assert_eq!(mounted(mounts, "8:0"), None);
        assert_eq!(mounted("", "8:0"), None);
    }

    #[test]
    fn what_lies_behind_the_end_of_a_short_file_is_zeros() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("short");
        fs::write(&path, [7; 10]).unwrap();
        let file = File::open(&path).unwrap();
        let window = Window { file: &file, end: 10, len: 100 };
        let mut buffer = [1; 8];
        window.read_exact_at(6, &mut buffer).unwrap();
        assert_eq!(buffer, [7, 7, 7, 7, 0, 0, 0, 0]);
        window.read_exact_at(50, &mut buffer).unwrap();
        assert_eq!(buffer, [0; 8]);
    }

    #[test]
    fn neither_directories_nor_links_in_the_way_are_written_to() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(Target::open(scratch.path(), 1).unwrap_err().to_string().contains("expected a file"));
        let secret = scratch.path().join("secret");
        fs::write(&secret, "kept").unwrap();
        let disk = scratch.path().join("other");
        let first = Target::open(&disk, 1).unwrap();
        assert!(Target::open(&disk, 1).unwrap_err().to_string().contains("another run is writing it"));
        drop(first);
        Target::open(&disk, 1).unwrap();
        std::os::unix::fs::symlink(&secret, scratch.path().join("disk.part")).unwrap();
        Target::open(&scratch.path().join("disk"), 1).unwrap_err();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "kept");
    }
}
