//! Labels as libselinux's own tools give them: `matchpathcon` for random policies, `matchpathcon` and `setfiles`
//! for all of a real root file system.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_tree::selinux::{Kind, Labels};
use bake_tree::{
    Content, Device, Follow, InodeId, Member, MemberKind, Metadata, Node, Policy, Tree, TreePath,
};
use proptest::prelude::*;

const KINDS: [(Kind, &str); 7] = [
    (Kind::File, "file"),
    (Kind::Directory, "dir"),
    (Kind::Symlink, "lnk_file"),
    (Kind::CharDevice, "chr_file"),
    (Kind::BlockDevice, "blk_file"),
    (Kind::Fifo, "pipe"),
    (Kind::Socket, "sock_file"),
];

/// The contexts that libselinux finds in the policy at `file`, one for each path.
fn judged(file: &Path, kind: &str, paths: &[Vec<u8>]) -> Vec<String> {
    let mut judged = Vec::new();
    // Less than the kernel's limit for arguments.
    for paths in paths.chunks(500) {
        let mut command = Command::new("matchpathcon");
        command.args(["-n", "-m", kind, "-f"]).arg(file).arg("--");
        command.args(paths.iter().map(|path| OsStr::from_bytes(path)));
        let output = command.output().expect("`ci/install-tools` installs selinux-utils");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        judged.extend(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned));
    }
    assert_eq!(judged.len(), paths.len());
    judged
}

fn label(labels: &Labels, path: &[u8], kind: Kind) -> String {
    labels.of(&TreePath::from_root(path).unwrap(), kind).unwrap_or("<<none>>").to_owned()
}

fn put(tree: &mut Tree, path: &str, text: &[u8]) {
    let path = TreePath::from_root(path.as_bytes()).unwrap();
    tree.put(&path, Metadata::root(0o644), Node::File(Content::bytes(text))).unwrap();
}

/// The labels of a policy in these files, by their suffixes.
fn labels(files: &[(&str, String)]) -> Labels {
    let mut tree = Tree::new();
    put(&mut tree, "etc/selinux/config", b"SELINUX=enforcing\n");
    for (suffix, text) in files {
        put(
            &mut tree,
            &format!("etc/selinux/targeted/contexts/files/file_contexts{suffix}"),
            text.as_bytes(),
        );
    }
    Labels::read(&tree).unwrap().unwrap()
}

/// An item of an expression, few enough of them that rules do meet paths.
fn item() -> impl Strategy<Value = String> {
    let plain = proptest::sample::select(vec!["a", "b", "c", "ab", "-", "_", "/"]).prop_map(str::to_owned);
    let special = proptest::sample::select(vec![
        ".",
        r"\.",
        r"\+",
        r"\[",
        "[^/]",
        "[ab]",
        "[^a]",
        "[a-c.]",
        "[]a]",
        "[[:alpha:]]",
        r"\w",
        r"\d",
        "[.]",
        "]",
        "}",
        "(/.*)?",
        ".*",
        "[^/]*",
        "[^/]+",
        "/.*",
        "(a|b/c)",
        "(a|)",
        "(?:b|c/)?",
        "a?",
        "b*",
        "c+",
        "a{1,2}",
        "b{0}",
        "/*",
        "(a(b)?c){2}",
        "{",
        "a{x}",
        ".+?",
        "\\-",
        "\\_",
    ]);
    prop_oneof![3 => plain, 2 => special.prop_map(str::to_owned)]
}

/// An expression. `\-` in a first directory is left out: versions up to 3.7 never match it.
fn expression() -> impl Strategy<Value = String> {
    let first = proptest::sample::select(vec![
        "/", "/a/", "/b/", "/a/b/", "(/a)?/", "/a", "/a/?", "/a/*", "/[ab]/", "/a.b/", "/.*/",
    ]);
    let slips = |text: &String| text[1..].find('/').is_some_and(|end| text[..=end].contains(['\\']));
    let items = proptest::collection::vec(item(), 0..4).prop_map(|items| items.concat());
    (first, items)
        .prop_map(|(first, items)| format!("{first}{items}"))
        .prop_filter("slips", move |text| !slips(text))
}

fn rule() -> impl Strategy<Value = String> {
    let kind = proptest::sample::select(vec!["", "", "", " --", "\t-d", " -l", " -c", " -b", " -p", " -s"]);
    let context = prop_oneof![6 => "u:r:[a-z]{3}:s0", 1 => Just("<<none>>".to_owned())];
    (expression(), kind, context).prop_map(|(text, kind, context)| format!("{text}{kind} {context}\n"))
}

