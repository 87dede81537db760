//! Command lines and spec files that make no sense, and the promises of the flags that decide what is printed.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::ground::Ground;
use crate::support::tar::Tar;
use crate::support::{bake, output, run, text, tiny};

/// What is said of images without a product.
const NOTE: &str = "note: machines keep the ids of the image's disk and file systems: the image has no product, and with \
                    it no pkgpanda\n";

fn ground() -> Ground {
    Ground::new(&[("rootfs.tar", &tiny::rootfs().finish())])
}

/// Wrong usage: status 2, nothing printed but the error, nothing touched.
fn usage(ground: &Ground, command: &mut Command, expected: &[&str]) {
    let output = output(command);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
    assert!(output.stdout.is_empty() && !said.contains("panicked"), "{command:?}: {said}");
    for text in expected {
        assert!(said.contains(text), "{command:?}: `{text}` is not in: {said}");
    }
    ground.is_untouched(&said);
}

#[test]
fn wrong_flags_are_wrong_usage() {
    let ground = ground();
    let with = |arguments: &[&str]| ground.command(&[&["--rootfs", "rootfs.tar"], arguments].concat());
    for (arguments, expected) in [
        (&["--size", "1500M"][..], &["--size", "whole number of GiB"][..]),
        (&["--size", "0"], &["--size"]),
        (&["--size", "big"], &["`big`", "such as `512M`"]),
        (&["--free", "91"], &["--free", "0..=90"]),
        (&["--format", "vdi"], &["--format", "vdi", "raw", "qcow2"]),
        (&["--sector-size", "1024"], &["512", "4096"]),
        (&["--loader", "lilo"], &["systemd-boot", "unified"]),
        (&["--arch", "mips"], &["x86-64", "arm64"]),
        (&["--threads", "0"], &["--threads"]),
        (&["--max-decoded", "much"], &["--max-decoded", "`much`"]),
        (&["--max-decoder-memory", "much"], &["--max-decoder-memory", "`much`"]),
        (&["--rootfz", "x"], &["--rootfz", "--rootfs"]),
        (&["name"], &["`name`", "--rootfs"]),
        (&["--cache", "x", "--no-cache"], &["--cache", "--no-cache"]),
    ] {
        usage(&ground, &mut with(arguments), expected);
    }
    usage(&ground, with(&[]).env("SOURCE_DATE_EPOCH", "yesterday"), &["SOURCE_DATE_EPOCH", "`yesterday`"]);
    usage(&ground, &mut ground.command(&[]), &["--rootfs", "bake.toml"]);
}

#[test]
fn what_only_the_image_shows_to_be_wrong_is_a_failure() {
    let ground = ground();
    for (arguments, expected) in [
        (&["--profile", "debain"][..], &["`debain`", "debian"][..]),
        (&["--name", "../evil"], &["`../evil`", "expected"]),
        (&["--name", "a/b"], &["`a/b`"]),
        (&["--role", "master"], &["--product"]),
        (&["--kernel-arg", "a\u{7}b"], &["white space"]),
    ] {
        let said = ground.refused(&[&["--rootfs", "rootfs.tar"], arguments].concat());
        for text in expected {
            assert!(said.contains(text), "{arguments:?}: `{text}` is not in: {said}");
        }
    }
    let large = Tar::default().file("etc/large", &vec![1; 600 << 20]);
    let ground = Ground::new(&[("rootfs.tar", &tiny::rootfs().and(&large).finish())]);
    let said = ground.refused(&["--rootfs", "rootfs.tar", "--size", "1G"]);
    assert!(said.contains("1 GiB") && said.contains("at least 2 GiB"), "{said}");
}

#[test]
fn an_output_directory_that_cannot_be_is_named() {
    let mut ground = ground();
    fs::write(ground.path("out"), "in the way").unwrap();
    ground.settle();
    let said = ground.refused(&["--rootfs", "rootfs.tar"]);
    assert!(said.contains("out") && said.contains("not a directory"), "{said}");
}

