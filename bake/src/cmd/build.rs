//! What `bake package` and `bake tree` have in common: recipes with their ids, and what builds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bake_package::fetch::{FetchOptions, Fetcher, Mirror, Progress, Wanted};
use bake_package::recipe::{Identified, Recipe, RecipeTree};
use bake_package::source::{Commit, Source};
use bake_package::{
    Builder, Builders, DEFAULT, Equipment, Event, Lock, TrustedKey, Workshop, check_out_upstream,
};

use indicatif::ProgressBar;

use crate::cli::BuildArgs;
use crate::cmd::SPEC;
use crate::env;
use crate::error::Failure;
use crate::spec::Spec;
use crate::ui::Printer;

/// Seconds that a build may take when nothing else is asked for.
const TIMEOUT: u64 = 7200;

/// A tree of recipes, and everything that was said about building it.
pub struct Yard<'a> {
    args: &'a BuildArgs,
    spec: Option<Spec>,
    printer: Printer,
    /// Where the recipes are: an absolute path.
    pub directory: PathBuf,
    /// The recipes.
    pub tree: RecipeTree,
}

impl<'a> Yard<'a> {
    /// Reads the recipes and the spec file.
    pub fn open(args: &'a BuildArgs, printer: Printer) -> Result<Self, Failure> {
        let spec = match &args.spec {
            Some(path) => Some(Spec::read(path)?),
            None if Path::new(SPEC).is_file() => Some(Spec::read(Path::new(SPEC))?),
            None => None,
        };
        if !args.tree.is_dir() {
            let shown = args.tree.display();
            return Err(Failure::usage(format!(
                "`{shown}` is no directory: expected a tree of recipes at --tree"
            )));
        }
        // Absolute, since git and the sandbox work elsewhere; and text, as which the sandbox's stages tell it on.
        let directory = args.tree.canonicalize().ok().filter(|path| path.to_str().is_some());
        let directory = directory.ok_or_else(|| {
            let shown = args.tree.display();
            Failure::usage(format!(
                "`{shown}` is no place to build in: expected a path at --tree that is UTF-8 as a whole"
            ))
        })?;
        let upstream =
            check_out_upstream(&directory, &fetcher(args, spec.as_ref(), false, printer, &Arc::default())?)?;
        let tree = RecipeTree::read(&directory, upstream.as_deref());
        let tree = tree.map_err(|problems| problems.within(&args.tree))?;
        Ok(Self { args, spec, printer, directory, tree })
    }

    /// How many packages are built at once.
    pub fn jobs(&self) -> usize {
        self.args.jobs.map_or_else(env::threads, usize::from)
    }

    /// What everything is made with; `relock` when `bake.lock` is to be written anew, by how things are now.
    pub fn workshop<'b>(
        &self,
        relock: bool,
        stop: &'b Arc<AtomicBool>,
        report: &'b (dyn Fn(&Event<'_>) + Sync),
    ) -> Result<Workshop<'b>, Failure> {
        let launcher = env::executable()?;
        let equipment = Equipment {
            builders: self.builders()?,
            fetcher: fetcher(self.args, self.spec.as_ref(), relock, self.printer, stop)?,
            launcher,
            stop,
            report,
        };
        let mut workshop = Workshop::new(&self.directory, self.args.paranoid, equipment);
        if let Some(missing) =
            self.args.repository.iter().find(|text| !text.contains("://") && !Path::new(text).is_dir())
        {
            return Err(Failure::usage(format!(
                "--repository: `{missing}` is neither a directory nor a URL"
            )));
        }
        let build = self.spec.as_ref().map(|spec| &spec.build);
        workshop.repositories.clone_from(&self.args.repository);
        if let (Some(build), true) = (build, self.args.repository.is_empty()) {
            workshop.repositories.clone_from(&build.repositories);
        }
        workshop.locked = Lock::read(&self.directory)?.map(|lock| lock.packages).unwrap_or_default();
        workshop.relock = relock;
        workshop.trusted = self.trusted()?;
        workshop.limits.timeout =
            self.args.timeout.or_else(|| build.and_then(|build| build.timeout)).unwrap_or(TIMEOUT);
        workshop.cores = env::threads();
        workshop.threads = env::threads();
        workshop.keep = self.args.keep;
        Ok(workshop)
    }

    /// The ids of `roots` and of all that they need, in build order.
    pub fn ids<'s, 'r>(
        &'s self,
        roots: impl IntoIterator<Item = &'r Recipe>,
        workshop: &Workshop<'_>,
    ) -> Result<Vec<Identified<'s>>, Failure> {
        let head = |recipe: &Recipe, rel_path: &str| -> Result<Commit, String> {
            let source = Source::GitLocal { rel_path: rel_path.to_owned() };
            let wanted = Wanted {
                package: recipe.name.as_str(),
                name: recipe.name.as_str(),
                source: &source,
                recipe_dir: recipe.directory(),
                cache_dir: Path::new(""),
            };
            let commit = workshop.fetcher.source_id(&wanted).map_err(|error| error.to_string())?;
            commit.ok_or_else(|| "is no local repository".to_owned())
        };
        let ids = self.tree.ids(roots, head, |docker| workshop.builders.digest(docker));
        Ok(ids.map_err(|problems| problems.within(&self.args.tree))?)
    }

    /// The keys of the command line, or those of the spec file.
    fn trusted(&self) -> Result<Vec<TrustedKey>, Failure> {
        let find = |text: &String, directory| TrustedKey::find(text, directory).map_err(Failure::usage);
        match &self.spec {
            Some(spec) if self.args.trust.is_empty() => {
                spec.build.trusted_keys.iter().map(|text| find(text, &spec.directory)).collect()
            }
            _ => self.args.trust.iter().map(|text| find(text, Path::new(""))).collect(),
        }
    }

    fn builders(&self) -> Result<Builders, Failure> {
        let mut by_name = BTreeMap::new();
        if let Some(spec) = &self.spec {
            for (name, builder) in &spec.builders {
                let sha256 = builder.sha256.as_deref().map(str::parse).transpose().map_err(|error| {
                    Failure::usage(format!("`{SPEC}`: builders.\"{name}\".sha256: {error}"))
                })?;
                by_name
                    .insert(name.clone(), Builder { rootfs: spec.directory.join(&builder.rootfs), sha256 });
            }
        }
        if let Some(path) = &self.args.builder {
            if !path.exists() {
                let shown = path.display();
                return Err(Failure::usage(format!(
                    "--builder: `{shown}` does not exist: expected a root file system"
                )));
            }
            by_name.insert(DEFAULT.to_owned(), Builder { rootfs: path.clone(), sha256: None });
        }
        let scratch = env::temporary_directory();
        Ok(Builders::new(by_name, env::cache_directory(), scratch, self.args.paranoid, env::threads()))
    }
}

