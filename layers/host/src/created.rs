//! `created.json`: everything outside of the install root that the product made, so that its removal takes exactly
//! that away.
//!
//! What is to be made is written down before it is made: what is recorded and never made does no harm. What lies
//! there already and is as it should be is somebody else's, and is not recorded. What lies there and is different
//! is kept in [`REPLACED`] before it is replaced. Paths are those that links lead to, so that what is removed later
//! is what was made, wherever links lead by then.

mod ground;
mod keep;
mod parent;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use bake_base::json;
use bake_tree::{Content, EditError, Follow, Metadata, Node, Tree, TreePath};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::files::{self, read};
use crate::generation::{Generation, Number, RECORD as GENERATION};
use crate::host::HOME;
use crate::integration::{self, HostEntry};
use crate::place::{self, Root, path};
use crate::{Failure, GroupName, PackageName, Role, UserName};

pub(crate) use ground::Ground;
pub(crate) use keep::{Gone, place_of as kept_at, put_back, write};
pub(crate) use parent::{drop_parent, finish_parent, is_unrecorded, make_parent, unrecord_parent};
use plan::Plan;

/// The revision of the record's format.
const SCHEMA: &str = "bake-created-1";
/// The record's name in the install root.
pub const CREATED: &str = "created.json";
/// Where an install root keeps what was replaced, by its path.
pub const REPLACED: &str = "replaced";
/// The longest record, in bytes.
const LIMIT: u64 = 64 << 20;
/// Where state directories lie.
const STATE: &str = "var/lib/dcos";
/// The files that hold accounts.
pub(crate) const ACCOUNTS: [&str; 4] = ["etc/passwd", "etc/shadow", "etc/group", "etc/gshadow"];
/// What tools leave beside those: what they were before, and a lock.
const BACKUPS: [&str; 4] = ["etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-"];
pub(crate) const ACCOUNTS_LOCK: &str = "etc/.pwd.lock";

/// The record. Paths are absolute, and never lead through a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: String,
    /// Directories: removed if they are empty by then.
    pub directories: BTreeSet<String>,
    /// Files and links.
    pub files: BTreeMap<String, Origin>,
    /// Those of `files` in whose place something else was: it is kept in the install root.
    pub replaced: BTreeSet<String>,
    /// Directories that are removed with everything in them.
    pub state: BTreeSet<String>,
    /// Users.
    pub users: BTreeSet<UserName>,
    /// Groups.
    pub groups: BTreeSet<String>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Has the product started at boot.
    Host,
    /// Came with the product, and goes when another product lacks it.
    Product,
    /// A secret of the product.
    Secret,
    /// Says what the host is.
    Role,
    /// Holds accounts: removed if nothing is left in it.
    Accounts,
    /// Left by tools that change accounts.
    Tool,
}

/// Something outside of the install root that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// A file: what it will be, if that is known.
    File(TreePath, Origin, Option<HostEntry>),
    /// A symbolic link with its target.
    Link(TreePath, String),
    /// A directory that is removed with everything in it.
    State(TreePath),
    /// A user; without a group that exists, it gets one of its own name.
    User(UserName, Option<GroupName>),
}

/// Everything that a product has outside of its install root.
#[derive(Clone, Copy, Debug)]
pub struct Belongings<'a> {
    /// Files of the product.
    pub files: &'a BTreeMap<TreePath, HostEntry>,
    /// Where its secrets go.
    pub secrets: &'a BTreeSet<TreePath>,
    /// What the host is.
    pub roles: &'a BTreeSet<Role>,
    /// Users of its packages, with their primary group if they have none of their own.
    pub users: &'a BTreeMap<UserName, Option<GroupName>>,
    /// Packages with a directory for their state.
    pub state_directories: &'a BTreeMap<PackageName, Option<UserName>>,
}

impl Belongings<'_> {
    /// All of it, one by one.
    pub fn created(&self) -> Vec<Created> {
        let entry = |origin| {
            move |(path, file): (&TreePath, &HostEntry)| {
                Created::File(path.clone(), origin, Some(file.clone()))
            }
        };
        let mut all: Vec<Created> = self.files.iter().map(entry(Origin::Product)).collect();
        all.extend(integration::files().iter().map(entry(Origin::Host)));
        all.extend(self.secrets.iter().map(|path| Created::File(path.clone(), Origin::Secret, None)));
        all.extend(self.roles.iter().map(role));
        let (link, target) = integration::ENABLED;
        all.push(Created::Link(path(link), target.to_owned()));
        all.extend(accounts(self.users, self.state_directories));
        all
    }
}

