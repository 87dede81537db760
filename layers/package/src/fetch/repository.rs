//! Commits of repositories: mirrored into the cache, or lying on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bake_base::Digest;

use super::download::lock;
use super::error::FetchProblem;
use super::git::Git;
use super::url::{self, shown};
use super::{Content, Fetched, Fetcher, Wanted};
use crate::source::Commit;

/// What git says when the network, not the repository, is at fault.
const PASSING: [&str; 8] = [
    "Could not resolve host",
    "Connection",
    "timed out",
    "Operation too slow",
    "early EOF",
    "RPC failed",
    "returned error: 429",
    "returned error: 5",
];

/// A commit to be had of somebody else's repository.
pub(super) struct Remote<'a> {
    pub url: &'a str,
    pub commit: &'a Commit,
    pub ref_origin: &'a str,
    pub sha256: Option<Digest>,
}

impl Fetcher {
    /// Has the commit in the cache's mirror of the repository.
    pub(super) fn mirror(&self, wanted: &Wanted<'_>, remote: &Remote<'_>) -> Result<Fetched, FetchProblem> {
        usable(remote.url)?;
        let directory = wanted.directory();
        let mirror = directory.join("cache.git");
        let mut fetched = wanted.fetched(Content::Repository {
            git_directory: mirror.clone(),
            commit: remote.commit.clone(),
            sha256: remote.sha256,
        });
        let git = Git(&self.options);
        if !self.options.refresh && has(&git, &mirror, remote.commit)? {
            return Ok(fetched);
        }
        let candidates = self.repositories(remote.url);
        if candidates.is_empty() && !has(&git, &mirror, remote.commit)? {
            let (url, commit) = (shown(remote.url), remote.commit.to_string());
            return Err(FetchProblem::OfflineCommit { url, commit, path: mirror });
        }
        fs::create_dir_all(&directory).map_err(FetchProblem::io("creating", &directory))?;
        let _lock = lock(&directory.join("cache.git.lock"))?;
        // Somebody else may have fetched it meanwhile.
        if candidates.is_empty() || !self.options.refresh && has(&git, &mirror, remote.commit)? {
            return Ok(fetched);
        }
        prepare(&git, &directory, &mirror, remote.commit)?;
        let mut last = None;
        for candidate in &candidates {
            match self.fetch_all(&git, &mirror, candidate) {
                Ok(()) => {
                    fetched.warnings.extend(last.take().map(|error: FetchProblem| error.to_string()));
                    fetched.moved = reference(&git, &mirror, candidate, remote)?;
                    if let Some(moved) = &fetched.moved {
                        fetched.warnings.push(format!(
                            "`ref_origin`: `{}` of `{}` is at {moved} now, the recipe stays at {}",
                            remote.ref_origin,
                            shown(candidate),
                            remote.commit
                        ));
                    }
                    by_id(&git, &mirror, candidate, remote.commit)?;
                    return Ok(fetched);
                }
                Err(error @ FetchProblem::Git { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| no_commit(remote.url, remote.commit)))
    }

    fn repositories(&self, url: &str) -> Vec<String> {
        let mut candidates = url::candidates(url, &self.options.mirrors);
        candidates.retain(|url| !self.options.offline || url::is_local(url));
        candidates
    }

    /// Fetches all branches and tags, with patience.
    fn fetch_all(&self, git: &Git<'_>, mirror: &Path, url: &str) -> Result<(), FetchProblem> {
        let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let arguments = [
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
            "--",
            url,
            refs[0],
            refs[1],
        ];
        let mut attempt = 0;
        loop {
            match git.run(mirror, &arguments) {
                Ok(_) => return Ok(()),
                Err(FetchProblem::Git { message, .. })
                    if attempt < self.options.retries
                        && PASSING.iter().any(|text| message.contains(text)) =>
                {
                    (self.options.sleep)(Duration::from_secs(1 << attempt.min(6)));
                    attempt += 1;
                }
                Err(FetchProblem::Git { message, .. }) => {
                    return Err(FetchProblem::Git { command: format!("fetch {}", shown(url)), message });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The commit that a `git_local` source stands for.
    pub(super) fn local(&self, recipe_dir: &Path, rel_path: &str) -> Result<(PathBuf, Commit), FetchProblem> {
        let wrong =
            |reason: &str| FetchProblem::Local { path: rel_path.to_owned(), reason: reason.to_owned() };
        if Path::new(rel_path).is_absolute() {
            return Err(wrong("is absolute: expected a path relative to the recipe's directory"));
        }
        let path = recipe_dir.join(rel_path);
        if !path.is_dir() {
            return Err(wrong("is not a directory: expected a git repository"));
        }
        let git = Git(&self.options);
        let prefix = git.run(&path, &["rev-parse", "--show-prefix"]).map_err(|error| match error {
            FetchProblem::Git { message, .. } if message.contains("dubious ownership") => {
                wrong("belongs to another user, whose configuration git would obey: change its owner")
            }
            FetchProblem::Git { .. } => wrong("is not a git repository with files"),
            error => error,
        })?;
        if !prefix.trim().is_empty() {
            return Err(wrong("lies inside of a git repository: expected the repository's top directory"));
        }
        let head = git.run(&path, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
        let commit = match head {
            Ok(head) => Commit::parse(head.trim()).ok_or_else(|| wrong("has no commit yet"))?,
            Err(FetchProblem::Git { .. }) => return Err(wrong("has no commit yet")),
            Err(error) => return Err(error),
        };
        let status = git.run(&path, &["status", "--porcelain", "--untracked-files=no"])?;
        if !status.is_empty() {
            let files = status.lines().map(str::to_owned).collect();
            return Err(FetchProblem::Unclean { path: rel_path.to_owned(), files });
        }
        let git_directory = git.run(&path, &["rev-parse", "--absolute-git-dir"])?;
        Ok((PathBuf::from(git_directory.trim_end_matches('\n')), commit))
    }
}

/// A URL, an absolute path, or SSH's `user@host:path`.
fn usable(url: &str) -> Result<(), FetchProblem> {
    let ssh = || url.split_once(':').is_some_and(|(host, _)| !host.contains('/') && host.contains('@'));
    if !url.starts_with('-') && (url.contains("://") || url.starts_with('/') || ssh()) {
        return Ok(());
    }
    let reason = "is no repository's URL: expected one with `://`, an absolute path, or `user@host:path`";
    Err(FetchProblem::Url { url: shown(url), reason })
}

/// Whether the repository has the commit and all its files.
fn has(git: &Git<'_>, repository: &Path, commit: &Commit) -> Result<bool, FetchProblem> {
    if !repository.is_dir() {
        return Ok(false);
    }
    let commit = format!("{commit}^{{commit}}");
    // Git would look for a repository further up.
    let bare = git.test(repository, &["--git-dir=.", "cat-file", "-e", &commit])?;
    Ok(bare
        && git
            .test(repository, &["--git-dir=.", "rev-list", "--objects", "--no-walk", "--quiet", &commit])?)
}

/// An empty bare repository, unless there is one already.
fn prepare(git: &Git<'_>, directory: &Path, mirror: &Path, commit: &Commit) -> Result<(), FetchProblem> {
    if mirror.exists() {
        return Ok(());
    }
    // Under another name until it is complete, so that a killed run leaves no half repository.
    let new = directory.join("cache.git.new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(FetchProblem::io("removing", &new))?;
    }
    git.run(directory, &["init", "--quiet", "--bare", "--template=", format(commit), "cache.git.new"])?;
    fs::rename(&new, mirror).map_err(FetchProblem::io("creating", mirror))
}

/// The option for the object format that the commit's id belongs to.
pub(super) fn format(commit: &Commit) -> &'static str {
    match commit.as_str().len() {
        64 => "--object-format=sha256",
        _ => "--object-format=sha1",
    }
}

/// Where the branch or tag is, if that is not where the recipe is.
fn reference(
    git: &Git<'_>,
    mirror: &Path,
    url: &str,
    remote: &Remote<'_>,
) -> Result<Option<Commit>, FetchProblem> {
    let name = remote.ref_origin;
    let full = name.strip_prefix("refs/").map(|rest| format!("refs/{rest}"));
    let ids = Commit::parse(name).map(|commit| commit.to_string());
    let spellings = [format!("refs/heads/{name}"), format!("refs/tags/{name}")];
    for spelling in spellings.into_iter().chain(full).chain(ids) {
        let arguments =
            ["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{spelling}^{{commit}}")];
        match git.run(mirror, &arguments) {
            Ok(found) => {
                let found = Commit::parse(found.trim());
                return Ok(found.filter(|found| found != remote.commit));
            }
            Err(FetchProblem::Git { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (url, reference) = (shown(url), name.to_owned());
    Err(FetchProblem::NoReference { url, reference, commit: remote.commit.to_string() })
}

/// Asks for the commit itself where no branch or tag led to it: history may have been rewritten.
fn by_id(git: &Git<'_>, mirror: &Path, url: &str, commit: &Commit) -> Result<(), FetchProblem> {
    if has(git, mirror, commit)? {
        return Ok(());
    }
    let arguments = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", url, commit.as_str()];
    match git.run(mirror, &arguments) {
        Ok(_) if has(git, mirror, commit)? => Ok(()),
        Ok(_) | Err(FetchProblem::Git { .. }) => Err(no_commit(url, commit)),
        Err(error) => Err(error),
    }
}

fn no_commit(url: &str, commit: &Commit) -> FetchProblem {
    FetchProblem::NoCommit { url: shown(url), commit: commit.to_string() }
}
