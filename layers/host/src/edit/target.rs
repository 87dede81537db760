//! Which file of which package a path of the host means.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_tree::TreePath;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::contents::CONTENTS;
use crate::generation::{GENERATIONS, Number, OVERRIDES, PACKAGES, PRODUCT, RECORD, SHOWN};
use crate::host::{HOME, Host, Present};
use crate::name::PKGPANDA;
use crate::place::{self, MAX_LINKS};
use crate::{Failure, PackageId, overrides, unit};

/// Where units of packages are copied to at each boot.
const UNITS: &str = "run/systemd/system";
/// Files of the install root that no package has, and what they are made from.
const GENERATED: [(&str, &str); 6] = [
    (
        "environment",
        "is made from `environment` of every package's pkginfo.json: change a unit that needs more",
    ),
    ("environment.export", "is made from `environment` of every package's pkginfo.json"),
    ("active.buildinfo.full.json", "is made from every package's buildinfo.full.json"),
    ("etc/dcos-service-configuration.json", "is made from `sysctl` of every package's pkginfo.json"),
    (RECORD, "is the record that the generation is known by"),
    (PRODUCT, "is the document that the host was installed from"),
];
/// Files of a package that are read from the store alone.
const READ_ONCE: [&str; 3] = ["pkginfo.json", "buildinfo.full.json", CONTENTS];

/// A regular file of an active package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose.
    pub package: PackageId,
    /// The file, relative to the package.
    pub path: String,
}

/// Where a path leads.
struct Led {
    /// Whether anything is there.
    is_there: bool,
    /// Through no link, relative to the root of the host.
    to: TreePath,
    /// The last link on the way that lies in the install root, and where it leads.
    through: Option<(TreePath, Vec<u8>)>,
}

impl Target {
    /// The file that an operator means: by a path of the install root, absolute or relative to it, through whatever
    /// links it leads, or by a unit in `/run/systemd/system` or its name.
    ///
    /// # Errors
    /// When it is no file that can be changed: why, and what to do instead.
    pub fn find(host: &Host, present: &Present, given: &OsStr) -> Result<Self, Failure> {
        let asked = given.to_string_lossy();
        let refuse = |reason: &str| Err(Failure::new(format!("`{}` {reason}", asked.escape_debug())));
        if given.is_empty() {
            return refuse("is no path: expected one below /opt/mesosphere, or the name of a unit");
        }
        let start = match start(given.as_bytes(), present.number) {
            Ok(start) => start,
            Err(reason) => return refuse(&reason),
        };
        let home = follow(host, &place::path(HOME), &TreePath::root())?;
        if !home.is_there {
            return Err(Failure::new("the install root is not there"));
        }
        let home = home.to;
        let led = follow(host, &start, &home)?;
        if !led.is_there {
            let lost = below(&led.to, &home).and_then(|inside| lost(&inside, present));
            let Some(target) = lost else { return refuse("is not there") };
            return check_regular(host, &target).map(|()| target);
        }
        let Some(inside) = below(&led.to, &home) else {
            return match &led.through {
                Some((link, target)) => Err(Failure::new(format!(
                    "`{}` leads out of the install root: the link `{link}` leads to `{}`",
                    asked.escape_debug(),
                    target.escape_ascii()
                ))),
                None => refuse("does not lie in /opt/mesosphere: expected a file of an active package"),
            };
        };
        match of_package(&inside, present) {
            Ok(target) => {
                check_regular(host, &target)?;
                Ok(target)
            }
            Err(reason) => refuse(&reason),
        }
    }
}

/// The path to begin at, relative to the root of the host.
fn start(given: &[u8], current: Number) -> Result<TreePath, String> {
    let path = TreePath::from_root(given).map_err(|error| format!("is no path to edit: {error}"))?;
    let name = path.split().map(|(_, name)| name.to_owned()).unwrap_or_default();
    let name = std::str::from_utf8(&name).ok().filter(|name| unit::is_name(name));
    let is_bare = !given.contains(&b'/');
    if let Some(name) = name
        && (is_bare || path.starts_with(&place::path(UNITS)))
    {
        // What lies there is a copy that the next boot makes again.
        let wants = place::path(&format!("{HOME}/{}/{}", current.directory(), unit::WANTS));
        return Ok(wants.join(name.as_bytes()));
    }
    if given.starts_with(b"/") {
        return Ok(path);
    }
    Ok(path.components().fold(place::path(HOME), |at, name| at.join(name)))
}

