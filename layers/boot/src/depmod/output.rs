//! The files (kmod, the `output_…` functions of `tools/depmod.c`).

use super::graph::Graph;
use super::index::{Index, Order};
use super::{DepmodError, Loaded, Modules, hash};

/// Buckets of kmod's table of symbols.
const BUCKETS: u32 = 2048;

/// Every file with its name.
pub(super) fn files(from: &Modules) -> Result<Vec<(&'static str, Vec<u8>)>, DepmodError> {
    let Modules { all: modules, graph, order, .. } = from;
    let order = *order;
    let (dep, dep_index) = dependencies(modules, graph, order)?;
    let (alias, alias_index) = aliases(modules, order)?;
    let (symbols, symbols_index) = symbols(modules, graph, order)?;
    let list = |name: &'static str, reason: String| DepmodError::Module {
        path: from.directory.join(name.as_bytes()),
        reason,
    };
    let builtin = builtin(&from.builtin, order).map_err(|reason| list("modules.builtin", reason))?;
    let builtin_alias = builtin_aliases(&from.builtin_info, order)
        .map_err(|reason| list("modules.builtin.modinfo", reason))?;
    let mut files = vec![
        ("modules.alias", alias),
        ("modules.alias.bin", alias_index),
        ("modules.builtin.alias.bin", builtin_alias),
        ("modules.builtin.bin", builtin),
        ("modules.dep", dep),
        ("modules.dep.bin", dep_index),
        ("modules.devname", device_names(modules)),
        (
            "modules.softdep",
            lines(modules, "softdep", "# Soft dependencies extracted from modules themselves.\n"),
        ),
        ("modules.symbols", symbols),
        ("modules.symbols.bin", symbols_index),
    ];
    if from.weakdep {
        let header = "# Weak dependencies extracted from modules themselves.\n";
        files.push(("modules.weakdep", lines(modules, "weakdep", header)));
    }
    Ok(files)
}

fn blame(loaded: &Loaded) -> impl Fn(String) -> DepmodError {
    |reason| DepmodError::Module { path: loaded.found.path.clone(), reason }
}

fn dependencies(modules: &[Loaded], graph: &Graph, order: Order) -> Result<(Vec<u8>, Vec<u8>), DepmodError> {
    let mut text = String::new();
    let mut index = Index::default();
    for (place, loaded) in modules.iter().enumerate() {
        let mut line = format!("{}:", loaded.found.relative);
        for dependency in graph.all_dependencies(place) {
            line.push(' ');
            line.push_str(&modules[dependency].found.relative);
        }
        index.insert(&loaded.found.name, &line, place).map_err(blame(loaded))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok((text.into_bytes(), encode(index, modules, order)?))
}

fn aliases(modules: &[Loaded], order: Order) -> Result<(Vec<u8>, Vec<u8>), DepmodError> {
    let mut text = "# Aliases extracted from modules themselves.\n".to_owned();
    let mut index = Index::default();
    for (place, loaded) in modules.iter().enumerate() {
        for alias in loaded.module.values("alias") {
            text.extend(["alias ", alias, " ", &loaded.found.name, "\n"]);
            if let Some(alias) = normalized(alias) {
                index.insert(&alias, &loaded.found.name, place).map_err(blame(loaded))?;
            }
        }
    }
    Ok((text.into_bytes(), encode(index, modules, order)?))
}

fn symbols(modules: &[Loaded], graph: &Graph, order: Order) -> Result<(Vec<u8>, Vec<u8>), DepmodError> {
    let mut text = "# Aliases for symbols, used by symbol_request().\n".to_owned();
    let mut index = Index::default();
    let mut symbols: Vec<_> = graph.symbols.iter().collect();
    hash::sort_by_key(&mut symbols, BUCKETS, |(name, _)| name);
    for (symbol, owner) in symbols {
        let loaded = &modules[*owner];
        let alias = format!("symbol:{symbol}");
        text.extend(["alias ", &alias, " ", &loaded.found.name, "\n"]);
        index.insert(&alias, &loaded.found.name, *owner).map_err(blame(loaded))?;
    }
    Ok((text.into_bytes(), encode(index, modules, order)?))
}

/// An index over all modules; too large is the fault of all.
fn encode(index: Index, modules: &[Loaded], order: Order) -> Result<Vec<u8>, DepmodError> {
    let first = modules.first().map(|loaded| loaded.found.path.clone()).unwrap_or_default();
    index.encode(order).map_err(|reason| DepmodError::Module { path: first, reason })
}

/// One line for every value of a key.
fn lines(modules: &[Loaded], key: &'static str, header: &str) -> Vec<u8> {
    let mut text = header.to_owned();
    for loaded in modules {
        for value in loaded.module.values(key) {
            text.extend([key, " ", &loaded.found.name, " ", value, "\n"]);
        }
    }
    text.into_bytes()
}

fn builtin(list: &[u8], order: Order) -> Result<Vec<u8>, String> {
    let mut index = Index::default();
    for line in String::from_utf8_lossy(list).lines() {
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let file = line.rsplit('/').next().unwrap_or(line);
            index.insert(&file.split('.').next().unwrap_or(file).replace('-', "_"), "", 0)?;
        }
    }
    index.encode(order)
}

