use std::fs;
use std::path::Path;

use super::*;

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What the sources say, and what they should not.
fn found(root: &Path) -> (Vec<String>, Option<String>, Vec<String>) {
    let mut warnings = Vec::new();
    let Found { roles, source, .. } = read(&Root::open(root).unwrap(), &mut |warning| warnings.push(warning));
    (roles.iter().map(ToString::to_string).collect(), source, warnings)
}

#[test]
fn the_first_source_that_names_a_role_counts() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    assert_eq!(found(root), (vec![], None, vec![]));
    put(root, "proc/cmdline", b"quiet dcos.roles=d\n");
    assert_eq!(found(root).0, ["d"]);
    let smbios = b"\x0b\x05\0\0\x01io.systemd.credential:dcos.roles=c\0\0";
    put(root, "sys/firmware/dmi/entries/11-0/raw", smbios);
    assert_eq!(found(root).0, ["c"]);
    put(root, "run/credentials/@system/dcos.roles", b"b1, b2\n");
    assert_eq!(found(root).0, ["b1", "b2"]);
    put(root, "etc/mesosphere/roles/.hidden", b"");
    assert_eq!(found(root).1.unwrap(), "the credential /run/credentials/@system/dcos.roles");
    put(root, "etc/mesosphere/roles/a", b"");
    assert_eq!(found(root), (vec!["a".to_owned()], Some("/etc/mesosphere/roles".to_owned()), vec![]));
    // While the directory is being written, nobody says anything.
    put(root, "etc/mesosphere/roles/.roles.unfinished", b"");
    assert_eq!(found(root), (vec![], None, vec![]));
}

#[test]
fn what_is_no_role_is_told_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    put(root, "etc/mesosphere/roles/master~", b"");
    put(root, "run/credentials/@system/dcos.roles", b"../../etc \xff\x1b[2J");
    fs::create_dir_all(root.join("proc/cmdline")).unwrap();
    let (roles, source, warnings) = found(root);
    assert_eq!((roles.len(), source), (0, None));
    assert!(warnings[0].contains("/etc/mesosphere/roles/master~` is no role"), "{warnings:?}");
    assert!(warnings[1].contains("`../../etc` is no role"), "{warnings:?}");
    // Nothing hostile reaches a terminal.
    assert!(warnings.iter().all(|warning| !warning.contains(char::is_control)), "{warnings:?}");
    assert!(warnings.last().unwrap().contains("proc/cmdline"), "{warnings:?}");
    put(root, "run/credentials/@system/dcos.roles", b"bad/name,slave");
    let (roles, _, warnings) = found(root);
    assert_eq!((roles, warnings.len()), (vec!["slave".to_owned()], 2));
}

#[test]
fn a_source_that_cannot_be_read_lets_no_later_one_win() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    put(root, "etc/mesosphere/roles", b"a file where a directory should be");
    put(root, "proc/cmdline", b"dcos.roles=slave\n");
    let (roles, source, warnings) = found(root);
    assert_eq!((roles.len(), source), (0, None));
    assert!(warnings[0].contains("etc/mesosphere/roles"), "{warnings:?}");
    assert!(try_read(&Root::open(root).unwrap(), &mut |_| ()).is_err());
}

#[test]
fn the_kernel_may_be_told_in_any_quotes() {
    for (line, roles) in [
        ("dcos.roles=master", vec!["master"]),
        ("a dcos.roles=master,slave b\n", vec!["master", "slave"]),
        (r#"a "dcos.roles=master slave" b"#, vec!["master", "slave"]),
        (r#"dcos.roles="master slave" b"#, vec!["master", "slave"]),
        ("dcos.roles='master' b", vec!["master"]),
        ("dcos.roles=master dcos.roles=slave", vec!["master", "slave"]),
        (r#"dcos.roles="master"#, vec!["master"]),
        (r#"x="a dcos.roles=master""#, vec![]),
        ("xdcos.roles=master dcos.rolesx=a dcos.roles dcos.roles=", vec![]),
        ("", vec![]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "proc/cmdline", line.as_bytes());
        assert_eq!(found(directory.path()).0, roles, "{line}");
    }
}
