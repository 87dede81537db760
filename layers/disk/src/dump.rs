//! A partition table as text, for `bake inspect` and for snapshots.

use std::fmt::Write as _;

use crate::Table;
use crate::discoverable::type_name;

/// One line for the disk, then four for each partition by its place. No line depends on anything but the table.
pub fn dump(table: &Table) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "disk {} length {} sector {}", table.guid, table.len, table.sector_size.bytes());
    for partition in &table.partitions {
        let kind = type_name(partition.type_guid).unwrap_or("unknown");
        let _ = writeln!(text, "partition {} {:?}", partition.number, partition.name);
        let _ = writeln!(text, "  guid {}", partition.guid);
        let _ = writeln!(text, "  type {} {kind}", partition.type_guid);
        let _ = writeln!(
            text,
            "  bytes {}..{} length {} attributes {:#018x}",
            partition.offset,
            partition.end(),
            partition.len,
            partition.attributes
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use bake_base::Uuid;

    use super::*;
    use crate::discoverable::{ESP, GROW_FILE_SYSTEM};
    use crate::{GIB, Partition, SectorSize};

    #[test]
    fn a_table_dumps_as_lines() {
        let partition = Partition {
            number: 15,
            type_guid: ESP,
            guid: Uuid::from_u128(2),
            name: "e\ns\"p".to_owned(),
            attributes: GROW_FILE_SYSTEM | 1,
            offset: 1 << 20,
            len: 4096,
        };
        let other =
            Partition { type_guid: Uuid::from_u128(3), number: 1, offset: 2 << 20, ..partition.clone() };
        let table = Table {
            guid: Uuid::from_u128(1),
            sector_size: SectorSize::Bytes512,
            len: GIB,
            partitions: vec![partition, other],
        };
        let expected = r#"disk 00000000-0000-0000-0000-000000000001 length 1073741824 sector 512
partition 15 "e\ns\"p"
  guid 00000000-0000-0000-0000-000000000002
  type c12a7328-f81f-11d2-ba4b-00a0c93ec93b EFI system
  bytes 1048576..1052672 length 4096 attributes 0x0800000000000001
partition 1 "e\ns\"p"
  guid 00000000-0000-0000-0000-000000000002
  type 00000000-0000-0000-0000-000000000003 unknown
  bytes 2097152..2101248 length 4096 attributes 0x0800000000000001
"#;
        assert_eq!(dump(&table), expected);
    }
}
