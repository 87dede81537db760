use std::collections::BTreeMap;

use bake_base::Digest;
use bake_package::{BootstrapEntry, Entry, TreeManifest};

use super::Inputs;
use crate::{Body, ConfigFile, Target};

/// Everything that an id covers, to be changed one by one.
#[derive(Clone)]
struct World {
    files: Vec<ConfigFile>,
    tree: TreeManifest,
    check_bins: Option<bake_host::PackageId>,
    pkgpanda: Digest,
    texts: BTreeMap<String, Digest>,
}

impl World {
    fn new() -> Self {
        let file = |target, path: &str, text: &str| ConfigFile {
            target,
            path: path.to_owned(),
            body: Body::File { mode: 0o644, content: text.into() },
        };
        let digest = Digest::of(b"x");
        let entry = Entry { path: "packages/a/a--1.tar.xz".to_owned(), sha256: digest, size: 1 };
        Self {
            files: vec![
                file(Target::Config, "etc/a", "1"),
                file(Target::Metadata, "etc/b", "2"),
                file(Target::Host, "/etc/mesosphere/c", "3"),
                ConfigFile {
                    target: Target::Config,
                    path: "etc/d".to_owned(),
                    body: Body::Link("/etc/mesosphere/secrets/d".to_owned()),
                },
                file(Target::Secret, "/etc/mesosphere/secrets/d", "4"),
            ],
            tree: TreeManifest {
                schema: String::new(),
                tool: String::new(),
                variant: String::new(),
                bootstrap: BootstrapEntry {
                    id: "b".to_owned(),
                    packages: vec![],
                    path: String::new(),
                    sha256: digest,
                    size: 1,
                },
                packages: BTreeMap::from([("a--1".parse().unwrap(), entry)]),
                config: vec![],
            },
            check_bins: None,
            pkgpanda: digest,
            texts: BTreeMap::from([("dcos_install.sh".to_owned(), digest)]),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> String {
        let mut world = Self::new();
        change(&mut world);
        world.id()
    }

    fn id(&self) -> String {
        let inputs = Inputs {
            files: &self.files,
            tree: &self.tree,
            check_bins: self.check_bins.as_ref(),
            pkgpanda: self.pkgpanda,
            texts: &self.texts,
        };
        inputs.id().unwrap()
    }

    fn content(&mut self, at: usize) -> &mut Vec<u8> {
        match &mut self.files[at].body {
            Body::File { content, .. } => content,
            Body::Link(_) => panic!("a link has no content"),
        }
    }
}

#[test]
fn every_byte_of_everything_enters_the_id() {
    let other = Digest::of(b"y");
    let ids = [
        World::new().id(),
        World::with(|world| world.content(0).push(b'x')),
        World::with(|world| world.content(1).push(b'x')),
        World::with(|world| world.content(2).push(b'x')),
        World::with(|world| world.content(4).push(b'x')),
        World::with(|world| world.files[0].path.push('x')),
        World::with(|world| world.files[4].path.push('x')),
        World::with(|world| world.files[0].target = Target::Metadata),
        World::with(|world| world.files[0].body = Body::File { mode: 0o755, content: b"1".to_vec() }),
        World::with(|world| world.files[4].body = Body::File { mode: 0o600, content: b"4".to_vec() }),
        World::with(|world| world.files[3].body = Body::Link("/etc/mesosphere/secrets/e".to_owned())),
        World::with(|world| world.files.truncate(4)),
        World::with(|world| world.tree.bootstrap.id.push('x')),
        World::with(|world| world.tree.bootstrap.sha256 = other),
        World::with(|world| world.tree.packages.values_mut().for_each(|entry| entry.sha256 = other)),
        World::with(|world| world.tree.packages.clear()),
        World::with(|world| world.check_bins = Some("custom-check-bins--1".parse().unwrap())),
        World::with(|world| world.pkgpanda = other),
        World::with(|world| world.texts.values_mut().for_each(|digest| *digest = other)),
        World::with(|world| world.texts.clear()),
    ];
    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:#?}");
    assert!(ids.iter().all(|id| id.len() == 40), "{ids:?}");
}

#[test]
fn the_order_of_files_does_not_enter_the_id() {
    let secret = ConfigFile {
        target: Target::Secret,
        path: "/etc/mesosphere/secrets/a".to_owned(),
        body: Body::File { mode: 0o600, content: b"5".to_vec() },
    };
    let one = World::with(|world| world.files.push(secret.clone()));
    let other = World::with(|world| {
        world.files.push(secret);
        world.files.reverse();
    });
    assert_eq!(one, other);
}
