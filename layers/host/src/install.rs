//! A set of packages becomes an install root: what is linked, written, created and started on a host.
//!
//! [`InstallRoot::resolve`] is all or nothing. The result is plain data in sorted order, whatever the order of
//! the packages; [`InstallRoot::entries`] lists what to make, each directory before what it holds.

mod account;
mod link;
mod package;
mod problem;
mod set;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::TreePath;
use serde_json::Value;

use crate::{GroupName, PackageId, PackageName, Role, Sysctl, UserName};
pub use package::{Kind, Listing, Package};
pub use problem::{Party, Problem, Problems, Setting};

/// Where every host has its install root; links lead there, wherever they are made.
pub const ROOT: &str = "/opt/mesosphere";

/// Directories whose files are linked into the install root.
const LINKED: [&str; 4] = ["bin", "etc", "include", "lib"];

/// Where a host's settings for its services are written.
const SERVICE_CONFIGURATION: &str = "etc/dcos-service-configuration.json";

/// What a set of packages becomes on a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstallRoot {
    /// The active packages.
    pub active: BTreeMap<PackageName, PackageId>,
    /// Directories, relative to the install root.
    pub directories: BTreeSet<TreePath>,
    /// Symbolic links to files of packages, relative to the install root, with their absolute targets.
    /// Those in `active/` and to units are not among them.
    pub links: BTreeMap<TreePath, Box<[u8]>>,
    /// The variables of every package.
    pub environment: BTreeMap<PackageId, BTreeMap<String, String>>,
    /// The `buildinfo.full.json` of every package, if it has one.
    pub buildinfo: BTreeMap<PackageName, Option<Value>>,
    /// What `dcos.target` starts, by the unit's name.
    pub units: BTreeMap<String, Unit>,
    /// Users to create, with their primary group if they don't have one of their own.
    pub users: BTreeMap<UserName, Option<GroupName>>,
    /// Packages with a directory in `/var/lib/dcos`, and who owns it.
    pub state_directories: BTreeMap<PackageName, Option<UserName>>,
    /// Kernel settings of the services.
    pub sysctl: Sysctl,
}

/// A unit of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whose.
    pub package: PackageId,
    /// Its file, relative to the package.
    pub path: TreePath,
    /// The role that a host needs for it, if any.
    pub role: Option<Role>,
}

/// What to make at a path of an install root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory, mode 0755.
    Directory,
    /// A symbolic link with its target.
    Symlink(Box<[u8]>),
    /// A regular file with its content, mode 0644.
    File(Vec<u8>),
}

impl InstallRoot {
    /// Works out the install root of `packages` on a host with `roles`.
    ///
    /// # Errors
    /// Every reason why these packages do not fit together.
    pub fn resolve(packages: &[Package], roles: &BTreeSet<Role>) -> Result<Self, Problems> {
        let mut problems = BTreeSet::new();
        let packages = set::check(packages, &mut problems);
        let mut root = Self { sysctl: set::sysctl(&packages, &mut problems), ..Self::default() };
        for package in &packages {
            let (id, info) = (&package.id, &package.info);
            root.active.insert(id.name(), id.clone());
            root.environment.insert(id.clone(), info.environment.clone());
            root.buildinfo.insert(id.name(), package.buildinfo.clone());
            if info.state_directory {
                root.state_directories.insert(id.name(), info.username.clone());
            }
        }
        root.users = account::users(&packages, &mut problems);
        link::link(&packages, roles, &mut root, &mut problems);
        if problems.is_empty() { Ok(root) } else { Err(Problems(problems)) }
    }

    /// Whether `packages` fit together on a host without a role and on one with any single role that they
    /// know, so that a set that cannot be installed somewhere is found when it is put together.
    ///
    /// # Errors
    /// Every reason why they do not.
    pub fn check_every_role(packages: &[Package]) -> Result<(), Problems> {
        let roles: BTreeSet<Role> = packages.iter().flat_map(|package| package.listing.roles()).collect();
        let single = roles.into_iter().map(|role| BTreeSet::from([role]));
        let sets = std::iter::once(BTreeSet::new()).chain(single);
        let problems = sets.filter_map(|roles| Self::resolve(packages, &roles).err());
        let problems: BTreeSet<_> = problems.flat_map(|problems| problems.0).collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    /// Everything to make in the install root but the packages and the units, each directory before what it
    /// holds. The environment names `root`: [`ROOT`], or a generation's own directory.
    pub fn entries(&self, root: &str) -> BTreeMap<TreePath, Entry> {
        let mut entries = BTreeMap::from([(place("active"), Entry::Directory)]);
        entries.extend(self.directories.iter().map(|path| (path.clone(), Entry::Directory)));
        entries.extend(self.links.iter().map(|(path, to)| (path.clone(), Entry::Symlink(to.clone()))));
        let active = self.active.iter().map(|(name, id)| {
            let target = format!("{ROOT}/packages/{id}").into_bytes();
            (place("active").join(name.as_str().as_bytes()), Entry::Symlink(target.into()))
        });
        entries.extend(active);
        let files = [
            ("environment", text::environment(root, &self.environment)),
            ("environment.export", text::environment_export(root, &self.environment)),
            ("active.buildinfo.full.json", text::buildinfo(&self.buildinfo)),
            (SERVICE_CONFIGURATION, text::service_configuration(&self.sysctl)),
        ];
        entries.extend(files.map(|(path, bytes)| (place(path), Entry::File(bytes))));
        entries
    }

    /// The units as links in `dcos.target.wants` of the install root, where builds of other packages see them.
    pub fn unit_entries(&self) -> BTreeMap<TreePath, Entry> {
        let wants = place(crate::unit::WANTS);
        let units = self.units.iter().map(|(name, unit)| {
            (wants.join(name.as_bytes()), Entry::Symlink(link::target(&unit.package, &unit.path)))
        });
        units.chain([(wants.clone(), Entry::Directory)]).collect()
    }
}

/// A path that the rules themselves name.
fn place(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("a relative path without `..`")
}
