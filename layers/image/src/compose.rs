//! From inputs to one tree: rootfs, overlays, product, host, each a layer that the next one stands on.

use std::collections::BTreeSet;
use std::path::Path;

use bake_archive::{InputKind, Limits, OpenOptions, PendingDigest, open_overlay, open_rootfs};
use bake_base::{Epoch, Ids};
use bake_boot::{Architecture, OsRelease};
use bake_disk::SectorSize;
use bake_fs::fat;
use bake_host::{PackageId, Role};
use bake_tree::{Member, Policy, Timestamp, Tree, TreePath, ValidTree};

use crate::bootable::{self, Bootable};
use crate::host::{self, Growth};
use crate::modules;
use crate::normalise::{self, Change};
use crate::policy;
use crate::product::{self, Configured, Product};
use crate::profile::{Loader, Profile};
use crate::{Error, ImageSpec, Surroundings};

/// A tree and everything that was decided about it.
#[derive(Debug)]
pub struct Composition {
    pub(crate) decisions: Decisions,
    pub(crate) tree: ValidTree,
    pub(crate) esp_files: Vec<fat::File>,
    pub(crate) esp_directories: Vec<fat::Directory>,
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
struct Layers<'a> {
    tree: Tree,
    options: OpenOptions<'a>,
    inputs: Vec<(&'static str, bake_archive::Input)>,
    notes: Vec<String>,
    warnings: Vec<String>,
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
    let options = OpenOptions {
        architecture: match spec.arch {
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
    let mut layers = Layers { tree: Tree::new(), options, inputs, notes, warnings };
    layers.rootfs(&spec.rootfs)?;
    let os_release = OsRelease::read(&layers.tree)?;
    if os_release.text().is_empty() {
        return Err(Error::NoOsRelease);
    }
    let profile = match &spec.profile {
        Some(name) => Profile::by_name(name)?,
        None => Profile::for_os_release(&os_release)?,
    };
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
        loader: spec.loader.unwrap_or(profile.boot.loader),
        kernel: String::new(),
        command_line: String::new(),
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
    modules::integrate(&mut tree, &decisions.profile.boot.drivers, surroundings.threads)?;
    decisions.growth = host::integrate(&mut tree)?;
    if decisions.growth == Growth::None {
        let lacks = "the root file system has neither systemd-repart nor cloud-init's growpart";
        decisions.notes.push(format!("the root will not grow on first boot: {lacks}"));
    }
    let bootable = bootable::make(&mut tree, &decisions, &os_release, spec)?;
    let Bootable { architecture, kernel, command_line, esp_files, esp_directories, fstab } = bootable;
    product::check_program(&tree, &decisions.packages, architecture)?;
    decisions.architecture = architecture;
    decisions.kernel = kernel;
    decisions.command_line = command_line;
    policy::write_fstab(&mut tree, &fstab, &spec.policy)?;

    let added: BTreeSet<TreePath> = tree.fresh().chain(changed).collect();
    decisions.added = added.iter().map(TreePath::to_string).collect();
    decisions.removed = tree.gone().map(|path| path.to_string()).collect();
    decisions.clamped_times = tree.clamp_times(epoch);
    let tree = ValidTree::new(tree).map_err(Error::Tree)?;
    Ok(Composition { decisions, tree, esp_files, esp_directories })
}

impl Layers<'_> {
    fn rootfs(&mut self, path: &Path) -> Result<(), Error> {
        let opened = open_rootfs(path, &self.options)?;
        self.take("rootfs", path, opened.inputs, opened.notes, opened.warnings);
        // Layers of an OCI image are one layer of ours: the same tree has the same bytes in any wrapping.
        opened.layers.into_iter().try_for_each(|(members, policy)| self.apply(path, members, policy))
    }

    fn overlay(&mut self, path: &Path, preserve: bool) -> Result<(), Error> {
        self.options.preserve = preserve;
        let opened = open_overlay(path, &self.options)?;
        self.take("overlay", path, opened.inputs, opened.notes, opened.warnings);
        for (members, policy) in opened.layers {
            self.apply(path, members, policy)?;
        }
        self.tree.seal();
        Ok(())
    }

    fn product(&mut self, path: &Path, roles: &[String]) -> Result<Product, Error> {
        let roles = product::parse_roles(roles)?;
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

    fn take(
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

    fn apply(&mut self, path: &Path, members: Vec<Member>, policy: Policy) -> Result<(), Error> {
        let layer = || path.display().to_string();
        self.tree.apply(members, policy).map_err(|problems| Error::Merge { layer: layer(), problems })
    }
}

/// Names become file names and part of ids.
fn check_name(name: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(known) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    let expected = "expected up to 64 of A-Z, a-z, 0-9, `.`, `_`, `-`, not beginning with `.` or `-`";
    Err(Error::Policy(format!("`{name}` is no name of an image: {expected}")))
}
