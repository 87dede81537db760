//! An image into AMIs: each step looks for what an earlier run has done, and does the rest.

use std::sync::Arc;
use std::time::Duration;

use bake_base::Digest;
use bake_disk::BlockDigests;
use serde::Serialize;

use super::read::Listed;
use super::session::Session;
use super::snapshot::{self, State};
use super::{go_on, image, parent, retry, upload};
use crate::journal::Journal;
use crate::options::TAG_DISK;
use crate::progress::{Event, Progress};
use crate::verify::same_blocks;
use crate::{AmiOptions, Error, Fault, Image, Known, Plan, changed};

/// How long a snapshot may stay pending that the service has refused to complete, perhaps because it does already.
const DOUBT: Duration = Duration::from_mins(10);

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Published {
    /// Name of the AMIs.
    pub name: String,
    /// The disk digest.
    pub disk: Digest,
    /// The AMI of every region.
    pub regions: Vec<Region>,
    /// Blocks that this run has put.
    pub blocks_put: usize,
    /// Blocks that came from the parent or an earlier run, or are zeros.
    pub blocks_kept: u64,
    /// What this run has done; nothing when all was there.
    pub done: Vec<String>,
}

/// The AMI of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Region {
    /// The region.
    pub region: String,
    /// The AMI.
    pub image: String,
    /// The snapshot of its root volume.
    pub snapshot: String,
    /// Whether its blocks were read back in this run.
    pub verified: bool,
}

/// What a run would do.
pub(super) async fn plan(image: &Image, options: &AmiOptions, progress: &Progress) -> Result<Plan, Error> {
    let found = match &options.parent {
        None => None,
        Some(_) => {
            let session = Session::open(first(options)?, options.profile.as_deref(), progress).await?;
            parent::find(&session, image, options, progress).await?
        }
    };
    let (parent, known) = found.map_or((None, Known::Nothing), |(parent, known)| (Some(parent), known));
    Ok(Plan::new(image, options, parent.as_deref(), &changed(&image.blocks, &known)))
}

/// Publishes.
pub(super) async fn publish(
    image: &Image,
    options: &AmiOptions,
    progress: &Progress,
) -> Result<Published, Error> {
    let (mut done, mut put, mut regions) = (Vec::new(), 0, Vec::new());
    let mut origin: Option<image::Known> = None;
    for region in &options.regions {
        go_on(&options.stop)?;
        let session = Session::open(region, options.profile.as_deref(), progress).await?;
        let found = image::by_name(&session, &options.name).await?;
        let known = match (found, &origin) {
            (Some(known), _) => {
                let is_told = known.tags.contains_key(TAG_DISK) || known.snapshot.is_empty();
                let snapshot = if is_told {
                    None
                } else {
                    Some(snapshot::by_id(&session, &known.snapshot, retry::CALL).await?)
                };
                image::is_of(
                    &known,
                    image,
                    snapshot.as_ref().and_then(|snapshot| snapshot.tags.get(TAG_DISK)),
                )?;
                known
            }
            (None, None) => {
                let (snapshot, count) = snapshot(&session, (image, options), progress, &mut done).await?;
                put += count;
                let id = image::register(&session, image, options, &snapshot).await?;
                done.push(format!("{region}: registered {id}"));
                image::by_id(&session, &id, retry::FRESH).await?
            }
            (None, Some(origin)) => {
                let from = first(options)?;
                let id = image::copy(&session, (image, options), (from, &origin.id)).await?;
                done.push(format!("{region}: copied {} from {from} as {id}", origin.id));
                image::by_id(&session, &id, retry::FRESH).await?
            }
        };
        progress(Event::Step(format!("{region}: waiting for {}", known.id)));
        let known = image::wait(&session, &known.id, options).await?;
        let settled = image::settle(&session, (image, options), &known).await?;
        done.extend(settled.into_iter().map(|what| format!("{region}: {what}")));
        if options.verify {
            progress(Event::Step(format!("{region}: reading {} back", known.snapshot)));
            let root = snapshot::by_id(&session, &known.snapshot, retry::FRESH).await?;
            let listed = Listed::of(&session, &root, options.jobs).await?;
            let found = listed.digests(options.jobs, &options.stop, progress).await?;
            same_blocks(&known.id, &found, &image.blocks)?;
        }
        regions.push(Region {
            region: region.clone(),
            image: known.id.clone(),
            snapshot: known.snapshot.clone(),
            verified: options.verify,
        });
        origin.get_or_insert(known);
    }
    // Everything that the journal was for is there.
    Journal::remove(&options.journal)?;
    let kept = image.blocks.block_count() - put as u64;
    Ok(Published {
        name: options.name.clone(),
        disk: image.digest,
        regions,
        blocks_put: put,
        blocks_kept: kept,
        done,
    })
}

