//! A vendor's disk before its judges: `sgdisk`, `e2fsck`, the kernel, an independent reader, and a comparison of every
//! byte that was none of bake's business. And the other way: a system extension with its snippet of Ignition.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bake_base::{Digest, FileBytes, ReadAt};
use bake_disk::container::Format;
use bake_disk::{SectorSize, read_gpt};
use bake_fs::erofs;
use bake_fs::ext4::Volume;
use bake_image::vendor::extension::{self, ExtensionSpec, Hosts};
use bake_image::vendor::{self, compose};
use bake_image::{Error, HostPolicy, ImageSpec, Manifest, Output, Surroundings};
use bake_tree::{Follow, Member, Node, Policy, Tree, TreePath, ValidTree};
use tempfile::TempDir;

const GIB: u64 = 1 << 30;
const BLANK: &str = "42000000000000000000000000000042\n";

fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn must(program: &str, arguments: &[&str]) -> String {
    let (good, text) = run(program, arguments);
    assert!(good, "{program} {arguments:?}: {text}");
    text
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn path(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

/// A disk with Flatcar's partitions, but short ones; ROOT holds what `fill` puts into a directory.
fn disk(at: &Path, fill: impl Fn(&Path)) -> PathBuf {
    let (disk, tree) = (at.join("vendor.raw"), at.join("root"));
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::create_dir(tree.join("usr")).unwrap();
    for link in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), tree.join(link)).unwrap();
    }
    fs::write(tree.join("etc/machine-id"), BLANK).unwrap();
    fill(&tree);
    let file = File::create(&disk).unwrap();
    file.set_len(900 << 20).unwrap();
    must(
        "sgdisk",
        &[
            "--set-alignment=4096",
            "--disk-guid=00000000-0000-0000-0000-000000000001",
            "--new=1:4096:+560M",
            "--typecode=1:ef00",
            "--change-name=1:EFI-SYSTEM",
            "--new=3:0:+64M",
            "--typecode=3:5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6",
            "--change-name=3:USR-A",
            "--partition-guid=3:7130c94a-213a-4e5a-8e26-6cce9662f132",
            "--attributes=3:set:48",
            "--new=9:0:+200M",
            "--typecode=9:3884dd41-8582-4404-b9a8-e9b84f2df50e",
            "--change-name=9:ROOT",
            name(&disk),
        ],
    );
    let table = read_gpt(&FileBytes::new(File::open(&disk).unwrap()).unwrap()).unwrap();
    let part = |number: u32| table.partitions.iter().find(|part| part.number == number).unwrap().clone();
    let put = |number, image: &Path| {
        let seek = format!("seek={}", part(number).offset);
        let (from, to) = (format!("if={}", name(image)), format!("of={}", name(&disk)));
        must("dd", &[&from, &to, &seek, "bs=1M", "oflag=seek_bytes", "conv=notrunc,sparse", "status=none"]);
    };
    let image = at.join("image");
    File::create(&image).unwrap().set_len(part(9).len).unwrap();
    must("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "4096", "-L", "ROOT", "-d", name(&tree), name(&image)]);
    put(9, &image);
    File::create(&image).unwrap().set_len(part(1).len).unwrap();
    must("mkfs.vfat", &["-F", "32", "-n", "EFI-SYSTEM", name(&image)]);
    must("mmd", &["-i", name(&image), "::EFI", "::EFI/boot", "::flatcar"]);
    let empty = at.join("empty");
    fs::write(&empty, "").unwrap();
    for file in ["::flatcar/first_boot", "::EFI/boot/bootaa64.efi"] {
        must("mcopy", &["-i", name(&image), name(&empty), file]);
    }
    put(1, &image);
    fs::remove_file(&image).unwrap();
    // What means nothing to anybody has to stay too.
    let noise: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    file.write_all_at(&noise, part(3).offset + 12_345).unwrap();
    file.write_all_at(&noise[..440], 0).unwrap();
    file.write_all_at(&noise[..4096], part(9).end() + 4096).unwrap();
    disk
}

