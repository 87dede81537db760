//! What a build script may count on.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::ground::{Who, as_everybody, everywhere, facts};

#[test]
fn a_build_sees_fixed_surroundings() {
    as_everybody(|ground| {
        let script = r#"
            echo uid=$(id -u); echo gid=$(id -g); echo "groups=$(id -G)"
            echo host=$(hostname); echo "domain=$(cat /proc/sys/kernel/domainname)"; echo umask=$(umask)
            echo input=$(readlink /proc/self/fd/0); echo "files=$(cd /proc/self/fd; echo ? ??)"
            echo pid=$$; echo "session=$(ps -o sid= -p $$ | tr -d ' ')"
            echo "ignored=$(sed -n 's/^SigIgn:\s*//p' /proc/self/status)"
            echo "blocked=$(sed -n 's/^SigBlk:\s*//p' /proc/self/status)"
            echo "privileges=$(perl -ne 'print $1 if /^NoNewPrivs:\s*(\w+)/' /proc/self/status)"
            for set in Inh Prm Eff Bnd Amb; do
                echo "$set=$(perl -ne "print \$1 if /^Cap$set:\\s*(\\w+)/" /proc/self/status)"
            done
            echo "top=$(cd /; echo *)"; echo "devices=$(cd /dev; echo *)"
            echo "variables=$(perl -e 'print join ",", map {"$_:$ENV{$_}"} sort grep !/^(_|PWD|SHLVL)$/, keys %ENV')"
            echo to-error > /dev/stderr; : < /dev/null; head -c 4 /dev/urandom | wc -c | sed s/^/random=/
            echo core=$(ulimit -c); echo stack=$(ulimit -s); echo directory=$(pwd -P)
        "#;
        // Whoever starts `bake` ignores and leaves open what should not reach the build.
        let starter = ["bash", "-c", "trap '' HUP INT TERM; exec 7</etc/passwd; exec \"$@\"", "-"];
        let mut spec = ground.spec(script);
        spec.working_directory = "/pkg/src".into();
        let log = ground.run_by(&spec, &starter).ok();
        let facts = facts(&log);
        let is = |key, value| assert_eq!(facts.get(key), Some(&value), "{key}: {log}");
        is("uid", "0");
        is("gid", "0");
        if ground.who == Who::Root {
            is("groups", "0"); // others cannot give up groups that may deny them something
        }
        is("host", "builder");
        is("domain", "(none)");
        is("umask", "0022");
        is("input", "/dev/null");
        is("files", "0 1 2 3 ??"); // 3 is the listing itself
        is("pid", "2");
        is("session", "1");
        let ignored = u64::from_str_radix(facts["ignored"], 16).unwrap();
        // Two signals belong to the C library, which lets nobody change them.
        assert_eq!(ignored & !(3 << 31), 0, "{log}");
        is("blocked", "0000000000000000");
        is("privileges", "1");
        for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
            is(set, "000000000000000a"); // DAC_OVERRIDE and FOWNER
        }
        is("top", "bin dev etc lib lib64 opt pkg proc root run sbin tmp usr var");
        is("devices", "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero");
        is("variables", "LC_ALL:C.UTF-8,PATH:/usr/bin:/usr/sbin,TZ:UTC");
        assert!(log.contains("to-error\n"), "{log}");
        is("random", "4");
        is("core", "0");
        is("stack", "8192");
        is("directory", "/pkg/src");
    });
}

#[test]
fn what_a_build_makes_belongs_to_whoever_runs_bake() {
    as_everybody(|ground| {
        let script = "set -e; cd /opt/mesosphere/packages/own--1; mkdir -p a/b; echo made > a/b/file; \
                      echo x >> /pkg/src/source.c; chown 12:34 a; chown -R 5 .; stat -c %u:%g a /tmp /dev /";
        let log = ground.script(script).ok();
        assert_eq!(log, "0:0\n0:0\n0:0\n0:0\n");
        let owner = fs::metadata(ground.at("result")).unwrap().uid();
        assert_eq!(
            owner,
            if ground.who == Who::Root { 0 } else { fs::metadata(ground.at("")).unwrap().uid() }
        );
        for name in ["result/a", "result/a/b/file", "src/source.c"] {
            let metadata = fs::metadata(ground.at(name)).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (owner, owner), "{name}");
        }
        assert_eq!(fs::metadata(ground.at("result/a/b/file")).unwrap().permissions().mode() & 0o7777, 0o644);
    });
}

#[test]
fn a_build_may_what_root_may_with_its_own_files_whatever_its_uid() {
    as_everybody(|ground| {
        for uid in [0, 1234] {
            let script = "set -e; cd /pkg/src; mkdir ro; echo a > ro/f; chmod 444 ro/f; chmod 555 ro; \
                          echo b > ro/f; rm -r ro; id -u";
            let mut spec = ground.spec(script);
            (spec.uid, spec.gid) = (uid, uid);
            assert_eq!(ground.run(&spec).ok(), format!("{uid}\n"));
        }
    });
}

