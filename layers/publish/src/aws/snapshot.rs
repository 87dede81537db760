//! Snapshots: begun, completed, found again.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use aws_sdk_ebs::types::{ChecksumAggregationMethod, ChecksumAlgorithm, Status, Tag};
use bake_base::{Digest, Hasher};
use bake_disk::{BlockDigests, GIB};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::ec2::{self, parameters};
use super::retry::{self, retry};
use super::session::Session;
use super::{fault, go_on};
use crate::options::{TAG_DISK, TAG_TOKEN};
use crate::{AmiOptions, Error, Fault, FaultKind};

/// Minutes without a request until the service gives a snapshot up: a killed run may go on the next day.
const IDLE: i32 = 24 * 60;
/// Other snapshots that may have died with the same parameters.
const ATTEMPTS: u32 = 16;
/// The first and the longest wait between two looks.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Blocks can be put, or the service works on it.
    Pending,
    /// All is there.
    Completed,
    /// It is dead.
    Dead,
}

/// What EC2 knows of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub id: String,
    pub state: State,
    pub volume_gib: u64,
    pub is_encrypted: bool,
    pub tags: BTreeMap<String, String>,
    pub message: String,
}

/// A snapshot that was begun.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub id: String,
    pub token: String,
    pub state: State,
}

/// Begins the snapshot of a disk, or finds the one that was begun with the same parameters.
pub(super) async fn begin(
    session: &Session,
    options: &AmiOptions,
    blocks: &BlockDigests,
    parent: Option<&str>,
) -> Result<Begun, Error> {
    let size = (blocks.disk_size() / GIB) as i64;
    let disk = blocks.disk_digest();
    for attempt in 0..ATTEMPTS {
        let token = options.token(&disk, parent, &session.region, attempt);
        let tag = |(key, value): (String, String)| Tag::builder().key(key).value(value).build();
        let tags: Vec<_> = options.snapshot_tags(blocks, parent, &token).into_iter().map(tag).collect();
        let request = session
            .ebs
            .start_snapshot()
            .volume_size(size)
            .timeout(IDLE)
            .client_token(&token)
            .description(options.description.as_deref().unwrap_or(&options.name))
            .set_tags(Some(tags))
            .set_parent_snapshot_id(parent.map(str::to_owned))
            .set_encrypted(options.encryption.is_on.then_some(true))
            .set_kms_key_arn(options.encryption.key(&session.region).map(str::to_owned));
        let action = "ebs:StartSnapshot";
        let send = || async { request.clone().send().await.map_err(|error| fault::of_sdk(action, error)) };
        let answer = retry(action, retry::CALL, (None, &session.watch), send).await?;
        let id =
            answer.snapshot_id().ok_or_else(|| Error::service(action, "the answer names no snapshot"))?;
        let state = match answer.status() {
            Some(Status::Completed) => State::Completed,
            Some(Status::Error) => State::Dead,
            _ if is_dead(session, id).await? => State::Dead,
            _ => State::Pending,
        };
        if state != State::Dead {
            return Ok(Begun { id: id.into(), token, state });
        }
    }
    Err(Error::service(
        "ebs:StartSnapshot",
        "all snapshots of this disk have failed: delete them, and run again",
    ))
}

/// Whether a snapshot that was just begun is of no use: a token that was used before gives the one that it stood for,
/// which may have failed or be deleted since.
async fn is_dead(session: &Session, id: &str) -> Result<bool, Error> {
    match by_id(session, id, retry::FRESH).await {
        Ok(known) => Ok(known.state == State::Dead),
        Err(Error::Fault(fault)) if fault.kind == FaultKind::NotYet => Ok(true),
        Err(error) => Err(error),
    }
}

/// Completes a snapshot of which `put` blocks were put, ascending.
pub(super) async fn complete(
    session: &Session,
    id: &str,
    blocks: &BlockDigests,
    put: &[u64],
) -> Result<(), Box<Fault>> {
    // LINEAR: the SHA-256 of all blocks' own, in the order of the blocks.
    let mut hasher = Hasher::new();
    for block in put {
        hasher.update(blocks.get(*block).as_bytes());
    }
    let request = session
        .ebs
        .complete_snapshot()
        .snapshot_id(id)
        .changed_blocks_count(put.len() as i32)
        .checksum(BASE64.encode(hasher.finish().as_bytes()))
        .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
        .checksum_aggregation_method(ChecksumAggregationMethod::ChecksumAggregationLinear);
    let action = "ebs:CompleteSnapshot";
    let send = || async { request.clone().send().await.map_err(|error| fault::of_sdk(action, error)) };
    retry(action, retry::FRESH, (None, &session.watch), send).await.map(|_| ())
}

