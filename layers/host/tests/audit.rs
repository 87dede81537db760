//! `pkgpanda audit`: whatever differs is found and named, and two digests stand for a host.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[path = "audit/damage.rs"]
mod damage;
#[path = "audit/ground.rs"]
mod ground;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Duration;

use damage::{Damage, all, as_root};
use ground::{Ground, ID, copy, put};

#[test]
fn a_host_as_it_was_installed_is_clean_and_says_so_in_one_line() {
    let ground = Ground::new();
    let ended = ground.run(&["audit"]);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{}", ended.out);
    let lines: Vec<_> = ended.out.lines().collect();
    let report = ground.audit(&[]);
    assert_eq!(
        lines,
        [
            "clean".to_owned(),
            format!("state {}", report.state),
            format!("host {}", report.host),
            "generation 1".to_owned(),
            format!("configuration {ID}"),
        ]
    );
    for arguments in [&["--incremental"][..], &["--incremental"], &["--threads", "1"], &["--threads", "7"]] {
        assert_eq!(ground.audit(arguments), report, "{arguments:?}");
    }
}

#[test]
fn each_kind_of_difference_is_found_and_named_and_no_other() {
    find(all());
}

#[test]
fn as_root_other_owners_and_devices_are_found_too() {
    find(as_root());
}

/// Does each damage alone, and has an audit find it and nothing else.
fn find(damages: Vec<Damage>) {
    let ground = Ground::new();
    let clean = ground.audit(&[]);
    let mut states = std::collections::BTreeSet::from([(clean.state, clean.host)]);
    let kept = ground.at("kept");
    for Damage { name, harm, expected } in damages {
        copy(&ground.root(), &kept);
        harm(&ground);
        let report = ground.audit(&[]);
        let lines: Vec<_> = report.differences.iter().map(ToString::to_string).collect();
        let missing: Vec<_> =
            expected.iter().filter(|begin| !lines.iter().any(|line| line.starts_with(**begin))).collect();
        assert!(missing.is_empty() && lines.len() == expected.len(), "{name}: {lines:#?}, not {expected:#?}");
        assert!(states.insert((report.state, report.host)), "{name}: a digest of its own");
        assert_eq!(ground.differences(&["--incremental"]), lines, "{name}");
        fs::remove_dir_all(ground.root()).unwrap();
        fs::rename(&kept, ground.root()).unwrap();
    }
    assert_eq!(ground.audit(&[]), clean);
}

#[test]
fn hosts_that_were_installed_alike_agree_whatever_their_roles() {
    let ground = Ground::new();
    let first = ground.audit(&[]);
    for (role, same) in [("master", true), ("slave", false)] {
        fs::remove_dir_all(ground.root()).unwrap();
        fs::create_dir(ground.root()).unwrap();
        ground.install(&ground.root(), &["--role", role]);
        let other = ground.audit(&[]);
        assert!(other.clean);
        assert_eq!(other.state, first.state, "{role}");
        assert_eq!(other.host == first.host, same, "{role}");
    }
    fs::remove_dir_all(ground.root()).unwrap();
    fs::create_dir(ground.root()).unwrap();
    ground.install(&ground.root(), &[]);
    let neutral = ground.audit(&[]);
    assert_eq!((neutral.clean, neutral.state), (true, first.state));
}

