//! What a build may see, do and use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything about one run. It travels to the stages of the sandbox through a socket, so nothing of it shows in
/// a process list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The builder's root file system. It is only read, needs no particular directory, and may be shared by
    /// any number of sandboxes.
    pub root: PathBuf,
    /// What lies where in it, beside `/dev`, `/proc`, `/run`, `/tmp`, `/var/tmp` and `/root`.
    pub mounts: Vec<Mount>,
    /// Program (an absolute path inside) and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where the command starts, inside.
    pub working_directory: String,
    /// An empty directory that nobody else uses, on the file system of the writable mounts: what a build sees is
    /// composed there where nothing can be mounted. It is empty again afterwards.
    pub scratch: PathBuf,
    /// The host name inside; the domain name is `(none)`.
    pub hostname: String,
    /// The user id inside. Whatever the number is, it may do the same.
    pub uid: u32,
    /// The group id inside.
    pub gid: u32,
    /// Whether the build has the machine's network. Otherwise there is a loopback interface, and it is up.
    pub network: bool,
    /// How many processors the build sees; all when not given.
    pub cpus: Option<usize>,
    /// How much it may use.
    pub limits: Limits,
    /// Whether what is mounted in `/pkg` are copies in memory whose directories list their entries in the opposite
    /// order. What the build writes there is lost.
    pub is_shuffled: bool,
    /// An absolute path below which what belongs in `/pkg` is mounted; `/pkg` is a symbolic link then, so that
    /// `getcwd` shows another path.
    pub real_prefix: Option<String>,
}

/// A file or directory of the machine that is visible inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on the machine.
    pub source: PathBuf,
    /// Where it appears: an absolute path without `.` and `..`. Missing directories on the way there are made
    /// up, unless they would lie in a writable mount.
    pub target: String,
    /// Whether the build may write there.
    pub writable: bool,
}

/// Limits of one build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads at any moment.
    pub processes: u64,
    /// Open files of one process.
    pub open_files: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes of address space of one process.
    pub memory: Option<u64>,
    /// Bytes of each of the file systems in memory: `/tmp`, `/var/tmp`, `/root`, `/run`, `/dev/shm`.
    pub tmp_size: u64,
    /// Bytes of log.
    pub log_size: u64,
    /// Bytes that stay free on every file system with a writable mount; the build ends when it leaves less.
    pub disk_reserve: u64,
    /// Seconds.
    pub timeout: u64,
}

impl Default for Limits {
    /// Enough for any package known, and little enough that the machine stays usable.
    fn default() -> Self {
        Self {
            processes: 4096,
            open_files: 65536,
            file_size: 64 << 30,
            memory: None,
            tmp_size: 4 << 30,
            log_size: 1 << 30,
            disk_reserve: 1 << 30,
            timeout: 6 * 60 * 60,
        }
    }
}
