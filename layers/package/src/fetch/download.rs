//! A file of a `url` or `url_extract` source: from the cache, else from a mirror, else from its URL.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Failed, FetchProblem};
use super::http::Failure;
use super::part::Part;
use super::url::{self, Location, shown};
use super::verify::{self, Checked, Digests};
use super::{FetchOptions, Fetcher, Progress, Wanted};
use crate::source::Download;

/// No server is waited for longer, whatever it asks.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// A file of the cache that is what its recipe says.
pub(super) struct Downloaded {
    pub path: PathBuf,
    pub digests: Digests,
    pub warnings: Vec<String>,
}

/// One file on its way into the cache.
struct Task<'a> {
    fetcher: &'a Fetcher,
    wanted: &'a Wanted<'a>,
    download: &'a Download,
    name: &'a str,
    place: PathBuf,
}

/// What one place had.
enum Outcome {
    Here(Digests),
    Nothing(Failed),
}

impl Fetcher {
    /// Has the file in the cache.
    pub(super) fn download(
        &self,
        wanted: &Wanted<'_>,
        download: &Download,
    ) -> Result<Downloaded, FetchProblem> {
        let wrong = |reason| FetchProblem::Url { url: shown(&download.url), reason };
        let name = url::file_name(download).map_err(wrong)?;
        url::locate(&download.url, wanted.recipe_dir).map_err(wrong)?;
        if download.pin.sha256.is_none() && download.pin.sha1.is_none() {
            return Err(FetchProblem::NoDigest { url: shown(&download.url) });
        }
        let place = wanted.directory().join(name);
        Task { fetcher: self, wanted, download, name, place }.run()
    }
}

