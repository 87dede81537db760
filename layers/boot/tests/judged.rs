//! Real root file systems, judged by tools that know nothing of this crate.
// Judges are programs; a test says what it skips and ends where something fails.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bake_boot::depmod::{DepmodError, Misfit, Modules};
use bake_boot::kernel::Kernel;
use bake_boot::uki::{self, Parts};
use bake_boot::{Architecture, OsRelease, entries, initrd, pe};
use bake_tree::{Content, Directory, Follow, LayerId, Metadata, Node, Tree, TreePath};
use support::real;

/// What every profile for virtual machines requires, and then some.
const DRIVERS: [&str; 4] = ["virtio_pci", "virtio_blk", "nvme", "ext4"];

fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {text}");
    text
}

fn write(content: &Content, to: PathBuf) {
    std::fs::write(to, content.read_all(1 << 30).unwrap()).unwrap();
}

#[test]
fn initrds_of_real_distributions_have_what_they_need() {
    for (name, by_type) in
        [("debian-12.tar", false), ("debian-12-dracut.tar", true), ("debian-12-arm64.tar", false)]
    {
        let Some(tree) = real(name) else { continue };
        let kernel = Kernel::find(&tree, None).unwrap();
        let (path, content) = kernel.initrd(&tree).unwrap();
        let facts = initrd::check(&tree, &kernel, &path, &content, &DRIVERS).unwrap();
        assert_eq!((facts.finds_root_by_type, facts.host_only), (by_type, false), "{name}");
        let error = initrd::check(&tree, &kernel, &path, &content, &["ip_vs"]).unwrap_err().to_string();
        assert!(error.contains("lacks the driver `ip_vs`"), "{error}");
    }
}

#[test]
fn a_unified_image_holds_its_parts_byte_for_byte() {
    let Some(tree) = real("debian-12.tar") else { return };
    let kernel = Kernel::find(&tree, None).unwrap();
    let (_, initrd) = kernel.initrd(&tree).unwrap();
    let stub = uki::find_stub(&tree, kernel.architecture).unwrap();
    let os_release = OsRelease::read(&tree).unwrap();
    let initrds = [initrd.clone()];
    let parts = Parts {
        stub: &stub,
        kernel: &kernel,
        initrds: &initrds,
        command_line: "console=ttyS0",
        os_release: &os_release,
    };
    let image = uki::compose(&parts).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    write(&image, scratch.path().join("uki.efi"));
    let expected = [
        (".linux", kernel.content.read_all(1 << 30).unwrap()),
        (".initrd", initrd.read_all(1 << 30).unwrap()),
        (".osrel", os_release.text().to_vec()),
        (".cmdline", b"console=ttyS0".to_vec()),
        (".uname", kernel.version.as_bytes().to_vec()),
    ];
    let listing = run("objdump", &["-h", "uki.efi"], scratch.path());
    for (name, bytes) in &expected {
        assert!(listing.contains(&format!(" {name} ")), "{listing}");
        run("objcopy", &["--dump-section", &format!("{name}=part"), "uki.efi", "copy"], scratch.path());
        let part = std::fs::read(scratch.path().join("part")).unwrap();
        // Tools give a section with its padding in the file.
        assert!(part.len() - bytes.len() < 512 && part.starts_with(bytes), "{name}");
    }
    // What the stub brings stays where it was: revocation data, and the mark by which boot managers know it.
    let stub_headers = pe::Image::parse(&stub).unwrap();
    let headers = pe::Image::parse(&image).unwrap();
    assert_eq!(headers.sections[..stub_headers.sections.len()], stub_headers.sections);
    assert!(headers.section(".sbat").is_some() && headers.section(".sdmagic").is_some());
}

