//! Secrets come apart, and nobody else learns them.

use std::fs;
use std::process::Command;

use crate::host::{DONE, Product, UNFIT, ended, install, is_installed, is_untouched, runs_as, serve};
use crate::support::container::Root;
use crate::support::{is_root, output, text};

const SECRET: &str = "dGhpcy1pcy1hOnNlY3JldA==";

#[test]
fn in_a_container_secrets_are_asked_for_and_reach_only_their_files() {
    if !is_root("containers") {
        return;
    }
    let credentials = format!(
        "--set=cluster_docker_credentials={{\"auths\": {{\"r.example\": {{\"auth\": \"{SECRET}\"}}}}}}"
    );
    let product = Product::configured(&[&credentials]);
    let secrets = "/srv/product/serve.secrets/dcos-secrets.tar";
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");

    let without = install(&host, "slave");
    let said = text(&without.stdout);
    ended(&without, UNFIT);
    assert!(said.contains("FAIL  secrets") && said.contains("--secrets FILE"), "{said}");
    let missing = install(&host, "--secrets /no/such/file slave");
    let said = text(&missing.stdout);
    ended(&missing, UNFIT);
    assert!(said.contains("/no/such/file cannot be read"), "{said}");
    is_untouched(&root);

    let installed = install(&host, &format!("--secrets {secrets} slave"));
    ended(&installed, DONE);
    is_installed(&root, &product);
    runs_as(&host, "slave");
    let place = "/etc/mesosphere/secrets";
    assert_eq!(host.run(&format!("stat -c %a:%U:%G {place}/docker_credentials")).trim(), "600:root:root");
    assert!(host.run(&format!("cat {place}/docker_credentials")).contains(SECRET));
    let modes = host.run(&format!("find {place} -type f -printf '%m %u\\n' | sort --unique"));
    assert_eq!(modes.trim(), "600 root");
    // What the package has is a link there.
    assert!(host.run("cat /opt/mesosphere/etc/docker_credentials").contains(SECRET));

    assert!(!text(&installed.stdout).contains(SECRET) && !text(&installed.stderr).contains(SECRET));
    assert!(!host.journal().contains(SECRET));
    let places = "/opt /etc /var/lib/dcos /run/systemd /root /srv/product/serve";
    let found =
        host.output(&format!("grep --recursive --files-with-matches --devices=skip {SECRET} {places}"));
    let found = text(&found.stdout);
    assert!(!found.is_empty() && found.lines().all(|path| path.starts_with(place)), "{found}");

    // Again, without them: they are on this host.
    ended(&install(&host, "slave"), DONE);
    ended(&install(&host, "-p slave"), DONE);
    host.power_off();

    // A mounted root, too.
    let mounted = Root::debian();
    let mut command = Command::new("bash");
    command.arg(product.single()).arg("--root").arg(mounted.path()).arg("--secrets");
    command.arg(product.serve().with_file_name("serve.secrets/dcos-secrets.tar")).arg("slave");
    ended(&output(&mut command), DONE);
    let credentials = fs::read_to_string(mounted.at("etc/mesosphere/secrets/docker_credentials")).unwrap();
    assert!(credentials.contains(SECRET));
}
