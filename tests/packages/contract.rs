//! What a build script may count on.

use std::process::Command;

use serde_json::json;

use crate::ground::{Ground, as_everybody, refused};
use crate::support::{output, run, text};

/// `key=value` lines.
fn fact<'a>(facts: &'a str, key: &str) -> &'a str {
    let mut values = facts.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next().unwrap_or_else(|| panic!("no `{key}` in:\n{facts}"))
}

#[test]
fn a_script_finds_what_its_package_requires_under_opt_mesosphere() {
    as_everybody(|ground| {
        let base = json!({ "environment": { "BASE_HOME": "/opt/mesosphere/active/base", "BASE_WORD": "two words" } });
        ground.recipe(
            "base",
            &base,
            "mkdir $PKG_PATH/{bin,lib,include,etc,private,dcos.target.wants,bin_master}
            printf '#!/bin/bash\\necho tool of base\\n' >$PKG_PATH/bin/base-tool
            chmod 755 $PKG_PATH/bin/base-tool
            for name in lib include etc private bin_master dcos.target.wants; do
                echo $name >$PKG_PATH/$name/base.service
            done",
        );
        let library = json!({ "requires": ["base"], "environment": { "LIBRARY": "yes" } });
        ground.recipe("library", &library, "mkdir -p $PKG_PATH/lib/deep/er; echo l >$PKG_PATH/lib/deep/er/l");
        ground.recipe(
            "application",
            &json!({ "requires": ["library"] }),
            "source /opt/mesosphere/environment.export
            cd /opt/mesosphere
            { echo tool=$(base-tool)
              for name in lib include etc dcos.target.wants; do
                  echo $name=$(cat $name/base.service) $(readlink $name/base.service)
              done
              echo private=$(cat active/base/private/base.service)
              echo transitive=$(cat lib/deep/er/l)
              [ -d lib/deep ] && [ ! -L lib/deep ] && echo merged=yes
              [ -e bin/base.service ] || echo role=none
              echo variables=$BASE_HOME:$BASE_WORD:$LIBRARY
              echo path=$PATH
              echo libraries=$LD_LIBRARY_PATH
              echo active=$(ls active | tr '\\n' ' ')
              (echo evil >lib/base.service) 2>/dev/null || echo file=read-only
              (echo evil >$(readlink -f active/base)/new) 2>/dev/null || echo package=read-only
              (echo evil >etc/new) 2>/dev/null || echo directory=read-only
              (echo evil >new) 2>/dev/null || echo root=read-only
            } >$PKG_PATH/facts",
        );
        let package = ground.built("application");
        let facts = package.read("facts");
        let base = &ground.plan(&["base"])[0];
        assert_eq!(fact(&facts, "tool"), "tool of base");
        for name in ["lib", "include", "etc", "dcos.target.wants"] {
            let target = format!("/opt/mesosphere/packages/{base}/{name}/base.service");
            assert_eq!(fact(&facts, name), format!("{name} {target}"));
        }
        for (key, expected) in [
            ("private", "private"),
            ("transitive", "l"),
            ("merged", "yes"),
            ("role", "none"),
            ("variables", "/opt/mesosphere/active/base:two words:yes"),
            ("libraries", "/opt/mesosphere/lib"),
            ("active", "base library"),
            ("file", "read-only"),
            ("package", "read-only"),
            ("directory", "read-only"),
            ("root", "read-only"),
        ] {
            assert_eq!(fact(&facts, key).trim_end(), expected, "{key}");
        }
        assert!(fact(&facts, "path").starts_with("/opt/mesosphere/bin:/"), "{facts}");
    });
}

#[test]
fn a_package_that_is_not_required_is_not_there() {
    let ground = Ground::new();
    ground.recipe("secret", &json!({}), "mkdir $PKG_PATH/bin; echo s >$PKG_PATH/bin/secret");
    ground.recipe("application", &json!({}), "ls -R /opt/mesosphere >$PKG_PATH/seen");
    ground.package(&["secret"]);
    let seen = ground.built("application").read("seen");
    assert!(!seen.contains("secret"), "{seen}");
}

