//! Paths inside a tree: bytes in any encoding, never absolute, never upwards.

use std::cmp::Ordering;
use std::fmt;

/// One component of a path: 1 to 255 bytes, no `/`, no NUL, not `.` or `..`.
pub type Name = Box<[u8]>;

/// Longest name of every file system that is written here, in bytes.
pub(crate) const NAME_MAX: usize = 255;

/// Longest path that a kernel takes in one call, in bytes, with its final NUL (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// A path from the root of a tree, without a leading slash; empty for the root itself.
///
/// Paths are ordered by component, so that a directory is followed at once by what it holds.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TreePath(Box<[u8]>);

/// Text that is no path inside a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Begins with a slash.
    #[error("`{0}` is absolute: expected a path relative to the root of the tree")]
    Absolute(String),
    /// Contains `..`.
    #[error("`{0}` contains `..`: expected a path that stays inside of the tree")]
    Upwards(String),
    /// Contains a NUL byte.
    #[error("`{0}` contains a NUL byte")]
    Nul(String),
    /// A component is longer than 255 bytes, or all of it longer than 4095.
    #[error("`{0}...` is too long: a name holds up to 255 bytes, a path up to 4095")]
    TooLong(String),
}

impl TreePath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses the name of an archive's member: `./` and repeated or trailing slashes are dropped.
    ///
    /// # Errors
    /// When the path is absolute, goes upwards, has a NUL byte or is too long.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute(shown(bytes)));
        }
        Self::parse_components(bytes)
    }

    /// Like [`TreePath::parse`], but leading slashes are dropped too: for paths that a person or a
    /// configuration file of the image names from the image's root.
    ///
    /// # Errors
    /// As [`TreePath::parse`].
    pub fn from_root(bytes: &[u8]) -> Result<Self, PathError> {
        Self::parse_components(bytes)
    }

    fn parse_components(bytes: &[u8]) -> Result<Self, PathError> {
        let mut path = Vec::with_capacity(bytes.len());
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathError::Upwards(shown(bytes))),
                _ if component.len() > NAME_MAX => return Err(PathError::TooLong(shown(bytes))),
                _ if component.contains(&0) => return Err(PathError::Nul(shown(bytes))),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        if path.len() >= PATH_MAX {
            return Err(PathError::TooLong(shown(&path)));
        }
        Ok(Self(path.into()))
    }

    /// The bytes, components joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, from the root downwards.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// The path of the directory that holds this entry, and the entry's name; nothing for the root.
    pub fn split(&self) -> Option<(TreePath, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].into()), &self.0[slash + 1..]),
            None => (Self::root(), &self.0),
        })
    }

    /// The path of `name` in this directory. `name` is a valid [`Name`].
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path.into())
    }

    /// Whether this path is `other` or lies below it.
    pub fn starts_with(&self, other: &Self) -> bool {
        other.is_root()
            || self
                .0
                .strip_prefix(&*other.0)
                .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash sorts below every byte that a name may hold (NUL is none of them).
        let key = |byte: u8| if byte == b'/' { 0 } else { byte };
        match self.0.iter().zip(&other.0).find(|(ours, theirs)| ours != theirs) {
            Some((ours, theirs)) => key(*ours).cmp(&key(*theirs)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// At most 200 bytes of hostile text, printable.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(200)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        for (given, expected) in
            [("./", ""), (".", ""), ("", ""), ("./a//b/./c/", "a/b/c"), ("a/...", "a/..."), ("..a", "..a")]
        {
            assert_eq!(TreePath::parse(given.as_bytes()).unwrap().as_bytes(), expected.as_bytes(), "{given}");
        }
        assert_eq!(TreePath::from_root(b"/etc/passwd").unwrap().to_string(), "/etc/passwd");
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        let long = [b'x'; 256];
        let deep = b"x/".repeat(2049);
        for (given, reason) in [
            (&b"/etc"[..], "is absolute"),
            (b"..", "contains `..`"),
            (b"a/../b", "contains `..`"),
            (b"a\0b", "NUL"),
            (&long, "too long"),
            (&deep, "too long"),
        ] {
            let error = TreePath::parse(given).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_directory_is_followed_by_what_it_holds() {
        let mut paths: Vec<_> = ["a-b", "a/b", "a", "a.b", "", "a/b/c"]
            .iter()
            .map(|p| TreePath::parse(p.as_bytes()).unwrap())
            .collect();
        paths.sort();
        let sorted: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["/", "/a", "/a/b", "/a/b/c", "/a-b", "/a.b"]);
    }

    #[test]
    fn a_prefix_ends_at_a_component() {
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        assert!(path("a/b").starts_with(&path("a")) && path("a").starts_with(&path("a")));
        assert!(path("a").starts_with(&TreePath::root()) && !path("ab").starts_with(&path("a")));
        assert_eq!(path("a/b/c").split(), Some((path("a/b"), &b"c"[..])));
        assert_eq!(path("a/b").join(b"c"), path("a/b/c"));
    }
}
