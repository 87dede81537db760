//! Proof that something is the disk of a manifest.

use std::fs::File;
use std::path::{Path, PathBuf};

use bake_base::{Digest, DigestReader};
use bake_disk::{BLOCK_SIZE, BlockDigests, container};

use crate::Error;
use crate::image::digests;
use crate::manifest::Manifest;
use crate::progress::{Event, Progress};

/// What covers the manifest and every compact artifact.
const SUMS: &str = "SHA256SUMS";

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The disk digest.
    pub disk: Digest,
    /// What was compared, one line each.
    pub checks: Vec<String>,
}

/// Checks an artifact, or all artifacts of a directory, against a manifest: `manifest`, or the one that lies there.
///
/// # Errors
/// When something is missing or not what it should be.
pub fn artifact(
    path: &Path,
    manifest: Option<&Path>,
    threads: usize,
    progress: &Progress,
) -> Result<Verified, Error> {
    let is_directory = path.is_dir();
    let directory = if is_directory { path } else { path.parent().unwrap_or(Path::new("")) };
    let beside = directory.join("manifest.json");
    let is_manifest = path.file_name() == beside.file_name();
    let manifest_path = manifest.unwrap_or(if is_manifest { path } else { &beside });
    let manifest = Manifest::read(manifest_path)?;
    let mut checks = vec![format!("{}: agrees with itself", manifest_path.display())];
    if manifest_path == beside {
        checks.extend(sums(directory, progress)?);
    }
    let images: Vec<PathBuf> = if is_directory || is_manifest {
        manifest.artifacts.iter().map(|artifact| directory.join(&artifact.name)).collect()
    } else {
        vec![path.to_owned()]
    };
    for image in images {
        let file = File::open(&image).map_err(Error::file("opening", &image))?;
        let opened = container::open(file).map_err(|source| Error::Image { path: image.clone(), source })?;
        progress(Event::Step(format!("reading {}", image.display())));
        let found = digests(&*opened.disk, threads, progress).map_err(Error::file("reading", &image))?;
        let what = format!("`{}`", image.display());
        partitions(&what, &found, &manifest)?;
        same_blocks(&what, &found, &manifest.blocks)?;
        checks.push(format!("{}: the disk, all {} blocks", image.display(), found.block_count()));
    }
    Ok(Verified { disk: manifest.digest, checks })
}

/// Checks the files that `SHA256SUMS` names, if there is one.
fn sums(directory: &Path, progress: &Progress) -> Result<Vec<String>, Error> {
    let path = directory.join(SUMS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("reading", path)(error)),
    };
    let mut checks = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let parsed =
            line.split_once("  ").and_then(|(digest, name)| Some((digest.parse::<Digest>().ok()?, name)));
        let Some((wanted, name)) = parsed.filter(|(_, name)| !name.contains('/') && !name.starts_with('.'))
        else {
            let what = format!("`{}`, line {number}", path.display());
            return Err(Error::unfit(what, "expected a digest, two spaces and a file's name"));
        };
        let file = directory.join(name);
        progress(Event::Step(format!("hashing {}", file.display())));
        let open = File::open(&file).map_err(Error::file("opening", &file))?;
        let (found, _) = DigestReader::new(open).drain().map_err(Error::file("reading", &file))?;
        if found != wanted {
            let problem = format!("its SHA-256 is {found}, {SUMS} says {wanted}");
            return Err(Error::differs(format_args!("`{}`", file.display()), problem));
        }
        checks.push(format!("{}: {SUMS}", file.display()));
    }
    Ok(checks)
}

/// Says in which partition a disk differs, before blocks are counted.
fn partitions(what: &str, found: &BlockDigests, manifest: &Manifest) -> Result<(), Error> {
    for partition in &manifest.partitions {
        let part = found.part(partition.offset, partition.size);
        if let (Some(part), Some(wanted)) = (part, partition.digest)
            && part.disk_digest() != wanted
        {
            let blocks = count(found, &manifest.blocks);
            let problem = format!("partition {} (`{}`) differs; {blocks}", partition.number, partition.name);
            return Err(Error::differs(what, problem));
        }
    }
    Ok(())
}

fn count(found: &BlockDigests, expected: &BlockDigests) -> String {
    let differing: Vec<u64> = (0..)
        .zip(found.iter().zip(expected.iter()))
        .filter(|(_, (a, b))| a != b)
        .map(|(block, _)| block)
        .collect();
    let first = differing.first().map_or(0, |block| block * BLOCK_SIZE);
    format!("{} of {} blocks differ, the first at byte {first}", differing.len(), expected.block_count())
}

/// Compares two disks.
pub(crate) fn same_blocks(what: &str, found: &BlockDigests, expected: &BlockDigests) -> Result<(), Error> {
    if found.disk_size() != expected.disk_size() {
        let problem = format!("it has {} bytes, expected {}", found.disk_size(), expected.disk_size());
        return Err(Error::differs(what, problem));
    }
    if found == expected { Ok(()) } else { Err(Error::differs(what, count(found, expected))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::tests::disk;

    #[test]
    fn a_difference_is_told_with_its_place() {
        same_blocks("x", &disk(&[1, 0]), &disk(&[1, 0])).unwrap();
        let error = same_blocks("x", &disk(&[1, 0, 3]), &disk(&[1, 2, 4])).unwrap_err().to_string();
        assert_eq!(
            error,
            "x is not the disk that was expected: 2 of 3 blocks differ, the first at byte 524288"
        );
        assert!(
            same_blocks("x", &disk(&[1]), &disk(&[1, 0]))
                .unwrap_err()
                .to_string()
                .contains("expected 1048576")
        );
    }
}
