//! Packages put together: what is built for what, variants, the layout of the cache, and conflicts.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::ground::{Ground, Package, as_everybody};
use crate::support::{run, tiny};

#[test]
fn without_recursive_what_is_missing_is_an_error_that_says_what_to_do() {
    let ground = Ground::new();
    ground.recipe("zlib", &json!({}), "echo z >$PKG_PATH/z");
    ground.recipe(
        "application",
        &json!({ "requires": ["zlib"] }),
        "cp /opt/mesosphere/active/zlib/z $PKG_PATH/z",
    );
    let said = ground.package_refused(&["application"]);
    assert!(said.contains("package `zlib--") && said.contains("--recursive"), "{said}");
    assert_eq!(ground.logged(), Vec::<String>::new());
    // Named together, or built before, it is fine.
    assert_eq!(ground.package(&["application", "zlib"]).lines().count(), 2);
    ground.recipe(
        "application",
        &json!({ "requires": ["zlib"] }),
        "cat /opt/mesosphere/active/zlib/z >$PKG_PATH/z",
    );
    ground.package(&["application"]);
    // With the flag, all that is needed is built, and what was asked for is printed.
    ground.recipe("zlib", &json!({}), "echo zz >$PKG_PATH/z");
    let printed = ground.package(&["--recursive", "application"]);
    assert_eq!(Package(ground.at(printed.trim_end())).read("z"), "zz\n");
    // Without names, everything is built.
    fs::remove_dir_all(ground.tree("cache")).unwrap();
    assert_eq!(ground.package(&[]).lines().count(), 2);
}

#[test]
fn what_is_there_is_not_built_again() {
    let ground = Ground::new();
    ground.recipe("chance", &json!({}), "date +%N >$PKG_PATH/chance");
    let package = ground.built("chance");
    let digest = package.digest();
    assert_eq!(ground.built("chance").digest(), digest);
    let script = "date +%N >$PKG_PATH/chance; :";
    ground.recipe("chance", &json!({}), script);
    assert_ne!(ground.built("chance").id(), package.id());
}

#[test]
fn variants_are_packages_of_their_own() {
    as_everybody(|ground| {
        ground.recipe("zlib", &json!({}), "echo default $PKG_VARIANT >$PKG_PATH/z");
        ground.variant("zlib", "debug.", &json!({}), "echo debug $PKG_VARIANT >$PKG_PATH/z");
        let requires = json!({ "requires": [{ "name": "zlib", "variant": "debug" }] });
        ground.recipe("application", &requires, "cp /opt/mesosphere/active/zlib/z $PKG_PATH/z");
        assert_eq!(ground.built("zlib").read("z"), "default <default>\n");
        let debug = ground.built("zlib/debug");
        assert_eq!(debug.read("z"), "debug debug\n");
        assert_eq!(debug.json("pkginfo.json")["variant"], "debug");
        let application = ground.built("application");
        assert_eq!(application.read("z"), "debug debug\n");
        assert_eq!(application.json("pkginfo.json")["requires"], requires["requires"]);

        let latest = |name: &str| fs::read_to_string(ground.tree("cache/packages/zlib").join(name)).unwrap();
        assert_eq!(latest("latest"), ground.plan(&["zlib"])[0]);
        assert_eq!(latest("debug.latest"), debug.id());
        let said = ground.package_refused(&["zlib/release"]);
        assert!(said.contains("release") && said.contains("zlib"), "{said}");
    });
}

