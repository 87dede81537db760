//! Which packages may be active together: names, requirements, variables and kernel settings.

use std::collections::{BTreeMap, BTreeSet};

use super::{Package, Problem, Setting};
use crate::{PackageId, PackageName, Sysctl};

/// Checks packages one by one and their names, requirements and variables against each other. The packages
/// sorted by id, without those whose name occurs twice: what two versions of one component have in common
/// would only hide the problem.
pub(super) fn check<'a>(packages: &'a [Package], problems: &mut BTreeSet<Problem>) -> Vec<&'a Package> {
    let mut by_name: BTreeMap<PackageName, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        let found = package.info.check().into_iter();
        problems.extend(found.map(|problem| Problem::Info { package: package.id.clone(), problem }));
        by_name.entry(package.id.name()).or_default().push(package);
    }
    for package in packages {
        require(package, &by_name, problems);
    }
    let mut unique = Vec::new();
    for mut same in by_name.into_values() {
        same.sort_by_key(|package| &package.id);
        for pair in same.windows(2) {
            problems.insert(Problem::Repeated { first: pair[0].id.clone(), second: pair[1].id.clone() });
        }
        if let [only] = same[..] {
            unique.push(only);
        }
    }
    unique.sort_by_key(|package| &package.id);
    variables(&unique, problems);
    unique
}

fn require(
    package: &Package,
    by_name: &BTreeMap<PackageName, Vec<&Package>>,
    problems: &mut BTreeSet<Problem>,
) {
    for requires in &package.info.requires {
        let Some(found) = by_name.get(&requires.name) else {
            let (package, requires) = (package.id.clone(), requires.name.clone());
            problems.insert(Problem::Missing { package, requires });
            continue;
        };
        if found.iter().all(|found| found.info.variant != requires.variant) {
            problems.extend(found.iter().map(|found| Problem::WrongVariant {
                package: package.id.clone(),
                requires: requires.clone(),
                found: found.id.clone(),
                variant: found.info.variant.clone(),
            }));
        }
    }
}

fn variables(packages: &[&Package], problems: &mut BTreeSet<Problem>) {
    let mut defined: BTreeMap<&str, &PackageId> = BTreeMap::new();
    for package in packages {
        for name in package.info.environment.keys() {
            if let Some(first) = defined.get(&**name) {
                let (first, second) = ((*first).clone(), package.id.clone());
                problems.insert(Problem::Variable { name: name.clone(), first, second });
            } else {
                defined.insert(name, &package.id);
            }
        }
    }
}

/// The kernel settings of all services. One key has one value on a host, whichever services give it.
pub(super) fn sysctl(packages: &[&Package], problems: &mut BTreeSet<Problem>) -> Sysctl {
    let mut merged = Sysctl::new();
    let mut values: BTreeMap<String, Setting> = BTreeMap::new();
    for package in packages {
        for (service, settings) in &package.info.sysctl {
            if !package.listing.services.contains(service) {
                let (package, service) = (package.id.clone(), service.clone());
                problems.insert(Problem::NoService { package, service });
            }
            for (key, value) in settings {
                let second =
                    Setting { package: package.id.clone(), service: service.clone(), value: value.clone() };
                match values.get(&dotted(key)) {
                    None => drop(values.insert(dotted(key), second)),
                    Some(first) if first.value == *value => {}
                    Some(first) => {
                        let (key, first) = (dotted(key), first.clone());
                        problems.insert(Problem::Sysctl { key, first, second });
                    }
                }
            }
            merged.entry(service.clone()).or_default().extend(settings.clone());
        }
    }
    merged
}

/// A key as sysctl(8) understands it: one whose first separator is a slash has slashes and dots exchanged.
fn dotted(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'/' => {
            let exchange = |c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            };
            key.chars().map(exchange).collect()
        }
        _ => key.to_owned(),
    }
}
