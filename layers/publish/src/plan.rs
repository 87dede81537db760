//! What publishing would do.

use std::fmt;

use bake_base::Digest;
use serde::Serialize;

use crate::{AmiOptions, Image, actions, delta};

/// PutSnapshotBlock of one snapshot, per second (Amazon EBS endpoints and quotas).
const QUOTA: u64 = 1000;

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Name of the AMI.
    pub name: String,
    /// The disk digest.
    pub disk: Digest,
    /// Size of the volume in GiB.
    pub volume_gib: u64,
    /// Blocks of 512 KiB on the disk.
    pub blocks: u64,
    /// Those that are not zeros.
    pub blocks_in_use: u64,
    /// Those that are sent.
    pub blocks_to_put: u64,
    /// Their bytes.
    pub bytes_to_put: u64,
    /// Requests, at least: of blocks and of everything else.
    pub requests: u64,
    /// Seconds that the service's quota of blocks alone takes, rounded up.
    pub seconds_at_quota: u64,
    /// What most blocks are taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What is done, in order.
    pub steps: Vec<String>,
    /// The IAM actions that it takes.
    pub actions: Vec<&'static str>,
}

impl Plan {
    /// The plan of a run that puts `changed` blocks over `parent`.
    pub fn new(image: &Image, options: &AmiOptions, parent: Option<&str>, changed: &[u64]) -> Self {
        let in_use = image.blocks.runs().iter().map(|run| run.sha256.len() as u64).sum();
        let read_back = if options.verify { options.regions.len() as u64 * in_use } else { 0 };
        let put = changed.len() as u64;
        let steps = steps(options, parent, put);
        Self {
            name: options.name.clone(),
            disk: image.digest,
            volume_gib: image.disk.len() / bake_disk::GIB,
            blocks: image.blocks.block_count(),
            blocks_in_use: in_use,
            blocks_to_put: put,
            bytes_to_put: delta::bytes(changed.len()),
            requests: put + read_back + steps.len() as u64 + 3,
            seconds_at_quota: (put + read_back).div_ceil(QUOTA),
            parent: parent.map(str::to_owned),
            steps,
            actions: actions(options).into_iter().collect(),
        }
    }
}

fn steps(options: &AmiOptions, parent: Option<&str>, put: u64) -> Vec<String> {
    let Some((first, others)) = options.regions.split_first() else { return Vec::new() };
    let register = &options.register;
    let based = parent.map(|parent| format!(" based on {parent}")).unwrap_or_default();
    let encrypted = if options.encryption.is_on { ", encrypted" } else { "" };
    let mut steps = vec![
        format!("{first}: start a snapshot{based}{encrypted}"),
        format!("{first}: put {put} blocks"),
        format!("{first}: complete the snapshot, and wait"),
        format!(
            "{first}: register `{}`: {}, {}, {} on {}{}{}",
            options.name,
            register.architecture,
            register.boot_mode.name(),
            register.volume_type,
            register.root_device,
            if register.tpm { ", TPM 2.0" } else { "" },
            if register.imds_v2 { ", IMDSv2" } else { "" },
        ),
    ];
    steps.extend(others.iter().map(|region| format!("{region}: copy it{encrypted}, and wait")));
    for region in &options.regions {
        if !options.share.is_empty() {
            steps.push(format!("{region}: share it with {}", options.share.join(", ")));
        }
        if let Some(date) = &options.deprecate {
            steps.push(format!("{region}: deprecate it on {date}"));
        }
        if options.verify {
            steps.push(format!("{region}: read all blocks back"));
        }
    }
    steps
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes_to_put >> 20;
        writeln!(f, "{}: disk {}, {} GiB", self.name, self.disk, self.volume_gib)?;
        writeln!(f, "  {} blocks of 512 KiB, {} in use", self.blocks, self.blocks_in_use)?;
        writeln!(f, "  {} to put ({mib} MiB), {} requests in all", self.blocks_to_put, self.requests)?;
        writeln!(
            f,
            "  {} s at the quota of {QUOTA} blocks per second, if the network has 500 MiB/s",
            self.seconds_at_quota
        )?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        write!(f, "  IAM actions: {}", self.actions.join(", "))
    }
}
