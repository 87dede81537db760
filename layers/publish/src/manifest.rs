//! The manifest beside an image, as far as publishing needs it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bake_base::{Digest, Uuid};
use bake_disk::container::Format;
use bake_disk::{BLOCK_SIZE, BlockDigests, Run};
use serde::Deserialize;

use crate::Error;

/// Digests of a disk of 64 TiB, EBS's largest, take less than this.
const LIMIT: u64 = 16 << 30;
/// The largest disk, in bytes.
const LARGEST_DISK: u64 = 64 << 40;

/// What a manifest says of its disk; checked against itself.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Name of the image.
    pub name: String,
    /// The profile's name.
    pub profile: String,
    /// Architecture of the kernel, as in `x86-64`.
    pub architecture: String,
    /// The disk digest.
    pub digest: Digest,
    /// Digests of its blocks.
    pub blocks: BlockDigests,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// The files that hold the disk.
    pub artifacts: Vec<Artifact>,
}

/// A partition.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// Its number.
    pub number: u32,
    /// Its type GUID.
    pub type_guid: Uuid,
    /// Its label.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// Its digest, computed as the disk's.
    pub digest: Option<Digest>,
}

/// A file that holds the disk.
#[derive(Clone, Debug, Deserialize)]
pub struct Artifact {
    /// The file's name, without directories.
    pub name: String,
    /// Its container format, or `tar` of the tree.
    pub format: String,
    /// Its plain digest, where the disk's digests do not say enough.
    pub sha256: Option<Digest>,
}

impl Artifact {
    /// Whether the disk can be read out of it.
    pub fn holds_disk(&self) -> bool {
        self.format.parse().is_ok_and(Format::holds_disk)
    }

    /// Whether its name is one of a file in the manifest's own directory.
    fn is_beside(&self) -> bool {
        !self.name.is_empty() && !self.name.contains(['/', '\0']) && ![".", ".."].contains(&&*self.name)
    }
}

#[derive(Deserialize)]
struct Document {
    schema: String,
    name: String,
    profile: String,
    architecture: String,
    disk: Disk,
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Disk {
    digest: Digest,
    partitions: Vec<Partition>,
    blocks: Blocks,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Blocks {
    block_size: u64,
    disk_size: u64,
    runs: Vec<Digests>,
}

#[derive(Deserialize)]
struct Digests {
    first: u64,
    sha256: Vec<Digest>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it cannot be read, is no manifest of an image, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file("opening", path))?;
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes).map_err(Error::file("reading", path))?;
        Self::parse(&bytes, &path.display().to_string())
    }

    /// Takes the manifest that `name` holds.
    ///
    /// # Errors
    /// When it is no manifest of an image, or contradicts itself.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let unfit = |problem: String| Error::unfit(format_args!("manifest `{name}`"), problem);
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| unfit(format!("{error}; expected the manifest.json that `bake image` wrote")))?;
        if document.schema != "bake-manifest-1" {
            return Err(unfit(format!("schema `{}`: expected bake-manifest-1", document.schema)));
        }
        let Blocks { block_size, disk_size, runs } = document.disk.blocks;
        if block_size != BLOCK_SIZE {
            return Err(unfit(format!("disk.blocks.block-size is {block_size}: expected {BLOCK_SIZE}")));
        }
        if disk_size > LARGEST_DISK {
            return Err(unfit(format!(
                "disk.blocks.disk-size is {disk_size}: expected up to {LARGEST_DISK}"
            )));
        }
        if let Some(artifact) = document.artifacts.iter().find(|artifact| !artifact.is_beside()) {
            return Err(unfit(format!("artifacts: `{}`: expected a file's name", artifact.name)));
        }
        let runs = runs.into_iter().map(|Digests { first, sha256 }| Run { first, sha256 }).collect();
        let blocks = BlockDigests::from_runs(disk_size, runs).ok_or_else(|| {
            unfit(
                "disk.blocks.runs: expected ascending runs of digests, inside the disk and without zeros"
                    .into(),
            )
        })?;
        let digest = blocks.disk_digest();
        if digest != document.disk.digest {
            return Err(unfit(format!(
                "disk.digest is {}, but its blocks give {digest}",
                document.disk.digest
            )));
        }
        Ok(Self {
            name: document.name,
            profile: document.profile,
            architecture: document.architecture,
            digest,
            blocks,
            partitions: document.disk.partitions,
            artifacts: document.artifacts,
        })
    }

    /// The manifest beside an image, if there is one and it lists the image's file.
    ///
    /// # Errors
    /// When there is a manifest that cannot be used.
    pub fn beside(image: &Path) -> Result<Option<Self>, Error> {
        let path = image.with_file_name("manifest.json");
        if !path.exists() {
            return Ok(None);
        }
        let manifest = Self::read(&path)?;
        let name = image.file_name().map(|name| name.to_string_lossy());
        let is_listed =
            manifest.artifacts.iter().any(|artifact| Some(artifact.name.as_str()) == name.as_deref());
        Ok(is_listed.then_some(manifest))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn text(blocks: &BlockDigests, digest: Digest) -> String {
        let blocks = serde_json::to_value(blocks).unwrap();
        serde_json::json!({
            "schema": "bake-manifest-1", "name": "tiny", "profile": "debian", "architecture": "x86-64",
            "disk": {"digest": digest, "partitions": [], "blocks": blocks},
            "artifacts": [{"name": "tiny.raw", "format": "raw"}],
        })
        .to_string()
    }

    fn blocks() -> BlockDigests {
        let run = Run { first: 1, sha256: vec![Digest::of(b"one")] };
        BlockDigests::from_runs(4 * BLOCK_SIZE, vec![run]).unwrap()
    }

    #[test]
    fn a_manifest_is_believed_only_as_far_as_it_agrees_with_itself() {
        let good = text(&blocks(), blocks().disk_digest());
        assert_eq!(Manifest::parse(good.as_bytes(), "m").unwrap().blocks, blocks());
        for (from, to, expected) in [
            ("bake-manifest-1", "bake-manifest-2", "schema `bake-manifest-2`: expected bake-manifest-1"),
            ("524288", "4096", "disk.blocks.block-size is 4096"),
            ("2097152", "70368744177665", "disk.blocks.disk-size is 70368744177665"),
            ("tiny.raw", "../tiny.raw", "artifacts: `../tiny.raw`"),
            ("tiny.raw", "", "artifacts: ``: expected a file's name"),
            ("\"first\":1", "\"first\":9", "disk.blocks.runs"),
            ("\"first\":1", "\"first\":2", "but its blocks give"),
            ("\"disk\"", "\"disc\"", "missing field `disk`"),
        ] {
            let wrong = good.replacen(from, to, 1);
            let error = Manifest::parse(wrong.as_bytes(), "m").unwrap_err().to_string();
            assert!(error.starts_with("manifest `m`: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_manifest_speaks_for_the_files_that_it_lists() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(Manifest::beside(&scratch.path().join("tiny.raw")).unwrap().is_none());
        std::fs::write(scratch.path().join("manifest.json"), text(&blocks(), blocks().disk_digest()))
            .unwrap();
        assert!(Manifest::beside(&scratch.path().join("tiny.raw")).unwrap().is_some());
        assert!(Manifest::beside(&scratch.path().join("other.raw")).unwrap().is_none());
    }
}
