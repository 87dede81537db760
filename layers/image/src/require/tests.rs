use bake_tree::{Content, Metadata};

use super::*;

fn put(tree: &mut Tree, name: &str, mode: u16, text: &str) {
    let node = match text.strip_prefix("-> ") {
        Some(target) => Node::Symlink(target.as_bytes().into()),
        None => Node::File(Content::bytes(text.as_bytes())),
    };
    tree.put(&path(name).unwrap(), Metadata::root(mode), node).unwrap();
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (name, text) in files {
        put(&mut tree, name, 0o755, text);
    }
    tree
}

fn rule(needs: &str) -> Requirement {
    let text = format!("name = 'rule'\nwhy = 'of a reason'\nfix = 'mend it'\nneeds = {needs}");
    toml::from_str(&text).unwrap()
}

/// What is told of one rule: nothing, why it is broken, or what cannot be known.
fn judged(tree: &Tree, needs: &str) -> String {
    match check(tree, &[rule(needs)], &BTreeSet::new(), &[], &BTreeMap::new()) {
        Ok(notes) => notes.concat(),
        Err(Error::Requirements(broken)) => broken.concat(),
        Err(other) => panic!("{other}"),
    }
}

/// A kernel that is found, with the given files beside it.
fn with_kernel(files: &[(&str, &str)]) -> Tree {
    let mut tree = tree(files);
    let mut image = vec![0; 0x300];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    let kernel = Node::File(Content::bytes(image));
    tree.put(&path("boot/vmlinuz-6.1.0").unwrap(), Metadata::root(0o644), kernel).unwrap();
    tree.make_directory(&path("usr/lib/modules/6.1.0").unwrap(), Metadata::root(0o755)).unwrap();
    tree
}

#[test]
fn a_broken_rule_says_what_is_missing_why_it_matters_and_how_to_mend_it() {
    let lacking = tree(&[("usr/bin/tar", ""), ("usr/sbin/ip", "-> ../bin/ip"), ("usr/bin/ip", "")]);
    assert_eq!(judged(&lacking, "{ programs = ['tar', 'ip'] }"), "");
    assert_eq!(
        judged(&lacking, "{ programs = ['tar', 'xz', 'unzip'] }"),
        "rule: the programs `xz`, `unzip` are missing, but of a reason: mend it (or skip it: --skip rule)"
    );
    let mut plain = tree(&[]);
    put(&mut plain, "usr/bin/tar", 0o644, "");
    assert!(
        judged(&plain, "{ programs = ['tar'] }").contains("the program `tar` is missing"),
        "it cannot be run"
    );
    assert!(judged(&lacking, "{ paths = ['/usr/bin/xz'] }").contains("the path `/usr/bin/xz` is missing"));
    assert_eq!(judged(&lacking, "{ paths = ['/usr/bin'] }"), "");
}

#[test]
fn options_and_modules_are_those_of_the_kernel_that_boots() {
    let kernel = with_kernel(&[
        (
            "boot/config-6.1.0",
            "CONFIG_MEMCG=y\nCONFIG_OVERLAY_FS=m\n# CONFIG_DUMMY is not set\nCONFIG_MEMCG_X=y\n",
        ),
        ("usr/lib/modules/6.1.0/modules.dep", "kernel/net/ip_vs.ko.xz: kernel/a.ko.xz\nkernel/dm-raid.ko:\n"),
        ("usr/lib/modules/6.1.0/modules.builtin", "kernel/fs/ext4/ext4.ko\n"),
    ]);
    assert_eq!(judged(&kernel, "{ kernel-options = ['MEMCG', 'OVERLAY_FS'] }"), "");
    let broken = judged(&kernel, "{ kernel-options = ['MEMCG', 'DUMMY', 'MEM'] }");
    assert!(broken.contains("the kernel options `DUMMY`, `MEM` are missing"), "{broken}");
    assert_eq!(judged(&kernel, "{ kernel-modules = ['ip_vs', 'dm_raid', 'ext4'] }"), "");
    assert!(
        judged(&kernel, "{ kernel-modules = ['vxlan'] }").contains("the kernel module `vxlan` is missing")
    );
    let silent = judged(&with_kernel(&[]), "{ kernel-options = ['MEMCG'] }");
    assert!(silent.contains("make sure of it: of a reason"), "what nobody can tell is a note: {silent}");
}