#[test]
fn a_role_that_is_learnt_later_gives_the_digests_of_a_host_installed_for_it() {
    let ground = Ground::new();
    let installed = ground.audit(&[]);
    fs::remove_dir_all(ground.root()).unwrap();
    fs::create_dir(ground.root()).unwrap();
    ground.install(&ground.root(), &[]);
    let neutral = ground.audit(&[]);
    assert_eq!((neutral.state, neutral.roles.len()), (installed.state, 0));
    let ended = ground.run(&["role", "add", "master"]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    let learnt = ground.audit(&[]);
    assert!(learnt.clean, "{:?}", learnt.differences);
    assert_eq!((learnt.state, learnt.host), (installed.state, installed.host));
    assert_eq!((learnt.generation.to_string(), learnt.roles), ("2".to_owned(), installed.roles));
}

#[test]
fn what_an_operator_edits_is_listed_and_is_no_damage() {
    let ground = Ground::new();
    let clean = ground.audit(&[]);
    let text = ground.at("text");
    fs::write(&text, "edited\n").unwrap();
    let edit = |path: &str, more: &[&str]| {
        let text = text.display().to_string();
        let ended = ground.run(&[&["edit", path, "--from", &text][..], more].concat());
        assert_eq!(ended.status, 0, "{}", ended.err);
    };
    edit("/opt/mesosphere/etc/shared/settings", &[]);
    edit("/opt/mesosphere/packages/hello--1/share/large", &["--keep", "big"]);
    let report = ground.audit(&[]);
    assert_eq!(report.differences, []);
    assert!(!report.clean && report.state != clean.state && report.host == clean.host);
    let ended = ground.run(&["audit"]);
    assert_eq!((ended.status, ended.out.lines().next()), (1, Some("0 differences, 2 overrides")));
    let listed: Vec<_> = ended.out.lines().skip(5).collect();
    assert_eq!(
        listed,
        [
            "override big /opt/mesosphere/packages/hello--1/share/large",
            "override local /opt/mesosphere/packages/hello--1/etc/shared/settings",
        ]
    );
    // Another edit is another state; one that is gone is damage.
    let copy = ground.home("overrides/big/hello--1/share/large");
    fs::write(&copy, "edited again\n").unwrap();
    assert!(ground.audit(&[]).differences.is_empty() && ground.audit(&[]).state != report.state);
    fs::remove_file(&copy).unwrap();
    let found = ground.differences(&[]);
    assert!(
        found.len() == 1
            && found[0].starts_with("missing /opt/mesosphere/overrides/big/hello--1/share/large:")
    );
    let ended = ground.run(&["repair", "--override", "big"]);
    assert_eq!(ended.status, 0, "{} {}", ended.out, ended.err);
    let mended = ground.audit(&[]);
    assert!(
        mended.clean && (mended.state, mended.host) == (clean.state, clean.host),
        "{:?}",
        mended.differences
    );
}

#[test]
fn one_flipped_bit_changes_the_digest_and_the_same_damage_gives_the_same() {
    let ground = Ground::new();
    let clean = ground.audit(&[]);
    let file = ground.hello("share/large");
    let before = fs::read(&file).unwrap();
    let mut digests = Vec::new();
    for at in [0, before.len() / 2, before.len() - 1, 0] {
        let mut bytes = before.clone();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let report = ground.audit(&[]);
        assert_eq!(report.host, clean.host);
        digests.push(report.state);
    }
    assert_eq!(digests[0], digests[3]);
    digests.truncate(3);
    digests.push(clean.state);
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 4);
}

#[test]
fn an_incremental_audit_is_not_fooled_by_size_and_time() {
    let ground = Ground::new();
    // Changes shortly before a cache is made are no longer believed later.
    std::thread::sleep(Duration::from_millis(2100));
    assert!(ground.audit(&["--incremental"]).clean);
    let file = ground.hello("share/same");
    let kept = ground.at("reference");
    let touch = |reference: &std::path::Path, file: &std::path::Path| {
        let status = Command::new("touch").arg("-r").arg(reference).arg(file).status();
        assert!(status.unwrap().success());
    };
    fs::write(&kept, "").unwrap();
    touch(&file, &kept);
    fs::write(&file, "THE SAME in two packages\n").unwrap();
    touch(&kept, &file);
    let found = ground.differences(&["--incremental"]);
    assert!(
        found.len() == 1 && found[0].starts_with("content /opt/mesosphere/packages/hello--1/share/same:")
    );
    // What the cache knows is not read: it is believed even where it lies.
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(ground.differences(&["--incremental"]).len(), 1);
    let cache = ground.home("audit.cache");
    let text = fs::read_to_string(&cache).unwrap();
    let line = text.lines().find(|line| line.ends_with("/share/same")).unwrap();
    let lie = bake_base::Digest::of(b"the same in two packages\n").to_string();
    let forged = text.replace(&line[..64], &lie);
    let body = &forged[..forged.rfind("end ").unwrap()];
    fs::write(&cache, format!("{body}end {}\n", bake_base::Digest::of(body.as_bytes()))).unwrap();
    assert!(ground.audit(&["--incremental"]).clean, "so it is used");
    assert_eq!(ground.differences(&[]).len(), 1, "nor is it trusted by a full audit");
    assert_eq!(ground.differences(&["--incremental"]).len(), 1, "which sets it right");
    // A damaged cache is none.
    fs::write(&cache, forged).unwrap();
    assert_eq!(ground.differences(&["--incremental"]).len(), 1);
}