#[test]
fn the_variables_are_these_and_no_others() {
    as_everybody(|ground| {
        let script =
            "env >$PKG_PATH/environment; nproc >$PKG_PATH/nproc; id -u >$PKG_PATH/id; pwd >$PKG_PATH/pwd";
        ground.recipe("zlib", &json!({ "environment": { "OWN": "set on hosts" } }), script);
        let mut command = ground.package_command(&["zlib"]);
        command.envs([("LEAK", "1"), ("TZ", "Asia/Kathmandu"), ("SOURCE_DATE_EPOCH", "7")]);
        let path = ground.at(run(&mut command).trim_end());
        let package = crate::ground::Package(path);
        let version = package.id().strip_prefix("zlib--").unwrap();
        let mut variables: Vec<_> = package.read("environment").lines().map(str::to_owned).collect();
        // bash's own.
        variables.retain(|line| !["_=", "SHLVL=", "PWD=", "OLDPWD="].iter().any(|own| line.starts_with(own)));
        variables.sort();
        let expected = [
            "HOME=/root".to_owned(),
            "LC_ALL=C.UTF-8".to_owned(),
            format!("NUM_CORES={}", package.read("nproc").trim_end()),
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            format!("PKG_ID=zlib--{version}"),
            "PKG_NAME=zlib".to_owned(),
            format!("PKG_PATH=/opt/mesosphere/packages/zlib--{version}"),
            "PKG_VARIANT=<default>".to_owned(),
            format!("PKG_VERSION={version}"),
            "SOURCE_DATE_EPOCH=315619200".to_owned(),
            "TZ=UTC".to_owned(),
        ];
        assert_eq!(variables, expected);
        assert_eq!(package.read("id"), "0\n");
        assert_eq!(package.read("pwd"), "/\n");
    });
}

