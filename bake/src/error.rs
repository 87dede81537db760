//! What the command line says when something fails, and with which exit status.

use std::fmt;

/// A failure, as a person reads it.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
}

/// Decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It did not work: status 1.
    Failed,
    /// A comparison has told what differs, which is a result: status 1.
    Different,
    /// It was asked for in a way that makes no sense: status 2.
    Usage,
}

impl Failure {
    /// Something failed.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { kind: Kind::Failed, message: message.to_string() }
    }

    /// A comparison found, and has told, a difference.
    pub fn different() -> Self {
        Self { kind: Kind::Different, message: String::new() }
    }

    /// Whether there is something to say that has not been said.
    pub fn is_untold(&self) -> bool {
        self.kind != Kind::Different
    }

    /// The command line or the spec file makes no sense.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { kind: Kind::Usage, message: message.to_string() }
    }

    /// Signals could not be taken over.
    pub fn signals(error: std::io::Error) -> Self {
        Self::new(format!("taking signals over failed: {error}"))
    }

    /// Says of which image it is, when there are several.
    pub fn within(self, image: Option<&str>) -> Self {
        match image {
            Some(name) => Self { message: format!("image `{name}`: {}", self.message), ..self },
            None => self,
        }
    }

    /// The process's exit status.
    pub fn status(&self) -> u8 {
        match self.kind {
            Kind::Failed | Kind::Different => 1,
            Kind::Usage => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A chain of causes on one line each; a cause that its parent already quotes is not repeated.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !message.contains(&text) {
            message.push_str("\n  because: ");
            message.push_str(&text);
        }
        cause = inner.source();
    }
    message
}

impl From<bake_package::Error> for Failure {
    fn from(error: bake_package::Error) -> Self {
        Self::new(chain(&error))
    }
}

impl From<bake_config::Error> for Failure {
    fn from(error: bake_config::Error) -> Self {
        Self::new(chain(&error))
    }
}

impl From<bake_publish::Error> for Failure {
    fn from(error: bake_publish::Error) -> Self {
        let message = chain(&error);
        match error {
            bake_publish::Error::Options(_) => Self::usage(message),
            _ => Self::new(message),
        }
    }
}

impl From<bake_package::Problems> for Failure {
    fn from(problems: bake_package::Problems) -> Self {
        Self::new(problems)
    }
}

impl From<bake_image::Error> for Failure {
    fn from(error: bake_image::Error) -> Self {
        let message = chain(&error);
        match error {
            bake_image::Error::UnknownProfile { .. } | bake_image::Error::TooSmall { .. } => {
                Self::usage(message)
            }
            _ => Self::new(message),
        }
    }
}

/// Why something that the operating system was asked for did not happen.
pub fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(format!("{what} failed: {error}"))
}
