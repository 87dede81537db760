//! What `depmod` computes for a directory of kernel modules, computed as data.
//!
//! In go a tree and a kernel, out come the files `modules.dep`, `modules.alias`, … byte for byte as kmod's
//! `depmod` writes them (kmod 30, `tools/depmod.c`; the text files are described by `modules.dep(5)`). It is
//! needed when an overlay brings modules. Then two things are checked too that `depmod` does not mind and that
//! only a host would find out: whether the modules fit the kernel, and whether the initrd would need them.
//!
//! Where `depmod` depends on the order in which a file system lists its names (two modules of one name in
//! places of one rank), names come in byte order here.

mod check;
mod config;
mod elf;
mod graph;
mod hash;
mod index;
mod output;
mod search;
mod select;

use std::collections::BTreeSet;
use std::io;

use bake_archive::{Compression, Limits, RECOGNISED_BY};
use bake_base::parallel;
use bake_tree::{Content, EditError, LayerId, Tree, TreePath};

use crate::kernel::Kernel;
use elf::Module;
use search::Found;

pub use check::Misfit;
pub(crate) use select::{Selected, soft_names};

/// What decoding one module may cost, in bytes. The largest are graphics drivers of about 100 MiB.
const LIMITS: Limits = Limits { decoded: 512 << 20, memory: 128 << 20 };

/// All modules of a kernel, read and put in order.
#[derive(Debug)]
pub struct Modules {
    /// The directory.
    directory: TreePath,
    version: String,
    /// In the order of `modules.order`.
    all: Vec<Loaded>,
    /// By index into `all`.
    graph: graph::Graph,
    builtin: Vec<u8>,
    builtin_info: Vec<u8>,
    /// How the distribution's kmod arranges its indexes.
    order: index::Order,
    /// Whether the directory already has a file of kmod 33 or newer.
    weakdep: bool,
    /// Checksums of symbols as a `Module.symvers` of the tree has them.
    symvers: Vec<(String, u32)>,
}

/// A module where it was found, and what it says.
#[derive(Debug)]
struct Loaded {
    found: Found,
    module: Module,
}

