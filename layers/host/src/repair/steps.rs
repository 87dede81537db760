//! What is to be done to a host, from what an audit found.

use std::collections::BTreeSet;

use crate::audit::What;
use crate::audit::survey::Survey;
use crate::audit::wanted::{At, Judged, Shape, Wanted};

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
            Self::Secret(path, _) => At::Host(path.clone()).shown(),
            Self::Derive => String::new(),
            Self::Leave(at, _) => at.shown(),
        }
    }

    /// What is going to happen.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Remove(_) => format!("remove {}", self.path()),
            Self::Put(..) => format!("put back {}", self.path()),
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

/// What is to be done, in order: what is in the way goes first, directories come before what they hold.
pub(super) fn steps(survey: &Survey) -> Vec<Step> {
    let mut steps: Vec<Step> = removals(&survey.judged).into_iter().map(Step::Remove).collect();
    let mut seen = BTreeSet::new();
    let mut derive = false;
    for judged in &survey.judged {
        match &judged.at {
            At::Home(path) if !seen.contains(path) => {
                if let Some(wanted) = survey.wanted.get(path) {
                    seen.insert(path.clone());
                    steps.push(mend(survey, path, wanted));
                } else if judged.difference.what == What::Missing {
                    let why = "an edited file is nowhere else: make it again with `pkgpanda edit`, or undo \
                               the override with --override";
                    steps.push(Step::Leave(judged.at.clone(), why));
                }
            }
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
        if let (At::Home(path), What::Extra | What::Leftover) = (&judged.at, judged.difference.what) {
            paths.insert(path.clone());
        }
    }
    let inside = |path: &Vec<u8>| {
        path.iter().enumerate().any(|(at, byte)| *byte == b'/' && paths.contains(&path[..at]))
    };
    paths.iter().filter(|path| !inside(path)).cloned().collect()
}

fn mend(survey: &Survey, path: &[u8], wanted: &Wanted) -> Step {
    let here = survey.judged.iter().filter(|judged| matches!(&judged.at, At::Home(at) if at == path));
    let same = |what: What| matches!(what, What::Mode | What::Owner | What::Attributes);
    if here.map(|judged| judged.difference.what).all(same) {
        Step::Correct(path.to_vec(), wanted.clone())
    } else {
        Step::Put(path.to_vec(), wanted.clone())
    }
}
