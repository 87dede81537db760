//! What the user sees: results on standard output, progress on standard error and only on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::Failure;

/// How much is said.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    quiet: bool,
}

impl Printer {
    /// With `quiet`, nothing but errors.
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// One line of result.
    pub fn line(self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.raw(format!("{}\n", text.as_ref()).as_bytes())
    }

    /// Bytes of result as they are.
    pub fn raw(self, bytes: &[u8]) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            // A reader that has seen enough (`| head`) is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => {
                result.map_err(|error| Failure::new(format!("writing to standard output failed: {error}")))
            }
        }
    }

    /// A step of long work; told on terminals only.
    pub fn step(self, text: impl AsRef<str>) {
        if !self.quiet && io::stderr().is_terminal() {
            error_line(text.as_ref());
        }
    }

    /// Something that the user should know, but that is no result.
    pub fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            error_line(&format!("note: {}", text.as_ref()));
        }
    }

    /// A bar for a number of bytes, if it is known; shown on terminals only.
    pub fn bytes(self, what: &str, length: Option<u64>) -> ProgressBar {
        let target = if self.quiet || !io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(length, target).with_message(what.to_owned());
        let style = match length {
            Some(_) => "{spinner} {msg} {bytes} of {total_bytes} ({binary_bytes_per_sec}, {eta} left)",
            None => "{spinner} {msg} {bytes} ({binary_bytes_per_sec})",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// Why a command failed.
pub fn report(failure: &Failure) {
    error_line(&format!("error: {failure}"));
}

fn error_line(text: &str) {
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
