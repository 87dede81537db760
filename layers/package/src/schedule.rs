//! Work in the order in which it depends on each other, as much of it at once as there are threads for.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// What is to be done, what runs, and what came of it.
struct State<E> {
    /// Items that may begin, lowest first: the build order is kept where it can be.
    ready: BTreeSet<usize>,
    /// How many needs of each item are not done.
    missing: Vec<usize>,
    running: usize,
    failures: BTreeMap<usize, E>,
    panic: Option<Box<dyn Any + Send>>,
}

/// Does `work` for each of the items `0..needs.len()` once all that it needs is done, with at most `jobs` at
/// once. `needs` has the items that each one needs, all of them lower than itself. Nothing begins after a
/// failure; what runs goes on to its end.
///
/// # Errors
/// The failures, in the order of the items.
pub fn run<E: Send>(
    needs: &[Vec<usize>],
    jobs: usize,
    work: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), Vec<E>> {
    let mut wanted_by = vec![Vec::new(); needs.len()];
    for (item, needs) in needs.iter().enumerate() {
        for need in needs {
            wanted_by[*need].push(item);
        }
    }
    let missing: Vec<_> = needs.iter().map(Vec::len).collect();
    let ready = (0..needs.len()).filter(|item| missing[*item] == 0).collect();
    let state = Mutex::new(State { ready, missing, running: 0, failures: BTreeMap::new(), panic: None });
    let changed = Condvar::new();
    // Nothing that is done under the lock panics.
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || {
        let mut state = lock();
        loop {
            let ended = !state.failures.is_empty() || state.panic.is_some();
            if ended || (state.ready.is_empty() && state.running == 0) {
                changed.notify_all();
                return;
            }
            let Some(item) = state.ready.pop_first() else {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running += 1;
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(|| work(item)));
            state = lock();
            state.running -= 1;
            match result {
                Ok(Ok(())) => {
                    for next in &wanted_by[item] {
                        state.missing[*next] -= 1;
                        if state.missing[*next] == 0 {
                            state.ready.insert(*next);
                        }
                    }
                }
                Ok(Err(error)) => {
                    state.failures.insert(item, error);
                }
                // The other workers end too, and then it goes on where the caller sees it.
                Err(panic) => state.panic = Some(panic),
            }
            changed.notify_all();
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(needs.len()) {
            // A machine that has no more threads works with those that there are.
            let _ = thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let State { failures, panic, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.into_values().collect()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn everything_is_done_once_and_after_what_it_needs() {
        let needs = [vec![], vec![0], vec![0], vec![1, 2], vec![], vec![3, 4]];
        for jobs in 1..=4 {
            let done = Mutex::new(Vec::new());
            let work = |item: usize| {
                let mut done = done.lock().unwrap();
                assert!(needs[item].iter().all(|need| done.contains(need)), "{item} after {done:?}");
                done.push(item);
                Ok::<_, ()>(())
            };
            run(&needs, jobs, work).unwrap();
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, [0, 1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn one_thread_keeps_the_order() {
        let done = Mutex::new(Vec::new());
        run(&[vec![], vec![], vec![0], vec![1]], 1, |item| {
            done.lock().unwrap().push(item);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(done.into_inner().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn nothing_begins_after_a_failure_and_all_failures_are_told() {
        let begun = AtomicUsize::new(0);
        let both = std::sync::Barrier::new(2);
        let work = |item: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            both.wait();
            Err::<(), _>(item)
        };
        assert_eq!(run(&[vec![], vec![], vec![], vec![1]], 2, work), Err(vec![0, 1]));
        assert_eq!(begun.into_inner(), 2);
    }

    #[test]
    #[should_panic(expected = "as the work does")]
    fn a_panic_ends_everything() {
        let _ = run(&[vec![], vec![0]], 2, |_| -> Result<(), ()> { panic!("as the work does") });
    }

    #[test]
    fn nothing_at_all_is_done_at_once() {
        run(&[], 4, |_| Ok::<_, ()>(())).unwrap();
    }
}
