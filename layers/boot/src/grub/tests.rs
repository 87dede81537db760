use super::*;
use crate::kernel::tests::{debian, executable, tree_of};
use bake_tree::Metadata;

/// An executable with sections of these names and bytes.
fn program(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = executable(0x8664);
    let count = sections.len() as u16;
    bytes[64 + 6..64 + 8].copy_from_slice(&count.to_le_bytes());
    // Long names lie in a table of strings.
    let mut strings = vec![0; 4];
    for (index, (name, content)) in sections.iter().enumerate() {
        let mut name = (*name).to_owned();
        if name.len() > 8 {
            let at = strings.len();
            strings.extend_from_slice(format!("{name}\0").as_bytes());
            name = format!("/{at}");
        }
        let (offset, len) = (bytes.len() as u32, content.len() as u32);
        let header = 64 + 24 + 160 + 40 * index;
        bytes[header..header + 40].fill(0);
        bytes[header..header + name.len()].copy_from_slice(name.as_bytes());
        for (at, value) in [(8, len), (12, offset), (16, len), (20, offset)] {
            bytes[header + at..header + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(content);
    }
    let offset = bytes.len() as u32;
    bytes[64 + 12..64 + 16].copy_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&strings);
    bytes
}

const BUILT_IN: [&str; 9] =
    ["configfile", "ext2", "linux", "loadenv", "normal", "part_gpt", "regexp", "serial", "test"];

fn grub(modules: &[&str], prefix: &str, sbat: &str) -> Vec<u8> {
    program(&[("mods", signed::tests::section(modules, prefix)), (".sbat", sbat.as_bytes().to_vec())])
}

fn shim() -> Vec<u8> {
    let (automatic, latest) = ("sbat,1,1\nshim,4\ngrub,4\n\0", "sbat,1,2\nshim,4\ngrub,5\n\0");
    let mut level = [0_u32, 8, 8 + automatic.len() as u32].map(u32::to_le_bytes).concat();
    level.extend_from_slice(automatic.as_bytes());
    level.extend_from_slice(latest.as_bytes());
    program(&[(".sbatlevel", level)])
}

fn put(tree: &mut Tree, name: &str, bytes: impl Into<Vec<u8>>) {
    tree.put(&path(name), Metadata::root(0o644), Node::File(Content::bytes(bytes.into()))).unwrap();
}

const SBAT: &str = "sbat,1,x\ngrub,5,x\n";
const MOK: &str = "sbat,1,x\nshim,4,x\n";

fn with_grub() -> Tree {
    let mut tree = debian();
    put(&mut tree, "usr/lib/shim/shimx64.efi.signed", shim());
    put(&mut tree, "usr/lib/shim/mmx64.efi.signed", program(&[(".sbat", MOK.as_bytes().to_vec())]));
    let signed = grub(&BUILT_IN, "/EFI/debian", SBAT);
    put(&mut tree, "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", signed);
    put(&mut tree, "usr/lib/grub/i386-pc/kernel.img", core_image::tests::kernel());
    put(&mut tree, "usr/lib/grub/i386-pc/lzma_decompress.img", [0; 100]);
    let mut sector = [0; 512];
    sector[508..].copy_from_slice(&[0, 0, 0x20, 0x08]);
    put(&mut tree, "usr/lib/grub/i386-pc/diskboot.img", sector);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector[0x66] = 0xeb;
    put(&mut tree, "usr/lib/grub/i386-pc/boot.img", sector);
    put(&mut tree, "usr/lib/grub/i386-pc/moddep.lst", "normal: test\n");
    for module in ["biosdisk", "ext2", "linux", "normal", "part_gpt", "serial", "test"] {
        put(&mut tree, &format!("usr/lib/grub/i386-pc/{module}.mod"), module);
    }
    put(&mut tree, "usr/share/grub/unicode.pf2", "font");
    tree
}

const OPTIONS: Options<'_> = Options {
    style: Style::Debian,
    command_line: "root=PARTUUID=1 rw  console=ttyS0,115200",
    timeout: None,
    token: None,
    root_partition: 3,
    file_system: "ext2",
    bios: true,
    uefi: true,
};