fn rules() -> impl Strategy<Value = String> {
    proptest::collection::vec(rule(), 0..8).prop_map(|rules| rules.concat())
}

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "a", "b", "c", "ab", "abc", "a.b", ".", "+", "-", "_", "[", "]", "{", "1", "bb", "a\n", "\u{e4}",
    ])
    .prop_map(|name| if name == "." { "..." } else { name }.to_owned())
}

fn plain_path() -> impl Strategy<Value = String> {
    proptest::collection::vec(name(), 0..5).prop_map(|names| format!("/{}", names.join("/")))
}

fn substitution() -> impl Strategy<Value = String> {
    let from = proptest::sample::select(vec!["/", "/a", "/a", "/b", "/a/b", "/b/"]);
    let to = proptest::sample::select(vec!["/", "/a", "/b", "/a/b/c", "/c/a", "/ab", "/b/"]);
    (from, to).prop_map(|(from, to)| format!("{from} {to}\n"))
}

fn substitutions() -> impl Strategy<Value = String> {
    proptest::collection::vec(substitution(), 0..5).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_policies_label_as_matchpathcon_does(
        texts in (rules(), rules(), rules(), substitutions(), substitutions()),
        paths in proptest::collection::vec(plain_path(), 1..40),
        kind in 0..KINDS.len(),
    ) {
        let (base, homedirs, local, subs, subs_dist) = texts;
        // Two of a kind are refused, and `file_contexts` alone has to have a rule.
        let mut seen = BTreeSet::new();
        let unlike = |line: &&str| seen.insert(line.split_whitespace().next().unwrap().to_owned());
        let base: String = base.lines().filter(unlike).map(|line| format!("{line}\n")).collect();
        let base = format!("/never u:r:never:s0\n{base}");
        let files =
            [("", base), (".homedirs", homedirs), (".local", local), (".subs", subs), (".subs_dist", subs_dist)];
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("contexts");
        for (suffix, text) in &files {
            fs::write(format!("{}{suffix}", file.display()), text).unwrap();
        }
        let labels = labels(&files);
        let paths: Vec<_> = paths.into_iter().map(String::into_bytes).collect();
        let (kind, flag) = KINDS[kind];
        for (path, theirs) in paths.iter().zip(judged(&file, flag, &paths)) {
            prop_assert_eq!(label(&labels, path, kind), theirs, "{} of {:#?}", path.escape_ascii(), files);
        }
    }
}

/// What lies in a directory, with nothing but the policy's files for content.
struct Real {
    root: PathBuf,
    tree: Tree,
    /// Paths by their kind.
    kinds: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Real {
    /// Unpacks a root file system that `ci/rootfs` has made. Labels are for root to write.
    fn unpack(name: &str, scratch: &Path) -> Option<Self> {
        let tar = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rootfs").join(name);
        if !tar.is_file() || !rustix::process::geteuid().is_root() {
            return None;
        }
        let root = scratch.join("root");
        fs::create_dir(&root).unwrap();
        let unpacked = Command::new("tar").arg("-C").arg(&root).arg("-xpf").arg(&tar).status().unwrap();
        assert!(unpacked.success());
        let mut real = Self { root: root.clone(), tree: Tree::new(), kinds: BTreeMap::new() };
        real.kinds.entry("dir").or_default().push(b"/".to_vec());
        real.read(&root, &mut BTreeMap::new());
        Some(real)
    }

    fn read(&mut self, directory: &Path, inodes: &mut BTreeMap<u64, TreePath>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap().path();
            let below = entry.strip_prefix(&self.root).unwrap().as_os_str().as_bytes();
            let path = TreePath::from_root(below).unwrap();
            let metadata = entry.symlink_metadata().unwrap();
            let kind = metadata.file_type();
            let device = Device { major: 1, minor: 1 };
            let (node, flag) = if kind.is_dir() {
                self.tree.make_directory(&path, Metadata::root(0o755)).unwrap();
                self.kinds.entry("dir").or_default().push([b"/", path.as_bytes()].concat());
                self.read(&entry, inodes);
                continue;
            } else if kind.is_symlink() {
                (Node::Symlink(fs::read_link(&entry).unwrap().into_os_string().into_vec().into()), "lnk_file")
            } else if kind.is_char_device() {
                (Node::CharDevice(device), "chr_file")
            } else if kind.is_block_device() {
                (Node::BlockDevice(device), "blk_file")
            } else if kind.is_fifo() {
                (Node::Fifo, "pipe")
            } else if below.starts_with(b"etc/selinux/") {
                (Node::File(Content::bytes(fs::read(&entry).unwrap())), "file")
            } else {
                (Node::File(Content::empty()), "file")
            };
            self.kinds.entry(flag).or_default().push([b"/", path.as_bytes()].concat());
            match inodes.get(&metadata.ino()).filter(|_| metadata.nlink() > 1) {
                Some(first) => {
                    let kind = MemberKind::HardLink(first.clone());
                    let member = Member { path, metadata: Metadata::root(0), kind };
                    self.tree.apply(vec![member], Policy::TAR).unwrap();
                }
                None => {
                    inodes.insert(metadata.ino(), path.clone());
                    self.tree.put(&path, Metadata::root(0o644), node).unwrap();
                }
            }
        }
    }

