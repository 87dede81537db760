//! A user id for one build at a time, by which its processes can be told from all others, and ended.
#![expect(clippy::disallowed_methods, reason = "it starts the process that ends those of a build")]

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::WaitOptions;
use rustix::thread::Uid;

use super::super::SUBCOMMAND;

/// The argument of the stage that ends a build's processes.
pub(in crate::sandbox) const STAGE: &str = "end";

/// Ids that distributions leave to nobody (systemd's "Users, Groups, UIDs and GIDs"), below 65536, since containers
/// often have no others.
const FREE: std::ops::Range<u32> = 60578..61184;

/// Two ids that nobody else has as long as this lives.
pub(super) struct Ids {
    /// Who the build is: user and group.
    pub build: u32,
    /// Who ends it.
    ender: u32,
    /// Its name is the claim, which goes with this process however that ends.
    _lock: UnixListener,
}

impl Ids {
    /// Finds ids that no process has and no other sandbox claims.
    pub fn claim() -> io::Result<Self> {
        for build in FREE.step_by(2) {
            let ender = build + 1;
            let name = SocketAddr::from_abstract_name(format!("bake-sandbox-{build}"))?;
            match UnixListener::bind_addr(&name) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
                Ok(lock) => {
                    let is_free = ![build, ender].iter().any(|id| has_processes(*id).unwrap_or(true));
                    if is_free {
                        return Ok(Self { build, ender, _lock: lock });
                    }
                }
            }
        }
        Err(io::Error::other(format!("none of {FREE:?} is free here")))
    }

    /// Ends all processes of the build, which are all below this one, and reaps them.
    pub fn end_all(&self) -> io::Result<()> {
        let ids = [self.build, self.ender].map(|id| id.to_string());
        let mut ender = Command::new("/proc/self/exe");
        ender.args([SUBCOMMAND, STAGE]).args(ids).env_clear().stdin(Stdio::null());
        if !ender.status()?.success() {
            return Err(io::Error::other("the process that ends them failed"));
        }
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn has_processes(id: u32) -> io::Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        // One that ends meanwhile counts for nothing.
        if is_process && entry.metadata().is_ok_and(|metadata| metadata.uid() == id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The stage that ends a build's processes, all at one moment, so that none can start another.
///
/// Whoever shares an effective id with them may do so, and whoever may end it would need its real or saved id. So
/// they cannot be faster.
pub(in crate::sandbox) fn end() -> ExitCode {
    let ids: Vec<u32> = std::env::args().skip(3).filter_map(|id| id.parse().ok()).collect();
    let [build, ender] = ids[..] else { return ExitCode::FAILURE };
    let ender = Uid::from_raw(ender);
    if rustix::thread::set_thread_res_uid(ender, Uid::from_raw(build), ender).is_err() {
        return ExitCode::FAILURE;
    }
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