impl Task<'_> {
    fn run(&self) -> Result<Downloaded, FetchProblem> {
        // Without the lock first: a cache that is only read needs none.
        if let Checked::Right(digests) = self.check()? {
            return Ok(self.downloaded(digests, Vec::new()));
        }
        let directory = self.wanted.directory();
        fs::create_dir_all(&directory).map_err(FetchProblem::io("creating", &directory))?;
        let _lock = lock(&self.beside("lock"))?;
        let mut warnings = Vec::new();
        match self.check()? {
            // Somebody else fetched it meanwhile.
            Checked::Right(digests) => return Ok(self.downloaded(digests, warnings)),
            Checked::Wrong(digests) => {
                let quarantined = self.quarantine(&self.place, &digests)?;
                let pin = &self.download.pin;
                let (expected, found) = (verify::expected(pin), digests.compared(pin));
                if self.candidates().is_empty() {
                    let (url, path) = (shown(&self.download.url), self.place.clone());
                    return Err(FetchProblem::OfflineWrong { url, path, expected, found, quarantined });
                }
                warnings.push(format!(
                    "`{}` had {found}, expected {expected}: it was moved to `{}` and is fetched again",
                    self.place.display(),
                    quarantined.display()
                ));
            }
            Checked::Absent => {}
        }
        if let Some(digests) = self.complete_part()? {
            return Ok(self.downloaded(digests, warnings));
        }
        let mut failures = Vec::new();
        for candidate in self.candidates() {
            match self.try_place(&candidate)? {
                Outcome::Here(digests) => {
                    // What a mirror lacks is worth knowing even if the build goes on.
                    warnings.extend(failures.iter().map(ToString::to_string));
                    return Ok(self.downloaded(digests, warnings));
                }
                Outcome::Nothing(failed) => failures.push(failed),
            }
        }
        if failures.is_empty() {
            let (url, path) = (shown(&self.download.url), self.place.clone());
            return Err(FetchProblem::Offline { url, expected: verify::expected(&self.download.pin), path });
        }
        Err(FetchProblem::Failed(failures))
    }

    fn downloaded(&self, digests: Digests, warnings: Vec<String>) -> Downloaded {
        Downloaded { path: self.place.clone(), digests, warnings }
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.wanted.directory().join(format!("{}.{extension}", self.name))
    }

    fn check(&self) -> Result<Checked, FetchProblem> {
        let paranoid = self.fetcher.options.paranoid;
        verify::check(&self.place, &self.beside("json"), &self.download.pin, paranoid)
    }

    /// Where the file may be had, given that the network may be forbidden.
    fn candidates(&self) -> Vec<String> {
        let FetchOptions { offline, mirrors, .. } = &self.fetcher.options;
        let mut candidates = url::candidates(&self.download.url, mirrors);
        candidates.retain(|url| !offline || url::is_local(url));
        candidates
    }

    /// A transfer that ended just before its process did.
    fn complete_part(&self) -> Result<Option<Digests>, FetchProblem> {
        let path = self.beside("part");
        if !path.exists() {
            return Ok(None);
        }
        let part = self.part()?;
        let digests =
            Digests::of(&part.file, &self.download.pin).map_err(FetchProblem::io("reading", &path))?;
        if !digests.fit(&self.download.pin) {
            return Ok(None);
        }
        self.settle(part)?;
        Ok(Some(digests))
    }

    fn part(&self) -> Result<Part, FetchProblem> {
        let path = self.beside("part");
        Part::open(&path).map_err(FetchProblem::io("opening", &path))
    }

    fn settle(&self, part: Part) -> Result<(), FetchProblem> {
        part.settle(&self.place).map_err(FetchProblem::io("writing", &self.place))
    }

    fn quarantine(&self, file: &Path, digests: &Digests) -> Result<PathBuf, FetchProblem> {
        let directory = self.wanted.cache_dir.join("quarantine");
        let place = directory.join(format!("{}-{}", digests.sha256, self.name));
        fs::create_dir_all(&directory).map_err(FetchProblem::io("creating", &directory))?;
        fs::rename(file, &place).map_err(FetchProblem::io("moving aside", file))?;
        Ok(place)
    }

    fn try_place(&self, candidate: &str) -> Result<Outcome, FetchProblem> {
        let nothing = |reason, is_absent| {
            Ok(Outcome::Nothing(Failed { url: shown(candidate), attempts: 1, reason, is_absent }))
        };
        match url::locate(candidate, self.wanted.recipe_dir) {
            Err(reason) => nothing(reason.to_owned(), false),
            Ok(Location::File(path)) => {
                let mut part = self.part()?;
                match copy(&path, &mut part) {
                    Err(Failure::Local(error)) => Err(FetchProblem::io("writing", &part.path)(error)),
                    Err(Failure::Stopped) => Err(FetchProblem::Stopped),
                    Err(Failure::Absent(reason)) => nothing(reason, true),
                    Err(Failure::Lasting(reason) | Failure::Passing { reason, .. }) => nothing(reason, false),
                    Err(Failure::Stale) | Ok(()) => {
                        self.verified(part, candidate, 1).map(|(outcome, _)| outcome)
                    }
                }
            }
            Ok(Location::Web) => self.try_web(candidate),
        }
    }

    fn try_web(&self, candidate: &str) -> Result<Outcome, FetchProblem> {
        let FetchOptions { retries, sleep, progress, .. } = &self.fetcher.options;
        let report = |done, total| {
            let Wanted { package, name, .. } = *self.wanted;
            progress(&Progress { package, name, done, total });
        };
        let mut begun_anew = false;
        let mut attempt = 1;
        loop {
            let mut part = self.part()?;
            let failure = match self.fetcher.client.transfer(candidate, &mut part, &report) {
                Ok(()) => {
                    let resumed = part.resumed;
                    let (outcome, quarantined) = self.verified(part, candidate, attempt)?;
                    match quarantined {
                        // The wrong bytes may be those that lay here before: the server gets a second chance.
                        Some(path) if resumed && !begun_anew => {
                            fs::remove_file(&path).map_err(FetchProblem::io("removing", &path))?;
                            begun_anew = true;
                            continue;
                        }
                        _ => return Ok(outcome),
                    }
                }
                Err(failure) => failure,
            };
            let is_absent = matches!(failure, Failure::Absent(_));
            let (reason, after) = match failure {
                Failure::Local(error) => return Err(FetchProblem::io("writing", &part.path)(error)),
                Failure::Stopped => return Err(FetchProblem::Stopped),
                Failure::Stale if !begun_anew => {
                    part.restart(None).map_err(FetchProblem::io("writing", &part.path))?;
                    begun_anew = true;
                    continue;
                }
                Failure::Stale => ("goes on elsewhere than asked".to_owned(), None),
                Failure::Lasting(reason) | Failure::Absent(reason) => (reason, None),
                Failure::Passing { reason, after } => (reason, Some(after)),
            };
            match after.filter(|_| attempt <= *retries) {
                Some(after) => {
                    sleep(back_off(attempt, after));
                    attempt += 1;
                }
                None => {
                    if part
                        .continuation(candidate)
                        .map_err(FetchProblem::io("reading", &part.path))?
                        .is_none()
                    {
                        let path = part.path.clone();
                        part.discard().map_err(FetchProblem::io("removing", &path))?;
                    }
                    let url = shown(candidate);
                    return Ok(Outcome::Nothing(Failed { url, attempts: attempt, reason, is_absent }));
                }
            }
        }
    }

    /// Gives a complete file its place in the cache or in quarantine, and in the latter case says where.
    fn verified(
        &self,
        mut part: Part,
        candidate: &str,
        attempts: u32,
    ) -> Result<(Outcome, Option<PathBuf>), FetchProblem> {
        let reading = || FetchProblem::io("reading", &part.path);
        // From the disk, so that it is the file that is right and not what was thought to be in it.
        let file = File::open(&part.path).map_err(reading())?;
        let pin = &self.download.pin;
        let digests = Digests::of(file, pin).map_err(reading())?;
        if digests.fit(pin) {
            self.settle(part)?;
            return Ok((Outcome::Here(digests), None));
        }
        let quarantined = self.quarantine(&part.path, &digests)?;
        part.forget().map_err(FetchProblem::io("removing", &part.path))?;
        let reason = format!(
            "has {}, expected {}: it is kept as `{}`; if it is what it should be, correct the digest that it is pinned by",
            digests.compared(pin),
            verify::expected(pin),
            quarantined.display()
        );
        let failed = Failed { url: shown(candidate), attempts, reason, is_absent: false };
        Ok((Outcome::Nothing(failed), Some(quarantined)))
    }
}

/// How long to wait after so many attempts, if the server asks for no less than `after`.
pub(super) fn back_off(attempts: u32, after: Duration) -> Duration {
    Duration::from_secs(1 << (attempts - 1).min(6)).max(after).min(LONGEST_WAIT)
}

/// Copies a local file.
fn copy(from: &Path, part: &mut Part) -> Result<(), Failure> {
    let reading = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Absent(format!("cannot be read: {error}")),
        _ => Failure::Lasting(format!("cannot be read: {error}")),
    };
    if !fs::metadata(from).map_err(reading)?.is_file() {
        return Err(Failure::Lasting("is not a file".to_owned()));
    }
    let mut file = File::open(from).map_err(reading)?;
    part.restart(None).map_err(Failure::Local)?;
    io::copy(&mut file, &mut part.file).map_err(Failure::Local)?;
    Ok(())
}

/// Waits until nobody else, be it another process, has the lock; it is given back with the value.
pub(super) fn lock(path: &Path) -> Result<File, FetchProblem> {
    let locking = || FetchProblem::io("locking", path);
    let file = File::options().write(true).create(true).truncate(false).open(path).map_err(locking())?;
    file.lock().map_err(locking())?;
    Ok(file)
}
