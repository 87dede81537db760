use super::*;

#[test]
fn a_disk_that_sector_numbers_cannot_reach_is_refused() {
    let plan = |len| (SPARSE.plan)(&bake_base::LayoutBuilder::new().finish(len).unwrap()).map(|_| ());
    assert!(plan(MAX_SIZE - 512).is_ok());
    assert!(plan(MAX_SIZE).unwrap_err().contains("2 TiB"));
    assert!(plan(1000).unwrap_err().contains("512-byte sectors"));
}

#[test]
fn a_disk_on_top_of_another_is_not_read() {
    let disk = bake_base::LayoutBuilder::new().finish(1 << 20).unwrap();
    let file = tempfile::tempfile().unwrap();
    super::super::write(&disk, &[(SPARSE, &file)], 1, &|_| ()).unwrap();
    let text = descriptor(&disk, "monolithicSparse").unwrap();
    let at = text.windows(9).position(|word| word == b"parentCID").unwrap() as u64;
    file.write_all_at(b"parentCID=12345678", DESCRIPTOR_START * SECTOR + at).unwrap();
    let error = super::super::open(file).unwrap_err().to_string();
    assert!(error.contains("a parent, which is not supported"), "{error}");
}
