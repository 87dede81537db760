//! `pkgpanda`, the program that hosts get, as a package: the one that comes with the tool and from no recipe.

use std::fs;
use std::path::{Path, PathBuf};

use bake_base::Digest;
use bake_host::{PKGPANDA, PackageId, PkgInfo, Variant};
use bake_tree::{Content, Follow, Metadata, Node, Tree, TreePath, ValidTree};

use crate::elf::{self, Machines};
use crate::store::Stored;
use crate::workshop::Workshop;
use crate::{Error, pack};

/// How many hex digits of the program's digest make the version of its package.
const VERSION_DIGITS: usize = 40;
/// Where the program lies in its package.
const PATH: &str = "bin/pkgpanda";
/// The largest program, in bytes.
const LIMIT: u64 = 256 << 20;
/// What makes it right.
const FIX: &str = "--pkgpanda names another one, ci/pkgpanda builds one";

/// A static program for hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The package that it becomes: the version is the beginning of the file's digest.
    pub id: PackageId,
    /// The file.
    pub bytes: Vec<u8>,
    /// Digest of the file.
    pub sha256: Digest,
    /// The machine that it is for, by its number in ELF headers.
    pub machine: u16,
}

impl Program {
    /// Reads the program from a file.
    ///
    /// # Errors
    /// When there is none, or it would not run on a host that has nothing else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Program { path: path.to_owned(), reason };
        let bytes = fs::read(path).map_err(|error| wrong(format!("cannot be read ({error}): {FIX}")))?;
        Self::of(bytes).map_err(|reason| wrong(format!("{reason}: {FIX}")))
    }

    /// Takes the program out of a bootstrap tarball that lies in `tree` and holds `packages`.
    ///
    /// # Errors
    /// In words, when it holds none, or one that is not what its id says.
    pub fn within(tree: &Tree, packages: &[PackageId]) -> Result<Self, String> {
        let id = packages.iter().find(|id| id.name().as_str() == PKGPANDA);
        let id = id.ok_or_else(|| format!("holds no package `{PKGPANDA}`"))?;
        let path = TreePath::parse(format!("packages/{id}/{PATH}").as_bytes());
        let path = path.map_err(|error| error.to_string())?;
        let Some(Node::File(content)) = tree.lookup(&path, Follow::Parents).map(|id| &tree.inode(id).node)
        else {
            return Err(format!("has no file `{path}`"));
        };
        let bytes = content.read_all(LIMIT).map_err(|error| format!("has `{path}`, of which {error}"))?;
        let program = Self::of(bytes).map_err(|reason| format!("has `{path}`, which {reason}"))?;
        if program.id != *id {
            return Err(format!("has `{path}`, which is another one: its digest is {}", program.sha256));
        }
        Ok(program)
    }

    fn of(bytes: Vec<u8>) -> Result<Self, &'static str> {
        let machine = elf::check_static(&bytes)?;
        let sha256 = Digest::of(&bytes);
        let id = format!("{PKGPANDA}--{}", &sha256.to_string()[..VERSION_DIGITS]);
        let id = id.parse().expect("hex digits are a version");
        Ok(Self { id, bytes, sha256, machine })
    }

    /// Whether it runs on the hosts that the packages are for, as far as these have programs.
    ///
    /// # Errors
    /// In words, when it does not.
    pub fn check_machine(&self, others: &Machines) -> Result<(), String> {
        let name = |machine| elf::name(machine).map_or_else(|| format!("machine {machine}"), str::to_owned);
        match others.usual() {
            Some(machine) if machine != self.machine => Err(format!(
                "`{}` is for {}, but the packages are for {}",
                self.id,
                name(self.machine),
                name(machine)
            )),
            _ => Ok(()),
        }
    }

    /// Its package.
    fn package(&self, threads: usize) -> Result<ValidTree, Error> {
        let mut tree = Tree::new();
        let path = TreePath::parse(PATH.as_bytes()).map_err(|error| Error::package(&self.id, error))?;
        let file = Node::File(Content::bytes(self.bytes.clone()));
        tree.put(&path, Metadata::root(0o755), file).map_err(|error| Error::package(&self.id, error))?;
        pack::finish(&self.id, tree, &[("pkginfo.json", PkgInfo::default().to_bytes())], threads)
    }
}

/// Where the program lies among the packages of a bootstrap tarball, if it is one of them.
pub fn place<'a>(packages: impl IntoIterator<Item = &'a PackageId>) -> Option<TreePath> {
    let id = packages.into_iter().find(|id| id.name().as_str() == PKGPANDA)?;
    TreePath::parse(format!("packages/{id}").as_bytes()).ok()
}

impl Workshop<'_> {
    /// The package of the program, packed unless it is there.
    ///
    /// # Errors
    /// When the cache cannot be written, or is damaged.
    pub fn program(&self, program: &Program) -> Result<Stored, Error> {
        let id = &program.id;
        let stored = match self.store.find(id)? {
            Some(stored) => stored,
            None => {
                let claim = self.store.claim(&id.name(), self.stop)?;
                // Another run may have packed it meanwhile.
                match self.store.find(id)? {
                    Some(stored) => stored,
                    None => {
                        let (tree, path) = (program.package(self.threads)?, self.cache.package(id));
                        self.store.put(&claim, id, |file| pack::write(&tree, file, &path, self.threads))?
                    }
                }
            }
        };
        self.store.set_latest(id, &Variant::default())?;
        Ok(stored)
    }
}

