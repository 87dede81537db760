//! Ids and plans.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::ground::{Ground, ids};
use crate::repositories::Server;
use crate::support::{run, tiny};

/// Three packages of which one needs the others, and one that has nothing to do with them.
fn chain() -> Ground {
    let ground = Ground::new();
    ground.recipe("zlib", &json!({}), "mkdir $PKG_PATH/lib; echo z >$PKG_PATH/lib/z");
    ground.recipe("middle", &json!({ "requires": ["zlib"] }), ":");
    ground.recipe("application", &json!({ "requires": ["middle"] }), ":");
    ground.recipe("other", &json!({}), ":");
    ground
}

fn names(ids: &[String]) -> Vec<&str> {
    ids.iter().map(|id| id.split_once("--").unwrap().0).collect()
}

#[test]
fn a_plan_has_what_is_needed_in_build_order() {
    let ground = chain();
    assert_eq!(names(&ground.plan(&["application"])), ["zlib", "middle", "application"]);
    assert_eq!(names(&ground.plan(&["other", "middle"])), ["zlib", "middle", "other"]);
    assert_eq!(names(&ground.plan(&[])), ["zlib", "middle", "application", "other"]);
    let of_tree = run(&mut ground.tree_command(&["--plan"]));
    let program = format!("{}  to build\n", tiny::pkgpanda_id());
    assert_eq!(of_tree, ground.package(&["--plan"]) + &program);
    for id in ids(&of_tree) {
        let version = id.split_once("--").unwrap().1;
        assert!(version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}

#[test]
fn a_plan_builds_nothing_writes_nothing_and_asks_no_network() {
    let ground = chain();
    let server = Server::new(&ground.at("."));
    let source = json!({ "kind": "url", "url": server.url("source"), "sha256": "0".repeat(64) });
    ground.recipe("fetched", &json!({ "single_source": source }), ":");
    ground.recipe("failing", &json!({}), "exit 1");
    let plan = ground.package(&["--plan", "--repository", &server.url("")]);
    assert_eq!(plan.lines().count(), 6);
    assert!(plan.lines().all(|line| line.ends_with("to build")), "{plan}");
    assert_eq!(server.asked(), Vec::<String>::new());
    assert_eq!(ground.cached(""), Vec::<String>::new());
}

#[test]
fn a_plan_says_what_is_there_for_people_and_for_programs() {
    let ground = chain();
    ground.package(&["zlib"]);
    let plan = ground.package(&["--plan", "middle"]);
    let states: Vec<_> = plan.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(states, ["built", "to build"]);

    let rows: Value = serde_json::from_str(&ground.package(&["--plan", "--json", "middle"])).unwrap();
    let row = &rows[0];
    assert_eq!(row["id"], ground.plan(&["zlib"])[0]);
    assert_eq!(row["is_built"], true);
    let sums = run(Command::new("sha256sum").arg(ground.at(row["path"].as_str().unwrap())));
    assert!(sums.starts_with(row["sha256"].as_str().unwrap()), "{sums}");
    assert_eq!(rows[1], json!({ "id": ground.plan(&["middle"])[1], "is_built": false }));

    let built: Value = serde_json::from_str(&ground.package(&["--json", "zlib"])).unwrap();
    assert_eq!(built, json!([{ "id": row["id"], "path": row["path"], "sha256": row["sha256"] }]));
}

#[test]
fn nothing_but_inputs_changes_an_id() {
    let ground = chain();
    ground.file("zlib/extra/data", "data");
    let before = ground.plan(&[]);

    for name in ["zlib/build", "zlib/extra/data", "zlib/buildinfo.json", "zlib/extra", "zlib"] {
        run(Command::new("touch").args(["-d", "2001-02-03"]).arg(ground.tree(name)));
    }
    assert_eq!(ground.plan(&[]), before, "times");
    for (name, mode) in [("zlib/build", 0o700), ("zlib/extra/data", 0o600), ("zlib/extra", 0o700)] {
        fs::set_permissions(ground.tree(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(ground.plan(&[]), before, "modes");
    let moved = ground.at("else where");
    fs::rename(ground.at("tree"), &moved).unwrap();
    let elsewhere = ["package", "--tree=else where", "--builder=builder.tar", "--plan"];
    assert_eq!(ids(&run(&mut ground.command(&elsewhere))), before, "the tree's place");
    fs::rename(&moved, ground.at("tree")).unwrap();
    fs::copy(ground.at("builder.tar"), ground.at("same.tar")).unwrap();
    let elsewhere = ["package", "--tree=tree", "--builder=same.tar", "--plan"];
    assert_eq!(ids(&run(&mut ground.command(&elsewhere))), before, "the builder's place");
    let arguments = ["--jobs=7", "--timeout=5", "--paranoid", "--offline", "--keep"];
    assert_eq!(ground.plan(&arguments), before, "how it is built");
    let mut command = ground.package_command(&["--plan"]);
    command.envs([("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8"), ("SOURCE_DATE_EPOCH", "7")]);
    assert_eq!(ids(&run(&mut command)), before, "the environment");
    let mut command = ground.through(&["taskset", "-c", "0"], &["package", "--tree=tree"]);
    assert_eq!(ids(&run(command.args(["--builder=builder.tar", "--plan"]))), before, "processors");
    ground.file("README.md", "Beside the recipes.");
    ground.package(&["--recursive", "application"]);
    assert_eq!(ground.plan(&[]), before, "what was built");
}

#[test]
fn every_input_changes_the_id_of_a_package_and_of_all_that_need_it() {
    let ground = chain();
    ground.file("zlib/extra/data", "data");
    let before = ground.plan(&[]);
    let changed = |what: &str| {
        let after = ground.plan(&[]);
        for (at, name) in ["zlib", "middle", "application", "other"].iter().enumerate() {
            assert_eq!(after[at] != before[at], *name != "other", "{what}: {name}");
        }
    };
    ground.file("zlib/extra/data", "date");
    changed("a file's bytes");
    ground.file("zlib/extra/data", "data");
    fs::set_permissions(ground.tree("zlib/extra/data"), fs::Permissions::from_mode(0o755)).unwrap();
    changed("a file that can be executed");
    fs::set_permissions(ground.tree("zlib/extra/data"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(ground.tree("zlib/extra/empty")).unwrap();
    changed("an empty directory");
    fs::remove_dir(ground.tree("zlib/extra/empty")).unwrap();
    ground.file("zlib/notes", "");
    changed("a file beside the script");
    fs::remove_file(ground.tree("zlib/notes")).unwrap();
    let source = json!({ "kind": "url", "url": "https://host.invalid/z", "sha256": "0".repeat(64) });
    for buildinfo in [
        json!({ "environment": { "Z": "1" } }),
        json!({ "state_directory": true }),
        json!({ "username": "dcos_zlib" }),
        json!({ "username": "dcos_zlib", "group": "adm" }),
        json!({ "sysctl": { "zlib": { "vm.swappiness": "1" } } }),
        json!({ "network": true }),
        json!({ "single_source": source }),
        json!({ "docker": "name" }),
    ] {
        ground.file("zlib/buildinfo.json", buildinfo.to_string());
        changed(&buildinfo.to_string());
    }
    ground.file("zlib/buildinfo.json", "{}");
    assert_eq!(ground.plan(&[]), before, "all is as it was");
    let mut tar = Command::new("tar");
    tar.args(["-r", "--owner=0", "--group=0", "-f"]).arg(ground.at("builder.tar"));
    run(tar.arg("-C").arg(ground.at("tree")).arg("zlib/build"));
    let after = ground.plan(&[]);
    assert!(before.iter().zip(&after).all(|(one, other)| one != other), "another builder");
}