/// Modules that cannot be taken into an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DepmodError {
    /// The kernel has no directory of modules.
    #[error("the kernel `{0}` has no modules: expected the directory `/usr/lib/modules/{0}`")]
    NoModules(String),
    /// A file is no module.
    #[error("`{path}` is no kernel module: {reason}")]
    Module {
        /// Which.
        path: TreePath,
        /// Why.
        reason: String,
    },
    /// Modules need each other in a circle.
    #[error("the modules {} depend on each other in a circle", .0.join(", "))]
    Cycle(Vec<String>),
    /// A configuration of depmod that is not understood.
    #[error("`{path}`, line {line}: {reason}")]
    Config {
        /// The file.
        path: TreePath,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Modules that do not fit the kernel.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Misfits(Vec<Misfit>),
    /// The initrd would have to be made again.
    #[error(
        "{} {} needed to boot (for {}), and the initrd does not have the new {}: making initrds anew comes with a \
         later version; until then put an initrd that has {} into an overlay, or leave the module{} out",
        quoted(.added),
        if .added.len() == 1 { "is" } else { "are" },
        quoted(.drivers),
        if .added.len() == 1 { "one" } else { "ones" },
        if .added.len() == 1 { "it" } else { "them" },
        if .added.len() == 1 { "" } else { "s" }
    )]
    NeedsInitrd {
        /// The modules that an overlay brought.
        added: Vec<String>,
        /// The drivers that the profile requires for booting and that need them.
        drivers: Vec<String>,
    },
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] EditError),
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Modules {
    /// Finds and reads every module of a kernel, on up to `threads` threads.
    ///
    /// # Errors
    /// When one cannot be read, or they depend on each other in a circle.
    pub fn load(tree: &Tree, kernel: &Kernel, threads: usize) -> Result<Self, DepmodError> {
        let directory = kernel.modules.clone();
        let directory = directory.ok_or_else(|| DepmodError::NoModules(kernel.version.clone()))?;
        let config = config::read(tree, &kernel.version)?;
        let found = search::search(tree, &directory, &config);
        let read = |name: &str| -> Result<Option<Vec<u8>>, EditError> {
            tree.read(&directory.join(name.as_bytes()), search::MAX_LIST)
        };
        let found = search::order(found, read("modules.order")?.as_deref());
        let modules = parallel::map(
            threads,
            found.len(),
            || (),
            |(), index| {
                let Found { path, content, .. } = &found[index];
                let damaged = |reason: String| DepmodError::Module { path: path.clone(), reason };
                let plain = decompressed(content).map_err(|error| damaged(error.to_string()))?;
                elf::read(&plain).map_err(|error| damaged(error.to_string()))
            },
        )?;
        let modules: Vec<_> =
            found.into_iter().zip(modules).map(|(found, module)| Loaded { found, module }).collect();
        let graph = graph::Graph::new(&modules)?;
        Ok(Self {
            graph,
            all: modules,
            builtin: read("modules.builtin")?.unwrap_or_default(),
            builtin_info: read("modules.builtin.modinfo")?.unwrap_or_default(),
            order: index::Order::of(&read("modules.dep.bin")?.unwrap_or_default()),
            weakdep: read("modules.weakdep")?.is_some(),
            symvers: check::symvers(tree, &directory, &kernel.version)?,
            directory,
            version: kernel.version.clone(),
        })
    }

    /// The files that `depmod` writes, by their paths in the tree.
    ///
    /// # Errors
    /// When a module says something that the format of the indexes cannot hold.
    pub fn files(&self) -> Result<Vec<(TreePath, Content)>, DepmodError> {
        let files = output::files(self)?;
        Ok(files
            .into_iter()
            .map(|(name, bytes)| (self.directory.join(name.as_bytes()), Content::bytes(bytes)))
            .collect())
    }

    /// Checks that the modules which `first` or a later layer brought fit the kernel: their version magic and
    /// the checksums of the symbols that they use. What fits is what the modules of the layers below say, and a
    /// `Module.symvers` if the tree has one.
    ///
    /// # Errors
    /// Everything that does not fit.
    pub fn check(&self, first: LayerId) -> Result<(), DepmodError> {
        let misfits = check::misfits(self, first);
        if misfits.is_empty() { Ok(()) } else { Err(DepmodError::Misfits(misfits)) }
    }

    /// Checks that none of `drivers` (which the profile requires in the initrd), nor anything that they need,
    /// comes from `first` or a later layer: the initrd was made without.
    ///
    /// # Errors
    /// When one does.
    pub fn check_initrd(&self, first: LayerId, drivers: &[&str]) -> Result<(), DepmodError> {
        let mut added = BTreeSet::new();
        let mut needing = BTreeSet::new();
        for driver in drivers.iter().map(|driver| crate::initrd::canonical(driver)) {
            let Some(index) = self.all.iter().position(|loaded| loaded.found.name == driver) else {
                continue;
            };
            let mut all = self.graph.all_dependencies(index);
            all.push(index);
            let new = all.into_iter().map(|index| &self.all[index].found).filter(|f| f.layer >= first);
            for found in new {
                added.insert(found.name.clone());
                needing.insert(driver.clone());
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        let (added, drivers) = (added.into_iter().collect(), needing.into_iter().collect());
        Err(DepmodError::NeedsInitrd { added, drivers })
    }
}

/// The module without its compression, which kmod recognises by content too.
fn decompressed(content: &Content) -> io::Result<Content> {
    let mut head = vec![0; content.len().min(RECOGNISED_BY as u64) as usize];
    bake_base::ReadAt::read_exact_at(content, 0, &mut head)?;
    let compression = Compression::recognise(&head);
    if compression == Compression::None {
        return Ok(content.clone());
    }
    let mut bytes = Vec::new();
    let input = io::BufReader::with_capacity(64 << 10, content.reader());
    io::Read::read_to_end(&mut compression.decoder(input, LIMITS)?, &mut bytes)?;
    Ok(Content::bytes(bytes))
}

#[cfg(test)]
#[path = "depmod/tests.rs"]
pub(crate) mod tests;
