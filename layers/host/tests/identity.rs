//! A disk and its root get ids of the machine's own, killed at every system call that changes something: what files
//! name is always there, and the next run ends it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, missing_docs)] // a test stops where it fails

#[allow(dead_code)]
#[path = "killed/calls.rs"]
mod calls;
#[path = "identity/disk.rs"]
mod disk;
#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[allow(dead_code)]
#[path = "../../../tests/support/wares.rs"]
mod wares;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use calls::Call;
use disk::{Features, Machine, OLD_DISK, OLD_FAT, OLD_PARTITIONS, OLD_ROOT, tool};

/// Kills of each run, unless the long tests run too.
const SOME: usize = 30;

/// Whether files name what there was before.
fn names_old(machine: &Machine) -> bool {
    let text = machine.names();
    [OLD_PARTITIONS[0], OLD_PARTITIONS[1], OLD_ROOT, OLD_FAT].iter().any(|id| text.contains(id))
}

/// All ids are new and consistent, every judge is content, and another run does nothing.
fn is_own(machine: &Machine, features: Features, what: &str) {
    let ids = machine.ids();
    assert_ne!(ids.disk, OLD_DISK, "{what}");
    assert_ne!(ids.partitions[0], OLD_PARTITIONS[0], "{what}");
    assert_ne!(ids.partitions[1], OLD_PARTITIONS[1], "{what}");
    assert_ne!(ids.fat, OLD_FAT, "{what}");
    assert_eq!(ids.root == OLD_ROOT, features == Features::Bound, "{what}");
    machine.names_lead_somewhere(&ids, what);
    assert!(!names_old(machine), "{what}: {}", machine.names());
    machine.is_sound();
    let before = machine.everything();
    let said = machine.succeeds();
    assert!(said.contains("nothing to do: all ids are this machine's own"), "{what}: {said}");
    assert_eq!(machine.everything(), before, "{what}");
}

#[test]
fn all_ids_become_the_machines_own_and_a_second_run_changes_nothing() {
    for (features, growth) in [(Features::Free, 0), (Features::Free, 64 << 20), (Features::Bound, 0)] {
        let machine = Machine::new(features);
        machine.grow(growth);
        let said = machine.succeeds();
        assert!(said.contains("all ids are this machine's own"), "{said}");
        is_own(&machine, features, &format!("{features:?}, grown by {growth}"));
        let fstab = fs::read_to_string(machine.root().join("etc/fstab")).unwrap();
        let ids = machine.ids();
        let root = match features {
            Features::Free => format!("UUID={} / ext4", ids.root),
            Features::Bound => format!("PARTUUID={} / ext4", ids.partitions[1]),
        };
        assert!(fstab.contains(&root) && fstab.contains(&format!("UUID={} /boot/efi", ids.fat)), "{fstab}");
        // GRUB finds root by the id that it has.
        let grub = fs::read_to_string(machine.root().join("boot/grub/grub.cfg")).unwrap();
        assert_eq!(grub.contains(OLD_ROOT), features == Features::Bound, "{grub}");
    }
}

#[test]
fn two_machines_have_nothing_in_common() {
    let (one, other) = (Machine::new(Features::Free), Machine::new(Features::Free));
    fs::write(other.root().join("etc/machine-id"), "fedcba9876543210fedcba9876543210\n").unwrap();
    one.succeeds();
    other.succeeds();
    let all = |machine: &Machine| {
        let ids = machine.ids();
        BTreeSet::from([ids.disk, ids.partitions[0].clone(), ids.partitions[1].clone(), ids.fat, ids.root])
    };
    assert!(all(&one).is_disjoint(&all(&other)));
}

