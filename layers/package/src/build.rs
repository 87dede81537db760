//! One package: sources, recipe and dependencies are laid out, the script runs, and what it leaves is packed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bake_archive::{ExtractOptions, extract, remove_tree};
use bake_host::{Entry, InstallRoot, PackageId, ROOT};
use bake_tree::{Content, Metadata, Node, Tree, ValidTree};

use crate::documents::documents;
use crate::error::chain;
use crate::kept::{make_directory, make_private_directory};
use crate::pack;
use crate::recipe::Identified;
use crate::sandbox::{self, BUILD_ID, Mount, Spec, builds_as_nobody, hand_over};
use crate::surroundings::Surroundings;
use crate::workshop::{Dependency, Event, Workshop};
use crate::{EPOCH, Error};

/// How much of a log is shown when a build fails.
const LINES_SHOWN: usize = 25;
/// In how many bytes at the end of the log these lines are looked for.
const BYTES_SHOWN: u64 = 16 << 10;
/// The builder that recipes mean when they name none.
const DCOS_BUILDER: &str = "dcos/dcos-builder:dcos-builder_dockerdir-latest";
/// Where programs are, when a script does not say otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A package that has been built and not yet written.
pub(crate) struct Built {
    /// What it holds; its files lie in the directory of the build.
    pub tree: ValidTree,
    _directory: BuildDirectory,
}

/// The directory of a build, which goes away with it.
struct BuildDirectory {
    path: PathBuf,
    keep: bool,
}

impl BuildDirectory {
    /// An empty directory for the build `name`. Whoever made one before is dead, or would hold the claim.
    fn new(workshop: &Workshop<'_>, name: &str) -> Result<Self, Error> {
        let path = make_private_directory(workshop.cache.build())?.join(name);
        remove_tree(&path)?;
        make_directory(&path)?;
        Ok(Self { path, keep: workshop.keep })
    }

    /// A new directory of mode 0755, whatever the umask: packages have the mode of their top directory.
    fn make(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        make_directory(&path)?;
        let readable = fs::set_permissions(&path, Permissions::from_mode(0o755));
        readable.map_err(Error::io("making", &path))?;
        Ok(path)
    }
}

impl Drop for BuildDirectory {
    fn drop(&mut self) {
        if !self.keep {
            // What stays is removed by the next build of the package.
            let _ = remove_tree(&self.path);
        }
    }
}