/// The account's own snapshots of a disk.
pub(super) async fn of_disk(session: &Session, disk: &str) -> Result<Vec<Known>, Error> {
    let mut filters = parameters([("Owner.1", "self"), ("Filter.1.Name", &format!("tag:{TAG_DISK}"))]);
    filters.push(("Filter.1.Value.1".into(), disk.into()));
    describe(session, retry::CALL, filters).await
}

/// One snapshot, by its id.
pub(super) async fn by_id(session: &Session, id: &str, limits: retry::Limits) -> Result<Known, Error> {
    let found = describe(session, limits, parameters([("SnapshotId.1", id)])).await?;
    found.into_iter().next().ok_or_else(|| Error::service(id, "no such snapshot in this region"))
}

async fn describe(
    session: &Session,
    limits: retry::Limits,
    parameters: ec2::Parameters,
) -> Result<Vec<Known>, Error> {
    let action = "ec2:DescribeSnapshots";
    let answer = session.ec2.call(action, limits, parameters).await?;
    answer.read(action, |root| ec2::items(root, "snapshotSet").map(known).collect())
}

fn known(item: roxmltree::Node<'_, '_>) -> Option<Known> {
    let text = |name| ec2::text(item, name).map(str::to_owned);
    Some(Known {
        id: text("snapshotId")?,
        state: match ec2::text(item, "status")? {
            "completed" => State::Completed,
            "error" | "recoverable" | "recovering" => State::Dead,
            _ => State::Pending,
        },
        volume_gib: ec2::text(item, "volumeSize").and_then(|size| size.parse().ok()).unwrap_or(0),
        is_encrypted: ec2::text(item, "encrypted") == Some("true"),
        tags: tags(item),
        message: text("statusMessage").unwrap_or_default(),
    })
}

/// The tags of anything.
pub(super) fn tags(item: roxmltree::Node<'_, '_>) -> BTreeMap<String, String> {
    let pair =
        |tag| Some((ec2::text(tag, "key")?.to_owned(), ec2::text(tag, "value").unwrap_or("").to_owned()));
    ec2::items(item, "tagSet").filter_map(pair).collect()
}

/// Waits until a snapshot is completed.
pub(super) async fn wait(
    session: &Session,
    id: &str,
    patience: Duration,
    stop: &AtomicBool,
) -> Result<Known, Error> {
    let mut looks = Looks::new(patience);
    loop {
        go_on(stop)?;
        let known = by_id(session, id, retry::FRESH).await?;
        match known.state {
            State::Completed => return Ok(known),
            State::Dead => {
                let problem =
                    format!("the service could not make the snapshot: {}; run again", known.message);
                return Err(Error::service(id, problem));
            }
            State::Pending => looks.next(id).await?,
        }
    }
}

/// Whether it was begun by a run with the same parameters, without a parent.
pub(super) fn has_token(known: &Known, options: &AmiOptions, disk: &Digest, region: &str) -> bool {
    let is_token = |token: &String| (0..ATTEMPTS).any(|at| options.token(disk, None, region, at) == *token);
    known.tags.get(TAG_TOKEN).is_some_and(is_token)
}

/// Waits between looks at something that takes its time.
#[derive(Debug)]
pub(super) struct Looks {
    begin: Instant,
    patience: Duration,
    next: Duration,
}

impl Looks {
    pub(super) fn new(patience: Duration) -> Self {
        Self { begin: Instant::now(), patience, next: LOOKS.0 }
    }

    /// Waits for the next look, unless it was waited long enough.
    pub(super) async fn next(&mut self, what: &str) -> Result<(), Error> {
        if self.begin.elapsed() + self.next > self.patience {
            let minutes = self.patience.as_secs().div_ceil(60);
            let problem = format!(
                "still pending after {minutes} minutes; nothing has failed: run the same command again to go on waiting, or give --wait"
            );
            return Err(Error::service(what, problem));
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 3 / 2).min(LOOKS.1);
        Ok(())
    }
}
