//! Small files that nothing pins: whoever asks for one checks it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::download::back_off;
use super::error::{Failed, FetchProblem};
use super::http::{Client, Failure};
use super::part::Part;
use super::url::{self, Location, shown};
use super::{FetchOptions, Fetcher};

impl Fetcher {
    /// The bytes of a file that has at most `limit`, from a mirror or its own place. What comes over the network
    /// passes through `scratch`, a directory of the caller's own.
    ///
    /// # Errors
    /// When no place has it, or it is larger.
    pub(crate) fn read(&self, url: &str, limit: u64, scratch: &Path) -> Result<Vec<u8>, FetchProblem> {
        let mut failures = Vec::new();
        for place in url::candidates(url, &self.options.mirrors) {
            let failed = |reason: &str, is_absent| Failed {
                url: shown(&place),
                attempts: 1,
                reason: reason.to_owned(),
                is_absent,
            };
            let read = match url::locate(&place, Path::new("/")) {
                Err(reason) => Err(failed(reason, false)),
                Ok(Location::File(path)) => local(&path, limit).map_err(|error| {
                    failed(&format!("cannot be read: {error}"), error.kind() == io::ErrorKind::NotFound)
                }),
                Ok(Location::Web) if self.options.offline => {
                    Err(failed("is needed, and `--offline` forbids to fetch it", false))
                }
                Ok(Location::Web) => self.read_web(&place, limit, scratch)?,
            };
            match read {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => failures.push(failed),
            }
        }
        Err(FetchProblem::Failed(failures))
    }

    fn read_web(
        &self,
        url: &str,
        limit: u64,
        scratch: &Path,
    ) -> Result<Result<Vec<u8>, Failed>, FetchProblem> {
        let FetchOptions { retries, sleep, .. } = &self.options;
        let client = Client::new(&FetchOptions { limit, ..self.options.clone() })
            .expect("these options were good for another client");
        let path = scratch.join("transfer");
        let mut attempts = 1;
        loop {
            let mut part = Part::open(&path).map_err(FetchProblem::io("opening", &path))?;
            let failure = match client.transfer(url, &mut part, &|_, _| {}) {
                Ok(()) => {
                    let bytes = fs::read(&path).map_err(FetchProblem::io("reading", &path))?;
                    part.discard().map_err(FetchProblem::io("removing", &path))?;
                    return Ok(Ok(bytes));
                }
                Err(failure) => failure,
            };
            part.discard().map_err(FetchProblem::io("removing", &path))?;
            if let Failure::Local(error) = failure {
                return Err(FetchProblem::io("writing", &path)(error));
            }
            if let Failure::Passing { after, .. } = failure
                && attempts <= *retries
            {
                sleep(back_off(attempts, after));
                attempts += 1;
                continue;
            }
            let is_absent = matches!(failure, Failure::Absent(_));
            let reason = if let Failure::Passing { reason, .. }
            | Failure::Lasting(reason)
            | Failure::Absent(reason) = failure
            {
                reason
            } else {
                "was not transferred to its end".to_owned()
            };
            return Ok(Err(Failed { url: shown(url), attempts, reason, is_absent }));
        }
    }
}

fn local(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Before opening: a named pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than the limit of {limit} bytes")));
    }
    Ok(bytes)
}
