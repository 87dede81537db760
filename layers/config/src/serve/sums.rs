//! `SHA256SUMS` of a serve directory: every file that this tool put there, itself excepted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use bake_base::{Digest, DigestReader};
use bake_host::product::Product;

use super::{Item, Release, prune};
use crate::Error;

/// The list for `release` and the `others` that stay in `out`.
pub fn item(release: &Release, others: &[Product], out: &Path) -> Result<Item, Error> {
    let mut sums: BTreeMap<String, Digest> = BTreeMap::new();
    for product in others {
        for path in prune::files(product) {
            // What was lost or taken away is nobody's.
            if let Some(digest) = digest(&out.join(&path))? {
                sums.insert(path, digest);
            }
        }
    }
    let items = release.blobs.iter().chain(&release.pointers).chain([&release.installer]);
    sums.extend(items.map(|item| (item.path.clone(), item.sha256)));
    let text: String = sums.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
    Ok(Item::bytes("SHA256SUMS", text))
}

fn digest(path: &Path) -> Result<Option<Digest>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(Error::io("opening", path))?,
    };
    let (digest, _) = DigestReader::new(file).drain().map_err(Error::io("reading", path))?;
    Ok(Some(digest))
}
