//! What an edit changes, how long it lasts, and what undoes it.

use std::fs;

use serde_json::json;

use crate::ground::{APP, app, copies, from, host, mode, read, store};

#[test]
fn a_file_is_another_one_by_every_way_to_it_and_the_store_is_as_it_was() {
    let yard = host();
    let before = store(&yard);
    let text = from(&yard, "#!/bin/sh\necho edited\n");
    let edited = yard.json(&["edit", "bin/app", "--from", &text]);
    assert_eq!(
        edited,
        json!({
            "package": APP,
            "path": "bin/app",
            "name": "local",
            "copy": "/opt/mesosphere/overrides/local/app--1/bin/app",
            "generation": 2,
            "restart": ["app.service", "more.service"],
            "unit": false,
            "notes": [
                "`dcos.target.wants/app.service` names /opt/mesosphere/packages/app--1/bin/app, which is not the \
                 copy: edit it too if it is to have an effect there"
            ],
        })
    );
    for path in ["bin/app", "bin/alias", "active/app/bin/app", "active/app/bin/alias"] {
        assert_eq!(read(&yard, path), "#!/bin/sh\necho edited\n", "{path}");
    }
    assert_eq!(mode(&yard.home("overrides/local/app--1/bin/app")), 0o755);
    assert_eq!(read(&yard, "active/app/share/deep/other"), "other\n");
    assert_eq!(store(&yard), before);
    assert_eq!(copies(&yard), ["local/app--1/bin/app"]);
    assert_eq!(yard.record(2)["overrides"], json!({"local": {"app--1": ["bin/app"]}}));
    assert_eq!(yard.done(&["edit", "--list"]), "local app--1 bin/app\n");
    assert_eq!(
        yard.json(&["edit", "--list"]),
        json!({"overrides": [{
            "name": "local", "package": APP, "path": "bin/app",
            "copy": "/opt/mesosphere/overrides/local/app--1/bin/app",
        }]})
    );
}

#[test]
fn every_way_to_a_file_names_it() {
    let yard = host();
    for (given, path) in [
        ("/opt/mesosphere/etc/app.conf", "etc/app.conf"),
        ("active/app/share/deep/more/data", "share/deep/more/data"),
        ("bin/alias", "bin/app"),
        ("lib/app/agent", "lib_slave/app/agent"),
        ("packages/app--1/share/deep/other", "share/deep/other"),
        ("dcos.target.wants/app.service", "dcos.target.wants/app.service"),
        ("/run/systemd/system/more.service", "dcos.target.wants/more.service"),
        // By now these lead through what earlier edits have made.
        ("active/app/share/deep/other", "share/deep/other"),
        ("/opt/mesosphere/generations/2/etc/app.conf", "etc/app.conf"),
        ("overrides/local/app--1/etc/app.conf", "etc/app.conf"),
    ] {
        let text = from(&yard, &format!("by {given}\n"));
        let edited = yard.json(&["edit", given, "--from", &text]);
        assert_eq!((edited["package"].as_str(), edited["path"].as_str()), (Some(APP), Some(path)), "{given}");
        assert_eq!(read(&yard, &format!("active/app/{path}")), format!("by {given}\n"));
    }
    assert_eq!(read(&yard, "etc/app.conf"), "by overrides/local/app--1/etc/app.conf\n");
    assert_eq!(read(&yard, "lib/app/agent"), "by lib/app/agent\n");
    assert_eq!(yard.json(&["edit", "--list"])["overrides"].as_array().unwrap().len(), 7);
}

#[test]
fn a_second_edit_replaces_the_copy_and_makes_no_generation() {
    let yard = host();
    let said = yard.done(&["edit", "etc/app.conf"]);
    assert!(said.contains("/opt/mesosphere/overrides/local/app--1/etc/app.conf"), "{said}");
    assert_eq!(read(&yard, "etc/app.conf"), "built = true\n");
    let edited = yard.json(&["edit", "etc/app.conf", "--from", &from(&yard, "second\n")]);
    assert_eq!(edited["generation"], 2);
    assert_eq!(read(&yard, "etc/app.conf"), "second\n");
    // As it is, which is no longer what the package has.
    yard.done(&["edit", "etc/app.conf", "--no-editor"]);
    assert_eq!(read(&yard, "etc/app.conf"), "second\n");
    assert!(!yard.home("generations/3").exists());
    assert_eq!(copies(&yard), ["local/app--1/etc/app.conf"]);
}

