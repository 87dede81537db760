#![expect(clippy::disallowed_methods, reason = "xz itself is the judge")]

use std::io::Read;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::{Compression, Limits};

/// Bytes that compress, and not the same everywhere.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = (state >> 20).to_le_bytes();
        text.extend(&word[..2]);
        text.extend(b"of the");
    }
    text.truncate(len);
    text
}

fn encoded(bytes: &[u8], threads: usize, step: usize, flush: bool) -> Vec<u8> {
    let mut encoder = XzEncoder::new(Vec::new(), 0, threads).unwrap();
    for piece in bytes.chunks(step) {
        encoder.write_all(piece).unwrap();
        if flush {
            encoder.flush().unwrap();
        }
    }
    encoder.finish().unwrap()
}

fn decoded(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = Compression::Xz.decoder(bytes, Limits::default())?;
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain)?;
    Ok(plain)
}

/// What `xz` says of a file, as fields of its robot mode.
fn judged(bytes: &[u8]) -> Vec<Vec<String>> {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("it.xz");
    std::fs::write(&file, bytes).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("xz").args(arguments).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["--test"]);
    let list = run(&["--robot", "--list", "--verbose"]);
    list.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn the_bytes_depend_neither_on_threads_nor_on_how_they_are_written() {
    let plain = text(3 * XZ_BLOCK as usize + 12345);
    let one = encoded(&plain, 1, 1 << 20, false);
    for (threads, step, flush) in [(2, 1 << 20, false), (4, 100_003, true), (0, plain.len(), true)] {
        assert!(one == encoded(&plain, threads, step, flush), "{threads} threads, {step} bytes at once");
    }
    assert!(decoded(&one).unwrap() == plain);
    let lines = judged(&one);
    let blocks: Vec<_> = lines.iter().filter(|line| line[0] == "block").map(|line| line[7].clone()).collect();
    let block = XZ_BLOCK.to_string();
    assert_eq!(blocks, [&block, &block, &block, "12345"]);
    let file = lines.iter().find(|line| line[0] == "file").unwrap();
    assert_eq!((file[1].as_str(), file[6].as_str()), ("1", "CRC64"), "one stream with its check");
}

#[test]
fn a_stream_without_its_end_is_cut_short() {
    let mut out = Vec::new();
    let mut encoder = XzEncoder::new(&mut out, 0, 1).unwrap();
    encoder.write_all(&text(100_000)).unwrap();
    drop(encoder);
    assert_eq!(decoded(&out).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_preset_that_does_not_exist_is_an_error() {
    assert!(XzEncoder::new(Vec::new(), 10, 1).is_err());
}

#[test]
fn a_full_disk_is_an_error() {
    let mut small = [0; 8];
    let mut encoder = XzEncoder::new(&mut small[..], 0, 1).unwrap();
    let result = encoder.write_all(&text(1000));
    assert!(result.is_err() || encoder.finish().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read(
        bytes in prop::collection::vec(any::<u8>(), 0..20_000),
        times in 1..200_usize,
        step in 1..100_000_usize,
    ) {
        let plain = bytes.repeat(times);
        let one = encoded(&plain, 1, plain.len().max(1), false);
        prop_assert!(one == encoded(&plain, 2, step, true));
        prop_assert!(decoded(&one).unwrap() == plain);
        judged(&one);
    }
}