#[test]
fn the_version_of_systemd_is_read_from_its_library() {
    let of = |name: &str| tree(&[(name, "")]);
    let debian = of("usr/lib/systemd/libsystemd-shared-252.so");
    assert_eq!(judged(&debian, "{ systemd = 252 }"), "");
    assert!(judged(&debian, "{ systemd = 253 }").contains("systemd is version 252, and 253"));
    let multiarch = of("usr/lib/aarch64-linux-gnu/systemd/libsystemd-shared-252.so");
    assert!(judged(&multiarch, "{ systemd = 253 }").contains("systemd is version 252"));
    let rhel = of("usr/lib/systemd/libsystemd-shared-239-82.el8.so");
    assert!(judged(&rhel, "{ systemd = 240 }").contains("239"));
    assert!(judged(&tree(&[]), "{ systemd = 1 }").contains("does not tell"));
}

const RESOLVED: [(&str, &str); 2] = [
    ("usr/lib/systemd/system/systemd-resolved.service", "[Install]\nWantedBy=multi-user.target\n"),
    (
        "etc/systemd/system/multi-user.target.wants/systemd-resolved.service",
        "-> /usr/lib/systemd/system/systemd-resolved.service",
    ),
];

#[test]
fn a_resolver_that_starts_holds_port_53_unless_it_is_told_not_to() {
    let needs = "'free-port-53'";
    assert_eq!(judged(&tree(&RESOLVED[..1]), needs), "", "it is not started");
    assert!(judged(&tree(&RESOLVED), needs).contains("systemd-resolved listens on port 53"));
    let told = |name: &str, text: &str| tree(&[&RESOLVED[..], &[(name, text)]].concat());
    let drop_in = "etc/systemd/resolved.conf.d/product.conf";
    assert_eq!(judged(&told(drop_in, "[Resolve]\nDNSStubListener = no\n"), needs), "");
    assert_ne!(judged(&told(drop_in, "[Resolve]\n#DNSStubListener=no\n"), needs), "");
    assert_ne!(judged(&told(drop_in, "[Other]\nDNSStubListener=no\n"), needs), "");
    assert_ne!(judged(&told(drop_in, "[Resolve]\nDNSStubListener=udp\n"), needs), "");
}

#[test]
fn a_drop_in_counts_more_than_the_file_and_hides_those_of_its_name_below() {
    let needs = "'journal-size'";
    assert!(judged(&tree(&[]), needs).contains("no SystemMaxUse="));
    let main = ("etc/systemd/journald.conf", "[Journal]\nSystemMaxUse=1G\n");
    assert_eq!(judged(&tree(&[main]), needs), "");
    let unset = ("etc/systemd/journald.conf.d/a.conf", "[Journal]\nSystemMaxUse=\n");
    assert_ne!(judged(&tree(&[main, unset]), needs), "");
    let vendor = ("usr/lib/systemd/journald.conf.d/a.conf", "[Journal]\nSystemMaxUse=2G\n");
    assert_eq!(judged(&tree(&[vendor]), needs), "");
    let hidden = ("etc/systemd/journald.conf.d/a.conf", "-> /dev/null");
    assert_ne!(judged(&tree(&[vendor, hidden]), needs), "");
}

#[test]
fn some_service_sets_the_clock() {
    let needs = "'time-sync'";
    let unit = ("usr/lib/systemd/system/chrony.service", "[Install]\nWantedBy=multi-user.target\n");
    let link = (
        "etc/systemd/system/multi-user.target.wants/chrony.service",
        "-> /usr/lib/systemd/system/chrony.service",
    );
    assert!(judged(&tree(&[unit]), needs).contains("starts at boot"));
    assert_eq!(judged(&tree(&[unit, link]), needs), "");
    let mut masked = tree(&[unit, link]);
    put(&mut masked, "etc/systemd/system/chrony.service", 0o777, "-> /dev/null");
    assert_ne!(judged(&masked, needs), "");
}

#[test]
fn groups_are_those_of_the_tree() {
    let groups = tree(&[("etc/group", "root:x:0:\nnogroup:x:65534:\n")]);
    assert_eq!(judged(&groups, "{ groups = ['nogroup'] }"), "");
    assert!(judged(&groups, "{ groups = ['docker'] }").contains("the group `docker` is missing"));
    let ostree = tree(&[("etc/group", "root:x:0:\n"), ("usr/lib/group", "nogroup:x:65534:\n")]);
    assert_eq!(judged(&ostree, "{ groups = ['nogroup'] }"), "");
    assert_ne!(judged(&ostree, "{ users = ['nogroup'] }"), "");
}

