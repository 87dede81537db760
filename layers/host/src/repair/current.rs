//! The link to the current generation, where nothing leads to one any more.

use crate::Failure;
use crate::generation::{CURRENT, Number};
use crate::host::{Host, Lock};

/// The generation that can only be meant; none if there is a current one.
///
/// # Errors
/// When several can be, or none.
pub(super) fn meant(host: &Host) -> Result<Option<Number>, Failure> {
    let Err(failure) = host.leads_to() else { return Ok(None) };
    let fit = host.fit().map_err(|why| Failure::each(vec![failure.to_string(), why.to_string()]))?;
    let why = match fit[..] {
        [number] => return Ok(Some(number)),
        [] => "no generation is whole: move the install root away and run dcos_install.sh again".to_owned(),
        _ => {
            let list = fit.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("generations {list} are whole: `pkgpanda rollback N` makes one of them current")
        }
    };
    Err(Failure::each(vec![failure.to_string(), why]))
}

/// What [`lead`] does.
pub(super) fn describe(number: Number) -> String {
    format!("lead {CURRENT} to generation {number}")
}

/// Leads the host to a generation.
pub(super) fn lead(host: &Host, _lock: &Lock, number: Number) -> Result<(), Failure> {
    host.switch(number)
}