#[test]
fn arm64_takes_the_same_way() {
    let Some(tree) = real("debian-12-arm64.tar") else { return };
    let kernel = Kernel::find(&tree, None).unwrap();
    assert_eq!(kernel.architecture, Architecture::Arm64);
    let initrd = kernel.initrd(&tree).unwrap();
    let stub = uki::find_stub(&tree, kernel.architecture).unwrap();
    let os_release = OsRelease::read(&tree).unwrap();
    let initrds = [initrd.1.clone()];
    let parts =
        Parts { stub: &stub, kernel: &kernel, initrds: &initrds, command_line: "", os_release: &os_release };
    let image = uki::compose(&parts).unwrap();
    assert!(pe::Image::parse(&image).unwrap().section(".initrd").is_some());
    let options = entries::Options { command_line: "quiet", timeout: None, token: None };
    let files = entries::install(&tree, &kernel, &[initrd], &options).unwrap();
    let loader = TreePath::from_root(b"EFI/BOOT/BOOTAA64.EFI").unwrap();
    assert!(files.esp.iter().any(|(path, content)| *path == loader && !content.is_empty()));
}

/// Writes the files below a directory of the tree, without what depmod makes.
fn extract(tree: &Tree, from: &TreePath, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let directory = tree.lookup(from, Follow::Last).unwrap();
    for (name, id) in tree.inode(directory).as_directory().into_iter().flat_map(Directory::iter) {
        let text = std::str::from_utf8(name).unwrap();
        match &tree.inode(id).node {
            Node::Directory(_) => extract(tree, &from.join(name), &to.join(text)),
            Node::File(content) if !MADE.contains(&text) => write(content, to.join(text)),
            _ => {}
        }
    }
}

/// What `depmod` writes.
const MADE: [&str; 10] = [
    "modules.alias",
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep",
    "modules.dep.bin",
    "modules.devname",
    "modules.softdep",
    "modules.symbols",
    "modules.symbols.bin",
];

/// Runs `depmod` on the modules of a tree and compares every file.
fn assert_as_depmod(tree: &Tree, kernel: &Kernel) {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("lib/modules").join(&kernel.version);
    extract(tree, kernel.modules.as_ref().unwrap(), &target);
    let config = scratch.path().join("etc/depmod.d");
    std::fs::create_dir_all(&config).unwrap();
    let from = TreePath::from_root(b"etc/depmod.d").unwrap();
    if tree.lookup(&from, Follow::Last).is_some() {
        extract(tree, &from, &config);
    }
    let base = scratch.path().to_str().unwrap();
    run("depmod", &["-C", config.to_str().unwrap(), "-b", base, &kernel.version], scratch.path());
    let files = Modules::load(tree, kernel, 2).unwrap().files().unwrap();
    let names: Vec<_> = files.iter().map(|(path, _)| path.split().unwrap().1.to_vec()).collect();
    assert_eq!(names, MADE.map(|name| name.as_bytes().to_vec()));
    for (name, (_, content)) in MADE.iter().zip(&files) {
        let theirs = std::fs::read(target.join(name)).unwrap();
        let ours = content.read_all(1 << 30).unwrap();
        let difference = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        assert!(ours == theirs, "{name}: {} and {} bytes, {difference:?}", ours.len(), theirs.len());
    }
}

#[test]
fn indexes_are_those_of_depmod_byte_for_byte() {
    for name in ["debian-12.tar", "debian-12-arm64.tar"] {
        let Some(tree) = real(name) else { continue };
        let kernel = Kernel::find(&tree, None).unwrap();
        assert_as_depmod(&tree, &kernel);
        // And they are what the distribution shipped.
        for (path, content) in Modules::load(&tree, &kernel, 1).unwrap().files().unwrap() {
            assert!(tree.file(&path).unwrap().unwrap().same_bytes(&content).unwrap(), "{path}");
        }
    }
}