#[test]
fn what_cannot_be_audited_is_an_error_and_no_difference() {
    let ground = Ground::new();
    fs::remove_file(ground.home("generations/1/generation.json")).unwrap();
    let ended = ground.run(&["audit"]);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("generations/1/generation.json"), "{}", ended.err);
    fs::remove_dir_all(ground.home("")).unwrap();
    let ended = ground.run(&["audit"]);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("nothing is installed on this host"), "{}", ended.err);
    assert_eq!(ground.run(&["audit", "--threads", "0"]).status, 2);
}

#[test]
fn inactive_packages_and_other_generations_count_only_when_damaged() {
    let ground = Ground::new();
    let clean = ground.audit(&[]);
    let inactive = ground.home("packages/inactive--1");
    copy(&ground.home("packages/other--2"), &inactive);
    copy(&ground.home("generations/1"), &ground.home("generations/2"));
    assert_eq!(ground.audit(&[]), clean);
    fs::write(inactive.join("copy"), "something else").unwrap();
    let report = ground.audit(&[]);
    assert_eq!(report.differences.len(), 1);
    assert!(report.state != clean.state && report.host == clean.host);
    put(&inactive.join("copy"), "the same in two packages\n", 0o644);
    fs::write(ground.home("generations/2/generation.json"), "{").unwrap();
    let found = ground.differences(&[]);
    assert!(found.len() == 1 && found[0].starts_with("record /opt/mesosphere/generations/2:"), "{found:?}");
}

#[test]
fn what_nobody_vouches_for_is_named() {
    let ground = Ground::new();
    let clean = ground.audit(&[]);
    put(&ground.home("packages/foo--1/bin/su"), "x", 0o4755);
    let unlisted = "unverifiable /opt/mesosphere/packages/foo--1: expected a contents.json that says what is in this \
                    package, found none";
    assert_eq!(ground.differences(&[]), [unlisted]);
    let first = ground.audit(&[]);
    assert!(first.state != clean.state && first.host == clean.host);
    put(&ground.home("packages/foo--1/bin/su"), "y", 0o4755);
    assert_ne!(ground.audit(&[]).state, first.state, "what is in it counts");
    put(&ground.home("packages/foo--1/contents.json"), "{", 0o644);
    let found = ground.differences(&[]);
    assert!(found.len() == 1 && found[0].ends_with("found one that nobody vouches for"), "{found:?}");
    let ended = ground.run(&["repair"]);
    assert_eq!(ended.status, 1);
    assert!(ended.out.contains("`pkgpanda remove` takes a package away"), "{}", ended.out);
    assert_eq!(ground.run(&["remove", "foo--1"]).status, 0);
    assert_eq!(ground.audit(&[]), clean);
    // An active one: the record says that it came without a list.
    let record = ground.home("generations/1/generation.json");
    let text = fs::read_to_string(&record).unwrap();
    let list = bake_base::Digest::of(&fs::read(ground.hello("contents.json")).unwrap());
    fs::write(&record, text.replace(&format!("\"hello--1\": \"{list}\""), "\"hello--1\": null")).unwrap();
    fs::remove_file(ground.hello("contents.json")).unwrap();
    put(&ground.hello("bin/hello"), "edited", 0o755);
    let found = ground.differences(&[]);
    assert!(
        found.len() == 1 && found[0].starts_with("unverifiable /opt/mesosphere/packages/hello--1:"),
        "{found:?}"
    );
}

#[test]
fn what_a_host_keeps_itself_is_looked_into() {
    let ground = Ground::new();
    let created = ground.home("created.json");
    let before = fs::read(&created).unwrap();
    fs::write(&created, "{").unwrap();
    let found = ground.differences(&[]);
    assert!(
        found.len() == 1 && found[0].starts_with("record /opt/mesosphere/created.json: expected the record"),
        "{found:?}"
    );
    assert!(ground.run(&["repair"]).out.contains("move it away"));
    fs::write(&created, before).unwrap();
    let kept = ground.home("replaced/etc/strange");
    put(&kept, "x", 0o4755);
    let found = ground.differences(&[]);
    assert!(
        found.len() == 1 && found[0].starts_with("extra /opt/mesosphere/replaced/etc/strange:"),
        "{found:?}"
    );
    // What may be the user's own is not taken away.
    assert_eq!(ground.run(&["repair"]).status, 1);
    assert!(kept.exists());
    // What was put back is no news.
    put(&ground.root().join("etc/strange"), "x", 0o4755);
    assert_eq!(ground.differences(&[]), [""; 0]);
    fs::remove_dir_all(ground.home("replaced")).unwrap();
    let copy = ground.home("overrides/x/hello--1/bin/hello");
    put(&copy, "x", 0o4755);
    let found = ground.differences(&[]);
    let expected =
        "extra /opt/mesosphere/overrides/x/hello--1/bin/hello: expected nothing, found a file 4755";
    assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    assert_eq!((ground.run(&["repair"]).status, copy.exists()), (0, false));
    fs::remove_dir_all(ground.home("overrides")).unwrap();
    put(&ground.at("elsewhere/x"), "x", 0o644);
    symlink(ground.at("elsewhere"), ground.home("overrides")).unwrap();
    let found = ground.differences(&[]);
    assert!(found.len() == 1 && found[0].starts_with("type /opt/mesosphere/overrides: expected a directory"));
}

