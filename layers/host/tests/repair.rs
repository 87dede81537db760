//! `pkgpanda repair`: whatever an audit finds is put back, and nothing else is touched.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, missing_docs)] // a test stops where it fails

#[path = "audit/damage.rs"]
mod damage;
#[path = "audit/ground.rs"]
mod ground;
#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bake_base::Digest;
use damage::{Damage, all, as_root};
use ground::{Ground, HELLO, copy, put};

/// Everything below a root but times, and what audits have read.
fn state(root: &Path) -> BTreeMap<String, String> {
    let list = listing::list(root);
    let entries = list.into_iter().map(|(path, entry)| {
        let content = matches!(entry.kind, listing::Kind::File { .. })
            .then(|| Digest::of(&fs::read(listing::at(root, &path)).unwrap()).to_string());
        let text =
            format!("{:?} {:o} {:?} {:?} {content:?}", entry.kind, entry.mode, entry.owner, entry.xattrs);
        (listing::shown(&path), text)
    });
    entries.filter(|(path, _)| path != "/opt/mesosphere/audit.cache").collect()
}

#[test]
fn each_kind_of_damage_is_mended_to_the_byte() {
    mend(all());
}

#[test]
fn as_root_other_owners_and_devices_are_mended_too() {
    mend(as_root());
}

/// Does each damage alone, and has it mended.
fn mend(damages: Vec<Damage>) {
    let ground = Ground::new();
    // What setup adds to an installation is there before.
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    assert!(clean.clean, "{:?}", clean.differences);
    let before = state(&ground.root());
    let from = ground.from().display().to_string();
    let kept = ground.at("kept");
    for Damage { name, harm, expected } in damages {
        copy(&ground.root(), &kept);
        harm(&ground);
        let harmed = state(&ground.root());
        let planned = ground.run(&["repair", "--from", &from, "--plan"]);
        assert_eq!(planned.status, 0, "{name}: {}", planned.err);
        assert!(!expected.is_empty() && planned.out != "nothing to do\n", "{name}: {}", planned.out);
        assert_eq!(state(&ground.root()), harmed, "{name}: a plan changes nothing");
        let ended = ground.run(&["repair", "--from", &from]);
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{name}: {}", ended.out);
        assert!(ended.out.contains("\nclean\nstate "), "{name}: {}", ended.out);
        assert_eq!(ground.audit(&[]), clean, "{name}");
        let after = state(&ground.root());
        for (path, entry) in &before {
            assert_eq!(after.get(path), Some(entry), "{name}: {path}");
        }
        assert_eq!(after.len(), before.len(), "{name}");
        fs::remove_dir_all(ground.root()).unwrap();
        fs::rename(&kept, ground.root()).unwrap();
    }
}

#[test]
fn what_is_right_already_is_not_touched() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let before = listing::list(&ground.root());
    let ended = ground.run(&["repair"]);
    assert_eq!((ended.status, ended.out.lines().next()), (0, Some("clean")), "{}", ended.err);
    let after = listing::list(&ground.root());
    for (path, entry) in &before {
        let shown = listing::shown(path);
        // Its directory holds the record of what was read.
        if !shown.ends_with("/audit.cache") && shown != "/opt/mesosphere" {
            assert!(after[path] == *entry, "{shown}");
        }
    }
}

#[test]
fn all_of_it_at_once_is_mended_too() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    wreck(&ground);
    let from = ground.from().display().to_string();
    let ended = ground.run(&["repair", "--json", "--from", &from]);
    assert_eq!(ended.status, 0, "{} {}", ended.out, ended.err);
    let repaired: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(repaired["report"]["state"], serde_json::json!(clean.state));
    assert_eq!(repaired["left"], serde_json::json!([]));
    assert_eq!(ground.audit(&[]), clean);
}

/// Much damage of many kinds.
fn wreck(ground: &Ground) {
    fs::remove_dir_all(ground.hello("")).unwrap();
    fs::remove_dir_all(ground.home("generations/1/bin")).unwrap();
    fs::remove_file(ground.home("environment")).unwrap();
    fs::remove_file(ground.home("packages/other--2/pkginfo.json")).unwrap();
    fs::remove_file(ground.home("packages/other--2/copy")).unwrap();
    put(&ground.home("packages/other--2/copy/now/a/tree"), "x", 0o644);
    put(&ground.home("generations/1/lib/extra"), "x", 0o644);
    put(&ground.root().join("etc/hidden"), "x", 0o777);
}

