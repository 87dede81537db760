//! One change of a host: packages, roles, overrides or all of them at once.
//!
//! Everything is read, checked and written to disk beside what is running. Then the services of the old generation
//! stop, one rename makes the new one current, and what a host derives from its generation follows. Until that
//! rename the host is what it was; after it, it is what was wanted, and a run that was killed is made up for by
//! `pkgpanda setup`.

pub(crate) mod leave;
mod plan;
mod prepare;
mod recover;
mod roles;
mod stage;
mod units;

use std::collections::BTreeSet;

use crate::generation::{GENERATIONS, Generation, Number, Overrides};
use crate::host::{Host, Lock, Present};
use crate::secrets::Secrets;
use crate::systemd::{Systemd, TARGET};
use crate::{Failure, PackageId, Role, overrides, secrets, setup};

pub use plan::Plan;
pub use roles::{coming_roles, known_roles};
pub use units::UnitChanges;

/// What a host is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The packages that are to be active; they are on the host.
    pub active: BTreeSet<PackageId>,
    /// The roles of the host.
    pub roles: BTreeSet<Role>,
    /// The roles that its own sources name.
    pub seen: BTreeSet<Role>,
    /// The bytes of the product's document, if there is one.
    pub product: Option<Vec<u8>>,
    /// Files of packages that an operator has changed. Those of packages that are not active are dropped.
    pub overrides: Overrides,
    /// Whether this is the end.
    pub removing: bool,
}

impl Wanted {
    /// Exactly what there is.
    pub fn of(present: &Present) -> Self {
        let Generation { active, roles, seen, overrides, removing, .. } = present.generation.clone();
        let product = present.product.clone();
        Self { active: active.into_keys().collect(), roles, seen, product, overrides, removing }
    }
}

/// Which services of the old generation stop before the new one becomes current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All of them.
    Everything,
    /// Those whose units vanish or have another text.
    Gone,
}

/// What has become of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The generation that is current now.
    pub number: Number,
    /// The one that was current before: the same if there was nothing to do.
    pub before: Number,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// How far a change came that failed.
enum Broken {
    /// The host is what it was.
    Before(Failure),
    /// The host is what was wanted; what follows from that is not.
    After(Failure),
}

/// What [`change`] would do, without doing it.
///
/// # Errors
/// Every reason why [`change`] would refuse.
pub fn plan(host: &Host, wanted: &Wanted) -> Result<Plan, Failure> {
    let current = host.current()?;
    check_not_removing(&current)?;
    let dropped = overrides::dropped(&wanted.overrides, &wanted.active);
    let wanted =
        Wanted { overrides: overrides::carried(&wanted.overrides, &wanted.active), ..wanted.clone() };
    plan::plan(host, &current, &prepare::prepare(host, &current, &wanted)?, dropped)
}

/// Makes a host what is wanted, all or nothing. What it is already is only completed.
///
/// # Errors
/// Every reason why it cannot be. The message of a failure after the commit point says that the change is made.
pub fn change(
    host: &Host,
    lock: &Lock,
    wanted: &Wanted,
    stop: Stop,
    say: &mut dyn FnMut(String),
) -> Result<Changed, Failure> {
    change_with(host, lock, wanted, &Secrets::new(), stop, say)
}

/// As [`change`], with secrets that the new generation brings to the host.
///
/// # Errors
/// As [`change`].
pub(crate) fn change_with(
    host: &Host,
    _lock: &Lock,
    wanted: &Wanted,
    secrets: &Secrets,
    stop: Stop,
    say: &mut dyn FnMut(String),
) -> Result<Changed, Failure> {
    let current = host.current()?;
    leave::clear_leftovers(host)?;
    let before = current.number;
    let dropped = overrides::dropped(&wanted.overrides, &wanted.active);
    let wanted =
        &Wanted { overrides: overrides::carried(&wanted.overrides, &wanted.active), ..wanted.clone() };
    if *wanted == Wanted::of(&current) {
        return already(host, &current, dropped, say);
    }
    check_not_removing(&current)?;
    let prepared = prepare::prepare(host, &current, wanted)?;
    let none_left = || Failure::new(format!("generation {before} has no successor: there are too many"));
    let highest = host.generations()?.last().copied().max(Some(before));
    let number = highest.and_then(Number::next).ok_or_else(none_left)?;
    let to = Present { number, generation: prepared.generation.clone(), product: prepared.product.clone() };
    stage::stage(host, number, &prepared.tree(number, secrets)?)?;
    say(format!("prepared generation {number}"));
    match commit(host, &current, &to, stop, setup::settle, say) {
        Ok(()) => Ok(Changed { number, before, notes: [dropped, prepared.notes].concat() }),
        Err(Broken::After(failure)) => Err(failure),
        Err(Broken::Before(failure)) => {
            // The first failure is the one to tell.
            let _ = leave::discard(host, GENERATIONS, &number.to_string());
            Err(failure)
        }
    }
}

