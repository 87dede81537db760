use super::*;

fn disk(len: u64) -> Layout {
    bake_base::LayoutBuilder::new().finish(len).unwrap()
}

#[test]
fn entries_of_bitmaps_lie_between_those_of_blocks() {
    assert_eq!(chunk_ratio(512, BLOCK), 4096);
    let positions = [0, 1, 4095, 4096, 8191, 8192].map(|block| entry_of(block, 4096));
    assert_eq!(positions, [0, 1, 4095, 4097, 8192, 8194]);
}

#[test]
fn sectors_are_those_of_the_partition_table() {
    let mut builder = bake_base::LayoutBuilder::new();
    builder.push_bytes(4096, b"EFI PART".to_vec());
    assert_eq!(sector_size(&builder.finish(MIB).unwrap()).unwrap(), 4096);
    assert_eq!(sector_size(&disk(MIB)).unwrap(), 512);
}

#[test]
fn a_disk_that_the_format_has_no_room_for_is_refused() {
    assert!(Plan::new(&disk(MAX_SIZE)).is_ok());
    assert!(Plan::new(&disk(MAX_SIZE + 512)).unwrap_err().contains("64 TiB"));
    assert!(Plan::new(&disk(0)).is_err());
}

#[test]
fn a_log_that_was_never_replayed_is_not_passed_over() {
    let file = tempfile::tempfile().unwrap();
    super::super::write(&disk(MIB), &[(FORMAT, &file)], 1, &|_| ()).unwrap();
    let mut header = Plan::new(&disk(MIB)).unwrap().header(9);
    header[48] = 1;
    sum(&mut header);
    file.write_all_at(&header, HEADERS[1]).unwrap();
    let error = super::super::open(file).unwrap_err().to_string();
    assert!(error.contains("changes in its log"), "{error}");
}
