use proptest::prelude::*;

use super::*;

/// What a program of a test says.
#[derive(Default)]
pub(crate) struct Sketch<'a> {
    pub soname: &'a str,
    pub interpreter: &'a str,
    pub needed: &'a [&'a str],
    pub rpath: &'a str,
    pub runpath: &'a str,
    pub dlopen: &'a str,
    /// Bytes that lie in it as they are.
    pub text: &'a str,
}

/// An x86-64 program: everything in one segment, loaded to 0x1000.
pub(crate) fn program(sketch: &Sketch<'_>) -> Vec<u8> {
    let mut strings = vec![0];
    let mut entries = Vec::new();
    let mut add = |tag: u64, text: &str| {
        if !text.is_empty() {
            entries.push((tag, strings.len() as u64));
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
        }
    };
    for name in sketch.needed {
        add(NEEDED, name);
    }
    add(SONAME, sketch.soname);
    add(RPATH, sketch.rpath);
    add(RUNPATH, sketch.runpath);
    let mut body = vec![0; HEADER + 4 * PROGRAM_HEADER];
    let mut place = |bytes: &[u8]| {
        body.resize(body.len().next_multiple_of(8), 0);
        let at = body.len() as u64;
        body.extend_from_slice(bytes);
        (at, bytes.len() as u64)
    };
    let strings_at = place(&strings);
    entries.extend([(STRINGS, 0x1000 + strings_at.0), (STRINGS_LEN, strings_at.1), (0, 0)]);
    let dynamic: Vec<u8> =
        entries.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()).collect();
    let dynamic = place(&dynamic);
    let interpreter = place(&[sketch.interpreter.as_bytes(), b"\0"].concat());
    let mut note = Vec::new();
    if !sketch.dlopen.is_empty() {
        let json = [sketch.dlopen.as_bytes(), b"\0"].concat();
        for number in [4, json.len() as u32, DLOPEN] {
            note.extend_from_slice(&number.to_le_bytes());
        }
        note.extend_from_slice(b"FDO\0");
        note.extend_from_slice(&json);
    }
    let note = place(&note);
    place(&[b"\0", sketch.text.as_bytes(), b"\0"].concat());
    let len = body.len() as u64;
    let kind = |kind: u32, used: bool| if used { kind } else { 0 };
    let headers = [
        (LOAD, 0, len),
        (DYNAMIC, dynamic.0, dynamic.1),
        (kind(INTERPRETER, !sketch.interpreter.is_empty()), interpreter.0, interpreter.1),
        (kind(NOTES, note.1 > 0), note.0, note.1),
    ];
    for (index, (kind, offset, len)) in headers.into_iter().enumerate() {
        let at = HEADER + index * PROGRAM_HEADER;
        body[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        for (field, value) in [(8, offset), (16, 0x1000 + offset), (32, len), (40, len), (48, 4)] {
            body[at + field..at + field + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
    }
    body[..6].copy_from_slice(b"\x7fELF\x02\x01");
    for (at, value) in [(16, 3_u16), (18, 62), (54, PROGRAM_HEADER as u16), (56, 4)] {
        body[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    body[32..40].copy_from_slice(&(HEADER as u64).to_le_bytes());
    body
}

const NOTE_TEXT: &str =
    r#"[{"feature":"a","priority":"required","soname":["liba.so.1","liba.so.0"]},{"soname":["libb.so"]}]"#;

#[test]
fn what_a_program_says_is_read() {
    let sketch = Sketch {
        soname: "libself.so.1",
        interpreter: "/lib64/ld.so",
        needed: &["libc.so.6", "libx.so"],
        rpath: "/a:$ORIGIN/b",
        runpath: "/c::",
        dlopen: NOTE_TEXT,
        text: "",
    };
    let read = read(&program(&sketch)).unwrap();
    assert_eq!(read.machine, 62);
    assert_eq!(read.interpreter.as_deref(), Some("/lib64/ld.so"));
    assert_eq!(read.soname.as_deref(), Some("libself.so.1"));
    assert_eq!(read.needed, ["libc.so.6", "libx.so"]);
    assert_eq!(
        (read.rpath, read.runpath),
        (vec!["/a".to_owned(), "$ORIGIN/b".into()], vec!["/c".to_owned()])
    );
    let groups = [
        (vec!["liba.so.1".to_owned(), "liba.so.0".into()], Wanted::Required),
        (vec!["libb.so".to_owned()], Wanted::Recommended),
    ];
    assert_eq!(read.dlopen, groups);
    assert_eq!(super::read(&program(&Sketch::default())).unwrap().needed, [""; 0]);
}

proptest! {
    #[test]
    fn damaged_programs_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..9),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let sketch = Sketch { interpreter: "/i", needed: &["a", "b"], rpath: "/r", dlopen: NOTE_TEXT, ..Sketch::default() };
        let mut bytes = program(&sketch);
        for (at, value) in flips {
            let len = bytes.len();
            bytes[at.index(len)] = value;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if is_program(&bytes) {
            let _ = read(&bytes);
        }
    }
}
