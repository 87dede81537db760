//! The libraries of what was taken, found as `ld.so(8)` would find them on the host.
//!
//! In the initrd there is no cache of `ldconfig`, so what only its configuration leads to gets a link where the loader
//! looks by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use bake_base::ReadAt;
use bake_tree::{Content, TreePath};

use super::copy::{Copier, names};
use super::elf::{self, Program, Wanted};
use super::{ComposeError, Missing};
use crate::path;
use crate::pattern::matches;

/// More than any program or library of an initrd has, in bytes.
const MAX_PROGRAM: u64 = 256 << 20;
/// What the kernel looks at of a script, in bytes.
const MAX_LINE: u64 = 256;
/// More than any configuration of the loader has, in bytes, and how many files may include each other.
const MAX_CONFIG: u64 = 1 << 20;
const MAX_INCLUDES: usize = 1000;

/// Where loaders look by themselves, by what Debian's, Fedora's and musl's are built with.
const DEFAULT: [&str; 8] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
];
/// `e_machine` of x86-64 and arm64.
const MACHINES: [(u16, &str); 2] = [(62, "x86_64-linux-gnu"), (183, "aarch64-linux-gnu")];

/// What programs of an initrd load by themselves and cannot well do without, wherever they name it: modules and file
/// systems (`systemd-udevd`, `systemd`), verity, compressed journals, and what the C library ends threads with. From
/// systemd 256 on, notes say so too; some of them call these mere suggestions.
const LOADED_LATER: [&str; 13] = [
    "libacl.so.1",
    "libapparmor.so.1",
    "libaudit.so.1",
    "libblkid.so.1",
    "libcrypt.so.1",
    "libcryptsetup.so.12",
    "libgcc_s.so.1",
    "libkmod.so.2",
    "liblzma.so.5",
    "libmount.so.1",
    "libseccomp.so.2",
    "libselinux.so.1",
    "libzstd.so.1",
];

/// What is known of the tree's loader.
struct Loader {
    /// Directories of `/etc/ld.so.conf`, then those where loaders look by themselves.
    directories: Vec<TreePath>,
    /// The latter, without links.
    default: BTreeSet<TreePath>,
    /// Programs and libraries that were read, by their paths without links, with what they load by themselves.
    read: BTreeMap<TreePath, Arc<Said>>,
}

/// What a program or library says.
struct Said {
    program: Program,
    /// Libraries that it loads by itself, and whether it has to have them.
    later: Vec<(String, bool)>,
}

/// Something that is loaded, with what its loaders say of where to look.
struct Loaded {
    at: TreePath,
    said: Arc<Said>,
    inherited: Vec<TreePath>,
}

/// Takes whatever the files need that were taken: libraries, loaders, interpreters of scripts. Tells which of these
/// the tree does not have.
pub(super) fn complete(copier: &mut Copier<'_>) -> Result<Vec<Missing>, ComposeError> {
    let mut loader = Loader::new(copier)?;
    let mut missing = BTreeSet::new();
    let mut ahead = copier.fresh();
    while let Some((at, content)) = ahead.pop() {
        if let Some(interpreter) = loader.interpreter(&at, &content)? {
            match take(copier, &interpreter)? {
                // That of a script is a program like others.
                Some(_) => ahead.extend(copier.fresh()),
                None => {
                    missing.insert((at.clone(), interpreter));
                }
            }
        }
        if let Some(said) = loader.read(&at, &content)? {
            loader.load(copier, Loaded { at, said, inherited: Vec::new() }, &mut missing)?;
            // The libraries were looked into as parts of this program, which is how they are loaded: one may rely on
            // what another one has brought.
            copier.fresh();
        }
    }
    Ok(missing.into_iter().map(|(by, library)| Missing::Library { by, library }).collect())
}

/// Libraries that a program loads by itself, and whether it has to have them.
fn later(program: &Program, bytes: &[u8]) -> Vec<(String, bool)> {
    let mut names = Vec::new();
    for (group, wanted) in &program.dlopen {
        match wanted {
            Wanted::Required => names.extend(group.first().map(|name| (name.clone(), true))),
            Wanted::Recommended => names.extend(group.iter().map(|name| (name.clone(), false))),
            Wanted::Suggested => {}
        }
    }
    let named: BTreeSet<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let known = LOADED_LATER.iter().filter(|name| named.contains(name.as_bytes()));
    names.extend(known.map(|name| ((*name).to_owned(), false)));
    names.retain(|(name, _)| !name.is_empty() && !name.contains('/'));
    names
}

