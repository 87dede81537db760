//! From inputs to one tree: rootfs, overlays, product, host, each a layer that the next one stands on.

use std::collections::BTreeSet;
use std::path::Path;

use bake_archive::{InputKind, Limits, OpenOptions, PendingDigest, open_overlay, open_rootfs};
use bake_base::{Epoch, Ids};
use bake_boot::grub::bios::BiosBoot;
use bake_boot::{Architecture, OsRelease};
use bake_disk::SectorSize;
use bake_fs::fat;
use bake_host::{PackageId, PackageName, Role};
use bake_tree::selinux::Labels;
use bake_tree::{Member, Metadata, Policy, Timestamp, Tree, TreePath, ValidTree};

use crate::bootable::{self, Bootable};
use crate::error::path;
use crate::host::{self, Growth};
use crate::identity;
use crate::immutable::{Immutable, Sealed, Verified};
use crate::modules;
use crate::normalise::{self, Change};
use crate::policy;
use crate::product::{self, Configured, Product};
use crate::profile::{Loader, Profile, Profiles};
use crate::require;
use crate::signing::Signed;
use crate::{Error, ImageSpec, Surroundings};

/// A tree and everything that was decided about it.
#[derive(Debug)]
pub struct Composition {
    pub(crate) decisions: Decisions,
    /// What hosts write.
    pub(crate) tree: ValidTree,
    /// All of the tree, where what hosts write is only a part of it.
    pub(crate) whole: Option<ValidTree>,
    /// What they do not.
    pub(crate) sealed: Option<Sealed>,
    pub(crate) esp_files: Vec<fat::File>,
    pub(crate) esp_directories: Vec<fat::Directory>,
    pub(crate) bios: Option<BiosBoot>,
}

/// What was decided about an image, and from what.
#[derive(Debug)]
pub struct Decisions {
    pub(crate) name: String,
    pub(crate) profile: Profile,
    pub(crate) ids: Ids,
    pub(crate) architecture: Architecture,
    pub(crate) epoch: Epoch,
    pub(crate) inputs: Vec<(&'static str, bake_archive::Input)>,
    pub(crate) configuration: Option<String>,
    pub(crate) packages: Vec<PackageId>,
    pub(crate) roles: Vec<String>,
    pub(crate) loader: Loader,
    pub(crate) kernel: String,
    pub(crate) command_line: String,
    pub(crate) signed: Vec<Signed>,
    pub(crate) immutable: Option<Immutable>,
    pub(crate) verified: Option<Verified>,
    pub(crate) growth: Growth,
    pub(crate) changes: Vec<Change>,
    pub(crate) clamped_times: u64,
    pub(crate) notes: Vec<String>,
    /// What concerns this machine and not the image.
    pub(crate) warnings: Vec<String>,
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) sector_size: SectorSize,
    pub(crate) size: Option<u64>,
    pub(crate) free: u8,
}

