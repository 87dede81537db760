//! Users and groups of the image, edited as the data that they are (passwd(5), shadow(5), group(5), gshadow(5)).

use bake_base::Epoch;
use bake_tree::{Content, Metadata, Tree, TreePath};

use crate::Error;

/// The largest account file that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// Ids for system accounts, highest first, as `useradd --system` and `groupadd --system` allocate them
/// (`SYS_UID_MIN` and `SYS_UID_MAX` of login.defs).
const SYSTEM_IDS: std::ops::RangeInclusive<u32> = 101..=999;

/// The id that stands for none (chown(2)).
pub const INVALID_ID: u32 = u32::MAX;

/// The account files of a tree.
#[derive(Debug)]
pub struct Accounts {
    passwd: File,
    shadow: File,
    group: File,
    gshadow: File,
    /// Day number for the "last change" of new passwords.
    day: u64,
}

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser<'a> {
    /// Login name.
    pub name: &'a str,
    /// User id; a free system id when there is none.
    pub uid: Option<u32>,
    /// Primary group, which must exist; one of the user's own name when there is none.
    pub group: Option<&'a str>,
    /// The comment field.
    pub comment: &'a str,
    /// Home directory; it is not made here.
    pub home: &'a str,
    /// Login shell.
    pub shell: &'a str,
    /// Hash of the password (crypt(5)); locked when there is none.
    pub password_hash: Option<&'a str>,
}

impl NewUser<'_> {
    /// Refuses what would not stay inside of its field, or would be no path or hash.
    fn check(&self) -> Result<(), Error> {
        let wrong = |key, what| Err(Error::Account(format!("user `{}`: `{key}` {what}", self.name)));
        let texts = [("comment", self.comment), ("home", self.home), ("shell", self.shell)];
        let hash = self.password_hash.map(|hash| ("password-hash", hash));
        for (key, text) in texts.into_iter().chain(hash) {
            if text.contains(|c: char| c == ':' || c.is_control()) {
                return wrong(key, "holds a colon, a line break or another control character: leave it out");
            }
        }
        for (key, text) in &texts[1..] {
            if !text.starts_with('/') {
                return wrong(key, "is no absolute path: begin it with `/`");
            }
        }
        match self.password_hash {
            Some("") => wrong("password-hash", "is empty: leave it out to lock the password"),
            Some(hash) if !hash.chars().all(|c| c.is_ascii_graphic()) => {
                wrong("password-hash", "holds white space or more than ASCII: expected a hash of crypt(5)")
            }
            _ => Ok(()),
        }
    }
}

/// One colon-separated file.
#[derive(Debug)]
struct File {
    path: TreePath,
    mode: u16,
    existed: bool,
    lines: Vec<Vec<String>>,
    changed: bool,
}

impl Accounts {
    /// Reads the account files of `tree`; missing ones are empty.
    ///
    /// # Errors
    /// When one is no regular file, or cannot be read.
    pub fn read(tree: &Tree, epoch: Epoch) -> Result<Self, Error> {
        Ok(Self {
            passwd: File::read(tree, "etc/passwd", 0o644)?,
            shadow: File::read(tree, "etc/shadow", 0o640)?,
            group: File::read(tree, "etc/group", 0o644)?,
            gshadow: File::read(tree, "etc/gshadow", 0o640)?,
            day: epoch.seconds() / 86_400,
        })
    }

    /// Writes the files that changed.
    ///
    /// # Errors
    /// When one cannot be put into the tree.
    pub fn write(self, tree: &mut Tree) -> Result<(), Error> {
        [self.passwd, self.shadow, self.group, self.gshadow].iter().try_for_each(|file| file.write(tree))
    }

    /// The user's id and primary group's id.
    pub fn user(&self, name: &str) -> Option<(u32, u32)> {
        let line = self.passwd.line(name)?;
        Some((line.get(2)?.parse().ok()?, line.get(3)?.parse().ok()?))
    }

    /// The user's home directory.
    pub fn home(&self, name: &str) -> Option<&str> {
        self.passwd.line(name)?.get(5).map(String::as_str)
    }

