//! The id of a configuration: it covers every byte of every file that is produced, and everything they come with.

use std::collections::BTreeMap;

use argon2::{Algorithm, Argon2, Params, Version};
use bake_base::{Digest, json};
use bake_host::PackageId;
use bake_package::TreeManifest;
use serde_json::{Value, json};

use crate::{Body, ConfigFile, Error, Target};

/// The revision of the document that is hashed.
const SCHEMA: &str = "bake-config-id-1";
/// How many hex digits of a digest make an id.
pub const ID_DIGITS: usize = 40;
/// What a guess at a secret costs (RFC 9106, section 4, second recommendation, with one lane so that threads
/// don't matter): 64 MiB of memory ...
const MEMORY_KIB: u32 = 64 << 10;
/// ... gone over three times.
const PASSES: u32 = 3;

/// Everything that an id covers.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The files of the configuration, with those of hosts and with secrets.
    pub files: &'a [ConfigFile],
    /// The tree that is configured.
    pub tree: &'a TreeManifest,
    /// The operator's check programs.
    pub check_bins: Option<&'a PackageId>,
    /// The program that unpacks on hosts.
    pub pkgpanda: Digest,
    /// Texts that name the id themselves, rendered with an empty one: the installer, the index page, examples.
    pub texts: &'a BTreeMap<String, Digest>,
}

impl Inputs<'_> {
    /// The id: 40 hex digits.
    ///
    /// # Errors
    /// When there is no memory for hashing secrets.
    pub fn id(&self) -> Result<String, Error> {
        let public = Digest::of(&canonical(&self.public())?);
        let secrets = self.secrets();
        let document = match secrets.as_slice() {
            [] => json!({ "public": public }),
            secrets => json!({ "public": public, "secrets": slow_hash(secrets, &public)? }),
        };
        Ok(Digest::of(&canonical(&document)?).to_string()[..ID_DIGITS].to_owned())
    }

    fn public(&self) -> Value {
        let mut files: Vec<_> =
            self.files.iter().filter(|file| file.target != Target::Secret).map(described).collect();
        files.sort_by_key(ToString::to_string);
        let packages: BTreeMap<_, _> =
            self.tree.packages.iter().map(|(id, entry)| (id.to_string(), entry.sha256)).collect();
        json!({
            "schema": SCHEMA,
            "files": files,
            "bootstrap": { "id": self.tree.bootstrap.id, "sha256": self.tree.bootstrap.sha256 },
            "packages": packages,
            "check_bins": self.check_bins,
            "pkgpanda": self.pkgpanda,
            "texts": self.texts,
        })
    }

    /// All secrets, each with its path and length, so that no two sets of them read the same.
    fn secrets(&self) -> Vec<u8> {
        let mut files: Vec<_> = self.files.iter().filter(|file| file.target == Target::Secret).collect();
        files.sort();
        let mut bytes = Vec::new();
        for file in files {
            if let Body::File { mode, content } = &file.body {
                bytes.extend_from_slice(format!("{}\0{mode:o}\0{}\0", file.path, content.len()).as_bytes());
                bytes.extend_from_slice(content);
            }
        }
        bytes
    }
}

fn described(file: &ConfigFile) -> Value {
    let what = match &file.body {
        Body::File { mode, content } => {
            json!({ "mode": format!("{mode:04o}"), "sha256": Digest::of(content) })
        }
        Body::Link(target) => json!({ "link": target }),
    };
    json!({ "target": file.target.name(), "path": file.path, "what": what })
}

fn slow_hash(secrets: &[u8], salt: &Digest) -> Result<Digest, Error> {
    let failed = |reason: argon2::Error| Error::Render {
        what: "the id of the configuration".to_owned(),
        reason: reason.to_string(),
    };
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(failed)?;
    let mut hash = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(secrets, salt.as_bytes(), &mut hash).map_err(failed)?;
    Ok(Digest::from_bytes(hash))
}

fn canonical(document: &Value) -> Result<Vec<u8>, Error> {
    json::to_canonical(document).map_err(|error| Error::Render {
        what: "the id of the configuration".to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
