//! What has a baked machine make its disk's ids its own on first boot: the record of the ids that it was baked with,
//! the program, and the unit that runs it.

use bake_host::identity::{self, FileSystem, Partition, Record, Serial};
use bake_host::{PKGPANDA, PackageId};
use bake_tree::{Content, Follow, Metadata, Node, Tree};

use crate::Error;
use crate::compose::Decisions;
use crate::disk;
use crate::error::path;

/// Where the program lies that does it: products come and go, and this one is the machine's.
const PROGRAM: &str = "usr/lib/bake/pkgpanda";
/// Where units of the host lie.
const UNITS: &str = "etc/systemd/system";

/// Puts everything into the tree, with the program that the product brings. Says why not, when there is none.
///
/// # Errors
/// When something else is in the way.
pub(crate) fn integrate(
    tree: &mut Tree,
    decisions: &Decisions,
    esp_mount: &str,
    has_bios_partition: bool,
) -> Result<Option<String>, Error> {
    if decisions.is_root_read_only() {
        let reason = "the root is read-only, and what names them with it";
        return Ok(Some(format!("machines keep the ids of the image's disk and file systems: {reason}")));
    }
    let Some(program) = program(tree, &decisions.packages)? else {
        let lacks = "the image has no product, and with it no pkgpanda";
        return Ok(Some(format!("machines keep the ids of the image's disk and file systems: {lacks}")));
    };
    tree.put(&path(PROGRAM)?, Metadata::root(0o755), Node::File(program))?;
    let record = record(decisions, esp_mount, has_bios_partition).to_json();
    put(tree, identity::RECORD, record)?;
    let unit = format!("{UNITS}/{}", identity::UNIT);
    put(tree, &unit, identity::unit(&format!("/{PROGRAM}")).into_bytes())?;
    let link = path(&format!("{UNITS}/{}.wants/{}", identity::WANTED_BY, identity::UNIT))?;
    tree.put(&link, Metadata::root(0o777), Node::Symlink(format!("/{unit}").into_bytes().into()))?;
    Ok(None)
}

/// The ids that the disk will have. Those of a verified `/usr` say what it holds: they stay, and are left out.
fn record(decisions: &Decisions, esp_mount: &str, has_bios_partition: bool) -> Record {
    let (esp, root) = disk::numbers(decisions, has_bios_partition);
    let partition = |number, name, file_system| {
        let guid = decisions.partition_guid(name);
        Partition { number, guid, file_system }
    };
    let bios = has_bios_partition.then(|| partition(1, "bios", None));
    let vfat = FileSystem::Vfat { id: Serial(decisions.esp_serial()) };
    let partitions = [
        partition(esp, "esp", Some(vfat)),
        partition(root, "root", Some(FileSystem::Ext4 { id: decisions.root_uuid() })),
    ];
    let partitions = bios.into_iter().chain(partitions).collect();
    Record::new(decisions.disk_guid(), Some(format!("/{}", esp_mount.trim_start_matches('/'))), partitions)
}

/// The program of the active package, if there is one.
fn program(tree: &Tree, packages: &[PackageId]) -> Result<Option<Content>, Error> {
    let Some(id) = packages.iter().find(|id| id.name().as_str() == PKGPANDA) else { return Ok(None) };
    let at = path(&format!("{}/packages/{id}/bin/{PKGPANDA}", bake_host::ROOT))?;
    let file = tree.lookup(&at, Follow::Last).map(|id| &tree.inode(id).node);
    Ok(file.and_then(|node| if let Node::File(content) = node { Some(content.clone()) } else { None }))
}

fn put(tree: &mut Tree, at: &str, bytes: Vec<u8>) -> Result<(), Error> {
    tree.put(&path(at)?, Metadata::root(0o644), Node::File(Content::bytes(bytes)))?;
    Ok(())
}
