//! Sources onto disk: cached, verified, resumed.
//!
//! A source goes in two steps. [`Fetcher::ensure`] has it in the cache, from where an air-gapped machine can
//! take it too: a file at `CACHE/SOURCE/NAME`, a repository as `CACHE/SOURCE/cache.git`. Nothing lies there
//! under a valid name before its digest was right, and it is checked again whenever it is used; what is wrong
//! is moved to `CACHE/quarantine`. [`Fetcher::materialise`] makes of it what a build finds in
//! `/pkg/src/SOURCE`, with the same modes and times on every machine.

mod download;
mod error;
mod files;
mod git;
mod http;
mod materialise;
mod part;
mod repository;
mod small;
#[cfg(test)]
mod tests;
mod url;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bake_base::Digest;

pub use self::error::{Failed, FetchError, FetchProblem};
pub(crate) use self::url::shown;
pub use self::url::{Mirror, ParseMirrorError};
use crate::source::{ArchiveKind, Commit, Download, Source};

/// How sources are fetched.
#[derive(Clone)]
pub struct FetchOptions {
    /// Use what is on this machine and no network.
    pub offline: bool,
    /// Where else sources are; the one with the longest fitting prefix is asked before the source's own place.
    pub mirrors: Vec<Mirror>,
    /// How often to try again after a failure that may pass.
    pub retries: u32,
    /// How long a connection may take to be there.
    pub connect_timeout: Duration,
    /// How long a transfer may make no progress.
    pub stall_timeout: Duration,
    /// The largest file to fetch, in bytes.
    pub limit: u64,
    /// Read every cached file anew, even if nothing changed it since it was right.
    pub paranoid: bool,
    /// Ask repositories where their branches and tags are, even if the commit is there already.
    pub refresh: bool,
    /// Through which proxy to go.
    pub proxy: Option<Proxy>,
    /// A PEM file with the certificates to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// What servers are told who asks.
    pub user_agent: String,
    /// The git program.
    pub git: PathBuf,
    /// Waits between attempts.
    pub sleep: Arc<dyn Fn(Duration) + Send + Sync>,
    /// Hears of every piece that arrives.
    pub progress: Arc<dyn Fn(&Progress<'_>) + Send + Sync>,
    /// Set to end every transfer; the next one goes on where it was.
    pub stop: Arc<AtomicBool>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            offline: false,
            mirrors: Vec::new(),
            retries: 4,
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_mins(1),
            limit: 8 << 30,
            paranoid: false,
            refresh: false,
            proxy: None,
            certificates: None,
            user_agent: concat!("bake/", env!("CARGO_PKG_VERSION")).to_owned(),
            git: PathBuf::from("git"),
            sleep: Arc::new(std::thread::sleep),
            progress: Arc::new(|_| {}),
            stop: Arc::default(),
        }
    }
}

/// A proxy, and the hosts that are reached without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its URL, perhaps with name and password.
    pub url: String,
    /// Hosts as `no_proxy` has them: `host`, `.suffix`, `*`.
    pub except: Vec<String>,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The package.
    pub package: &'a str,
    /// The source's name in the recipe.
    pub name: &'a str,
    /// How many bytes are there.
    pub done: u64,
    /// How many there will be, if the server says it.
    pub total: Option<u64>,
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Not a proxy's URL.
    #[error("`{0}` is no proxy: expected `http://HOST:PORT` or `https://HOST:PORT`")]
    Proxy(String),
    /// Not certificates.
    #[error("`{}` cannot be used as certificates to trust: {reason}; expected a PEM file", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Which source is wanted where.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The package whose source it is.
    pub package: &'a str,
    /// The source's name in the recipe.
    pub name: &'a str,
    /// The source.
    pub source: &'a Source,
    /// The directory of the recipe.
    pub recipe_dir: &'a Path,
    /// The directory of the package in the cache.
    pub cache_dir: &'a Path,
}