fn installed(tree: &Tree, options: &Options<'_>) -> Result<Installed, GrubError> {
    let kernel = Kernel::find(tree, None).unwrap();
    let initrd = kernel.initrd(tree).unwrap();
    install(tree, &kernel, &[initrd], options)
}

fn text(files: &[(TreePath, Content)], name: &str) -> String {
    let (_, content) = files.iter().find(|(path, _)| path.to_string() == name).expect(name);
    String::from_utf8(content.read_all(1 << 20).unwrap()).unwrap()
}

fn names(files: &[(TreePath, Content)]) -> Vec<String> {
    files.iter().map(|(path, _)| path.to_string()).collect()
}

#[test]
fn later_menus_name_root_by_its_partition_where_the_tools_can() {
    let mut tree = with_grub();
    let wanted = "GRUB_DISABLE_UUID=true\nGRUB_DISABLE_LINUX_UUID=true\nGRUB_DISABLE_LINUX_PARTUUID=false\n";
    for (tool, can) in [
        ("GRUB_DISABLE_LINUX_PARTUUID=${GRUB_DISABLE_LINUX_PARTUUID-true}\n", true),
        ("if [ x$GRUB_DISABLE_LINUX_UUID = xtrue ]\n", false),
    ] {
        put(&mut tree, "etc/grub.d/10_linux", tool);
        for (style, name) in
            [(Style::Debian, "/etc/default/grub.d/60-bake.cfg"), (Style::RedHat, "/etc/default/grub")]
        {
            let files = installed(&tree, &Options { style, ..OPTIONS }).unwrap();
            assert_eq!(text(&files.files.edits, name).contains(wanted), can, "{style:?}, {tool}");
        }
    }
}

#[test]
fn debian_gets_what_its_tools_maintain() {
    let files = installed(&with_grub(), &OPTIONS).unwrap();
    assert_eq!(
        names(&files.files.esp),
        [
            "/EFI/BOOT/BOOTX64.EFI",
            "/EFI/BOOT/grub.cfg",
            "/EFI/BOOT/grubx64.efi",
            "/EFI/BOOT/mmx64.efi",
            "/EFI/debian/grub.cfg"
        ]
    );
    assert_eq!(
        text(&files.files.esp, "/EFI/debian/grub.cfg"),
        "# Finds root on the drive that this is on, whatever else is attached.\n\
         regexp --set=1:drive '^\\(([^,)]+)' \"$cmdpath\"\nset root=\"$drive,gpt3\"\n\
         set prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
    );
    assert_eq!(
        text(&files.files.edits, "/boot/grub/grub.cfg"),
        "# The distribution's own tools may replace this.\nset timeout=0\n\
         if [ \"$grub_platform\" = pc ]; then\n\tif serial --unit=0 --speed=115200; then\n\
         \t\tterminal_input console serial\n\t\tterminal_output console serial\n\tfi\nfi\n\
         menuentry 'Debian GNU/Linux 12 (bookworm)' {\n\
         \tlinux /boot/vmlinuz-6.1.0-56-cloud-amd64 root=PARTUUID=1 rw console=ttyS0,115200\n\
         \tinitrd /boot/initrd.img-6.1.0-56-cloud-amd64\n}\n"
    );
    assert_eq!(
        text(&files.files.edits, "/etc/default/grub.d/60-bake.cfg"),
        "GRUB_CMDLINE_LINUX=\"rw console=ttyS0,115200\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"\"\nGRUB_TIMEOUT=0\n\
         GRUB_TERMINAL=\"console serial\"\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed=115200\"\n\
         GRUB_RECORDFAIL_TIMEOUT=0\n"
    );
    let edits = names(&files.files.edits);
    for name in ["fonts/unicode.pf2", "grubenv", "i386-pc/normal.mod", "i386-pc/moddep.lst"] {
        assert!(edits.contains(&format!("/boot/grub/{name}")), "{name}");
    }
    assert!(!edits.iter().any(|name| name.contains("vmlinuz") || name.contains("initrd")), "{edits:?}");
    assert_eq!(files.prefix, "(,gpt3)/boot/grub");
    assert!(files.removals.is_empty() && files.warnings.is_empty(), "{files:?}");

    let mut tree = with_grub();
    files.edit(&mut tree).unwrap();
    let again = installed(&tree, &OPTIONS).unwrap();
    assert_eq!(names(&again.files.edits), edits);
}