#[test]
fn a_tree_can_choose_packages_and_variants() {
    let ground = Ground::new();
    ground.recipe("zlib", &json!({}), "echo default >$PKG_PATH/z");
    ground.variant("zlib", "debug.", &json!({}), "echo debug >$PKG_PATH/z");
    ground.recipe("application", &json!({}), ":");
    ground.recipe("unwanted", &json!({}), "exit 1");
    ground.file("treeinfo.json", json!({ "exclude": ["unwanted"] }).to_string());
    let installer = json!({ "core_package_list": ["zlib"], "variants": { "zlib": "debug" } });
    ground.file("installer.treeinfo.json", installer.to_string());
    let tree = run(&mut ground.tree_command(&["--json"]));
    let tree: Value = serde_json::from_str(&tree).unwrap();
    assert_eq!(tree["packages"].as_object().unwrap().len(), 3, "two of recipes, and the program");
    let installer = run(&mut ground.tree_command(&["--variant=installer", "--out=out"]));
    assert!(installer.contains("(2 of 2 packages)"), "{installer}");
    let id = ground.plan(&["zlib/debug"])[0].clone();
    let complete = ground.at("out/complete/installer.complete.latest.json");
    let complete: Value = serde_json::from_slice(&fs::read(complete).unwrap()).unwrap();
    assert_eq!(complete["packages"], json!([tiny::pkgpanda_id(), id]));
    assert_eq!(ground.cached("complete"), ["complete.latest.json", "installer.complete.latest.json"]);
    assert!(ground.cached("bootstrap").contains(&"installer.bootstrap.latest".to_owned()));
}

#[test]
fn the_cache_is_laid_out_as_that_of_dcos_is() {
    as_everybody(|ground| {
        ground.file("zlib/plain.txt", "plain");
        let digest = Package(ground.tree("zlib/plain.txt")).digest();
        let source = json!({ "kind": "url", "url": "file://plain.txt", "sha256": digest });
        ground.recipe("zlib", &json!({ "single_source": source }), ":");
        ground.recipe("application", &json!({ "requires": ["zlib"] }), ":");
        ground.file("treeinfo.json", json!({ "bootstrap_package_list": ["zlib"] }).to_string());
        let said = run(&mut ground.tree_command(&[]));
        let ids = ground.plan(&[]);
        let text = |name: &str| fs::read_to_string(ground.tree("cache").join(name)).unwrap();
        let json = |name: &str| serde_json::from_str::<Value>(&text(name)).unwrap();
        for id in &ids {
            let name = id.split_once("--").unwrap().0;
            assert_eq!(&text(&format!("packages/{name}/latest")), id);
            assert!(ground.tree(&format!("cache/packages/{name}/{id}.tar.xz")).is_file());
        }
        assert!(
            ground.cached("packages/zlib/zlib").iter().any(|name| name.ends_with("plain.txt")),
            "the source"
        );
        let bootstrap = text("bootstrap/bootstrap.latest");
        assert!(said.contains(&format!("cache/bootstrap/{bootstrap}.bootstrap.tar.xz")), "{said}");
        assert_eq!(json(&format!("bootstrap/{bootstrap}.active.json")), json!([tiny::pkgpanda_id(), ids[0]]));
        let mut sorted = [ids.clone(), vec![tiny::pkgpanda_id()]].concat();
        sorted.sort();
        assert_eq!(
            json("complete/complete.latest.json"),
            json!({ "bootstrap": bootstrap, "packages": sorted })
        );
    });
}

#[test]
fn a_bootstrap_tarball_is_an_install_root() {
    let ground = Ground::new();
    ground.recipe(
        "zlib",
        &json!({ "environment": { "Z": "1" } }),
        "mkdir $PKG_PATH/{bin,dcos.target.wants,etc_master}; echo z >$PKG_PATH/bin/z
        echo >$PKG_PATH/dcos.target.wants/z.service; echo m >$PKG_PATH/etc_master/m",
    );
    let path = run(&mut ground.tree_command(&[])).lines().next().unwrap().to_owned();
    let id = &ground.plan(&[])[0];
    let mut command = Command::new("tar");
    let listing = run(command
        .args(["-tvJ", "--numeric-owner", "--full-time", "-f"])
        .arg(ground.at(&path))
        .env("TZ", "UTC"));
    assert!(
        listing.lines().all(|line| line.contains(" 0/0 ") && line.contains("1980-01-02 00:00:00 ./")),
        "{listing}"
    );
    for part in [
        format!("./active/zlib -> /opt/mesosphere/packages/{id}"),
        format!("./bin/z -> /opt/mesosphere/packages/{id}/bin/z"),
        format!("./packages/{id}/etc_master/m"),
        "./active.buildinfo.full.json".to_owned(),
        "./bootstrap".to_owned(),
        "./environment".to_owned(),
        "./environment.export".to_owned(),
        "./etc/dcos-service-configuration.json".to_owned(),
    ] {
        assert!(listing.contains(&part), "no {part}:\n{listing}");
    }
    assert!(!listing.contains(" ./dcos.target.wants"), "{listing}");
    assert!(!listing.contains(" ./etc/m"), "{listing}");
    assert!(Package(ground.at(&path)).read("environment").contains("\nZ=1\n"));
}

