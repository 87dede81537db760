//! Enabling, disabling and masking systemd units as data: the links that `systemctl --root` would make.

use bake_tree::{Follow, Metadata, Node, Tree, TreePath};
use serde::Deserialize;

use crate::Error;

/// Where the host's own units and links lie.
const ETC: &str = "etc/systemd/system";
/// Where units are looked for, first match first (systemd.unit(5), "Unit File Load Path").
const LOAD_PATH: [&str; 4] =
    [ETC, "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
/// The largest unit file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What is to happen to units, by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Units {
    /// Started at boot, as their `[Install]` section says.
    pub enable: Vec<String>,
    /// Not started at boot.
    pub disable: Vec<String>,
    /// Never started.
    pub mask: Vec<String>,
}

/// Makes and removes the links of `units`.
///
/// # Errors
/// When a unit does not exist, or cannot be enabled because it has no `[Install]` section.
pub fn apply(tree: &mut Tree, units: &Units) -> Result<(), Error> {
    for name in &units.disable {
        find(tree, name)?;
        disable(tree, name)?;
    }
    for name in &units.mask {
        put_link(tree, &format!("{ETC}/{name}"), b"/dev/null")?;
    }
    for name in &units.enable {
        if units.mask.contains(name) || units.disable.contains(name) {
            return Err(Error::Units(format!(
                "unit `{name}` is to be enabled and masked or disabled: choose one"
            )));
        }
        enable(tree, name, &mut Vec::new())?;
    }
    Ok(())
}

/// Enables one unit and what its `Also=` names.
pub(crate) fn enable(tree: &mut Tree, name: &str, done: &mut Vec<String>) -> Result<(), Error> {
    if done.iter().any(|other| other == name) {
        return Ok(());
    }
    done.push(name.to_owned());
    let (file, text) = find(tree, name)?;
    let install = Install::parse(&text);
    if install.is_empty() {
        let message = format!(
            "unit `{name}` cannot be enabled: `/{file}` has no [Install] section that names a target"
        );
        return Err(Error::Units(message));
    }
    let instance = match (instance_of(name), &install.default_instance) {
        (Some(""), Some(default)) => Some(default.clone()),
        (Some(""), None) => {
            return Err(Error::Units(format!("unit `{name}` is a template: name an instance of it")));
        }
        (instance, _) => instance.map(str::to_owned),
    };
    let full = match (name.split_once('@'), &instance) {
        (Some((stem, rest)), Some(instance)) => {
            let suffix = rest.rsplit_once('.').map_or("", |(_, suffix)| suffix);
            format!("{stem}@{instance}.{suffix}")
        }
        _ => name.to_owned(),
    };
    let target: Box<[u8]> = format!("/{file}").into_bytes().into();
    let expand = |text: &str| {
        let stem = full.split(['@', '.']).next().unwrap_or_default();
        text.replace("%i", instance.as_deref().unwrap_or_default()).replace("%p", stem).replace("%n", &full)
    };
    for (wanted, directory) in [(&install.wanted_by, "wants"), (&install.required_by, "requires")] {
        for by in wanted {
            put_link(tree, &format!("{ETC}/{}.{directory}/{full}", expand(by)), &target)?;
        }
    }
    for alias in &install.alias {
        put_link(tree, &format!("{ETC}/{}", expand(alias)), &target)?;
    }
    // What is also to be enabled may itself have nothing to install; that is no error (systemd.unit(5)).
    for also in &install.also {
        let also = expand(also);
        if find(tree, &also).is_ok_and(|(_, text)| !Install::parse(&text).is_empty()) {
            enable(tree, &also, done)?;
        }
    }
    Ok(())
}

/// Makes a link; one that is there already stays as it is.
fn put_link(tree: &mut Tree, at: &str, target: &[u8]) -> Result<(), Error> {
    let at = path(at)?;
    let there = tree.lookup(&at, Follow::Parents).map(|id| &tree.inode(id).node);
    if !matches!(there, Some(Node::Symlink(same)) if **same == *target) {
        tree.put(&at, Metadata::root(0o777), Node::Symlink(target.into()))?;
    }
    Ok(())
}

/// Removes every link in `/etc` that would start the unit.
fn disable(tree: &mut Tree, name: &str) -> Result<(), Error> {
    let etc = path(ETC)?;
    let Some(id) = tree.lookup(&etc, Follow::Last) else { return Ok(()) };
    let mut links = Vec::new();
    for (entry, id) in tree.inode(id).as_directory().iter().flat_map(|directory| directory.iter()) {
        match &tree.inode(id).node {
            Node::Directory(wants)
                if (entry.ends_with(b".wants") || entry.ends_with(b".requires"))
                    && wants.get(name.as_bytes()).is_some() =>
            {
                links.push(etc.join(entry).join(name.as_bytes()));
            }
            // An alias is a link to the unit under another name.
            Node::Symlink(target) if target.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes()) => {
                links.push(etc.join(entry));
            }
            _ => {}
        }
    }
    for link in links {
        tree.remove(&link);
    }
    Ok(())
}