    fn file_contexts(&self) -> PathBuf {
        self.root.join("etc/selinux/default/contexts/files/file_contexts")
    }
}

fn attribute(tree: &Tree, id: InodeId) -> Option<Vec<u8>> {
    tree.inode(id).metadata.xattrs.get(&b"security.selinux"[..]).map(|value| value.to_vec())
}

#[test]
fn a_real_system_is_labelled_as_matchpathcon_and_setfiles_do() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some(mut real) = Real::unpack("debian-12-selinux.tar", scratch.path()) else { return };
    let labels = Labels::read(&real.tree).unwrap().expect("it is enforcing");
    let report = labels.apply(&mut real.tree);
    assert!(
        report.labelled > 15_000 && report.unlabelled < 1000 && report.conflicts.is_empty(),
        "{report:?}"
    );

    for (kind, flag) in KINDS {
        let paths = real.kinds.remove(flag).unwrap_or_default();
        for (path, theirs) in paths.iter().zip(judged(&real.file_contexts(), flag, &paths)) {
            assert_eq!(label(&labels, path, kind), theirs, "{}", path.escape_ascii());
        }
    }

    let mut setfiles = Command::new("setfiles");
    setfiles.arg("-F").arg("-r").arg(&real.root).arg(real.file_contexts()).arg(&real.root);
    let output = setfiles.output().expect("`ci/install-tools` installs policycoreutils");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (path, id) in real.tree.walk() {
        let file = real.root.join(OsString::from_vec(path.as_bytes().to_vec()));
        let mut value = vec![0; 4096];
        let theirs = match rustix::fs::lgetxattr(&file, "security.selinux", &mut value[..]) {
            Ok(len) => Some(value[..len].to_vec()),
            Err(rustix::io::Errno::NODATA) => None,
            Err(error) => panic!("{path}: {error}"),
        };
        assert_eq!(attribute(&real.tree, id), theirs, "{path}");
    }
}

#[test]
fn setfiles_too_gives_a_file_one_label_for_all_its_names() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = scratch.path().join("root");
    let contexts = scratch.path().join("contexts");
    let policy = "/.* u:r:any:s0\n/x/none <<none>>\n/x/two -- u:r:two:s0\n/x/link -l u:r:link:s0\n";
    fs::create_dir_all(root.join("x")).unwrap();
    fs::write(&contexts, policy).unwrap();
    fs::write(root.join("x/none"), "").unwrap();
    fs::hard_link(root.join("x/none"), root.join("x/two")).unwrap();
    std::os::unix::fs::symlink("two", root.join("x/link")).unwrap();
    let status = Command::new("setfiles").arg("-F").arg("-r").arg(&root).arg(&contexts).arg(&root).status();
    assert!(status.expect("`ci/install-tools` installs policycoreutils").success());

    let mut tree = Tree::new();
    put(&mut tree, "x/none", b"");
    let path = |text: &str| TreePath::from_root(text.as_bytes()).unwrap();
    let kind = MemberKind::HardLink(path("x/none"));
    let member = Member { path: path("x/two"), metadata: Metadata::root(0), kind };
    tree.apply(vec![member], Policy::TAR).unwrap();
    tree.put(&path("x/link"), Metadata::root(0), Node::Symlink(b"two"[..].into())).unwrap();
    self::labels(&[("", policy.to_owned())]).apply(&mut tree);
    for name in ["", "x", "x/none", "x/two", "x/link"] {
        let id = tree.lookup(&path(name), Follow::Parents).unwrap();
        let mut value = vec![0; 4096];
        let len = rustix::fs::lgetxattr(root.join(name), "security.selinux", &mut value[..]).unwrap();
        assert_eq!(attribute(&tree, id).unwrap(), value[..len], "{name}");
    }
}
