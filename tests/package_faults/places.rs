//! Trees in odd places, and outputs in odder ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::ground::failed_well;
use crate::support::{is_root, output, run, text};
use crate::yard::{Yard, builder, names};

/// `bake tree` on the tree at `tree`, from `directory`.
fn bake_tree(yard: &Yard, directory: &Path, tree: &str, more: &[&str]) -> Command {
    let mut command = yard.bare::<&str>(&[], &["tree", "--quiet", "--tree", tree]);
    command.arg("--builder").arg(builder()).args(more).current_dir(directory);
    command
}

#[test]
fn a_tree_gives_the_same_packages_wherever_it_is_and_however_it_is_named() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    yard.clear();
    fs::create_dir(yard.path("deep")).unwrap();
    symlink("../tree", yard.path("deep/link")).unwrap();
    let top = yard.path("");
    for (directory, tree) in [
        (top.clone(), "tree"),
        (top.clone(), "./tree/"),
        (top.clone(), "deep/../tree"),
        (top.clone(), "deep/link"),
        (yard.path("tree"), "."),
        (yard.path("tree"), ""),
        (yard.path("tree/app"), ".."),
    ] {
        let output = output(&mut bake_tree(&yard, &directory, tree, &[]));
        if tree.is_empty() {
            assert!(failed_well(&output, "no name").contains("--tree"));
            continue;
        }
        assert!(output.status.success(), "{tree}: {}", text(&output.stderr));
        yard.is_tidy(tree);
        assert_eq!(yard.packages(), expected, "{tree}");
        yard.clear();
    }
    for name in
        ["a tree with spaces", "tree:with,odd=\"characters\\", "$(tree) \u{1f332}", "-tree", "tree\nof lines"]
    {
        fs::rename(yard.path("tree"), yard.path(name)).unwrap();
        let shown = format!("./{name}");
        run(&mut bake_tree(&yard, &top, &shown, &[]));
        fs::rename(yard.path(name), yard.path("tree")).unwrap();
        yard.is_tidy(name);
        assert_eq!(yard.packages(), expected, "{name}");
        yard.clear();
    }
}

#[test]
fn a_tree_with_a_name_that_is_no_text_is_a_clear_error() {
    use std::os::unix::ffi::OsStrExt;
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    yard.clear();
    let name = yard.path("").join(std::ffi::OsStr::from_bytes(b"tr\xffee"));
    fs::rename(yard.path("tree"), &name).unwrap();
    let mut command = yard.bare::<&str>(&[], &["tree", "--quiet", "--tree"]);
    let output = output(command.arg(&name).arg("--builder").arg(builder()));
    fs::rename(&name, yard.path("tree")).unwrap();
    let said = failed_well(&output, "a name that is no text");
    assert!(said.contains("expected a path at --tree that is UTF-8"), "{said}");
    assert_eq!(yard.build(&["tree"]), expected);
}

#[test]
fn a_tree_that_is_none_is_a_clear_error() {
    let yard = Yard::new();
    yard.put("file", b"");
    fs::create_dir(yard.path("empty")).unwrap();
    let top = yard.path("");
    for tree in ["none", "file", "file/tree"] {
        let said = failed_well(&output(&mut bake_tree(&yard, &top, tree, &[])), tree);
        assert!(said.contains(&format!("`{tree}`")) && said.contains("--tree"), "{said}");
    }
    let said = failed_well(&output(&mut bake_tree(&yard, &top, "empty", &[])), "an empty one");
    assert!(said.contains("holds no recipe: expected"), "{said}");
    assert_eq!(names(&yard.path("empty")).len(), 0, "{said}");
}

#[test]
fn a_tree_may_be_on_another_file_system_than_its_cache_and_its_output() {
    if !is_root("mounting") {
        return;
    }
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    yard.clear();
    let script = format!(
        "set -e; mount -t tmpfs none {0}/tmp; mkdir {0}/tmp/tree {0}/out; cp -a {0}/tree/. {0}/tmp/tree; \"$@\"; \
         cp -a {0}/tmp/tree/cache {0}/tree/; umount {0}/tmp",
        yard.path("").display()
    );
    let runner = ["unshare", "--mount", "sh", "-c", &script, "-"];
    let mut command = yard.bare(&runner, &["tree", "--quiet", "--tree", "tmp/tree", "--out", "out"]);
    run(command.arg("--builder").arg(builder()));
    yard.is_tidy("on two file systems");
    assert_eq!(yard.packages(), expected);
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(yard.path("out")));
}