impl Workshop<'_> {
    /// Builds a package with `dependencies`, all that it requires, in a directory called `name` that no other
    /// build uses. The caller has claimed the component.
    pub(crate) fn build(
        &self,
        name: &str,
        package: &Identified<'_>,
        dependencies: &[Arc<Dependency>],
        surroundings: &Surroundings,
    ) -> Result<Built, Error> {
        let id = &package.id;
        let directory = BuildDirectory::new(self, name)?;
        let result = directory.make("result")?;
        let mut mounts = self.inputs(package, &directory, dependencies)?;
        let packages = format!("{ROOT}/packages");
        for dependency in dependencies {
            mounts.push(mount(&dependency.root, &format!("{packages}/{}", dependency.package.id), false));
        }
        mounts.push(mount(&result, &format!("{packages}/{id}"), true));
        let documents = documents(package)?;
        for (name, bytes) in &documents {
            write_document(&result.join(name), bytes)?;
        }
        let builder = self.builders.root(package.recipe.docker.as_deref(), &self.trees)?;
        mounts.extend(accounts(&directory, surroundings, &builder)?);
        let spec = Spec {
            mounts,
            command: command(package),
            environment: environment(package, surroundings, &builder),
            root: builder,
            working_directory: "/".to_owned(),
            scratch: directory.make("scratch")?,
            hostname: surroundings.hostname.to_owned(),
            uid: surroundings.id,
            gid: surroundings.id,
            network: package.recipe.network,
            cpus: surroundings.cpus,
            limits: self.limits.clone(),
            is_shuffled: surroundings.is_shuffled,
            real_prefix: surroundings.real_prefix.map(str::to_owned),
        };
        self.run(id, name, &spec)?;
        let tree = pack::tree(id, &result, &documents, self.threads)?;
        check(id, &tree, dependencies)?;
        Ok(Built { tree, _directory: directory })
    }

    /// Lays out what the script reads: `/pkg/src`, `/pkg/build`, `/pkg/extra` and the install root of what the
    /// package requires.
    fn inputs(
        &self,
        package: &Identified<'_>,
        directory: &BuildDirectory,
        dependencies: &[Arc<Dependency>],
    ) -> Result<Vec<Mount>, Error> {
        let recipe = package.recipe;
        let sources = directory.make("src")?;
        for (name, source) in &recipe.sources {
            let fetched = self.fetch(recipe, name, source)?;
            for warning in self.fetcher.materialise(&fetched, &sources.join(name))? {
                (self.report)(&Event::Warning(warning));
            }
        }
        write_document(&sources.join("buildinfo.full.json"), &documents(package)?[0].1)?;
        date(&sources).map_err(Error::io("dating", &sources))?;
        let build = directory.path.join("build");
        recipe.files.snapshot(&build).map_err(|error| Error::package(&package.id, chain(&error)))?;
        let root = directory.path.join("root");
        extract(&install_root(&package.id, dependencies)?, &root, ExtractOptions::default())?;
        if builds_as_nobody() {
            for path in [&build, &root] {
                hand_over(path, (BUILD_ID, BUILD_ID)).map_err(Error::io("handing over", path))?;
            }
        }
        let mut mounts = vec![
            mount(&sources, "/pkg/src", true),
            mount(&build, "/pkg/build", false),
            mount(&root, ROOT, false),
        ];
        let extra = build.join("extra");
        if extra.is_dir() {
            mounts.push(mount(&extra, "/pkg/extra", false));
        }
        Ok(mounts)
    }

    /// Runs the script, whose output is kept in the log of the build `name`.
    fn run(&self, id: &PackageId, name: &str, spec: &Spec) -> Result<(), Error> {
        let path = self.cache.log(&id.name(), name);
        let mut log = File::create(&path).map_err(Error::io("writing", &path))?;
        let outcome = sandbox::run(&self.launcher, spec, &mut log, self.stop);
        let failed = match outcome {
            Ok(outcome) => {
                for warning in &outcome.warnings {
                    (self.report)(&Event::Warning(warning.clone()));
                }
                match (outcome.code, outcome.signal) {
                    (Some(0), _) => return Ok(()),
                    (Some(code), _) => format!("its build ended with status {code}"),
                    (None, signal) => format!("its build was ended by signal {}", signal.unwrap_or_default()),
                }
            }
            // The machine refuses: no log tells more.
            Err(error @ sandbox::SandboxError::Refused { .. }) => return Err(Error::package(id, error)),
            Err(error) => chain(&error),
        };
        let text = end_of(&path).map_err(Error::io("reading", &path))?;
        Err(Error::package(id, format!("{failed}{}\n  the whole log is `{}`", tail(&text), path.display())))
    }
}

/// Writes a file for builds to see, the same whoever writes it, and when.
fn write_document(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        fs::write(path, bytes)?;
        fs::set_permissions(path, Permissions::from_mode(0o644))?;
        date(path)
    };
    write().map_err(Error::io("writing", path))
}

/// Gives a file or directory the time that everything in a package has.
fn date(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(UNIX_EPOCH + Duration::from_secs(EPOCH.seconds()))
}

/// The last bytes of a log, which may be long.
fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(BYTES_SHOWN);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(BYTES_SHOWN).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last lines of a log, each behind a bar.
fn tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<_> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().map(|line| format!("\n  | {line}")).collect()
}

fn mount(source: &Path, target: &str, writable: bool) -> Mount {
    Mount { source: source.to_owned(), target: target.to_owned(), writable }
}

