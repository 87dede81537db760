//! What happens at every boot, and when somebody changes the roles: the host learns what it is, and becomes that.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{derive, sources, units};
use crate::activate::{self, Stop, Wanted};
use crate::generation::{Generation, Number};
use crate::host::{Host, Present};
use crate::systemd::Systemd;
use crate::{Failure, Role, uninstall};

/// What has become of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetUp {
    /// The generation that is current.
    pub generation: Number,
    /// What the host is.
    pub roles: BTreeSet<Role>,
    /// Where the host's roles are named.
    pub source: Option<String>,
    /// Whether nothing runs until the host is given a role.
    pub is_waiting: bool,
}

/// Reads the roles of the host, changes it if they are news, and derives what follows from its generation.
///
/// # Errors
/// When the host cannot be what its roles say: it is what it was then. And everything that could not be derived.
pub fn set_up(host: &Host, say: &mut dyn FnMut(String)) -> Result<SetUp, Failure> {
    let lock = host.lock(true)?;
    let present = host.current()?;
    if present.generation.removing {
        // A removal that was committed goes on, to the end.
        let kept = uninstall::resume(host, &lock, say)?;
        kept.iter().for_each(|kept| say(format!("kept {kept}")));
        let Present { number, generation, .. } = present;
        return Ok(SetUp { generation: number, roles: generation.roles, source: None, is_waiting: false });
    }
    if host.systemd == Systemd::Running {
        // Before the roles are read, so that no change of them is missed.
        if let Err(failure) = units::watch(host) {
            say(format!("warning: {failure}"));
        }
    }
    let found = sources::read(&host.root, &mut |warning| say(format!("warning: {warning}")));
    let mut failed = None;
    if is_news(&present.generation, &found.roles) {
        let list = found.roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
        say(format!("{} names the roles {list}", found.source.as_deref().unwrap_or_default()));
        let wanted = Wanted { roles: found.roles.clone(), seen: found.roles, ..Wanted::of(&present) };
        match activate::change(host, &lock, &wanted, Stop::Gone, say) {
            Ok(changed) => changed.notes.into_iter().for_each(&mut *say),
            Err(failure) => failed = Some(failure),
        }
    } else {
        derive(host, &present, say)?;
    }
    let now = host.current()?;
    if let Some(failure) = failed {
        // A host that cannot be what it is asked to be still starts as what it was.
        if now.number == present.number {
            derive(host, &now, say)?;
        }
        return Err(failure);
    }
    let Present { number, generation, .. } = now;
    let is_waiting = generation.roles.is_empty();
    Ok(SetUp { generation: number, roles: generation.roles, source: found.source, is_waiting })
}

/// Whether roles that the host's own sources name are to be its roles. Those that they named when the generation was
/// made, before the host was given others, are none: the directory of the roles is behind, then.
fn is_news(generation: &Generation, found: &BTreeSet<Role>) -> bool {
    !found.is_empty() && *found != generation.roles && *found != generation.seen && !generation.removing
}