#[test]
fn a_directory_in_the_place_of_an_image_is_named_and_stays() {
    let mut ground = ground();
    fs::create_dir_all(ground.path("out/debian.raw/mine")).unwrap();
    ground.settle();
    let said = ground.refused(&["--rootfs", "rootfs.tar"]);
    assert!(said.contains("out"), "{said}");
}

fn spec(text: &str) -> Ground {
    Ground::new(&[("rootfs.tar", &tiny::rootfs().finish()), ("bake.toml", text.as_bytes())])
}

#[test]
fn unknown_keys_of_a_spec_are_told_all_at_once_with_the_nearest_known_one() {
    let ground = spec(
        "format-revision = 1\n[[image]]\nrootfs = 'rootfs.tar'\nprofil = 'debian'\n[unit]\nenable = []\n\
         [kernel]\nargz = []\n[users.ops]\nkeys = []\n[files.'/etc/x']\nmod = '1'\n[mounts.'/data']\ntyp = 'xfs'\n",
    );
    usage(
        &ground,
        &mut ground.command(&[]),
        &[
            "bake.toml",
            "line 4",
            "`profil`",
            "did you mean `profile`?",
            "did you mean `units`?",
            "did you mean `args`?",
            "expected one of uid, group",
            "did you mean `mode`?",
            "did you mean `type`?",
        ],
    );
}

#[test]
fn wrong_types_and_contradictions_of_a_spec_are_wrong_usage() {
    let image = "format-revision = 1\n[[image]]\nname = 'a'\n";
    for (text, expected) in [
        ("", &["format-revision"][..]),
        ("format-revision = 7\n", &["7", "knows 1"]),
        ("format-revision = '1'\n", &["format-revision"]),
        ("format-revision = 1\n[[image]\n", &["2"]),
        ("format-revision = 1\n", &["[[image]]"]),
        ("format-revision = 1\n[[image]]\nrootfs = 'rootfs.tar'\n", &["image 1", "`name`"]),
        (image, &["`rootfs`"]),
        (&format!("{image}rootfs = 7\n"), &["7", "string"]),
        (&format!("{image}rootfs = 'rootfs.tar'\nsize = 'big'\n"), &["`big`", "such as `512M`"]),
        (&format!("{image}rootfs = 'rootfs.tar'\nsize = '1M'\n"), &["GiB"]),
        (&format!("{image}rootfs = 'rootfs.tar'\nfree = 95\n"), &["free", "0 to 90"]),
        (&format!("{image}rootfs = 'rootfs.tar'\nformats = ['vdi']\n"), &["vdi"]),
        (&format!("{image}rootfs = 'rootfs.tar'\narch = 'mips'\n"), &["mips", "x86-64"]),
        (&format!("{image}rootfs = 'rootfs.tar'\nloader = 'lilo'\n"), &["lilo", "systemd-boot"]),
        (&format!("{image}rootfs = 'rootfs.tar'\nsector-size = 8\n"), &["8", "4096"]),
        (
            &format!("{image}rootfs = 'rootfs.tar'\n[[image]]\nname = 'a'\nrootfs = 'rootfs.tar'\n"),
            &["two", "`a`"],
        ),
        (&format!("{image}rootfs = 'rootfs.tar'\n[units]\nenable = 'x'\n"), &["enable", "sequence"]),
        (&format!("{image}rootfs = 'rootfs.tar'\n[mounts.'/x']\nsource = 'LABEL=x'\n"), &["type"]),
    ] {
        let ground = spec(text);
        usage(&ground, &mut ground.command(&[]), expected);
    }
    let ground = spec(&format!("{image}rootfs = 'rootfs.tar'\n"));
    usage(&ground, &mut ground.command(&["b"]), &["`b`"]);
    usage(
        &ground,
        &mut ground.command(&["--spec", "bake.toml", "--name", "x", "--rootfs", "rootfs.tar", "a"]),
        &["`a`"],
    );
}

