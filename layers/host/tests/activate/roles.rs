//! What a host is may change, as its packages may.

use super::*;

fn roles(yard: &Yard) -> Vec<String> {
    let Ok(directory) = fs::read_dir(yard.root().join("etc/mesosphere/roles")) else { return Vec::new() };
    let mut names: Vec<_> =
        directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_role_comes_with_what_packages_have_for_it_and_goes_with_it() {
    let yard = Yard::installed(&[hello("1").file("etc_odd/odd", "")], &["slave"]);
    assert_eq!(yard.done(&["role"]), "slave\n");
    assert!(fs::symlink_metadata(yard.home("etc/hello")).is_err());
    yard.done(&["role", "add", "master"]);
    assert_eq!(yard.json(&["role"]), json!({"roles": ["master", "slave"]}));
    assert_eq!(yard.link("etc/hello"), "/opt/mesosphere/packages/hello--1/etc_master/hello");
    assert_eq!(roles(&yard), ["master", "slave"]);
    assert_eq!(yard.record(2)["seen"], json!(["slave"]), "what the sources named is no news");
    assert_eq!(yard.done(&["role", "add", "master"]), "active already: generation 2\n");
    let said = yard.done(&["role", "remove", "slave_public"]);
    assert_eq!(said, "the host has no role `slave_public`\nactive already: generation 2\n");
    yard.done(&["role", "add", "odd"]);
    yard.done(&["role", "remove", "master"]);
    assert_eq!(roles(&yard), ["odd", "slave"]);
    assert!(fs::symlink_metadata(yard.home("etc/hello")).is_err());
}

#[test]
fn a_role_that_no_package_knows_is_refused() {
    let yard = Yard::installed(&[hello("1").file("etc_odd/odd", "")], &["slave"]);
    let said = yard.refused(&["role", "add", "mastre"]);
    assert!(
        said.contains("no package knows the role `mastre`: expected one of master, odd, slave, slave_public"),
        "{said}"
    );
    assert_eq!(yard.link("current"), "generations/1");
}

#[test]
fn a_role_that_somebody_wrote_into_a_file_is_one_before_setup_came() {
    let write =
        |yard: &Yard, role: &str| fs::write(yard.root().join("etc/mesosphere/roles").join(role), "").unwrap();
    // Taken back before it was ever the host's.
    let yard = Yard::installed(&[hello("1")], &["slave"]);
    write(&yard, "master");
    yard.done(&["role", "remove", "master"]);
    assert_eq!((yard.done(&["role"]), roles(&yard)), ("slave\n".to_owned(), vec!["slave".to_owned()]));
    yard.done(&["setup"]);
    assert_eq!((yard.done(&["role"]), roles(&yard)), ("slave\n".to_owned(), vec!["slave".to_owned()]));
    // What the host was goes, what was written stays; and the other way round.
    write(&yard, "master");
    yard.done(&["role", "remove", "slave"]);
    assert_eq!((yard.done(&["role"]), roles(&yard)), ("master\n".to_owned(), vec!["master".to_owned()]));
    write(&yard, "slave");
    yard.done(&["role", "add", "slave_public"]);
    assert_eq!(roles(&yard), ["master", "slave", "slave_public"]);
}

#[test]
fn roles_that_nobody_could_write_are_no_reason_to_change() {
    let yard = Yard::installed(&[hello("1")], &["slave"]);
    let at = yard.root().join("etc/mesosphere/roles");
    fs::rename(&at, yard.root().join("etc/elsewhere")).unwrap();
    std::os::unix::fs::symlink("/etc/elsewhere", &at).unwrap();
    let said = yard.refused(&["role", "add", "master"]);
    assert!(said.contains("etc/mesosphere/roles` is no directory: put one in its place"), "{said}");
    assert_eq!(yard.link("current"), "generations/1");
}

#[test]
fn a_host_may_lose_its_last_role() {
    let yard = host();
    let said = yard.done(&["role", "remove", "master"]);
    assert!(
        said.ends_with("note: the host has no role any more: it starts nothing until it gets one\n"),
        "{said}"
    );
    assert_eq!((yard.done(&["role"]), roles(&yard)), (String::new(), Vec::new()));
}

#[test]
fn a_rollback_brings_the_roles_and_the_product_of_its_generation() {
    let mut yard = Yard::installed(&[hello("1")], &["slave"]);
    let url = yard.root().join("etc/mesosphere/setup-flags/repository-url");
    assert_eq!(fs::read_to_string(&url).unwrap(), CONFIG);
    // Another product, as an upgrade brings one.
    let other = CONFIG.replace('0', "f");
    yard.serve(&other, &[hello("2")]);
    let document = fs::read(yard.from().join("product.json")).unwrap();
    yard.add(&hello("2"));
    let host = bake_host::host::Host::open(&yard.root(), false).unwrap();
    let lock = host.lock(false).unwrap();
    let current = host.current().unwrap();
    let roles_of_other = ["master".parse().unwrap()].into();
    let mut wanted = bake_host::activate::Wanted::in_roles(&host, &current, roles_of_other).unwrap();
    wanted.active.remove(&"hello--1".parse().unwrap());
    wanted.active.insert("hello--2".parse().unwrap());
    wanted.product = Some(document.clone());
    let stop = bake_host::activate::Stop::Everything;
    let changed = bake_host::activate::change(&host, &lock, &wanted, stop, &mut |_| {}).unwrap();
    assert_eq!((changed.before, changed.number), (current.number, current.number.next().unwrap()));
    drop(lock);
    assert_eq!(fs::read_to_string(&url).unwrap(), other);
    assert_eq!(fs::read(yard.home("product.json")).unwrap(), document);
    assert_eq!(roles(&yard), ["master"]);
    assert_eq!(yard.link("etc/hello"), "/opt/mesosphere/packages/hello--2/etc_master/hello");

    yard.done(&["rollback"]);
    assert_eq!(fs::read_to_string(&url).unwrap(), CONFIG);
    assert_ne!(fs::read(yard.home("product.json")).unwrap(), document);
    assert_eq!(roles(&yard), ["slave"]);
    assert!(fs::symlink_metadata(yard.home("etc/hello")).is_err());
    yard.done(&["rollback", "2"]);
    assert_eq!((fs::read_to_string(&url).unwrap(), roles(&yard)), (other, vec!["master".to_owned()]));
}
