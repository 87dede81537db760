//! Compressed inputs that are cut, damaged, or far larger than they look.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::ground::{Ground, Numbers, failed_well};
use crate::support::{Baked, output, run, scratch, text, tiny};

/// Every compression that an input may have, by the tool that everybody has for it.
const TOOLS: [&str; 4] = ["gzip", "xz", "zstd", "bzip2"];

/// The tiny root file system with something that does not compress, so that there is a middle to damage.
fn plain() -> Vec<u8> {
    let mut numbers = Numbers(3);
    let noise: Vec<u8> = (0..100_000).map(|_| numbers.below(256) as u8).collect();
    tiny::rootfs().file("etc/noise", &noise).finish()
}

fn compressed(tool: &str, plain: &[u8]) -> Vec<u8> {
    let scratch = scratch();
    let path = scratch.path().join("plain");
    fs::write(&path, plain).unwrap();
    let output = output(Command::new(tool).arg("-c").arg(&path));
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout
}

/// The input is refused, without a cache and with one, which then holds whole layers or nothing.
fn refused(what: &str, stream: &[u8], expected: &[&str]) {
    let ground = Ground::new(&[("rootfs.tar.z", stream)]);
    let said = ground.refused(&["--rootfs", "rootfs.tar.z"]);
    for text in ["rootfs.tar.z"].iter().chain(expected) {
        assert!(said.contains(text), "{what}: `{text}` is not in: {said}");
    }
    let output = output(&mut ground.command(&["--rootfs", "rootfs.tar.z", "--cache", "cache"]));
    assert_eq!(failed_well(&output, what), said, "{what}: the cache changed what is said");
    ground.untouched_but(what, &["cache"]);
    ground.cache_is_whole();
}

fn digest(what: &str, rootfs: &[u8], arguments: &[&str]) -> String {
    let ground = Ground::new(&[("rootfs", rootfs)]);
    let arguments = [&["--quiet", "--rootfs", "rootfs"], arguments].concat();
    let output = output(&mut ground.command(&arguments));
    assert!(output.status.success(), "{what}: {}", text(&output.stderr));
    assert!(ground.has_whole_image());
    Baked::read(&ground.path("out")).digest().to_owned()
}

#[test]
fn streams_that_are_cut_are_refused() {
    for tool in TOOLS {
        let whole = compressed(tool, &plain());
        let end = whole.len();
        for cut in [20, end / 4, end / 2, end * 3 / 4, end - 9, end - 1] {
            refused(&format!("{tool} cut at {cut} of {end}"), &whole[..cut], &[tool]);
        }
        for cut in [1, 3, 6] {
            refused(&format!("{tool} cut at {cut} of {end}"), &whole[..cut], &[]);
        }
    }
}

#[test]
fn streams_that_are_damaged_are_refused() {
    for tool in TOOLS {
        let whole = compressed(tool, &plain());
        let end = whole.len();
        // The last 8 bytes are checksums and lengths; between 12 and 20 some headers hold names and times.
        for at in [24, 100, end / 4, end / 2, end * 3 / 4, end - 20, end - 6] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            refused(&format!("{tool} damaged at {at} of {end}"), &damaged, &[tool]);
        }
    }
}

#[test]
fn something_behind_a_stream_is_refused() {
    for tool in TOOLS {
        let stream = [&compressed(tool, &plain())[..], b"something else"].concat();
        refused(&format!("{tool} with more"), &stream, &[tool]);
    }
}

#[test]
fn streams_of_several_parts_are_whole_only_together() {
    let plain = plain();
    let expected = digest("plain", &plain, &[]);
    for tool in TOOLS {
        let parts: Vec<_> = plain.chunks(40_000).map(|part| compressed(tool, part)).collect();
        assert_eq!(digest(tool, &parts.concat(), &[]), expected, "{tool}");
        refused(&format!("{tool} without its last part"), &parts[..parts.len() - 1].concat(), &["cut short"]);
        let last = parts.last().unwrap();
        let cut = [&parts[..parts.len() - 1].concat()[..], &last[..last.len() / 2]].concat();
        refused(&format!("{tool} with half of its last part"), &cut, &[tool]);
    }
}

#[test]
fn a_compressed_input_that_is_no_tar_is_named() {
    for tool in TOOLS {
        let stream = compressed(tool, b"no tar at all, though whole");
        let ground = Ground::new(&[("rootfs.tar.z", &stream)]);
        let said = ground.refused(&["--rootfs", "rootfs.tar.z"]);
        assert!(said.contains("rootfs.tar.z") && said.contains("expected a tar"), "{said}");
    }
}

/// What decodes to far more than it looks is stopped at the limit, which the user can raise.
#[test]
fn a_bomb_is_stopped_by_a_limit_that_can_be_raised() {
    let zeros = vec![0; 64 << 20];
    let bomb = tiny::rootfs().file("etc/zeros", &zeros).finish();
    let expected = digest("plain", &bomb, &[]);
    for tool in TOOLS {
        let stream = compressed(tool, &bomb);
        assert!(stream.len() < bomb.len() / 500, "{tool}: no bomb");
        let ground = Ground::new(&[("bomb.tar.z", &stream)]);
        let said = ground.refused(&["--rootfs", "bomb.tar.z", "--max-decoded", "10M"]);
        for text in ["bomb.tar.z", "10485760", "--max-decoded"] {
            assert!(said.contains(text), "{tool}: `{text}` is not in: {said}");
        }
        assert_eq!(digest(tool, &stream, &["--max-decoded", "65M"]), expected, "{tool}");
    }
}

/// zstd and xz let a stream demand memory; the message names the flag that allows it.
#[test]
fn a_decoder_that_wants_too_much_memory_is_refused() {
    let scratch = scratch();
    let path = scratch.path().join("plain");
    fs::write(&path, plain()).unwrap();
    let stream = |program: &str, arguments: &[&str]| {
        // From standard input: with a known size the tools would ask for no more than that.
        let mut command = Command::new(program);
        command.args(arguments).arg("-c").stdin(fs::File::open(&path).unwrap()).stdout(Stdio::piped());
        output(&mut command).stdout
    };
    let expected = digest("plain", &plain(), &[]);
    for (program, arguments) in
        [("zstd", &["--long=30", "--single-thread"][..]), ("xz", &["--lzma2=dict=1GiB"])]
    {
        let stream = stream(program, arguments);
        refused(program, &stream, &[program, "--max-decoder-memory"]);
        assert_eq!(digest(program, &stream, &["--max-decoder-memory", "2G"]), expected);
    }
}

/// A file that changes its content while it is read is no input.
#[test]
fn directories_special_files_and_missing_ones_are_refused_as_inputs() {
    let ground = Ground::new(&[("empty/none", b"")]);
    let said = ground.refused(&["--rootfs", "empty"]);
    assert!(said.contains("os-release"), "{said}");
    let said = ground.refused(&["--rootfs", "/dev/null"]);
    assert!(said.contains("/dev/null") && said.contains("expected a tar"), "{said}");
    let said = ground.refused(&["--rootfs", "missing.tar"]);
    assert!(said.contains("missing.tar") && said.contains("No such file"), "{said}");
    let mut ground = Ground::new(&[]);
    run(Command::new("mkfifo").arg(ground.path("pipe")));
    ground.settle();
    let said = ground.refused(&["--rootfs", "pipe"]);
    assert!(said.contains("pipe"), "{said}");
}
