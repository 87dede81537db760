//! Machines that are killed while they work, as a hypervisor's process may be.

use std::time::Duration;

use crate::host::{Run, Scene, State, UPGRADE};
use crate::support::ground::Numbers;
use crate::support::{full, is_root};

/// Kills a machine at moments of its run, and has its host come up again.
fn kill(run: Run) {
    if !is_root("mounting what a killed machine left") {
        return;
    }
    let name = run.name;
    let scene = Scene::new(run);
    let guest = scene.guest("defaults");
    let whole = guest.run(&scene.copy(&scene.disk(), "killed"));
    let mut numbers = Numbers(7);
    let kills = if full() { 8 } else { 1 };
    let mut counts = [0, 0];
    for number in 0..kills {
        let share = (number * 1000 + numbers.below(1000)) as f64 / (kills * 1000) as f64;
        let time: Duration = whole.mul_f64(share);
        let disk = scene.copy(&scene.disk(), "killed");
        guest.kill_after(&disk, time);
        let state: State = scene.judge(&disk, &format!("killed after {time:?} of {whole:?}"));
        counts[state as usize] += 1;
    }
    eprintln!("{name}: {kills} machines killed, {} old and {} new", counts[0], counts[1]);
}

#[test]
fn in_qemu_killed_machines_come_up_with_a_whole_host_needs_root() {
    kill(UPGRADE);
}
