//! Whether every byte of a host is what was installed.
//!
//! What should be there is worked out anew: packages by their `contents.json`, for which the records of generations
//! vouch; the current generation by the same rules that made it; what lies outside of the install root by the
//! product. Whatever differs is a [`Difference`]. Nothing is changed, nor trusted that can be read again; with
//! [`Options::incremental`], a file is not read if neither its own change time nor anything else of it differs from
//! what an earlier audit saw.
//!
//! # Digests
//!
//! Two digests stand for a host, so that ten thousand of them can be compared with `sort | uniq -c`. Each is the
//! SHA-256 of a text: a first line that names the form, then sorted lines, each ended by a newline.
//!
//! `bake-state-1` holds what does not depend on roles or on the host:
//!
//! ```text
//! configuration ID                    of the product; `none` without one
//! package ID SHA256                   each active package, by the digest of its contents.json
//! entry PATH WHAT                     what the rules make of these packages on a host without a role, and product.json
//! file PATH WHAT                      what a host has outside of the install root, but for secrets
//! found PATH WHAT                     everything in a package of which nobody can tell what it should hold
//! override NAME PATH WHAT             each changed copy
//! difference WHAT PATH FOUND          each difference, with what was found
//! ```
//!
//! `bake-host-1` holds the rest: `role NAME`, `entry PATH WHAT` of what roles bring, `secret PATH` for each that the
//! product wants, on the machine that is running also `unit NAME SHA256` and `user NAME UID`, and those differences
//! that concern any of this.
//!
//! The directory of the current generation is called `/opt/mesosphere/current` in both: it makes no difference
//! how many generations a host has had. So a host that was installed, an image baked for a role, and one that learns
//! it when it boots agree. Neither packages that are not active nor other generations enter, unless they are damaged.

mod cache;
mod document;
mod expected;
mod facts;
pub(crate) mod outside;
mod own;
mod read;
mod report;
mod running;
pub(crate) mod scan;
mod standing;
pub(crate) mod store;
pub(crate) mod survey;
pub(crate) mod wanted;

use crate::Failure;
use crate::host::Host;
pub(crate) use cache::{CACHE, UNFINISHED as CACHE_UNFINISHED};
pub(crate) use facts::report;
pub(crate) use read::open as open_file;
pub use report::{Difference, Override, Report, SCHEMA, What};
use wanted::{At, Judged, Part};

/// How to audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether to believe what earlier audits have read, where nothing has changed since.
    pub incremental: bool,
    /// On how many threads.
    pub threads: usize,
}

/// A report, and what went wrong without making it wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// What was found.
    pub report: Report,
    /// What the next audit will have to do without, in words.
    pub notes: Vec<String>,
}

/// Audits a host.
///
/// # Errors
/// When there is nothing to audit, it cannot be read, or it changes meanwhile.
pub fn audit(host: &Host, options: Options) -> Result<Audited, Failure> {
    let survey = survey::survey(host, options)?;
    let report = facts::report(host, &survey);
    // What a change makes and has not finished yet is no damage.
    if !report.clean
        && let Err(failure) = host.lock(false)
    {
        return Err(Failure::new(format!("{failure}: what differs meanwhile says nothing")));
    }
    Ok(Audited { report, notes: survey.notes })
}

/// What is expected where nothing is.
fn not_there() -> &'static str {
    "nothing"
}

fn difference(
    at: At,
    what: What,
    expected: impl Into<String>,
    found: impl Into<String>,
    part: Part,
) -> Judged {
    let (expected, found) = (expected.into(), found.into());
    Judged { difference: Difference { path: at.shown(), what, expected, found }, part, at }
}
