//! Sources from servers, files and repositories, and every way in which they can be wrong.

mod cache;
mod materialised;
mod repositories;
mod server;
mod small;
mod web;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bake_base::Digest;
use sha1::Digest as _;

use super::*;
use crate::source::Pin;

/// A recipe's directory, a package's cache, and what happened.
struct Scene {
    scratch: tempfile::TempDir,
    waits: Arc<Mutex<Vec<u64>>>,
}

impl Scene {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("recipe")).unwrap();
        Self { scratch, waits: Arc::default() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    /// Options whose waiting is noted and takes no time.
    fn options(&self) -> FetchOptions {
        let waits = Arc::clone(&self.waits);
        FetchOptions {
            stall_timeout: Duration::from_millis(400),
            sleep: Arc::new(move |time| waits.lock().unwrap().push(time.as_secs())),
            ..FetchOptions::default()
        }
    }

    fn waits(&self) -> Vec<u64> {
        self.waits.lock().unwrap().clone()
    }

    fn fetch_with(&self, options: FetchOptions, source: &Source) -> Result<Fetched, FetchError> {
        let (recipe_dir, cache_dir) = (self.path("recipe"), self.path("cache"));
        let wanted =
            Wanted { package: "zlib", name: "src", source, recipe_dir: &recipe_dir, cache_dir: &cache_dir };
        Fetcher::new(options).unwrap().ensure(&wanted)
    }

    fn fetch(&self, source: &Source) -> Result<Fetched, FetchError> {
        self.fetch_with(self.options(), source)
    }

    /// The whole message, with places that differ from run to run under other names.
    fn refused(&self, result: Result<Fetched, FetchError>) -> String {
        let error = result.unwrap_err();
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text.push_str(&format!(": {cause}"));
        }
        self.plain(&text)
    }

    fn plain(&self, text: &str) -> String {
        text.replace(self.scratch.path().to_str().unwrap(), "SCRATCH")
    }

    /// All files of the cache with their bytes, but for locks and notes.
    fn cached(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.path("cache")];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = fs::read_dir(directory) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_none_or(|extension| extension != "lock" && extension != "json")
                {
                    let name = path.strip_prefix(self.path("cache")).unwrap().display().to_string();
                    files.push((name, fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn pin(bytes: &[u8]) -> Pin {
    Pin { sha256: Some(Digest::of(bytes)), sha1: None }
}

fn sha1(bytes: &[u8]) -> String {
    sha1::Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A source of kind `url` with these bytes.
fn url_source(url: impl Into<String>, bytes: &[u8]) -> Source {
    Source::Url(Download { url: url.into(), pin: pin(bytes) })
}

fn path_of(fetched: &Fetched) -> &Path {
    match &fetched.content {
        Content::File { path, .. } => path,
        Content::Repository { git_directory, .. } => git_directory,
    }
}

/// The digest of the bytes that a server has instead of the right ones.
fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}