/// The file that says that a host has a role.
pub(crate) fn role(role: &Role) -> Created {
    let file = HostEntry { mode: 0o644, content: Vec::new() };
    Created::File(path(&format!("{}/{role}", integration::ROLES)), Origin::Role, Some(file))
}

/// The users and state directories of a generation, for [`note`].
pub(crate) fn of_generation(generation: &Generation) -> Vec<Created> {
    accounts(&generation.users, &generation.state_directories)
}

fn accounts(
    users: &BTreeMap<UserName, Option<GroupName>>,
    state_directories: &BTreeMap<PackageName, Option<UserName>>,
) -> Vec<Created> {
    let users = users.iter().map(|(user, group)| Created::User(user.clone(), group.clone()));
    let state = state_directories.keys().map(|name| Created::State(path(&format!("{STATE}/{name}"))));
    let top = (!state_directories.is_empty()).then(|| Created::State(path(STATE)));
    users.chain(top).chain(state).collect()
}

impl Default for Record {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            directories: BTreeSet::new(),
            files: BTreeMap::new(),
            replaced: BTreeSet::new(),
            state: BTreeSet::new(),
            users: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("is no record of what was created: {error}"))?;
        if record.schema != SCHEMA {
            return Err(format!(
                "has the schema `{}`: expected {SCHEMA}; take a newer pkgpanda",
                record.schema
            ));
        }
        let paths = record.directories.iter().chain(record.files.keys()).chain(&record.replaced);
        for path in paths.chain(&record.state) {
            let place = TreePath::from_root(path.as_bytes()).map_err(|error| format!("names {error}"))?;
            let home = self::path(HOME);
            if place.is_root() || shown(&place)? != *path || place.starts_with(&home) {
                return Err(format!("names `{path}`: expected an absolute path outside of /{HOME}"));
            }
        }
        let is_state = |path: &&String| path.ends_with("/dcos") || path.contains("/dcos/");
        match record.state.iter().find(|path| !is_state(path)) {
            None => Ok(record),
            Some(path) => Err(format!("names the state directory `{path}`: expected /{STATE} and below")),
        }
    }

    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_canonical(self).expect("its keys are texts")
    }

    /// That of an install root, which is empty if there is none.
    pub(crate) fn read(root: &Root, home: &TreePath) -> Result<Self, Failure> {
        let at = home.join(CREATED.as_bytes());
        let Some(bytes) = read(root, &at, LIMIT)? else { return Ok(Self::default()) };
        Self::parse(&bytes).map_err(|reason| Failure::new(format!("`{}` {reason}", root.shown(&at))))
    }

    /// Writes the record of a host, unless it is the one `before`.
    pub(crate) fn replace(&self, root: &Root, before: &Self) -> Result<(), Failure> {
        if self == before {
            return Ok(());
        }
        let file = HostEntry { mode: 0o644, content: self.to_json() };
        files::put(root, &path(HOME).join(CREATED.as_bytes()), &file).map(drop)
    }
}

/// Writes down what is about to be made, unless it is recorded or there already, and keeps what is going to be
/// replaced. Nothing is written if nothing is new.
pub(crate) fn note(root: &Root, things: &[Created]) -> Result<(), Failure> {
    let before = Record::read(root, &path(HOME))?;
    let Plan { record, keep } = plan::plan(root, &before, things)?;
    keep.iter().try_for_each(|path| keep::keep(root, path))?;
    record.replace(root, &before)
}

/// Directories that making the install root is going to make: those above it, and where it is a link to.
pub(crate) fn above_home(root: &Root) -> Result<Vec<TreePath>, Failure> {
    let home = path(HOME);
    let mut missing = ground::resolve(root, &home.join(CREATED.as_bytes()))?.missing;
    missing.retain(|path| *path != home);
    Ok(missing)
}

/// Takes away files of earlier products, and forgets them: recorded ones that are none of `wanted`. Says which.
pub(crate) fn drop_stale<'a>(
    root: &Root,
    wanted: impl Iterator<Item = &'a TreePath>,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let before = Record::read(root, &path(HOME))?;
    let mut record = before.clone();
    let wanted = wanted.map(|path| shown(&ground::resolve(root, path)?.path).map_err(Failure::new));
    let wanted = wanted.collect::<Result<BTreeSet<String>, Failure>>()?;
    let is_stale =
        |(path, origin): &(&String, &Origin)| **origin == Origin::Product && !wanted.contains(*path);
    for (recorded, _) in before.files.iter().filter(is_stale) {
        let replaced = before.replaced.contains(recorded);
        if keep::put_back(root, &path(HOME), &place_of(recorded), replaced)? != Gone::Not {
            say(format!("removed {recorded}, which the product has no more"));
        }
        record.files.remove(recorded);
        record.replaced.remove(recorded);
    }
    record.replace(root, &before)
}