/// A bootstrap tarball of one package, or more.
fn product(at: &Path, more: &[(&str, &str)]) -> PathBuf {
    let file = at.join("bootstrap.tar");
    let mut tar = tar::Builder::new(File::create(&file).unwrap());
    let mut put = |name: &str, info: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        let target = format!("/opt/mesosphere/packages/{name}--1");
        tar.append_link(&mut header, format!("active/{name}"), target).unwrap();
        let program = format!("bin/{name}");
        for (file, text) in [("pkginfo.json", info), (&program, "#!/bin/sh\n")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o755);
            header.set_mtime(1_600_000_000);
            tar.append_data(&mut header, format!("packages/{name}--1/{file}"), text.as_bytes()).unwrap();
        }
    };
    put("pkgpanda", "{}");
    for (name, info) in more {
        put(name, info);
    }
    tar.finish().unwrap();
    file
}

fn spec(rootfs: &Path, product: Option<PathBuf>) -> ImageSpec {
    ImageSpec {
        name: None,
        profile: None,
        profiles: BTreeMap::new(),
        skip: Vec::new(),
        rootfs: rootfs.to_owned(),
        arch: None,
        overlays: Vec::new(),
        preserve: false,
        product,
        roles: Vec::new(),
        policy: HostPolicy::default(),
        loader: None,
        signing: None,
        read_only: None,
        read_only_format: None,
        size: None,
        free: 0,
        sector_size: SectorSize::Bytes512,
        epoch: None,
    }
}

fn surroundings(scratch: &Path) -> Surroundings {
    Surroundings {
        threads: 2,
        cache: None,
        scratch: scratch.to_owned(),
        paranoid: false,
        max_decoded: 64 << 30,
        max_decoder_memory: 256 << 20,
    }
}

/// Bakes into a raw disk of its own directory.
fn bake(at: &Path, spec: &ImageSpec) -> Result<(PathBuf, Manifest), Error> {
    let image = compose(spec, &surroundings(at), &|_| ())?.lay_out(2)?;
    let plan = image.plan(&[Format::RAW], false).to_string();
    assert!(
        plan.contains("the vendor's, as it is") && plan.contains("the vendor's own on first boot"),
        "{plan}"
    );
    let directory = at.join(format!("out-{}", fs::read_dir(at).unwrap().count()));
    let output =
        Output { directory: &directory, formats: &[Format::RAW], tar: false, sum_raw: false, threads: 2 };
    let written = image.write(&output, &|_| ())?.publish()?;
    Ok((directory.join(&written.files[0]), written.manifest))
}

/// A partition's file system in a file of its own, judged by `e2fsck`, as a tree.
fn root_of(image: &Path, at: &Path) -> (PathBuf, ValidTree) {
    let disk = FileBytes::new(File::open(image).unwrap()).unwrap();
    let table = read_gpt(&disk).unwrap();
    let root = table.partitions.iter().find(|part| part.name == "ROOT").unwrap();
    let file = at.join("root.ext4");
    let (skip, count) = (format!("skip={}", root.offset), format!("count={}", root.len));
    let (from, to) = (format!("if={}", name(image)), format!("of={}", name(&file)));
    must(
        "dd",
        &[&from, &to, &skip, &count, "bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none"],
    );
    let said = must("e2fsck", &["-fn", name(&file)]);
    assert!(
        said.lines()
            .all(|line| line.starts_with("Pass ") || line.contains(" files (") || line.starts_with("e2fsck")),
        "{said}"
    );
    let source: Arc<dyn ReadAt> = Arc::new(FileBytes::new(File::open(&file).unwrap()).unwrap());
    (file, tree(Volume::read(&source).unwrap().members))
}

fn tree(members: Vec<Member>) -> ValidTree {
    let mut tree = Tree::new();
    tree.apply(members, Policy::TAR).unwrap();
    ValidTree::new(tree).unwrap()
}

