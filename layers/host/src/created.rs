//! `created.json`: everything outside of the install root that the product made, so that its removal takes exactly
//! that away.
//!
//! What is to be made is written down before it is made: what is recorded and never made does no harm. What lies
//! there already and is as it should be is somebody else's, and is not recorded. What lies there and is different
//! is kept in [`REPLACED`] before it is replaced. Paths are those that links lead to, so that what is removed later
//! is what was made, wherever links lead by then.

mod ground;
mod keep;
mod lay;
mod parent;
mod plan;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use bake_tree::{Tree, TreePath};
use rustix::io::Errno;

use crate::generation::Generation;
use crate::host::HOME;
use crate::integration::{self, HostEntry};
use crate::place::{self, Root, path};
use crate::{Failure, GroupName, PackageName, Role, UserName};

pub(crate) use ground::Ground;
pub(crate) use keep::{Gone, place_of as kept_at, put_back, write};
pub(crate) use lay::Laid;
pub(crate) use parent::{drop_parent, finish_parent, is_unrecorded, make_parent, unrecord_parent};
use plan::Plan;
pub use record::{Origin, Record};

/// The record's name in the install root.
pub const CREATED: &str = "created.json";
/// Where an install root keeps what was replaced, by its path.
pub const REPLACED: &str = "replaced";
/// Where state directories lie.
pub(crate) const STATE: &str = "var/lib/dcos";
/// The files that hold accounts.
pub(crate) const ACCOUNTS: [&str; 4] = ["etc/passwd", "etc/shadow", "etc/group", "etc/gshadow"];
/// What tools leave beside those: what they were before, and a lock.
const BACKUPS: [&str; 4] = ["etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-"];
pub(crate) const ACCOUNTS_LOCK: &str = "etc/.pwd.lock";

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

/// Writes down what is about to be made, unless it is recorded or there already, and keeps what is going to be
/// replaced. Nothing is written if nothing is new.
pub(crate) fn note(root: &Root, things: &[Created]) -> Result<(), Failure> {
    let before = Record::read(root, &path(HOME))?;
    let Plan { record, keep } = plan::plan(root, &before, things)?;
    keep.iter().try_for_each(|path| keep::keep(root, path))?;
    record.replace(root, &before)
}

/// Writes the record of a host anew that has lost it: see [`rebuilt`].
pub(crate) fn rebuild(root: &Root, things: &[Created]) -> Result<(), Failure> {
    rebuilt(root, things)?.replace(root, &Record::default())
}

/// What the record of a host that has lost it would be: what is there just as `things` say counts as made for them.
/// Users and state do not: nobody can tell who made them.
pub(crate) fn rebuilt(root: &Root, things: &[Created]) -> Result<Record, Failure> {
    plan::rebuilt(root, things)
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

#[cfg(test)]
mod tests;
