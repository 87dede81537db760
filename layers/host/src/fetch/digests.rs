//! Who knows what a package's file has to be.

use std::collections::BTreeMap;

use bake_base::Digest;

use super::{Part, Url, download};
use crate::host::Host;
use crate::product::{Blob, Product};
use crate::{Failure, PackageId};

/// The list of digests in a serve directory.
const SUMS: &str = "SHA256SUMS";
/// The longest such list, in bytes.
const LONGEST: u64 = 16 << 20;

/// The files of all packages that products of any generation name.
pub(crate) fn of_products(host: &Host) -> Result<BTreeMap<PackageId, Blob>, Failure> {
    let mut blobs = BTreeMap::new();
    for number in host.generations()? {
        // Neither a generation that nobody can read nor one without a product tells anything.
        let Ok(present) = host.present(number) else { continue };
        let product = present.product.and_then(|bytes| serde_json::from_slice::<Product>(&bytes).ok());
        if let Some(product) = product {
            blobs.extend(product.bootstrap.packages);
            blobs.extend(product.packages);
        }
    }
    Ok(blobs)
}

/// The digest that the serve directory itself tells of the file at `path`; none if it tells none and none is needed.
pub(super) fn of_server(
    host: &Host,
    url: &Url,
    path: &str,
    unverified: bool,
) -> Result<Option<Digest>, Failure> {
    let sums = url.join(SUMS);
    let part = Part::new(host, ".SHA256SUMS.unfinished")?;
    part.remove()?;
    let read = download::download(&sums, &part.path, &part.shown, LONGEST, None)
        .and_then(|()| std::fs::read_to_string(&part.path).map_err(Failure::io("reading", &sums)));
    part.remove()?;
    let reason = match read.map(|text| find(&text, path)) {
        Ok(Some(digest)) => return Ok(Some(digest)),
        Ok(None) => format!("`{sums}` does not list it"),
        Err(failure) => failure.to_string(),
    };
    if unverified {
        return Ok(None);
    }
    Err(Failure::new(format!(
        "nobody knows the digest of `{}`: no product on this host has it, and {reason}; serve it with its \
         {SUMS}, or give --unverified",
        url.join(path)
    )))
}

/// The digest of `path` in a list as `sha256sum` writes it.
fn find(text: &str, path: &str) -> Option<Digest> {
    let line = |line: &str| {
        let (digest, name) = line.split_once(' ')?;
        let name = name.strip_prefix([' ', '*'])?;
        (name.strip_prefix("./").unwrap_or(name) == path).then(|| digest.parse().ok())?
    };
    text.lines().find_map(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_sha256sum_writes_them() {
        let digest = Digest::of(b"");
        let text = format!("{digest}  packages/a/a--1.tar.xz\n{digest} *./b\n0  c\n{digest} d\n");
        for (path, found) in [("packages/a/a--1.tar.xz", true), ("b", true), ("c", false), ("d", false)] {
            assert_eq!(find(&text, path), found.then_some(digest), "{path}");
        }
    }
}