#[test]
fn policies_that_contradict_the_root_file_system_are_failures() {
    let image = "format-revision = 1\n[[image]]\nname = 'a'\nrootfs = 'rootfs.tar'\n";
    for (policy, expected) in [
        ("[units]\nenable = ['none.service']\n", &["none.service", "does not exist"][..]),
        ("[users.root]\nuid = 7\n", &["`root`", "id 0", "not 7"]),
        ("[users.'Bad Name']\n", &["`Bad Name`", "expected"]),
        ("[files.'/etc/x']\ncontent = 'a'\nlink = 'b'\n", &["/etc/x", "exactly one"]),
        ("[files.'/etc/x']\nsource = 'none'\n", &["/etc/x", "none", "No such file"]),
        ("[files.'/etc/x']\ncontent = 'a'\nmode = '9'\n", &["/etc/x", "9"]),
        ("[files.'/etc/../../x']\ncontent = 'a'\n", &["`..`"]),
    ] {
        let ground = spec(&format!("{image}{policy}"));
        let said = ground.refused(&[]);
        for text in expected {
            assert!(said.contains(text), "{policy}: `{text}` is not in: {said}");
        }
    }
    let ground = Ground::new(&[]);
    let said = ground.refused(&["--spec", "none.toml"]);
    assert!(said.contains("none.toml"), "{said}");
}

#[test]
fn a_plan_writes_nothing_and_says_what_would_be_done() {
    let ground = ground();
    let plan = run(&mut ground.command(&["--plan", "--rootfs", "rootfs.tar", "--format", "raw,qcow2"]));
    for text in ["rootfs.tar", tiny::KERNEL, "debian.raw", "debian.qcow2", "SHA256SUMS", "disk of 1 GiB"] {
        assert!(plan.contains(text), "`{text}` is not in: {plan}");
    }
    ground.is_untouched("--plan");
    let plan = run(&mut ground.command(&["--plan", "--json", "--rootfs", "rootfs.tar"]));
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((&plan["kernel"], &plan["size"]), (&tiny::KERNEL.into(), &(1_u64 << 30).into()));
    ground.is_untouched("--plan --json");
}

#[test]
fn the_result_is_lines_or_json_or_nothing() {
    let ground = ground();
    let baked = |arguments: &[&str]| {
        let output = output(&mut ground.command(&[&["--rootfs", "rootfs.tar"], arguments].concat()));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(
            text(&output.stderr),
            if arguments.is_empty() { NOTE } else { "" },
            "progress is for terminals"
        );
        text(&output.stdout)
    };
    let lines = baked(&[]);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[..3], ["out/debian.raw", "out/manifest.json", "out/SHA256SUMS"]);
    let json: Value = serde_json::from_str(&baked(&["--json"])).unwrap();
    let manifest: Value =
        serde_json::from_slice(&fs::read(ground.path("out/manifest.json")).unwrap()).unwrap();
    assert_eq!(json, manifest);
    assert!(lines[3].contains(manifest["disk"]["digest"].as_str().unwrap()));
    assert_eq!(baked(&["--quiet"]), "");
    assert_eq!(baked(&["--quiet", "--json"]), "");
    assert!(ground.has_whole_image());
}

#[test]
fn a_reader_that_goes_away_does_not_disturb_the_image() {
    let ground = ground();
    for arguments in [&[][..], &["--json"], &["--plan"]] {
        let mut command = ground.command(&[&["--rootfs", "rootfs.tar"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), if arguments.is_empty() { NOTE } else { "" });
    }
    assert!(ground.has_whole_image());
}

#[test]
fn a_full_disk_behind_standard_output_is_told() {
    let ground = ground();
    let mut command = ground.command(&["--plan", "--rootfs", "rootfs.tar"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = output(command.stdout(full));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard output"), "{}", text(&output.stderr));
}

#[test]
fn input_on_standard_input_is_never_waited_for() {
    let ground = ground();
    let mut command = ground.command(&["--quiet", "--rootfs", "rootfs.tar"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"y\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn help_and_version_are_results() {
    for arguments in [&["--help"][..], &["image", "--help"], &["boot", "--help"], &["--version"]] {
        assert!(run(bake().args(arguments)).contains("bake"));
    }
    let nothing = output(&mut bake());
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("Usage"));
}
