//! A generation becomes current on a host where no other one is, or none that can be understood.

use std::collections::BTreeSet;

use super::{Broken, Changed, Stop, commit, leave, prepare};
use crate::generation::{Generation, Number};
use crate::host::{Host, Present};
use crate::{Failure, InstallRoot, secrets, setup};

/// Makes a generation current without asking which one was.
///
/// # Errors
/// When there is no such generation, or a package of it is missing or damaged.
pub(super) fn recover(host: &Host, number: Number, say: &mut dyn FnMut(String)) -> Result<Changed, Failure> {
    let before = host.leads_to().ok();
    let to = host.present(number)?;
    if to.generation.removing {
        return Err(Failure::new(format!("generation {number} was to be the last: expected another one")));
    }
    leave::clear_leftovers(host)?;
    // Nobody says what is active: all of it is checked.
    let none = BTreeSet::new();
    let generation = Generation::new(&InstallRoot::default(), &none, &none, |_| None);
    let notes = prepare::check(host, &Present { number, generation, product: None }, &to)?;
    if let Some(before) = before {
        secrets::keep(host, before, &secrets::kept(host, &to)?)?;
    }
    setup::roles::mark(&host.root)?;
    // Of the services those stop that are known: what else runs, deriving units sees to.
    match commit(host, &to, &to, Stop::Everything, setup::derive, say) {
        Ok(()) => Ok(Changed { number, before: before.unwrap_or(number), notes }),
        Err(Broken::Before(failure) | Broken::After(failure)) => Err(failure),
    }
}
