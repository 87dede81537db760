//! Running a build from outside: the log, the time-out, the space on the disk.
#![expect(clippy::disallowed_methods, reason = "it starts the sandbox and watches the time")]

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{Gid, Uid};

use super::channel::{Channel, Order, Report, wait_readable};
use super::owner::{BUILD_ID, Loan, builds_as_nobody};
use super::probe;
use super::spec::{Limits, Spec};

/// How often time, space and the stop flag are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What a root without mounts is called in the scratch directory.
pub(super) const COMPOSED: &str = "root";

/// How long the broker may take to end a build before it is ended itself.
const GRACE: Duration = Duration::from_secs(10);

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status; nothing when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Protections that this machine does not allow, one sentence each.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Whether the command ended by itself with status 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Why a command did not end by itself, or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The machine does not allow a part of the sandbox.
    #[error("this machine does not allow the sandbox: cannot {step}: {error}; {remedy}")]
    Refused {
        /// What was tried.
        step: String,
        /// Why not.
        error: String,
        /// Which setting to change.
        remedy: String,
    },
    /// The sandbox could not be set up as asked.
    #[error("cannot {step} for the sandbox: {error}")]
    Setup {
        /// What was tried.
        step: String,
        /// Why not.
        error: String,
    },
    /// The time is over.
    #[error("the build took longer than {seconds} seconds; it was ended")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// Somebody asked for the end.
    #[error("the build was stopped")]
    Stopped,
    /// The disk is nearly full.
    #[error(
        "the build was ended, because `{}` has {free} bytes left and {reserve} are to stay free",
        path.display()
    )]
    DiskFull {
        /// A writable mount on that disk.
        path: PathBuf,
        /// What is left.
        free: u64,
        /// What should be left.
        reserve: u64,
    },
    /// It writes without end.
    #[error("the build wrote more than {limit} bytes of log; it was ended")]
    LogTooLong {
        /// The limit.
        limit: u64,
    },
    /// The log cannot be written.
    #[error("cannot write the log of the build: {0}")]
    Log(io::Error),
    /// A writable directory cannot be given to the build, or taken back.
    #[error("cannot change the owner of `{}`: {error}", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The sandbox went away.
    #[error("the sandbox ended without a word; out of memory?")]
    Lost,
    /// Something of this process's own failed.
    #[error("cannot {step}: {error}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Runs a command in a sandbox, by the `bake` executable `launcher`. Standard output and standard error of the
/// command go to `log`. When this returns, no process of the build is left; `stop` set to true ends it early.
///
/// The calling thread must live until then: the kernel ends the sandbox with it.
pub fn run(
    launcher: &Path,
    spec: &Spec,
    log: &mut dyn Write,
    stop: &AtomicBool,
) -> Result<Outcome, SandboxError> {
    let as_nobody = builds_as_nobody();
    let mut loan = Loan::new(BUILD_ID);
    let mut result = Ok(());
    if as_nobody {
        result = spec.mounts.iter().filter(|mount| mount.writable).try_for_each(|mount| {
            let path = mount.source.clone();
            loan.lend(&mount.source).map_err(|error| SandboxError::Owner { path, error })
        });
    }
    let outcome = result.and_then(|()| supervised(launcher, spec, as_nobody, log, stop));
    // Whatever happened, nothing of root's stays in the hands of nobody.
    let returned = loan.end().map_err(|(path, error)| SandboxError::Owner { path, error });
    let removed = bake_archive::remove_tree(&spec.scratch.join(COMPOSED)).map_err(|error| SandboxError::Io {
        step: "remove the root of the build",
        error: io::Error::other(error),
    });
    outcome.and_then(|outcome| returned.and(removed).map(|()| outcome))
}

fn supervised(
    launcher: &Path,
    spec: &Spec,
    as_nobody: bool,
    log: &mut dyn Write,
    stop: &AtomicBool,
) -> Result<Outcome, SandboxError> {
    let failed = |step| move |error| SandboxError::Io { step, error };
    let (reader, writer) = io::pipe().map_err(failed("make a pipe for the log"))?;
    if as_nobody {
        // So that the build can open `/dev/stderr`.
        let (uid, gid) = (Uid::from_raw(BUILD_ID), Gid::from_raw(BUILD_ID));
        rustix::fs::fchown(&writer, Some(uid), Some(gid))
            .map_err(|error| failed("hand the log's pipe over")(error.into()))?;
    }
    let (channel, child) = launch(launcher, writer).map_err(failed("start the sandbox"))?;
    let mut watch = Watch {
        spec,
        channel,
        child,
        reader: Some(reader),
        logged: 0,
        began: Instant::now(),
        end: None,
        ended: None,
    };
    let order = Order::Run { spec: Box::new(spec.clone()), as_nobody };
    let outcome = watch
        .channel
        .send(&order)
        .map_err(failed("tell the sandbox what to run"))
        .and_then(|()| watch.until_end(log, stop));
    if outcome.is_err() {
        watch.channel.hang_up();
    }
    watch.bury().map_err(failed("wait for the sandbox"))?;
    watch.drain(log);
    match (watch.end, outcome) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(outcome)) => Ok(outcome),
    }
}