#[test]
fn the_program_of_hosts_is_in_every_bootstrap_tarball() {
    let ground = Ground::new();
    ground.recipe("zlib", &json!({}), "mkdir $PKG_PATH/bin; echo z >$PKG_PATH/bin/z");
    let id = tiny::pkgpanda_id();
    assert_eq!(ground.plan(&[]).len(), 1, "`bake package` builds recipes");
    let planned = run(&mut ground.tree_command(&["--plan"]));
    assert!(planned.ends_with(&format!("\n{id}  to build\n")), "{planned}");
    assert!(ground.cached("").is_empty(), "a plan writes nothing");
    let path = run(&mut ground.tree_command(&["--out=out"])).lines().next().unwrap().to_owned();
    let listing = run(Command::new("tar").arg("-tvJf").arg(ground.at(&path)));
    assert!(listing.contains(&format!(" ./bin/pkgpanda -> /opt/mesosphere/packages/{id}/bin/pkgpanda\n")));
    assert!(
        listing.lines().any(|line| line.starts_with("-rwxr-xr-x 0/0 ") && line.ends_with("/bin/pkgpanda"))
    );
    let package = Package(ground.at(&format!("out/packages/pkgpanda/{id}.tar.xz")));
    let mut names: Vec<_> =
        run(Command::new("tar").arg("-tJf").arg(&package.0)).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["./", "./bin/", "./bin/pkgpanda", "./contents.json", "./pkginfo.json"]);
    assert_eq!(
        package.json("pkginfo.json"),
        Package(ground.at("out/packages/zlib").join(format!("{}.tar.xz", ground.plan(&[])[0])))
            .json("pkginfo.json")
    );
    let expected = bake_base::Digest::of(&tiny::pkgpanda()).to_string();
    assert_eq!(package.json("contents.json")["entries"]["bin/pkgpanda"]["sha256"], expected);
    assert!(run(&mut ground.tree_command(&["--plan"])).ends_with(&format!("\n{id}  built\n")));

    // Another program is another package, and another tarball; what recipes make stays.
    let mut other = tiny::pkgpanda();
    other.push(0);
    fs::write(ground.at("other"), other).unwrap();
    let manifest = |arguments: &[&str]| -> Value {
        serde_json::from_str(&run(&mut ground.tree_command(&[&["--json"], arguments].concat()))).unwrap()
    };
    let (one, two) = (manifest(&[]), manifest(&["--pkgpanda=other"]));
    assert_ne!(one["bootstrap"]["id"], two["bootstrap"]["id"]);
    let common = |value: &Value| -> Vec<String> {
        let packages = value["packages"].as_object().unwrap().keys();
        packages.filter(|id| !id.starts_with("pkgpanda--")).cloned().collect()
    };
    assert_eq!(common(&one), common(&two));
    assert_eq!(ground.logged().len(), 1, "nothing was built again");
}