/// A name for a build that is somebody else than root, as every user has one.
fn accounts(
    directory: &BuildDirectory,
    surroundings: &Surroundings,
    builder: &Path,
) -> Result<Vec<Mount>, Error> {
    let id = surroundings.id;
    if id == 0 {
        return Ok(Vec::new());
    }
    let entries = [
        ("passwd", format!("another-user:x:{id}:{id}::/root:/bin/sh\n")),
        ("group", format!("another-user:x:{id}:\n")),
    ];
    let with = |(name, entry): &(&str, String)| {
        let there = builder.join("etc").join(name);
        let mut bytes = match fs::read(&there) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("reading", &there))?,
        };
        bytes.extend_from_slice(entry.as_bytes());
        let path = directory.path.join(name);
        write_document(&path, &bytes)?;
        Ok(Some(mount(&path, &format!("/etc/{name}"), false)))
    };
    entries.iter().filter_map(|entry| with(entry).transpose()).collect()
}

/// What the script is run by. The builder that recipes mean when they name none (or by its name) runs every script
/// in a bash that stops at the first failure, and recipes count on it; other builders run it as it says itself.
fn command(package: &Identified<'_>) -> Vec<String> {
    let script = format!("/pkg/build/{}", package.recipe.build_script);
    if package.recipe.docker.as_deref().is_some_and(|name| name != DCOS_BUILDER) {
        return vec![script];
    }
    ["/bin/bash", "-o", "nounset", "-o", "pipefail", "-o", "errexit", &script].map(str::to_owned).to_vec()
}

fn environment(
    package: &Identified<'_>,
    surroundings: &Surroundings,
    builder: &Path,
) -> BTreeMap<String, String> {
    let id = &package.id;
    let fixed = [
        ("PKG_NAME", id.name().to_string()),
        ("PKG_VERSION", id.version().to_string()),
        ("PKG_ID", id.to_string()),
        ("PKG_PATH", format!("{ROOT}/packages/{id}")),
        ("PKG_VARIANT", package.recipe.variant.to_string()),
        ("NUM_CORES", surroundings.cores.to_string()),
        ("SOURCE_DATE_EPOCH", EPOCH.seconds().to_string()),
        ("PATH", PATH.to_owned()),
        ("HOME", "/root".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value));
    fixed.into_iter().chain(surroundings.clock(builder)).collect()
}

/// The install root of what a package requires, as a tree.
fn install_root(id: &PackageId, dependencies: &[Arc<Dependency>]) -> Result<ValidTree, Error> {
    let packages: Vec<_> = dependencies.iter().map(|dependency| dependency.package.clone()).collect();
    let root = InstallRoot::resolve(&packages, &BTreeSet::new()).map_err(|problems| {
        Error::package(id, format!("what it requires does not fit together:\n  {problems}"))
    })?;
    let mut tree = Tree::new();
    for (path, entry) in root.entries(ROOT).into_iter().chain(root.unit_entries()) {
        let (mode, node) = match entry {
            Entry::Directory => {
                tree.make_directory(&path, Metadata::root(0o755))
                    .map_err(|error| Error::package(id, error))?;
                continue;
            }
            Entry::Symlink(target) => (0o777, Node::Symlink(target)),
            Entry::File(bytes) => (0o644, Node::File(Content::bytes(bytes))),
        };
        tree.put(&path, Metadata::root(mode), node).map_err(|error| Error::package(id, error))?;
    }
    tree.clamp_times(EPOCH);
    tree.seal();
    ValidTree::new(tree).map_err(|problems| Error::listed(id, &problems))
}

/// Finds what would only show on a host: the package and all that it requires have to fit together there.
fn check(id: &PackageId, tree: &ValidTree, dependencies: &[Arc<Dependency>]) -> Result<(), Error> {
    let own = crate::workshop::read_package(id, tree.tree(), &bake_tree::TreePath::root())?;
    own.check().map_err(|problems| Error::package(id, format!("it cannot be installed:\n  {problems}")))?;
    let mut packages: Vec<_> = dependencies.iter().map(|dependency| dependency.package.clone()).collect();
    packages.push(own);
    InstallRoot::check_every_role(&packages).map_err(|problems| {
        Error::package(id, format!("it does not fit together with what it requires:\n  {problems}"))
    })
}
