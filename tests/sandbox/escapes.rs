//! Ways out of the sandbox, tried.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use super::ground::{Ground, Who, as_everybody, everywhere, facts, is_root, is_running, wait_until};

/// A Perl program of attempts: `tries("name", result)` prints `name=0` where a system call succeeded, and
/// otherwise the error's name. Numbers are those of x86-64; elsewhere the program is empty.
fn attempts(ground: &Ground, program: &str) -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("SKIPPED: the numbers of system calls are those of x86-64");
        return None;
    }
    let prelude = r#"use Errno; sub tries { my ($name, @call) = @_; $! = 0; my $r = syscall($call[0], @call[1..$#call]);
        my $e = $r == -1 ? (grep { $!{$_} } sort keys %!)[0] : "0"; print "$name=$e\n"; }"#;
    fs::write(ground.at("build/attempts"), format!("{prelude}\n{program}")).unwrap();
    Some(ground.script("perl /pkg/build/attempts").ok())
}

#[test]
fn nothing_outside_the_writable_directories_can_be_written() {
    everywhere(|ground| {
        let script = r#"
            for path in / /etc /usr /usr/bin /bin /dev /dev/pts /opt /opt/mesosphere /opt/mesosphere/packages /pkg /pkg/build \
                        /opt/mesosphere/packages/zlib--1 /opt/mesosphere/packages/zlib--1/lib /var /proc /proc/sys/kernel; do
                (echo gotcha > $path/new-file) 2>/dev/null && echo "ESCAPED $path"
                mkdir $path/new-directory 2>/dev/null && echo "ESCAPED $path"
            done
            for file in /etc/os-release /pkg/build/build /usr/bin/bash /opt/mesosphere/packages/zlib--1/lib/libz.so \
                        /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/sys/net/ipv4/ip_forward; do
                (echo gotcha >> $file) 2>/dev/null && echo "ESCAPED $file"
                chmod 777 $file 2>/dev/null && echo "ESCAPED $file"
                rm $file 2>/dev/null && echo "ESCAPED $file"
                ln $file /pkg/src/link 2>/dev/null && echo "ESCAPED $file"
            done
            for path in /tmp /var/tmp /root /run /dev/shm /pkg/src $PWD; do echo fine > $path/file || echo "UNUSABLE $path"; done
            echo done"#;
        let mut spec = ground.spec(script);
        spec.working_directory = "/opt/mesosphere/packages/own--1".into();
        assert_eq!(ground.run(&spec).ok(), "done\n");
        assert_eq!(fs::read_to_string(ground.at("root/etc/os-release")).unwrap(), "ID=test\n");
    });
}

#[test]
fn files_of_the_machine_cannot_be_read() {
    as_everybody(|ground| {
        fs::write(ground.at("secret"), "secret").unwrap();
        fs::set_permissions(ground.at("secret"), fs::Permissions::from_mode(0o666)).unwrap();
        let secret = ground.at("secret");
        let script = format!(
            "cat {0} /proc/1/root{0} /proc/1/cwd/{0} /proc/self/root{0} ../../../..{0} /etc/shadow /etc/passwd \
             2>/dev/null && echo ESCAPED; ls -A /home /root /mnt /media /boot /srv /sys 2>/dev/null; \
             ls -l /proc/1/fd /proc/1/exe >/dev/null 2>&1 && echo ESCAPED; cat /proc/1/environ 2>/dev/null; \
             head -c 1 /proc/kcore 2>/dev/null; dmesg 2>/dev/null; echo done",
            secret.display()
        );
        let log = ground.script(&script).ok();
        assert!(!log.contains("secret") && !log.contains("ESCAPED"), "{log}");
        assert!(log.ends_with("/root:\ndone\n"), "{log}");
    });
}