fn first(options: &AmiOptions) -> Result<&str, Error> {
    options.regions.first().map(String::as_str).ok_or_else(|| Error::unfit("--region", "name one at least"))
}

/// The completed snapshot of the disk, and how many blocks this run has put for it.
async fn snapshot(
    session: &Session,
    (image, options): (&Image, &AmiOptions),
    progress: &Progress,
    done: &mut Vec<String>,
) -> Result<(String, usize), Error> {
    let region = &session.region;
    let others = snapshot::of_disk(session, &image.digest.to_string()).await?;
    // Whoever made it: the tags name the disk, and what it is encrypted with is the same.
    let is_fit = |known: &&snapshot::Known| {
        known.state == State::Completed
            && known.is_encrypted == options.encryption.is_on
            && (!options.encryption.is_on || snapshot::has_token(known, options, &image.digest, region))
    };
    if let Some(known) = others.iter().find(is_fit) {
        return Ok((known.id.clone(), 0));
    }
    let found = parent::find(session, image, options, progress).await?;
    let (parent, known) = found.map_or((None, Known::Nothing), |(parent, known)| (Some(parent), known));
    let blocks = changed(&image.blocks, &known);
    let begun = snapshot::begin(session, options, &image.blocks, parent.as_deref()).await?;
    done.push(format!("{region}: snapshot {}", begun.id));
    if begun.state == State::Completed {
        return Ok((begun.id, 0));
    }
    progress(Event::Step(format!("{region}: uploading to {}", begun.id)));
    let journal = Arc::new(Journal::open(&options.journal, &begun.id, &begun.token, blocks)?);
    let blocks: Vec<_> = journal.blocks.iter().copied().collect();
    let put = upload::put(session, (image, &blocks), &begun.id, &journal, (options, progress)).await?;
    done.push(format!("{region}: put {put} blocks"));
    let doubt = complete(session, &begun.id, (&image.blocks, &blocks), &journal).await?;
    progress(Event::Step(format!("{region}: waiting for {}", begun.id)));
    let patience = doubt.as_ref().map_or(options.patience, |_| options.patience.min(DOUBT));
    match (snapshot::wait(session, &begun.id, patience, &options.stop).await, doubt) {
        (Err(_), Some(refusal)) => Err(Error::Fault(refusal)),
        (result, _) => result.map(|_| (begun.id, put)),
    }
}

/// Completes a snapshot, unless an earlier run did whose answer was lost. A refusal that may only say so is returned:
/// whether the snapshot becomes complete tells.
async fn complete(
    session: &Session,
    id: &str,
    (blocks, put): (&BlockDigests, &[u64]),
    journal: &Journal,
) -> Result<Option<Box<Fault>>, Error> {
    let was_asked = journal.is_completing;
    if was_asked && snapshot::by_id(session, id, retry::FRESH).await?.state == State::Completed {
        return Ok(None);
    }
    journal.completing()?;
    match snapshot::complete(session, id, blocks, put).await {
        Ok(()) => Ok(None),
        Err(fault) if (was_asked || fault.attempts > 1) && is_about_state(&fault) => Ok(Some(fault)),
        Err(fault) => Err(fault.into()),
    }
}

/// Whether a refusal may be of something that is no longer to be completed.
fn is_about_state(fault: &Fault) -> bool {
    matches!(fault.code.as_deref(), Some("ConflictException" | "ValidationException"))
}
