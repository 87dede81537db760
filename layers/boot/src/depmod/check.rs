//! Whether added modules fit the kernel, judged as the kernel's loader would.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bake_tree::{Content, LayerId, Tree, TreePath};

use super::elf::Module;
use super::{DepmodError, Loaded, Modules};

/// More than any `Module.symvers` has, decoded, in bytes.
const MAX_SYMVERS: u64 = 64 << 20;

/// A module that the kernel would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// It was built for another kernel.
    #[error("the module `{module}` was built for `{found}`: expected one for `{expected}`; build it anew")]
    Vermagic {
        /// Which.
        module: TreePath,
        /// The version magic of the kernel's own modules.
        expected: String,
        /// The module's.
        found: String,
    },
    /// A symbol that it uses is another one in this kernel.
    #[error(
        "the module `{module}` was built against another `{symbol}` (checksum {found:#010x}): expected \
         {expected:#010x}, that of the kernel `{kernel}`; build it anew"
    )]
    Symbol {
        /// Which.
        module: TreePath,
        /// The symbol.
        symbol: String,
        /// Its checksum in the kernel.
        expected: u32,
        /// Its checksum in the module.
        found: u32,
        /// The kernel.
        kernel: String,
    },
}

/// Everything about modules of `first` and later layers that does not fit.
pub(super) fn misfits(modules: &Modules, first: LayerId) -> Vec<Misfit> {
    let (added, own): (Vec<_>, Vec<_>) = modules.all.iter().partition(|loaded| loaded.found.layer >= first);
    let vermagic = own.iter().find_map(|loaded| vermagic(&loaded.module));
    let known = known(modules, &own);
    let mut misfits = Vec::new();
    for Loaded { found, module } in added {
        if let Some(misfit) = judge_vermagic(modules, module, vermagic) {
            let (expected, magic) = misfit;
            misfits.push(Misfit::Vermagic { module: found.path.clone(), expected, found: magic });
            // Its checksums differ too; one reason is enough.
            continue;
        }
        for (symbol, checksum) in &module.versions {
            let expected = known.get(&**symbol).filter(|expected| *expected != checksum);
            if let Some(expected) = expected {
                misfits.push(Misfit::Symbol {
                    module: found.path.clone(),
                    symbol: symbol.clone(),
                    expected: *expected,
                    found: *checksum,
                    kernel: modules.version.clone(),
                });
            }
        }
    }
    misfits
}

fn vermagic(module: &Module) -> Option<&str> {
    module.values("vermagic").next()
}

/// The version magic that was expected and the one found, where they differ. With checksums of symbols, the
/// version itself does not count (`same_magic` in the kernel).
fn judge_vermagic(modules: &Modules, module: &Module, expected: Option<&str>) -> Option<(String, String)> {
    let found = vermagic(module).unwrap_or_default();
    let rest =
        |magic: &str| magic.split_once(' ').map(|(_, rest)| rest.trim_end().to_owned()).unwrap_or_default();
    let same = match expected {
        Some(expected) if module.versions.is_empty() => expected.trim_end() == found.trim_end(),
        Some(expected) => rest(expected) == rest(found),
        // No other module to compare with: at least the version must be right.
        None => found.split(' ').next() == Some(&modules.version),
    };
    let expected = expected.unwrap_or(&modules.version);
    (!same).then(|| (expected.trim_end().to_owned(), found.trim_end().to_owned()))
}

/// Checksums of symbols in this kernel: from whoever exports them, else from a `Module.symvers`, else from the
/// kernel's own modules, which were built against them.
fn known<'a>(modules: &'a Modules, own: &[&'a Loaded]) -> BTreeMap<&'a str, u32> {
    let mut known: BTreeMap<&str, u32> = BTreeMap::new();
    for loaded in own {
        for (symbol, checksum) in &loaded.module.versions {
            known.entry(symbol).or_insert(*checksum);
        }
    }
    known.extend(modules.symvers.iter().map(|(symbol, checksum)| (&**symbol, *checksum)));
    for (index, loaded) in modules.all.iter().enumerate() {
        for (symbol, checksum) in &loaded.module.exports {
            if let Some(checksum) = checksum.filter(|_| modules.graph.symbols.get(symbol) == Some(&index)) {
                known.insert(symbol, checksum);
            }
        }
    }
    known
}

/// The checksums in the tree's `Module.symvers` for a kernel; none when it has no such file.
pub(super) fn symvers(
    tree: &Tree,
    directory: &TreePath,
    version: &str,
) -> Result<Vec<(String, u32)>, DepmodError> {
    let boot = format!("boot/symvers-{version}");
    let boot = |suffix: &str| TreePath::from_root(format!("{boot}{suffix}").as_bytes()).ok();
    let places = [
        // Kernel headers (Debian, Ubuntu); Fedora and RHEL.
        Some(directory.join(b"build").join(b"Module.symvers")),
        Some(directory.join(b"symvers.gz")),
        Some(directory.join(b"symvers.xz")),
        boot(".gz"),
        boot(".xz"),
    ];
    for path in places.into_iter().flatten() {
        let Ok(Some(content)) = tree.file(&path) else { continue };
        let text = read(content).map_err(|error| DepmodError::Module { path, reason: error.to_string() })?;
        return Ok(text.lines().filter_map(line).collect());
    }
    Ok(Vec::new())
}

fn read(content: &Content) -> io::Result<String> {
    let mut text = String::new();
    super::decompressed(content)?.reader().take(MAX_SYMVERS).read_to_string(&mut text)?;
    Ok(text)
}

/// `0xb352177e<tab>find_first_bit<tab>vmlinux<tab>EXPORT_SYMBOL`
fn line(line: &str) -> Option<(String, u32)> {
    let mut words = line.split(['\t', ' ']);
    let checksum = words.next()?.strip_prefix("0x")?;
    Some((words.next()?.to_owned(), u32::from_str_radix(checksum, 16).ok()?))
}
