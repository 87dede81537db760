//! Where the files of packages go: directories are made and shared, all else is linked as it is.
//!
//! Nothing is ever merged through a symbolic link, not even one that leads to a directory: what was put there
//! would end up inside of another package.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::TreePath;

use super::package::WellKnown;
use super::{InstallRoot, Kind, LINKED, Package, Party, Problem, ROOT, SERVICE_CONFIGURATION, Unit, place};
use crate::{PackageId, Role, unit};

/// Longest target of a symbolic link, in bytes (`PATH_MAX` without its NUL).
const TARGET_MAX: usize = 4095;

/// Adds directories, links and units to `root`.
pub(super) fn link(
    packages: &[&Package],
    roles: &BTreeSet<Role>,
    root: &mut InstallRoot,
    problems: &mut BTreeSet<Problem>,
) {
    let mut links = Links::new(problems);
    for package in packages {
        for (path, kind) in &package.listing.shared {
            let components: Vec<&[u8]> = path.components().collect();
            let Some(known) = WellKnown::parse(components[0]) else { continue };
            if known.role.as_ref().is_some_and(|role| !roles.contains(role)) {
                continue;
            }
            let party = Party { package: Some(package.id.clone()), kind: *kind, path: path.clone() };
            if *kind == Kind::Special || (components.len() == 1 && *kind == Kind::File) {
                let expected =
                    if components.len() == 1 { "a directory" } else { "a file, a directory or a link" };
                links.flaw(&party, expected);
            } else if known.place == unit::WANTS {
                links.unit(&components, party, known.role);
            } else {
                links.claim(known.place, &components, party);
            }
        }
    }
    links.finish(root);
}

/// Where a link to a package's file leads.
pub(super) fn target(package: &PackageId, path: &TreePath) -> Box<[u8]> {
    let mut target = format!("{ROOT}/packages/{package}/").into_bytes();
    target.extend_from_slice(path.as_bytes());
    target.into()
}

/// Who has claimed what.
struct Links<'a> {
    claims: BTreeMap<TreePath, Party>,
    units: BTreeMap<String, (Party, Option<Role>)>,
    problems: &'a mut BTreeSet<Problem>,
}

impl<'a> Links<'a> {
    fn new(problems: &'a mut BTreeSet<Problem>) -> Self {
        let own = |path, kind| (place(path), Party { package: None, kind, path: place(path) });
        // A package may link all of `bin`; `etc` is never free.
        let claims = [own("etc", Kind::Directory), own(SERVICE_CONFIGURATION, Kind::File)].into();
        Self { claims, units: BTreeMap::new(), problems }
    }

    /// Claims what `components` of a package stand for, and every directory on the way.
    fn claim(&mut self, place: &str, components: &[&[u8]], party: Party) {
        let (mut to, mut from) = (TreePath::root(), TreePath::root());
        for (depth, name) in components.iter().enumerate() {
            to = to.join(if depth == 0 { place.as_bytes() } else { name });
            from = from.join(name);
            let last = depth + 1 == components.len();
            let kind = if last { party.kind } else { Kind::Directory };
            match self.claims.get(&to) {
                None => {
                    let party = Party { kind, path: from.clone(), ..party.clone() };
                    self.claims.insert(to.clone(), party);
                }
                Some(first) if first.kind == Kind::Directory && kind == Kind::Directory => {}
                Some(first) => {
                    let (path, first) = (to, first.clone());
                    let second = Party { kind, path: from, ..party };
                    self.problems.insert(Problem::Path { path, first, second });
                    return;
                }
            }
        }
        self.check_length(&party);
    }

    fn unit(&mut self, components: &[&[u8]], party: Party, role: Option<Role>) {
        match (components, party.kind) {
            ([_], Kind::Directory) => {}
            ([_], _) => self.flaw(&party, "a directory of units"),
            ([_, name], Kind::File | Kind::Symlink) => {
                let Some(name) = std::str::from_utf8(name).ok().filter(|name| unit::is_name(name)) else {
                    return self
                        .contents(&party, format!("is no name of a unit: expected {}", unit::EXPECTED));
                };
                self.check_length(&party);
                if unit::RESERVED.contains(&name) {
                    let package = party.package.expect("every file belongs to a package");
                    self.problems.insert(Problem::ReservedUnit { package, path: party.path });
                } else if let Some((first, _)) = self.units.get(name) {
                    let (name, first) = (name.to_owned(), first.clone());
                    self.problems.insert(Problem::Unit { name, first, second: party });
                } else {
                    self.units.insert(name.to_owned(), (party, role));
                }
            }
            ([_, _], _) => self.flaw(&party, "units only, with no directories between them"),
            // The directory that it lies in has been refused.
            _ => {}
        }
    }

    fn finish(self, root: &mut InstallRoot) {
        root.directories.extend(LINKED.map(place).into_iter().filter(|path| !self.claims.contains_key(path)));
        for (path, party) in self.claims {
            match (party.kind, party.package) {
                (Kind::Directory, _) => drop(root.directories.insert(path)),
                (_, Some(package)) => drop(root.links.insert(path, target(&package, &party.path))),
                // Written, not linked.
                (_, None) => {}
            }
        }
        for (name, (party, role)) in self.units {
            if let Some(package) = party.package {
                root.units.insert(name, Unit { package, path: party.path, role });
            }
        }
    }

    fn check_length(&mut self, party: &Party) {
        let Some(package) = &party.package else { return };
        let length = target(package, &party.path).len();
        if party.kind != Kind::Directory && length > TARGET_MAX {
            let reason =
                format!("needs a link of {length} bytes: expected a path that leaves it at {TARGET_MAX}");
            self.contents(party, reason);
        }
    }

    fn flaw(&mut self, party: &Party, expected: &str) {
        self.contents(party, format!("is {}: expected {expected}", party.kind.describe()));
    }

    fn contents(&mut self, party: &Party, reason: String) {
        if let Some(package) = party.package.clone() {
            self.problems.insert(Problem::Contents { package, path: party.path.clone(), reason });
        }
    }
}
