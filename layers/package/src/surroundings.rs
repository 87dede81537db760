//! What a build sees of the world beside its inputs. None of it may matter; `--check` changes all of it.

use std::fmt;
use std::fs;
use std::path::Path;

/// The clock of a second build runs ahead by this much.
const AHEAD: &str = "+400d";

/// What a build sees of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The host name.
    pub hostname: &'static str,
    /// User and group id.
    pub id: u32,
    /// `NUM_CORES`.
    pub cores: usize,
    /// How many processors there are; all when not given.
    pub cpus: Option<usize>,
    /// Whether directories in `/pkg` list their entries in the opposite order.
    pub is_shuffled: bool,
    /// Below which directory `/pkg` really lies.
    pub real_prefix: Option<&'static str>,
    /// Whether the clock runs ahead.
    pub is_later: bool,
}

/// One of the things that must not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// The time of the build, and chance: both differ from build to build anyway.
    Clock,
    /// The build's own directory.
    Directory,
    /// How many processors there are.
    Cores,
    /// The order in which directories list their entries.
    Order,
    /// Who builds.
    User,
    /// The name of the machine.
    Host,
}

impl Factor {
    /// All of them; the clock first, because it always differs.
    pub const ALL: [Self; 6] =
        [Self::Clock, Self::Directory, Self::Cores, Self::Order, Self::User, Self::Host];

    /// What most likely makes the output depend on it, and what to do.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Clock => {
                "the time of the build, or chance: use SOURCE_DATE_EPOCH instead of the clock, and fixed seeds"
            }
            Self::Directory => {
                "the path of the build: map it away, as with gcc's -ffile-prefix-map=$(pwd)=. or rustc's --remap-path-prefix"
            }
            Self::Cores => {
                "the number of processors: give what depends on it a fixed number of jobs or threads"
            }
            Self::Order => "the order in which directories list their entries: sort them",
            Self::User => {
                "the user who builds: give archives a fixed owner, as with tar's --owner=0 --group=0"
            }
            Self::Host => "the name of the machine: leave it out",
        }
    }
}

impl fmt::Display for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hostname, id, cores, .. } = self;
        let place = self.real_prefix.unwrap_or_default();
        write!(f, "as user {id} of `{hostname}` with {cores} processors in `{place}/pkg`")?;
        write!(f, "{}", if self.is_later { ", with the clock ahead" } else { "" })?;
        write!(f, "{}", if self.is_shuffled { ", with directories in the opposite order" } else { "" })
    }
}

impl Surroundings {
    /// Those of every build on a machine with `cores` processors.
    pub fn usual(cores: usize) -> Self {
        Self {
            hostname: "builder",
            id: 0,
            cores,
            cpus: None,
            is_shuffled: false,
            real_prefix: None,
            is_later: false,
        }
    }

    /// The same, but for `factor`.
    #[must_use]
    pub fn varied(self, factor: Factor) -> Self {
        match factor {
            Factor::Clock => Self { is_later: true, ..self },
            Factor::Directory => Self { real_prefix: Some("/another/place"), ..self },
            Factor::Cores if self.cores > 1 => Self { cores: 1, cpus: Some(1), ..self },
            Factor::Cores => Self { cores: 2, ..self },
            Factor::Order => Self { is_shuffled: true, ..self },
            Factor::User => Self { id: 1234, ..self },
            Factor::Host => Self { hostname: "another-builder", ..self },
        }
    }

    /// The variables that make the clock run ahead, where `builder` has libfaketime. Otherwise, and for programs
    /// without libc, a second build is as much later as it really is.
    pub(crate) fn clock(&self, builder: &Path) -> Vec<(String, String)> {
        let library = self.is_later.then(|| faketime(builder)).flatten();
        library.map_or_else(Vec::new, |library| {
            vec![
                ("LD_PRELOAD".to_owned(), library),
                ("FAKETIME".to_owned(), AHEAD.to_owned()),
                // Times of files are left as they are: builds compare them with each other.
                ("NO_FAKE_STAT".to_owned(), "1".to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
            ]
        })
    }
}

/// Whether a clock can be made to run ahead in `builder`.
pub(crate) fn can_be_later(builder: &Path) -> bool {
    faketime(builder).is_some()
}

/// Where libfaketime is in a builder: as Debian's and Fedora's packages have it.
fn faketime(builder: &Path) -> Option<String> {
    let mut directories: Vec<String> = ["usr/lib64", "usr/lib"].map(str::to_owned).to_vec();
    let architectures = fs::read_dir(builder.join("usr/lib")).ok()?;
    let names = architectures.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.ends_with("-linux-gnu")).collect();
    names.sort();
    directories.extend(names.into_iter().map(|name| format!("usr/lib/{name}")));
    let files = directories.into_iter().map(|directory| format!("{directory}/faketime/libfaketime.so.1"));
    let mut found = files.filter(|file| builder.join(file).is_file());
    found.next().map(|file| format!("/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_factor_changes_something() {
        for cores in [1, 2] {
            let usual = Surroundings::usual(cores);
            for factor in Factor::ALL {
                assert_ne!(usual.clone().varied(factor), usual, "{factor:?}");
            }
        }
    }
}