#[test]
fn without_a_repository_what_is_at_hand_is_put_back_and_the_rest_is_named() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    // No repository answers where the host's own configuration says.
    for path in ["share/same", "bin/hello", "share/link"] {
        fs::remove_file(ground.hello(path)).unwrap();
    }
    let ended = ground.run(&["repair"]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    for done in ["share/same", "share/link"] {
        assert!(
            ended.out.contains(&format!("put back /opt/mesosphere/packages/{HELLO}/{done}\n")),
            "{}",
            ended.out
        );
    }
    assert!(ended.out.contains("1 difference\n"), "{}", ended.out);
    let left = ended.out.lines().last().unwrap();
    assert!(
        left.starts_with(&format!(
            "missing /opt/mesosphere/packages/{HELLO}/bin/hello: expected a file 0755"
        ))
    );
    assert!(left.contains("hello--1.tar.xz"), "{left}");
    assert_eq!(fs::read_to_string(ground.hello("share/same")).unwrap(), "the same in two packages\n");
}

#[test]
fn packages_are_fetched_where_nothing_is_at_hand() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    fs::remove_file(ground.hello("bin/hello")).unwrap();
    put(&ground.hello("share/large"), "x", 0o644);
    let url = format!("file://{}", ground.from().display());
    let ended = ground.run(&["repair", "--url", &url]);
    assert_eq!(ended.status, 0, "{} {}", ended.out, ended.err);
    assert_eq!(ground.audit(&[]), clean);
    fs::remove_dir_all(ground.hello("")).unwrap();
    put(&ground.from().join("packages/hello/hello--1.tar.xz"), "no package", 0o644);
    let ended = ground.run(&["repair", "--url", &url]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.out.contains("brought 10 bytes with sha256"), "{}", ended.out);
}

#[test]
fn edits_without_a_name_are_undone_and_others_are_kept() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    let text = ground.at("text");
    fs::write(&text, "edited\n").unwrap();
    for (path, more) in [("bin/hello", &[][..]), ("share/large", &["--keep", "big"])] {
        let path = format!("/opt/mesosphere/packages/{HELLO}/{path}");
        let text = text.display().to_string();
        let ended = ground.run(&[&["edit", &path, "--from", &text][..], more].concat());
        assert_eq!(ended.status, 0, "{}", ended.err);
    }
    let planned = ground.run(&["repair", "--plan"]);
    assert_eq!(planned.out, "undo the override local\n");
    let ended = ground.run(&["repair"]);
    assert_eq!(ended.status, 0, "{} {}", ended.out, ended.err);
    assert!(ended.out.ends_with(&format!("override big /opt/mesosphere/packages/{HELLO}/share/large\n")));
    assert_eq!(ground.audit(&[]).overrides.len(), 1);
    let ended = ground.run(&["repair", "--override", "big"]);
    assert_eq!(ended.status, 0, "{} {}", ended.out, ended.err);
    let mended = ground.audit(&[]);
    assert!(mended.clean && (mended.state, mended.host) == (clean.state, clean.host));
}

#[test]
fn content_from_elsewhere_is_never_trusted() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    fs::remove_file(ground.hello("bin/hello")).unwrap();
    fs::remove_file(ground.hello("contents.json")).unwrap();
    // A package of the same id that holds something else, with a list that says so.
    let forged = ground.at("forged");
    copy(&ground.at("bootstrap/packages/hello--1"), &forged);
    put(&forged.join("bin/hello"), "#!/bin/sh\nevil\n", 0o755);
    put(&forged.join("contents.json"), r#"{"entries": {}, "schema": "bake-contents-1"}"#, 0o644);
    for path in ["packages/hello/hello--1.tar.xz", "bootstrap/b.tar.xz"] {
        let status = std::process::Command::new("tar")
            .arg("-cJf")
            .arg(ground.from().join(path))
            .arg("-C")
            .arg(&forged)
            .arg(".")
            .status();
        assert!(status.unwrap().success());
    }
    let ended = ground.run(&["repair", "--from", &ground.from().display().to_string()]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.out.contains("has the digest"), "{}", ended.out);
    for path in ["bin/hello", "contents.json", "bin/.pkgpanda.unfinished", ".pkgpanda.unfinished"] {
        assert!(!ground.hello(path).exists(), "{path}");
    }
}

