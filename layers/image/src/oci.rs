//! Baking onto a container image that hosts are made of, as one more layer: Fedora CoreOS, RHEL CoreOS and whatever
//! else `bootc switch` and `rpm-ostree rebase` take. The base's layers stay as they are, blob by blob.
//!
//! On such hosts `/usr` is the image's and read-only, `/etc` is merged at every upgrade, and `/var` is the host's own.
//! So the layer has in `/usr` what all hosts share, and the product in it as a seed, which hosts copy to
//! `/var/opt/mesosphere` when they boot with it for the first time ([`bake_host::seed`] has the rule). Users and state
//! directories of packages are made by `pkgpanda` on the host, as at every boot: only the host knows which ids are free
//! there, and what `sysusers.d` made first would no longer count as the product's when it is removed. What `bootc
//! container lint` objects to is refused before anything is written: by the profile's rules, which are data.
//!
//! The layer has no SELinux labels. Whoever makes a commit or a deployment of an image labels it by the policy in it,
//! and would overwrite ours.
//!
//! No disk is made. A bootable disk of this family is a deployment in an ostree repository (or composefs), with a kernel
//! and loader entries that carry the checksum of a commit, on XFS; it is what `bootc install` and the vendor's own
//! tools make, on a machine with loop devices.

mod difference;
mod seed;
mod write;

use std::collections::BTreeSet;

use bake_archive::oci::{OciImage, open_image};
use bake_base::{Digest, Epoch};
use bake_boot::{Architecture, OsRelease};
use bake_host::{PackageId, PackageName};
use bake_tree::{Content, Follow, Metadata, Node, Timestamp, Tree, TreePath, ValidTree};

use crate::compose::{Layers, check_name};
use crate::error::path;
use crate::profile::{LayerProfile, Profile, Profiles};
use crate::{Error, ImageSpec, Surroundings, product, require};

use difference::Difference;

pub use write::{OciManifest, OciPlan, Unpublished, Written};

/// The name that formats of this kind have on the command line and in specifications.
pub const FORMAT: &str = "oci";
/// Where `bootc` looks for kernel arguments.
const KERNEL_ARGUMENTS: &str = "usr/lib/bootc/kargs.d/50-bake.toml";
/// How many paths are named at once.
const SHOWN: usize = 20;

