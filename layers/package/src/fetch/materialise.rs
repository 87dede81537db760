//! What a build finds in `/pkg/src/SOURCE`.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bake_archive::{ExtractOptions, OpenOptions, SourceArchive, open_source_archive, remove_tree};
use bake_base::{Digest, Hasher};
use bake_tree::{Policy, Tree, ValidTree};

use super::error::FetchProblem;
use super::files;
use super::git::Git;
use super::repository::format;
use super::{Content, FetchError, Fetched, Fetcher};
use crate::source::Commit;

impl Fetcher {
    /// Puts a source into the new directory `into`: a file under its own name, the members of an archive
    /// without their top directory, or a repository with the commit checked out. Owners are whoever runs
    /// this; modes are 0644 and 0755, but for those of an archive's members. Gives what the user should know.
    ///
    /// # Errors
    /// When `into` exists or its files cannot be made; what was made of it is removed again.
    pub fn materialise(&self, fetched: &Fetched, into: &Path) -> Result<Vec<String>, FetchError> {
        let failed = |problem| {
            let (package, name) = (fetched.package.clone(), fetched.name.clone());
            FetchError { package, name, problem: Box::new(problem) }
        };
        fs::create_dir(into).map_err(FetchProblem::io("creating", into)).map_err(failed)?;
        let result = match &fetched.content {
            Content::File { path, sha256, extract: None } => copy(path, *sha256, into).map(|()| Vec::new()),
            Content::File { path, sha256, extract: Some(_) } => extract(path, *sha256, into),
            Content::Repository { git_directory, commit, sha256 } => {
                self.check_out(git_directory, commit, *sha256, into).map(|()| Vec::new())
            }
        };
        result.map_err(|problem| {
            // The first failure is the one to tell.
            let _ = remove_tree(into);
            failed(problem)
        })
    }

    /// A repository of its own, whose only history is that of the commit.
    fn check_out(
        &self,
        git_directory: &Path,
        commit: &Commit,
        sha256: Option<Digest>,
        into: &Path,
    ) -> Result<(), FetchProblem> {
        let git = Git(&self.options);
        git.run(into, &["init", "--quiet", "--template=", "--initial-branch=main", format(commit)])?;
        // Git compares files with what it noted of them; owners and inodes are others inside of a sandbox.
        for [key, value] in [["core.checkStat", "minimal"], ["core.trustctime", "false"]] {
            git.run(into, &["config", key, value])?;
        }
        let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--"].map(AsRef::as_ref);
        git.run(into, &[&fetch[..], &[git_directory.as_os_str(), commit.as_str().as_ref()]].concat())?;
        git.run(into, &["checkout", "--quiet", "--force", "--detach", commit.as_str()])?;
        if let Some(expected) = sha256 {
            let found = files::digest(into).map_err(FetchProblem::io("reading", into))?;
            if found != expected {
                let (expected, found) = (expected.to_string(), found.to_string());
                return Err(FetchProblem::WrongTree { commit: commit.to_string(), expected, found });
            }
        }
        let time = git.run(into, &["show", "--no-patch", "--format=%ct", commit.as_str()])?;
        let time = time.trim().parse().map_err(|_| FetchProblem::Git {
            command: "show".to_owned(),
            message: format!("`{}` is no time of a commit", time.trim()),
        })?;
        files::settle(into, time).map_err(FetchProblem::io("writing", into))?;
        git.run(into, &["update-index", "-q", "--refresh"])?;
        Ok(())
    }
}

/// Copies a file and makes sure that the copy is right, whatever happened to the file since it was checked.
fn copy(path: &Path, sha256: Digest, into: &Path) -> Result<(), FetchProblem> {
    let place = into.join(path.file_name().unwrap_or_default());
    let writing = || FetchProblem::io("writing", &place);
    let mut from = File::open(path).map_err(FetchProblem::io("opening", path))?;
    let mut to = File::create_new(&place).map_err(writing())?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut buffer).map_err(FetchProblem::io("reading", path))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(writing())?;
    }
    if hasher.finish() != sha256 {
        return Err(FetchProblem::Changed { path: path.to_owned() });
    }
    finish(&place, 0o644).and_then(|()| finish(into, 0o755)).map_err(writing())
}

fn finish(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    files::set_time(path, crate::EPOCH.timestamp().seconds)
}

/// Extracts an archive without its top directory, times as they are in it.
fn extract(path: &Path, sha256: Digest, into: &Path) -> Result<Vec<String>, FetchProblem> {
    let members = |problems: Vec<String>| FetchProblem::Members { path: path.to_owned(), problems };
    // Decoded beside the result, where there is room for it anyway.
    let scratch = into.parent().unwrap_or(Path::new(".")).to_owned();
    let options = OpenOptions { scratch, ..OpenOptions::default() };
    let archive = open_source_archive(path, &options).and_then(SourceArchive::strip_top_directory);
    let archive = archive.map_err(FetchProblem::Archive)?;
    let mut warnings = archive.warnings;
    let mut tree = Tree::new();
    tree.apply(archive.members, Policy::TAR).map_err(|problems| members(spelled(&problems)))?;
    let tree = ValidTree::new(tree).map_err(|problems| members(spelled(&problems)))?;
    // Whoever builds is not root and has to read what is there.
    let extracted = bake_archive::extract(&tree, into, ExtractOptions { readable: true });
    let extracted = extracted.map_err(FetchProblem::Archive)?;
    // Only now: it tells of what was extracted.
    if archive.digest.wait().map_err(FetchProblem::Archive)? != sha256 {
        return Err(FetchProblem::Changed { path: path.to_owned() });
    }
    if extracted.devices > 0 {
        let (count, names) = (extracted.devices, spelled(&extracted.first_devices).join(", "));
        warnings.push(format!("`{}`: {count} devices are left out: {names}", path.display()));
    }
    finish(into, 0o755).map_err(FetchProblem::io("writing", into))?;
    Ok(warnings)
}

fn spelled(problems: &[impl ToString]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
