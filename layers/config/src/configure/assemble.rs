//! Files of a configuration and artifacts become a product and everything that is served.

use std::collections::BTreeMap;

use bake_base::{Digest, json};
use bake_host::PackageId;
use bake_host::product::{Blob, Bootstrap, HostFile, PRODUCT, Product, SCHEMA};
use bake_package::{Entry, Program, elf};

use super::{Plan, preflight, roles};
use crate::artifacts::{Artifacts, Inside};
use crate::examples::{self, ExampleData};
use crate::identity::Inputs;
use crate::installer::{self, InstallerData};
use crate::packages::{self, CheckBins, Made};
use crate::serve::{self, INSTALLER, Item, Page, Release, Row};
use crate::upgrade::{self, UPGRADER};
use crate::{Body, ConfigFile, Effective, Error, Target};

/// Where hosts find which list of packages is theirs.
pub(crate) const LIST_FLAG: &str = "/etc/mesosphere/setup-flags/cluster-package-list";

/// A configuration with everything that is served.
#[derive(Debug)]
pub struct Configured {
    /// What the serve directory gets.
    pub release: Release,
    /// The packages of the configuration.
    pub made: Vec<Made>,
    /// What the installer is made of, for the single file.
    pub installer: InstallerData,
}

/// What does not depend on the id of the configuration.
struct Parts<'a> {
    effective: &'a Effective,
    files: &'a [ConfigFile],
    artifacts: &'a Artifacts,
    check_bins: Option<&'a CheckBins>,
    pkgpanda: Blob,
    machine: &'static str,
    roles: Vec<String>,
}

/// What names the id.
struct Named {
    product: Product,
    made: Vec<Made>,
    data: InstallerData,
    script: Vec<u8>,
    texts: Vec<Item>,
}

impl Configured {
    /// Makes everything of a plan.
    ///
    /// # Errors
    /// When packages do not fit together, or a value cannot be written where it has to be.
    pub fn new(
        plan: &Plan,
        artifacts: &Artifacts,
        inside: &Inside,
        check_bins: Option<&CheckBins>,
    ) -> Result<Self, Error> {
        let Program { bytes, sha256, machine, .. } = &inside.pkgpanda;
        let path = format!("bin/{sha256}/pkgpanda");
        let parts = Parts {
            effective: &plan.effective,
            files: &plan.files,
            artifacts,
            check_bins,
            pkgpanda: Blob { path, sha256: *sha256, size: bytes.len() as u64 },
            machine: elf::name(*machine).unwrap_or_default(),
            roles: roles(inside),
        };
        let without_id = parts.named("")?;
        packages::check(&inside.packages, &without_id.made)?;
        let mut texts: BTreeMap<_, _> =
            without_id.texts.iter().map(|item| (item.path.clone(), item.sha256)).collect();
        texts.insert(INSTALLER.to_owned(), Digest::of(&without_id.script));
        let inputs = Inputs {
            files: &plan.files,
            tree: &artifacts.manifest,
            check_bins: check_bins.map(|bins| &bins.id),
            pkgpanda: *sha256,
            texts: &texts,
        };
        let Named { product, made, data, script, texts } = parts.named(&inputs.id()?)?;
        let release = Release::new(product, artifacts, &made, bytes.clone(), script, texts)?;
        Ok(Self { release, made, installer: data })
    }
}

