//! SELinux labels, from the policy that a tree itself brings.
//!
//! A policy's rules say which context the entries of a file system have: `/etc/selinux/TYPE/contexts/files`, in
//! the order of `file_contexts`, `file_contexts.homedirs` and `file_contexts.local`. Each is an expression, a kind of
//! entry, and a context (file_contexts(5)). The kernel finds a context in the attribute `security.selinux`, with a NUL
//! at its end.
//!
//! What a path gets is what libselinux says (selabel_file(5)), in the order of its versions up to 3.7, which RHEL 9
//! and Debian 12 have: of all rules that match, the last one; but rules without special
//! characters are stronger than all others. Before that, `file_contexts.subs` and then `file_contexts.subs_dist` make
//! another path of the path; of each file, the last line that applies.
//!
//! Version 3.8 has a database of another shape, which is meant to give the same answers. For the
//! policies of Debian 12 and 13, versions 3.4, 3.8.1 and 3.11 agree on every entry of their systems. But there are
//! rules that tell them apart:
//! - since 3.8, a `<<none>>` counts even if a later rule with fewer plain directories matches;
//! - since 3.8, of rules without special characters in one file, one for the entry's own kind is stronger than a later
//!   one for all kinds, and none is for a name with a newline at its end;
//! - since 3.8, up to three plain directories of a rule have to be those of the path, where it was the first;
//! - in 3.8, but no longer in 3.11, `file_contexts.local` does not override rules without special characters, and of substitutions
//!   the first one that applies counts.
//!
//! Rules of which versions make yet more different things are refused: alternatives without parentheses, and two
//! contexts for the same in `file_contexts`.
//!
//! The compiled `file_contexts*.bin` are not read: they say the same, as the tools that write them take care of.

mod config;
mod files;
mod pattern;
mod rules;
mod set;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use crate::{EditError, InodeId, Node, PathError, Tree, TreePath};
use config::Config;
use files::{Budget, Line, Substitution};
use rules::Rules;

/// The extended attribute that holds a label.
const ATTRIBUTE: &[u8] = b"security.selinux";
/// Where SELinux is configured.
const CONFIG: &[u8] = b"etc/selinux/config";
/// More than any of the files has, in bytes.
const LIMIT: u64 = 4 << 20;

/// A kind of entry that rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket, which no tree holds.
    Socket,
}

impl Kind {
    fn of_flag(flag: &[u8]) -> Option<Self> {
        Some(match flag {
            b"--" => Self::File,
            b"-d" => Self::Directory,
            b"-l" => Self::Symlink,
            b"-c" => Self::CharDevice,
            b"-b" => Self::BlockDevice,
            b"-p" => Self::Fifo,
            b"-s" => Self::Socket,
            _ => return None,
        })
    }
}

impl From<&Node> for Kind {
    fn from(node: &Node) -> Self {
        match node {
            Node::Directory(_) => Self::Directory,
            Node::File(_) => Self::File,
            Node::Symlink(_) => Self::Symlink,
            Node::CharDevice(_) => Self::CharDevice,
            Node::BlockDevice(_) => Self::BlockDevice,
            Node::Fifo => Self::Fifo,
        }
    }
}

/// A tree that wants SELinux and has no policy that could be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// There is no policy.
    #[error(
        "`{path}` is missing, but `/etc/selinux/config` says SELINUX={mode}: install the policy (RHEL: \
         `selinux-policy-targeted`, Debian: `selinux-policy-default`) or name the installed one as SELINUXTYPE, or say \
         SELINUX=disabled"
    )]
    NoPolicy {
        /// The rules that should be there.
        path: TreePath,
        /// What is configured.
        mode: &'static str,
    },
    /// The policy has no possible name.
    #[error("SELINUXTYPE in `/etc/selinux/config` is no directory below `/etc/selinux`")]
    Type(#[source] PathError),
    /// A line cannot be used.
    #[error("line {number} of `{path}` {reason}")]
    Line {
        /// The file.
        path: TreePath,
        /// The line, counted from 1.
        number: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// The policy is far larger than policies are.
    #[error(
        "`{0}` has too many rules: expected at most 50,000 in all files of a policy, with short expressions"
    )]
    TooMany(TreePath),
    /// A file cannot be read.
    #[error(transparent)]
    Tree(#[from] EditError),
}

/// The rules of a tree's own policy.
#[derive(Debug)]
pub struct Labels {
    rules: Rules,
    /// `file_contexts.subs`, then `file_contexts.subs_dist`.
    substitutions: [Vec<Substitution>; 2],
}

/// What [`Labels::apply`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LabelReport {
    /// How many inodes have a label now.
    pub labelled: u64,
    /// How many inodes the policy has no label for (no rule, or `<<none>>`): they keep what they had.
    pub unlabelled: u64,
    /// Inodes whose names should have different labels, in the order of their paths.
    pub conflicts: Vec<LabelConflict>,
}

/// A name of a hard link that should have another label than the name before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{other}` is the same file as `{path}`, so it has the label `{label}`, not `{other_label}`")]
pub struct LabelConflict {
    /// The name that the label is for.
    pub path: TreePath,
    /// The label.
    pub label: String,
    /// The name that is not heeded.
    pub other: TreePath,
    /// The label that it should have had.
    pub other_label: String,
}

