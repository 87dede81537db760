//! From parameters to files: which files there are, and what is in them.

mod builtin;
mod documents;
mod parse;
mod paths;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::escape::Syntax;
use crate::template::Template;
use crate::types::nearest;
use crate::{Body, Condition, ConfigFile, Effective, Place, Problem, Problems, Table, Target};

/// Which files there may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileTable {
    /// In the order they were declared.
    pub rules: Vec<FileRule>,
}

/// A file that there is when its conditions hold.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRule {
    /// Where it was declared.
    pub place: Place,
    /// Whose it is.
    pub target: Target,
    /// Its path: below the package's directory, or absolute on the host.
    pub path: String,
    /// What makes it.
    pub source: Made,
    /// It is there only if all of these hold.
    pub when: Vec<Condition>,
    /// It is there only if all of these parameters hold and are not empty.
    pub when_set: Vec<String>,
}

/// What makes a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// A template.
    Template {
        /// Its text.
        template: Template,
        /// What the file is written in.
        syntax: Syntax,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link to this path.
    Link(String),
}

impl FileTable {
    /// The files that are built in.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub fn builtin() -> Result<Self, Problems> {
        let templates =
            builtin::TEMPLATES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        parse::parse("files.toml", builtin::FILES, "templates", &templates)
    }

    /// Reads a `files.toml` and the templates it names, which lie in `directory` for messages.
    ///
    /// # Errors
    /// Everything that is wrong with them whatever the parameters are.
    pub fn parse(
        file_name: &str,
        text: &str,
        directory: &str,
        templates: &BTreeMap<String, String>,
    ) -> Result<Self, Problems> {
        parse::parse(file_name, text, directory, templates)
    }

    /// Adds the files of another table.
    pub fn extend(&mut self, other: Self) {
        self.rules.extend(other.rules);
    }
}

/// All files of a configuration, sorted.
///
/// # Errors
/// Everything that is wrong: names that no parameter has, secrets in files that are published, values that a file
/// cannot hold, two sources of one file.
pub fn render(effective: &Effective, table: &Table, files: &FileTable) -> Result<Vec<ConfigFile>, Problems> {
    let mut problems = Vec::new();
    let renderer = Renderer::new(effective, table);
    let mut made: BTreeMap<(Target, String), (&Place, ConfigFile)> = BTreeMap::new();
    for rule in &files.rules {
        renderer.check(rule, &mut problems);
        if !renderer.holds(rule) {
            continue;
        }
        let key = (rule.target, rule.path.clone());
        if let Some((other, _)) = made.get(&key) {
            let message = format!(
                "{other} makes this file too; give their conditions (`when`) values that exclude each other"
            );
            problems.push(Problem::new(&rule.place, rule.path.clone(), message));
            continue;
        }
        match renderer.file(rule) {
            Ok(file) => {
                made.insert(key, (&rule.place, file));
            }
            Err(found) => problems.extend(found),
        }
    }
    paths::check_within(
        made.iter().map(|((target, path), (place, _))| (*target, path.as_str(), *place)),
        &mut problems,
    );
    Problems::check(problems)?;
    Ok(made.into_values().map(|(_, file)| file).collect())
}

struct Renderer<'a> {
    effective: &'a Effective,
    /// Every name that a template may use, whether or not it has a value now.
    known: BTreeSet<&'a str>,
    secret: BTreeSet<&'a str>,
    /// What templates of published files see.
    public: BTreeMap<String, Value>,
    /// What templates of secret files see.
    all: BTreeMap<String, Value>,
}

