//! A configured product: what `bake configure` wrote, laid out by the functions that hosts use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bake_host::assemble::{Layer, layers};
use bake_host::installer::{self, Loaded};
use bake_host::integration::HostFileError;
use bake_host::product::PRODUCT;
use bake_host::{Failure, Role, integration};
use bake_tree::{Member, Tree};

use super::Product;
use crate::error::Error;

/// The document of a configured product, if `path` is one or a serve directory.
pub fn document(path: &Path) -> Option<PathBuf> {
    let inside = path.join(PRODUCT);
    if inside.is_file() {
        return Some(inside);
    }
    path.extension().is_some_and(|extension| extension == "json").then(|| path.to_owned())
}

/// A configured product whose files have been verified.
pub struct Configured {
    loaded: Loaded,
    directory: PathBuf,
}

impl Configured {
    /// Reads a document and verifies every file that it names.
    ///
    /// # Errors
    /// When the document is none, or a file is missing or not what it should be.
    pub fn read(document: &Path) -> Result<Self, Error> {
        let failed = |failure: Failure| Error::Product(failure.to_string());
        let loaded = installer::load(document, None).map_err(failed)?;
        let directory = document.parent().unwrap_or(Path::new("")).to_owned();
        installer::verify(&loaded.product, &directory).map_err(failed)?;
        Ok(Self { loaded, directory })
    }

    /// The bytes of the document.
    pub fn document(&self) -> &[u8] {
        &self.loaded.bytes
    }

    /// Its archives, in order.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        layers(&self.loaded.product)
    }

    /// Where an archive lies.
    pub fn file(&self, layer: &Layer) -> PathBuf {
        self.directory.join(&layer.blob.path)
    }

    /// An archive's members as they lie in an image.
    ///
    /// # Errors
    /// When it holds what no package may.
    pub fn place(layer: &Layer, members: Vec<Member>) -> Result<Vec<Member>, Error> {
        let within = |error| Error::Product(format!("`{}`: {error}", layer.blob.path));
        layer.place(members, &super::install_root()?).map_err(within)
    }

    /// Links the packages in the tree, for hosts with `roles`.
    ///
    /// # Errors
    /// When they do not fit together, or the product brings a file that no host can have.
    pub fn assemble(&self, tree: &mut Tree, roles: BTreeSet<Role>) -> Result<Product, Error> {
        let Loaded { product, bytes } = &self.loaded;
        let root = super::assembled(tree, &product.active, &roles, Some(bytes))?;
        let refuse = |problems: Vec<HostFileError>| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Error::Product(problems.join("; "))
        };
        let files = integration::product_files(product).map_err(refuse)?;
        let secrets = integration::secret_paths(product).map_err(refuse)?.into_keys().collect();
        Ok(Product { configuration: Some(product.config_id.clone()), root, roles, files, secrets })
    }

    /// What an image of the product lacks.
    pub fn notes(&self) -> Option<String> {
        let secrets = &self.loaded.product.secrets;
        let list = secrets.join(", ");
        (!secrets.is_empty())
            .then(|| format!("secrets are not baked; each host needs them with mode 0600: {list}"))
    }
}
