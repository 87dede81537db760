//! Enabling, disabling and masking systemd units as data: the links that `systemctl --root` would make.

mod install;

use bake_tree::{Directory, Follow, Metadata, Node, Tree, TreePath};
use serde::Deserialize;

use crate::error::{Error, path};
use install::{Install, Name};

/// Where the host's own units and links lie.
const ETC: &str = "etc/systemd/system";
/// Where units are looked for, first match first (systemd.unit(5), "Unit File Load Path").
const LOAD_PATH: [&str; 4] =
    [ETC, "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
/// The largest unit file that is read, in bytes.
const LIMIT: u64 = 1 << 20;
/// What hides a unit.
const NOWHERE: &[u8] = b"/dev/null";

/// What is to happen to units, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Units {
    /// Started at boot, as their `[Install]` section says.
    pub enable: Vec<String>,
    /// Not started at boot.
    pub disable: Vec<String>,
    /// Never started.
    pub mask: Vec<String>,
}

/// A unit of the tree.
struct Unit {
    /// Its own name, even if it was asked for by an alias.
    name: String,
    /// Its file (for an instance, its template's), without the leading slash.
    file: String,
    text: String,
    masked: bool,
}

/// Makes and removes the links of `units`.
///
/// # Errors
/// When a unit does not exist, when it cannot be enabled because it has no `[Install]` section, or when it
/// cannot be disabled because links of its vendor start it.
pub fn apply(tree: &mut Tree, units: &Units) -> Result<(), Error> {
    let real = |names: &[String], key| -> Result<Vec<String>, Error> {
        let real = names.iter().map(|name| find(tree, name).map(|unit| unit.name));
        real.collect::<Result<_, _>>().map_err(|error| within(key, error))
    };
    let (enabled, disabled) = (real(&units.enable, "enable")?, real(&units.disable, "disable")?);
    let masked = real(&units.mask, "mask")?;
    if let Some(name) = enabled.iter().find(|name| masked.contains(name) || disabled.contains(name)) {
        let message = format!("unit `{name}` is to be enabled and masked or disabled: choose one");
        return Err(within("enable", Error::Units(message)));
    }
    if let Some((alias, name)) = units.mask.iter().zip(&masked).find(|(given, real)| given != real) {
        let message = format!("`{alias}` is another name of unit `{name}`: mask `{name}`");
        return Err(within("mask", Error::Units(message)));
    }
    for name in &disabled {
        disable(tree, name, masked.contains(name)).map_err(|error| within("disable", error))?;
    }
    for name in masked {
        let at = path(&format!("{ETC}/{name}"))?;
        if !find(tree, &name)?.masked {
            tree.put(&at, Metadata::root(0o777), Node::Symlink(NOWHERE.into()))?;
        }
    }
    for name in &enabled {
        enable(tree, name, &mut Vec::new()).map_err(|error| within("enable", error))?;
    }
    Ok(())
}

/// Says which key of the table an error is about.
fn within(key: &str, error: Error) -> Error {
    match error {
        Error::Units(message) => Error::Units(format!("units.{key}: {message}")),
        other => other,
    }
}

