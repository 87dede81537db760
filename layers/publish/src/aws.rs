//! AMIs through the EBS direct APIs (Amazon EBS User Guide, "EBS direct APIs") and a few calls of EC2.

mod ami;
mod ec2;
mod fault;
mod image;
mod pace;
mod parent;
mod read;
mod retry;
mod session;
mod snapshot;
mod upload;

use std::sync::atomic::{AtomicBool, Ordering};

use bake_disk::BlockDigests;

use crate::progress::Progress;
use crate::{AmiId, AmiOptions, Error, Image, Plan};

pub use ami::{Published, Region};
pub use read::Pulled;

/// Runs what waits for the network. Blocks are read on few threads: each of them has a block in memory.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(8).enable_all().build();
    let runtime = runtime.map_err(|error| Error::service("starting threads", error))?;
    let result = runtime.block_on(work);
    // A read that still waits for a disk is nobody's business any more.
    runtime.shutdown_background();
    result
}

/// Fails once a signal has come.
fn go_on(stop: &AtomicBool) -> Result<(), Error> {
    if stop.load(Ordering::SeqCst) { Err(Error::Stopped) } else { Ok(()) }
}

/// What publishing would do. Asks the network only for what a parent holds.
///
/// # Errors
/// When the options make no sense, or the parent is not to be found.
pub fn plan(image: &Image, options: &AmiOptions, progress: &Progress) -> Result<Plan, Error> {
    options.check()?;
    block_on(ami::plan(image, options, progress))
}

/// Publishes an image: nothing is done that was done before, by whichever run.
///
/// # Errors
/// When the options make no sense, the image changed, or a service refuses. What was done stays, and the next run goes
/// on from there.
pub fn ami(image: &Image, options: &AmiOptions, progress: &Progress) -> Result<Published, Error> {
    options.check()?;
    block_on(ami::publish(image, options, progress))
}

/// Proves that an AMI is the disk of which these are the digests, or else that its tags name.
///
/// # Errors
/// When it is another one, or cannot be read.
pub fn verify_ami(
    ami: &AmiId,
    profile: Option<&str>,
    expected: Option<&BlockDigests>,
    jobs: usize,
    progress: &Progress,
) -> Result<BlockDigests, Error> {
    block_on(read::verify(ami, profile, expected, jobs, progress))
}

/// Opens an AMI's root snapshot to be pulled from.
///
/// # Errors
/// When the AMI cannot be read.
pub fn pull_ami(
    ami: &AmiId,
    profile: Option<&str>,
    jobs: usize,
    progress: &Progress,
) -> Result<Pulled, Error> {
    Pulled::open(ami, profile, jobs, progress)
}
