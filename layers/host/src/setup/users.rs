//! Users of packages. Existing ones are taken if they fit; nothing changes or removes one.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use bake_tree::TreePath;

use super::program;
use crate::files;
use crate::generation::Generation;
use crate::integration::{self, HostEntry};
use crate::place::{self, Root};
use crate::{Failure, GroupName, UserName};

/// Where this file exists, people make the users themselves.
const MANUAL: &str = "etc/mesosphere/manual_host_users";
/// The users as systemd-sysusers reads them.
const CONFIGURATION: &str = "run/sysusers.d/dcos.conf";
/// The largest list of users, in bytes.
const LIMIT: u64 = 64 << 20;

/// A user of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub uid: u32,
    /// The number of its primary group.
    pub gid: u32,
}

/// What a host knows of the users and groups of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub users: BTreeMap<String, User>,
    /// Numbers of groups, and who is listed in them.
    groups: BTreeMap<String, (u32, BTreeSet<String>)>,
}

impl Accounts {
    /// What the host's files say of the users of `generation`, and on the running host also what its other
    /// sources of names, such as a directory service, do.
    pub(crate) fn of(root: &Root, generation: &Generation) -> Result<Self, Failure> {
        let mut accounts = Self::default();
        let users: BTreeSet<&str> = generation.users.keys().map(UserName::as_str).collect();
        let groups: BTreeSet<&str> = generation.users.values().flatten().map(GroupName::as_str).collect();
        for (database, names) in [("passwd", users), ("group", groups)] {
            let path = place::path(&format!("etc/{database}"));
            let text = files::read_through(root, &path, LIMIT)?.unwrap_or_default();
            accounts.take(database, &names, &text);
            let missing = names.into_iter().filter(|name| !accounts.has(database, name));
            let missing: BTreeSet<&str> = missing.collect();
            if !missing.is_empty() && root.is_running() {
                accounts.take(database, &missing, &ask(database, &missing));
            }
        }
        Ok(accounts)
    }

    fn has(&self, database: &str, name: &str) -> bool {
        if database == "passwd" { self.users.contains_key(name) } else { self.groups.contains_key(name) }
    }

    /// Reads lines of passwd(5) or group(5); the first one of a name counts, as everywhere.
    fn take(&mut self, database: &str, names: &BTreeSet<&str>, text: &[u8]) {
        for line in String::from_utf8_lossy(text).lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
            let Some(id) = number(2).filter(|_| names.contains(fields[0])) else { continue };
            let name = fields[0].to_owned();
            if database == "group" {
                let members = fields.get(3).into_iter().flat_map(|list| list.split(','));
                let members = members.filter(|member| !member.is_empty()).map(str::to_owned);
                self.groups.entry(name).or_insert_with(|| (id, members.collect()));
            } else if let Some(gid) = number(3) {
                self.users.entry(name).or_insert(User { uid: id, gid });
            }
        }
    }

    /// Users that are to be made.
    fn missing<'a>(&self, wanted: &'a BTreeMap<UserName, Option<GroupName>>) -> Vec<&'a UserName> {
        wanted.keys().filter(|user| !self.users.contains_key(user.as_str())).collect()
    }

    /// Why users are not what packages need, or cannot be made. `manual`: whether none may be.
    fn problems(&self, wanted: &BTreeMap<UserName, Option<GroupName>>, manual: bool) -> Vec<String> {
        let problem = |(user, group): (&UserName, &Option<GroupName>)| {
            let there = self.users.get(user.as_str());
            let known = group.as_ref().and_then(|group| self.groups.get(group.as_str()));
            match (there, group) {
                (None, _) if manual => Some(format!(
                    "the user {user} is missing: make it, or remove `/{MANUAL}`, which says that you do"
                )),
                (None, Some(group)) if known.is_none() => {
                    Some(format!("the group {group}, which the user {user} is to have, is missing: make it"))
                }
                (Some(there), Some(group)) => {
                    let fits = known
                        .is_some_and(|(gid, members)| there.gid == *gid || members.contains(user.as_str()));
                    (!fits).then(|| {
                        format!(
                            "the user {user} is there and not in the group {group}: expected that as its primary \
                             group, or the user in its list"
                        )
                    })
                }
                _ => None,
            }
        };
        wanted.iter().filter_map(problem).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "what is linked statically reads no directory service")]
/// What other sources of names say; nothing where nobody can be asked.
fn ask(database: &str, names: &BTreeSet<&str>) -> Vec<u8> {
    let output = Command::new("getent").arg(database).args(names).stdin(Stdio::null()).output();
    output.map(|output| output.stdout).unwrap_or_default()
}

/// Whether the users of a generation are there, or can be made.
///
/// # Errors
/// Every reason why not.
pub(crate) fn check(root: &Root, generation: &Generation) -> Result<(), Vec<String>> {
    if generation.users.is_empty() {
        return Ok(());
    }
    let found = is_manual(root).and_then(|manual| Ok((manual, Accounts::of(root, generation)?)));
    let (manual, accounts) = found.map_err(|failure| vec![failure.to_string()])?;
    let problems = accounts.problems(&generation.users, manual);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Makes users that are missing, all or none.
pub(crate) fn make(
    root: &Root,
    generation: &Generation,
    say: &mut dyn FnMut(String),
) -> Result<Accounts, Failure> {
    let file = HostEntry { mode: 0o644, content: integration::sysusers(&generation.users).into_bytes() };
    files::put(root, &place::path(CONFIGURATION), &file)?;
    check(root, generation).map_err(Failure::each)?;
    let accounts = Accounts::of(root, generation)?;
    let missing = accounts.missing(&generation.users);
    if missing.is_empty() {
        return Ok(accounts);
    }
    program("systemd-sysusers", &["dcos.conf"])?;
    let accounts = Accounts::of(root, generation)?;
    if let [first, ..] = accounts.missing(&generation.users)[..] {
        return Err(Failure::new(format!("systemd-sysusers did not make the user {first}")));
    }
    check(root, generation).map_err(Failure::each)?;
    for user in missing {
        say(format!("made the user {user}"));
    }
    Ok(accounts)
}

fn is_manual(root: &Root) -> Result<bool, Failure> {
    let path: TreePath = place::path(MANUAL);
    let (directory, name) = path.split().expect("it has a name");
    let Some(directory) = root.find(&directory)? else { return Ok(false) };
    let found = place::stat(directory, name).map_err(Failure::io("reading", root.shown(&path)))?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests;
