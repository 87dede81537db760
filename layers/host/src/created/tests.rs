use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use bake_tree::{Content, Metadata, Node};

use super::*;
use crate::persist::{Persistent, persist};

/// Something that lies on a host before anything is installed.
enum Thing {
    File(&'static str),
    Link(&'static str),
    Directory,
}
use Thing::{Directory, File, Link};

type Things = [(&'static str, Thing)];

fn host(things: &Things) -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    for (at, thing) in things {
        let at = directory.path().join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match thing {
            File(text) => fs::write(at, text).unwrap(),
            Link(target) => symlink(target, at).unwrap(),
            Directory => fs::create_dir_all(at).unwrap(),
        }
    }
    let root = Root::open(directory.path()).unwrap();
    (directory, root)
}

fn tree(things: &Things) -> Tree {
    let mut tree = Tree::new();
    for (at, thing) in things {
        let node = match thing {
            File(text) => Node::File(Content::bytes(text.as_bytes())),
            Link(target) => Node::Symlink(target.as_bytes().into()),
            Directory => {
                tree.make_directory(&path(at), Metadata::root(0o755)).unwrap();
                continue;
            }
        };
        tree.put(&path(at), Metadata::root(0o644), node).unwrap();
    }
    tree
}

fn entry(text: &str) -> HostEntry {
    HostEntry { mode: 0o644, content: text.as_bytes().to_vec() }
}

/// What a product with one of each has.
fn things() -> Vec<Created> {
    let files = BTreeMap::from([(path("etc/mesosphere/setup-flags/url"), entry("url"))]);
    let secrets = [path("etc/mesosphere/secrets/key")].into();
    let users =
        [("dcos_a".parse().unwrap(), None), ("dcos_b".parse().unwrap(), Some("adm".parse().unwrap()))];
    let belongings = Belongings {
        files: &files,
        secrets: &secrets,
        roles: &["master".parse().unwrap()].into(),
        users: &users.into(),
        state_directories: &[("hello".parse().unwrap(), None)].into(),
    };
    belongings.created()
}

#[test]
fn an_image_and_a_host_have_the_same_record() {
    let passwd = || ("etc/passwd", File("root:x:0:0::/:/bin/sh\ndcos_a:x:1:1::/:/bin/sh\n"));
    let wants = "etc/systemd/system/multi-user.target.wants/dcos-setup.service";
    let hosts: [(&Things, &[&str]); 5] = [
        (&[], &[]),
        (&[passwd(), ("etc/passwd-", File("old")), ("etc/.pwd.lock", File(""))], &["etc/passwd-"]),
        (
            &[("etc/systemd/system/dcos.target", File("theirs")), ("var/lib/dcos/hello", Directory)],
            &["etc/systemd/system/dcos.target"],
        ),
        (
            &[
                ("etc/mesosphere", Link("/data/../data/x")),
                ("etc/systemd", Link("../usr")),
                ("usr", Directory),
            ],
            &[],
        ),
        (&[(wants, Link("elsewhere")), ("etc/mesosphere/roles/master", File(""))], &[wants]),
    ];
    let mut records = Vec::new();
    for (things_there, kept) in hosts {
        let (_directory, root) = host(things_there);
        let tree = tree(things_there);
        let (ours, theirs) = (Laid::new(&root, &things()).unwrap(), Laid::new(&tree, &things()).unwrap());
        assert_eq!(String::from_utf8(ours.record.to_json()), String::from_utf8(theirs.record.to_json()));
        let names = |laid: &Laid| laid.kept.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs));
        assert_eq!(names(&ours), kept.iter().map(|path| format!("/{path}")).collect::<Vec<_>>());
        assert_eq!(Record::parse(&ours.record.to_json()).unwrap(), ours.record);
        records.push(ours.record);
    }
    let [bare, accounts, state, linked, enabled] = records.try_into().unwrap();
    assert_eq!(bare.users.len(), 2);
    assert!(bare.files.contains_key("/etc/gshadow-") && bare.directories.contains("/etc/systemd/system"));
    assert_eq!(bare.state, ["/var/lib/dcos".to_owned(), "/var/lib/dcos/hello".to_owned()].into());
    assert!(bare.directories.contains("/var/lib") && !bare.directories.contains("/var/lib/dcos"));
    assert_eq!(accounts.users, ["dcos_b".parse().unwrap()].into(), "the other is there already");
    assert!(accounts.groups.contains("dcos_a") && !accounts.groups.contains("dcos_b"));
    assert!(!accounts.files.contains_key("/etc/.pwd.lock") && !accounts.files.contains_key("/etc/passwd"));
    assert_eq!(state.state, BTreeSet::new());
    assert!(linked.files.contains_key("/data/x/roles/master"), "{linked:?}");
    assert!(linked.files.contains_key("/usr/system/dcos.target") && linked.directories.contains("/data/x"));
    assert!(!enabled.files.contains_key("/etc/mesosphere/roles/master"), "somebody else's, and right");
}

#[test]
fn nothing_is_written_when_nothing_is_new() {
    let (directory, root) = host(&[]);
    note(&root, &things()).unwrap();
    let at = directory.path().join(HOME).join(CREATED);
    let seen = |at: &Path| {
        let found = fs::metadata(at).unwrap();
        (found.ino(), found.mtime_nsec(), fs::read(at).unwrap())
    };
    let before = seen(&at);
    note(&root, &things()).unwrap();
    for (path, text) in [("etc/mesosphere/roles/master", ""), ("etc/passwd", "dcos_a:x:1:1::/:\n")] {
        fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
        fs::write(directory.path().join(path), text).unwrap();
    }
    note(&root, &things()).unwrap();
    assert_eq!(seen(&at), before);
    note(&root, &[Created::State(path("var/lib/dcos/more"))]).unwrap();
    assert_ne!(seen(&at), before);
}

#[test]
fn files_of_an_earlier_product_go_and_nothing_else_does() {
    let (directory, root) = host(&[("etc/b", File("theirs")), ("etc/same", File("ours"))]);
    let read = |path: &str| fs::read_to_string(directory.path().join(path)).ok();
    let product = |files: &[&str]| Persistent {
        files: Some(files.iter().map(|at| (path(at), entry("ours"))).collect()),
        secrets: [(path("etc/key"), HostEntry { mode: 0o600, content: b"key".to_vec() })].into(),
        roles: BTreeSet::new(),
    };
    let mut said = Vec::new();
    persist(&root, &product(&["etc/a", "etc/b", "etc/same"]), &mut |_| {}).unwrap();
    assert_eq!(read("etc/b").unwrap(), "ours");
    persist(&root, &Persistent::default(), &mut |what| said.push(what)).unwrap();
    assert_eq!((read("etc/a").unwrap(), &said[..]), ("ours".to_owned(), &[][..]), "without a product");
    persist(&root, &product(&["etc/c"]), &mut |what| said.push(what)).unwrap();
    assert_eq!((read("etc/a"), read("etc/b").unwrap()), (None, "theirs".to_owned()));
    assert_eq!((read("etc/same").unwrap(), read("etc/key").unwrap()), ("ours".to_owned(), "key".to_owned()));
    assert!(said.contains(&"removed /etc/a, which the product has no more".to_owned()), "{said:?}");
    // A newer file of theirs, and a product that replaces it once more.
    fs::write(directory.path().join("etc/b"), "newer").unwrap();
    persist(&root, &product(&["etc/b"]), &mut |_| {}).unwrap();
    persist(&root, &product(&[]), &mut |_| {}).unwrap();
    assert_eq!(read("etc/b").unwrap(), "newer");
}

#[test]
fn what_leads_nowhere_is_an_error() {
    for things in [[("etc", Link("etc"))], [("etc", File("a file"))]] {
        let (_directory, root) = host(&things);
        for ground in [&root as &dyn Ground, &tree(&things)] {
            let failure = Laid::new(ground, &super::tests::things()).err().unwrap().to_string();
            assert!(failure.contains("`/etc` is no directory"), "{failure}");
        }
    }
}