/// Enables one unit and what its `Also=` names.
pub(crate) fn enable(tree: &mut Tree, name: &str, done: &mut Vec<String>) -> Result<(), Error> {
    let Unit { name, file, text, masked } = find(tree, name)?;
    if done.contains(&name) {
        return Ok(());
    }
    done.push(name.clone());
    let install = Install::parse(&text);
    if masked || install.is_empty() {
        let why = if masked { "masks it" } else { "has no [Install] section that names a target" };
        return Err(Error::Units(format!("unit `{name}` cannot be enabled: `/{file}` {why}")));
    }
    let parsed = Name::parse(&name)?;
    let full = match (parsed.instance, &install.default_instance) {
        (Some(""), Some(default)) => parsed.with_instance(default),
        (Some(""), None) => {
            return Err(Error::Units(format!("unit `{name}` is a template: name an instance of it")));
        }
        _ => name.clone(),
    };
    let parsed = Name::parse(&full)?;
    for (by, directory) in
        [(&install.wanted_by, "wants"), (&install.required_by, "requires"), (&install.upheld_by, "upholds")]
    {
        for by in by {
            put_link(tree, &format!("{ETC}/{}.{directory}/{full}", parsed.expand(by)?), &file)?;
        }
    }
    for alias in &install.alias {
        let alias = parsed.expand(alias)?;
        // A name is no alias of itself.
        if alias != full && !file.ends_with(&format!("/{alias}")) {
            put_link(tree, &format!("{ETC}/{alias}"), &file)?;
        }
    }
    // What is also to be enabled may itself have nothing to install; that is no error (systemd.unit(5)).
    for also in &install.also {
        let also = parsed.expand(also)?;
        let unit = find(tree, &also);
        if unit.is_ok_and(|unit| !unit.masked && !Install::parse(&unit.text).is_empty()) {
            enable(tree, &also, done)?;
        }
    }
    Ok(())
}

/// Makes a link to a unit's file; one that leads there already stays as it is.
fn put_link(tree: &mut Tree, at: &str, file: &str) -> Result<(), Error> {
    let (at, unit) = (path(at)?, path(file)?);
    let leads_to = tree.lookup(&at, Follow::Last);
    if let Some(id) = tree.lookup(&at, Follow::Parents) {
        let there = match &tree.inode(id).node {
            Node::Symlink(target) if **target == *NOWHERE => "masked".to_owned(),
            Node::Symlink(_) if leads_to.is_none() => String::new(),
            Node::Symlink(_) if leads_to == tree.lookup(&unit, Follow::Last) => return Ok(()),
            Node::Symlink(target) if base(target) == base(file.as_bytes()) => String::new(),
            Node::Symlink(target) => format!("a link to `{}`", target.escape_ascii()),
            other => other.describe().to_owned(),
        };
        if !there.is_empty() {
            return Err(Error::Units(format!(
                "`{at}` is to link to `/{file}`, but is {there}: disable that unit, or take it out of the \
                 root file system"
            )));
        }
    }
    tree.put(&at, Metadata::root(0o777), Node::Symlink(format!("/{file}").into_bytes().into()))?;
    Ok(())
}

/// Removes every link in `/etc` that would start the unit; a template stands for all of its instances.
fn disable(tree: &mut Tree, name: &str, masked: bool) -> Result<(), Error> {
    let unit = Name::parse(name)?;
    for directory in &LOAD_PATH[1..] {
        if let Some(link) = starters(tree, &path(directory)?, unit).first().filter(|_| !masked) {
            return Err(Error::Units(format!(
                "unit `{name}` cannot be disabled: its vendor's link `{link}` starts it: mask it"
            )));
        }
    }
    let etc = path(ETC)?;
    let mut links = starters(tree, &etc, unit);
    // An alias is a link to the unit under another name.
    links.extend(entries(tree, &etc).filter_map(|(at, node)| match node {
        Node::Symlink(target) if unit.covers(&base(target)) => Some(at),
        _ => None,
    }));
    for link in links {
        tree.remove(&link);
    }
    Ok(())
}

/// Whether something in the tree starts the unit at boot, and nothing masks it.
///
/// # Errors
/// When there is no such unit.
pub(crate) fn starts_at_boot(tree: &Tree, name: &str) -> Result<bool, Error> {
    let unit = find(tree, name)?;
    let mut started = false;
    for directory in LOAD_PATH {
        started |= !starters(tree, &path(directory)?, Name::parse(&unit.name)?).is_empty();
    }
    Ok(started && !unit.masked)
}

