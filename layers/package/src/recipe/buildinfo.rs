//! `buildinfo.json`: what one variant of one component is made from, and what it asks of its host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bake_host::{GroupName, PKGPANDA, PackageName, Requirement, UserName, Variant};
use bake_tree::TreePath;

use super::fields::{Fields, Report, join, object, parse, short, text};
use super::files::{Entry, RecipeFiles};
use super::json::Value;
use super::settings::{environment, sysctl};
use super::sources::source;
use crate::Problem;
use crate::source::Source;

/// The keys of `buildinfo.json`; `network` is one that the format has only here.
const KEYS: [&str; 11] = [
    "sources",
    "single_source",
    "requires",
    "build_script",
    "docker",
    "environment",
    "state_directory",
    "username",
    "group",
    "sysctl",
    "network",
];

/// Keys that are refused, and why.
const REFUSED: [(&str, &str); 6] = [
    ("name", "does not belong here: a package is named by its directory"),
    ("variant", "does not belong here: a variant is named by the file, as in `<variant>.buildinfo.json`"),
    ("pkgpanda_version", "does not belong here: the tool knows its format revision"),
    ("build", "does not belong here: a build script is named by `build_script`"),
    ("extra_source", "does not belong here: what lies in `extra/` is always part of the recipe"),
    ("version_extra", "is refused: it would put a `-` into the version, which no package id allows"),
];

/// One variant of one package, as its `buildinfo.json` describes it.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The package: the name of the recipe's directory.
    pub name: PackageName,
    /// The variant: what the name of the file begins with.
    pub variant: Variant,
    /// The file, below the tree's directory, as problems name it.
    pub file: String,
    /// Everything in the recipe's directory.
    pub files: Arc<RecipeFiles>,
    /// What is built, by the name of the directory below `/pkg/src`.
    pub sources: BTreeMap<String, Source>,
    /// What the build and the package need; sorted.
    pub requires: Vec<Requirement>,
    /// What builds it: a path below the recipe's directory.
    pub build_script: String,
    /// The builder it is built in, unless it is the default one.
    pub docker: Option<String>,
    /// Variables for everything that runs on a host with the package, and for builds that require it.
    pub environment: BTreeMap<String, String>,
    /// Whether it needs `/var/lib/dcos/<name>` on hosts.
    pub state_directory: bool,
    /// The user it runs as.
    pub username: Option<UserName>,
    /// That user's group, if it is not one of its own.
    pub group: Option<GroupName>,
    /// Kernel settings by service, applied when it starts.
    pub sysctl: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the build script reaches the network.
    pub network: bool,
}

impl Recipe {
    /// The recipe's directory.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// What others write to require it.
    pub fn requirement(&self) -> Requirement {
        Requirement { name: self.name.clone(), variant: self.variant.clone() }
    }

    /// Refuses a build script that could not be run.
    pub(super) fn check_script(&self, problems: &mut Vec<Problem>) {
        let script = &self.build_script;
        let message = match self.files.entry(script) {
            _ if script.is_empty() => return,
            Some(Entry::File { executable: true, .. }) => return,
            Some(Entry::File { .. }) => {
                format!("`{script}` is not executable: run `chmod +x` on it")
            }
            Some(_) => format!("`{script}` is no file: expected an executable script"),
            None => format!("`{script}` does not exist in this directory: expected an executable script"),
        };
        Report::new(&self.file, problems).add("build_script", message);
    }
}

/// Reads `bytes` of the file called `file`. Of what is wrong, the recipe has nothing.
pub(super) fn recipe(
    bytes: &[u8],
    name: &PackageName,
    variant: &Variant,
    file: &str,
    problems: &mut Vec<Problem>,
) -> Recipe {
    let report = &mut Report::new(file, problems);
    // Recipes that need to say nothing have an empty file.
    let bytes = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
    if name.as_str() == PKGPANDA {
        report
            .add("", "the name `pkgpanda` is taken by the program that every host gets: rename the package");
    }
    let mut fields = report.object(bytes);
    for (key, why) in REFUSED {
        if fields.take(key).is_some() {
            report.add(key, why);
        }
    }
    fields.know(report, &KEYS);
    let sources = sources(report, &mut fields, name);
    let requires = requires(report, &mut fields);
    let build_script = if fields.has("build_script") {
        let path = fields.text(report, "build_script");
        // One that is wrong stays empty: there is no file to look for.
        path.and_then(|path| report.check("build_script", script_path(&path))).unwrap_or_default()
    } else {
        format!("{}build", variant.prefix())
    };
    let docker = fields.text(report, "docker");
    let docker = docker.and_then(|docker| report.check("docker", image(docker)));
    let environment = environment(report, &mut fields);
    let state_directory = fields.flag(report, "state_directory").unwrap_or(false);
    let has_user = fields.has("username");
    let username = fields.parsed(report, "username");
    // Some recipes have `"group": ""` and mean none.
    let group = fields.text(report, "group").filter(|group| !group.is_empty());
    let group = group.and_then(|group| report.check("group", parse(&group)));
    if group.is_some() && !has_user {
        report.add("group", "is the group of the package's user: it needs `username` beside it");
    }
    let sysctl = sysctl(report, &mut fields);
    let network = fields.flag(report, "network").unwrap_or(false);
    Recipe {
        name: name.clone(),
        variant: variant.clone(),
        file: file.to_owned(),
        files: Arc::default(),
        sources,
        requires,
        build_script,
        docker,
        environment,
        state_directory,
        username,
        group,
        sysctl,
        network,
    }
}

