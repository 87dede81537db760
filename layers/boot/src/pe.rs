//! Portable executables, as far as UEFI needs them (Microsoft, "PE Format"; UEFI 2.10, section 2.1.1): reading
//! headers of any, and adding sections to one.

mod append;
mod parse;

pub use append::{NewSection, append};
pub use parse::{Image, Section};

/// An executable that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// It is no 64-bit PE executable, or a damaged one.
    #[error("it is no valid PE executable: {0}")]
    Invalid(&'static str),
    /// It has a signature, which an added section would break.
    #[error("it is signed, and adding sections would break the signature: expected an unsigned one")]
    Signed,
    /// The headers have no room for the new sections.
    #[error("its headers have room for {room} more sections: expected {needed}")]
    NoRoom {
        /// How many fit.
        room: usize,
        /// How many are to be added.
        needed: usize,
    },
    /// The result is larger than PE can describe.
    #[error("with the section `{0}` it would exceed 4 GiB, the most that PE can describe")]
    TooLarge(String),
    /// A section that should be replaced is too small for what is to go there.
    #[error("its section `{name}` has {room} bytes: expected room for {needed}")]
    SectionTooSmall {
        /// Which.
        name: String,
        /// How many bytes it has.
        room: u64,
        /// How many are needed.
        needed: u64,
    },
    /// The bytes cannot be read.
    #[error("reading it failed")]
    Read(#[from] std::io::Error),
}

/// Where fields lie, from the start of the PE signature on.
mod field {
    pub(super) const MACHINE: usize = 4;
    pub(super) const SECTION_COUNT: usize = 6;
    pub(super) const TIME: usize = 8;
    pub(super) const SYMBOLS: usize = 12;
    pub(super) const SYMBOL_COUNT: usize = 16;
    pub(super) const OPTIONAL_SIZE: usize = 20;
    pub(super) const CHARACTERISTICS: usize = 22;
    /// The optional header, in the form of PE32+ (magic 0x20b).
    pub(super) const OPTIONAL: usize = 24;
    pub(super) const INITIALIZED: usize = OPTIONAL + 8;
    pub(super) const SECTION_ALIGNMENT: usize = OPTIONAL + 32;
    pub(super) const FILE_ALIGNMENT: usize = OPTIONAL + 36;
    pub(super) const IMAGE_SIZE: usize = OPTIONAL + 56;
    pub(super) const HEADERS_SIZE: usize = OPTIONAL + 60;
    pub(super) const CHECKSUM: usize = OPTIONAL + 64;
    pub(super) const SUBSYSTEM: usize = OPTIONAL + 68;
    pub(super) const DIRECTORY_COUNT: usize = OPTIONAL + 108;
    pub(super) const DIRECTORIES: usize = OPTIONAL + 112;

    /// Where fields of a section's header lie.
    pub(super) mod section {
        pub(crate) const SIZE: usize = 40;
        pub(crate) const VIRTUAL_SIZE: usize = 8;
        pub(crate) const VIRTUAL_ADDRESS: usize = 12;
        pub(crate) const RAW_SIZE: usize = 16;
        pub(crate) const RAW_OFFSET: usize = 20;
        pub(crate) const CHARACTERISTICS: usize = 36;
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
