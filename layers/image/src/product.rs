//! The product in the image: the bootstrap tarball under `/opt/mesosphere`, its users and state directories,
//! and what starts it on the host.

use bake_base::Epoch;
use bake_tree::{Content, Follow, Member, MemberKind, Metadata, Node, PathError, Tree, TreePath};
use serde::Deserialize;

use crate::accounts::{Accounts, NewUser};
use crate::error::{Error, path};
use crate::units;

/// The install root of every host.
pub const INSTALL_ROOT: &str = "opt/mesosphere";
/// Where a host's roles are read from.
const ROLES: &str = "etc/mesosphere/roles";
/// Stands in for the on-host program until there is one: writes the units and starts the target.
const SETUP: (&str, &str) = ("usr/libexec/dcos-setup", include_str!("product/dcos-setup.sh"));
/// The unit that runs it at every boot.
const SETUP_UNIT: (&str, &str) =
    ("etc/systemd/system/dcos-setup.service", include_str!("product/dcos-setup.service"));
/// The target that the product's units belong to.
const TARGET_UNIT: (&str, &str) = ("etc/systemd/system/dcos.target", include_str!("product/dcos.target"));
/// The largest `pkginfo.json` that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// The parts of a package's `pkginfo.json` that an image depends on; the rest is for the host.
#[derive(Debug, Deserialize)]
struct PackageInfo {
    username: Option<String>,
    group: Option<String>,
    #[serde(default)]
    state_directory: bool,
}

/// A package of the product that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivePackage {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// The members of a bootstrap tarball, moved under the install root.
///
/// # Errors
/// When a path becomes too long.
pub fn under_install_root(members: Vec<Member>) -> Result<Vec<Member>, PathError> {
    let moved = |path: &TreePath| {
        let mut bytes = format!("{INSTALL_ROOT}/").into_bytes();
        bytes.extend_from_slice(path.as_bytes());
        TreePath::parse(&bytes)
    };
    let mut members = members;
    for member in &mut members {
        member.path = moved(&member.path)?;
        if let MemberKind::HardLink(target) = &mut member.kind {
            *target = moved(target)?;
        }
    }
    Ok(members)
}

/// Makes users and state directories of the active packages, the roles of the image, and the units that
/// start the product. Entries that were there and got another owner are told to `changed`.
///
/// # Errors
/// When the tarball is no bootstrap tarball, or a package contradicts the root file system.
pub fn integrate(
    tree: &mut Tree,
    roles: &[String],
    epoch: Epoch,
    changed: &mut Vec<TreePath>,
) -> Result<Vec<ActivePackage>, Error> {
    let packages = active_packages(tree)?;
    let mut accounts = Accounts::read(tree, epoch)?;
    for package in &packages {
        let info = package_info(tree, package)?;
        let owner = match &info.username {
            Some(name) => accounts.add_user(&NewUser {
                name,
                uid: None,
                group: info.group.as_deref(),
                comment: "DCOS System User",
                home: "/opt/mesosphere",
                shell: "/sbin/nologin",
                password_hash: None,
            })?,
            None => (0, 0),
        };
        if info.state_directory {
            let state = path(&format!("var/lib/dcos/{}", package.name))?;
            let id = tree.make_directory(&state, Metadata::root(0o755))?;
            let metadata = tree.metadata_mut(id);
            if metadata.uid != owner.0 {
                metadata.uid = owner.0;
                changed.push(state);
            }
        }
    }
    accounts.write(tree)?;
    for role in roles {
        check_role(role)?;
        let file = Node::File(Content::empty());
        tree.put(&path(&format!("{ROLES}/{role}"))?, Metadata::root(0o644), file)?;
    }
    for ((at, text), mode) in [(SETUP, 0o755), (SETUP_UNIT, 0o644), (TARGET_UNIT, 0o644)] {
        tree.put(&path(at)?, Metadata::root(mode), Node::File(Content::bytes(text.as_bytes())))?;
    }
    units::enable(tree, "dcos-setup.service", &mut Vec::new())?;
    Ok(packages)
}

/// The active packages by name, from the links in `active/`.
fn active_packages(tree: &Tree) -> Result<Vec<ActivePackage>, Error> {
    let active = path(&format!("{INSTALL_ROOT}/active"))?;
    let directory = tree.lookup(&active, Follow::Last).and_then(|id| tree.inode(id).as_directory());
    let directory = directory.ok_or_else(|| {
        Error::Product(
            "it has no directory `active`: expected a bootstrap tarball, already linked".to_owned(),
        )
    })?;
    let mut packages = Vec::new();
    for (name, id) in directory.iter() {
        let name = String::from_utf8_lossy(name).into_owned();
        let Node::Symlink(target) = &tree.inode(id).node else {
            return Err(Error::Product(format!("`active/{name}` is no symbolic link to a package")));
        };
        let target = String::from_utf8_lossy(target).into_owned();
        let id = target.strip_prefix("/opt/mesosphere/packages/").filter(|id| {
            !id.contains('/')
                && id.split_once("--").is_some_and(|(of, rest)| of == name && !rest.contains("--"))
        });
        let wrong = || {
            let expected = format!("expected /opt/mesosphere/packages/{name}--ID");
            Error::Product(format!("`active/{name}` links to `{target}`: {expected}"))
        };
        packages.push(ActivePackage { id: id.ok_or_else(wrong)?.to_owned(), name });
    }
    Ok(packages)
}

