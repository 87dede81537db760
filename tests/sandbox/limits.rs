//! How much a build may use.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::ground::{Ground, Who, as_everybody, everywhere, is_root, is_running};

#[test]
fn a_fork_bomb_stays_small_and_ends() {
    everywhere(|ground| {
        let mut spec = ground.spec(
            "perl -e 'for (1..1000) { my $p = fork; defined $p or last; $p or sleep 100; $n++ } print $n'",
        );
        spec.limits.processes = 60;
        let log = ground.run(&spec).ok();
        assert!((20..60).contains(&log.parse::<u32>().unwrap()), "{log}");

        let mut bomb = ground.spec(":(){ :|:& };: 2>/dev/null; sleep 1000");
        bomb.limits.processes = 60;
        bomb.limits.timeout = 3;
        let began = Instant::now();
        let error = ground.run(&bomb).error();
        assert!(error.contains("longer than 3 seconds"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_build_that_takes_too_long_is_ended_with_all_of_its_processes() {
    everywhere(|ground| {
        let marker = format!("9{}", std::process::id());
        let mut spec =
            ground.spec(&format!("trap '' TERM INT HUP; echo begun; setsid --wait sleep {marker}.5"));
        spec.limits.timeout = 1;
        let ran = ground.run(&spec);
        assert_eq!(ran.log, "begun\n");
        assert_eq!(ran.error(), "the build took longer than 1 seconds; it was ended");
        assert!(!is_running(&format!("{marker}.5")));
    });
}

#[test]
fn a_build_can_be_stopped() {
    everywhere(|ground| {
        let mut driver = ground.start(&ground.spec("touch /pkg/src/started; sleep 1000"));
        ground.wait_for("src/started");
        fs::write(ground.at("stop"), "").unwrap();
        assert!(driver.wait().unwrap().success());
        assert_eq!(ground.ran().error(), "the build was stopped");
    });
}

#[test]
fn file_systems_in_memory_have_a_size() {
    as_everybody(|ground| {
        let script = "for d in /tmp /var/tmp /root /run /dev/shm; do \
                      head -c 100M /dev/zero > $d/full 2>/dev/null; stat -c %s $d/full; done; \
                      perl -e 'for (1..1e6) { open F, \">\", \"/tmp/$_\" or last; $n = $_ } print $n < 1e5, \"\\n\"'";
        let mut spec = ground.spec(script);
        spec.limits.tmp_size = 8 << 20;
        let log = ground.run(&spec).ok();
        let sizes: Vec<u64> = log.lines().take(5).map(|size| size.parse().unwrap()).collect();
        assert!(sizes.len() == 5 && sizes.iter().all(|size| *size <= 8 << 20), "{log}");
        assert!(log.ends_with("1\n"), "{log}");
    });
}

#[test]
fn a_build_that_fills_the_disk_is_ended_before_it_is_full() {
    if !is_root("mounting a small disk") {
        return;
    }
    for who in [Who::Root, Who::Nobody] {
        let ground = Ground::new(who);
        let result = ground.at("result");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128m,mode=777", "none"]).arg(&result);
        assert!(mount.status().unwrap().success());
        let mut spec = ground.spec(
            "cd /opt/mesosphere/packages/own--1; while :; do head -c 4M /dev/zero >> full; sleep 0.05; done",
        );
        spec.limits.disk_reserve = 64 << 20;
        let ran = ground.run(&spec);
        let left = rustix::fs::statvfs(&result).unwrap();
        assert!(Command::new("umount").arg(&result).status().unwrap().success());
        let error = ran.error();
        assert!(
            error.contains(result.to_str().unwrap()) && error.contains("67108864 are to stay free"),
            "{error}"
        );
        assert!(left.f_bavail * left.f_frsize > 16 << 20);
    }
}

#[test]
fn files_logs_memory_and_open_files_have_limits() {
    everywhere(|ground| {
        let mut spec =
            ground.spec("head -c 100M /dev/zero > /pkg/src/huge; echo status=$?; stat -c %s /pkg/src/huge");
        spec.limits.file_size = 1 << 20;
        assert!(ground.run(&spec).ok().contains("status=153\n1048576\n")); // 128 + SIGXFSZ

        let mut spec = ground.spec("yes");
        spec.limits.log_size = 1 << 20;
        let ran = ground.run(&spec);
        assert!(ran.log.len() <= 1 << 20);
        assert_eq!(ran.error(), "the build wrote more than 1048576 bytes of log; it was ended");

        let mut spec =
            ground.spec("perl -e '$x = \"x\" x 1e9' 2>/dev/null && echo ESCAPED; ulimit -n; ulimit -Hn");
        spec.limits.memory = Some(512 << 20);
        assert_eq!(ground.run(&spec).ok(), "1024\n1024\n");
    });
}

#[test]
fn a_crash_leaves_no_core() {
    everywhere(|ground| {
        let script =
            "exec 2>/dev/null; cd /pkg/src; ulimit -c unlimited && echo ESCAPED; bash -c 'kill -SEGV $$'; ls";
        assert_eq!(ground.script(script).ok(), "source.c\n");
    });
}
