//! The commit: a generation becomes current that says that this is the end.

use crate::Failure;
use crate::activate::{self, Stop, Wanted};
use crate::created::Record;
use crate::generation::Overrides;
use crate::host::{HOME, Host, Lock};
use crate::name::PKGPANDA;
use crate::place::{Root, path};
use crate::systemd::TARGET;

/// Makes the end current, unless it is. Says what stays, and why.
pub(super) fn begin(
    host: &Host,
    lock: &Lock,
    keep_state: bool,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    let present = host.current()?;
    let record = Record::read(&host.root, &path(HOME))?;
    // Before the commit, after which a boot may go on.
    let kept = keep(&host.root, &mut record.clone(), keep_state)?;
    if present.generation.removing {
        return Ok(kept);
    }
    for edited in super::plan::edited(host, &present)? {
        say(format!("{edited} was edited; it is removed all the same"));
    }
    let program = present.generation.active.keys().filter(|id| id.name().as_str() == PKGPANDA);
    let wanted = Wanted {
        active: program.cloned().collect(),
        product: None,
        overrides: Overrides::new(),
        removing: true,
        ..Wanted::of(&present)
    };
    host.systemd.stop([TARGET])?;
    let changed = activate::change(host, lock, &wanted, Stop::Everything, say);
    let changed = match changed {
        // A program that is damaged is no reason to keep everything: without it, the next boot cannot go on, but
        // this command can.
        Err(_) if !is_removing(host) && !wanted.active.is_empty() => {
            let bare = Wanted { active: [].into(), ..wanted };
            activate::change(host, lock, &bare, Stop::Everything, say)
        }
        changed => changed,
    };
    match changed {
        // What failed after the commit is what is removed now.
        Err(_) if is_removing(host) => Ok(kept),
        Err(failure) => {
            // The first failure is the one to tell.
            let now = Record::read(&host.root, &path(HOME)).unwrap_or_default();
            let _ = record.replace(&host.root, &now);
            let _ = host.systemd.start([TARGET]);
            Err(failure)
        }
        Ok(_) => Ok(kept),
    }
}

/// Takes out of the record what is to be kept, and says what that is.
pub(super) fn keep(root: &Root, record: &mut Record, state: bool) -> Result<Vec<String>, Failure> {
    if !state {
        return Ok(Vec::new());
    }
    let before = record.clone();
    (record.state, record.users, record.groups) = Default::default();
    record.replace(root, &before)?;
    let state = before.state.iter().map(|path| format!("{path}: state is to be kept"));
    Ok(state
        .chain(before.users.iter().map(|user| format!("the user {user}: the state may be its own")))
        .collect())
}

fn is_removing(host: &Host) -> bool {
    host.current().is_ok_and(|present| present.generation.removing)
}