/// Follows every link on the way, below the root of the host, as far as anything is there.
fn follow(host: &Host, path: &TreePath, home: &TreePath) -> Result<Led, Failure> {
    let mut ahead: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
    ahead.reverse();
    let (mut to, mut through, mut links, mut is_there) = (TreePath::root(), None, 0, true);
    while let Some(name) = ahead.pop() {
        if name == b".." {
            to = to.split().map_or_else(TreePath::root, |(above, _)| above);
            continue;
        }
        if !is_there {
            to = to.join(&name);
            continue;
        }
        // What is ahead of a file is nowhere.
        let next = to.join(&name);
        let directory = match host.root.find(&to) {
            Ok(Some(directory)) => directory,
            Err(failure) if to.is_root() => return Err(failure),
            Ok(None) | Err(_) => {
                (to, is_there) = (next, false);
                continue;
            }
        };
        match rustix::fs::readlinkat(&directory, OsStr::from_bytes(&name), Vec::new()) {
            Ok(target) => {
                links += 1;
                if links > MAX_LINKS {
                    let shown = host.root.shown(path);
                    return Err(Failure::new(format!("`{shown}` leads through more than {MAX_LINKS} links")));
                }
                let target = target.into_bytes();
                if !home.is_root() && next.starts_with(home) {
                    through = Some((next, target.clone()));
                }
                if target.starts_with(b"/") {
                    to = TreePath::root();
                }
                let steps = target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
                ahead.extend(steps.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev());
            }
            Err(Errno::INVAL) => to = next,
            Err(Errno::NOENT) => (to, is_there) = (next, false),
            Err(error) => return Err(Failure::io("reading", host.root.shown(&next))(error)),
        }
    }
    Ok(Led { is_there, to, through })
}

/// A path as one of the install root at `home`.
fn below(path: &TreePath, home: &TreePath) -> Option<TreePath> {
    let depth = home.components().count();
    let inside = path.starts_with(home);
    inside.then(|| path.components().skip(depth).fold(TreePath::root(), |at, name| at.join(name)))
}

/// The file of a package that lies at `inside` of the install root, or a copy of it.
fn of_package(inside: &TreePath, present: &Present) -> Result<Target, String> {
    let all = inside.components().map(std::str::from_utf8).collect::<Result<Vec<&str>, _>>();
    let all = all.map_err(|_| "has a name that is no UTF-8 text, which no override can have".to_owned())?;
    let (id, rest) = match &all[..] {
        [PACKAGES, id, rest @ ..] | [OVERRIDES, _, id, rest @ ..] => (*id, rest),
        [GENERATIONS, number, rest @ ..] => return Err(of_generation(number, &rest.join("/"), present)),
        _ => return Err("belongs to no package: expected a file of an active one".to_owned()),
    };
    let package: PackageId = id.parse().map_err(|_| "belongs to no package".to_owned())?;
    let path = rest.join("/");
    if path.is_empty() {
        return Err("is a directory: expected a file of a package".to_owned());
    }
    if !present.generation.active.contains_key(&package) {
        return Err(format!(
            "belongs to `{package}`, which is not active: expected a file of an active package"
        ));
    }
    if READ_ONCE.contains(&path.as_str()) {
        return Err(format!("is what `{package}` is known by, and read from the store alone"));
    }
    if package.name().as_str() == PKGPANDA {
        return Err("belongs to the program that would undo it: upgrade it instead".to_owned());
    }
    Ok(Target { package, path })
}

/// The file whose copy would lie at `inside` of the install root, and is lost.
fn lost(inside: &TreePath, present: &Present) -> Option<Target> {
    let all = inside.components().map(std::str::from_utf8).collect::<Result<Vec<&str>, _>>().ok()?;
    let [OVERRIDES, name, id, rest @ ..] = &all[..] else { return None };
    let (package, path): (PackageId, _) = (id.parse().ok()?, rest.join("/"));
    let is_known = overrides::name_of(&present.generation.overrides, &package, &path) == Some(*name);
    is_known.then_some(Target { package, path })
}

/// Why nothing that lies in a generation itself can be edited.
fn of_generation(number: &str, path: &str, present: &Present) -> String {
    if let Some((name, source)) = GENERATED.iter().find(|(name, _)| *name == path) {
        return format!("cannot be edited: {name} {source}");
    }
    if path.is_empty() || SHOWN.contains(&path) || number != present.number.to_string() {
        return format!("belongs to generation {number} and to no package: expected a file of an active one");
    }
    "is a directory, or was made by hand: expected a file of an active package".to_owned()
}

