//! What is known of the snapshot that a new one is based on.

use super::read::Listed;
use super::session::Session;
use super::snapshot::{self, State};
use super::{image, retry};
use crate::options::TAG_DISK;
use crate::progress::{Event, Progress};
use crate::{AmiOptions, Error, Groups, Image, Known};

/// The parent's snapshot, and what it holds: by its manifest, by its tags, or else by reading all of it.
pub(super) async fn find(
    session: &Session,
    image: &Image,
    options: &AmiOptions,
    progress: &Progress,
) -> Result<Option<(String, Known)>, Error> {
    let Some(parent) = &options.parent else { return Ok(None) };
    let id = if parent.starts_with("ami-") {
        image::by_id(session, parent, retry::CALL).await?.snapshot
    } else {
        parent.clone()
    };
    let known = snapshot::by_id(session, &id, retry::CALL).await?;
    let volume = image.disk.len() / bake_disk::GIB;
    if known.volume_gib > volume {
        let problem = format!(
            "its volume has {} GiB, this disk has {volume}: a snapshot is never smaller than its parent; bake with --size {}G, or publish without --parent",
            known.volume_gib, known.volume_gib
        );
        return Err(Error::unfit(format_args!("parent `{parent}`"), problem));
    }
    if known.state != State::Completed {
        let problem = "it is not completed: wait until it is, or publish without --parent";
        return Err(Error::unfit(format_args!("parent `{parent}`"), problem));
    }
    if let Some(blocks) = &options.parent_blocks {
        let digest = blocks.disk_digest().to_string();
        match known.tags.get(TAG_DISK) {
            Some(tag) if *tag == digest => return Ok(Some((id, Known::Blocks(blocks.clone())))),
            Some(tag) => {
                let problem =
                    format!("--parent-manifest is of the disk {digest}, its tag `{TAG_DISK}` says {tag}");
                return Err(Error::unfit(format_args!("parent `{parent}`"), problem));
            }
            // Nothing says that it is this one's manifest.
            None => {}
        }
    }
    if let Some(groups) = Groups::from_tags(&known.tags) {
        return Ok(Some((id, Known::Groups(groups))));
    }
    progress(Event::Step(format!("{id} has no index in its tags: reading it")));
    let listed = Listed::of(session, &known, options.jobs).await?;
    let blocks = listed.digests(options.jobs, &options.stop, progress).await?;
    Ok(Some((id, Known::Blocks(blocks))))
}
