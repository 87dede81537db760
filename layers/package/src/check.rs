//! `--check`: a package is built again in surroundings that differ in all that must not matter.

use std::fs;
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use bake_host::contents::CONTENTS;
use bake_tree::{Content, Inode, Node, TreePath, ValidTree};

use crate::Error;
use crate::recipe::Identified;
use crate::store::Stored;
use crate::surroundings::{Factor, Surroundings, can_be_later};
use crate::workshop::{Event, Workshop};

/// Bytes compared at once.
const STEP: usize = 1 << 16;
/// By how much a second build is later at least: ZIP archives count time in two seconds.
const LATER: Duration = Duration::from_secs(2);

/// What a second build gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same package.
    Same,
    /// Another one.
    Different {
        /// The first difference, by file and offset.
        difference: String,
        /// What made it, as far as single changes of the surroundings tell.
        cause: Option<Factor>,
    },
}

impl Workshop<'_> {
    /// Builds a package that is there once more, in surroundings that differ in every [`Factor`], and compares it
    /// with the one that is there. When they differ, further builds with one change each find the cause. Nothing of
    /// it is kept but the log of a build that fails.
    ///
    /// # Errors
    /// When a build fails.
    pub fn check(
        &self,
        package: &Identified<'_>,
        stored: &Stored,
        required: &[Stored],
    ) -> Result<Verdict, Error> {
        let id = &package.id;
        let _claim = self.store.claim(&id.name(), self.stop)?;
        let dependencies = self.dependencies(required)?;
        if !can_be_later(&self.builders.root(package.recipe.docker.as_deref(), &self.trees)?) {
            let warning = "the builder has no libfaketime: the clock of a second build runs ahead by seconds only, so a package that holds no more than the date passes";
            (self.report)(&Event::Warning(warning.to_owned()));
        }
        let there = self.tree(stored)?;
        thread::sleep(LATER);
        let differs = |surroundings: &Surroundings| -> Result<Option<String>, Error> {
            (self.report)(&Event::Building(id));
            let name = format!("{id}.second");
            let second =
                self.build(&name, package, &dependencies, surroundings).map_err(|error| match error {
                    Error::Package { id, message } => {
                        let message = format!("built again {surroundings}, it fails: {message}");
                        Error::Package { id, message }
                    }
                    error => error,
                })?;
            let log = self.cache.log(&id.name(), &name);
            fs::remove_file(&log).map_err(Error::io("removing", &log))?;
            let found = first_difference(&there, &second.tree);
            found.map_err(|(path, error)| Error::package(id, format!("reading `{path}` failed: {error}")))
        };
        let usual = Surroundings::usual(self.cores);
        let all = Factor::ALL.into_iter().fold(usual.clone(), Surroundings::varied);
        let Some(difference) = differs(&all)? else { return Ok(Verdict::Same) };
        for factor in Factor::ALL {
            if let Some(difference) = differs(&usual.clone().varied(factor))? {
                return Ok(Verdict::Different { difference, cause: Some(factor) });
            }
        }
        Ok(Verdict::Different { difference, cause: None })
    }
}

/// Where two packages first differ, in the order of their paths.
fn first_difference(one: &ValidTree, other: &ValidTree) -> Result<Option<String>, (TreePath, io::Error)> {
    let (one, other) = (one.tree(), other.tree());
    let (mut ahead, mut ahead_of_other) = (one.walk().peekable(), other.walk().peekable());
    loop {
        let (path, id) = match (ahead.peek(), ahead_of_other.peek()) {
            (None, None) => return Ok(None),
            (Some((path, _)), None) => return Ok(Some(format!("`{path}` is missing from the second build"))),
            (None, Some((path, _))) => return Ok(Some(format!("`{path}` is in the second build alone"))),
            (Some((path, id)), Some((second, second_id))) => match path.cmp(second) {
                std::cmp::Ordering::Less => {
                    return Ok(Some(format!("`{path}` is missing from the second build")));
                }
                std::cmp::Ordering::Greater => {
                    return Ok(Some(format!("`{second}` is in the second build alone")));
                }
                std::cmp::Ordering::Equal => (path.clone(), (*id, *second_id)),
            },
        };
        // The list of contents only repeats what the files say.
        if path.as_bytes() != CONTENTS.as_bytes() {
            let found =
                difference(one.inode(id.0), other.inode(id.1)).map_err(|error| (path.clone(), error))?;
            if let Some(found) = found {
                return Ok(Some(format!("`{path}` {found}")));
            }
        }
        ahead.next();
        ahead_of_other.next();
    }
}

