//! Archives of sources: a tar of any compression or a zip, and the directory that everything in them lies in.

use std::collections::BTreeSet;
use std::path::Path;

use bake_tree::{Member, MemberKind, TreePath};

use crate::input::PendingDigest;
use crate::open::describe;
use crate::tar::{is_tar, read_tar};
use crate::zip::{is_zip, read_zip};
use crate::{ArchiveError, Compression, OpenOptions, local};

/// How many names a message lists.
const SHOWN: usize = 5;

/// An archive that has been read.
#[derive(Debug)]
pub struct SourceArchive {
    /// The path as given.
    pub label: String,
    /// What it was recognised as.
    pub kind: SourceKind,
    /// The members in the order of the archive; [`bake_tree::Policy::TAR`] merges them.
    pub members: Vec<Member>,
    /// What the archive says beyond members and is left out, in words.
    pub notes: Vec<String>,
    /// What the user should know of this run and machine, in words.
    pub warnings: Vec<String>,
    /// The digest of the file. Wait for it when the content of the members has been used: it tells whether the file
    /// changed meanwhile.
    pub digest: PendingDigest,
}

/// The format of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A tar.
    Tar(Compression),
    /// A zip archive.
    Zip,
}

/// Opens a source: a tar of any compression or a zip, recognised by content.
///
/// # Errors
/// When it cannot be read, is neither, or is damaged in any way.
pub fn open_source_archive(path: &Path, options: &OpenOptions) -> Result<SourceArchive, ArchiveError> {
    let label = path.display().to_string();
    let unrecognised = |found: &str| ArchiveError::Unrecognised {
        file: label.clone(),
        found: found.to_owned(),
        expected: "a tar (plain or compressed with gzip, xz, zstd or bzip2) or a zip archive",
    };
    let file = local::open(&label, path)?;
    if !file.metadata().map_err(ArchiveError::io(&label, "opening"))?.is_file() {
        return Err(unrecognised("no regular file"));
    }
    let local = local::load(&label, file, options)?;
    let head = local::head(&label, &*local.source)?;
    let (kind, members, notes) = if is_tar(&head) {
        let tar = read_tar(&label, &local.source)?;
        (SourceKind::Tar(local.compression), tar.members, tar.notes)
    } else if local.compression == Compression::None && is_zip(&head) {
        (SourceKind::Zip, read_zip(&label, &local.source, options)?, Vec::new())
    } else {
        return Err(unrecognised(&describe(local.compression, &head)));
    };
    let warnings = local.warning.iter().cloned().collect();
    Ok(SourceArchive { label, kind, members, notes, warnings, digest: local.digest() })
}

impl SourceArchive {
    /// Strips the directory that everything lies in.
    ///
    /// Of a tar, the first component of every name and of every target of a hard link, as `tar --strip-components=1`
    /// does: what has no other component is left out, and several directories become one. A leading `./` is no
    /// component here. A zip must have exactly one directory at its top and nothing beside it.
    ///
    /// # Errors
    /// When nothing is left, a hard link is to something that was left out, or a zip has something else at its top.
    pub fn strip_top_directory(mut self) -> Result<Self, ArchiveError> {
        if self.kind == SourceKind::Zip {
            self.check_single_directory()?;
        }
        let mut members = Vec::new();
        for mut member in self.members {
            let Some(path) = stripped(&member.path) else { continue };
            if let MemberKind::HardLink(target) = &mut member.kind {
                *target = stripped(target).ok_or_else(|| {
                    let link = format!("the hard link `{}`", member.path);
                    let reason = format!("is to `{target}`, which lies in no directory and is left out");
                    ArchiveError::document(&self.label, &link, reason)
                })?;
            }
            members.push(Member { path, ..member });
        }
        if members.is_empty() {
            let reason = "has nothing in it: expected a directory that holds the source";
            return Err(ArchiveError::document(&self.label, "the archive", reason));
        }
        self.members = members;
        Ok(self)
    }

    fn check_single_directory(&self) -> Result<(), ArchiveError> {
        let tops: BTreeSet<&[u8]> =
            self.members.iter().filter_map(|member| member.path.components().next()).collect();
        let beside = |member: &Member| {
            member.path.components().count() == 1 && !matches!(member.kind, MemberKind::Directory)
        };
        if tops.len() == 1 && !self.members.iter().any(beside) {
            return Ok(());
        }
        let mut shown: Vec<_> =
            tops.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_ascii())).collect();
        if tops.len() > SHOWN {
            shown.push(format!("{} more", tops.len() - SHOWN));
        }
        let found = if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") };
        let reason = format!("has {found} at its top: expected exactly one directory that holds everything");
        Err(ArchiveError::document(&self.label, "the archive", reason))
    }
}

fn stripped(path: &TreePath) -> Option<TreePath> {
    let rest: Vec<&[u8]> = path.components().skip(1).collect();
    let path = TreePath::parse(&rest.join(&b'/')).expect("the rest of a path is a path");
    (!path.is_root()).then_some(path)
}

#[cfg(test)]
#[path = "source/tests.rs"]
mod tests;