#[test]
fn processes_of_the_machine_are_neither_seen_nor_killed() {
    as_everybody(|ground| {
        let mut victim = match ground.who {
            Who::Nobody => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sleep", "1000"]);
                command
            }
            _ => {
                let mut command = Command::new("sleep");
                command.arg("1000");
                command
            }
        }
        .spawn()
        .unwrap();
        let script = format!(
            "ls -d /proc/[0-9]* | wc -l; kill -9 {0} 2>/dev/null && echo ESCAPED; cat /proc/{0}/cmdline 2>/dev/null; \
             strace -p {0} 2>/dev/null && echo ESCAPED; (sleep 2000 & kill -9 -1); echo unreachable",
            victim.id()
        );
        // The last `kill` ends everything there is to end, this script included.
        let ran = ground.script(&script);
        let running = victim.try_wait().unwrap().is_none();
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(running, "the build killed a process of the machine");
        assert!(ran.log.trim().parse::<u32>().is_ok_and(|count| count <= 4), "{}", ran.log);
        assert_eq!(ran.result.unwrap().signal, Some(9));
    });
}

#[test]
fn the_machines_network_is_out_of_reach_unless_asked_for() {
    as_everybody(|ground| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("bake-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let _local = UnixListener::bind_addr(&address).unwrap();
        let script = format!(
            r#"perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => {0}) ? "tcp=yes\n" : "tcp=no\n"'
            perl -MSocket -e 'socket S, PF_UNIX, SOCK_STREAM, 0; print connect(S, pack("S a*", AF_UNIX, "\0{name}")) ? "abstract=yes\n" : "abstract=no\n"'
            echo "interfaces=$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\n' ' ')""#,
            listener.local_addr().unwrap().port()
        );
        let log = ground.script(&script).ok();
        assert!(log.contains("tcp=no\nabstract=no\n"), "{log}");
        assert!(log.contains("interfaces=lo ") && facts(&log)["interfaces"].trim() == "lo", "{log}");
        let mut spec = ground.spec(&script);
        spec.network = true;
        let log = ground.run(&spec).ok();
        assert!(
            log.contains("tcp=yes\nabstract=no\n"),
            "network was asked for, and local services were not: {log}"
        );
    });
}

#[test]
fn devices_can_be_neither_made_nor_found() {
    everywhere(|ground| {
        let script = "cd /pkg/src; for d in 'b 8 0' 'b 254 0' 'c 1 1' 'c 1 3' 'c 0 0'; do
                mknod node $d 2>/dev/null && echo ESCAPED; mknod /tmp/node $d 2>/dev/null && echo ESCAPED; done
            for d in sda vda nvme0n1 mem kmsg kvm fuse loop0 loop-control net/tun mapper/control tty0 console; do
                test -e /dev/$d && echo \"ESCAPED $d\"; done
            find / -xdev \\( -type b -o -type c \\) -not -path '/dev/*' 2>/dev/null | head; mkfifo pipe && echo done";
        assert_eq!(ground.script(script).ok(), "done\n");
    });
}

