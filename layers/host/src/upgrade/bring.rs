//! Packages that a host lacks come into its store.

use std::path::Path;

use super::Source;
use crate::fetch::{self, Expected, Url};
use crate::host::{Host, Lock};
use crate::product::{Blob, Product};
use crate::store::{self, Added};
use crate::{Failure, PackageId};

/// A package that is active in a product, and its file.
type Lacking<'a> = Vec<(&'a PackageId, &'a Blob)>;

/// Brings every active package of a product that the host lacks. Says which, and gives their ids.
pub(super) fn bring(
    host: &Host,
    lock: &Lock,
    product: &Product,
    source: &Source,
    say: &mut dyn FnMut(String),
) -> Result<Vec<PackageId>, Failure> {
    let blob = |id| product.packages.get(id).or_else(|| product.bootstrap.packages.get(id));
    let there = host.packages()?;
    let active = product.active.iter().filter(|id| there.binary_search(id).is_err());
    let lacking: Lacking = active.filter_map(|id| Some((id, blob(id)?))).collect();
    let ids = lacking.iter().map(|(id, _)| (*id).clone()).collect();
    match source {
        Source::Directory(from) => of_directory(host, lock, product, from, lacking, say)?,
        Source::Server(url) => of_server(host, lock, url, lacking, say)?,
    }
    Ok(ids)
}

fn of_server(
    host: &Host,
    lock: &Lock,
    url: &Url,
    lacking: Lacking,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    for (id, blob) in lacking {
        let expected = Expected { sha256: Some(blob.sha256), size: Some(blob.size) };
        let added = fetch::fetch_as(host, lock, &format!("{url}/{}", blob.path), id, expected)?;
        told(id, added, "fetched", say);
    }
    Ok(())
}

/// A single file brings the bootstrap tarball and no packages of their own that are in it.
fn of_directory(
    host: &Host,
    lock: &Lock,
    product: &Product,
    from: &Path,
    lacking: Lacking,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let tarball = from.join(&product.bootstrap.blob.path);
    let inside = |id: &PackageId, blob: &Blob| {
        product.bootstrap.packages.contains_key(id) && !from.join(&blob.path).exists() && tarball.exists()
    };
    let (inside, alone): (Lacking, Lacking) = lacking.into_iter().partition(|(id, blob)| inside(id, blob));
    for (id, blob) in alone {
        let added = store::add(host, lock, id, &from.join(&blob.path), Some(blob.sha256))?;
        told(id, added, "added", say);
    }
    if inside.is_empty() {
        return Ok(());
    }
    let ids: Vec<PackageId> = inside.into_iter().map(|(id, _)| id.clone()).collect();
    store::add_inside(host, lock, &ids, &tarball, product.bootstrap.blob.sha256, &mut |id, note| {
        told(id, Added::Now(note), "added", say);
    })
}

fn told(id: &PackageId, added: Added, verb: &str, say: &mut dyn FnMut(String)) {
    say(format!("{verb} {id}"));
    if let Added::Now(Some(note)) = added {
        say(format!("note: {note}"));
    }
}
