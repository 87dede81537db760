//! The rules as examples, one refused set for each message, and what holds for every set.

mod environment;
mod properties;
mod set;

use serde_json::json;

use super::*;
use crate::PkgInfo;

fn package(id: &str, info: Value, files: &[&str]) -> Package {
    // `name/` is a directory, `name@` a link, all else a file; directories on the way are implied.
    let listing = files.iter().map(|file| match (file.strip_suffix('/'), file.strip_suffix('@')) {
        (Some(name), _) => (place(name), Kind::Directory),
        (_, Some(name)) => (place(name), Kind::Symlink),
        _ => (place(file), Kind::File),
    });
    let info = PkgInfo::parse(info.to_string().as_bytes()).unwrap();
    Package { id: id.parse().unwrap(), info, buildinfo: None, listing: listing.collect() }
}

fn files(id: &str, files: &[&str]) -> Package {
    package(id, json!({}), files)
}

fn info(id: &str, info: Value) -> Package {
    package(id, info, &[])
}

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn resolve(packages: &[Package], names: &[&str]) -> InstallRoot {
    InstallRoot::resolve(packages, &roles(names)).unwrap()
}

/// Every problem, in lines.
fn refusal(packages: &[Package], names: &[&str]) -> String {
    InstallRoot::resolve(packages, &roles(names)).unwrap_err().to_string()
}

/// `path` for directories and `path -> target` for links, without what every install root has.
fn listing(root: &InstallRoot) -> Vec<String> {
    let directories = root.directories.iter().filter(|path| !LINKED.map(place).contains(path));
    let links = root.links.iter().map(|(path, target)| format!("{path} -> {}", target.escape_ascii()));
    directories.map(ToString::to_string).chain(links).collect()
}

#[test]
fn no_packages_make_an_empty_install_root() {
    let root = resolve(&[], &["master"]);
    let entries = root.entries(ROOT);
    let paths: Vec<_> = entries.keys().map(ToString::to_string).collect();
    assert_eq!(
        paths,
        [
            "/active",
            "/active.buildinfo.full.json",
            "/bin",
            "/environment",
            "/environment.export",
            "/etc",
            "/etc/dcos-service-configuration.json",
            "/include",
            "/lib"
        ]
    );
    assert_eq!(entries[&place("active.buildinfo.full.json")], Entry::File(b"{}\n".to_vec()));
    assert_eq!(root.unit_entries().len(), 1);
}

#[test]
fn directories_are_shared_and_all_else_is_linked_as_it_is() {
    let packages = [
        files("b--1", &["lib/", "lib/python/", "lib/python/b.py", "lib/empty/", "share/private", "check/b"]),
        files("a--1", &["lib/", "lib/python/", "lib/python/a.py", "lib/linked@", "bin/a"]),
    ];
    assert_eq!(
        listing(&resolve(&packages, &[])),
        [
            "/lib/empty",
            "/lib/python",
            "/bin/a -> /opt/mesosphere/packages/a--1/bin/a",
            "/lib/linked -> /opt/mesosphere/packages/a--1/lib/linked",
            "/lib/python/a.py -> /opt/mesosphere/packages/a--1/lib/python/a.py",
            "/lib/python/b.py -> /opt/mesosphere/packages/b--1/lib/python/b.py",
        ]
    );
    let active = resolve(&packages, &[]).entries(ROOT);
    let target = |id: &str| Entry::Symlink(format!("/opt/mesosphere/packages/{id}").into_bytes().into());
    assert_eq!(active[&place("active/a")], target("a--1"));
    assert_eq!(active[&place("active/b")], target("b--1"));
}