fn sources(report: &mut Report<'_>, fields: &mut Fields, name: &PackageName) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    if fields.has("sources") && fields.has("single_source") {
        report.add("single_source", "stands beside `sources`: move it there, or remove one of the two");
    }
    if let Some(value) = fields.take("single_source") {
        if let Err(message) = source_name(name.as_str()) {
            report.add("single_source", format!("has the package's name, but {message}: use `sources`"));
        }
        let source = source(report, "single_source".to_owned(), value);
        sources.extend(source.map(|source| (name.as_str().to_owned(), source)));
    }
    if let Some(objects) = fields.object(report, "sources") {
        for (name, value) in objects.rest() {
            let key = join("sources", &name);
            report.check(&key, source_name(&name));
            sources.extend(source(report, key, value).map(|source| (name, source)));
        }
    }
    sources
}

/// The name of a source is a directory below `/pkg/src`, and one beside the packages in the cache.
fn source_name(name: &str) -> Result<(), String> {
    if name.parse::<PackageName>().is_err() {
        return Err(format!(
            "`{}` is no name of a source: expected letters, digits and `@._+-`, not beginning with `.` or `-`",
            short(name)
        ));
    }
    if name == "buildinfo.full.json"
        || name == "latest"
        || name == "quarantine"
        || name.ends_with(".latest")
        || name.ends_with(".tar.xz")
    {
        return Err(format!("`{name}` is a name that the build itself uses beside the sources"));
    }
    Ok(())
}

fn requires(report: &mut Report<'_>, fields: &mut Fields) -> Vec<Requirement> {
    let mut seen = BTreeSet::new();
    for (at, value) in fields.list(report, "requires").unwrap_or_default().into_iter().enumerate() {
        let key = format!("requires[{at}]");
        let Some(requirement) = requirement(report, &key, value) else { continue };
        let Requirement { name, .. } = &requirement;
        if seen.contains(&requirement) {
            report.add(&key, format!("`{name}` is listed twice: remove one"));
        }
        seen.insert(requirement);
    }
    seen.into_iter().collect()
}

fn requirement(report: &mut Report<'_>, key: &str, value: Value) -> Option<Requirement> {
    let mut fields = match value {
        Value::Text(name) => {
            let name = report.check(key, package(&name))?;
            return Some(Requirement { name, variant: Variant::default() });
        }
        Value::Object(_) => object(report, key.to_owned(), value)?,
        other => {
            report.add(
                key,
                format!("expected a name, or an object of `name` and `variant`, found {}", other.kind()),
            );
            return None;
        }
    };
    fields.know(report, &["name", "variant"]);
    let name = fields.needed(report, "name", "the name of a package");
    let name = name.and_then(|name| report.check(&fields.at("name"), package(&name)));
    if !fields.has("variant") {
        report.add(&fields.at("variant"), "is missing: expected a variant, or `null` for the default one");
    }
    let key = fields.at("variant");
    let variant = variant(report, &key, fields.take("variant")?)?;
    Some(Requirement { name: name?, variant })
}

/// The variant that a value names; `null` stands for the default one.
pub(super) fn variant(report: &mut Report<'_>, key: &str, value: Value) -> Option<Variant> {
    match value {
        Value::Null => Some(Variant::default()),
        Value::Text(name) if name.is_empty() => {
            report.add(key, "is empty: for the default variant, write `null`");
            None
        }
        Value::Text(name) if name.len() > 160 => {
            report.add(key, format!("`{}` is too long for a variant", short(&name)));
            None
        }
        other => {
            let name = text(report, key, other)?;
            report.check(key, Variant::named(&name).map_err(|error| error.to_string()))
        }
    }
}

fn package(text: &str) -> Result<PackageName, String> {
    if let Some((name, _)) = text.split_once("--").filter(|_| text.len() <= 160) {
        return Err(format!("`{text}` is a package id: write `{name}`, versions follow from the recipes"));
    }
    parse(text)
}

fn script_path(text: &str) -> Result<String, String> {
    match TreePath::parse(text.as_bytes()) {
        _ if text.chars().any(char::is_control) => Err(format!("`{}` holds control characters", short(text))),
        Ok(path) if path.is_root() => Err("is empty: expected a file of this directory".to_owned()),
        Ok(path) => Ok(String::from_utf8_lossy(path.as_bytes()).into_owned()),
        Err(_) => Err(format!("`{}` is no path below this directory", short(text))),
    }
}

fn image(text: String) -> Result<String, String> {
    if text.is_empty() || text.contains(|character: char| character.is_control() || character.is_whitespace())
    {
        return Err(format!("`{}` is no name of a builder: expected text without spaces", short(&text)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