/// How two entries differ, if they do.
fn difference(one: &Inode, other: &Inode) -> io::Result<Option<String>> {
    let (mode, other_mode) = (one.metadata.mode, other.metadata.mode);
    let found = match (&one.node, &other.node) {
        (Node::File(one), Node::File(other)) => content_difference(one, other)?,
        (Node::Symlink(one), Node::Symlink(other)) if one != other => {
            Some(format!("leads to `{}` first and to `{}` then", one.escape_ascii(), other.escape_ascii()))
        }
        (Node::Symlink(_), Node::Symlink(_)) | (Node::Directory(_), Node::Directory(_)) => None,
        (one, other) => Some(format!("is {} first and {} then", one.describe(), other.describe())),
    };
    Ok(found.or_else(|| {
        (mode != other_mode).then(|| format!("has mode {mode:04o} first and {other_mode:04o} then"))
    }))
}

fn content_difference(one: &Content, other: &Content) -> io::Result<Option<String>> {
    let (mut readers, mut offset) = ((one.reader(), other.reader()), 0);
    let (mut buffer, mut other_buffer) = (vec![0; STEP], vec![0; STEP]);
    loop {
        let n = fill(&mut readers.0, &mut buffer)?;
        let m = fill(&mut readers.1, &mut other_buffer)?;
        let (bytes, other_bytes) = (&buffer[..n], &other_buffer[..m]);
        if let Some(at) = bytes.iter().zip(other_bytes).position(|(byte, other)| byte != other) {
            let (text, other_text) = (shown(bytes, at), shown(other_bytes, at));
            return Ok(Some(format!(
                "differs from byte {} on: `{text}` first and `{other_text}` then",
                offset + at as u64
            )));
        }
        if n != m {
            return Ok(Some(format!("has {} bytes first and {} then", one.len(), other.len())));
        }
        if n == 0 {
            return Ok(None);
        }
        offset += n as u64;
    }
}

/// What stands around a byte.
fn shown(bytes: &[u8], at: usize) -> String {
    bytes[at.saturating_sub(8)..(at + 24).min(bytes.len())].escape_ascii().to_string()
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use bake_tree::{Metadata, Tree};

    use super::*;

    /// Path, mode, and text or `-> ` and where it leads.
    type Row = (&'static str, u16, &'static str);

    fn tree(entries: &[Row]) -> ValidTree {
        let mut tree = Tree::new();
        for (path, mode, text) in entries {
            let node = match text.strip_prefix("-> ") {
                Some(target) => Node::Symlink(target.as_bytes().into()),
                None => Node::File(Content::bytes(text.as_bytes())),
            };
            tree.put(&TreePath::parse(path.as_bytes()).unwrap(), Metadata::root(*mode), node).unwrap();
        }
        tree.clamp_times(crate::EPOCH);
        tree.seal();
        ValidTree::new(tree).unwrap()
    }

    #[test]
    fn the_first_difference_is_told_by_file_and_offset() {
        let same = [("bin/a", 0o755, "text"), ("lib/b", 0o644, "more"), ("lib/c", 0o777, "-> b")];
        let cases: [(&[Row], Option<&str>); 7] = [
            (&same, None),
            (
                &[same[0], ("lib/b", 0o644, "mere"), same[2]],
                Some("`/lib/b` differs from byte 1 on: `more` first and `mere` then"),
            ),
            (&[same[0], ("lib/b", 0o644, "mor"), same[2]], Some("`/lib/b` has 4 bytes first and 3 then")),
            (
                &[same[0], ("lib/b", 0o600, "more"), same[2]],
                Some("`/lib/b` has mode 0644 first and 0600 then"),
            ),
            (&[same[0], same[2]], Some("`/lib/b` is missing from the second build")),
            (
                &[same[0], same[1], ("lib/bb", 0o644, ""), same[2]],
                Some("`/lib/bb` is in the second build alone"),
            ),
            (
                &[same[0], same[1], ("lib/c", 0o777, "-> a")],
                Some("`/lib/c` leads to `b` first and to `a` then"),
            ),
        ];
        for (other, expected) in cases {
            assert_eq!(first_difference(&tree(&same), &tree(other)).unwrap().as_deref(), expected);
        }
    }
}
