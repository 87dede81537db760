use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use bake_tree::{Member, MemberKind, Metadata, Policy, Timestamp, Tree};
use proptest::prelude::*;

use super::*;
use crate::Limits;

fn path(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

fn dated(mode: u16, seconds: i64) -> Metadata {
    Metadata { mtime: Timestamp::from_seconds(seconds), ..Metadata::root(mode) }
}

/// What an archive holds, as [`crate::read_cpio`] reads it.
fn read(bytes: &[u8]) -> BTreeMap<String, (u32, u32, u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    crate::read_cpio("initrd", bytes, Limits::default(), &mut |entry, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        found.insert(entry.path.to_string(), (entry.inode, entry.mode, entry.links, entry.mtime, bytes));
        Ok(())
    })
    .unwrap();
    found
}

#[allow(clippy::disallowed_methods)]
fn cpio(arguments: &[&str], directory: &std::path::Path, input: &[u8]) -> String {
    let mut child = Command::new("cpio")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ci/install-tools installs cpio");
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "cpio {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    })
}

#[test]
fn cpio_lists_and_extracts_what_was_written() {
    let mut tree = Tree::new();
    tree.metadata_mut(Tree::ROOT).mtime = Timestamp::from_seconds(5);
    let members = [
        ("usr", MemberKind::Directory),
        ("usr/lib", MemberKind::Directory),
        ("usr/lib/file", MemberKind::File(Content::bytes(&b"content"[..]))),
        ("usr/link", MemberKind::HardLink(path("usr/lib/file"))),
        ("lib", MemberKind::Symlink(b"usr/lib".as_slice().into())),
        ("fifo", MemberKind::Fifo),
        ("empty", MemberKind::File(Content::empty())),
    ];
    let members = members.into_iter().map(|(name, kind)| Member {
        path: path(name),
        metadata: dated(0o755, 86_400),
        kind,
    });
    tree.apply(members.collect(), Policy::TAR).unwrap();
    let tree = ValidTree::new(tree).unwrap();
    let bytes = encode_cpio(&tree, Compression::None).unwrap();
    assert_eq!(bytes.len() % 512, 0);

    let scratch = tempfile::tempdir().unwrap();
    let listed = cpio(&["-t", "--quiet"], scratch.path(), &bytes);
    let expected = [".", "empty", "fifo", "lib", "usr", "usr/lib", "usr/lib/file", "usr/link"];
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    cpio(&["-idm", "--quiet", "--no-absolute-filenames"], scratch.path(), &bytes);
    assert_eq!(std::fs::read(scratch.path().join("lib/file")).unwrap(), b"content");
    assert_eq!(std::fs::read(scratch.path().join("usr/link")).unwrap(), b"content");

    let found = read(&bytes);
    let numbers: Vec<_> = expected.map(|name| found[&path(name).to_string()].0).to_vec();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 7]);
    assert_eq!((found["/usr/link"].2, &found["/usr/link"].4[..]), (2, &b"content"[..]));
    assert!(found["/usr/lib/file"].4.is_empty(), "the last name carries the content");
    assert_eq!((found["/lib"].1, found["/lib"].3), (0o12_0777, 86_400));
}

#[test]
fn what_the_format_has_no_room_for_is_an_error() {
    let mut tree = Tree::new();
    tree.put(&path("future"), dated(0o644, 1 << 33), Node::File(Content::empty())).unwrap();
    tree.metadata_mut(Tree::ROOT).mtime = Timestamp::from_seconds(0);
    let tree = ValidTree::new(tree).unwrap();
    let error = encode_cpio(&tree, Compression::None).unwrap_err().to_string();
    assert_eq!(error, "`/future` has a time after 2106: expected a clamped one");
    assert!(matches!(encode_cpio(&tree, Compression::Lz4), Err(WriteCpioError::Compression(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_tree_comes_back_from_every_compression(
        files in prop::collection::btree_map("[a-c]{1,2}(/[a-d]{1,9}){0,3}", prop::collection::vec(any::<u8>(), 0..99), 0..12),
        time in -9_i64..1 << 32,
    ) {
        let mut tree = Tree::new();
        let mut expected = BTreeMap::new();
        for (name, bytes) in files {
            let node = Node::File(Content::bytes(bytes.clone()));
            // A name that is a directory by now, or would have to be one, is left out.
            if tree.put(&path(&name), dated(0o640, time), node).is_ok() {
                expected.insert(format!("/{name}"), bytes);
            }
        }
        for (_, id) in tree.clone().walk() {
            tree.metadata_mut(id).mtime = Timestamp::from_seconds(time);
        }
        let tree = ValidTree::new(tree).unwrap();
        let plain = encode_cpio(&tree, Compression::None).unwrap();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let bytes = encode_cpio(&tree, compression).unwrap();
            prop_assert_eq!(&bytes, &encode_cpio(&tree, compression).unwrap());
            let found = read(&bytes);
            let files: BTreeMap<_, _> = found.iter().filter(|(_, entry)| entry.1 == 0o10_0640).collect();
            prop_assert_eq!(files.len(), expected.len());
            for (name, entry) in files {
                prop_assert_eq!(&entry.4, &expected[name]);
                prop_assert_eq!(i64::from(entry.3), time.max(0));
            }
            prop_assert_eq!(Compression::recognise(&bytes), compression);
        }
        // The sum of the entries, the trailer of 124 bytes, filled up.
        let entries: u64 = tree.tree().walk().map(|(path, id)| {
            let name = path.as_bytes().len().max(1);
            let content = match &tree.inode(id).node { Node::File(content) => content.len(), _ => 0 };
            cpio_entry_len(name, content)
        }).sum();
        prop_assert_eq!(plain.len() as u64, (entries + 124).next_multiple_of(512));
    }
}
