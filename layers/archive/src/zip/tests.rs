#![expect(clippy::disallowed_methods, reason = "archives come from zip and Python")]

use std::process::Command;

use bake_base::Bytes;
use proptest::prelude::*;

use super::*;

fn read(bytes: Vec<u8>, options: &OpenOptions) -> Result<Vec<Member>, ArchiveError> {
    let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(bytes));
    read_zip("it.zip", &source, options)
}

/// What Python makes of a script that writes to `z` and, for sizes and the like, changes what was written.
fn python(script: &str) -> Vec<u8> {
    let start = "import io, stat, sys, warnings, zipfile\nwarnings.simplefilter('ignore')\nout = io.BytesIO()
def info(name, mode=0o100644, time=(2020, 2, 29, 12, 30, 58), system=3):
    i = zipfile.ZipInfo(name, time); i.external_attr = mode << 16; i.create_system = system; return i\n";
    let script = format!("{start}{script}\nsys.stdout.buffer.write(out.getvalue())");
    let output = Command::new("python3").arg("-c").arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn written(script: &str) -> Vec<u8> {
    let lines: Vec<_> = script.lines().map(|line| format!("    {}\n", line.trim_start())).collect();
    python(&format!("with zipfile.ZipFile(out, 'w') as z:\n{}", lines.concat()))
}

fn error(bytes: Vec<u8>) -> String {
    read(bytes, &OpenOptions::default()).unwrap_err().to_string()
}

fn text(member: &Member) -> Vec<u8> {
    match &member.kind {
        MemberKind::File(content) => content.read_all(1 << 30).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_have_modes_times_and_targets() {
    let bytes = written(
        "z.writestr(info('top/', 0o40750), '')
         z.writestr(info('top/stored', 0o104711), 'as it is')
         z.writestr(info('top/deflated'), 'again and ' * 1000, zipfile.ZIP_DEFLATED)
         z.writestr(info('top/link', 0o120777), '../target')
         z.writestr(info('top/dos.txt', 0, (1980, 1, 1, 0, 0, 0), 0), '')
         z.writestr(info('top/\\u00e9', 0o600), '')",
    );
    let members = read(bytes, &OpenOptions::default()).unwrap();
    let shown: Vec<_> = members
        .iter()
        .map(|member| (member.path.as_bytes(), member.metadata.mode, member.metadata.mtime.seconds))
        .collect();
    let at = 1_582_979_458;
    let expected = [
        ("top", 0o750, at),
        ("top/stored", 0o4711, at),
        ("top/deflated", 0o644, at),
        ("top/link", 0o777, at),
        ("top/dos.txt", 0o644, 315_532_800),
        ("top/é", 0o600, at),
    ];
    assert_eq!(shown, expected.map(|(path, mode, time)| (path.as_bytes(), mode, time)));
    assert_eq!(text(&members[1]), b"as it is");
    assert_eq!(text(&members[2]), b"again and ".repeat(1000));
    assert!(matches!(&members[3].kind, MemberKind::Symlink(target) if **target == *b"../target"));
    assert!(text(&members[4]).is_empty());
}

#[test]
fn what_zip_writes_of_a_directory_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    let script =
        "umask 022; mkdir -p top/sub; printf content >top/file; ln -s file top/link; chmod 750 top/file
        seq 100000 >top/sub/long; TZ=America/New_York touch -d @1500000001 top/file
        TZ=Asia/Tokyo zip -qry it.zip top; zip -qr - top <&- | cat >streamed.zip";
    let output = Command::new("sh").arg("-ec").arg(script).current_dir(scratch.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, count) in [("it.zip", 5), ("streamed.zip", 5)] {
        let members =
            read(std::fs::read(scratch.path().join(name)).unwrap(), &OpenOptions::default()).unwrap();
        assert_eq!(members.len(), count, "{name}");
        let file = members.iter().find(|member| member.path.as_bytes() == b"top/file").unwrap();
        assert_eq!((file.metadata.mode, file.metadata.mtime.seconds), (0o750, 1_500_000_001), "{name}");
        let long = members.iter().find(|member| member.path.as_bytes() == b"top/sub/long").unwrap();
        assert!(text(long).ends_with(b"\n100000\n"));
    }
}

#[test]
fn what_has_two_readings_or_none_is_refused() {
    for (script, reason) in [
        ("z.writestr(info('../a'), '')", "contains `..`"),
        ("z.writestr(info('/a'), '')", "is absolute"),
        ("z.writestr(info('a\\\\b'), '')", "backslash"),
        ("z.writestr(info('a'), '1'); z.writestr(info('./a'), '2')", "is given twice"),
        ("z.writestr(info('a'), '', zipfile.ZIP_LZMA)", "method 14 (LZMA)"),
        ("z.writestr(info('a'), '', zipfile.ZIP_BZIP2)", "method 12 (BZIP2)"),
        ("z.writestr(info('a', 0o010644), '')", "has the type 10000"),
        ("z.writestr(info('a/', 0o100644), '')", "slash of a directory"),
        ("z.writestr(info('a', 0o120777), '')", "target of 0 bytes"),
        ("z.writestr(info('a', 0o120777), 'x' * 5000)", "target of 5000 bytes"),
    ] {
        let error = error(written(script));
        assert!(error.contains(reason), "{error}");
    }
    let all =
        error(written("z.writestr(info('../a'), ''); z.writestr(info('b'), ''); z.writestr(info('/c'), '')"));
    assert!(all.contains("2 members") && all.contains("../a") && all.contains("/c"), "{all}");
}

/// An archive of `a` with `content`, where every `from` has become `to`.
fn changed(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = written("z.writestr(info('a'), 'content')");
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn archives_that_were_tampered_with_are_refused() {
    let bytes = written("z.writestr(info('a'), 'content')");
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, reason) in [
        (changed(b"content", b"Content"), "cannot be decoded"),
        // The flag of encryption, in the directory.
        (with(central + 8, 1), "is encrypted"),
        // The name: in the member's own header only, and with a NUL in both.
        (with(30, b'b'), "is called `b` by its own header"),
        ([bytes.clone(), b"more".to_vec()].concat(), "expected nothing after it"),
        (bytes[..bytes.len() - 3].to_vec(), "cannot be read"),
        (b"PK\x03\x04".to_vec(), "cannot be read"),
        // Where its header is.
        (with(central + 42, 1), "has no header of its own"),
        // The numbers of members at the end.
        (with(bytes.len() - 12, 2), "has 1 members: expected the 2"),
    ] {
        let error = error(bytes);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    let error = error(python(
        "with zipfile.ZipFile(out, 'w') as z: z.writestr(info('aXb'), '')
out = io.BytesIO(out.getvalue().replace(b'aXb', b'a\\0b'))",
    ));
    assert!(error.contains("NUL"), "{error}");
}

#[test]
fn members_that_share_bytes_are_refused() {
    // Both records lead to the first member.
    let error = error(python(
        "with zipfile.ZipFile(out, 'w') as z:
    z.writestr(info('a'), 'content'); z.writestr(info('b'), 'content')
    z.infolist()[1].header_offset = 0; z.infolist()[1].filename = 'a'; z.infolist()[1].orig_filename = 'a'",
    ));
    assert!(error.contains("given twice") && error.contains("bytes of its own"), "{error}");
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bytes = written("z.writestr(info('a'), bytes(50 << 20), zipfile.ZIP_DEFLATED)");
    assert!(bytes.len() < 100_000);
    let limits = Limits { decoded: 1 << 20, ..Limits::default() };
    let error = read(bytes, &OpenOptions { limits, ..OpenOptions::default() }).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { limit: 1_048_576, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_an_error_or_changes_what_is_read_and_never_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        thread_local! {
            static ZIP: Vec<u8> = written(
                "z.writestr(info('top/', 0o40755), '')
                 z.writestr(info('top/a'), 'abc' * 100, zipfile.ZIP_DEFLATED)
                 z.writestr(info('top/b', 0o120777), 'a')");
        }
        let mut bytes = ZIP.with(Clone::clone);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = Limits { decoded: 1 << 20, ..Limits::default() };
        let _ = read(bytes, &OpenOptions { limits, ..OpenOptions::default() });
    }
}
