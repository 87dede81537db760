use bake_tree::{Metadata, Node};
use proptest::prelude::*;

use super::*;
use crate::kernel::tests::debian;

const VERMAGIC: &str = "vermagic=6.1.0-56-cloud-amd64 SMP preempt mod_unload modversions";

/// A relocatable ELF file with what depmod looks at.
pub(crate) fn module(info: &[&str], exports: &[&str], needs: &[(&str, u32)]) -> Vec<u8> {
    let joined =
        |texts: &[&str]| texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>();
    let mut names = vec![0];
    let mut symbols = vec![0; 24];
    let mut versions = Vec::new();
    for (name, checksum) in needs {
        symbols.extend_from_slice(&(names.len() as u32).to_le_bytes());
        symbols.extend_from_slice(&[0; 20]);
        names.extend_from_slice(&joined(&[name]));
        versions.extend_from_slice(&u64::from(*checksum).to_le_bytes());
        let mut field = name.as_bytes().to_vec();
        field.resize(56, 0);
        versions.extend_from_slice(&field);
    }
    let sections = [
        ("", Vec::new()),
        (".modinfo", joined(info)),
        ("__ksymtab_strings", joined(exports)),
        ("__versions", versions),
        (".symtab", symbols),
        (".strtab", names),
        (".shstrtab", Vec::new()),
    ];
    let mut section_names = Vec::new();
    let mut body = vec![0; 64];
    let mut headers = Vec::new();
    for (name, content) in &sections {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&(section_names.len() as u32).to_le_bytes());
        section_names.extend_from_slice(&joined(&[name]));
        header[24..32].copy_from_slice(&(body.len() as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(content.len() as u64).to_le_bytes());
        body.extend_from_slice(content);
        headers.push(header);
    }
    headers[6][24..32].copy_from_slice(&(body.len() as u64).to_le_bytes());
    headers[6][32..40].copy_from_slice(&(section_names.len() as u64).to_le_bytes());
    body.extend_from_slice(&section_names);
    body[..6].copy_from_slice(b"\x7fELF\x02\x01");
    body[16] = 1;
    let at = (body.len() as u64).to_le_bytes();
    body[40..48].copy_from_slice(&at);
    body[58] = 64;
    body[60] = headers.len() as u8;
    body[62] = 6;
    body.extend_from_slice(headers.as_flattened());
    body
}

fn put(tree: &mut Tree, name: &str, bytes: Vec<u8>) {
    let path =
        TreePath::from_root(format!("usr/lib/modules/6.1.0-56-cloud-amd64/{name}").as_bytes()).unwrap();
    tree.put(&path, Metadata::root(0o644), Node::File(Content::bytes(bytes))).unwrap();
}

fn load(tree: &Tree) -> Result<Modules, DepmodError> {
    Modules::load(tree, &Kernel::find(tree, None).unwrap(), 1)
}

fn file(modules: &Modules, name: &str) -> String {
    let files = modules.files().unwrap();
    let (_, content) = files.iter().find(|(path, _)| path.split().unwrap().1 == name.as_bytes()).unwrap();
    String::from_utf8(content.read_all(1 << 20).unwrap()).unwrap()
}

#[test]
fn what_is_read_from_a_module() {
    let bytes = module(&["license=GPL", "alias=a", "lonely"], &["one", "two"], &[("three", 7)]);
    let read = elf::read(&Content::bytes(bytes)).unwrap();
    assert_eq!(read.exports, [("one".to_owned(), None), ("two".to_owned(), None)]);
    assert_eq!(read.needs, ["three"]);
    assert_eq!(read.versions, [("three".to_owned(), 7)]);
    assert_eq!(read.info[2], ("lonely".to_owned(), String::new()));
}

