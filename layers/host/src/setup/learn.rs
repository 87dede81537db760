//! What happens at every boot, and when somebody changes the roles: the host learns what it is, and becomes that.

use std::collections::BTreeSet;

use serde::Serialize;

use super::sources::{self, Found};
use super::{roles, settle, units};
use crate::activate::{self, Stop, Wanted};
use crate::generation::{Generation, Number};
use crate::host::{Host, Lock, Present};
use crate::systemd::Systemd;
use crate::{Failure, Role, uninstall};

/// How often one run looks for roles that somebody wrote while it was at work.
const LOOKS: usize = 10;

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
    /// Whether everything has been removed: what was being removed is, to the end.
    pub is_removed: bool,
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
        for kept in kept {
            say(format!("kept {kept}"));
        }
        return Ok(SetUp {
            generation: present.number,
            roles: BTreeSet::new(),
            source: None,
            is_waiting: false,
            is_removed: true,
        });
    }
    if host.systemd == Systemd::Running {
        // Before the roles are read, so that no change of them is missed.
        if let Err(failure) = units::watch(host) {
            say(format!("warning: {failure}"));
        }
    }
    let mut found = sources::read(&host.root, &mut |warning| say(format!("warning: {warning}")));
    let mut now = present;
    for _ in 0..LOOKS {
        become_what_is_said(host, &lock, &now, &found, say)?;
        now = host.current()?;
        // Somebody may have written roles meanwhile.
        let later = sources::read(&host.root, &mut |_| {});
        if !is_news(host, &now.generation, &later)? {
            break;
        }
        found = later;
    }
    let (is_waiting, roles) = (now.generation.roles.is_empty(), now.generation.roles);
    Ok(SetUp { generation: now.number, roles, source: found.source, is_waiting, is_removed: false })
}

/// Changes the host if its roles are news, and derives what follows from its generation.
fn become_what_is_said(
    host: &Host,
    lock: &Lock,
    present: &Present,
    found: &Found,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    if !is_news(host, &present.generation, found)? {
        return settle(host, present, say);
    }
    let Found { roles, source, .. } = found;
    let list = roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
    say(format!("{} names the roles {list}", source.as_deref().unwrap_or_default()));
    warn_of_unknown(host, present, roles, say);
    let wanted = Wanted { roles: roles.clone(), seen: roles.clone(), ..Wanted::of(present) };
    match activate::change(host, lock, &wanted, Stop::Gone, say) {
        Ok(changed) => {
            for note in changed.notes {
                say(note);
            }
            Ok(())
        }
        Err(failure) => {
            // A host that cannot be what it is asked to be still starts as what it was. Nobody's word is lost: the
            // next run tries again.
            let is_as_before = host.current().is_ok_and(|current| current.number == present.number);
            let settled = if is_as_before { settle(host, present, say) } else { Ok(()) };
            Err(Failure::each([failure].into_iter().chain(settled.err()).collect()))
        }
    }
}

/// Whether roles that the host's own sources name are to be its roles. Those that they named when the generation was
/// made, before the host was given others, are none: the directory of the roles is behind, then. What somebody has
/// written there since is.
pub(crate) fn is_news(host: &Host, generation: &Generation, found: &Found) -> Result<bool, Failure> {
    let none = BTreeSet::new();
    let seen = if found.is_directory && !roles::is_behind(host)? { &none } else { &generation.seen };
    Ok(differ(&generation.roles, seen, &found.roles))
}

fn differ(own: &BTreeSet<Role>, seen: &BTreeSet<Role>, found: &BTreeSet<Role>) -> bool {
    !found.is_empty() && found != own && found != seen
}

/// A role that no package knows may be a slip of the pen: the host gets it, and is told.
fn warn_of_unknown(host: &Host, present: &Present, roles: &BTreeSet<Role>, say: &mut dyn FnMut(String)) {
    // What cannot be read is told by the change that follows.
    let Ok(known) = activate::known_roles(host, present) else { return };
    for role in roles.difference(&known) {
        say(format!("warning: no package knows the role `{role}`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> BTreeSet<Role> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn news_are_roles_that_nobody_has_named_before() {
        for (own, seen, found, news) in [
            // A host that waits.
            (&[][..], &[][..], &[][..], false),
            (&[], &[], &["a"], true),
            // As it is.
            (&["a"], &["a"], &["a"], false),
            (&["a"], &[], &["a"], false),
            // Nobody says anything: it stays.
            (&["a"], &["a"], &[], false),
            // An operator changed the directory.
            (&["a"], &["a"], &["a", "b"], true),
            (&["a"], &[], &["b"], true),
            // `role add b` was killed after its commit: the directory is behind.
            (&["a", "b"], &["a"], &["a"], false),
            // `role remove` took the last one away.
            (&[], &["a"], &["a"], false),
        ] {
            assert_eq!(differ(&roles(own), &roles(seen), &roles(found)), news, "{own:?} {seen:?} {found:?}");
        }
    }
}