#[test]
fn a_build_has_a_loopback_of_its_own() {
    as_everybody(|ground| {
        let script = r#"perl -MIO::Socket::INET -e '
            my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die "listen: $!";
            my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport) or die "connect: $!";
            print "connected\n"' && ls /proc/sys/net/ipv4/conf"#;
        assert_eq!(ground.script(script).ok(), "connected\nall\ndefault\nlo\n");
    });
}

#[test]
fn mount_points_that_are_missing_are_made_up_without_touching_anything() {
    as_everybody(|ground| {
        fs::create_dir_all(ground.at("root/var/lib/deep")).unwrap();
        fs::write(ground.at("root/var/lib/deep/file"), "deep").unwrap();
        let mut spec = ground.spec(
            "set -e; cat /var/lib/deep/file /var/lib/new/source.c /opt/mesosphere/packages/zlib--1/lib/libz.so; \
             cat /opt/mesosphere/packages/zlib--1/more/source.c; touch /var/tmp/x; ls /var/lib",
        );
        for target in ["/var/lib/new", "/opt/mesosphere/packages/zlib--1/more"] {
            let mut mount = spec.mounts[2].clone();
            (mount.target, mount.writable) = (target.into(), false);
            spec.mounts.push(mount);
        }
        assert_eq!(ground.run(&spec).ok(), "deepint main;\nzint main;\ndeep\nnew\n");
        assert!(!ground.at("root/var/lib/new").exists() && !ground.at("root/var/tmp").exists());
        assert!(!ground.at("dependencies/packages/zlib--1/more").exists());
    });
}

#[test]
fn a_check_sees_directories_in_the_opposite_order() {
    as_everybody(|ground| {
        for name in ["a", "b/x", "b/y", "b/z/1", "b/z/2", "c", "d"] {
            fs::create_dir_all(ground.at("src").join(name).parent().unwrap()).unwrap();
            fs::write(ground.at("src").join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a", ground.at("src/link")).unwrap();
        fs::hard_link(ground.at("src/a"), ground.at("src/same")).unwrap();
        let listing = "cd /pkg/src; perl -e 'for $d (\".\", \"b\", \"b/z\") { opendir D, $d; \
                       print join(\" \", grep !/^\\.\\.?$/, readdir D), \"\\n\" }'; \
                       stat -c '%n %a %Y' a b b/x >&2; stat -c '%h' same; cat link same; echo >&2 x > new";
        let plain = ground.script(listing).ok();
        fs::remove_file(ground.at("src/new")).unwrap();
        let mut spec = ground.spec(listing);
        spec.is_shuffled = true;
        let shuffled = ground.run(&spec).ok();
        let reversed = |line: &str| line.split(' ').rev().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = plain.lines().take(3).map(reversed).collect();
        assert_eq!(shuffled.lines().take(3).collect::<Vec<_>>(), lines);
        assert_eq!(plain.lines().skip(3).collect::<Vec<_>>(), shuffled.lines().skip(3).collect::<Vec<_>>());
        assert!(!ground.at("src/new").exists(), "a check's writes are lost");
    });
}

#[test]
fn a_check_builds_at_another_path_and_with_fewer_processors() {
    as_everybody(|ground| {
        let mut spec = ground.spec("nproc; cd /pkg/src; pwd -P; cat source.c; readlink /pkg; ls /pkg");
        spec.real_prefix = Some("/elsewhere/deep".into());
        spec.cpus = Some(1);
        let expected = "1\n/elsewhere/deep/pkg/src\nint main;\n/elsewhere/deep/pkg\nbuild\nsrc\n";
        assert_eq!(ground.run(&spec).ok(), expected);
    });
}

#[test]
fn the_status_of_the_script_is_told() {
    everywhere(|ground| {
        let ended = |script| {
            let outcome = ground.script(script).result.unwrap();
            (outcome.code, outcome.signal)
        };
        assert_eq!(ended("exit 7"), (Some(7), None));
        assert_eq!(ended("kill -SEGV $$"), (None, Some(11)));
    });
}

#[test]
fn builds_may_be_traced_from_within() {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        eprintln!("SKIPPED for want of strace");
        return;
    }
    as_everybody(|ground| {
        assert!(
            ground.script("strace -f -e trace=execve bash -c 'cat /etc/os-release'").ok().contains("execve(")
        );
    });
}

#[test]
fn this_machine_can_sandbox_as_the_probe_says() {
    let findings = bake_package::sandbox::probe(env!("CARGO_BIN_EXE_bake").as_ref()).unwrap();
    assert_eq!(findings.len(), 10, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.problem.is_none()), "{findings:?}");
}