/// File systems without unnamed files (NFS, some overlays) have hidden ones instead, which nobody takes for a result.
#[test]
fn a_file_system_without_unnamed_files_works() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    yard.clear();
    run(&mut without_unnamed_files(&yard));
    yard.is_tidy("without unnamed files");
    assert_eq!(yard.packages(), expected);
}

/// `bake tree` for which every `O_TMPFILE` in the cache fails as it does where a file system does not know it. Nothing
/// else opens these directories themselves.
fn without_unnamed_files(yard: &Yard) -> Command {
    let cache = yard.path("tree/cache");
    let directories = ["packages/app", "packages/base", "bootstrap", "complete"];
    let mut tracer: Vec<_> = ["strace", "-f", "-qqq", "-o", "/dev/null"].map(str::to_owned).to_vec();
    tracer.extend(["-e", "inject=open,openat:error=EOPNOTSUPP"].map(str::to_owned));
    for directory in directories {
        tracer.extend(["-P".to_owned(), cache.join(directory).display().to_string()]);
    }
    yard.through(&tracer, &["tree"])
}

#[test]
fn outputs_may_lie_within_the_tree_and_in_directories_that_are_there() {
    let yard = Yard::new();
    let expected = yard.build(&["tree", "--out", "tree/out"]);
    for out in ["tree/out", "new/deep/out", "there"] {
        let _ = fs::create_dir(yard.path("there"));
        fs::write(yard.path("there/mine"), "mine").unwrap();
        // Recipes are found, and ids are the same, although there is something new in the tree.
        assert_eq!(yard.build(&["tree", "--out", out]), expected, "{out}");
        run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(yard.path(out)));
    }
    assert_eq!(fs::read(yard.path("there/mine")).unwrap(), b"mine");
}

#[test]
fn outputs_that_have_no_place_are_a_clear_error() {
    let yard = Yard::new();
    yard.build(&["tree"]);
    yard.put("file", b"mine");
    yard.put("taken/SHA256SUMS/mine", b"mine");
    yard.put("busy/packages", b"mine");
    for (out, expected) in
        [("file", "file"), ("file/out", "file"), ("taken", "SHA256SUMS"), ("busy", "busy/packages")]
    {
        let said = yard.refused(&["tree", "--out", out]);
        assert!(said.contains(expected), "{out}: {said}");
        assert!(!yard.path(out).join("manifest.json").exists(), "{said}");
    }
    assert_eq!(fs::read(yard.path("file")).unwrap(), b"mine");
    assert_eq!(fs::read(yard.path("busy/packages")).unwrap(), b"mine");
}

#[test]
fn somebody_who_may_not_write_or_read_learns_where() {
    if !is_root("being somebody else") {
        return;
    }
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(yard.path("")));
    let is_reachable = run(Command::new("setpriv").args(&nobody[1..]).arg("sh").arg("-c").arg(format!(
        "test -r '{}/tree/app/build' && test -r '{}' && echo yes || echo no",
        yard.path("").display(),
        builder().display()
    )));
    if is_reachable.trim() != "yes" {
        eprintln!("SKIPPED for want of a project that others can read: somebody without permission");
        return;
    }
    // Everything is there.
    let said = output(&mut yard.through(&nobody, &["package", "--recursive", "app"]));
    assert!(said.status.success(), "{}", text(&said.stderr));
    yard.recipe("app", "echo another\n", "{}");
    let said = failed_well(&output(&mut yard.through(&nobody, &["package", "app"])), "no permission");
    assert!(said.contains("Permission denied") && said.contains("cache"), "{said}");
    assert_eq!(yard.packages(), expected);
    run(Command::new("chmod").arg("0").arg(yard.path("tree/base/buildinfo.json")));
    let said = failed_well(&output(&mut yard.through(&nobody, &["package", "app"])), "no permission");
    assert!(said.contains("Permission denied") && said.contains("base/buildinfo.json"), "{said}");
}

#[test]
fn a_cache_that_is_a_link_to_elsewhere_works() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    fs::rename(yard.path("tree/cache"), yard.path("elsewhere")).unwrap();
    symlink(yard.path("elsewhere"), yard.path("tree/cache")).unwrap();
    assert_eq!(yard.build(&["tree"]), expected);
    fs::remove_file(yard.path("tree/cache")).unwrap();
    yard.put("tree/cache", b"a file");
    let said = failed_well(&output(&mut yard.command(&["tree"])), "a file for a cache");
    assert!(said.contains("tree/cache"), "{said}");
}
