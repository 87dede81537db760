//! Services around the commit point, with a `systemctl` that writes down how it is called: the root of the host is
//! the root of the program.

use std::process::{Command, Output};

use super::*;

/// Says what is current while it is called, and fails at what `/fail` names.
const SYSTEMCTL: &str = "#!/bin/sh
echo \"$(readlink /opt/mesosphere/current | tr -dc 0-9) $*\" >> /log
case $1 in \"$(cut -d ' ' -f 1 /fail 2>/dev/null)\") echo 'it will not' >&2; exit \"$(cut -d ' ' -f 2 /fail)\" ;; esac
";

/// A host that programs can run in.
fn running(packages: &[Package], roles: &[&str]) -> Yard {
    let yard = Yard::installed(packages, roles);
    let root = yard.root();
    // What tells programs that systemd runs.
    for directory in ["usr", "dev", "proc", "run/systemd/system", "fake"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_pkgpanda-dynamic"), root.join("fake/pkgpanda")).unwrap();
    fs::write(root.join("fake/systemctl"), SYSTEMCTL).unwrap();
    assert!(Command::new("chmod").arg("755").arg(root.join("fake/systemctl")).status().unwrap().success());
    yard
}

fn run(yard: &Yard, arguments: &[&str]) -> Output {
    let script = "mount --rbind /usr \"$0/usr\" && mount --rbind /dev \"$0/dev\" && mount -t proc proc \"$0/proc\" && \
                  exec chroot \"$0\" /usr/bin/env PATH=/fake:/usr/bin /fake/pkgpanda \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(yard.root())
        .args(arguments);
    command.output().unwrap()
}

fn done(yard: &Yard, arguments: &[&str]) {
    let output = run(yard, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn refused(yard: &Yard, arguments: &[&str]) -> String {
    let output = run(yard, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The calls since the last time that stop or start what is the product's, each after the generation of its time.
fn calls(yard: &Yard) -> Vec<String> {
    let log = yard.root().join("log");
    let text = fs::read_to_string(&log).unwrap_or_default();
    let _ = fs::remove_file(&log);
    let ours = text.lines().filter(|line| line.contains(" stop ") || line.ends_with(" dcos.target"));
    ours.map(str::to_owned).collect()
}

fn fail(yard: &Yard, verb: &str, status: u8) {
    fs::write(yard.root().join("fail"), format!("{verb} {status}\n")).unwrap();
}

fn services() -> Yard {
    let yard =
        running(&[hello("1").unit("dcos.target.wants_slave/agent.service", "agent"), world()], &["master"]);
    yard.add(&hello("2"));
    yard
}

#[test]
fn as_root_services_stop_before_the_commit_and_start_after_it() {
    let yard = services();
    done(&yard, &["swap", "hello--2"]);
    assert_eq!(calls(&yard), ["1 stop -- hello.service world.service", "2 start --no-block -- dcos.target"]);
    let unit = fs::read_to_string(yard.root().join("run/systemd/system/hello.service")).unwrap();
    assert!(unit.contains("/bin/echo 2"), "{unit}");
    done(&yard, &["rollback"]);
    assert_eq!(calls(&yard), ["2 stop -- hello.service world.service", "1 start --no-block -- dcos.target"]);
    // Status 5: not loaded, and so not running.
    fail(&yard, "stop", 5);
    done(&yard, &["swap", "hello--2"]);
    fs::remove_file(yard.root().join("fail")).unwrap();
    calls(&yard);
    done(&yard, &["--no-systemd", "swap", "hello--1"]);
    assert_eq!(calls(&yard), [""; 0]);
}

#[test]
fn as_root_a_change_of_roles_stops_only_what_goes() {
    let yard = services();
    done(&yard, &["setup"]);
    calls(&yard);
    done(&yard, &["role", "add", "slave"]);
    assert_eq!(calls(&yard), ["2 start --no-block -- dcos.target"]);
    assert!(yard.root().join("run/systemd/system/agent.service").exists());
    done(&yard, &["role", "remove", "slave"]);
    let calls = calls(&yard);
    assert_eq!(calls[0], "2 stop -- agent.service", "{calls:?}");
    assert!(calls.iter().all(|call| !call.contains("hello.service")), "{calls:?}");
    assert!(!yard.root().join("run/systemd/system/agent.service").exists());
}

/// The reference's defect 4: the original stops nothing in particular then, which fails.
#[test]
fn as_root_without_units_nothing_is_stopped() {
    let yard = running(&[Package::new("hello--1")], &["master"]);
    yard.add(&Package::new("hello--2"));
    done(&yard, &["swap", "hello--2"]);
    assert!(calls(&yard).iter().all(|call| !call.contains(" stop ")));
}

#[test]
fn as_root_what_does_not_stop_keeps_the_host_as_it_was() {
    let yard = services();
    let before = fs::read_dir(yard.home("generations")).unwrap().count();
    fail(&yard, "stop", 1);
    let said = refused(&yard, &["swap", "hello--2"]);
    assert!(said.contains("systemctl stop") && said.contains("it will not"), "{said}");
    assert_eq!(yard.link("current"), "generations/1");
    assert_eq!(fs::read_dir(yard.home("generations")).unwrap().count(), before, "no generation is left");
    // What had stopped already starts again.
    assert_eq!(calls(&yard), ["1 stop -- hello.service world.service", "1 start --no-block -- dcos.target"]);
    done(&yard, &["--no-systemd", "swap", "hello--2"]);
    refused(&yard, &["rollback"]);
    assert_eq!(yard.link("current"), "generations/2");
}

#[test]
fn as_root_what_fails_after_the_commit_is_told_as_such_and_made_up_for() {
    let yard = services();
    fail(&yard, "start", 1);
    let said = refused(&yard, &["swap", "hello--2"]);
    assert!(
        said.ends_with("generation 2 is current all the same: `pkgpanda setup` does what is left\n"),
        "{said}"
    );
    assert_eq!(yard.link("current"), "generations/2");
    calls(&yard);
    fs::remove_file(yard.root().join("fail")).unwrap();
    // The same command does, too.
    done(&yard, &["swap", "hello--2"]);
    assert_eq!(calls(&yard), ["2 start --no-block -- dcos.target"]);
}
