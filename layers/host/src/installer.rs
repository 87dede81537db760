//! A product onto a host, or into a root file system: verified, all or nothing, and by names that are resolved
//! below the root alone, whatever links lie there.
//!
//! The install root is staged beside its place and gets there by one rename. Files of the host come after that,
//! and the link that has everything started at boot comes last, so that a run that was killed at any
//! instruction leaves a host that starts either nothing or all of it; the next run finishes.

mod blob;
mod commit;
mod load;
pub(crate) mod roles;
mod secrets;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bake_archive::extract_at;
use bake_base::Digest;
use bake_tree::{Tree, TreePath, ValidTree};

use crate::assemble::{assemble, layers};
use crate::created::{Belongings, Laid};
use crate::integration::{self, HostEntry};
use crate::persist::{self, Persistent};
use crate::place::Root;
use crate::product::Product;
use crate::{Failure, InstallRoot, Role};

pub(crate) use commit::Commit;
pub(crate) use load::parse;
pub use load::{Loaded, load};
pub(crate) use secrets::read as read_secrets;
pub use unpack::unpack;

/// What is to be installed and where.
#[derive(Clone, Debug)]
pub struct Request {
    /// The product's document.
    pub product: PathBuf,
    /// Its digest, if that is known.
    pub sha256: Option<Digest>,
    /// The directory that the product's files lie in.
    pub from: PathBuf,
    /// The root of the host.
    pub root: PathBuf,
    /// What the host is to be; empty leaves it as it is.
    pub roles: BTreeSet<Role>,
    /// The archive with the product's secrets.
    pub secrets: Option<PathBuf>,
}

/// What an installation did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Installed {
    /// The configuration that is installed.
    pub config_id: String,
    /// Whether nothing was to be done.
    pub already: bool,
    /// What was done, in order.
    pub done: Vec<String>,
    /// What the host still lacks.
    pub notes: Vec<String>,
}

/// Verifies every file of a product.
///
/// # Errors
/// What is wrong with the document, or with every file that is missing or not what it should be.
pub fn verify(product: &Product, from: &std::path::Path) -> Result<(), Failure> {
    let mut blobs: Vec<_> = layers(product).into_iter().map(|layer| layer.blob).collect();
    blobs.push(&product.pkgpanda);
    let problems = blobs.into_iter().filter_map(|blob| blob::verify(blob, from).err());
    let problems: Vec<String> = problems.map(|failure| failure.to_string()).collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(problems.join("\n"))) }
}

/// Installs a product, or what is missing of one. Tells `step` what is done, as it is done.
///
/// # Errors
/// When anything is not what it should be. The install root is not there then, or as it was.
pub fn install(request: &Request, step: &mut dyn FnMut(&str)) -> Result<Installed, Failure> {
    let loaded = load(&request.product, request.sha256)?;
    let Loaded { product, bytes } = &loaded;
    let files = integration::product_files(product).map_err(Failure::each)?;
    let secret_paths = integration::secret_paths(product).map_err(Failure::each)?;
    let secrets = request.secrets.as_ref().map(|tar| secrets::read(tar, &secret_paths)).transpose()?;
    let root = Root::open(&request.root)?;
    let mut commit = Commit::begin(&root, Some(&product.config_id))?;
    let mut done = Vec::new();
    let mut say = |what: String| {
        step(&what);
        done.push(what);
    };
    let roles = roles::roles(&root, &request.roles, commit.roles())?;
    let mut notes = Vec::new();
    let secrets = match secrets {
        Some(secrets) => secrets,
        None => {
            let missing = roles::missing(&root, secret_paths.keys())?;
            if !missing.is_empty() && root.is_running() {
                let list = missing.join(", ");
                return Err(Failure::new(format!("secrets are missing: {list}: bring them with --secrets")));
            }
            notes.extend(missing.into_iter().map(|path| format!("secret {path} is missing")));
            BTreeMap::new()
        }
    };
    if !commit.is_staged() {
        let secrets = secret_paths.into_keys().collect();
        let (tree, packages) = stage(product, bytes, &request.from, &root, &roles)?;
        let belongings = Belongings {
            files: &files,
            secrets: &secrets,
            roles: &roles,
            users: &packages.users,
            state_directories: &packages.state_directories,
        };
        say(format!("verified {} files", product.packages.len() + 1));
        stage_root(&root, &mut commit, tree, &belongings)?;
        say("unpacked /opt/mesosphere".to_owned());
    }
    if !commit.is_done() {
        commit.finish().inspect_err(|_| commit.abandon())?;
        say(format!("installed {}", product.config_id));
    }
    let secrets = secrets.into_iter().map(|(path, content)| (path, HostEntry { mode: 0o600, content }));
    let wanted = Persistent { files: Some(files), secrets: secrets.collect(), roles };
    persist::persist(&root, &wanted, &mut say)?;
    Ok(Installed { config_id: product.config_id.clone(), already: done.is_empty(), done, notes })
}

/// Stages an install root with the record of everything that it is going to have outside of itself.
pub(crate) fn stage_root(
    root: &Root,
    commit: &mut Commit<'_>,
    mut tree: Tree,
    belongings: &Belongings<'_>,
) -> Result<(), Failure> {
    let record = Laid::new(root, &belongings.created())?.with(commit.made())?;
    record.lay(&mut tree, &TreePath::root())?;
    let tree = ValidTree::new(tree).map_err(Failure::each)?;
    commit.stage(|label, directory| {
        let home = directory.try_clone().map_err(Failure::io("opening", label))?;
        extract_at(&tree, label, directory).map_err(|error| Failure::of(&error))?;
        record.give(&home)
    })
}

/// The install root as a tree, made from verified archives.
fn stage(
    product: &Product,
    record: &[u8],
    from: &std::path::Path,
    root: &Root,
    roles: &BTreeSet<Role>,
) -> Result<(Tree, InstallRoot), Failure> {
    let (mut tree, top) = (Tree::new(), TreePath::root());
    let scratch = root.scratch()?;
    for layer in layers(product) {
        let within = |reason: String| Failure::new(format!("`{}`: {reason}", layer.blob.path));
        let opened = blob::open(layer.blob, from, &scratch)?;
        for (members, policy) in opened.layers {
            let members = layer.place(members, &top).map_err(|error| within(error.to_string()))?;
            tree.apply(members, policy).map_err(|found| within(found[0].to_string()))?;
        }
        tree.seal();
        // Of what is compressed it is known; of plain archives it is the digest of what was read in place.
        blob::check_digest(layer.blob, opened.inputs)?;
    }
    let laid = assemble(&mut tree, &top, &product.active, roles, Some(record));
    let (packages, _) = laid.map_err(|error| Failure::of(&error))?;
    Ok((tree, packages))
}