/// What RHEL has, with entries of the machine that it was installed on.
fn rhel(blscfg: bool) -> Tree {
    let kernel = executable(0x8664);
    let mut tree = tree_of(&[
        ("usr/lib/modules/5.14.0-70.el9.x86_64/vmlinuz", &kernel),
        ("usr/lib/modules/5.14.0-70.el9.x86_64/config", b"config"),
        ("usr/lib/modules/5.14.0-70.el9.x86_64/.vmlinuz.hmac", b"hmac"),
        ("boot/initramfs-5.14.0-70.el9.x86_64.img", b"initrd"),
        ("boot/loader/entries/0123-5.14.0-70.el9.x86_64.conf", b"title x\n"),
        ("etc/os-release", b"NAME=\"Red Hat Enterprise Linux\"\nVERSION=\"9.0 (Plow)\"\nID=\"rhel\"\n"),
    ]);
    let mut modules = BUILT_IN.to_vec();
    modules.extend(blscfg.then_some("blscfg"));
    put(&mut tree, "boot/efi/EFI/redhat/shimx64.efi", shim());
    put(&mut tree, "boot/efi/EFI/redhat/mmx64.efi", program(&[(".sbat", MOK.as_bytes().to_vec())]));
    put(&mut tree, "boot/efi/EFI/redhat/grubx64.efi", grub(&modules, "/EFI/redhat", SBAT));
    put(&mut tree, "boot/efi/EFI/redhat/BOOTX64.CSV", "csv");
    put(&mut tree, "boot/efi/EFI/redhat/grub.cfg", "old");
    put(&mut tree, "boot/efi/EFI/BOOT/BOOTX64.EFI", shim());
    put(&mut tree, "boot/efi/EFI/BOOT/fbx64.efi", "fallback");
    put(&mut tree, "usr/lib/grub/i386-pc/moddep.lst", "");
    if blscfg {
        put(&mut tree, "usr/lib/grub/i386-pc/blscfg.mod", "");
    }
    let target: Box<[u8]> = b"../efi/EFI/redhat/grubenv"[..].into();
    tree.put(&path("boot/grub2/grubenv"), Metadata::root(0o777), Node::Symlink(target)).unwrap();
    tree
}

