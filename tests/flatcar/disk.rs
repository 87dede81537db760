//! A baked disk beside its vendor's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FallocateFlags;

use super::{place, same, short, table};
use crate::support::listing::{Kind, list, shown};
use crate::support::mount::Mount;
use crate::support::{
    Baked, bake, bake_image, copy_part, full, is_root, output, run, scratch, small_product, text,
};

/// What the product has on ROOT.
const OURS: [&str; 4] = ["opt/mesosphere", "etc/mesosphere", "etc/systemd", "lost+found"];

/// A copy of the stand-in whose /usr is nearly empty, for what takes long.
pub fn hollow(directory: &Path) -> PathBuf {
    let copy = directory.join("hollow.raw");
    run(Command::new("cp").arg("--sparse=always").arg(short()).arg(&copy));
    let (offset, length) = place(&copy, "USR-A");
    let file = fs::File::options().write(true).open(&copy).unwrap();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, hole, offset + (1 << 20), length - (1 << 20)).unwrap();
    copy
}

/// Bakes the small product onto a disk.
pub fn product_on(disk: &Path, directory: &Path, arguments: &[&str]) -> Baked {
    let product = small_product();
    let ours = ["--product", product.to_str().unwrap(), "--role", "master"];
    bake_image(disk, directory, &[&ours, arguments].concat())
}

/// Everything but this partition is the vendor's, byte by byte.
pub fn only_root_differs(vendor: &Path, baked: &Path) {
    assert_eq!(table(vendor), table(baked));
    let (offset, length) = place(vendor, "ROOT");
    same(vendor, baked, 0, offset);
    same(vendor, baked, offset + length, fs::metadata(vendor).unwrap().len());
    assert_eq!(fs::metadata(vendor).unwrap().len(), fs::metadata(baked).unwrap().len());
}

/// A file of the EFI system partition.
fn of_esp(disk: &Path, path: &str) -> String {
    let image = format!("{}@@{}", disk.display(), place(disk, "EFI-SYSTEM").0);
    run(Command::new("mtype").args(["-i", &image, &format!("::{path}")]))
}

#[test]
fn only_root_differs_from_the_vendor_s_disk() {
    let scratch = scratch();
    let (vendor, out) = (short(), scratch.path().join("out"));
    let baked = product_on(&vendor, &out, &[]);
    let raw = baked.raw();
    only_root_differs(&vendor, &raw);
    let said = run(Command::new("sgdisk").arg("--verify").arg(&raw));
    assert!(said.contains("No problems found"), "{said}");
    // What the first boot goes by.
    assert_eq!(of_esp(&raw, "flatcar/first_boot"), "");
    assert!(of_esp(&raw, "EFI/debian/grub.cfg").contains("first_boot=flatcar.first_boot=detected"));
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out));

    let (before, after) = (scratch.path().join("before"), scratch.path().join("after"));
    copy_part(&vendor, place(&vendor, "ROOT"), &before);
    copy_part(&raw, place(&raw, "ROOT"), &after);
    run(Command::new("e2fsck").arg("-fn").arg(&after));
    let about = run(Command::new("dumpe2fs").arg("-h").arg(&after));
    assert!(about.contains("Filesystem volume name:   ROOT"), "{about}");

    let manifest = &baked.manifest;
    let keys = ["profile", "architecture"].map(|key| manifest[key].as_str().unwrap());
    assert_eq!(keys, ["flatcar", "x86-64"]);
    assert_eq!(manifest["inputs"][0]["kind"], "disk image");
    let sum = run(Command::new("sha256sum").arg(&vendor));
    assert_eq!(manifest["inputs"][0]["sha256"].as_str().unwrap(), &sum[..64]);
    assert!(manifest["boot"].is_null(), "the loader is none of bake's business");

    if !is_root("what the kernel sees on ROOT") {
        return;
    }
    let (before, after) = (Mount::whole(&before), Mount::whole(&after));
    let (theirs, ours) = (list(&before.path()), list(&after.path()));
    let is_ours = |path: &[u8]| OURS.iter().any(|ours| text(path).starts_with(ours));
    for (path, entry) in theirs.iter().filter(|(path, _)| !is_ours(path)) {
        let now = ours.get(path).unwrap_or_else(|| panic!("{} is gone", shown(path)));
        // Names are added to directories.
        let time = |entry: &crate::support::listing::Entry| match entry.kind {
            Kind::Directory => (0, 0),
            _ => entry.time,
        };
        assert_eq!(
            (&now.kind, now.mode, now.owner, time(now), &now.xattrs),
            (&entry.kind, entry.mode, entry.owner, time(entry), &entry.xattrs),
            "{}",
            shown(path)
        );
        if matches!(entry.kind, Kind::File { .. }) {
            let read = |mount: &Mount| fs::read(mount.path().join(text(path))).unwrap();
            assert_eq!(read(&before), read(&after), "{}", shown(path));
        }
    }
    let elsewhere: Vec<_> =
        ours.keys().filter(|path| !theirs.contains_key(*path) && !is_ours(path)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let at = |path: &str| after.path().join(path);
    assert_eq!(fs::read_to_string(at("etc/machine-id")).unwrap(), "42000000000000000000000000000042\n");
    assert!(at("etc/mesosphere/roles/master").exists());
    assert!(at("etc/systemd/system/multi-user.target.wants/dcos-setup.service").is_symlink());
    assert!(
        fs::read_link(at("opt/mesosphere/active/dcos-hello"))
            .unwrap()
            .starts_with("/opt/mesosphere/packages")
    );
    let preset = fs::read_to_string(at("etc/systemd/system-preset/30-bake.preset")).unwrap();
    assert_eq!(preset, "enable dcos-setup.service\n");
    assert!(fs::read_dir(at("usr")).unwrap().next().is_none(), "where the vendor's own is mounted");
}

