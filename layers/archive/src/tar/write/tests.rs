use std::sync::Arc;

use bake_base::Epoch;
use bake_tree::{Extent, Member, MemberKind, Policy, Tree};

use super::*;

fn path(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

fn dated(mode: u16) -> Metadata {
    Metadata { mtime: Timestamp::from_seconds(1000), ..Metadata::root(mode) }
}

/// A tree of files without content, but for what `change` does.
fn tree_of(names: &[&str], change: impl FnOnce(&mut Tree)) -> ValidTree {
    let mut tree = Tree::new();
    for name in names {
        tree.put(&path(name), dated(0o644), Node::File(Content::empty())).unwrap();
    }
    change(&mut tree);
    tree.clamp_times(Epoch::from_seconds(2000));
    ValidTree::new(tree).unwrap()
}

fn written(tree: &ValidTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_tar(tree, &mut bytes).unwrap();
    bytes
}

fn members(bytes: Vec<u8>) -> Vec<Member> {
    let source: Arc<dyn ReadAt> = Arc::new(bake_base::Bytes::from(bytes));
    super::super::read_tar("it.tar", &source).unwrap().members
}

/// The types of all header blocks of a tar without content.
fn types(bytes: &[u8]) -> String {
    let headers = bytes.chunks(512).filter(|block| block[257..].starts_with(b"ustar\x0000"));
    headers.map(|block| char::from(block[156])).collect()
}

#[test]
fn members_stand_in_the_order_of_the_bytes_of_their_names_and_directories_before_what_they_hold() {
    let tree = tree_of(&["b", "a/x", "a.b", "a/B", "\u{e9}"], |_| {});
    let bytes = written(&tree);
    let names: Vec<_> = bytes
        .chunks(512)
        .map(|block| String::from_utf8_lossy(super::super::header::text(&block[..100])))
        .collect();
    assert_eq!(names, ["./", "./a/", "./a/B", "./a/x", "./a.b", "./b", "./\u{e9}", "", ""]);
}

#[test]
fn what_fits_ustar_has_one_header() {
    let deep = format!("{0}/{0}/{1}", "d".repeat(75), "n".repeat(100));
    let tree = tree_of(&["a", &"n".repeat(98), &deep], |tree| {
        let link = Node::Symlink([b't'; 100].into());
        tree.put(&path("link"), dated(0o777), link).unwrap();
        let owned = Metadata { uid: OWNER_MAX, gid: OWNER_MAX, ..dated(0o7777) };
        tree.put(&path("zz"), owned, Node::BlockDevice(Device { major: 4095, minor: 0xf_ffff })).unwrap();
        let late = Metadata { mtime: Timestamp::from_seconds(0), ..dated(0) };
        tree.put(&path("zzz"), late, Node::Fifo).unwrap();
    });
    assert_eq!(types(&written(&tree)), "505502046");
}

#[test]
fn what_does_not_fit_has_one_extended_header_before_it() {
    let name = "n".repeat(99);
    let tree = tree_of(&[&name], |tree| {
        let mut put = |name: &str, metadata, node| {
            tree.put(&path(name), metadata, node).unwrap();
        };
        put("link", dated(0o777), Node::Symlink([b't'; 101].into()));
        put("owner", Metadata { uid: OWNER_MAX + 1, gid: u32::MAX - 1, ..dated(0) }, Node::Fifo);
        let mut all = Metadata { mtime: Timestamp { seconds: -2, nanoseconds: 750_000_000 }, ..dated(0o600) };
        all.xattrs.insert((*b"user.a=b%").into(), (*b"\0=\n\xff").into());
        put(&"z".repeat(255), all, Node::File(Content::bytes(&b""[..])));
    });
    let bytes = written(&tree);
    assert_eq!(types(&bytes), "5x20x6x0", "one name of 99 bytes fits behind the dot");
    let records = [
        "115 linkpath=ttt",
        "15 uid=2097152\n",
        "18 gid=4294967294\n",
        "15 mtime=-1.25\n",
        "path=./zzzz",
        "SCHILY.xattr.user.a%3Db%25=",
    ];
    for record in records {
        assert!(bytes.windows(record.len()).any(|window| window == record.as_bytes()), "{record}");
    }
    let read = members(bytes);
    let shown: Vec<_> = read.iter().map(|member| (member.path.as_bytes().len(), &member.metadata)).collect();
    let (length, metadata) = shown[4];
    assert_eq!((length, metadata.mtime), (255, Timestamp { seconds: -2, nanoseconds: 750_000_000 }));
    assert_eq!(metadata.xattrs[&b"user.a=b%"[..]][..], b"\0=\n\xff"[..]);
    assert_eq!((shown[3].1.uid, shown[3].1.gid), (OWNER_MAX + 1, u32::MAX - 1));
}

#[test]
fn a_second_name_is_a_link_to_the_first_and_repeats_its_metadata_but_no_attributes() {
    let tree = tree_of(&["a/second"], |tree| {
        let mut member =
            Member { path: path("0"), metadata: dated(0), kind: MemberKind::HardLink(path("a/second")) };
        let links = vec![member.clone(), {
            member.path = path("z");
            member
        }];
        tree.apply(links, Policy::TAR).unwrap();
        let id = tree.lookup(&path("0"), bake_tree::Follow::Last).unwrap();
        tree.metadata_mut(id).xattrs.insert((*b"user.a").into(), (*b"b").into());
    });
    let bytes = written(&tree);
    assert_eq!(types(&bytes), "5x0511");
    let read = members(bytes);
    for link in [&read[3], &read[4]] {
        assert!(matches!(&link.kind, MemberKind::HardLink(target) if *target == path("0")));
        assert_eq!((link.metadata.mode, link.metadata.mtime.seconds), (0o644, 1000));
    }
}

#[test]
fn a_file_of_8_gib_says_its_size_in_a_record() {
    let extent = |start, source: Vec<u8>| {
        let source: Arc<dyn ReadAt> = Arc::new(bake_base::Bytes::from(source));
        Extent { start, len: source.len(), source, source_offset: 0 }
    };
    for (len, has_record) in [(NUMBER_MAX, false), (NUMBER_MAX + 1, true)] {
        let content = Content::sparse(len, vec![]).unwrap();
        let mut tree = Tree::new();
        let id = tree.put(&path("large"), dated(0o644), Node::File(content)).unwrap();
        let head = headers(&path("large"), tree.inode(id), None).unwrap();
        assert_eq!(head.len() > 512, has_record);
        // The archive that this would be, without its zeros.
        let whole = head.len() as u64 + len.next_multiple_of(512) + 1024;
        let archive: Arc<dyn ReadAt> = Arc::new(Content::sparse(whole, vec![extent(0, head)]).unwrap());
        let members = super::super::read_tar("it.tar", &archive).unwrap().members;
        assert!(matches!(&members[0].kind, MemberKind::File(content) if content.len() == len));
    }
}

#[test]
fn holes_are_zeros_and_the_last_block_is_filled_with_them() {
    let source: Arc<dyn ReadAt> = Arc::new(bake_base::Bytes::from(vec![7; 700]));
    let extents = vec![Extent { start: 1000, len: 700, source, source_offset: 0 }];
    let mut tree = Tree::new();
    let content = Content::sparse(WINDOW as u64 + 3, extents).unwrap();
    tree.put(&path("a"), dated(0o644), Node::File(content.clone())).unwrap();
    tree.clamp_times(Epoch::from_seconds(2000));
    let bytes = written(&ValidTree::new(tree).unwrap());
    assert_eq!(bytes.len(), 512 + 512 + WINDOW + 512 + 1024);
    assert!(bake_base::is_zero(&bytes[1024 + WINDOW..]));
    let read = members(bytes);
    assert!(matches!(&read[1].kind, MemberKind::File(read) if read.same_bytes(&content).unwrap()));
}

#[test]
fn an_entry_that_no_reader_would_take_is_refused() {
    let mut tree = Tree::new();
    tree.put(&path("undated"), Metadata::root(0o644), Node::Fifo).unwrap();
    let error = |tree| write_tar(&ValidTree::new(tree).unwrap(), &mut Vec::new()).unwrap_err().to_string();
    assert!(error(tree).contains("expected a clamped one"));
    let mut tree = Tree::new();
    let mut metadata = dated(0o644);
    for i in 0..17_u8 {
        metadata.xattrs.insert(vec![b'a' + i].into(), vec![0; 65_536].into());
    }
    tree.put(&path("a"), metadata, Node::Fifo).unwrap();
    tree.clamp_times(Epoch::from_seconds(2000));
    let error = error(tree);
    assert!(error.contains("`/a` has extended attributes of 11"), "{error}");
}

#[test]
fn content_that_cannot_be_read_is_named() {
    #[derive(Debug)]
    struct Broken;
    impl ReadAt for Broken {
        fn len(&self) -> u64 {
            5
        }
        fn read_exact_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
    let tree = tree_of(&[], |tree| {
        let content = Content::whole(Arc::new(Broken), 0, 5).unwrap();
        tree.put(&path("a/b"), dated(0o644), Node::File(content)).unwrap();
    });
    let error = write_tar(&tree, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "reading `/a/b` failed");
}