impl Parts<'_> {
    /// Everything that names the id, for this one.
    fn named(&self, config_id: &str) -> Result<Named, Error> {
        let made = packages::make_all(self.files, config_id, self.check_bins)?;
        let product = self.product(config_id, &made)?;
        let document = json::to_canonical(&product)
            .map_err(|error| Error::Render { what: PRODUCT.to_owned(), reason: error.to_string() })?;
        let data = InstallerData {
            cluster_name: self.text("cluster_name"),
            bootstrap_url: self.text("bootstrap_url"),
            machine: self.machine.to_owned(),
            roles: self.roles.clone(),
            preflight: preflight::preflight(self.effective),
            ..InstallerData::of(&product, &document)
        };
        let script = installer::script(&data)?;
        let upgrader = Item::bytes(UPGRADER, upgrade::script(&data, &product)?).executable();
        let texts = self.texts(&data, &script, upgrader, &product, &made)?;
        Ok(Named { product, made, data, script, texts })
    }

    fn product(&self, config_id: &str, made: &[Made]) -> Result<Product, Error> {
        let manifest = &self.artifacts.manifest;
        let of_entry =
            |entry: &Entry| Blob { path: entry.path.clone(), sha256: entry.sha256, size: entry.size };
        let own = |made: &Made| {
            let path = serve::package_path(&made.id);
            (made.id.clone(), Blob { path, sha256: made.digest, size: made.bytes.len() as u64 })
        };
        let inside = manifest.packages.iter().filter(|(id, _)| manifest.bootstrap.packages.contains(id));
        let beside = self.artifacts.beside_bootstrap().map(|(id, entry)| (id.clone(), of_entry(entry)));
        let mut active: Vec<PackageId> = manifest.packages.keys().cloned().collect();
        active.extend(made.iter().map(|made| made.id.clone()));
        active.sort();
        let mut files = BTreeMap::new();
        let mut secrets = Vec::new();
        for file in self.files {
            match (&file.body, file.target) {
                (Body::File { mode, content }, Target::Host) => {
                    let content = String::from_utf8(content.clone()).map_err(|error| Error::Render {
                        what: format!("`{}`", file.path),
                        reason: error.to_string(),
                    })?;
                    files.insert(file.path.clone(), HostFile { mode: format!("{mode:04o}"), content });
                }
                (Body::File { .. }, Target::Secret) => secrets.push(file.path.clone()),
                _ => {}
            }
        }
        let list = HostFile { mode: "0644".to_owned(), content: serve::list_id(&active) };
        if files.insert(LIST_FLAG.to_owned(), list).is_some() {
            let reason = "the file is written for every configuration: use another path".to_owned();
            return Err(Error::Render { what: format!("`{LIST_FLAG}`"), reason });
        }
        secrets.sort();
        Ok(Product {
            schema: SCHEMA.to_owned(),
            config_id: config_id.to_owned(),
            bootstrap: Bootstrap {
                id: manifest.bootstrap.id.clone(),
                packages: inside.map(|(id, entry)| (id.clone(), of_entry(entry))).collect(),
                blob: of_entry(&self.artifacts.bootstrap()),
            },
            packages: beside.chain(made.iter().map(own)).collect(),
            active,
            files,
            secrets,
            pkgpanda: self.pkgpanda.clone(),
        })
    }

    /// The texts for people and for other tools.
    fn texts(
        &self,
        data: &InstallerData,
        script: &[u8],
        upgrader: Item,
        product: &Product,
        made: &[Made],
    ) -> Result<Vec<Item>, Error> {
        let examples = examples::render(&ExampleData {
            config_id: data.config_id.clone(),
            cluster_name: data.cluster_name.clone(),
            bootstrap_url: data.bootstrap_url.clone(),
            installer_sha256: Some(Digest::of(script)),
            roles: data.roles.clone(),
            secrets: product.secrets.clone(),
        })?;
        let paths: Vec<_> = examples.iter().map(|(path, _)| path.clone()).collect();
        let row = |name: &str, path: &str, sha256: Digest, size: u64| Row {
            name: name.to_owned(),
            path: path.to_owned(),
            sha256: sha256.to_string(),
            size,
        };
        let blob = |name: &str, blob: &Blob| row(name, &blob.path, blob.sha256, blob.size);
        let mut files = vec![
            row(INSTALLER, INSTALLER, Digest::of(script), script.len() as u64),
            row(UPGRADER, UPGRADER, upgrader.sha256, upgrader.size),
            blob("pkgpanda", &product.pkgpanda),
            blob(&format!("bootstrap {}", product.bootstrap.id), &product.bootstrap.blob),
        ];
        let own = made.iter().map(|made| {
            let path = serve::package_path(&made.id);
            row(made.id.as_str(), &path, made.digest, made.bytes.len() as u64)
        });
        let tree = self.artifacts.manifest.packages.iter();
        files.extend(
            own.chain(tree.map(|(id, entry)| row(id.as_str(), &entry.path, entry.sha256, entry.size))),
        );
        let page = Page {
            cluster_name: &data.cluster_name,
            bootstrap_url: &data.bootstrap_url,
            config_id: &data.config_id,
            secrets: !product.secrets.is_empty(),
            examples: &paths,
            files,
        };
        let mut texts: Vec<_> = examples.into_iter().map(|(path, bytes)| Item::bytes(path, bytes)).collect();
        texts.extend([page.item()?, upgrader]);
        Ok(texts)
    }

    fn text(&self, name: &str) -> String {
        let value = self.effective.get(name).and_then(serde_json::Value::as_str);
        value.unwrap_or_default().to_owned()
    }
}
