//! One program of a package, for a bounded time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, kill_process_group};

/// How much of what a program wrote is kept: the end of it.
const KEPT: u64 = 64 << 10;

/// Runs a program and everything that it starts. Gives whether it ended well, how, and what it wrote.
pub(super) fn run(
    program: &Path,
    environment: &BTreeMap<String, String>,
    limit: Duration,
) -> (bool, String, String) {
    match try_run(program, environment, limit) {
        Ok((Some(status), output)) => (status.success(), status.to_string(), output),
        Ok((None, output)) => (false, format!("not done after {} s", limit.as_secs()), output),
        Err(error) => (false, format!("it does not run: {error}"), String::new()),
    }
}

#[expect(clippy::disallowed_methods, reason = "what packages bring for this is run, for a bounded time")]
fn try_run(
    program: &Path,
    environment: &BTreeMap<String, String>,
    limit: Duration,
) -> std::io::Result<(Option<ExitStatus>, String)> {
    // A file takes whatever is written, and nobody has to wait for what still writes.
    let mut output = File::from(rustix::fs::memfd_create("check", MemfdFlags::CLOEXEC)?);
    let mut command = Command::new(program);
    command.envs(environment).process_group(0).stdin(Stdio::null());
    let mut child = command.stdout(output.try_clone()?).stderr(output.try_clone()?).spawn()?;
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() >= limit {
            break None;
        }
        thread::sleep(pause.min(limit.saturating_sub(begun.elapsed())));
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    if status.is_none() {
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
        child.wait()?;
    }
    let size = output.seek(SeekFrom::End(0))?;
    output.seek(SeekFrom::Start(size.saturating_sub(KEPT)))?;
    let mut text = Vec::new();
    output.take(KEPT).read_to_end(&mut text)?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}