/// Adds modules as an overlay would: some of the kernel's own again, compressed in the ways that Debian's kmod
/// reads, below `updates` and elsewhere.
fn with_overlay(
    mut tree: Tree,
    kernel: &Kernel,
    change: impl Fn(&str, Vec<u8>) -> Vec<u8>,
) -> (Tree, LayerId) {
    let directory = kernel.modules.clone().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut added = Vec::new();
    for (index, module) in
        ["net/sctp/sctp.ko", "fs/nfsd/nfsd.ko", "drivers/block/virtio_blk.ko", "net/tipc/tipc.ko"]
            .iter()
            .enumerate()
    {
        let path = directory.join(b"kernel").join(module.as_bytes());
        let Some(content) = tree.file(&path).unwrap() else { continue };
        let bytes = change(module, content.read_all(1 << 30).unwrap());
        std::fs::write(scratch.path().join("module"), bytes).unwrap();
        let base = module.rsplit('/').next().unwrap();
        let (suffix, program) =
            [("", None), (".xz", Some("xz")), (".zst", Some("zstd")), (".xz", Some("xz"))][index];
        if let Some(program) = program {
            let output =
                Command::new(program).args(["-c", "module"]).current_dir(scratch.path()).output().unwrap();
            std::fs::write(scratch.path().join("module"), output.stdout).unwrap();
        }
        let bytes = std::fs::read(scratch.path().join("module")).unwrap();
        let place = if index % 2 == 0 { "updates/dkms" } else { "extra" };
        if index % 2 == 1 {
            // No two of one name in places of one rank: which wins would depend on the host's file system.
            tree.remove(&path);
        }
        added.push((directory.join(format!("{place}/{base}{suffix}").as_bytes()), bytes));
    }
    tree.seal();
    for (path, bytes) in added {
        tree.put(&path, Metadata::root(0o644), Node::File(Content::bytes(bytes))).unwrap();
    }
    let layer = tree.seal();
    (tree, layer)
}

#[test]
fn an_overlay_s_modules_are_indexed_as_depmod_does() {
    let Some(tree) = real("debian-12.tar") else { return };
    let kernel = Kernel::find(&tree, None).unwrap();
    let (tree, layer) = with_overlay(tree, &kernel, |_, bytes| bytes);
    assert_as_depmod(&tree, &kernel);
    let modules = Modules::load(&tree, &kernel, 2).unwrap();
    modules.check(layer).unwrap();
    modules.check_initrd(layer, &["ext4", "nvme"]).unwrap();
    let error = modules.check_initrd(layer, &["virtio-blk"]).unwrap_err().to_string();
    assert!(error.starts_with("`virtio_blk` is needed to boot (for `virtio_blk`)"), "{error}");
}

#[test]
fn modules_of_another_kernel_are_refused() {
    let Some(tree) = real("debian-12.tar") else { return };
    let kernel = Kernel::find(&tree, None).unwrap();
    let replace = |bytes: Vec<u8>, from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|part| part == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    let (tree, layer) = with_overlay(tree, &kernel, |name, mut bytes| match name {
        "net/sctp/sctp.ko" => replace(bytes, b" SMP preempt mod_unload", b" SMP preempt_rt mod_unl"),
        "fs/nfsd/nfsd.ko" => {
            // The checksum lies eight bytes before the name.
            let at = bytes.windows(12).position(|part| part == b"\0module_layo").unwrap();
            bytes[at - 7] ^= 0xff;
            bytes
        }
        _ => bytes,
    });
    let modules = Modules::load(&tree, &kernel, 2).unwrap();
    let DepmodError::Misfits(misfits) = modules.check(layer).unwrap_err() else { panic!() };
    assert_eq!(misfits.len(), 2, "{misfits:?}");
    let text: Vec<_> = misfits.iter().map(ToString::to_string).collect();
    assert!(misfits.iter().any(|misfit| matches!(misfit, Misfit::Vermagic { .. })), "{text:?}");
    assert!(text.iter().any(|text| text.contains("`module_layout`")), "{text:?}");
}