#[test]
fn directories_with_a_role_count_on_hosts_that_have_it() {
    let packages = [files("a--1", &["etc/x", "etc_master/y", "etc_slave_public/z", "etcetera/q", "lib_/q"])];
    let x = "/etc/x -> /opt/mesosphere/packages/a--1/etc/x";
    let y = "/etc/y -> /opt/mesosphere/packages/a--1/etc_master/y";
    let z = "/etc/z -> /opt/mesosphere/packages/a--1/etc_slave_public/z";
    assert_eq!(listing(&resolve(&packages, &[])), [x]);
    assert_eq!(listing(&resolve(&packages, &["master"])), [x, y]);
    assert_eq!(listing(&resolve(&packages, &["slave"])), [x]);
    assert_eq!(listing(&resolve(&packages, &["slave_public", "master"])), [x, y, z]);
    assert_eq!(packages[0].listing.roles(), roles(&["master", "slave_public"]));
}

#[test]
fn two_files_in_one_place_are_refused_with_both_packages() {
    let packages = [files("b--1", &["bin/x"]), files("a--1", &["bin/x"])];
    assert_eq!(
        refusal(&packages, &[]),
        "`bin/x` would be both a regular file of `a--1` (`bin/x`) and a regular file of `b--1` (`bin/x`): \
         rename or remove one of them"
    );
}

#[test]
fn a_file_and_a_directory_in_one_place_are_refused_once() {
    let packages = [files("a--1", &["bin/x"]), files("b--1", &["bin/x/", "bin/x/1", "bin/x/2"])];
    assert_eq!(
        refusal(&packages, &[]),
        "`bin/x` would be both a regular file of `a--1` (`bin/x`) and a directory of `b--1` (`bin/x`): \
         rename or remove one of them"
    );
    let packages = [files("a--1", &["bin/x/", "bin/x/1"]), files("b--1", &["bin/x"])];
    assert!(refusal(&packages, &[]).contains("a directory of `a--1` (`bin/x`) and a regular file of `b--1`"));
}

#[test]
fn nothing_is_merged_through_a_link_to_a_directory() {
    let linked = files("a--1", &["lib/", "lib/python@"]);
    assert_eq!(
        listing(&resolve(std::slice::from_ref(&linked), &[])),
        ["/lib/python -> /opt/mesosphere/packages/a--1/lib/python"]
    );
    assert_eq!(
        refusal(&[linked, files("b--1", &["lib/python/x"])], &[]),
        "`lib/python` would be both a symbolic link of `a--1` (`lib/python`) and a directory of `b--1` \
         (`lib/python`): rename or remove one of them"
    );
}

#[test]
fn a_well_known_directory_that_is_a_link_is_linked() {
    let linked = files("a--1", &["lib@"]);
    let root = resolve(std::slice::from_ref(&linked), &[]);
    assert_eq!(listing(&root), ["/lib -> /opt/mesosphere/packages/a--1/lib"]);
    assert!(!root.directories.contains(&place("lib")));
    assert_eq!(
        refusal(&[linked, files("b--1", &["lib/x"])], &[]),
        "`lib` would be both a symbolic link of `a--1` (`lib`) and a directory of `b--1` (`lib`): \
         rename or remove one of them"
    );
    assert_eq!(
        refusal(&[files("a--1", &["etc@", "bin", "dcos.target.wants@"])], &[]),
        "`a--1`: `bin` is a regular file: expected a directory\n\
         `a--1`: `dcos.target.wants` is a symbolic link: expected a directory of units\n\
         `etc` would be both a directory of the install root itself and a symbolic link of `a--1` (`etc`): \
         rename or remove one of them"
    );
}

#[test]
fn a_packages_plain_and_role_directory_may_not_meet_either() {
    let packages = [files("a--1", &["etc/x", "etc_master/x"])];
    assert!(InstallRoot::resolve(&packages, &roles(&[])).is_ok());
    assert_eq!(
        refusal(&packages, &["master"]),
        "`etc/x` would be both a regular file of `a--1` (`etc/x`) and a regular file of `a--1` \
         (`etc_master/x`): rename or remove one of them"
    );
}

