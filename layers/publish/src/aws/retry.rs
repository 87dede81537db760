//! The only place where requests are tried again; the SDK's own retries are off.
//!
//! Attempts and operations have their own limits. What may pass is tried again after a random wait that grows
//! (exponential backoff with full jitter); refusals are not.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tokio::time;

use super::fault;
use super::pace::Pace;
use crate::progress::{Event, Progress};
use crate::{Fault, FaultKind};

/// The longest wait before the first repetition.
const WAIT: Duration = Duration::from_millis(100);
/// The longest wait at all.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long requests may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// One attempt.
    pub attempt: Duration,
    /// All attempts and the waits between them.
    pub operation: Duration,
    /// How long something may be unknown that was made just before.
    pub unknown: Duration,
}

/// Of small requests.
pub(super) const CALL: Limits =
    Limits { attempt: Duration::from_secs(30), operation: Duration::from_mins(3), unknown: Duration::ZERO };

/// Of small requests about what was just made. EBS takes up to a minute to know a new snapshot everywhere.
pub(super) const FRESH: Limits = Limits { unknown: Duration::from_mins(2), ..CALL };

/// Of blocks of a snapshot that was just begun. Half a megabyte in 20 s takes a slow line.
pub(super) const BLOCK: Limits = Limits {
    attempt: Duration::from_secs(20),
    operation: Duration::from_mins(5),
    unknown: Duration::from_mins(2),
};

/// How often something fails before the user is told: not everybody has to know of a hiccup.
const TOLD_AFTER: u32 = 4;

/// Who is told that something does not go well.
#[derive(Clone)]
pub(super) struct Watch(pub Progress);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Does `attempt` until it goes well, fails for good, or the time is up.
pub(super) async fn retry<T, F>(
    action: &'static str,
    limits: Limits,
    (pace, watch): (Option<&Pace>, &Watch),
    mut attempt: impl FnMut() -> F,
) -> Result<T, Box<Fault>>
where
    F: Future<Output = Result<T, Fault>>,
{
    let begin = Instant::now();
    let mut attempts = 0;
    loop {
        let permit = match pace {
            Some(pace) => Some(pace.enter().await),
            None => None,
        };
        attempts += 1;
        let result = time::timeout(limits.attempt, attempt()).await;
        let fault = match result.unwrap_or_else(|_| Err(fault::late(action, limits.attempt.as_secs()))) {
            Ok(value) => {
                permit.as_ref().inspect(|permit| permit.went_well());
                return Ok(value);
            }
            Err(fault) => fault,
        };
        if matches!(fault.kind, FaultKind::Throttled | FaultKind::Passing) {
            permit.as_ref().inspect(|permit| permit.was_too_much());
        }
        drop(permit);
        let until = match fault.kind {
            FaultKind::Throttled | FaultKind::Passing => limits.operation,
            FaultKind::NotYet => limits.unknown,
            FaultKind::Final => Duration::ZERO,
        };
        let wait = wait(attempts);
        if begin.elapsed() + wait >= until {
            return Err(Box::new(Fault { attempts, ..fault }));
        }
        if attempts >= TOLD_AFTER && attempts.is_power_of_two() {
            (watch.0)(Event::Trouble(format!("{}; trying again", Fault { attempts, ..fault })));
        }
        time::sleep(wait).await;
    }
}

/// A random wait before the next of so many attempts: never nothing, so that a service without delay is not flooded.
fn wait(attempts: u32) -> Duration {
    let longest = WAIT.saturating_mul(1 << (attempts - 1).min(10)).min(LONGEST_WAIT);
    // Every new hasher has keys of its own.
    let random = RandomState::new().hash_one(attempts) as f64 / u64::MAX as f64;
    longest.mul_f64(random.max(0.05))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn run(limits: Limits, answers: &[FaultKind]) -> (Result<(), Box<Fault>>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked = Cell::new(0);
        let watch = Watch(std::sync::Arc::new(|_| ()));
        let result = runtime.block_on(retry("ebs:PutSnapshotBlock", limits, (None, &watch), || {
            let answer = answers.get(asked.get()).copied();
            asked.set(asked.get() + 1);
            async move {
                let fault = |kind| Fault {
                    action: "ebs:PutSnapshotBlock",
                    code: None,
                    message: String::new(),
                    request_id: None,
                    kind,
                    attempts: 1,
                };
                answer.map_or(Ok(()), |kind| Err(fault(kind)))
            }
        }));
        (result, asked.get())
    }

    #[test]
    fn what_may_pass_is_tried_again_until_it_passes() {
        let (result, asked) = run(BLOCK, &[FaultKind::Throttled, FaultKind::Passing, FaultKind::NotYet]);
        assert!(result.is_ok() && asked == 4);
    }

    #[test]
    fn refusals_are_final_at_once() {
        let (result, asked) = run(BLOCK, &[FaultKind::Final]);
        assert_eq!((result.unwrap_err().attempts, asked), (1, 1));
        let (result, asked) = run(CALL, &[FaultKind::NotYet]);
        assert_eq!((result.unwrap_err().attempts, asked), (1, 1));
    }

    #[test]
    fn an_operation_ends_when_its_time_is_up() {
        let limits = Limits { operation: Duration::ZERO, ..BLOCK };
        assert!(run(limits, &[FaultKind::Throttled]).0.is_err());
    }

    #[test]
    fn waits_grow_and_have_an_end() {
        for attempts in 1..100 {
            let wait = wait(attempts);
            assert!(
                wait > Duration::ZERO && wait <= LONGEST_WAIT.min(WAIT * 2_u32.saturating_pow(attempts - 1))
            );
        }
    }
}
