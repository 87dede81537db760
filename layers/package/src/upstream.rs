//! The tree that `upstream.json` names, checked out.

use std::fs;
use std::path::{Path, PathBuf};

use bake_archive::remove_tree;

use crate::Error;
use crate::cache::Cache;
use crate::fetch::{Content, Fetcher, Wanted};
use crate::kept::{make_directory, write_bytes};
use crate::recipe::RecipeTree;

/// Where the upstream of the tree in `directory` lies, checked out anew if it is another one than before; nothing
/// when the tree has none.
///
/// # Errors
/// When `upstream.json` is wrong, or what it names cannot be had.
pub fn check_out_upstream(directory: &Path, fetcher: &Fetcher) -> Result<Option<PathBuf>, Error> {
    let Some(source) = RecipeTree::upstream(directory)? else { return Ok(None) };
    let cache_dir = Cache::of(directory).upstream();
    make_directory(&cache_dir)?;
    let wanted = Wanted {
        package: "upstream.json",
        name: "upstream",
        source: &source,
        recipe_dir: directory,
        cache_dir: &cache_dir,
    };
    let fetched = fetcher.ensure(&wanted)?;
    let version = match &fetched.content {
        Content::File { sha256, .. } => sha256.to_string(),
        Content::Repository { commit, .. } => commit.to_string(),
    };
    let (checkout, note) = (cache_dir.join("checkout"), cache_dir.join("checkout.version"));
    if fs::read(&note).is_ok_and(|there| there == version.as_bytes()) {
        return Ok(Some(checkout));
    }
    // Without a note, nobody takes half a checkout for a whole one.
    let _ = fs::remove_file(&note);
    remove_tree(&checkout)?;
    fetcher.materialise(&fetched, &checkout)?;
    write_bytes(&note, version.as_bytes())?;
    Ok(Some(checkout))
}
