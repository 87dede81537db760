//! Real root file systems, judged by tools that know nothing of this crate.
// Judges are programs; a test says what it skips and ends where something fails.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bake_base::{FileBytes, ReadAt};
use bake_boot::kernel::Kernel;
use bake_boot::uki::{self, Parts};
use bake_boot::{Architecture, OsRelease, entries, initrd, pe};
use bake_tree::{Content, Policy, Tree, TreePath};

/// What every profile for virtual machines requires, and then some.
const DRIVERS: [&str; 4] = ["virtio_pci", "virtio_blk", "nvme", "ext4"];

/// The tree of a real root file system, if `ci/rootfs` has made it.
fn real(name: &str) -> Option<Tree> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rootfs").join(name);
    let Ok(file) = File::open(&path) else {
        eprintln!("skipped: {} is not there; `ci/rootfs` makes it", path.display());
        return None;
    };
    let source: Arc<dyn ReadAt> = Arc::new(FileBytes::new(file).unwrap());
    let tar = bake_archive::read_tar(name, &source).unwrap();
    let mut tree = Tree::new();
    tree.apply(tar.members, Policy::TAR).unwrap();
    Some(tree)
}

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
