//! GRUB from Debian's own packages: judged by GRUB's own tools, and booted.
// Judges are programs; a test says what it skips and ends where something fails.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bake_boot::grub::{self, Installed, Options, Style, bios};
use bake_boot::kernel::Kernel;
use bake_tree::{Content, Metadata, Node, Tree, TreePath};
use support::real;

/// GRUB for BIOS and UEFI, and what its packages bring.
const ROOTFS: &str = "debian-12-grub.tar";
/// Where the BIOS boot partition lies on the disks here, in sectors, and how many it has.
const BIOS_START: u64 = 2048;
const BIOS_SECTORS: u64 = 2048;

fn path(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

const OPTIONS: Options<'_> = Options {
    style: Style::Debian,
    command_line: "root=PARTUUID=0 console=ttyS0,115200",
    timeout: None,
    token: None,
    root_partition: 3,
    file_system: "ext2",
    bios: true,
    uefi: true,
};

fn install(tree: &Tree, options: &Options<'_>) -> Installed {
    let kernel = Kernel::find(tree, None).unwrap();
    let initrd = kernel.initrd(tree).unwrap();
    grub::install(tree, &kernel, &[initrd], options).unwrap()
}

fn compose(tree: &Tree, installed: &Installed, config: Option<&str>) -> bios::BiosBoot {
    let modules: Vec<&str> = installed.modules.iter().map(String::as_str).collect();
    let prefix = &installed.prefix;
    let options =
        bios::Options { prefix, modules: &modules, config, start: BIOS_START, sectors: BIOS_SECTORS };
    bios::compose(tree, &options).unwrap()
}

fn run(command: &mut Command) -> String {
    let program = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {text}");
    text
}

fn write(content: &Content, to: impl AsRef<Path>) {
    std::fs::create_dir_all(to.as_ref().parent().unwrap()).unwrap();
    std::fs::write(to, content.read_all(1 << 30).unwrap()).unwrap();
}

fn contents(files: &[(TreePath, Content)], name: &str) -> Content {
    let (_, content) = files.iter().find(|(path, _)| path.to_string() == name).expect(name);
    content.clone()
}

/// Writes what a directory of the tree holds.
fn extract(tree: &Tree, from: &str, to: &Path) {
    let directory = tree.lookup(&path(from), bake_tree::Follow::Last).unwrap();
    for (below, id) in tree.walk_from(directory) {
        if let Node::File(content) = &tree.inode(id).node {
            write(content, to.join(std::str::from_utf8(below.as_bytes()).unwrap()));
        }
    }
}

/// What the decompressor of a core image would unpack; and the image without it, and without sizes.
fn taken_apart(core: &[u8], decompressor: usize) -> (Vec<u8>, Vec<u8>) {
    use xz2::stream::{Action, Filters, LzmaOptions, Stream};
    let number = |at: usize| u32::from_le_bytes(core[at..at + 4].try_into().unwrap()) as usize;
    let (compressed, uncompressed) = (number(512 + 8), number(512 + 12));
    let mut options = LzmaOptions::new_preset(6).unwrap();
    options.dict_size(1 << 16).literal_context_bits(3).literal_position_bits(0).position_bits(2);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut stream = Stream::new_raw_decoder(&filters).unwrap();
    let mut image = Vec::with_capacity(uncompressed);
    let start = 512 + decompressor;
    stream.process_vec(&core[start..start + compressed], &mut image, Action::Run).unwrap();
    assert_eq!(image.len(), uncompressed);
    let mut head = core[..start].to_vec();
    head[512 + 8..512 + 12].fill(0);
    // Where on the disk, and how many sectors.
    head[500..510].fill(0);
    (image, head)
}

#[test]
fn the_core_image_is_that_of_grub_mkimage() {
    let Some(tree) = real(ROOTFS) else { return };
    let installed = install(&tree, &OPTIONS);
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("i386-pc");
    extract(&tree, "usr/lib/grub/i386-pc", &directory);
    let decompressor = std::fs::metadata(directory.join("lzma_decompress.img")).unwrap().len() as usize;
    for config in [None, Some("echo hello\n")] {
        let core = scratch.path().join("core.img");
        let mut mkimage = Command::new("grub-mkimage");
        mkimage.args(["-O", "i386-pc", "-p", &installed.prefix, "-d"]).arg(&directory).arg("-o").arg(&core);
        if let Some(config) = config {
            std::fs::write(scratch.path().join("config"), config).unwrap();
            mkimage.arg("-c").arg(scratch.path().join("config"));
        }
        run(mkimage.args(&installed.modules));
        let theirs = taken_apart(&std::fs::read(core).unwrap(), decompressor);
        let ours = taken_apart(&compose(&tree, &installed, config).core, decompressor);
        assert!(ours == theirs, "{} and {} bytes", ours.0.len(), theirs.0.len());
    }
}

