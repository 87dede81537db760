//! Machines that do not allow the sandbox, and wishes that make no sense.

use std::fs;
use std::io::Write;
use std::process::Command;

use super::ground::{Ground, Who, as_everybody, is_root};

/// Runs its arguments in a user name space that allows no further ones; ids are mapped one to one, as root in a
/// container has them, when the text on standard input says that they have been.
const WITHOUT_USER_NAMESPACES: &str = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";

#[test]
fn an_ordinary_user_learns_which_setting_refuses() {
    as_everybody(|ground| {
        if ground.who == Who::Root {
            return;
        }
        let starter = ["unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT_USER_NAMESPACES, "-"];
        let error = ground.run_by(&ground.spec("echo unreachable"), &starter).error();
        assert!(
            error.starts_with("this machine does not allow the sandbox: cannot make a user name space"),
            "{error}"
        );
        assert!(error.contains("`sysctl user.max_user_namespaces=15000`"), "{error}");
    });
}

#[test]
fn root_builds_without_user_namespaces_as_nobody() {
    if !is_root("being root") {
        return;
    }
    let ground = Ground::new(Who::Root);
    let script = "id -u; head -n1 /proc/self/uid_map | wc -w; grep -E 'CapEff|CapBnd' /proc/self/status; \
                  echo made > /pkg/src/made; (echo x > /pkg/build/x) 2>/dev/null && echo ESCAPED; \
                  ls -d /proc/[0-9]* | wc -l; mount -t tmpfs x /tmp 2>/dev/null && echo ESCAPED; tail -n +3 /proc/net/dev | wc -l";
    // The name space needs its ids from outside before anything can be done in it.
    let waiting = format!("read line; exec sh -c '{WITHOUT_USER_NAMESPACES}' \"$@\"");
    let mut driver =
        ground.start_by(&ground.spec(script), &["unshare", "--user", "sh", "-c", &waiting, "-", "-"]);
    let process = driver.id();
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    while fs::read_link(format!("/proc/{process}/ns/user")).is_ok_and(|it| it == own) {
        std::thread::yield_now();
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{process}/{map}"), "0 0 100000").unwrap();
    }
    driver.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(driver.wait().unwrap().success());
    let ran = ground.ran();
    let outcome = ran.result.as_ref().unwrap();
    assert!(outcome.is_success() && outcome.warnings.len() == 1, "{outcome:?}");
    assert!(outcome.warnings[0].contains("the build runs as uid 65534, not 0"), "{outcome:?}");
    let lines: Vec<_> = ran.log.lines().collect();
    assert_eq!(
        &lines[..4],
        ["65534", "3", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"],
        "{}",
        ran.log
    );
    assert!(lines[4].parse::<u32>().unwrap() < 6 && lines[5] == "1" && lines.len() == 6, "{}", ran.log);
    assert_eq!(fs::read_to_string(ground.at("src/made")).unwrap(), "made\n");
}

#[test]
fn root_without_its_powers_builds_as_an_ordinary_user_does() {
    if !is_root("being root") {
        return;
    }
    let ground = Ground::new(Who::Root);
    let starter = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let ran = ground.run_by(
        &ground.spec("id -u; echo made > /pkg/src/made; cat /pkg/src/made; (echo > /etc/x) 2>/dev/null && echo ESCAPED"),
        &starter,
    );
    let outcome = ran.result.as_ref().unwrap();
    assert_eq!(ran.log, "0\nmade\n");
    assert_eq!(
        outcome.warnings,
        ["bake is root without CAP_SYS_ADMIN: the number of processes is not limited"]
    );
}

#[test]
fn wishes_that_cannot_be_fulfilled_are_named() {
    as_everybody(|ground| {
        let error = |change: &dyn Fn(&mut bake_package::sandbox::Spec)| {
            let mut spec = ground.spec("echo unreachable");
            change(&mut spec);
            let ran = ground.run(&spec);
            assert_eq!(ran.log, "");
            ran.error()
        };
        let missing = ground.at("missing");
        let says = |text: String, parts: &[&str]| {
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        };
        says(
            error(&|spec| spec.root = missing.clone()),
            &["cannot find `", "missing` for the sandbox: No such file"],
        );
        says(error(&|spec| spec.mounts[1].source = missing.clone()), &["/missing`", "No such file"]);
        says(
            error(&|spec| spec.mounts[1].target = "pkg".into()),
            &["mount on `pkg`", "not an absolute path"],
        );
        says(error(&|spec| spec.mounts[1].target = "/pkg/../etc".into()), &["/pkg/../etc", "`..`"]);
        says(error(&|spec| spec.mounts[1].target = "/tmp".into()), &["mount on `/tmp`", "mounted there"]);
        says(error(&|spec| spec.mounts[1].target = "/proc/x".into()), &["/proc/x", "without mount points"]);
        says(
            error(&|spec| spec.mounts[1].target = "/pkg/src/deep".into()),
            &["[\"deep\"]", "which is writable"],
        );
        says(
            error(&|spec| spec.command = vec!["/pkg/build/none".into()]),
            &["run `/pkg/build/none` in `/`", "No such file"],
        );
        says(error(&|spec| spec.working_directory = "/none".into()), &["in `/none`", "No such file"]);
    });
}

#[test]
fn the_subcommand_alone_does_nothing() {
    let output = Command::new(env!("CARGO_BIN_EXE_bake"))
        .arg("__sandbox")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
}