/// Makes a generation current that is there: a rollback, or a way forward again.
///
/// # Errors
/// As [`change`]; and when there is no such generation, or a package of it is missing or damaged.
pub fn switch_to(
    host: &Host,
    _lock: &Lock,
    number: Number,
    say: &mut dyn FnMut(String),
) -> Result<Changed, Failure> {
    let Ok(current) = host.current() else { return recover::recover(host, number, say) };
    leave::clear_leftovers(host)?;
    if number == current.number {
        return already(host, &current, Vec::new(), say);
    }
    let to = host.present(number)?;
    if to.generation.removing {
        return Err(Failure::new(format!("generation {number} was to be the last: expected another one")));
    }
    check_not_removing(&current)?;
    let notes = prepare::check(host, &current, &to)?;
    secrets::keep(host, current.number, &secrets::kept(host, &to)?)?;
    if to.generation.roles != current.generation.roles {
        // After the commit these are the roles of another generation, and must not be taken for news.
        setup::roles::mark(&host.root)?;
    }
    match commit(host, &current, &to, Stop::Everything, setup::derive, say) {
        Ok(()) => Ok(Changed { number, before: current.number, notes }),
        Err(Broken::Before(failure)) => {
            // The first failure is the one to tell.
            let _ = setup::settle(host, &current, say);
            Err(failure)
        }
        Err(Broken::After(failure)) => Err(failure),
    }
}

/// Where a rollback goes: to the generation that this one took the place of. If that one is gone, to the newest
/// before this one.
///
/// # Errors
/// When the generations cannot be read.
pub fn previous(host: &Host, present: &Present) -> Result<Option<Number>, Failure> {
    let Some(before) = present.generation.before else { return Ok(None) };
    let is_fit = |number: &Number| host.present(*number).is_ok_and(|there| !there.generation.removing);
    let lower = host.generations()?.into_iter().rev().filter(|number| *number < present.number);
    Ok(std::iter::once(before).chain(lower).find(is_fit))
}

/// Nothing is to be done but what a run that was killed may have left undone.
fn already(
    host: &Host,
    current: &Present,
    notes: Vec<String>,
    say: &mut dyn FnMut(String),
) -> Result<Changed, Failure> {
    say(format!("active already: generation {}", current.number));
    setup::settle(host, current, say)?;
    Ok(Changed { number: current.number, before: current.number, notes })
}

fn check_not_removing(current: &Present) -> Result<(), Failure> {
    if current.generation.removing {
        let message = "everything is being removed from this host: `pkgpanda uninstall` goes on with that";
        return Err(Failure::new(message));
    }
    Ok(())
}

/// What writes what follows from a generation.
type Derive = fn(&Host, &Present, &mut dyn FnMut(String)) -> Result<(), Failure>;

/// Stops services, makes a generation current that is on disk, and derives what follows.
fn commit(
    host: &Host,
    from: &Present,
    to: &Present,
    stop: Stop,
    derive: Derive,
    say: &mut dyn FnMut(String),
) -> Result<(), Broken> {
    let number = to.number;
    let stopped = units::to_stop(host, from.number, number, stop).and_then(|units| {
        if !units.is_empty() && host.systemd != Systemd::Absent {
            say(format!("stopping {}", units.join(" ")));
        }
        host.systemd.stop(units.iter().map(String::as_str))
    });
    let unsure = match stopped.and_then(|()| host.switch(number)) {
        Ok(()) => None,
        // The rename may be done, and only having it on disk have failed.
        Err(failure) if host.current().is_ok_and(|current| current.number == number) => Some(failure),
        Err(failure) => {
            // The first failure is the one to tell.
            let _ = host.systemd.start([TARGET]);
            return Err(Broken::Before(failure));
        }
    };
    say(format!("generation {number} is current"));
    let derived = derive(host, to, say);
    let failures: Vec<Failure> = unsure.into_iter().chain(derived.err()).collect();
    if failures.is_empty() {
        return Ok(());
    }
    let next = format!("generation {number} is current all the same: `pkgpanda setup` does what is left");
    Err(Broken::After(Failure::each(failures.iter().map(ToString::to_string).chain([next]).collect())))
}
