//! What a host keeps outside of its install root: files of the product, secrets, what starts everything at boot,
//! and roles.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bake_base::{Digest, names};
use bake_tree::TreePath;
use rustix::io::Errno;

use super::read::open;
use super::report::What;
use super::scan::{Found, Node};
use super::wanted::{At, Judged, Part, Wanted, WantedSet, compare, plain};
use super::{difference, not_there};
use crate::integration::{self, HostEntry};
use crate::place::{self, Root};
use crate::product::Product;
use crate::{Failure, Role, files};

/// The longest of these files, in bytes.
const LIMIT: u64 = 64 << 20;

/// The directories that hold the roles, the outer one first.
pub(crate) const DIRECTORIES: [&str; 2] = ["etc/mesosphere", integration::ROLES];

/// What should be there, by paths relative to the root of the host.
///
/// # Errors
/// What the product says that no host can have.
pub(crate) fn wanted(product: Option<&Product>) -> Result<WantedSet, Failure> {
    let file = |(path, file): (TreePath, HostEntry)| {
        (path.as_bytes().to_vec(), Wanted::file(file.content, file.mode.into(), Part::State))
    };
    let mut set: WantedSet = integration::files().into_iter().map(file).collect();
    let (link, target) = integration::ENABLED;
    set.insert(link.as_bytes().to_vec(), Wanted::link(target, Part::State));
    if let Some(product) = product {
        set.extend(integration::product_files(product).map_err(Failure::each)?.into_iter().map(file));
        let secrets = integration::secret_paths(product).map_err(Failure::each)?;
        set.extend(secrets.into_keys().map(|path| (path.as_bytes().to_vec(), Wanted::secret())));
    }
    Ok(set)
}

/// Every way in which what is there differs from it.
pub(crate) fn judge(root: &Root, wanted: &WantedSet, owned: bool) -> Vec<Judged> {
    let mut judged = Vec::new();
    for (path, wanted) in wanted {
        let at = At::Host(path.clone());
        match find(root, path, wanted) {
            Ok(found) => judged.extend(compare(&at, wanted, found.as_ref(), owned)),
            // Something on the way is no directory.
            Err(failure) => {
                let found = plain(failure.to_string().as_bytes());
                judged.push(difference(at, What::Unreadable, wanted.describe(), found, wanted.part));
            }
        }
    }
    judged
}

/// What is at a path of the host.
pub(crate) fn find(root: &Root, path: &[u8], wanted: &Wanted) -> Result<Option<Found>, Failure> {
    let path = TreePath::parse(path).map_err(|error| Failure::of(&error))?;
    let Some((parent, name)) = path.split() else { return Ok(None) };
    let Some(directory) = root.find(&parent)? else { return Ok(None) };
    look(&directory, name, wanted).map_err(Failure::io("reading", root.shown(&path)))
}

fn look(directory: &OwnedFd, name: &[u8], wanted: &Wanted) -> Result<Option<Found>, Errno> {
    let Some(stat) = place::stat(directory, name)? else { return Ok(None) };
    let mut found = Found::of(&stat);
    match &mut found.node {
        Node::Link(target) => {
            *target = rustix::fs::readlinkat(directory, OsStr::from_bytes(name), Vec::new())?.into_bytes();
        }
        // What is secret is never read.
        Node::File(digest) if wanted.shape != super::wanted::Shape::Secret => {
            match open(directory, name).map(|_| files::read_at(directory, name, LIMIT)) {
                Ok(Ok(bytes)) => *digest = Some(Digest::of(&bytes)),
                Ok(Err(error)) => found.trouble = Some(error.to_string()),
                Err(error) => found.trouble = Some(error.to_string()),
            }
        }
        _ => {}
    }
    Ok(Some(found))
}

/// What is no directory of those that hold the roles: through a link, they would be somebody else's.
fn in_the_way(root: &Root) -> Result<Option<Judged>, Failure> {
    let wanted = Wanted::directory(Part::Host);
    for path in DIRECTORIES {
        let Some(found) = find(root, path.as_bytes(), &wanted)? else { continue };
        if found.node != Node::Directory {
            let (at, found) = (At::Host(path.into()), found.describe());
            return Ok(Some(difference(at, What::Type, wanted.describe(), found, Part::Host)));
        }
    }
    Ok(None)
}

/// Whether the directory of roles says what the current generation does.
pub(crate) fn roles(root: &Root, roles: &BTreeSet<Role>) -> Result<Vec<Judged>, Failure> {
    if let Some(judged) = in_the_way(root)? {
        return Ok(vec![judged]);
    }
    let at = place::path(integration::ROLES);
    let there = match root.find(&at)? {
        Some(directory) => names(&directory).map_err(Failure::io("reading", root.shown(&at)))?,
        None => Vec::new(),
    };
    let there: BTreeSet<Vec<u8>> = there.into_iter().filter(|name| !name.starts_with(b".")).collect();
    let wanted: BTreeSet<Vec<u8>> = roles.iter().map(|role| role.as_str().as_bytes().to_vec()).collect();
    let at = |name: &[u8]| At::Derived(format!("/{}/{}", integration::ROLES, plain(name)));
    let missing = wanted.difference(&there).map(|name| {
        difference(at(name), What::Missing, "a role of the current generation", "nothing", Part::Host)
    });
    let extra = there
        .difference(&wanted)
        .map(|name| difference(at(name), What::Extra, not_there(), "a role", Part::Host));
    Ok(missing.chain(extra).collect())
}