fn package_info(tree: &Tree, package: &ActivePackage) -> Result<PackageInfo, Error> {
    let at = format!("packages/{}/pkginfo.json", package.id);
    let bytes = tree.read(&path(&format!("{INSTALL_ROOT}/{at}"))?, LIMIT)?;
    let bytes = bytes.ok_or_else(|| Error::Product(format!("`{at}` is missing")))?;
    let info: PackageInfo =
        serde_json::from_slice(&bytes).map_err(|error| Error::Product(format!("`{at}`: {error}")))?;
    if info.group.is_some() && info.username.is_none() {
        return Err(Error::Product(format!("`{at}`: `group` without `username`")));
    }
    Ok(info)
}

fn check_role(role: &str) -> Result<(), Error> {
    let fine =
        !role.is_empty() && role.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    fine.then_some(()).ok_or_else(|| {
        Error::Policy(format!(
            "`{role}` is no role: expected letters a-z, digits and `_`, such as master or slave_public"
        ))
    })
}

#[cfg(test)]
mod tests {
    use bake_tree::Policy;

    use super::*;

    fn member(name: &str, kind: MemberKind) -> Member {
        Member { path: TreePath::parse(name.as_bytes()).unwrap(), metadata: Metadata::root(0o755), kind }
    }

    fn product(info: &str) -> Tree {
        let link = MemberKind::Symlink(Box::from(&b"/opt/mesosphere/packages/hello--1a2b"[..]));
        let members = vec![
            member("./", MemberKind::Directory),
            member("active/hello", link),
            member("packages/hello--1a2b/pkginfo.json", MemberKind::File(Content::bytes(info.as_bytes()))),
            member(
                "packages/hello--1a2b/again",
                MemberKind::HardLink(TreePath::parse(b"packages/hello--1a2b/pkginfo.json").unwrap()),
            ),
        ];
        let mut tree = Tree::new();
        tree.apply(under_install_root(members).unwrap(), Policy::TAR).unwrap();
        tree
    }

    fn read(tree: &Tree, name: &str) -> Option<String> {
        tree.read(&path(name).unwrap(), 99_999).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn packages_get_their_users_and_state_directories() {
        let mut tree = product(r#"{"username": "dcos_hello", "state_directory": true, "sysctl": {}}"#);
        let mut changed = Vec::new();
        let packages =
            integrate(&mut tree, &["master".to_owned()], Epoch::from_seconds(0), &mut changed).unwrap();
        assert_eq!(packages, [ActivePackage { name: "hello".to_owned(), id: "hello--1a2b".to_owned() }]);
        assert_eq!(
            read(&tree, "etc/passwd").unwrap(),
            "dcos_hello:x:999:999:DCOS System User:/opt/mesosphere:/sbin/nologin\n"
        );
        let state = tree.lookup(&path("var/lib/dcos/hello").unwrap(), Follow::Last).unwrap();
        assert_eq!((tree.inode(state).metadata.uid, tree.inode(state).metadata.gid), (999, 0));
        assert_eq!(changed, [path("var/lib/dcos/hello").unwrap()]);
        changed.clear();
        integrate(&mut tree, &[], Epoch::from_seconds(0), &mut changed).unwrap();
        assert_eq!(changed, [], "it has its owner already");
        assert_eq!(read(&tree, "etc/mesosphere/roles/master").unwrap(), "");
        let enabled = path("etc/systemd/system/multi-user.target.wants/dcos-setup.service").unwrap();
        assert!(tree.lookup(&enabled, Follow::Last).is_some());
    }

    #[test]
    fn what_is_no_product_is_refused_by_name() {
        let mut empty = Tree::new();
        let refused =
            integrate(&mut empty, &[], Epoch::from_seconds(0), &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("active"), "{refused}");
        for (info, reason) in [("[]", "pkginfo.json"), (r#"{"group": "x"}"#, "username")] {
            let refused = integrate(&mut product(info), &[], Epoch::from_seconds(0), &mut Vec::new())
                .unwrap_err()
                .to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        let refused =
            integrate(&mut product("{}"), &["../x".to_owned()], Epoch::from_seconds(0), &mut Vec::new())
                .unwrap_err();
        assert!(refused.to_string().contains("no role"), "{refused}");
    }
}
