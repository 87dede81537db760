//! What only the machine that is running has: the copies of units that systemd reads, users, and who owns the
//! directories of their state.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_base::{Digest, names};
use rustix::io::Errno;

use super::report::What;
use super::wanted::{At, Judged, Part, plain};
use super::{difference, not_there};
use crate::generation::Generation;
use crate::host::{HOME, Host, Present};
use crate::systemd::{self, Systemd};
use crate::unit::{self, WANTS};
use crate::{Failure, UserName, files, place};

/// Where the copies are, and where those of the packages are named.
const UNITS: &str = "run/systemd/system";
/// Where state directories lie.
const STATE: &str = "var/lib/dcos";
/// The longest unit, in bytes.
const LIMIT: u64 = 16 << 20;

/// What was found on the running machine.
#[derive(Default)]
pub(crate) struct Running {
    pub judged: Vec<Judged>,
    /// Lines of the digest `host`.
    pub facts: Vec<String>,
}

/// Looks at units, users and state directories, if this is the machine that runs and its services are looked after.
pub(crate) fn look(host: &Host, present: &Present) -> Result<Running, Failure> {
    let mut running = Running::default();
    if host.systemd == Systemd::Running && !present.generation.removing {
        running.units(host, present)?;
        running.users(host, &present.generation)?;
    }
    Ok(running)
}

impl Running {
    fn say(&mut self, path: String, what: What, expected: impl Into<String>, found: impl Into<String>) {
        self.judged.push(difference(At::Derived(path), what, expected, found, Part::Host));
    }

    fn units(&mut self, host: &Host, present: &Present) -> Result<(), Failure> {
        let wants = format!("{}/{WANTS}", present.number.directory());
        let units = match host.directory(&wants) {
            // Without a role a host runs nothing.
            Ok(directory) if !present.generation.roles.is_empty() => names(&directory).unwrap_or_default(),
            _ => Vec::new(),
        };
        let units = units.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let units: std::collections::BTreeSet<String> = units.filter(|name| unit::is_name(name)).collect();
        let mut started = std::collections::BTreeSet::new();
        for name in &units {
            let at = place::path(&format!("{HOME}/{wants}/{name}"));
            // One that leads nowhere has been found already.
            let Some(text) = files::read_through(&host.root, &at, LIMIT)? else { continue };
            let expected = format!("{} bytes with sha256 {}", text.len(), Digest::of(&text));
            self.facts.push(format!("unit {name} {}", Digest::of(&text)));
            let copy = format!("{UNITS}/{name}");
            match files::read(&host.root, &place::path(&copy), LIMIT) {
                Ok(Some(there)) if there == text => {}
                Ok(Some(there)) => {
                    let found = format!("{} bytes with sha256 {}", there.len(), Digest::of(&there));
                    self.say(format!("/{copy}"), What::Content, expected, found);
                }
                Ok(None) => self.say(format!("/{copy}"), What::Missing, expected, "nothing"),
                Err(failure) => {
                    let found = plain(failure.to_string().as_bytes());
                    self.say(format!("/{copy}"), What::Type, expected, found);
                }
            }
            if !systemd::is_template(name) {
                started.insert(name.clone());
            }
        }
        self.links(host, &started)
    }

    /// What `dcos.target` starts.
    fn links(&mut self, host: &Host, wanted: &std::collections::BTreeSet<String>) -> Result<(), Failure> {
        let at = format!("{UNITS}/{WANTS}");
        let directory = host.root.find(&place::path(&at))?;
        let target = |name: &str| {
            let directory = directory.as_ref()?;
            let read = rustix::fs::readlinkat(directory, OsStr::from_bytes(name.as_bytes()), Vec::new());
            match read {
                Err(Errno::NOENT) => None,
                Err(error) => Some(error.to_string()),
                Ok(target) => Some(plain(target.as_bytes())),
            }
        };
        for name in wanted {
            let (path, expected) = (format!("/{at}/{name}"), format!("a link to ../{name}"));
            match target(name) {
                None => self.say(path, What::Missing, expected, "nothing"),
                Some(found) if found != format!("../{name}") => self.say(path, What::Link, expected, found),
                Some(_) => {}
            }
        }
        let there = directory.as_ref().map(names).transpose();
        let there = there.map_err(Failure::io("reading", host.root.shown(&place::path(&at))))?;
        for name in there.unwrap_or_default() {
            if !std::str::from_utf8(&name).is_ok_and(|name| wanted.contains(name)) {
                self.say(
                    format!("/{at}/{}", plain(&name)),
                    What::Extra,
                    not_there(),
                    "a unit that is started",
                );
            }
        }
        Ok(())
    }

    fn users(&mut self, host: &Host, generation: &Generation) -> Result<(), Failure> {
        let accounts = crate::setup::accounts(&host.root, generation)?;
        for user in generation.users.keys() {
            match accounts.get(user.as_str()) {
                Some(uid) => self.facts.push(format!("user {user} {uid}")),
                None => self.say(format!("user {user}"), What::User, "a user", "none"),
            }
        }
        for (package, user) in &generation.state_directories {
            let uid = user.as_ref().map(UserName::as_str).map_or(Some(0), |user| accounts.get(user).copied());
            // Who is missing owns nothing.
            let Some(uid) = uid else { continue };
            let path = format!("/{STATE}/{package}");
            let found = match host.root.find(&place::path(&path[1..])) {
                Ok(found) => found,
                Err(failure) => {
                    self.say(path, What::Type, "a directory", plain(failure.to_string().as_bytes()));
                    continue;
                }
            };
            match found.map(rustix::fs::fstat).transpose() {
                Ok(Some(stat)) if stat.st_uid == uid => {}
                Ok(Some(stat)) => {
                    self.say(path, What::Owner, format!("user {uid}"), format!("user {}", stat.st_uid));
                }
                Ok(None) => self.say(path, What::Missing, "a directory", "nothing"),
                Err(error) => self.say(path, What::Unreadable, "a directory", error.to_string()),
            }
        }
        Ok(())
    }
}
