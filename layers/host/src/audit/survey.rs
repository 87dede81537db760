//! Everything that is on a host beside everything that should be there.

use std::collections::BTreeMap;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_base::Digest;

use super::cache::{Begun, Cache};
use super::expected::{self, Derived, Stranger};
use super::report::What;
use super::scan::{self, Found, Node, Scan};
use super::standing::Standing;
use super::store::{self, Stored};
use super::wanted::{At, Judged, Part, Shape, Wanted, WantedSet, compare, plain};
use super::{Options, difference, document, not_there, outside, own, read, running};
use crate::contents::CONTENTS;
use crate::generation::{CURRENT, Number, RECORD};
use crate::host::{Host, Present};
use crate::overrides;
use crate::product::Product;
use crate::{Failure, PackageId, place};

/// What an audit and a repair know of a host.
pub(crate) struct Survey {
    pub present: Present,
    /// If nothing leads to `present`: the generations that can be made current.
    pub lost: Option<Vec<Number>>,
    pub product: Option<Product>,
    /// What is in the install root.
    pub scan: Scan,
    pub stored: Vec<Stored>,
    /// What should be in the install root.
    pub wanted: WantedSet,
    /// What should be outside of it.
    pub outside: WantedSet,
    pub derived: Option<Derived>,
    /// The changed copies of the current generation: the name, the path in the store, and what is there.
    pub overrides: Vec<(String, String, Option<Found>)>,
    pub judged: Vec<Judged>,
    /// Lines of the digest `host` that only the running machine has.
    pub facts: Vec<String>,
    pub notes: Vec<String>,
}

/// Looks at everything.
///
/// # Errors
/// When there is no current generation, or another one when everything has been looked at.
pub(crate) fn survey(host: &Host, options: Options) -> Result<Survey, Failure> {
    let standing = Standing::of(host)?;
    let present = standing.present.clone();
    let number = present.number;
    let mut notes = Vec::new();
    let begun = match Begun::begin(&host.home) {
        Ok(begun) => Some(begun),
        Err(error) => {
            notes.push(format!("nothing is kept for the next audit: {}: {error}", host.shown(super::CACHE)));
            None
        }
    };
    let cache = if options.incremental { Cache::load(&host.home) } else { Cache::default() };
    let mut scan = scan::scan(&host.home, options.threads, &|path| expected::enters(path, number));
    read::read(&host.home, &mut scan, &cache, options.threads);
    drop(cache);
    if let Some(begun) = begun
        && let Err(error) = begun.finish(&host.home, &scan)
    {
        notes.push(format!("nothing is kept for the next audit: {}: {error}", host.shown(super::CACHE)));
    }
    let mut survey = Survey {
        product: None,
        stored: Vec::new(),
        wanted: expected::top(&present),
        outside: WantedSet::new(),
        derived: None,
        overrides: Vec::new(),
        judged: standing.judge(&scan).into_iter().collect(),
        lost: standing.lost,
        facts: Vec::new(),
        notes,
        present,
        scan,
    };
    let (product, judged) = document::read(&survey.present);
    survey.product = product;
    survey.judged.extend(judged);
    survey.packages(host, options.threads);
    survey.generation(host);
    survey.copies(host)?;
    survey.install_root();
    survey.judged.extend(own::judge(host, &survey.scan)?);
    survey.outside = outside::wanted(survey.product.as_ref())?;
    let owned = place::is_superuser();
    survey.judged.extend(outside::judge(&host.root, &survey.outside, owned));
    survey.judged.extend(outside::roles(&host.root, &survey.present.generation.roles)?);
    let running = running::look(host, &survey.present)?;
    survey.judged.extend(running.judged);
    survey.facts = running.facts;
    survey.judged.sort();
    if host.leads_to().ok() != survey.lost.is_none().then_some(number) {
        return Err(Failure::new("another generation has become the current one meanwhile: audit again"));
    }
    Ok(survey)
}

/// The bytes of the record that belongs to a generation whose own record is not there: `present` says what is known
/// of it.
///
/// # Errors
/// What of the packages is damaged, so that nothing follows from them.
pub(crate) fn look_at(host: &Host, present: &Present) -> Result<Vec<u8>, String> {
    let mut scan = scan::scan(&host.home, 1, &|path| expected::enters(path, present.number));
    read::read(&host.home, &mut scan, &Cache::default(), 1);
    let stored = store::read(&host.home, &scan, &present.generation.active, 1);
    let derived =
        expected::derive(&host.home, &scan, &stored, present).map_err(|problems| problems.join(", "))?;
    let at = format!("{}/{RECORD}", present.number.directory());
    match derived.wanted.get(at.as_bytes()).map(|wanted| &wanted.shape) {
        Some(Shape::File { bytes: Some(bytes), .. }) => Ok(bytes.clone()),
        _ => Err(format!("{at} is none of its files")),
    }
}

fn home(path: &[u8]) -> At {
    At::Home(path.to_vec())
}

/// The list of a package of which no more than its digest is known.
fn list(id: &PackageId, sha256: Digest) -> (Vec<u8>, Wanted) {
    let at = store::path(id, CONTENTS.as_bytes());
    let shape = Shape::File { sha256, size: None, bytes: None };
    (at, Wanted { shape, mode: 0o644, part: Part::State })
}