#[test]
fn rhel_gets_an_entry_that_kernel_install_could_have_written() {
    let mut tree = rhel(true);
    let options = Options { style: Style::RedHat, timeout: Some(3), ..OPTIONS };
    let files = installed(&tree, &options).unwrap();
    assert_eq!(
        names(&files.files.esp),
        [
            "/EFI/BOOT/BOOTX64.EFI",
            "/EFI/BOOT/grub.cfg",
            "/EFI/BOOT/grubx64.efi",
            "/EFI/BOOT/mmx64.efi",
            "/EFI/redhat/BOOTX64.CSV",
            "/EFI/redhat/grub.cfg",
            "/EFI/redhat/grubx64.efi",
            "/EFI/redhat/mmx64.efi",
            "/EFI/redhat/shimx64.efi",
        ]
    );
    assert_eq!(
        text(&files.files.edits, "/boot/loader/entries/rhel-5.14.0-70.el9.x86_64.conf"),
        "title Red Hat Enterprise Linux (5.14.0-70.el9.x86_64) 9.0 (Plow)\nversion 5.14.0-70.el9.x86_64\n\
         linux /boot/vmlinuz-5.14.0-70.el9.x86_64\ninitrd /boot/initramfs-5.14.0-70.el9.x86_64.img\n\
         options root=PARTUUID=1 rw console=ttyS0,115200\ngrub_users $grub_users\ngrub_arg --unrestricted\n\
         grub_class rhel\n"
    );
    let environment = text(&files.files.edits, "/boot/grub2/grubenv");
    assert!(environment.contains("\nsaved_entry=rhel-5.14.0-70.el9.x86_64\n#"), "{environment}");
    let menu = text(&files.files.edits, "/boot/grub2/grub.cfg");
    assert!(menu.ends_with("insmod blscfg\nblscfg\n"), "{menu}");
    let line = "root=PARTUUID=1 rw console=ttyS0,115200\n";
    assert_eq!(text(&files.files.edits, "/etc/kernel/cmdline"), line);
    assert!(text(&files.files.edits, "/etc/default/grub").contains("GRUB_DEFAULT=saved\n"));
    assert_eq!(files.files.token, "rhel");
    let removals: Vec<_> = files.removals.iter().map(ToString::to_string).collect();
    let stale = "/boot/loader/entries/0123-5.14.0-70.el9.x86_64.conf";
    assert_eq!(removals, [stale, "/boot/grub2/grubenv", "/boot/efi/EFI"]);
    assert_eq!(files.modules[7..], ["loadenv", "blscfg"]);

    files.edit(&mut tree).unwrap();
    for name in
        ["vmlinuz-5.14.0-70.el9.x86_64", "config-5.14.0-70.el9.x86_64", ".vmlinuz-5.14.0-70.el9.x86_64.hmac"]
    {
        assert!(tree.file(&path("boot").join(name.as_bytes())).unwrap().is_some(), "{name}");
    }
    assert_eq!(tree.file(&path("boot/grub2/grubenv")).unwrap().unwrap().len(), 1024);
    assert!(tree.lookup(&path("boot/efi/EFI"), Follow::Last).is_none());
}

#[test]
fn a_grub_without_entries_gets_a_menu() {
    let files = installed(&rhel(false), &Options { style: Style::RedHat, ..OPTIONS }).unwrap();
    let menu = text(&files.files.edits, "/boot/grub2/grub.cfg");
    assert!(menu.contains("\tlinux /boot/vmlinuz-5.14.0-70.el9.x86_64 root=PARTUUID=1"), "{menu}");
}

#[test]
fn a_grub_that_shim_refuses_is_refused() {
    let signed = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
    let mut tree = with_grub();
    let mut error = |program: Vec<u8>| {
        put(&mut tree, signed, program);
        match installed(&tree, &OPTIONS) {
            Ok(installed) => installed.warnings.join("\n"),
            Err(error) => error.to_string(),
        }
    };
    let old = error(grub(&BUILT_IN, "/EFI/debian", "grub,3,x\n"));
    assert!(old.contains("generation 3 of `grub`") && old.contains("none before 4"), "{old}");
    let warning = error(grub(&BUILT_IN, "/EFI/debian", "grub,4,x\n"));
    assert!(warning.contains("demand 5"), "{warning}");
    let none = error(program(&[("mods", signed::tests::section(&BUILT_IN, "/EFI/debian"))]));
    assert!(none.contains("no section `.sbat`"), "{none}");
    let lacking = error(grub(&BUILT_IN[1..7], "/EFI/debian", SBAT));
    assert!(lacking.contains("lacks `configfile`, `test`"), "{lacking}");
    let network = error(grub(&BUILT_IN, "(tftp)/grub", SBAT));
    assert!(network.contains("in `(tftp)/grub`"), "{network}");
    let damaged = error(b"MZ".to_vec());
    assert!(damaged.contains("no valid PE"), "{damaged}");
}

