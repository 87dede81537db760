//! Archives by the real `cpio`, put together as initrds are.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use super::*;

/// What a shell command writes.
#[allow(clippy::disallowed_methods)]
fn shell(directory: &std::path::Path, script: &str, input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script} (ci/install-tools installs the tools)");
        output.stdout
    })
}

/// An archive of a small tree.
fn archive(kind: &str, name: &str) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path();
    fs::create_dir_all(top.join("usr/lib")).unwrap();
    fs::write(top.join("usr/lib").join(name), name.repeat(3)).unwrap();
    fs::write(top.join("empty"), "").unwrap();
    fs::write(top.join("large"), vec![b'z'; 300_000]).unwrap();
    std::os::unix::fs::symlink("usr/lib", top.join("lib")).unwrap();
    shell(top, &format!("find . | LC_ALL=C sort | cpio --quiet -o -H {kind}"), b"")
}

type Listed = BTreeMap<(usize, String), Vec<u8>>;

fn list_within(bytes: &[u8], limits: Limits) -> Result<Listed, ArchiveError> {
    let mut listed = BTreeMap::new();
    read_cpio("initrd", bytes, limits, &mut |entry, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, entry.size);
        listed.insert((entry.archive, entry.path.to_string()), bytes);
        Ok(())
    })?;
    Ok(listed)
}

fn list(bytes: &[u8]) -> Result<Listed, ArchiveError> {
    list_within(bytes, Limits::default())
}

const TOOLS: [&str; 9] = [
    "cat",
    "gzip -c",
    "xz -c --check=crc32",
    "xz -c --format=lzma",
    "zstd -c",
    "bzip2 -c",
    "lz4 -c -l",
    "lz4 -c",
    "zstd -c -19 --no-check",
];

#[test]
fn archives_of_every_compression_follow_each_other() {
    let here = std::path::Path::new(".");
    for kind in ["newc", "crc"] {
        let (early, main) = (archive(kind, "microcode"), archive(kind, "systemd"));
        for tool in TOOLS {
            let coded = shell(here, tool, &main);
            for padding in [0, 4, 512, 100_000] {
                let zeros = vec![0; padding];
                let initrd = [&early[..], &zeros, &coded, &zeros, &early, &zeros].concat();
                let listed = list(&initrd).unwrap_or_else(|error| panic!("{tool} {padding}: {error}"));
                let get = |i: usize, path: &str| listed.get(&(i, path.to_owned())).map(Vec::as_slice);
                assert_eq!(get(0, "/usr/lib/microcode"), Some(&b"microcodemicrocodemicrocode"[..]), "{tool}");
                assert_eq!(get(1, "/usr/lib/systemd"), Some(&b"systemdsystemdsystemd"[..]), "{tool}");
                assert_eq!(get(1, "/lib"), Some(&b"usr/lib"[..]), "{tool}");
                assert_eq!(get(2, "/large").map(<[u8]>::len), Some(300_000), "{tool}");
                assert_eq!(listed.len(), 3 * 7, "{tool}");
                assert!(get(1, "/empty") == Some(b"") && get(1, "/usr") == Some(b""), "{tool}");
            }
        }
    }
}

#[test]
fn several_archives_may_share_one_stream() {
    let both = [archive("newc", "one"), archive("newc", "two")].concat();
    let coded = shell(std::path::Path::new("."), "zstd -c", &both);
    let listed = list(&coded).unwrap();
    assert!(
        listed.contains_key(&(0, "/usr/lib/one".into())) && listed.contains_key(&(0, "/usr/lib/two".into()))
    );
}

#[test]
fn damaged_and_hostile_archives_are_errors() {
    let whole = archive("crc", "name");
    let here = std::path::Path::new(".");
    for tool in TOOLS {
        let coded = shell(here, tool, &whole);
        // The padding of the last record is no loss.
        let end = if tool == "cat" { coded.len() - 600 } else { coded.len() - 1 };
        for cut in (8..end).step_by((coded.len() / 60).max(1)) {
            assert!(list(&coded[..cut]).is_err(), "{tool} {cut}");
        }
        let limits = Limits { decoded: 200_000, ..Limits::default() };
        let error = list_within(&coded, limits).unwrap_err().to_string();
        assert!(error.contains("--max-decoded"), "{tool}: {error}");
    }
    let change = |at: usize, to: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        list(&changed).unwrap_err().to_string()
    };
    for (at, to, reason) in [
        (0, &b"070707"[..], "expected `newc`"),
        (0, b"zz", "no cpio header"),
        (6, b"+1", "hexadecimal"),
        (94, b"ffffffff", "name of 4294967295 bytes"),
        (94, b"00000000", "name of 0 bytes"),
        (54, b"ffffffff", "cut short"),
    ] {
        let error = change(at, to);
        assert!(error.contains("`initrd`: ") && error.contains(reason), "{reason}: {error}");
    }
    let at = whole.windows(4).position(|window| window == b"zzzz").unwrap();
    let error = change(at, b"y");
    assert!(error.contains("member `large` at byte") && error.contains("checksum is wrong"), "{error}");
    for i in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[i] ^= 0x11;
        let _ = list(&flipped);
    }
    let error = list(&[&whole[..], b"garbage"].concat()).unwrap_err().to_string();
    assert!(error.contains("no cpio header") || error.contains("cut short"), "{error}");
}

#[test]
fn a_visitor_can_stop() {
    let error = read_cpio("initrd", &archive("newc", "x")[..], Limits::default(), &mut |_, _| {
        Err(io::Error::other("enough"))
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("cannot be used: enough"), "{error}");
}
