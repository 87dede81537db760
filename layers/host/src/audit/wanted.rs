//! What should be in an install root, and in which way what is there differs.

use std::collections::BTreeMap;

use bake_base::Digest;

use super::report::{Difference, What};
use super::scan::{Found, Node};
use crate::contents::escape;
use crate::{Entry, ROOT};

/// What should be there, by its path relative to the install root, or to the root of the host.
pub(crate) type WantedSet = BTreeMap<Vec<u8>, Wanted>;

/// What should be at a path. Everything belongs to root and has no extended attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub shape: Shape,
    /// Permissions; a link has none.
    pub mode: u32,
    pub part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Directory,
    File {
        sha256: Digest,
        size: Option<u64>,
        bytes: Option<Vec<u8>>,
    },
    /// A file whose bytes are nobody's business.
    Secret,
    Link(Vec<u8>),
}

/// Which digest something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// What is the same on every host that has the same installed, whatever its roles.
    State,
    /// What a role brings, and what is this host's own.
    Host,
}

/// A difference, and the digest that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Judged {
    pub difference: Difference,
    pub part: Part,
    pub at: At,
}

/// Where something differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    /// A path relative to the install root.
    Home(Vec<u8>),
    /// A path relative to the root of the host.
    Host(Vec<u8>),
    /// What is derived from the current generation, by the name that it is reported as.
    Derived(String),
    /// A whole generation that cannot be judged, by the path of its directory in the install root.
    Generation(String),
}

impl At {
    /// How reports name it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Home(path) if path.is_empty() => ROOT.to_owned(),
            Self::Home(path) => format!("{ROOT}/{}", plain(path)),
            Self::Host(path) => format!("/{}", plain(path)),
            Self::Derived(name) => name.clone(),
            Self::Generation(path) => format!("{ROOT}/{path}"),
        }
    }
}

impl Wanted {
    pub(crate) fn directory(part: Part) -> Self {
        Self { shape: Shape::Directory, mode: 0o755, part }
    }

    pub(crate) fn file(bytes: Vec<u8>, mode: u32, part: Part) -> Self {
        let (sha256, size) = (Digest::of(&bytes), Some(bytes.len() as u64));
        Self { shape: Shape::File { sha256, size, bytes: Some(bytes) }, mode, part }
    }

    pub(crate) fn link(target: impl Into<Vec<u8>>, part: Part) -> Self {
        Self { shape: Shape::Link(target.into()), mode: 0, part }
    }

    pub(crate) fn secret() -> Self {
        Self { shape: Shape::Secret, mode: 0o600, part: Part::Host }
    }

    pub(crate) fn entry(entry: Entry, part: Part) -> Self {
        match entry {
            Entry::Directory => Self::directory(part),
            Entry::Symlink(target) => Self::link(target, part),
            Entry::File(bytes) => Self::file(bytes, 0o644, part),
        }
    }

    /// What it is, in one line: also what it enters a digest as.
    pub(crate) fn describe(&self) -> String {
        match &self.shape {
            Shape::Directory => format!("a directory {:04o}", self.mode),
            Shape::File { sha256, size, .. } => {
                format!("a file {:04o} of {}", self.mode, content(*size, sha256))
            }
            Shape::Secret => format!("a secret {:04o}", self.mode),
            Shape::Link(target) => format!("a link to {}", plain(target)),
        }
    }
}

impl Found {
    /// What it is, in the words of [`Wanted::describe`].
    pub(crate) fn describe(&self) -> String {
        let (mode, size) = (self.stamp.mode, self.stamp.size);
        match (&self.node, &self.trouble) {
            (Node::Directory, _) => format!("a directory {mode:04o}"),
            (Node::File(Some(sha256)), _) => format!("a file {mode:04o} of {}", content(Some(size), sha256)),
            (Node::File(None), Some(trouble)) => {
                format!("a file {mode:04o} of {size} bytes that cannot be read: {trouble}")
            }
            (Node::File(None), None) => format!("a file {mode:04o}"),
            (Node::Link(target), _) => format!("a link to {}", plain(target)),
            (Node::Special(what), _) => format!("{what} {mode:04o}"),
        }
    }
}

/// What a file holds.
fn content(size: Option<u64>, sha256: &Digest) -> String {
    match size {
        Some(size) => format!("{size} bytes with sha256 {sha256}"),
        None => format!("bytes with sha256 {sha256}"),
    }
}

