//! What should be in an install root beside its packages: the generation that is current, the links at the top, and
//! what else belongs there.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use bake_tree::TreePath;

use super::scan::{self, Found, Node, Scan};
use super::store::{self, Stored};
use super::wanted::{Part, Shape, Wanted, WantedSet};
use super::{CACHE, CACHE_UNFINISHED};
use crate::created::{CREATED, REPLACED};
use crate::generation::{
    self, CURRENT, GENERATIONS, Generation, Number, OVERRIDES, PACKAGES, PRODUCT, RECORD,
};
use crate::host::Present;
use crate::overrides::{self, Inside};
use crate::{Entry, Failure, InstallRoot, Package, PackageId, ROOT};

/// Where a generation keeps secrets that an upgrade has replaced.
const SECRETS: &str = "secrets";
/// Names at the top of an install root that no generation says anything of, and what file systems have at their top:
/// see [`own`](super::own).
const KNOWN: [&str; 6] = [CREATED, REPLACED, OVERRIDES, CACHE, CACHE_UNFINISHED, "lost+found"];
/// Those of them that a scan looks into.
const ENTERED: [&str; 2] = [REPLACED, OVERRIDES];

/// What follows from the packages and the record of the current generation.
pub(crate) struct Derived {
    /// By paths relative to the install root.
    pub wanted: WantedSet,
    /// What is the same whatever the roles, as lines of the digest `state`.
    pub common: Vec<String>,
    /// What the roles bring, as lines of the digest `host`.
    pub of_roles: Vec<String>,
}

