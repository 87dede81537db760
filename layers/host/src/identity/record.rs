//! What an image was baked with: the ids that become a machine's own, and nothing that must stay.

use std::collections::BTreeSet;
use std::fmt;

use bake_base::{Uuid, json};
use bake_tree::TreePath;
use serde::{Deserialize, Serialize};

/// What the record's first line of defence says.
const SCHEMA: &str = "bake-identity-1";
/// As many entries as a partition table usually has.
const MAX_PARTITIONS: usize = 128;

/// The ids that an image was baked with. Partitions whose ids mean something, such as those under verity, are not
/// in it, and keep them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: String,
    /// The disk's GUID.
    pub disk: Uuid,
    /// Where the EFI system partition has to be mounted for files that name ids to be within reach. None if nothing
    /// there names one.
    #[serde(default, rename = "esp-mount", skip_serializing_if = "Option::is_none")]
    pub esp_mount: Option<String>,
    /// Partitions that get ids of their own.
    pub partitions: Vec<Partition>,
}

/// A partition with the ids that it was baked with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its entry in the table, from 1 on.
    pub number: u32,
    /// Its GUID.
    pub guid: Uuid,
    /// Its file system, if it has one with an id.
    #[serde(default, rename = "file-system", skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystem>,
}

/// A file system with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FileSystem {
    /// Its id changes where its features let it.
    Ext4 {
        /// The UUID.
        id: Uuid,
    },
    /// A FAT32 file system.
    Vfat {
        /// The serial number.
        id: Serial,
    },
    /// One whose id cannot change while it is mounted, such as xfs.
    Other {
        /// The UUID.
        id: Uuid,
    },
}

impl FileSystem {
    /// The id as `fstab` names it.
    pub fn id(&self) -> String {
        match self {
            Self::Ext4 { id } | Self::Other { id } => id.to_string(),
            Self::Vfat { id } => id.to_string(),
        }
    }
}

/// The serial number of a FAT file system, written as `1A2B-3C4D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Serial(pub u32);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}-{:04X}", self.0 >> 16, self.0 & 0xffff)
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

impl TryFrom<String> for Serial {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.split_once('-').and_then(|(high, low)| {
            let half = |half: &str| (half.len() == 4).then(|| u16::from_str_radix(half, 16).ok())?;
            Some(u32::from(half(high)?) << 16 | u32::from(half(low)?))
        });
        number
            .map(Self)
            .ok_or_else(|| format!("`{}` is no serial number: expected 1A2B-3C4D", text.escape_debug()))
    }
}

impl Record {
    /// The record of an image.
    pub fn new(disk: Uuid, esp_mount: Option<String>, partitions: Vec<Partition>) -> Self {
        Self { schema: SCHEMA.to_owned(), disk, esp_mount, partitions }
    }

    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_canonical(self).expect("its keys are texts and its numbers integers")
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let record: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("is no record of ids: {error}"))?;
        if record.schema != SCHEMA {
            let schema = record.schema;
            return Err(format!("has the schema `{schema}`: expected {SCHEMA}; take a newer pkgpanda"));
        }
        let mut guids = BTreeSet::from([record.disk]);
        let mut numbers = BTreeSet::new();
        let fresh = |partition: &Partition| guids.insert(partition.guid) && numbers.insert(partition.number);
        if record.partitions.len() > MAX_PARTITIONS || !record.partitions.iter().all(fresh) {
            return Err("names an id or a partition twice, or too many of them".to_owned());
        }
        if record.esp_mount.as_ref().is_some_and(|path| TreePath::from_root(path.as_bytes()).is_err()) {
            return Err("has an `esp-mount` that is no path: expected one such as /boot/efi".to_owned());
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_looks_like_this() {
        let partitions = vec![
            Partition {
                number: 1,
                guid: Uuid::from_u128(1),
                file_system: Some(FileSystem::Vfat { id: Serial(0x1a2b_3c4d) }),
            },
            Partition {
                number: 2,
                guid: Uuid::from_u128(2),
                file_system: Some(FileSystem::Ext4 { id: Uuid::from_u128(3) }),
            },
            Partition { number: 3, guid: Uuid::from_u128(4), file_system: None },
        ];
        let record = Record::new(Uuid::from_u128(9), Some("/boot/efi".to_owned()), partitions);
        let text = String::from_utf8(record.to_json()).unwrap();
        assert_eq!(Record::parse(text.as_bytes()), Ok(record));
        for part in [
            r#""disk": "00000000-0000-0000-0000-000000000009""#,
            r#""id": "1A2B-3C4D""#,
            r#""type": "vfat""#,
            r#""schema": "bake-identity-1""#,
        ] {
            assert!(text.contains(part), "{text}");
        }
        for (from, to) in [
            ("identity-1", "identity-2"),
            ("1A2B-3C4D", "1A2B3C4D"),
            ("\"number\": 2", "\"number\": 1"),
            ("-000000000002", "-000000000009"),
            ("\"vfat\"", "\"ntfs\""),
            ("\"disk\"", "\"disc\""),
            ("/boot/efi", "/boot/../efi"),
        ] {
            assert!(Record::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
        }
    }
}
