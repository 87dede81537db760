//! What a record becomes by things that are about to be made: pure, for hosts and images.

use std::collections::BTreeSet;

use bake_tree::TreePath;

use super::ground::{Ground, Spot, What, resolve};
use super::{ACCOUNTS, ACCOUNTS_LOCK, BACKUPS, Created, Origin, Record, shown};
use crate::Failure;
use crate::integration::HostEntry;
use crate::place::path;

/// A record, and what has to be kept before things are made.
pub(super) struct Plan {
    pub record: Record,
    pub keep: BTreeSet<TreePath>,
}

pub(super) fn plan(ground: &dyn Ground, before: &Record, things: &[Created]) -> Result<Plan, Failure> {
    let mut plan = Plan { record: before.clone(), keep: BTreeSet::new() };
    for thing in things {
        match thing {
            Created::File(path, origin, wanted) => plan.file(ground, path, *origin, wanted.as_ref())?,
            Created::Link(path, target) => plan.link(ground, path, target)?,
            Created::State(path) => plan.state(ground, path)?,
            Created::User(..) => {}
        }
    }
    plan.users(ground, things)?;
    Ok(plan)
}

/// See [`super::rebuilt`].
pub(super) fn rebuilt(ground: &dyn Ground, things: &[Created]) -> Result<Record, Failure> {
    let mut record = Record::default();
    for thing in things {
        let (path, origin) = match thing {
            Created::File(path, origin, _) => (path, *origin),
            Created::Link(path, _) => (path, Origin::Host),
            Created::State(_) | Created::User(..) => continue,
        };
        let spot = resolve(ground, path)?;
        let is_so = match (thing, &spot.there) {
            (Created::File(_, _, Some(wanted)), Some(What::File)) => ground.is(&spot.path, wanted)?,
            (Created::File(_, _, None), there) => *there == Some(What::File),
            (Created::Link(_, target), there) => *there == Some(What::Link(target.as_bytes().to_vec())),
            _ => false,
        };
        if is_so {
            record.files.insert(shown(&spot.path).map_err(Failure::new)?, origin);
        }
    }
    Ok(record)
}

impl Plan {
    fn file(
        &mut self,
        ground: &dyn Ground,
        path: &TreePath,
        origin: Origin,
        wanted: Option<&HostEntry>,
    ) -> Result<(), Failure> {
        let spot = resolve(ground, path)?;
        let is_so = match (wanted, &spot.there) {
            (Some(wanted), Some(What::File)) => ground.is(&spot.path, wanted)?,
            // Nobody knows better than who put it there.
            (None, there) => there.is_some(),
            _ => false,
        };
        self.entry(spot, origin, is_so)
    }

    fn link(&mut self, ground: &dyn Ground, path: &TreePath, target: &str) -> Result<(), Failure> {
        let spot = resolve(ground, path)?;
        let is_so = spot.there == Some(What::Link(target.as_bytes().to_vec()));
        self.entry(spot, Origin::Host, is_so)
    }

    /// A file or a link; `is_so` already, or not.
    fn entry(&mut self, spot: Spot, origin: Origin, is_so: bool) -> Result<(), Failure> {
        let name = self.above(&spot)?;
        if self.record.files.contains_key(&name) || is_so {
            return Ok(());
        }
        match spot.there {
            None => {}
            Some(What::File | What::Link(_)) => {
                self.record.replaced.insert(name.clone());
                self.keep.insert(spot.path);
            }
            // Making it will fail, and say so.
            Some(What::Directory | What::Other) => return Ok(()),
        }
        self.record.files.insert(name, origin);
        Ok(())
    }

    fn state(&mut self, ground: &dyn Ground, path: &TreePath) -> Result<(), Failure> {
        let mut spot = resolve(ground, path)?;
        // Those that go with everything in them are no directories that go if they are empty.
        let state = &self.record.state;
        spot.missing.retain(|path| !shown(path).is_ok_and(|name| state.contains(&name)));
        let name = self.above(&spot)?;
        if spot.there.is_none() {
            self.record.state.insert(name);
        }
        Ok(())
    }

    /// Directories that will be made on the way; says how the record calls what they are made for.
    fn above(&mut self, spot: &Spot) -> Result<String, Failure> {
        for path in &spot.missing {
            self.record.directories.insert(shown(path).map_err(Failure::new)?);
        }
        shown(&spot.path).map_err(Failure::new)
    }

    /// Users and groups that the host lacks, and the files that are written when they are made.
    fn users(&mut self, ground: &dyn Ground, things: &[Created]) -> Result<(), Failure> {
        let has = |file: &str, name: &str| {
            let spot = resolve(ground, &path(file))?;
            let text = ground.read(&spot.path)?.unwrap_or_default();
            let mut lines = text.split(|byte| *byte == b'\n');
            Ok::<_, Failure>(
                lines.any(|line| line.split(|byte| *byte == b':').next() == Some(name.as_bytes())),
            )
        };
        let before = (self.record.users.len(), self.record.groups.len());
        for thing in things {
            let Created::User(user, group) = thing else { continue };
            if !has(ACCOUNTS[0], user.as_str())? {
                self.record.users.insert(user.clone());
            }
            if group.is_none() && !has(ACCOUNTS[2], user.as_str())? {
                self.record.groups.insert(user.as_str().to_owned());
            }
        }
        if (self.record.users.len(), self.record.groups.len()) == before {
            return Ok(());
        }
        for file in ACCOUNTS {
            self.file(ground, &path(file), Origin::Accounts, None)?;
        }
        self.file(ground, &path(ACCOUNTS_LOCK), Origin::Tool, None)?;
        for file in BACKUPS {
            let spot = resolve(ground, &path(file))?;
            self.entry(spot, Origin::Tool, false)?;
        }
        Ok(())
    }
}
