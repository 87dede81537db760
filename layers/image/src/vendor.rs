//! Baking into a vendor's disk: for systems that nobody else can put together, because the hash of what they run is
//! signed. One file system of the disk is read and written anew with the product in it; every other byte stays.
//!
//! [`compose`] reads the disk and merges layers into the tree of that file system; [`VendorComposition::lay_out`]
//! puts the new file system where the old one was, and makes partition and disk longer if it has to. What comes out
//! is an [`Image`](crate::Image) like any other. Nothing is known of the rest of the system, whose file system may be of any kind:
//! what a layer would have to change there is refused, and what depends on it is left to the host's first boot.
//!
//! [`extension`] is the other way, without any disk.

pub mod extension;
mod fences;
mod labels;
mod layout;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use bake_base::{Epoch, Ids};
use bake_host::{PackageId, integration};
use bake_tree::{Content, Metadata, Node, Policy, Timestamp, Tree, TreePath, ValidTree};

use crate::compose::{Decisions, Layers, check_name};
use crate::error::path;
use crate::host::Growth;
use crate::profile::{Loader, Profiles};
use crate::units::Units;
use crate::{Error, ImageSpec, Surroundings, normalise, policy, product, require};

use source::Source;

/// First boot applies presets, which may switch off whatever they do not name. What Ignition says (`20-ignition`)
/// counts more, and the vendor's (`90-`, `99-`) less.
const PRESET: &str = "etc/systemd/system-preset/30-bake.preset";

/// The tree of the file system that is written anew, the disk around it, and everything that was decided.
#[derive(Debug)]
pub struct VendorComposition {
    pub(crate) decisions: Decisions,
    tree: ValidTree,
    source: Source,
}

/// Whether a root file system is given as a disk image, which [`compose`] takes.
///
/// # Errors
/// When it cannot be read.
pub fn is_disk(rootfs: &Path) -> Result<bool, Error> {
    Ok(bake_archive::is_disk(rootfs)?)
}

/// Merges everything that `spec` names into the file system of the vendor's disk, which is its root file system.
/// `progress` is told how many bytes of compressed inputs were decoded since it was last told.
///
/// # Errors
/// When an input cannot be used, when inputs contradict each other or the vendor, or when the disk has been booted.
pub fn compose(
    spec: &ImageSpec,
    surroundings: &Surroundings,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<VendorComposition, Error> {
    fences::check(spec)?;
    let mut layers = Layers::new(spec.arch, surroundings, progress);
    let profiles = Profiles::new(&spec.profiles)?;
    let opened = bake_archive::open_disk(&spec.rootfs, &layers.options)?;
    layers.warnings.extend(opened.warnings);
    let (source, profile) = Source::open(&spec.rootfs, opened.file, &profiles, spec.profile.as_deref())?;
    layers.inputs.push(("rootfs", opened.input));
    let vendor = profile.vendor.as_ref().expect("a source is opened by it");
    fences::check_sectors(spec, &source)?;
    require::check_names(&profile.requirements, &spec.skip)?;
    let name = spec.name.clone().unwrap_or_else(|| profile.name.clone());
    check_name(&name)?;

    let (members, facts) = source.read(vendor)?;
    layers.notes.extend(facts.notes);
    layers.apply(&spec.rootfs, members, Policy::TAR)?;
    fences::check_pristine(&layers.tree, vendor, &source)?;
    let newest = layers.tree.newest_time().unwrap_or(Timestamp::from_seconds(0));
    let epoch = spec.epoch.unwrap_or_else(|| Epoch::not_before(newest));
    let changes = normalise::normalise(&mut layers.tree, &profile.normalise)?;
    layers.tree.seal();
    for overlay in &spec.overlays {
        layers.overlay(overlay, spec.preserve)?;
    }
    let product = spec.product.as_ref().map(|path| layers.product(path, &spec.roles)).transpose()?;
    let Layers { mut tree, inputs, mut notes, warnings, .. } = layers;
    let mut packages: Vec<PackageId> = Vec::new();
    if let Some(product) = &product {
        packages = product::integrate_without_users(&mut tree, product)?;
        let names: BTreeSet<String> = packages.iter().map(|id| id.name().as_str().to_owned()).collect();
        let names = names.iter().map(String::as_str).collect();
        // Only the policy's files can mend what is asked for, so they come first.
        fences::apply_policy(&spec.policy, &mut tree, epoch)?;
        notes.extend(require::check(&tree, &profile.requirements, &names, &spec.skip, &spec.policy.mounts)?);
    } else if !spec.roles.is_empty() {
        return Err(Error::Product("roles without a product mean nothing: give --product too".to_owned()));
    } else {
        fences::apply_policy(&spec.policy, &mut tree, epoch)?;
    }
    keep_choice(&mut tree, &spec.policy.units, product.is_some())?;
    if !spec.policy.mounts.is_empty() {
        policy::write_fstab(&mut tree, &[], &spec.policy)?;
    }
    fences::check_read_only(&tree, vendor)?;
    labels::inherit(&mut tree);

    let architecture = fences::architecture(spec.arch, facts.architecture, &source)?;
    product::check_program(&tree, &packages, architecture)?;

    let ids = Ids::new(&name, &profile.name, facts.uuid.as_bytes());
    let added: Vec<String> = tree.fresh().map(|path| path.to_string()).collect();
    let removed = tree.gone().map(|path: TreePath| path.to_string()).collect();
    let clamped_times = tree.clamp_times(epoch);
    let decisions = Decisions {
        name,
        ids,
        architecture,
        epoch,
        inputs,
        configuration: product.and_then(|product| product.configuration),
        packages,
        roles: spec.roles.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
        loader: Loader::Grub,
        kernel: String::new(),
        command_line: String::new(),
        signed: Vec::new(),
        immutable: None,
        verified: None,
        growth: Growth::Vendor,
        changes,
        clamped_times,
        notes,
        warnings,
        added,
        removed,
        sector_size: source.sector_size(),
        size: spec.size,
        free: spec.free,
        profile,
    };
    let tree = ValidTree::new(tree).map_err(Error::Tree)?;
    Ok(VendorComposition { decisions, tree, source })
}

/// Has the presets of first boot say of units what has been done to them here.
fn keep_choice(tree: &mut Tree, units: &Units, has_product: bool) -> Result<(), Error> {
    let setup = has_product.then_some(integration::SETUP_UNIT);
    let enabled =
        setup.into_iter().chain(units.enable.iter().map(String::as_str)).map(|name| ("enable", name));
    let disabled = units.disable.iter().map(|name| ("disable", name.as_str()));
    let lines: Vec<String> = enabled.chain(disabled).map(|(verb, name)| format!("{verb} {name}\n")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let content = Content::bytes(lines.concat().into_bytes());
    tree.put(&path(PRESET)?, Metadata::root(0o644), Node::File(content))?;
    Ok(())
}