#[test]
fn a_module_in_updates_wins_and_one_that_is_not_listed_comes_last() {
    let mut tree = debian();
    put(&mut tree, "kernel/b.ko", module(&[], &[], &[("symbol", 1)]));
    put(&mut tree, "kernel/sub-dir/a-b.ko", module(&["softdep=pre: x"], &["symbol"], &[]));
    put(
        &mut tree,
        "updates/a_b.ko",
        module(&["alias=devname:loop", "alias=block-major-7-0"], &["symbol"], &[]),
    );
    put(&mut tree, "build/c.ko", Vec::new());
    put(&mut tree, "modules.order", b"kernel/b.ko\n".to_vec());
    put(&mut tree, "modules.weakdep", Vec::new());
    let modules = load(&tree).unwrap();
    assert_eq!(file(&modules, "modules.dep"), "kernel/b.ko: updates/a_b.ko\nupdates/a_b.ko:\n");
    assert!(file(&modules, "modules.symbols").ends_with("\nalias symbol:symbol a_b\n"));
    assert!(file(&modules, "modules.devname").ends_with("\na_b loop b7:0\n"));
    assert_eq!(file(&modules, "modules.softdep").lines().count(), 1);
    assert!(file(&modules, "modules.weakdep").starts_with("# Weak dependencies"));
}

#[test]
fn a_circle_is_an_error_that_names_it() {
    let mut tree = debian();
    put(&mut tree, "kernel/x.ko", module(&[], &["sx"], &[("sy", 1)]));
    put(&mut tree, "kernel/y.ko", module(&[], &["sy"], &[("sx", 1)]));
    let error = load(&tree).unwrap_err().to_string();
    assert!(error.contains("x, y depend on each other"), "{error}");
    put(&mut tree, "kernel/y.ko", b"no module".to_vec());
    let error = load(&tree).unwrap_err().to_string();
    assert!(error.contains("cloud-amd64/kernel/y.ko` is no kernel module"), "{error}");
}

#[test]
fn added_modules_must_fit_and_must_not_be_needed_for_booting() {
    let mut tree = debian();
    put(&mut tree, "kernel/base.ko", module(&[VERMAGIC], &[], &[("printk", 1), ("kmalloc", 2)]));
    put(&mut tree, "kernel/ext4.ko", module(&[VERMAGIC], &[], &[("helper", 9)]));
    tree.seal();
    put(&mut tree, "updates/helper-mod.ko", module(&[VERMAGIC], &["helper"], &[("printk", 1)]));
    put(&mut tree, "updates/wrong.ko", module(&[VERMAGIC], &[], &[("printk", 1), ("kmalloc", 3)]));
    put(
        &mut tree,
        "updates/none.ko",
        module(&["vermagic=6.1.0 SMP preempt mod_unload modversions"], &[], &[]),
    );
    let overlay = tree.seal();
    let modules = load(&tree).unwrap();
    let DepmodError::Misfits(misfits) = modules.check(overlay).unwrap_err() else { panic!() };
    let text: Vec<_> = misfits.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(
        text.iter().any(|t| t.contains("wrong.ko") && t.contains("0x00000003): expected 0x00000002")),
        "{text:?}"
    );
    assert!(
        text.iter().any(|t| t.contains("none.ko") && t.contains("expected one for `6.1.0-56")),
        "{text:?}"
    );
    let error = modules.check_initrd(overlay, &["ext4"]).unwrap_err().to_string();
    assert!(error.starts_with("`helper_mod` is needed to boot (for `ext4`)"), "{error}");
    modules.check_initrd(overlay, &["base", "not-there"]).unwrap();
    // What the kernel's headers say counts more than what modules were built against.
    put(&mut tree, "build/Module.symvers", b"0x00000003\tkmalloc\tvmlinux\tEXPORT_SYMBOL\n".to_vec());
    let DepmodError::Misfits(misfits) = load(&tree).unwrap().check(overlay).unwrap_err() else { panic!() };
    assert!(matches!(&*misfits, [Misfit::Vermagic { .. }]), "{misfits:?}");
}

proptest! {
    #[test]
    fn damaged_modules_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = module(&[VERMAGIC, "alias=a"], &["one"], &[("two", 1), ("three", 2)]);
        for (at, value) in flips {
            let len = bytes.len();
            bytes[at.index(len)] = value;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut tree = debian();
        put(&mut tree, "kernel/damaged.ko", bytes);
        if let Ok(modules) = load(&tree) {
            let _ = modules.files();
            let _ = modules.check(LayerId(0));
        }
    }
}
