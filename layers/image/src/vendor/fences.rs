//! What cannot be done to a vendor's disk: said before anything is written, with what to do instead.

use bake_base::Epoch;
use bake_boot::Architecture;
use bake_disk::SectorSize;
use bake_tree::{LayerId, Node, Tree, TreePath};

use super::source::Source;
use crate::error::path;
use crate::profile::VendorProfile;
use crate::{Error, HostPolicy, ImageSpec};

/// The largest machine id that is looked at, in bytes.
const LIMIT: u64 = 4096;
/// How many paths are named at once.
const SHOWN: usize = 20;

/// Refuses what a specification asks for and no vendor's disk can have.
pub(super) fn check(spec: &ImageSpec) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::Policy(what));
    if let Some(name) = spec.policy.users.keys().next() {
        return refuse(format!(
            "users.{name}: the vendor's users are in its own /usr, which is not read: have Ignition make it (`passwd`)"
        ));
    }
    if let Some(argument) = spec.policy.kernel.args.first() {
        return refuse(format!(
            "the kernel argument `{argument}`: the loader is the vendor's and stays as it is: give it to Ignition \
             (`kernelArguments`)"
        ));
    }
    if spec.signing.is_some() {
        return refuse("what boots is the vendor's and signed by it: leave signing out".to_owned());
    }
    if spec.loader.is_some() {
        return refuse("the loader is the vendor's and stays as it is: leave --loader out".to_owned());
    }
    if spec.read_only.is_some() || spec.read_only_format.is_some() {
        return refuse("what is read-only is the vendor's choice: leave --read-only out".to_owned());
    }
    Ok(())
}

/// Refuses sectors that the disk does not have.
pub(super) fn check_sectors(spec: &ImageSpec, source: &Source) -> Result<(), Error> {
    // The smaller ones are what a specification has that says nothing.
    let (asked, found) = (spec.sector_size, source.sector_size());
    if asked == SectorSize::Bytes512 || asked == found {
        return Ok(());
    }
    Err(source.refuse(format!(
        "its sectors have {} bytes and keep them: leave --sector-size (`sector-size`) out",
        found.bytes()
    )))
}

/// The architecture that was asked for or that the disk shows, which have to be one.
pub(super) fn architecture(
    asked: Option<Architecture>,
    found: Option<Architecture>,
    source: &Source,
) -> Result<Architecture, Error> {
    match (asked, found) {
        (Some(asked), Some(found)) if asked != found => Err(source
            .refuse(format!("it is for {found}: take the vendor's image for {asked}, or --arch {found}"))),
        (asked, found) => Ok(asked.or(found).unwrap_or(Architecture::X86_64)),
    }
}

/// Applies files and units of the policy.
pub(super) fn apply_policy(policy: &HostPolicy, tree: &mut Tree, epoch: Epoch) -> Result<(), Error> {
    policy.apply(tree, epoch).map_err(|error| match error {
        Error::Units(message) => Error::Units(format!(
            "{message} (of a vendor's disk, only units in /etc are seen: have Ignition enable, disable or mask those \
             of its /usr)"
        )),
        other => other,
    })
}

/// Refuses a disk that was booted: it is one machine's, and its first boot will not come again.
pub(super) fn check_pristine(tree: &Tree, vendor: &VendorProfile, source: &Source) -> Result<(), Error> {
    let id = tree.read(&path("etc/machine-id")?, LIMIT)?.unwrap_or_default();
    let id = String::from_utf8_lossy(&id).trim().to_owned();
    if id.is_empty() || id == vendor.blank_machine_id || id == "uninitialized" {
        return Ok(());
    }
    let reason =
        format!("it has been booted, for its machine id is {id}: take the vendor's image as it comes");
    Err(source.refuse(reason))
}

/// Refuses entries of layers above the vendor's that the vendor's own would hide.
pub(super) fn check_read_only(tree: &Tree, vendor: &VendorProfile) -> Result<(), Error> {
    let fences = vendor.read_only.iter().map(|text| path(text)).collect::<Result<Vec<TreePath>, _>>()?;
    let is_ours = |at: &TreePath, layer: LayerId, node: &Node| {
        let parent = matches!(node, Node::Directory(_));
        layer > LayerId(0) && fences.iter().any(|fence| at.starts_with(fence)) && !parent
    };
    let inside: Vec<String> = tree
        .walk()
        .filter(|(at, id)| is_ours(at, tree.inode(*id).layer(), &tree.inode(*id).node))
        .map(|(at, _)| format!("\n  {at}"))
        .take(SHOWN)
        .collect();
    if inside.is_empty() {
        return Ok(());
    }
    Err(Error::Policy(format!(
        "layers have entries in what is the vendor's and mounted over them: leave them out, or make a system extension \
         of them:{}",
        inside.concat()
    )))
}