#[test]
fn what_is_not_the_images_stays_as_it_is() {
    for (what, prepare) in [
        (
            "another disk",
            (|machine: &Machine| {
                tool("sgdisk", &["-U", "11111111-2222-4333-8444-555555555555"], &machine.disk());
            }) as fn(&Machine),
        ),
        ("another partition", |machine| {
            tool("sgdisk", &["-u", "2:11111111-2222-4333-8444-555555555555"], &machine.disk());
        }),
        ("no such partition", |machine| tool("sgdisk", &["-d", "1"], &machine.disk())),
        ("no record", |machine| fs::remove_file(machine.root().join("usr/lib/bake/identity.json")).unwrap()),
        ("no table", |machine| fs::write(machine.disk(), vec![0; 1 << 20]).unwrap()),
    ] {
        let machine = Machine::new(Features::Free);
        prepare(&machine);
        let before = machine.everything();
        let said = machine.succeeds();
        assert!(said.starts_with("nothing to do"), "{what}: {said}");
        assert!(machine.everything() == before, "{what}");
    }
}

#[test]
fn nothing_begins_without_a_lasting_machine_id_or_with_a_record_that_says_nothing() {
    for (path, text, expected) in [
        ("etc/machine-id", "", "no machine id yet"),
        ("etc/machine-id", "uninitialized\n", "no machine id yet"),
        ("usr/lib/bake/identity.json", "{}", "is no record of ids"),
    ] {
        let machine = Machine::new(Features::Free);
        fs::write(machine.root().join(path), text).unwrap();
        let before = machine.everything();
        let output = wares::ends(&mut machine.command());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
        assert!(machine.everything() == before, "{path}");
    }
}

fn kill_everywhere(features: Features) {
    let machine = Machine::new(features);
    let log = machine.log();
    let all = calls::of(&machine.command(), &log);
    is_own(&machine, features, "undisturbed");
    let end = machine.names();
    let changes: Vec<Call> = all.into_iter().filter(Call::changes).collect();
    let points: Vec<(usize, &Call)> = changes.iter().enumerate().collect();
    let full = std::env::var_os("BAKE_TEST_FULL").is_some();
    let points = calls::some(&points, if full { points.len() } else { SOME }, 0);
    for (place, call) in &points {
        let what = format!("{features:?}: killed at {place} of {}: {}", changes.len(), call.text);
        machine.fresh();
        wares::ends(&mut call.inject("signal=KILL", &machine.command()));
        machine.names_lead_somewhere(&machine.ids(), &what);
        // The same power cut once more, wherever that is by now.
        wares::ends(&mut call.inject("signal=KILL", &machine.command()));
        machine.names_lead_somewhere(&machine.ids(), &what);
        machine.succeeds();
        assert_eq!(machine.names(), end, "{what}");
        is_own(&machine, features, &what);
    }
    eprintln!("{features:?}: {} changing calls, {} killed twice", changes.len(), points.len());
    assert!(changes.len() > 50);
}

#[test]
fn a_run_that_is_killed_anywhere_is_ended_by_the_next() {
    kill_everywhere(Features::Free);
}

#[test]
fn so_is_one_with_a_file_system_that_keeps_its_id() {
    kill_everywhere(Features::Bound);
}

/// A real disk with a mounted root, and a clone of it beside.
#[test]
fn a_mounted_root_gets_ids_and_a_clone_stays_needs_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    for features in [Features::Free, Features::Bound] {
        let machine = Machine::new(features);
        let clone = machine.clone_of_disk();
        let original = fs::read(&clone).unwrap();
        let (attached, other) = (disk::Loop::new(&machine.disk()), disk::Loop::new(&clone));
        let mounted = attached.mount(2, &machine.scratch().join("mounted"));
        wares::succeeds(Command::new("cp").arg("-a").arg(machine.root().join(".")).arg(&mounted.0));
        let run = || {
            let mut command = Machine::program();
            let output = wares::ends(command.arg("--root").arg(&mounted.0).arg("identity"));
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let said = run();
        assert!(said.contains("all ids are this machine's own"), "{said}");
        assert!(run().contains("nothing to do"));
        let after: Vec<u8> = fs::read(mounted.0.join("etc/fstab")).unwrap();
        wares::succeeds(Command::new("cp").arg("-a").arg(mounted.0.join(".")).arg(machine.root()));
        drop(mounted);
        drop(attached);
        drop(other);
        assert!(fs::read(&clone).unwrap() == original);
        assert_eq!(fs::read(machine.root().join("etc/fstab")).unwrap(), after);
        is_own(&machine, features, &format!("mounted, {features:?}"));
    }
}
