use std::fs;
use std::path::Path;

use super::*;

/// A root whose kernel has these settings, and a generation that wants others.
fn root(settings: &[(&str, &str)], configuration: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, value) in settings {
        put(directory.path(), &format!("proc/sys/{path}"), value);
    }
    put(directory.path(), "g/etc/dcos-service-configuration.json", configuration);
    directory
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn set_on(directory: &Path, units: &[&str]) -> Vec<String> {
    let units = units.iter().map(ToString::to_string).collect();
    let mut said = Vec::new();
    let root = Root::open(directory).unwrap();
    set(&root, &crate::place::path("g"), &units, &mut |line| said.push(line)).unwrap();
    said
}

fn value(directory: &Path, path: &str) -> String {
    fs::read_to_string(directory.join("proc/sys").join(path)).unwrap()
}

/// The original's integration test of two services: each has its own settings, and only those of services that the
/// host runs are set. (There, each service sets its own as it starts.)
#[test]
fn only_services_of_this_host_have_their_settings() {
    let configuration = r#"{"sysctl": {
        "dcos-net": {"net.ipv4.ip_forward": "1"},
        "dcos-mesos-slave": {"vm.max_map_count": "262144"},
        "dcos-tool@": {"kernel.no": "1"}, "dcos-tool": {"kernel.panic": "10"}}}"#;
    let settings = [
        ("net/ipv4/ip_forward", "0\n"),
        ("vm/max_map_count", "65530\n"),
        ("kernel/panic", "0\n"),
        ("kernel/no", "0\n"),
    ];
    let directory = root(&settings, configuration);
    let units = ["dcos-net.service", "dcos-mesos-slave.timer", "dcos-tool@x.service"];
    let said = set_on(directory.path(), &units);
    assert_eq!(said, ["set net.ipv4.ip_forward = 1 for dcos-net", "set kernel.panic = 10 for dcos-tool"]);
    assert_eq!(value(directory.path(), "net/ipv4/ip_forward"), "1\n");
    assert_eq!(value(directory.path(), "vm/max_map_count"), "65530\n");
    assert_eq!(value(directory.path(), "kernel/panic"), "10\n");
    assert_eq!(value(directory.path(), "kernel/no"), "0\n");
    // A second run finds all of it right.
    assert!(set_on(directory.path(), &units).is_empty());
}

#[test]
fn a_value_that_is_right_is_not_written() {
    let configuration = r#"{"sysctl": {"a": {"net.ipv4.tcp_rmem": "4096 131072 6291456"}}}"#;
    let directory = root(&[("net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")], configuration);
    assert!(set_on(directory.path(), &["a.service"]).is_empty());
    assert_eq!(value(directory.path(), "net/ipv4/tcp_rmem"), "4096\t131072\t6291456\n");
}

#[test]
fn what_the_kernel_does_not_take_is_a_warning() {
    let configuration = r#"{"sysctl": {"a": {
        "kernel.absent": "1", "/../../escape": "1", "kernel": "1", "": "1", "..": "1",
        "kernel/link": "1", "net.ipv4.conf.eth0/1.forwarding": "1"}}}"#;
    let directory = root(&[("kernel/x", "0"), ("net/ipv4/conf/eth0.1/forwarding", "0")], configuration);
    put(directory.path(), "outside", "0");
    std::os::unix::fs::symlink("../../../outside", directory.path().join("proc/sys/kernel/link")).unwrap();
    let said = set_on(directory.path(), &["a.service"]);
    assert_eq!(said.len(), 7, "{said:?}");
    assert!(said.iter().filter(|line| line.starts_with("warning: a wants ")).count() == 6, "{said:?}");
    assert!(said.contains(&"set net.ipv4.conf.eth0/1.forwarding = 1 for a".to_owned()), "{said:?}");
    assert_eq!(fs::read_to_string(directory.path().join("outside")).unwrap(), "0");
    assert!(!directory.path().join("escape").exists());
}

#[test]
fn what_separates_a_key_comes_first_in_it() {
    for (key, expected) in [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ] {
        assert_eq!(path(key).unwrap().as_bytes(), format!("proc/sys/{expected}").as_bytes(), "{key}");
    }
    assert_eq!(path("a/../../b"), None);
}
