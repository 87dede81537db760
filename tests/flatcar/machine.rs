//! Both ways in a machine: shim, GRUB, Ignition in the initrd, and the product's units in the same first boot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::disk::{only_root_differs, product_on};
use super::extension;
use super::server::Server;
use crate::support::machine::{Console, Turn};
use crate::support::{bake, full, made, run, scratch};

/// How a boot ends; an initrd that fails waits for somebody who looks after it.
const ENDS: &str = "reboot: Power down|Failed to start .*ignition";

/// A machine that gets a configuration of Ignition as QEMU hands it over, and a network of QEMU's.
struct Machine {
    scratch: TempDir,
}

impl Machine {
    fn new(config: &Value) -> Self {
        let machine = Self { scratch: scratch() };
        fs::write(machine.at("config.ign"), config.to_string()).unwrap();
        // `bake boot` knows nothing of Ignition: a program of QEMU's name that adds to what it is told.
        let program = machine.at("qemu-system-x86_64");
        let real = run(Command::new("sh").args(["-c", "command -v qemu-system-x86_64"]));
        let script = format!(
            "#!/bin/sh\nexec {} \"$@\" -fw_cfg name=opt/com.coreos/config,file={} -nic user,model=virtio-net-pci\n",
            real.trim(),
            machine.at("config.ign").display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Boots the disk, or what has become of it, until it shuts down.
    fn boot(&self, disk: &Path) -> Console {
        let _turn = Turn::take();
        let path = format!("{}:{}", self.scratch.path().display(), std::env::var("PATH").unwrap());
        let mut command = bake();
        command.env("PATH", path).arg("boot").arg(disk).arg("--keep").arg(self.at("disk.qcow2"));
        Console(run(command.args(["--timeout", "600", "--expect", ENDS])))
    }
}

/// A unit of the site, which Ignition brings: it ends the machine when the product runs.
fn site() -> Value {
    let script = "until systemctl is-active --quiet dcos-clock.service dcos.target; do sleep 1; done; \
                  echo bake-vendor: site=$(cat /etc/site) failed=$(systemctl --failed --no-legend --plain | wc -l) \
                  usr=$(findmnt -no OPTIONS /usr | cut -d, -f1) boots=$(journalctl --list-boots | wc -l) >/dev/ttyS0; \
                  systemctl poweroff --no-block";
    json!({
        "name": "site.service",
        "enabled": true,
        "contents": format!(
            "[Unit]\nAfter=dcos-setup.service\n[Service]\nExecStart=/bin/sh -c '{}'\n[Install]\nWantedBy=multi-user.target\n",
            script.replace('%', "%%")
        ),
    })
}

fn site_file() -> Value {
    json!({ "path": "/etc/site", "mode": 420, "contents": { "source": "data:,ignited" } })
}

/// The first boot with Ignition, and the second one without.
fn boots_twice(machine: &Machine, disk: &Path, role: &str) {
    let first = machine.boot(disk);
    assert!(first.0.contains("bake-vendor: ignition ran"), "{}", first.0);
    assert!(first.0.contains("bake-vendor: site=ignited failed=0 usr=ro"), "{}", first.0);
    let line = |starts: u32| {
        format!("bake-demo: role={role} unit=dcos-hello host-ready user=dcos_hello starts={starts}")
    };
    assert_eq!(first.product(), line(1));
    let second = machine.boot(disk);
    assert!(!second.0.contains("bake-vendor: ignition ran"), "{}", second.0);
    assert!(second.0.contains("bake-vendor: site=ignited failed=0 usr=ro"), "{}", second.0);
    assert_eq!(second.product(), line(2));
}

#[test]
fn in_qemu_a_baked_disk_has_its_first_boot_with_ignition_and_the_product() {
    if !full() {
        return;
    }
    let vendor = made("vendor/flatcar.raw");
    let directory = scratch();
    let baked = product_on(&vendor, directory.path(), &[]);
    only_root_differs(&vendor, &baked.raw());
    let config = json!({
        "ignition": { "version": "3.3.0" },
        "storage": { "files": [site_file()] },
        "systemd": { "units": [site()] },
    });
    boots_twice(&Machine::new(&config), &baked.raw(), "master");
}

#[test]
fn in_qemu_the_vendor_s_own_disk_fetches_the_extension() {
    if !full() {
        return;
    }
    let directory = scratch();
    let server = Server::new(directory.path());
    // Where QEMU's own network has this machine.
    extension::make("sysext", &directory.path().join("out"), &format!("{}out/", server.url("10.0.2.2")));
    let snippet = fs::read(directory.path().join("out/dcos.ign")).unwrap();
    let mut config: Value = serde_json::from_slice(&snippet).unwrap();
    config["storage"]["files"].as_array_mut().unwrap().push(site_file());
    config["systemd"]["units"].as_array_mut().unwrap().push(site());
    boots_twice(&Machine::new(&config), &made("vendor/flatcar-short.raw"), "slave");
}
