use std::fs;

use super::*;

/// A table of the firmware as the kernel shows it.
fn table(kind: u8, strings: &[&[u8]]) -> Vec<u8> {
    let mut raw = vec![kind, 5, 0x0b, 0x00, strings.len() as u8];
    for string in strings {
        raw.extend([string, &b"\0"[..]].concat());
    }
    raw.push(0);
    raw
}

#[test]
fn a_credential_is_found_among_the_strings() {
    let raw = table(
        11,
        &[
            b"io.systemd.credential:vmm.notify_socket=x",
            b"io.systemd.credential:dcos.roles=master",
            b"io.systemd.credential.binary:dcos.roles=c2xhdmUsc2xhdmVfcHVibGlj",
            b"io.systemd.credential:dcos.roles2=no",
            b"dcos.roles=no",
        ],
    );
    assert_eq!(found(&raw, "dcos.roles"), [&b"master"[..], b"slave,slave_public"]);
    // A longer header than today's: the strings come after all of it.
    let mut longer = raw.clone();
    longer[1] = 8;
    longer.splice(5..5, [0xff, 0, 0xff]);
    assert_eq!(found(&longer, "dcos.roles"), found(&raw, "dcos.roles"));
}

#[test]
fn damaged_tables_say_nothing() {
    let good = table(11, &[b"io.systemd.credential:dcos.roles=master"]);
    let damaged: [(&str, Vec<u8>); 8] = [
        ("empty", Vec::new()),
        ("only a type", vec![11]),
        ("another type", table(1, &[b"io.systemd.credential:dcos.roles=master"])),
        ("no strings", vec![11, 5, 0, 0, 0, 0, 0]),
        ("says that it has none", [&good[..4], &[0], &good[5..]].concat()),
        ("a header shorter than any", [&[11, 4], &good[2..]].concat()),
        ("a header longer than everything", [&[11, 255], &good[2..]].concat()),
        ("a string without an end", good[..good.len() - 2].to_vec()),
    ];
    for (what, raw) in damaged {
        assert_eq!(found(&raw, "dcos.roles"), Vec::<Vec<u8>>::new(), "{what}");
    }
    // More strings promised than there are: those that are there count.
    assert_eq!(found(&[&good[..4], &[200], &good[5..]].concat(), "dcos.roles"), [b"master"]);
    // Cut anywhere, and with any byte changed, it is read without a panic.
    for end in 0..good.len() {
        let _ = found(&good[..end], "dcos.roles");
        for byte in [0, 1, 0x7f, 0xff] {
            let mut changed = good.clone();
            changed[end] = byte;
            let _ = found(&changed, "dcos.roles");
        }
    }
}

#[test]
fn base64_is_read_as_written_or_not_at_all() {
    // RFC 4648, section 10; the last ones without padding.
    for (text, bytes) in [
        ("", ""),
        ("Zg==", "f"),
        ("Zm8=", "fo"),
        ("Zm9v", "foo"),
        ("Zm9vYg==", "foob"),
        ("Zm9vYmE=", "fooba"),
        ("Zm9vYmFy", "foobar"),
        ("Zg", "f"),
        ("Zm8", "fo"),
    ] {
        assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
    }
    assert_eq!(base64(b"+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    for wrong in ["Z", "Zg=", "Zg===", "Z===", "=", "====", "Zm9v=", "Zm=v", "Zm 9", "Zm9v\n", "Zm-_"] {
        assert_eq!(base64(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn every_table_of_the_kind_is_read_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    assert!(credentials(&root, "dcos.roles").is_empty());
    for (name, role) in [("11-1", "b"), ("11-0", "a"), ("1-0", "no"), ("110-0", "no")] {
        let at = directory.path().join(ENTRIES).join(name);
        fs::create_dir_all(&at).unwrap();
        let text = format!("io.systemd.credential:dcos.roles={role}");
        fs::write(at.join("raw"), table(11, &[text.as_bytes()])).unwrap();
    }
    fs::create_dir_all(directory.path().join(ENTRIES).join("11-2/raw")).unwrap();
    fs::write(directory.path().join(ENTRIES).join("11-3"), "no directory").unwrap();
    assert_eq!(credentials(&root, "dcos.roles"), [b"a", b"b"]);
}
