//! Everything that one configuration brings to a serve directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bake_base::{Digest, json};
use bake_host::PackageId;
use bake_host::product::{PRODUCT, Product};
use serde_json::{Value, json};

use super::Item;
use crate::Error;
use crate::artifacts::Artifacts;
use crate::packages::Made;

/// The script that hosts run, the commit point of a serve directory.
pub const INSTALLER: &str = "dcos_install.sh";
/// How many hex digits of a digest make the id of a list of packages.
pub const LIST_ID_DIGITS: usize = 40;
/// The revision of lists of packages. It goes up when the same packages give another list.
const LIST_REVISION: u32 = 1;

/// Where the bytes of a file come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Made in this run.
    Bytes(Vec<u8>),
    /// An artifact; its digest is checked while it is copied.
    File(PathBuf),
}

/// What a serve directory gets.
#[derive(Clone, Debug)]
pub struct Release {
    /// The document about all of it.
    pub product: Product,
    /// Files that are called after their content.
    pub blobs: Vec<Item>,
    /// Files that say which of those is current.
    pub pointers: Vec<Item>,
    /// `dcos_install.sh`.
    pub installer: Item,
}

/// The id of the list of all packages of a cluster.
pub fn list_id(active: &[PackageId]) -> String {
    let document = json!({ "format_revision": LIST_REVISION, "packages": active });
    let document = json::to_canonical(&document).expect("a list of texts is JSON");
    Digest::of(&document).to_string()[..LIST_ID_DIGITS].to_owned()
}

impl Release {
    /// Puts together what `product` and its files become; `texts` are further files that change, such as the
    /// index page.
    ///
    /// # Errors
    /// When a document cannot be rendered.
    pub fn new(
        product: Product,
        artifacts: &Artifacts,
        made: &[Made],
        pkgpanda: Vec<u8>,
        installer: Vec<u8>,
        texts: Vec<Item>,
    ) -> Result<Self, Error> {
        let document = canonical(&product, PRODUCT)?;
        let list_id = list_id(&product.active);
        let list = canonical(&product.active, "the list of packages")?;
        let bootstrap = &product.bootstrap;
        let inside: Vec<_> = bootstrap.packages.keys().collect();
        let active = canonical(&inside, "the list of packages")?;
        let artifact = |path: &str, sha256, size| Item {
            path: path.to_owned(),
            mode: 0o644,
            sha256,
            size,
            source: Source::File(artifacts.directory.join(path)),
        };
        let tarball = artifacts.bootstrap();
        let mut blobs = vec![
            artifact(&tarball.path, tarball.sha256, tarball.size),
            Item::bytes(format!("bootstrap/{}.active.json", bootstrap.id), active),
        ];
        blobs.extend(
            artifacts.manifest.packages.values().map(|entry| artifact(&entry.path, entry.sha256, entry.size)),
        );
        blobs.extend(made.iter().map(|made| Item::bytes(package_path(&made.id), made.bytes.clone())));
        let program = Item::bytes(&product.pkgpanda.path, pkgpanda).executable();
        blobs.push(program.clone());
        blobs.push(Item::bytes(format!("package_lists/{list_id}.package_list.json"), list));
        blobs.push(Item::bytes(format!("products/{}.json", product.config_id), document.clone()));
        let installer = Item::bytes(INSTALLER, installer).executable();
        blobs.push(Item { path: installer_path(installer.sha256), ..installer.clone() });
        let mut pointers = vec![
            Item::bytes("bootstrap.latest", bootstrap.id.as_bytes()),
            Item::bytes("cluster-package-list.latest", list_id),
            Item::bytes("cluster-package-info.json", canonical(&info(made), "cluster-package-info.json")?),
            Item { path: "pkgpanda".to_owned(), ..program },
            Item::bytes(PRODUCT, document),
        ];
        pointers.extend(texts);
        Ok(Self { product, blobs, pointers, installer })
    }
}

/// Where an installer of this digest stays while its release does: what pins one, such as user data of hosts to
/// come, is right for as long.
pub fn installer_path(sha256: impl std::fmt::Display) -> String {
    format!("bin/{sha256}/{INSTALLER}")
}

/// Where a package lies in a serve directory.
pub fn package_path(id: &PackageId) -> String {
    format!("packages/{}/{id}.tar.xz", id.name())
}

/// The packages of the configuration, by component.
fn info(made: &[Made]) -> BTreeMap<String, Value> {
    let entry = |made: &Made| {
        let filename = package_path(&made.id);
        (made.id.name().to_string(), json!({ "id": made.id, "filename": filename }))
    };
    made.iter().map(entry).collect()
}

fn canonical(value: &impl serde::Serialize, what: &str) -> Result<Vec<u8>, Error> {
    json::to_canonical(value)
        .map_err(|error| Error::Render { what: what.to_owned(), reason: error.to_string() })
}
