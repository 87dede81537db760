//! Times: timestamps of files, and the one instant above which none may lie.

use serde::{Deserialize, Serialize};

/// A file's time: seconds since 1970-01-01T00:00:00Z, possibly negative, and nanoseconds `0..1_000_000_000`
/// that count forward from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A time on a whole second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }
}

/// The newest time that an artifact may contain, in seconds since 1970 (never negative).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// An epoch in whole seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The smallest epoch that is not below `newest`.
    pub fn not_before(newest: Timestamp) -> Self {
        let up = i64::from(newest.nanoseconds > 0);
        Self(u64::try_from(newest.seconds.saturating_add(up)).unwrap_or(0))
    }

    /// Seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// The epoch as a file's time.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_seconds(i64::try_from(self.0).unwrap_or(i64::MAX))
    }

    /// `time`, or the epoch where `time` is later.
    pub fn clamp(self, time: Timestamp) -> Timestamp {
        time.min(self.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_above_the_epoch_are_clamped() {
        let epoch = Epoch::from_seconds(100);
        let old = Timestamp { seconds: -5, nanoseconds: 7 };
        let before = Timestamp { seconds: 99, nanoseconds: 999_999_999 };
        let after = Timestamp { seconds: 100, nanoseconds: 1 };
        assert_eq!(epoch.clamp(old), old);
        assert_eq!(epoch.clamp(before), before);
        assert_eq!(epoch.clamp(after), Timestamp::from_seconds(100));
    }

    #[test]
    fn the_newest_time_of_a_tree_is_kept_by_its_own_epoch() {
        let newest = Timestamp { seconds: 41, nanoseconds: 1 };
        assert_eq!(Epoch::not_before(newest).clamp(newest), newest);
        assert_eq!(Epoch::not_before(Timestamp::from_seconds(-1)).seconds(), 0);
    }
}
