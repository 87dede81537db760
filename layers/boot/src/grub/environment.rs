//! GRUB's environment block: variables that outlive a boot, in a file that GRUB can write because its size never
//! changes (GRUB: `include/grub/lib/envblk.h`, `grub-core/lib/envblk.c`).

/// Bytes that GRUB's own tools give it.
const SIZE: usize = 1024;
const SIGNATURE: &str = "# GRUB Environment Block\n";

/// The block with these variables; nothing when they do not fit.
pub(super) fn block(variables: &[(&str, &str)]) -> Option<Vec<u8>> {
    let mut text = SIGNATURE.to_owned();
    for (name, value) in variables {
        // A backslash makes the next byte, a line's end too, part of the value.
        let value = value.replace('\\', "\\\\").replace('\n', "\\\n");
        text += &format!("{name}={value}\n");
    }
    let mut bytes = text.into_bytes();
    (bytes.len() <= SIZE).then(|| {
        bytes.resize(SIZE, b'#');
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_one_size() {
        assert_eq!(block(&[]).unwrap().len(), 1024);
        let full = block(&[("saved_entry", "rhel-5.14")]).unwrap();
        assert!(full.starts_with(b"# GRUB Environment Block\nsaved_entry=rhel-5.14\n###"), "{full:?}");
        assert_eq!(full.len(), 1024);
        assert_eq!(block(&[("x", &"y".repeat(1000))]), None);
    }
}
