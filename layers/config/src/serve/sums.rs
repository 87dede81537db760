//! `SHA256SUMS` of a serve directory: every file that this tool put there, itself excepted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path};

use bake_base::{Digest, DigestReader};
use bake_host::product::Product;

use super::{Item, Release, prune};
use crate::Error;

/// Its name.
const NAME: &str = "SHA256SUMS";

/// The list for `release` and what is `kept` beside it.
pub fn item(release: &Release, kept: BTreeMap<String, Digest>) -> Item {
    let mut sums = kept;
    let items = release.blobs.iter().chain(&release.pointers).chain([&release.installer]);
    sums.extend(items.map(|item| (item.path.clone(), item.sha256)));
    let text: String = sums.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
    Item::bytes(NAME, text)
}

/// The files of other releases that are there.
pub fn of_generations(products: &[Product], out: &Path) -> Result<BTreeMap<String, Digest>, Error> {
    let mut sums = BTreeMap::new();
    for path in products.iter().flat_map(prune::files) {
        // What was lost or taken away is nobody's.
        if let Some(digest) = digest(&out.join(&path))? {
            sums.insert(path, digest);
        }
    }
    Ok(sums)
}

/// What an earlier list has that is still as it was; somebody else's are files that are not.
pub fn earlier(out: &Path) -> Result<BTreeMap<String, Digest>, Error> {
    let at = out.join(NAME);
    let text = match fs::read(&at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        result => result.map_err(Error::io("reading", &at))?,
    };
    let mut sums = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((listed, path)) = line.split_once("  ") else { continue };
        if is_within(out, path)
            && let Some(found) = digest(&out.join(path))?
            && found.to_string() == listed
        {
            sums.insert(path.to_owned(), found);
        }
    }
    Ok(sums)
}

/// Whether a path leads nowhere else, neither by `..` nor by a link.
fn is_within(out: &Path, path: &str) -> bool {
    let mut at = out.to_owned();
    let is_plain = Path::new(path).components().all(|component| {
        at.push(component);
        matches!(component, Component::Normal(_))
            && fs::symlink_metadata(&at).is_ok_and(|found| !found.is_symlink())
    });
    is_plain && at.is_file()
}

fn digest(path: &Path) -> Result<Option<Digest>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(Error::io("opening", path))?,
    };
    let (digest, _) = DigestReader::new(file).drain().map_err(Error::io("reading", path))?;
    Ok(Some(digest))
}
