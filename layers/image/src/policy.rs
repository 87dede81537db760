//! Host policy as data: units, kernel arguments, users, files and mounts of `bake.toml`.

mod fstab;

use std::collections::BTreeMap;

use bake_base::Epoch;
use bake_tree::{Content, Follow, Metadata, Node, Tree, TreePath};
use serde::Deserialize;

use crate::accounts::{Accounts, INVALID_ID, NewUser};
use crate::error::{Error, path};
use crate::units;
pub use crate::units::Units;
pub use fstab::write_fstab;

/// Paths that are made of other tables, and what to use instead of `[files]`.
const NOT_FILES: [(&str, &str); 7] = [
    ("etc/passwd", "[users]"),
    ("etc/shadow", "[users]"),
    ("etc/group", "[users]"),
    ("etc/gshadow", "[users]"),
    ("etc/fstab", "[mounts]"),
    ("etc/kernel/cmdline", "args of [kernel]"),
    ("etc/kernel/entry-token", "an overlay"),
];

/// What the user wants on every host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostPolicy {
    /// Units to enable, disable and mask.
    pub units: Units,
    /// The kernel.
    pub kernel: Kernel,
    /// Users by name.
    pub users: BTreeMap<String, User>,
    /// Files by absolute path.
    pub files: BTreeMap<String, File>,
    /// Mounts by absolute path.
    pub mounts: BTreeMap<String, Mount>,
}

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Arguments behind those of the profile.
    pub args: Vec<String>,
}

/// A user that must exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct User {
    /// User id; a free system id when there is none.
    pub uid: Option<u32>,
    /// Primary group; one of the user's own name when there is none.
    pub group: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
    /// Home directory, made when it is not there; `/nonexistent` when there is none.
    pub home: Option<String>,
    /// Login shell; `/sbin/nologin` when there is none.
    pub shell: Option<String>,
    /// Hash of the password (crypt(5)); locked when there is none.
    pub password_hash: Option<String>,
    /// Lines for `.ssh/authorized_keys`.
    pub authorized_keys: Vec<String>,
}

/// A file, or with `link` a symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// What it holds.
    pub content: Option<String>,
    /// A file to take the content from, relative to `bake.toml`.
    pub source: Option<String>,
    /// What `source` held, read by whoever parses the file.
    #[serde(skip)]
    pub bytes: Option<Vec<u8>>,
    /// Target of a symbolic link.
    pub link: Option<String>,
    /// Octal permissions; `0644` when there are none.
    pub mode: Option<String>,
    /// Owner, by name or number; `root` when there is none.
    pub owner: Option<String>,
    /// Group, by name or number; `root` when there is none.
    pub group: Option<String>,
}

/// A line of `fstab`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What is mounted: `LABEL=...`, `UUID=...` and so on; never a device's name, which changes between machines.
    pub source: String,
    /// Type of the file system.
    #[serde(rename = "type")]
    pub kind: String,
    /// Mount options; `defaults` when there are none.
    pub options: Option<String>,
}

impl HostPolicy {
    /// Applies everything but kernel arguments and mounts, which belong to the loader and to `fstab`.
    ///
    /// # Errors
    /// When something contradicts the image.
    pub fn apply(&self, tree: &mut Tree, epoch: Epoch) -> Result<(), Error> {
        let mut accounts = Accounts::read(tree, epoch)?;
        for (name, user) in &self.users {
            user.apply(name, tree, &mut accounts).map_err(|error| match error {
                Error::Account(message) => Error::Account(format!("users.{name}: {message}")),
                other => other,
            })?;
        }
        for (name, file) in &self.files {
            file.apply(name, tree, &accounts)?;
        }
        accounts.write(tree)?;
        units::apply(tree, &self.units)
    }
}

