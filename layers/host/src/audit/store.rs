//! What the packages of a store should hold, by their own lists, which the records of generations vouch for.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use bake_base::{Digest, parallel};
use bake_tree::TreePath;

use super::scan::{self, Node, Scan};
use super::wanted::{Part, Shape, Wanted, WantedSet, plain};
use crate::contents::{CONTENTS, Contents, Entry, unescape};
use crate::generation::PACKAGES;
use crate::{Kind, Package, PackageId, PkgInfo, files};

/// The longest JSON file of a package, in bytes.
const LIMIT: u64 = 64 << 20;

/// A package that is there.
pub(crate) struct Stored {
    pub id: PackageId,
    /// What it should hold, by paths relative to the install root; none if nobody can tell, since its list is damaged
    /// or it has none.
    pub wanted: Option<WantedSet>,
    /// The digest of its list that a generation vouches for.
    pub vouched: Option<Digest>,
}

/// Reads the lists of all packages of a scanned install root. `vouched` says what records of generations know of a
/// package: nothing, that it has no list, or its digest.
pub(crate) fn read(
    home: &OwnedFd,
    scan: &Scan,
    vouched: &BTreeMap<PackageId, Option<Digest>>,
    threads: usize,
) -> Vec<Stored> {
    let ids: Vec<PackageId> = ids(scan);
    let stored = parallel::map(
        threads,
        ids.len(),
        || (),
        |(), at| {
            let id = &ids[at];
            Ok::<_, std::convert::Infallible>(stored(home, scan, id, vouched.get(id)))
        },
    );
    let Ok(stored) = stored;
    stored
}

/// The directories of a store that can be packages.
fn ids(scan: &Scan) -> Vec<PackageId> {
    let below = format!("{PACKAGES}/").into_bytes();
    let store = scan.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
    let id = |path: &[u8]| std::str::from_utf8(&path[below.len()..]).ok()?.parse().ok();
    let directories = store.filter(|(_, found)| found.node == Node::Directory);
    directories.filter_map(|(path, _)| id(path)).collect()
}

fn stored(home: &OwnedFd, scan: &Scan, id: &PackageId, vouched: Option<&Option<Digest>>) -> Stored {
    let mut stored = Stored { id: id.clone(), wanted: None, vouched: vouched.copied().flatten() };
    let list = scan.get(path(id, CONTENTS.as_bytes()).as_slice()).map(|found| &found.node);
    let there = match list {
        Some(Node::File(digest)) => *digest,
        _ => None,
    };
    // A package that was never active is known by nothing but its own list.
    let expected = match vouched {
        Some(vouched) => *vouched,
        None => there,
    };
    if expected.is_none() || expected != there {
        return stored;
    }
    stored.wanted = document(home, id, CONTENTS)
        .and_then(|bytes| {
            let parsed = serde_json::from_slice::<Contents>(&bytes).ok()?;
            Some((bytes, parsed))
        })
        .and_then(|(bytes, contents)| wanted(id, bytes, contents));
    stored
}

/// A path in the install root of what is at `path` of a package.
pub(crate) fn path(id: &PackageId, path: &[u8]) -> Vec<u8> {
    let top = format!("{PACKAGES}/{id}").into_bytes();
    if path.is_empty() { top } else { scan::join(&top, path) }
}

/// What the paths of everything in a package begin with.
pub(crate) fn path_below(id: &PackageId) -> Vec<u8> {
    format!("{PACKAGES}/{id}/").into_bytes()
}

fn document(home: &OwnedFd, id: &PackageId, name: &str) -> Option<Vec<u8>> {
    let directory = scan::open(home, format!("{PACKAGES}/{id}").as_bytes()).ok()?;
    files::read_at(&directory, name.as_bytes(), LIMIT).ok()
}

/// What a list says should be there; none if it says something impossible.
pub(crate) fn wanted(id: &PackageId, bytes: Vec<u8>, contents: Contents) -> Option<WantedSet> {
    let mut set = WantedSet::new();
    set.insert(path(id, b""), Wanted::directory(Part::State));
    let list = Shape::File { sha256: Digest::of(&bytes), size: Some(bytes.len() as u64), bytes: None };
    set.insert(path(id, CONTENTS.as_bytes()), Wanted { shape: list, mode: 0o644, part: Part::State });
    for (at, entry) in contents.entries {
        let at = unescape(&at)?;
        // Hostile lists name nothing outside of their package.
        if TreePath::parse(&at).ok()?.as_bytes() != at || at.is_empty() {
            return None;
        }
        let octal = |mode: &str| u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777);
        let (shape, mode) = match entry {
            Entry::Directory { mode } => (Shape::Directory, octal(&mode)?),
            Entry::File { mode, size, sha256 } => {
                (Shape::File { sha256, size: Some(size), bytes: None }, octal(&mode)?)
            }
            Entry::Symlink { target } => (Shape::Link(unescape(&target)?), 0),
        };
        set.insert(path(id, &at), Wanted { shape, mode, part: Part::State });
    }
    Some(set)
}

/// A package as the rules want it, from what it should hold: damage elsewhere in it changes nothing of what follows
/// from it.
///
/// # Errors
/// What of it is damaged that rules depend on.
pub(crate) fn package(home: &OwnedFd, scan: &Scan, stored: &Stored) -> Result<Package, String> {
    let id = &stored.id;
    let mut documents = Vec::new();
    for name in ["pkginfo.json", "buildinfo.full.json"] {
        let at = path(id, name.as_bytes());
        let there = match scan.get(&at).map(|found| &found.node) {
            Some(Node::File(digest)) => *digest,
            _ => None,
        };
        let expected = match &stored.wanted {
            None => there,
            Some(wanted) => match wanted.get(&at).map(|wanted| &wanted.shape) {
                Some(Shape::File { sha256, .. }) => Some(*sha256),
                _ => None,
            },
        };
        if expected != there {
            return Err(format!("{} is damaged", plain(&at)));
        }
        let bytes = expected.and_then(|_| document(home, id, name));
        documents.push(bytes.filter(|bytes| Some(Digest::of(bytes)) == expected));
    }
    let build = documents.pop().flatten();
    let info = documents.pop().flatten().ok_or_else(|| format!("{id} has no pkginfo.json"))?;
    let info = PkgInfo::parse(&info).map_err(|_| format!("pkginfo.json of {id} is damaged"))?;
    let build = build.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    let buildinfo = build.map_err(|_| format!("buildinfo.full.json of {id} is damaged"))?;
    let prefix = path(id, b"").len() + 1;
    let place = |path: &[u8]| TreePath::parse(path.get(prefix..)?).ok();
    let listing = match &stored.wanted {
        Some(wanted) => {
            let kind = |wanted: &Wanted| match wanted.shape {
                Shape::Directory => Kind::Directory,
                Shape::Link(_) => Kind::Symlink,
                Shape::File { .. } | Shape::Secret => Kind::File,
            };
            wanted.iter().filter_map(|(path, wanted)| Some((place(path)?, kind(wanted)))).collect()
        }
        None => {
            let below = path_below(id);
            let found = scan.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
            let kind = |node: &Node| match node {
                Node::Directory => Kind::Directory,
                Node::File(_) => Kind::File,
                Node::Link(_) => Kind::Symlink,
                Node::Special(_) => Kind::Special,
            };
            found.filter_map(|(path, found)| Some((place(path)?, kind(&found.node)))).collect()
        }
    };
    Ok(Package { id: id.clone(), info, buildinfo, listing })
}
