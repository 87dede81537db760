//! What the rules need to know of a package.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{Follow, Node, Tree, TreePath};
use serde_json::Value;

use super::{InstallRoot, LINKED, Problem, Problems};
use crate::{PackageId, PkgInfo, Role, unit};

/// The largest JSON file of a package that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// A package that is to be active.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// Its id.
    pub id: PackageId,
    /// Its `pkginfo.json`.
    pub info: PkgInfo,
    /// Its `buildinfo.full.json`, if it has one.
    pub buildinfo: Option<Value>,
    /// Its files, as far as they matter to others.
    pub listing: Listing,
}

impl Package {
    /// Reads the package that lies in the directory `at` of a tree.
    ///
    /// # Errors
    /// Every problem of its directory and of its two JSON files.
    pub fn read(id: PackageId, tree: &Tree, at: &TreePath) -> Result<Self, Vec<Problem>> {
        let flaw = |path: &str, reason: String| Problem::Contents {
            package: id.clone(),
            path: super::place(path),
            reason,
        };
        let directory = tree.lookup(at, Follow::Parents);
        let Some(directory) = directory.filter(|id| tree.inode(*id).as_directory().is_some()) else {
            return Err(vec![flaw("", format!("is not there: expected a directory `{at}`"))]);
        };
        let mut problems = Vec::new();
        let mut file = |name: &str| {
            read_file(tree, at, name).unwrap_or_else(|reason| {
                problems.push(flaw(name, reason));
                None
            })
        };
        let (info, build) = (file("pkginfo.json"), file("buildinfo.full.json"));
        if info.is_none() && problems.is_empty() {
            problems.push(flaw("pkginfo.json", "is missing: expected an object, if only `{}`".to_owned()));
        }
        let info =
            info.map_or(Ok(PkgInfo::default()), |bytes| PkgInfo::parse(&bytes)).unwrap_or_else(|found| {
                problems
                    .extend(found.into_iter().map(|problem| Problem::Info { package: id.clone(), problem }));
                PkgInfo::default()
            });
        let buildinfo =
            build.map(|bytes| serde_json::from_slice(&bytes)).transpose().unwrap_or_else(|error| {
                problems.push(flaw("buildinfo.full.json", format!("is no JSON: {error}")));
                None
            });
        let listing = tree.walk_from(directory).map(|(path, id)| (path, Kind::of(&tree.inode(id).node)));
        let listing = listing.collect();
        if problems.is_empty() { Ok(Self { id, info, buildinfo, listing }) } else { Err(problems) }
    }

    /// Whether any host could accept the package, whichever others are there: what is known as soon as it is
    /// built.
    ///
    /// # Errors
    /// Every reason why none could.
    pub fn check(&self) -> Result<(), Problems> {
        let info = PkgInfo { requires: BTreeSet::new(), ..self.info.clone() };
        InstallRoot::check_every_role(&[Self { info, ..self.clone() }])
    }
}

/// The bytes of a package's own file: what a link leads to may belong to anybody.
fn read_file(tree: &Tree, at: &TreePath, name: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(id) = tree.lookup(&at.join(name.as_bytes()), Follow::Parents) else { return Ok(None) };
    let Node::File(content) = &tree.inode(id).node else {
        return Err(format!("is {}: expected a regular file", tree.inode(id).node.describe()));
    };
    content.read_all(LIMIT).map(Some).map_err(|error| format!("cannot be read: {error}"))
}

/// What something in a package is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, wherever it leads.
    Symlink,
    /// A device, a fifo or a socket.
    Special,
}

impl Kind {
    fn of(node: &Node) -> Self {
        match node {
            Node::Directory(_) => Self::Directory,
            Node::File(_) => Self::File,
            Node::Symlink(_) => Self::Symlink,
            Node::CharDevice(_) | Node::BlockDevice(_) | Node::Fifo => Self::Special,
        }
    }

    /// What it is called in messages.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File => "a regular file",
            Self::Symlink => "a symbolic link",
            Self::Special => "a special file",
        }
    }
}

/// The files of a package that matter to others: what lies in well-known directories, and which services
/// there are. Collected from all of the package's paths, relative to it, in any order; each path is
/// given once, and what holds something else is a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What lies in well-known directories, and these themselves.
    pub(super) shared: BTreeMap<TreePath, Kind>,
    /// Units of services anywhere, without `.service`.
    pub(super) services: BTreeSet<String>,
}

impl FromIterator<(TreePath, Kind)> for Listing {
    fn from_iter<T: IntoIterator<Item = (TreePath, Kind)>>(paths: T) -> Self {
        let mut listing = Self::default();
        for (path, kind) in paths {
            let name = path.components().last().and_then(|name| std::str::from_utf8(name).ok());
            if let Some(service) = name.and_then(|name| name.strip_suffix(".service"))
                && matches!(kind, Kind::File | Kind::Symlink)
            {
                listing.services.insert(service.to_owned());
            }
            if path.components().next().and_then(WellKnown::parse).is_some() {
                listing.shared.insert(path, kind);
            }
        }
        listing
    }
}

impl Listing {
    /// Every role that something in the package is for.
    pub fn roles(&self) -> BTreeSet<Role> {
        let first = self.shared.keys().filter_map(|path| path.components().next());
        first.filter_map(|name| WellKnown::parse(name)?.role).collect()
    }
}

/// What a well-known directory of a package is called: `bin`, or `bin_master`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WellKnown {
    /// Where it goes.
    pub place: &'static str,
    /// On which hosts, unless on all.
    pub role: Option<Role>,
}

impl WellKnown {
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        LINKED.into_iter().chain([unit::WANTS]).find_map(|place| {
            let role = match name.strip_prefix(place)? {
                "" => None,
                suffix => Some(suffix.strip_prefix('_')?.parse().ok()?),
            };
            Some(Self { place, role })
        })
    }
}
