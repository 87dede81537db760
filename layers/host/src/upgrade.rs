//! A host gets another product, and goes back by itself when it is not well with it.
//!
//! Packages come first, each verified; then what has to be right is asked: secrets, checks of what runs now, and
//! everything that an activation asks. Only then anything changes. What becomes current has a bounded time to be
//! well.

mod bring;
mod health;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bake_base::Digest;
use bake_tree::TreePath;
use serde::Serialize;

use crate::activate::{self, Changed, Plan, Stop, Wanted, change_with};
use crate::fetch::Url;
use crate::generation::Number;
use crate::host::{Host, Lock, Present};
use crate::installer::{self, Loaded};
use crate::secrets::{self, Secrets};
use crate::{Failure, PackageId, files, integration};

/// How long one program of a package may take.
pub const CHECK_LIMIT: Duration = Duration::from_mins(1);

/// Where the files of a product are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a directory, by the paths that the product names. The bootstrap tarball does for the packages in it.
    Directory(PathBuf),
    /// In a serve directory.
    Server(Url),
}

/// What a host is to be upgraded to, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The product's document.
    pub product: PathBuf,
    /// The digest that this document must have.
    pub sha256: Option<Digest>,
    /// Where the product's files are.
    pub source: Source,
    /// The archive with the product's secrets.
    pub secrets: Option<PathBuf>,
    /// How the host is asked whether it is well; none: not at all.
    pub checks: Option<Checks>,
}

/// How a host is asked whether it is well.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// How long it may take to be well.
    pub timeout: Duration,
    /// Whether it goes back when it is not.
    pub rollback: bool,
}

/// A product that a host can be upgraded to: all of its packages are there.
#[derive(Debug)]
pub struct Ready {
    loaded: Loaded,
    current: Present,
    wanted: Wanted,
    /// Secrets that the host lacks, or has otherwise.
    secrets: Secrets,
    /// Packages that had to come.
    pub brought: Vec<PackageId>,
}

/// How an upgrade ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The product was active before.
    Already,
    /// The product is active.
    Upgraded,
    /// The host was not well with it, and is what it was.
    RolledBack,
    /// The host is not well with it.
    Unwell,
}

/// What became of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// How it ended.
    pub outcome: Outcome,
    /// The configuration that was wanted.
    pub config_id: String,
    /// The generation that was current before.
    pub before: Number,
    /// The generation that is current now.
    pub generation: Number,
    /// Packages that had to come.
    pub brought: Vec<PackageId>,
    /// What was not well.
    pub unwell: Vec<String>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Has everything there that the upgrade needs. Beside packages that nobody uses yet, the host stays as it is.
///
/// # Errors
/// When the product says something impossible, a secret is missing, or a package cannot be had.
pub fn prepare(
    host: &Host,
    lock: &Lock,
    request: &Request,
    say: &mut dyn FnMut(String),
) -> Result<Ready, Failure> {
    let loaded = installer::load(&request.product, request.sha256)?;
    let current = host.current()?;
    let product = &loaded.product;
    integration::product_files(product).map_err(Failure::each)?;
    let paths = integration::secret_paths(product).map_err(Failure::each)?;
    let secrets = new_secrets(host, &paths, request.secrets.as_deref())?;
    let brought = bring::bring(host, lock, product, &request.source, say)?;
    let active = product.active.iter().cloned().collect();
    let wanted = Wanted { active, product: Some(loaded.bytes.clone()), ..Wanted::of(&current) };
    Ok(Ready { loaded, current, wanted, secrets, brought })
}

/// The secrets that an archive brings and the host has not. Without an archive, the host has to have all of them.
fn new_secrets(
    host: &Host,
    paths: &BTreeMap<TreePath, String>,
    archive: Option<&Path>,
) -> Result<Secrets, Failure> {
    let mut new =
        archive.map_or_else(|| Ok(Secrets::new()), |archive| installer::read_secrets(archive, paths))?;
    let (mut missing, mut same) = (Vec::new(), Vec::new());
    for (path, shown) in paths {
        let there = files::read(&host.root, path, secrets::LIMIT)?;
        match (there, new.get(path)) {
            (Some(there), Some(wanted)) if there == *wanted => same.push(path.clone()),
            (None, None) => missing.push(format!(
                "the secret `{shown}` is not on this host: give --secrets FILE, the archive that `bake configure` wrote"
            )),
            _ => {}
        }
    }
    if !missing.is_empty() {
        return Err(Failure::each(missing));
    }
    for path in &same {
        new.remove(path);
    }
    Ok(new)
}

