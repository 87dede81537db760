//! What a host derives from its current generation, at every boot and after every change: files outside of the
//! install root, roles, users, state directories, kernel settings, units. Whatever is right already stays as it is.

mod learn;
pub(crate) mod roles;
mod smbios;
pub(crate) mod sources;
mod state;
mod status;
mod sysctl;
mod units;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

pub(crate) use learn::is_news;
pub use learn::{SetUp, set_up};
pub use status::{Status, status};

use crate::generation::Generation;
use crate::host::{HOME, Host, Present};
use crate::integration::{self, HostEntry};
use crate::persist::{self, Persistent};
use crate::place::Root;
use crate::product::Product;
use crate::systemd::Systemd;
use crate::{Failure, created, place, secrets};

/// Makes the host what its current generation, which is `present`, says. Whatever one part fails at, the others
/// are done: a host that lacks a user still runs what needs none.
///
/// # Errors
/// Everything that could not be done.
pub fn derive(host: &Host, present: &Present, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    parts(host, present, true, say)
}

/// The same, but for the directory of the roles when somebody has written others there since the generation was
/// made: those are news, and the next setup makes them the host's.
pub(crate) fn settle(host: &Host, present: &Present, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    parts(host, present, false, say)
}

fn parts(
    host: &Host,
    present: &Present,
    over_news: bool,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let mut keep = |result: Result<(), Failure>| problems.extend(result.err());
    keep(host.check_product(present));
    let persisted = persist(host, present, say);
    // What is made before it is written down would later be taken for somebody else's.
    let is_recorded = persisted.is_ok();
    keep(persisted);
    if is_recorded {
        keep(mirror_roles(host, &present.generation, over_news, say));
    }
    // The rest is the business of the machine that runs from this root, and is made there at every boot.
    if host.root.is_running() {
        keep(derive_running(host, present, say));
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::each(problems)) }
}

/// Has the directory of the roles say what the host is; unless `over_news`, not over what somebody has written there.
fn mirror_roles(
    host: &Host,
    generation: &Generation,
    over_news: bool,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let none = BTreeSet::new();
    let seen = if over_news {
        None
    } else if roles::is_behind(host)? {
        Some(&generation.seen)
    } else {
        Some(&none)
    };
    roles::mirror(&host.root, &generation.roles, seen, say)
}

/// What is gone with the next boot, or belongs to the machine.
fn derive_running(host: &Host, present: &Present, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let (root, generation) = (&host.root, &present.generation);
    let mut problems = Vec::new();
    let mut keep = |result: Result<(), Failure>| problems.extend(result.err());
    keep(
        users::make(root, generation, say).and_then(|accounts| state::make(root, generation, &accounts, say)),
    );
    match units::of(host, present) {
        Err(failure) => keep(Err(failure)),
        Ok(units) => {
            let at = place::path(&format!("{HOME}/{}", present.number.directory()));
            keep(sysctl::set(root, &at, &units, say));
            if host.systemd == Systemd::Running {
                keep(units::write(host, present, &units, say));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::each(problems)) }
}

/// Whether the users of a generation are there as they should be, or can be made: to be asked before it becomes
/// current.
///
/// # Errors
/// Every reason why not.
pub(crate) fn check_users(root: &Root, generation: &Generation) -> Result<(), Vec<String>> {
    users::check(root, generation)
}

/// Whether the directory of the roles can be written: to be asked before a generation becomes current.
///
/// # Errors
/// When something else is in its place.
pub(crate) fn check_roles(root: &Root) -> Result<(), Failure> {
    roles::check(root)
}

/// The numbers of those users of a generation that the host has.
///
/// # Errors
/// When its lists of users cannot be read.
pub(crate) fn accounts(root: &Root, generation: &Generation) -> Result<BTreeMap<String, u32>, Failure> {
    let accounts = users::Accounts::of(root, generation)?;
    Ok(accounts.users.into_iter().map(|(name, user)| (name, user.uid)).collect())
}

/// Stops and removes every unit that was written, and what watches the roles: the opposite of what [`derive`] does
/// in `/run`.
///
/// # Errors
/// When a unit does not stop, or a file cannot be removed.
pub(crate) fn withdraw_units(
    host: &Host,
    present: &Present,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    if host.systemd == Systemd::Running { units::withdraw(host, present, say) } else { Ok(()) }
}

/// Runs a program of the host that must succeed.
#[expect(clippy::disallowed_methods, reason = "systemd's own programs make users and directories")]
pub(crate) fn program(name: &str, arguments: &[&str]) -> Result<(), Failure> {
    let shown = format!("{name} {}", arguments.join(" "));
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::new(format!("running `{shown}` failed: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("`{shown}` ended with {}: {}", output.status, said.trim_end())))
}

/// Files outside of the install root.
fn persist(host: &Host, present: &Present, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let generation = &present.generation;
    let mut made = created::of_generation(generation);
    made.extend(generation.roles.iter().map(created::role));
    created::note(&host.root, &made)?;
    // The roles are not among these: they change all at once.
    let mut wanted = Persistent::default();
    if let Some(bytes) = &present.product {
        let product: Product = serde_json::from_slice(bytes).map_err(|error| {
            Failure::new(format!("the product of generation {} is none: {error}", present.number))
        })?;
        wanted.files = Some(integration::product_files(&product).map_err(Failure::each)?);
        let kept = secrets::kept(host, present)?.into_iter();
        wanted.secrets = kept.map(|(path, content)| (path, HostEntry { mode: 0o600, content })).collect();
    }
    persist::persist(&host.root, &wanted, say)
}
