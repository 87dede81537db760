//! Packages in build order: each is found, taken from a repository, or built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bake_archive::remove_tree;
use bake_host::PackageId;

use crate::Error;
use crate::pack;
use crate::recipe::Identified;
use crate::schedule;
use crate::store::{Claim, Stored};
use crate::surroundings::Surroundings;
use crate::workshop::{Dependency, Event, Workshop};

impl Workshop<'_> {
    /// Makes all of `packages`, which are in build order and complete: what one requires is among them. Those that
    /// are not in `buildable` have to be there, or in a repository. At most `jobs` are built at once.
    ///
    /// # Errors
    /// Why packages could not be made; nothing new is begun then, and what was made stays.
    pub fn make(
        &self,
        packages: &[Identified<'_>],
        buildable: &BTreeSet<PackageId>,
        jobs: usize,
    ) -> Result<Vec<Stored>, Error> {
        if !self.keep {
            self.clear_what_killed_builds_left();
        }
        let numbers: BTreeMap<_, _> =
            packages.iter().enumerate().map(|(number, package)| (&package.id, number)).collect();
        let needs: Vec<Vec<usize>> = packages
            .iter()
            .map(|package| package.requires.iter().filter_map(|id| numbers.get(id).copied()).collect())
            .collect();
        let made: Mutex<Vec<Option<Stored>>> = Mutex::new(vec![None; packages.len()]);
        let lock = || made.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = schedule::run(&needs, jobs, |number| {
            let package = &packages[number];
            let required = || needs[number].iter().filter_map(|need| lock()[*need].clone()).collect();
            let stored = self.obtain(package, required, buildable.contains(&package.id))?;
            self.compare_with_lock(&stored)?;
            self.store.set_latest(&package.id, &package.recipe.variant)?;
            lock()[number] = Some(stored);
            Ok(())
        });
        outcome.map_err(|mut failures| match failures.len() {
            1 => failures.remove(0),
            _ => Error::Several(failures),
        })?;
        Ok(made.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect())
    }

    /// A package that is there, in a repository, or built now from what `required` gives.
    fn obtain(
        &self,
        package: &Identified<'_>,
        required: impl Fn() -> Vec<Stored>,
        is_buildable: bool,
    ) -> Result<Stored, Error> {
        let id = &package.id;
        if let Some(stored) = self.store.find(id)? {
            return Ok(stored);
        }
        let claim = self.store.claim(&id.name(), self.stop)?;
        // Another run may have made it meanwhile.
        if let Some(stored) = self.store.find(id)? {
            return Ok(stored);
        }
        if self.stop.load(Ordering::SeqCst) {
            return Err(Error::package(id, "stopped before it was built"));
        }
        if let Some(stored) = self.take(&claim, id)? {
            return Ok(stored);
        }
        if !is_buildable {
            let message = "it is required and was not built yet: name it too, or run with `--recursive`";
            return Err(Error::package(id, message));
        }
        (self.report)(&Event::Building(id));
        let dependencies = self.dependencies(&required())?;
        let stored = self.build_into_store(&claim, package, &dependencies)?;
        (self.report)(&Event::Built(id));
        Ok(stored)
    }

    /// A package with the id that `bake.lock` knows has to be the very same.
    fn compare_with_lock(&self, stored: &Stored) -> Result<(), Error> {
        let (id, found) = (&stored.id, stored.digest);
        match self.locked.get(id) {
            Some(locked) if *locked != found && !self.relock => Err(Error::package(
                id,
                format!(
                    "it has SHA-256 {found}, and bake.lock says {locked}: see why by `bake package --check {}`, or \
                     accept it by `bake tree --lock`",
                    id.name()
                ),
            )),
            _ => Ok(()),
        }
    }

    fn build_into_store(
        &self,
        claim: &Claim,
        package: &Identified<'_>,
        dependencies: &[Arc<Dependency>],
    ) -> Result<Stored, Error> {
        let built =
            self.build(package.id.as_str(), package, dependencies, &Surroundings::usual(self.cores))?;
        let path = self.cache.package(&package.id);
        self.store.put(claim, &package.id, |file| pack::write(&built.tree, file, &path, self.threads))
    }

    /// Clears away the directories of builds that nobody goes on with: their runs were killed. The next build of the
    /// same id would do it too, but there is none when the recipe has changed, or the package was finished.
    fn clear_what_killed_builds_left(&self) {
        let builds = self.cache.build();
        for entry in fs::read_dir(&builds).into_iter().flatten().flatten() {
            let left = entry.file_name();
            let name = left.to_str().and_then(|left| left.split_once("--")?.0.parse().ok());
            let Some(claim) = name.and_then(|name| self.store.try_claim(&name).ok()) else { continue };
            if claim.is_some() {
                // Space is all that it costs; whoever needs the place says what is wrong with it.
                let _ = remove_tree(&entry.path());
            }
        }
    }

    /// What a build uses.
    pub(crate) fn dependencies(&self, required: &[Stored]) -> Result<Vec<Arc<Dependency>>, Error> {
        required.iter().map(|stored| self.dependency(stored)).collect()
    }
}
