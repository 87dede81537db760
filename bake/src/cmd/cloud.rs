//! What the commands about clouds share: their progress.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bake_publish::{Event, Progress};
use indicatif::ProgressBar;

use crate::ui::Printer;

/// How long nothing more is said of troubles.
const QUIET: Duration = Duration::from_secs(10);

/// Shows steps, and a bar with rate and remaining time for bytes.
pub fn progress(printer: Printer) -> Progress {
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let told: Mutex<Option<Instant>> = Mutex::new(None);
    Arc::new(move |event| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Step(text) => {
                clear(&mut bar);
                printer.step(text);
            }
            Event::Begin { what, done, total } => {
                clear(&mut bar);
                let new = printer.bytes(what, Some(total));
                // What an earlier run has done is no part of this one's rate.
                new.set_position(done);
                new.reset_eta();
                *bar = Some(new);
            }
            Event::Bytes(bytes) => bar.iter().for_each(|bar| bar.inc(bytes)),
            // What hits one request hits all that run at the same time.
            Event::Trouble(text) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.is_none_or(|told| told.elapsed() > QUIET) {
                    *told = Some(Instant::now());
                    printer.note(text);
                }
            }
        }
    })
}

fn clear(bar: &mut Option<ProgressBar>) {
    if let Some(bar) = bar.take() {
        bar.finish_and_clear();
    }
}

/// What a build without the SDK says.
#[cfg(not(feature = "aws"))]
pub fn without_aws() -> crate::error::Failure {
    crate::error::Failure::usage("this `bake` was built without AWS: build it with `--features aws`")
}
