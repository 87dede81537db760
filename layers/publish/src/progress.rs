//! What long work says while it goes on.

use std::sync::Arc;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new step begins.
    Step(String),
    /// Work on so many bytes begins, of which some were done by an earlier run.
    Begin {
        /// What is done with them.
        what: &'static str,
        /// How many are done already.
        done: u64,
        /// How many there are.
        total: u64,
    },
    /// So many bytes more are done.
    Bytes(u64),
    /// Something goes wrong that may pass; it is tried again.
    Trouble(String),
}

/// Hears of every event, from any thread.
pub type Progress = Arc<dyn Fn(Event) + Send + Sync>;
