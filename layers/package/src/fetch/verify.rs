//! Whether a file is what its recipe says, and notes that spare reading it again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use bake_base::{Digest, FileState, Hasher, Unnamed, json};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use super::error::FetchProblem;
use crate::source::Pin;

/// The digests of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digests {
    pub sha256: Digest,
    /// Only where a recipe gives one to compare.
    pub sha1: Option<String>,
}

/// What a file of the cache turned out to be.
pub(super) enum Checked {
    Absent,
    Right(Digests),
    Wrong(Digests),
}

/// A note about a file in the state in which it was read.
#[derive(Serialize, Deserialize)]
struct Note {
    state: FileState,
    digests: Digests,
}

impl Digests {
    /// Of everything in `file` from its position on; SHA-1 only if the recipe gives one.
    pub fn of(mut file: impl Read, pin: &Pin) -> io::Result<Self> {
        let mut hashing = Hashing::new(pin);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hashing.finish()),
                count => hashing.update(&buffer[..count]),
            }
        }
    }

    /// Whether every digest that the recipe gives is right.
    pub fn fit(&self, pin: &Pin) -> bool {
        let sha256 = pin.sha256.is_none_or(|expected| expected == self.sha256);
        let sha1 = pin.sha1.is_none() || pin.sha1 == self.sha1;
        sha256 && sha1 && (pin.sha256.is_some() || pin.sha1.is_some())
    }

    /// For messages: those digests that the recipe gives.
    pub fn compared(&self, pin: &Pin) -> String {
        spell(pin.sha256.map(|_| self.sha256), self.sha1.as_deref())
    }
}

/// For messages: the digests that the recipe gives.
pub(super) fn expected(pin: &Pin) -> String {
    spell(pin.sha256, pin.sha1.as_deref())
}

fn spell(sha256: Option<Digest>, sha1: Option<&str>) -> String {
    let sha256 = sha256.map(|digest| format!("SHA-256 {digest}"));
    let sha1 = sha1.map(|digest| format!("SHA-1 {digest}"));
    sha256.into_iter().chain(sha1).collect::<Vec<_>>().join(" and ")
}

/// Both digests in the making.
pub(super) struct Hashing {
    sha256: Hasher,
    sha1: Option<Sha1>,
}

impl Hashing {
    pub fn new(pin: &Pin) -> Self {
        Self { sha256: Hasher::new(), sha1: pin.sha1.is_some().then(Sha1::new) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
    }

    pub fn finish(self) -> Digests {
        let sha1 = self.sha1.map(|sha1| sha1.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        Digests { sha256: self.sha256.finish(), sha1 }
    }
}

/// Checks the file at `path`. It is read unless the note at `note` was made of the very state that it is in,
/// and always if `paranoid`.
pub(super) fn check(path: &Path, note: &Path, pin: &Pin, paranoid: bool) -> Result<Checked, FetchProblem> {
    let reading = || FetchProblem::io("reading", path);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Checked::Absent),
        Err(error) => return Err(reading()(error)),
        // Before opening: a named pipe would wait for its writer.
        Ok(stat) if !stat.is_file() => return Err(reading()(io::Error::other("it is not a file"))),
        Ok(_) => {}
    }
    let file = File::open(path).map_err(reading())?;
    // Taken before the hashing: what is written meanwhile makes it another.
    let state = FileState::of(&file).map_err(reading())?;
    let digests = match recall(note, &state, pin).filter(|_| !paranoid) {
        Some(digests) => digests,
        None => {
            let digests = Digests::of(&file, pin).map_err(reading())?;
            remember(note, state, &digests);
            digests
        }
    };
    Ok(if digests.fit(pin) { Checked::Right(digests) } else { Checked::Wrong(digests) })
}

fn recall(note: &Path, state: &FileState, pin: &Pin) -> Option<Digests> {
    let file = File::open(note).ok()?;
    let written = FileState::of(&file).ok()?;
    let note: Note = serde_json::from_reader(io::BufReader::new(file)).ok()?;
    let complete = pin.sha1.is_none() || note.digests.sha1.is_some();
    (note.state == *state && state.settled_before(&written) && complete).then_some(note.digests)
}

/// Notes the digests of a file in this state. A cache that takes no notes, such as one that cannot be
/// written, only costs time.
fn remember(note: &Path, state: FileState, digests: &Digests) {
    let write = || -> io::Result<()> {
        let file = Unnamed::new(note.parent().unwrap_or(Path::new(".")))?;
        io::Write::write_all(
            &mut &**file.file(),
            &json::to_canonical(&Note { state, digests: digests.clone() })?,
        )?;
        file.name(note)
    };
    let _ = write();
}
