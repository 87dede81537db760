//! Root in an ordinary container, where name spaces are refused: what protects there, and what is told.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use bake_package::sandbox::Mount;

use super::ground::{Ground, Who, facts, is_root, is_running, wait_until};

/// Root's ground in a container, unless there is no root to be.
fn contained() -> Option<Ground> {
    is_root("builds by root in a container").then(|| Ground::new(Who::Contained))
}

#[test]
fn a_build_is_a_user_of_its_own_in_a_root_of_its_own_and_that_is_told() {
    let Some(ground) = contained() else { return };
    let script = r#"
        echo uid=$(id -u); echo gid=$(id -g); echo "groups=$(id -G)"; echo umask=$(umask)
        echo "top=$(cd /; echo *)"; echo "devices=$(cd /dev; echo *)"; echo "processes=$(ls -A /proc)"
        echo core=$(ulimit -c); echo directory=$(pwd -P); head -c 4 /dev/urandom | wc -c | sed s/^/random=/
        for d in /tmp /var/tmp /root /run /dev/shm; do echo x > $d/x || echo "UNUSABLE $d"; done; : > /dev/null
        perl -e 'printf "privileges=%d\n", syscall(157, 39, 0, 0, 0, 0)'
        for n in 0 1 5 7; do perl -e "printf qq{bound$n=%d\n}, syscall(157, 23, $n)"; done
        perl -e '$h = pack "LL", 0x20080522, 0; $d = "\1" x 24; syscall(125, $h, $d); print "held=", unpack("H*", $d), "\n"'
    "#;
    let mut spec = ground.spec(script);
    spec.working_directory = "/pkg/src".into();
    let ran = ground.run(&spec);
    let warnings = ran.result.as_ref().unwrap().warnings.clone();
    let log = ran.ok();
    let facts = facts(&log);
    let is = |key, value| assert_eq!(facts.get(key), Some(&value), "{key}: {log}");
    let id = facts["uid"].parse::<u32>().unwrap();
    assert!((60578..61184).contains(&id), "{log}");
    is("gid", facts["uid"]);
    is("groups", facts["uid"]);
    is("umask", "0022");
    is("top", "bin dev etc lib lib64 opt pkg proc root run sbin tmp usr var");
    is("devices", "full null random shm tty urandom zero");
    is("processes", "");
    is("core", "0");
    is("directory", "/pkg/src");
    is("random", "4");
    if cfg!(target_arch = "x86_64") {
        is("privileges", "1");
        is("held", &"0".repeat(48));
    }
    assert!(!log.contains("UNUSABLE"), "{log}");
    for (missing, says) in warnings.iter().zip([
        "builds run in a chroot as a user of their own, neither root nor uid 0, since name spaces are refused (a \
         user name space: cannot make a user name space: Operation not permitted",
        "`/proc` is empty and there are no terminals",
        "lie on the disk",
        "without a PID name space",
        "System V",
        "the machine's host name",
        "loopback included",
    ]) {
        assert!(missing.contains(says), "{missing}");
    }
    assert_eq!(warnings.len(), 7, "{warnings:?}");
    assert_eq!(fs::read_dir(ground.at("scratch")).unwrap().count(), 0);
}

