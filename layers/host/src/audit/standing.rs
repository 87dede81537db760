//! Which generation a host is judged by: the current one, or where nothing leads to one, the newest that can be made
//! current.

use super::report::What;
use super::scan::{Found, Scan};
use super::wanted::{At, Judged, Part};
use super::{difference, not_there};
use crate::Failure;
use crate::generation::{CURRENT, Number};
use crate::host::{Host, Present};

/// What a host is judged by.
pub(crate) struct Standing {
    pub present: Present,
    /// If it is not the current generation, since there is none: all that can be made current.
    pub lost: Option<Vec<Number>>,
}

impl Standing {
    /// # Errors
    /// When the current generation cannot be understood, or there is none and no other that is whole.
    pub(crate) fn of(host: &Host) -> Result<Self, Failure> {
        let failure = match host.leads_to() {
            Ok(number) => return Ok(Self { present: host.present(number)?, lost: None }),
            Err(failure) => failure,
        };
        let fit = host.fit().map_err(|why| Failure::each(vec![failure.to_string(), why.to_string()]))?;
        let none = "no generation is whole: move the install root away and run dcos_install.sh again";
        let newest = *fit.last().ok_or_else(|| Failure::each(vec![failure.to_string(), none.to_owned()]))?;
        Ok(Self { present: host.present(newest)?, lost: Some(fit) })
    }

    /// What is wrong with the link to the current generation.
    pub(crate) fn judge(&self, scan: &Scan) -> Option<Judged> {
        let directories: Vec<String> = self.lost.as_ref()?.iter().map(|number| number.directory()).collect();
        let one_of = if directories.len() > 1 { "one of " } else { "" };
        let expected = format!("a link to {one_of}{}", directories.join(", "));
        let found = scan.get(CURRENT.as_bytes()).map_or_else(|| not_there().to_owned(), Found::describe);
        Some(difference(At::Home(CURRENT.into()), What::Record, expected, found, Part::State))
    }
}