    /// Refuses another home or shell than an existing user has; a new one may have any.
    ///
    /// # Errors
    /// When one that is given differs.
    pub fn check_places(&self, name: &str, home: Option<&str>, shell: Option<&str>) -> Result<(), Error> {
        let Some(line) = self.passwd.line(name) else { return Ok(()) };
        for (key, given, field) in [("home", home, 5), ("shell", shell, 6)] {
            let there = line.get(field).map_or("", String::as_str);
            if let Some(given) = given.filter(|given| *given != there) {
                return Err(Error::Account(format!(
                    "user `{name}` has {key} `{there}` in the root file system, not `{given}`: leave `{key}` out"
                )));
            }
        }
        Ok(())
    }

    /// The group's id.
    pub fn group(&self, name: &str) -> Option<u32> {
        self.group.line(name)?.get(2)?.parse().ok()
    }

    /// Makes a group; one that exists stays.
    ///
    /// # Errors
    /// When the id belongs to another group, or no system id is free.
    pub fn add_group(&mut self, name: &str, gid: Option<u32>) -> Result<u32, Error> {
        check_name(name)?;
        if let Some(existing) = self.group(name) {
            return match gid {
                Some(gid) if gid != existing => Err(Error::Account(format!(
                    "group `{name}` has id {existing} in the root file system, not {gid}"
                ))),
                _ => Ok(existing),
            };
        }
        let gid = self.choose(name, gid, |accounts, id| accounts.group.has_id(id))?;
        self.group.push(vec![name.into(), "x".into(), gid.to_string(), String::new()]);
        if self.gshadow.existed {
            self.gshadow.push(vec![name.into(), "!".into(), String::new(), String::new()]);
        }
        Ok(gid)
    }

    /// Makes a user; one that exists stays as it is, but for a given password.
    ///
    /// # Errors
    /// When an existing user has another id or group, when the group is not there, when the id is taken.
    pub fn add_user(&mut self, new: &NewUser<'_>) -> Result<(u32, u32), Error> {
        let name = new.name;
        check_name(name)?;
        new.check()?;
        let user = match self.user(name) {
            Some(existing) => self.check_existing(new, existing)?,
            None if self.passwd.line(name).is_some() => {
                let message = format!("user `{name}` has a line in /etc/passwd that cannot be read");
                return Err(Error::Account(message));
            }
            None => self.make_user(new)?,
        };
        if let Some(hash) = new.password_hash {
            let day = self.day.to_string();
            let line = self.shadow.lines.iter_mut().find(|line| line[0] == name);
            let line =
                line.ok_or_else(|| Error::Account(format!("user `{name}` has no line in /etc/shadow")))?;
            line.resize(line.len().max(3), String::new());
            hash.clone_into(&mut line[1]);
            line[2] = day;
            self.shadow.changed = true;
        }
        Ok(user)
    }

    /// Puts a user into a further group.
    ///
    /// # Errors
    /// When the group is not there.
    pub fn add_member(&mut self, group: &str, user: &str) -> Result<(), Error> {
        if self.group(group).is_none() {
            return Err(Error::Account(format!(
                "user `{user}` is to be in group `{group}`, which does not exist"
            )));
        }
        for file in [&mut self.group, &mut self.gshadow] {
            let Some(line) = file.lines.iter_mut().find(|line| line[0] == group && line.len() >= 4) else {
                continue;
            };
            let mut members: Vec<_> = line[3].split(',').filter(|name| !name.is_empty()).collect();
            if !members.contains(&user) {
                members.push(user);
                line[3] = members.join(",");
                file.changed = true;
            }
        }
        Ok(())
    }