#[test]
fn a_changed_copy_that_is_a_link_is_shown_with_its_target() {
    let ground = Ground::new();
    let text = ground.at("text");
    fs::write(&text, "edited\n").unwrap();
    let path = "/opt/mesosphere/packages/hello--1/bin/hello";
    assert_eq!(ground.run(&["edit", path, "--from", &text.display().to_string()]).status, 0);
    let copy = ground.home("overrides/local/hello--1/bin/hello");
    fs::remove_file(&copy).unwrap();
    symlink("/bin/sh", &copy).unwrap();
    let found = ground.differences(&[]);
    assert!(found.len() == 1 && found[0].ends_with("found a link to /bin/sh"), "{found:?}");
    let ended = ground.run(&["audit"]);
    assert_eq!(ended.out.lines().next(), Some("1 difference, 1 override"));
}

#[test]
fn a_cache_that_cannot_be_written_leaves_nothing_behind() {
    let ground = Ground::new();
    fs::create_dir(ground.home("audit.cache")).unwrap();
    let ended = ground.run(&["audit"]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.err.contains("nothing is kept for the next audit"), "{}", ended.err);
    assert!(ended.out.contains("\nextra /opt/mesosphere/audit.cache:"), "{}", ended.out);
    assert!(!ground.home(".audit.cache.unfinished").exists());
    assert!(!ground.run(&["status"]).out.contains("killed"));
    assert_eq!(ground.run(&["repair"]).status, 0);
    assert!(ground.audit(&[]).clean && ground.home("audit.cache").is_file());
}

#[test]
fn records_of_programs_that_knew_no_digest_of_the_product_are_read() {
    let ground = Ground::new();
    let record = ground.home("generations/1/generation.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    assert!(json.as_object_mut().unwrap().remove("product").is_some());
    fs::write(&record, bake_base::json::to_canonical(&json).unwrap()).unwrap();
    let found = ground.differences(&[]);
    assert!(
        found.len() == 1 && found[0].starts_with("unverifiable /opt/mesosphere/generations/1/product.json:"),
        "{found:?}"
    );
    // The next change writes it down.
    assert_eq!(ground.run(&["role", "add", "slave"]).status, 0);
    let report = ground.audit(&[]);
    assert!(report.clean, "{:?}", report.differences);
}

#[test]
fn links_lead_an_audit_nowhere_else() {
    let ground = Ground::new();
    let outside = ground.at("outside");
    put(&outside.join("fifo/file"), "x", 0o644);
    for path in ["packages/hello--1/share/away", "away"] {
        symlink(&outside, ground.home(path)).unwrap();
    }
    fs::rename(ground.hello("lib"), outside.join("lib")).unwrap();
    symlink(outside.join("lib"), ground.hello("lib")).unwrap();
    let found = ground.differences(&[]);
    assert!(
        found.iter().any(|line| line.starts_with("type /opt/mesosphere/packages/hello--1/lib:")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|line| line.starts_with("missing /opt/mesosphere/packages/hello--1/lib/deep/7:"))
    );
    assert!(!found.iter().any(|line| line.contains("fifo") || line.contains("away/")), "{found:?}");
    let fifo = Command::new("mkfifo").arg(ground.hello("share/fifo")).status();
    assert!(fifo.unwrap().success());
    let found = ground.differences(&[]);
    assert!(
        found.iter().any(|line| line.ends_with("share/fifo: expected nothing, found a fifo 0644")),
        "{found:?}"
    );
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
}
