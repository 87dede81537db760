//! The bootstrap tarball: packages of a tree, already linked into one install root.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use bake_base::{Digest, json};
use bake_host::{InstallRoot, PackageId, Variant, apply};
use bake_tree::{Member, MemberKind, Policy, Tree, TreePath, ValidTree};
use serde_json::json;

use crate::elf::Machines;
use crate::kept::{Place, make_directory, write_bytes, write_json};
use crate::pack;
use crate::program::{self, Program};
use crate::store::Stored;
use crate::workshop::{Workshop, read_package};
use crate::{EPOCH, Error};

/// The revision of the format of bootstrap tarballs. It goes up when the same packages give another one.
const FORMAT_REVISION: u32 = 1;
/// How many hex digits of a digest make an id, as for packages.
const ID_DIGITS: usize = 40;

/// A bootstrap tarball.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Its id: it says which packages it holds.
    pub id: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Digest of the file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The packages that it holds, sorted.
    pub packages: Vec<PackageId>,
}

impl Workshop<'_> {
    /// The bootstrap tarball of `packages`, made unless it is there.
    ///
    /// # Errors
    /// When packages conflict, with all conflicts at once, or the tarball cannot be written.
    pub fn bootstrap(&self, packages: &[Stored]) -> Result<Bootstrap, Error> {
        let made_from: BTreeMap<_, _> =
            packages.iter().map(|stored| (stored.id.clone(), stored.digest)).collect();
        let ids: Vec<_> = made_from.keys().cloned().collect();
        let document = json!({ "format_revision": FORMAT_REVISION, "packages": ids });
        let document = json::to_canonical(&document).expect("a list of texts is JSON");
        let id = Digest::of(&document).to_string()[..ID_DIGITS].to_owned();
        let directory = self.cache.bootstrap();
        make_directory(&directory)?;
        let lock = directory.join(format!(".{id}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(Error::io("opening", &lock))?;
        file.lock().map_err(Error::io("locking", &lock))?;
        let place = Place {
            file: directory.join(format!("{id}.bootstrap.tar.xz")),
            record: directory.join(format!("{id}.json")),
        };
        // Packages of the same ids may have been made again, by recipes that are not reproducible.
        let there = place.find(self.paranoid)?.filter(|record| record.made_from == made_from);
        let record = match there {
            Some(record) => record,
            None => {
                let tree = self.bootstrap_tree(packages)?;
                place.put(made_from, |file| pack::write(&tree, file, &place.file, self.threads))?
            }
        };
        write_json(&directory.join(format!("{id}.active.json")), &ids)?;
        Ok(Bootstrap { id, path: place.file, digest: record.digest, size: record.size, packages: ids })
    }

    fn bootstrap_tree(&self, packages: &[Stored]) -> Result<ValidTree, Error> {
        let mut tree = Tree::new();
        for stored in packages {
            let members = below(&format!("packages/{}", stored.id), self.members(stored)?);
            tree.apply(members, Policy::TAR).map_err(|problems| Error::listed(&stored.id, &problems))?;
        }
        let read = |stored: &Stored| {
            let at = format!("packages/{}", stored.id);
            let at = TreePath::parse(at.as_bytes()).map_err(|error| Error::package(&stored.id, error))?;
            read_package(&stored.id, &tree, &at)
        };
        let installed = packages.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        InstallRoot::check_every_role(&installed).map_err(Error::Install)?;
        Self::check_program(&tree, packages)?;
        let root =
            InstallRoot::resolve(&installed, &std::collections::BTreeSet::new()).map_err(Error::Install)?;
        apply::apply(&root, &mut tree).map_err(|error| Error::Bootstrap(error.to_string()))?;
        tree.clamp_times(EPOCH);
        tree.seal();
        ValidTree::new(tree).map_err(|problems| {
            Error::Bootstrap(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))
        })
    }

    /// Whether the program for hosts, if it is there, runs where the other packages do.
    fn check_program(tree: &Tree, packages: &[Stored]) -> Result<(), Error> {
        let ids: Vec<_> = packages.iter().map(|stored| stored.id.clone()).collect();
        let Some(place) = program::place(&ids) else { return Ok(()) };
        let mut machines = Machines::default();
        machines.count(tree, Some(&place));
        let checked = Program::within(tree, &ids).and_then(|program| program.check_machine(&machines));
        checked.map_err(Error::Bootstrap)
    }

    /// Notes which bootstrap tarball and which packages a tree consists of now.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn set_complete(
        &self,
        variant: &Variant,
        bootstrap: &Bootstrap,
        packages: &[Stored],
    ) -> Result<(), Error> {
        let (prefix, complete) = (variant.prefix(), self.cache.complete());
        make_directory(&complete)?;
        let latest = self.cache.bootstrap().join(format!("{prefix}bootstrap.latest"));
        write_bytes(&latest, bootstrap.id.as_bytes())?;
        write_json(&complete.join(format!("{prefix}complete.latest.json")), &completion(bootstrap, packages))
    }
}

/// What a tree consists of, as `complete.latest.json` says it.
pub(crate) fn completion(bootstrap: &Bootstrap, packages: &[Stored]) -> serde_json::Value {
    let mut ids: Vec<_> = packages.iter().map(|stored| &stored.id).collect();
    ids.sort();
    json!({ "bootstrap": bootstrap.id, "packages": ids })
}

/// Members moved into a directory.
fn below(directory: &str, members: Vec<Member>) -> Vec<Member> {
    let directory = TreePath::parse(directory.as_bytes()).expect("ids are names of directories");
    let moved = |path: &TreePath| path.components().fold(directory.clone(), |path, name| path.join(name));
    let moved_member = |member: Member| Member {
        path: moved(&member.path),
        kind: match member.kind {
            MemberKind::HardLink(target) => MemberKind::HardLink(moved(&target)),
            kind => kind,
        },
        ..member
    };
    members.into_iter().map(moved_member).collect()
}
