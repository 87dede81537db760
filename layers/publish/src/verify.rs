//! Proof that something is the disk of a manifest.

use std::fs::File;
use std::path::Path;

use bake_base::{Digest, DigestReader};
use bake_disk::{BLOCK_SIZE, BlockDigests, container};

use crate::Error;
use crate::image::digests;
use crate::manifest::{Artifact, Manifest};
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
    /// Files beside the manifest that it does not speak of.
    pub strangers: Vec<String>,
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
    if manifest.is_none() && !beside.exists() {
        let problem =
            "expected the manifest.json that `bake image` wrote; name another place with --manifest";
        return Err(Error::unfit(format_args!("no `{}`", beside.display()), problem));
    }
    let manifest = Manifest::read(manifest_path)?;
    let mut checks = vec![format!("{}: agrees with itself", manifest_path.display())];
    if manifest_path == beside {
        checks.extend(sums(directory, progress)?);
    }
    let is_whole = is_directory || is_manifest;
    if is_whole && manifest.artifacts.is_empty() {
        return Err(Error::unfit(manifest_path.display(), "it lists no artifacts: nothing can be checked"));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let listed = manifest.artifacts.iter();
    let artifacts: Vec<_> =
        listed.filter(|artifact| is_whole || Some(&artifact.name) == name.as_ref()).collect();
    for artifact in &artifacts {
        let path = directory.join(&artifact.name);
        checks.push(if artifact.holds_disk() {
            holds_disk(&path, &manifest, threads, progress)?
        } else {
            has_sum(&path, artifact, progress)?
        });
    }
    if artifacts.is_empty() {
        checks.push(holds_disk(path, &manifest, threads, progress)?);
    }
    let strangers = if is_whole { strangers(directory, &manifest)? } else { Vec::new() };
    Ok(Verified { disk: manifest.digest, checks, strangers })
}

/// Checks a file that the disk can be read out of.
fn holds_disk(
    path: &Path,
    manifest: &Manifest,
    threads: usize,
    progress: &Progress,
) -> Result<String, Error> {
    let file = File::open(path).map_err(Error::file("opening", path))?;
    let opened = container::open(file).map_err(|source| Error::Image { path: path.into(), source })?;
    progress(Event::Step(format!("reading {}", path.display())));
    let found = digests(&*opened.disk, threads, progress).map_err(Error::file("reading", path))?;
    let what = format!("`{}`", path.display());
    partitions(&what, &found, manifest)?;
    same_blocks(&what, &found, &manifest.blocks)?;
    Ok(format!("{}: the disk, all {} blocks", path.display(), found.block_count()))
}

/// Checks a file that holds something else than the disk.
fn has_sum(path: &Path, artifact: &Artifact, progress: &Progress) -> Result<String, Error> {
    let what = format!("`{}`", path.display());
    let wanted = artifact
        .sha256
        .ok_or_else(|| Error::unfit(&what, "its manifest has no sha256 for it: nothing can be checked"))?;
    is_sum(path, wanted, "the manifest", progress)?;
    Ok(format!("{}: its SHA-256", path.display()))
}

fn is_sum(path: &Path, wanted: Digest, who: &str, progress: &Progress) -> Result<(), Error> {
    progress(Event::Step(format!("hashing {}", path.display())));
    let open = File::open(path).map_err(Error::file("opening", path))?;
    let (found, _) = DigestReader::new(open).drain().map_err(Error::file("reading", path))?;
    if found == wanted {
        return Ok(());
    }
    let problem = format!("its SHA-256 is {found}, {who} says {wanted}");
    Err(Error::differs(format_args!("`{}`", path.display()), problem))
}

/// Files of the directory that the manifest does not list, sorted: an earlier bake may have left them.
fn strangers(directory: &Path, manifest: &Manifest) -> Result<Vec<String>, Error> {
    let shown = if directory == Path::new("") { Path::new(".") } else { directory };
    let own = ["manifest.json", SUMS];
    let is_known = |name: &String| {
        own.contains(&name.as_str()) || manifest.artifacts.iter().any(|artifact| artifact.name == *name)
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(shown).map_err(Error::file("listing", shown))? {
        let name = entry.map_err(Error::file("listing", shown))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.retain(|name| !is_known(name));
    names.sort_unstable();
    Ok(names)
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
        is_sum(&file, wanted, SUMS, progress)?;
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
        assert_eq!(error, "x is not what was expected: 2 of 3 blocks differ, the first at byte 524288");
        assert!(
            same_blocks("x", &disk(&[1]), &disk(&[1, 0]))
                .unwrap_err()
                .to_string()
                .contains("expected 1048576")
        );
    }
}
