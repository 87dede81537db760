//! One file from a server, through a program of the host: that knows its proxies, certificates and names.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bake_base::Digest;

use crate::Failure;

/// How often a connection may break without bringing anything new.
const TRIES: u32 = 3;
/// Bytes copied at once.
const STEP: usize = 1 << 18;
/// How much of what a program says is told.
const SAID: u64 = 4 << 10;

/// Why a try ended.
enum Ended {
    /// All is there.
    Done,
    /// The next try may go on.
    Broken(String),
    /// The server knows nothing of parts.
    NoParts,
    /// There is more than there may be.
    Longer,
    /// Nothing will help.
    Refused(String),
    /// What comes cannot be kept.
    Unwritten(io::Error),
}

/// Fetches `url` into the file `to`, which is `shown` in messages and goes on where it ends; at most `limit` bytes.
/// `expected` is only told.
pub(super) fn download(
    url: &str,
    to: &Path,
    shown: &str,
    limit: u64,
    expected: Option<Digest>,
) -> Result<(), Failure> {
    let (mut tries, mut most) = (0, 0);
    let failed = |reason: &str| {
        let wanted = expected.map(|sha256| format!(" (expected the file with sha256 {sha256})"));
        let wanted = wanted.unwrap_or_default();
        Err(Failure::new(format!(
            "fetching `{url}` failed: {reason}; mend that, then run the same command again{wanted}"
        )))
    };
    loop {
        let io = |error: io::Error| unwritten(url, shown, &error);
        let mut file = File::options().append(true).create(true).read(true).open(to).map_err(io)?;
        let have = file.metadata().map_err(io)?.len();
        if have > limit {
            file.set_len(0).map_err(io)?;
            continue;
        }
        match once(url, &mut file, have, limit) {
            Ended::Done => return file.sync_all().map_err(io),
            Ended::Refused(reason) => return failed(&reason),
            Ended::Unwritten(error) => return Err(io(error)),
            Ended::Longer => {
                file.set_len(0).map_err(io)?;
                return failed(&format!("it is longer than {limit} bytes"));
            }
            Ended::NoParts if have > 0 => file.set_len(0).map_err(io)?,
            Ended::NoParts => return failed("the server does not send it"),
            Ended::Broken(reason) => {
                let have = file.metadata().map_err(io)?.len();
                tries = if have > most { 1 } else { tries + 1 };
                most = most.max(have);
                if tries >= TRIES {
                    return failed(&reason);
                }
                thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

fn unwritten(url: &str, shown: &str, error: &io::Error) -> Failure {
    Failure::new(format!(
        "writing what came from `{url}` to `{shown}` failed: {error}; mend that, then run the same command again"
    ))
}

fn once(url: &str, file: &mut File, have: u64, limit: u64) -> Ended {
    if let Some(path) = url.strip_prefix("file://") {
        return copy(Path::new(path), file, limit);
    }
    match curl(url, have) {
        Ok(child) => receive(child, file, have, limit, |code| match code {
            // 22: the server refuses; to go on at the end of a file is refused too.
            Some(22) if have > 0 => Some(Ended::NoParts),
            Some(22) => Some(Ended::Refused("the server does not have it".to_owned())),
            Some(33 | 36) => Some(Ended::NoParts),
            Some(1 | 2 | 3 | 60 | 77) => Some(Ended::Refused(String::new())),
            _ => None,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if have > 0 && file.set_len(0).is_err() {
                return Ended::Refused("what is there already cannot be replaced".to_owned());
            }
            match wget(url) {
                Ok(child) => receive(child, file, 0, limit, |code| {
                    (code == Some(8)).then(|| Ended::Refused("the server does not have it".to_owned()))
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ended::Refused(
                    "neither curl nor wget is there: install curl, or bring the file and use `pkgpanda add`"
                        .to_owned(),
                ),
                Err(error) => Ended::Refused(format!("wget does not run: {error}")),
            }
        }
        Err(error) => Ended::Refused(format!("curl does not run: {error}")),
    }
}

#[expect(clippy::disallowed_methods, reason = "hosts have a program that knows how to reach servers")]
fn curl(url: &str, have: u64) -> io::Result<Child> {
    let mut command = Command::new("curl");
    command.args(["-q", "--globoff", "--silent", "--show-error", "--fail", "--location"]);
    command.args(["--proto", "=http,https", "--proto-redir", "=http,https"]);
    command.args(["--connect-timeout", "20", "--speed-limit", "1", "--speed-time", "60"]);
    if have > 0 {
        command.arg("--continue-at").arg(have.to_string());
    }
    command.args(["--output", "-", "--url", url]);
    spawn(&mut command)
}

/// wget gives no part to a pipe: it begins anew.
#[expect(clippy::disallowed_methods, reason = "hosts have a program that knows how to reach servers")]
fn wget(url: &str) -> io::Result<Child> {
    spawn(Command::new("wget").args(["-q", "-T", "60", "-O", "-", url]))
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Takes what a program sends. `judge` knows what its status means, unless it is an ordinary failure.
fn receive(
    mut child: Child,
    file: &mut File,
    have: u64,
    limit: u64,
    judge: impl Fn(Option<i32>) -> Option<Ended>,
) -> Ended {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // It may say much while nobody listens.
    let said = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut err) = err {
            let _ = err.by_ref().take(SAID).read_to_end(&mut text);
            let _ = io::copy(&mut err, &mut io::sink());
        }
        String::from_utf8_lossy(&text).trim_end().to_owned()
    });
    let copied = out.map_or(Ok(true), |out| fill(out, file, have, limit));
    if !matches!(copied, Ok(true)) {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait();
    let said = said.join().unwrap_or_default();
    let status = match (copied, status) {
        (Ok(false), _) => return Ended::Longer,
        (Err(Broke::Writing(error)), _) => return Ended::Unwritten(error),
        (Err(Broke::Reading(error)), _) => return Ended::Broken(error.to_string()),
        (_, Err(error)) => return Ended::Refused(error.to_string()),
        (Ok(true), Ok(status)) => status,
    };
    if status.success() {
        return Ended::Done;
    }
    let reason = if said.is_empty() { status.to_string() } else { said };
    match judge(status.code()) {
        Some(Ended::Refused(known)) if known.is_empty() => Ended::Refused(reason),
        Some(Ended::Refused(known)) => Ended::Refused(format!("{known}: {reason}")),
        Some(ended) => ended,
        None => Ended::Broken(reason),
    }
}

/// Which side something went wrong at.
enum Broke {
    Reading(io::Error),
    Writing(io::Error),
}

/// Appends what comes; no if it is more than it may be.
fn fill(mut from: impl Read, file: &mut File, have: u64, limit: u64) -> Result<bool, Broke> {
    let (mut buffer, mut size) = (vec![0; STEP], have);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Broke::Reading(error)),
        };
        size += count as u64;
        if size > limit {
            return Ok(false);
        }
        file.write_all(&buffer[..count]).map_err(Broke::Writing)?;
    }
}

/// From a directory that is mounted.
fn copy(from: &Path, file: &mut File, limit: u64) -> Ended {
    let open = || {
        if !std::fs::metadata(from)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        File::open(from)
    };
    let opened = open().map_err(Broke::Reading);
    let emptied = opened.and_then(|from| file.set_len(0).map(|()| from).map_err(Broke::Writing));
    match emptied.and_then(|from| fill(from, file, 0, limit)) {
        Ok(true) => Ended::Done,
        Ok(false) => Ended::Longer,
        Err(Broke::Reading(error)) => Ended::Refused(error.to_string()),
        Err(Broke::Writing(error)) => Ended::Unwritten(error),
    }
}