    fn check_existing(&self, new: &NewUser<'_>, existing: (u32, u32)) -> Result<(u32, u32), Error> {
        let name = new.name;
        if let Some(uid) = new.uid.filter(|uid| *uid != existing.0) {
            let message = format!("user `{name}` has id {} in the root file system, not {uid}", existing.0);
            return Err(Error::Account(message));
        }
        if let Some(group) = new.group {
            let members = self.group.line(group).and_then(|line| line.get(3));
            let is_member = members.is_some_and(|members| members.split(',').any(|member| member == name));
            if self.group(group) != Some(existing.1) && !is_member {
                return Err(Error::Account(format!("user `{name}` exists, but not in group `{group}`")));
            }
        }
        Ok(existing)
    }

    fn make_user(&mut self, new: &NewUser<'_>) -> Result<(u32, u32), Error> {
        let name = new.name;
        let (uid, gid) = match new.group {
            Some(group) => {
                let gid = self.group(group);
                let missing = || {
                    Error::Account(format!("user `{name}` is to have group `{group}`, which does not exist"))
                };
                (
                    self.choose(name, new.uid, |accounts, id| accounts.passwd.has_id(id))?,
                    gid.ok_or_else(missing)?,
                )
            }
            None => {
                let taken = |accounts: &Self, id| accounts.passwd.has_id(id) || accounts.group.has_id(id);
                match self.group(name) {
                    Some(gid) => {
                        (self.choose(name, new.uid, |accounts, id| accounts.passwd.has_id(id))?, gid)
                    }
                    None => {
                        let id = self.choose(name, new.uid, taken)?;
                        (id, self.add_group(name, Some(id))?)
                    }
                }
            }
        };
        let [comment, home, shell] = [new.comment, new.home, new.shell].map(str::to_owned);
        self.passwd.push(vec![
            name.into(),
            "x".into(),
            uid.to_string(),
            gid.to_string(),
            comment,
            home,
            shell,
        ]);
        let day = self.day.to_string();
        let mut line: Vec<String> = vec![name.into(), "!".into(), day];
        line.resize(9, String::new());
        self.shadow.push(line);
        Ok((uid, gid))
    }

    fn choose(&self, name: &str, id: Option<u32>, taken: impl Fn(&Self, u32) -> bool) -> Result<u32, Error> {
        match id {
            Some(INVALID_ID) => {
                let message =
                    format!("`{name}` is to have id {INVALID_ID}, which means no id: choose another");
                Err(Error::Account(message))
            }
            Some(id) if taken(self, id) => {
                Err(Error::Account(format!("`{name}` is to have id {id}, which is taken")))
            }
            Some(id) => Ok(id),
            None => SYSTEM_IDS
                .rev()
                .find(|id| !taken(self, *id))
                .ok_or_else(|| Error::Account(format!("no system id is left for `{name}`: give it one"))),
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if first && rest && name.len() <= 32 {
        return Ok(());
    }
    let message = format!(
        "`{name}` is no user or group name: expected up to 32 of a-z, 0-9, `_`, `-`, not beginning with a digit or `-`"
    );
    Err(Error::Account(message))
}

impl File {
    fn read(tree: &Tree, path: &str, mode: u16) -> Result<Self, Error> {
        let path = TreePath::from_root(path.as_bytes()).map_err(Error::Path)?;
        let bytes = tree.read(&path, LIMIT)?;
        let existed = bytes.is_some();
        let text = String::from_utf8(bytes.unwrap_or_default())
            .map_err(|_| Error::Account(format!("`{path}` of the root file system is no UTF-8 text")))?;
        let lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect();
        Ok(Self { path, mode, existed, lines, changed: false })
    }

    fn line(&self, name: &str) -> Option<&Vec<String>> {
        self.lines.iter().find(|line| line[0] == name)
    }

    fn has_id(&self, id: u32) -> bool {
        let id = id.to_string();
        self.lines.iter().any(|line| line.get(2) == Some(&id))
    }

    fn push(&mut self, line: Vec<String>) {
        self.lines.push(line);
        self.changed = true;
    }

    fn write(&self, tree: &mut Tree) -> Result<(), Error> {
        if self.changed {
            let text: String = self.lines.iter().map(|line| line.join(":") + "\n").collect();
            tree.write(&self.path, Metadata::root(self.mode), Content::bytes(text.into_bytes()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