#[test]
fn what_is_missing_is_named() {
    for (name, package) in [
        ("usr/lib/shim/shimx64.efi.signed", "`shim-signed`"),
        ("usr/lib/shim/mmx64.efi.signed", "`shim-signed`"),
        ("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "`grub-efi-amd64-signed`"),
        ("usr/lib/grub/i386-pc/moddep.lst", "`grub-pc-bin`"),
    ] {
        let mut tree = with_grub();
        tree.remove(&path(name));
        let error = installed(&tree, &OPTIONS).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`/{name}` is missing")) && error.contains(package), "{error}");
    }
    let error = installed(&with_grub(), &Options { command_line: "a=\\b", ..OPTIONS }).unwrap_err();
    assert!(matches!(error, GrubError::CommandLine('\\')), "{error}");
}

#[test]
fn arm64_has_its_own_names() {
    let version = "6.1.0-56-cloud-arm64";
    let mut tree = with_grub();
    tree.remove(&path("boot/vmlinuz-6.1.0-56-cloud-amd64"));
    put(&mut tree, &format!("boot/vmlinuz-{version}"), executable(0xaa64));
    put(&mut tree, &format!("boot/initrd.img-{version}"), "initrd");
    put(&mut tree, &format!("usr/lib/modules/{version}/modules.dep"), "");
    let error = installed(&tree, &OPTIONS).unwrap_err().to_string();
    assert!(error.starts_with("`/usr/lib/shim/shimaa64.efi.signed` is missing"), "{error}");
    put(&mut tree, "usr/lib/shim/shimaa64.efi.signed", shim());
    put(&mut tree, "usr/lib/shim/mmaa64.efi", program(&[(".sbat", MOK.as_bytes().to_vec())]));
    let signed = grub(&BUILT_IN, "/EFI/ubuntu", SBAT);
    put(&mut tree, "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed", signed);
    let files = installed(&tree, &OPTIONS).unwrap().files;
    assert_eq!(
        names(&files.esp),
        [
            "/EFI/BOOT/BOOTAA64.EFI",
            "/EFI/BOOT/grub.cfg",
            "/EFI/BOOT/grubaa64.efi",
            "/EFI/BOOT/mmaa64.efi",
            "/EFI/ubuntu/grub.cfg"
        ]
    );
    // No machine of this kind has a BIOS.
    assert!(!names(&files.edits).iter().any(|name| name.contains("i386-pc")));
}

const BIOS: bios::Options<'_> = bios::Options {
    prefix: "(,gpt3)/boot/grub",
    modules: &["biosdisk", "normal"],
    config: None,
    start: 2048,
    sectors: 2048,
};

#[test]
fn a_boot_sector_leads_to_the_core_image() {
    let boot = bios::compose(&with_grub(), &BIOS).unwrap();
    assert_eq!(boot.mbr_code[0x5c..0x68], [0, 8, 0, 0, 0, 0, 0, 0, 0xff, 0, 0x90, 0x90]);
    let count = boot.core.len() / 512 - 1;
    assert_eq!(boot.core.len() % 512, 0);
    assert_eq!(boot.core[500..512], [1, 8, 0, 0, 0, 0, 0, 0, count as u8, 0, 0x20, 0x08]);
    // Nothing but the start depends on where it lies.
    let elsewhere = bios::compose(&with_grub(), &bios::Options { start: 34, ..BIOS }).unwrap();
    assert_eq!(elsewhere.core[512..], boot.core[512..]);
}

#[test]
fn a_core_image_that_cannot_boot_is_refused() {
    let error =
        |tree: &Tree, options: &bios::Options<'_>| bios::compose(tree, options).unwrap_err().to_string();
    let small = error(&with_grub(), &bios::Options { sectors: 1, ..BIOS });
    assert!(small.contains("takes 2 sectors") || small.contains("takes 3 sectors"), "{small}");
    error(&with_grub(), &bios::Options { start: u64::MAX, ..BIOS });
    let missing = error(&with_grub(), &bios::Options { modules: &["zfs"], ..BIOS });
    assert!(
        missing.contains("`/usr/lib/grub/i386-pc/zfs.mod` is missing: install `grub-pc-bin`"),
        "{missing}"
    );
    let mut tree = with_grub();
    put(&mut tree, "usr/lib/grub/i386-pc/boot.img", [0; 512]);
    assert!(error(&tree, &BIOS).contains("another form"));
    put(&mut tree, "usr/lib/grub/i386-pc/boot.img", [0; 511]);
    assert!(error(&tree, &BIOS).contains("no sector"));
    // Random bytes do not get smaller.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..600 << 10)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    put(&mut tree, "usr/lib/grub/i386-pc/normal.mod", noise);
    assert!(error(&tree, &BIOS).contains("a BIOS has room for"));
}