impl Wanted<'_> {
    fn directory(&self) -> PathBuf {
        self.cache_dir.join(self.name)
    }

    fn fetched(&self, content: Content) -> Fetched {
        let (package, name) = (self.package.to_owned(), self.name.to_owned());
        Fetched { package, name, content, warnings: Vec::new(), moved: None }
    }

    /// For `map_err`.
    fn failed(&self) -> impl FnOnce(FetchProblem) -> FetchError {
        let (package, name) = (self.package.to_owned(), self.name.to_owned());
        move |problem| FetchError { package, name, problem: Box::new(problem) }
    }
}

/// A source that is on this machine.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The package whose source it is.
    pub package: String,
    /// The source's name in the recipe.
    pub name: String,
    /// Where it lies.
    pub content: Content,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Where `ref_origin` is now, if it was looked up and is not at the recipe's commit.
    pub moved: Option<Commit>,
}

/// Where a source lies.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// A file whose digest is right.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its digest.
        sha256: Digest,
        /// Whether it is to be extracted, and as what.
        extract: Option<ArchiveKind>,
    },
    /// A commit of a repository, with all its files.
    Repository {
        /// The repository itself: bare, or the `.git` of one with files.
        git_directory: PathBuf,
        /// The commit.
        commit: Commit,
        /// What its files must be.
        sha256: Option<Digest>,
    },
}

/// Fetches sources. Threads may share one; processes may use one cache at the same time.
pub struct Fetcher {
    options: FetchOptions,
    client: http::Client,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher that does as `options` say.
    ///
    /// # Errors
    /// When the proxy or the certificates cannot be used.
    pub fn new(options: FetchOptions) -> Result<Self, OptionsError> {
        Ok(Self { client: http::Client::new(&options)?, options })
    }

    /// Has a source on this machine, fetching it if need be.
    ///
    /// # Errors
    /// When it cannot be had, or is not what the recipe says.
    pub fn ensure(&self, wanted: &Wanted<'_>) -> Result<Fetched, FetchError> {
        if matches!(wanted.name, "" | "." | "..") || wanted.name.contains(['/', '\0']) {
            return Err(wanted.failed()(FetchProblem::Name));
        }
        match wanted.source {
            Source::Git { url, commit, ref_origin, sha256 } => {
                let remote = repository::Remote { url, commit, ref_origin, sha256: *sha256 };
                self.mirror(wanted, &remote)
            }
            Source::GitLocal { rel_path } => {
                self.local(wanted.recipe_dir, rel_path).map(|(directory, commit)| {
                    let content = Content::Repository { git_directory: directory, commit, sha256: None };
                    wanted.fetched(content)
                })
            }
            Source::Url(download) => self.file(wanted, download, None),
            Source::UrlExtract(download) => match ArchiveKind::of(download.file_name()) {
                Some(kind) => self.file(wanted, download, Some(kind)),
                None => Err(FetchProblem::Suffix { name: download.file_name().to_owned() }),
            },
        }
        .map_err(wanted.failed())
    }

    /// The commit that a `git_local` source stands for, which is its id; none for other kinds, whose ids the
    /// recipe gives. Nothing is fetched or written.
    ///
    /// # Errors
    /// When the repository has no commit, or changes that are not committed.
    pub fn source_id(&self, wanted: &Wanted<'_>) -> Result<Option<Commit>, FetchError> {
        match wanted.source {
            Source::GitLocal { rel_path } => {
                let local = self.local(wanted.recipe_dir, rel_path).map_err(wanted.failed())?;
                Ok(Some(local.1))
            }
            _ => Ok(None),
        }
    }

    fn file(
        &self,
        wanted: &Wanted<'_>,
        download: &Download,
        extract: Option<ArchiveKind>,
    ) -> Result<Fetched, FetchProblem> {
        let done = self.download(wanted, download)?;
        let content = Content::File { path: done.path, sha256: done.digests.sha256, extract };
        Ok(Fetched { warnings: done.warnings, ..wanted.fetched(content) })
    }
}
