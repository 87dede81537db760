//! A product and the files of its configuration, from a serve directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bake_archive::{OpenOptions, open_rootfs};
use bake_host::product::{PRODUCT, Product, SCHEMA};
use bake_tree::{Node, Policy, Tree};

use super::{FileState, Side};
use crate::Error;
use crate::packages::{self, Made};

/// The largest document or file that is compared, in bytes.
const LARGEST: u64 = 64 << 20;

/// Reads a serve directory, or the document of one of its releases.
///
/// # Errors
/// When it is none, or a package of its configuration is missing or damaged.
pub fn read(path: &Path, scratch: &Path) -> Result<Side, Error> {
    let document = if path.is_dir() { path.join(PRODUCT) } else { path.to_owned() };
    let fix = "expected a serve directory or a product.json that `bake configure` made";
    let length =
        fs::metadata(&document).map_err(|_| Error::wrong(&document, format!("is not there: {fix}")))?.len();
    if length > LARGEST {
        return Err(Error::wrong(&document, format!("is too large: {fix}")));
    }
    let bytes = fs::read(&document).map_err(Error::io("reading", &document))?;
    let product: Product = serde_json::from_slice(&bytes)
        .map_err(|error| Error::wrong(&document, format!("is no product ({error}): {fix}")))?;
    if product.schema != SCHEMA {
        let message = format!("has schema `{}`: expected `{SCHEMA}`", product.schema);
        return Err(Error::wrong(&document, message));
    }
    let root = root(&document);
    let options = OpenOptions { scratch: scratch.to_owned(), ..OpenOptions::default() };
    let mut files = BTreeMap::new();
    for (id, blob) in product.packages.iter().filter(|(id, _)| packages::is_of_configuration(id)) {
        let at = root.join(&blob.path);
        let opened = open_rootfs(&at, &options)?;
        for input in opened.inputs {
            let found = input.digest.wait()?;
            if found != blob.sha256 {
                let message = format!("is damaged: its digest is {found}, expected {}", blob.sha256);
                return Err(Error::wrong(&at, message));
            }
        }
        let mut tree = Tree::new();
        let members = opened.layers.into_iter().flat_map(|(members, _)| members).collect();
        tree.apply(members, Policy::TAR).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            Error::wrong(&at, format!("cannot be used: {first}"))
        })?;
        collect(id.name().as_str(), &tree, &mut files).map_err(Error::io("reading", &at))?;
    }
    Ok(Side { product, files })
}

impl Side {
    /// A product that was just made.
    ///
    /// # Errors
    /// When there is no memory for its files.
    pub fn of(product: Product, made: &[Made]) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for made in made {
            let path = PathBuf::from(made.id.as_str());
            collect(made.id.name().as_str(), made.tree.tree(), &mut files)
                .map_err(Error::io("reading", &path))?;
        }
        Ok(Self { product, files })
    }
}

/// What paths in a document are relative to: `products/ID.json` lies one level lower.
fn root(document: &Path) -> PathBuf {
    let directory = document.parent().unwrap_or(Path::new(""));
    let is_copy = directory.file_name().is_some_and(|name| name == "products");
    let root = if is_copy { directory.parent().unwrap_or(directory) } else { directory };
    if root.as_os_str().is_empty() { PathBuf::from(".") } else { root.to_owned() }
}

fn collect(component: &str, tree: &Tree, files: &mut BTreeMap<String, FileState>) -> std::io::Result<()> {
    for (path, id) in tree.walk() {
        let inode = tree.inode(id);
        let state = match &inode.node {
            Node::File(content) => FileState {
                mode: format!("{:04o}", inode.metadata.mode),
                content: content.read_all(LARGEST)?,
            },
            Node::Symlink(target) => FileState { mode: "link".to_owned(), content: target.to_vec() },
            _ => continue,
        };
        files.insert(format!("{component}:{}", path.to_string().trim_start_matches('/')), state);
    }
    Ok(())
}