impl User {
    fn apply(&self, name: &str, tree: &mut Tree, accounts: &mut Accounts) -> Result<(), Error> {
        accounts.check_places(name, self.home.as_deref(), self.shell.as_deref())?;
        let (uid, gid) = accounts.add_user(&NewUser {
            name,
            uid: self.uid,
            group: self.group.as_deref(),
            comment: "",
            home: self.home.as_deref().unwrap_or("/nonexistent"),
            shell: self.shell.as_deref().unwrap_or("/sbin/nologin"),
            password_hash: self.password_hash.as_deref(),
        })?;
        for group in &self.groups {
            accounts.add_member(group, name)?;
        }
        let home = path(accounts.home(name).unwrap_or_default())?;
        let private = |mode| Metadata { uid, gid, ..Metadata::root(mode) };
        if self.home.is_some() {
            tree.make_directory(&home, private(0o750))?;
        }
        let is_line = |key: &String| !key.trim().is_empty() && !key.trim().contains(char::is_control);
        if !self.authorized_keys.iter().all(is_line) {
            return Err(Error::Account(
                "`authorized-keys` has a key that is not one line: give each key a string".to_owned(),
            ));
        }
        if !self.authorized_keys.is_empty() {
            if tree.lookup(&home, Follow::Last).is_none() {
                return Err(Error::Account(format!(
                    "user `{name}` has authorized keys but no home: give `home`"
                )));
            }
            let text: String = self.authorized_keys.iter().map(|key| format!("{}\n", key.trim())).collect();
            tree.make_directory(&home.join(b".ssh"), private(0o700))?;
            let file = Node::File(Content::bytes(text.into_bytes()));
            tree.put(&home.join(b".ssh").join(b"authorized_keys"), private(0o600), file)?;
        }
        Ok(())
    }
}

impl File {
    fn apply(&self, name: &str, tree: &mut Tree, accounts: &Accounts) -> Result<(), Error> {
        let wrong = |what: String| Error::Policy(format!("files.\"{name}\": {what}"));
        let at = key_path("files", name)?;
        for (other, instead) in NOT_FILES {
            if at.starts_with(&path(other)?) {
                return Err(wrong(format!("bake writes `/{other}` itself: use {instead}")));
            }
        }
        let node = match (&self.content, &self.bytes, &self.link) {
            (Some(content), None, None) => Node::File(Content::bytes(content.as_bytes())),
            (None, Some(bytes), None) => Node::File(Content::bytes(bytes.as_slice())),
            (None, None, Some(link)) => Node::Symlink(link.as_bytes().into()),
            _ => return Err(wrong("expected exactly one of `content`, `source` and `link`".to_owned())),
        };
        let mode = self.mode.as_deref().unwrap_or("0644");
        let bits = u16::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o7777);
        let mode =
            bits.ok_or_else(|| wrong(format!("`mode` is `{mode}`: expected octal digits such as 0644")))?;
        let id = |given: &Option<String>, lookup: &dyn Fn(&str) -> Option<u32>| match given {
            None => Ok(0),
            Some(text) => {
                text.parse().ok().or_else(|| lookup(text)).filter(|id| *id != INVALID_ID).ok_or_else(|| {
                    wrong(format!("`{text}` is not known to the image: add it, or give a number"))
                })
            }
        };
        let uid = id(&self.owner, &|name| accounts.user(name).map(|(uid, _)| uid))?;
        let gid = id(&self.group, &|name| accounts.group(name))?;
        tree.put(&at, Metadata { uid, gid, ..Metadata::root(mode) }, node)?;
        Ok(())
    }
}

