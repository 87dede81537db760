//! Mappings with a meaning of their own.

use serde_json::{Map, Value};

use super::{Checked, Document, Form, Type, checks, got, nearest, overlay, text_of, url, wrong};
use crate::{Key, Kind, Node, Problem};

/// Every document, its name in a table of parameters, and what it expects.
pub const DOCUMENTS: &[(Document, &str, &str)] = &[
    (
        Document::Overlay,
        "overlay",
        "a mapping with `vtep_subnet`, `vtep_subnet6`, `vtep_mac_oui` and `overlays`",
    ),
    (Document::Checks, "checks", "a mapping with `cluster_checks` and `node_checks`"),
    (Document::ForwardZones, "forward-zones", "a mapping from zones to lists of DNS servers"),
    (Document::DockerConfig, "docker-config", "a mapping as in Docker's `config.json`"),
    (
        Document::Sysctls,
        "sysctls",
        "a mapping from kernel settings such as `vm.max_map_count` to their values",
    ),
];

impl Document {
    /// The document of a name in a table of parameters.
    pub fn named(name: &str) -> Option<Self> {
        DOCUMENTS.iter().find(|(_, known, _)| *known == name).map(|(document, ..)| *document)
    }

    /// What is expected, for messages.
    pub fn expected(self) -> &'static str {
        DOCUMENTS.iter().find(|(known, ..)| *known == self).map_or("a mapping", |(_, _, expected)| expected)
    }

    /// The document in its one form.
    pub(super) fn check(self, name: &str, node: &Node) -> Checked {
        let entries = entries(name, node, self.expected())?;
        match self {
            Self::Overlay => overlay::check(name, node),
            Self::Checks => checks::check(name, node),
            Self::ForwardZones => {
                let servers =
                    Type::List { of: Box::new(Type::Text(Form::Server)), distinct: true, lengths: vec![] };
                each(name, entries, |name, key, node| {
                    if url::is_domain(&key.name) {
                        servers.check(name, node)
                    } else {
                        Err(vec![Problem::new(
                            &key.place,
                            name,
                            "is not the name of a zone, such as `example.com`",
                        )])
                    }
                })
            }
            Self::DockerConfig => each(name, entries, |name, key, node| {
                if key.name == "auths" {
                    // What is below holds credentials: no message repeats it.
                    let registries =
                        super::document::entries(name, node, "a mapping from registries to credentials")?;
                    each(name, registries, |name, _, node| Type::Object.check(name, node))
                } else {
                    Ok(node.to_json())
                }
            }),
            Self::Sysctls => each(name, entries, sysctl),
        }
    }
}

fn sysctl(name: &str, key: &Key, node: &Node) -> Checked {
    let part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-/".contains(c));
    let parts: Vec<_> = key.name.split('.').collect();
    if parts.len() < 2 || key.name.contains("//") || !parts.into_iter().all(part) {
        let message = "is not the name of a kernel setting, such as `vm.max_map_count`";
        return Err(vec![Problem::new(&key.place, name, message)]);
    }
    match text_of(node) {
        None if node.kind == Kind::Refused => Err(vec![]),
        Some(_) => Type::Text(Form::Word).check(name, node),
        None => Err(wrong(name, node, format!("is {}, expected a number or a text", got(node)))),
    }
}

/// The entries of a mapping.
pub fn entries<'a>(name: &str, node: &'a Node, expected: &str) -> Result<&'a [(Key, Node)], Vec<Problem>> {
    match &node.kind {
        Kind::Map(entries) => Ok(entries),
        Kind::Refused => Err(vec![]),
        _ => Err(wrong(name, node, format!("is {}, expected {expected}", node.describe()))),
    }
}

/// Checks each entry; problems name it.
pub fn each(name: &str, entries: &[(Key, Node)], check: impl Fn(&str, &Key, &Node) -> Checked) -> Checked {
    let mut problems = vec![];
    let mut whole = true;
    let mut map = Map::new();
    for (key, node) in entries {
        match check(&format!("{name}.{}", shown(&key.name)), key, node) {
            Ok(value) => {
                map.insert(key.name.clone(), value);
            }
            Err(found) => {
                whole = false;
                problems.extend(found);
            }
        }
    }
    if whole { Ok(Value::Object(map)) } else { Err(problems) }
}

/// A key in the name of what is wrong: on one line, whatever it holds.
fn shown(key: &str) -> String {
    key.chars().take(60).flat_map(char::escape_debug).collect()
}

/// A field of a record.
pub struct Field {
    /// Its key.
    pub key: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What its value may be.
    pub kind: Type,
}

/// Checks a mapping whose keys are known.
pub fn record(name: &str, node: &Node, expected: &str, fields: &[Field]) -> Checked {
    let entries = entries(name, node, expected)?;
    let mut problems = vec![];
    for field in fields.iter().filter(|field| field.required) {
        if !entries.iter().any(|(key, _)| key.name == field.key) {
            let message = format!("lacks `{}`: {}", field.key, field.kind.expected());
            problems.extend(wrong(name, node, message));
        }
    }
    let checked =
        each(name, entries, |name, key, node| match fields.iter().find(|field| field.key == key.name) {
            Some(field) => field.kind.check(name, node),
            None => {
                Err(vec![Problem::new(&key.place, name, unknown(&key.name, fields.iter().map(|f| f.key)))])
            }
        });
    match checked {
        Ok(value) if problems.is_empty() => Ok(value),
        Ok(_) => Err(problems),
        Err(found) => Err([problems, found].concat()),
    }
}

/// What is said of a key that is none of the known ones.
pub fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(key, known.clone()) {
        Some(near) => format!("is not known here; did you mean `{near}`?"),
        None => format!("is not known here, expected {}", super::choice(known)),
    }
}
