//! `--check`: what makes a package depend on its surroundings is found and named.

use std::fs;
use std::process::Command;
use std::thread;

use serde_json::json;

use crate::ground::{Ground, Package, as_everybody, refused};
use crate::support::{output, rootfs, run, text};

/// A recipe that depends on something, and what `--check` says of it: where the difference is, and why.
struct Case {
    name: &'static str,
    script: &'static str,
    difference: &'static str,
    cause: &'static str,
}

const fn case(
    name: &'static str,
    script: &'static str,
    difference: &'static str,
    cause: &'static str,
) -> Case {
    Case { name, script, difference, cause }
}

/// Each cause by the beginning of what is said of it.
const CASES: [Case; 9] = [
    case("stamp", "date +%s >$PKG_PATH/stamp", "`/stamp` differs from byte ", "the time of the build"),
    case("chance", "echo $RANDOM$RANDOM >$PKG_PATH/x", "`/x` ", "the time of the build, or chance"),
    case(
        "order",
        "printf 'order=' >$PKG_PATH/list; cd /pkg/src/order; for name in $(ls -U); do printf %s $name >>$PKG_PATH/list; done",
        "`/list` differs from byte 6 on: `order=",
        "the order in which directories list",
    ),
    case(
        "variable",
        "mkdir $PKG_PATH/etc; printf cores=%s $NUM_CORES >$PKG_PATH/etc/cores",
        "`/etc/cores` differs from byte 6 on: `cores=",
        "the number of processors",
    ),
    case(
        "host",
        "printf host=%s $(hostname) >$PKG_PATH/host",
        "`/host` differs from byte 5 on: `host=builder` first and `host=another-builder` then",
        "the name of the machine",
    ),
    case(
        "path",
        "cd /pkg/src; printf path=%s $(pwd -P) >$PKG_PATH/path",
        "`/path` differs from byte 6 on: `path=/pkg/src` first and `path=/another/place/pkg/src` then",
        "the path of the build",
    ),
    case(
        "user",
        "printf user=%s $(id -u) >$PKG_PATH/user",
        "`/user` differs from byte 5 on: `user=0` first and `user=1234` then",
        "the user who builds",
    ),
    case(
        "mode",
        "touch $PKG_PATH/x; if [ $(id -u) = 0 ]; then chmod 755 $PKG_PATH/x; fi",
        "`/x` has mode 0755 first and 0644 then",
        "the user who builds",
    ),
    case(
        "name",
        "touch $PKG_PATH/made-on-$(hostname)",
        "`/made-on-another-builder` is in the second build alone",
        "the name of the machine",
    ),
];

/// A source of some files, in the recipe's directory.
fn source(ground: &Ground, name: &str) -> serde_json::Value {
    for file in ["a", "b", "c"] {
        ground.file(&format!("files/one/{file}"), file);
    }
    ground.file(&format!("{name}/README"), "");
    let tar = ground.tree(&format!("{name}/files.tar"));
    run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(ground.tree("files")).arg("one"));
    fs::remove_dir_all(ground.tree("files")).unwrap();
    json!({ "kind": "url_extract", "url": "file://files.tar", "sha256": Package(tar).digest() })
}

fn caught(ground: &Ground, case: &Case) {
    let said = ground.package_refused(&["--check", case.name]);
    let Case { name, difference, cause, .. } = case;
    assert!(
        said.contains(&format!("error: {name}--")) && said.contains("is not reproducible"),
        "{name}: {said}"
    );
    assert!(said.contains(difference), "{name}: no {difference}: {said}");
    assert!(said.contains(&format!("\n  likely cause: {cause}")), "{name}: not {cause}: {said}");
}

#[test]
fn what_depends_on_its_surroundings_is_caught_with_the_cause_the_file_and_the_offset() {
    as_everybody(|ground| {
        let source = source(ground, "order");
        for case in &CASES {
            let buildinfo = if case.name == "order" { json!({ "single_source": source }) } else { json!({}) };
            ground.recipe(case.name, &buildinfo, case.script);
        }
        // Built once, so that the checks need not wait for each other's builder.
        ground.package(&["host"]);
        thread::scope(|scope| {
            for case in &CASES {
                scope.spawn(|| caught(ground, case));
            }
        });
    });
}

#[test]
fn what_depends_on_the_order_of_the_recipes_own_files_is_caught() {
    let ground = Ground::new();
    let script = "ls -U /pkg/extra >$PKG_PATH/list";
    ground.recipe("extra", &json!({}), script);
    for name in ["one", "two", "three"] {
        ground.file(&format!("extra/extra/{name}"), "");
    }
    caught(&ground, &case("extra", script, "`/list` differs from byte ", "the order in which directories"));
}

#[test]
fn what_depends_on_how_many_processors_there_really_are_is_caught() {
    let ground = Ground::new();
    if run(&mut Command::new("nproc")).trim() == "1" {
        eprintln!("SKIPPED for want of a second processor: a build that counts them");
        return;
    }
    let script = "printf cores=%s $(nproc) >$PKG_PATH/cores";
    ground.recipe("counted", &json!({}), script);
    caught(&ground, &case("counted", script, "`/cores` differs from byte 6 on", "the number of processors"));
}

