//! The seed: a pristine install root in the `/usr` of systems whose image brings `/usr` and whose host owns `/var`.
//!
//! On hosts made of an ostree commit or of a bootable container (Fedora CoreOS, RHEL CoreOS, every `bootc` system),
//! `/usr` is the image's and read-only, `/opt` is a link to `/var/opt`, and what an image has below `/var` lands at
//! the installation alone and never with an upgrade. So the image has the install root as a seed,
//!
//! ```text
//! /usr/lib/bake/seed/mesosphere/       what /opt/mesosphere is on a host whose first generation this is
//! /usr/lib/bake/seed/contents.json     every entry of it; the digest of this list is the seed's own
//! /usr/libexec/bake/pkgpanda           this program, where SELinux lets systemd start programs
//! /var/lib/bake/seed.json              which seed the host has taken: the host's, and no image's
//! ```
//!
//! and [`take`] runs at every boot before the product starts. The rule is: **a host takes a seed once, when its image
//! brings another one than it took last.**
//!
//! - A host without an install root, which never took a seed, gets it whole: verified against the list, staged beside
//!   its place, on disk, there by one rename. This is the very code of an installation.
//! - A host that has an install root takes the seed as an upgrade: packages that it lacks come into its store, each
//!   verified, and the seed's set of packages and its product become a new generation by the one commit point of
//!   every activation. Roles, secrets, an operator's edits and all earlier generations stay, and one rollback leads
//!   back.
//! - As long as the image's seed stays the same, nothing is done, whatever an operator has activated since. An image
//!   that is rolled back brings another seed than the one taken last, so the product follows the image both ways.
//! - What was uninstalled stays uninstalled: a host that took a seed and has no install root gets none, until somebody
//!   removes the record.
//!
//! The record is written when all of this is done. A run that was killed before is made up for by the next one: what
//! was staged is finished, what is active already stays. Only whoever activates something by hand between such a kill
//! and the next boot finds the seed's generation above it; theirs is still there.
//!
//! Everything in a commit has one time and may share inodes with whatever else has the same bytes; so the list also
//! has the times, and the copy has no hard links. Labels of SELinux are the host's business: images get theirs when
//! they are committed or deployed, and the copy gets them from the host's `restorecon`, before the record is written.

mod list;
mod read;

use std::collections::BTreeMap;
use std::path::Path;

use bake_base::{Digest, json, names};
use bake_tree::TreePath;
use serde::{Deserialize, Serialize};

use crate::activate::{self, Stop, Wanted};
use crate::created::Belongings;
use crate::generation::Number;
use crate::host::{HOME, Host};
use crate::installer::{self, Commit};
use crate::integration::{self, HostEntry};
use crate::place::{self, Root};
use crate::{Failure, files, setup, store};

pub use list::{List, ListError};
use read::Seed;

/// Where the seed's install root lies.
pub const SEED: &str = "usr/lib/bake/seed/mesosphere";
/// Where the list of its entries lies.
pub const LIST: &str = "usr/lib/bake/seed/contents.json";
/// Where the program lies that takes it.
pub const PROGRAM: &str = "usr/libexec/bake/pkgpanda";
/// Where a system's own units lie.
const UNITS: &str = "usr/lib/systemd/system";
/// The unit that takes the seed at every boot.
const UNIT: (&str, &str) = ("bake-seed.service", include_str!("seed/bake-seed.service"));
/// What has the directory there, with its label, that the copy goes to.
const TMPFILES: (&str, &str) = ("usr/lib/tmpfiles.d/bake-seed.conf", "d /var/opt 0755 root root -\n");
/// What this host took.
const TAKEN: &str = "var/lib/bake/seed.json";
/// The revision of that record.
const SCHEMA: &str = "bake-seed-taken-1";
/// The longest such record, in bytes.
const LIMIT: u64 = 4096;
/// Is there where SELinux is on.
const SELINUX: &str = "/sys/fs/selinux/enforce";
/// What the top of a file system may hold.
const LOST: &[u8] = b"lost+found";

/// What has become of a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// The system has none.
    None,
    /// The host took it before.
    Already,
    /// The host had the product before, and it was removed.
    Removed,
    /// The product is on the host now.
    Installed,
    /// It is the current generation.
    Activated {
        /// The generation's number.
        generation: Number,
    },
}

impl Outcome {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::None => format!("this system has no /{LIST}"),
            Self::Already => "this seed was taken before".to_owned(),
            Self::Removed => {
                format!("the product was removed from this host: remove /{TAKEN} to have it again")
            }
            Self::Installed => "the product is installed".to_owned(),
            Self::Activated { generation } => format!("the seed is generation {generation}"),
        }
    }
}

/// What an image has beside the seed and the program: units and what they need.
pub fn image_files() -> BTreeMap<TreePath, HostEntry> {
    let entry = |text: &str| HostEntry { mode: 0o644, content: text.as_bytes().to_vec() };
    let mut files = BTreeMap::from([
        (place::path(&format!("{UNITS}/{}", UNIT.0)), entry(UNIT.1)),
        (place::path(TMPFILES.0), entry(TMPFILES.1)),
    ]);
    for (path, file) in integration::files() {
        // An installation has them in /etc. Until then, and for the first boot, they are the image's.
        if let Some((_, name)) = path.split() {
            files.insert(place::path(UNITS).join(name), file);
        }
    }
    files
}

/// Links that have units of the image started at boot, with their targets. They lie in `/usr` as well: so they are
/// there after an upgrade of a host that had its first boot long ago, when no presets are applied any more.
pub fn image_links() -> BTreeMap<TreePath, String> {
    [UNIT.0, integration::SETUP_UNIT]
        .map(|name| (place::path(&format!("{UNITS}/multi-user.target.wants/{name}")), format!("../{name}")))
        .into()
}

