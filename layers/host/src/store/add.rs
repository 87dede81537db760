//! How packages come into the store: checked as a whole, on disk beside it, and there by one rename.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use bake_archive::{ArchiveError, OpenOptions, Opened, extract_at, open_overlay, remove_tree_at};
use bake_base::Digest;
use bake_tree::{Member, MemberKind, Policy, Tree, TreePath, ValidTree};
use rustix::fs::{Gid, Mode, RenameFlags, Uid};

use super::package::{of_tree, verify};
use crate::activate::leave::UNFINISHED;
use crate::assemble;
use crate::contents::CONTENTS;
use crate::generation::PACKAGES;
use crate::host::{Host, Lock};
use crate::{Failure, Package, PackageId, place};

/// What the name of a package's file ends in.
const SUFFIX: &str = ".tar.xz";

/// What became of a package that was to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there now. There may be something that the operator should know.
    Now(Option<String>),
    /// It was there, and is whole.
    Already,
}

/// The package whose file this is: `ID.tar.xz`.
///
/// # Errors
/// When the file is called otherwise.
pub fn id_of(archive: &Path) -> Result<PackageId, Failure> {
    let name = archive.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let expected = "expected a file called ID.tar.xz, where ID is a package name, `--`, and a version";
    let refused = || Failure::new(format!("`{}`: {expected}", archive.display()));
    name.strip_suffix(SUFFIX).and_then(|id| id.parse().ok()).ok_or_else(refused)
}

/// Whether a package is there, which is an error if it is damaged.
///
/// # Errors
/// When it is there and not what was built.
pub fn has(host: &Host, id: &PackageId) -> Result<bool, Failure> {
    let store = host.directory(PACKAGES)?;
    let found = place::stat(&store, id.as_str().as_bytes());
    if found.map_err(Failure::io("reading", host.shown(&format!("{PACKAGES}/{id}"))))?.is_none() {
        return Ok(false);
    }
    super::verify_package(host, id, super::known(host)?.get(id).copied())?;
    Ok(true)
}

/// Adds the package `id`, which `archive` holds; that has to have the digest `expected`, if there is one. A package
/// that is there stays as it is.
///
/// # Errors
/// When the archive is another one, damaged or no package; or the package is there and is damaged.
pub fn add(
    host: &Host,
    _lock: &Lock,
    id: &PackageId,
    archive: &Path,
    expected: Option<Digest>,
) -> Result<Added, Failure> {
    if has(host, id)? {
        return Ok(Added::Already);
    }
    let (members, policy) = open(host, archive, expected)?;
    put(host, id, members, policy).map(Added::Now)
}

/// Adds packages out of a bootstrap tarball, whose digest is `expected`. Says each one that is there then.
///
/// # Errors
/// As [`add`]; and when the tarball lacks one of them.
pub(crate) fn add_inside(
    host: &Host,
    _lock: &Lock,
    ids: &[PackageId],
    tarball: &Path,
    expected: Digest,
    added: &mut dyn FnMut(&PackageId, Option<String>),
) -> Result<(), Failure> {
    let (members, policy) = open(host, tarball, Some(expected))?;
    for id in ids {
        let top = place::path(&format!("{PACKAGES}/{id}"));
        let inside = members.iter().filter(|member| member.path.starts_with(&top));
        let inside = inside.map(|member| below(&top, member)).collect::<Result<Vec<_>, _>>()?;
        if inside.is_empty() {
            return Err(Failure::new(format!("`{}` holds no `{top}`", tarball.display())));
        }
        added(id, put(host, id, inside, policy)?);
    }
    Ok(())
}

/// A member of the package at `top` by its path in there.
fn below(top: &TreePath, member: &Member) -> Result<Member, Failure> {
    let inside = |path: &TreePath| {
        if !path.starts_with(top) {
            return Err(Failure::new(format!("`{}` links to `{path}`, out of its package", member.path)));
        }
        let components = path.components().skip(top.components().count());
        Ok(components.fold(TreePath::root(), |at, name| at.join(name)))
    };
    let mut member = Member { path: inside(&member.path)?, ..member.clone() };
    if let MemberKind::HardLink(target) = &mut member.kind {
        *target = inside(target)?;
    }
    Ok(member)
}

