//! `bake.lock`: the digest of everything that may move, as it was when a tree was last locked.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use bake_base::Digest;
use bake_host::PackageId;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::builders::DEFAULT;
use crate::fetch::Content;
use crate::kept::write_json;
use crate::recipe::Identified;
use crate::source::Source;
use crate::store::Stored;
use crate::workshop::Workshop;

/// The file in a tree's directory.
pub const LOCK: &str = "bake.lock";
/// The revision of its format.
const SCHEMA: &str = "bake-lock-1";

/// A whole `bake.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    schema: String,
    /// Builders by the name that recipes give them.
    pub builders: BTreeMap<String, Digest>,
    /// The digests by which packages are taken from repositories.
    pub packages: BTreeMap<PackageId, Digest>,
    /// Sources as `package/source`, or `package/variant/source`.
    pub sources: BTreeMap<String, LockedSource>,
}

/// What a source was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum LockedSource {
    /// A file.
    File {
        /// Its digest.
        sha256: Digest,
    },
    /// A commit.
    Commit {
        /// The one that is built.
        commit: String,
        /// Where `ref_origin` was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ref_origin_at: Option<String>,
    },
}

impl Lock {
    /// The lock of the tree in `directory`, if it has one.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn read(directory: &Path) -> Result<Option<Self>, Error> {
        let path = directory.join(LOCK);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("reading", &path))?,
        };
        let wrong = |reason: String| Error::Lock { path: path.clone(), reason };
        let lock: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if lock.schema != SCHEMA {
            return Err(wrong(format!("its schema is `{}`: expected `{SCHEMA}`", lock.schema)));
        }
        Ok(Some(lock))
    }

    /// Writes the lock of the tree in `directory`.
    ///
    /// # Errors
    /// When that fails; an older one is as it was then.
    pub fn write(&self, directory: &Path) -> Result<(), Error> {
        write_json(&directory.join(LOCK), self)
    }

    /// What moved since `before`, a line each.
    pub fn moved_since(&self, before: &Self) -> Vec<String> {
        let packages = |lock: &Self| {
            let named = lock.packages.keys().map(|id| (id.name().to_string(), id.version().to_string()));
            named.collect::<BTreeMap<_, _>>()
        };
        let shown = |source: &LockedSource| match source {
            LockedSource::File { sha256 } => sha256.to_string(),
            LockedSource::Commit { commit, ref_origin_at: None } => commit.clone(),
            LockedSource::Commit { commit, ref_origin_at: Some(at) } => {
                format!("{commit}, ref_origin at {at}")
            }
        };
        let sources = |lock: &Self| {
            lock.sources
                .iter()
                .map(|(name, source)| (name.clone(), shown(source)))
                .collect::<BTreeMap<_, _>>()
        };
        let builders = |lock: &Self| {
            let named = lock.builders.iter().map(|(name, digest)| (name.clone(), digest.to_string()));
            named.collect::<BTreeMap<_, _>>()
        };
        let mut lines = moves("builder", &builders(before), &builders(self));
        lines.extend(moves("source", &sources(before), &sources(self)));
        lines.extend(moves("package", &packages(before), &packages(self)));
        let changed = self
            .packages
            .iter()
            .filter(|(id, digest)| before.packages.get(id).is_some_and(|there| there != *digest));
        lines.extend(changed.map(|(id, digest)| format!("package {id}: other bytes, now {digest}")));
        lines
    }
}

fn moves(what: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, now) in after {
        match before.get(name) {
            None => lines.push(format!("{what} {name}: new, {now}")),
            Some(then) if then != now => lines.push(format!("{what} {name}: {then} -> {now}")),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    lines.extend(gone.map(|name| format!("{what} {name}: gone")));
    lines
}

impl Workshop<'_> {
    /// The lock of `packages`, which are all there as `stored`. Sources are looked at where they come from, so that
    /// it shows what moved.
    ///
    /// # Errors
    /// When a source cannot be had, or a builder.
    pub fn lock(&self, packages: &[Identified<'_>], stored: &[Stored]) -> Result<Lock, Error> {
        let mut lock = Lock {
            schema: SCHEMA.to_owned(),
            builders: BTreeMap::new(),
            packages: stored.iter().map(|stored| (stored.id.clone(), stored.digest)).collect(),
            sources: BTreeMap::new(),
        };
        for package in packages {
            let recipe = package.recipe;
            let name = recipe.docker.clone().unwrap_or_else(|| DEFAULT.to_owned());
            let digest = self.builders.digest(recipe.docker.as_deref());
            let digest = digest.map_err(|message| Error::Builder { name: name.clone(), message })?;
            lock.builders.insert(name, digest);
            for (source_name, source) in &recipe.sources {
                let variant = recipe.variant.name().map(|variant| format!("{variant}/")).unwrap_or_default();
                let key = format!("{}/{variant}{source_name}", recipe.name);
                lock.sources.insert(key, self.locked_source(package, source_name, source)?);
            }
        }
        Ok(lock)
    }

    fn locked_source(
        &self,
        package: &Identified<'_>,
        name: &str,
        source: &Source,
    ) -> Result<LockedSource, Error> {
        let fetched = self.fetch(package.recipe, name, source)?;
        Ok(match fetched.content {
            Content::File { sha256, .. } => LockedSource::File { sha256 },
            Content::Repository { commit, .. } => LockedSource::Commit {
                commit: commit.to_string(),
                ref_origin_at: fetched.moved.map(|commit| commit.to_string()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(text: &str) -> Lock {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_moved_is_told() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let before = lock(&format!(
            r#"{{"schema":"bake-lock-1","builders":{{"default":"{a}"}},
            "packages":{{"x--1":"{a}","y--1":"{a}"}},
            "sources":{{"x/x":{{"sha256":"{a}"}},"z/z":{{"commit":"c1"}}}}}}"#
        ));
        let after = lock(&format!(
            r#"{{"schema":"bake-lock-1","builders":{{"default":"{b}"}},
            "packages":{{"x--2":"{a}","y--1":"{b}"}},
            "sources":{{"x/x":{{"sha256":"{a}"}},"z/z":{{"commit":"c1","ref_origin_at":"c2"}},"n/n":{{"commit":"c"}}}}}}"#
        ));
        assert_eq!(after.moved_since(&after), Vec::<String>::new());
        assert_eq!(
            after.moved_since(&before),
            [
                format!("builder default: {a} -> {b}"),
                "source n/n: new, c".to_owned(),
                "source z/z: c1 -> c1, ref_origin at c2".to_owned(),
                "package x: 1 -> 2".to_owned(),
                format!("package y--1: other bytes, now {b}"),
            ]
        );
    }

    #[test]
    fn a_lock_is_read_as_it_was_written_and_nothing_else_is_one() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(scratch.path()).unwrap(), None);
        let written = lock(r#"{"schema":"bake-lock-1","builders":{},"packages":{},"sources":{}}"#);
        written.write(scratch.path()).unwrap();
        assert_eq!(Lock::read(scratch.path()).unwrap(), Some(written));
        for wrong in ["", "{}", r#"{"schema":"other","builders":{},"packages":{},"sources":{}}"#] {
            fs::write(scratch.path().join(LOCK), wrong).unwrap();
            let error = Lock::read(scratch.path()).unwrap_err().to_string();
            assert!(error.contains("bake.lock"), "{error}");
        }
    }
}
