//! Releases that are not current any more, and taking away what only they need.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use bake_host::product::Product;
use bake_host::{PackageId, product};

use super::directory::Directory;
use super::release::package_path;
use super::{INSTALLER, LIST_ID_DIGITS, Release, list_id};
use crate::Error;

/// The directory of one document for every release.
const PRODUCTS: &str = "products";

/// The releases in `out` beside the one of `current`.
pub fn generations(out: &Path, current: &str) -> Result<Vec<Product>, Error> {
    let mut generations = Vec::new();
    for name in names(&out.join(PRODUCTS))? {
        let Some(id) = name.strip_suffix(".json").filter(|id| is_hex(id, 40)) else { continue };
        if id == current {
            continue;
        }
        let path = out.join(PRODUCTS).join(&name);
        let bytes = fs::read(&path).map_err(Error::io("reading", &path))?;
        let product: Result<Product, _> = serde_json::from_slice(&bytes);
        match product {
            Ok(product) if product.schema == product::SCHEMA && product.config_id == id => {
                generations.push(product);
            }
            _ => {
                return Err(Error::wrong(
                    &path,
                    "is no product that this version knows: remove it if nobody needs it",
                ));
            }
        }
    }
    generations.sort_by(|a, b| a.config_id.cmp(&b.config_id));
    Ok(generations)
}

/// The paths of everything that a release refers to, and of its document.
pub fn files(product: &Product) -> BTreeSet<String> {
    let id = &product.bootstrap.id;
    let mut files = BTreeSet::from([
        product.bootstrap.blob.path.clone(),
        format!("bootstrap/{id}.active.json"),
        product.pkgpanda.path.clone(),
        format!("package_lists/{}.package_list.json", list_id(&product.active)),
        format!("{PRODUCTS}/{}.json", product.config_id),
    ]);
    files.extend(product.active.iter().map(package_path));
    files
}

/// Takes away all that is called as this tool calls files, or that it listed `earlier`, and that `release` does
/// not need.
pub fn prune<'a>(
    directory: &mut Directory,
    release: &Release,
    earlier: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    let items = release.blobs.iter().chain(&release.pointers).chain([&release.installer]);
    let needed: BTreeSet<_> = items.map(|item| item.path.clone()).collect();
    let mut found = Vec::new();
    let root = directory.root();
    // Documents first: without theirs, the files of a release are nobody's, whenever this is killed.
    for (place, ends) in [
        (PRODUCTS, &[".json"][..]),
        ("package_lists", &[".package_list.json"]),
        ("bootstrap", &[".bootstrap.tar.xz", ".active.json"]),
    ] {
        for name in names(&root.join(place))? {
            let id = ends.iter().find_map(|end| name.strip_suffix(end));
            if id.is_some_and(|id| is_hex(id, LIST_ID_DIGITS)) {
                found.push(format!("{place}/{name}"));
            }
        }
    }
    for component in names(&root.join("packages"))? {
        for name in names(&root.join("packages").join(&component))? {
            let id: Option<PackageId> = name.strip_suffix(".tar.xz").and_then(|id| id.parse().ok());
            if id.is_some_and(|id| id.name().as_str() == component) {
                found.push(format!("packages/{component}/{name}"));
            }
        }
    }
    for digest in names(&root.join("bin"))?.iter().filter(|name| is_hex(name, 64)) {
        found.extend(["pkgpanda", INSTALLER].map(|name| format!("bin/{digest}/{name}")));
    }
    found.extend(earlier.cloned());
    for path in found.iter().filter(|path| !needed.contains(*path)) {
        directory.remove(path)?;
    }
    Ok(())
}

/// The names in a directory, sorted; none when there is no such directory.
fn names(directory: &Path) -> Result<BTreeSet<String>, Error> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(BTreeSet::new());
        }
        result => result.map_err(Error::io("reading", directory))?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("reading", directory))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
