//! What people run who have the real thing.

use std::process::Command;

use crate::support::machine::Turn;
use crate::support::{full, output, project, rootfs, run, scratch, small_product, text};

#[test]
fn in_qemu_ci_boot_matrix_tells_what_ubuntu_s_stand_in_does() {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: ci/boot-matrix");
        return;
    }
    let _turn = Turn::take();
    let scratch = scratch();
    let mut script = Command::new(project("ci/boot-matrix"));
    script.env("BAKE", env!("CARGO_BIN_EXE_bake")).arg("--out").arg(scratch.path());
    script.arg("--product").arg(small_product()).args(["--firmware", "bios", "--role", "slave"]);
    script.arg(rootfs("debian-12-grub")).arg("ubuntu").args(["--", "--no-cache"]);
    let table = run(&mut script);
    let cells: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0][..3], ["firmware", "boots", "product"], "{table}");
    assert_eq!(cells[1..], [["bios", "ok", "ok", "ok", "ok", "ok", "ok", "-", "-"]], "{table}");
    let console = std::fs::read_to_string(scratch.path().join("bios/second")).unwrap();
    assert!(console.contains("bake-demo: role=slave") && console.contains("bake-test: done=2"), "{console}");
}

#[test]
fn ci_boot_matrix_tells_what_is_wrong_with_its_arguments() {
    for (arguments, problem) in [
        (&["only"][..], "expected a root file system and a profile"),
        (&["/nonexistent", "ubuntu"], "`/nonexistent` does not exist"),
        (&["/", "ubuntu", "--firmware", "coreboot"], "unknown firmware `coreboot`"),
        (&["--frimware"], "unknown option `--frimware`"),
        (&["/", "ubuntu", "--role"], "--role needs a value"),
    ] {
        let refused = output(Command::new(project("ci/boot-matrix")).args(arguments));
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(text(&refused.stderr).contains(problem), "{}", text(&refused.stderr));
    }
    let help = run(Command::new(project("ci/boot-matrix")).arg("--help"));
    assert!(help.starts_with("Usage: ci/boot-matrix [OPTION…] ROOTFS PROFILE"), "{help}");
}