#[test]
fn a_record_is_rebuilt_where_the_rest_says_what_it_was() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    let record = ground.home("generations/1/generation.json");
    let before = fs::read(&record).unwrap();
    for damage in ["", "{}", "{\"schema\": \"bake-generation-9\"}"] {
        fs::write(&record, damage).unwrap();
        assert_eq!(ground.run(&["audit"]).status, 1);
        let ended = ground.run(&["repair"]);
        assert_eq!(ended.status, 0, "{} {}", ended.out, ended.err);
        assert!(
            ended.out.starts_with("rebuild /opt/mesosphere/generations/1/generation.json\n"),
            "{}",
            ended.out
        );
        assert_eq!(fs::read(&record).unwrap(), before);
        assert_eq!(ground.audit(&[]), clean);
    }
    // What a link of the generation leads to is not what its product says.
    fs::remove_file(ground.home("generations/1/active/other")).unwrap();
    fs::remove_file(&record).unwrap();
    let ended = ground.run(&["repair"]);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("generations/1/active is not what product.json says"), "{}", ended.err);
    assert!(ended.err.contains("move the install root away and run dcos_install.sh again"), "{}", ended.err);
    assert!(!record.exists());
}

#[test]
fn a_document_of_a_product_comes_from_wherever_it_is_and_its_loss_loses_nothing_else() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    let document = ground.home("generations/1/product.json");
    let before = fs::read(&document).unwrap();
    let from = ground.from().display().to_string();
    // Without any place that has it, everything stays, and the way out is told.
    fs::write(&document, "{}").unwrap();
    let ended = ground.run(&["repair"]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.out.contains("give --from with the serve directory"), "{}", ended.out);
    assert_eq!(fs::read_link(ground.home("product.json")).unwrap(), Path::new("current/product.json"));
    let empty = ground.at("empty");
    fs::create_dir(&empty).unwrap();
    let ended = ground.run(&["repair", "--from", empty.to_str().unwrap()]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.out.contains("has no document with sha256"), "{}", ended.out);
    // No change carries the loss on.
    let ended = ground.run(&["role", "add", "slave"]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.err.contains("generations/1/product.json` is missing or damaged"), "{}", ended.err);
    assert!(ended.err.contains("`pkgpanda repair --from`"), "{}", ended.err);
    assert!(!ground.home("generations/2").exists());
    let ended = ground.run(&["setup"]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.err.contains("`pkgpanda repair --from`"), "{}", ended.err);
    // Nor does an installer take what it has made for somebody else's.
    let ended = ground.run(&["install", "--product", &format!("{from}/product.json"), "--from", &from]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.err.contains("`pkgpanda repair --from`"), "{}", ended.err);
    // The serve directory goes on to other products and keeps this one.
    let kept = ground.from().join(format!("products/{}.json", ground::ID));
    fs::create_dir(ground.from().join("products")).unwrap();
    fs::rename(ground.from().join("product.json"), &kept).unwrap();
    let url = format!("file://{from}");
    for arguments in [["--from", &from], ["--url", &url]] {
        fs::write(&document, "{}").unwrap();
        let ended = ground.run(&[&["repair"][..], &arguments].concat());
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{}", ended.out);
        assert_eq!(fs::read(&document).unwrap(), before);
        assert_eq!(ground.audit(&[]), clean);
    }
    // Another generation of the same product has it, too.
    assert_eq!(ground.run(&["role", "add", "slave"]).status, 0);
    fs::remove_file(ground.home("generations/2/product.json")).unwrap();
    let ended = ground.run(&["repair"]);
    assert_eq!(ended.status, 0, "{}", ended.out);
    assert_eq!(fs::read(ground.home("generations/2/product.json")).unwrap(), before);
}

#[test]
fn where_nothing_leads_to_one_of_several_generations_somebody_has_to_say_which() {
    let ground = Ground::new();
    assert_eq!(ground.run(&["role", "add", "slave"]).status, 0);
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    for (harm, found) in [
        ("none", "nothing"),
        ("/etc", "a link to /etc"),
        ("generations/7", "a link to generations/7"),
        ("directory", "a directory 0755"),
    ] {
        fs::remove_file(ground.home("current")).unwrap();
        match harm {
            "none" => {}
            "directory" => fs::create_dir(ground.home("current")).unwrap(),
            target => std::os::unix::fs::symlink(target, ground.home("current")).unwrap(),
        }
        let expected = format!(
            "record /opt/mesosphere/current: expected a link to one of generations/1, generations/2, found {found}"
        );
        assert_eq!(ground.differences(&[]), [expected], "{harm}");
        for arguments in [&["repair"][..], &["repair", "--plan"]] {
            let ended = ground.run(arguments);
            assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{harm}");
            assert!(ended.err.contains("generations 1, 2 are whole: `pkgpanda rollback N`"), "{}", ended.err);
        }
        let ended = ground.run(&["status"]);
        assert!(ended.err.contains("`pkgpanda rollback N`"), "{}", ended.err);
        assert_eq!(ground.run(&["generations"]).out.lines().count(), 2);
        let ended = ground.run(&["rollback", "2"]);
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{harm}: {}", ended.out);
        ground.run(&["repair"]);
        assert_eq!(ground.audit(&[]), clean, "{harm}");
    }
}