#[test]
fn sources_the_recipe_and_its_extra_files_are_below_pkg() {
    as_everybody(|ground| {
        ground.file("tarball/one/two", "text");
        ground.file("tool/plain.txt", "plain");
        let tar = ground.tree("tool/archive.tar.gz");
        run(std::process::Command::new("tar")
            .arg("-czf")
            .arg(&tar)
            .arg("-C")
            .arg(ground.tree("tarball"))
            .arg("one"));
        std::fs::remove_dir_all(ground.tree("tarball")).unwrap();
        let sum = |path: std::path::PathBuf| crate::ground::Package(path).digest();
        let url = |name: &str, kind: &str| json!({ "kind": kind, "url": format!("file://{name}"), "sha256": sum(ground.tree(&format!("tool/{name}"))) });
        let sources = json!({ "a": url("plain.txt", "url"), "b": url("archive.tar.gz", "url_extract") });
        ground.file("tool/extra/data", "data");
        ground.recipe(
            "tool",
            &json!({ "sources": sources }),
            "cat /pkg/src/a/plain.txt /pkg/src/b/two /pkg/extra/data >$PKG_PATH/all
            cmp=$(cat /pkg/build/build); [ -n \"$cmp\" ]
            echo scratch >/pkg/src/b/scratch
            (echo evil >/pkg/extra/data) 2>/dev/null && exit 1
            (echo evil >/pkg/build/build) 2>/dev/null && exit 1
            cp /pkg/src/buildinfo.full.json $PKG_PATH/copy",
        );
        let package = ground.built("tool");
        assert_eq!(package.read("all"), "plaintextdata");
        let full = package.json("buildinfo.full.json");
        assert_eq!(package.json("copy"), full);
        assert_eq!(full["name"], "tool");
        assert_eq!(full["sources"]["a"]["url"], "file://plain.txt");
        assert_eq!(full["variant"], json!(null));
    });
}

#[test]
fn without_a_builder_of_its_own_a_script_stops_at_the_first_failure() {
    let ground = Ground::new();
    ground.recipe("options", &json!({}), "echo $SHELLOPTS >$PKG_PATH/options");
    let options = ground.built("options").read("options");
    for option in ["errexit", "nounset", "pipefail"] {
        assert!(options.trim().split(':').any(|set| set == option), "{options}");
    }
    for (name, script) in [("errexit", "false"), ("nounset", "echo $UNSET"), ("pipefail", "false | true")] {
        ground.recipe(name, &json!({}), &format!("{script}\necho went on"));
        let said = ground.package_refused(&[name]);
        assert!(said.contains(&format!("package `{name}--")) && said.contains("ended with status"), "{said}");
        assert!(!said.contains("went on"), "{said}");
    }
}

#[test]
fn in_a_builder_of_its_own_a_script_runs_as_it_says_itself() {
    as_everybody(|ground| {
        let spec = "format-revision = 1\n[builders.\"own/builder:1\"]\nrootfs = \"builder.tar\"\n";
        std::fs::write(ground.at("bake.toml"), spec).unwrap();
        let script = "false\necho ${UNSET:-unset} $SHELLOPTS $0 $# >$PKG_PATH/seen";
        ground.recipe("direct", &json!({ "docker": "own/builder:1" }), script);
        let printed = run(&mut ground.command(&["package", "--tree=tree", "direct"]));
        let seen = crate::ground::Package(ground.at(printed.trim_end())).read("seen");
        assert_eq!(seen, "unset braceexpand:hashall:interactive-comments /pkg/build/build 0\n");
    });
}

#[test]
fn a_builder_that_nobody_knows_is_an_error_that_says_what_to_do() {
    let ground = Ground::new();
    ground.recipe("plain", &json!({}), ":");
    let said = refused(&mut ground.command(&["package", "--tree=tree"]));
    assert!(said.contains("no builder is given") && said.contains("--builder PATH"), "{said}");
    ground.recipe("plain", &json!({ "docker": "some/builder:2" }), ":");
    let said = refused(&mut ground.command(&["package", "--tree=tree"]));
    assert!(said.contains("`some/builder:2` is unknown"), "{said}");
    assert!(said.contains("[builders.\"some/builder:2\"]") && said.contains("--builder PATH"), "{said}");
    assert!(said.contains("plain"), "names the recipe: {said}");
    ground.recipe("plain", &json!({}), ":");
    let said = refused(&mut ground.command(&["package", "--tree=tree", "--builder=missing.tar"]));
    assert!(said.contains("missing.tar"), "{said}");
}

#[test]
fn a_builder_is_used_only_if_it_has_the_digest_that_the_spec_file_gives() {
    let ground = Ground::new();
    ground.recipe("plain", &json!({}), ":");
    let digest = crate::ground::Package(ground.at("builder.tar")).digest();
    let pinned = |sha256: &str| {
        let spec = format!(
            "format-revision = 1\n[builders.default]\nrootfs = \"builder.tar\"\nsha256 = \"{sha256}\"\n"
        );
        std::fs::write(ground.at("bake.toml"), spec).unwrap();
        ground.command(&["package", "--tree=tree"])
    };
    let other = "0".repeat(64);
    let said = refused(&mut pinned(&other));
    assert!(said.contains(&digest) && said.contains(&other) && said.contains("builder.tar"), "{said}");
    let said = refused(&mut pinned("no digest"));
    assert!(said.contains("bake.toml") && said.contains("sha256"), "{said}");
    run(&mut pinned(&digest));
    // What was extracted by that digest is not taken for a builder that was changed since.
    std::fs::write(ground.at("builder.tar"), "another one").unwrap();
    ground.recipe("plain", &json!({}), "true");
    run(&mut pinned(&digest));
    let said = refused(&mut ground.command(&["package", "--tree=tree", "--builder=builder.tar"]));
    assert!(said.contains("builder.tar"), "{said}");
}

#[test]
fn the_machine_can_be_asked_whether_it_allows_builds() {
    as_everybody(|ground| {
        let found = run(&mut ground.command(&["doctor"]));
        assert!(found.lines().count() > 5 && found.lines().all(|line| line.ends_with(": works")), "{found}");
        let listed = run(&mut ground.command(&["doctor", "--json"]));
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), found.lines().count());
        assert!(listed.as_array().unwrap().iter().all(|finding| finding["problem"].is_null()), "{listed}");
        // Where user name spaces are not to be had, it says what and how to mend it.
        if !crate::support::is_root("a machine that allows no user name spaces") {
            return;
        }
        let wrapped = ["unshare", "--user", "--map-root-user", "bash", "-c"];
        let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"";
        let mut command = ground.through(&[&wrapped[..], &[script, "bash"]].concat(), &["doctor"]);
        let refused = output(&mut command);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = text(&refused.stdout);
        assert!(said.contains("user name space: cannot") && said.contains("max_user_namespaces"), "{said}");
    });
}

#[test]
fn a_commit_of_a_repository_is_built_whatever_way_the_tree_is_named() {
    let ground = Ground::new();
    let repository = ground.at("repository");
    ground.file("../repository/file", "committed\n");
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        run(Command::new("git").args(identity).arg("-C").arg(&repository).args(arguments))
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "file"]);
    git(&["commit", "--quiet", "--message=one"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let source = json!({
        "kind": "git",
        "git": format!("file://{}", repository.display()),
        "ref": commit.trim(),
        "ref_origin": "main",
    });
    let script = "cp /pkg/src/committed/file $PKG_PATH/file";
    ground.recipe("committed", &json!({ "single_source": source }), script);
    // The ground names its tree by a relative path; git works in another directory.
    assert_eq!(ground.built("committed").read("file"), "committed\n");
}
