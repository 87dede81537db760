//! What the stages of the sandbox tell each other: JSON, a line each, over a socket.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::spec::Spec;

/// No message is longer, so a peer gone mad cannot fill the memory.
const MAX_LINE: usize = 16 << 20;

/// What a stage is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run this. `as_nobody` when root builds as [`super::BUILD_ID`].
    Run { spec: Box<Spec>, as_nobody: bool },
    /// The ids of the user namespace are mapped; go on.
    Mapped,
    /// Run this in the directory `root`, as the user `id`.
    RunIn { spec: Box<Spec>, root: PathBuf, id: u32 },
}

/// What a stage reports to the one above it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// PID 1 has made a user namespace and waits for its ids.
    MapIds,
    /// A protection is missing, and why.
    Warning(String),
    /// The sandbox could not be made.
    Failed { step: String, error: String, errno: Option<i32> },
    /// The command ended by itself.
    Exited(i32),
    /// A signal ended the command.
    Killed(i32),
}

/// A step that did not work.
#[derive(Debug)]
pub(super) struct Failure {
    /// What was tried.
    pub step: String,
    /// Why not.
    pub error: io::Error,
}

impl Failure {
    pub(super) fn new(step: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self { step: step.into(), error: error.into() }
    }
}

impl From<Failure> for Report {
    fn from(Failure { step, error }: Failure) -> Self {
        Self::Failed { step, errno: error.raw_os_error(), error: error.to_string() }
    }
}

/// Says what was tried when it does not work.
pub(super) trait During<T> {
    fn during(self, step: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(step(), error))
    }
}

/// One end of a connection between two stages.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    pending: Vec<u8>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// The stage's own end, which the stage above gave it as standard input.
    pub(super) fn from_stdin() -> io::Result<Self> {
        Ok(Self::new(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// The next message; waits for it. Nothing at the end.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.pending()? {
                return Ok(Some(message));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// A message that has already arrived.
    pub(super) fn pending<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.pending.drain(..=end).collect();
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Takes in what has arrived; waits for it. False at the end.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 8192];
        let length = loop {
            match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break 0,
                result => break result?,
            }
        };
        self.pending.extend_from_slice(&chunk[..length]);
        if self.pending.len() > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message longer than any can be"));
        }
        Ok(length > 0)
    }

    /// Tells the other end that nothing more comes, which asks it to end.
    pub(super) fn hang_up(&self) {
        // It only fails when the other end has gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Waits until one of them has something to read or has ended; true for those that have.
pub(super) fn wait_readable<const N: usize>(
    these: [BorrowedFd<'_>; N],
    timeout: Option<std::time::Duration>,
) -> io::Result<[bool; N]> {
    let mut fds = these.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let timeout = timeout
        .map(|timeout| Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.map(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok([false; N]),
        Err(error) => Err(error.into()),
    }
}
