//! What a host has to have for a product to run on it: rules of the profile, checked before anything is written.
//!
//! Everything is read from the tree. Whatever a rule needs and the tree does not tell (the options of a kernel whose
//! configuration is not there, say) is a note, for a guess helps nobody.

mod accounts;
mod conf;
mod kernel;
mod security;
mod services;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{Directory, Follow, Node, Tree, TreePath};
use serde::Deserialize;

use crate::error::{Error, path};
use crate::policy::Mount;

/// Where programs are looked for.
const PROGRAMS: [&str; 6] = ["usr/bin", "usr/sbin", "bin", "sbin", "usr/local/bin", "usr/local/sbin"];
/// The largest file that is read, in bytes; but for indexes of modules.
const LIMIT: u64 = 1 << 20;

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Requirement {
    /// What it is called, for those who skip it.
    pub name: String,
    /// The packages of a product of which one makes this necessary; any product does if there are none.
    #[serde(default)]
    pub for_packages: Vec<String>,
    /// What has to be so.
    pub needs: Condition,
    /// Why.
    pub why: String,
    /// How to mend it.
    pub fix: String,
}

/// What can be asked of a tree.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Each of these programs is in a directory of programs.
    Programs(Vec<String>),
    /// Each of these paths leads to a file or directory.
    Paths(Vec<String>),
    /// None of these paths leads anywhere.
    Absent(Vec<String>),
    /// Each of these options (without `CONFIG_`) is built into the kernel or a module of its.
    KernelOptions(Vec<String>),
    /// Each of these modules is there, or built in.
    KernelModules(Vec<String>),
    /// At least this version of systemd.
    Systemd(u32),
    /// Each of these users is there, or made at boot.
    Users(Vec<String>),
    /// Each of these groups is there, or made at boot.
    Groups(Vec<String>),
    /// None of these units starts at boot.
    Inactive(Vec<String>),
    /// Each of these units is masked in `/etc`, wherever the unit itself is.
    Masked(Vec<String>),
    /// Something sets the network up at boot.
    Network,
    /// Where SELinux enforces a policy, it is one of these.
    SelinuxPolicies(Vec<String>),
    /// Docker keeps its images with a driver and on a file system that go together.
    DockerStore,
    /// Overlays can be made in these directories.
    OverlayDirectories(Vec<String>),
    /// Nothing of the operating system listens for names on port 53.
    #[serde(rename = "free-port-53")]
    FreePort53,
    /// The configuration says how large the journal may become.
    JournalSize,
    /// A service keeps the clock right, and starts at boot.
    TimeSync,
    /// A daemon of systemd is told this: where its unit is not in the tree, or what it does by itself is wrong.
    Setting {
        /// The daemon, such as `resolved`.
        of: String,
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// The values of which one will do; any will if there are none.
        #[serde(default)]
        values: Vec<String>,
    },
}

/// What came of a rule.
enum Verdict {
    Met,
    Broken(String),
    Unknown(String),
}

/// Checks that every name in `skipped` is a rule's.
///
/// # Errors
/// The first that is none.
pub(crate) fn check_names(requirements: &[Requirement], skipped: &[String]) -> Result<(), Error> {
    let is_unknown = |name: &&String| requirements.iter().all(|rule| rule.name != **name);
    let Some(unknown) = skipped.iter().find(is_unknown) else { return Ok(()) };
    let known: Vec<_> = requirements.iter().map(|rule| rule.name.as_str()).collect();
    let known = known.join(", ");
    Err(Error::Policy(format!("no requirement of the profile is called `{unknown}`: known are {known}")))
}

/// Checks the rules that the active `packages` make necessary, but for those in `skipped`. The tree has everything but
/// the `mounts` of the policy. Gives what could not be told.
///
/// # Errors
/// Every rule that is broken, all at once.
pub(crate) fn check(
    tree: &Tree,
    requirements: &[Requirement],
    packages: &BTreeSet<&str>,
    skipped: &[String],
    mounts: &BTreeMap<String, Mount>,
) -> Result<Vec<String>, Error> {
    let (mut broken, mut notes) = (Vec::new(), Vec::new());
    for rule in requirements {
        let is_needed = rule.for_packages.is_empty()
            || rule.for_packages.iter().any(|package| packages.contains(package.as_str()));
        if !is_needed || skipped.contains(&rule.name) {
            continue;
        }
        let Requirement { name, why, fix, .. } = rule;
        match rule.needs.judge(tree, mounts)? {
            Verdict::Met => {}
            Verdict::Broken(what) => {
                broken.push(format!("{name}: {what}, but {why}: {fix} (or skip it: --skip {name})"));
            }
            Verdict::Unknown(what) => {
                notes.push(format!("requirement {name} is not checked, for {what}: make sure of it: {why}"));
            }
        }
    }
    if broken.is_empty() { Ok(notes) } else { Err(Error::Requirements(broken)) }
}

