//! Files that a configuration produces.

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigFile {
    /// Whose it is.
    pub target: Target,
    /// Its path: below the package's directory, or absolute on the host.
    pub path: String,
    /// What it is.
    pub body: Body,
}

/// What a file of a configuration is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body {
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// Its bytes, always UTF-8.
        content: Vec<u8>,
    },
    /// A symbolic link to this absolute path. Only packages have them: it shows where a secret file will be.
    Link(String),
}

/// Where a file of a configuration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The package `dcos-config`.
    Config,
    /// The package `dcos-metadata`.
    Metadata,
    /// The host itself; the path is absolute.
    Host,
    /// The host itself, brought apart from everything else; the path is absolute and below
    /// `/etc/mesosphere/secrets`.
    Secret,
}

impl Target {
    /// Its name in `files.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Metadata => "metadata",
            Self::Host => "host",
            Self::Secret => "secret",
        }
    }
}