/// Which seed a host took last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    schema: String,
    seed: Digest,
}

/// Takes the seed of the system in `root`, unless the host took it before.
///
/// # Errors
/// When the seed is not what was baked, or the host cannot have it. It is what it was then, unless the message says
/// that the change is made; the next run tries again.
pub fn take(root: &Path, say: &mut dyn FnMut(String)) -> Result<Outcome, Failure> {
    let handle = Root::open(root)?;
    let Some(seed) = Seed::find(&handle)? else { return Ok(Outcome::None) };
    let taken = taken(&handle)?;
    if taken == Some(seed.digest) {
        return Ok(Outcome::Already);
    }
    if taken.is_some() && is_gone(&handle)? {
        return Ok(Outcome::Removed);
    }
    let mut commit = Commit::begin(&handle, None)?;
    let outcome = if commit.is_done() {
        drop(commit);
        match upgrade(root, &seed, say)? {
            Some(generation) => Outcome::Activated { generation },
            None => return Ok(Outcome::Removed),
        }
    } else {
        let is_this_one = !commit.is_staged();
        install(&handle, &seed, &mut commit, say)?;
        drop(commit);
        settle(root, say)?;
        if !is_this_one {
            // An earlier run had it staged, perhaps of the seed of another image.
            upgrade(root, &seed, say)?;
        }
        Outcome::Installed
    };
    relabel(&handle, root)?;
    let record = Taken { schema: SCHEMA.to_owned(), seed: seed.digest };
    let content = json::to_canonical(&record).expect("its keys are texts");
    files::put(&handle, &place::path(TAKEN), &HostEntry { mode: 0o644, content })?;
    Ok(outcome)
}

/// The seed that the host took last, if it took one.
fn taken(root: &Root) -> Result<Option<Digest>, Failure> {
    let at = place::path(TAKEN);
    let Some(bytes) = files::read(root, &at, LIMIT)? else { return Ok(None) };
    let wrong = |reason: String| {
        Failure::new(format!("`{}` {reason}: remove it to have the seed taken again", root.shown(&at)))
    };
    let taken: Taken =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("is no record of a seed: {error}")))?;
    if taken.schema != SCHEMA {
        return Err(wrong(format!("has the schema `{}` and not {SCHEMA}", taken.schema)));
    }
    Ok(Some(taken.seed))
}

/// Whether there is nothing in the install root's place.
fn is_gone(root: &Root) -> Result<bool, Failure> {
    let at = place::path(HOME);
    let Some(home) = root.find(&at)? else { return Ok(true) };
    let names = names(&home).map_err(Failure::io("reading", root.shown(&at)))?;
    Ok(names.iter().all(|name| name == LOST))
}

/// Puts the seed into the install root's place, or what an earlier run has staged there.
fn install(
    root: &Root,
    seed: &Seed,
    commit: &mut Commit<'_>,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    if !commit.is_staged() {
        let tree = seed.read(root)?;
        let generation = read::generation(&tree)?;
        let product = read::product(&tree)?;
        let (files, secrets) = match product.as_ref().map(|loaded| &loaded.product) {
            Some(product) => (
                integration::product_files(product).map_err(Failure::each)?,
                integration::secret_paths(product).map_err(Failure::each)?.into_keys().collect(),
            ),
            None => Default::default(),
        };
        say(format!("verified the seed {}", seed.digest));
        let belongings = Belongings {
            files: &files,
            secrets: &secrets,
            roles: &generation.roles,
            users: &generation.users,
            state_directories: &generation.state_directories,
        };
        installer::stage_root(root, commit, tree, &belongings)?;
        say("copied it beside /opt/mesosphere".to_owned());
    }
    commit.finish().inspect_err(|_| commit.abandon())?;
    say("installed /opt/mesosphere".to_owned());
    Ok(())
}

/// Makes what follows from the generation of a host, as every boot does.
fn settle(root: &Path, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let host = Host::open(root, false)?;
    let _lock = host.lock(false)?;
    setup::settle(&host, &host.current()?, say)
}

/// Makes the seed the current generation of a host that has another one; none if everything is being removed.
fn upgrade(root: &Path, seed: &Seed, say: &mut dyn FnMut(String)) -> Result<Option<Number>, Failure> {
    let host = Host::open(root, false)?;
    let lock = host.lock(false)?;
    let current = host.current()?;
    if current.generation.removing {
        return Ok(None);
    }
    let tree = seed.read(&host.root)?;
    let generation = read::generation(&tree)?;
    let product = read::product(&tree)?;
    say(format!("verified the seed {}", seed.digest));
    let there = host.packages()?;
    for id in generation.active.keys().filter(|id| there.binary_search(id).is_err()) {
        let note = store::add_tree(&host, &lock, id, read::package(&tree, id)?)?;
        say(format!("added {id}"));
        if let Some(note) = note {
            say(format!("note: {note}"));
        }
    }
    let active = generation.active.into_keys().collect();
    let wanted = Wanted { active, product: product.map(|loaded| loaded.bytes), ..Wanted::of(&current) };
    let changed = activate::change(&host, &lock, &wanted, Stop::Everything, say)?;
    for note in changed.notes {
        say(format!("note: {note}"));
    }
    Ok(Some(changed.number))
}

/// Gives the copy the labels of the host's policy, where there is one that counts.
fn relabel(root: &Root, label: &Path) -> Result<(), Failure> {
    if !root.is_running() || !Path::new(SELINUX).exists() {
        return Ok(());
    }
    // By the place that the link leads to: policies name that.
    let home = label.join(HOME);
    let home = home.canonicalize().map_err(Failure::io("reading", home.display()))?;
    setup::program("restorecon", &["-R", &home.to_string_lossy()])
}
