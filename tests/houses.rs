//! The layers import only downwards, as the README's table says.

use std::collections::BTreeMap;
use std::path::Path;

/// Each layer and what it may import. `host` reads and writes partition tables: a machine's first boot gives its disk
/// ids of its own.
const HOUSE: [(&str, &[&str]); 11] = [
    ("base", &[]),
    ("tree", &["base"]),
    ("archive", &["base", "tree"]),
    ("fs", &["base", "tree"]),
    ("disk", &["base"]),
    ("boot", &["base", "tree", "archive"]),
    ("host", &["base", "tree", "archive", "disk"]),
    ("package", &["base", "tree", "archive", "host"]),
    ("config", &["base", "tree", "archive", "host", "package"]),
    ("image", &["base", "tree", "archive", "fs", "disk", "boot", "host", "package"]),
    ("publish", &["base", "disk"]),
];

#[test]
fn every_layer_imports_only_what_lies_below_it() {
    let layers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers");
    let house: BTreeMap<_, _> = HOUSE.into_iter().collect();
    let mut seen = 0;
    for entry in std::fs::read_dir(&layers).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let allowed = house.get(name).unwrap_or_else(|| panic!("`layers/{name}` has no place in the house"));
        let manifest: toml::Table =
            std::fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
        for dependency in manifest["dependencies"].as_table().unwrap().keys() {
            if let Some(layer) = dependency.strip_prefix("bake-") {
                assert!(allowed.contains(&layer), "`{name}` imports `{layer}`, which does not lie below it");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, HOUSE.len());
}
