use bake_base::Digest;

use super::*;
use crate::product::{Blob, Bootstrap, HostFile, SCHEMA};

fn product(files: &[(&str, &str)], secrets: &[&str]) -> Product {
    let blob = || Blob { path: String::new(), sha256: Digest::of(b""), size: 0 };
    let file = |(path, mode): &(&str, &str)| {
        ((*path).to_owned(), HostFile { mode: (*mode).to_owned(), content: "text".to_owned() })
    };
    Product {
        schema: SCHEMA.to_owned(),
        config_id: "0".repeat(40),
        bootstrap: Bootstrap { id: "b".to_owned(), packages: BTreeMap::new(), blob: blob() },
        packages: BTreeMap::new(),
        active: Vec::new(),
        files: files.iter().map(file).collect(),
        secrets: secrets.iter().map(ToString::to_string).collect(),
        pkgpanda: blob(),
    }
}

#[test]
fn users_and_state_directories_are_said_as_systemd_reads_them() {
    let users = BTreeMap::from([
        ("dcos_a".parse().unwrap(), None),
        ("dcos_b".parse().unwrap(), Some("docker".parse().unwrap())),
    ]);
    assert_eq!(
        sysusers(&users),
        "# The users of the active packages. Written by the installation: do not edit.\n\
         u dcos_a - \"DCOS System User\" /opt/mesosphere /sbin/nologin\n\
         u dcos_b -:docker \"DCOS System User\" /opt/mesosphere /sbin/nologin\n"
    );
    let directories = BTreeMap::from([
        ("one".parse().unwrap(), Some("dcos_a".parse().unwrap())),
        ("two".parse().unwrap(), None),
    ]);
    assert_eq!(
        tmpfiles(&directories),
        "# The state directories of the active packages. Written by the installation: do not edit.\n\
         d /var/lib/dcos 0755 root root -\n\
         d /var/lib/dcos/one 0755 dcos_a root -\n\
         d /var/lib/dcos/two 0755 root root -\n"
    );
    for nothing in [sysusers(&BTreeMap::new()), tmpfiles(&BTreeMap::new())] {
        assert!(nothing.starts_with('#') && nothing.lines().count() == 1, "{nothing}");
    }
}

#[test]
fn what_starts_a_host_may_be_read_and_is_enabled_where_it_lies() {
    let files = files();
    assert!(files.values().all(|entry| entry.mode == 0o644), "{files:?}");
    let unit = files.get(&place(&ENABLED.1[1..])).expect("the unit that is enabled is there");
    let text = String::from_utf8(unit.content.clone()).unwrap();
    assert!(text.contains("ExecStart=/opt/mesosphere/bin/pkgpanda setup\n"), "{text}");
    // cloud-init's last stage waits for multi-user.target itself.
    assert!(!text.contains("cloud-final") && !text.contains("cloud-init"), "{text}");
}

#[test]
fn files_of_a_product_keep_their_modes_and_flaws_are_all_named() {
    let good = product(&[("/etc/mesosphere/x", "0600")], &["/etc/mesosphere/secrets/key"]);
    assert_eq!(product_files(&good).unwrap()[&place("etc/mesosphere/x")].mode, 0o600);
    assert_eq!(secret_paths(&good).unwrap()[&place("etc/mesosphere/secrets/key")], good.secrets[0]);

    let bad = [
        ("/etc/a", "4755"),
        ("/etc/b", "rw"),
        ("/etc/c/../d", "0644"),
        ("/etc//e", "0644"),
        ("etc/f", "0644"),
        ("/etc/systemd", "0644"),
        ("/etc/mesosphere/roles/master", "0644"),
        ("/opt/mesosphere/bin/x", "0755"),
    ];
    let problems = product_files(&product(&bad, &[])).unwrap_err();
    for (path, _) in bad {
        let named = format!("`{path}` ");
        assert!(
            problems.iter().any(|problem| problem.to_string().starts_with(&named)),
            "{path}: {problems:?}"
        );
    }
    assert_eq!(problems.len(), bad.len(), "{problems:?}");
}

#[test]
fn a_secret_is_no_file_of_the_product() {
    let both = product(&[("/etc/mesosphere/key", "0600")], &["/etc/mesosphere/key", "/opt/mesosphere/x"]);
    let problems = secret_paths(&both).unwrap_err();
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert!(said.len() == 2 && said[0].contains("is a secret and a file"), "{said:?}");
}
