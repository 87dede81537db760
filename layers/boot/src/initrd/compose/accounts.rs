//! Users and groups of the initrd: those of the tree's that what was taken speaks of.

use std::collections::BTreeSet;

use bake_tree::TreePath;

use super::ComposeError;
use super::copy::Copier;
use crate::path;

/// More than a file of accounts, or of rules, has, in bytes.
const LIMIT: u64 = 4 << 20;
/// Accounts that programs ask for without any file saying so.
const USERS: [&str; 3] = ["root", "nobody", "systemd-journal"];
const GROUPS: [&str; 8] = ["root", "adm", "nobody", "nogroup", "systemd-journal", "tty", "utmp", "wheel"];
/// Where they are: ostree keeps those of packages apart.
const PASSWD: [&str; 2] = ["etc/passwd", "usr/lib/passwd"];
const GROUP: [&str; 2] = ["etc/group", "usr/lib/group"];

/// Writes `/etc/passwd` and `/etc/group`, cut down to the usual ones and to those that `rules` of udev and `tmpfiles`
/// give files to.
pub(super) fn write(
    copier: &mut Copier<'_>,
    rules: &[TreePath],
    tmpfiles: &[TreePath],
) -> Result<(), ComposeError> {
    let mut users: BTreeSet<String> = USERS.map(str::to_owned).into();
    let mut groups: BTreeSet<String> = GROUPS.map(str::to_owned).into();
    for file in rules {
        let text = text(copier, file)?;
        users.extend(assigned(&text, "OWNER"));
        groups.extend(assigned(&text, "GROUP"));
    }
    for file in tmpfiles {
        // Type, path, mode, user, group (`tmpfiles.d(5)`).
        for line in text(copier, file)?.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace().skip(3);
            users.extend(words.next().map(str::to_owned));
            groups.extend(words.next().map(str::to_owned));
        }
    }
    let passwd = cut(copier, &PASSWD, &users, "root:x:0:0:root:/root:/bin/sh\n")?;
    copier.write("etc/passwd", 0o644, passwd)?;
    let group = cut(copier, &GROUP, &groups, "root:x:0:\n")?;
    copier.write("etc/group", 0o644, group)
}

fn text(copier: &Copier<'_>, file: &TreePath) -> Result<String, ComposeError> {
    Ok(String::from_utf8_lossy(&copier.tree.read(file, LIMIT)?.unwrap_or_default()).into_owned())
}

/// What rules assign to a key: `GROUP="disk"`, `GROUP:="disk"`.
fn assigned(text: &str, key: &str) -> Vec<String> {
    let rest = text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split(key).skip(1));
    let values = rest.filter_map(|rest| {
        let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix('+')).unwrap_or(rest);
        rest.strip_prefix("=\"")?.split('"').next()
    });
    values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// The lines of the accounts in `names`, of each the first, in the order of the files.
fn cut(
    copier: &Copier<'_>,
    files: &[&str],
    names: &BTreeSet<String>,
    root: &str,
) -> Result<Vec<u8>, ComposeError> {
    let mut seen = BTreeSet::new();
    let mut out = String::new();
    for file in files {
        for line in text(copier, &path(file))?.lines() {
            let name = line.split(':').next().unwrap_or_default();
            if names.contains(name) && seen.insert(name.to_owned()) {
                out.extend([line, "\n"]);
            }
        }
    }
    if !seen.contains("root") {
        out.insert_str(0, root);
    }
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_told_from_comparisons() {
        let rules = "KERNEL==\"tty\", GROUP=\"tty\", OWNER:=\"root\"\n# GROUP=\"no\"\nTEST GROUP==\"x\"\nGROUP=\"disk\"";
        assert_eq!(assigned(rules, "GROUP"), ["tty", "disk"]);
        assert_eq!(assigned(rules, "OWNER"), ["root"]);
    }
}