#[test]
fn a_generation_whose_record_is_lost_can_be_left() {
    let ground = Ground::new();
    assert_eq!(ground.run(&["role", "add", "slave"]).status, 0);
    for file in ["generation.json", "active/other"] {
        fs::remove_file(ground.home("generations/2").join(file)).unwrap();
    }
    let ended = ground.run(&["repair"]);
    assert!(ended.err.contains("`pkgpanda rollback 1` makes a generation current"), "{}", ended.err);
    let ended = ground.run(&["rollback", "1"]);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{}", ended.out);
    // What it left is what only garbage collection sees to.
    let ended = ground.run(&["repair"]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(ended.out.contains("record /opt/mesosphere/generations/2:"), "{}", ended.out);
    assert!(ended.out.contains(": `pkgpanda gc` removes it\n"), "{}", ended.out);
    assert_eq!(ground.run(&["gc"]).status, 0);
    assert!(ground.audit(&[]).clean);
}

#[test]
fn only_overrides_that_there_are_can_be_undone() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let ended = ground.run(&["repair", "--override", "nosuch"]);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("no override `nosuch`: this host has none"), "{}", ended.err);
    let text = ground.at("text");
    fs::write(&text, "edited\n").unwrap();
    let (path, text) = ("/opt/mesosphere/packages/hello--1/bin/hello", text.display().to_string());
    assert_eq!(ground.run(&["edit", path, "--from", &text, "--keep", "big"]).status, 0);
    for arguments in [&["repair", "--override", "nosuch"][..], &["repair", "--plan", "--override", "nosuch"]]
    {
        let ended = ground.run(arguments);
        assert_eq!((ended.status, ended.out.as_str()), (1, ""));
        assert!(ended.err.contains("no override `nosuch`: expected one of big"), "{}", ended.err);
    }
}

#[test]
fn secrets_are_made_secret_again_and_never_made_up() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    fs::remove_file(ground.root().join("etc/secret")).unwrap();
    let ended = ground.run(&["repair"]);
    assert_eq!(ended.status, 1, "{}", ended.out);
    assert!(
        ended
            .out
            .contains("missing /etc/secret: expected a secret 0600, found nothing: secrets are nowhere else")
    );
    assert!(!ground.root().join("etc/secret").exists());
}

#[test]
fn a_repair_that_was_killed_at_any_point_is_finished_by_the_next() {
    let ground = Ground::new();
    ground.run(&["repair"]);
    let clean = ground.audit(&[]);
    let before = state(&ground.root());
    wreck(&ground);
    let wrecked = ground.at("wrecked");
    copy(&ground.root(), &wrecked);
    let from = ground.from().display().to_string();
    let full = std::env::var_os("BAKE_TEST_FULL").is_some();
    let (mut kills, mut delay) = (0, 3000);
    loop {
        fs::remove_dir_all(ground.root()).unwrap();
        copy(&wrecked, &ground.root());
        let mut command = ground.command(&["repair", "--from", &from]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(delay));
        child.kill().unwrap();
        let killed = child.wait().unwrap().code().is_none();
        // Whatever has its name is whole.
        for line in ground.differences(&[]).iter().filter(|line| line.starts_with("content ")) {
            assert!(line.starts_with("content /etc/hidden:"), "after {delay} microseconds: {line}");
        }
        let ended = ground.run(&["repair", "--from", &from]);
        assert_eq!(ended.status, 0, "after {delay} microseconds: {} {}", ended.out, ended.err);
        assert_eq!(ground.audit(&[]), clean);
        assert!(state(&ground.root()) == before, "after {delay} microseconds");
        if !killed {
            break;
        }
        kills += 1;
        delay += delay / if full { 40 } else { 6 };
    }
    println!("killed {kills} repairs");
    assert!(kills >= 3, "{kills}");
}
