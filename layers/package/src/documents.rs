//! What a package says of itself, beside what its script made.

use bake_base::json;
use bake_host::PkgInfo;
use serde_json::{Value, json};

use crate::Error;
use crate::recipe::{Identified, SourceId};
use crate::source::Source;

/// `buildinfo.full.json` and `pkginfo.json`: what the package was made from, and what it tells hosts.
pub(crate) fn documents(package: &Identified<'_>) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let recipe = package.recipe;
    let mut full = json!({
        "build_ids": package.document,
        "name": recipe.name,
        "package_version": package.id.version(),
        "variant": recipe.variant.name(),
    });
    let sources = recipe.sources.iter().map(|(name, source)| (name.clone(), described(source)));
    full["sources"] = sources.collect::<serde_json::Map<_, _>>().into();
    let full = json::to_canonical(&full).map_err(|error| Error::package(&package.id, error))?;
    let info = PkgInfo {
        environment: recipe.environment.clone(),
        state_directory: recipe.state_directory,
        requires: recipe.requires.iter().cloned().collect(),
        username: recipe.username.clone(),
        group: recipe.group.clone(),
        sysctl: recipe.sysctl.clone(),
        variant: recipe.variant.clone(),
    };
    Ok(vec![("buildinfo.full.json", full), ("pkginfo.json", info.to_bytes())])
}

/// A source as the recipe gives it, for people who ask where a package comes from.
fn described(source: &Source) -> Value {
    let mut value = match source {
        Source::Git { url, ref_origin, .. } => json!({ "git": url, "ref_origin": ref_origin }),
        Source::GitLocal { rel_path } => json!({ "rel_path": rel_path }),
        Source::Url(download) | Source::UrlExtract(download) => json!({ "url": download.url }),
    };
    if let (Some(id), Value::Object(object)) = (SourceId::of(source), &mut value) {
        object.insert("id".to_owned(), json!(id));
    }
    value
}