/// What in the `.wants` directories (and so on) of a unit directory starts the unit.
fn starters(tree: &Tree, directory: &TreePath, unit: Name<'_>) -> Vec<TreePath> {
    let is_list = |at: &TreePath| {
        [".wants", ".requires", ".upholds"].iter().any(|end| at.as_bytes().ends_with(end.as_bytes()))
    };
    let lists = entries(tree, directory).map(|(at, _)| at).filter(is_list);
    let links = lists.flat_map(|list| entries(tree, &list).collect::<Vec<_>>());
    let starts = |at: &TreePath, node: &Node| {
        unit.covers(&base(at.as_bytes()))
            || matches!(node, Node::Symlink(target) if unit.covers(&base(target)))
    };
    links.filter(|(at, node)| starts(at, node)).map(|(at, _)| at).collect()
}

/// What is in a directory; nothing when it is none.
fn entries<'a>(tree: &'a Tree, at: &TreePath) -> impl Iterator<Item = (TreePath, &'a Node)> {
    let directory = tree.lookup(at, Follow::Last).and_then(|id| tree.inode(id).as_directory());
    let entries = directory.into_iter().flat_map(Directory::iter);
    entries.map(move |(name, id)| (at.join(name), &tree.inode(id).node))
}

/// The unit that `name` means, through aliases as systemd follows them: by name.
fn find(tree: &Tree, name: &str) -> Result<Unit, Error> {
    const MAX_ALIASES: usize = 8;
    let mut names = vec![name.to_owned()];
    while names.len() <= MAX_ALIASES {
        match look_up(tree, &names[names.len() - 1])? {
            Found::Unit(unit) => return Ok(unit),
            Found::Alias(of) => names.push(of),
        }
    }
    Err(Error::Units(format!("unit `{name}` is an alias of an alias without end: {}", names.join(", "))))
}

/// What a name leads to.
enum Found {
    Unit(Unit),
    Alias(String),
}

fn look_up(tree: &Tree, name: &str) -> Result<Found, Error> {
    let parsed = Name::parse(name)?;
    let template = parsed.template();
    let candidates = std::iter::once(name).chain(template.as_deref());
    for (candidate, directory) in candidates.flat_map(|name| LOAD_PATH.map(|directory| (name, directory))) {
        let file = format!("{directory}/{candidate}");
        let at = path(&file)?;
        let Some(id) = tree.lookup(&at, Follow::Parents) else { continue };
        let name = name.to_owned();
        if let Node::Symlink(target) = &tree.inode(id).node {
            if **target == *NOWHERE {
                return Ok(Found::Unit(Unit { name, file, text: String::new(), masked: true }));
            }
            let Some(real) = tree.lookup(&at, Follow::Last) else {
                return Err(Error::Units(format!(
                    "unit `{name}` does not exist in the image: `/{file}` links to `{}`, which is not there",
                    target.escape_ascii()
                )));
            };
            // A link to a file outside of the load path is the unit itself.
            let other = base(target);
            let is_unit = |directory: &str| {
                let at = path(&format!("{directory}/{other}"));
                at.is_ok_and(|at| tree.lookup(&at, Follow::Last) == Some(real))
            };
            if other != candidate && LOAD_PATH.iter().any(|directory| is_unit(directory)) {
                let of = Name::parse(&other)?;
                let instance = parsed.instance.filter(|_| of.instance == Some(""));
                let alias = instance.map(|instance| of.with_instance(instance));
                let alias = alias.unwrap_or_else(|| other.clone());
                // An instance that links to its template is itself.
                if alias != name {
                    return Ok(Found::Alias(alias));
                }
            }
        }
        if let Some(bytes) = tree.read(&at, LIMIT)? {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Ok(Found::Unit(Unit { name, file, text, masked: false }));
        }
    }
    Err(Error::Units(format!(
        "unit `{name}` does not exist in the image: check its name, or add it with an overlay"
    )))
}

/// The last component of a path.
fn base(path: &[u8]) -> String {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
