//! From what an operator wrote to everything that is served.

mod assemble;
mod preflight;

use std::collections::{BTreeMap, BTreeSet};

use bake_host::Role;
use bake_host::integration::COMMON_ROLES;
use serde_json::{Value, json};

use crate::artifacts::{Artifacts, Inside};
use crate::calculate::Files;
use crate::packages::{self, CheckBins};
use crate::resolve::{Note, resolve};
use crate::{
    ConfigFile, Effective, Error, Extension, FileTable, Node, Place, Problem, Problems, Table, render, yaml,
};

pub use assemble::Configured;
pub(crate) use assemble::LIST_FLAG;

/// What an operator wrote.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The configuration's file name, for messages, and its bytes.
    pub config: (String, Vec<u8>),
    /// `NAME=VALUE`, each before the configuration's own.
    pub set: Vec<String>,
}

/// Everything that may be configured.
#[derive(Clone, Debug)]
pub struct Known {
    /// The parameters.
    pub table: Table,
    /// The files.
    pub files: FileTable,
}

/// A configuration that is right by itself.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every parameter that holds.
    pub effective: Effective,
    /// What an operator may want to know.
    pub notes: Vec<Note>,
    /// The files that it makes; secrets are among them.
    pub files: Vec<ConfigFile>,
}

/// Puts together the built-in parameters and files, those of the tree's `config/`, and those of `extensions`.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn known(
    config: &BTreeMap<String, Vec<u8>>,
    extensions: &[(String, BTreeMap<String, Vec<u8>>)],
) -> Result<Known, Problems> {
    let mut known = Known { table: Table::builtin()?, files: FileTable::builtin()? };
    let mut problems = Vec::new();
    let mut read = Extension::read_all(config).unwrap_or_else(|found| {
        problems.extend(found.0);
        Vec::new()
    });
    for (name, files) in extensions {
        match Extension::read(name, files) {
            Ok(extension) => read.push(extension),
            Err(found) => problems.extend(found.0),
        }
    }
    for extension in read {
        if let Some((name, text)) = &extension.parameters
            && let Err(found) = known.table.extend(name, text)
        {
            problems.extend(found.0);
        }
        known.files.extend(extension.files);
    }
    Problems::check(problems)?;
    Ok(known)
}

/// Works out what `written` means for these artifacts, and every file that it makes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn plan(
    known: &Known,
    written: &Written,
    given: &BTreeMap<String, Value>,
    files: &dyn Files,
) -> Result<Plan, Problems> {
    let mut problems = Vec::new();
    let (name, bytes) = &written.config;
    let document = yaml::read_marked(name, bytes, &mut problems);
    let mut set = Vec::new();
    for text in &written.set {
        set.extend(parse_set(text, &mut problems));
    }
    let Some(document) = document else {
        Problems::check(problems)?;
        return Err(Problems(Vec::new()));
    };
    let resolved = resolve(&known.table, &document, &set, given, files);
    let resolved = resolved.map_err(|found| problems.extend(found.0)).ok();
    Problems::check(problems)?;
    let Some((effective, notes)) = resolved else { return Err(Problems(Vec::new())) };
    let files = render(&effective, &known.table, &known.files)?;
    Ok(Plan { effective, notes, files })
}

/// What parameters are given by what is configured.
pub fn given(
    known: &Known,
    artifacts: &Artifacts,
    check_bins: Option<&CheckBins>,
) -> BTreeMap<String, Value> {
    let manifest = &artifacts.manifest;
    let id = check_bins.map(|bins| bins.id.to_string()).unwrap_or_default();
    let hash = id.split_once("--").map(|(_, hash)| hash.to_owned()).unwrap_or_default();
    let mut ids: Vec<_> = manifest.packages.keys().map(ToString::to_string).collect();
    ids.extend(check_bins.map(|bins| bins.id.to_string()));
    ids.sort();
    let files: BTreeSet<_> = known.files.rules.iter().map(|rule| rule.path.as_str()).collect();
    [
        ("bootstrap_id", json!(manifest.bootstrap.id)),
        ("bootstrap_variant", json!(manifest.variant)),
        ("config_package_names", json!(packages::NAMES)),
        ("custom_check_bins_hash", json!(hash)),
        ("custom_check_bins_package_id", json!(id)),
        ("custom_check_bins_provided", json!(check_bins.is_some())),
        ("dcos_image_commit", json!(artifacts.commit)),
        ("package_ids", json!(ids)),
        ("template_filenames", json!(files)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Every role that a host may have: the usual ones and those of packages.
pub fn roles(inside: &Inside) -> Vec<String> {
    let of_packages = inside.packages.iter().flat_map(|package| package.listing.roles());
    let mut roles: Vec<_> = of_packages.map(|role: Role| role.to_string()).collect();
    roles.extend(COMMON_ROLES.map(str::to_owned));
    roles.sort();
    roles.dedup();
    roles
}

/// The parameter and the value of a `--set`, which is marked where it is refused.
fn parse_set(text: &str, problems: &mut Vec<Problem>) -> Option<(String, Node)> {
    let place = Place::file("--set");
    let Some((name, value)) = text.split_once('=') else {
        let message = format!("`{text}` has no `=`: expected NAME=VALUE");
        problems.push(Problem::new(&place, "", message));
        return None;
    };
    let mut found = Vec::new();
    let node = yaml::scalar_marked(value, &place, &mut found);
    // Of several arguments the place tells too little; what is within the value names itself.
    problems.extend(found.into_iter().map(|problem| match problem.name.as_str() {
        "" => Problem { name: name.to_owned(), ..problem },
        inner => Problem { name: format!("{name}.{inner}"), ..problem },
    }));
    Some((name.to_owned(), node))
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Configuration(Problems(vec![problem]))
    }
}
