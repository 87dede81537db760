//! A host with a serve directory in reach.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::container::{Bridge, Container, Root};
use crate::support::{bake, made, project, run, scratch, text};

/// Where containers find the product, and it is what the configuration names.
pub const URL: &str = "http://127.0.0.1:8000";

/// Exit statuses, as `--help` tells them.
pub const DONE: i32 = 0;
pub const FAILED: i32 = 1;
pub const USAGE: i32 = 2;
pub const UNFIT: i32 = 3;
pub const PAYLOAD: i32 = 4;
pub const NOT_ROOT: i32 = 5;

/// What `bake configure` made of the two small packages: `serve`, and `single` as one file.
pub struct Product {
    directory: TempDir,
}

impl Product {
    /// The two small packages, with further arguments.
    pub fn configured(arguments: &[&str]) -> Self {
        let small = [
            "--set=preflight_docker=false",
            "--set=preflight_commands=[\"tar\"]",
            "--set=preflight_free_space_mb=50",
            "--set=preflight_ports_master=[5050]",
        ];
        Self::of("product/small-artifacts", &["127.0.0.1"], "echo 127.0.0.1", &[&small, arguments].concat())
    }

    /// What a delivered tree becomes for these masters. `detect` is the shell command for a host's own address.
    pub fn of(artifacts: &str, masters: &[&str], detect: &str, arguments: &[&str]) -> Self {
        let directory = scratch();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("genconf")).unwrap();
        fs::write(at("genconf/ip-detect"), format!("#!/bin/bash\n{detect}\n")).unwrap();
        fs::write(
            at("genconf/config.yaml"),
            format!(
                "cluster_name: Installed $(touch /ran) `touch /ran`\n\
                 bootstrap_url: {URL}\n\
                 master_discovery: static\n\
                 master_list: [{}]\n\
                 exhibitor_storage_backend: static\n",
                masters.join(", ")
            ),
        )
        .unwrap();
        let mut command = bake();
        command.arg("configure").arg("--config").arg(at("genconf/config.yaml"));
        command.arg("--artifacts").arg(made(artifacts));
        command.arg("--out").arg(at("serve")).arg("--single-file").arg(at("single"));
        run(command.args(arguments));
        Self { directory }
    }

    pub fn small() -> Self {
        Self::configured(&[])
    }

    pub fn serve(&self) -> PathBuf {
        self.directory.path().join("serve")
    }

    pub fn single(&self) -> PathBuf {
        self.directory.path().join("single")
    }

    pub fn document(&self) -> Value {
        serde_json::from_slice(&fs::read(self.serve().join("product.json")).unwrap()).unwrap()
    }

    pub fn config_id(&self) -> String {
        self.document()["config_id"].as_str().unwrap().to_owned()
    }

    /// The path of the bootstrap tarball in the serve directory.
    pub fn bootstrap(&self) -> String {
        self.document()["bootstrap"]["file"]["path"].as_str().unwrap().to_owned()
    }

    /// Boots `root` where the product lies at `/srv/product` and the tests' own server at `/srv/tests`.
    pub fn boot<'a>(&self, root: &'a Root) -> Container<'a> {
        let tests = project("tests/installer").canonicalize().unwrap();
        Container::boot(root, &[(self.directory.path(), "/srv/product"), (&tests, "/srv/tests")])
    }

    /// The same in a network of several.
    pub fn boot_at<'a>(&self, root: &'a Root, bridge: &Bridge, address: &str) -> Container<'a> {
        let tests = project("tests/installer").canonicalize().unwrap();
        let binds = [(self.directory.path(), "/srv/product"), (tests.as_path(), "/srv/tests")];
        Container::boot_at(root, &binds, bridge, &format!("{address}/24"))
    }
}

/// Serves the product in the container over its loopback, and fetches the script from there as people do.
pub fn serve(host: &Container, options: &str) {
    host.run(&format!(
        "systemd-run --quiet --unit=web-$(date +%s%N) --collect /srv/tests/serve.py /srv/product/serve 8000 /run/web.log {options}"
    ));
    host.until(&format!(
        "cd /root && {{ curl --silent --fail --remote-name {URL}/dcos_install.sh || \
         wget --quiet --output-document=dcos_install.sh {URL}/dcos_install.sh; }}"
    ));
}

/// Runs the script that was fetched.
pub fn install(host: &Container, arguments: &str) -> Output {
    host.output(&format!("bash /root/dcos_install.sh {arguments}"))
}

/// Checks how a run ended, and gives its last line.
pub fn ended(output: &Output, status: i32) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
    assert!(err.is_empty() || status != DONE, "{err}");
    out.lines().last().unwrap_or_default().to_owned()
}

/// The product runs in this role and in no other, with its users, directories and settings.
pub fn runs_as(host: &Container, role: &str) {
    host.until(&format!("systemctl is-active dcos-hello-{role}.service dcos-clock.service dcos.target"));
    assert_eq!(host.run("ls /etc/mesosphere/roles").trim(), role);
    assert_eq!(host.run("stat -c %U:%a /var/lib/dcos/dcos-hello").trim(), "dcos_hello:755");
    let units = host.run("systemctl list-units --all --plain --no-legend 'dcos-hello-*' | cut -d' ' -f1");
    assert_eq!(units.trim(), format!("dcos-hello-{role}.service"));
    let journal = host.journal();
    assert!(
        journal.contains(&format!("role={role} unit=dcos-hello host-ready user=dcos_hello")),
        "{journal}"
    );
    nothing_failed(host);
}

/// No unit has failed since the boot.
pub fn nothing_failed(host: &Container) {
    let failed = host.run("systemctl --failed --plain --no-legend");
    assert_eq!(failed.trim(), "", "{}", host.journal());
}

/// Nothing is there of an installation, nor of an attempt.
pub fn is_untouched(root: &Root) {
    for path in ["opt/mesosphere", "opt/.dcos-install", "opt/.mesosphere.unfinished", "etc/mesosphere"] {
        assert!(fs::symlink_metadata(root.at(path)).is_err(), "{path} is there");
    }
    assert!(fs::symlink_metadata(root.at("ran")).is_err(), "a text of the configuration ran");
}

/// All is there, and nothing of the way to it.
pub fn is_installed(root: &Root, product: &Product) {
    let active = fs::read_link(root.at("opt/mesosphere/active/dcos-config")).unwrap();
    let expected = format!("dcos-config--setup_{}", product.config_id());
    assert_eq!(active.file_name().unwrap().to_str().unwrap(), expected);
    assert!(root.at("etc/systemd/system/multi-user.target.wants/dcos-setup.service").is_symlink());
    for path in ["opt/.dcos-install", "opt/.mesosphere.unfinished"] {
        assert!(fs::symlink_metadata(root.at(path)).is_err(), "{path} is left");
    }
    assert!(fs::symlink_metadata(root.at("ran")).is_err(), "a text of the configuration ran");
}

/// Every path below the install root with what it is, to compare ways of installing.
pub fn listing(root: &Path) -> String {
    let mut find = Command::new("find");
    find.arg(root.join("opt/mesosphere")).args(["-printf", "%P %y %m %U:%G %l %s\n"]);
    let mut lines: Vec<_> = run(&mut find).lines().map(str::to_owned).collect();
    lines.sort();
    // Directories have the size that their file system gives them.
    lines.retain_mut(|line| {
        if line.contains(" d ") {
            line.truncate(line.rfind(' ').unwrap());
        }
        true
    });
    lines.join("\n")
}
