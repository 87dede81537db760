use proptest::prelude::*;

use super::*;
use crate::kernel::tests::executable;
use bake_base::{Bytes, ReadAt};
use bake_tree::Content;

fn section(name: &'static str, bytes: &[u8], virtual_size: u64) -> NewSection {
    NewSection { name, content: Content::bytes(bytes), virtual_size, code: name == ".linux" }
}

fn contents(image: &Content) -> Vec<(String, u32, Vec<u8>)> {
    let headers = Image::parse(image).unwrap();
    let read = |section: &Section| {
        let mut bytes = vec![0; section.raw_size.min(section.virtual_size) as usize];
        image.read_exact_at(u64::from(section.raw_offset), &mut bytes).unwrap();
        (String::from_utf8(section.name.clone()).unwrap(), section.virtual_address, bytes)
    };
    headers.sections.iter().map(read).collect()
}

#[test]
fn sections_come_after_the_old_ones_aligned_in_file_and_memory() {
    let stub = Content::bytes(executable(0x8664));
    let image =
        append(&stub, &[], &[section(".linux", b"kernel", 10_000), section(".initrd", b"cpio", 0)]).unwrap();
    let found = contents(&image);
    // `.text` lies at 4096 and has 512 bytes.
    let mut raw = b"kernel".to_vec();
    raw.resize(512, 0);
    assert_eq!(found[1], (".linux".to_owned(), 8192, raw));
    assert_eq!(found[2], (".initrd".to_owned(), 20_480, b"cpio".to_vec()));
    let headers = Image::parse(&image).unwrap();
    assert_eq!((headers.sections[1].virtual_size, headers.sections[2].virtual_size), (10_000, 4));
    assert_eq!(headers.size_of_image, 24_576);
    assert_eq!((image.len() % 512, headers.sections[2].raw_offset), (0, 4096 + 512 + 512));
}

#[test]
fn a_symbol_table_at_the_end_is_taken_away() {
    let mut bytes = executable(0x8664);
    let offset = bytes.len() as u32;
    bytes.extend_from_slice(&[7; 18 * 2]);
    bytes.extend_from_slice(&10_u32.to_le_bytes());
    bytes.extend_from_slice(b"string");
    bytes[64 + 12..64 + 16].copy_from_slice(&offset.to_le_bytes());
    bytes[64 + 16..64 + 20].copy_from_slice(&2_u32.to_le_bytes());
    let image = append(&Content::bytes(bytes), &[], &[section(".x", b"x", 0)]).unwrap();
    let headers = Image::parse(&image).unwrap();
    assert_eq!((headers.symbols, headers.sections[1].raw_offset), ((0, 0), offset));
}

#[test]
fn what_lies_behind_the_last_section_of_a_stub_is_taken_away() {
    let mut bytes = executable(0x8664);
    bytes.extend_from_slice(&[7; 700]);
    let image = append(&Content::bytes(bytes), &[], &[section(".x", b"x", 0)]).unwrap();
    assert_eq!(Image::parse(&image).unwrap().sections[1].raw_offset, 4608);
    assert_eq!(image.len(), 4608 + 512);
}

#[test]
fn a_replaced_section_keeps_its_place() {
    let stub = Content::bytes(executable(0x8664));
    let image = append(&stub, &[(".text", b"short".to_vec())], &[section(".x", b"x", 0)]).unwrap();
    assert_eq!(contents(&image)[0], (".text".to_owned(), 4096, b"short".to_vec()));
    let error = append(&stub, &[(".text", vec![1; 513])], &[]).unwrap_err();
    assert!(matches!(error, PeError::SectionTooSmall { room: 512, needed: 513, .. }), "{error}");
    assert!(append(&stub, &[(".none", Vec::new())], &[]).is_err());
}

#[test]
fn executables_that_cannot_take_sections_are_refused() {
    let mut signed = executable(0x8664);
    let security = 64 + field::DIRECTORIES + 32;
    signed[security..security + 8].copy_from_slice(&[0, 16, 0, 0, 8, 0, 0, 0]);
    let error = append(&Content::bytes(signed), &[], &[]).unwrap_err();
    assert!(matches!(error, PeError::Signed), "{error}");

    let mut crowded = executable(0x8664);
    // Something lies 90 bytes behind the section headers: room for two more.
    crowded[64 + 24 + 160 + 40 + 90] = 1;
    let three = ["a", "b", "c"].map(|name| section(name, b"x", 0));
    let error = append(&Content::bytes(crowded), &[], &three).unwrap_err();
    assert!(matches!(error, PeError::NoRoom { room: 2, needed: 3 }), "{error}");

    let huge = Content::sparse(u64::from(u32::MAX), Vec::new()).unwrap();
    let huge = NewSection { name: ".initrd", content: huge, virtual_size: 0, code: false };
    let error = append(&Content::bytes(executable(0x8664)), &[], &[huge]).unwrap_err();
    assert!(matches!(error, PeError::TooLarge(_)), "{error}");
}

proptest! {
    #[test]
    fn damaged_headers_never_panic(
        flips in prop::collection::vec((0_usize..4096, any::<u8>()), 1..12),
        cut in 0_usize..4608,
        whole in any::<bool>(),
    ) {
        let mut bytes = executable(0x8664);
        for (at, value) in flips {
            // Most fields lie in the first 300 bytes.
            bytes[if at % 3 == 0 { at } else { at % 300 }] = value;
        }
        if !whole {
            bytes.truncate(cut);
        }
        let sections = [section(".linux", b"kernel", 9999), section(".initrd", b"cpio", 0)];
        let replacement = [(".text", b"text".to_vec())];
        if let Ok(image) = append(&Content::bytes(bytes.clone()), &replacement, &sections) {
            // Whatever is accepted gives something that can be parsed again.
            let headers = Image::parse(&image).unwrap();
            prop_assert!(headers.section(".initrd").is_some());
        }
        let _ = Image::parse(&Bytes::from(bytes));
    }
}