#[test]
fn a_device_in_a_mounted_directory_is_dead() {
    if !is_root("making device nodes") {
        return;
    }
    let ground = Ground::new(Who::Root);
    assert!(
        Command::new("mknod").arg(ground.at("src/null")).args(["c", "1", "3"]).status().unwrap().success()
    );
    fs::set_permissions(ground.at("src/null"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(ground.script("(echo > /pkg/src/null) 2>/dev/null && echo ESCAPED; echo done").ok(), "done\n");
}

#[test]
fn name_spaces_mounts_keys_and_the_kernel_itself_are_closed() {
    as_everybody(|ground| {
        let program = r#"
            tries "mount", 165, "x", "/tmp", "tmpfs", 0, 0; tries "umount", 166, "/tmp", 2; tries "pivot_root", 155, ".", ".";
            tries "chroot", 161, "/tmp"; tries "unshare_user", 272, 0x10000000; tries "unshare_mount", 272, 0x20000;
            tries "unshare_time", 272, 0x80; tries "unshare_files", 272, 0x400; tries "setns", 308, 0, 0;
            tries "clone_user", 56, 0x10000011, 0, 0, 0, 0; tries "clone3", 435, 0, 0; tries "fsopen", 430, "tmpfs", 0;
            tries "open_tree", 428, -100, "/", 1; tries "move_mount", 429, 0, "", 0, "", 0; tries "mount_setattr", 442, 0, "", 0, 0, 0;
            tries "by_handle", 304, 0, 0, 0; tries "add_key", 248, "user", "bake", "x", 1, -4; tries "keyctl", 250, 0, -4, 0, 0, 0;
            tries "request_key", 249, "user", "bake", 0, 0; tries "bpf", 321, 0, 0, 0; tries "perf", 298, 0, 0, -1, -1, 0;
            tries "userfaultfd", 323, 0; tries "io_uring", 425, 1, 0; tries "module", 175, 0, 0, ""; tries "kexec", 246, 0, 0, 0, 0;
            tries "swapon", 167, "/tmp/x", 0; tries "reboot", 169, 0, 0, 0, 0; tries "dmesg", 103, 10, 0, 0;
            tries "personality", 135, 0x40000; tries "personality_now", 135, 0xffffffff; tries "x32_getpid", 0x40000000 + 39;
            open T, "<", "/dev/null"; tries "sti", 16, fileno(T), 0x5412, "x"; tries "openat2", 437, -100, "/", 0, 0;
            tries "hostname", 170, "x", 1; tries "setuid", 105, 1000; tries "setgroups", 116, 1, "\0\0\0\0";
        "#;
        let Some(log) = attempts(ground, program) else { return };
        let facts = facts(&log);
        for (name, errno) in &facts {
            let expected = match *name {
                "unshare_files" | "personality_now" => "0",
                "clone3" | "io_uring" | "openat2" | "x32_getpid" => "ENOSYS",
                "setuid" => "EINVAL", // there is no other user
                _ => "EPERM",
            };
            assert_eq!(*errno, expected, "{name}: {log}");
        }
        assert_eq!(facts.len(), 36, "{log}");
    });
}

#[test]
fn calls_of_another_architecture_end_the_process() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    as_everybody(|ground| {
        let program = "int main(void) { int r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"0\"(20)); return r > 0; }";
        fs::write(ground.at("build/old.c"), program).unwrap();
        let log = ground.script("cd /pkg/src && gcc -o old /pkg/build/old.c && ./old; echo status=$?").ok();
        assert!(log.contains("status=159"), "{log}"); // 128 + SIGSYS
    });
}

#[test]
fn set_id_bits_cannot_be_set_and_count_for_nothing() {
    as_everybody(|ground| {
        let program = r#"
            chdir "/pkg/src"; mkdir "d"; open F, ">", "f"; my $fd = fileno F;
            for my $bits (04755, 02755, 06755) {
                my $n = sprintf "%o", $bits;
                tries "chmod$n", 90, "f", $bits; tries "fchmod$n", 91, $fd, $bits; tries "fchmodat$n", 268, -100, "f", $bits;
                tries "fchmodat2_$n", 452, -100, "f", $bits, 0; tries "mkdir$n", 83, "new", $bits; tries "mkdirat$n", 258, -100, "new", $bits;
                tries "open$n", 2, "new", 0101, $bits; tries "openat$n", 257, -100, "new", 0101, $bits; tries "creat$n", 85, "new", $bits;
                tries "tmpfile$n", 257, -100, ".", 020200001, $bits;
                tries "mknod$n", 133, "new", 0100000 | $bits, 0; tries "mknodat$n", 259, -100, "new", 0100000 | $bits, 0;
            }
            tries "sticky", 90, "d", 01755; tries "read", 2, "f", 0, 04755; tries "chown", 92, "f", 5, 5;
            print "mode=", (sprintf "%o", (stat "f")[2] & 07777), "\nowner=", (stat "f")[4], "\n";
        "#;
        if let Some(log) = attempts(ground, program) {
            let facts = facts(&log);
            for (name, errno) in &facts {
                let expected = match *name {
                    "sticky" | "read" | "chown" | "owner" => "0",
                    "mode" => "644",
                    _ => "EPERM",
                };
                assert_eq!(*errno, expected, "{name}: {log}");
            }
            assert_eq!(facts.len(), 36 + 5, "{log}");
        }
        // Not even one that is there already makes anybody anything.
        fs::copy("/usr/bin/id", ground.at("src/id")).unwrap();
        fs::set_permissions(ground.at("src/id"), fs::Permissions::from_mode(0o6755)).unwrap();
        let mut spec = ground
            .spec("/pkg/src/id -u; grep NoNewPrivs /proc/self/status; findmnt -no OPTIONS / >/dev/null");
        (spec.uid, spec.gid) = (1234, 1234);
        spec.mounts.retain(|mount| mount.target != "/pkg/src");
        let mut mount = ground.spec("").mounts[2].clone();
        mount.writable = false;
        spec.mounts.push(mount);
        let log = ground.run(&spec).log;
        assert!(log.starts_with("1234\n"), "{log}");
        let mounts = ground.script("cat /proc/self/mounts").ok();
        for line in mounts.lines() {
            let fields: Vec<_> = line.split(' ').collect();
            let device = fields[1].starts_with("/dev/") && !["/dev/pts", "/dev/shm"].contains(&fields[1]);
            let hidden = fields[1].starts_with("/proc/");
            assert!(fields[3].contains("nosuid") || device || hidden, "{line}");
        }
    });
}

#[test]
fn output_does_not_depend_on_extended_attributes() {
    everywhere(|ground| {
        let program = r#"open F, ">", "/pkg/src/f"; tries "set", 188, "/pkg/src/f", "user.x", "v", 1, 0;
            tries "lset", 189, "/pkg/src/f", "user.x", "v", 1, 0; tries "fset", 190, fileno(F), "user.x", "v", 1, 0;
            tries "setat", 463, -100, "/pkg/src/f", 0, "user.x", 0, 0; tries "remove", 197, "/pkg/src/f", "user.x";"#;
        let Some(log) = attempts(ground, program) else { return };
        let facts = facts(&log);
        assert_eq!(facts.len(), 5, "{log}");
        assert!(facts.values().all(|errno| ["ENOTSUP", "EOPNOTSUPP"].contains(errno)), "{log}");
    });
}

#[test]
fn the_sandboxs_own_process_is_closed_to_the_build() {
    as_everybody(|ground| {
        let program = r#"tries "attach", 101, 16, 1, 0, 0; tries "seize", 101, 0x4206, 1, 0, 0;
            tries "pidfd_getfd", 438, syscall(434, 1, 0), 3, 0;
            print "mem=", (open(M, "+<", "/proc/1/mem") ? "0" : "closed"), "\n"; tries "kill", 62, 1, 9;
            sleep 1; print "alive=", -d "/proc/1" ? "yes" : "no", "\n";"#;
        let Some(log) = attempts(ground, program) else { return };
        let facts = facts(&log);
        for name in ["attach", "seize", "pidfd_getfd"] {
            assert_eq!(facts[name], "EPERM", "{log}");
        }
        assert_eq!((facts["mem"], facts["alive"]), ("closed", "yes"), "{log}");
    });
}

#[test]
fn background_processes_do_not_survive_the_script() {
    as_everybody(|ground| {
        let marker = format!("7{}", std::process::id());
        let script = format!(
            "sleep {marker}.1 & setsid sleep {marker}.2 & (setsid setsid bash -c 'trap \"\" HUP TERM INT; \
             sleep {marker}.3 & exec sleep {marker}.4' > /dev/null 2>&1 < /dev/null &) ; disown -a; sleep 0.2; \
             ls -d /proc/[0-9]* | wc -l"
        );
        let log = ground.script(&script).ok();
        assert!(log.trim().parse::<u32>().unwrap() >= 6, "{log}");
        for number in 1..=4 {
            assert!(!is_running(&format!("{marker}.{number}")), "a process survived");
        }
    });
}

#[test]
fn nothing_survives_the_death_of_bake() {
    as_everybody(|ground| {
        let marker = format!("8{}", std::process::id());
        let spec = ground.spec(&format!(
            "(setsid setsid sleep {marker}.1 &); sleep {marker}.2 & touch /pkg/src/started; sleep {marker}.3"
        ));
        let mut driver = ground.start(&spec);
        ground.wait_for("src/started");
        wait_until(|| (1..=3).all(|number| is_running(&format!("{marker}.{number}"))));
        driver.kill().unwrap();
        driver.wait().unwrap();
        wait_until(|| !(1..=3).any(|number| is_running(&format!("{marker}.{number}"))));
    });
}
