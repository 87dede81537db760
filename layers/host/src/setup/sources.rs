//! Where a host learns what it is: the first source that names a role counts.

use std::collections::BTreeSet;
use std::env;

use bake_tree::TreePath;

use super::{roles, smbios};
use crate::place::{self, Root};
use crate::{Failure, Role, files, integration};

/// What the credential is called.
const CREDENTIAL: &str = "dcos.roles";
/// Where systemd keeps the credentials of the machine.
const SYSTEM_CREDENTIALS: &str = "run/credentials/@system";
/// What the kernel was started with.
const COMMAND_LINE: &str = "proc/cmdline";
/// What names the roles there.
const OPTION: &str = "dcos.roles=";
/// The longest text that names roles, in bytes.
const LIMIT: u64 = 1 << 20;

/// What the first source says that names a role; nothing and no roles if none does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The roles.
    pub roles: BTreeSet<Role>,
    /// Who says so.
    pub source: Option<String>,
}

/// Reads the sources in order. What none of them should say is told and passed over: a host starts whatever was
/// written somewhere.
pub(crate) fn read(root: &Root, warn: &mut dyn FnMut(String)) -> Found {
    let directory = format!("/{}", integration::ROLES);
    match roles::named(root) {
        Err(failure) => warn(failure.to_string()),
        // It is this program's own, and behind.
        Ok(named) if named.is_unfinished => return Found::default(),
        Ok(named) => {
            for other in named.others {
                warn(format!("`{directory}/{other}` is no role: remove it"));
            }
            if !named.roles.is_empty() {
                return Found { roles: named.roles, source: Some(directory) };
            }
        }
    }
    for (source, text) in credentials(root, warn) {
        let roles = parse(&source, &text, warn);
        if !roles.is_empty() {
            return Found { roles, source: Some(source) };
        }
    }
    let source = "the kernel command line".to_owned();
    let roles = command_line(root, warn).map(|text| parse(&source, &text, warn)).unwrap_or_default();
    let source = Some(source).filter(|_| !roles.is_empty());
    Found { roles, source }
}

#[expect(clippy::disallowed_methods, reason = "systemd says there where a unit's credentials are")]
/// The credential, from wherever it comes, with what to call each place.
fn credentials(root: &Root, warn: &mut dyn FnMut(String)) -> Vec<(String, Vec<u8>)> {
    let own = env::var("CREDENTIALS_DIRECTORY").ok();
    let own = own.and_then(|directory| TreePath::from_root(directory.as_bytes()).ok());
    let mut found = Vec::new();
    for directory in own.into_iter().chain([place::path(SYSTEM_CREDENTIALS)]) {
        let path = directory.join(CREDENTIAL.as_bytes());
        let source = format!("the credential /{}", path.as_bytes().escape_ascii());
        found.extend(kept(files::read_through(root, &path, LIMIT), warn).map(|text| (source, text)));
    }
    let smbios = smbios::credentials(root, CREDENTIAL);
    found.extend(smbios.into_iter().map(|text| ("the SMBIOS strings of the machine".to_owned(), text)));
    found
}

/// Every value of the option on the command line of the kernel.
fn command_line(root: &Root, warn: &mut dyn FnMut(String)) -> Option<Vec<u8>> {
    let line = kept(files::read_through(root, &place::path(COMMAND_LINE), LIMIT), warn)?;
    let words = words(&String::from_utf8_lossy(&line));
    let values: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix(OPTION)).collect();
    Some(values.join(" ").into_bytes())
}

fn kept(result: Result<Option<Vec<u8>>, Failure>, warn: &mut dyn FnMut(String)) -> Option<Vec<u8>> {
    result.unwrap_or_else(|failure| {
        warn(failure.to_string());
        None
    })
}

/// The words of a command line. Quotes of either kind may surround a whole word or a part of it, as for systemd.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The roles in a text, which commas or white space part.
fn parse(source: &str, text: &[u8], warn: &mut dyn FnMut(String)) -> BTreeSet<Role> {
    let text = String::from_utf8_lossy(text);
    let names = text.split(|c: char| c == ',' || c == '\0' || c.is_whitespace());
    let mut roles = BTreeSet::new();
    for name in names.filter(|name| !name.is_empty()) {
        match name.parse::<Role>() {
            Ok(role) => drop(roles.insert(role)),
            Err(error) => warn(format!("{source}: {}", error.to_string().escape_debug())),
        }
    }
    roles
}

#[cfg(test)]
mod tests;