#[test]
fn users_and_groups_that_are_made_at_boot_are_there() {
    let vendor = ("usr/lib/sysusers.d/a.conf", "# u commented -\ng nogroup -\nu nobody 65534\n");
    let made = tree(&[vendor]);
    assert_eq!(judged(&made, "{ groups = ['nogroup', 'nobody'] }"), "", "a user has a group of its own");
    assert_eq!(judged(&made, "{ users = ['nobody'] }"), "");
    assert_ne!(judged(&made, "{ users = ['nogroup'] }"), "");
    assert_ne!(judged(&made, "{ users = ['commented'] }"), "");
    let hidden = tree(&[vendor, ("etc/sysusers.d/a.conf", "-> /dev/null")]);
    assert!(judged(&hidden, "{ users = ['nobody'] }").contains("the user `nobody` is missing"));
}

#[test]
fn what_an_earlier_host_left_is_told() {
    let needs = "{ absent = ['/var/lib/mesos/slave/meta', '/var/lib/dcos/cluster-id'] }";
    assert_eq!(judged(&tree(&[("var/lib/mesos/other", "")]), needs), "");
    let left = tree(&[("var/lib/dcos/cluster-id", "id")]);
    assert!(judged(&left, needs).contains("`/var/lib/dcos/cluster-id` is there"));
}

/// A unit of the vendor's, and the link that starts it.
fn started(name: &str) -> [(String, String); 2] {
    let unit = format!("usr/lib/systemd/system/{name}");
    let link = format!("etc/systemd/system/multi-user.target.wants/{name}");
    [(unit.clone(), "[Install]\nWantedBy=multi-user.target\n".to_owned()), (link, format!("-> /{unit}"))]
}

fn with_units(names: &[&str], more: &[(&str, &str)]) -> Tree {
    let units: Vec<_> = names.iter().flat_map(|name| started(name)).collect();
    let units: Vec<_> = units.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    tree(&[&units[..], more].concat())
}

#[test]
fn units_that_must_not_start_do_not() {
    let needs = "{ inactive = ['firewalld.service'] }";
    assert_eq!(judged(&with_units(&["other.service"], &[]), needs), "");
    assert!(judged(&with_units(&["firewalld.service"], &[]), needs).contains("starts at boot"));
    let mask = ("etc/systemd/system/firewalld.service", "-> /dev/null");
    assert_eq!(judged(&with_units(&["firewalld.service"], &[mask]), needs), "");
    let needs = "{ masked = ['firewalld.service'] }";
    assert_eq!(judged(&tree(&[mask]), needs), "", "the unit itself may be elsewhere");
    assert!(judged(&tree(&[]), needs).contains("the mask of unit `firewalld.service` is missing"));
}

#[test]
fn a_server_for_names_that_starts_holds_port_53() {
    let needs = "'free-port-53'";
    let told = judged(&with_units(&["dnsmasq.service"], &[]), needs);
    assert!(told.contains("`dnsmasq.service` starts at boot and listens on port 53"), "{told}");
}

#[test]
fn the_network_is_set_up_by_a_service_or_by_netplan_with_a_plan() {
    let needs = "'network'";
    assert!(judged(&tree(&[]), needs).contains("nothing that sets the network up"));
    assert_eq!(judged(&with_units(&["systemd-networkd.service"], &[]), needs), "");
    let generator = ("usr/lib/systemd/system-generators/netplan", "");
    assert_ne!(judged(&tree(&[generator]), needs), "", "it has nothing to read");
    assert_eq!(judged(&tree(&[generator, ("etc/netplan/50-hosts.yaml", "")]), needs), "");
    assert_eq!(judged(&tree(&[generator, ("usr/bin/cloud-init", "")]), needs), "");
    assert_ne!(judged(&tree(&[("etc/netplan/50-hosts.yaml", "")]), needs), "", "nobody reads it");
}

