//! What is wrong with recipes, all of it at once.

use std::fmt;
use std::path::Path;

/// One thing that is wrong in a file somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as its reader would name it: below the tree's directory.
    pub file: String,
    /// Where in it, such as `sources.zlib.sha256`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, what was expected, and the fix where there is one.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, message } = self;
        match key.as_str() {
            "" => write!(f, "{file}: {message}"),
            key => write!(f, "{file}: `{key}`: {message}"),
        }
    }
}

/// Everything that is wrong, sorted by file and key; never empty.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl Problems {
    /// The same, with files named as seen from where the user is.
    #[must_use]
    pub fn within(mut self, directory: &Path) -> Self {
        for problem in &mut self.0 {
            problem.file = match problem.file.as_str() {
                "." => directory.display().to_string(),
                file => directory.join(file).display().to_string(),
            };
        }
        self
    }

    /// Fails with all that was found, sorted, if anything was.
    pub(crate) fn check(mut found: Vec<Problem>) -> Result<(), Self> {
        found.sort();
        found.dedup();
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }
}
