//! What an edit means for the rest of the host: who has to start again, and who reads the original all the same.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bake_base::names;
use rustix::fs::FileType;

use super::{Target, shown_original};
use crate::files::read_at;
use crate::generation::{Number, OVERRIDES, Overrides, PACKAGES};
use crate::host::Host;
use crate::{Failure, PackageId, ROOT, overrides, place, unit};

/// The longest file that is looked through, in bytes: texts are shorter.
const TEXT: u64 = 1 << 20;
/// How many bytes of a package are looked through in all.
const LIMIT: u64 = 64 << 20;
/// How many files are named.
const SHOWN: usize = 5;

/// The units of a package in a generation.
pub(super) fn services(host: &Host, number: Number, package: &PackageId) -> Result<Vec<String>, Failure> {
    let at = format!("{}/{}", number.directory(), unit::WANTS);
    let directory = host.directory(&at)?;
    let failed = || Failure::io("reading", host.shown(&at));
    let mut units = Vec::new();
    for name in names(&directory).map_err(failed())? {
        let target = rustix::fs::readlinkat(&directory, OsStr::from_bytes(&name), Vec::new());
        let target = target.map_err(failed())?.into_bytes();
        let is_its = String::from_utf8_lossy(&target).strip_prefix(ROOT).is_some_and(|path| {
            let mut parts = path.split('/').skip(1);
            let top = parts.next();
            let id = if top == Some(OVERRIDES) { parts.nth(1) } else { parts.next() };
            matches!(top, Some(PACKAGES | OVERRIDES)) && id == Some(package.as_str())
        });
        if let Ok(name) = String::from_utf8(name)
            && is_its
        {
            units.push(name);
        }
    }
    units.sort();
    Ok(units)
}

/// Files of the package that name the original by its path in the store, and so go past the copy: a note for each.
pub(super) fn past(host: &Host, overrides: &Overrides, target: &Target) -> Result<Vec<String>, Failure> {
    let original = shown_original(&target.package, &target.path);
    let mut search = Search { overrides, target, host, original: &original, left: LIMIT, found: Vec::new() };
    let top = format!("{PACKAGES}/{}", target.package);
    search.directory(&host.directory(&top)?, "").map_err(Failure::io("reading", host.shown(&top)))?;
    let found = search.found;
    let more = found.len().saturating_sub(SHOWN);
    let note = |path: &String| {
        format!(
            "`{path}` names {original}, which is not the copy: edit it too if it is to have an effect there"
        )
    };
    let mut notes: Vec<String> = found.iter().take(SHOWN).map(note).collect();
    if more > 0 {
        notes.push(format!("and {more} more files name it"));
    }
    Ok(notes)
}

struct Search<'a> {
    host: &'a Host,
    overrides: &'a Overrides,
    target: &'a Target,
    original: &'a str,
    left: u64,
    found: Vec<String>,
}

impl Search<'_> {
    fn directory(&mut self, directory: &OwnedFd, path: &str) -> std::io::Result<()> {
        let mut names = names(directory)?;
        names.sort();
        for name in names {
            // What has an odd name is no unit and no script.
            let Ok(text) = std::str::from_utf8(&name) else { continue };
            let below = if path.is_empty() { text.to_owned() } else { format!("{path}/{text}") };
            let Some(stat) = place::stat(directory, &name)? else { continue };
            match place::kind(&stat) {
                FileType::Directory => self.directory(&place::enter(directory, &name)?, &below)?,
                FileType::RegularFile if stat.st_size as u64 <= TEXT.min(self.left) => {
                    self.left -= stat.st_size as u64;
                    let bytes = read_at(directory, &name, TEXT)?;
                    let name = overrides::name_of(self.overrides, &self.target.package, &below);
                    let bytes = name.and_then(|name| self.copy(name, &below)).unwrap_or(bytes);
                    // The list of contents has paths within the package alone.
                    if names_path(&bytes, self.original.as_bytes()) {
                        self.found.push(below);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What an operator has made of another file of the package.
    fn copy(&self, name: &str, path: &str) -> Option<Vec<u8>> {
        let at = format!("{OVERRIDES}/{name}/{}/{path}", self.target.package);
        let (directory, name) = at.rsplit_once('/')?;
        read_at(self.host.directory(directory).ok()?, name.as_bytes(), TEXT).ok()
    }
}

/// Whether a path stands in a text, and not only the beginning of a longer one.
fn names_path(text: &[u8], path: &[u8]) -> bool {
    let is_end = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"/._-+@".contains(byte));
    let mut at = 0;
    while let Some(slash) = text[at..].iter().position(|byte| *byte == b'/') {
        at += slash;
        if text[at..].starts_with(path) && text.get(at + path.len()).is_none_or(is_end) {
            return true;
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::names_path;

    #[test]
    fn a_path_is_named_only_by_all_of_it() {
        let path = b"/opt/a/bin/x";
        for right in ["ExecStart=/opt/a/bin/x --y", "/opt/a/bin/x", "a=\"/opt/a/bin/x\"", "//opt/a/bin/x\n"] {
            assert!(names_path(right.as_bytes(), path), "{right}");
        }
        for wrong in ["", "/opt/a/bin/xy", "/opt/a/bin/x/y", "/opt/a/bin/x.so", "/opt/a/bin/", "opt/a/bin/x"]
        {
            assert!(!names_path(wrong.as_bytes(), path), "{wrong}");
        }
    }
}
