//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::sync::Arc;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it, or what stands in for one, such as `--set`.
    pub file: Arc<str>,
    /// From 1; 0 for the file as a whole.
    pub line: u32,
    /// In characters, from 1; 0 for the line as a whole.
    pub column: u32,
}

impl Place {
    /// A file as a whole.
    pub fn file(name: &str) -> Self {
        Self { file: name.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column } = self;
        match (line, column) {
            (0, _) => f.write_str(file),
            (_, 0) => write!(f, "{file}:{line}"),
            _ => write!(f, "{file}:{line}:{column}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was written, or should have been.
    pub place: Place,
    /// The parameter and what is within it, such as `dcos_overlay_network.overlays[0].name`; empty for none.
    pub name: String,
    /// What is wrong, what was expected, and the fix where there is one.
    pub message: String,
}

impl Problem {
    /// A problem at `place`, of `name`.
    pub fn new(place: &Place, name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.clone(), name: name.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, name, message } = self;
        match name.as_str() {
            "" => write!(f, "{place}: {message}"),
            name => write!(f, "{place}: `{name}`: {message}"),
        }
    }
}

/// Everything that is wrong, sorted by place; never empty.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Fails with all that was found, sorted, if anything was.
    pub fn check(mut found: Vec<Problem>) -> Result<(), Self> {
        found.sort();
        found.dedup();
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
