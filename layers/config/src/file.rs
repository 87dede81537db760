//! Files that a configuration produces.

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigFile {
    /// Whose it is.
    pub target: Target,
    /// Its path: below the package's directory, or absolute on the host.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its bytes.
    pub content: Vec<u8>,
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
    /// The host itself, brought apart from everything else; the path is absolute and below `/etc/mesosphere`.
    Secret,
}