#[test]
fn configurations_are_what_grub_s_own_tools_read() {
    let Some(mut tree) = real(ROOTFS) else { return };
    let installed = install(&tree, &OPTIONS);
    assert!(installed.warnings.is_empty(), "{:?}", installed.warnings);
    let red_hat = install(&tree, &Options { style: Style::RedHat, timeout: Some(5), ..OPTIONS });
    // Only Fedora's has this module; without UEFI, whose GRUB is Debian's, it decides what the menu is.
    let module = path("usr/lib/grub/i386-pc/blscfg.mod");
    tree.put(&module, Metadata::root(0o644), Node::File(Content::empty())).unwrap();
    let described = install(&tree, &Options { style: Style::RedHat, uefi: false, ..OPTIONS });
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    for (files, name) in [
        (&described.files.edits, "/boot/grub2/grub.cfg"),
        (&installed.files.edits, "/boot/grub/grub.cfg"),
        (&installed.files.esp, "/EFI/debian/grub.cfg"),
        (&red_hat.files.edits, "/boot/grub2/grub.cfg"),
    ] {
        write(&contents(files, name), &file);
        run(Command::new("grub-script-check").arg(&file));
    }
    write(&contents(&red_hat.files.edits, "/boot/grub2/grubenv"), &file);
    let version = Kernel::find(&tree, None).unwrap().version;
    let list = run(Command::new("grub-editenv").arg(&file).arg("list"));
    assert_eq!(list, format!("saved_entry=debian-{version}\n"));
    // GRUB's tools change it in place.
    run(Command::new("grub-editenv").arg(&file).args(["set", "saved_entry=other"]));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 1024);
    write(&contents(&installed.files.edits, "/etc/default/grub.d/60-bake.cfg"), &file);
    let script = ". \"$0\"; printf %s \"$GRUB_CMDLINE_LINUX|$GRUB_SERIAL_COMMAND\"";
    let read = run(Command::new("sh").arg("-ec").arg(script).arg(&file));
    assert_eq!(read, "console=ttyS0,115200|serial --unit=0 --speed=115200");
}

/// A disk as an image has it: BIOS boot partition, EFI system partition, root. In place of the menu's entries it
/// may say a word.
fn disk(scratch: &Path, name: &str, tree: &Tree, installed: &Installed, word: Option<&str>) -> PathBuf {
    let disk = scratch.join(name);
    File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    run(Command::new("sgdisk").arg(&disk).args([
        "--disk-guid=00000000-0000-4000-8000-000000000001",
        "--new=1:2048:4095",
        "--typecode=1:ef02",
        "--new=2:4096:36863",
        "--typecode=2:ef00",
        "--new=3:36864:-34",
        "--typecode=3:8304",
        "--partition-guid=3:00000000-0000-4000-8000-000000000003",
    ]));
    let root = scratch.join("root");
    let _ = std::fs::remove_dir_all(&root);
    for (path, content) in &installed.files.edits {
        let text = path.to_string();
        // The font and most modules would only take time.
        if !text.contains("/fonts/") {
            write(content, root.join(&text[1..]));
        }
    }
    if let Some(word) = word {
        let menu = root.join("boot/grub/grub.cfg");
        let text = std::fs::read_to_string(&menu).unwrap();
        let terminals = text.split("menuentry").next().unwrap();
        let says = format!("echo \"{word} on $root of $grub_platform, lockdown $lockdown.\"");
        std::fs::write(&menu, format!("{terminals}\n{says}\nsleep 100\n")).unwrap();
    } else {
        let kernel = Kernel::find(tree, None).unwrap();
        write(&kernel.content, root.join(&kernel.path.to_string()[1..]));
    }

    let (esp, ext4) = (scratch.join("esp.img"), scratch.join("root.img"));
    File::create(&esp).unwrap().set_len(16 << 20).unwrap();
    run(Command::new("mkfs.fat").arg("--invariant").arg(&esp));
    for (path, content) in &installed.files.esp {
        let text = path.to_string();
        let mut directory = String::from("::");
        for part in text[1..].split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev() {
            directory += &format!("/{part}");
            let _ = Command::new("mmd").arg("-D").arg("s").arg("-i").arg(&esp).arg(&directory).output();
        }
        let file = scratch.join("file");
        write(content, &file);
        run(Command::new("mcopy").arg("-o").arg("-i").arg(&esp).arg(&file).arg(format!("::{text}")));
    }
    let _ = std::fs::remove_file(&ext4);
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-U", "00000000-0000-4000-8000-000000000009", "-d"])
        .arg(&root)
        .arg(&ext4)
        .arg("44M"));

    let boot = compose(tree, installed, None);
    let mut file = File::options().write(true).open(&disk).unwrap();
    file.write_all(&boot.mbr_code).unwrap();
    for (sector, bytes) in
        [(BIOS_START, boot.core), (4096, std::fs::read(esp).unwrap()), (36864, std::fs::read(ext4).unwrap())]
    {
        file.seek(SeekFrom::Start(sector * 512)).unwrap();
        file.write_all(&bytes).unwrap();
    }
    disk
}