/// Takes what an absolute path leads to.
fn take(copier: &mut Copier<'_>, at: &str) -> Result<Option<TreePath>, ComposeError> {
    match TreePath::from_root(at.as_bytes()) {
        Ok(at) => copier.take(&at),
        Err(_) => Ok(None),
    }
}

/// A directory of a run path. `$LIB` and `$PLATFORM` are not used by what is in initrds.
fn expand(text: &str, program: &TreePath) -> Option<TreePath> {
    let rest = text.strip_prefix("$ORIGIN").or_else(|| text.strip_prefix("${ORIGIN}"));
    let (mut at, rest) = match rest {
        Some(rest) => (program.split()?.0, rest),
        None if text.starts_with('/') => (TreePath::root(), text),
        None => return None,
    };
    for step in rest.split('/').filter(|step| !matches!(*step, "" | ".")) {
        at = match step {
            ".." => at.split().map(|(parent, _)| parent).unwrap_or_default(),
            step => TreePath::parse(step.as_bytes()).ok().map(|_| at.join(step.as_bytes()))?,
        };
    }
    Some(at)
}

impl Loader {
    fn new(copier: &Copier<'_>) -> Result<Self, ComposeError> {
        let mut directories = configured(copier)?;
        directories.extend(DEFAULT.map(path));
        let default = DEFAULT.iter().filter_map(|directory| copier.real(&path(directory))).collect();
        Ok(Self { directories, default, read: BTreeMap::new() })
    }

    /// What a program or library says; nothing for other files.
    fn read(&mut self, at: &TreePath, content: &Content) -> Result<Option<Arc<Said>>, ComposeError> {
        if let Some(said) = self.read.get(at) {
            return Ok(Some(Arc::clone(said)));
        }
        if !elf::is_program(&head(at, content)?) {
            return Ok(None);
        }
        let bytes = content.read_all(MAX_PROGRAM).map_err(damaged(at))?;
        let program = elf::read(&bytes).map_err(damaged(at))?;
        let said = Arc::new(Said { later: later(&program, &bytes), program });
        self.read.insert(at.clone(), Arc::clone(&said));
        Ok(Some(said))
    }

    /// What the kernel starts a file with.
    fn interpreter(&mut self, at: &TreePath, content: &Content) -> Result<Option<String>, ComposeError> {
        if head(at, content)?.starts_with(b"#!") {
            let mut line = vec![0; content.len().min(MAX_LINE) as usize];
            content.read_exact_at(0, &mut line).map_err(damaged(at))?;
            let line = line[2..].split(|byte| *byte == b'\n').next().unwrap_or_default();
            return Ok(String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned));
        }
        Ok(self.read(at, content)?.and_then(|said| said.program.interpreter.clone()))
    }

    /// Takes every library that a program comes to load, breadth first, each name once, as the loader does.
    fn load(
        &mut self,
        copier: &mut Copier<'_>,
        program: Loaded,
        missing: &mut BTreeSet<(TreePath, String)>,
    ) -> Result<(), ComposeError> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut ahead = VecDeque::from([program]);
        while let Some(Loaded { at, said, inherited }) = ahead.pop_front() {
            let own = |list: &[String]| -> Vec<TreePath> {
                list.iter().filter_map(|text| expand(text, &at)).collect()
            };
            // A run path hides the older kind, for the program itself and for what it loads.
            let (mut first, mut handed_on) = (own(&said.program.runpath), Vec::new());
            if said.program.runpath.is_empty() {
                handed_on = own(&said.program.rpath);
                handed_on.extend(
                    inherited.iter().filter(|place| !handed_on.contains(place)).cloned().collect::<Vec<_>>(),
                );
                first.clone_from(&handed_on);
            }
            let needed = said.program.needed.iter().map(|name| (name, true));
            let later = said.later.iter().map(|(name, required)| (name, *required));
            for (name, required) in needed.chain(later) {
                if !names.insert(name.clone()) {
                    continue;
                }
                let Some((found, content)) = self.find(copier, name, &first, &said.program)? else {
                    if required {
                        missing.insert((at.clone(), name.clone()));
                    }
                    continue;
                };
                if let Some(said) = self.read(&found, &content)? {
                    names.extend(said.program.soname.clone());
                    ahead.push_back(Loaded { at: found, said, inherited: handed_on.clone() });
                }
            }
        }
        Ok(())
    }

    /// Takes the library that `program` would load under this name.
    fn find(
        &self,
        copier: &mut Copier<'_>,
        name: &str,
        first: &[TreePath],
        program: &Program,
    ) -> Result<Option<(TreePath, Content)>, ComposeError> {
        let named = TreePath::from_root(name.as_bytes()).ok();
        let Some(named) = named.filter(|named| !named.is_root()) else { return Ok(None) };
        if name.contains('/') {
            let found = fitting(copier, &named, program)?;
            return Ok(if found.is_some() { copier.take(&named)?.zip(found) } else { None });
        }
        let places = first.iter().map(|directory| (directory, true));
        for (directory, told) in places.chain(self.directories.iter().map(|directory| (directory, false))) {
            let at = directory.join(name.as_bytes());
            let Some(content) = fitting(copier, &at, program)? else { continue };
            let Some(real) = copier.take(&at)? else { continue };
            if !told && copier.real(directory).is_none_or(|directory| !self.default.contains(&directory)) {
                self.link(copier, name, &real, program)?;
            }
            return Ok(Some((real, content)));
        }
        Ok(None)
    }

    /// Makes a library known to the loader.
    fn link(
        &self,
        copier: &mut Copier<'_>,
        name: &str,
        library: &TreePath,
        program: &Program,
    ) -> Result<(), ComposeError> {
        let multiarch = MACHINES.iter().find(|(machine, _)| *machine == program.machine);
        let multiarch = multiarch.map(|(_, name)| path(&format!("usr/lib/{name}")));
        let places = multiarch.into_iter().chain(["usr/lib64", "usr/lib"].map(path));
        let directory =
            places.filter_map(|place| copier.real(&place)).find(|place| self.default.contains(place));
        let at = directory.unwrap_or_else(|| path("usr/lib")).join(name.as_bytes());
        if copier.out.lookup(&at, bake_tree::Follow::Parents).is_none() {
            copier.link(&at, format!("{library}").as_bytes())?;
        }
        Ok(())
    }
}