#[test]
fn a_policy_of_selinux_counts_where_it_is_enforced() {
    let needs = "{ selinux-policies = ['targeted'] }";
    let config = |text: &str| judged(&tree(&[("etc/selinux/config", text)]), needs);
    assert_eq!(judged(&tree(&[]), needs), "");
    assert_eq!(config("SELINUX=enforcing\nSELINUXTYPE=targeted\n"), "");
    assert_eq!(config("SELINUX=permissive\nSELINUXTYPE=mls\n"), "");
    assert!(config("SELINUX=enforcing\n# SELINUXTYPE=targeted\nSELINUXTYPE=mls\n").contains("policy `mls`"));
}

#[test]
fn docker_s_store_has_a_driver_and_a_file_system_for_overlays() {
    let needs = "'docker-store'";
    let daemon = |text: &str| judged(&tree(&[("etc/docker/daemon.json", text)]), needs);
    for fine in ["", "{}", r#"{"storage-driver": "overlay2"}"#] {
        assert_eq!(daemon(fine), "", "{fine}");
    }
    assert!(daemon(r#"{"storage-driver": "devicemapper"}"#).contains("is `devicemapper`"));
    assert!(daemon("{").contains("/etc/docker/daemon.json is no JSON"));
    let moved = ("etc/docker/daemon.json", r#"{"data-root": "/data/docker"}"#);
    let fstab = ("etc/fstab", "LABEL=data /data nfs defaults 0 0\n");
    assert!(judged(&tree(&[moved, fstab]), needs).contains("/data/docker is on the `nfs`"));
    assert_eq!(judged(&tree(&[fstab]), needs), "", "the store is elsewhere");
}

#[test]
fn overlays_need_a_file_system_for_them_whoever_mounts_it() {
    let needs = "{ overlay-directories = ['/var/lib/mesos'] }";
    let fstab = |text: &str| judged(&tree(&[("etc/fstab", text)]), needs);
    assert_eq!(fstab("LABEL=root / vfat\n# LABEL=a /var vfat\nLABEL=a /var/lib/mesos2 vfat\n"), "");
    assert_eq!(fstab("LABEL=a /var vfat\nLABEL=b /var/lib ext4\n"), "", "the nearest counts");
    assert!(
        fstab("LABEL=a /var vfat\n").contains("/var/lib/mesos is on the `vfat` that is mounted at `/var`")
    );
    let xfs = fstab("LABEL=a /var/lib/mesos xfs defaults 0 2\n");
    assert!(xfs.contains("is not checked") && xfs.contains("`ftype=1`"), "{xfs}");
    let mount = Mount { source: "LABEL=a".to_owned(), kind: "btrfs".to_owned(), options: None };
    let mounts = BTreeMap::from([("/var/lib/mesos".to_owned(), mount)]);
    let told = check(&Tree::new(), &[rule(needs)], &BTreeSet::new(), &[], &mounts).unwrap_err().to_string();
    assert!(told.contains("`btrfs`"), "{told}");
}

#[test]
fn a_rule_counts_when_a_package_needs_it_and_nobody_skips_it() {
    let mut rules = vec![rule("{ programs = ['none'] }")];
    rules[0].for_packages = vec!["mesos".to_owned()];
    let told = |packages: &[&str], skipped: &[&str]| {
        let packages = packages.iter().copied().collect();
        let skipped: Vec<_> = skipped.iter().map(|name| (*name).to_owned()).collect();
        check(&Tree::new(), &rules, &packages, &skipped, &BTreeMap::new())
    };
    assert!(told(&["java"], &[]).unwrap().is_empty());
    assert!(told(&["java", "mesos"], &[]).is_err());
    assert!(told(&["mesos"], &["rule"]).unwrap().is_empty());
}

#[test]
fn a_name_that_no_rule_has_is_told_with_those_that_rules_have() {
    let rules = [rule("{ programs = ['none'] }")];
    assert!(check_names(&rules, &["rule".to_owned()]).is_ok());
    let refused = check_names(&rules, &["rule".to_owned(), "rul".to_owned()]).unwrap_err().to_string();
    assert!(refused.contains("`rul`") && refused.contains("known are rule"), "{refused}");
}

#[test]
fn all_that_is_broken_is_told_at_once() {
    let rules: Vec<_> = (0..3).map(|_| rule("{ programs = ['none'] }")).collect();
    let Err(Error::Requirements(broken)) =
        check(&Tree::new(), &rules, &BTreeSet::new(), &[], &BTreeMap::new())
    else {
        panic!("three rules are broken")
    };
    assert_eq!(broken.len(), 3);
}
