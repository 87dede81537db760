//! The same tree gives the same bytes, whoever builds it, where, how, and with how many processors.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::ground::{Ground, Package, Who};
use crate::support::{bake, bake_image, full, is_root, made, output, rootfs, run, scratch, text};

/// A tree in which there is something of everything.
fn laid_out(who: Who) -> Ground {
    let ground = Ground::of(who);
    ground.file("zlib/files/one/a", "a");
    ground.file("zlib/files/one/b", "b");
    let tar = ground.tree("zlib/files.tar");
    let mut command = Command::new("tar");
    command.args(["--create", "--mtime=@0", "--owner=0", "--group=0", "--mode=go=rX,u+rw,a-s"]);
    run(command.arg("--sort=name").arg("-f").arg(&tar).arg("-C").arg(ground.tree("zlib/files")).arg("one"));
    let source = json!({ "kind": "url_extract", "url": "file://files.tar", "sha256": Package(tar).digest() });
    let zlib = json!({ "single_source": source, "environment": { "Z": "1" } });
    ground.recipe(
        "zlib",
        &zlib,
        "mkdir $PKG_PATH/lib; cp -r /pkg/src/zlib $PKG_PATH/lib; ls -l /pkg/src/zlib",
    );
    // More than two blocks of what is compressed at once.
    let large = "{ seq 100000; head -c 20000000 /dev/zero; seq 100000; } >$PKG_PATH/large; umask 027; touch $PKG_PATH/closed";
    ground.recipe("large", &json!({}), large);
    let application =
        json!({ "requires": ["zlib", "large"], "username": "dcos_application", "state_directory": true });
    let script = "source /opt/mesosphere/environment.export
        tar --sort=name -C /opt/mesosphere -cf $PKG_PATH/root.tar etc lib environment active
        tar --sort=name -C /pkg -cf $PKG_PATH/pkg.tar build
        tar --sort=name --exclude=buildinfo.full.json -C /pkg -cf $PKG_PATH/src.tar src/application || true
        ln -s /opt/mesosphere/lib/zlib/a $PKG_PATH/link
        mkdir $PKG_PATH/dcos.target.wants; echo >$PKG_PATH/dcos.target.wants/application.service";
    ground.recipe("application", &application, script);
    ground.file("application/extra/data", "data");
    ground
}

/// All that a tree was built into.
fn sums(ground: &Ground, command: &mut Command) -> String {
    run(command);
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(ground.at("out")));
    fs::read_to_string(ground.at("out/SHA256SUMS")).unwrap()
}

#[test]
fn a_tree_built_by_two_users_in_two_places_is_the_same() {
    let one = laid_out(Who::Me);
    let arguments = ["tree", "--tree=tree", "--builder=builder.tar", "--out=out"];
    let umask = |mask: &str| format!("umask {mask}; exec \"$@\"");
    let (open, closed) = (umask("022"), umask("077"));
    let mut command = one.through(&["sh", "-c", &open, "sh"], &arguments);
    let expected = sums(&one, command.args(["--jobs=2"]).env("TZ", "UTC"));
    assert_eq!(expected.lines().count(), 6, "{expected}");

    let who = if is_root("a tree built by nobody") { Who::Nobody } else { Who::Me };
    let other = laid_out(who);
    // One processor: one thread compresses.
    let runner = ["taskset", "--cpu-list", "0", "sh", "-c", &closed, "sh"];
    let mut command = other.through(&runner, &arguments);
    command.envs([("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8"), ("SOURCE_DATE_EPOCH", "1")]);
    command.env_remove("HOME").arg("--jobs=1");
    assert_eq!(sums(&other, &mut command), expected);
}

#[test]
fn what_is_compressed_does_not_depend_on_the_number_of_threads() {
    let ground = Ground::new();
    ground.recipe(
        "large",
        &json!({}),
        "{ seq 200000; head -c 20000000 /dev/zero; seq 200000; } >$PKG_PATH/large",
    );
    let digest = ground.built("large").digest();
    fs::remove_dir_all(ground.tree("cache/packages")).unwrap();
    let arguments = ["package", "--tree=tree", "--builder=builder.tar", "large"];
    run(&mut ground.through(&["taskset", "--cpu-list", "0"], &arguments));
    let id = &ground.plan(&["large"])[0];
    assert_eq!(Package(ground.tree(&format!("cache/packages/large/{id}.tar.xz"))).digest(), digest);
}

