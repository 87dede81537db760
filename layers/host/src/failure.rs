//! Why something could not be done, in words.

use std::error::Error;
use std::fmt;

/// Why something could not be done: one problem per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure that says this.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An error with everything that caused it.
    pub(crate) fn of(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self(text)
    }

    /// Several problems at once.
    pub(crate) fn each(problems: Vec<impl fmt::Display>) -> Self {
        Self(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    /// For `map_err`: what was being done to `what`.
    pub(crate) fn io<E: fmt::Display>(action: &str, what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        let action = format!("{action} `{what}` failed");
        move |error| Self(format!("{action}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}
