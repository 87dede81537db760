//! Users and groups leave the files of a host that hold them (passwd(5), shadow(5), group(5), gshadow(5)), as
//! userdel(8) has them leave: under the lock of lckpwdf(3), each file replaced in one step.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

use bake_tree::{Content, Metadata, Node};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::created::{self, ACCOUNTS, ACCOUNTS_LOCK, Ground};
use crate::place::{Root, path};
use crate::{Failure, UserName};

/// How long another program may hold the lock, as for lckpwdf(3).
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is asked for.
const STEP: Duration = Duration::from_millis(100);
/// Fields of a line that are lists of users: members, and in gshadow(5) administrators before them.
const MEMBERS: usize = 3;
const ADMINISTRATORS: usize = 2;

/// Keeps others from changing accounts for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _handle: Option<OwnedFd>,
}

/// Takes the lock, where there are accounts.
pub(crate) fn lock(root: &Root) -> Result<Lock, Failure> {
    let at = path(ACCOUNTS_LOCK);
    let (parent, _) = at.split().expect("it has a name");
    let Some(directory) = root.find(&parent)? else { return Ok(Lock { _handle: None }) };
    let io = |action| Failure::io(action, root.shown(&at));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(&directory, ".pwd.lock", flags, Mode::from_raw_mode(0o600));
    let handle = handle.map_err(io("opening"))?;
    let mut waited = Duration::ZERO;
    loop {
        match rustix::fs::fcntl_lock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { _handle: Some(handle) }),
            Err(Errno::AGAIN | Errno::ACCESS) if waited < PATIENCE => {
                sleep(STEP);
                waited += STEP;
            }
            Err(Errno::AGAIN | Errno::ACCESS) => {
                let shown = root.shown(&at);
                let message =
                    format!("`{shown}` is locked: another program is changing users; try again later");
                return Err(Failure::new(message));
            }
            Err(error) => return Err(io("locking")(error)),
        }
    }
}

/// Takes users and groups away, and the users from the lists of other groups. A group that is somebody else's
/// primary one stays. Says what went and what stayed.
pub(crate) fn remove(
    root: &Root,
    _lock: &Lock,
    users: &BTreeSet<UserName>,
    groups: &BTreeSet<String>,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    let users: BTreeSet<&[u8]> = users.iter().map(|user| user.as_str().as_bytes()).collect();
    let mut kept = Vec::new();
    let [passwd, shadow, group, gshadow] = ACCOUNTS;
    let remaining = edit(root, passwd, &users, &BTreeSet::new(), say)?;
    edit(root, shadow, &users, &BTreeSet::new(), &mut |_| {})?;
    let primary: BTreeSet<&[u8]> = lines(&remaining).filter_map(|line| field(line, 3)).collect();
    let there = read(root, group)?.unwrap_or_default();
    let is_used = |name: &&String| {
        let line = lines(&there).find(|line| field(line, 0) == Some(name.as_bytes()));
        line.and_then(|line| field(line, 2)).is_some_and(|id| primary.contains(id))
    };
    let (used, gone): (BTreeSet<&String>, BTreeSet<&String>) = groups.iter().partition(is_used);
    kept.extend(used.iter().map(|name| format!("the group {name}: it is the primary group of another user")));
    let gone: BTreeSet<&[u8]> = gone.into_iter().map(String::as_bytes).collect();
    edit(root, group, &gone, &users, say)?;
    edit(root, gshadow, &gone, &users, &mut |_| {})?;
    Ok(kept)
}