impl Condition {
    fn judge(&self, tree: &Tree, mounts: &BTreeMap<String, Mount>) -> Result<Verdict, Error> {
        let is_there = |text: &str| Ok::<_, Error>(tree.lookup(&path(text)?, Follow::Last).is_some());
        match self {
            Self::Programs(names) => all(names, "program", |name| has_program(tree, name)),
            Self::Paths(paths) => all(paths, "path", |text| is_there(text)),
            Self::Absent(paths) => none(paths, "is there", |text| is_there(text)),
            Self::Users(names) => all(names, "user", |name| accounts::has_user(tree, name)),
            Self::Groups(names) => all(names, "group", |name| accounts::has_group(tree, name)),
            Self::KernelOptions(names) => kernel::options(tree, names),
            Self::KernelModules(names) => kernel::modules(tree, names),
            Self::Inactive(units) => none(units, "starts at boot", |unit| Ok(services::starts(tree, unit))),
            Self::Masked(units) => services::masked(tree, units),
            Self::Network => services::network(tree),
            Self::TimeSync => Ok(services::clock(tree)),
            Self::FreePort53 => services::port_53(tree),
            Self::SelinuxPolicies(policies) => security::selinux(tree, policies),
            Self::DockerStore => storage::docker(tree, mounts),
            Self::OverlayDirectories(directories) => storage::overlays(tree, mounts, directories),
            Self::Systemd(wanted) => systemd(tree, *wanted),
            Self::JournalSize => Ok(match conf::setting(tree, "journald", "Journal", "SystemMaxUse")? {
                Some(_) => Verdict::Met,
                None => Verdict::Broken("no SystemMaxUse= is in journald.conf or its drop-ins".to_owned()),
            }),
            Self::Setting { of, section, key, values } => setting(tree, of, section, key, values),
        }
    }
}

/// Broken when `has` does not hold for each of `names`.
fn all(names: &[String], kind: &str, has: impl Fn(&str) -> Result<bool, Error>) -> Result<Verdict, Error> {
    let mut missing = Vec::new();
    for name in names {
        if !has(name)? {
            missing.push(format!("`{name}`"));
        }
    }
    Ok(match missing.as_slice() {
        [] => Verdict::Met,
        [one] => Verdict::Broken(format!("the {kind} {one} is missing")),
        more => Verdict::Broken(format!("the {kind}s {} are missing", more.join(", "))),
    })
}

/// Broken when `is` holds for one of `names`.
fn none(names: &[String], what: &str, is: impl Fn(&str) -> Result<bool, Error>) -> Result<Verdict, Error> {
    for name in names {
        if is(name)? {
            return Ok(Verdict::Broken(format!("`{name}` {what}")));
        }
    }
    Ok(Verdict::Met)
}

/// Whether a file that may be executed has this name in one of the usual directories.
fn has_program(tree: &Tree, name: &str) -> Result<bool, Error> {
    for directory in PROGRAMS {
        let at = path(&format!("{directory}/{name}"))?;
        let inode = tree.lookup(&at, Follow::Last).map(|id| tree.inode(id));
        if inode.is_some_and(|inode| matches!(inode.node, Node::File(_)) && inode.metadata.mode & 0o111 != 0)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn setting(tree: &Tree, daemon: &str, section: &str, key: &str, values: &[String]) -> Result<Verdict, Error> {
    Ok(match conf::setting(tree, daemon, section, key)? {
        Some(value) if values.is_empty() || values.contains(&value) => Verdict::Met,
        Some(value) => Verdict::Broken(format!("{key}= of systemd-{daemon} is `{value}`")),
        None => Verdict::Broken(format!("no {key}= is in {daemon}.conf or its drop-ins")),
    })
}

fn systemd(tree: &Tree, wanted: u32) -> Result<Verdict, Error> {
    Ok(match systemd_version(tree)? {
        Some(found) if found >= wanted => Verdict::Met,
        Some(found) => {
            Verdict::Broken(format!("systemd is version {found}, and {wanted} is the oldest that does"))
        }
        None => Verdict::Unknown("the tree does not tell which systemd it has".to_owned()),
    })
}

/// The version that the name of systemd's own library tells.
fn systemd_version(tree: &Tree) -> Result<Option<u32>, Error> {
    let mut directories: Vec<_> = ["usr/lib/systemd", "lib/systemd", "usr/lib64/systemd"]
        .map(path)
        .into_iter()
        .collect::<Result<_, _>>()?;
    // Debian's, of all architectures.
    for libraries in ["usr/lib", "lib"] {
        let libraries = path(libraries)?;
        let triplets = names(tree, &libraries).filter(|name| name.ends_with(b"-linux-gnu"));
        directories.extend(triplets.map(|name| libraries.join(name).join(b"systemd")));
    }
    let mut newest: Option<u32> = None;
    for name in directories.iter().flat_map(|directory| names(tree, directory)) {
        let name = String::from_utf8_lossy(name);
        let version = name.strip_prefix("libsystemd-shared-").and_then(|rest| rest.strip_suffix(".so"));
        let digits =
            version.map(|version| version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
        newest = newest.max(digits.and_then(|digits| digits.parse().ok()));
    }
    Ok(newest)
}

/// The names in a directory; none when it is not there.
fn names<'a>(tree: &'a Tree, at: &TreePath) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let directory = tree.lookup(at, Follow::Last).and_then(|id| tree.inode(id).as_directory());
    directory.into_iter().flat_map(Directory::iter).map(|(name, _)| name)
}

#[cfg(test)]
mod tests;