/// What the serial console of a machine that boots the last disk says, until the word or a minute and a half.
fn console(scratch: &Path, machine: &[&str], disks: &[&Path], word: &str) -> String {
    let log = scratch.join("console.log");
    let _ = std::fs::remove_file(&log);
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]).args(machine);
    qemu.arg("-serial").arg(format!("file:{}", log.display()));
    for (index, disk) in disks.iter().enumerate() {
        let drive = format!("if=none,id=d{index},format=raw,snapshot=on,file={}", disk.display());
        qemu.arg("-drive").arg(drive);
        let place = disks.len() - 1 - index;
        qemu.arg("-device").arg(format!("virtio-blk-pci,drive=d{index},bootindex={place}"));
    }
    let mut machine = qemu.spawn().unwrap();
    let mut text = String::new();
    for _ in 0..180 {
        std::thread::sleep(Duration::from_millis(500));
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&log) {
            file.read_to_end(&mut bytes).unwrap();
        }
        text = String::from_utf8_lossy(&bytes).into_owned();
        if text.split(word).nth(1).is_some_and(|rest| rest.contains('\n'))
            || machine.try_wait().unwrap().is_some()
        {
            break;
        }
    }
    let _ = machine.kill();
    machine.wait().unwrap();
    text
}

/// Two disks that differ in what their menus say alone; the one that the firmware boots is the second.
fn boots_itself_beside_a_clone(machine: impl Fn(&Path) -> Vec<String>, platform: &str) {
    let Some(tree) = real(ROOTFS) else { return };
    let installed = install(&tree, &OPTIONS);
    let scratch = tempfile::tempdir().unwrap();
    let one = disk(scratch.path(), "one", &tree, &installed, Some("BAKE-ONE"));
    let two = disk(scratch.path(), "two", &tree, &installed, Some("BAKE-TWO"));
    let machine = machine(scratch.path());
    let machine: Vec<&str> = machine.iter().map(String::as_str).collect();
    for (disks, word) in [([&*one, &*two], "BAKE-TWO"), ([&*two, &*one], "BAKE-ONE")] {
        let text = console(scratch.path(), &machine, &disks, "lockdown ");
        let line = text.split("BAKE-").nth(1).unwrap_or_default();
        assert!(
            line.starts_with(&word[5..]) && line.contains(platform),
            "expected {word} of {platform}:\n{text}"
        );
    }
}

/// The kernel says what it was given; there it ends, as the initrd is none.
fn hands_the_command_line_on(machine: impl Fn(&Path) -> Vec<String>, style: Style) {
    let Some(tree) = real(ROOTFS) else { return };
    let kernel = Kernel::find(&tree, None).unwrap();
    let initrd = path(&format!("boot/initrd.img-{}", kernel.version));
    let initrds = [(initrd, Content::bytes(&b"none"[..]))];
    let command_line = "root=PARTUUID=0 console=ttyS0,115200 panic=-1 a=\"b c\" d=$e;f";
    let installed =
        grub::install(&tree, &kernel, &initrds, &Options { style, command_line, ..OPTIONS }).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let disk = disk(scratch.path(), "disk", &tree, &installed, None);
    let machine = machine(scratch.path());
    let machine: Vec<&str> = machine.iter().map(String::as_str).collect();
    let text = console(scratch.path(), &machine, &[&disk], "Command line: ");
    let expected = format!(
        "Command line: BOOT_IMAGE={} root=PARTUUID=0 console=ttyS0,115200 panic=-1 \"a=b c\" d=$e;f",
        kernel.path
    );
    assert!(text.replace("(hd0,gpt3)", "").contains(&expected), "expected {expected}:\n{text}");
}

fn bios_machine(_: &Path) -> Vec<String> {
    vec!["-machine".into(), "pc".into()]
}

/// With Secure Boot and Microsoft's keys, so that shim, GRUB and kernel judge each other too.
fn secure_machine(scratch: &Path) -> Vec<String> {
    let variables = scratch.join("variables.fd");
    std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", &variables).unwrap();
    let drive = |unit: u32, options: &str| format!("if=pflash,format=raw,unit={unit},{options}");
    let code = drive(0, "readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd");
    let variables = drive(1, &format!("file={}", variables.display()));
    let secure = "driver=cfi.pflash01,property=secure,value=on";
    ["-machine", "q35,smm=on", "-cpu", "max", "-global", secure, "-drive", &code, "-drive", &variables]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn in_qemu_a_bios_boots_the_disk_and_not_its_clone() {
    boots_itself_beside_a_clone(bios_machine, "on hd0,gpt3 of pc, lockdown .");
}

#[test]
fn in_qemu_secure_boot_starts_the_disk_and_not_its_clone() {
    boots_itself_beside_a_clone(secure_machine, "on hd1,gpt3 of efi, lockdown y.");
}

#[test]
fn in_qemu_a_bios_hands_the_command_line_on() {
    hands_the_command_line_on(bios_machine, Style::RedHat);
}

#[test]
fn in_qemu_secure_boot_hands_the_command_line_on() {
    hands_the_command_line_on(secure_machine, Style::RedHat);
}
