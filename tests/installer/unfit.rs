//! Hosts that are unfit in ways that containers are not by themselves: other programs and files take the places of
//! real ones, the way the script asks for them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::host::{Product, UNFIT, is_untouched, serve};
use crate::support::container::{Container, Root};
use crate::support::{is_root, run, text};

/// A docker of this version, whose daemon says this of its storage.
fn docker(version: &str, storage: &str) -> String {
    format!(
        "cat >/usr/local/bin/docker <<'END'\n#!/bin/bash\ncase $1 in\nversion) {version} ;;\ninfo) {storage} ;;\nesac\nEND\n\
         chmod 755 /usr/local/bin/docker"
    )
}

/// Another program in the place of one.
fn program(name: &str, text: &str) -> String {
    format!("printf '#!/bin/bash\\n%s\\n' '{text}' >/usr/local/bin/{name}; chmod 755 /usr/local/bin/{name}")
}

/// Files of the kernel about SELinux, and the policy.
fn selinux(enforce: u32, policy: &str) -> String {
    format!(
        "mount -t tmpfs none /sys/fs && mkdir /sys/fs/selinux && echo {enforce} >/sys/fs/selinux/enforce
         mkdir /run/selinux; echo SELINUXTYPE={policy} >/run/selinux/config
         mkdir -p /etc/selinux && mount --bind /run/selinux /etc/selinux"
    )
}

/// What preflight says after `spoil`, which changes mounts for itself only.
fn report(host: &Container, spoil: &str, arguments: &str) -> Value {
    let script = format!("{spoil}\nexec bash /root/dcos_install.sh --json --preflight-only {arguments}");
    host.run("rm -rf /usr/local/bin/* /run/selinux");
    host.run(&format!("cat >/root/spoiled <<'SPOILED'\n{script}\nSPOILED"));
    let output = host.output("unshare --mount bash /root/spoiled");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

/// That check is of this result, its message and its fix hold these words, and no other check failed.
fn finds(report: &Value, (name, result, message, fix): (&str, &str, &str, &str)) {
    let checks = report["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"));
    assert_eq!(check["result"], result, "{report}");
    for (field, words) in [("message", message), ("fix", fix)] {
        assert!(check[field].as_str().unwrap().contains(words), "{check}");
    }
    let failed =
        checks.iter().filter(|check| check["result"] == "FAIL").map(|check| check["name"].as_str().unwrap());
    let expected: &[&str] = if result == "FAIL" { &[name] } else { &[] };
    assert_eq!(failed.collect::<Vec<_>>(), expected, "{report}");
    assert_eq!(report["exit"], if result == "FAIL" { UNFIT } else { 0 });
}

#[test]
fn in_a_container_every_kind_of_docker_is_told_with_its_fix() {
    if !is_root("containers") {
        return;
    }
    let product = Product::configured(&["--set=preflight_docker=true"]);
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    let fine = "echo 'overlay2|/var/lib/docker|[]'";
    let looped = "echo 'devicemapper|/var/lib/docker|[[\"Data loop file\",\"/data\"]]'";
    let direct = "echo 'devicemapper|/var/lib/docker|[[\"Pool Name\",\"x\"]]'";
    let cases = [
        ("true".to_owned(), ("docker", "FAIL", "it is missing", "install docker 1.13")),
        (
            docker("exit 1", "exit 1"),
            ("docker", "FAIL", "daemon does not answer", "systemctl enable --now docker"),
        ),
        (
            docker("echo 1.12.6 1.12.6", fine),
            ("docker", "FAIL", "1.12.6 is older", "install docker 1.13 or newer"),
        ),
        (
            docker("echo 24.0.7 1.9.1", fine),
            ("docker", "FAIL", "1.9.1 is older", "install docker 1.13 or newer"),
        ),
        (docker("echo 1.13.1 1.13.1", fine), ("docker", "PASS", "1.13.1", "")),
        (docker("echo 17.05.0-ce 17.05.0-ce", fine), ("docker", "PASS", "17.05.0-ce", "")),
        (docker("echo 24.0.7 24.0.7", "exit 1"), ("docker-storage", "FAIL", "does not tell", "docker info")),
        (docker("echo 24.0.7 24.0.7", looped), ("docker-storage", "FAIL", "loop device", "overlay2")),
        (docker("echo 24.0.7 24.0.7", direct), ("docker-storage", "PASS", "devicemapper", "")),
    ];
    for (spoil, expected) in cases {
        finds(&report(&host, &spoil, "slave"), expected);
    }
    is_untouched(&root);
}