/// Whether the store has it, and what it is: an override of anything but a regular file would be none.
fn check_regular(host: &Host, target: &Target) -> Result<(), Failure> {
    let Target { package, path } = target;
    let at = format!("{PACKAGES}/{package}/{path}");
    let (directory, name) = at.rsplit_once('/').expect("the path is below a package");
    let handle = host.directory(directory)?;
    let stat = place::stat(&handle, name.as_bytes()).map_err(Failure::io("reading", host.shown(&at)))?;
    let what = match stat.as_ref().map(place::kind) {
        Some(FileType::RegularFile) => return Ok(()),
        Some(FileType::Directory) => "is a directory",
        Some(FileType::Symlink) => "is a symbolic link",
        Some(_) => "is a special file",
        None => "is not in the package",
    };
    Err(Failure::new(format!("`{path}` of `{package}` {what}: expected a regular file of the package")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::generation::Generation;
    use crate::{InstallRoot, Package};

    fn present() -> Present {
        let package = |id: &str| Package {
            id: id.parse().unwrap(),
            info: crate::PkgInfo::default(),
            buildinfo: None,
            listing: crate::Listing::default(),
        };
        let packages = [package("a--1"), package(&format!("{PKGPANDA}--1"))];
        let root = InstallRoot::resolve(&packages, &BTreeSet::new()).unwrap();
        let generation = Generation::new(&root, &BTreeSet::new(), &BTreeSet::new(), |_| None);
        Present { number: Number::FIRST, generation, product: None }
    }

    fn of(path: &str) -> Result<String, String> {
        let path = TreePath::parse(path.as_bytes()).unwrap();
        of_package(&path, &present()).map(|target| format!("{} {}", target.package, target.path))
    }

    #[test]
    fn the_store_and_copies_are_files_of_packages_and_all_else_says_what_it_is() {
        assert_eq!(of("packages/a--1/bin/x").unwrap(), "a--1 bin/x");
        assert_eq!(of("overrides/site/a--1/etc/y").unwrap(), "a--1 etc/y");
        for (path, reason) in [
            ("packages/a--2/bin/x", "belongs to `a--2`, which is not active"),
            ("packages/a--1", "is a directory"),
            ("packages/odd/x", "belongs to no package"),
            ("packages", "belongs to no package"),
            ("overrides/site", "belongs to no package"),
            ("overrides/site/a--1", "is a directory"),
            ("created.json", "belongs to no package"),
            ("packages/a--1/pkginfo.json", "is what `a--1` is known by"),
            ("packages/a--1/contents.json", "is what `a--1` is known by"),
            ("packages/pkgpanda--1/bin/pkgpanda", "belongs to the program that would undo it"),
            ("generations/1/environment", "environment is made from `environment` of every package"),
            ("generations/1/etc/dcos-service-configuration.json", "is made from `sysctl` of every package"),
            ("generations/1/generation.json", "is the record"),
            ("generations/1/bin", "belongs to generation 1 and to no package"),
            ("generations/2/x", "belongs to generation 2 and to no package"),
        ] {
            let error = of(path).unwrap_err();
            assert!(error.contains(reason), "{path}: {error}");
        }
        let odd = TreePath::parse(b"packages/a--1/\xff").unwrap();
        assert!(of_package(&odd, &present()).unwrap_err().contains("no UTF-8"));
    }

    #[test]
    fn a_path_begins_at_the_host_or_the_install_root_and_a_unit_in_the_generation() {
        for (given, expected) in [
            ("bin/x", "/opt/mesosphere/bin/x"),
            ("/opt/mesosphere/bin/x", "/opt/mesosphere/bin/x"),
            ("/etc/passwd", "/etc/passwd"),
            ("a.service", "/opt/mesosphere/generations/1/dcos.target.wants/a.service"),
            ("/run/systemd/system/a.timer", "/opt/mesosphere/generations/1/dcos.target.wants/a.timer"),
            ("bin/a.service", "/opt/mesosphere/bin/a.service"),
            ("environment", "/opt/mesosphere/environment"),
        ] {
            assert_eq!(start(given.as_bytes(), Number::FIRST).unwrap().to_string(), expected, "{given}");
        }
        for wrong in ["bin/../../etc/passwd", "/opt/mesosphere/../../etc/passwd", "a\0b"] {
            assert!(start(wrong.as_bytes(), Number::FIRST).is_err(), "{wrong:?}");
        }
        assert!(start("x/".repeat(3000).as_bytes(), Number::FIRST).is_err());
    }
}