#[test]
fn a_reproducible_package_passes_and_nothing_of_the_check_stays() {
    as_everybody(|ground| {
        let source = source(ground, "good");
        ground.recipe("zlib", &json!({}), "mkdir $PKG_PATH/lib; echo z >$PKG_PATH/lib/z");
        let script = "echo built; seq $NUM_CORES | cat >/dev/null
            cd /pkg/src/good; cd $(pwd -P); sort * >$PKG_PATH/sorted
            tar --sort=name --owner=0 --group=0 --mtime=@$SOURCE_DATE_EPOCH -cf $PKG_PATH/files.tar .
            cp /opt/mesosphere/lib/z $PKG_PATH/z; touch $PKG_PATH/file; hostname >/dev/null; date";
        ground.recipe("good", &json!({ "single_source": source, "requires": ["zlib"] }), script);
        let package = ground.built("good");
        let state = || {
            let mut files = ground.cached("");
            // What was extracted stays for other builds, and so does the note that a source is what it was.
            files.retain(|name| !name.starts_with("extracted/") && !name.ends_with("/files.tar.json"));
            let mut sums = Command::new("sha256sum");
            let kept = files.iter().filter(|name| ground.tree("cache").join(name).is_file());
            (run(sums.args(kept).current_dir(ground.tree("cache"))), files)
        };
        let before = state();
        let said = ground.package(&["--check", "good"]);
        assert_eq!(said, format!("{}  reproducible\n", package.id()));
        assert_eq!(state(), before);

        // Neither does anything of one that is not.
        ground.recipe("bad", &json!({ "requires": ["zlib"] }), "hostname >$PKG_PATH/host; date");
        ground.package(&["bad"]);
        let before = state();
        ground.package_refused(&["--check", "bad"]);
        assert_eq!(state(), before);
    });
}

#[test]
fn all_packages_of_a_check_are_judged() {
    let ground = Ground::new();
    ground.recipe("good", &json!({}), "echo good >$PKG_PATH/good");
    ground.recipe("host", &json!({}), "hostname >$PKG_PATH/host");
    ground.recipe("user", &json!({ "requires": ["good"] }), "id -u >$PKG_PATH/user");
    let output = output(&mut ground.package_command(&["--check"]));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(text(&output.stdout).contains("good--") && text(&output.stdout).contains("reproducible"));
    assert!(said.contains("host--") && said.contains("user--") && !said.contains("good--"), "{said}");
}

#[test]
fn a_build_that_only_fails_elsewhere_is_told_as_a_failure() {
    let ground = Ground::new();
    ground.recipe("rooted", &json!({}), "echo I am $(id -u); [ $(id -u) = 0 ]");
    let said = ground.package_refused(&["--check", "rooted"]);
    assert!(said.contains("ended with status 1") && said.contains("| I am 1234"), "{said}");
    let log = fs::read_to_string(ground.at(said.rsplit('`').nth(1).unwrap())).unwrap();
    assert!(log.ends_with("I am 1234\n"), "{log}");
    assert!(said.contains("built again as user 1234 of `another-builder`"), "{said}");
}

#[test]
fn what_fails_a_check_is_taken_back_if_the_check_made_it() {
    let ground = Ground::new();
    ground.recipe("host", &json!({}), "hostname >$PKG_PATH/host");
    let state = || ground.package(&["--plan", "host"]).split_once("  ").unwrap().1.trim_end().to_owned();
    ground.package_refused(&["--check", "host"]);
    assert_eq!(state(), "to build");
    // What was there before may be in use.
    ground.package(&["host"]);
    ground.package_refused(&["--check", "host"]);
    assert_eq!(state(), "built");
}

#[test]
fn without_libfaketime_a_second_build_is_later_still_and_it_is_said_what_stays_unnoticed() {
    let ground = Ground::new();
    // ZIP archives have times of two seconds each.
    ground.recipe("stamp", &json!({}), "echo $(($(date +%s) / 2)) >$PKG_PATH/stamp");
    let output = output(&mut ground.package_command(&["--check", "stamp"]));
    let said = text(&output.stderr);
    assert!(said.contains("note: ") && said.contains("libfaketime"), "{said}");
    assert!(said.contains("`/stamp` ") && said.contains("the time of the build"), "{said}");
}

#[test]
fn with_libfaketime_the_date_alone_is_caught_and_so_is_the_path_in_debugging_data() {
    let ground = Ground::new();
    let builder = rootfs("builder").canonicalize().unwrap();
    ground.recipe("date", &json!({}), "printf 'on %s' $(date +%F) >$PKG_PATH/date");
    let script = "cd /pkg/src; cd $(pwd -P); echo 'int answer(void) { return 42; }' >a.c; gcc -g -c a.c -o $PKG_PATH/a.o";
    ground.recipe("debug", &json!({}), script);
    let mapped = script.replace("-g", "-g -ffile-prefix-map=$(pwd)=.");
    ground.recipe("mapped", &json!({}), &mapped);
    let check = |name: &str| {
        let mut command = ground.command(&["package", "--tree=tree", "--check", name]);
        command.arg("--builder").arg(&builder);
        command
    };
    let said = refused(&mut check("date"));
    assert!(said.contains("`/date` differs from byte ") && said.contains("the time of the build"), "{said}");
    let said = refused(&mut check("debug"));
    assert!(said.contains("`/a.o` ") && said.contains("-ffile-prefix-map"), "{said}");
    let fine = output(&mut check("mapped"));
    assert!(text(&fine.stdout).ends_with("  reproducible\n"), "{fine:?}");
    assert_eq!(text(&fine.stderr), "", "nothing to note");
}
