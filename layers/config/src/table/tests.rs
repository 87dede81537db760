use super::*;

#[test]
fn the_built_in_table_is_right() {
    let table = Table::builtin().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(table.parameters.len() > 230);
}
