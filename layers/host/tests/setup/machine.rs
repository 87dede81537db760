//! The program as on the machine that runs from its root: in a mount namespace with directories of its own, a
//! `systemctl` that only writes down what it is asked for, and the real systemd-sysusers and systemd-tmpfiles.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use super::yard::{Package, Yard};

/// Gives the namespace its own `/etc`, `/var`, `/run` and `/opt`, then runs `"$@"`. `$0` is the yard.
const ENTER: &str = r#"
set -eu
for place in etc var; do
    mount -t overlay overlay -o "lowerdir=/$place,upperdir=$0/upper/$place,workdir=$0/work/$place" "/$place"
done
for place in opt run; do mount --bind "$0/root/$place" "/$place"; done
for key in net/ipv4/ip_forward kernel/panic; do mount --bind "$0/sys/$key" "/proc/sys/$key"; done
mkdir -p /run/systemd/system
exec "$@""#;

/// What systemctl is.
const SYSTEMCTL: &str = "#!/bin/sh\necho \"$*\" >>\"${0%/*}/../asked\"\n";

/// A machine.
struct Machine {
    yard: Yard,
}

impl Machine {
    fn new(packages: &[Package], roles: &[&str]) -> Self {
        let yard = Yard::installed(packages, roles);
        for directory in [
            "upper/etc",
            "upper/var",
            "work/etc",
            "work/var",
            "root/run",
            "bin",
            "sys/net/ipv4",
            "sys/kernel",
        ] {
            fs::create_dir_all(yard.at(directory)).unwrap();
        }
        fs::write(yard.at("sys/net/ipv4/ip_forward"), "0\n").unwrap();
        fs::write(yard.at("sys/kernel/panic"), "0\n").unwrap();
        fs::write(yard.at("bin/systemctl"), SYSTEMCTL).unwrap();
        fs::set_permissions(yard.at("bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { yard }
    }

    fn output(&self, command: &[&str]) -> Output {
        let mut enter = Command::new("unshare");
        enter.args(["--mount", "sh", "-c", ENTER]).arg(self.yard.at("")).args(command);
        let path = format!("{}:{}", self.yard.at("bin").display(), std::env::var("PATH").unwrap());
        enter.env("PATH", path).output().unwrap()
    }

    /// What a shell says in there.
    fn shell(&self, script: &str) -> String {
        let output = self.output(&["sh", "-euc", script]);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn setup(&self) -> Output {
        let _ = fs::remove_file(self.yard.at("asked"));
        self.output(&[env!("CARGO_BIN_EXE_pkgpanda-dynamic"), "setup"])
    }

    /// What it says, and what it asked of systemctl.
    fn set_up(&self) -> (String, String) {
        let output = self.setup();
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), self.asked())
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.yard.at("asked")).unwrap_or_default()
    }
}

fn hello() -> Package {
    let info = r#"{"username": "dcos_bake_test", "state_directory": true, "sysctl": {
        "hello": {"net.ipv4.ip_forward": "1"}, "hello-master": {"kernel.panic": "10"}}}"#;
    Package::new("hello--1")
        .info(info)
        .unit("dcos.target.wants/hello.service", "hello")
        .unit("dcos.target.wants/each@.service", "each")
        .link("dcos.target.wants/each@one.service", "each@.service")
        .unit("dcos.target.wants_master/hello-master.service", "master")
}

const SETTLED: &str = "start -- dcos-roles.path\nreset-failed -- each@one.service hello.service\n\
     start --no-block -- dcos.target\n";