/// The first bytes of a file.
fn head(at: &TreePath, content: &Content) -> Result<Vec<u8>, ComposeError> {
    let mut head = vec![0; content.len().min(20) as usize];
    content.read_exact_at(0, &mut head).map_err(damaged(at))?;
    Ok(head)
}

fn damaged(at: &TreePath) -> impl FnOnce(io::Error) -> ComposeError {
    |error| ComposeError::Damaged { path: at.clone(), reason: error.to_string() }
}

/// The library at `at`, if it is one for the same machine: the loader passes over others.
fn fitting(copier: &Copier<'_>, at: &TreePath, program: &Program) -> Result<Option<Content>, ComposeError> {
    let Ok(Some(content)) = copier.tree.file(at) else { return Ok(None) };
    let head = head(at, content)?;
    let fits = elf::is_program(&head) && head[18..20] == program.machine.to_le_bytes();
    Ok(fits.then(|| content.clone()))
}

/// The directories that `/etc/ld.so.conf` names, in their order.
fn configured(copier: &Copier<'_>) -> Result<Vec<TreePath>, ComposeError> {
    let mut directories = Vec::new();
    let mut ahead = vec![path("etc/ld.so.conf")];
    let mut read = 0;
    while let Some(file) = ahead.pop() {
        read += 1;
        if read > MAX_INCLUDES {
            break;
        }
        let text = copier.tree.read(&file, MAX_CONFIG)?.unwrap_or_default();
        let mut included = Vec::new();
        for line in String::from_utf8_lossy(&text).lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(patterns) = line.strip_prefix("include ") {
                included
                    .extend(patterns.split_whitespace().flat_map(|pattern| expanded(copier, pattern, &file)));
            } else if line.starts_with('/') {
                // Old ones said `=TYPE` behind the directory.
                let directory = line.split('=').next().unwrap_or(line);
                directories.extend(TreePath::from_root(directory.as_bytes()));
            }
        }
        ahead.extend(included.into_iter().rev());
    }
    Ok(directories)
}

/// The files that an `include` line of `file` names, sorted.
fn expanded(copier: &Copier<'_>, pattern: &str, file: &TreePath) -> Vec<TreePath> {
    let directory = file.split().map(|(directory, _)| directory).unwrap_or_default();
    let pattern = match pattern.strip_prefix('/') {
        Some(pattern) => pattern.to_owned(),
        None => format!("{directory}/{pattern}"),
    };
    let (directory, pattern) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
    let Ok(directory) = TreePath::from_root(directory.as_bytes()) else { return Vec::new() };
    let names = names(copier.tree, &directory.to_string());
    names
        .into_iter()
        .filter(|name| matches(pattern, name))
        .map(|name| directory.join(name.as_bytes()))
        .collect()
}