#[test]
fn what_was_built_before_does_not_matter() {
    let ground = laid_out(Who::Me);
    let expected = sums(&ground, &mut ground.tree_command(&["--out=out"]));
    fs::remove_file(ground.tree("cache/packages/application/latest")).unwrap();
    for name in ["bootstrap", "packages/zlib", "extracted", "complete"] {
        fs::remove_dir_all(ground.tree("cache").join(name)).unwrap();
        assert_eq!(sums(&ground, &mut ground.tree_command(&["--out=out"])), expected, "without {name}");
    }
}

/// The real tree in a directory, without anything that was built.
fn sample_tree(to: &Path) {
    let from = made("tree").canonicalize().unwrap();
    let tree = to.join("tree");
    fs::create_dir_all(tree.join("cache/packages")).unwrap();
    let mut command = Command::new("find");
    command.arg(&from).args(["-mindepth", "1", "-maxdepth", "1", "-not", "-name", "cache"]);
    run(command.args(["-exec", "cp", "-a", "-t"]).arg(&tree).args(["{}", "+"]));
    for component in fs::read_dir(from.join("cache/packages")).unwrap().flatten() {
        let target = tree.join("cache/packages").join(component.file_name());
        fs::create_dir(&target).unwrap();
        // Sources are directories; what was built is files.
        let mut command = Command::new("find");
        command.arg(component.path()).args(["-mindepth", "1", "-maxdepth", "1", "-type", "d"]);
        run(command.args(["-exec", "cp", "-a", "-t"]).arg(&target).args(["{}", "+"]));
    }
}

#[test]
fn the_sample_tree_and_an_image_of_it_are_the_same_when_two_users_build_them() {
    if !full() {
        eprintln!(
            "SKIPPED without BAKE_TEST_FULL=1: the sample tree built twice, and an image baked of each"
        );
        return;
    }
    if !is_root("the sample tree built by nobody") {
        return;
    }
    let scratch = scratch();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let builder = rootfs("builder").canonicalize().unwrap();
    let mut sums = Vec::new();
    let mut images = Vec::new();
    for (name, runner) in [
        ("one", &[][..]),
        ("another/place", &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]),
    ] {
        let place = scratch.path().join(name);
        sample_tree(&place);
        fs::copy(bake().get_program(), place.join("bake")).unwrap();
        fs::copy(made("pkgpanda/pkgpanda"), place.join("pkgpanda")).unwrap();
        let program = place.join("bake").into_os_string();
        let line: Vec<_> = runner.iter().map(|word| (*word).into()).chain([program]).collect();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .current_dir(&place);
        if !runner.is_empty() {
            let mut head = Command::new(&line[0]);
            let reads = output(head.args(&line[1..line.len() - 1]).args(["head", "-c1"]).arg(&builder));
            if !reads.status.success() {
                eprintln!("SKIPPED for want of a way for nobody into the project: {}", text(&reads.stderr));
                return;
            }
            run(Command::new("chown").args(["-R", "65534:65534"]).arg(&place));
            command.envs([("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8")]);
        }
        command.args(["tree", "--offline", "--tree=tree", "--out=out", "--builder"]).arg(&builder);
        let printed = run(&mut command);
        sums.push(fs::read_to_string(place.join("out/SHA256SUMS")).unwrap());
        let product = place.join(printed.lines().next().unwrap());
        let arguments = ["--product", product.to_str().unwrap(), "--role", "master"];
        images.push(bake_image(&rootfs("debian-12"), &place.join("image"), &arguments).digest().to_owned());
        fs::remove_dir_all(place.join("image")).unwrap();
    }
    assert_eq!(sums[0], sums[1]);
    assert_eq!(images[0], images[1]);
}