#[test]
fn what_a_build_reads_is_as_it_was_and_what_it_writes_comes_back() {
    let Some(ground) = contained() else { return };
    for (name, mode) in [("private", 0o600), ("open", 0o666), ("program", 0o700), ("shared", 0o644)] {
        fs::write(ground.at("build").join(name), "#!/bin/sh\necho ran\n").unwrap();
        fs::set_permissions(ground.at("build").join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let state = |name: &str| {
        let metadata = fs::metadata(ground.at("build").join(name)).unwrap();
        (metadata.ino(), metadata.mode(), metadata.uid(), metadata.nlink(), metadata.modified().unwrap())
    };
    let before = ["private", "open", "program", "shared"].map(state);
    let script = "cd /pkg/build; cat private > /dev/null && ./program && stat -c '%n %h' open shared; \
                  for f in *; do (echo x > $f) 2>/dev/null && echo ESCAPED; chmod 777 $f 2>/dev/null && echo ESCAPED; \
                  rm -f $f 2>/dev/null; test -e $f || echo ESCAPED; touch $f 2>/dev/null && echo ESCAPED; done; \
                  stat -c '%n %a %Y' . shared >&2; set -e; cd /opt/mesosphere/packages/own--1; mkdir -p a/b; \
                  echo made > a/b/file; chown 12:34 a; ln -s nowhere link; mkdir closed; chmod 0 closed; \
                  echo x >> /pkg/src/source.c";
    assert_eq!(
        ground.script(script).ok().lines().take(3).collect::<Vec<_>>(),
        ["ran", "open 1", "shared 2"] // a copy, and another name
    );
    assert_eq!(["private", "open", "program", "shared"].map(state), before);
    for name in ["result", "result/a", "result/a/b/file", "result/link", "result/closed", "src/source.c"] {
        let metadata = fs::symlink_metadata(ground.at(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (0, 0), "{name}");
    }
    assert_eq!(fs::read_to_string(ground.at("src/source.c")).unwrap(), "int main;\nx\n");
}

#[test]
fn the_machines_files_are_out_of_reach() {
    let Some(ground) = contained() else { return };
    fs::write(ground.at("secret"), "secret").unwrap();
    fs::set_permissions(ground.at("secret"), fs::Permissions::from_mode(0o666)).unwrap();
    let secret = ground.at("secret");
    let script = format!(
        "for n in 3 4 5 6 7 8 9 10 11 12; do (: <&$n) 2>/dev/null && echo ESCAPED $n; done
        cat {0} ../../../../../../../..{0} /../{0} /etc/passwd /etc/shadow 2>/dev/null && echo ESCAPED
        perl -e '$d = \"/tmp/d\"; mkdir $d; open D, \"<\", \"/\"; exit 1 unless syscall(161, $d) == 0; chdir *D; \
            chdir \"..\" for 1..99; exec \"cat\", \".{0}\"' && echo ESCAPED
        ls -A /home /mnt /sys 2>/dev/null; echo done",
        secret.display()
    );
    let starter = ["bash", "-c", "exec 7</etc/passwd 8</; exec \"$@\"", "-"];
    assert_eq!(ground.run_by(&ground.spec(&script), &starter).ok(), "done\n");
}

#[test]
fn the_machines_processes_are_out_of_reach_and_none_of_the_builds_survives() {
    let Some(ground) = contained() else { return };
    // Users that a build might turn out to be.
    let mut victims = ["0", "65534"].map(|id| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", id, "--regid", id, "--clear-groups", "sleep", "1000"]).spawn().unwrap()
    });
    let marker = format!("6{}", std::process::id());
    let script = format!(
        "for p in {0} {1} $PPID 1; do kill -9 $p 2>/dev/null && echo ESCAPED; done
        sleep {marker}.1 & setsid sleep {marker}.2 & (setsid setsid bash -c 'trap \"\" HUP TERM INT; \
        sleep {marker}.3 & exec sleep {marker}.4' > /dev/null 2>&1 < /dev/null &) ; disown -a
        perl -e 'fork for 1..4; while (1) {{ fork and exit; $0 = \"x\" }}' & sleep 0.3; echo done; {2}",
        victims[0].id(),
        victims[1].id(),
        "kill -9 $$"
    );
    let ran = ground.script(&script);
    let running = victims.each_mut().map(|victim| victim.try_wait().unwrap().is_none());
    for victim in &mut victims {
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    assert_eq!(running, [true, true], "the build killed a process of the machine");
    assert_eq!((ran.log.as_str(), ran.result.unwrap().signal), ("done\n", Some(9)));
    for number in 1..=4 {
        assert!(!is_running(&format!("{marker}.{number}")), "a process survived");
    }
    // The last `kill` ends everything there is to end, and nothing else.
    assert_eq!(
        ground.script("exec 2>/dev/null; sleep 2000 & kill -9 -1; sleep 1; echo alone").ok(),
        "alone\n"
    );
}

#[test]
fn two_builds_are_two_users() {
    let (Some(one), Some(two)) = (contained(), contained()) else { return };
    let mut first = one.start(&one.spec("id -u; id -u > /pkg/src/started; sleep 1000"));
    one.wait_for("src/started");
    let id = two.script("kill -9 -1; id -u").ok();
    assert_eq!(first.try_wait().unwrap(), None, "one build ended the other");
    fs::write(one.at("stop"), "").unwrap();
    first.wait().unwrap();
    assert_ne!(one.ran().log, id);
}

#[test]
fn the_machines_network_is_refused_unless_asked_for_and_local_sockets_always() {
    let Some(ground) = contained() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("bake-test-contained-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    let _local = UnixListener::bind_addr(&address).unwrap();
    let script = format!(
        r#"perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => {0}) ? "tcp=yes\n" : "tcp=no\n"'
        perl -MSocket -e 'print "abstract=", (socket(S, PF_UNIX, SOCK_STREAM, 0) && connect(S, pack("S a*", AF_UNIX, "\0{name}"))) ? "yes\n" : "no\n"'
        perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Local => "/tmp/s", Listen => 1);
            print "own=", IO::Socket::UNIX->new(Peer => "/tmp/s") ? "yes\n" : "no\n"'
        perl -MErrno -e 'for (1..45) {{ $! = 0; print "family$_=1\n" if syscall(41, $_, 3, 0) >= 0 or !$!{{EAFNOSUPPORT}} }}'"#,
        listener.local_addr().unwrap().port()
    );
    let log = ground.script(&script).ok();
    let own: Vec<_> = log.lines().collect();
    assert_eq!(own[..3], ["tcp=no", "abstract=no", "own=yes"], "{log}");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(own[3..], ["family1=1", "family16=1"], "{log}");
    }
    let mut spec = ground.spec(&script);
    spec.network = true;
    let ran = ground.run(&spec);
    assert_eq!(ran.result.as_ref().unwrap().warnings.len(), 6);
    assert!(ran.ok().starts_with("tcp=yes\nabstract=no\nown=yes\n"), "network was asked for");
}

#[test]
fn memory_and_queues_that_all_users_share_are_refused() {
    let Some(ground) = contained() else { return };
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let calls = "29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240, 241";
    let script = format!(
        "perl -MErrno -e 'for ({calls}) {{ syscall($_, 0, 0, 0, 0); print $!{{ENOSYS}} ? \"\" : \"$_\\n\" }}'"
    );
    assert_eq!(ground.script(&script).ok(), "");
}

#[test]
fn the_death_of_bake_ends_the_build_and_brings_back_what_it_wrote() {
    let Some(ground) = contained() else { return };
    let marker = format!("5{}", std::process::id());
    let spec = ground.spec(&format!(
        "(setsid setsid sleep {marker}.1 &); sleep {marker}.2 & : > /pkg/src/started; sleep {marker}.3"
    ));
    let mut driver = ground.start(&spec);
    wait_until(|| (1..=3).all(|number| is_running(&format!("{marker}.{number}"))));
    driver.kill().unwrap();
    driver.wait().unwrap();
    wait_until(|| !(1..=3).any(|number| is_running(&format!("{marker}.{number}"))));
    ground.wait_for("src/started");
    wait_until(|| fs::metadata(ground.at("src/started")).is_ok_and(|metadata| metadata.uid() == 0));
}

#[test]
fn a_build_that_fills_the_disk_is_ended_before_it_is_full() {
    let Some(ground) = contained() else { return };
    let disk = ground.at("disk");
    fs::create_dir(&disk).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=128m,mode=755", "none"]).arg(&disk);
    assert!(mount.status().unwrap().success());
    let mut spec = ground.spec("while :; do head -c 4M /dev/zero >> /tmp/full; sleep 0.05; done");
    for mount in spec.mounts.iter_mut().filter(|mount| mount.writable) {
        mount.source = disk.join(mount.source.file_name().unwrap());
        fs::create_dir(&mount.source).unwrap();
    }
    spec.scratch = disk.join("scratch");
    fs::create_dir(&spec.scratch).unwrap();
    // What lies on another file system is copied, so let it be little.
    let libraries = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let names = ["libc.so.6", "libtinfo.so.6", "ld-linux-x86-64.so.2"];
    let mut small: Vec<_> = names.iter().map(|name| format!("{libraries}/{name}")).collect();
    small.extend(["bash", "head", "sleep"].map(|name| format!("/usr/bin/{name}")));
    small.extend(["/usr/lib64", "/usr/lib/ld-linux-aarch64.so.1"].map(str::to_owned));
    small.retain(|path| fs::exists(path).unwrap());
    spec.mounts.retain(|mount| !mount.source.starts_with("/usr"));
    let shown = |path: String| Mount { source: path.clone().into(), target: path, writable: false };
    spec.mounts.extend(small.into_iter().map(shown));
    spec.limits.disk_reserve = 64 << 20;
    let ran = ground.run(&spec);
    let left = rustix::fs::statvfs(&disk).unwrap();
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    let error = ran.error();
    assert!(error.contains("67108864 are to stay free"), "{error}");
    assert!(left.f_bavail * left.f_frsize > 100 << 20, "what it wrote is gone");
}

#[test]
fn what_takes_a_mount_is_refused_and_nothing_is_lost() {
    let Some(ground) = contained() else { return };
    let mut spec = ground.spec("echo unreachable");
    let mut inner = spec.mounts[1].clone();
    inner.target = "/pkg/src/deep".into();
    fs::create_dir(ground.at("src/deep")).unwrap();
    spec.mounts.push(inner);
    let ran = ground.run(&spec);
    assert_eq!(ran.log, "");
    assert!(ran.error().contains("nothing can be mounted in it here"));
    let mut spec = ground.spec("echo unreachable");
    spec.command = vec!["/pkg/build/none".into()];
    assert!(ground.run(&spec).error().contains("run `/pkg/build/none` in `/` for the sandbox: No such file"));
    assert_eq!(fs::read_to_string(ground.at("src/source.c")).unwrap(), "int main;\n");
    assert_eq!(fs::metadata(ground.at("src/source.c")).unwrap().uid(), 0);
    assert_eq!(fs::read_dir(ground.at("scratch")).unwrap().count(), 0);
}

#[test]
fn a_container_that_may_make_no_devices_is_refused() {
    let Some(ground) = contained() else { return };
    let starter = ["setpriv", "--bounding-set=-mknod", "--inh-caps=-mknod"];
    let error = ground.run_by(&ground.spec("echo unreachable"), &starter).error();
    assert!(error.contains("this machine does not allow the sandbox"), "{error}");
    assert!(error.contains("as root with MKNOD it would build in a chroot"), "{error}");
}

#[test]
fn bake_doctor_says_what_is_left() {
    let Some(ground) = contained() else { return };
    let output = ground.command_by(&[env!("CARGO_BIN_EXE_bake"), "doctor"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("a user name space: cannot make a user name space"), "{text}");
    assert!(text.ends_with("a chroot instead, which protects less: works\n"), "{text}");
}
