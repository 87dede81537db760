//! Ids: what went into a package, as one document, and the version that is its digest.
//!
//! The document covers everything that can influence the package and nothing else; two recipes that differ in any
//! of it never share a version. It does not cover where things come from, only what they are.

use std::collections::BTreeMap;

use bake_base::{Digest, json};
use bake_host::{GroupName, PackageId, PackageName, UserName, Version};
use serde::Serialize;

use super::buildinfo::Recipe;
use super::fields::{Report, join};
use super::files::{Entry, RecipeFiles};
use super::tree::RecipeTree;
use crate::Problems;
use crate::source::{ArchiveKind, Commit, Pin, Source};

/// The revision of the format of packages. It goes up when the same inputs give other packages.
const FORMAT_REVISION: u32 = 1;

/// How many of the digest's hex digits make a version: recipes count on the length, and so do `#!` lines.
const VERSION_DIGITS: usize = 40;

/// Everything that can influence a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdDocument {
    format_revision: u32,
    name: PackageName,
    /// Empty for the default variant.
    variant: String,
    files: BTreeMap<String, FileId>,
    sources: BTreeMap<String, SourceId>,
    builder: Digest,
    environment: BTreeMap<String, String>,
    state_directory: bool,
    requires: Vec<PackageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<UserName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupName>,
    sysctl: BTreeMap<String, BTreeMap<String, String>>,
    network: bool,
}

/// An entry of the recipe's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum FileId {
    Directory,
    File { executable: bool, sha256: Digest },
    Link { target: String },
}

/// What a source is, wherever it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceId {
    /// A commit.
    Git {
        /// The commit.
        commit: String,
        /// Digest of the checked-out files, if the recipe pins it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<Digest>,
    },
    /// The commit that a repository on this machine is at.
    GitLocal {
        /// The commit.
        commit: String,
    },
    /// A file.
    Url {
        /// What the build sees it as.
        file_name: String,
        /// Its bytes.
        #[serde(flatten)]
        downloaded: Downloaded,
    },
    /// What an archive holds.
    UrlExtract {
        /// How it is unpacked.
        archive: &'static str,
        /// Its bytes.
        #[serde(flatten)]
        downloaded: Downloaded,
    },
}

/// What the bytes of a download are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Downloaded {
    /// Known by SHA-256.
    #[serde(rename = "downloaded_sha256")]
    Sha256(Digest),
    /// Known by SHA-1 alone.
    #[serde(rename = "downloaded_sha1")]
    Sha1(String),
}

impl Downloaded {
    fn by(pin: &Pin) -> Option<Self> {
        pin.sha256.map(Self::Sha256).or_else(|| pin.sha1.clone().map(Self::Sha1))
    }
}

impl SourceId {
    /// The id that a source has by itself: a local repository's depends on where it is at, and a download without
    /// a pin has none.
    pub fn of(source: &Source) -> Option<Self> {
        match source {
            Source::Git { commit, sha256, .. } => {
                Some(Self::Git { commit: commit.to_string(), sha256: *sha256 })
            }
            Source::GitLocal { .. } => None,
            Source::Url(download) => {
                let file_name = download.file_name().to_owned();
                Some(Self::Url { file_name, downloaded: Downloaded::by(&download.pin)? })
            }
            Source::UrlExtract(download) => {
                let archive = match ArchiveKind::of(download.file_name())? {
                    ArchiveKind::Tar => "tar",
                    ArchiveKind::Zip => "zip",
                };
                Some(Self::UrlExtract { archive, downloaded: Downloaded::by(&download.pin)? })
            }
        }
    }

    /// The id of a local repository that is at `head`.
    pub fn git_local(head: &Commit) -> Self {
        Self::GitLocal { commit: head.to_string() }
    }
}

