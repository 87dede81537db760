//! The ways to a host: over HTTP in every role, from the single file, into a mounted root.

use std::fs;
use std::process::Command;

use crate::host::{
    DONE, FAILED, Product, UNFIT, URL, ended, install, is_installed, is_untouched, listing, runs_as, serve,
};
use crate::support::container::Root;
use crate::support::{is_root, output, scratch};

#[test]
fn in_containers_every_role_is_installed_over_http_and_once_only() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    for role in ["master", "slave", "slave_public"] {
        let root = Root::debian();
        let host = product.boot(&root);
        serve(&host, "");
        let last = ended(&install(&host, role), DONE);
        assert!(last.starts_with("done: ") && last.contains(&product.config_id()), "{last}");
        is_installed(&root, &product);
        runs_as(&host, role);

        // Again: nothing is fetched, nothing restarts.
        host.run("rm /run/web.log");
        let last = ended(&install(&host, role), DONE);
        assert!(last.starts_with("installed already: "), "{last}");
        assert!(!root.at("run/web.log").exists());
        assert_eq!(host.run("test -e /run/web.log || echo none").trim(), "none");
        assert_eq!(host.run("cat /var/lib/dcos/dcos-hello/starts").trim(), "1");

        // What somebody stopped starts.
        host.run("systemctl stop dcos.target");
        ended(&install(&host, role), DONE);
        host.run("timeout 20 sh -c 'until systemctl is-active --quiet dcos.target; do sleep 0.2; done'");

        // Another role is not the installer's to give.
        let other = if role == "master" { "slave" } else { "master" };
        let last = ended(&install(&host, other), UNFIT);
        assert!(last.contains("preflight"), "{last}");
        let last = ended(&install(&host, &format!("-d {other}")), FAILED);
        assert!(last.contains(&format!("this host is {role}")), "{last}");

        // And it comes up again by itself.
        host.power_off();
        let host = product.boot(&root);
        runs_as(&host, role);
        assert_eq!(host.run("cat /var/lib/dcos/dcos-hello/starts").trim(), "2");
        host.power_off();
    }
}

#[test]
fn in_a_container_the_single_file_needs_no_network_no_compressor_and_no_executable_tmp() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    // Whatever unpacks by itself is gone, and both downloaders.
    let names =
        ["xz", "unxz", "xzcat", "zstd", "gzip", "gunzip", "bzip2", "bunzip2", "lz4", "curl", "wget", "unzip"];
    for name in names {
        for directory in ["usr/bin", "usr/local/bin"] {
            let _ = fs::remove_file(root.at(directory).join(name));
        }
    }
    let host = product.boot(&root);
    host.run("mount -o remount,noexec,nosuid,nodev /tmp && mount --bind /var/tmp /var/tmp && mount -o remount,bind,noexec /var/tmp");
    for name in names {
        assert!(!host.output(&format!("command -v {name}")).status.success(), "{name} is there");
    }
    let last = ended(&host.output("/bin/bash /srv/product/single slave"), DONE);
    assert!(last.starts_with("done: "), "{last}");
    is_installed(&root, &product);
    runs_as(&host, "slave");
    host.power_off();
}

#[test]
fn in_containers_a_mounted_root_is_installed_into_from_outside_and_comes_up() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let (over_http, mounted) = (Root::debian(), Root::debian());
    let mut command = Command::new("bash");
    command.arg(product.serve().join("dcos_install.sh")).arg("--root").arg(mounted.path());
    // This machine has no part in it: any place that holds the same will do.
    command.arg("--url").arg(format!("file://{}", product.serve().display())).arg("master");
    let last = ended(&output(&mut command), DONE);
    assert!(last.contains("boot it"), "{last}");
    is_installed(&mounted, &product);
    let last = ended(&output(&mut command), DONE);
    assert!(last.starts_with("installed already: "), "{last}");

    let host = product.boot(&over_http);
    serve(&host, "");
    ended(&install(&host, "--no-start master"), DONE);
    assert_ne!(host.output("systemctl is-active dcos-setup").status.code(), Some(0));
    host.run("systemctl daemon-reload && systemctl start dcos-setup");
    runs_as(&host, "master");
    host.power_off();
    let host = product.boot(&mounted);
    runs_as(&host, "master");
    host.power_off();
    assert_eq!(listing(&mounted.path()), listing(&over_http.path()));
}

#[test]
fn a_root_full_of_links_out_of_it_leads_nowhere() {
    if !is_root("installing needs root") {
        return;
    }
    let product = Product::small();
    let scratch = scratch();
    let (root, outside) = (scratch.path().join("root"), scratch.path().join("outside"));
    for name in ["opt", "etc", "usr"] {
        fs::create_dir_all(outside.join(name)).unwrap();
        fs::create_dir_all(&root).unwrap();
        std::os::unix::fs::symlink(outside.join(name), root.join(name)).unwrap();
    }
    let mut command = Command::new("bash");
    command.arg(product.single()).args(["--disable-preflight", "--root"]).arg(&root).arg("master");
    // Whether it is refused or finds its way within: nothing is written outside.
    output(&mut command);
    for name in ["opt", "etc", "usr"] {
        assert_eq!(fs::read_dir(outside.join(name)).unwrap().count(), 0, "{name} was written to");
    }
}

#[test]
fn in_a_container_nobody_but_root_installs() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    host.run("cp /root/dcos_install.sh /srv/ && chmod 755 /srv /srv/dcos_install.sh");
    for options in ["master", "--preflight-only", "--json master"] {
        let script = format!("setpriv --reuid=nobody --clear-groups bash /srv/dcos_install.sh {options}");
        ended(&host.output(&script), crate::host::NOT_ROOT);
    }
    assert!(
        host.run(&format!("curl --silent {URL}/dcos_install.sh | bash -s -- --help")).contains("Exit status")
    );
    is_untouched(&root);
}