/// The path that a key of `table` is; there is one spelling of it, so that no key hides another.
fn key_path(table: &str, key: &str) -> Result<TreePath, Error> {
    let wrong = |what: String| Error::Policy(format!("{table}.\"{key}\": {what}"));
    let path = TreePath::from_root(key.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    if key.as_bytes() != [b"/", path.as_bytes()].concat() {
        return Err(wrong(format!("is no plain absolute path: expected `{path}`")));
    }
    if key.contains(char::is_control) {
        return Err(wrong("holds a control character: leave it out".to_owned()));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn policy(text: &str) -> HostPolicy {
        toml::from_str(text).unwrap()
    }

    pub(super) fn text(tree: &Tree, name: &str) -> String {
        String::from_utf8(tree.read(&path(name).unwrap(), 9999).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn users_and_files_are_made_with_their_owners() {
        let mut tree = Tree::new();
        let policy = policy(
            r#"
            [users.ops]
            uid = 1000
            home = "/home/ops"
            shell = "/bin/bash"
            authorized-keys = ["ssh-ed25519 AAAA ops"]
            [files."/etc/app/secret"]
            content = "x\n"
            mode = "0640"
            group = "ops"
            [files."/etc/localtime"]
            link = "/usr/share/zoneinfo/UTC"
            "#,
        );
        policy.apply(&mut tree, Epoch::from_seconds(0)).unwrap();
        let metadata = |tree: &Tree, name: &str| {
            let id = tree.lookup(&path(name).unwrap(), Follow::Parents).unwrap();
            let metadata = &tree.inode(id).metadata;
            (metadata.mode, metadata.uid, metadata.gid)
        };
        assert_eq!(text(&tree, "etc/passwd"), "ops:x:1000:1000::/home/ops:/bin/bash\n");
        assert_eq!(text(&tree, "home/ops/.ssh/authorized_keys"), "ssh-ed25519 AAAA ops\n");
        assert_eq!(metadata(&tree, "home/ops/.ssh"), (0o700, 1000, 1000));
        assert_eq!(metadata(&tree, "etc/app/secret"), (0o640, 0, 1000));
    }

    #[test]
    fn a_file_says_what_it_is_exactly_once() {
        for (file, reason) in [
            ("", "exactly one"),
            ("content = ''\nlink = 'x'", "exactly one"),
            ("content = ''\nmode = '99'", "octal"),
            ("content = ''\nowner = 'nobody'", "not known"),
        ] {
            let policy = policy(&format!("[files.'/x']\n{file}"));
            let message = policy.apply(&mut Tree::new(), Epoch::from_seconds(0)).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("files.\"/x\""), "{message}");
        }
    }

    #[test]
    fn a_file_has_one_path_and_one_table() {
        for (at, reason) in [
            ("etc/foo", "expected `/etc/foo`"),
            ("/etc//foo", "expected `/etc/foo`"),
            ("/etc/foo/", "expected `/etc/foo`"),
            ("/etc/../foo", "`..`"),
            ("/etc/passwd", "[users]"),
            ("/etc/gshadow", "[users]"),
            ("/etc/fstab", "[mounts]"),
            ("/etc/kernel/cmdline", "[kernel]"),
            ("/etc/kernel/entry-token", "an overlay"),
        ] {
            let policy = policy(&format!("[files.'{at}']\ncontent = 'x'"));
            let message = policy.apply(&mut Tree::new(), Epoch::from_seconds(0)).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("files.\""), "{message}");
        }
    }

    #[test]
    fn a_user_is_what_the_table_says_or_an_error() {
        for (user, reason) in [
            ("shell = '/bin/zsh'", "users.root: user `root` has shell `/bin/sh`"),
            ("home = '/'", "users.root: user `root` has home `/root`"),
            ("password-hash = \"x\\n\"", "users.root: user `root`: `password-hash`"),
            ("authorized-keys = [\"a\\nb\"]", "users.root: `authorized-keys`"),
        ] {
            let mut tree = Tree::new();
            let line = Content::bytes(&b"root:x:0:0::/root:/bin/sh\n"[..]);
            tree.write(&path("etc/passwd").unwrap(), Metadata::root(0o644), line).unwrap();
            let policy = policy(&format!("[users.root]\n{user}"));
            let message = policy.apply(&mut tree, Epoch::from_seconds(0)).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
