use super::*;
use crate::kernel::tests::{debian, executable};

fn parts<'a>(
    kernel: &'a Kernel,
    stub: &'a Content,
    os_release: &'a OsRelease,
    initrds: &'a [Content],
) -> Parts<'a> {
    Parts { stub, kernel, initrds, command_line: "quiet", os_release }
}

fn with_section(mut bytes: Vec<u8>, name: &[u8], text: &[u8]) -> Vec<u8> {
    // The one section of `executable` gets another name and other bytes.
    let header = 64 + 24 + 160;
    bytes[header..header + 8].fill(0);
    bytes[header..header + name.len()].copy_from_slice(name);
    bytes[header + 8..header + 12].copy_from_slice(&(text.len() as u32).to_le_bytes());
    bytes[4096..4096 + text.len()].copy_from_slice(text);
    bytes
}

fn bytes_of(image: &Content, name: &str) -> Option<Vec<u8>> {
    let headers = Image::parse(image).unwrap();
    let section = headers.section(name)?;
    let mut bytes = vec![0; section.virtual_size.min(section.raw_size) as usize];
    image.read_exact_at(u64::from(section.raw_offset), &mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn sections_come_in_canonical_order_with_room_for_the_kernel() {
    let tree = debian();
    let kernel = Kernel::find(&tree, None).unwrap();
    let stub = find_stub(&tree, kernel.architecture).unwrap();
    let os_release = OsRelease::read(&tree).unwrap();
    let initrds = [Content::bytes(&b"odd"[..]), Content::bytes(&b"second"[..])];
    let image = compose(&parts(&kernel, &stub, &os_release, &initrds)).unwrap();
    let headers = Image::parse(&image).unwrap();
    let names: Vec<_> = headers.sections.iter().map(|s| String::from_utf8(s.name.clone()).unwrap()).collect();
    assert_eq!(names, [".text", ".linux", ".osrel", ".cmdline", ".initrd", ".uname"]);
    let linux = headers.section(".linux").unwrap();
    // The kernel's own header asks for 0x4000 bytes; its file has fewer.
    assert_eq!(u64::from(linux.raw_size), kernel.content.len());
    assert!(linux.virtual_size == 0x4000.max(linux.raw_size));
    assert_eq!(bytes_of(&image, ".initrd").unwrap(), b"odd\0second");
    assert_eq!(bytes_of(&image, ".cmdline").unwrap(), b"quiet");
    assert_eq!(bytes_of(&image, ".uname").unwrap(), b"6.1.0-56-cloud-amd64");
    assert_eq!(bytes_of(&image, ".osrel").unwrap(), os_release.text());
    assert_eq!(
        install_path("debian", &kernel.version).unwrap().to_string(),
        "/EFI/Linux/debian-6.1.0-56-cloud-amd64.efi"
    );
}

#[test]
fn revocation_data_of_stub_and_kernel_are_joined() {
    let tree = debian();
    let mut kernel = Kernel::find(&tree, None).unwrap();
    let (os_release, first) = (OsRelease::default(), "sbat,1,SBAT Version,sbat,1,https://…\n");
    let stub = with_section(executable(0x8664), b".sbat", format!("{first}systemd,1,…\n\0\0").as_bytes());
    kernel.content =
        Content::bytes(with_section(executable(0x8664), b".sbat", format!("{first}linux,1,…").as_bytes()));
    let image = compose(&parts(&kernel, &Content::bytes(stub.clone()), &os_release, &[])).unwrap();
    let expected = format!("{first}systemd,1,…\nlinux,1,…");
    assert_eq!(bytes_of(&image, ".sbat").unwrap(), expected.as_bytes());
    // Sections without bytes are left out.
    assert!(bytes_of(&image, ".initrd").is_none() && bytes_of(&image, ".osrel").is_none());

    kernel.content = Content::bytes(executable(0x8664));
    let image = compose(&parts(&kernel, &Content::bytes(stub), &os_release, &[])).unwrap();
    assert!(bytes_of(&image, ".sbat").unwrap().ends_with("systemd,1,…\n\0\0".as_bytes()));
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let mut tree = debian();
    let mut kernel = Kernel::find(&tree, None).unwrap();
    let os_release = OsRelease::default();
    let arm = Content::bytes(executable(0xaa64));
    let error = compose(&parts(&kernel, &arm, &os_release, &[])).unwrap_err().to_string();
    assert!(error.contains("is for arm64") && error.contains("for x86-64"), "{error}");
    let stub = find_stub(&tree, kernel.architecture).unwrap();
    let command_line = Parts { command_line: "a\nb", ..parts(&kernel, &stub, &os_release, &[]) };
    assert!(compose(&command_line).unwrap_err().to_string().contains("'\\n'"));
    kernel.format = Format::Gzip;
    let error = compose(&parts(&kernel, &stub, &os_release, &[])).unwrap_err().to_string();
    assert!(error.contains("compressed with gzip"), "{error}");
    tree.remove(&TreePath::from_root(b"usr/lib/systemd/boot").unwrap());
    let error = find_stub(&tree, Architecture::X86_64).unwrap_err().to_string();
    assert!(error.contains("install `systemd-boot-efi`"), "{error}");
}