/// The file of a unit (for an instance, its template's), without the leading slash, and its text.
fn find(tree: &Tree, name: &str) -> Result<(String, String), Error> {
    let template = match (name.split_once('@'), name.rsplit_once('.')) {
        (Some((stem, _)), Some((_, suffix))) => Some(format!("{stem}@.{suffix}")),
        _ => None,
    };
    for name in std::iter::once(name).chain(template.as_deref()) {
        for directory in LOAD_PATH {
            let file = format!("{directory}/{name}");
            if let Some(bytes) = tree.read(&path(&file)?, LIMIT)? {
                return Ok((file, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }
    Err(Error::Units(format!(
        "unit `{name}` does not exist in the image: check its name, or add it with an overlay"
    )))
}

/// The instance in `name@instance.suffix`.
fn instance_of(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once('@')?;
    rest.rsplit_once('.').map(|(instance, _)| instance)
}

fn path(text: &str) -> Result<TreePath, Error> {
    TreePath::from_root(text.as_bytes()).map_err(Error::Path)
}

/// The `[Install]` section of a unit.
#[derive(Debug, Default)]
struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    alias: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

impl Install {
    fn parse(text: &str) -> Self {
        let mut install = Self::default();
        let mut inside = false;
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[Install]";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let mut words = value.split_whitespace().map(str::to_owned);
            match key.trim() {
                "WantedBy" => install.wanted_by.extend(words),
                "RequiredBy" => install.required_by.extend(words),
                "Alias" => install.alias.extend(words),
                "Also" => install.also.extend(words),
                "DefaultInstance" => install.default_instance = words.next_back(),
                _ => {}
            }
        }
        install
    }

    fn is_empty(&self) -> bool {
        self.wanted_by.is_empty()
            && self.required_by.is_empty()
            && self.alias.is_empty()
            && self.also.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bake_tree::Content;

    use super::*;

    fn tree(units: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (name, text) in units {
            tree.write(&path(name).unwrap(), Metadata::root(0o644), Content::bytes(text.as_bytes())).unwrap();
        }
        tree
    }

    fn links(tree: &Tree) -> Vec<String> {
        let links = tree.walk().filter_map(|(path, id)| match &tree.inode(id).node {
            Node::Symlink(target) => Some(format!("{path} -> {}", target.escape_ascii())),
            _ => None,
        });
        links.map(|link| link.replace("/etc/systemd/system/", "")).collect()
    }

    fn units(enable: &[&str], disable: &[&str], mask: &[&str]) -> Units {
        let [enable, disable, mask] =
            [enable, disable, mask].map(|names| names.iter().map(ToString::to_string).collect());
        Units { enable, disable, mask }
    }

    #[test]
    fn enabling_follows_the_install_section() {
        let mut tree = tree(&[
            (
                "usr/lib/systemd/system/a.service",
                "[Install]\nWantedBy=m.target \\\n n.target\nAlias=z.service\nAlso=b.socket\n",
            ),
            ("usr/lib/systemd/system/b.socket", "[Unit]\nWantedBy=no\n[Install]\nRequiredBy=s.target\n"),
            ("usr/lib/systemd/system/g@.service", "[Install]\nWantedBy=%i.target\nDefaultInstance=tty1\n"),
        ]);
        apply(&mut tree, &units(&["a.service", "g@.service", "g@x.service"], &[], &[])).unwrap();
        assert_eq!(
            links(&tree),
            [
                "m.target.wants/a.service -> /usr/lib/systemd/system/a.service",
                "n.target.wants/a.service -> /usr/lib/systemd/system/a.service",
                "s.target.requires/b.socket -> /usr/lib/systemd/system/b.socket",
                "tty1.target.wants/g@tty1.service -> /usr/lib/systemd/system/g@.service",
                "x.target.wants/g@x.service -> /usr/lib/systemd/system/g@.service",
                "z.service -> /usr/lib/systemd/system/a.service",
            ]
        );
        apply(&mut tree, &units(&[], &["a.service", "b.socket", "g@tty1.service", "g@x.service"], &[]))
            .unwrap();
        assert_eq!(links(&tree), Vec::<String>::new());
    }

    #[test]
    fn masking_hides_a_unit_for_good() {
        let mut tree = tree(&[]);
        apply(&mut tree, &units(&[], &[], &["tmp.mount"])).unwrap();
        assert_eq!(links(&tree), ["tmp.mount -> /dev/null"]);
    }

    #[test]
    fn what_cannot_be_enabled_is_said() {
        for (units, reason) in [
            (units(&["none.service"], &[], &[]), "does not exist"),
            (units(&["static.service"], &[], &[]), "no [Install] section"),
            (units(&["a@.service"], &[], &[]), "name an instance"),
            (units(&["ok.service"], &[], &["ok.service"]), "choose one"),
            (units(&[], &["none.service"], &[]), "does not exist"),
        ] {
            let mut tree = tree(&[
                ("lib/systemd/system/static.service", "[Service]\nExecStart=/bin/true\n"),
                ("lib/systemd/system/a@.service", "[Install]\nWantedBy=x.target\n"),
                ("lib/systemd/system/ok.service", "[Install]\nWantedBy=x.target\n"),
            ]);
            let message = apply(&mut tree, &units).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
