//! What a package is, by the tools that everybody has: xz, GNU tar, sha256sum.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;

use crate::ground::{Ground, Package, as_everybody};
use crate::support::run;

/// A package with something of everything.
fn varied(ground: &Ground) -> Package {
    ground.recipe(
        "varied",
        &json!({}),
        "cd $PKG_PATH
        mkdir -p bin lib/deep/er a a-b empty
        echo tool >bin/tool; chmod 755 bin/tool
        echo private >secret; chmod 600 secret; chmod 2755 empty || true
        touch -d 2001-02-03 old; touch -d 2040-02-03 new
        echo z >a/z; echo b >a-b/z; echo odd >'odd name \\ ü'
        seq 10000 >lib/deep/er/numbers; ln lib/deep/er/numbers twin
        ln -s ../lib/deep bin/link; ln -s /opt/mesosphere/lib/libc.so dangling",
    );
    ground.built("varied")
}

#[test]
fn a_package_is_a_sorted_tar_of_roots_with_one_time() {
    as_everybody(|ground| {
        let package = varied(ground);
        run(Command::new("xz").arg("--test").arg(&package.0));
        let mut command = Command::new("tar");
        command.args(["-tvJ", "--numeric-owner", "--full-time", "--quoting-style=literal"]).env("TZ", "UTC");
        let listing = run(command.arg("-f").arg(&package.0));
        assert!(listing.starts_with("drwxr-xr-x 0/0 "), "{listing}");
        for line in listing.lines() {
            let columns: Vec<_> = line.split_whitespace().collect();
            assert_eq!((columns[1], columns[3], columns[4]), ("0/0", "1980-01-02", "00:00:00"), "{line}");
            assert!(!columns[0].contains(['s', 'S', 't', 'T']), "{line}");
        }
        let mut command = Command::new("tar");
        let names = run(command.args(["-tJ", "--quoting-style=literal", "-f"]).arg(&package.0));
        let names: Vec<_> = names.lines().collect();
        assert_eq!(names[0], "./");
        assert!(names.iter().all(|name| name.starts_with("./")), "{names:?}");
        let components =
            |name: &str| name.trim_end_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
        assert!(names.windows(2).all(|pair| components(pair[0]) < components(pair[1])), "{names:?}");
        for name in
            ["./a/z", "./empty/", "./bin/link", "./pkginfo.json", "./buildinfo.full.json", "./contents.json"]
        {
            assert!(names.contains(&name), "no {name}: {names:?}");
        }
    });
}

#[test]
fn the_list_of_contents_has_everything_with_the_right_digest() {
    let ground = Ground::new();
    let package = varied(&ground);
    let contents = package.json("contents.json");
    assert_eq!(contents["schema"], "bake-contents-1");
    let entries = contents["entries"].as_object().unwrap();
    let directory = ground.at("extracted");
    std::fs::create_dir(&directory).unwrap();
    run(Command::new("tar").arg("-xJf").arg(&package.0).arg("-C").arg(&directory));
    let mut command = Command::new("find");
    command.args([".", "-mindepth", "1", "-printf", "%y %m %s %P\\t%l\n"]).current_dir(&directory);
    let mut there = BTreeSet::new();
    for line in run(&mut command).lines() {
        let mut columns = line.splitn(4, ' ');
        let mut next = || columns.next().unwrap();
        let (of_type, mode, size, (path, target)) =
            (next(), next(), next(), next().split_once('\t').unwrap());
        if path == "contents.json" {
            continue;
        }
        let name = path.replace('\\', "\\x5c");
        there.insert(name.clone());
        let mode = format!("{:04o}", u32::from_str_radix(mode, 8).unwrap());
        let expected = match of_type {
            "d" => json!({ "type": "directory", "mode": mode }),
            "l" => json!({ "type": "symlink", "target": target }),
            _ => {
                let sum = Package(directory.join(path)).digest();
                let sum = sum.trim_start_matches('\\');
                json!({ "type": "file", "mode": mode, "size": size.parse::<u64>().unwrap(), "sha256": sum })
            }
        };
        assert_eq!(entries[&name], expected, "{path}");
    }
    assert_eq!(entries.keys().cloned().collect::<BTreeSet<_>>(), there);
}

#[test]
fn what_hosts_need_to_know_is_in_pkginfo() {
    let ground = Ground::new();
    ground.recipe("zlib", &json!({}), ":");
    ground.recipe("plain", &json!({}), ":");
    assert_eq!(
        ground.built("plain").json("pkginfo.json"),
        json!({ "environment": {}, "requires": [], "state_directory": false })
    );
    let buildinfo = json!({
        "environment": { "A": "b" }, "requires": ["zlib"], "state_directory": true,
        "username": "dcos_full", "group": "adm", "sysctl": { "full": { "vm.swappiness": "1" } },
    });
    ground.recipe(
        "full",
        &buildinfo,
        "mkdir $PKG_PATH/dcos.target.wants; echo >$PKG_PATH/dcos.target.wants/full.service",
    );
    assert_eq!(ground.built("full").json("pkginfo.json"), buildinfo);
}

#[test]
fn all_that_a_package_cannot_hold_is_told_at_once() {
    as_everybody(|ground| {
        ground.recipe(
            "wrong",
            &json!({}),
            "cd $PKG_PATH; mkdir bin
            mkfifo bin/pipe; ln -s /pkg/src/wrong bin/link; echo {} >contents.json; echo ok >bin/fine",
        );
        let said = ground.package_refused(&["wrong"]);
        let id = &ground.plan(&["wrong"])[0];
        assert!(said.contains(&format!("package `{id}`")), "{said}");
        for part in [
            "`/bin/pipe` is a fifo",
            "`/bin/link` points to `/pkg/src/wrong`",
            "`/contents.json` was made by the build",
        ] {
            assert!(said.contains(part), "no {part}: {said}");
        }
        assert!(!said.contains("fine"), "{said}");
        assert!(!ground.has_package("wrong"));
    });
}

#[test]
fn a_build_can_make_no_set_id_programs_and_no_devices() {
    as_everybody(|ground| {
        ground.recipe(
            "wrong",
            &json!({}),
            "cd $PKG_PATH; cp /bin/cat cat; cp /bin/cat dog
            chmod u+s cat || echo refused=$? >>seen
            chmod 2755 dog || echo refused=$? >>seen
            install -m 4755 /bin/cat cow || echo refused=$? >>seen
            mknod zero c 1 5 || echo refused=$? >>seen
            mknod disk b 8 0 || echo refused=$? >>seen
            rm -f cow",
        );
        let package = ground.built("wrong");
        assert_eq!(package.read("seen"), "refused=1\n".repeat(5));
        let mut command = Command::new("tar");
        let listing = run(command.args(["-tvJ", "-f"]).arg(&package.0));
        assert!(
            listing.lines().all(|line| line.starts_with(['d', '-']) && !line[..10].contains(['s', 'S'])),
            "{listing}"
        );
    });
}