/// What an archive of packages holds, owned by root.
fn open(host: &Host, archive: &Path, expected: Option<Digest>) -> Result<(Vec<Member>, Policy), Failure> {
    let shown = archive.display();
    let named = |failure: Failure| {
        let wanted = expected.map(|digest| format!(": expected the file with sha256 {digest}"));
        Failure::new(format!("{failure}{}", wanted.unwrap_or_default()))
    };
    if !std::fs::metadata(archive).map_err(Failure::io("opening", &shown)).map_err(named)?.is_file() {
        return Err(Failure::new(format!("`{shown}` is no regular file")));
    }
    let scratch = host.root.scratch()?;
    let options =
        OpenOptions { scratch: scratch.path().to_owned(), preserve: true, ..OpenOptions::default() };
    let opened = open_overlay(archive, &options).map_err(|error| match error {
        // The machine's fault and not the file's.
        ArchiveError::Io { .. } => scratch.failure(&error),
        error => named(Failure::of(&error)),
    })?;
    let Opened { layers, inputs, .. } = opened;
    for input in inputs {
        let found = input.digest.wait().map_err(|error| Failure::of(&error))?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Failure::new(format!("`{shown}` has the digest {found}: expected {expected}")));
        }
    }
    let one = || Failure::new(format!("`{shown}` is no tar: expected the archive of a package"));
    let (mut members, policy) = layers.into_iter().next().ok_or_else(one)?;
    assemble::check(&members).map_err(Failure::each)?;
    for member in &mut members {
        (member.metadata.uid, member.metadata.gid) = (0, 0);
    }
    Ok((members, policy))
}

/// Makes the package out of its members, if it is one and is what its list of contents says.
fn put(host: &Host, id: &PackageId, members: Vec<Member>, policy: Policy) -> Result<Option<String>, Failure> {
    let mut tree = Tree::new();
    tree.apply(members, policy).map_err(Failure::each)?;
    put_tree(host, id, tree)
}

/// Adds a package that is not there out of a tree that holds it and nothing else.
///
/// # Errors
/// When it is no package, or not what its list of contents says.
pub(crate) fn add_tree(
    host: &Host,
    _lock: &Lock,
    id: &PackageId,
    tree: Tree,
) -> Result<Option<String>, Failure> {
    put_tree(host, id, tree)
}

fn put_tree(host: &Host, id: &PackageId, tree: Tree) -> Result<Option<String>, Failure> {
    let read = of_tree(id, tree).map_err(Failure::each)?;
    check_id(&read.package)?;
    let digest = verify(&read, super::known(host)?.get(id).copied()).map_err(Failure::each)?;
    let tree = ValidTree::new(read.tree).map_err(Failure::each)?;
    let store = host.directory(PACKAGES)?;
    let staged = format!(".{id}{UNFINISHED}");
    let shown = host.shown(&format!("{PACKAGES}/{staged}"));
    let remove = || remove_tree_at(&store, OsStr::new(&staged), Path::new(&shown));
    remove().map_err(|error| Failure::of(&error))?;
    let written = stage(&store, &staged, &tree, &shown).and_then(|()| {
        rustix::fs::renameat_with(&store, &staged, &store, id.as_str(), RenameFlags::NOREPLACE)
            .and_then(|()| rustix::fs::fsync(&store))
            .map_err(Failure::io("renaming", &shown))
    });
    if written.is_err() {
        // The first failure is the one to tell, and the next run removes what is left.
        let _ = remove();
    }
    let unknown = || format!("`{id}` has no {CONTENTS}: nobody can tell whether it is what was built");
    written.map(|()| digest.is_none().then(unknown))
}

/// Whether a package is the one that it comes as, if it says which it is.
fn check_id(package: &Package) -> Result<(), Failure> {
    let id = &package.id;
    let said = |key| package.buildinfo.as_ref()?.get(key)?.as_str();
    let (name, version) = (id.name(), id.version());
    let (found_name, found_version) =
        (said("name").unwrap_or(name.as_str()), said("package_version").unwrap_or(version.as_str()));
    if (found_name, found_version) == (name.as_str(), version.as_str()) {
        return Ok(());
    }
    let found = format!("{found_name}--{found_version}");
    let found = found.escape_debug();
    Err(Failure::new(format!("this is `{found}`, as its buildinfo.full.json says: expected `{id}`")))
}

/// Writes it, and has it on disk.
fn stage(store: &OwnedFd, name: &str, tree: &ValidTree, shown: &str) -> Result<(), Failure> {
    let made = rustix::fs::mkdirat(store, name, Mode::from_raw_mode(0o700));
    let made = made.and_then(|()| place::enter(store, name.as_bytes()));
    let stage = made.map_err(Failure::io("making", shown))?;
    if place::is_superuser() {
        rustix::fs::fchown(&stage, Some(Uid::ROOT), Some(Gid::ROOT)).map_err(Failure::io("making", shown))?;
    }
    let handle = rustix::io::fcntl_dupfd_cloexec(&stage, 0).map_err(Failure::io("opening", shown))?;
    extract_at(tree, shown, handle).map_err(|error| Failure::of(&error))?;
    rustix::fs::syncfs(&stage).map_err(Failure::io("syncing", shown))
}
