//! What a removal would remove.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::created::{self, Belongings, CREATED, Created, Ground, Record, kept_at};
use crate::host::{HOME, Host, Present};
use crate::place::path;
use crate::product::Product;
use crate::{Failure, ROOT, UserName, integration};

/// Everything that goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Files and links outside of the install root.
    pub files: BTreeSet<String>,
    /// Those in whose place something else was, which is there again then.
    pub put_back: BTreeSet<String>,
    /// Those that somebody has edited since.
    pub edited: BTreeSet<String>,
    /// Directories that go with everything in them.
    pub state: BTreeSet<String>,
    /// Directories that go if they are empty then.
    pub directories: BTreeSet<String>,
    /// Users.
    pub users: BTreeSet<UserName>,
    /// Groups.
    pub groups: BTreeSet<String>,
    /// The install root.
    pub install_root: &'static str,
}

impl Plan {
    /// What there is when all but the install root is gone.
    pub(super) fn rest() -> Self {
        Self { install_root: ROOT, ..Self::default() }
    }

    /// Its lines.
    pub fn lines(&self) -> Vec<String> {
        let put_back = |path: &String| format!("put back {path}");
        let edited = |path: &String| if self.edited.contains(path) { ", which was edited" } else { "" };
        let gone = self.files.difference(&self.put_back);
        let gone = gone.map(|path| format!("remove {path}{}", edited(path)));
        let state = self.state.iter().map(|path| format!("remove {path} and everything in it"));
        let empty = self.directories.iter().rev().map(|path| format!("remove {path} if it is empty then"));
        let users = self.users.iter().map(|user| format!("remove the user {user}"));
        let groups = self.groups.iter().map(|group| format!("remove the group {group}"));
        let all = gone.chain(self.put_back.iter().map(put_back)).chain(users).chain(groups);
        all.chain(state).chain(empty).chain([format!("remove {ROOT} and everything in it")]).collect()
    }
}

/// What goes from a host.
pub(super) fn of(host: &Host, keep_state: bool) -> Result<Plan, Failure> {
    let present = host.current()?;
    if created::lies_there(&host.root, &path(HOME).join(CREATED.as_bytes()))? {
        let plan = headless(host, keep_state)?;
        return Ok(Plan { edited: edited(host, &present)?, ..plan });
    }
    let files = created::rebuilt(&host.root, &made(&present)?)?.files.into_keys().collect();
    Ok(Plan { files, install_root: ROOT, ..Plan::default() })
}

/// What a generation has made outside of the install root, but for users and state.
pub(super) fn made(present: &Present) -> Result<Vec<Created>, Failure> {
    let (mut files, mut secrets) = (BTreeMap::new(), BTreeSet::new());
    if let Some(bytes) = &present.product {
        let number = present.number;
        let product: Product = serde_json::from_slice(bytes)
            .map_err(|error| Failure::new(format!("the product of generation {number} is none: {error}")))?;
        files = integration::product_files(&product).map_err(Failure::each)?;
        secrets = integration::secret_paths(&product).map_err(Failure::each)?.into_keys().collect();
    }
    let (users, state_directories) = (BTreeMap::new(), BTreeMap::new());
    let roles = &present.generation.roles;
    let belongings = Belongings {
        files: &files,
        secrets: &secrets,
        roles,
        users: &users,
        state_directories: &state_directories,
    };
    Ok(belongings.created())
}

/// What goes by the record alone.
pub(super) fn headless(host: &Host, keep_state: bool) -> Result<Plan, Failure> {
    let root = &host.root;
    let record = Record::read(root, &path(HOME))?;
    let mut plan = Plan { install_root: ROOT, ..Plan::default() };
    for recorded in record.files.keys() {
        let at = created::place_of(recorded);
        if root.at(&at)?.is_some() {
            plan.files.insert(recorded.clone());
        }
        if record.replaced.contains(recorded) && root.at(&kept_at(&path(HOME), &at))?.is_some() {
            plan.put_back.insert(recorded.clone());
        }
    }
    plan.directories = record.directories.clone();
    if !keep_state {
        plan.users = record.users;
        plan.groups = record.groups;
        for state in record.state {
            if root.at(&created::place_of(&state))?.is_some() {
                plan.state.insert(state);
            }
        }
    }
    Ok(plan)
}

/// Recorded files that are not what the product or the installation wrote.
pub(super) fn edited(host: &Host, present: &Present) -> Result<BTreeSet<String>, Failure> {
    let record = Record::read(&host.root, &path(HOME))?;
    let mut files = integration::files();
    if let Some(product) = &present.product
        && let Ok(product) = serde_json::from_slice::<Product>(product)
        && let Ok(more) = integration::product_files(&product)
    {
        files.extend(more);
    }
    let mut edited = BTreeSet::new();
    for (at, file) in files {
        let at = created::physical(&host.root, &at)?;
        let recorded = format!("/{}", at.as_bytes().escape_ascii());
        let there = host.root.at(&at)?.is_some();
        if record.files.contains_key(&recorded) && there && !host.root.is(&at, &file)? {
            edited.insert(recorded);
        }
    }
    Ok(edited)
}