#[test]
fn wrappings_and_surroundings_of_a_disk_do_not_matter() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let vendor = hollow(scratch.path());
    let baked = product_on(&vendor, &at("raw"), &[]);
    only_root_differs(&vendor, &baked.raw());
    let digest = |disk: &Path, name: &str, arguments: &[&str]| {
        let baked = product_on(disk, &at(name), arguments);
        let found = baked.digest().to_owned();
        fs::remove_file(baked.raw()).unwrap();
        found
    };
    // As the vendor delivers it; and another, which takes as long.
    let mut wrappings = vec![("bzip2", "bz2")];
    if full() {
        wrappings.push(("xz", "xz"));
    }
    for (program, suffix) in wrappings {
        run(Command::new(program).args(["-1", "--keep"]).arg(&vendor));
        let packed = at(&format!("hollow.raw.{suffix}"));
        assert_eq!(digest(&packed, suffix, &[]), baked.digest(), "{suffix}");
    }
    let elsewhere = at("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&vendor, elsewhere.join("other name")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077 && exec \"$@\"", "sh"]).arg(bake().get_program()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.envs([("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8"), ("HOME", "/nonexistent")]);
    command.args(["image", "--quiet", "--no-cache", "--threads", "1", "--role", "master", "--product"]);
    command.arg(small_product()).arg("--rootfs").arg(elsewhere.join("other name"));
    run(command.arg("--out").arg("out").current_dir(&elsewhere));
    assert_eq!(Baked::read(&elsewhere.join("out")).digest(), baked.digest());
}

#[test]
fn a_plan_of_a_vendor_s_disk_writes_nothing() {
    let scratch = scratch();
    let out = scratch.path().join("out");
    let mut command = bake();
    command.args(["image", "--no-cache", "--plan", "--role", "master", "--product"]).arg(small_product());
    let said = run(command.arg("--rootfs").arg(short()).arg("--out").arg(&out));
    for part in ["profile flatcar", "the vendor's, as it is", "the vendor's own on first boot", "ROOT "] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    let json = run(command.arg("--json"));
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plan["profile"], "flatcar");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_larger_disk_is_filled_by_root_and_is_the_vendor_s_elsewhere() {
    let scratch = scratch();
    let vendor = short();
    let baked = product_on(&vendor, scratch.path(), &["--size", "3G", "--format", "raw,qcow2"]);
    let raw = baked.raw();
    let said = run(Command::new("sgdisk").arg("--verify").arg(&raw));
    assert!(said.contains("No problems found"), "{said}");
    let (mut before, after) = (table(&vendor), table(&raw));
    assert_eq!(after.len, 3 << 30);
    before.len = after.len;
    let root = before.partitions.iter_mut().find(|part| part.name == "ROOT").unwrap();
    root.len = after.len - (1 << 20) - root.offset;
    assert_eq!(after, before, "ids, types, names, attributes and places");
    // Boot code; then all from behind the table's array to ROOT.
    same(&vendor, &raw, 0, 440);
    same(&vendor, &raw, 34 * 512, place(&vendor, "ROOT").0);
    let copy = scratch.path().join("root");
    copy_part(&raw, place(&raw, "ROOT"), &copy);
    run(Command::new("e2fsck").arg("-fn").arg(&copy));
    let mut compare = Command::new("qemu-img");
    compare.args(["compare", "-f", "raw", "-F", "qcow2"]).arg(&raw).arg(raw.with_extension("qcow2"));
    assert!(output(&mut compare).status.success());
}
