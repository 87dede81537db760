//! What is to be done to a host, from what an audit found.

use std::collections::BTreeSet;

use crate::audit::survey::Survey;
use crate::audit::wanted::{At, Judged, Shape, Wanted};
use crate::audit::{What, outside};
use crate::created::{CREATED, REPLACED};
use crate::generation::{OVERRIDES, PACKAGES};

/// One thing to do. Paths are relative to the install root, those of secrets to the root of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take away what should not be there, with everything in it.
    Remove(Vec<u8>),
    /// Put in place what should be there.
    Put(Vec<u8>, Wanted),
    /// Set permissions and owner, and take attributes away.
    Correct(Vec<u8>, Wanted),
    /// The same for a secret.
    Secret(Vec<u8>, Wanted),
    /// Put a directory in the place of what lies outside of the install root.
    Directory(Vec<u8>),
    /// Derive from the generation what it says of the host outside of the install root.
    Derive,
    /// Nothing can be done.
    Leave(At, &'static str),
}

impl Step {
    /// Where, as reports name it.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Remove(path) | Self::Put(path, _) | Self::Correct(path, _) => {
                At::Home(path.clone()).shown()
            }
            Self::Secret(path, _) | Self::Directory(path) => At::Host(path.clone()).shown(),
            Self::Derive => String::new(),
            Self::Leave(at, _) => at.shown(),
        }
    }

    /// What is going to happen.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Remove(_) => format!("remove {}", self.path()),
            Self::Put(..) => format!("put back {}", self.path()),
            Self::Directory(_) => format!("put a directory in the place of {}", self.path()),
            Self::Correct(..) | Self::Secret(..) => format!("correct {}", self.path()),
            Self::Derive => "derive files, roles, users and units from the generation".to_owned(),
            Self::Leave(_, why) => format!("leave {}: {why}", self.path()),
        }
    }

    /// What has happened.
    pub(super) fn done(&self) -> String {
        match self {
            Self::Remove(_) => format!("removed {}", self.path()),
            Self::Correct(..) | Self::Secret(..) => format!("corrected {}", self.path()),
            _ => self.describe(),
        }
    }
}

/// Why nothing is done about a product that no record vouches for.
const UNVOUCHED: &str = "the next upgrade, activation or change of roles writes its digest down";

/// What is to be done, in order: what is in the way goes first, directories come before what they hold.
pub(super) fn steps(survey: &Survey) -> Vec<Step> {
    let mut steps: Vec<Step> = removals(&survey.judged).into_iter().map(Step::Remove).collect();
    let mut seen = BTreeSet::new();
    let mut derive = false;
    for judged in &survey.judged {
        match &judged.at {
            At::Home(path) if judged.difference.what == What::Unverifiable => {
                let why = unmendable(path, What::Unverifiable).unwrap_or(UNVOUCHED);
                steps.push(Step::Leave(judged.at.clone(), why));
            }
            At::Home(path) if !seen.contains(path) => {
                if let Some(wanted) = survey.wanted.get(path) {
                    seen.insert(path.clone());
                    steps.push(mend(survey, path, wanted));
                } else if let Some(why) = unmendable(path, judged.difference.what) {
                    steps.push(Step::Leave(judged.at.clone(), why));
                }
            }
            At::Host(path) if is_directory(path) => steps.push(Step::Directory(path.clone())),
            At::Host(path) => match survey.outside.get(path) {
                Some(wanted) if wanted.shape == Shape::Secret => {
                    let absent = matches!(judged.difference.what, What::Missing | What::Type);
                    let why = "secrets are nowhere else: bring it with dcos_install.sh";
                    steps.push(if absent {
                        Step::Leave(judged.at.clone(), why)
                    } else {
                        Step::Secret(path.clone(), wanted.clone())
                    });
                }
                _ => derive = true,
            },
            At::Derived(_) => derive = true,
            At::Generation(path) if *path != survey.present.number.directory() => {
                steps.push(Step::Leave(judged.at.clone(), "`pkgpanda gc` removes it"));
            }
            At::Home(_) | At::Generation(_) => {}
        }
    }
    steps.extend(derive.then_some(Step::Derive));
    steps
}

/// What should not be there, without what lies in it.
fn removals(judged: &[Judged]) -> Vec<Vec<u8>> {
    let mut paths: BTreeSet<Vec<u8>> = BTreeSet::new();
    for judged in judged {
        if let (At::Home(path), What::Extra | What::Leftover) = (&judged.at, judged.difference.what)
            && unmendable(path, judged.difference.what).is_none()
        {
            paths.insert(path.clone());
        }
    }
    let inside = |path: &Vec<u8>| {
        path.iter().enumerate().any(|(at, byte)| *byte == b'/' && paths.contains(&path[..at]))
    };
    paths.iter().filter(|path| !inside(path)).cloned().collect()
}

/// Why nothing is done about a difference in the install root that no other place has the right content for.
fn unmendable(path: &[u8], what: What) -> Option<&'static str> {
    let is_below = |top: &str| path.starts_with(format!("{top}/").as_bytes());
    match what {
        What::Missing if is_below(OVERRIDES) => Some(
            "an edited file is nowhere else: make it again with `pkgpanda edit`, or undo the override with --override",
        ),
        What::Extra if is_below(REPLACED) => {
            Some("it may be what the host had before: look at it, and remove it if nobody needs it")
        }
        What::Type => Some("what it holds cannot be told: move it away"),
        What::Record if path == CREATED.as_bytes() => Some(
            "nothing else says what was made: move it away, and `pkgpanda uninstall` takes what is as the product has it",
        ),
        What::Unverifiable if is_below(PACKAGES) => Some(
            "`pkgpanda remove` takes a package away that is not active; swap one that is for one with a list",
        ),
        _ => None,
    }
}

/// Whether it is a directory outside of the install root that this program cannot do without.
fn is_directory(path: &[u8]) -> bool {
    outside::DIRECTORIES.iter().any(|directory| directory.as_bytes() == path)
}

fn mend(survey: &Survey, path: &[u8], wanted: &Wanted) -> Step {
    let here = survey.judged.iter().filter(|judged| matches!(&judged.at, At::Home(at) if at == path));
    let same = |what: What| matches!(what, What::Mode | What::Owner | What::Attributes);
    let mut ways = here.map(|judged| judged.difference.what).filter(|what| *what != What::Unverifiable);
    if ways.all(same) {
        Step::Correct(path.to_vec(), wanted.clone())
    } else {
        Step::Put(path.to_vec(), wanted.clone())
    }
}