/// A layer, the image that it lies upon, and everything that was decided.
#[derive(Debug)]
pub struct OciComposition {
    name: String,
    profile: Profile,
    architecture: Architecture,
    epoch: Epoch,
    inputs: Vec<(&'static str, bake_archive::Input)>,
    configuration: Option<String>,
    packages: Vec<PackageId>,
    roles: Vec<String>,
    /// The digest of the seed's list.
    seed: Option<Digest>,
    notes: Vec<String>,
    warnings: Vec<String>,
    added: Vec<String>,
    removed: Vec<String>,
    base: OciImage,
    layer: ValidTree,
}

/// Computes the layer that turns the base, which is the root file system of `spec`, into what is asked for.
/// `progress` is told how many bytes of compressed inputs were decoded since it was last told.
///
/// # Errors
/// When an input cannot be used, when inputs contradict each other, or when hosts would not get what the layer has.
pub fn compose(
    spec: &ImageSpec,
    surroundings: &Surroundings,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<OciComposition, Error> {
    check(spec)?;
    let mut layers = Layers::new(spec.arch, surroundings, progress);
    let (opened, base) = open_image(&spec.rootfs, &layers.options)?;
    layers.take("rootfs", &spec.rootfs, opened.inputs, opened.notes, opened.warnings);
    for (members, policy) in opened.layers {
        layers.apply(&spec.rootfs, members, policy)?;
    }
    let profile = profile(spec, &layers.tree)?;
    let rules = profile.layer.as_ref().expect("only such profiles are given");
    check_bootable(&base, rules)?;
    require::check_names(&profile.requirements, &spec.skip)?;
    let architecture = architecture(&base)?;
    let newest = layers.tree.newest_time().unwrap_or(Timestamp::from_seconds(0));
    let epoch = spec.epoch.unwrap_or_else(|| Epoch::not_before(newest));
    let name = spec.name.clone().unwrap_or_else(|| profile.name.clone());
    check_name(&name)?;
    layers.tree.seal();
    let below = layers.tree.clone();

    for overlay in &spec.overlays {
        layers.overlay(overlay, spec.preserve)?;
    }
    let (mut packages, mut configuration, mut seed) = (Vec::new(), None, None);
    if let Some(path) = &spec.product {
        // Apart: the place that it has on hosts leads to /var.
        let mut apart = Layers::new(spec.arch, surroundings, progress);
        let product = apart.product(path, &spec.roles)?;
        packages = product.packages();
        product::check_program(&apart.tree, &packages, architecture)?;
        let Layers { tree: mut root, inputs, notes, warnings, .. } = apart;
        root.clamp_times(epoch);
        seed = Some(seed::lay(&mut layers.tree, &root, &packages, surroundings.threads)?);
        configuration = product.configuration;
        layers.inputs.extend(inputs);
        layers.notes.extend(notes);
        layers.warnings.extend(warnings);
    } else if !spec.roles.is_empty() {
        return Err(Error::Product("roles without a product mean nothing: give --product too".to_owned()));
    }
    let Layers { mut tree, inputs, mut notes, mut warnings, .. } = layers;
    spec.policy.apply(&mut tree, epoch)?;
    if !spec.policy.kernel.args.is_empty() {
        kernel_arguments(&mut tree, &spec.policy.kernel.args)?;
        notes.push(format!(
            "kernel arguments are in /{KERNEL_ARGUMENTS}, which `bootc` reads and `rpm-ostree rebase` does not: there, \
             `rpm-ostree kargs` sets them"
        ));
    }
    if spec.product.is_some() {
        let names: Vec<_> = packages.iter().map(PackageId::name).collect();
        let names: BTreeSet<&str> = names.iter().map(PackageName::as_str).collect();
        notes.extend(require::check(&tree, &profile.requirements, &names, &spec.skip, &spec.policy.mounts)?);
    }

    let Difference { mut layer, added, removed } = difference::between(&below, &tree)?;
    if added.is_empty() && removed.is_empty() {
        let message = "the layer would be empty: give --product, --overlay or a policy";
        return Err(Error::Policy(message.to_owned()));
    }
    check_links(&below, &tree, &added)?;
    check_places(rules, added.iter().chain(&removed))?;
    let top = path(bake_host::seed::SEED)?;
    let is_in_seed = |at: &TreePath| at.starts_with(&top) && *at != top;
    layer.clamp_times(epoch);
    warnings.dedup();
    Ok(OciComposition {
        name,
        architecture,
        epoch,
        inputs,
        configuration,
        packages,
        roles: spec.roles.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
        seed,
        notes,
        warnings,
        // What the seed holds is the product's, and listed there.
        added: added.iter().filter(|at| !is_in_seed(at)).map(TreePath::to_string).collect(),
        removed: removed.iter().map(TreePath::to_string).collect(),
        base,
        layer: ValidTree::new(layer).map_err(Error::Tree)?,
        profile,
    })
}

/// The profile of this name, or the one for the base.
fn profile(spec: &ImageSpec, tree: &Tree) -> Result<Profile, Error> {
    let os_release = OsRelease::read(tree)?;
    if os_release.text().is_empty() {
        return Err(Error::NoOsRelease);
    }
    let profiles = Profiles::new(&spec.profiles)?;
    let profile = match &spec.profile {
        Some(name) => profiles.by_name(name)?,
        None => profiles.for_os_release(&os_release)?,
    };
    if profile.layer.is_some() {
        return Ok(profile);
    }
    let reason = "is for disks: leave `--format oci` out; or give --profile fedora-coreos, for an image that hosts are \
                  made of by `bootc` or `rpm-ostree`"
        .to_owned();
    Err(Error::Profile { name: profile.name, reason })
}

/// Refuses what a specification asks for and no layer can have.
fn check(spec: &ImageSpec) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::Policy(what));
    if let Some(name) = spec.policy.users.keys().next() {
        return refuse(format!(
            "users.{name}: hosts merge /etc/passwd with their own: have Ignition make the user (`passwd`), or \
             systemd-sysusers by a file of [files] in /usr/lib/sysusers.d"
        ));
    }
    if let Some(place) = spec.policy.mounts.keys().next() {
        return refuse(format!(
            "mounts.\"{place}\": hosts have an fstab of their own: bring a mount unit by an overlay or [files], in \
             /usr/lib/systemd/system"
        ));
    }
    if spec.signing.is_some() {
        return refuse("what boots is the vendor's and signed by it: leave signing out".to_owned());
    }
    if spec.loader.is_some() {
        return refuse("the loader is the host's own: leave --loader out".to_owned());
    }
    if spec.read_only.is_some() || spec.read_only_format.is_some() {
        return refuse("what is read-only is the host's own choice: leave --read-only out".to_owned());
    }
    if spec.size.is_some() {
        return refuse("a container image has no size of a disk: leave --size out".to_owned());
    }
    Ok(())
}