impl Labels {
    /// Reads the policy that a tree is configured for; nothing when it wants no SELinux.
    ///
    /// # Errors
    /// When SELinux is on but the policy is missing, has a rule that libselinux would refuse, one that its versions do
    /// not agree on, or one with an expression beyond regular languages (look-ahead, back references, ...).
    pub fn read(tree: &Tree) -> Result<Option<Self>, LabelError> {
        let config = tree.read(&path(CONFIG)?, LIMIT)?;
        let Some(config) = config.and_then(|text| Config::parse(&text)) else { return Ok(None) };
        let base = [b"etc/selinux/", &config.policy[..], b"/contexts/files/file_contexts"].concat();
        let read = |suffix: &[u8]| {
            let path = path(&[&base, suffix].concat())?;
            let bytes = tree.read(&path, LIMIT)?;
            Ok::<_, LabelError>((path, bytes))
        };
        let mut budget = Budget::ALL;
        let (path, Some(bytes)) = read(b"")? else {
            return Err(LabelError::NoPolicy { path: path(&base)?, mode: config.mode });
        };
        let lines = files::rules(&path, &bytes, &mut budget)?;
        unambiguous(&path, &lines)?;
        let mut rules: Vec<_> = lines.into_iter().map(|line| line.rule).collect();
        for suffix in [&b".homedirs"[..], b".local"] {
            let (path, bytes) = read(suffix)?;
            let bytes = bytes.unwrap_or_default();
            let lines = files::rules(&path, &bytes, &mut budget)?;
            rules.extend(lines.into_iter().map(|line| line.rule));
        }
        let substitutions =
            |suffix| Ok::<_, LabelError>(files::substitutions(&read(suffix)?.1.unwrap_or_default()));
        let substitutions = [substitutions(b".subs")?, substitutions(b".subs_dist")?];
        Ok(Some(Self { rules: Rules::new(rules), substitutions }))
    }

    /// The label of an entry, without the NUL that ends the attribute; nothing when there is no rule for it or the
    /// policy wants it left alone.
    pub fn of(&self, path: &TreePath, kind: Kind) -> Option<&str> {
        let mut path = [b"/", path.as_bytes()].concat();
        for substitutions in &self.substitutions {
            if let Some(substituted) = files::substituted(substitutions, &path) {
                path = substituted;
            }
        }
        self.rules.find(&path, kind)?.context.as_deref()
    }

    /// Labels everything in a tree, over labels that are there already. Of a file with several names, the first one
    /// in the order of paths that has a label counts; `setfiles` takes the first that it comes across.
    pub fn apply(&self, tree: &mut Tree) -> LabelReport {
        let mut report = LabelReport::default();
        let mut labelled: BTreeMap<InodeId, (TreePath, &str)> = BTreeMap::new();
        let mut unlabelled = Vec::new();
        for (other, id) in tree.walk() {
            let Some(label) = self.of(&other, Kind::from(&tree.inode(id).node)) else {
                unlabelled.push(id);
                continue;
            };
            let (path, first) = labelled.entry(id).or_insert_with(|| (other.clone(), label));
            if *first != label {
                let (path, other_label) = (path.clone(), label.to_owned());
                report.conflicts.push(LabelConflict { path, label: (*first).to_owned(), other, other_label });
            }
        }
        unlabelled.retain(|id| !labelled.contains_key(id));
        unlabelled.sort_unstable();
        unlabelled.dedup();
        report.labelled = labelled.len() as u64;
        report.unlabelled = unlabelled.len() as u64;
        for (id, (_, label)) in labelled {
            let value = [label.as_bytes(), b"\0"].concat();
            tree.metadata_mut(id).xattrs.insert(ATTRIBUTE.into(), value.into());
        }
        report
    }
}

fn path(text: &[u8]) -> Result<TreePath, LabelError> {
    TreePath::from_root(text).map_err(LabelError::Type)
}

/// Refuses two rules for the same: `setfiles` does so, too, and other programs do not agree on one of them.
fn unambiguous(path: &TreePath, lines: &[Line<'_>]) -> Result<(), LabelError> {
    let mut seen: BTreeMap<&[u8], Vec<&Line<'_>>> = BTreeMap::new();
    for line in lines {
        let others = seen.entry(line.text).or_default();
        let (kind, context) = (line.rule.kind, &line.rule.context);
        let overlaps = |other: Option<Kind>| kind.is_none() || other.is_none() || kind == other;
        if let Some(other) =
            others.iter().find(|other| overlaps(other.rule.kind) && other.rule.context != *context)
        {
            let text = String::from_utf8_lossy(line.text);
            let reason = format!("labels `{text}` otherwise than line {}: remove one of them", other.number);
            return Err(LabelError::Line { path: path.clone(), number: line.number, reason });
        }
        // Of equal ones, the first stands for all: kinds are few.
        if !others.iter().any(|other| other.rule.kind == kind) {
            others.push(line);
        }
    }
    Ok(())
}