impl Survey {
    /// What records of generations know of packages.
    fn vouched(&mut self, host: &Host) -> BTreeMap<PackageId, Option<Digest>> {
        let mut vouched = BTreeMap::new();
        for number in host.generations().unwrap_or_default() {
            let read = host.present(number).and_then(|present| {
                // That of the one that is judged is named file by file.
                if number != self.present.number {
                    host.check_product(&present)?;
                }
                Ok(present)
            });
            match read {
                Ok(present) => vouched.extend(present.generation.active),
                Err(failure) => self.judged.push(difference(
                    At::Generation(number.directory()),
                    What::Record,
                    "a record of a generation",
                    plain(failure.to_string().as_bytes()),
                    Part::State,
                )),
            }
        }
        // The current one has the last word.
        vouched.extend(self.present.generation.active.clone());
        vouched
    }

    fn packages(&mut self, host: &Host, threads: usize) {
        let vouched = self.vouched(host);
        self.stored = store::read(&host.home, &self.scan, &vouched, threads);
        for stored in &self.stored {
            self.wanted.insert(store::path(&stored.id, b""), Wanted::directory(Part::State));
            match (&stored.wanted, stored.vouched) {
                (Some(wanted), _) => self.wanted.extend(wanted.clone()),
                (None, Some(sha256)) => self.wanted.extend([list(&stored.id, sha256)]),
                (None, None) => {
                    let list = self.scan.contains_key(&store::path(&stored.id, CONTENTS.as_bytes()));
                    self.judged.push(difference(
                        home(&store::path(&stored.id, b"")),
                        What::Unverifiable,
                        format!("a {CONTENTS} that says what is in this package"),
                        if list { "one that nobody vouches for" } else { "none" },
                        Part::State,
                    ));
                }
            }
        }
        for (id, sha256) in self.present.generation.active.clone() {
            if !self.scan.contains_key(&store::path(&id, b"")) {
                self.wanted.insert(store::path(&id, b""), Wanted::directory(Part::State));
                self.wanted.extend(sha256.map(|sha256| list(&id, sha256)));
            }
        }
    }

    fn generation(&mut self, host: &Host) {
        match expected::derive(&host.home, &self.scan, &self.stored, &self.present) {
            Ok(mut derived) => {
                self.wanted.append(&mut derived.wanted);
                self.derived = Some(derived);
            }
            Err(problems) => self.judged.push(difference(
                At::Generation(self.present.number.directory()),
                What::Record,
                "packages that say what belongs there",
                plain(problems.join(", ").as_bytes()),
                Part::State,
            )),
        }
    }

    /// Looks at the copies that an operator has changed.
    fn copies(&mut self, host: &Host) -> Result<(), Failure> {
        for (name, id, path) in overrides::each(&self.present.generation.overrides) {
            let copy = overrides::copy(name, id, path)?;
            let (parent, file) = scan::split_path(copy.as_bytes());
            let directory = scan::open(&host.home, parent).ok();
            let found = directory.and_then(|directory| {
                let stat = place::stat(&directory, file).ok().flatten()?;
                let mut found = Found::of(&stat);
                if let Node::Link(target) = &mut found.node {
                    let read = rustix::fs::readlinkat(&directory, OsStr::from_bytes(file), Vec::new());
                    *target = read.ok()?.into_bytes();
                }
                let mut one = Scan::from([(file.to_vec(), found)]);
                // What the cache knows is not enough here: a changed copy is always read.
                read::read(&directory, &mut one, &Cache::default(), 1);
                one.remove(file)
            });
            if !found.as_ref().is_some_and(|found| matches!(found.node, Node::File(Some(_)))) {
                self.judged.push(difference(
                    home(copy.as_bytes()),
                    What::Missing,
                    "the changed copy of a file",
                    found.as_ref().map_or_else(|| "nothing".to_owned(), Found::describe),
                    Part::State,
                ));
            }
            self.overrides.push((name.to_owned(), home(&store::path(id, path.as_bytes())).shown(), found));
        }
        Ok(())
    }

    fn install_root(&mut self) {
        let owned = place::is_superuser();
        for (path, wanted) in &self.wanted {
            if self.lost.is_some() && path == CURRENT.as_bytes() {
                continue;
            }
            let judged = compare(&home(path), wanted, self.scan.get(path), owned);
            if *path == expected::product_path(self.present.number) {
                self.judged.extend(judged.into_iter().map(document::as_record));
            } else {
                self.judged.extend(judged);
            }
        }
        let loose: Vec<Vec<u8>> = self.loose().map(|stored| store::path_below(&stored.id)).collect();
        let current = self.present.number;
        for (path, found) in &self.scan {
            if self.wanted.contains_key(path) || loose.iter().any(|top| path.starts_with(top)) {
                continue;
            }
            let in_generation = path.starts_with(format!("{}/", current.directory()).as_bytes());
            match expected::stranger(path, current) {
                Stranger::Known | Stranger::Generation(_) => {}
                Stranger::Unknown if in_generation && self.derived.is_none() => {}
                Stranger::Secrets => {
                    let wanted = Wanted { mode: 0o700, ..Wanted::directory(Part::Host) };
                    self.judged.extend(compare(&home(path), &wanted, Some(found), owned));
                }
                what @ (Stranger::Leftover | Stranger::Unknown) => {
                    let what = if what == Stranger::Leftover { What::Leftover } else { What::Extra };
                    self.judged.push(difference(
                        home(path),
                        what,
                        not_there(),
                        found.describe(),
                        Part::State,
                    ));
                }
            }
        }
    }

    /// Packages of which nobody can tell what they should hold.
    pub(crate) fn loose(&self) -> impl Iterator<Item = &Stored> {
        self.stored.iter().filter(|stored| stored.wanted.is_none())
    }
}
