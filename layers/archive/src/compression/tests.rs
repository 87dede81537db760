//! Real writers, several streams in one file, and every way to damage them.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

fn text() -> Vec<u8> {
    (0..40_000_u32)
        .flat_map(|i| format!("line {} {}\n", i, i.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

/// What a tool makes of `input`.
#[allow(clippy::disallowed_methods)]
fn run(command: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error} (ci/install-tools installs it)", command[0]));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command:?}");
        output.stdout
    })
}

fn decode_within(bytes: &[u8], limits: Limits) -> Result<Vec<u8>, ArchiveError> {
    let compression = Compression::recognise(&bytes[..bytes.len().min(RECOGNISED_BY)]);
    let mut decoded = Vec::new();
    let input = io::BufReader::with_capacity(777, bytes);
    let result = compression.decoder(input, limits).and_then(|mut reader| reader.read_to_end(&mut decoded));
    result.map_err(|error| compression.error("it", limits, decoded.len() as u64, error))?;
    Ok(decoded)
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    decode_within(bytes, Limits::default())
}

const TOOLS: [(Compression, &[&str]); 12] = [
    (Compression::Gzip, &["gzip", "-c"]),
    (Compression::Xz, &["xz", "-c"]),
    (Compression::Xz, &["xz", "-c", "--check=crc32", "--block-size=65536"]),
    (Compression::Zstd, &["zstd", "-c"]),
    (Compression::Zstd, &["zstd", "-c", "--no-check", "--long=27"]),
    (Compression::Zstd, &["zstd", "-c", "--check", "-19", "-T2"]),
    (Compression::Bzip2, &["bzip2", "-c"]),
    (Compression::Bzip2, &["bzip2", "-1", "-c"]),
    (Compression::Lz4, &["lz4", "-c"]),
    (Compression::Lz4, &["lz4", "-c", "-BD", "--content-size", "-9"]),
    (Compression::Lz4, &["lz4", "-c", "-l"]),
    (Compression::Lzma, &["xz", "-c", "--format=lzma"]),
];

#[test]
fn every_writer_is_read() {
    for (compression, tool) in TOOLS {
        for input in [&text()[..], b"", b"x"] {
            let coded = run(tool, input);
            assert_eq!(Compression::recognise(&coded), compression, "{tool:?}");
            assert!(decode(&coded).unwrap() == input, "{tool:?} {}", input.len());
        }
    }
    assert_eq!(decode(b"plain").unwrap(), b"plain");
}

#[test]
fn all_streams_of_a_file_are_read() {
    let (one, two) = (text(), b"the second stream".repeat(100));
    for (compression, tool) in TOOLS.into_iter().filter(|(compression, _)| *compression != Compression::Lzma)
    {
        let mut coded = run(tool, &one);
        coded.extend(run(tool, &two));
        coded.extend(run(tool, b""));
        let both: Vec<u8> = [&one[..], &two].concat();
        assert!(decode(&coded).unwrap() == both, "{compression} {tool:?}");
    }
}

#[test]
fn padding_between_xz_streams_is_no_data() {
    let coded = run(&["xz", "-c"], b"one");
    let padded = [&coded[..], &[0; 8], &coded, &[0; 4]].concat();
    assert_eq!(decode(&padded).unwrap(), b"oneone");
    assert!(decode(&[&coded[..], &[0; 3]].concat()).is_err());
}

#[test]
fn skippable_frames_are_skipped_wherever_they_stand() {
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
    for tool in [&["zstd", "-c"][..], &["lz4", "-c"], &["lz4", "-c", "-l"]] {
        let coded = run(tool, b"data");
        let stream = [&skippable[..], &coded, &skippable, &skippable, &coded].concat();
        assert_eq!(decode(&stream).unwrap(), b"datadata", "{tool:?}");
        for cut in [skippable.len() - 1, 9] {
            assert!(decode(&stream[..cut]).is_err(), "{tool:?} {cut}");
        }
    }
    let large =
        [&[0x50, 0x2a, 0x4d, 0x18, 0, 8, 0, 0][..], &[7; 2048], &run(&["zstd", "-c"], b"data")].concat();
    assert_eq!(decode(&large).unwrap(), b"data");
}