#[test]
fn a_unit_that_is_edited_is_the_one_of_the_generation() {
    let yard = host();
    let unit = || read(&yard, "dcos.target.wants/app.service");
    assert!(unit().contains("packages/app--1/bin/app"));
    for text in ["[Service]\nExecStart=/bin/first\n", "[Service]\nExecStart=/bin/second\n"] {
        let edited = yard.json(&["edit", "app.service", "--from", &from(&yard, text)]);
        assert_eq!(edited["generation"], 2);
        assert_eq!(edited["restart"], json!(["app.service", "more.service"]));
        assert_eq!(unit(), text);
    }
    yard.done(&["edit", "--drop", "app.service"]);
    assert!(unit().contains("packages/app--1/bin/app"));
}

#[test]
fn whoever_changes_a_copy_is_told_how_it_gets_an_effect() {
    let yard = host();
    let restart = "to have it used by what is running: systemctl restart app.service more.service\n";
    let said = yard.done(&["edit", "etc/app.conf", "--no-editor"]);
    assert!(said.ends_with(restart), "{said}");
    // systemd has read another file, which only setup makes of the copy.
    let said = yard.done(&["edit", "app.service", "--no-editor"]);
    let hint = ": pkgpanda setup && systemctl restart app.service more.service\n";
    assert!(said.ends_with(hint), "{said}");
    assert_eq!(yard.json(&["edit", "app.service", "--no-editor"])["unit"], true);
    let said = yard.done(&["edit", "--drop", "app.service"]);
    assert!(said.ends_with(restart), "{said}");
}

#[test]
fn a_copy_that_is_lost_is_made_again_or_undone_by_every_way_to_it() {
    let ways = [
        "bin/app",
        "bin/alias",
        "active/app/bin/app",
        "packages/app--1/bin/app",
        "overrides/local/app--1/bin/app",
    ];
    for way in ways {
        let yard = host();
        yard.done(&["edit", "bin/app", "--from", &from(&yard, "edited\n")]);
        yard.done(&[
            "edit",
            "active/app/share/deep/other",
            "--keep",
            "site",
            "--from",
            &from(&yard, "edited\n"),
        ]);
        fs::remove_dir_all(yard.home("overrides")).unwrap();
        let said = yard.refused(&["edit", "bin/none", "--no-editor"]);
        assert!(said.contains("is not there"), "{said}");
        let edited = yard.json(&["edit", way, "--no-editor"]);
        assert_eq!(edited["generation"], 3, "{way}");
        let note = "the copy was lost: the new one holds what the package has";
        assert_eq!(edited["notes"][0], note, "{way}");
        assert_eq!(read(&yard, "bin/app"), "#!/bin/sh\necho built\n", "{way}");
        assert_eq!(mode(&yard.home("overrides/local/app--1/bin/app")), 0o755, "{way}");
        fs::remove_dir_all(yard.home("overrides")).unwrap();
        yard.done(&["edit", way, "--from", &from(&yard, "again\n")]);
        assert_eq!(read(&yard, "bin/app"), "again\n", "{way}");
        fs::remove_file(yard.home("overrides/local/app--1/bin/app")).unwrap();
        yard.done(&["edit", way, "--keep", "own", "--no-editor"]);
        assert_eq!(copies(&yard), ["own/app--1/bin/app"]);
        fs::remove_dir_all(yard.home("overrides")).unwrap();
        // The first way leads to the copy that is there no more.
        let way = if way.starts_with("overrides") { "overrides/own/app--1/bin/app" } else { way };
        yard.done(&["edit", "--drop", way]);
        assert_eq!(read(&yard, "bin/app"), "#!/bin/sh\necho built\n", "{way}");
        assert_eq!(yard.done(&["edit", "--list"]), "site app--1 share/deep/other\n", "{way}");
        yard.done(&["edit", "active/app/share/deep/other", "--no-editor"]);
        assert_eq!(read(&yard, "active/app/share/deep/other"), "other\n", "{way}");
    }
}

#[test]
fn an_edit_survives_setup_and_a_role_and_goes_with_a_rollback() {
    let yard = host();
    yard.done(&["edit", "etc/app.conf", "--from", &from(&yard, "edited\n")]);
    yard.done(&["edit", "app.service", "--from", &from(&yard, "[Service]\nExecStart=/bin/edited\n")]);
    yard.done(&["setup"]);
    assert_eq!(read(&yard, "etc/app.conf"), "edited\n");
    assert_eq!(read(&yard, "dcos.target.wants/app.service"), "[Service]\nExecStart=/bin/edited\n");
    yard.done(&["role", "add", "master"]);
    assert_eq!(read(&yard, "etc/app.conf"), "edited\n");
    assert_eq!(yard.link("active/app"), "/opt/mesosphere/generations/4/merged/app");
    yard.done(&["rollback", "1"]);
    assert_eq!(read(&yard, "etc/app.conf"), "built = true\n");
    assert_eq!(yard.link("active/app"), "/opt/mesosphere/packages/app--1");
    assert_eq!(yard.done(&["edit", "--list"]), "");
    assert!(read(&yard, "dcos.target.wants/app.service").contains("packages/app--1/bin/app"));
    yard.done(&["rollback", "3"]);
    assert_eq!(read(&yard, "etc/app.conf"), "edited\n");
}

