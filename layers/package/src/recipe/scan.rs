//! A directory of recipes, looked through: which of its directories are packages, and its own descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bake_base::names;
use bake_host::{PackageName, Variant};
use rustix::fs::{CWD, Mode, OFlags};

use super::buildinfo::{Recipe, recipe};
use super::fields::{Report, parse};
use super::files::{BUILDINFO, DOCUMENT_MAX, Entry, RecipeFiles};
use super::treeinfo::{TreeInfo, treeinfo};
use crate::Problem;

/// What the names of tree descriptions end in.
const TREEINFO: &str = "treeinfo.json";

/// Where the tool itself writes.
const CACHE: &str = "cache";

/// What a directory of recipes holds.
#[derive(Default)]
pub(super) struct Scanned {
    pub(super) recipes: Vec<Recipe>,
    /// Each description with the file that it comes from.
    pub(super) trees: BTreeMap<Variant, (String, TreeInfo)>,
}

/// A directory of recipes, and what problems put before the names of its files.
pub(super) struct Place<'a> {
    pub(super) directory: &'a Path,
    pub(super) label: &'a str,
}

impl Place<'_> {
    /// Reads all packages but those that are `hidden`.
    pub(super) fn scan(&self, hidden: &BTreeSet<PackageName>, problems: &mut Vec<Problem>) -> Scanned {
        let mut scanned = Scanned::default();
        let names = match list(self.directory) {
            Ok(names) => names,
            Err(error) => {
                let label = if self.label.is_empty() { "." } else { self.label };
                Report::new(label, problems)
                    .add("", format!("the directory of recipes cannot be read: {error}"));
                return scanned;
            }
        };
        for name in names {
            let shown = String::from_utf8_lossy(&name).into_owned();
            let path = self.directory.join(OsStr::from_bytes(&name));
            if path.is_dir() {
                if name != CACHE.as_bytes() {
                    self.package(&shown, &path, hidden, problems, &mut scanned.recipes);
                }
            } else if let Some(prefix) = shown.strip_suffix(TREEINFO) {
                self.tree(&shown, prefix, &path, problems, &mut scanned.trees);
            }
        }
        scanned
    }

    fn package(
        &self,
        name: &str,
        path: &Path,
        hidden: &BTreeSet<PackageName>,
        problems: &mut Vec<Problem>,
        recipes: &mut Vec<Recipe>,
    ) {
        let label = format!("{}{name}", self.label);
        match list(path) {
            // Other directories are no business of this tool.
            Ok(names) if !names.iter().any(|name| name.ends_with(BUILDINFO.as_bytes())) => return,
            Ok(_) => {}
            Err(error) => return Report::new(&label, problems).add("", format!("cannot be read: {error}")),
        }
        let name = match parse::<PackageName>(name) {
            Ok(name) => name,
            Err(message) => return Report::new(&label, problems).add("", message),
        };
        if hidden.contains(&name) {
            return;
        }
        let files = Arc::new(RecipeFiles::read(path, &label, problems));
        if !matches!(files.entry("extra"), None | Some(Entry::Directory)) {
            let message = "is no directory: `/pkg/extra` is made from it";
            Report::new(&format!("{label}/extra"), problems).add("", message);
        }
        for buildinfo in files.buildinfos() {
            let file = format!("{label}/{buildinfo}");
            let prefix = buildinfo.strip_suffix(BUILDINFO).unwrap_or_default();
            let Some(variant) = variant(&file, prefix, BUILDINFO, problems) else { continue };
            let Some(bytes) = files.document(buildinfo) else {
                Report::new(&file, problems).add("", expected_document());
                continue;
            };
            let mut recipe = recipe(bytes, &name, &variant, &file, problems);
            recipe.files = Arc::clone(&files);
            recipe.check_script(problems);
            recipes.push(recipe);
        }
    }

    fn tree(
        &self,
        name: &str,
        prefix: &str,
        path: &Path,
        problems: &mut Vec<Problem>,
        trees: &mut BTreeMap<Variant, (String, TreeInfo)>,
    ) {
        let file = format!("{}{name}", self.label);
        let Some(variant) = variant(&file, prefix, TREEINFO, problems) else { return };
        if let Some(bytes) = document(path, &file, problems) {
            let info = treeinfo(&bytes, &file, problems);
            trees.insert(variant, (file, info));
        }
    }
}

/// The variant that stands before `ending` in the name of a file.
fn variant(file: &str, prefix: &str, ending: &str, problems: &mut Vec<Problem>) -> Option<Variant> {
    let message = match prefix.strip_suffix('.') {
        None if prefix.is_empty() => return Some(Variant::default()),
        None => format!("expected a dot before `{ending}`, as in `{prefix}.{ending}`"),
        Some("") => format!("expected a variant before the dot, or `{ending}` for the default one"),
        Some(name) => match Variant::named(name) {
            Ok(variant) => return Some(variant),
            Err(error) => error.to_string(),
        },
    };
    Report::new(file, problems).add("", message);
    None
}

/// What a directory holds, sorted.
fn list(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(names(&rustix::fs::openat(CWD, directory, flags, Mode::empty())?)?)
}

/// The bytes of a document at the top of a tree.
pub(super) fn document(path: &Path, file: &str, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
    match read(path) {
        Ok(Some(bytes)) => return Some(bytes),
        Ok(None) => Report::new(file, problems).add("", expected_document()),
        Err(error) => Report::new(file, problems).add("", format!("cannot be read: {error}")),
    }
    None
}

fn expected_document() -> String {
    format!("expected a regular file of at most {DOCUMENT_MAX} bytes")
}

/// A regular file of bounded size; nothing when it is something else.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= DOCUMENT_MAX).then_some(bytes))
}
