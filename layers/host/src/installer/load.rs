//! The product's document.

use std::fs;
use std::path::Path;

use bake_base::Digest;
use bake_tree::TreePath;

use crate::Failure;
use crate::product::{Product, SCHEMA};

/// A document and its bytes.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub product: Product,
    /// The bytes that say it.
    pub bytes: Vec<u8>,
}

/// Reads a product's document, which is to have this digest.
///
/// # Errors
/// When it cannot be read, is another one, or says something impossible.
pub fn load(path: &Path, sha256: Option<Digest>) -> Result<Loaded, Failure> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(Failure::io("reading", path.display()))?;
    let found = Digest::of(&bytes);
    if let Some(expected) = sha256.filter(|expected| *expected != found) {
        return Err(Failure::new(format!("`{shown}` has the digest {found}: expected {expected}")));
    }
    let product = parse(&bytes).map_err(|reason| Failure::new(format!("`{shown}` {reason}")))?;
    Ok(Loaded { product, bytes })
}

/// What `bytes` say.
pub(crate) fn parse(bytes: &[u8]) -> Result<Product, String> {
    let product: Product =
        serde_json::from_slice(bytes).map_err(|error| format!("is no product: {error}"))?;
    if product.schema != SCHEMA {
        return Err(format!("has the schema `{}`: expected {SCHEMA}; take a newer pkgpanda", product.schema));
    }
    let is_id =
        product.config_id.len() == 40 && product.config_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(format!("has the config_id `{}`: expected 40 hex digits", product.config_id));
    }
    let blobs = product.packages.values().chain(product.bootstrap.packages.values());
    let blobs = blobs.chain([&product.bootstrap.blob, &product.pkgpanda]);
    for blob in blobs {
        let path = TreePath::parse(blob.path.as_bytes());
        if path.is_err() || path.is_ok_and(|path| path.is_root()) {
            return Err(format!("names the file `{}`: expected a relative path without `..`", blob.path));
        }
    }
    if let Some(id) = product.packages.keys().find(|id| product.bootstrap.packages.contains_key(id)) {
        return Err(format!("has `{id}` twice: in the bootstrap tarball and beside it"));
    }
    for id in &product.active {
        if !product.packages.contains_key(id) && !product.bootstrap.packages.contains_key(id) {
            return Err(format!("activates `{id}`, which it does not have"));
        }
    }
    Ok(product)
}
