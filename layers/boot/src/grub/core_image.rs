//! GRUB's core image for BIOS: its kernel, modules and prefix, compressed behind the decompressor.
//!
//! What `grub-mkimage` does for `i386-pc`, from facts in GRUB's own sources (2.02 to 2.12: `util/mkimage.c`,
//! `util/grub-mkimagexx.c`, `include/grub/kernel.h`, `include/grub/offsets.h`):
//!
//! 1. Those sections of `kernel.img` (a 32-bit ELF file linked to 0x9000) that occupy memory and have bytes in
//!    the file go where they are linked to.
//! 2. Right behind them lies a header (magic, its own size, size of everything) and then one object after the
//!    other: type, size, bytes, filled up to four bytes. Modules go in as the ELF files that they are; GRUB's
//!    kernel relocates them.
//! 3. That is compressed as a raw LZMA stream. The decompressor assumes lc=3, lp=0, pb=2, and takes the sizes
//!    before and after from two fields of its own.
//!
//! There are no Reed-Solomon codes (`grub-bios-setup --no-rs-codes`): they repair what sloppy programs write
//! into the gap behind an MBR, and a GPT's BIOS boot partition is no gap.

use std::io::Write;

use super::GrubError;
use super::modules::{Modules, invalid};
use crate::pe::{u16_at, u32_at};

/// Where the kernel is linked to (`GRUB_KERNEL_I386_PC_LINK_ADDR`).
const LINK_ADDRESS: u64 = 0x9000;
/// The kernel may not reach this address ...
const KERNEL_END: u64 = 0x68000;
/// ... and the core image, which is loaded below and moved, not this one.
const CORE_END: u64 = 0x78000;
/// Room for the decompressor (`GRUB_DECOMPRESSOR_I386_PC_MAX_DECOMPRESSOR_SIZE`).
const MAX_DECOMPRESSOR: usize = 0x9000 - 0x8200;
/// Fields of the decompressor.
const COMPRESSED_SIZE: usize = 0x08;
const UNCOMPRESSED_SIZE: usize = 0x0c;
/// `GRUB_MODULE_MAGIC`, "mimg".
pub(super) const MODULE_MAGIC: u32 = 0x676d_696d;
/// More than modules can have for the result to fit, in bytes.
pub(super) const MAX_OBJECTS: usize = 8 << 20;
/// Most sections that are read; `kernel.img` has six.
const MAX_SECTIONS: u16 = 64;
/// More than `kernel.img` has, in bytes.
const MAX_KERNEL: u64 = 1 << 20;

/// Objects in an image (`OBJ_TYPE_…` of GRUB).
pub(super) mod object {
    pub(in super::super) const ELF: u32 = 0;
    pub(in super::super) const CONFIG: u32 = 2;
    pub(in super::super) const PREFIX: u32 = 3;
}

/// Composes the decompressor and what it unpacks.
pub(super) fn compose(
    modules: &Modules<'_>,
    wanted: &[&str],
    prefix: &str,
    config: Option<&str>,
) -> Result<Vec<u8>, GrubError> {
    let kernel = modules.read("kernel.img", MAX_KERNEL)?;
    let mut image = lay_out(&kernel).map_err(|reason| invalid("kernel.img", reason))?;
    append_objects(&mut image, &modules.closure(wanted)?, prefix, config);

    let mut core = modules.read("lzma_decompress.img", MAX_DECOMPRESSOR as u64)?;
    if core.len() < UNCOMPRESSED_SIZE + 4 {
        return Err(invalid("lzma_decompress.img", "it is shorter than its header"));
    }
    let compressed = compress(&image);
    core[COMPRESSED_SIZE..][..4].copy_from_slice(&(compressed.len() as u32).to_le_bytes());
    core[UNCOMPRESSED_SIZE..][..4].copy_from_slice(&(image.len() as u32).to_le_bytes());
    core.extend_from_slice(&compressed);
    let limit = (CORE_END - LINK_ADDRESS) as usize;
    if core.len() > limit {
        return Err(GrubError::CoreTooLarge { size: core.len(), limit });
    }
    Ok(core)
}

/// The kernel as it lies in memory, without what begins as zeros.
fn lay_out(elf: &[u8]) -> Result<Vec<u8>, &'static str> {
    const HEADER: usize = 52;
    const SECTION_HEADER: usize = 40;
    const PROGBITS: u32 = 1;
    const ALLOCATED: u32 = 2;
    const I386: u16 = 3;
    if elf.len() < HEADER || elf[..6] != *b"\x7fELF\x01\x01" || u16_at(elf, 18) != I386 {
        return Err("it is no 32-bit ELF file for x86");
    }
    let (at, size, count) = (u32_at(elf, 32) as usize, u16_at(elf, 46), u16_at(elf, 48));
    let table = at.checked_add(usize::from(count) * SECTION_HEADER).and_then(|end| elf.get(at..end));
    let Some(table) = table.filter(|_| usize::from(size) == SECTION_HEADER && count <= MAX_SECTIONS) else {
        return Err("its section headers have an impossible size or place");
    };
    let mut image: Vec<u8> = Vec::new();
    for header in table.chunks_exact(SECTION_HEADER) {
        let [kind, flags, address, offset, len] = [4, 8, 12, 16, 20].map(|at| u32_at(header, at));
        if kind != PROGBITS || flags & ALLOCATED == 0 {
            continue;
        }
        let end = u64::from(address) + u64::from(len);
        if u64::from(address) < LINK_ADDRESS || end > KERNEL_END {
            return Err("it is linked to an address that BIOS machines do not have free");
        }
        let (from, until) = ((u64::from(address) - LINK_ADDRESS) as usize, (end - LINK_ADDRESS) as usize);
        let bytes = (offset as usize).checked_add(len as usize).and_then(|end| elf.get(offset as usize..end));
        let bytes = bytes.ok_or("a section lies outside of the file")?;
        image.resize(image.len().max(until), 0);
        image[from..until].copy_from_slice(bytes);
    }
    if u64::from(u32_at(elf, 24)) != LINK_ADDRESS || image.is_empty() {
        return Err("it does not begin at 0x9000");
    }
    Ok(image)
}

