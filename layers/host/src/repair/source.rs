//! Where the content of a package's file is had from: another healthy file of the store, the package's own tarball,
//! or the bootstrap tarball.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bake_archive::{OpenOptions, open_overlay};
use bake_base::Digest;
use bake_tree::{Tree, TreePath};

use super::Request;
use crate::audit::scan::{self, Node};
use crate::audit::survey::Survey;
use crate::audit::wanted::plain;
use crate::fetch::{self, Expected, Part, Url};
use crate::generation::PACKAGES;
use crate::host::Host;
use crate::product::{Blob, Product};
use crate::{Failure, PackageId, files, place};

/// Where a host's own configuration says where packages come from.
const REPOSITORY: &str = "etc/mesosphere/setup-flags/repository-url";
/// The longest address, in bytes.
const LIMIT: u64 = 1 << 16;

/// What takes content.
pub(super) type Take<'a> = &'a mut dyn FnMut(&mut dyn Read) -> io::Result<()>;

/// Where content is had from. Archives are opened once.
pub(super) struct Source<'a> {
    pub(super) host: &'a Host,
    pub(super) request: &'a Request,
    pub(super) active: Vec<&'a PackageId>,
    product: Option<&'a Product>,
    /// Files of the store by their digests.
    healthy: BTreeMap<Digest, &'a [u8]>,
    /// Archives by their paths in a repository, and why there is none.
    archives: BTreeMap<String, Result<Tree, String>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(host: &'a Host, survey: &'a Survey, request: &'a Request) -> Self {
        let below = format!("{PACKAGES}/").into_bytes();
        let store = survey.scan.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
        let healthy = store.filter_map(|(path, found)| match found.node {
            Node::File(Some(digest)) => Some((digest, &path[..])),
            _ => None,
        });
        let product = survey.product.as_ref();
        let active = survey.present.generation.active.keys().collect();
        Self { host, request, active, product, healthy: healthy.collect(), archives: BTreeMap::new() }
    }

    /// Has `take` take the content of a file of a package, which has this digest. Whoever takes it checks that.
    pub(super) fn give(&mut self, path: &[u8], sha256: Digest, take: Take) -> Result<(), String> {
        let mut reasons = Vec::new();
        if let Some(copy) = self.healthy.get(&sha256) {
            match self.stored(copy).and_then(|mut file| take(&mut file)) {
                Ok(()) => return Ok(()),
                Err(error) => reasons.push(format!("{}: {error}", plain(copy))),
            }
        }
        let Some((id, inside)) = split(path) else {
            return self.document(sha256, take);
        };
        for (archive, at) in self.places(&id, &inside) {
            let tree = match self.archive(&archive, &id) {
                Ok(tree) => tree,
                Err(reason) => {
                    reasons.push(reason.clone());
                    continue;
                }
            };
            let content = match tree.file(&at) {
                Ok(Some(content)) => content,
                Ok(None) => {
                    reasons.push(format!("{archive} does not hold it"));
                    continue;
                }
                Err(error) => {
                    reasons.push(format!("{archive}: {error}"));
                    continue;
                }
            };
            match take(&mut content.reader()) {
                Ok(()) => return Ok(()),
                Err(error) => reasons.push(format!("{archive}: {error}")),
            }
        }
        Err(reasons.join("; "))
    }

    fn stored(&self, path: &[u8]) -> io::Result<File> {
        let (parent, name) = scan::split_path(path);
        let directory = scan::open(&self.host.home, parent)?;
        Ok(crate::audit::open_file(&directory, name)?.into())
    }

    /// The archives that a file may be in, by their paths in a repository, and its path in each.
    fn places(&self, id: &PackageId, inside: &TreePath) -> Vec<(String, TreePath)> {
        let own = self.blob(id).map(|blob| blob.path.clone());
        let own = own.unwrap_or_else(|| format!("{PACKAGES}/{}/{id}.tar.xz", id.name()));
        let mut places = vec![(own, inside.clone())];
        let product = self.product.filter(|product| product.bootstrap.packages.contains_key(id));
        // Nobody fetches all of it for one package.
        if let Some(product) = product.filter(|_| self.request.from.is_some()) {
            let top = TreePath::root().join(PACKAGES.as_bytes()).join(id.as_str().as_bytes());
            let at = inside.components().fold(top, |at, name| at.join(name));
            places.push((product.bootstrap.blob.path.clone(), at));
        }
        places
    }

    fn archive(&mut self, path: &str, id: &PackageId) -> Result<&Tree, &String> {
        if !self.archives.contains_key(path) {
            let opened = self.open(path, id);
            self.archives.insert(path.to_owned(), opened);
        }
        self.archives[path].as_ref()
    }

    fn open(&self, path: &str, id: &PackageId) -> Result<Tree, String> {
        if let Some(from) = &self.request.from {
            return self.decode(&from.join(path));
        }
        let part = self.fetch(path, id).map_err(|failure| failure.to_string())?;
        let tree = self.decode(part.path());
        part.remove().map_err(|failure| failure.to_string())?;
        tree
    }

    fn decode(&self, file: &Path) -> Result<Tree, String> {
        let scratch = self.host.root.scratch().map_err(|failure| failure.to_string())?;
        let options =
            OpenOptions { scratch: scratch.path().to_owned(), preserve: true, ..OpenOptions::default() };
        let opened = open_overlay(file, &options).map_err(|error| Failure::of(&error).to_string())?;
        let mut tree = Tree::new();
        for (members, policy) in opened.layers {
            tree.apply(members, policy)
                .map_err(|found| format!("{}: {}", file.display(), Failure::each(found)))?;
        }
        Ok(tree)
    }

    /// Fetches an archive from the repository.
    fn fetch(&self, path: &str, id: &PackageId) -> Result<Part, Failure> {
        let blob = self.blob(id);
        let expected = Expected { sha256: blob.map(|blob| blob.sha256), size: blob.map(|blob| blob.size) };
        self.fetch_as(path, id, expected)
    }

    /// Fetches a file from the repository, which is called by a package until it is whole.
    pub(super) fn fetch_as(&self, path: &str, id: &PackageId, expected: Expected) -> Result<Part, Failure> {
        let url = match &self.request.url {
            Some(url) => url.clone(),
            None => {
                let flag = place::path(REPOSITORY);
                let text = files::read(&self.host.root, &flag, LIMIT)?.unwrap_or_default();
                String::from_utf8_lossy(&text).trim().to_owned()
            }
        };
        if url.is_empty() {
            return Err(Failure::new(format!("/{REPOSITORY} names no repository: give --url or --from")));
        }
        let url = url.parse::<Url>()?.join(path);
        fetch::part(self.host, &url, id, expected).inspect_err(|_| {
            // A repair leaves nothing behind; the first failure is the one to tell.
            let _ = fetch::forget(self.host, id);
        })
    }

    fn blob(&self, id: &PackageId) -> Option<&'a Blob> {
        let product = self.product?;
        product.packages.get(id).or_else(|| product.bootstrap.packages.get(id))
    }
}

/// The package that a path of the install root lies in, and the path in it.
fn split(path: &[u8]) -> Option<(PackageId, TreePath)> {
    let path = TreePath::parse(path).ok()?;
    let mut components = path.components();
    if components.next()? != PACKAGES.as_bytes() {
        return None;
    }
    let id = std::str::from_utf8(components.next()?).ok()?.parse().ok()?;
    Some((id, components.fold(TreePath::root(), |at, name| at.join(name))))
}
