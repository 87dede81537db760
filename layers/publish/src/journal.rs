//! What an upload has had acknowledged, so that the next run does not send it again.
//!
//! A text file beside the image: a line of JSON with what is uploaded to where, then the index of every block that the
//! service has acknowledged, and `completing` once all of them are. Lines are appended each at once; a kill leaves a
//! whole file or one with a last line that is cut short, which does not count.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bake_base::Unnamed;
use serde::{Deserialize, Serialize};

use crate::Error;

const SCHEMA: &str = "bake-publish-1";
const COMPLETING: &str = "completing";

/// What an upload is, in the journal's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    schema: String,
    snapshot: String,
    token: String,
    /// Blocks that are put: the service counts them all in the end, also those whose acknowledgement was lost.
    blocks: BTreeSet<u64>,
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    /// Blocks that this run or an earlier one has set out to put.
    pub blocks: BTreeSet<u64>,
    /// Those of them that need not be sent.
    pub acknowledged: BTreeSet<u64>,
    /// Whether the service was asked to complete the snapshot.
    pub is_completing: bool,
}

impl Journal {
    /// The journal of an upload of `blocks`: as an earlier run left it, which may have known less of the parent and so
    /// had more blocks to put, or a new one.
    pub(crate) fn open(
        path: &Path,
        snapshot: &str,
        token: &str,
        blocks: impl IntoIterator<Item = u64>,
    ) -> Result<Self, Error> {
        let blocks = blocks.into_iter().collect();
        let mut head = Head { schema: SCHEMA.into(), snapshot: snapshot.into(), token: token.into(), blocks };
        let is_of_it = |kept: &Head| {
            (&kept.schema, &kept.snapshot, &kept.token) == (&head.schema, &head.snapshot, &head.token)
        };
        let kept = text(path)?.as_deref().and_then(parse).filter(|(kept, _, _)| is_of_it(kept));
        let (mut acknowledged, mut is_completing) = (BTreeSet::new(), false);
        if let Some((kept, blocks, is)) = kept {
            head.blocks.extend(kept.blocks);
            acknowledged = &blocks & &head.blocks;
            is_completing = is;
        }
        // Written anew, so that nothing follows a line that was cut short.
        let mut content =
            serde_json::to_string(&head).map_err(io::Error::other).map_err(Error::file("writing", path))?;
        for block in &acknowledged {
            content.push_str(&format!("\n{block}"));
        }
        content.push_str(if is_completing { "\ncompleting\n" } else { "\n" });
        replace(path, content.as_bytes()).map_err(Error::file("writing", path))?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::file("opening", path))?;
        Ok(Self { file, path: path.into(), blocks: head.blocks, acknowledged, is_completing })
    }

    /// Writes down that a block need not be sent again. May be called from any thread.
    pub(crate) fn acknowledge(&self, block: u64) -> Result<(), Error> {
        self.line(&block.to_string())
    }

    /// Writes down that the service is asked to complete the snapshot.
    pub(crate) fn completing(&self) -> Result<(), Error> {
        self.line(COMPLETING)
    }

    fn line(&self, text: &str) -> Result<(), Error> {
        // One call for the whole line: what is appended at once is not mixed with others' (open(2), O_APPEND).
        (&self.file).write_all(format!("{text}\n").as_bytes()).map_err(Error::file("writing", &self.path))
    }

    /// Takes the journal away: everything that it was for is done.
    pub(crate) fn remove(path: &Path) -> Result<(), Error> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("removing", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unnamed = Unnamed::new(directory)?;
    (&**unnamed.file()).write_all(content)?;
    unnamed.file().sync_all()?;
    unnamed.name(path)
}

fn text(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("reading", path)(error)),
    }
}

fn parse(text: &str) -> Option<(Head, BTreeSet<u64>, bool)> {
    let (whole, _) = text.rsplit_once('\n')?;
    let mut lines = whole.split('\n');
    let head: Head = serde_json::from_str(lines.next()?).ok()?;
    let (mut blocks, mut is_completing) = (BTreeSet::new(), false);
    for line in lines {
        match line.parse() {
            Ok(block) => _ = blocks.insert(block),
            Err(_) => is_completing |= line == COMPLETING,
        }
    }
    (head.schema == SCHEMA).then_some((head, blocks, is_completing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_known_to_the_next_run_and_a_line_cut_short_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("journal");
        let journal = Journal::open(&path, "snap-1", "token", [5, 6, 8, 70]).unwrap();
        for block in [5, 70, 6] {
            journal.acknowledge(block).unwrap();
        }
        drop(journal);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.strip_suffix("6\n").unwrap().to_owned() + "1").unwrap();
        let journal = Journal::open(&path, "snap-1", "token", [8, 9]).unwrap();
        assert_eq!(journal.acknowledged, BTreeSet::from([5, 70]));
        journal.acknowledge(8).unwrap();
        journal.completing().unwrap();
        let journal = Journal::open(&path, "snap-1", "token", []).unwrap();
        assert_eq!((journal.acknowledged, journal.is_completing), (BTreeSet::from([5, 8, 70]), true));
        assert_eq!(journal.blocks, BTreeSet::from([5, 6, 8, 9, 70]));
    }

    #[test]
    fn the_journal_of_another_upload_or_no_journal_at_all_says_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("journal");
        Journal::open(&path, "snap-1", "token", [1]).unwrap().acknowledge(1).unwrap();
        assert!(Journal::open(&path, "snap-1", "other", [1]).unwrap().acknowledged.is_empty());
        let other = "{\"schema\":\"x\",\"snapshot\":\"s\",\"token\":\"t\",\"blocks\":[1]}\n1\n";
        for text in ["", "{", "12\n13\n", other] {
            std::fs::write(&path, text).unwrap();
            assert!(Journal::open(&path, "s", "t", [1]).unwrap().acknowledged.is_empty(), "{text}");
        }
        Journal::remove(&path).unwrap();
        Journal::remove(&path).unwrap();
    }
}
