use super::*;

#[test]
fn the_geometry_is_that_of_the_specifications_appendix() {
    for (sectors, expected) in [
        (0, (0, 4, 17)),
        (2048 * 100, (1003, 12, 17)),
        (2048 * 200, (825, 16, 31)),
        (2048 * 1024, (2080, 16, 63)),
        (2048 * 10_240, (20_805, 16, 63)),
        (2048 * 2_088_960, (65_535, 16, 255)),
    ] {
        assert_eq!(geometry(sectors), expected, "{sectors}");
    }
}

#[test]
fn a_size_that_azure_refuses_is_refused() {
    let plan = |len| (FIXED.plan)(&bake_base::LayoutBuilder::new().finish(len).unwrap()).map(|_| ());
    assert!(plan(MIB).is_ok());
    assert!(plan(MIB + 512).unwrap_err().contains("no multiple of 1048576"));
    assert!(plan(MAX_SIZE + MIB).unwrap_err().contains("2,040 GiB"));
}
