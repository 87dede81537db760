//! What `dcos-setup` makes on a host, and takes back when the host's roles change.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test runs the script and stops where it fails

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs the script with `root` as its root directory, and gives what it asked of systemctl.
fn run(root: &Path) -> String {
    let script = include_str!("../src/integration/dcos-setup.sh");
    let mut text = script.to_owned();
    for absolute in ["/opt/", "/run/", "/etc/", "/proc/"] {
        text = text.replace(absolute, &format!("{}{absolute}", root.display()));
    }
    let program = format!("#!/bin/sh\necho \"$*\" >>{}/asked\n", root.display());
    fs::write(root.join("bin/systemctl"), program).unwrap();
    fs::set_permissions(root.join("bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("asked"), "").unwrap();
    let path = format!("{}/bin:/usr/bin:/bin", root.display());
    let output = Command::new("sh").args(["-c", &text]).env("PATH", path).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    fs::read_to_string(root.join("asked")).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn units_of_a_former_role_are_stopped_and_removed() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dcos-setup");
    let _ = fs::remove_dir_all(&root);
    let package = "opt/mesosphere/active/p";
    for (directory, unit) in [
        ("dcos.target.wants", "all.service"),
        ("dcos.target.wants_master", "master.service"),
        ("dcos.target.wants_slave", "slave.service"),
    ] {
        fs::create_dir_all(root.join(package).join(directory)).unwrap();
        fs::write(root.join(package).join(directory).join(unit), "").unwrap();
    }
    for directory in ["bin", "proc", "etc/mesosphere/roles", "run/credentials/@system", "run/systemd/system"]
    {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let units = root.join("run/systemd/system");
    fs::write(units.join("other.service"), "").unwrap();

    // Files come before the credential, the credential before the kernel command line.
    fs::write(root.join("proc/cmdline"), "quiet dcos.roles=slave\n").unwrap();
    assert_eq!(run(&root), "daemon-reload\nstart --no-block dcos.target\n");
    assert_eq!(names(&units.join("dcos.target.wants")), ["all.service", "slave.service"]);
    fs::write(root.join("run/credentials/@system/dcos.roles"), "master,slave").unwrap();
    assert_eq!(run(&root), "daemon-reload\nstart --no-block dcos.target\n");
    assert_eq!(
        names(&units),
        ["all.service", "dcos.target.wants", "master.service", "other.service", "slave.service"]
    );
    fs::write(root.join("etc/mesosphere/roles/master"), "").unwrap();
    assert_eq!(run(&root), "stop slave.service\ndaemon-reload\nstart --no-block dcos.target\n");
    assert_eq!(names(&units.join("dcos.target.wants")), ["all.service", "master.service"]);
    assert_eq!(names(&units), ["all.service", "dcos.target.wants", "master.service", "other.service"]);

    fs::remove_file(root.join("etc/mesosphere/roles/master")).unwrap();
    fs::remove_file(root.join("run/credentials/@system/dcos.roles")).unwrap();
    fs::write(root.join("proc/cmdline"), "quiet\n").unwrap();
    assert_eq!(run(&root), "stop all.service\nstop master.service\ndaemon-reload\n");
    assert_eq!(names(&units), ["dcos.target.wants", "other.service"]);
}