#[test]
fn in_a_container_unfit_systems_are_told_with_their_fix() {
    if !is_root("containers") {
        return;
    }
    let product = Product::configured(&["--set=preflight_sysctls={\"kernel.pid_max\": \">=99999999\"}"]);
    let fit = Product::configured(&["--set=preflight_modules=[\"no_such_module\"]"]);
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    let few = ("sysctl-kernel.pid_max", "FAIL", "not 99999999", "sysctl -w 'kernel.pid_max=99999999'");
    finds(&report(&host, "true", "slave"), few);
    drop(host);

    let host = fit.boot(&root);
    serve(&host, "");
    let no_memory = "sed 's/^\\(memory.*\\)1$/\\10/' /proc/cgroups >/run/cgroups
        mount -t tmpfs none /sys/fs && mount --bind /run/cgroups /proc/cgroups";
    let cases = [
        (selinux(1, "mls"), ("selinux", "FAIL", "policy mls", "SELINUX=permissive")),
        (selinux(1, "targeted"), ("selinux", "PASS", "policy targeted", "")),
        (selinux(0, "mls"), ("selinux", "PASS", "not enforcing", "")),
        ("true".to_owned(), ("module-no_such_module", "WARN", "does not have it", "modprobe no_such_module")),
        (program("modprobe", "exit 0"), ("module-no_such_module", "PASS", "has it", "")),
        (program("systemctl", "echo systemd 199"), ("systemd", "FAIL", "199 is older", "newer release")),
        (program("systemctl", "echo \"systemd 219 (219-78)\""), ("systemd", "PASS", "219", "")),
        (program("uname", "echo riscv64"), ("machine", "FAIL", "this is riscv64", "configure a product")),
        (program("timedatectl", "echo NTP synchronized: yes"), ("clock", "PASS", "synchronised", "")),
        (
            program("timedatectl", "echo System clock synchronized: no"),
            ("clock", "WARN", "not known", "chrony"),
        ),
        (no_memory.to_owned(), ("cgroups", "FAIL", "missing: memory", "cgroup_enable=memory")),
    ];
    for (spoil, expected) in cases {
        finds(&report(&host, &spoil, "slave"), expected);
    }
    is_untouched(&root);
}

#[test]
fn in_a_container_a_small_disk_is_refused_whatever_the_configuration_says() {
    if !is_root("containers") {
        return;
    }
    let product = Product::of(
        "product/artifacts",
        &["127.0.0.1"],
        "echo 127.0.0.1",
        &["--set=preflight_free_space_mb=0"],
    );
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    let bootstrap = product.document()["bootstrap"]["file"]["size"].as_u64().unwrap();
    let needed = format!("{} are needed", (bootstrap * 8).div_ceil(1 << 20));
    let mount = |mb: u64| format!("mount -t tmpfs -o size={mb}M none /opt");
    let least = bootstrap * 8 / (1 << 20);
    finds(&report(&host, &mount(least - 2), "slave"), ("free-space", "FAIL", &needed, "larger disk at /opt"));
    finds(&report(&host, &mount(least + 2), "slave"), ("free-space", "PASS", "needed", ""));
    // What an unfinished run has there is its own.
    let begun = format!(
        "{}; mkdir /opt/.dcos-install; head -c 50M /dev/zero >/opt/.dcos-install/part",
        mount(least + 2)
    );
    finds(&report(&host, &begun, "slave"), ("free-space", "PASS", "needed", ""));
    is_untouched(&root);
}

/// A file system in a file, mounted in a root until the value ends.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn in_a_container_xfs_without_ftype_is_refused_for_agents() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let disk = |name: &str, options: [&str; 2]| {
        let disk = root.path().with_file_name(name);
        fs::File::create(&disk).unwrap().set_len(512 << 20).unwrap();
        run(Command::new("mkfs.xfs").args(["-q", "-n", options[0], "-m", options[1]]).arg(&disk));
        disk
    };
    let place = root.at("var/lib/mesos");
    fs::create_dir(&place).unwrap();
    run(Command::new("mount").args(["-o", "loop"]).arg(disk("new", ["ftype=1", "crc=1"])).arg(&place));
    let _mounted = Mounted(place);
    // New kernels mount none without ftype: what is said of one is said in the other's place.
    let old = run(Command::new("xfs_info").arg(disk("old", ["ftype=0", "crc=0"])));
    assert!(old.contains("ftype=0"), "{old}");
    let old = format!(
        "printf '#!/bin/bash\\ncat <<END\\n%s\\nEND\\n' '{old}' >/usr/local/bin/xfs_info; chmod 755 /usr/local/bin/*"
    );
    let host = product.boot(&root);
    serve(&host, "");
    let finds = |spoil: &str, result, message, fix| {
        finds(&report(&host, spoil, "slave"), ("ftype-/var/lib/mesos/slave", result, message, fix));
    };
    finds("true", "WARN", "xfs_info does not tell", "install xfsprogs");
    for program in ["xfs_info", "xfs_spaceman", "xfs_db"] {
        root.bring(program);
    }
    // It asks by the device, which containers do not have.
    host.run("device=$(findmnt -no SOURCE /var/lib/mesos) && mknod $device b 7 ${device#/dev/loop} && xfs_info /var/lib/mesos");
    finds("true", "PASS", "has ftype=1", "");
    finds(&old, "FAIL", "without ftype=1", "mkfs.xfs -n ftype=1");
    let master = report(&host, &old, "master");
    assert!(!master.to_string().contains("ftype-"), "{master}");
    host.power_off();
}