/// What the upgrade would change.
///
/// # Errors
/// Every reason why it would be refused.
pub fn plan(host: &Host, ready: &Ready) -> Result<Plan, Failure> {
    activate::plan(host, &ready.wanted)
}

/// Upgrades a host.
///
/// # Errors
/// When the host is not well before, or every reason why an activation cannot be. The host is what it was then,
/// unless the message says that the change is made.
pub fn upgrade(
    host: &Host,
    lock: &Lock,
    ready: Ready,
    checks: Option<Checks>,
    say: &mut dyn FnMut(String),
) -> Result<Upgraded, Failure> {
    let Ready { loaded, current, wanted, secrets: new, brought } = ready;
    let before = current.number;
    let ended = |outcome, Changed { number, notes, .. }: Changed, unwell| {
        let (config_id, brought) = (loaded.product.config_id.clone(), brought.clone());
        Upgraded { outcome, config_id, before, generation: number, brought, unwell, notes }
    };
    if wanted == Wanted::of(&current) && new.is_empty() {
        let changed = activate::change(host, lock, &wanted, Stop::Everything, say)?;
        // An earlier run may have been killed before it knew, or been told to stay.
        let unwell = match checks {
            Some(Checks { timeout, .. }) => health::wait(host, &current, timeout, say)?,
            None => Vec::new(),
        };
        let outcome = if unwell.is_empty() { Outcome::Already } else { Outcome::Unwell };
        return Ok(ended(outcome, changed, unwell));
    }
    if wanted == Wanted::of(&current) {
        return Err(Failure::new(
            "the product is active already, but these secrets are others than those of this host: configure with \
             them, which gives another product",
        ));
    }
    if checks.is_some() {
        say("checking what is active now".to_owned());
        let unwell = health::programs(host, &current, CHECK_LIMIT, say)?;
        if !unwell.is_empty() {
            let advice = "nothing was changed: mend that first, or give --skip-checks".to_owned();
            return Err(Failure::each(unwell.into_iter().chain([advice]).collect()));
        }
    }
    for line in activate::plan(host, &wanted)?.lines() {
        say(line);
    }
    let changed = activate_with(host, lock, &current, &wanted, &new, say)?;
    let Some(Checks { timeout, rollback }) = checks else {
        return Ok(ended(Outcome::Upgraded, changed, Vec::new()));
    };
    say(format!("checking generation {} for up to {} s", changed.number, timeout.as_secs()));
    let unwell = health::wait(host, &host.present(changed.number)?, timeout, say)?;
    if unwell.is_empty() {
        say("the host is well".to_owned());
        return Ok(ended(Outcome::Upgraded, changed, unwell));
    }
    if !rollback {
        return Ok(ended(Outcome::Unwell, changed, unwell));
    }
    say(format!("the host is not well: going back to generation {before}"));
    let mut back = activate::switch_to(host, lock, before, say).map_err(|failure| {
        let unwell = unwell.iter().cloned();
        Failure::each(unwell.chain([format!("going back failed: {failure}")]).collect())
    })?;
    back.notes.splice(0..0, changed.notes);
    Ok(ended(Outcome::RolledBack, back, unwell))
}

/// Changes the host. The secrets that this replaces stay with the generation that they belong to.
fn activate_with(
    host: &Host,
    lock: &Lock,
    current: &Present,
    wanted: &Wanted,
    new: &Secrets,
    say: &mut dyn FnMut(String),
) -> Result<Changed, Failure> {
    secrets::keep(host, current.number, new)?;
    change_with(host, lock, wanted, new, Stop::Everything, say)
}
