//! The product in the image: the bootstrap tarball under `/opt/mesosphere`, its users and state directories,
//! and what starts it on the host.

use std::collections::{BTreeMap, BTreeSet};

use bake_base::{Epoch, ReadAt};
use bake_boot::Architecture;
use bake_host::assemble::{AssembleError, assemble};
use bake_host::created::{self, Belongings};
use bake_host::integration::{self, HostEntry};
use bake_host::{GroupName, InstallRoot, PKGPANDA, Package, PackageId, ROOT, Role};
use bake_tree::{Content, Follow, Member, MemberKind, Metadata, Node, PathError, Tree, TreePath};

use crate::accounts::{Accounts, NewUser};
use crate::error::{Error, path};
use crate::units;

mod configured;

pub use configured::{Configured, document};

/// The members of a bootstrap tarball, moved under the install root.
///
/// # Errors
/// When a path becomes too long.
pub fn under_install_root(members: Vec<Member>) -> Result<Vec<Member>, PathError> {
    let moved = |path: &TreePath| {
        let mut bytes = format!("{ROOT}/").into_bytes();
        bytes.extend_from_slice(path.as_bytes());
        TreePath::from_root(&bytes)
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

/// Checks that a product can be put into a tree: what layers have in its place would be lost.
///
/// # Errors
/// When there is something else than a directory.
pub fn check_place(tree: &Tree) -> Result<(), Error> {
    let at = install_root()?;
    let found = tree.lookup(&at, Follow::Parents).map(|id| &tree.inode(id).node);
    match found {
        None | Some(Node::Directory(_)) => Ok(()),
        Some(other) => Err(Error::Product(format!(
            "it goes to `{at}`, where the root file system or an overlay has {}: leave that out",
            other.describe()
        ))),
    }
}

/// A product that lies in a tree.
#[derive(Debug)]
pub struct Product {
    /// Id of its configuration, if it has one.
    pub configuration: Option<String>,
    /// What its packages become.
    root: InstallRoot,
    /// What the hosts of the image are.
    roles: BTreeSet<Role>,
    /// The configuration's files of the host.
    files: BTreeMap<TreePath, HostEntry>,
    /// Where each host gets the configuration's secrets.
    secrets: BTreeSet<TreePath>,
}

impl Product {
    /// The ids of its active packages.
    pub fn packages(&self) -> Vec<PackageId> {
        self.root.active.values().cloned().collect()
    }
}

/// The bootstrap tarball that lies in the tree becomes the install root of hosts with `roles`.
///
/// # Errors
/// When it is no bootstrap tarball, or its packages do not fit together.
pub fn linked(tree: &mut Tree, roles: BTreeSet<Role>) -> Result<Product, Error> {
    let active = active_packages(tree)?;
    let root = assembled(tree, &active, &roles, None)?;
    Ok(Product { configuration: None, root, roles, files: BTreeMap::new(), secrets: BTreeSet::new() })
}

/// The install root of the `active` packages in the tree.
fn assembled(
    tree: &mut Tree,
    active: &[PackageId],
    roles: &BTreeSet<Role>,
    product: Option<&[u8]>,
) -> Result<InstallRoot, Error> {
    let (root, _) =
        assemble(tree, &install_root()?, active, roles, product).map_err(|error| match error {
            AssembleError::Packages(problems) => Error::Packages(problems),
            error => Error::Product(error.to_string()),
        })?;
    if !root.active.keys().any(|name| name.as_str() == PKGPANDA) {
        return Err(Error::Product(format!(
            "it has no active package `{PKGPANDA}`, so nothing would set its hosts up: make it again with `bake tree`"
        )));
    }
    check_roles(roles, &read_packages(tree, active)?)?;
    Ok(root)
}

/// Checks that the program which sets hosts up is for their processors. What is no ELF program runs on any.
///
/// # Errors
/// When it is for others.
pub fn check_program(tree: &Tree, packages: &[PackageId], architecture: Architecture) -> Result<(), Error> {
    let Some(id) = packages.iter().find(|id| id.name().as_str() == PKGPANDA) else { return Ok(()) };
    let at = path(&format!("{ROOT}/packages/{id}/bin/{PKGPANDA}"))?;
    let Some(content) = tree.file(&at)? else { return Ok(()) };
    let mut header = [0; 20];
    if content.len() < header.len() as u64 {
        return Ok(());
    }
    content.read_exact_at(0, &mut header).map_err(Error::io(format!("reading `{at}`")))?;
    if !header.starts_with(b"\x7fELF") {
        return Ok(());
    }
    let found = Architecture::from_elf(u16::from_le_bytes([header[18], header[19]]));
    if found == Some(architecture) {
        return Ok(());
    }
    let found = found.map_or_else(|| "another machine".to_owned(), |found| found.to_string());
    Err(Error::Product(format!(
        "its `{id}` is for {found}, and the kernel of the image for {architecture}: make the product with \
         `bake tree --pkgpanda FILE`, a static program for {architecture}"
    )))
}

fn install_root() -> Result<TreePath, Error> {
    path(ROOT)
}

/// Records what the product has outside of its install root, as an installation does; and makes it: users and state
/// directories of the active packages, the roles of the image, and the units that
/// start the product. Entries that were there and got another owner are told to `changed`.
///
/// # Errors
/// When the product contradicts the root file system.
pub fn integrate(
    tree: &mut Tree,
    product: &Product,
    epoch: Epoch,
    changed: &mut Vec<TreePath>,
) -> Result<Vec<PackageId>, Error> {
    record(tree, product)?;
    let root = &product.root;
    let mut accounts = Accounts::read(tree, epoch)?;
    let mut owners = BTreeMap::new();
    for (name, group) in &root.users {
        let (uid, _) = accounts.add_user(&NewUser {
            name: name.as_str(),
            uid: None,
            group: group.as_ref().map(GroupName::as_str),
            comment: integration::USER_COMMENT,
            home: ROOT,
            shell: integration::USER_SHELL,
            password_hash: None,
        })?;
        owners.insert(name, uid);
    }
    for (package, user) in &root.state_directories {
        let state = path(&format!("var/lib/dcos/{package}"))?;
        let uid = user.as_ref().map_or(0, |user| owners[user]);
        let id = tree.make_directory(&state, Metadata::root(0o755))?;
        let metadata = tree.metadata_mut(id);
        if metadata.uid != uid {
            metadata.uid = uid;
            changed.push(state);
        }
    }
    accounts.write(tree)?;
    start(tree, product)
}

/// The same without users and state directories: `pkgpanda` makes them at every boot anyway, and only the host knows
/// which ids are free where its own users are not in the tree.
///
/// # Errors
/// When the product contradicts the root file system.
pub fn integrate_without_users(tree: &mut Tree, product: &Product) -> Result<Vec<PackageId>, Error> {
    record(tree, product)?;
    start(tree, product)
}

/// Writes down what the product is going to have outside of its install root.
fn record(tree: &mut Tree, product: &Product) -> Result<(), Error> {
    let Product { root, roles, files, secrets, .. } = product;
    let (users, state_directories) = (&root.users, &root.state_directories);
    let belongings = Belongings { files, secrets, roles, users, state_directories };
    created::lay(tree, &install_root()?, &belongings).map_err(|failure| Error::Product(failure.to_string()))
}

/// Makes roles, the product's files of the host, and the units that start it.
fn start(tree: &mut Tree, product: &Product) -> Result<Vec<PackageId>, Error> {
    for (at, file) in host_files(product)? {
        tree.put(&at, Metadata::root(file.mode), Node::File(Content::bytes(file.content)))?;
    }
    units::enable(tree, integration::SETUP_UNIT, &mut Vec::new())?;
    Ok(product.root.active.values().cloned().collect())
}

/// What a host of the product has outside of the install root, but for users, state directories and links that
/// enable units: roles, the product's files of the host, and units.
fn host_files(product: &Product) -> Result<BTreeMap<TreePath, HostEntry>, Error> {
    let empty = || HostEntry { mode: 0o644, content: Vec::new() };
    let roles =
        product.roles.iter().map(|role| Ok((path(&format!("{}/{role}", integration::ROLES))?, empty())));
    let mut files = roles.collect::<Result<BTreeMap<_, _>, Error>>()?;
    files.extend(product.files.clone());
    files.extend(integration::files());
    Ok(files)
}

/// Prepares the install root in the tree for hosts that get everything else by other means, which is given back.
///
/// # Errors
/// When the product contradicts the tree.
pub fn install_root_alone(
    tree: &mut Tree,
    product: &Product,
) -> Result<(Vec<PackageId>, BTreeMap<TreePath, HostEntry>), Error> {
    record(tree, product)?;
    Ok((product.root.active.values().cloned().collect(), host_files(product)?))
}

/// The ids of the active packages, from the links in `active/`.
fn active_packages(tree: &Tree) -> Result<Vec<PackageId>, Error> {
    let active = path(&format!("{ROOT}/active"))?;
    let directory = tree.lookup(&active, Follow::Last).and_then(|id| tree.inode(id).as_directory());
    let directory = directory.ok_or_else(|| {
        Error::Product(
            "it has no directory `active`: expected a bootstrap tarball, already linked".to_owned(),
        )
    })?;
    let mut packages = Vec::new();
    for (name, id) in directory.iter() {
        let name = String::from_utf8_lossy(name);
        let Node::Symlink(target) = &tree.inode(id).node else {
            return Err(Error::Product(format!("`active/{name}` is no symbolic link to a package")));
        };
        let target = String::from_utf8_lossy(target);
        let id = target.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix("/packages/"));
        let id = id.and_then(|id| id.parse::<PackageId>().ok()).filter(|id| id.name().as_str() == name);
        packages.push(id.ok_or_else(|| {
            let expected = format!("expected {ROOT}/packages/{name}--ID");
            Error::Product(format!("`active/{name}` links to `{target}`: {expected}"))
        })?);
    }
    Ok(packages)
}

/// What the packages say of themselves.
fn read_packages(tree: &Tree, ids: &[PackageId]) -> Result<Vec<Package>, Error> {
    let (mut packages, mut problems) = (Vec::new(), BTreeSet::new());
    for id in ids {
        match Package::read(id.clone(), tree, &path(&format!("{ROOT}/packages/{id}"))?) {
            Ok(package) => packages.push(package),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(packages) } else { Err(Error::Packages(problems)) }
}

/// Whether the packages know every role of the image: a misspelt one would start nothing.
fn check_roles(roles: &BTreeSet<Role>, packages: &[Package]) -> Result<(), Error> {
    let mut known: BTreeSet<_> = packages.iter().flat_map(|package| package.listing.roles()).collect();
    known.extend(integration::COMMON_ROLES.iter().filter_map(|role| role.parse().ok()));
    let Some(unknown) = roles.difference(&known).next() else { return Ok(()) };
    let known: Vec<_> = known.iter().map(Role::as_str).collect();
    Err(Error::Policy(format!(
        "no package of the product knows the role `{unknown}`; known are: {}",
        known.join(", ")
    )))
}

/// Roles by their names.
///
/// # Errors
/// When one is none.
pub fn parse_roles(roles: &[String]) -> Result<BTreeSet<Role>, Error> {
    let parse = |role: &String| {
        role.parse().map_err(|error| Error::Policy(format!("{error}, such as master or slave_public")))
    };
    roles.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use bake_tree::Policy;

    use super::*;

    fn member(name: &str, kind: MemberKind) -> Member {
        Member { path: TreePath::parse(name.as_bytes()).unwrap(), metadata: Metadata::root(0o755), kind }
    }

    fn product(info: &str) -> Tree {
        let link = |id: &str| {
            MemberKind::Symlink(format!("/opt/mesosphere/packages/{id}").into_bytes().into_boxed_slice())
        };
        let members = vec![
            member("./", MemberKind::Directory),
            member("active/hello", link("hello--1a2b")),
            member("active/pkgpanda", link("pkgpanda--1")),
            member("packages/pkgpanda--1/pkginfo.json", MemberKind::File(Content::bytes(&b"{}"[..]))),
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

    fn laid(tree: &mut Tree, roles: &[&str], changed: &mut Vec<TreePath>) -> Result<Vec<PackageId>, Error> {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let product = linked(tree, parse_roles(&roles)?)?;
        integrate(tree, &product, Epoch::from_seconds(0), changed)
    }

    fn read(tree: &Tree, name: &str) -> Option<String> {
        tree.read(&path(name).unwrap(), 99_999).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn packages_get_their_users_and_state_directories() {
        let mut tree = product(r#"{"username": "dcos_hello", "state_directory": true, "sysctl": {}}"#);
        let mut changed = Vec::new();
        let packages = laid(&mut tree, &["master"], &mut changed).unwrap();
        assert_eq!(packages, ["hello--1a2b", "pkgpanda--1"].map(|id| id.parse().unwrap()));
        assert_eq!(
            read(&tree, "etc/passwd").unwrap(),
            "dcos_hello:x:999:999:DCOS System User:/opt/mesosphere:/sbin/nologin\n"
        );
        let state = tree.lookup(&path("var/lib/dcos/hello").unwrap(), Follow::Last).unwrap();
        assert_eq!((tree.inode(state).metadata.uid, tree.inode(state).metadata.gid), (999, 0));
        assert_eq!(changed, [path("var/lib/dcos/hello").unwrap()]);
        changed.clear();
        laid(&mut tree, &[], &mut changed).unwrap();
        assert_eq!(changed, [], "it has its owner already");
        assert_eq!(read(&tree, "etc/mesosphere/roles/master").unwrap(), "");
        let enabled = path("etc/systemd/system/multi-user.target.wants/dcos-setup.service").unwrap();
        assert!(tree.lookup(&enabled, Follow::Last).is_some());
    }

    #[test]
    fn what_lies_in_the_place_of_the_product_is_not_lost() {
        let mut tree = Tree::new();
        assert!(check_place(&tree).is_ok());
        tree.write(&path(ROOT).unwrap(), Metadata::root(0o644), Content::empty()).unwrap();
        let refused = check_place(&tree).unwrap_err().to_string();
        assert!(refused.contains("/opt/mesosphere") && refused.contains("a regular file"), "{refused}");
        let mut tree = Tree::new();
        tree.make_directory(&path(ROOT).unwrap(), Metadata::root(0o755)).unwrap();
        assert!(check_place(&tree).is_ok());
    }

    #[test]
    fn the_program_has_to_be_for_the_processors_of_the_hosts() {
        let packages = ["hello--1a2b", "pkgpanda--1"].map(|id| id.parse().unwrap());
        let checked = |program: &[u8], architecture| {
            let mut tree = product("{}");
            let at = path("opt/mesosphere/packages/pkgpanda--1/bin/pkgpanda").unwrap();
            tree.write(&at, Metadata::root(0o755), Content::bytes(program)).unwrap();
            check_program(&tree, &packages, architecture).map_err(|error| error.to_string())
        };
        let elf = |machine: u8| [&b"\x7fELF\x02\x01"[..], &[0; 12], &[machine, 0, 0, 0]].concat();
        assert_eq!(checked(&elf(62), Architecture::X86_64), Ok(()));
        assert_eq!(checked(&elf(183), Architecture::Arm64), Ok(()));
        assert_eq!(checked(b"#!/bin/sh\n", Architecture::Arm64), Ok(()));
        let refused = checked(&elf(62), Architecture::Arm64).unwrap_err();
        assert!(
            refused.contains("`pkgpanda--1` is for x86-64, and the kernel of the image for arm64"),
            "{refused}"
        );
        assert!(checked(&elf(8), Architecture::Arm64).unwrap_err().contains("another machine"));
    }

    #[test]
    fn what_is_no_product_is_refused_by_name() {
        let mut empty = Tree::new();
        let refused = laid(&mut empty, &[], &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("active"), "{refused}");
        let mut old = product("{}");
        old.remove(&path("opt/mesosphere/active/pkgpanda").unwrap());
        let refused = laid(&mut old, &[], &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("no active package `pkgpanda`"), "{refused}");
        for (info, reason) in [
            ("[]", "`hello--1a2b`: pkginfo.json"),
            (r#"{"group": "x"}"#, "username"),
            (r#"{"requires": ["other"]}"#, "`hello--1a2b` requires `other`"),
        ] {
            let refused = laid(&mut product(info), &[], &mut Vec::new()).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        let refused = laid(&mut product("{}"), &["../x"], &mut Vec::new()).unwrap_err();
        assert!(refused.to_string().contains("no role"), "{refused}");
        let refused = laid(&mut product("{}"), &["masters"], &mut Vec::new()).unwrap_err();
        let reason =
            "no package of the product knows the role `masters`; known are: master, slave, slave_public";
        assert!(refused.to_string().contains(reason), "{refused}");
    }
}