/// The document of a recipe with `files`, built in `builder` with all of `requires`: the whole closure.
pub fn id_document(
    recipe: &Recipe,
    files: &RecipeFiles,
    sources: BTreeMap<String, SourceId>,
    builder: &Digest,
    requires: &[PackageId],
) -> IdDocument {
    let files = files.entries().iter().map(|(path, entry)| {
        let id = match entry {
            Entry::Directory => FileId::Directory,
            Entry::File { executable, sha256, .. } => {
                FileId::File { executable: *executable, sha256: *sha256 }
            }
            Entry::Link { target } => FileId::Link { target: target.clone() },
        };
        (path.clone(), id)
    });
    let mut requires = requires.to_vec();
    requires.sort();
    IdDocument {
        format_revision: FORMAT_REVISION,
        name: recipe.name.clone(),
        variant: recipe.variant.name().unwrap_or_default().to_owned(),
        files: files.collect(),
        sources,
        builder: *builder,
        environment: recipe.environment.clone(),
        state_directory: recipe.state_directory,
        requires,
        username: recipe.username.clone(),
        group: recipe.group.clone(),
        sysctl: recipe.sysctl.clone(),
        network: recipe.network,
    }
}

/// The version that a document stands for.
pub fn version(document: &IdDocument) -> Version {
    let bytes = json::to_canonical(document).expect("a document of texts, flags and numbers is JSON");
    let digits = &Digest::of(&bytes).to_string()[..VERSION_DIGITS];
    digits.parse().expect("hex digits are a version")
}

/// A recipe with the id of the package that it gives.
#[derive(Clone, Debug)]
pub struct Identified<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The package.
    pub id: PackageId,
    /// What the id stands for: `build_ids` of `buildinfo.full.json`.
    pub document: IdDocument,
    /// Everything that the package needs, directly or not; sorted.
    pub requires: Vec<PackageId>,
}

impl RecipeTree {
    /// The ids of `roots` and of all that they need, in build order.
    ///
    /// `head` gives the commit that a local repository is at, by the recipe and the path in it; `builder` gives the
    /// digest of a builder by its name, or of the default one. What they say when they fail is told with the file
    /// and the key that it is about.
    ///
    /// # Errors
    /// With everything that `head` and `builder` could not find.
    pub fn ids<'r>(
        &self,
        roots: impl IntoIterator<Item = &'r Recipe>,
        mut head: impl FnMut(&Recipe, &str) -> Result<Commit, String>,
        mut builder: impl FnMut(Option<&str>) -> Result<Digest, String>,
    ) -> Result<Vec<Identified<'_>>, Problems> {
        let mut problems = Vec::new();
        let mut inputs = Vec::new();
        for recipe in self.build_order(roots) {
            let report = &mut Report::new(&recipe.file, &mut problems);
            let mut sources = BTreeMap::new();
            for (name, source) in &recipe.sources {
                let key = join("sources", name);
                let id = match source {
                    Source::GitLocal { rel_path } => {
                        head(recipe, rel_path).map(|head| SourceId::git_local(&head))
                    }
                    other => SourceId::of(other).ok_or_else(|| "nothing pins this source".to_owned()),
                };
                sources.extend(report.check(&key, id).map(|id| (name.clone(), id)));
            }
            let builder = report.check("docker", builder(recipe.docker.as_deref()));
            inputs.extend(builder.map(|builder| (recipe, sources, builder)));
        }
        Problems::check(problems)?;
        let mut ids = BTreeMap::new();
        let mut identified = Vec::new();
        for (recipe, sources, builder) in inputs {
            let closure = self.closure(recipe);
            let requires = closure.iter().filter_map(|recipe| ids.get(&recipe.requirement()).cloned());
            let mut requires: Vec<PackageId> = requires.collect();
            requires.sort();
            let document = id_document(recipe, &recipe.files, sources, &builder, &requires);
            let id = PackageId::new(&recipe.name, &version(&document));
            ids.insert(recipe.requirement(), id.clone());
            identified.push(Identified { recipe, id, document, requires });
        }
        Ok(identified)
    }
}

#[cfg(test)]
mod tests;
