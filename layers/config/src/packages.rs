//! Files of a configuration become packages, in the format that every package has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bake_base::{Digest, Hasher};
use bake_host::{InstallRoot, Package, PackageId, PkgInfo};
use bake_package::pack;
use bake_tree::{Content, Metadata, Node, Tree, TreePath, ValidTree};

use crate::{Body, ConfigFile, Error, Target};

/// The component that holds most of a configuration.
const CONFIG: &str = "dcos-config";
/// The component that says which release a host runs.
const METADATA: &str = "dcos-metadata";
/// The components that every configuration has.
pub const NAMES: [&str; 2] = [CONFIG, METADATA];
/// The component of an operator's own checks.
const CHECK_BINS: &str = "custom-check-bins";
/// What a package tells hosts.
const INFO: &str = "pkginfo.json";
/// The largest check program, in bytes: packages of a configuration are made in memory.
const LARGEST: u64 = 256 << 20;

/// A package of a configuration.
#[derive(Debug)]
pub struct Made {
    /// Its id.
    pub id: PackageId,
    /// What other packages need to know of it.
    pub package: Package,
    /// What it holds.
    pub tree: ValidTree,
    /// Its file.
    pub bytes: Vec<u8>,
    /// Digest of the file.
    pub digest: Digest,
}

/// An operator's own check programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckBins {
    /// The id of their package; it covers names and contents.
    pub id: PackageId,
    files: BTreeMap<String, Vec<u8>>,
}

impl CheckBins {
    /// Reads `directory`; nothing when there is none, or nothing in it.
    ///
    /// # Errors
    /// When something else than programs is in it.
    pub fn read(directory: &Path) -> Result<Option<Self>, Error> {
        let mut files = BTreeMap::new();
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("reading", directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io("reading", directory))?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(Error::io("reading", &path))?;
            let Some(name) =
                entry.file_name().to_str().filter(|name| is_program_name(name)).map(str::to_owned)
            else {
                let message = "cannot be a check program: expected a name of letters, digits and `._+-`, \
                               not beginning with `.` or `-`, and not pkginfo.json or contents.json";
                return Err(Error::wrong(&path, message));
            };
            if !metadata.is_file() {
                return Err(Error::wrong(&path, "is no regular file: expected programs and nothing else"));
            }
            if metadata.len() > LARGEST {
                return Err(Error::wrong(&path, "is larger than 256 MiB, which no check program is"));
            }
            files.insert(name, fs::read(&path).map_err(Error::io("reading", &path))?);
        }
        if files.is_empty() {
            return Ok(None);
        }
        let mut hasher = Hasher::new();
        for (name, bytes) in &files {
            hasher.update(format!("{name}\0{}\0", bytes.len()).as_bytes());
            hasher.update(bytes);
        }
        let version = &hasher.finish().to_string()[..40];
        Ok(Some(Self { id: id(CHECK_BINS, version)?, files }))
    }

    fn make(&self) -> Result<Made, Error> {
        let mut tree = Tree::new();
        for (name, bytes) in &self.files {
            put(&mut tree, name, 0o755, Node::File(Content::bytes(bytes.as_slice())))?;
        }
        make(self.id.clone(), tree)
    }
}

/// The packages of a configuration, by their ids.
///
/// # Errors
/// When files cannot be in one package.
pub fn make_all(
    files: &[ConfigFile],
    config_id: &str,
    check_bins: Option<&CheckBins>,
) -> Result<Vec<Made>, Error> {
    let mut made = Vec::new();
    for (name, target) in [(CONFIG, Target::Config), (METADATA, Target::Metadata)] {
        let mut tree = Tree::new();
        for file in files.iter().filter(|file| file.target == target) {
            let (mode, node) = match &file.body {
                Body::File { mode, content } => (*mode, Node::File(Content::bytes(content.as_slice()))),
                Body::Link(target) => (0o777, Node::Symlink(target.as_bytes().into())),
            };
            put(&mut tree, &file.path, mode, node)?;
        }
        made.push(make(id(name, &format!("setup_{config_id}"))?, tree)?);
    }
    made.extend(check_bins.map(CheckBins::make).transpose()?);
    made.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(made)
}

/// Makes sure that all packages of a product fit together on every host.
///
/// # Errors
/// Every reason why they do not.
pub fn check(tree: &[Package], made: &[Made]) -> Result<(), Error> {
    let all: Vec<_> = tree.iter().cloned().chain(made.iter().map(|made| made.package.clone())).collect();
    InstallRoot::check_every_role(&all).map_err(Error::Install)
}

/// Whether a package is one of a configuration.
pub(crate) fn is_of_configuration(id: &PackageId) -> bool {
    matches!(id.name().as_str(), CONFIG | METADATA | CHECK_BINS)
}