#[test]
fn another_version_of_the_package_drops_the_edit_and_says_so() {
    let yard = host();
    yard.done(&["edit", "etc/app.conf", "--from", &from(&yard, "edited\n")]);
    yard.done(&["edit", "bin/other", "--keep", "site"]);
    yard.add(&app("app--2").file("etc/app.conf", "newer\n"));
    let said = yard.done(&["swap", "app--2"]);
    assert!(said.contains("drops the override `local` of `etc/app.conf` of `app--1`"), "{said}");
    assert!(!said.contains("site"), "{said}");
    assert_eq!(read(&yard, "etc/app.conf"), "newer\n");
    assert_eq!(yard.done(&["edit", "--list"]), "site other--1 bin/other\n");
    // The generation before has it still.
    yard.done(&["rollback"]);
    assert_eq!(read(&yard, "etc/app.conf"), "edited\n");
}

#[test]
fn an_edit_that_is_dropped_leaves_what_the_package_has() {
    let yard = host();
    yard.done(&["edit", "etc/app.conf"]);
    yard.done(&["edit", "bin/app", "--from", &from(&yard, "edited\n")]);
    let dropped = yard.json(&["edit", "--drop", "bin/app"]);
    assert_eq!((&dropped["name"], &dropped["generation"]), (&json!(null), &json!(4)));
    assert_eq!(read(&yard, "bin/app"), "#!/bin/sh\necho built\n");
    assert_eq!(yard.done(&["edit", "--list"]), "local app--1 etc/app.conf\n");
    let error = yard.refused(&["edit", "--drop", "bin/app"]);
    assert!(error.contains("`bin/app` of `app--1` is what the package has"), "{error}");
    // A new edit begins with what the package has.
    yard.done(&["edit", "bin/app", "--no-editor"]);
    assert_eq!(read(&yard, "bin/app"), "#!/bin/sh\necho built\n");
}

#[test]
fn what_is_to_stay_gets_a_name() {
    let yard = host();
    yard.done(&["edit", "etc/app.conf", "--from", &from(&yard, "edited\n")]);
    let named = yard.json(&["edit", "etc/app.conf", "--keep", "site-2", "--no-editor"]);
    assert_eq!((&named["name"], &named["generation"]), (&json!("site-2"), &json!(3)));
    assert_eq!(read(&yard, "etc/app.conf"), "edited\n");
    assert_eq!(yard.done(&["edit", "--list"]), "site-2 app--1 etc/app.conf\n");
    // The generation before has its own copy.
    assert_eq!(copies(&yard), ["local/app--1/etc/app.conf", "site-2/app--1/etc/app.conf"]);
    // It keeps its name.
    let again = yard.json(&["edit", "etc/app.conf", "--from", &from(&yard, "again\n")]);
    assert_eq!((&again["name"], &again["generation"]), (&json!("site-2"), &json!(3)));
    yard.done(&["rollback"]);
    assert_eq!(read(&yard, "etc/app.conf"), "edited\n");
}

#[test]
fn an_audit_tells_of_edits_and_of_nothing_else() {
    let yard = host();
    assert_eq!(yard.json(&["audit"])["differences"], json!([]));
    yard.done(&["edit", "active/app/share/deep/more/data"]);
    yard.done(&["edit", "app.service", "--keep", "site"]);
    let output = yard.run(&["audit", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["clean"], &report["differences"]), (&json!(false), &json!([])));
    assert_eq!(
        report["overrides"],
        json!([
            {"name": "local", "path": "/opt/mesosphere/packages/app--1/share/deep/more/data"},
            {"name": "site", "path": "/opt/mesosphere/packages/app--1/dcos.target.wants/app.service"},
        ])
    );
}

#[test]
fn copies_that_no_generation_has_are_garbage() {
    let yard = host();
    yard.done(&["edit", "etc/app.conf"]);
    yard.done(&["edit", "bin/app"]);
    yard.done(&["edit", "--drop", "etc/app.conf"]);
    yard.done(&["gc", "--keep", "0"]);
    assert_eq!(copies(&yard), ["local/app--1/bin/app"]);
    assert_eq!(read(&yard, "bin/app"), "#!/bin/sh\necho built\n");
}