/// The layers as they are merged, and what is known of their inputs.
pub(crate) struct Layers<'a> {
    pub tree: Tree,
    pub options: OpenOptions<'a>,
    pub inputs: Vec<(&'static str, bake_archive::Input)>,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// Merges everything that `spec` names and finds out how it boots. `progress` is told how many bytes of
/// compressed inputs were decoded since it was last told.
///
/// # Errors
/// When an input cannot be used, when inputs contradict each other, or when the image would not boot.
pub fn compose(
    spec: &ImageSpec,
    surroundings: &Surroundings,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Composition, Error> {
    let mut layers = Layers::new(spec.arch, surroundings, progress);
    layers.rootfs(&spec.rootfs)?;
    let os_release = OsRelease::read(&layers.tree)?;
    if os_release.text().is_empty() {
        return Err(Error::NoOsRelease);
    }
    let profiles = Profiles::new(&spec.profiles)?;
    let profile = match &spec.profile {
        Some(name) => profiles.by_name(name)?,
        None => profiles.for_os_release(&os_release)?,
    };
    if profile.vendor.is_some() {
        let reason = "is for its vendor's disk image: give that one as root file system".to_owned();
        return Err(Error::Profile { name: profile.name, reason });
    }
    if profile.layer.is_some() {
        let reason = "is for container images that hosts are made of: give --format oci".to_owned();
        return Err(Error::Profile { name: profile.name, reason });
    }
    require::check_names(&profile.requirements, &spec.skip)?;
    let immutable = Immutable::of(spec, &profile)?;
    let newest = layers.tree.newest_time().unwrap_or(Timestamp::from_seconds(0));
    let epoch = spec.epoch.unwrap_or_else(|| Epoch::not_before(newest));
    let name = spec.name.clone().unwrap_or_else(|| profile.name.clone());
    check_name(&name)?;
    let changes = normalise::normalise(&mut layers.tree, &profile.normalise)?;
    layers.tree.seal();
    for overlay in &spec.overlays {
        layers.overlay(overlay, spec.preserve)?;
    }
    let product = spec.product.as_ref().map(|path| layers.product(path, &spec.roles)).transpose()?;
    let Layers { mut tree, inputs, notes, warnings, .. } = layers;
    let ids = Ids::new(&name, &profile.name, os_release.text());

    let mut decisions = Decisions {
        name,
        ids,
        architecture: Architecture::X86_64,
        epoch,
        inputs,
        configuration: None,
        packages: Vec::new(),
        roles: spec.roles.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
        loader: match spec.loader {
            Some(loader) => loader,
            None => bootable::choose(&tree, &profile.boot.loaders, immutable.is_some()),
        },
        kernel: String::new(),
        command_line: String::new(),
        signed: Vec::new(),
        immutable,
        verified: None,
        growth: Growth::None,
        changes,
        clamped_times: 0,
        notes,
        warnings,
        added: Vec::new(),
        removed: Vec::new(),
        sector_size: spec.sector_size,
        size: spec.size,
        free: spec.free,
        profile,
    };
    // What the host's own layer adds shows by itself; entries that it changes in place are kept apart.
    let mut changed = Vec::new();
    if let Some(product) = product {
        decisions.packages = product::integrate(&mut tree, &product, epoch, &mut changed)?;
        decisions.configuration = product.configuration;
    } else if !spec.roles.is_empty() {
        return Err(Error::Product("roles without a product mean nothing: give --product too".to_owned()));
    }
    spec.policy.apply(&mut tree, epoch)?;
    if spec.product.is_some() {
        let names: Vec<_> = decisions.packages.iter().map(PackageId::name).collect();
        let names: BTreeSet<&str> = names.iter().map(PackageName::as_str).collect();
        let rules = &decisions.profile.requirements;
        decisions.notes.extend(require::check(&tree, rules, &names, &spec.skip, &spec.policy.mounts)?);
    }
    modules::integrate(&mut tree, &decisions.profile.boot.drivers, surroundings.threads)?;
    let last = decisions.last();
    decisions.growth = host::integrate(&mut tree, last)?;
    if decisions.growth == Growth::None {
        let lacks = "the root file system has neither systemd-repart nor cloud-init's growpart";
        decisions.notes.push(format!("{last} will not grow on first boot: {lacks}"));
    }
    if let Some(immutable) = immutable {
        immutable.check(&tree)?;
        decisions.notes.extend(immutable.prepare(&mut tree, decisions.growth)?);
    }
    let bootable = bootable::make(&mut tree, &decisions, spec, surroundings.threads)?;
    let Bootable { architecture, kernel, command_line, esp, fstab, bios, warnings } = bootable;
    product::check_program(&tree, &decisions.packages, architecture)?;
    decisions.notes.extend(warnings);
    decisions.notes.extend(identity::integrate(&mut tree, &decisions, &esp.mount(), bios.is_some())?);
    decisions.architecture = architecture;
    decisions.kernel = kernel;
    policy::write_fstab(&mut tree, &fstab, &spec.policy)?;

    let added: BTreeSet<TreePath> = tree.fresh().chain(changed).collect();
    if let Some(labels) = Labels::read(&tree)? {
        // The file system brings it anyway, without a label. All others get theirs anew, ours and the root file
        // system's.
        let above = if decisions.is_root_read_only() { "var/" } else { "" };
        tree.make_directory(&path(&format!("{above}lost+found"))?, Metadata::root(0o700))?;
        let report = labels.apply(&mut tree);
        decisions.notes.extend(report.conflicts.iter().map(ToString::to_string));
    }
    decisions.added = added.iter().map(TreePath::to_string).collect();
    decisions.removed = tree.gone().map(|path| path.to_string()).collect();
    decisions.clamped_times = tree.clamp_times(epoch);
    // By paths from the root, as long as they are.
    let tree = ValidTree::new(tree).map_err(Error::Tree)?;
    let (writable, sealed) = match immutable {
        None => (None, None),
        Some(immutable) => {
            let (writable, guarded) = immutable.split(tree.tree())?;
            let guarded = ValidTree::new(guarded).map_err(Error::Tree)?;
            let (sealed, verified) = immutable.seal(&guarded, &decisions, surroundings)?;
            decisions.verified = Some(verified);
            (Some(ValidTree::new(writable).map_err(Error::Tree)?), Some(sealed))
        }
    };
    let root_hash = sealed.as_ref().map(|sealed| sealed.verity.root_hash());
    let arguments = immutable.zip(root_hash).map(|(immutable, root_hash)| immutable.arguments(root_hash));
    decisions.command_line =
        arguments.iter().chain([&command_line]).map(String::as_str).collect::<Vec<_>>().join(" ");
    let esp = esp.fill(tree.tree(), &decisions, &os_release, spec.signing.as_ref())?;
    decisions.signed = esp.signed;
    let (tree, whole) = match writable {
        Some(writable) => (writable, Some(tree)),
        None => (tree, None),
    };
    let (esp_files, esp_directories) = (esp.files, esp.directories);
    Ok(Composition { decisions, tree, whole, sealed, esp_files, esp_directories, bios })
}

impl<'a> Layers<'a> {
    /// None yet.
    pub fn new(
        arch: Option<Architecture>,
        surroundings: &Surroundings,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Self {
        let options = OpenOptions {
            architecture: match arch {
                Some(Architecture::Arm64) => "aarch64",
                Some(Architecture::X86_64) | None => "x86_64",
            },
            cache: surroundings.cache.clone(),
            scratch: surroundings.scratch.clone(),
            paranoid: surroundings.paranoid,
            limits: Limits { decoded: surroundings.max_decoded, memory: surroundings.max_decoder_memory },
            threads: surroundings.threads,
            preserve: true,
            progress,
        };
        let (inputs, notes, warnings) = (Vec::new(), Vec::new(), Vec::new());
        Self { tree: Tree::new(), options, inputs, notes, warnings }
    }

    fn rootfs(&mut self, path: &Path) -> Result<(), Error> {
        let opened = open_rootfs(path, &self.options)?;
        self.take("rootfs", path, opened.inputs, opened.notes, opened.warnings);
        // Layers of an OCI image are one layer of ours: the same tree has the same bytes in any wrapping.
        opened.layers.into_iter().try_for_each(|(members, policy)| self.apply(path, members, policy))
    }

    pub fn overlay(&mut self, path: &Path, preserve: bool) -> Result<(), Error> {
        self.options.preserve = preserve;
        let opened = open_overlay(path, &self.options)?;
        self.take("overlay", path, opened.inputs, opened.notes, opened.warnings);
        for (members, policy) in opened.layers {
            self.apply(path, members, policy)?;
        }
        self.tree.seal();
        Ok(())
    }

    pub fn product(&mut self, path: &Path, roles: &[String]) -> Result<Product, Error> {
        let roles = product::parse_roles(roles)?;
        product::check_place(&self.tree)?;
        if let Some(document) = product::document(path) {
            return self.configured(path, &document, roles);
        }
        let opened = open_overlay(path, &self.options)?;
        self.take("product", path, opened.inputs, opened.notes, opened.warnings);
        for (members, policy) in opened.layers {
            self.apply(path, product::under_install_root(members)?, policy)?;
        }
        self.tree.seal();
        let product = product::linked(&mut self.tree, roles)?;
        self.tree.seal();
        Ok(product)
    }

    /// The files of a serve directory, each a layer: what changes often comes last.
    fn configured(&mut self, path: &Path, document: &Path, roles: BTreeSet<Role>) -> Result<Product, Error> {
        let configured = Configured::read(document)?;
        let digest = PendingDigest::of_bytes(configured.document());
        let label = document.display().to_string();
        self.inputs.push(("product", bake_archive::Input { label, kind: InputKind::Document, digest }));
        for layer in configured.layers() {
            let file = configured.file(&layer);
            let opened = open_overlay(&file, &self.options)?;
            self.take("product", &file, opened.inputs, opened.notes, opened.warnings);
            for (members, policy) in opened.layers {
                self.apply(path, Configured::place(&layer, members)?, policy)?;
            }
            self.tree.seal();
        }
        let product = configured.assemble(&mut self.tree, roles)?;
        self.tree.seal();
        self.notes.extend(configured.notes());
        Ok(product)
    }

    pub fn take(
        &mut self,
        role: &'static str,
        path: &Path,
        inputs: Vec<bake_archive::Input>,
        notes: Vec<String>,
        warnings: Vec<String>,
    ) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.inputs.extend(inputs.into_iter().map(|input| (role, input)));
        self.warnings.extend(
            warnings.into_iter().filter(|warning| !self.warnings.contains(warning)).collect::<Vec<_>>(),
        );
        self.notes.extend(notes.into_iter().map(|note| format!("{role} {name}: {note}")));
    }

    pub fn apply(&mut self, path: &Path, members: Vec<Member>, policy: Policy) -> Result<(), Error> {
        let layer = || path.display().to_string();
        self.tree.apply(members, policy).map_err(|problems| Error::Merge { layer: layer(), problems })
    }
}

/// Names become file names and part of ids.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(known) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    let expected = "expected up to 64 of A-Z, a-z, 0-9, `.`, `_`, `-`, not beginning with `.` or `-`";
    Err(Error::Policy(format!("`{name}` is no name of an image: {expected}")))
}
