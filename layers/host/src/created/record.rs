//! The record itself.

use std::collections::{BTreeMap, BTreeSet};

use bake_base::json;
use bake_tree::TreePath;
use serde::{Deserialize, Serialize};

use super::{CREATED, STATE, shown};
use crate::files::{self, read};
use crate::host::HOME;
use crate::integration::HostEntry;
use crate::place::{Root, path};
use crate::{Failure, UserName};

/// The revision of the record's format.
const SCHEMA: &str = "bake-created-1";
/// The longest record, in bytes.
const LIMIT: u64 = 64 << 20;

/// The record. Paths are absolute, and never lead through a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: String,
    /// Directories: removed if they are empty by then.
    pub directories: BTreeSet<String>,
    /// Files and links.
    pub files: BTreeMap<String, Origin>,
    /// Those of `files` in whose place something else was: it is kept in the install root.
    pub replaced: BTreeSet<String>,
    /// Directories that are removed with everything in them.
    pub state: BTreeSet<String>,
    /// Users.
    pub users: BTreeSet<UserName>,
    /// Groups.
    pub groups: BTreeSet<String>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Has the product started at boot.
    Host,
    /// Came with the product, and goes when another product lacks it.
    Product,
    /// A secret of the product.
    Secret,
    /// Says what the host is.
    Role,
    /// Holds accounts: removed if nothing is left in it.
    Accounts,
    /// Left by tools that change accounts.
    Tool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            directories: BTreeSet::new(),
            files: BTreeMap::new(),
            replaced: BTreeSet::new(),
            state: BTreeSet::new(),
            users: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("is no record of what was created: {error}"))?;
        if record.schema != SCHEMA {
            return Err(format!(
                "has the schema `{}`: expected {SCHEMA}; take a newer pkgpanda",
                record.schema
            ));
        }
        let paths = record.directories.iter().chain(record.files.keys()).chain(&record.replaced);
        for path in paths.chain(&record.state) {
            let place = TreePath::from_root(path.as_bytes()).map_err(|error| format!("names {error}"))?;
            let home = self::path(HOME);
            if place.is_root() || shown(&place)? != *path || place.starts_with(&home) {
                return Err(format!("names `{path}`: expected an absolute path outside of /{HOME}"));
            }
        }
        let is_state = |path: &&String| path.ends_with("/dcos") || path.contains("/dcos/");
        match record.state.iter().find(|path| !is_state(path)) {
            None => Ok(record),
            Some(path) => Err(format!("names the state directory `{path}`: expected /{STATE} and below")),
        }
    }

    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_canonical(self).expect("its keys are texts")
    }

    /// That of an install root, which is empty if there is none.
    pub(crate) fn read(root: &Root, home: &TreePath) -> Result<Self, Failure> {
        let at = home.join(CREATED.as_bytes());
        let Some(bytes) = read(root, &at, LIMIT)? else { return Ok(Self::default()) };
        Self::parse(&bytes).map_err(|reason| Failure::new(format!("`{}` {reason}", root.shown(&at))))
    }

    /// Writes the record of a host, unless it is the one `before`.
    pub(crate) fn replace(&self, root: &Root, before: &Self) -> Result<(), Failure> {
        if self == before {
            return Ok(());
        }
        let file = HostEntry { mode: 0o644, content: self.to_json() };
        files::put(root, &path(HOME).join(CREATED.as_bytes()), &file).map(drop)
    }
}
