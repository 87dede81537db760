//! What the tests of signatures share: keys that everybody has, programs of real root file systems, judges.
#![allow(dead_code)] // not every test uses all of it

use std::path::{Path, PathBuf};
use std::process::Command;

use bake_base::Epoch;
use bake_boot::kernel::Kernel;
use bake_boot::sign::{Certificate, Key};
use bake_boot::uki::{self, Parts};
use bake_boot::{Architecture, OsRelease};
use bake_tree::{Content, Tree, TreePath};

pub const EPOCH: Epoch = Epoch::from_seconds(1_700_000_000);

/// Where the keys of tests are.
pub fn keys() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sign/keys")
}

pub fn key_file(name: &str) -> String {
    keys().join(name).to_str().unwrap().to_owned()
}

pub fn certificate(name: &str) -> Certificate {
    let file = key_file(&format!("{name}.pem"));
    Certificate::from_pem(&file, &std::fs::read(&file).unwrap()).unwrap()
}

pub fn key(name: &str) -> Key {
    let file = key_file(&format!("{name}.key"));
    Key::from_pem(&file, &std::fs::read(&file).unwrap(), certificate(name)).unwrap()
}

/// A unified image of the tree's own kernel and initrd.
pub fn unified(tree: &Tree, command_line: &str) -> Content {
    let kernel = Kernel::find(tree, None).unwrap();
    let (_, initrd) = kernel.initrd(tree).unwrap();
    let stub = uki::find_stub(tree, kernel.architecture).unwrap();
    let os_release = OsRelease::read(tree).unwrap();
    let initrds = [initrd];
    uki::compose(&Parts {
        stub: &stub,
        kernel: &kernel,
        initrds: &initrds,
        command_line,
        os_release: &os_release,
    })
    .unwrap()
}

/// The tree's systemd-boot.
pub fn loader(tree: &Tree, architecture: Architecture) -> Content {
    let path = format!("usr/lib/systemd/boot/efi/systemd-boot{}.efi", architecture.efi_suffix());
    tree.file(&TreePath::from_root(path.as_bytes()).unwrap()).unwrap().unwrap().clone()
}

pub fn bytes(content: &Content) -> Vec<u8> {
    content.read_all(1 << 30).unwrap()
}

pub fn write(content: &Content, to: &Path) {
    std::fs::write(to, bytes(content)).unwrap();
}

/// Runs a program, which must succeed, and gives all that it said.
pub fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `ci/install-tools` installs it"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// Whether a program succeeds.
pub fn succeeds(program: &str, arguments: &[&str], directory: &Path) -> bool {
    Command::new(program).args(arguments).current_dir(directory).output().unwrap().status.success()
}