/// The file that is taken when none is named: beside the tool or where `ci/pkgpanda` puts it.
///
/// # Errors
/// When it is at neither place.
pub fn find(tool: &Path) -> Result<PathBuf, Error> {
    let beside = tool.parent().unwrap_or(Path::new("."));
    let places = [beside.join(PKGPANDA), beside.join("../pkgpanda").join(PKGPANDA)];
    let missing = || Error::Program {
        path: beside.join(PKGPANDA),
        reason:
            "does not exist, and every host needs it: name it with --pkgpanda, or build it with ci/pkgpanda"
                .to_owned(),
    };
    places.into_iter().find(|place| place.is_file()).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of nothing but headers.
    fn program(machine: u8) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[18], bytes[32], bytes[54], bytes[56], bytes[64]) = (machine, 64, 56, 1, 1);
        bytes
    }

    /// What `packages/ID` of a bootstrap tarball holds.
    fn tarball(id: &str, bytes: Vec<u8>) -> Tree {
        let mut tree = Tree::new();
        let path = TreePath::parse(format!("packages/{id}/bin/pkgpanda").as_bytes()).unwrap();
        tree.put(&path, Metadata::root(0o755), Node::File(Content::bytes(bytes))).unwrap();
        tree
    }

    #[test]
    fn a_program_becomes_a_package_that_is_called_after_its_bytes() {
        let program = Program::of(program(62)).unwrap();
        let digest = Digest::of(&program.bytes).to_string();
        assert_eq!(program.id.as_str(), format!("pkgpanda--{}", &digest[..40]));
        let package = program.package(1).unwrap();
        let entries: Vec<_> = package
            .tree()
            .walk()
            .map(|(path, id)| format!("{path} {:o}", package.tree().inode(id).metadata.mode))
            .collect();
        let expected = ["/ 755", "/bin 755", "/bin/pkgpanda 755", "/contents.json 644", "/pkginfo.json 644"];
        assert_eq!(entries, expected);
        let write = |threads| {
            let mut bytes = Vec::new();
            pack::write(&program.package(threads).unwrap(), &mut bytes, Path::new("out"), threads).unwrap();
            bytes
        };
        assert_eq!(write(1), write(3));
    }

    #[test]
    fn the_program_in_a_bootstrap_tarball_is_the_one_of_its_id() {
        let there = Program::of(program(62)).unwrap();
        let ids = ["zlib--1".parse().unwrap(), there.id.clone()];
        let tree = tarball(there.id.as_str(), there.bytes.clone());
        assert_eq!(Program::within(&tree, &ids).unwrap(), there);
        let refused = |tree: &Tree, ids: &[PackageId]| Program::within(tree, ids).unwrap_err();
        assert_eq!(refused(&tree, &ids[..1]), "holds no package `pkgpanda`");
        let other = tarball(there.id.as_str(), program(183));
        assert!(refused(&other, &ids).contains("is another one"), "{}", refused(&other, &ids));
        let script = tarball(there.id.as_str(), b"#!/bin/sh\n".to_vec());
        assert!(refused(&script, &ids).contains("is no program"), "{}", refused(&script, &ids));
        assert!(refused(&Tree::new(), &ids).contains("has no file"));
    }

    #[test]
    fn a_program_for_another_machine_than_the_rest_is_refused() {
        let mut machines = Machines::default();
        let ours = Program::of(program(62)).unwrap();
        assert_eq!(ours.check_machine(&machines), Ok(()), "nothing else has programs");
        let tree = tarball(ours.id.as_str(), ours.bytes.clone());
        machines.count(&tree, place([&ours.id]).as_ref());
        assert_eq!(machines.usual(), None, "it does not count itself");
        machines.count(&tarball("other--1", program(183)), None);
        let refused = ours.check_machine(&machines).unwrap_err();
        assert!(refused.ends_with("is for x86_64, but the packages are for aarch64"), "{refused}");
        machines.count(&tree, None);
        machines.count(&tree, None);
        assert_eq!(ours.check_machine(&machines), Ok(()), "that of most counts");
    }

    #[test]
    fn a_file_that_is_no_static_program_is_refused_with_the_fix() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("script");
        for (bytes, reason) in [(Some("#!/bin/sh\n"), "is no program for x86_64"), (None, "cannot be read")] {
            match bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let error = Program::read(&path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("--pkgpanda names another one"), "{error}");
        }
        let missing = find(&scratch.path().join("bake")).unwrap_err().to_string();
        assert!(missing.contains("does not exist") && missing.contains("ci/pkgpanda"), "{missing}");
        fs::write(scratch.path().join("pkgpanda"), program(62)).unwrap();
        let found = find(&scratch.path().join("bake")).unwrap();
        assert_eq!(Program::read(&found).unwrap().machine, elf::X86_64);
    }
}
