//! `pkgpanda uninstall`: everything that was made goes, nothing else does, and whoever comes finishes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, missing_docs)] // a test stops where it fails

#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[allow(dead_code)]
#[path = "support/yard.rs"]
mod yard;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use yard::{Package, Yard};

const PACKAGE: &str = "pkgpanda--0123456789012345678901234567890123456789";

fn packages() -> [Package; 2] {
    let hello = Package::new("hello--1")
        .info(r#"{"username": "dcos_hello", "state_directory": true}"#)
        .program("bin/hello", "#!/bin/sh\n")
        .unit("dcos.target.wants/hello.service", "hello");
    [hello, Package::new(PACKAGE).program("bin/pkgpanda", "#!/bin/sh\n")]
}

fn put(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a host has before anything is installed.
fn furnish(root: &Path) {
    put(&root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n", 0o644);
    put(&root.join("etc/group"), "root:x:0:\n", 0o644);
    put(&root.join("etc/shadow"), "root:*:19000:0:99999:7:::\n", 0o640);
    put(&root.join("etc/passwd-"), "older\n", 0o644);
    put(&root.join("etc/systemd/system/other.service"), "[Unit]\n", 0o600);
    put(&root.join("etc/mesosphere/mine"), "mine", 0o644);
    fs::set_permissions(root.join("etc/mesosphere"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::create_dir_all(root.join("opt/other")).unwrap();
}

/// Every entry of a root with its mode, owner and content.
fn snapshot(root: &Path) -> BTreeMap<String, String> {
    let entry = |(path, entry): (Vec<u8>, listing::Entry)| {
        let content = matches!(entry.kind, listing::Kind::File { .. })
            .then(|| fs::read(listing::at(root, &path)).unwrap().escape_ascii().to_string());
        let text = format!("{:?} {:o} {:?} {content:?}", entry.kind, entry.mode, entry.owner);
        (listing::shown(&path), text)
    };
    listing::list(root).into_iter().map(entry).collect()
}

/// The same of some directories of a root.
fn snapshot_of(root: &Path, directories: &[&str]) -> BTreeMap<String, String> {
    let one = |directory: &&str| {
        let listed = snapshot(&root.join(directory)).into_iter();
        listed.map(|(path, entry)| (format!("/{directory}{path}"), entry)).collect::<Vec<_>>()
    };
    directories.iter().flat_map(one).collect()
}

/// What differs between two roots.
fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let paths = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path));
    let mut paths: Vec<_> =
        paths.map(|path| format!("{path}: {:?} {:?}", before.get(path), after.get(path))).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// A yard whose root is furnished and installed, and what that root was.
fn installed() -> (Yard, BTreeMap<String, String>) {
    let yard = Yard::new(&packages());
    furnish(&yard.root());
    let before = snapshot(&yard.root());
    yard.install(&["master"]);
    (yard, before)
}

#[test]
fn a_root_is_what_it_was() {
    let (furnished, before) = installed();
    assert_ne!(snapshot(&furnished.root()), before);
    let said = furnished.done(&["uninstall", "--yes"]);
    assert_eq!(differences(&before, &snapshot(&furnished.root())), [""; 0]);
    assert!(said.contains("removed /etc/mesosphere/roles/master\n"), "{said}");
    assert!(said.ends_with("removed /opt/mesosphere\n"), "{said}");
    let bare = Yard::new(&packages());
    let before = snapshot(&bare.root());
    bare.install(&[]);
    let removed = bare.json(&["uninstall", "--yes"]);
    assert_eq!(removed["kept"], serde_json::json!([]));
    assert_eq!(differences(&before, &snapshot(&bare.root())), [""; 0], "not even /opt is left");
    for yard in [furnished, bare] {
        assert!(yard.refused(&["uninstall", "--yes"]).contains("nothing is installed"));
        yard.install(&["slave"]);
    }
}

#[test]
fn what_others_made_stays_and_what_was_replaced_is_put_back() {
    let yard = Yard::new(&packages());
    let root = yard.root();
    furnish(&root);
    put(&root.join("etc/systemd/system/dcos.target"), "theirs\n", 0o640);
    symlink("elsewhere", root.join("etc/systemd/system/dcos-setup.service")).unwrap();
    let before = snapshot(&root);
    yard.install(&["master"]);
    assert_ne!(fs::read_to_string(root.join("etc/systemd/system/dcos.target")).unwrap(), "theirs\n");
    // Once everything is running: edits, additions, and a directory in the place of a file.
    put(&root.join("etc/mesosphere/setup-flags/repository-url"), "edited", 0o644);
    put(&root.join("etc/mesosphere/roles/.notes"), "mine", 0o644);
    fs::remove_file(root.join("etc/mesosphere/roles/master")).unwrap();
    put(&root.join("etc/mesosphere/roles/master/inside"), "mine", 0o644);
    let said = yard.done(&["uninstall", "--yes"]);
    for told in [
        "/etc/mesosphere/setup-flags/repository-url was edited",
        "removed /etc/mesosphere/setup-flags/repository-url\n",
        "put back /etc/systemd/system/dcos.target\n",
        "put back /etc/systemd/system/dcos-setup.service\n",
        "kept /etc/mesosphere/roles: it holds .notes, master, which is not ours\n",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let found = snapshot(&root);
    let differing = differences(&before, &found);
    let mut paths: Vec<_> = differing.iter().map(|line| line.split(": ").next().unwrap()).collect();
    paths.sort_unstable();
    let roles = "/etc/mesosphere/roles";
    assert_eq!(
        paths,
        [
            roles.to_owned(),
            format!("{roles}/.notes"),
            format!("{roles}/master"),
            format!("{roles}/master/inside")
        ]
    );
}

#[test]
fn links_that_came_later_lead_the_removal_nowhere() {
    let (yard, _) = installed();
    let (root, outside) = (yard.root(), yard.at("root/outside"));
    for name in ["setup-flags/repository-url", "roles/master"] {
        put(&outside.join(name), "precious", 0o644);
    }
    put(&outside.join("state/hello/data"), "precious", 0o644);
    for name in ["setup-flags", "roles"] {
        let place = root.join("etc/mesosphere").join(name);
        fs::remove_dir_all(&place).unwrap();
        symlink(format!("/outside/{name}"), place).unwrap();
    }
    fs::create_dir_all(root.join("var/lib")).unwrap();
    symlink("/outside/state", root.join("var/lib/dcos")).unwrap();
    let before = snapshot(&outside);
    yard.done(&["uninstall", "--yes"]);
    assert_eq!(differences(&before, &snapshot(&outside)), [""; 0]);
    assert!(root.join("etc/mesosphere/roles").is_symlink() && root.join("var/lib/dcos").is_symlink());
    assert!(!root.join("opt/mesosphere").exists());
}

#[test]
fn nobody_is_surprised() {
    let (yard, _) = installed();
    put(&yard.root().join("var/lib/dcos/hello/data"), "data", 0o600);
    let before = snapshot(&yard.root());
    let said = yard.refused(&["uninstall"]);
    assert!(said.contains("give --yes"), "{said}");
    let plan = yard.json(&["uninstall", "--plan"]);
    assert!(plan["files"].as_array().unwrap().contains(&"/etc/mesosphere/roles/master".into()), "{plan}");
    assert_eq!(plan["users"], serde_json::json!(["dcos_hello"]));
    assert_eq!(plan["state"], serde_json::json!(["/var/lib/dcos", "/var/lib/dcos/hello"]));
    assert_eq!(plan["install_root"], "/opt/mesosphere");
    let lines = yard.done(&["uninstall", "--plan", "--keep-state"]);
    assert!(
        !lines.contains("dcos_hello") && lines.ends_with("remove /opt/mesosphere and everything in it\n")
    );
    assert_eq!(yard.run(&["uninstall", "--plan", "--yes"]).status.code(), Some(2));
    assert_eq!(differences(&before, &snapshot(&yard.root())), [""; 0]);
    let said = yard.done(&["uninstall", "--yes", "--keep-state"]);
    assert!(said.contains("kept /var/lib/dcos: state is to be kept\n"), "{said}");
    assert_eq!(fs::read_to_string(yard.root().join("var/lib/dcos/hello/data")).unwrap(), "data");
    assert!(!yard.root().join("opt/mesosphere").exists());
}

/// Uninstalls, but is killed after `delay` microseconds. Says whether that came in time.
fn killed(yard: &Yard, delay: u64) -> bool {
    let mut command = yard.command(&["uninstall", "--yes"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_micros(delay));
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

#[test]
fn a_run_that_was_killed_at_any_point_is_finished_by_the_next() {
    let full = std::env::var_os("BAKE_TEST_FULL").is_some();
    let (mut kills, mut begun, mut delay) = (0, 0, 500);
    loop {
        let (yard, before) = installed();
        let whole = snapshot(&yard.root());
        let was_killed = killed(&yard, delay);
        let now = snapshot(&yard.root());
        begun += u32::from(was_killed && now != whole && now != before);
        if now != before {
            yard.done(&["uninstall", "--yes"]);
        }
        let differing = differences(&before, &snapshot(&yard.root()));
        assert_eq!(differing, [""; 0], "after {delay} microseconds");
        kills += u32::from(was_killed);
        if !was_killed {
            break;
        }
        delay += if full { 200 + delay / 16 } else { 1_000 + delay / 8 };
    }
    println!("{kills} runs were killed, {begun} of them half way");
    assert!(kills >= 3 && begun >= 1, "only {kills} runs were killed, {begun} of them half way");
}

#[test]
fn a_host_that_is_being_removed_is_changed_by_nothing_else() {
    let mut resumed = 0;
    for delay in (1_000..40_000).step_by(1_500) {
        let (yard, before) = installed();
        killed(&yard, delay);
        let record = fs::read_link(yard.home("current")).ok().and_then(|current| {
            serde_json::from_slice::<serde_json::Value>(
                &fs::read(yard.home("").join(current).join("generation.json")).ok()?,
            )
            .ok()
        });
        if record.is_none_or(|record| record["removing"] != true) {
            continue;
        }
        let said = yard.refused(&["activate", "hello--1"]);
        assert!(said.contains("pkgpanda uninstall"), "{said}");
        let product = yard.from().join("product.json");
        let install = ["install", "--product", product.to_str().unwrap(), "--from", "/nowhere"];
        yard.refused(&install);
        // What a boot does.
        yard.done(&["setup", "--no-systemd"]);
        assert_eq!(differences(&before, &snapshot(&yard.root())), [""; 0], "after {delay} microseconds");
        resumed += 1;
        if resumed == 2 {
            return;
        }
    }
    panic!("no run was killed after its commit");
}

#[test]
fn a_place_that_is_a_link_or_a_file_system_stays_needs_root() {
    let linked = Yard::new(&packages());
    furnish(&linked.root());
    symlink("/data/mesosphere", linked.root().join("opt/mesosphere")).unwrap();
    let before = snapshot(&linked.root());
    linked.install(&["master"]);
    linked.done(&["uninstall", "--yes"]);
    assert_eq!(differences(&before, &snapshot(&linked.root())), [""; 0]);

    let mounted = Yard::new(&packages());
    let place = mounted.home("");
    fs::create_dir_all(&place).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&place).status().unwrap();
    if !mount.success() {
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let before = snapshot(&mounted.root());
        mounted.install(&["master"]);
        put(&mounted.home("mine"), "mine", 0o644);
        let said = mounted.done(&["uninstall", "--yes"]);
        assert!(said.contains("kept /opt/mesosphere/mine: it is not ours\n"), "{said}");
        fs::remove_file(mounted.home("mine")).unwrap();
        fs::set_permissions(mounted.home(""), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(differences(&before, &snapshot(&mounted.root())), [""; 0]);
    });
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    result.unwrap();
}

#[test]
fn what_is_all_but_gone_goes() {
    let (yard, before) = installed();
    // As if the run had been killed right after the rename.
    fs::rename(yard.home(""), yard.root().join("opt/.mesosphere.removed")).unwrap();
    for path in ["etc/mesosphere/roles", "etc/mesosphere/setup-flags"] {
        fs::remove_dir_all(yard.root().join(path)).unwrap();
    }
    for unit in ["dcos-setup.service", "dcos.target", "multi-user.target.wants/dcos-setup.service"] {
        fs::remove_file(yard.root().join("etc/systemd/system").join(unit)).unwrap();
    }
    fs::remove_dir(yard.root().join("etc/systemd/system/multi-user.target.wants")).unwrap();
    let said = yard.done(&["uninstall", "--yes"]);
    assert_eq!(said, "removed what was left of /opt/mesosphere\n");
    assert_eq!(differences(&before, &snapshot(&yard.root())), [""; 0]);
}

#[test]
fn a_damaged_host_is_removed_all_the_same() {
    let (yard, before) = installed();
    fs::write(yard.home(&format!("packages/{PACKAGE}/bin/pkgpanda")), "damaged").unwrap();
    fs::remove_dir_all(yard.home("packages/hello--1")).unwrap();
    yard.done(&["uninstall", "--yes"]);
    assert_eq!(differences(&before, &snapshot(&yard.root())), [""; 0]);
}

#[test]
fn a_host_whose_current_generation_is_lost_is_removed_by_its_record() {
    for damage in ["none", "generations/9", "/etc", "directory", "record"] {
        let (yard, before) = installed();
        let current = yard.home("current");
        match damage {
            "record" => fs::write(yard.home("generations/1/generation.json"), "{").unwrap(),
            other => {
                fs::remove_file(&current).unwrap();
                match other {
                    "none" => {}
                    "directory" => fs::create_dir(&current).unwrap(),
                    target => symlink(target, &current).unwrap(),
                }
            }
        }
        let planned = yard.json(&["uninstall", "--plan"]);
        assert!(planned["files"].to_string().contains("/etc/mesosphere/roles/master"), "{damage}: {planned}");
        let said = yard.done(&["uninstall", "--yes"]);
        assert!(said.contains("removed /etc/mesosphere/roles/master\n"), "{damage}: {said}");
        assert_eq!(differences(&before, &snapshot(&yard.root())), [""; 0], "{damage}");
    }
}

#[test]
fn a_host_that_has_lost_the_record_is_rid_of_what_is_as_its_generation_says() {
    let (yard, before) = installed();
    fs::remove_file(yard.home("created.json")).unwrap();
    let planned = yard.json(&["uninstall", "--plan"]);
    assert!(planned["files"].to_string().contains("/etc/systemd/system/dcos-setup.service"), "{planned}");
    let said = yard.done(&["uninstall", "--yes"]);
    assert!(said.contains("created.json is missing"), "{said}");
    assert!(said.contains("the user dcos_hello: nobody can tell who made it"), "{said}");
    let left = differences(&before, &snapshot(&yard.root()));
    // Directories are nobody's any more, and what is not there cannot be.
    assert!(left.iter().all(|line| !line.contains("File") && !line.contains("Symlink")), "{left:#?}");
}

#[test]
fn a_record_that_names_what_nobody_makes_is_refused() {
    for (key, value) in [
        ("state", serde_json::json!(["/home"])),
        ("state", serde_json::json!(["/"])),
        ("files", serde_json::json!({"/etc/../etc/passwd": "host"})),
        ("directories", serde_json::json!(["/opt/mesosphere/packages"])),
    ] {
        let (yard, _) = installed();
        let path = yard.home("created.json");
        let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record[key] = value;
        fs::write(&path, record.to_string()).unwrap();
        let before = snapshot(&yard.root());
        let said = yard.refused(&["uninstall", "--yes"]);
        assert!(said.contains("created.json` names"), "{said}");
        assert_eq!(differences(&before, &snapshot(&yard.root())), [""; 0]);
    }
}

/// A Debian root file system that nobody else changes; none if it was not made or cannot be used here.
fn debian(yard: &Yard) -> Option<()> {
    let tar = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("rootfs/debian-12.tar");
    let is_root = fs::metadata("/proc/self").map(|own| own.uid() == 0).unwrap();
    if !is_root || !tar.is_file() {
        return None;
    }
    let mut extract = Command::new("tar");
    extract.arg("--numeric-owner").arg("-xpf").arg(tar).arg("-C").arg(yard.root());
    extract.args(["--exclude=./usr/share/*", "--exclude=usr/share/*"]);
    assert!(extract.status().unwrap().success());
    Some(())
}

/// Runs a script in the root of a yard.
fn within(yard: &Yard, script: &str) -> String {
    let chroot = r#"mount -t proc none "$1/proc"; exec chroot "$1" sh -euc "$2""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", chroot, "sh"]).arg(yard.root()).arg(script);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn users_and_their_files_leave_a_debian_host_needs_root() {
    let more =
        Package::new("more--1").info(r#"{"username": "dcos_more", "group": "adm", "state_directory": true}"#);
    let [hello, program] = packages();
    let yard = Yard::new(&[hello, program, more]);
    if debian(&yard).is_none() {
        return;
    }
    let root = yard.root();
    let etc = || {
        let all = snapshot_of(&root, &["etc", "opt", "var/lib"]);
        all.into_iter().filter(|(path, _)| !path.ends_with("/.updated")).collect::<BTreeMap<_, _>>()
    };
    let before = etc();
    yard.install(&["master"]);
    // As the first boot has it, by the host's own tools; and a service that writes.
    let sysusers = || {
        put(
            &root.join("run/sysusers.d/dcos.conf"),
            "u dcos_hello - \"DCOS System User\" /opt/mesosphere /sbin/nologin\n\
         u dcos_more -:adm \"DCOS System User\" /opt/mesosphere /sbin/nologin\n",
            0o644,
        );
    };
    sysusers();
    put(
        &root.join("run/tmpfiles.d/dcos.conf"),
        "d /var/lib/dcos 0755 root root -\nd /var/lib/dcos/hello 0755 dcos_hello root -\n",
        0o644,
    );
    within(&yard, "systemd-sysusers dcos.conf; systemd-tmpfiles --create dcos.conf");
    put(&root.join("var/lib/dcos/hello/deep/data"), "data", 0o600);
    let made = within(&yard, "getent passwd dcos_hello; getent group dcos_hello; getent passwd dcos_more");
    assert_eq!(made.lines().count(), 3, "{made}");
    assert_ne!(etc(), before);
    let said = yard.done(&["uninstall", "--yes"]);
    assert!(said.contains("removed dcos_hello from /etc/passwd\n"), "{said}");
    assert!(said.contains("removed /var/lib/dcos and everything in it\n"), "{said}");
    assert_eq!(differences(&before, &etc()), [""; 0]);
    within(&yard, "pwck --read-only --quiet || test $? = 2; grpck --read-only");

    // Once more, with an operator who has put things together in the meantime.
    yard.install(&["master"]);
    sysusers();
    within(&yard, "systemd-sysusers dcos.conf; useradd --no-create-home bob");
    within(
        &yard,
        "usermod --append --groups dcos_hello,audio dcos_more; usermod --append --groups audio bob",
    );
    yard.done(&["uninstall", "--yes"]);
    let left = within(
        &yard,
        "getent passwd bob; getent group audio; grep -c dcos_ /etc/passwd /etc/*shadow* /etc/group* || :",
    );
    assert!(left.contains("bob:x:") && left.contains(":bob\n") && !left.contains("dcos_more"), "{left}");
    assert!(left.lines().skip(2).all(|line| line.ends_with(":0")), "{left}");
    within(&yard, "pwck --read-only --quiet || test $? = 2; grpck --read-only");
}

#[test]
fn users_are_not_touched_while_another_program_changes_them_needs_root() {
    let (yard, _) = installed();
    fs::write(yard.root().join("etc/.pwd.lock"), "").unwrap();
    let mut holder = Command::new("python3");
    let script = "import fcntl,sys,time; f=open(sys.argv[1],'w'); fcntl.lockf(f,fcntl.LOCK_EX); print('held',flush=True); time.sleep(2)";
    holder.args(["-c", script]).arg(yard.root().join("etc/.pwd.lock")).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let begun = std::time::Instant::now();
    yard.done(&["uninstall", "--yes"]);
    assert!(begun.elapsed() > Duration::from_secs(1), "it waits");
    holder.wait().unwrap();
}
