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
#[derive(Debug, Default)]
pub struct Signals {
    at_once: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    came: [Arc<AtomicBool>; ENDING.len()],
}

impl Signals {
    /// Takes the signals over; at first they go on doing what they always do.
    pub fn take_over() -> io::Result<Self> {
        let signals = Self { at_once: Arc::new(AtomicBool::new(true)), ..Self::default() };
        for (signal, came) in signals.heeded() {
            flag::register_conditional_default(signal, Arc::clone(&signals.at_once))?;
            flag::register(signal, Arc::clone(came))?;
        }
        Ok(signals)
    }

    /// Takes the signals over for work that ends well when it is told to: the first one only sets
    /// [`Signals::stop`], the second one ends the program at once.
    pub fn take_over_softly() -> io::Result<Self> {
        let signals = Self { at_once: Arc::new(AtomicBool::new(true)), ..Self::default() };
        for (signal, came) in signals.heeded() {
            flag::register_conditional_default(signal, Arc::clone(came))?;
            flag::register(signal, Arc::clone(came))?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    /// Set once a signal has come.
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// The result of work that ended, unless a signal made it end: that ends the program now, as it always does.
    pub fn ended<T>(&self, result: T) -> T {
        self.end_if_told();
        result
    }

    /// The signals that are not ignored.
    fn heeded(&self) -> impl Iterator<Item = (i32, &Arc<AtomicBool>)> {
        let ignored = ignored();
        ENDING.into_iter().zip(&self.came).filter(move |(signal, _)| ignored >> (signal - 1) & 1 == 0)
    }

    fn end_if_told(&self) {
        for (signal, came) in ENDING.into_iter().zip(&self.came) {
            if came.load(Ordering::SeqCst) {
                // It only fails for signals that no program can take.
                let _ = low_level::emulate_default_handler(signal);
            }
        }
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
        self.end_if_told();
        result
    }
}
