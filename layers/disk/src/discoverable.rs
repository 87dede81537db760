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
/// `/usr` of an x86-64 system.
pub const USR_X86_64: Uuid = Uuid::from_u128(0x8484_680c_9521_48c6_9c11_b072_0656_f69e);
/// `/usr` of an arm64 system.
pub const USR_ARM64: Uuid = Uuid::from_u128(0xb0e0_1050_ee5f_4390_949a_9101_b171_04e9);
/// Hashes of the root of an x86-64 system ([`crate::verity`]).
pub const ROOT_VERITY_X86_64: Uuid = Uuid::from_u128(0x2c73_57ed_ebd2_46d9_aec1_23d4_37ec_2bf5);
/// Hashes of the root of an arm64 system.
pub const ROOT_VERITY_ARM64: Uuid = Uuid::from_u128(0xdf33_00ce_d69f_4c92_978c_9bfb_0f38_d820);
/// Hashes of `/usr` of an x86-64 system.
pub const USR_VERITY_X86_64: Uuid = Uuid::from_u128(0x77ff_5f63_e7b6_4633_acf4_1565_b864_c0e6);
/// Hashes of `/usr` of an arm64 system.
pub const USR_VERITY_ARM64: Uuid = Uuid::from_u128(0x6e11_a4e7_fbca_4ded_b9e9_e1a5_12bb_664e);
/// `/var` of any system.
pub const VAR: Uuid = Uuid::from_u128(0x4d21_b016_b534_45c2_a9fb_5c16_e091_fd2d);

/// Attribute: the partition is mounted read-only.
pub const READ_ONLY: u64 = 1 << 60;
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
        USR_X86_64 => "/usr (x86-64)",
        USR_ARM64 => "/usr (arm64)",
        ROOT_VERITY_X86_64 => "root verity (x86-64)",
        ROOT_VERITY_ARM64 => "root verity (arm64)",
        USR_VERITY_X86_64 => "/usr verity (x86-64)",
        USR_VERITY_ARM64 => "/usr verity (arm64)",
        VAR => "/var",
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
