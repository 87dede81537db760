//! The document of the product that the current generation was made from, which its record vouches for.

use bake_base::Digest;

use super::report::What;
use super::wanted::{At, Judged, Part, plain};
use super::{difference, expected};
use crate::host::Present;
use crate::product::Product;

/// What it says, if it is the one that the record vouches for, and what is wrong with it.
pub(crate) fn read(present: &Present) -> (Option<Product>, Vec<Judged>) {
    let (mut product, mut judged) = (None, Vec::new());
    let Some(bytes) = &present.product else { return (product, judged) };
    let mut say = |what, expected: &str, found| {
        let at = At::Home(expected::product_path(present.number));
        judged.push(difference(at, what, expected, found, Part::State));
    };
    if present.generation.product.is_none() {
        let found = format!("a file with sha256 {}", Digest::of(bytes));
        say(What::Unverifiable, "nothing, or its digest in generation.json", found);
    }
    match serde_json::from_slice(bytes) {
        Ok(read) => product = Some(read),
        Err(error) => say(What::Record, "a product", plain(error.to_string().as_bytes())),
    }
    (product, judged)
}

/// A file that a record vouches for is as much as a part of it.
pub(crate) fn as_record(mut judged: Judged) -> Judged {
    if matches!(judged.difference.what, What::Missing | What::Type | What::Content | What::Unreadable) {
        judged.difference.what = What::Record;
    }
    judged
}