fn make(id: PackageId, mut tree: Tree) -> Result<Made, Error> {
    let info = TreePath::parse(INFO.as_bytes()).map_err(|error| failed(INFO, error))?;
    let has_info = tree.file(&info).map_err(|error| failed(INFO, error))?.is_some();
    let bytes = PkgInfo::default().to_bytes();
    let documents = if has_info { vec![] } else { vec![(INFO, bytes)] };
    let tree = pack::finish(&id, std::mem::take(&mut tree), &documents, 1)?;
    let package = Package::read(id.clone(), tree.tree(), &TreePath::root()).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        failed(id.as_str(), lines.join("\n  "))
    })?;
    let mut bytes = Vec::new();
    let (digest, _) = pack::write(&tree, &mut bytes, Path::new(id.as_str()), 1)?;
    Ok(Made { id, package, tree, bytes, digest })
}

fn put(tree: &mut Tree, path: &str, mode: u32, node: Node) -> Result<(), Error> {
    let at = TreePath::parse(path.as_bytes()).map_err(|error| failed(path, error))?;
    tree.put(&at, Metadata::root(mode as u16), node).map_err(|error| failed(path, error))?;
    Ok(())
}

fn failed(what: &str, reason: impl ToString) -> Error {
    Error::Render { what: format!("`{what}`"), reason: reason.to_string() }
}

fn id(name: &str, version: &str) -> Result<PackageId, Error> {
    format!("{name}--{version}").parse().map_err(|error| failed(name, error))
}

fn is_program_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
        && !name.starts_with(['.', '-'])
        && !matches!(name, INFO | "contents.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(target: Target, path: &str, mode: u32, text: &str) -> ConfigFile {
        ConfigFile { target, path: path.to_owned(), body: Body::File { mode, content: text.into() } }
    }

    #[test]
    fn files_become_packages_whose_bytes_are_always_the_same() {
        let files = [
            file(Target::Config, "etc/x.env", 0o644, "A=1\n"),
            file(Target::Config, "bin/detect_ip", 0o755, "#!/bin/sh\n"),
            file(Target::Metadata, "etc/dcos-version.json", 0o644, "{}\n"),
            file(Target::Host, "/etc/resolv", 0o644, "not in a package"),
        ];
        let made = make_all(&files, &"a".repeat(40), None).unwrap();
        let ids: Vec<_> = made.iter().map(|made| made.id.to_string()).collect();
        let version = format!("setup_{}", "a".repeat(40));
        assert_eq!(ids, [format!("dcos-config--{version}"), format!("dcos-metadata--{version}")]);
        let paths: Vec<_> = made[0].tree.tree().walk().map(|(path, _)| path.to_string()).collect();
        let expected =
            ["/", "/bin", "/bin/detect_ip", "/contents.json", "/etc", "/etc/x.env", "/pkginfo.json"];
        assert_eq!(paths, expected);
        let again: Vec<_> = files.iter().rev().cloned().collect();
        let again = make_all(&again, &"a".repeat(40), None).unwrap();
        assert_eq!(again[0].bytes, made[0].bytes);
        assert_eq!(made[0].digest, Digest::of(&made[0].bytes));
    }

    #[test]
    fn a_conflict_names_both_packages() {
        let files = |text| [file(Target::Config, "etc/hello", 0o644, text)];
        let first = make_all(&files("1"), "1", None).unwrap();
        let mut tree = Tree::new();
        put(&mut tree, "etc/hello", 0o644, Node::File(Content::bytes(&b"2"[..]))).unwrap();
        let other = make("hello--1".parse().unwrap(), tree).unwrap();
        let error = check(&[other.package], &first).unwrap_err().to_string();
        assert!(error.contains("hello--1") && error.contains("dcos-config--setup_1"), "{error}");
    }

    #[test]
    fn check_programs_are_files_with_plain_names() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        assert_eq!(CheckBins::read(&at("none")).unwrap(), None);
        assert_eq!(CheckBins::read(scratch.path()).unwrap(), None);
        fs::write(at("check-a"), "1").unwrap();
        let one = CheckBins::read(scratch.path()).unwrap().unwrap();
        assert!(one.id.as_str().starts_with("custom-check-bins--"));
        let made = make_all(&[], "1", Some(&one)).unwrap();
        assert_eq!(made[0].id, one.id);
        let program = TreePath::parse(b"check-a").unwrap();
        let program = made[0].tree.tree().lookup(&program, bake_tree::Follow::Parents).unwrap();
        assert_eq!(made[0].tree.inode(program).metadata.mode, 0o755);
        fs::rename(at("check-a"), at("check-b")).unwrap();
        assert_ne!(CheckBins::read(scratch.path()).unwrap().unwrap().id, one.id);
        for wrong in ["-x", ".x", "a b", "pkginfo.json"] {
            fs::write(at(wrong), "").unwrap();
            assert!(
                CheckBins::read(scratch.path()).unwrap_err().to_string().contains("check program"),
                "{wrong}"
            );
            fs::remove_file(at(wrong)).unwrap();
        }
        fs::create_dir(at("d")).unwrap();
        assert!(CheckBins::read(scratch.path()).unwrap_err().to_string().contains("no regular file"));
    }
}
