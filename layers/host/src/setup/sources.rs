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
    /// Whether that is the directory of roles, which this program writes too.
    pub is_directory: bool,
}

/// Reads the sources in order. What none of them should say is told and passed over: a host starts whatever was
/// written somewhere. While one cannot be read, nobody says anything: one that comes later must not win by that.
pub(crate) fn read(root: &Root, warn: &mut dyn FnMut(String)) -> Found {
    try_read(root, warn).unwrap_or_else(|failure| {
        warn(failure.to_string());
        Found::default()
    })
}

/// The same, for those who have to know.
///
/// # Errors
/// When a source cannot be read.
pub(crate) fn try_read(root: &Root, warn: &mut dyn FnMut(String)) -> Result<Found, Failure> {
    let directory = format!("/{}", integration::ROLES);
    let named = roles::named(root)?;
    if named.is_unfinished {
        // It is this program's own, and behind.
        return Ok(Found::default());
    }
    for other in named.others {
        warn(format!("`{directory}/{other}` is no role: remove it"));
    }
    if !named.roles.is_empty() {
        return Ok(Found { roles: named.roles, source: Some(directory), is_directory: true });
    }
    for (source, text) in credentials(root)? {
        let roles = parse(&source, &text, warn);
        if !roles.is_empty() {
            return Ok(Found { roles, source: Some(source), is_directory: false });
        }
    }
    let source = "the kernel command line".to_owned();
    let roles = command_line(root)?.map(|text| parse(&source, &text, warn)).unwrap_or_default();
    let source = Some(source).filter(|_| !roles.is_empty());
    Ok(Found { roles, source, is_directory: false })
}

#[expect(clippy::disallowed_methods, reason = "systemd says there where a unit's credentials are")]
/// The credential, from wherever it comes, with what to call each place.
fn credentials(root: &Root) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let own = env::var("CREDENTIALS_DIRECTORY").ok();
    let own = own.and_then(|directory| TreePath::from_root(directory.as_bytes()).ok());
    let mut found = Vec::new();
    for directory in own.into_iter().chain([place::path(SYSTEM_CREDENTIALS)]) {
        let path = directory.join(CREDENTIAL.as_bytes());
        let source = format!("the credential /{}", path.as_bytes().escape_ascii());
        found.extend(files::read_through(root, &path, LIMIT)?.map(|text| (source, text)));
    }
    let smbios = smbios::credentials(root, CREDENTIAL);
    found.extend(smbios.into_iter().map(|text| ("the SMBIOS strings of the machine".to_owned(), text)));
    Ok(found)
}

/// Every value of the option on the command line of the kernel.
fn command_line(root: &Root) -> Result<Option<Vec<u8>>, Failure> {
    let line = files::read_through(root, &place::path(COMMAND_LINE), LIMIT)?;
    Ok(line.map(|line| {
        let words = words(&String::from_utf8_lossy(&line));
        let values: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix(OPTION)).collect();
        values.join(" ").into_bytes()
    }))
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