/// From lines `module.key=value`, ended by NUL.
fn builtin_aliases(info: &[u8], order: Order) -> Result<Vec<u8>, String> {
    let mut index = Index::default();
    for line in info.split(|byte| *byte == 0) {
        let line = String::from_utf8_lossy(line);
        let Some((module, rest)) = line.split_once('.') else { continue };
        let alias = rest.strip_prefix("alias=").and_then(normalized);
        if let Some(alias) = alias.filter(|_| !module.is_empty()) {
            index.insert(&alias, module, 0)?;
        }
    }
    index.encode(order)
}

/// An alias as it is looked up: `-` and `_` mean the same, but not in brackets. Nothing where brackets do not
/// match, for such an alias matches no device.
fn normalized(alias: &str) -> Option<String> {
    let mut out = String::with_capacity(alias.len());
    let mut inside = false;
    for c in alias.chars() {
        match c {
            '-' if !inside => out.push('_'),
            '[' if !inside => inside = true,
            ']' if !inside => return None,
            ']' => inside = false,
            _ => {}
        }
        if c != '-' || inside {
            out.push(c);
        }
    }
    (!inside).then_some(out)
}

/// Device nodes that are made before their module is loaded.
fn device_names(modules: &[Loaded]) -> Vec<u8> {
    let mut text = String::new();
    for loaded in modules {
        let (mut name, mut device) = (None, None);
        for alias in loaded.module.values("alias") {
            if let Some(rest) = alias.strip_prefix("devname:") {
                name = Some(rest);
            } else {
                let numbers = |prefix, kind| Some((kind, numbers(alias.strip_prefix(prefix)?)?));
                device = numbers("char-major-", 'c').or_else(|| numbers("block-major-", 'b')).or(device);
            }
            if name.is_some() && device.is_some() {
                break;
            }
        }
        if let (Some(name), Some((kind, (major, minor)))) = (name, device) {
            if text.is_empty() {
                text.push_str("# Device nodes to trigger on-demand module loading.\n");
            }
            let numbers = format!("{kind}{major}:{minor}");
            text.extend([&loaded.found.name, " ", name, " ", &numbers, "\n"]);
        }
    }
    text.into_bytes()
}

/// `MAJOR-MINOR`, whatever follows.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('-')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..end].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_looked_up_with_underscores_but_in_brackets() {
        assert_eq!(normalized("pci-a[0-9]-b").as_deref(), Some("pci_a[0-9]_b"));
        assert_eq!(normalized("a]"), None);
        assert_eq!(normalized("a[0-9"), None);
        assert_eq!(numbers("10-229"), Some((10, 229)));
        assert_eq!(numbers("10-*"), None);
    }
}
