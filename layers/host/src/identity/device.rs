//! The disk that holds a root, and its partitions, as the kernel shows them in `/sys`; or a file that stands for one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bake_base::ReadAt;
use bake_disk::{Partition, SectorSize, Write};
use rustix::fs::FlockOperation;

use crate::Failure;
use crate::place::Root;

/// How many mapped devices (verity, encryption, volumes) may lie upon each other.
const MAX_DEPTH: u32 = 8;
/// Unit of lengths in `/sys`, whatever the disk's sectors.
const SYS_SECTOR: u64 = 512;

/// An open disk. As long as it is open nobody else who asks changes its table: udev, systemd-repart, growpart.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    len: u64,
    pub sector_size: SectorSize,
    /// Its path, for messages.
    pub shown: String,
    /// Device of each partition; none in a file, where they are found by their places.
    nodes: Option<BTreeMap<u32, Node>>,
}

/// The device of a partition.
#[derive(Clone, Debug)]
struct Node {
    path: PathBuf,
    /// Its numbers, such as `254:2`.
    device: String,
}

/// A partition that can be read and written.
#[derive(Debug)]
pub(super) struct Volume {
    pub path: PathBuf,
    /// Where it begins in the file of that path.
    pub offset: u64,
    /// Its numbers, such as `254:2`; none in a file.
    pub device: Option<String>,
}

impl ReadAt for Disk {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Disk {
    /// The disk on which the file system of a root is, however many mappings are between; none if there is not
    /// exactly one.
    pub fn of_root(root: &Root) -> Result<Option<Self>, Failure> {
        let Some(top) = root.find(&bake_tree::TreePath::root())? else { return Ok(None) };
        let stat = rustix::fs::fstat(&top).map_err(Failure::io("reading", "/"))?;
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        let mut disks = BTreeSet::new();
        let at = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        below(&at, MAX_DEPTH, &mut disks).map_err(Failure::io("reading", at.display()))?;
        let mut disks = disks.into_iter();
        match (disks.next(), disks.next()) {
            (Some(disk), None) => Self::of_sys(&disk).map(Some),
            _ => Ok(None),
        }
    }

    /// The disk that has this directory in `/sys`.
    fn of_sys(at: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io("reading", at.display())(error);
        let path = node(at).map_err(failed)?;
        let mut nodes = BTreeMap::new();
        for entry in fs::read_dir(at).map_err(failed)? {
            let below = entry.map_err(failed)?.path();
            if let Some(number) = read(&below.join("partition")).and_then(|number| number.parse().ok()) {
                let device = read(&below.join("dev")).unwrap_or_default();
                nodes.insert(number, Node { path: node(&below).map_err(failed)?, device });
            }
        }
        let number = |name: &str| read(&at.join(name)).and_then(|text| text.parse::<u64>().ok());
        let len = number("size").and_then(|sectors| sectors.checked_mul(SYS_SECTOR));
        let len = len.ok_or_else(|| Failure::new(format!("`{}` has no size", at.display())))?;
        let sector_size = match number("queue/logical_block_size") {
            Some(4096) => SectorSize::Bytes4096,
            _ => SectorSize::Bytes512,
        };
        Self::open(&path, Some(len), sector_size, Some(nodes))
    }

    /// A file that holds a disk of 512-byte sectors.
    pub fn of_file(path: &Path) -> Result<Self, Failure> {
        Self::open(path, None, SectorSize::Bytes512, None)
    }

    fn open(
        path: &Path,
        len: Option<u64>,
        sector_size: SectorSize,
        nodes: Option<BTreeMap<u32, Node>>,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io("opening", path.display())(error);
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        // The protocol of systemd for whole disks (BLOCK_DEVICE_LOCKING).
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(Failure::io("locking", path.display()))?;
        let len = len.map_or_else(|| file.metadata().map(|metadata| metadata.len()), Ok).map_err(failed)?;
        Ok(Self { file, len, sector_size, shown: path.display().to_string(), nodes })
    }

    /// Writes, and has it on the disk before anything that follows.
    pub fn write(&self, write: &Write) -> Result<(), Failure> {
        let written = self.file.write_all_at(&write.bytes, write.offset).and_then(|()| self.file.sync_data());
        written.map_err(Failure::io("writing", &self.shown))
    }

    /// A partition of the table; none if the kernel does not know it.
    pub fn volume(&self, partition: &Partition) -> Option<Volume> {
        match &self.nodes {
            None => {
                let path = PathBuf::from(&self.shown);
                Some(Volume { path, offset: partition.offset, device: None })
            }
            Some(nodes) => {
                let node = nodes.get(&partition.number)?.clone();
                Some(Volume { path: node.path, offset: 0, device: Some(node.device) })
            }
        }
    }
}

/// Collects the disks that a device lies on.
fn below(at: &Path, depth: u32, disks: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let at = match at.canonicalize() {
        // Such as the file system of a container.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    if at.join("partition").exists() {
        disks.extend(at.parent().map(Path::to_owned));
        return Ok(());
    }
    let slaves = match fs::read_dir(at.join("slaves")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?,
    };
    if slaves.is_empty() {
        disks.insert(at);
    } else if depth > 0 {
        slaves.iter().try_for_each(|slave| below(slave, depth - 1, disks))?;
    }
    Ok(())
}

/// The device of a directory in `/sys`.
fn node(at: &Path) -> io::Result<PathBuf> {
    let text = fs::read_to_string(at.join("uevent"))?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    let name = name.ok_or_else(|| io::Error::other("its `uevent` has no DEVNAME"))?;
    Ok(Path::new("/dev").join(name))
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// Where devices are mounted, by their numbers (proc_pid_mountinfo(5)); only those places that need no escaping.
pub(super) fn mounts() -> Vec<(String, String)> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let fields = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        let (device, top, place) = (fields.next()?, fields.next()?, fields.next()?);
        (top == "/" && !place.contains('\\')).then(|| (device.to_owned(), place.to_owned()))
    };
    text.lines().filter_map(fields).collect()
}
