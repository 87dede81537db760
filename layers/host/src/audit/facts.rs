//! What is known of a host becomes two digests and a report.

use bake_base::Digest;

use super::report::{Override, Report, SCHEMA};
use super::store;
use super::survey::Survey;
use super::wanted::{Part, Shape, plain};
use crate::generation::CURRENT;
use crate::host::Host;
use crate::{ROOT, files, place};

/// The longest name of a host that is read, in bytes.
const NAME_LIMIT: u64 = 4096;

/// The report of a survey.
pub(crate) fn report(host: &Host, survey: &Survey) -> Report {
    let (mut state, mut own) = (state(survey), own(survey));
    for judged in &survey.judged {
        let difference = &judged.difference;
        let line = format!("difference {} {} {}", difference.what, difference.path, difference.found);
        match judged.part {
            Part::State => state.push(line),
            Part::Host => own.push(line),
        }
    }
    let number = survey.present.number;
    let normal =
        |line: String| line.replace(&format!("{ROOT}/{}", number.directory()), &format!("{ROOT}/{CURRENT}"));
    let digest = |form: &str, lines: Vec<String>| {
        let mut lines: Vec<_> = lines.into_iter().map(normal).collect();
        lines.sort();
        lines.insert(0, form.to_owned());
        Digest::of((lines.join("\n") + "\n").as_bytes())
    };
    let overrides = survey.overrides.iter();
    let overrides: Vec<_> =
        overrides.map(|(name, path, _)| Override { name: name.clone(), path: path.clone() }).collect();
    Report {
        schema: SCHEMA.to_owned(),
        node: node(host),
        clean: survey.judged.is_empty() && overrides.is_empty(),
        state: digest("bake-state-1", state),
        host: digest("bake-host-1", own),
        config_id: survey.product.as_ref().map(|product| product.config_id.clone()),
        generation: number,
        roles: survey.present.generation.roles.clone(),
        differences: survey.judged.iter().map(|judged| judged.difference.clone()).collect(),
        overrides,
    }
}

/// Lines of what does not depend on roles or on the host.
fn state(survey: &Survey) -> Vec<String> {
    let config_id = survey.product.as_ref().map_or("none", |product| &product.config_id);
    let mut lines = vec![format!("configuration {config_id}")];
    let active = &survey.present.generation.active;
    let listed = active.iter().filter_map(|(id, list)| Some((id, (*list)?)));
    lines.extend(listed.map(|(id, list)| format!("package {id} {list}")));
    lines.extend(survey.derived.iter().flat_map(|derived| derived.common.clone()));
    let outside = survey.outside.iter().filter(|(_, wanted)| wanted.part == Part::State);
    lines.extend(outside.map(|(path, wanted)| format!("file /{} {}", plain(path), wanted.describe())));
    for stored in survey.loose() {
        let top = store::path_below(&stored.id);
        let found = survey.scan.range(top.clone()..).take_while(|(path, _)| path.starts_with(&top));
        lines.extend(found.map(|(path, found)| format!("found {} {}", plain(path), found.describe())));
    }
    lines.extend(survey.overrides.iter().map(|(name, path, found)| {
        let found = found.as_ref().map_or_else(|| "nothing".to_owned(), super::scan::Found::describe);
        format!("override {name} {path} {found}")
    }));
    lines
}

/// Lines of what is a role's or the host's own.
fn own(survey: &Survey) -> Vec<String> {
    let roles = survey.present.generation.roles.iter().map(|role| format!("role {role}"));
    let secrets = survey.outside.iter().filter(|(_, wanted)| wanted.shape == Shape::Secret);
    let secrets = secrets.map(|(path, _)| format!("secret /{}", plain(path)));
    let of_roles = survey.derived.iter().flat_map(|derived| derived.of_roles.clone());
    roles.chain(secrets).chain(of_roles).chain(survey.facts.clone()).collect()
}

/// What a host calls itself.
fn node(host: &Host) -> String {
    let path = if host.root.is_running() { "proc/sys/kernel/hostname" } else { "etc/hostname" };
    let text =
        files::read(&host.root, &place::path(path), NAME_LIMIT).unwrap_or_default().unwrap_or_default();
    plain(String::from_utf8_lossy(&text).trim().as_bytes())
}