/// Tells what happens to whoever watches, and what the user should know to everybody, once.
pub fn reporter(printer: Printer) -> impl Fn(&Event<'_>) + Sync {
    let told = std::sync::Mutex::new(BTreeSet::new());
    move |event| match event {
        Event::Building(id) => printer.step(format!("building {id}")),
        Event::Built(id) => printer.step(format!("built {id}")),
        Event::Taken(id, repository) => printer.step(format!("took {id} from {repository}")),
        Event::Warning(text) => {
            let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if told.insert(text.clone()) {
                printer.note(text);
            }
        }
        _ => {}
    }
}

/// Shows the download that moved last.
fn downloads(printer: Printer) -> impl Fn(&Progress<'_>) + Send + Sync {
    let bar: OnceLock<ProgressBar> = OnceLock::new();
    move |progress| {
        let bar = bar.get_or_init(|| printer.bytes("", Some(0)));
        if progress.total == Some(progress.done) {
            bar.finish_and_clear();
            return;
        }
        if bar.is_finished() {
            bar.reset();
        }
        bar.set_message(format!("downloading {}/{}", progress.package, progress.name));
        bar.set_length(progress.total.unwrap_or(progress.done));
        bar.set_position(progress.done);
    }
}

/// Waits between attempts of a download, which a stop ends.
fn waits(stop: &Arc<AtomicBool>) -> impl Fn(Duration) + Send + Sync + use<> {
    let stop = Arc::clone(stop);
    move |mut time| {
        while !time.is_zero() && !stop.load(Ordering::SeqCst) {
            let step = time.min(Duration::from_millis(50));
            std::thread::sleep(step);
            time -= step;
        }
    }
}

fn fetcher(
    args: &BuildArgs,
    spec: Option<&Spec>,
    refresh: bool,
    printer: Printer,
    stop: &Arc<AtomicBool>,
) -> Result<Fetcher, Failure> {
    let of_spec = spec.iter().flat_map(|spec| &spec.build.mirrors).map(|(from, to)| format!("{from}={to}"));
    let mirrors = args.mirror.iter().cloned().chain(of_spec).map(|text| text.parse::<Mirror>());
    let mirrors =
        mirrors.collect::<Result<_, _>>().map_err(|error| Failure::usage(format!("--mirror: {error}")))?;
    let options = FetchOptions {
        offline: args.offline,
        mirrors,
        paranoid: args.paranoid,
        refresh,
        proxy: env::proxy(),
        certificates: env::certificates(),
        progress: Arc::new(downloads(printer)),
        sleep: Arc::new(waits(stop)),
        stop: Arc::clone(stop),
        ..FetchOptions::default()
    };
    Fetcher::new(options).map_err(Failure::usage)
}
