//! How many requests run at the same time: more as long as the service keeps up, half as many when it says no.
//!
//! Additive increase and multiplicative decrease, as TCP's congestion control (RFC 5681): doubling per round until the
//! first refusal, then one more per round. Requests that were under way when the number was cut do not cut it again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// How many requests are allowed at first.
const FIRST: f64 = 8.0;

#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    most: f64,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    running: usize,
    /// When the limit was cut for the last time.
    cut: Option<Instant>,
}

/// The right to have a request under way.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    pace: &'a Pace,
    since: Instant,
}

impl Pace {
    /// Up to `most` requests at the same time.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self {
            state: Mutex::new(State { limit: FIRST.min(most), running: 0, cut: None }),
            most,
            freed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_enter(&self) -> Option<Permit<'_>> {
        let mut state = self.state();
        let is_free = state.running < state.limit as usize;
        is_free.then(|| {
            state.running += 1;
            Permit { pace: self, since: Instant::now() }
        })
    }

    /// Waits until one more request may run.
    pub(super) async fn enter(&self) -> Permit<'_> {
        loop {
            let freed = self.freed.notified();
            if let Some(permit) = self.try_enter() {
                return permit;
            }
            freed.await;
        }
    }
}

impl Permit<'_> {
    /// The request went well.
    pub(super) fn went_well(&self) {
        let mut state = self.pace.state();
        let step = if state.cut.is_some() { 1.0 / state.limit } else { 1.0 };
        state.limit = (state.limit + step).min(self.pace.most);
        drop(state);
        self.pace.freed.notify_one();
    }

    /// The service had too much to do.
    pub(super) fn was_too_much(&self) {
        let mut state = self.pace.state();
        if state.cut.is_none_or(|cut| self.since > cut) {
            state.limit = (state.limit / 2.0).max(1.0);
            state.cut = Some(Instant::now());
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.pace.state().running -= 1;
        self.pace.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(pace: &Pace) -> f64 {
        pace.state().limit
    }

    #[test]
    fn the_number_grows_until_it_was_too_much_and_then_slowly() {
        let pace = Pace::new(64);
        (0..8).for_each(|_| pace.try_enter().unwrap().went_well());
        assert!((limit(&pace) - 16.0).abs() < 1e-9);
        pace.try_enter().unwrap().was_too_much();
        assert!((limit(&pace) - 8.0).abs() < 1e-9);
        (0..8).for_each(|_| pace.try_enter().unwrap().went_well());
        assert!(limit(&pace) < 9.1);
        (0..10_000).for_each(|_| pace.try_enter().unwrap().went_well());
        assert!((limit(&pace) - 64.0).abs() < 1e-9);
    }

    #[test]
    fn requests_of_one_round_cut_it_once_and_never_below_one() {
        let pace = Pace::new(8);
        let round: Vec<_> = (0..8).map(|_| pace.try_enter().unwrap()).collect();
        assert!(pace.try_enter().is_none());
        round.iter().for_each(Permit::was_too_much);
        assert!((limit(&pace) - 4.0).abs() < 1e-9);
        drop(round);
        (0..9).for_each(|_| pace.try_enter().unwrap().was_too_much());
        assert!((limit(&pace) - 1.0).abs() < 1e-9);
        let only = pace.try_enter().unwrap();
        assert!(pace.try_enter().is_none());
        drop(only);
        assert!(pace.try_enter().is_some());
    }
}
