//! Runs that are recorded, and disks made of the records.

use std::fs::OpenOptions;
use std::path::Path;

use crate::guest::Recorded;
use crate::host::{INSTALL, ROLE, ROLLBACK, Run, Scene, State, UNINSTALL, UPGRADE};
use crate::record::Rest;
use crate::support::ground::Numbers;
use crate::support::{full, is_root};

/// Cut points of each recorded run.
const SOME: usize = 24;
const MANY: usize = 60;
/// Steps around the commit that are always tried.
const AROUND: usize = 3;

/// What the file system promises least with: data of files that nobody synced may be missing after a rename.
const LOOSE: &str = "data=writeback,noauto_da_alloc";
/// What it is mounted with by default.
const PLAIN: &str = "defaults";

/// A recorded run, and the disk that it began with.
struct Replay {
    scene: Scene,
    recorded: Recorded,
    numbers: Numbers,
}

/// One way in which the power may have failed.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// So many steps had begun.
    steps: usize,
    rest: Rest,
}

impl Replay {
    /// The disk after a cut, judged.
    fn judge(&mut self, stable: &Path, from: usize, cut: Cut) -> State {
        let disk = self.scene.copy(stable, "cut");
        let file = OpenOptions::new().write(true).open(&disk).unwrap();
        self.recorded.record.apply_rest(&file, from, cut.steps, cut.rest, &mut self.numbers);
        drop(file);
        self.scene.judge(&disk, &format!("{cut:?} of {}", self.recorded.record.steps.len()))
    }

    /// The first number of steps after which, with nothing lost, the host is the new one.
    fn commit(&mut self) -> usize {
        let (mut old, mut new) = (self.recorded.begin, self.recorded.record.steps.len());
        while new - old > 1 {
            let middle = usize::midpoint(old, new);
            let cut = Cut { steps: middle, rest: Rest::Kept };
            match self.judge(&self.scene.disk(), 0, cut) {
                State::Old => old = middle,
                State::New => new = middle,
            }
        }
        new
    }

    /// Cut points over the whole run, and all those around the commit, in order.
    fn cuts(&mut self, commit: usize) -> Vec<Cut> {
        let (begin, end) = (self.recorded.begin, self.recorded.record.steps.len());
        let count = if full() { MANY } else { SOME } - (2 * AROUND + 1);
        let share = ((end - begin) / count).max(1) as u64;
        let mut points: Vec<usize> = (0..count)
            .map(|number| {
                (begin + number * (end - begin) / count + self.numbers.below(share) as usize).min(end)
            })
            .collect();
        points.extend(commit.saturating_sub(AROUND).max(begin)..=(commit + AROUND).min(end));
        points.sort_unstable();
        let kinds = [Rest::Mixed, Rest::Torn, Rest::Lost, Rest::Mixed, Rest::Torn, Rest::Kept];
        points.into_iter().zip(kinds.into_iter().cycle()).map(|(steps, rest)| Cut { steps, rest }).collect()
    }
}

/// Records a run and cuts the power at many points of it.
fn cut(run: Run, options: &str) {
    if !is_root("mounting what a power cut left") {
        return;
    }
    let name = run.name;
    let scene = Scene::new(run);
    let recorded = scene.guest(options).record(&scene.copy(&scene.disk(), "recorded"));
    let mut replay = Replay { scene, recorded, numbers: Numbers(5) };
    let commit = replay.commit();
    let cuts = replay.cuts(commit);
    let stable = replay.scene.copy(&replay.scene.disk(), "stable");
    let (mut applied, mut counts) = (0, [0, 0]);
    for cut in &cuts {
        let flush = replay.recorded.record.last_flush(cut.steps);
        let file = OpenOptions::new().write(true).open(&stable).unwrap();
        replay.recorded.record.apply(&file, applied, flush);
        applied = flush;
        let state = replay.judge(&stable, flush, *cut);
        if cut.steps < commit {
            assert_eq!(state, State::Old, "{cut:?}: the commit, which is at {commit}, was not written");
        }
        if flush >= commit || flush >= replay.recorded.end {
            assert_eq!(state, State::New, "{cut:?}: the commit, which is at {commit}, was flushed");
        }
        counts[state as usize] += 1;
    }
    let flushes = replay.recorded.record.steps.iter().filter(|step| step.flush).count();
    eprintln!(
        "{name} ({options}): {} writes and {flushes} flushes, committed at {commit}; {} power cuts, {} old and {} new",
        replay.recorded.record.steps.len() - flushes,
        cuts.len(),
        counts[0],
        counts[1],
    );
    assert!(counts[0] > 2 && counts[1] > 2, "{counts:?}");
    assert!(replay.recorded.end >= commit, "the run ended before its commit was on disk");
}

#[test]
fn in_qemu_power_cuts_leave_an_installation_that_the_next_run_ends_needs_root() {
    cut(INSTALL, LOOSE);
}

#[test]
fn in_qemu_power_cuts_of_upgrades_leave_the_old_host_or_the_new_one_needs_root() {
    cut(UPGRADE, LOOSE);
    cut(UPGRADE, PLAIN);
}

#[test]
fn in_qemu_power_cuts_of_rollbacks_leave_the_new_host_or_the_old_one_needs_root() {
    cut(ROLLBACK, LOOSE);
}

#[test]
fn in_qemu_power_cuts_of_role_changes_leave_all_of_a_role_or_nothing_needs_root() {
    cut(ROLE, LOOSE);
}

#[test]
fn in_qemu_power_cuts_of_removals_leave_all_or_nothing_needs_root() {
    cut(UNINSTALL, LOOSE);
}