/// Refuses a base that nobody would make a host of.
fn check_bootable(base: &OciImage, rules: &LayerProfile) -> Result<(), Error> {
    let is_set = |label: &String| base.label(label).is_some_and(|value| !matches!(value, "" | "0" | "false"));
    if rules.bootable.iter().any(is_set) {
        return Ok(());
    }
    Err(Error::Policy(format!(
        "no host can be made of this image, for it has none of the labels {}: take the bootable image that the vendor \
         publishes",
        rules.bootable.join(", ")
    )))
}

fn architecture(base: &OciImage) -> Result<Architecture, Error> {
    match base.architecture() {
        Some("amd64") => Ok(Architecture::X86_64),
        Some("arm64") => Ok(Architecture::Arm64),
        other => Err(Error::Policy(format!(
            "the image is for `{}`: expected amd64 or arm64",
            other.unwrap_or("no architecture").escape_debug()
        ))),
    }
}

/// Refuses directories in the place of links: `/opt` and others lead to where hosts keep their own.
fn check_links(below: &Tree, tree: &Tree, added: &[TreePath]) -> Result<(), Error> {
    let replaced = added.iter().filter_map(|at| match (node(below, at)?, node(tree, at)?) {
        (Node::Symlink(target), Node::Directory(_)) => {
            Some(format!("\n    {at}, which leads to `{}`", target.escape_ascii()))
        }
        _ => None,
    });
    let replaced: Vec<String> = replaced.take(SHOWN).collect();
    if replaced.is_empty() {
        return Ok(());
    }
    Err(Error::Policy(format!(
        "the layer has directories in the place of the base's links to what hosts keep themselves: put it elsewhere \
         below /usr, or let systemd-tmpfiles make it at boot:{}",
        replaced.concat()
    )))
}

fn node<'a>(tree: &'a Tree, at: &TreePath) -> Option<&'a Node> {
    tree.lookup(at, Follow::Parents).map(|id| &tree.inode(id).node)
}

/// Refuses what would never reach a host, or not as it is meant: all of it at once.
fn check_places<'a>(rules: &LayerProfile, changed: impl Iterator<Item = &'a TreePath>) -> Result<(), Error> {
    let changed: Vec<_> = changed.collect();
    let mut problems = Vec::new();
    for rule in &rules.forbidden {
        for text in &rule.paths {
            let fence = path(text)?;
            let inside: Vec<_> =
                changed.iter().filter(|at| at.starts_with(&fence) && ***at != fence).collect();
            if inside.is_empty() {
                continue;
            }
            let mut lines: String = inside.iter().take(SHOWN).map(|at| format!("\n    {at}")).collect();
            if inside.len() > SHOWN {
                lines.push_str(&format!("\n    and {} more", inside.len() - SHOWN));
            }
            problems.push(format!("\n  {text}: {}: {}:{lines}", rule.why, rule.fix));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Policy(format!("the layer has what hosts would not get:{}", problems.concat())))
}

/// Kernel arguments as `bootc` reads them.
fn kernel_arguments(tree: &mut Tree, arguments: &[String]) -> Result<(), Error> {
    let list = toml::Value::Array(arguments.iter().cloned().map(toml::Value::String).collect());
    let text = format!("kargs = {list}\n");
    tree.put(&path(KERNEL_ARGUMENTS)?, Metadata::root(0o644), Node::File(Content::bytes(text.into_bytes())))?;
    Ok(())
}
