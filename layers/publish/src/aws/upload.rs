//! Blocks into a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_ebs::primitives::ByteStream;
use aws_sdk_ebs::types::ChecksumAlgorithm;
use bake_disk::BLOCK_SIZE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::task::JoinSet;

use super::pace::Pace;
use super::retry::{self, retry};
use super::session::Session;
use super::{fault, go_on};
use crate::journal::Journal;
use crate::progress::{Event, Progress};
use crate::{AmiOptions, Error, Image};

/// What every worker needs.
struct Upload {
    session: Session,
    snapshot: String,
    image: Image,
    blocks: Vec<u64>,
    next: AtomicUsize,
    pace: Pace,
    journal: Arc<Journal>,
    options: AmiOptions,
    progress: Progress,
}

/// Puts those of `blocks` that no run has put yet. Each worker holds one block, so that memory is bounded by their
/// number.
pub(super) async fn put(
    session: &Session,
    (image, blocks): (&Image, &[u64]),
    snapshot: &str,
    journal: &Arc<Journal>,
    (options, progress): (&AmiOptions, &Progress),
) -> Result<usize, Error> {
    let is_missing = |block: &u64| !journal.acknowledged.contains(block);
    let missing: Vec<_> = blocks.iter().copied().filter(is_missing).collect();
    let count = missing.len();
    let done = (blocks.len() - count) as u64 * BLOCK_SIZE;
    progress(Event::Begin { what: "uploading", done, total: blocks.len() as u64 * BLOCK_SIZE });
    let upload = Arc::new(Upload {
        session: session.clone(),
        snapshot: snapshot.into(),
        image: image.clone(),
        blocks: missing,
        next: AtomicUsize::new(0),
        pace: Pace::new(options.jobs),
        journal: Arc::clone(journal),
        options: options.clone(),
        progress: Arc::clone(progress),
    });
    let mut workers = JoinSet::new();
    for _ in 0..options.jobs.min(count) {
        workers.spawn(work(Arc::clone(&upload)));
    }
    // The first failure ends all: whatever is under way is put again by the next run, unless it was acknowledged.
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| Error::service("ebs:PutSnapshotBlock", error))??;
    }
    Ok(count)
}

async fn work(upload: Arc<Upload>) -> Result<(), Error> {
    while let Some(block) = upload.blocks.get(upload.next.fetch_add(1, Ordering::Relaxed)).copied() {
        go_on(&upload.options.stop)?;
        let from = Arc::clone(&upload);
        let read = tokio::task::spawn_blocking(move || from.image.read(block)).await;
        let bytes = read.map_err(|error| Error::service("reading the image", error))??;
        put_block(&upload, block, bytes).await?;
        upload.journal.acknowledge(block)?;
        (upload.progress)(Event::Bytes(BLOCK_SIZE));
    }
    Ok(())
}

async fn put_block(upload: &Upload, block: u64, bytes: Vec<u8>) -> Result<(), Error> {
    let action = "ebs:PutSnapshotBlock";
    let checksum = BASE64.encode(upload.image.blocks.get(block).as_bytes());
    let bytes = ByteStream::from(bytes).into_inner();
    let send = || async {
        // The bytes themselves are shared, not copied.
        let body = bytes.try_clone().map(ByteStream::new).unwrap_or_default();
        let request = upload.session.ebs.put_snapshot_block().snapshot_id(&upload.snapshot);
        let request = request.block_index(block as i32).data_length(BLOCK_SIZE as i32).block_data(body);
        let request =
            request.checksum(&checksum).checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256);
        let sent = request.send().await;
        sent.map_err(|error| fault::of_sdk(action, error))
    };
    let answer = retry(action, retry::BLOCK, (Some(&upload.pace), &upload.session.watch), send).await?;
    if answer.checksum().is_none_or(|said| said == checksum) {
        return Ok(());
    }
    Err(Error::service(action, format_args!("block {block} has another checksum there; run again")))
}