impl<'a> Renderer<'a> {
    fn new(effective: &'a Effective, table: &'a Table) -> Self {
        let mut known: BTreeSet<_> =
            table.parameters.keys().chain(effective.0.keys()).map(String::as_str).collect();
        let mut secret: BTreeSet<_> = documents::SECRET.into_iter().collect();
        secret.extend(table.parameters.values().filter(|it| it.secret).map(|it| it.name.as_str()));
        secret.extend(effective.0.iter().filter(|(_, it)| it.secret).map(|(name, _)| name.as_str()));
        let documents = documents::documents(effective);
        known.extend(documents::PUBLIC);
        known.extend(documents::SECRET);
        let mut all: BTreeMap<_, _> =
            effective.0.iter().map(|(name, it)| (name.clone(), it.value.clone())).collect();
        all.extend(documents);
        let public = all.iter().filter(|(name, _)| !secret.contains(name.as_str()));
        Self {
            effective,
            public: public.map(|(name, it)| (name.clone(), it.clone())).collect(),
            known,
            secret,
            all,
        }
    }

    /// What is wrong with a rule even if its file is not made now.
    fn check(&self, rule: &FileRule, problems: &mut Vec<Problem>) {
        let conditions = rule.when.iter().map(|it| &it.parameter);
        for name in conditions.clone().chain(&rule.when_set) {
            if !self.known.contains(name.as_str()) {
                problems.push(Problem::new(&rule.place, rule.path.clone(), self.unknown(name)));
            }
        }
        if rule.target != Target::Secret {
            for name in conditions.filter(|name| self.secret.contains(name.as_str())) {
                let message = format!(
                    "`{name}` is secret, and the file would tell its value; use `when-set`, or `target = \"secret\"`"
                );
                problems.push(Problem::new(&rule.place, rule.path.clone(), message));
            }
        }
        let Made::Template { template, .. } = &rule.source else {
            return;
        };
        for (name, line) in template.names() {
            if !self.known.contains(name.as_str()) {
                problems.push(template.problem_of(line, &name, self.unknown(&name)));
            } else if rule.target != Target::Secret && self.secret.contains(name.as_str()) {
                let message = format!(
                    "it is secret, and `{}` is published: give the file `target = \"secret\"` and a path below {}/",
                    rule.path,
                    paths::SECRETS
                );
                problems.push(template.problem_of(line, &name, message));
            }
        }
    }

    fn unknown(&self, name: &str) -> String {
        match nearest(name, self.known.iter().copied()) {
            Some(near) => format!("there is no parameter `{name}`; did you mean `{near}`?"),
            None => format!("there is no parameter `{name}`"),
        }
    }

    fn holds(&self, rule: &FileRule) -> bool {
        rule.when.iter().all(|it| self.all.get(&it.parameter).is_some_and(|value| it.any_of.contains(value)))
            && rule.when_set.iter().all(|name| self.all.get(name).is_some_and(is_set))
    }

    fn file(&self, rule: &FileRule) -> Result<ConfigFile, Vec<Problem>> {
        let body = match &rule.source {
            Made::Link(to) => Body::Link(to.clone()),
            Made::Template { template, syntax, mode } => {
                let values = if rule.target == Target::Secret { &self.all } else { &self.public };
                // Such names were told already, and all at once.
                let names = template.names();
                if names.keys().any(|name| {
                    !self.known.contains(name.as_str())
                        || (self.all.contains_key(name) && !values.contains_key(name))
                }) {
                    return Err(Vec::new());
                }
                let content = template.render(*syntax, values).map_err(|mut problem| {
                    self.name_missing(&names, &mut problem);
                    vec![problem]
                })?;
                Body::File { mode: *mode, content: content.into_bytes() }
            }
        };
        Ok(ConfigFile { target: rule.target, path: rule.path.clone(), body })
    }

    /// Says which parameters have no value, when that may be what is wrong.
    fn name_missing(&self, names: &BTreeMap<String, u32>, problem: &mut Problem) {
        if !names.contains_key(&problem.name) || self.effective.get(&problem.name).is_some() {
            return;
        }
        if !self.all.contains_key(&problem.name) {
            problem.message = format!("it has no value in this configuration. {}", problem.message);
        }
    }
}

/// Whether a value says anything.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}