/// A path or target in one line of text: escaped as in `contents.json`, and control characters as well.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let text = escape(bytes);
    if !text.contains(char::is_control) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            let mut utf8 = [0; 4];
            character
                .encode_utf8(&mut utf8)
                .bytes()
                .for_each(|byte| plain.push_str(&format!("\\x{byte:02x}")));
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Every way in which what is at a path differs from what should be there. `owned`: whether everything is to be
/// root's, which nobody else can see to.
pub(crate) fn compare(at: &At, wanted: &Wanted, found: Option<&Found>, owned: bool) -> Vec<Judged> {
    let mut judged = Vec::new();
    let mut say = |what: What, expected: String, found: String| {
        let difference = Difference { path: at.shown(), what, expected, found };
        judged.push(Judged { difference, part: wanted.part, at: at.clone() });
    };
    let Some(found) = found else {
        say(What::Missing, wanted.describe(), "nothing".to_owned());
        return judged;
    };
    match (&wanted.shape, &found.node) {
        (Shape::Directory, Node::Directory)
        | (Shape::Secret, Node::File(_))
        // That it cannot be read is said below.
        | (Shape::File { .. }, Node::File(None)) => {}
        (Shape::Link(target), Node::Link(there)) => {
            if target != there {
                say(
                    What::Link,
                    format!("a link to {}", plain(target)),
                    format!("a link to {}", plain(there)),
                );
            }
        }
        (Shape::File { sha256, size, .. }, Node::File(Some(there))) => {
            if there != sha256 {
                say(What::Content, content(*size, sha256), content(Some(found.stamp.size), there));
            }
        }
        _ => {
            say(What::Type, wanted.describe(), found.describe());
            return judged;
        }
    }
    if let Some(trouble) = &found.trouble {
        say(What::Unreadable, wanted.describe(), trouble.clone());
    }
    if !matches!(wanted.shape, Shape::Link(_)) && wanted.mode != found.stamp.mode {
        say(What::Mode, format!("{:04o}", wanted.mode), format!("{:04o}", found.stamp.mode));
    }
    let (user, group) = found.stamp.owner;
    if owned && (user, group) != (0, 0) {
        say(What::Owner, "0:0".to_owned(), format!("{user}:{group}"));
    }
    if !found.attributes.is_empty() {
        let names: Vec<_> = found.attributes.iter().map(|name| plain(name)).collect();
        say(What::Attributes, "no extended attributes".to_owned(), names.join(" "));
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::scan::Stamp;

    fn at() -> At {
        At::Host(b"x".to_vec())
    }

    fn found(node: Node, mode: u32) -> Found {
        let time = (0, 0);
        let stamp = Stamp { device: 1, inode: 1, size: 3, written: time, changed: time, mode, owner: (0, 0) };
        Found { node, stamp, attributes: Vec::new(), trouble: None }
    }

    #[test]
    fn each_way_of_being_different_is_found_and_no_other() {
        let file = Wanted::file(b"abc".to_vec(), 0o644, Part::State);
        let same = found(Node::File(Some(Digest::of(b"abc"))), 0o644);
        let ways = |found: &Found| -> Vec<What> {
            compare(&at(), &file, Some(found), true)
                .into_iter()
                .map(|judged| judged.difference.what)
                .collect()
        };
        assert_eq!(ways(&same), []);
        assert_eq!(file.describe(), same.describe(), "they enter digests alike");
        let mut other = same.clone();
        other.stamp.owner = (7, 0);
        assert_eq!(ways(&other), [What::Owner]);
        assert_eq!(compare(&at(), &file, Some(&other), false), []);
        other.attributes.push(b"user.x".to_vec());
        other.stamp.mode = 0o4644;
        other.node = Node::File(Some(Digest::of(b"abd")));
        assert_eq!(ways(&other), [What::Content, What::Mode, What::Owner, What::Attributes]);
        other.node = Node::File(None);
        other.trouble = Some("broken".to_owned());
        assert_eq!(ways(&other), [What::Unreadable, What::Mode, What::Owner, What::Attributes]);
        for node in [Node::Directory, Node::Link(b"x".to_vec()), Node::Special("a fifo")] {
            assert_eq!(ways(&found(node, 0o644)), [What::Type]);
        }
        let link = Wanted::link(*b"a", Part::State);
        let judged = compare(&at(), &link, Some(&found(Node::Link(b"b\n".to_vec()), 0o777)), true);
        assert_eq!(judged[0].difference.to_string(), "link /x: expected a link to a, found a link to b\\x0a");
        let judged = compare(&at(), &link, None, true);
        assert_eq!(judged[0].difference.to_string(), "missing /x: expected a link to a, found nothing");
    }
}
