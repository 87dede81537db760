//! Processors that images boot on, and what UEFI calls them.

use std::fmt;

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// 64-bit x86 (`amd64`).
    X86_64,
    /// 64-bit ARM (`aarch64`).
    Arm64,
}

impl Architecture {
    /// By the machine type in a PE header (PE/COFF specification, "Machine Types").
    pub fn from_machine(machine: u16) -> Option<Self> {
        match machine {
            0x8664 => Some(Self::X86_64),
            0xaa64 => Some(Self::Arm64),
            _ => None,
        }
    }

    /// By the machine in the header of an ELF program (`e_machine` of `elf.h`).
    pub fn from_elf(machine: u16) -> Option<Self> {
        match machine {
            62 => Some(Self::X86_64),
            183 => Some(Self::Arm64),
            _ => None,
        }
    }

    /// What EFI programs for it are called: the part between `systemd-boot` and `.efi`. In capitals it makes
    /// the name of the loader that firmware looks for (UEFI 2.10, section 3.5.1.1).
    pub fn efi_suffix(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Arm64 => "aa64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86-64",
            Self::Arm64 => "arm64",
        })
    }
}