/// A record and everything that it says is kept, on their way into an install root.
pub(crate) struct Laid {
    record: Record,
    kept: BTreeMap<TreePath, (Metadata, Node)>,
}

impl Laid {
    /// What an install root is to have when `things` are going to be made in `ground`.
    pub(crate) fn new(ground: &dyn Ground, things: &[Created]) -> Result<Self, Failure> {
        let Plan { record, keep } = plan::plan(ground, &Record::default(), things)?;
        let kept = keep.into_iter().map(|path| Ok((path.clone(), ground.original(&path)?)));
        Ok(Self { record, kept: kept.collect::<Result<_, Failure>>()? })
    }

    /// With directories that are there by now, and are ours.
    pub(crate) fn with(mut self, made: &[TreePath]) -> Result<Self, Failure> {
        for path in made {
            self.record.directories.insert(shown(path).map_err(Failure::new)?);
        }
        Ok(self)
    }

    /// Puts it into the install root at `at` of a tree, as old as the first generation.
    pub(crate) fn lay(self, tree: &mut Tree, at: &TreePath) -> Result<(), Failure> {
        let below = |path: &TreePath| path.components().fold(at.clone(), |at, name| at.join(name));
        let generation = below(&path(&format!("{}/{GENERATION}", Number::FIRST.directory())));
        let time = tree.lookup(&generation, Follow::Parents);
        let time = time.map_or(Metadata::AT_EPOCH, |id| tree.inode(id).metadata.mtime);
        let dated = |mode| Metadata { mtime: time, ..Metadata::root(mode) };
        let put = |tree: &mut Tree| {
            let content = Node::File(Content::bytes(self.record.to_json()));
            tree.put(&at.join(CREATED.as_bytes()), dated(0o644), content)?;
            for (path, (metadata, node)) in self.kept {
                let kept = keep::place_of(at, &path);
                let mut directory = TreePath::root();
                let (parent, _) = kept.split().expect("it lies in the install root");
                for name in parent.components() {
                    directory = directory.join(name);
                    tree.make_directory(&directory, dated(0o755))?;
                }
                tree.put(&kept, metadata, node)?;
            }
            Ok(())
        };
        put(tree).map_err(|error: EditError| Failure::of(&error))
    }
}

/// Puts the record of what a product is about to get in this very tree into its install root at `at`, with what
/// will be replaced.
///
/// # Errors
/// When something is in the way.
pub fn lay(tree: &mut Tree, at: &TreePath, belongings: &Belongings) -> Result<(), Failure> {
    Laid::new(tree, &belongings.created())?.lay(tree, at)
}

/// A path as the record has it.
fn shown(path: &TreePath) -> Result<String, String> {
    let text = std::str::from_utf8(path.as_bytes());
    let escaped = || format!("`/{}` is no UTF-8 text: rename it", path.as_bytes().escape_ascii());
    text.map(|text| format!("/{text}")).map_err(|_| escaped())
}

/// A path of the record.
pub(crate) fn place_of(recorded: &str) -> TreePath {
    TreePath::from_root(recorded.as_bytes()).expect("it was checked when the record was read")
}

/// The same place, through no link; what is there itself may be a link.
pub(crate) fn physical(root: &Root, at: &TreePath) -> Result<TreePath, Failure> {
    ground::resolve(root, at).map(|spot| spot.path)
}

/// Whether anything lies there, be it a link.
pub(crate) fn lies_there(root: &Root, at: &TreePath) -> Result<bool, Failure> {
    ground::resolve(root, at).map(|spot| spot.there.is_some())
}

/// The directory of a physical path, through no link; none if it is not there, or a link by now.
pub(crate) fn enter(root: &Root, at: &TreePath) -> Result<Option<OwnedFd>, Failure> {
    let Some(mut directory) = root.find(&TreePath::root())? else { return Ok(None) };
    for name in at.components() {
        match place::enter(&directory, name) {
            Ok(below) => directory = below,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(Failure::io("opening", root.shown(at))(error)),
        }
    }
    Ok(Some(directory))
}