#[test]
fn streams_that_stop_early_are_errors() {
    let input = text();
    for (compression, tool) in TOOLS {
        let coded = run(tool, &input[..100_000]);
        let cuts =
            (1..60).chain((60..coded.len()).step_by(coded.len() / 25)).chain(coded.len() - 12..coded.len());
        for cut in cuts {
            let head = &coded[..cut];
            if Compression::recognise(head) != compression {
                continue; // Too little is left to be taken for compressed at all.
            }
            let error = match decode(head) {
                Err(error) => error.to_string(),
                // Legacy LZ4 has no end mark: after its magic number every whole number of blocks is a stream.
                Ok(_) if tool.contains(&"-l") && cut == 4 => continue,
                Ok(_) => panic!("{tool:?} cut at {cut} of {} decodes", coded.len()),
            };
            assert!(error.contains("`it` is cut short") || error.contains("`it` is damaged"), "{error}");
        }
        let error = decode(&coded[..coded.len() - 1]).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{tool:?}: {error}");
    }
}

#[test]
fn whatever_follows_the_last_stream_is_an_error() {
    for (_, tool) in TOOLS {
        let coded = run(tool, &text()[..10_000]);
        for garbage in [&b"garbage, and plenty of it"[..], b"g", &[0xff; 64]] {
            let error = decode(&[&coded[..], garbage].concat()).unwrap_err().to_string();
            assert!(error.contains("`it` is"), "{tool:?}: {error}");
            if matches!(tool[0], "gzip" | "xz") {
                assert!(error.contains("`it` is damaged") && error.contains("follows"), "{tool:?}: {error}");
            }
        }
    }
}

#[test]
fn damage_is_noticed() {
    let input = text();
    for (compression, tool) in TOOLS {
        let coded = run(tool, &input);
        // Streams without a checksum may decode to something else; they must neither panic nor hang.
        let checked = !tool.contains(&"--no-check")
            && !tool.contains(&"-l")
            && !matches!(compression, Compression::Lzma);
        for at in (12..coded.len() - 12).step_by(coded.len() / 20) {
            let mut damaged = coded.clone();
            damaged[at] ^= 0x55;
            let decoded = decode(&damaged);
            assert!(!checked || decoded.is_err(), "{tool:?} damaged at {at}");
        }
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 4 << 20];
    for (_, tool) in TOOLS {
        let coded = run(tool, &zeros);
        let limits = Limits { decoded: zeros.len() as u64, ..Limits::default() };
        assert_eq!(decode_within(&coded, limits).unwrap().len(), zeros.len());
        let error = decode_within(&coded, Limits { decoded: limits.decoded - 1, ..limits }).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge { limit: 4_194_303, .. }), "{error}");
        assert!(error.to_string().contains("--max-decoded"));
    }
}

#[test]
fn windows_beyond_the_limit_are_refused_and_those_within_are_not() {
    let input = text();
    let wide = run(&["zstd", "-c", "--ultra", "-22", "--long=30", "--no-content-size"], &input);
    let error = decode(&wide).unwrap_err();
    assert!(matches!(error, ArchiveError::TooMuchMemory { .. }), "{error}");
    assert!(error.to_string().contains("--max-decoder-memory"));
    let limits = Limits { memory: 2 << 30, ..Limits::default() };
    assert!(decode_within(&wide, limits).unwrap() == input);
    let wide = run(&["xz", "-c", "--lzma2=dict=512MiB"], &input);
    assert!(matches!(decode(&wide), Err(ArchiveError::TooMuchMemory { .. })));
    assert!(decode_within(&wide, limits).unwrap() == input);
}