#[test]
fn as_root_users_state_settings_and_units_are_made_once() {
    let machine =
        Machine::new(&[hello(), Package::new("bare--1").info(r#"{"state_directory": true}"#)], &["slave"]);
    let (said, asked) = machine.set_up();
    assert!(said.contains("made the user dcos_bake_test\n"), "{said}");
    assert!(
        said.contains("set net.ipv4.ip_forward = 1 for hello\n") && !said.contains("kernel.panic"),
        "{said}"
    );
    assert!(said.ends_with("generation 1 as slave\n"), "{said}");
    // The roles are watched before they are read; then come the units.
    let reload = "daemon-reload\n";
    let forget = "reset-failed -- each@one.service hello.service\n";
    let start = "start --no-block -- dcos.target\n";
    assert_eq!(asked, format!("{reload}start -- dcos-roles.path\n{reload}{forget}{start}"));
    let user = machine.shell("getent passwd dcos_bake_test");
    assert!(user.ends_with(":DCOS System User:/opt/mesosphere:/sbin/nologin\n"), "{user}");
    let stat = "stat -c '%n %F %U %G %a' /var/lib/dcos /var/lib/dcos/*";
    assert_eq!(
        machine.shell(stat),
        "/var/lib/dcos directory root root 755\n\
         /var/lib/dcos/bare directory root root 755\n\
         /var/lib/dcos/hello directory dcos_bake_test root 755\n"
    );
    let units =
        "cd /run/systemd/system && find . -type f | sort && find . -type l -printf '%P -> %l\\n' | sort";
    assert_eq!(
        machine.shell(units),
        "./dcos-roles.path\n./dcos-roles.service\n./each@.service\n./each@one.service\n./hello.service\n\
         dcos.target.wants/each@one.service -> ../each@one.service\n\
         dcos.target.wants/hello.service -> ../hello.service\n"
    );
    assert_eq!(fs::read_to_string(machine.yard.at("sys/net/ipv4/ip_forward")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(machine.yard.at("sys/kernel/panic")).unwrap(), "0\n");

    // Once more: nothing is written, nobody is asked to read anything again, and only what may have stopped starts.
    let all = "find /etc /run /opt /var/lib/dcos -xdev -printf '%p %i %C@\\n' | sort";
    let before = machine.shell(all);
    let (said, asked) = machine.set_up();
    assert_eq!(said, "generation 1 as slave\n");
    assert_eq!(asked, SETTLED);
    assert_eq!(machine.shell(all), before);
}

#[test]
fn as_root_units_follow_the_roles() {
    let machine = Machine::new(&[hello()], &["slave"]);
    machine.set_up();
    // What somebody else put there stays.
    let foreign =
        "cd /run/systemd/system && echo x >foreign.service && ln -s ../foreign.service dcos.target.wants/";
    machine.shell(foreign);
    machine.shell("rm /etc/mesosphere/roles/slave; touch /etc/mesosphere/roles/master");
    let (said, asked) = machine.set_up();
    assert!(said.ends_with("generation 2 as master\n"), "{said}");
    assert!(said.contains("set kernel.panic = 10 for hello-master\n"), "{said}");
    let forget = "reset-failed -- each@one.service hello-master.service hello.service";
    assert!(
        asked.ends_with(&format!("daemon-reload\n{forget}\nstart --no-block -- dcos.target\n")),
        "{asked}"
    );
    let wants = machine.shell("ls /run/systemd/system/dcos.target.wants");
    assert_eq!(wants, "each@one.service\nforeign.service\nhello-master.service\nhello.service\n");
    // Given back by command: what goes stops first.
    let _ = fs::remove_file(machine.yard.at("asked"));
    let change = [env!("CARGO_BIN_EXE_pkgpanda-dynamic"), "role", "add", "slave"];
    assert!(machine.output(&change).status.success());
    let change = [env!("CARGO_BIN_EXE_pkgpanda-dynamic"), "role", "remove", "master"];
    assert!(machine.output(&change).status.success());
    let asked = machine.asked();
    let (stop, start) =
        (asked.find("stop -- hello-master.service"), asked.rfind("start --no-block -- dcos.target"));
    assert!(stop.is_some() && stop < start, "{asked}");
    let wants = machine.shell("ls /run/systemd/system/dcos.target.wants");
    assert_eq!(wants, "each@one.service\nforeign.service\nhello.service\n");
    assert_eq!(machine.shell("ls /etc/mesosphere/roles"), "slave\n");
}

#[test]
fn as_root_a_state_directory_of_another_owner_is_given_to_its_user() {
    let machine = Machine::new(&[hello()], &["slave"]);
    machine.set_up();
    // As after an installation under another number of the user: the original changed the owner of everything.
    machine.shell(
        "cd /var/lib/dcos/hello && mkdir -p a/b && touch a/b/file /var/outside && ln -s /var/outside link && \
         chown -hR 12345:54321 . && chown 0:0 /var/outside",
    );
    let (said, _) = machine.set_up();
    assert!(said.contains("gave /var/lib/dcos/hello to its user\n"), "{said}");
    assert_eq!(
        machine.shell(
            "cd /var/lib/dcos && stat -c '%n %U %g' hello hello/a hello/a/b/file hello/link /var/outside"
        ),
        "hello dcos_bake_test 0\nhello/a dcos_bake_test 54321\nhello/a/b/file dcos_bake_test 54321\n\
         hello/link dcos_bake_test 54321\n/var/outside root 0\n"
    );
    let (said, _) = machine.set_up();
    assert_eq!(said, "generation 1 as slave\n");
    // An operator's link to another disk is theirs.
    machine.shell("cd /var/lib && mv dcos/hello /var/elsewhere && ln -s /var/elsewhere dcos/hello && chown 7 /var/elsewhere");
    machine.set_up();
    assert_eq!(
        machine.shell("stat -c '%u' /var/elsewhere; stat -c %F /var/lib/dcos/hello"),
        "7\nsymbolic link\n"
    );
}

/// `manual_host_users` of the original: a missing user is an error, and none is made.
#[test]
fn as_root_where_people_make_users_none_is_made_and_the_rest_runs() {
    let machine = Machine::new(&[hello()], &["slave"]);
    machine.shell("mkdir -p /etc/mesosphere; touch /etc/mesosphere/manual_host_users");
    let output = machine.setup();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        said.contains(
            "the user dcos_bake_test is missing: make it, or remove `/etc/mesosphere/manual_host_users`"
        ),
        "{said}"
    );
    assert_eq!(machine.shell("getent passwd dcos_bake_test || echo none"), "none\n");
    assert!(machine.asked().ends_with("start --no-block -- dcos.target\n"), "what needs no user runs");
    machine.shell("useradd --system --no-create-home dcos_bake_test");
    let (said, _) = machine.set_up();
    assert!(said.ends_with("generation 1 as slave\n"), "{said}");
    assert_eq!(machine.shell("stat -c %U /var/lib/dcos/hello"), "dcos_bake_test\n");
}

/// Users keep whatever number they have: nothing changes one that is there.
#[test]
fn as_root_a_user_that_does_not_fit_is_told() {
    let info = r#"{"username": "dcos_bake_test", "group": "bake_test_group"}"#;
    let machine = Machine::new(&[Package::new("hello--1").info(info)], &["slave"]);
    let output = machine.setup();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("the group bake_test_group, which the user dcos_bake_test is to have, is missing"),
        "{said}"
    );
    machine.shell("groupadd --system bake_test_group");
    let (said, _) = machine.set_up();
    assert!(said.contains("made the user dcos_bake_test\n"), "{said}");
    assert_eq!(machine.shell("id -gn dcos_bake_test"), "bake_test_group\n");
    machine.shell("groupadd other && usermod -g other dcos_bake_test");
    let output = machine.setup();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the user dcos_bake_test is there and not in the group bake_test_group"), "{said}");
    machine.shell("usermod -aG bake_test_group dcos_bake_test");
    let (said, _) = machine.set_up();
    assert_eq!(said, "generation 1 as slave\n");
}

/// What everybody may read, everybody is told.
#[test]
fn as_root_who_is_not_root_may_look() {
    let machine = Machine::new(&[hello()], &["slave"]);
    machine.set_up();
    let program = machine.yard.root().join("opt/pkgpanda");
    fs::copy(env!("CARGO_BIN_EXE_pkgpanda-dynamic"), program).unwrap();
    // What systemd says is the same for everybody; that of this machine writes down what it is asked.
    machine.shell(&format!("chmod 0666 '{}'", machine.yard.at("asked").display()));
    let nobody = |arguments: &str| {
        let script = format!("setpriv --reuid=nobody --clear-groups /opt/pkgpanda {arguments}");
        machine.output(&["sh", "-c", &script])
    };
    for (arguments, expected) in [
        ("status", "roles: slave (/etc/mesosphere/roles)"),
        ("status --json", r#""warnings": []"#),
        ("active", "hello--1"),
        ("list", "hello--1"),
        ("generations", "* 1 "),
        ("role", "slave"),
    ] {
        let output = nobody(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(expected), "{arguments}: {output:?}");
    }
    let changes =
        ["setup", "audit", "repair", "rollback", "role add master", "gc", "edit bin/x", "uninstall", "check"];
    for arguments in changes {
        let output = nobody(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        assert!(
            said.contains("this needs root: run it with sudo, or give --root DIR"),
            "{arguments}: {said}"
        );
    }
}
