//! Packages from a serve directory, through the host's own curl or wget: only what has a known digest gets in.

mod digests;
mod download;

use std::fmt;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bake_base::{Digest, DigestReader};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::generation::PACKAGES;
use crate::host::{Host, Lock};
use crate::product::Blob;
use crate::store::{self, Added};
use crate::{Failure, PackageId};

pub(crate) use digests::of_products;

/// The longest package whose size nobody knows, in bytes.
const LONGEST: u64 = 16 << 30;

/// Where a serve directory is: `http://`, `https://` or `file://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// That of a file below it.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{self}/{path}")
    }
}

impl FromStr for Url {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let known = ["http://", "https://", "file://"].iter().any(|scheme| text.starts_with(scheme));
        if known && !text.chars().any(|c| c.is_control() || c == ' ') {
            return Ok(Self(text.trim_end_matches('/').to_owned()));
        }
        let text = text.escape_debug();
        Err(Failure::new(format!(
            "`{text}` is no address: expected http://, https:// or file:// without blanks"
        )))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub sha256: Option<Digest>,
    pub size: Option<u64>,
}

/// Fetches a package and adds it to the store. Its digest is the one that a product on this host names, else the one
/// in `SHA256SUMS` beside it; `unverified`: without one, it is taken as it comes.
///
/// # Errors
/// When nobody knows its digest, it cannot be fetched, or it is another one.
pub fn fetch(
    host: &Host,
    lock: &Lock,
    url: &Url,
    id: &PackageId,
    unverified: bool,
) -> Result<Added, Failure> {
    if store::has(host, id)? {
        return Ok(Added::Already);
    }
    let path = format!("packages/{}/{id}.tar.xz", id.name());
    let expected = match of_products(host)?.get(id) {
        Some(Blob { sha256, size, .. }) => Expected { sha256: Some(*sha256), size: Some(*size) },
        None => Expected { sha256: digests::of_server(host, url, &path, unverified)?, size: None },
    };
    fetch_as(host, lock, &url.join(&path), id, expected)
}

/// Fetches the package `id` from `url` and adds it.
pub(crate) fn fetch_as(
    host: &Host,
    lock: &Lock,
    url: &str,
    id: &PackageId,
    expected: Expected,
) -> Result<Added, Failure> {
    let part = part(host, url, id, expected)?;
    let added = store::add(host, lock, id, &part.path, expected.sha256);
    // What is no package once will be none the next time.
    part.remove()?;
    added.map_err(|failure| {
        let text = failure.to_string().replace(&part.path.display().to_string(), &part.shown);
        Failure::new(format!("`{url}`: {text}"))
    })
}

/// Fetches the tarball of a package into a file of the install root, which goes on where an earlier run stopped.
pub(crate) fn part(host: &Host, url: &str, id: &PackageId, expected: Expected) -> Result<Part, Failure> {
    let part = Part::of(host, id)?;
    let limit = expected.size.unwrap_or(LONGEST);
    if expected.sha256.is_none() {
        // Nobody could tell whether its beginning is of the same file.
        part.remove()?;
    }
    let had = part.size()?;
    let download = || download::download(url, &part.path, &part.shown, limit, expected.sha256);
    if expected.size != Some(had) {
        download()?;
    }
    if let Some(sha256) = expected.sha256 {
        let mut found = part.digest()?;
        if found != (sha256, expected.size.unwrap_or(found.1)) && had > 0 {
            // What an earlier run left may be to blame: once more from the beginning.
            part.remove()?;
            download()?;
            found = part.digest()?;
        }
        if found != (sha256, expected.size.unwrap_or(found.1)) {
            part.remove()?;
            let (digest, size) = found;
            let wanted = expected.size.map_or(String::new(), |size| format!("{size} bytes with "));
            return Err(Failure::new(format!(
                "`{url}` brought {size} bytes with sha256 {digest}: expected {wanted}sha256 {sha256}; serve the \
                 whole serve directory that this belongs to, then run the same command again"
            )));
        }
    }
    Ok(part)
}

/// Takes away what [`part`] has left of a package.
pub(crate) fn forget(host: &Host, id: &PackageId) -> Result<(), Failure> {
    Part::of(host, id)?.remove()
}

/// A file on its way into the store. It stays when a run is killed, and the next one goes on with it.
pub(crate) struct Part {
    directory: rustix::fd::OwnedFd,
    name: String,
    path: PathBuf,
    shown: String,
}

impl Part {
    fn of(host: &Host, id: &PackageId) -> Result<Self, Failure> {
        Self::new(host, &format!(".{id}~.unfinished"))
    }

    fn new(host: &Host, name: &str) -> Result<Self, Failure> {
        let directory = host.directory(PACKAGES)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        let shown = host.shown(&format!("{PACKAGES}/{name}"));
        Ok(Self { directory, name: name.to_owned(), path, shown })
    }

    fn size(&self) -> Result<u64, Failure> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
            Ok(_) => Err(Failure::new(format!("`{}` is no regular file: remove it", self.shown))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Failure::io("reading", &self.shown)(error)),
        }
    }

    fn digest(&self) -> Result<(Digest, u64), Failure> {
        let file = std::fs::File::open(&self.path).map_err(Failure::io("opening", &self.shown))?;
        let drained = DigestReader::new(std::io::BufReader::with_capacity(1 << 20, file)).drain();
        drained.map_err(Failure::io("reading", &self.shown))
    }

    /// Where it is, for as long as this lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn remove(&self) -> Result<(), Failure> {
        match rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result.map_err(Failure::io("removing", &self.shown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_no_blanks() {
        for (text, base) in [("http://a:8080/x//", "http://a:8080/x"), ("file:///srv", "file:///srv")] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), base);
        }
        for wrong in ["", "a", "ftp://a", "-o/etc/passwd", "http://a b", "http://a\n"] {
            assert!(wrong.parse::<Url>().unwrap_err().to_string().contains("expected http://"), "{wrong:?}");
        }
    }
}