fn append_objects(image: &mut Vec<u8>, modules: &[Vec<u8>], prefix: &str, config: Option<&str>) {
    const INFO: usize = 12;
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    let mut objects: Vec<(u32, &[u8])> =
        modules.iter().map(|module| (object::ELF, module.as_slice())).collect();
    let config = config.map(text);
    objects.extend(config.as_ref().map(|config| (object::CONFIG, config.as_slice())));
    let prefix = text(prefix);
    objects.push((object::PREFIX, &prefix));

    let padded = |bytes: &[u8]| bytes.len().next_multiple_of(4);
    let total = objects.iter().fold(INFO, |sum, (_, bytes)| sum + 8 + padded(bytes));
    let number = |number: u32| number.to_le_bytes();
    for value in [MODULE_MAGIC, INFO as u32, total as u32] {
        image.extend_from_slice(&number(value));
    }
    for (kind, bytes) in objects {
        image.extend_from_slice(&number(kind));
        image.extend_from_slice(&number((padded(bytes) + 8) as u32));
        image.extend_from_slice(bytes);
        image.resize(image.len() + padded(bytes) - bytes.len(), 0);
    }
}

/// LZMA without any header. A bake waits for it, and there is room for three times as much: so quickly, for
/// results that are a twentieth larger.
fn compress(bytes: &[u8]) -> Vec<u8> {
    use xz2::stream::{Filters, LzmaOptions, MatchFinder, Mode, Stream};
    const VALID: &str = "these options are valid, and memory takes all bytes";
    let mut options = LzmaOptions::new_preset(1).expect(VALID);
    options.dict_size(1 << 16).literal_context_bits(3).literal_position_bits(0).position_bits(2);
    options.mode(Mode::Fast).nice_len(64).match_finder(MatchFinder::HashChain4);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let stream = Stream::new_raw_encoder(&filters).expect(VALID);
    let mut encoder = xz2::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).expect(VALID);
    encoder.finish().expect(VALID)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A kernel of two sections, with a gap between them.
    pub(in super::super) fn kernel() -> Vec<u8> {
        let mut elf = vec![0; 52 + 3 * 40 + 8];
        elf[..6].copy_from_slice(b"\x7fELF\x01\x01");
        let mut put = |at: usize, value: &[u8]| elf[at..at + value.len()].copy_from_slice(value);
        put(18, &3_u16.to_le_bytes());
        put(24, &0x9000_u32.to_le_bytes());
        put(32, &52_u32.to_le_bytes());
        put(46, &40_u16.to_le_bytes());
        put(48, &3_u16.to_le_bytes());
        // Text, data, and what has no bytes.
        for (index, [kind, address, offset, len]) in
            [[1, 0x9000, 172, 4], [1, 0x9008, 176, 4], [8, 0x900c, 0, 100]].into_iter().enumerate()
        {
            for (at, value) in [(4, kind), (8, 2), (12, address), (16, offset), (20, len)] {
                put(52 + index * 40 + at, &u32::to_le_bytes(value));
            }
        }
        put(172, b"textdata");
        elf
    }

    #[test]
    fn a_kernel_is_laid_out_where_it_is_linked_to() {
        assert_eq!(lay_out(&kernel()).unwrap(), b"text\0\0\0\0data");
    }

    #[test]
    fn damaged_kernels_are_errors() {
        let good = kernel();
        for len in 0..good.len() {
            assert!(lay_out(&good[..len]).is_err(), "{len}");
        }
        // Any byte of the headers may be anything.
        for at in 0..172 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = lay_out(&bad);
            }
        }
    }

    #[test]
    fn objects_follow_the_kernel() {
        let mut image = b"kernel".to_vec();
        append_objects(&mut image, &[b"ELF-1".to_vec()], "(,gpt3)/b", Some("c"));
        let expected = [
            &b"kernelmimg\x0c\0\0\0\x3c\0\0\0"[..],
            b"\0\0\0\0\x10\0\0\0ELF-1\0\0\0",
            b"\x02\0\0\0\x0c\0\0\0c\0\0\0",
            b"\x03\0\0\0\x14\0\0\0(,gpt3)/b\0\0\0",
        ];
        assert_eq!(image, expected.concat());
    }
}
