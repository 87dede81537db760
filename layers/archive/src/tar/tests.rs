//! Archives made by hand: what writers do rarely, wrongly or with bad intent. Real writers: `tests/tars.rs`.

use bake_tree::MemberKind;

use super::*;

/// A tar in the making.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn member(mut self, name: &str, typeflag: u8, body: &[u8]) -> Self {
        let mut header = ustar(name, typeflag);
        header.set_size(body.len() as u64);
        self.header(header).body(body)
    }

    fn header(&mut self, mut header: tar::Header) -> Self {
        header.set_cksum();
        self.0.extend(header.as_bytes());
        std::mem::take(self)
    }

    fn body(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// An extended header with these records.
    fn pax(self, typeflag: u8, records: &[(&str, &[u8])]) -> Self {
        let records: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.member("PaxHeaders/x", typeflag, &records)
    }

    fn end(mut self) -> Result<TarMembers, ArchiveError> {
        self.0.resize(self.0.len() + 1024, 0);
        read(self.0)
    }

    fn error(self) -> String {
        match self.end() {
            Ok(tar) => panic!("read as {:?}", tar.members),
            Err(error) => error.to_string(),
        }
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..6).map(|digits| rest + digits).find(|len| len.to_string().len() + rest == *len).unwrap();
    [len.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

fn ustar(name: &str, typeflag: u8) -> tar::Header {
    filled(tar::Header::new_ustar(), name, typeflag)
}

fn gnu(name: &str, typeflag: u8) -> tar::Header {
    filled(tar::Header::new_gnu(), name, typeflag)
}

fn filled(mut header: tar::Header, name: &str, typeflag: u8) -> tar::Header {
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkflag = [typeflag];
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(1000);
    header.set_size(0);
    header
}

fn read(bytes: Vec<u8>) -> Result<TarMembers, ArchiveError> {
    let source: Arc<dyn ReadAt> = Arc::new(bake_base::Bytes::from(bytes));
    read_tar("it.tar", &source)
}

fn content(member: &Member) -> Vec<u8> {
    match &member.kind {
        MemberKind::File(content) => content.read_all(1 << 20).unwrap(),
        other => panic!("{other:?} is no file"),
    }
}

fn only(tar: Tar) -> Member {
    let mut members = tar.end().unwrap().members;
    assert_eq!(members.len(), 1, "{members:?}");
    members.remove(0)
}

#[test]
fn content_stays_in_the_archive() {
    let tar = Tar::default().member("a", b'0', b"one").member("b", 0, &[7; 1000]).member("c", b'7', b"three");
    let members = tar.end().unwrap().members;
    let contents: Vec<_> = members.iter().map(content).collect();
    assert_eq!(contents, [b"one".to_vec(), vec![7; 1000], b"three".to_vec()]);
    let MemberKind::File(content) = &members[2].kind else { panic!() };
    assert_eq!(content.extents()[0].source_offset, 512 + 512 + 512 + 1024 + 512);
    assert_eq!((members[0].metadata.uid, members[0].metadata.gid, members[0].metadata.mode), (1, 2, 0o644));
}

#[test]
fn an_archive_ends_with_two_zero_blocks() {
    assert!(read(vec![0; 10240]).unwrap().members.is_empty());
    let tar = || Tar::default().member("a", b'0', b"one").0;
    for (extra, reason) in [
        (vec![], "is cut short"),
        (vec![0; 512], "expected a second zero block"),
        (vec![0; 600], "expected a second zero block"),
        ([vec![0; 512], tar()].concat(), "follows a lone zero block"),
        ([vec![0; 1024], tar()].concat(), "follows the end of the archive"),
        ([vec![0; 300_000], vec![1]].concat(), "at byte 301024 follows the end"),
    ] {
        let error = read([tar(), extra].concat()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(read([tar(), vec![0; 1025]].concat()).unwrap().members.len(), 1);
    let error = Tar::default().pax(b'x', &[("path", b"a")]).error();
    assert!(error.contains("headers before the end of the archive describe it"), "{error}");
}

#[test]
fn every_truncation_is_an_error() {
    let long = "d/".repeat(120) + "name";
    let mut whole = Tar::default()
        .pax(b'g', &[("comment", b"made by a test")])
        .pax(b'x', &[("path", long.as_bytes()), ("mtime", b"1.5")])
        .member("short", b'0', &[1; 3000])
        .member("././@LongLink", b'L', long.as_bytes())
        .member("short", b'0', &[2; 700])
        .member("link", b'1', b"");
    whole.0.resize(whole.0.len() + 1024, 0);
    for cut in (0..whole.0.len()).step_by(256) {
        assert!(read(whole.0[..cut].to_vec()).is_err(), "{cut}");
    }
}

#[test]
fn checksums_are_verified_signed_and_unsigned() {
    let mut header = ustar("caf\u{e9}", b'0');
    header.set_cksum();
    let block = *header.as_bytes();
    let signed: i64 =
        (0..512).map(|i| if (148..156).contains(&i) { 32 } else { i64::from(block[i] as i8) }).sum();
    let mut old = block;
    old[148..156].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    assert_ne!(old, block);
    for block in [block, old] {
        assert!(Header::parse(&block).is_ok());
        let mut wrong = block;
        wrong[0] ^= 1;
        assert!(Header::parse(&wrong).is_err());
    }
    let error = Tar(vec![b'x'; 512]).error();
    assert!(error.contains("at byte 0 is no tar header"), "{error}");
}

#[test]
fn numbers_come_in_octal_and_in_base_256() {
    let number = |field: &[u8]| {
        let mut header = ustar("a", b'0');
        header.as_old_mut().mtime[..field.len()].copy_from_slice(field);
        header.set_cksum();
        Header::parse(header.as_bytes()).unwrap().mtime().map(|time| time.seconds)
    };
    let base_256 = |value: i128| {
        let mut bytes = value.to_be_bytes()[4..].to_vec();
        bytes[0] = bytes[0] & 0x7f | 0x80;
        bytes
    };
    assert_eq!(number(b"00000001750\0"), Ok(1000));
    assert_eq!(number(b"       1750 "), Ok(1000));
    assert_eq!(number(b"000000001750"), Ok(1000));
    assert_eq!(number(&[0; 12]), Ok(0));
    for value in [0, 1, -1, -1_000_000, 1 << 40, i64::MAX, i64::MIN] {
        let mut field = base_256(value.into());
        if value < 0 {
            field[0] = 0xff;
        }
        assert_eq!(number(&field), Ok(value), "{value}");
    }
    let error = number(&base_256(i128::from(i64::MAX) + 1)).unwrap_err();
    assert!(error.contains("9223372036854775808: expected a number of 64 bits"), "{error}");
    for nonsense in [&b"9"[..], b"+7", b"-1", b"0x10", b"1 1", b"777777777777"] {
        let value = number(&[nonsense, &[0; 12][nonsense.len()..]].concat());
        assert_eq!(value.is_ok(), nonsense == b"777777777777", "{nonsense:?}");
    }
}

#[test]
fn owners_beyond_32_bits_are_refused() {
    let mut header = gnu("a", b'0');
    header.set_uid(u64::from(u32::MAX) - 1);
    assert_eq!(only(Tar::default().header(header.clone())).metadata.uid, u32::MAX - 1);
    header.set_uid(u64::from(u32::MAX));
    let error = Tar::default().header(header.clone()).error();
    assert!(error.contains("`a` at byte 0 has an owner or group of 4294967295"), "{error}");
    header.set_uid(1 << 32);
    let error = Tar::default().header(header).error();
    assert!(error.contains("`a` at byte 0 has a uid of 4294967296: expected 0 to 2^32 - 1"), "{error}");
    let error = Tar::default().pax(b'x', &[("gid", b"4294967296")]).member("a", b'0', b"").error();
    assert!(error.contains("`gid` of `4294967296`"), "{error}");
    let error = Tar::default().pax(b'x', &[("gid", b"4294967295")]).member("a", b'0', b"").error();
    assert!(error.contains("expected at most 4294967294"), "{error}");
    let big = Tar::default().pax(b'x', &[("gid", b"4294967294")]).member("a", b'0', b"");
    assert_eq!(only(big).metadata.gid, u32::MAX - 1);
}

#[test]
fn sizes_near_the_end_of_all_numbers_are_refused() {
    for size in ["9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616"]
    {
        let error = Tar::default().pax(b'x', &[("size", size.as_bytes())]).member("a", b'0', b"").error();
        assert!(error.contains("`a`") || error.contains("`PaxHeaders/x`"), "{error}");
    }
    for typeflag in [b'0', b'x', b'g', b'L', b'K', b'D', b'1', b'S'] {
        for first in [0x80, 0xff] {
            let mut header = gnu("a", typeflag);
            header.as_old_mut().size = [0xff; 12];
            header.as_old_mut().size[0] = first;
            let tar = Tar::default().header(header);
            if typeflag == b'1' {
                continue; // The size of a link in this format means nothing.
            }
            let error = tar.error();
            assert!(error.contains("at byte 0 has a size of") || error.contains("real size"), "{error}");
        }
    }
}

#[test]
fn extended_headers_overrule_the_header_and_apply_once() {
    let tar = Tar::default()
        .pax(
            b'x',
            &[
                ("path", b"real/\xff"),
                ("mtime", b"-1.5"),
                ("uid", b"70000"),
                ("SCHILY.xattr.user.a", b"\0=\n"),
                ("uname", b"somebody"),
                ("atime", b"0"),
            ],
        )
        .member("made up", b'0', b"one")
        .member("plain", b'0', b"two");
    let tar = tar.end().unwrap();
    let [first, second] = &tar.members[..] else { panic!() };
    assert_eq!(first.path.as_bytes(), b"real/\xff");
    assert_eq!((first.metadata.mtime.seconds, first.metadata.mtime.nanoseconds), (-2, 500_000_000));
    assert_eq!((first.metadata.uid, first.metadata.gid), (70000, 2));
    assert_eq!(&*first.metadata.xattrs[&b"user.a"[..]], b"\0=\n");
    assert_eq!((second.path.as_bytes(), second.metadata.uid), (&b"plain"[..], 1));
    assert!(second.metadata.xattrs.is_empty() && tar.notes.is_empty());
}

#[test]
fn a_size_in_an_extended_header_is_the_size() {
    // RUSTSEC-2026-0068: whoever takes the header's size here sees another archive.
    let hidden = Tar::default().member("hidden", b'0', b"").0;
    let mut header = ustar("a", b'0');
    header.set_size(0);
    let mut tar = Tar::default().pax(b'x', &[("size", b"512")]);
    let tar = tar.header(header).body(&hidden);
    assert_eq!(content(&only(tar)), hidden);
}

#[test]
fn global_headers_hold_until_the_next() {
    let tar = Tar::default()
        .pax(b'g', &[("uid", b"5"), ("comment", b"0123abc")])
        .member("a", b'0', b"")
        .pax(b'x', &[("uid", b"6")])
        .member("b", b'0', b"")
        .pax(b'g', &[("uid", b""), ("mtime", b"7")])
        .member("c", b'0', b"");
    let owners: Vec<_> = tar
        .end()
        .unwrap()
        .members
        .iter()
        .map(|member| (member.metadata.uid, member.metadata.mtime.seconds))
        .collect();
    assert_eq!(owners, [(5, 1000), (6, 1000), (1, 7)]);
    for key in ["path", "size", "SCHILY.xattr.user.a", "GNU.sparse.major"] {
        let error = Tar::default().pax(b'g', &[(key, b"1")]).member("a", b'0', b"").error();
        assert!(error.contains("gives every member that follows the same"), "{error}");
    }
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let x = |name: &[u8]| record("path", name);
    let named = |headers: &[(u8, &[u8])]| {
        let tar = headers.iter().fold(Tar::default(), |tar, (flag, body)| tar.member("h", *flag, body));
        tar.member("short", b'0', b"")
    };
    // GHSA-3pv8-6f4r-ffg2: both orders describe the member, neither describes the other header.
    for headers in [[(b'x', &x(b"long")[..]), (b'L', b"long\0")], [(b'L', b"long"), (b'x', &x(b"long"))]] {
        assert_eq!(only(named(&headers)).path.as_bytes(), b"long");
    }
    for headers in [[(b'x', &x(b"one")[..]), (b'L', b"two\0")], [(b'L', b"two"), (b'x', &x(b"one"))]] {
        let error = named(&headers).error();
        assert!(error.contains("contradict each other"), "{error}");
    }
    let error = named(&[(b'x', &x(b"one")), (b'x', &x(b"one"))]).error();
    assert!(error.contains("second extended header before one member"), "{error}");
    let error = named(&[(b'L', b"one"), (b'L', b"one")]).error();
    assert!(error.contains("second long name before one member"), "{error}");
}

#[test]
fn payloads_are_limited() {
    for flag in [b'x', b'g', b'L', b'K'] {
        let mut header = ustar("h", flag);
        header.set_size((1 << 20) + 1);
        let error = Tar::default().header(header).body(&vec![b'a'; (1 << 20) + 1]).error();
        assert!(error.contains("in 1048577 bytes: expected at most 1048576"), "{error}");
    }
}

#[test]
fn names_that_leave_the_tree_are_all_reported() {
    let mut link = ustar("link", b'1');
    link.as_old_mut().linkname[..7].copy_from_slice(b"../made");
    let error = Tar::default()
        .member("/etc/passwd", b'0', b"x")
        .member("good", b'0', b"x")
        .member("a/../../b", b'0', b"x")
        .header(link)
        .error();
    for part in [
        "3 members cannot be used",
        "`/etc/passwd` at byte 0 has a name of no use: `/etc/passwd` is absolute",
        "`a/../../b` at byte 2048",
        "`link` at byte 3072 is a hard link to a name of no use: `../made` contains `..`",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn links_have_content_in_pax_alone() {
    let body = [9; 512];
    let after = |tar: Tar| {
        let names: Vec<_> = tar
            .member("after", b'0', b"")
            .end()
            .unwrap()
            .members
            .iter()
            .map(|m| m.path.to_string())
            .collect();
        assert_eq!(names, ["/link", "/after"]);
    };
    let sized = |mut header: tar::Header| {
        header.as_old_mut().linkname[0] = b'a';
        header.set_size(512);
        header
    };
    // No content whatever the header says.
    after(Tar::default().header(sized(gnu("link", b'1'))));
    after(Tar::default().header(sized(filled(tar::Header::new_old(), "link", b'1'))));
    after(Tar::default().header(sized(ustar("link", b'1'))));
    after(Tar::default().header(sized(ustar("link", b'2'))));
    // Content.
    after(Tar::default().header(sized(ustar("link", b'1'))).body(&body));
    after(Tar::default().pax(b'x', &[("mtime", b"1")]).header(sized(ustar("link", b'1'))).body(&body));
    let mut unsized_link = sized(ustar("link", b'1'));
    unsized_link.set_size(0);
    after(Tar::default().pax(b'x', &[("size", b"512")]).header(unsized_link).body(&body));
}

#[test]
fn directories_end_with_a_slash_or_say_so() {
    let old = filled(tar::Header::new_old(), "old/", 0);
    let tar = Tar::default()
        .header(old)
        .member("new", b'5', b"")
        .member("also/", b'0', b"")
        .member("././@LongLink", b'L', b"long/\0")
        .member("lon", b'0', b"")
        .member("dump", b'D', b"Yfile\0\0")
        .end();
    assert!(tar.unwrap().members.iter().all(|member| matches!(member.kind, MemberKind::Directory)));
    let error = Tar::default().member("file/", b'0', b"x").error();
    assert!(error.contains("file of 1 bytes with a trailing slash"), "{error}");
}

#[test]
fn types_that_are_unknown_are_refused() {
    for (typeflag, reason) in [
        (b'X', "unknown type `X`"),
        (b'A', "unknown type `A`"),
        (b'8', "unknown"),
        (0xff, "unknown"),
        (b'M', "volume"),
    ] {
        let error = Tar::default().member("a", typeflag, b"").error();
        assert!(error.contains(reason), "{error}");
    }
    let error = Tar::default().member("a", b'S', b"").error();
    assert!(error.contains("unknown type `S`"), "{error}");
    let old = filled(tar::Header::new_old(), "a", b'3');
    assert!(Tar::default().header(old).error().contains("no numbers for it"));
}

#[test]
fn what_has_no_place_is_noted() {
    let tar = Tar::default()
        .member("backup", b'V', b"")
        .pax(b'x', &[("SCHILY.fflags", b"nodump"), ("VENDOR.colour", b"red")])
        .member("a", b'0', b"");
    let notes = tar.end().unwrap().notes.join("\n");
    assert!(notes.contains("`SCHILY.fflags`") && notes.contains("`VENDOR.colour`"), "{notes}");
    assert!(notes.contains("a volume label"), "{notes}");
    let error = Tar::default().pax(b'x', &[("hdrcharset", b"EBCDIC")]).member("a", b'0', b"").error();
    assert!(error.contains("`hdrcharset` of `EBCDIC`"), "{error}");
}

/// Records of a sparse file, the body, and what is wrong with them.
type Lie<'a> = (&'a [(&'a str, &'a [u8])], &'a [u8], &'a str);

#[test]
fn sparse_maps_that_lie_are_refused() {
    let one = |rest: &'static str| [rest.as_bytes(), &vec![0; 512 - rest.len()], b"data"].concat();
    let v1: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9000")];
    let far: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"18446744073709551615")];
    let v0 = |map: &'static [u8]| [("GNU.sparse.size", &b"9000"[..]), ("GNU.sparse.map", map)];
    let lies: &[Lie] = &[
        (v1, &one("1\n0\n5\n"), "more bytes than the 4"),
        (v1, &one("1\n0\n3\n"), "a sparse map of 3 bytes: expected the 4"),
        (v1, &one("2\n10\n2\n0\n2\n"), "overlaps"),
        (v1, &one("2\n0\n2\n1\n2\n"), "overlaps"),
        (v1, &one("1\n8999\n4\n"), "past the end"),
        (v1, &one("1\n18446744073709551615\n4\n"), "sparse map of no use"),
        (v1, &one("2\n0\n18446744073709551615\n0\n5\n"), "more bytes than"),
        (v1, &one("18446744073709551615\n0\n0\n"), "no list of numbers"),
        (v1, &one("1\n0\n"), "no list of numbers"),
        (v1, &one("x\n"), "no list of numbers"),
        (v1, &[b'1'; 5000], "no list of numbers"),
        (v1, b"1\n0", "no list of numbers"),
        (v1, b"", "no list of numbers"),
        (far, &one("1\n0\n4\n"), "expected at most 9223372036854775807"),
        (&[("GNU.sparse.major", b"2"), ("GNU.sparse.realsize", b"1")], b"", "version 2.0"),
        (&[("GNU.sparse.major", b"1")], b"", "without a real size"),
        (&[("GNU.sparse.offset", b"1"), ("GNU.sparse.offset", b"1")], b"", "a length after each offset"),
        (&[("GNU.sparse.numbytes", b"1")], b"", "an offset before it"),
        (&[("GNU.sparse.size", b"9"), ("GNU.sparse.offset", b"1")], b"", "of another length than it says"),
        (&[("GNU.sparse.size", b"9"), ("GNU.sparse.numblocks", b"7")], b"", "of another length"),
        (&[("GNU.sparse.colour", b"9")], b"", "a key of GNU tar's sparse formats"),
        (&v0(b"0,4,"), b"data", "expected pairs"),
        (&v0(b"0"), b"data", "expected pairs"),
        (&v0(b"0,4,2,1"), b"data!", "overlaps"),
    ];
    for (records, body, reason) in lies {
        let error = Tar::default().pax(b'x', records).member("a", b'0', body).error();
        assert!(error.contains(reason) && error.contains("member `"), "{reason}: {error}");
    }
    let true_one = Tar::default().pax(b'x', v1).member("a", b'0', &one("1\n8996\n4\n"));
    let bytes = content(&only(true_one));
    assert!(bytes.len() == 9000 && bytes.ends_with(b"\0data"));
    let empty = Tar::default().pax(b'x', &v0(b"")).member("a", b'0', b"");
    assert_eq!(content(&only(empty)), vec![0; 9000]);
}

#[test]
fn old_sparse_maps_go_on_in_further_headers() {
    let run = |header: &mut tar::GnuSparseHeader, i: u64| {
        header.set_offset(i * 1024);
        header.set_length(512);
    };
    let mut first = gnu("a", b'S');
    let old = first.as_gnu_mut().unwrap();
    (0..4).for_each(|i| run(&mut old.sparse[i as usize], i));
    old.isextended = [1];
    old.set_real_size(30 * 1024);
    first.set_size(25 * 512);
    let mut second = tar::GnuExtSparseHeader::new();
    (0..21).for_each(|i| run(&mut second.sparse_mut()[i as usize], i + 4));
    let data: Vec<u8> = (1..=25).flat_map(|i| [i; 512]).collect();
    let tar = |second: &tar::GnuExtSparseHeader| {
        Tar::default().header(first.clone()).body(second.as_bytes()).body(&data).member("b", b'0', b"")
    };
    let members = tar(&second).end().unwrap().members;
    let expected: Vec<u8> =
        (1..=25).flat_map(|i| [[i; 512], [0; 512]].concat()).chain([0; 5 * 1024]).collect();
    assert_eq!(content(&members[0]), expected);
    assert_eq!(members.len(), 2);
    // A map that goes on beyond the archive, and one that goes back.
    second.set_is_extended(true);
    assert!(tar(&second).error().contains("member `"));
    second.set_is_extended(false);
    run(&mut second.sparse_mut()[20], 3);
    assert!(tar(&second).error().contains("overlaps"));
}