/// Works out what the current generation should hold.
///
/// # Errors
/// What is too damaged for that, in words.
pub(crate) fn derive(
    home: &OwnedFd,
    scan: &Scan,
    stored: &[Stored],
    present: &Present,
) -> Result<Derived, Vec<String>> {
    let by_id: BTreeMap<&PackageId, &Stored> = stored.iter().map(|stored| (&stored.id, stored)).collect();
    let (mut packages, mut problems) = (Vec::<Package>::new(), Vec::new());
    for id in present.generation.active.keys() {
        match by_id.get(id).ok_or_else(|| format!("{id} is missing")) {
            Ok(stored) if stored.wanted.is_none() && stored.vouched.is_some() => {
                problems.push(format!("contents.json of {id} is damaged"));
            }
            Ok(stored) => match store::package(home, scan, stored) {
                Ok(package) => packages.push(package),
                Err(problem) => problems.push(problem),
            },
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let resolve = |roles| {
        InstallRoot::resolve(&packages, roles)
            .map_err(|found| found.0.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let root = resolve(&present.generation.roles)?;
    let common: Vec<_> = common_entries(&resolve(&BTreeSet::new())?);
    let record = rebuilt(&present.generation, &root);
    let number = present.number;
    let mut entries = record.entries(number, &root, present.product.as_deref());
    let mut shape = |id: &PackageId| {
        Ok::<_, Failure>(by_id.get(id).map(|stored| shape(scan, stored)).unwrap_or_default())
    };
    overrides::apply(&mut entries, number, &record.overrides, &mut shape)
        .map_err(|failure| failure.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
    let is_common: BTreeSet<&TreePath> = common.iter().map(|(path, _)| path).collect();
    let mut of_roles = Vec::new();
    let mut wanted = WantedSet::new();
    for (path, entry) in entries {
        let of_role =
            !is_common.contains(&path) && (path.as_bytes() == RECORD.as_bytes() || root_has(&root, &path));
        let wants = Wanted::entry(entry, if of_role { Part::Host } else { Part::State });
        if of_role && path.as_bytes() != RECORD.as_bytes() {
            of_roles.push(format!("entry {path} {}", wants.describe()));
        }
        wanted.insert(scan::join(number.directory().as_bytes(), path.as_bytes()), wants);
    }
    wanted.extend(top(present));
    let product = product(present);
    wanted.extend(product.clone().map(|wants| (product_path(number), wants)));
    let common = common
        .into_iter()
        .map(|(path, entry)| format!("entry {path} {}", Wanted::entry(entry, Part::State).describe()));
    let product = product.map(|wants| format!("entry {PRODUCT} {}", wants.describe()));
    Ok(Derived { wanted, common: common.chain(product).collect(), of_roles })
}

/// What a host without a role has, with the generation's own directory called by the link that leads there.
fn common_entries(root: &InstallRoot) -> Vec<(TreePath, Entry)> {
    let mut entries = root.entries(&format!("{ROOT}/{CURRENT}"));
    entries.extend(root.unit_entries());
    entries.into_iter().collect()
}

/// Whether an entry of a generation follows from its packages and roles, and not from overrides or its product.
fn root_has(root: &InstallRoot, path: &TreePath) -> bool {
    let wants = path.components().next() == Some(crate::unit::WANTS.as_bytes());
    wants || root.links.contains_key(path) || root.directories.contains(path)
}

/// The document of the product, which the record vouches for.
fn product(present: &Present) -> Option<Wanted> {
    if let Some(bytes) = &present.product {
        return Some(Wanted::file(bytes.clone(), 0o644, Part::State));
    }
    let shape = Shape::File { sha256: present.generation.product?, size: None, bytes: None };
    Some(Wanted { shape, mode: 0o644, part: Part::State })
}

/// Where the document of a generation's product lies.
pub(crate) fn product_path(number: Number) -> Vec<u8> {
    format!("{}/{PRODUCT}", number.directory()).into_bytes()
}

/// The record as it should be, given what only it can tell.
fn rebuilt(record: &Generation, root: &InstallRoot) -> Generation {
    let contents = |id: &PackageId| record.active.get(id).copied().flatten();
    let mut rebuilt = Generation::new(root, &record.roles, &record.seen, contents);
    rebuilt.overrides = record.overrides.clone();
    rebuilt.before = record.before;
    rebuilt.product = record.product;
    rebuilt.removing = record.removing;
    rebuilt
}

/// What a package holds, as overrides want it.
fn shape(scan: &Scan, stored: &Stored) -> overrides::Shape {
    let top = store::path(&stored.id, b"");
    let place = |path: &[u8]| TreePath::parse(path.get(top.len() + 1..)?).ok();
    match &stored.wanted {
        Some(wanted) => {
            let inside = |wanted: &Wanted| match &wanted.shape {
                Shape::Directory => Inside::Directory,
                Shape::File { .. } | Shape::Secret => Inside::File,
                Shape::Link(target) => Inside::Symlink(target.clone().into()),
            };
            wanted.iter().filter_map(|(path, wanted)| Some((place(path)?, inside(wanted)))).collect()
        }
        None => {
            let inside = |found: &Found| match &found.node {
                Node::Directory => Inside::Directory,
                Node::File(_) => Inside::File,
                Node::Link(target) => Inside::Symlink(target.clone().into()),
                Node::Special(_) => Inside::Special,
            };
            let below = [&top[..], b"/"].concat();
            let found = scan.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
            found.filter_map(|(path, found)| Some((place(path)?, inside(found)))).collect()
        }
    }
}

/// The directories and links that every install root has.
pub(crate) fn top(present: &Present) -> WantedSet {
    let number = present.number;
    // What is damaged belongs there all the same.
    let has_product = present.product.is_some() || present.generation.product.is_some();
    let links = generation::top_links(number, has_product);
    let links =
        links.into_iter().map(|(path, entry)| (path.as_bytes().to_vec(), Wanted::entry(entry, Part::State)));
    let directories = [String::new(), PACKAGES.to_owned(), GENERATIONS.to_owned(), number.directory()];
    let directories = directories.into_iter().map(|path| (path.into_bytes(), Wanted::directory(Part::State)));
    links.chain(directories).collect()
}

/// What something is that nothing says should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It belongs there.
    Known,
    /// Another generation.
    Generation(Number),
    /// What an upgrade has put by: a directory of root's alone.
    Secrets,
    /// A run that was killed has left it.
    Leftover,
    Unknown,
}

/// What is at `path` of an install root, of which `current` is the current generation.
pub(crate) fn stranger(path: &[u8], current: Number) -> Stranger {
    let (parent, name) = scan::split_path(path);
    let top = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    let is_one_of = |names: &[&str]| names.iter().any(|known| known.as_bytes() == top);
    if is_one_of(if parent.is_empty() { &KNOWN } else { &ENTERED }) {
        return Stranger::Known;
    }
    if parent == GENERATIONS.as_bytes()
        && let Some(number) = Number::parse(name)
    {
        return Stranger::Generation(number);
    }
    if parent == current.directory().as_bytes() && name == SECRETS.as_bytes() {
        return Stranger::Secrets;
    }
    let unfinished = name.starts_with(b".") && name.ends_with(b".unfinished");
    if unfinished || (parent.is_empty() && name == b".mesosphere.moving") {
        return Stranger::Leftover;
    }
    Stranger::Unknown
}

/// Whether a scan is to look into the directory at `path`.
pub(crate) fn enters(path: &[u8], current: Number) -> bool {
    match stranger(path, current) {
        Stranger::Known => ENTERED.iter().any(|entered| path.starts_with(entered.as_bytes())),
        Stranger::Secrets | Stranger::Leftover => false,
        Stranger::Generation(number) => number == current,
        Stranger::Unknown => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_an_install_root_is_told_from_what_does_not() {
        let number = |text: &str| Number::parse(text.as_bytes()).unwrap();
        for (path, expected) in [
            ("created.json", Stranger::Known),
            ("audit.cache", Stranger::Known),
            ("overrides", Stranger::Known),
            ("overrides/local/.x.unfinished", Stranger::Known),
            ("replaced/etc/file", Stranger::Known),
            ("lost+found/file", Stranger::Unknown),
            ("lost+found", Stranger::Known),
            ("packages/lost+found", Stranger::Unknown),
            ("generations/2", Stranger::Generation(number("2"))),
            ("generations/02", Stranger::Unknown),
            ("generations/.3.unfinished", Stranger::Leftover),
            ("packages/a--1/bin/.pkgpanda.unfinished", Stranger::Leftover),
            ("generations/2/secrets", Stranger::Secrets),
            ("generations/1/secrets", Stranger::Unknown),
            ("other", Stranger::Unknown),
        ] {
            assert_eq!(stranger(path.as_bytes(), number("2")), expected, "{path}");
        }
        assert!(enters(b"overrides/local", number("2")) && !enters(b"lost+found", number("2")));
        assert!(enters(b"generations/2", number("2")) && !enters(b"generations/1", number("2")));
    }
}