fn text(tree: &ValidTree, name: &str) -> Option<String> {
    let bytes = tree.tree().read(&path(name), 1 << 20).unwrap();
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Fails at the first byte that differs between two files in a range.
fn same(a: &Path, b: &Path, start: u64, end: u64) {
    let (a, b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (start..end).step_by(1 << 20) {
        let n = (end - at).min(1 << 20) as usize;
        a.read_exact_at(&mut ours[..n], at).unwrap();
        b.read_exact_at(&mut theirs[..n], at).unwrap();
        if ours[..n] != theirs[..n] {
            let i = (0..n).find(|i| ours[*i] != theirs[*i]).unwrap();
            panic!("byte {} differs", at + i as u64);
        }
    }
}

#[test]
fn vendor_everything_but_one_file_system_stays_as_it_was() {
    let scratch = TempDir::new().unwrap();
    let at = scratch.path();
    let vendor = disk(at, |root| fs::write(root.join("etc/vendors"), "own").unwrap());
    assert!(vendor::is_disk(&vendor).unwrap());
    let user = r#"{"username": "dcos_hello", "state_directory": true}"#;
    let mut wanted = spec(&vendor, Some(product(at, &[("hello", user)])));
    wanted.roles = vec!["master".to_owned()];
    let (image, manifest) = bake(at, &wanted).unwrap();

    let before = read_gpt(&FileBytes::new(File::open(&vendor).unwrap()).unwrap()).unwrap();
    let after = read_gpt(&FileBytes::new(File::open(&image).unwrap()).unwrap()).unwrap();
    assert_eq!(before, after);
    let root = before.partitions.iter().find(|part| part.name == "ROOT").unwrap();
    same(&vendor, &image, 0, root.offset);
    same(&vendor, &image, root.end(), before.len);

    let (file, tree) = root_of(&image, at);
    assert_eq!(text(&tree, "etc/vendors").unwrap(), "own");
    assert_eq!(text(&tree, "etc/machine-id").unwrap(), BLANK);
    assert_eq!(text(&tree, "etc/mesosphere/roles/master").unwrap(), "");
    assert_eq!(text(&tree, "opt/mesosphere/packages/hello--1/bin/hello").unwrap(), "#!/bin/sh\n");
    let enabled = tree
        .tree()
        .lookup(&path("etc/systemd/system/multi-user.target.wants/dcos-setup.service"), Follow::Last);
    assert!(enabled.is_some(), "the product starts");
    assert_eq!(
        text(&tree, "etc/systemd/system-preset/30-bake.preset").unwrap(),
        "enable dcos-setup.service\n",
        "and first boot does not switch it off"
    );
    for absent in ["etc/passwd", "etc/fstab", "var/lib/dcos", "etc/repart.d", "usr/lib"] {
        assert!(tree.tree().lookup(&path(absent), Follow::Parents).is_none(), "{absent}");
    }
    let reader = ext4_view::Ext4::load_from_path(&file).unwrap();
    assert_eq!(reader.read("/etc/vendors").unwrap(), b"own");
    let features = must("dumpe2fs", &["-h", name(&file)]);
    assert!(
        features.contains("Filesystem volume name:   ROOT") && features.contains("resize_inode"),
        "{features}"
    );

    assert_eq!(manifest.profile, "flatcar");
    assert_eq!(manifest.architecture, "arm64", "by the program on the EFI system partition");
    assert!(manifest.boot.is_none());
    let (first, digest) = (&manifest.inputs[0], Digest::of(&fs::read(&vendor).unwrap()));
    assert_eq!((first.role, first.kind.as_str(), first.sha256), ("rootfs", "disk image", digest));
    let uuid = must("dumpe2fs", &["-h", name(&file)]);
    let known = &manifest.disk.partitions.iter().find(|part| part.name == "ROOT").unwrap();
    assert!(uuid.contains(known.file_system_id.as_ref().unwrap()), "{uuid}");

    // The same again, from a compressed disk and from one in another container: the same bytes.
    for (program, arguments, copy) in [
        ("gzip", vec!["-1", "-k", name(&vendor)], "vendor.raw.gz"),
        ("bzip2", vec!["-1", "-k", name(&vendor)], "vendor.raw.bz2"),
        (
            "qemu-img",
            vec!["convert", "-O", "qcow2", name(&vendor), name(&at.join("vendor.qcow2"))],
            "vendor.qcow2",
        ),
    ] {
        must(program, &arguments);
        let other = at.join(copy);
        assert!(vendor::is_disk(&other).unwrap(), "{copy}");
        let (_, again) = bake(at, &ImageSpec { rootfs: other.clone(), ..wanted.clone() }).unwrap();
        assert_eq!(again.disk.digest, manifest.disk.digest, "{copy}");
        assert_eq!(again.inputs[0].sha256, Digest::of(&fs::read(&other).unwrap()), "{copy}");
    }
}

#[test]
fn vendor_a_disk_grows_when_it_has_to() {
    let scratch = TempDir::new().unwrap();
    let at = scratch.path();
    let vendor = disk(at, |_| ());
    let overlay = at.join("overlay");
    fs::create_dir_all(overlay.join("opt/large")).unwrap();
    let noise: Vec<u8> =
        (0..150_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
    fs::write(overlay.join("opt/large/file"), noise).unwrap();
    let wanted = ImageSpec { overlays: vec![overlay], ..spec(&vendor, None) };
    let (image, _) = bake(at, &wanted).unwrap();
    let before = read_gpt(&FileBytes::new(File::open(&vendor).unwrap()).unwrap()).unwrap();
    let after = read_gpt(&FileBytes::new(File::open(&image).unwrap()).unwrap()).unwrap();
    assert_eq!(after.len, GIB);
    let said = must("sgdisk", &["--verify", name(&image)]);
    assert!(said.contains("No problems found"), "{said}");
    let mut expected = before.clone();
    expected.len = GIB;
    let root = expected.partitions.iter_mut().find(|part| part.name == "ROOT").unwrap();
    let offset = root.offset;
    root.len = (GIB - (1 << 20)) - offset;
    assert_eq!(after, expected, "ids, types, names and attributes are the vendor's");
    // Boot code and signature of the MBR, then everything between header and partition but the last entry.
    same(&vendor, &image, 0, 446);
    same(&vendor, &image, 1 << 20, offset);
    let (_, tree) = root_of(&image, at);
    assert!(text(&tree, "etc/machine-id").is_some());

    let asked = ImageSpec { size: Some(2 * GIB), ..spec(&vendor, None) };
    let (image, manifest) = bake(at, &asked).unwrap();
    assert_eq!(manifest.disk.size, 2 * GIB);
    assert!(must("sgdisk", &["--verify", name(&image)]).contains("No problems found"));
    root_of(&image, at);
    let small = ImageSpec { size: Some(512 << 20), ..spec(&vendor, None) };
    assert!(matches!(bake(at, &small), Err(Error::TooSmall { .. })));
    // Nothing to put in: still a file system of bake's, but no byte elsewhere.
    let free = ImageSpec { free: 75, ..spec(&vendor, None) };
    assert_eq!(bake(at, &free).unwrap().1.disk.size, GIB, "a third of the partition is a journal");
}

#[test]
fn vendor_what_cannot_be_is_refused_with_a_way_out() {
    let scratch = TempDir::new().unwrap();
    let at = scratch.path();
    let vendor = disk(at, |_| ());
    let policy = |text: &str| toml::from_str::<HostPolicy>(text).unwrap();
    let base = || spec(&vendor, None);
    let overlay = at.join("overlay");
    fs::create_dir_all(overlay.join("usr/lib")).unwrap();
    fs::write(overlay.join("usr/lib/x"), "x").unwrap();
    let debian = ImageSpec { profile: Some("debian".to_owned()), ..base() };
    for (wanted, reason) in [
        (
            ImageSpec { policy: policy("[users.ops]\nuid = 1000"), ..base() },
            "have Ignition make it (`passwd`)",
        ),
        (ImageSpec { policy: policy("[kernel]\nargs = ['quiet']"), ..base() }, "`kernelArguments`"),
        (
            ImageSpec { policy: policy("[units]\nenable = ['docker.service']"), ..base() },
            "only units in /etc are seen",
        ),
        (ImageSpec { overlays: vec![overlay], ..base() }, "/usr/lib/x"),
        (ImageSpec { roles: vec!["master".to_owned()], ..base() }, "--product"),
        (ImageSpec { loader: Some(bake_image::Loader::Grub), ..base() }, "--loader"),
        (debian, "give a tar, a directory or a container image"),
    ] {
        let message = bake(at, &wanted).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    // Rules of the profile are checked against what is in /etc.
    let wanted = spec(&vendor, Some(product(at, &[("mesos", "{}"), ("dcos-net", "{}")])));
    let message = bake(at, &wanted).unwrap_err().to_string();
    assert!(
        message.contains("port-53: no DNSStubListener=")
            && message.contains("journal: no SystemMaxUse=")
            && message.contains("reboots: the mask of unit `locksmithd.service`"),
        "{message}"
    );
    let files = "[files.'/etc/systemd/resolved.conf.d/dcos.conf']\ncontent = \"[Resolve]\\nDNSStubListener=no\\n\"\n\
                 [files.'/etc/systemd/journald.conf.d/dcos.conf']\ncontent = \"[Journal]\\nSystemMaxUse=15G\\n\"\n\
                 [files.'/etc/systemd/system/locksmithd.service']\nlink = \"/dev/null\"\n";
    bake(at, &ImageSpec { policy: policy(files), ..wanted }).unwrap();
}

#[test]
fn vendor_a_disk_that_is_not_as_it_came_is_refused() {
    let refused = |change: &dyn Fn(&Path)| {
        let scratch = TempDir::new().unwrap();
        let vendor = disk(scratch.path(), |_| ());
        change(&vendor);
        bake(scratch.path(), &spec(&vendor, None)).map(drop).unwrap_err().to_string()
    };
    let part = |vendor: &Path, what: &str| {
        let table = read_gpt(&FileBytes::new(File::open(vendor).unwrap()).unwrap()).unwrap();
        table.partitions.iter().find(|part| part.name == what).unwrap().offset
    };
    let at = |vendor: &Path| format!("{}?offset={}", name(vendor), part(vendor, "ROOT"));
    let relabelled =
        refused(&|vendor| drop(must("debugfs", &["-w", "-R", "ssv volume_name OTHER", &at(vendor)])));
    assert!(relabelled.contains("the label `OTHER`"), "{relabelled}");
    let used = refused(&|vendor| drop(must("debugfs", &["-w", "-R", "feature needs_recovery", &at(vendor)])));
    assert!(used.contains("journal has to be replayed"), "{used}");
    let renamed = refused(&|vendor| drop(must("sgdisk", &["--change-name=9:root", name(vendor)])));
    assert!(renamed.contains("no profile is for a disk with these partitions"), "{renamed}");
    let cut =
        refused(&|vendor| File::options().write(true).open(vendor).unwrap().set_len(600 << 20).unwrap());
    assert!(cut.contains("cannot be used"), "{cut}");

    let scratch = TempDir::new().unwrap();
    let booted = disk(scratch.path(), |root| {
        fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    });
    let message = bake(scratch.path(), &spec(&booted, None)).unwrap_err().to_string();
    assert!(message.contains("has been booted") && message.contains("as it comes"), "{message}");
}

#[test]
fn vendor_the_product_becomes_a_system_extension() {
    let scratch = TempDir::new().unwrap();
    let at = scratch.path();
    let wanted = ExtensionSpec {
        name: "dcos".to_owned(),
        product: product(at, &[("hello", r#"{"username": "dcos_hello"}"#)]),
        roles: vec!["slave".to_owned()],
        hosts: Hosts::Flatcar,
        architecture: Some(bake_image::Architecture::X86_64),
        epoch: None,
    };
    let made = extension::compose(&wanted, &surroundings(at), &|_| ()).unwrap();
    assert_eq!(
        text(&made.tree, "usr/lib/extension-release.d/extension-release.dcos").unwrap(),
        "ID=flatcar\nSYSEXT_LEVEL=1.0\nARCHITECTURE=x86-64\n"
    );
    let top: Vec<_> =
        made.tree.root().iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(top, ["opt", "usr"]);
    let id = made.tree.tree().lookup(&path("opt/mesosphere/current"), Follow::Parents).unwrap();
    assert!(matches!(made.tree.inode(id).node, Node::Symlink(_)));

    let digest = Digest::of(b"dcos.raw");
    let snippet = made.ignition("https://example.org/dcos.raw?x=\"y\"", &digest).unwrap();
    let (config, warnings) = ignition_config::Config::parse_slice(&snippet).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let ignition_config::Config::V3_3(config) = config else { panic!("{config:?}") };
    let storage = config.storage.unwrap();
    let files = storage.files.unwrap();
    assert_eq!(files[0].path, "/etc/extensions/dcos.raw");
    let contents = files[0].contents.as_ref().unwrap();
    assert_eq!(contents.source.as_deref(), Some("https://example.org/dcos.raw?x=\"y\""));
    let hash = contents.verification.as_ref().unwrap().hash.clone();
    assert_eq!(hash.unwrap(), format!("sha256-{digest}"));
    assert_eq!(files[1].path, "/etc/mesosphere/roles/slave");
    let units = config.systemd.unwrap().units.unwrap();
    let enabled: Vec<_> = units.iter().map(|unit| (unit.name.as_str(), unit.enabled)).collect();
    assert_eq!(enabled, [("dcos-setup.service", Some(true)), ("dcos.target", None)]);

    judge_extension(at, &made);

    for url in ["", "dcos.raw", "https://", "file:///x", "https://a b"] {
        assert!(made.ignition(url, &digest).is_err(), "{url}");
    }
    let any = ExtensionSpec { hosts: Hosts::Any, architecture: None, ..wanted.clone() };
    let any = extension::compose(&any, &surroundings(at), &|_| ()).unwrap();
    assert_eq!(text(&any.tree, "usr/lib/extension-release.d/extension-release.dcos").unwrap(), "ID=_any\n");
    let neutral = ExtensionSpec { roles: Vec::new(), ..wanted };
    let message = extension::compose(&neutral, &surroundings(at), &|_| ()).unwrap_err().to_string();
    assert!(message.contains("--role"), "{message}");
}

/// As EROFS, before the tool that systemd's own services share their code with. Only root can attach an image.
fn judge_extension(at: &Path, made: &extension::Extension) {
    let options = erofs::Options {
        uuid: bake_base::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef),
        label: String::new(),
        epoch: made.epoch,
        threads: 2,
    };
    let layout = erofs::plan(&made.tree, &options).unwrap().layout();
    let raw = at.join(made.file_name());
    let file = File::create(&raw).unwrap();
    let files = [(Format::RAW, &file)];
    bake_disk::container::write(&layout, &files, 2, &|_| ()).unwrap();
    let (good, said) = run("systemd-dissect", &["--json=short", name(&raw)]);
    if !good {
        eprintln!("not dissected, which takes root, loop devices and a kernel with EROFS: {said}");
        return;
    }
    assert!(said.contains("erofs"), "{said}");
    let said = must("systemd-dissect", &[name(&raw)]);
    assert!(said.contains("SYSEXT_LEVEL=1.0"), "{said}");
}
