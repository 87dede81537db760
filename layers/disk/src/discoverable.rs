//! Partition types and attributes by which loaders and systemd find partitions without a name or a path
//! (UAPI.2, the Discoverable Partitions Specification; UEFI 2.10, section 5.3.3; GRUB's BIOS boot type).

use bake_base::Uuid;

/// EFI system partition.
pub const ESP: Uuid = Uuid::from_u128(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
/// Extended boot loader partition: kernels and loader entries that do not fit the ESP.
pub const XBOOTLDR: Uuid = Uuid::from_u128(0xbc13_c2ff_59e6_4262_a352_b275_fd6f_7172);
/// Where GRUB's core image lies when the firmware is a BIOS.
pub const BIOS_BOOT: Uuid = Uuid::from_u128(0x2168_6148_6449_6e6f_744e_6565_6445_4649);
/// Root of an x86-64 system.
pub const ROOT_X86_64: Uuid = Uuid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
/// Root of an arm64 system.
pub const ROOT_ARM64: Uuid = Uuid::from_u128(0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae);

/// Attribute: the file system is grown to its partition when it is mounted.
pub const GROW_FILE_SYSTEM: u64 = 1 << 59;

/// What a partition type is called, where it is one of the above.
pub fn type_name(type_guid: Uuid) -> Option<&'static str> {
    Some(match type_guid {
        ESP => "EFI system",
        XBOOTLDR => "extended boot loader",
        BIOS_BOOT => "BIOS boot",
        ROOT_X86_64 => "root (x86-64)",
        ROOT_ARM64 => "root (arm64)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bios_boot_type_spells_its_own_motto() {
        assert_eq!(&BIOS_BOOT.to_bytes_le(), b"Hah!IdontNeedEFI");
        assert_eq!(type_name(ESP), Some("EFI system"));
        assert_eq!(type_name(Uuid::nil()), None);
    }
}