#[test]
fn what_some_host_would_refuse_is_found_for_every_role() {
    let packages = [
        files("a--1", &["bin/x", "bin/y", "bin_master/z"]),
        files("b--1", &["bin/x", "bin_slave/y", "dcos.target.wants_slave/dcos.target"]),
    ];
    assert_eq!(
        InstallRoot::check_every_role(&packages).unwrap_err().to_string(),
        "`bin/x` would be both a regular file of `a--1` (`bin/x`) and a regular file of `b--1` (`bin/x`): \
         rename or remove one of them\n\
         `bin/y` would be both a regular file of `a--1` (`bin/y`) and a regular file of `b--1` \
         (`bin_slave/y`): rename or remove one of them\n\
         `b--1`: `dcos.target.wants_slave/dcos.target` has a name that the installation keeps for itself: \
         rename it"
    );
    assert_eq!(InstallRoot::check_every_role(&[files("a--1", &["bin_x/a", "bin_y/a"])]), Ok(()));
}

#[test]
fn the_files_of_the_install_root_belong_to_no_package() {
    assert_eq!(
        refusal(&[files("a--1", &["etc/dcos-service-configuration.json"])], &[]),
        "`etc/dcos-service-configuration.json` would be both a regular file of the install root itself and a \
         regular file of `a--1` (`etc/dcos-service-configuration.json`): rename or remove one of them"
    );
}

#[test]
fn units_come_from_their_own_directories() {
    let packages = [
        files("a--1", &["dcos.target.wants/", "dcos.target.wants/a.service", "dcos.target.wants/l.timer@"]),
        files("b--1", &["dcos.target.wants_master/b.service", "dcos.target.wants_slave/c.service"]),
    ];
    let root = resolve(&packages, &["master"]);
    let units: Vec<_> = root
        .units
        .iter()
        .map(|(name, unit)| {
            format!("{name} {} {} {:?}", unit.package, unit.path, unit.role.as_ref().map(Role::as_str))
        })
        .collect();
    assert_eq!(
        units,
        [
            "a.service a--1 /dcos.target.wants/a.service None",
            "b.service b--1 /dcos.target.wants_master/b.service Some(\"master\")",
            "l.timer a--1 /dcos.target.wants/l.timer None",
        ]
    );
    assert_eq!(listing(&root), [""; 0]);
    let target = b"/opt/mesosphere/packages/b--1/dcos.target.wants_master/b.service";
    let unit = &root.unit_entries()[&place("dcos.target.wants/b.service")];
    assert_eq!(*unit, Entry::Symlink(Box::from(&target[..])));
}

#[test]
fn units_have_names_of_their_own() {
    let packages = [
        files("a--1", &["dcos.target.wants/x.service", "dcos.target.wants/readme", "dcos.target.wants/x.d/"]),
        files("b--1", &["dcos.target.wants/x.service", "dcos.target.wants/dcos-setup.service"]),
    ];
    assert_eq!(
        refusal(&packages, &[]),
        "`a--1`: `dcos.target.wants/readme` is no name of a unit: expected letters, digits and `:_.\\@-`, \
         ending in .service, .socket, .timer, .path, .target, .mount, .automount, .swap or .slice\n\
         `a--1`: `dcos.target.wants/x.d` is a directory: expected units only, with no directories between them\n\
         unit `x.service` would be both a regular file of `a--1` (`dcos.target.wants/x.service`) and a regular \
         file of `b--1` (`dcos.target.wants/x.service`): rename or remove one of them\n\
         `b--1`: `dcos.target.wants/dcos-setup.service` has a name that the installation keeps for itself: \
         rename it"
    );
}

#[test]
fn devices_are_not_linked() {
    let mut fifo = files("a--1", &[]);
    fifo.listing =
        [(place("bin/fifo"), Kind::Special), (place("var/fifo"), Kind::Special)].into_iter().collect();
    assert_eq!(
        refusal(&[fifo], &[]),
        "`a--1`: `bin/fifo` is a special file: expected a file, a directory or a link"
    );
}

#[test]
fn a_link_that_no_kernel_takes_is_refused() {
    let path = format!("bin/{}end", "d/".repeat(2040));
    let error = refusal(&[files("a--1", &[&path])], &[]);
    assert!(error.ends_with("needs a link of 4117 bytes: expected a path that leaves it at 4095"), "{error}");
}
