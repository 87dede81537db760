//! Signals that end the program, and the moments in which they have to wait.
//!
//! Until outputs get their names, a killed run leaves nothing by itself: its files have none. Nothing is to be
//! done for that, least of all in a handler. Only giving names must not stop halfway, and a virtual machine has
//! to be switched off and its files removed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Signals by which people and supervisors end programs.
const ENDING: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// The signals that whoever started the program wants it to ignore (`nohup`), one bit each (proc(5), `SigIgn`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Whether signals end the program at once.
#[derive(Debug)]
pub struct Signals {
    at_once: Arc<AtomicBool>,
    came: [Arc<AtomicBool>; ENDING.len()],
}

impl Signals {
    /// Takes the signals over; at first they go on doing what they always do.
    pub fn take_over() -> io::Result<Self> {
        let signals = Self { at_once: Arc::new(AtomicBool::new(true)), came: Default::default() };
        let ignored = ignored();
        for (signal, came) in ENDING.into_iter().zip(&signals.came) {
            if ignored >> (signal - 1) & 1 == 1 {
                continue;
            }
            flag::register_conditional_default(signal, Arc::clone(&signals.at_once))?;
            flag::register(signal, Arc::clone(came))?;
        }
        Ok(signals)
    }

    /// Whether a signal waits for the end of [`Signals::hold`].
    pub fn came(&self) -> bool {
        self.came.iter().any(|came| came.load(Ordering::SeqCst))
    }

    /// Does something that no signal interrupts; one that came meanwhile ends the program after it.
    pub fn hold<T>(&self, work: impl FnOnce() -> T) -> T {
        self.at_once.store(false, Ordering::SeqCst);
        let result = work();
        self.at_once.store(true, Ordering::SeqCst);
        for (signal, came) in ENDING.into_iter().zip(&self.came) {
            if came.load(Ordering::SeqCst) {
                // It only fails for signals that no program can take.
                let _ = low_level::emulate_default_handler(signal);
            }
        }
        result
    }
}