#[test]
fn a_program_that_hosts_cannot_run_is_refused_before_anything_is_built() {
    let ground = Ground::new();
    ground.recipe("zlib", &json!({}), ":");
    ground.file("script", "#!/bin/sh\n");
    let said = ground.tree_refused(&["--pkgpanda=tree/script"]);
    assert!(said.contains("tree/script` is no program for x86_64 or aarch64"), "{said}");
    fs::remove_file(ground.at("pkgpanda")).unwrap();
    for arguments in [&[][..], &["--plan"]] {
        let said = ground.tree_refused(arguments);
        assert!(said.contains("pkgpanda` does not exist") && said.contains("--pkgpanda"), "{said}");
    }
    assert_eq!(ground.logged(), Vec::<String>::new());
    // One for another machine than what the recipes have built.
    let mut foreign = tiny::pkgpanda();
    foreign[18] = 183;
    fs::write(ground.at("pkgpanda"), foreign).unwrap();
    ground.recipe("zlib", &json!({}), "mkdir $PKG_PATH/bin; cp /bin/cat $PKG_PATH/bin/z");
    let said = ground.tree_refused(&[]);
    assert!(said.contains("is for aarch64, but the packages are for x86_64"), "{said}");
    // A recipe cannot take its place.
    ground.recipe("pkgpanda", &json!({}), ":");
    let said = ground.tree_refused(&[]);
    assert!(said.contains("pkgpanda/buildinfo.json: the name `pkgpanda` is taken"), "{said}");
}

#[test]
fn conflicts_are_found_when_a_tree_is_put_together_and_name_both_packages() {
    let unit = "mkdir $PKG_PATH/dcos.target.wants; echo >$PKG_PATH/dcos.target.wants/$PKG_NAME.service";
    let sysctl = |name: &str, value: &str| json!({ "sysctl": { name: { "vm.swappiness": value } } });
    let cases = [
        (
            "path",
            (json!({}), "mkdir $PKG_PATH/bin; echo 1 >$PKG_PATH/bin/tool"),
            (json!({}), "mkdir $PKG_PATH/bin; echo 1 >$PKG_PATH/bin/tool"),
            "bin/tool",
        ),
        (
            "role",
            (json!({}), "mkdir $PKG_PATH/etc; echo 1 >$PKG_PATH/etc/x"),
            (json!({}), "mkdir $PKG_PATH/etc_master; echo 1 >$PKG_PATH/etc_master/x"),
            "etc/x",
        ),
        (
            "variable",
            (json!({ "environment": { "SAME": "1" } }), ":"),
            (json!({ "environment": { "SAME": "1" } }), ":"),
            "SAME",
        ),
        ("setting", (sysctl("one", "1"), unit), (sysctl("two", "2"), unit), "vm.swappiness"),
    ];
    for (what, one, two, part) in cases {
        let ground = Ground::new();
        ground.recipe("one", &one.0, one.1);
        ground.recipe("two", &two.0, two.1);
        ground.recipe("fine", &json!({}), ":");
        let said = ground.tree_refused(&["--out=out"]);
        assert!(said.contains(part) && said.contains("one--") && said.contains("two--"), "{what}: {said}");
        assert!(!said.contains("fine--"), "{what}: {said}");
        assert!(!ground.at("out").exists() && ground.cached("complete").is_empty(), "{what}");
    }
    // All at once, and already where one needs the other.
    let ground = Ground::new();
    let environment = json!({ "environment": { "SAME": "1" } });
    ground.recipe("one", &environment, "mkdir $PKG_PATH/bin; echo 1 >$PKG_PATH/bin/tool");
    let mut needs = environment.clone();
    needs["requires"] = json!(["one"]);
    ground.recipe("two", &needs, "mkdir $PKG_PATH/bin; echo 1 >$PKG_PATH/bin/tool");
    let said = ground.package_refused(&["--recursive", "two"]);
    assert!(said.contains("SAME") && said.contains("bin/tool") && said.contains("one--"), "{said}");
}

#[test]
fn names_of_units_that_the_installation_brings_are_reserved() {
    for unit in ["dcos.target", "dcos-download.service", "dcos-setup.service"] {
        let ground = Ground::new();
        let script = format!(
            "mkdir $PKG_PATH/dcos.target.wants_master; echo >$PKG_PATH/dcos.target.wants_master/{unit}"
        );
        ground.recipe("zlib", &json!({}), &script);
        let said = ground.package_refused(&["zlib"]);
        assert!(said.contains(unit) && said.contains("zlib--"), "{said}");
        assert!(!ground.has_package("zlib"));
    }
}
