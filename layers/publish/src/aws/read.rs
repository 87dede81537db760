//! Blocks out of a snapshot: to verify it, to know a parent, to pull from it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bake_base::Digest;
use bake_disk::{BLOCK_SIZE, BlockDigests, GIB, Run, ZERO_BLOCK};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::task::JoinSet;

use super::image;
use super::pace::Pace;
use super::retry::{self, retry};
use super::session::Session;
use super::snapshot::{self, Known};
use super::{fault, go_on};
use crate::options::TAG_DISK;
use crate::progress::{Event, Progress};
use crate::verify::same_blocks;
use crate::{AmiId, Error};

/// Blocks of a listing's page, at most.
const PAGE: i32 = 10_000;

/// A snapshot whose blocks are listed.
pub(super) struct Listed {
    session: Session,
    snapshot: String,
    len: u64,
    /// The tokens of blocks that hold something; all others are zeros.
    tokens: BTreeMap<u64, String>,
    pace: Pace,
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Listed {
    /// Lists a completed snapshot.
    pub(super) async fn of(session: &Session, known: &Known, jobs: usize) -> Result<Self, Error> {
        let action = "ebs:ListSnapshotBlocks";
        let (mut tokens, mut page) = (BTreeMap::new(), None);
        let len = known.volume_gib * GIB;
        loop {
            let request = session
                .ebs
                .list_snapshot_blocks()
                .snapshot_id(&known.id)
                .max_results(PAGE)
                .set_next_token(page.clone());
            let send =
                || async { request.clone().send().await.map_err(|error| fault::of_sdk(action, error)) };
            let answer = retry(action, retry::FRESH, (None, &session.watch), send).await?;
            for block in answer.blocks() {
                let index = block.block_index().and_then(|index| u64::try_from(index).ok());
                let index = index.filter(|index| index * BLOCK_SIZE < len);
                let (Some(index), Some(token)) = (index, block.block_token()) else {
                    return Err(Error::service(action, "a block is listed that the volume does not have"));
                };
                tokens.insert(index, token.to_owned());
            }
            match answer.next_token() {
                Some(next) if page.as_deref() != Some(next) => page = Some(next.to_owned()),
                Some(_) => return Err(Error::service(action, "the list has no end")),
                None => break,
            }
        }
        Ok(Self { session: session.clone(), snapshot: known.id.clone(), len, tokens, pace: Pace::new(jobs) })
    }

    /// One block, checked against the service's own checksum.
    pub(super) async fn get(&self, block: u64) -> Result<Vec<u8>, Error> {
        let Some(token) = self.tokens.get(&block) else { return Ok(vec![0; BLOCK_SIZE as usize]) };
        let action = "ebs:GetSnapshotBlock";
        let request = self
            .session
            .ebs
            .get_snapshot_block()
            .snapshot_id(&self.snapshot)
            .block_index(block as i32)
            .block_token(token);
        let send = || async {
            let answer = request.clone().send().await.map_err(|error| fault::of_sdk(action, error))?;
            let broken = |message: String| crate::Fault {
                action,
                code: None,
                message,
                request_id: None,
                kind: crate::FaultKind::Passing,
                attempts: 1,
            };
            let said = answer.checksum().map(str::to_owned);
            let mut bytes = Vec::with_capacity(BLOCK_SIZE as usize);
            let mut body = answer.block_data;
            while let Some(part) = body.try_next().await.map_err(|error| broken(fault::chain(&error)))? {
                bytes.extend_from_slice(&part);
                if bytes.len() > BLOCK_SIZE as usize {
                    return Err(broken(format!("block {block} has more than {BLOCK_SIZE} bytes")));
                }
            }
            if bytes.len() != BLOCK_SIZE as usize {
                return Err(broken(format!("block {block} has {} bytes of {BLOCK_SIZE}", bytes.len())));
            }
            let own = BASE64.encode(Digest::of(&bytes).as_bytes());
            if said.is_some_and(|said| said != own) {
                return Err(broken(format!("block {block} does not have the checksum that came with it")));
            }
            Ok(bytes)
        };
        Ok(retry(action, retry::BLOCK, (Some(&self.pace), &self.session.watch), send).await?)
    }

    /// Reads everything and gives its digests.
    pub(super) async fn digests(
        self,
        jobs: usize,
        stop: &Arc<AtomicBool>,
        progress: &Progress,
    ) -> Result<BlockDigests, Error> {
        let total = self.tokens.len() as u64 * BLOCK_SIZE;
        progress(Event::Begin { what: "reading back", done: 0, total });
        let blocks: Arc<Vec<u64>> = Arc::new(self.tokens.keys().copied().collect());
        let (len, next) = (self.len, Arc::new(AtomicUsize::new(0)));
        let listed = Arc::new(self);
        let found = Arc::new(Mutex::new(BTreeMap::new()));
        let mut workers = JoinSet::new();
        for _ in 0..jobs.min(blocks.len()) {
            let (listed, blocks, next) = (Arc::clone(&listed), Arc::clone(&blocks), Arc::clone(&next));
            let (found, stop, progress) = (Arc::clone(&found), Arc::clone(stop), Arc::clone(progress));
            workers.spawn(async move {
                while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    go_on(&stop)?;
                    let digest = Digest::of(&listed.get(block).await?);
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert(block, digest);
                    progress(Event::Bytes(BLOCK_SIZE));
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended.map_err(|error| Error::service("ebs:GetSnapshotBlock", error))??;
        }
        let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        let runs = found.into_iter().filter(|(_, digest)| *digest != ZERO_BLOCK);
        let runs = runs.map(|(first, digest)| Run { first, sha256: vec![digest] }).collect();
        BlockDigests::from_runs(len, runs)
            .ok_or_else(|| Error::service(&listed.snapshot, "its blocks make no disk"))
    }
}

/// Reads an AMI and compares it with what it should be.
pub(super) async fn verify(
    ami: &AmiId,
    profile: Option<&str>,
    expected: Option<&BlockDigests>,
    jobs: usize,
    progress: &Progress,
) -> Result<BlockDigests, Error> {
    let session = Session::open(&ami.region, profile, progress).await?;
    let image = image::by_id(&session, &ami.id, retry::CALL).await?;
    let known = snapshot::by_id(&session, &image.snapshot, retry::CALL).await?;
    let tag = known.tags.get(TAG_DISK).or(image.tags.get(TAG_DISK)).cloned();
    if expected.is_none() && tag.is_none() {
        let problem = format!(
            "it has no tag `{TAG_DISK}` that this account sees: give the --manifest of what it should be"
        );
        return Err(Error::unfit(ami, problem));
    }
    let found = Listed::of(&session, &known, jobs).await?.digests(jobs, &Arc::default(), progress).await?;
    match (expected, tag) {
        (Some(expected), _) => same_blocks(&ami.to_string(), &found, expected)?,
        (None, Some(tag)) if tag != found.disk_digest().to_string() => {
            let problem =
                format!("its blocks give the disk digest {}, its tag says {tag}", found.disk_digest());
            return Err(Error::differs(ami, problem));
        }
        (None, _) => {}
    }
    Ok(found)
}

/// An AMI to pull blocks from, one after the other or several at once.
pub struct Pulled {
    runtime: tokio::runtime::Runtime,
    listed: Listed,
}

impl fmt::Debug for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pulled").field(&self.listed).finish()
    }
}

impl Pulled {
    pub(super) fn open(
        ami: &AmiId,
        profile: Option<&str>,
        jobs: usize,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| Error::service("starting threads", error))?;
        let listed = runtime.block_on(async {
            let session = Session::open(&ami.region, profile, progress).await?;
            let image = image::by_id(&session, &ami.id, retry::CALL).await?;
            let known = snapshot::by_id(&session, &image.snapshot, retry::CALL).await?;
            Listed::of(&session, &known, jobs).await
        })?;
        Ok(Self { runtime, listed })
    }
}

impl crate::pull::Origin for Pulled {
    fn name(&self) -> String {
        self.listed.snapshot.clone()
    }

    /// One request per block: there are no larger ones.
    fn longest(&self) -> u64 {
        1
    }

    fn fetch(&self, first: u64, _: u64) -> Result<Vec<u8>, Error> {
        self.runtime.block_on(self.listed.get(first))
    }
}