/// Takes the lines of `gone` out of a file, and `members` out of the lists in others. Returns what the file is then.
fn edit(
    root: &Root,
    file: &str,
    gone: &BTreeSet<&[u8]>,
    members: &BTreeSet<&[u8]>,
    say: &mut dyn FnMut(String),
) -> Result<Vec<u8>, Failure> {
    let Some(before) = read(root, file)? else { return Ok(Vec::new()) };
    let (after, names) = without(&before, gone, members);
    if after == before {
        return Ok(after);
    }
    let at = created::physical(root, &path(file))?;
    let (parent, name) = at.split().expect("it has a name");
    let (mut metadata, _) = root.original(&at)?;
    // Caches of accounts go by the time of the file.
    metadata.mtime = Metadata::AT_EPOCH;
    let directory = created::enter(root, &parent)?;
    let directory = directory.ok_or_else(|| Failure::new(format!("`{}` is gone", root.shown(&at))))?;
    let node = Node::File(Content::bytes(after.clone()));
    created::write(&directory, name, &metadata, &node).map_err(Failure::io("writing", root.shown(&at)))?;
    for name in names {
        say(format!("removed {name} from /{file}"));
    }
    Ok(after)
}

fn read(root: &Root, file: &str) -> Result<Option<Vec<u8>>, Failure> {
    root.read(&created::physical(root, &path(file))?)
}

/// The file without lines of `gone` and without `members` in lists; and the names of the lines that went.
fn without(text: &[u8], gone: &BTreeSet<&[u8]>, members: &BTreeSet<&[u8]>) -> (Vec<u8>, Vec<String>) {
    let (mut after, mut names) = (Vec::with_capacity(text.len()), Vec::new());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let name = field(line, 0).unwrap_or_default();
        if gone.contains(name) {
            names.push(name.escape_ascii().to_string());
        } else if members.is_empty() {
            after.extend_from_slice(line);
        } else {
            after.extend(without_members(line, members));
        }
    }
    (after, names)
}

fn without_members(line: &[u8], members: &BTreeSet<&[u8]>) -> Vec<u8> {
    let (body, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |body| (body, b"\n"));
    let fields: Vec<&[u8]> = body.split(|byte| *byte == b':').collect();
    // In group(5), the field before the members is a number, and no user has a number for a name.
    let lists = |at: usize| fields.len() == MEMBERS + 1 && (at == MEMBERS || at == ADMINISTRATORS);
    let field = |(at, field): (usize, &&[u8])| {
        let mut names: Vec<&[u8]> = field.split(|byte| *byte == b',').collect();
        if lists(at) && names.iter().any(|name| members.contains(name)) {
            names.retain(|name| !members.contains(name));
        }
        names.join(&b","[..])
    };
    let fields: Vec<Vec<u8>> = fields.iter().enumerate().map(field).collect();
    [&fields.join(&b":"[..]), end].concat()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

fn field(line: &[u8], at: usize) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.split(|byte| *byte == b':').nth(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_go_and_every_other_byte_stays() {
        let set = |names: &[&'static str]| names.iter().map(|name| name.as_bytes()).collect::<BTreeSet<_>>();
        let group = b"root:x:0:\ndcos_a:x:999:\nadm:x:4:dcos_a,syslog,dcos_a2\n+:::\nodd\ndocker:x:5:dcos_a\nlast:x:6:x";
        let (after, names) = without(group, &set(&["dcos_a"]), &set(&["dcos_a"]));
        assert_eq!(names, ["dcos_a"]);
        let expected = "root:x:0:\nadm:x:4:syslog,dcos_a2\n+:::\nodd\ndocker:x:5:\nlast:x:6:x";
        assert_eq!(String::from_utf8(after).unwrap(), expected);
        let gshadow = b"adm:*:dcos_a,root:dcos_a\n";
        assert_eq!(without(gshadow, &set(&[]), &set(&["dcos_a"])).0, b"adm:*:root:\n");
        let passwd = b"dcos_a:x:1:1:dcos_b:/:/\ndcos_ab:x:2:1::/:/\n";
        assert_eq!(without(passwd, &set(&["dcos_a"]), &set(&[])).0, b"dcos_ab:x:2:1::/:/\n");
        for untouched in [&b""[..], b"\n\n", b"a:b:\xff\xfe:dcos_a:c\n"] {
            assert_eq!(without(untouched, &set(&["dcos_a"]), &set(&["dcos_a"])).0, untouched);
        }
    }
}
