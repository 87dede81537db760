//! Seeds as images bring them, made of what an installation makes.

use std::fs;
use std::path::Path;
use std::process::Command;

use bake_archive::open_directory_at;
use bake_host::seed::{LIST, List, SEED};
use bake_tree::Tree;

use crate::wares;

/// Puts the product `name` of the wares (`serve` or `next`) as the seed into `root`, for hosts with this role.
pub fn plant(wares: &Path, name: &str, root: &Path) {
    let scratch = wares.join("planting");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(scratch.join("etc")).unwrap();
    let serve = wares.join(name);
    let mut install = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
    install
        .args(["install", "--no-systemd", "--role", "master", "--product"])
        .arg(serve.join("product.json"));
    wares::succeeds(install.arg("--from").arg(serve).arg("--root").arg(&scratch));
    let seed = root.join(SEED);
    let _ = fs::remove_dir_all(&seed);
    fs::create_dir_all(seed.parent().unwrap()).unwrap();
    wares::succeeds(Command::new("cp").arg("-a").arg(scratch.join("opt/mesosphere")).arg(&seed));
    fs::remove_file(seed.join("created.json")).unwrap();
    fs::remove_dir_all(&scratch).unwrap();
    // Bakes date what they add; an installation leaves the clock's time on what changed last.
    wares::succeeds(Command::new("find").arg(&seed).args([
        "-newermt",
        "@1600000000",
        "-exec",
        "touch",
        "--no-dereference",
        "--date=@1600000000",
        "{}",
        "+",
    ]));
    let opened = open_directory_at("seed", fs::File::open(&seed).unwrap().into()).unwrap();
    let mut tree = Tree::new();
    for (members, policy) in opened.layers {
        tree.apply(members, policy).unwrap();
    }
    fs::write(root.join(LIST), List::of(&tree, 1).unwrap().to_json()).unwrap();
}
