//! The record of the current generation, made anew from everything that follows from it: only where that says it all.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_base::{Digest, names};

use crate::audit::survey::look_at;
use crate::contents::CONTENTS;
use crate::generation::{Generation, Number, PACKAGES, PRODUCT, RECORD};
use crate::host::{Host, Present};
use crate::integration::{self, HostEntry};
use crate::product::Product;
use crate::{Failure, InstallRoot, PackageId, ROOT, Role, files, place};

/// The longest document, in bytes.
const LIMIT: u64 = 64 << 20;

/// A record that was made anew.
pub(super) struct Rebuilt {
    number: Number,
    bytes: Vec<u8>,
}

impl Rebuilt {
    pub(super) fn describe(&self) -> String {
        format!("rebuild {ROOT}/{}/{RECORD}", self.number.directory())
    }

    pub(super) fn write(&self, host: &Host) -> Result<(), Failure> {
        let directory = host.directory(&self.number.directory())?;
        let file = HostEntry { mode: 0o644, content: self.bytes.clone() };
        let written = files::write_at(&directory, RECORD.as_bytes(), &file);
        written.map_err(Failure::io("writing", host.shown(&format!("{}/{RECORD}", self.number.directory()))))
    }
}

/// Makes the record of the current generation anew.
///
/// # Errors
/// What leaves it open, in words.
pub(super) fn rebuild(host: &Host) -> Result<Rebuilt, Failure> {
    rebuilt(host).map_err(|reason| {
        Failure::new(format!("and it does not follow from the rest of the host: {reason}: {}", way_out(host)))
    })
}

/// What somebody can do whose current generation says nothing.
fn way_out(host: &Host) -> String {
    match host.fit().unwrap_or_default().last() {
        Some(number) => format!("`pkgpanda rollback {number}` makes a generation current that is whole"),
        None => "move the install root away and run dcos_install.sh again".to_owned(),
    }
}

fn rebuilt(host: &Host) -> Result<Rebuilt, String> {
    let number = host.leads_to().map_err(|failure| failure.to_string())?;
    let home = number.directory();
    let directory = host.directory(&home).map_err(|failure| failure.to_string())?;
    let product = files::read_at(&directory, PRODUCT.as_bytes(), LIMIT)
        .map_err(|error| format!("{PRODUCT}: {error}"))?;
    let document: Product =
        serde_json::from_slice(&product).map_err(|error| format!("{PRODUCT} is damaged: {error}"))?;
    let active = active(host, &home)?;
    if active != document.active.iter().cloned().collect() {
        return Err(format!("{home}/active is not what {PRODUCT} says"));
    }
    let vouched = vouched(host, &active)?;
    let roles = roles(host)?;
    let earlier = host.generations().unwrap_or_default().into_iter().rfind(|earlier| *earlier < number);
    // What the host's own sources said, which they say again.
    let seen = if earlier.is_some() { roles.clone() } else { BTreeSet::new() };
    let mut generation = Generation::new(&InstallRoot::default(), &roles, &seen, |_| None);
    generation.active = vouched;
    generation.before = earlier;
    generation.product = Some(Digest::of(&product));
    let present = Present { number, generation, product: Some(product) };
    Ok(Rebuilt { number, bytes: look_at(host, &present)? })
}

/// The packages that the links of a generation name.
fn active(host: &Host, home: &str) -> Result<BTreeSet<PackageId>, String> {
    let directory = host.directory(&format!("{home}/active")).map_err(|failure| failure.to_string())?;
    let mut active = BTreeSet::new();
    for name in names(&directory).map_err(|error| error.to_string())? {
        let target = rustix::fs::readlinkat(&directory, OsStr::from_bytes(&name), Vec::new());
        let target = target.map_err(|error| format!("{home}/active: {error}"))?;
        let id = target.to_str().ok().and_then(|target| target.strip_prefix(&format!("{ROOT}/{PACKAGES}/")));
        let id = id.and_then(|id| id.parse::<PackageId>().ok());
        let id = id.filter(|id| id.name().as_str().as_bytes() == name);
        active.insert(id.ok_or("some files of packages have been edited, and only the record says which")?);
    }
    Ok(active)
}

/// The digests of lists of packages: what other generations know, and otherwise those of the lists themselves.
fn vouched(host: &Host, active: &BTreeSet<PackageId>) -> Result<BTreeMap<PackageId, Option<Digest>>, String> {
    let mut known = BTreeMap::new();
    for number in host.generations().unwrap_or_default() {
        if let Ok(present) = host.present(number) {
            known.extend(present.generation.active);
        }
    }
    let mut vouched = BTreeMap::new();
    for id in active {
        let directory = host.directory(&format!("{PACKAGES}/{id}")).map_err(|failure| failure.to_string())?;
        let list = match files::read_at(&directory, CONTENTS.as_bytes(), LIMIT) {
            Ok(bytes) => Some(Digest::of(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{CONTENTS} of {id}: {error}")),
        };
        vouched.insert(id.clone(), known.get(id).copied().unwrap_or(list));
    }
    Ok(vouched)
}

/// The roles that the host names.
fn roles(host: &Host) -> Result<BTreeSet<Role>, String> {
    let directory =
        host.root.find(&place::path(integration::ROLES)).map_err(|failure| failure.to_string())?;
    let names = directory.as_ref().map(names).transpose().map_err(|error| error.to_string())?;
    let names = names.unwrap_or_default().into_iter().filter(|name| !name.starts_with(b"."));
    let role = |name: Vec<u8>| std::str::from_utf8(&name).ok()?.parse().ok();
    names
        .map(role)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("/{} holds what is no role", integration::ROLES))
}
