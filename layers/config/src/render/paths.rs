//! Where files of a configuration may be.

use std::collections::BTreeMap;

use crate::{Place, Problem, Target};

/// The one directory of secret files.
pub const SECRETS: &str = "/etc/mesosphere/secrets";

/// Directories of the host that belong to somebody else.
const TAKEN: [(&str, &str); 4] = [
    (
        "/opt/mesosphere",
        "packages make it; give the file `target = \"config\"` and a path such as `etc/NAME`",
    ),
    ("/etc/mesosphere/roles", "the installer writes it"),
    (SECRETS, "it is for files with `target = \"secret\"`"),
    ("/etc/mesosphere/setup-flags/cluster-package-list", "it follows from the packages themselves"),
];

/// Checks the path of a file.
pub fn check(target: Target, path: &str) -> Result<(), String> {
    let relative = match (target, path.strip_prefix('/')) {
        (Target::Config | Target::Metadata, None) => path,
        (Target::Config | Target::Metadata, Some(_)) => {
            return Err("expected a path below the package's directory, without `/` in front".into());
        }
        (Target::Host | Target::Secret, Some(relative)) => relative,
        (Target::Host | Target::Secret, None) => return Err("expected an absolute path".into()),
    };
    normal(relative)?;
    let below = |directory: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    match target {
        Target::Config | Target::Metadata if path == "buildinfo.full.json" => {
            Err("it is for packages that are built from recipes".into())
        }
        Target::Secret if !below(SECRETS) => Err(format!("expected a path below {SECRETS}/")),
        Target::Host => match TAKEN.iter().find(|(taken, _)| path == *taken || below(taken)) {
            Some((taken, why)) => Err(format!("{taken} is not for files of a host: {why}")),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Checks where a link leads.
pub fn check_link(target: Target, to: &str) -> Result<(), String> {
    match (target, to.strip_prefix('/')) {
        (Target::Config | Target::Metadata, Some(relative)) => {
            normal(relative).map_err(|message| format!("its link: {message}"))
        }
        (Target::Config | Target::Metadata, None) => Err("expected a link to an absolute path".into()),
        (Target::Host | Target::Secret, _) => {
            Err("only packages have links; give the file a template".into())
        }
    }
}

fn normal(relative: &str) -> Result<(), String> {
    if let Some(c) = relative.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '\\') {
        return Err(format!("its path has the character {c:?}"));
    }
    match relative.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some("") => Err("its path has an empty part".into()),
        Some(part) => Err(format!("its path has the part `{part}`")),
        None => Ok(()),
    }
}

/// Finds files below other files. The paths are sorted by target.
pub fn check_within<'a>(
    files: impl Iterator<Item = (Target, &'a str, &'a Place)>,
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<(Target, &str), &Place> = BTreeMap::new();
    let files: Vec<_> = files.collect();
    seen.extend(files.iter().map(|(target, path, place)| ((*target, *path), *place)));
    for (target, path, place) in files {
        for (at, _) in path.match_indices('/') {
            if let Some(other) = seen.get(&(target, &path[..at])) {
                let message =
                    format!("{other} makes a file of `{}`, so that nothing can be below it", &path[..at]);
                problems.push(Problem::new(place, path, message));
            }
        }
    }
}