fn launch(launcher: &Path, writer: PipeWriter) -> io::Result<(Channel, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let errors = writer.try_clone()?;
    // The command holds its ends of pipe and socket, and must be gone for ours to see their end.
    let child = Command::new(launcher)
        .arg(super::SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(writer))
        .stderr(Stdio::from(errors))
        .spawn()?;
    Ok((Channel::new(ours), child))
}

struct Watch<'a> {
    spec: &'a Spec,
    channel: Channel,
    child: Child,
    /// The log's pipe, until all writers are gone.
    reader: Option<PipeReader>,
    logged: u64,
    began: Instant,
    /// Why the build has been told to end, and when.
    end: Option<SandboxError>,
    ended: Option<Instant>,
}

impl Watch<'_> {
    /// Goes on until the broker hangs up.
    fn until_end(&mut self, log: &mut dyn Write, stop: &AtomicBool) -> Result<Outcome, SandboxError> {
        let failed = |error| SandboxError::Io { step: "listen to the sandbox", error };
        let mut outcome = Err(SandboxError::Lost);
        let mut warnings = Vec::new();
        loop {
            let (reported, logged) = self.wait().map_err(failed)?;
            if logged {
                self.copy_log(log);
            }
            if reported {
                let goes_on = self.channel.fill().map_err(failed)?;
                while let Some(report) = self.channel.pending().map_err(failed)? {
                    match report {
                        Report::Warning(warning) => warnings.push(warning),
                        report => outcome = concluded(report),
                    }
                }
                if !goes_on {
                    return outcome.map(|outcome| Outcome { warnings, ..outcome });
                }
            }
            if let Some(error) = self.reason_to_end(stop) {
                self.tell_to_end(error);
            }
            if self.ended.is_some_and(|ended| ended.elapsed() > GRACE) {
                // The kernel then ends what is below it.
                let _ = self.child.kill();
            }
        }
    }

    /// Waits a moment for a report and for more of the log.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let channel = self.channel.as_fd();
        match &self.reader {
            Some(reader) => wait_readable([channel, reader.as_fd()], Some(TICK)).map(|[a, b]| (a, b)),
            None => wait_readable([channel], Some(TICK)).map(|[reported]| (reported, false)),
        }
    }

    fn reason_to_end(&self, stop: &AtomicBool) -> Option<SandboxError> {
        let Limits { timeout, disk_reserve, log_size, .. } = self.spec.limits;
        if stop.load(Ordering::SeqCst) {
            return Some(SandboxError::Stopped);
        }
        if self.began.elapsed() >= Duration::from_secs(timeout) {
            return Some(SandboxError::TimedOut { seconds: timeout });
        }
        if self.logged > log_size {
            return Some(SandboxError::LogTooLong { limit: log_size });
        }
        let writable = self.spec.mounts.iter().filter(|mount| mount.writable).map(|mount| &mount.source);
        // In a chroot they are elsewhere for the time being, but on the same file system.
        writable.chain([&self.spec.scratch]).find_map(|path| {
            let state = rustix::fs::statvfs(path).ok()?;
            let free = state.f_bavail.saturating_mul(state.f_frsize);
            let full = SandboxError::DiskFull { path: path.clone(), free, reserve: disk_reserve };
            (free < disk_reserve).then_some(full)
        })
    }

    /// The first reason is the one that is told.
    fn tell_to_end(&mut self, error: SandboxError) {
        if self.end.is_none() {
            self.end = Some(error);
            self.ended = Some(Instant::now());
            self.channel.hang_up();
        }
    }

    /// Takes over what is in the log's pipe; waits when nothing is.
    fn copy_log(&mut self, log: &mut dyn Write) {
        let Some(reader) = &mut self.reader else { return };
        let mut chunk = [0; 8192];
        match reader.read(&mut chunk) {
            Ok(0) => self.reader = None,
            Ok(length) => {
                self.logged += length as u64;
                let written = self.logged <= self.spec.limits.log_size;
                if let Some(Err(error)) = written.then(|| log.write_all(&chunk[..length])) {
                    self.tell_to_end(SandboxError::Log(error));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.reader = None;
                self.tell_to_end(SandboxError::Log(error));
            }
        }
    }

    /// Waits for the broker, which waits for everything else.
    fn bury(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > GRACE {
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Takes the rest of the log: all of its writers are dead.
    fn drain(&mut self, log: &mut dyn Write) {
        while self.reader.is_some() {
            self.copy_log(log);
        }
    }
}

fn concluded(report: Report) -> Result<Outcome, SandboxError> {
    let ended = |code, signal| Ok(Outcome { code, signal, warnings: Vec::new() });
    match report {
        Report::Exited(code) => ended(Some(code), None),
        Report::Killed(signal) => ended(None, Some(signal)),
        Report::Failed { step, error, errno } => match probe::remedy(&step, errno) {
            Some(remedy) => Err(SandboxError::Refused { step, error, remedy }),
            None => Err(SandboxError::Setup { step, error }),
        },
        Report::MapIds | Report::Warning(_) => Err(SandboxError::Lost),
    }
}
